//! Connections, handshakes and requests of one address.

use std::io;
use std::net::Ipv4Addr;

use http::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{OTHER, PLAIN, connect_from, limited, local, proxy, told, told_by};
use crate::common::{Connect, Proxy, eventually};

const GREEDY: Ipv4Addr = Ipv4Addr::new(127, 1, 2, 3);

/// Does something until it fails: how often it worked, and what came then. With a rate of one a second, time may add to it.
async fn until_refused<T>(burst: u64, mut doing: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    for done in 0.. {
        if let Some(refused) = doing().await {
            let most = burst + started.elapsed().as_secs() + 1;
            assert!((burst..=most).contains(&done), "{done} worked, of {burst} to {most}");
            return refused;
        }
    }
    unreachable!()
}

async fn handshake(proxy: &Proxy, source: Ipv4Addr) -> io::Result<()> {
    proxy.shake(proxy.tcp_from(source).await).await.map(drop)
}

#[tokio::test]
async fn an_address_shakes_hands_at_its_rate_and_no_other_address_feels_it() {
    let proxy = proxy(json!({ "handshakes_per_second": 1, "handshake_burst": 4 }));
    until_refused(4, async || handshake(&proxy, GREEDY).await.err()).await;
    assert!(limited(&proxy, "handshakes_per_second").await >= 1);
    handshake(&proxy, OTHER).await.unwrap();
    eventually(async || handshake(&proxy, GREEDY).await.ok()).await;
}

#[tokio::test]
async fn an_address_has_so_many_connections_those_of_sessions_included_and_one_that_ends_makes_room() {
    let proxy = proxy(json!({ "connections_per_address": 2 }));
    let link = proxy.mint("local").await;
    let mut client = connect_from(&proxy, GREEDY, &link, Connect::default()).await.unwrap();
    client.ready().await;
    let _idle = proxy.shake(proxy.tcp_from(GREEDY).await).await.unwrap();
    assert!(handshake(&proxy, GREEDY).await.is_err());
    assert_eq!(limited(&proxy, "connections_per_address").await, 1);
    handshake(&proxy, OTHER).await.unwrap();
    assert_eq!(client.run("echo on").await, "on\r\n", "who is there is not touched");
    client.ws.close(None).await.unwrap();
    client.drain().await;
    drop(client);
    eventually(async || handshake(&proxy, GREEDY).await.ok()).await;
}

#[tokio::test]
async fn when_all_connections_are_taken_the_next_waits_and_is_served_when_there_is_room() {
    let proxy = proxy(json!({ "connections": 2 }));
    let first = proxy.dial().await;
    let _second = proxy.dial().await;
    let waiting = proxy.tcp_from(OTHER).await;
    eventually(async || (limited(&proxy, "connections").await > 0).then_some(())).await;
    drop(first);
    proxy.shake(waiting).await.unwrap();
}

#[tokio::test]
async fn an_address_asks_at_its_rate_and_is_told_the_truth_about_when_to_come_back() {
    let proxy = proxy(json!({ "requests_per_second": 1, "request_burst": 3 }));
    let ask = async |source| {
        let stream = proxy.shake(proxy.tcp_from(source).await).await.unwrap();
        let key = format!("Bearer {}", proxy.key);
        proxy.http_over(stream, Method::GET, "/v1/providers", None, &[("authorization", &key)]).await
    };
    let refused = until_refused(3, async || Some(ask(GREEDY).await).filter(|answer| answer.status != 200)).await;
    assert_eq!((refused.status.as_u16(), &refused.body["code"]), (429, &json!("rate_limited")));
    let wait = told(&refused.headers, "requests_per_second", "q=3;w=3");
    assert!(refused.body["detail"].as_str().unwrap().ends_with(" s"), "{}", refused.body);
    assert_eq!(ask(OTHER).await.status, 200);
    sleep(wait).await;
    assert_eq!(ask(GREEDY).await.status, 200);
    assert!(limited(&proxy, "requests_per_second").await >= 1);
}

#[tokio::test]
async fn an_upgrade_beyond_the_rate_is_refused_in_both_ways_and_its_link_stays_good() {
    let proxy = proxy(json!({ "requests_per_second": 1, "request_burst": 2 }));
    let link = proxy.mint("local").await;
    // Whatever is said to a request, it counts: so does one of a foreign page, and a look at the link.
    let stream = proxy.shake(proxy.tcp_from(GREEDY).await).await.unwrap();
    assert_eq!(proxy.http_over(stream, Method::GET, link.path(), None, &[]).await.status, 426);
    let evil = Connect { origin: Some("https://evil.example"), ..PLAIN };
    let mut plain = 0;
    eventually(async || {
        assert_eq!(connect_from(&proxy, GREEDY, &link, evil).await.err().unwrap(), 403, "as ever");
        // Slow machines earn a request now and then, and that would use the link.
        let used = connect_from(&proxy, GREEDY, &super::never(), PLAIN).await.err().unwrap();
        plain = used.as_u16();
        (plain == 429).then_some(())
    })
    .await;
    let mut wait = None;
    eventually(async || {
        let mut told = connect_from(&proxy, GREEDY, &super::never(), Connect::default()).await.unwrap();
        let closed = told.drain().await;
        wait = (closed.code == 4429).then(|| told_by(&closed, "rate_limited"));
        wait
    })
    .await;
    sleep(wait.unwrap()).await;
    let mut client = connect_from(&proxy, GREEDY, &link, Connect::default()).await.unwrap();
    client.ready().await;
}

#[tokio::test]
async fn minting_counts_as_a_request_like_any_other() {
    let proxy = proxy(json!({ "requests_per_second": 1, "request_burst": 1 }));
    let refused =
        until_refused(1, async || Some(super::ask(&proxy, local()).await).filter(|answer| answer.status != 201)).await;
    told(&refused.headers, "requests_per_second", "q=1;w=1");
}
