//! `tickets.store`, and what belongs to it.

use super::*;

fn told(tickets: &str) -> String {
    let told = mistakes(&format!("[tickets]\n{tickets}\n"), &[]);
    assert_eq!(told.len(), 1, "{tickets}: {told:?}");
    told.concat()
}

fn server(tickets: &str, variables: &[(&str, &str)]) -> RedisServer {
    match config(&format!("[tickets]\n{tickets}\n"), variables).tickets.store {
        TicketStore::Redis(server) => server,
        TicketStore::Memory => panic!("{tickets}: expected a Redis"),
    }
}

#[test]
fn the_password_comes_by_the_url_or_from_where_secrets_are_kept() {
    let variables = [("STORE_PASSWORD", "hunter2")];
    let kept = server("store = \"rediss://app@h\"\npassword = { env = \"STORE_PASSWORD\" }", &variables);
    assert_eq!(kept.password.as_ref().map(Secret::expose), Some("hunter2"));
    assert_eq!((kept.username.as_deref(), kept.tls, kept.ca), (Some("app"), true, None));
    let variable = [("POLYTTY__TICKETS__STORE", "redis://:hunter2@h:1/2")];
    let url = server("", &variable);
    assert_eq!((url.to_string().as_str(), url.password.is_some()), ("redis://h:1/2", true));
    assert_eq!(
        told("store = \"redis://:hunter2@h\"\npassword = \"other\""),
        "proxy.toml:8:12: tickets.password: expected one password, found another one in tickets.store"
    );
}

#[test]
fn a_root_is_trusted_for_tls_and_is_a_file_beside_the_configuration() {
    let ca = server("store = \"rediss://h\"\nca = \"redis.pem\"", &[]).ca.unwrap();
    assert!(ca.is_absolute() && ca.ends_with("redis.pem"), "{ca:?}");
    assert_eq!(
        told("store = \"redis://h\"\nca = \"redis.pem\""),
        "proxy.toml:8:6: tickets.ca: expected tickets.store to be rediss:// as well: there is no certificate without TLS"
    );
}

#[test]
fn every_mistake_says_what_would_be_right() {
    for (store, word) in [
        ("\"redis://h/x\"", "the number of a database from 0 to 9999"),
        ("\"redis://h:0x1\"", "redis://HOST:PORT/DATABASE"),
        ("\"postgres://h\"", "redis://HOST:PORT/DATABASE"),
        ("\"redis://u:hunter2%00@h\"", "%XX"),
        ("5", "redis://HOST:PORT/DATABASE"),
    ] {
        let told = told(&format!("store = {store}"));
        assert!(told.starts_with("proxy.toml:7:9: tickets.store: expected ") && told.contains(word), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn replicas_need_a_store_that_they_share_and_a_way_to_each_other() {
    let text = |store: &str, cluster: &str| {
        let files = "cert = \"c.pem\"\nkey = \"k.pem\"\nca = \"ca.pem\"";
        format!("[tickets]\nstore = \"{store}\"\n[cluster]\n{cluster}\n{files}\n")
    };
    let loaded = config(&text("redis://h", "listen = \"0.0.0.0:8444\"\nadvertise = \"one.internal:8444\""), &[]);
    let cluster = loaded.cluster.unwrap();
    assert_eq!((cluster.listen.port(), cluster.advertise.to_string().as_str()), (8444, "one.internal:8444"));
    for (store, cluster, word) in [
        (
            "memory",
            "listen = \"0.0.0.0:8444\"\nadvertise = \"h:8444\"",
            "proxy.toml:8:1: cluster: expected tickets.store",
        ),
        ("redis://h", "listen = \"0.0.0.0:8444\"\nadvertise = \"h\"", "proxy.toml:10:13: cluster.advertise: "),
        (
            "redis://h",
            "listen = \"0.0.0.0:8444\"\nadvertise = \"https://h:8444\"",
            "proxy.toml:10:13: cluster.advertise: ",
        ),
        ("redis://h", "listen = \"somewhere\"\nadvertise = \"h:8444\"", "proxy.toml:9:10: cluster.listen: "),
        ("redis://h", "advertise = \"h:8444\"", "proxy.toml:8:1: cluster.listen: required"),
    ] {
        let told = mistakes(&text(store, cluster), &[]);
        assert!(told.len() == 1 && told[0].contains(word), "{store} {cluster}: {told:?}");
    }
}
