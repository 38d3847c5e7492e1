//! polytty against a PAI-DLC that checks signatures: what the official SDK is put through in `tests/sdk`, polytty's own
//! client is put through here.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use polytty_simulator::ManualClock;
use polytty_simulator::pai_dlc::{self, Options};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{Client, Connect, World};

async fn refusal(world: &World) -> (String, String) {
    let link = world.mint("pai").await;
    let mut client = Client::connect(world, &link, Connect::default()).await.unwrap();
    let error = client.hear("error").await;
    (error["code"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_permanent_and_a_temporary_key_get_a_link_and_a_wrong_secret_or_token_is_refused_in_words() {
    let world = World::start().await;
    assert_eq!(world.open("pai").await.run("echo signed").await, "signed\r\n");
    assert_eq!(world.simulator.counters().calls_answered, 1);

    let simulator = pai_dlc::start(Options::default()).await.unwrap();
    let sts = simulator.sts_credential().clone();
    let world = World::around(simulator, |config| {
        config["providers"][0]["access_key_id"] = json!(sts.access_key_id);
        config["providers"][0]["access_key_secret"] = json!(sts.access_key_secret);
        config["providers"][0]["security_token"] = json!(sts.security_token);
    })
    .await;
    world.open("pai").await;
    assert_eq!(world.simulator.counters().links_minted, 1);

    for (field, wrong, mention) in [
        ("access_key_secret", "wrong", "secret"),
        ("access_key_id", "nobody", "AccessKey"),
        ("security_token", "stale", "token"),
    ] {
        let simulator = pai_dlc::start(Options::default()).await.unwrap();
        let sts = simulator.sts_credential().clone();
        let world = World::around(simulator, |config| {
            if field == "security_token" {
                config["providers"][0]["access_key_id"] = json!(sts.access_key_id);
                config["providers"][0]["access_key_secret"] = json!(sts.access_key_secret);
            }
            config["providers"][0][field] = json!(wrong);
        })
        .await;
        let (code, message) = refusal(&world).await;
        assert_eq!(code, "provider_refused", "{field}: {message}");
        assert!(message.contains(mention), "{field}: {message}");
        assert_eq!(world.simulator.counters().links_minted, 0);
    }
}

#[tokio::test]
async fn a_clock_that_is_off_by_more_than_fifteen_minutes_is_named_as_the_reason() {
    let clock = ManualClock::new(SystemTime::now() + Duration::from_secs(16 * 60));
    let simulator = pai_dlc::start(Options { clock: clock.clock(), ..Options::default() }).await.unwrap();
    let world = World::around(simulator, |_| {}).await;
    let (code, message) = refusal(&world).await;
    assert_eq!(code, "provider_refused");
    assert!(message.contains("clock"), "{message}");
}

#[tokio::test]
async fn every_call_has_a_nonce_of_its_own_and_a_call_that_is_sent_again_is_refused() {
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = relay.local_addr().unwrap().to_string();
    let simulator = pai_dlc::start(Options { authority: Some(authority), ..Options::default() }).await.unwrap();
    let address = simulator.addr();
    let calls = Arc::new(Mutex::new(Vec::new()));
    tokio::spawn(listen_in(relay, address, calls.clone()));
    let world = World::around(simulator, |_| {}).await;
    for _ in 0..2 {
        world.open("pai").await;
    }
    let calls: Vec<String> =
        calls.lock().unwrap().iter().filter(|call: &&String| call.contains("/webterminal?")).cloned().collect();
    let nonce = |call: &str| call.split("x-acs-signature-nonce: ").nth(1).unwrap()[..32].to_owned();
    assert_eq!(calls.len(), 2);
    assert_ne!(nonce(&calls[0]), nonce(&calls[1]));

    let minted = world.simulator.counters().links_minted;
    let mut again = TcpStream::connect(address).await.unwrap();
    again.write_all(calls[0].as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert!(again.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("SignatureNonceUsed"), "{answer}");
    assert_eq!(world.simulator.counters().links_minted, minted);
}

/// Passes connections on and writes down every call on them, none of which has a body.
async fn listen_in(listener: TcpListener, to: std::net::SocketAddr, calls: Arc<Mutex<Vec<String>>>) {
    while let Ok((client, _)) = listener.accept().await {
        let calls = calls.clone();
        tokio::spawn(async move {
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = TcpStream::connect(to).await.unwrap().into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            let mut head = Vec::new();
            while let Ok(byte) = from_client.read_u8().await {
                head.push(byte);
                if head.ends_with(b"\r\n\r\n") {
                    let call = String::from_utf8(std::mem::take(&mut head)).unwrap();
                    let is_upgrade = call.contains("pgrade: websocket");
                    to_server.write_all(call.as_bytes()).await.unwrap();
                    calls.lock().unwrap().push(call);
                    if is_upgrade {
                        break;
                    }
                }
            }
            let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        });
    }
}
