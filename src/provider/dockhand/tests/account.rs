//! Logins and their renewal.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

fn login(peer: &Peer) -> Dockhand {
    let credentials = DockhandCredentials::Login {
        username: "ada".to_owned(),
        password: Secret::new("s3cret\"pass".to_owned()),
        provider: "ldap:2".to_owned(),
    };
    Dockhand { credentials, first_output_timeout: Duration::from_millis(100), ..settings(peer) }
}

fn is_login(asked: &Asked) -> bool {
    asked.line == "POST /api/auth/login"
}

fn session(nth: u32) -> Answer {
    let cookies = format!(
        "set-cookie: theme=dark\r\nset-cookie: dockhand_session=s3cret-{nth}; Max-Age=86400; Path=/; HttpOnly; SameSite=Lax\r\n"
    );
    Answer::Fields(200, cookies, json!({"success": true, "user": {"id": 1}}))
}

/// A Dockhand that hands out sessions and takes only the latest one, from `first` on.
async fn with_sessions(first: u32) -> Peer {
    let logins = AtomicU32::new(0);
    Peer::start(move |asked, _| {
        if is_login(asked) {
            return session(logins.fetch_add(1, Ordering::Relaxed) + 1);
        }
        let latest = logins.load(Ordering::Relaxed);
        let is_right = asked.field("cookie") == Some(&format!("dockhand_session=s3cret-{latest}")) && latest >= first;
        if is_right { Answer::Terminal(None) } else { Answer::Json(401, json!({"error": "Unauthorized"})) }
    })
    .await
}

#[tokio::test]
async fn a_login_is_made_once_and_its_cookie_alone_is_sent() {
    let peer = with_sessions(1).await;
    let provider = provider(login(&peer));
    let target = provider.target(&json!({"container": "web", "environment": 1})).unwrap();
    for _ in 0..3 {
        in_time(provider.open(&target, size())).await.unwrap();
    }
    assert_eq!(peer.lines(), ["POST /api/auth/login", EXEC, EXEC, EXEC]);
    let asked = peer.asked();
    let body: Value = serde_json::from_str(&asked[0].body).unwrap();
    assert_eq!(body, json!({"username": "ada", "password": "s3cret\"pass", "provider": "ldap:2"}));
    assert_eq!(asked[0].field("content-type"), Some("application/json"));
    assert_eq!(asked[1].field("cookie"), Some("dockhand_session=s3cret-1"));
    assert_eq!(asked[1].field("authorization"), None);
}

#[tokio::test]
async fn a_session_that_has_run_out_is_renewed_once_for_all_who_wait() {
    // The first session is refused from the start, as if it had run out.
    let peer = with_sessions(2).await;
    let provider = provider(login(&peer));
    let target = provider.target(&json!({"container": "web", "environment": 1})).unwrap();
    let opened = futures_util::future::join_all((0..8).map(|_| in_time(provider.open(&target, size())))).await;
    assert!(opened.iter().all(Result::is_ok));
    let logins = peer.asked().iter().filter(|asked| is_login(asked)).count();
    assert_eq!(logins, 2, "{:?}", peer.lines());
}

#[tokio::test]
async fn a_session_that_is_refused_when_it_is_fresh_is_the_end() {
    let peer = with_sessions(u32::MAX).await;
    let failure = open_with(login(&peer)).await.err().unwrap();
    assert_eq!(failure.code, Code::ProviderRefused);
    assert_eq!(peer.lines(), ["POST /api/auth/login", EXEC, "POST /api/auth/login", EXEC]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_is_not_repeated_until_its_time_is_over() {
    let peer = Peer::start(|_, _| Answer::Json(401, json!({"error": "Invalid username or password"}))).await;
    let provider = provider(login(&peer));
    let target = provider.target(&json!({"container": "web", "environment": 1})).unwrap();
    for _ in 0..20 {
        let failure = in_time(provider.open(&target, size())).await.err().unwrap();
        assert_eq!(failure.code, Code::ProviderRefused);
        assert_eq!(failure.message, "Dockhand does not accept the configured username and password.");
    }
    assert_eq!(peer.asked().len(), 1);
    tokio::time::sleep(Duration::from_secs(301)).await;
    in_time(provider.open(&target, size())).await.err().unwrap();
    assert_eq!(peer.asked().len(), 2);
}

#[tokio::test]
async fn each_way_to_be_refused_is_told() {
    for (status, body, code, words) in [
        (200, json!({"requiresMfa": true}), Code::ProviderRefused, "second factor"),
        (200, json!({"success": true}), Code::ProviderUnavailable, "no session"),
        (400, json!({"error": "Username and password are required"}), Code::ProviderRefused, "refused the login"),
        (403, json!({"error": "Local login is disabled"}), Code::ProviderRefused, "in this way"),
        (429, json!({"error": "Too many login attempts."}), Code::ProviderUnavailable, "locked"),
        (500, json!({}), Code::ProviderUnavailable, "out of order"),
    ] {
        let peer = Peer::start(move |_, _| Answer::Json(status, body.clone())).await;
        let failure = open_with(login(&peer)).await.err().unwrap();
        assert_eq!(failure.code, code, "{status}");
        assert!(failure.message.contains(words), "{failure:?}");
    }
}

#[tokio::test]
async fn where_authentication_is_off_nobody_needs_to_be_anybody() {
    let peer = Peer::start(|asked, _| match is_login(asked) {
        true => Answer::Json(400, json!({"error": "Authentication is not enabled"})),
        false => Answer::Terminal(None),
    })
    .await;
    open_with(login(&peer)).await.unwrap();
    assert_eq!(peer.asked()[1].field("cookie"), None);
}

#[tokio::test]
async fn a_cookie_that_is_none_is_not_sent_on() {
    for cookie in
        ["dockhand_session=", "dockhand_session=a b", "other=x", "dockhand_session=\"x\"", "dockhand_sessions=x"]
    {
        let fields = format!("set-cookie: {cookie}; Path=/\r\n");
        let peer = Peer::start(move |_, _| Answer::Fields(200, fields.clone(), json!({"success": true}))).await;
        assert_eq!(open_with(login(&peer)).await.err().unwrap().code, Code::ProviderUnavailable, "{cookie}");
    }
}
