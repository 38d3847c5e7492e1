//! A whole polytty on a store that comes and goes.

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::common::{Answer, Client, Connect, Link, Proxy, SHELL, eventually};
use super::server::Server;

const PLAIN: Connect<'_> = Connect { subprotocol: None, origin: None, field: None };

/// A proxy with the provider `local` and its tickets in this store.
fn proxy(server: &Server) -> Proxy {
    let store = server.url();
    let local = json!({ "name": "local", "kind": "local", "commands": [SHELL] });
    Proxy::start(vec![local], Vec::new(), |config| config["tickets"] = json!({ "store": store }))
}

async fn readyz(proxy: &Proxy) -> String {
    let mut stream = TcpStream::connect(proxy.admin).await.unwrap();
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.admin).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn until_ready(proxy: &Proxy) {
    eventually(async || readyz(proxy).await.starts_with("HTTP/1.1 200 ").then_some(())).await;
}

async fn create(proxy: &Proxy) -> Answer {
    proxy.api(Method::POST, "/v1/sessions", Some(json!({ "provider": "local", "target": {} }))).await
}

/// An upgrade that is refused by an HTTP status: its head.
async fn refused(proxy: &Proxy, link: &Link) -> String {
    proxy
        .raw(&format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            link.path(),
            proxy.address
        ))
        .await
}

/// An upgrade of `polytty.v1` that is refused by a close code.
async fn closed(proxy: &Proxy, link: &Link) -> (u16, String) {
    let mut client = Client::connect(proxy, link, Connect::default()).await.unwrap();
    let closed = client.drain().await;
    (closed.code, closed.reason)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_store_polytty_mints_nothing_lets_nobody_in_twice_and_goes_on_with_who_is_there() {
    let mut server = Server::start();
    let proxy = proxy(&server);
    until_ready(&proxy).await;
    let mut there = proxy.open("local").await;
    let link = proxy.mint("local").await;
    let spent = Link { session: there.session.clone(), ..proxy.another_link(&there.session).await };
    there = Client::connect(&proxy, &spent, Connect::default()).await.unwrap();
    there.ready().await;

    server.kill();
    eventually(async || proxy.metrics().await.contains("\npolytty_store_up 0\n").then_some(())).await;
    let answer = create(&proxy).await;
    assert_eq!((answer.status.as_u16(), &answer.body["code"]), (503, &json!("store_unavailable")), "{}", answer.body);
    assert_eq!(answer.headers["retry-after"], "2");
    let sessions = proxy.api(Method::GET, "/v1/sessions", None).await;
    let states: Vec<&Value> = sessions.body["sessions"].as_array().unwrap().iter().map(|it| &it["state"]).collect();
    assert_eq!(states, ["pending", "attached"], "those that there were before");

    let head = refused(&proxy, &link).await.to_lowercase();
    assert!(head.starts_with("http/1.1 503 ") && head.contains("retry-after: 2\r\n"), "{head}");
    assert!(head.contains("store_unavailable") && head.contains("was not used"), "{head}");
    let (code, reason) = closed(&proxy, &link).await;
    assert_eq!(code, 4500);
    assert!(reason.starts_with("store_unavailable: "), "{reason}");
    let not_ready = eventually(async || Some(readyz(&proxy).await).filter(|answer| !answer.contains(" 200 "))).await;
    assert!(not_ready.contains(" 503 ") && not_ready.contains("the store of the links is away"), "{not_ready}");

    there.type_text("echo still-$((40 + 2))\r").await;
    there.see("still-42").await;

    // It comes back without its data: what may have been lost is told apart from what never was.
    server.restart();
    until_ready(&proxy).await;
    for link in [&link, &spent] {
        let (code, reason) = closed(&proxy, link).await;
        assert_eq!(code, 4500);
        assert!(reason.starts_with("store_restarted: "), "{reason}");
    }
    let mut fresh = proxy.open("local").await;
    fresh.type_text("echo fresh-$((40 + 2))\r").await;
    fresh.see("fresh-42").await;
    assert!(proxy.metrics().await.contains("\npolytty_store_calls_total{outcome=\"away\"}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_whose_use_is_not_known_is_reported_as_that() {
    let server = Server::start();
    let proxy = proxy(&server);
    until_ready(&proxy).await;
    let link = proxy.mint("local").await;
    server.pause();
    let (code, reason) = closed(&proxy, &link).await;
    assert_eq!(code, 4500);
    assert!(reason.starts_with("store_unavailable: ") && reason.contains("not known"), "{reason}");
    server.resume();
    eventually(async || proxy.metrics().await.contains("\npolytty_store_up 1\n").then_some(())).await;
    proxy.open("local").await;
}

#[tokio::test]
async fn before_the_store_was_reached_for_the_first_time_no_new_work_is_welcome() {
    let mut server = Server::start();
    server.kill();
    let proxy = proxy(&server);
    assert!(readyz(&proxy).await.starts_with("HTTP/1.1 503 "));
    assert_eq!(create(&proxy).await.status, 503);
    server.restart();
    until_ready(&proxy).await;
    assert_eq!(create(&proxy).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_proxies_on_one_store_that_do_not_know_of_each_other_neither_spends_the_others_links() {
    let server = Server::start();
    let (first, second) = (proxy(&server), proxy(&server));
    until_ready(&first).await;
    until_ready(&second).await;
    let link = first.mint("local").await;
    // The terminal is at the first. For all that the second knows, that one is gone; it spends nothing.
    assert_eq!(Client::connect(&second, &link, PLAIN).await.err().map(|status| status.as_u16()), Some(404));
    let mut client = Client::connect(&first, &link, Connect::default()).await.unwrap();
    client.ready().await;
    assert_eq!(Client::connect(&second, &link, PLAIN).await.err().map(|status| status.as_u16()), Some(410));
}
