//! Which file counts, and how variables go over it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use super::*;

fn with_ttl(seconds: u32) -> String {
    format!("{REQUIRED}[tickets]\nttl = \"{seconds}s\"\n")
}

fn ttl(loaded: &Loaded) -> u64 {
    loaded.config.tickets.ttl.as_secs()
}

#[test]
fn the_command_line_comes_before_the_variable_before_here_before_etc() {
    let home = Home::new(&with_ttl(3));
    for (name, seconds) in [("explicit.toml", 1), ("variable.toml", 2), ("etc.toml", 4)] {
        home.write(name, with_ttl(seconds));
    }
    let (explicit, variable, here, etc, none) = (
        home.path("explicit.toml"),
        home.path("variable.toml"),
        home.path("proxy.toml"),
        home.path("etc.toml"),
        home.path("none.toml"),
    );
    let named = environment(&[("POLYTTY_CONFIG", variable.to_str().unwrap())]);
    let unnamed = environment(&[("POLYTTY_CONFIG", "")]);
    let defaults: [&Path; 2] = [&here, &etc];
    for (explicit, environment, defaults, expected, file) in [
        (Some(explicit.as_path()), &named, defaults, 1, &explicit),
        (None, &named, defaults, 2, &variable),
        (None, &unnamed, defaults, 3, &here),
        (None, &unnamed, [&none, &etc], 4, &etc),
    ] {
        let loaded = load_with(explicit, environment, &defaults).unwrap();
        assert_eq!((ttl(&loaded), loaded.file.as_ref()), (expected, Some(file)));
    }
}

#[test]
fn a_named_file_must_be_there_and_readable() {
    let home = Home::new(REQUIRED);
    let (none, here) = (home.path("none.toml"), home.path("proxy.toml"));
    let error = load_with(Some(&none), &environment(&[]), &[&here]).unwrap_err().to_string();
    assert_eq!(error, format!("cannot read {}: No such file or directory (os error 2)", none.display()));

    let named = environment(&[("POLYTTY_CONFIG", none.to_str().unwrap())]);
    let error = load_with(None, &named, &[&here]).unwrap_err().to_string();
    assert!(error.starts_with("POLYTTY_CONFIG: cannot read "), "{error}");

    // A default that cannot be read is not passed over in silence.
    let directory = home.0.path();
    let error = load_with(None, &environment(&[]), &[directory, &here]).unwrap_err().to_string();
    assert!(error.contains("Is a directory"), "{error}");

    home.write("latin1.toml", b"# \xe9\n");
    let error = load(Some(&home.path("latin1.toml")), &environment(&[])).unwrap_err().to_string();
    assert!(error.ends_with("latin1.toml: the file is not UTF-8"), "{error}");
    home.write("large.toml", vec![b'\n'; FILE_MAX as usize + 1]);
    let error = load(Some(&home.path("large.toml")), &environment(&[])).unwrap_err().to_string();
    assert!(error.ends_with("large.toml: the file is larger than 1MiB"), "{error}");
    home.write("large.toml", format!("{REQUIRED}{}", "\n".repeat(FILE_MAX as usize - REQUIRED.len())));
    assert!(load(Some(&home.path("large.toml")), &environment(&[])).is_ok());
}

#[test]
fn without_a_file_the_environment_must_suffice() {
    let home = Home::new("");
    let none = home.path("none.toml");
    let errors = load_with(None, &environment(&[("POLYTTY__TLS__CERT", "c.pem")]), &[&none]).unwrap_err().to_string();
    let lines: Vec<_> = errors.lines().collect();
    assert!(lines[0].starts_with("no configuration file: looked for "), "{errors}");
    assert!(lines[0].ends_with("none.toml; name one with --config or POLYTTY_CONFIG"), "{errors}");
    assert!(lines[1].starts_with("POLYTTY__SERVER__PUBLIC_URL: server.public_url: required: expected "), "{errors}");
    assert!(lines[2].starts_with("POLYTTY__TLS__KEY: tls.key: required: expected "), "{errors}");
    assert_eq!(lines.len(), 3, "{errors}");

    let enough = environment(&[
        ("POLYTTY__SERVER__PUBLIC_URL", "https://t.example"),
        ("POLYTTY__TLS__CERT", "certs/c.pem"),
        ("POLYTTY__TLS__KEY", "/k.pem"),
        (
            "POLYTTY__PROVIDERS",
            r#"[{ name = "shell", kind = "local", commands = [["sh"], ["top", "-b"]], max_sessions = 3 }]"#,
        ),
        ("POLYTTY__PROVIDERS__SHELL__OPEN_TIMEOUT", "3s"),
    ]);
    let loaded = load_with(None, &enough, &[&none]).unwrap();
    assert_eq!(loaded.file, None);
    assert_eq!(
        (loaded.config.tls.certificates[0].cert.to_str(), loaded.config.tls.certificates[0].key.to_str()),
        (Some("certs/c.pem"), Some("/k.pem"))
    );
    let [shell] = loaded.config.providers.as_slice() else { panic!("one provider") };
    assert_eq!((shell.max_sessions, shell.open_timeout), (3, Duration::from_secs(3)));
    let ProviderKind::Local(local) = &shell.kind else { panic!("a local one") };
    assert_eq!(local.commands, [vec!["sh"], vec!["top", "-b"]]);
}

#[test]
fn a_list_in_a_variable_has_its_mistakes_there() {
    let list =
        r#"[{ name = "a", kind = "local" }, { name = "a", kind = "local", commands = [["sh"]], max_sesions = "x" }]"#;
    let told = mistakes("[[providers]]\nnot = \"read\"\n", &[("POLYTTY__PROVIDERS", list), ("POLYTTY__KEYS", "{")]);
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].starts_with("POLYTTY__KEYS: keys: expected a TOML array of tables such as "), "{told:?}");
    assert!(told[1].starts_with("POLYTTY__PROVIDERS: providers.a.commands: required: "), "{told:?}");
    assert!(told[2].contains("providers.a.max_sesions: unknown key, did you mean max_sessions?"), "{told:?}");
    assert!(told[3].contains("providers.a.name: a second entry of this name; the first is at POLYTTY__PROVIDERS"));
}

#[test]
fn variables_go_over_every_type_of_key() {
    let file = "[tickets]\nttl = \"3s\"\n[limits]\nsessions = 3\nmint_burst = 5\n[[providers]]\nname = \"my-shell\"\n\
                kind = \"local\"\ncommands = [[\"sh\"]]\n";
    let config = config(
        file,
        &[
            ("POLYTTY__TICKETS__TTL", "1m"),
            ("POLYTTY__LIMITS__SESSIONS", "77"),
            ("POLYTTY__LIMITS__BODY", "1MiB"),
            ("POLYTTY__SERVER__LISTEN", "[::1]:443"),
            ("POLYTTY__SERVER__ADMIN_LISTEN", ""),
            ("POLYTTY__SERVER__ORIGINS", "https://a.example, https://b.example:81"),
            ("POLYTTY__LOG__FORMAT", "json"),
            ("POLYTTY__PROVIDERS__MY_SHELL__ALLOW_PRIVATE", "true"),
            ("POLYTTY__PROVIDERS__MY_SHELL__COMMANDS", r#"[["bash", "-l"]]"#),
            ("UNRELATED", "x"),
            ("POLYTTY_LOG", "x"),
        ],
    );
    assert_eq!(config.tickets.ttl, Duration::from_secs(60));
    assert_eq!((config.limits.sessions, config.limits.mints.burst, config.limits.body), (77, 5, 1 << 20));
    assert_eq!((config.server.listen.to_string().as_str(), config.server.admin_listen), ("[::1]:443", None));
    let origins: Vec<_> = config.server.origins.iter().map(|origin| origin.as_str()).collect();
    assert_eq!(origins, ["https://a.example", "https://b.example:81"]);
    assert_eq!(config.log.format, LogFormat::Json);
    let [Provider { allow_private: true, kind: ProviderKind::Local(local), .. }] = config.providers.as_slice() else {
        panic!("one local provider")
    };
    assert_eq!(local.commands, [["bash", "-l"]]);
}

#[test]
fn an_empty_list_and_a_toml_list_can_come_from_a_variable() {
    let origins = |text| config("", &[("POLYTTY__SERVER__ORIGINS", text)]).server.origins.len();
    assert_eq!((origins(""), origins(" [] "), origins(r#"["https://a.example", "https://b.example"]"#)), (0, 0, 2));
    let wrong = mistakes("", &[("POLYTTY__SERVER__ORIGINS", "[\"https://a.example\"")]);
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].starts_with("POLYTTY__SERVER__ORIGINS: server.origins: not TOML: unclosed array"), "{wrong:?}");
}

#[test]
fn an_entry_is_reached_by_its_name() {
    let two = |a: &str, b: &str| {
        [a, b]
            .map(|name| format!("[[providers]]\nname = \"{name}\"\nkind = \"local\"\ncommands = [[\"sh\"]]\n"))
            .concat()
    };
    let config = config(
        &two("a", "a__b.c"),
        &[("POLYTTY__PROVIDERS__A__MAX_SESSIONS", "1"), ("POLYTTY__PROVIDERS__A__B_C__MAX_SESSIONS", "2")],
    );
    assert_eq!(config.providers.iter().map(|provider| provider.max_sessions).collect::<Vec<_>>(), [1, 2]);

    assert_eq!(
        mistakes(&two("a-b", "a.b"), &[("POLYTTY__PROVIDERS__A_B__MAX_SESSIONS", "1")]),
        ["POLYTTY__PROVIDERS__A_B__MAX_SESSIONS: providers: the entries that a variable can change are A_B, A_B"]
    );
    assert_eq!(
        mistakes(&two("a", "b"), &[("POLYTTY__PROVIDERS__C__MAX_SESSIONS", "1"), ("POLYTTY__KEYS__C__HASH", "")]),
        [
            "POLYTTY__KEYS__C__HASH: keys: the entries that a variable can change are none: there is no entry with a name",
            "POLYTTY__PROVIDERS__C__MAX_SESSIONS: providers: the entries that a variable can change are A, B",
        ]
    );
}

#[test]
fn a_variable_that_sets_nothing_is_a_mistake() {
    let told = mistakes(
        "",
        &[
            ("POLYTTY__TICKETS__TTLL", "1m"),
            ("POLYTTY__TICKET__TTL", "1m"),
            ("POLYTTY__TICKETS__ttl", "1m"),
            ("POLYTTY__TICKETS", "1m"),
            ("POLYTTY__TICKETS__", "1m"),
            ("POLYTTY__TICKETS__TTL__X", "1m"),
            ("POLYTTY____TTL", "1m"),
            ("POLYTTY__LIMITS__SESSIONS", "many"),
        ],
    );
    let unknown = "unknown variable: expected POLYTTY__SECTION__KEY in upper case, such as POLYTTY__SERVER__LISTEN";
    assert_eq!(
        told,
        [
            "POLYTTY__LIMITS__SESSIONS: limits.sessions: expected a whole number from 1 to 1000000, found \"many\"".to_owned(),
            format!("POLYTTY__TICKETS: {unknown}"),
            format!("POLYTTY__TICKETS__: {unknown}"),
            "POLYTTY__TICKETS__TTLL: tickets.ttll: unknown key, did you mean ttl?; the keys here are ttl, resume_ttl, store, password, ca".to_owned(),
            format!("POLYTTY__TICKETS__TTL__X: {unknown}"),
            format!("POLYTTY__TICKETS__ttl: {unknown}"),
            "POLYTTY__TICKET__TTL: ticket: unknown key, did you mean tickets?; the keys here are server, tls, tickets, \
             limits, sessions, recording, log, cluster, jwt, keys, providers"
                .to_owned(),
            format!("POLYTTY____TTL: {unknown}"),
        ]
    );
}

#[test]
fn a_variable_that_is_no_text_is_a_mistake_and_names_itself_without_control_characters() {
    let home = Home::new(REQUIRED);
    let variables: Environment = [
        (OsString::from("POLYTTY__LOG__FILTER"), OsString::from_vec(vec![0xff])),
        (OsString::from("POLYTTY__LOG__\u{1b}[2J"), OsString::from("x")),
        (OsString::from_vec(vec![0xff]), OsString::from_vec(vec![0xff])),
    ]
    .into_iter()
    .collect();
    let errors = load(Some(&home.path("proxy.toml")), &variables).unwrap_err().to_string();
    assert!(errors.contains("POLYTTY__LOG__FILTER: the value of the variable is not UTF-8"), "{errors}");
    assert!(errors.contains(r"POLYTTY__LOG__\u{1b}[2J: unknown variable"), "{errors}");
    assert_eq!(errors.lines().count(), 2, "{errors}");
}

#[test]
fn a_quoted_key_is_no_path() {
    let told = Home::new(&format!("\"tickets.ttl\" = \"1s\"\n\"keys[0]\" = 1\n{REQUIRED}")).mistakes(&[]);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("proxy.toml:1:1: \"tickets.ttl\": unknown key"), "{told:?}");
    assert!(told[1].starts_with("proxy.toml:2:1: \"keys[0]\": unknown key"), "{told:?}");
}

#[test]
fn paths_start_at_the_directory_of_the_file() {
    let home = Home::new(&REQUIRED.replace("k.pem", "/abs/k.pem"));
    let config = home.load(&[("POLYTTY__TLS__CERT", "sub/c.pem")]).unwrap().config;
    assert_eq!(config.tls.certificates[0].cert, home.path("sub/c.pem"));
    assert_eq!(config.tls.certificates[0].key, Path::new("/abs/k.pem"));
}
