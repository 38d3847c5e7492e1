//! Who may call and open terminals.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use polytty_simulator::{
    ManualClock,
    dockhand::{self, Auth, Options},
};
use serde_json::json;

use crate::support::{
    SILENCE, Terminal, ask, bearer, call, call_as, login, options, read_all, start, terminal_path, until, upgrade,
};

fn clock() -> ManualClock {
    ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
}

#[tokio::test]
async fn a_login_brings_a_cookie_that_opens_everything() {
    let simulator = start(options()).await;
    let nobody = call_as(&simulator, "GET /api/auth/session", "", "").await.json();
    assert_eq!(nobody, json!({"authenticated": false, "authEnabled": true}));
    let reply = login(&simulator, None).await;
    let user = json!({"id": 1, "username": "admin", "email": null, "displayName": null, "isAdmin": true});
    assert_eq!((reply.status, reply.json()), (200, json!({"success": true, "user": user})));
    let set = reply.header("set-cookie").unwrap();
    let token =
        set.strip_prefix("dockhand_session=").unwrap().strip_suffix("; Max-Age=86400; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(token.unwrap().len(), 43);
    let cookie = reply.cookie();
    let somebody = call_as(&simulator, "GET /api/auth/session", &cookie, "").await.json();
    assert_eq!(somebody, json!({"authenticated": true, "authEnabled": true, "user": user}));
    assert_eq!(call_as(&simulator, "GET /api/environments", &cookie, "").await.status, 200);
    let mut terminal = Terminal::open_as(&simulator, &terminal_path(&simulator, 1), &cookie).await;
    terminal.expect("# ").await;
    assert_eq!((simulator.counters().logins, simulator.counters().logins_refused), (1, 0));

    // An open terminal outlives its session.
    let reply = call_as(&simulator, "POST /api/auth/logout", &cookie, "").await;
    assert!(reply.header("set-cookie").unwrap().starts_with("dockhand_session=; Max-Age=0"));
    assert_eq!(call_as(&simulator, "GET /api/environments", &cookie, "").await.status, 401);
    terminal.type_in("echo al''ive\r").await;
    terminal.expect("alive").await;
}

#[tokio::test]
async fn a_refused_upgrade_is_a_status_line_and_nothing_more() {
    let simulator = start(options()).await;
    let path = terminal_path(&simulator, 1);
    for headers in
        ["", "Authorization: Bearer dh_wrong\r\n", "Authorization: Basic YTpi\r\n", "Cookie: dockhand_session=x\r\n"]
    {
        let mut stream = ask(&simulator, &path, headers).await;
        assert_eq!(read_all(&mut stream).await, "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n", "{headers}");
    }
    // The token is read from no other place.
    let token = &simulator.credential().token;
    let mut stream =
        ask(&simulator, &format!("{path}&token={token}"), &format!("Sec-WebSocket-Protocol: {token}\r\n")).await;
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 401 "));
    let (counters, openings) = (simulator.counters(), simulator.openings());
    assert_eq!((counters.upgrades_refused, counters.upgrades_taken, openings.len()), (5, 0, 0));
    // A cookie that is no good does not stand in the way of a token that is.
    let both = format!("Cookie: dockhand_session=x\r\n{}", bearer(&simulator));
    Terminal::open_as(&simulator, &path, &both).await.expect("# ").await;
}

#[tokio::test]
async fn other_upgrades_end_without_an_answer() {
    let simulator = start(options()).await;
    for path in ["/", "/api/containers/web/logs", "/api/hawser/connect", "/exec"] {
        let mut stream = ask(&simulator, path, &bearer(&simulator)).await;
        assert_eq!(read_all(&mut stream).await, "", "{path}");
    }
}

#[tokio::test]
async fn a_session_ends_in_its_time_and_a_new_login_helps() {
    let clock = clock();
    let simulator =
        start(Options { clock: clock.clock(), session_life: Duration::from_secs(3_600), ..options() }).await;
    let path = terminal_path(&simulator, 1);
    let reply = login(&simulator, None).await;
    assert!(reply.header("set-cookie").unwrap().contains("; Max-Age=3600;"));
    clock.advance(Duration::from_secs(3_599));
    assert_eq!(upgrade(&simulator, &path, &reply.cookie()).await.0.status, 101);
    clock.advance(Duration::from_secs(1));
    assert_eq!(upgrade(&simulator, &path, &reply.cookie()).await.0.status, 401);
    let reply = login(&simulator, None).await;
    assert_eq!(upgrade(&simulator, &path, &reply.cookie()).await.0.status, 101);
    simulator.log_out_all();
    assert_eq!(upgrade(&simulator, &path, &reply.cookie()).await.0.status, 401);
}

#[tokio::test]
async fn logins_are_refused_in_the_servers_words_and_at_last_locked() {
    let clock = clock();
    let simulator = start(Options { clock: clock.clock(), ..options() }).await;
    let attempt = async |body: &str| {
        let reply = call_as(&simulator, "POST /api/auth/login", "", body).await;
        (reply.status, reply.error())
    };
    for body in ["", "{", "[]", r#"{"username":"admin"}"#, r#"{"username":"","password":"x"}"#] {
        assert_eq!(attempt(body).await, (400, "Username and password are required".to_owned()), "{body}");
    }
    let ldap = json!({"username": "admin", "password": simulator.credential().password, "provider": "ldap"});
    assert_eq!(attempt(&ldap.to_string()).await.0, 401);
    let wrong = r#"{"username":"admin","password":"wrong"}"#;
    for _ in 0..5 {
        assert_eq!(attempt(wrong).await, (401, "Invalid username or password".to_owned()));
    }
    clock.advance(Duration::from_secs(100));
    let locked = login(&simulator, None).await;
    let message = "Too many login attempts. Please try again in 800 seconds.";
    assert_eq!((locked.status, locked.error().as_str()), (429, message));
    clock.advance(Duration::from_secs(800));
    assert_eq!(login(&simulator, None).await.status, 200);
}

/// The code of an authenticator app (RFC 6238) for a secret in base32.
fn authenticator(secret: &str, at: SystemTime) -> String {
    let bits: String = secret
        .bytes()
        .map(|byte| if byte.is_ascii_uppercase() { byte - b'A' } else { byte - b'2' + 26 })
        .map(|five| format!("{five:05b}"))
        .collect();
    let key: Vec<_> = bits
        .as_bytes()
        .chunks_exact(8)
        .map(|byte| u8::from_str_radix(str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect();
    let step = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 30;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key), &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7FFF_FFFF;
    format!("{:06}", number % 1_000_000)
}

#[tokio::test]
async fn a_second_factor_is_asked_for_by_a_good_status() {
    let clock = clock();
    let simulator = start(Options { auth: Auth::Mfa, clock: clock.clock(), ..options() }).await;
    let reply = login(&simulator, None).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"requiresMfa": true})));
    assert_eq!(reply.header("set-cookie"), None);
    let code = authenticator(&simulator.mfa_secret(), clock.now());
    let wrong = if code == "123456" { "654321" } else { "123456" };
    let reply = login(&simulator, Some(wrong)).await;
    assert_eq!((reply.status, reply.error().as_str()), (401, "Invalid MFA code"));
    let cookie = login(&simulator, Some(&code)).await.cookie();
    Terminal::open_as(&simulator, &terminal_path(&simulator, 1), &cookie).await.expect("# ").await;
    let backup = simulator.backup_code().unwrap();
    assert!(login(&simulator, Some(&backup)).await.header("set-cookie").is_some());
    assert_eq!(login(&simulator, Some(&backup)).await.status, 401, "once only");
    assert_eq!(simulator.backup_code(), None);
    // A token needs no code.
    Terminal::open(&simulator).await.expect("# ").await;
}

#[tokio::test]
async fn a_session_can_make_tokens_and_a_token_cannot() {
    let clock = clock();
    let simulator = start(Options { clock: clock.clock(), ..options() }).await;
    let cookie = login(&simulator, None).await.cookie();
    let body = |expires: Option<&str>| {
        json!({"name": "ci", "password": simulator.credential().password, "expiresAt": expires}).to_string()
    };
    assert_eq!(call(&simulator, "POST /api/auth/tokens", &body(None)).await.status, 401);
    let made = call_as(&simulator, "POST /api/auth/tokens", &cookie, &body(Some("2027-01-15T08:00:10Z"))).await;
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert_eq!((made.status, token.len(), &token[..3]), (201, 46, "dh_"));
    assert!(token.starts_with(made.json()["tokenPrefix"].as_str().unwrap()));
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let path = terminal_path(&simulator, 1);
    assert_eq!(upgrade(&simulator, &path, &bearer).await.0.status, 101);
    clock.advance(Duration::from_secs(10));
    assert_eq!(upgrade(&simulator, &path, &bearer).await.0.status, 401);
    let wrong = r#"{"name":"ci","password":"wrong"}"#;
    assert_eq!(call_as(&simulator, "POST /api/auth/tokens", &cookie, wrong).await.status, 401);
}

#[tokio::test]
async fn bad_tokens_lock_calls_but_not_upgrades() {
    let simulator = start(options()).await;
    for _ in 0..15 {
        assert_eq!(
            call_as(&simulator, "GET /api/environments", "Authorization: Bearer dh_x\r\n", "").await.status,
            401
        );
    }
    let reply = call(&simulator, "GET /api/environments", "").await;
    assert_eq!((reply.status, reply.header("retry-after").unwrap()), (429, "300"));
    Terminal::open(&simulator).await.expect("# ").await;
}

#[tokio::test]
async fn where_nobody_is_asked_the_containers_name_is_the_secret() {
    let simulator = start(Options { auth: Auth::Off, ..options() }).await;
    let session = call_as(&simulator, "GET /api/auth/session", "", "").await.json();
    assert_eq!(session, json!({"authenticated": false, "authEnabled": false}));
    let credential = simulator.credential();
    let body = json!({"username": credential.username, "password": credential.password}).to_string();
    let reply = call_as(&simulator, "POST /api/auth/login", "", &body).await;
    assert_eq!((reply.status, reply.error().as_str()), (400, "Authentication is not enabled"));
    let environments = call_as(&simulator, "GET /api/environments", "", "").await;
    assert_eq!(environments.status, 200);
    let name = simulator.container();
    assert!(name.len() == 28 && !String::from_utf8_lossy(&environments.body).contains(name));
    Terminal::open_as(&simulator, &terminal_path(&simulator, 1), "").await.expect("# ").await;
    let mut guess = Terminal::open_as(&simulator, "/api/containers/web/exec?envId=1", "").await;
    guess.end().await;
    assert_eq!(guess.news, ["No such container: web"]);
}

#[tokio::test]
async fn other_names_and_origins_get_nowhere() {
    let simulator = start(options()).await;
    let path = terminal_path(&simulator, 1);
    for (origin, status) in
        [("http://evil.example", 403), ("null", 403), (&*format!("http://{}", simulator.authority()), 101)]
    {
        let headers = format!("{}Origin: {origin}\r\n", bearer(&simulator));
        assert_eq!(upgrade(&simulator, &path, &headers).await.0.status, status, "{origin}");
    }
    let request = crate::support::upgrade_request(&simulator, &path, &bearer(&simulator));
    let request = request.replace(&simulator.authority(), "rebound.example");
    let reply = crate::support::exchange(&simulator.authority(), &request).await;
    assert_eq!((reply.status, reply.error().as_str()), (421, "This is another host."));
    let beyond = Options { listen: "0.0.0.0:0".parse().unwrap(), ..options() };
    assert!(dockhand::start(beyond).await.unwrap_err().to_string().contains("loopback"));
}

#[tokio::test]
async fn credentials_are_new_at_each_start_and_in_the_ready_line_only() {
    let (one, two) = (start(options()).await, start(options()).await);
    assert_ne!(one.credential().password, two.credential().password);
    assert_ne!(one.credential().token, two.credential().token);
    let line = one.ready_line();
    assert_eq!(line["provider"]["token"], one.credential().token.as_str());
    assert_eq!(line["target"], json!({"container": "web", "environment": 1, "shell": "/bin/sh"}));
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&line), ["kind", "provider", "target", "url"]);
    assert_eq!(keys(&line["provider"]), ["allow_private", "kind", "token", "url"]);
    let line = one.ready_line_with_login();
    assert_eq!(keys(&line["provider"]), ["allow_private", "kind", "password", "url", "username"]);
    assert!(!format!("{one:?}").contains(&one.credential().password));
    let address = one.addr();
    drop(one);
    until("nobody listens", || std::net::TcpStream::connect_timeout(&address, SILENCE).is_err()).await;
}
