//! What is wrong, where, and what would be right.

use super::*;

/// A file in which everything is required, and `text` in line 6.
fn one(text: &str) -> String {
    let told = mistakes(text, &[]);
    assert_eq!(told.len(), 1, "{text:?}: {told:?}");
    told.into_iter().next().unwrap_or_default()
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = "[server]
lisetn = \"127.0.0.1:1\"
public_url = \"http://t.example\"
admin_listen = 9443

[tickets]
ttl = 30
store = \"redis\"

[limits]
body = 65536
mint_burst = \"100\"
sessions = 0
tickets = 1979-05-27

[sessions]
idle_timeout = 30m
max_message = \"1GiB\"

[log]
format = \"jsn\"
filter = \"polytty=loud\"

[recorder]
on = true

[[keys]]
name = \"a key\"
hash = \"sha256:00\"

[[providers]]
name = \"pai\"
kind = \"pai-dlc\"
region = \"CN X\"
endpoint = \"http://127.0.0.1:1\"
access_key_id = \"a b\"
security_token = 7
websocket_hosts = []
open_timeout = \"0s\"
  shel = 1

[[providers]]
name = \"pai\"
kind = \"locale\"
commands = 1

[[providers]]
kind = \"local\"
commands = [[\"sh\", 1], [], \"top\"]
";
    let told = Home::new(text).mistakes(&[("POLYTTY__LIMITS__CONNECTIONS", "-1"), ("POLYTTY__LOG__COLOUR", "always")]);
    let expected = "\
proxy.toml:1:1: tls.cert: required: expected the path of a PEM file with the certificate chain, found nothing
proxy.toml:1:1: tls.key: required: expected the path of a PEM file with the private key, found nothing
proxy.toml:2:1: server.lisetn: unknown key, did you mean listen?; the keys here are listen, public_url, admin_listen, origins, trusted_proxies, proxy_protocol
proxy.toml:3:14: server.public_url: expected the https URL that clients use, such as https://terminals.example.com, found one of http
proxy.toml:4:16: server.admin_listen: expected an IP address and a port such as \"127.0.0.1:8443\" or \"[::]:8443\", found the number 9443
proxy.toml:7:7: tickets.ttl: expected a duration such as \"30s\" (from 1s to 1h), found the number 30
proxy.toml:8:9: tickets.store: expected \"memory\", \"redis://HOST:PORT/DATABASE\" or \"rediss://HOST:PORT/DATABASE\" (with TLS); a user name stands before the host, as in redis://USER@HOST, and the password in tickets.password
proxy.toml:11:8: limits.body: expected a size such as \"64KiB\" (from 1KiB to 16MiB), found the number 65536
proxy.toml:12:14: limits.mint_burst: expected a whole number from 1 to 1000000, found \"100\"
proxy.toml:13:12: limits.sessions: expected a whole number from 1 to 1000000, found the number 0
proxy.toml:14:11: limits.tickets: expected a whole number from 1 to 1000000, found a date or time
proxy.toml:17:16: sessions.idle_timeout: not TOML: string values must be quoted
proxy.toml:18:15: sessions.max_message: expected a size such as \"64KiB\" (from 1KiB to 16MiB), found \"1GiB\"
proxy.toml:21:10: log.format: expected \"text\" or \"json\" (did you mean \"json\"?), found \"jsn\"
proxy.toml:22:10: log.filter: expected a filter such as \"info\" or \"info,polytty=debug\", found \"polytty=loud\"
proxy.toml:24:2: recorder: unknown key, did you mean recording?; the keys here are server, tls, tickets, limits, sessions, recording, log, cluster, jwt, keys, providers
proxy.toml:28:8: keys.\"a key\".name: expected a name of at most 64 letters, digits, '.', '_' and '-' that begins with a letter or digit, found \"a key\"
proxy.toml:29:8: keys.\"a key\".hash: expected \"sha256:\" and 64 hexadecimal digits, as polytty key new prints them, found a string of another form
proxy.toml:31:1: providers.pai.access_key_secret: required: expected the secret of the AccessKey, found nothing
proxy.toml:34:10: providers.pai.region: expected a region id such as \"cn-hangzhou\", found \"CN X\"
proxy.toml:35:12: providers.pai.endpoint: expected an https URL; http is for simulated providers and needs allow_private = true
proxy.toml:36:17: providers.pai.access_key_id: expected an AccessKey id: letters, digits, '.', '_' and '-', found a string of another form
proxy.toml:37:18: providers.pai.security_token: expected a secret: a string, { env = \"NAME\" } or { file = \"PATH\" }, found a number
proxy.toml:38:19: providers.pai.websocket_hosts: expected a list of hosts such as [\"*.aliyun.com\", \"gateway.example.com:8443\"], found a list
proxy.toml:39:16: providers.pai.open_timeout: expected a duration such as \"30s\" (from 100ms to 10m), found \"0s\"
proxy.toml:40:3: providers.pai.shel: unknown key; the keys here are name, kind, max_sessions, open_timeout, opens_per_second, open_burst, ca, allow_private, record, region, endpoint, access_key_id, access_key_secret, security_token, websocket_hosts
proxy.toml:43:8: providers.pai.name: a second entry of this name; the first is at proxy.toml:32:8, and names are unique
proxy.toml:44:8: providers.pai.kind: expected \"pai-dlc\" or \"eci\" or \"dockhand\" or \"oblien\" or \"decthings\" or \"local\" (did you mean \"local\"?), found \"locale\"
proxy.toml:47:1: providers[2].name: required: expected a name of at most 64 letters, digits, '.', '_' and '-' that begins with a letter or digit, found nothing
proxy.toml:49:20: providers[2].commands[0][1]: expected a string without NUL characters, found the number 1
proxy.toml:49:24: providers[2].commands[1]: expected a list of commands, each a list of a program and its arguments, such as [[\"/bin/bash\", \"-l\"]], found a list
proxy.toml:49:28: providers[2].commands[2]: expected a list of commands, each a list of a program and its arguments, such as [[\"/bin/bash\", \"-l\"]], found \"top\"
POLYTTY__LIMITS__CONNECTIONS: limits.connections: expected a whole number from 1 to 1000000, found \"-1\"
POLYTTY__LOG__COLOUR: log.colour: unknown key; the keys here are filter, format";
    assert_eq!(told, expected.lines().collect::<Vec<_>>());
}

#[test]
fn a_bare_number_is_neither_a_duration_nor_a_size() {
    assert_eq!(
        one("[sessions]\nidle_timeout = 30"),
        "proxy.toml:7:16: sessions.idle_timeout: expected a duration such as \"30s\" (0s for never, or from 1s to 365d), \
         found the number 30"
    );
    for (text, found) in [
        ("[sessions]\nmax_message = 1.5", "found the number 1.5"),
        ("[sessions]\nmax_message = \"1000\"", "found \"1000\""),
        ("[sessions]\nmax_message = \"64KB\"", "found \"64KB\""),
        ("[sessions]\nmax_message = true", "found true"),
        ("[sessions]\nmax_message = []", "found a list"),
        ("[sessions]\nmax_message = {}", "found a table"),
        ("[sessions]\nmax_message = \"\"", "found \"\""),
        ("[sessions]\nmax_message = \"\\u001b\"", "found \"\\u{1b}\""),
        ("[sessions]\nmax_message = 99999999999999999999", "found a number beyond 64 bits"),
    ] {
        let told = one(text);
        assert!(told.contains("sessions.max_message: expected a size such as \"64KiB\""), "{told}");
        assert!(told.ends_with(found), "{told}");
    }
    let variable = mistakes("", &[("POLYTTY__SESSIONS__DETACH_GRACE", "30")]);
    assert_eq!(
        variable,
        [
            "POLYTTY__SESSIONS__DETACH_GRACE: sessions.detach_grace: expected a duration such as \"30s\" (from 0s to 30d), \
          found \"30\""
        ]
    );
}

#[test]
fn ranges_end_where_they_say() {
    for (section, key, right, wrong) in [
        ("tickets", "ttl", ["\"1s\"", "\"1h\""], ["\"999ms\"", "\"3600001ms\""]),
        ("limits", "connections", ["1", "1000000"], ["0", "1000001"]),
        ("limits", "mints_per_second", ["1", "1_000_000"], ["-1", "4294967297"]),
        ("limits", "handshake_timeout", ["\"100ms\"", "\"10m\""], ["\"99ms\"", "\"600001ms\""]),
        ("limits", "handshake_burst", ["1", "1000000"], ["0", "1000001"]),
        ("limits", "lockout_max", ["\"10s\"", "\"1d\""], ["\"999ms\"", "\"86401s\""]),
        ("limits", "memory", ["\"auto\"", "\"32MiB\""], ["\"31MiB\"", "\"0B\""]),
        ("limits", "input_messages_per_second", ["0", "1000000"], ["-1", "1000001"]),
        ("limits", "input_bytes_per_second", ["\"0B\"", "\"1KiB\""], ["\"1023B\"", "5000"]),
        ("limits", "output_bytes_per_second", ["\"0B\"", "\"1TiB\""], ["\"1B\"", "\"1025TiB\""]),
        ("limits", "body", ["\"1KiB\"", "\"16MiB\""], ["\"1023B\"", "\"16777217B\""]),
        ("sessions", "max_message", ["\"1KiB\"", "\"16MiB\""], ["\"1023B\"", "\"16777217B\""]),
        ("sessions", "detach_grace", ["\"0s\"", "\"30d\""], ["\"-1s\"", "\"31d\""]),
        ("sessions", "idle_timeout", ["\"1s\"", "\"365d\""], ["\"1ms\"", "\"366d\""]),
        ("sessions", "max_lifetime", ["\"0s\"", "\"365d\""], ["\"999ms\"", "\"366d\""]),
    ] {
        for value in right {
            config(&format!("[{section}]\n{key} = {value}\n"), &[]);
        }
        for value in wrong {
            assert!(one(&format!("[{section}]\n{key} = {value}\n")).contains(": expected "));
        }
    }
    let never = config("[sessions]\nidle_timeout = \"0s\"\nmax_lifetime = \"0s\"\ndetach_grace = \"0s\"", &[]).sessions;
    assert_eq!((never.idle_timeout, never.max_lifetime, never.detach_grace.is_zero()), (None, None, true));
}

#[test]
fn sections_have_their_shape() {
    for (text, expected) in [
        ("log = 1\n", "proxy.toml:1:7: log: expected a table of keys, found the number 1"),
        (
            "keys = 1\n",
            "proxy.toml:1:8: keys: expected a list of tables, each under its own [[keys]], found the number 1",
        ),
        ("keys = [1]\n", "proxy.toml:1:9: keys[0]: expected a table of keys, found the number 1"),
        ("[[log]]\n", "proxy.toml:1:1: log: expected a table of keys, found a list"),
        ("[keys]\n", "proxy.toml:1:1: keys: expected a list of tables, each under its own [[keys]], found a table"),
        ("[log.x.y]\n[log.x.y.z]\n", "proxy.toml:1:6: log.x: unknown key; the keys here are filter, format"),
        ("[log.x]\n", "proxy.toml:1:6: log.x: unknown key; the keys here are filter, format"),
    ] {
        assert_eq!(Home::new(&format!("{text}{REQUIRED}")).mistakes(&[]), [expected]);
    }
    // What is missing in a section of another shape is not told on top.
    let told = Home::new("tls = 1\n[server]\npublic_url = \"https://t.example\"\n").mistakes(&[]);
    assert_eq!(told, ["proxy.toml:1:7: tls: expected a table of keys, found the number 1"]);
    // In a section that is there, what is missing is told where it begins.
    let told = Home::new("\n  [tls]\ncert = \"c\"\n[server]\n").mistakes(&[("POLYTTY__SERVER__LISTEN", "[::]:1")]);
    assert!(told[0].starts_with("proxy.toml:2:3: tls.key: required"), "{told:?}");
    assert!(told[1].starts_with("proxy.toml:4:1: server.public_url: required"), "{told:?}");
}

#[test]
fn broken_toml_is_told_without_guesses_about_the_rest() {
    let told = Home::new("[server\nlisten = 1\n[log]\nfilter = \n").mistakes(&[]);
    assert!(told[0].starts_with("proxy.toml:1:8: not TOML: unclosed table"), "{told:?}");
    assert!(told.iter().all(|mistake| mistake.contains("not TOML: ")), "{told:?}");
    assert_eq!(one("[log]\nformat = \"text\"\nformat = \"json\""), "proxy.toml:8:1: format: not TOML: duplicate key");
}

#[test]
fn urls_and_origins_are_hosts_only() {
    for (text, expected) in [
        ("origins = [\"https://a.example/\"]", "1:19: server.origins[0]: an origin has no path"),
        ("origins = [\"*\"]", "1:19: server.origins[0]: expected a URL such as"),
        ("origins = [\"https://a.example\", \"null\"]", "1:40: server.origins[1]: expected a URL such as"),
        ("origins = \"https://a.example\"", "1:18: server.origins: expected a list of origins such as"),
        ("listen = \"localhost:1\"", "1:17: server.listen: expected an IP address and a port such as"),
        ("listen = \"127.0.0.1\"", "1:17: server.listen: expected an IP address and a port such as"),
    ] {
        let told = Home::new(&format!(
            "server.{text}\nserver.public_url = \"https://a\"\ntls.cert = \"c\"\ntls.key = \"k\"\n"
        ));
        let told = told.mistakes(&[]);
        assert!(told.len() == 1 && told[0].starts_with(&format!("proxy.toml:{expected}")), "{told:?}");
    }
    for url in
        ["", "t.example", "https://t.example/x", "https://u:p@t.example", "https://t.example?q", "ws://t.example"]
    {
        let told = Home::new(&REQUIRED.replace("https://t.example", url)).mistakes(&[]);
        assert!(told.len() == 1 && told[0].starts_with("proxy.toml:2:14: server.public_url: expected a "), "{told:?}");
    }
}

#[test]
fn the_two_listeners_have_different_addresses() {
    let told =
        mistakes("", &[("POLYTTY__SERVER__LISTEN", "127.0.0.1:1"), ("POLYTTY__SERVER__ADMIN_LISTEN", "127.0.0.1:1")]);
    let expected =
        "POLYTTY__SERVER__ADMIN_LISTEN: server.admin_listen: expected another address than that of server.listen";
    assert_eq!(told, [expected]);
    // With port 0 the system chooses, and never the same one twice.
    config("", &[("POLYTTY__SERVER__LISTEN", "127.0.0.1:0"), ("POLYTTY__SERVER__ADMIN_LISTEN", "127.0.0.1:0")]);
}

#[test]
fn proxies_are_addresses_and_networks_and_a_header_is_read_of_nobody_else() {
    let server = |text: &str| Home::new(&REQUIRED.replace("[server]\n", &format!("[server]\n{text}\n")));
    for (text, expected) in [
        (
            "trusted_proxies = [\"10.0.0.0/33\"]",
            "2:20: server.trusted_proxies[0]: expected an IP address, or a network",
        ),
        ("trusted_proxies = [\"10.0.0.1\", \"lb.example\"]", "2:32: server.trusted_proxies[1]: expected an IP address"),
        ("trusted_proxies = \"10.0.0.0/8\"", "2:19: server.trusted_proxies: expected a list of addresses and networks"),
        ("proxy_protocol = true", "2:18: server.proxy_protocol: expected server.trusted_proxies to be set as well"),
        ("proxy_protocol = \"v2\"", "2:18: server.proxy_protocol: expected true or false"),
    ] {
        let told = server(text).mistakes(&[]);
        assert!(told.len() == 1 && told[0].starts_with(&format!("proxy.toml:{expected}")), "{told:?}");
    }
    let home = server("trusted_proxies = [\"10.1.2.3/8\", \"2001:db8::7\"]\nproxy_protocol = true");
    let server = home.load(&[]).unwrap_or_else(|errors| panic!("{errors}")).config.server;
    let networks: Vec<_> = server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!((networks, server.proxy_protocol), (vec!["10.0.0.0/8".to_owned(), "2001:db8::7/128".to_owned()], true));
}

#[test]
fn the_first_lock_out_is_no_longer_than_the_longest() {
    let told = one("[limits]\nlockout = \"16m\"");
    assert_eq!(told, "proxy.toml:7:11: limits.lockout: expected limits.lockout to be at most limits.lockout_max");
    let limits = config("[limits]\nlockout = \"16m\"\nlockout_max = \"16m\"", &[]).limits;
    assert_eq!(limits.lockout, limits.lockout_max);
}

#[test]
fn a_provider_has_a_rate_of_its_own_or_that_of_all() {
    let local = "[[providers]]\nname = \"a\"\nkind = \"local\"\ncommands = [[\"sh\"]]\nopens_per_second = 3\n";
    let config = config(local, &[]);
    assert_eq!((config.providers[0].opens_per_second, config.providers[0].open_burst), (Some(3), None));
    assert!(
        one(&format!("{local}open_burst = 0\n")).contains("providers.a.open_burst: expected a whole number from 1")
    );
}

#[test]
fn http_leads_to_private_addresses_only() {
    let pai = format!("{PAI}access_key_secret = \"s\"\nendpoint = \"http://127.0.0.1:8080\"\n");
    assert!(one(&pai).starts_with("proxy.toml:12:12: providers.pai.endpoint: expected an https URL; "));
    let config = config(&format!("{pai}allow_private = true\n"), &[]);
    let ProviderKind::PaiDlc(pai) = &config.providers[0].kind else { panic!("a pai-dlc provider") };
    assert_eq!(pai.endpoint.to_string(), "http://127.0.0.1:8080");
}

#[test]
fn a_certificate_of_a_client_needs_roots_to_verify_it_by_and_goes_instead_of_a_hash() {
    let key = "[[keys]]\nname = \"ci\"\n";
    let named = format!("{key}certificate = \"spiffe://example.com/ci\"\n");
    assert_eq!(
        one(&named),
        "proxy.toml:8:15: tls.client_ca: required: expected the path of a PEM file with the roots that certificates of \
         clients are verified by, found nothing"
    );
    let told = one(&format!("client_ca = \"c.pem\"\n{key}"));
    assert!(told.starts_with("proxy.toml:7:1: keys.ci.hash: required: expected \"sha256:\" and 64"), "{told}");
    let told = one(&format!("client_ca = \"c.pem\"\n{key}certificate = \"CN=ci\""));
    assert!(told.starts_with("proxy.toml:9:15: keys.ci.certificate: expected \"sha256:\" and 64"), "{told}");
    let told = one("client_auth = \"required\"\n");
    assert!(told.starts_with("proxy.toml:6:15: tls.client_auth: expected tls.client_ca to be set as well"), "{told}");
    let config = config(&format!("client_ca = \"c.pem\"\n{named}"), &[]);
    assert_eq!(config.keys[0].hash, None);
}

#[test]
fn further_certificates_are_told_apart_by_their_places_and_may_come_from_a_variable() {
    let pair = "[[tls.certificates]]\ncert = \"a.pem\"\nkey = \"a.key\"\n";
    let told = mistakes(&format!("{pair}[[tls.certificates]]\ncert = 1\n"), &[]);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("proxy.toml:9:1: tls.certificates[1].key: required: expected the path"), "{told:?}");
    assert!(told[1].starts_with("proxy.toml:10:8: tls.certificates[1].cert: expected the path"), "{told:?}");
    let variable = "[{ cert = \"b.pem\", key = \"b.key\" }, { cert = \"c.pem\", key = \"c.key\" }]";
    let config = config(pair, &[("POLYTTY__TLS__CERTIFICATES", variable)]);
    assert_eq!(config.tls.certificates.len(), 3);
    assert!(config.tls.certificates[2].key.ends_with("c.key"));
}

#[test]
fn names_are_unique_in_their_list_only() {
    let hash = format!("hash = \"sha256:{}\"\n", "0aF".repeat(22).split_at(64).0);
    let local = "kind = \"local\"\ncommands = [[\"sh\"]]\n";
    let key = |name: &str| format!("[[keys]]\nname = \"{name}\"\n{hash}");
    let config = config(&format!("{}{}[[providers]]\nname = \"a\"\n{local}", key("a"), key("b")), &[]);
    assert_eq!((config.keys.len(), config.keys[0].hash.unwrap()[..3].to_vec()), (2, vec![0x0a, 0xf0, 0xaf]));
    let told = mistakes(&[key("a"), key("b"), key("a"), key("a")].concat(), &[]);
    for (mistake, line) in told.iter().zip([13, 16]) {
        let expected = "keys.a.name: a second entry of this name; the first is at proxy.toml:7:8, and names are unique";
        assert_eq!(*mistake, format!("proxy.toml:{line}:8: {expected}"));
    }
    assert_eq!(told.len(), 2);
}

#[test]
fn files_that_are_named_are_verified_on_request() {
    let home = Home::new(&format!("{REQUIRED}{PAI}access_key_secret = \"s\"\nca = \"ca.pem\"\n"));
    home.write("c.pem", "");
    std::fs::create_dir(home.path("k.pem")).unwrap();
    let loaded = home.load(&[]).unwrap();
    let errors = loaded.verify_files().unwrap_err().to_string();
    let told: Vec<_> = errors.lines().map(|line| line.replace(&format!("{}/", home.0.path().display()), "")).collect();
    assert_eq!(
        told,
        [
            "proxy.toml:5:7: tls.key: cannot read k.pem: is a directory",
            "proxy.toml:12:6: providers.pai.ca: cannot read ca.pem: No such file or directory (os error 2)",
        ]
    );
    std::fs::remove_dir(home.path("k.pem")).unwrap();
    home.write("k.pem", "");
    home.write("ca.pem", "");
    assert_eq!(loaded.verify_files(), Ok(()));
}

#[test]
fn the_ways_of_eci_are_named() {
    let eci = "[[providers]]\nname = \"e\"\nkind = \"eci\"\nregion = \"cn-x\"\naccess_key_id = \"id\"\naccess_key_secret = \"s\"\n";
    for (line, expected) in [
        ("resize_mode = \"k8s\"", "expected \"k8s4\" or \"stty\" or \"off\" (did you mean \"k8s4\"?), found \"k8s\""),
        ("resize_mode = true", "expected \"k8s4\" or \"stty\" or \"off\", found true"),
        ("subprotocol = \"\"", "expected \"v4.channel.k8s.io\", found \"\""),
        ("endpoint = \"http://127.0.0.1:1\"", "expected an https URL; http is for simulated providers"),
    ] {
        let told = one(&format!("{eci}{line}\n"));
        assert!(told.starts_with("proxy.toml:12:") && told.contains(expected), "{told}");
    }
    let config = config(&format!("{eci}resize_mode = \"stty\"\n"), &[]);
    let ProviderKind::Eci(eci) = &config.providers[0].kind else { panic!("an eci provider") };
    assert_eq!((eci.endpoint.to_string().as_str(), eci.subprotocol), ("https://eci.cn-x.aliyuncs.com", None));
    assert_eq!(eci.resize_mode, polytty_dialect::channel::ResizeMode::Stty);
    assert_eq!((config.providers[0].kind.as_str(), config.providers[0].kind.title()), ("eci", "ECI"));
}

#[test]
fn dockhand_takes_a_token_or_an_account() {
    let dockhand = "[[providers]]\nname = \"d\"\nkind = \"dockhand\"\nurl = \"https://d.example\"\n";
    for (lines, expected) in [
        ("", "6:1: providers.d.token: required: expected an API token of Dockhand, or username and password"),
        ("username = \"u\"", "6:1: providers.d.password: required: expected the password of the account"),
        ("password = \"p\"", "6:1: providers.d.username: required: expected the name of an account"),
        ("username = \"u\"\npassword = \"p\"\ntoken = \"t\"", "12:9: providers.d.token: expected either token or"),
        (
            "token = \"t\"\nlogin_provider = \"ldap:\"",
            "11:18: providers.d.login_provider: expected \"local\", \"ldap\"",
        ),
        ("token = \"t\"\nflow = \"http\"", "11:8: providers.d.flow: expected \"websocket\" or \"documented\""),
        (
            "token = \"t\"\nattach_path = \"/api/exec\"",
            "11:15: providers.d.attach_path: expected a path with {exec_id}",
        ),
        ("token = \"t\"\nattach_path = \"/a b/{exec_id}\"", "11:15: providers.d.attach_path: expected a path with"),
        (
            "token = \"t\"\nattach_messages = \"text\"",
            "11:19: providers.d.attach_messages: expected \"json\" or \"raw\"",
        ),
        (
            "token = \"t\"\nfirst_output_timeout = \"0s\"",
            "11:24: providers.d.first_output_timeout: expected a duration",
        ),
        ("token = \"t\"\nsilence_timeout = \"1s\"", "11:19: providers.d.silence_timeout: expected a duration"),
        ("token = \"t\"\ntyped_ending = \"yes\"", "11:16: providers.d.typed_ending: expected true or false"),
    ] {
        let told = one(&format!("{dockhand}{lines}\n"));
        assert!(told.starts_with(&format!("proxy.toml:{expected}")), "{told}");
    }
    let told = one(&format!("{}token = \"t\"\n", dockhand.replace("https", "http")));
    assert!(told.contains("url: expected an https URL; http is for private networks"), "{told}");

    let login = "username = \"u\"\npassword = \"p\"\nlogin_provider = \"ldap:2\"\nflow = \"documented\"\n";
    let config = config(&format!("{dockhand}{login}silence_timeout = \"0s\"\n"), &[]);
    let ProviderKind::Dockhand(dockhand) = &config.providers[0].kind else { panic!("a dockhand provider") };
    let DockhandCredentials::Login { username, password, provider } = &dockhand.credentials else { panic!("a login") };
    assert_eq!((username.as_str(), password.expose(), provider.as_str()), ("u", "p", "ldap:2"));
    let DockhandFlow::Documented { attach_path, messages } = &dockhand.flow else { panic!("the documented flow") };
    assert_eq!((attach_path.as_str(), *messages), ("/api/exec/{exec_id}/attach", AttachMessages::Json));
    assert_eq!((dockhand.silence_timeout, dockhand.first_output_timeout.as_secs()), (None, 1));
    assert_eq!((config.providers[0].kind.as_str(), config.providers[0].kind.title()), ("dockhand", "Dockhand"));
}
