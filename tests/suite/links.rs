//! One-time links: who gets in, who does not, and what each of them is told.

use crate::common::{Client, Connect, Link, World};
use http::Method;
use serde_json::json;

const PLAIN: Connect<'_> = Connect { subprotocol: None, origin: None, field: None };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_clients_that_race_for_one_link_one_gets_in_and_all_others_hear_that_it_is_gone() {
    let world = World::with(|config| {
        let limits = config["limits"].as_object_mut().unwrap();
        limits.insert("connections".to_owned(), json!(4000));
        // Who was dialled first waits until all are: on a busy machine that takes a while.
        for wait in ["handshake_timeout", "request_timeout", "keep_alive"] {
            limits.insert(wait.to_owned(), json!("5m"));
        }
    })
    .await;
    for (round, how) in
        [PLAIN, Connect::default(), PLAIN, Connect::default(), PLAIN, Connect::default()].into_iter().enumerate()
    {
        let link = world.mint("local").await;
        let mut dialled = Vec::new();
        for _ in 0..1000 {
            dialled.push(world.dial().await);
        }
        let (mut winners, mut gone) = (0, 0);
        let attempts = dialled.into_iter().map(|stream| Client::connect_over(stream, &world, &link, how));
        for attempt in futures_util::future::join_all(attempts).await {
            match attempt {
                Err(status) => {
                    assert_eq!(status, 410);
                    assert!(how.subprotocol.is_none(), "a client of polytty.v1 is told by a close code");
                    gone += 1;
                }
                Ok(mut client) if how.subprotocol.is_none() => {
                    winners += 1;
                    client.ws.close(None).await.unwrap();
                }
                Ok(mut client) => {
                    assert!(client.read().await);
                    if client.said.iter().any(|said| said["operation"] == "ready") {
                        winners += 1;
                    } else {
                        let closed = client.drain().await;
                        assert_eq!(closed.code, 4410, "{closed:?}");
                        assert!(closed.reason.starts_with("link_gone: "), "{closed:?}");
                        gone += 1;
                    }
                }
            }
        }
        assert_eq!((winners, gone), (1, 999), "round {round}");
    }
}

#[tokio::test]
async fn only_an_upgrade_uses_a_link_and_every_other_request_gets_the_same_answer() {
    let world = World::start().await;
    let link = world.mint("local").await;
    let unknown = format!("/t/{}", "A".repeat(43));
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST, Method::DELETE] {
        let known = world.http(method.clone(), link.path(), None, &[]).await;
        let other = world.http(method.clone(), &unknown, None, &[]).await;
        assert_eq!((known.status.as_u16(), other.status.as_u16()), (426, 426), "{method}");
        assert_eq!(known.body, other.body);
    }
    let mut client = Client::connect(&world, &link, Connect::default()).await.unwrap();
    assert_eq!(client.subprotocol.as_deref(), Some("polytty.v1"));
    client.ready().await;
}

#[tokio::test]
async fn a_spent_link_is_gone_and_one_that_never_was_is_unknown_in_both_kinds_of_refusal() {
    let world = World::start().await;
    let link = world.mint("local").await;
    let mut client = Client::connect(&world, &link, Connect::default()).await.unwrap();
    client.ready().await;
    let never = Link { session: String::new(), url: format!("wss://x/t/{}", "A".repeat(43)) };
    for (link, status, close, slug) in [(&link, 410, 4410, "link_gone"), (&never, 404, 4404, "not_found")] {
        assert_eq!(Client::connect(&world, link, PLAIN).await.err().unwrap(), status);
        let mut told = Client::connect(&world, link, Connect::default()).await.unwrap();
        let error = told.hear("error").await;
        assert_eq!((error["code"].as_str().unwrap(), error["final"].as_bool().unwrap()), (slug, true));
        let closed = told.drain().await;
        assert_eq!(closed.code, close);
        assert!(closed.reason.starts_with(&format!("{slug}: ")), "{closed:?}");
        // A browser without a subprotocol is known by its Origin.
        let home = format!("https://{}", world.address);
        let browser = Connect { subprotocol: None, origin: Some(&home), field: None };
        let mut browser = Client::connect(&world, link, browser).await.unwrap();
        assert!(browser.read().await);
        assert_eq!(browser.said[0]["operation"], "stdout", "one last line of text in its own dialect");
        assert_eq!(browser.drain().await.code, close);
    }
}

#[tokio::test]
async fn a_link_expires() {
    let world = World::with(|config| config["tickets"] = json!({ "ttl": "1s" })).await;
    let link = world.mint("local").await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(Client::connect(&world, &link, PLAIN).await.err().unwrap(), 410);
    let ended = world.until(&link.session, "ended").await;
    assert_eq!(ended["code"], "link_gone");
}

#[tokio::test]
async fn a_foreign_page_gets_nothing_and_spends_nothing() {
    let world = World::with(|config| config["server"]["origins"] = json!(["https://friend.example"])).await;
    let link = world.mint("local").await;
    let home = format!("https://{}", world.address);
    let near = format!("http://{}", world.address);
    for origin in ["https://evil.example", "null", "", "file://", near.as_str(), "https://friend.example.evil"] {
        let how = Connect { subprotocol: Some("polytty.v1"), origin: Some(origin), field: None };
        assert_eq!(Client::connect(&world, &link, how).await.err().unwrap(), 403, "{origin:?}");
        let body = Some(json!({ "provider": "local", "target": {} }));
        let key = format!("Bearer {}", world.key);
        let call = [("origin", origin), ("authorization", key.as_str())];
        assert_eq!(world.http(Method::POST, "/v1/sessions", body, &call).await.status, 403);
    }
    let friend = Connect { subprotocol: None, origin: Some("https://friend.example"), field: None };
    assert!(Client::connect(&world, &link, friend).await.is_ok());
    let link = world.mint("local").await;
    let own = Connect { subprotocol: Some("polytty.v1"), origin: Some(&home), field: None };
    assert!(Client::connect(&world, &link, own).await.is_ok());
}

#[tokio::test]
async fn an_offer_of_unknown_subprotocols_is_refused_without_spending_and_tokens_are_never_echoed() {
    let world = World::start().await;
    let link = world.mint("local").await;
    let strange = Connect { subprotocol: Some("tty"), origin: None, field: None };
    assert_eq!(Client::connect(&world, &link, strange).await.err().unwrap(), 400);
    let home = format!("https://{}", world.address);
    let browser = Connect { subprotocol: Some("polytty.token.x, tty"), origin: Some(&home), field: None };
    let mut browser = Client::connect(&world, &link, browser).await.unwrap();
    assert_eq!(browser.subprotocol.as_deref(), Some("tty"));
    assert_eq!(browser.drain().await.code, 4400);
    let offer = format!("polytty.token.{}, polytty.v1", world.key);
    let both = Connect { subprotocol: Some(&offer), origin: None, field: None };
    let mut client = Client::connect(&world, &link, both).await.unwrap();
    assert_eq!(client.subprotocol.as_deref(), Some("polytty.v1"));
    client.ready().await;
}

#[tokio::test]
async fn a_second_writer_takes_the_place_of_the_first_and_nothing_of_the_terminal_is_lost() {
    let world = World::start().await;
    for provider in ["local", "pai"] {
        let mut first = world.open(provider).await;
        assert_eq!(first.run("marker=kept; echo set").await, "set\r\n");
        let mut second = world.reconnect(&first.session).await;
        let ready = second.ready().await;
        assert_eq!(ready["session"], first.session);
        assert_eq!(ready["offset"], 0, "what is held is shown again");
        assert!(second.catch_up().await.contains("set\r\nend-of-run\r\n"));
        assert!(ready["input"].as_u64().unwrap() > 0);
        let closed = first.drain().await;
        assert_eq!(closed.code, 4409, "{closed:?}");
        assert_eq!(second.run("echo $marker").await, "kept\r\n");
    }
}
