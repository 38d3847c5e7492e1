//! SIGHUP, sent to the real process.

use http::Method;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::common::{Client, Connect, Served, Site, eventually};

/// A new key, and the entry by which it is known.
fn key(name: &str) -> (String, Value) {
    let (key, hash) = polytty::auth::new_key().unwrap();
    let hash = hash.map(|byte| format!("{byte:02x}")).concat();
    (key, json!({ "name": name, "hash": format!("sha256:{hash}") }))
}

/// Puts another certificate into the place of the one that is there.
fn renew(served: &Served) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(served.home().join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(served.home().join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

async fn status(site: &Site, key: &str) -> u16 {
    site.call(key, Method::GET, "/v1/sessions", None).await.status.as_u16()
}

#[tokio::test]
async fn a_new_configuration_is_in_force_at_once_and_whoever_is_there_stays() {
    let mut served = Served::start(|_| Vec::new(), |_| {}).await;
    let mut client = served.open("local").await;
    assert_eq!(client.run("marker=kept; echo set").await, "set\r\n");
    let friend = Connect { origin: Some("https://friend.example"), ..Connect::default() };
    let link = served.mint("local").await;
    assert_eq!(Client::connect(&served, &link, friend).await.err().unwrap(), 403);

    let root = renew(&served);
    let ((new, entry), listened) = (key("new"), served.address);
    let said = served
        .reload(|config| {
            config["keys"] = json!([entry]);
            config["server"]["origins"] = json!(["https://friend.example"]);
            config["server"]["listen"] = json!("127.0.0.1:1");
            config["limits"] = json!({ "body": "1KiB", "sessions": 17 });
            config["log"] = json!({ "filter": "info,polytty=debug" });
        })
        .await;
    for told in ["\"keys\"", "\"server.origins\"", "\"limits.body\"", "\"log.filter\""] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let restart = eventually(async || {
        let log = served.log();
        log.lines().find(|line| line.contains("need a restart")).map(str::to_owned)
    })
    .await;
    assert!(restart.contains("[\"server.listen\", \"limits.sessions\"]"), "{restart}");

    let renewed = Site::new(listened, new.clone(), Vec::new(), root);
    assert_eq!(status(&renewed, &new).await, 200, "by the new certificate, where it listened before");
    assert_eq!(status(&renewed, &served.key).await, 401, "the old key has gone");
    let large = json!({ "provider": "local", "target": {}, "labels": { "x": "y".repeat(1024) } });
    assert_eq!(renewed.api(Method::POST, "/v1/sessions", Some(large)).await.status, 413);
    let mut friendly = Client::connect(&renewed, &link, friend).await.unwrap();
    friendly.ready().await;
    assert_eq!(client.run("echo $marker").await, "kept\r\n", "who was there is there");
    renewed.raw("GET / HTTP/1.0\r\n\r\n").await;
    eventually(async || served.log().contains("a request head was refused").then_some(())).await;
    assert!(served.metrics().await.contains("polytty_config_reloads_total{result=\"applied\"} 1"));

    // What needs a restart is told again as long as it is so.
    let again = served.reload(|_| {}).await;
    assert!(again.contains("changed=[]"), "{again}");
    eventually(async || (served.log().matches("need a restart").count() == 2).then_some(())).await;
}

#[tokio::test]
async fn a_bad_configuration_changes_nothing_and_every_mistake_is_logged() {
    let mut served = Served::start(|_| Vec::new(), |_| {}).await;
    let mut client = served.open("local").await;
    let said = served.reload_text("[server]\npublic_url = 1\n[limits]\nbody = 7\n[tls]\ncert = \"cert.pem\"\n").await;
    for mistake in ["proxy.toml:2:14: server.public_url", "proxy.toml:4:8: limits.body", "tls.key: required"] {
        assert!(said.contains(mistake), "{mistake}: {said}");
    }
    let (_, entry) = key("new");
    // Fine in itself, but its certificate is not.
    std::fs::write(served.home().join("torn.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    let said = served
        .reload(|config| {
            config["keys"] = json!([entry]);
            config["tls"]["certificates"] = json!([{ "cert": "torn.pem", "key": "key.pem" }]);
        })
        .await;
    assert!(said.contains("torn.pem: expected a PEM certificate chain"), "{said}");
    assert_eq!(status(&served, &served.key).await, 200, "the key before it is good still");
    assert_eq!(client.run("echo here").await, "here\r\n");
    assert!(served.metrics().await.contains("polytty_config_reloads_total{result=\"refused\"} 2"));
    let said = served.reload(|config| config["tls"] = json!({ "cert": "cert.pem", "key": "key.pem" })).await;
    assert!(said.contains("certificates included"), "{said}");
    assert_eq!(status(&served, &served.key).await, 401, "the next good one counts");
}

#[tokio::test]
async fn sighup_while_it_drains_is_no_end() {
    let served = Served::start(|_| Vec::new(), |_| {}).await;
    let mut client = served.open("local").await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(served.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    eventually(async || served.log().contains("draining").then_some(())).await;
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    let closed = client.drain().await;
    assert_eq!(closed.code, 1001, "{closed:?}");
    eventually(async || served.log().contains("polytty has ended").then_some(())).await;
}
