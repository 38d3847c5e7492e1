//! Failed authentications and guessed links, and how a lock-out spares whoever is right.

use std::net::Ipv4Addr;
use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{OTHER, PLAIN, connect_from, limited, local, never, proxy, proxy_with, told, told_by};
use crate::common::{Answer, Connect, Demo, Proxy};

const GUESSER: Ipv4Addr = Ipv4Addr::new(127, 6, 6, 6);

async fn call(proxy: &Proxy, source: Ipv4Addr, key: &str) -> Answer {
    let stream = proxy.shake(proxy.tcp_from(source).await).await.unwrap();
    let key = format!("Bearer {key}");
    proxy.http_over(stream, Method::GET, "/v1/providers", None, &[("authorization", &key)]).await
}

/// A guess at a link, by its status.
async fn guess(proxy: &Proxy, source: Ipv4Addr) -> u16 {
    connect_from(proxy, source, &never(), PLAIN).await.err().unwrap().as_u16()
}

#[tokio::test]
async fn who_guesses_links_is_locked_out_for_longer_each_time_and_what_is_good_works_all_the_while() {
    let proxy = proxy(json!({ "failures": 3, "lockout": "2s", "lockout_max": "1m" }));
    let (link, spent) = (proxy.mint("local").await, proxy.mint("local").await);
    connect_from(&proxy, GUESSER, &spent, Connect::default()).await.unwrap().ready().await;
    for _ in 0..3 {
        assert_eq!(guess(&proxy, GUESSER).await, 404);
    }
    let locked = Instant::now();
    assert_eq!(guess(&proxy, GUESSER).await, 429);
    assert_eq!(guess(&proxy, OTHER).await, 404, "nobody else is");
    // From the same address, and while it is locked out:
    assert_eq!(connect_from(&proxy, GUESSER, &spent, PLAIN).await.err().unwrap(), 410, "told as ever");
    assert_eq!(call(&proxy, GUESSER, &proxy.key).await.status, 200, "a good key");
    connect_from(&proxy, GUESSER, &link, Connect::default()).await.unwrap().ready().await;
    let mut browser = connect_from(&proxy, GUESSER, &never(), Connect::default()).await.unwrap();
    let closed = browser.drain().await;
    assert!(locked.elapsed() < Duration::from_secs(2), "this machine is too slow for this story");
    let wait = told_by(&closed, "rate_limited");
    assert!(wait <= Duration::from_secs(2), "{wait:?}");
    sleep(wait).await;
    assert_eq!(guess(&proxy, GUESSER).await, 404, "it may guess once more");
    let mut browser = connect_from(&proxy, GUESSER, &never(), Connect::default()).await.unwrap();
    let wait = told_by(&browser.drain().await, "rate_limited");
    assert!((Duration::from_secs(3)..=Duration::from_secs(4)).contains(&wait), "twice as long: {wait:?}");
    assert!(limited(&proxy, "failures").await >= 3);
}

#[tokio::test]
async fn who_guesses_keys_is_told_when_to_come_back_and_pays_a_handshake_for_each_guess() {
    let proxy = proxy(json!({ "failures": 2, "lockout": "3s", "lockout_max": "60s" }));
    let wrong = format!("polytty_{}", "A".repeat(43));
    for key in [wrong.as_str(), "Basic"] {
        let refused = call(&proxy, GUESSER, key).await;
        assert_eq!((refused.status.as_u16(), refused.headers.get("connection")), (401, None));
    }
    let refused = call(&proxy, GUESSER, &wrong).await;
    assert_eq!((refused.status.as_u16(), &refused.body["code"]), (429, &json!("rate_limited")));
    assert_eq!(refused.headers["connection"], "close");
    let wait = told(&refused.headers, "failures", "q=2;w=60");
    assert_eq!(call(&proxy, GUESSER, &proxy.key).await.status, 200);
    // No credential at all is no guess.
    let stream = proxy.shake(proxy.tcp_from(GUESSER).await).await.unwrap();
    assert_eq!(proxy.http_over(stream, Method::GET, "/v1/providers", None, &[]).await.status, 401);
    sleep(wait).await;
    assert_eq!(call(&proxy, GUESSER, &wrong).await.status, 401);
    // Those in a handshake count alike.
    let offer = format!("polytty.token.{wrong}, polytty.v1");
    let how = Connect { subprotocol: Some(&offer), ..PLAIN };
    let link = proxy.mint("local").await;
    let mut refused = connect_from(&proxy, OTHER, &link, how).await.unwrap();
    assert_eq!(refused.drain().await.code, 4401);
    let mut refused = connect_from(&proxy, OTHER, &link, how).await.unwrap();
    assert_eq!(refused.drain().await.code, 4401);
    let mut refused = connect_from(&proxy, OTHER, &link, how).await.unwrap();
    told_by(&refused.drain().await, "rate_limited");
    connect_from(&proxy, OTHER, &link, Connect::default()).await.unwrap().ready().await;
}

#[tokio::test]
async fn the_demo_page_s_secret_cannot_be_guessed_at_leisure_and_opens_the_door_all_the_same() {
    let demo = Demo::start().await;
    let home = format!("https://{}", demo.address);
    let enter = async |secret: &str| {
        let fields = [("origin", home.as_str())];
        demo.http(Method::POST, "/demo/login", Some(json!({ "secret": secret })), &fields).await
    };
    for _ in 0..10 {
        assert_eq!(enter("wrong").await.status, 401);
    }
    let refused = enter("wrong").await;
    assert_eq!((refused.status.as_u16(), &refused.headers["connection"]), (429, &"close".parse().unwrap()));
    told(&refused.headers, "failures", "q=10;w=900");
    let (_, secret) = demo.line["page"].as_str().unwrap().split_once('#').unwrap();
    assert_eq!(enter(secret).await.status, 204);
}

#[tokio::test]
async fn a_page_that_shows_a_spent_link_or_an_expired_key_again_and_again_locks_nobody_out() {
    let (expired, hash) = polytty::auth::new_key().unwrap();
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let proxy = proxy_with(json!({ "failures": 2, "lockout": "1m" }), |config| {
        let key = json!({ "name": "old", "hash": format!("sha256:{hash}"), "expires_at": "2020-01-01T00:00:00Z" });
        config["keys"].as_array_mut().unwrap().push(key);
    });
    let spent = proxy.mint("local").await;
    connect_from(&proxy, GUESSER, &spent, Connect::default()).await.unwrap().ready().await;
    for _ in 0..10 {
        assert_eq!(connect_from(&proxy, GUESSER, &spent, PLAIN).await.err().unwrap(), 410);
        assert_eq!(call(&proxy, GUESSER, &expired).await.status, 401);
    }
    assert_eq!(guess(&proxy, GUESSER).await, 404, "its first failure");
    assert_eq!(limited(&proxy, "failures").await, 0);
    assert_eq!(super::ask(&proxy, local()).await.status, 201);
}
