//! Behind proxies: whose word counts, and for whom.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{Method, StatusCode};
use ppp::v2::{Builder, Command, Protocol, Version};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::{OTHER, PLAIN, never, proxy_with, told_by};
use crate::common::{Client, Connect, PATIENCE, Proxy, eventually};

const TRUSTED: Ipv4Addr = Ipv4Addr::new(127, 7, 7, 7);

fn behind(limits: serde_json::Value, protocol: bool) -> Proxy {
    proxy_with(limits, |config| {
        config["server"]["trusted_proxies"] = json!(["127.7.7.7", "10.0.0.0/8"]);
        config["server"]["proxy_protocol"] = json!(protocol);
    })
}

/// The status of a request that was forwarded so.
async fn asked(proxy: &Proxy, from: Ipv4Addr, forwarded: &str) -> u16 {
    let stream = proxy.shake(proxy.tcp_from(from).await).await.unwrap();
    let fields = [("x-forwarded-for", forwarded)];
    proxy.http_over(stream, Method::GET, "/openapi.json", None, &fields).await.status.as_u16()
}

#[tokio::test]
async fn a_trusted_proxy_says_for_whom_it_asks_and_nobody_else_does() {
    let proxy = behind(
        json!({ "requests_per_second": 1, "request_burst": 1, "handshake_burst": 1, "connections_per_address": 1 }),
        false,
    );
    let spent = async |forwarded: &str| {
        eventually(async || (asked(&proxy, TRUSTED, forwarded).await == 429).then_some(())).await;
    };
    assert_eq!(asked(&proxy, TRUSTED, "198.51.100.1").await, 200);
    spent("198.51.100.1").await;
    // What stands left of it, its client wrote, and who is right of it is a proxy, too.
    spent("6.6.6.6, 198.51.100.1").await;
    spent("198.51.100.1, 10.3.2.1").await;
    assert_eq!(asked(&proxy, TRUSTED, "198.51.100.1, 198.51.100.2").await, 200);
    assert_eq!(asked(&proxy, TRUSTED, "2001:db8:0:1::1").await, 200);
    spent("2001:db8:0:1:ffff::2").await;
    // The proxy itself is not counted, whatever it says.
    for _ in 0..5 {
        assert_eq!(asked(&proxy, TRUSTED, "unknown").await, 200);
    }
    // A stranger is who it is, whatever it says.
    let mut pretended = 0;
    eventually(async || {
        pretended += 1;
        (asked(&proxy, OTHER, &format!("198.51.100.{pretended}")).await == 429).then_some(())
    })
    .await;
}

#[tokio::test]
async fn behind_a_proxy_a_client_s_connections_count_for_it_from_the_upgrade_on() {
    let proxy = behind(json!({ "connections_per_address": 1 }), false);
    let (first, second) = (proxy.mint("local").await, proxy.mint("local").await);
    let connect = async |link, address: &'static str, plain: bool| -> Result<Client, StatusCode> {
        let stream = proxy.shake(proxy.tcp_from(TRUSTED).await).await.unwrap();
        let field = Some(("x-forwarded-for", address));
        let how = if plain { Connect { field, ..PLAIN } } else { Connect { field, ..Connect::default() } };
        Client::connect_over(stream, &proxy, link, how).await
    };
    let mut client = connect(&first, "198.51.100.1", false).await.unwrap();
    client.ready().await;
    assert_eq!(connect(&second, "198.51.100.1", true).await.err().unwrap(), 429);
    let closed = connect(&second, "198.51.100.1", false).await.unwrap().drain().await;
    told_by(&closed, "quota_exceeded");
    connect(&second, "198.51.100.2", false).await.unwrap().ready().await;
    client.ws.close(None).await.unwrap();
    client.drain().await;
    drop(client);
    let third = proxy.mint("local").await;
    let mut client = eventually(async || {
        let mut client = connect(&third, "198.51.100.1", false).await.unwrap();
        while client.said.is_empty() && client.read().await {}
        (client.said.first()?["operation"] == "ready").then_some(client)
    })
    .await;
    assert_eq!(client.run("echo back").await, "back\r\n", "refused, its link stayed good");
}

/// A connection that begins with a header for `source`.
async fn introduced(proxy: &Proxy, from: Ipv4Addr, source: &str) -> TcpStream {
    let source: SocketAddr = source.parse().unwrap();
    let header = Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, (source, source));
    let mut tcp = proxy.tcp_from(from).await;
    tcp.write_all(&header.build().unwrap()).await.unwrap();
    tcp
}

async fn shake(proxy: &Proxy, from: Ipv4Addr, source: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = introduced(proxy, from, source).await;
    proxy.shake(tcp).await
}

#[tokio::test]
async fn by_the_proxy_protocol_connections_and_handshakes_count_for_whom_they_are() {
    let proxy = behind(json!({ "connections_per_address": 1, "failures": 1, "lockout": "1m" }), true);
    let first = shake(&proxy, TRUSTED, "198.51.100.1:1000").await.unwrap();
    assert!(shake(&proxy, TRUSTED, "198.51.100.1:1001").await.is_err(), "it has its connection");
    let second = shake(&proxy, TRUSTED, "198.51.100.2:1000").await.unwrap();
    let _third = shake(&proxy, TRUSTED, "[2001:db8::1]:1000").await.unwrap();
    assert!(shake(&proxy, TRUSTED, "[2001:db8::2]:1000").await.is_err(), "the same /64");
    // What it asks over it counts for it as well, and no field makes it somebody else.
    let fields = [("x-forwarded-for", "203.0.113.9"), ("authorization", "Bearer wrong")];
    assert_eq!(proxy.http_over(first, Method::GET, "/v1/providers", None, &fields).await.status, 401);
    let again = eventually(async || shake(&proxy, TRUSTED, "198.51.100.1:1002").await.ok()).await;
    assert_eq!(proxy.http_over(again, Method::GET, "/v1/providers", None, &fields).await.status, 429);
    let other = Client::connect_over(second, &proxy, &never(), PLAIN).await;
    assert_eq!(other.err().unwrap(), 404);
    // A proxy behind the proxy may say who is behind it.
    let proxied = shake(&proxy, TRUSTED, "10.0.0.5:1").await.unwrap();
    let fields = [("x-forwarded-for", "198.51.100.1"), ("authorization", "Bearer wrong")];
    assert_eq!(proxy.http_over(proxied, Method::GET, "/v1/providers", None, &fields).await.status, 429);
}

#[tokio::test]
async fn a_header_is_needed_of_a_trusted_proxy_in_time_and_is_taken_of_nobody_else() {
    let proxy = behind(json!({ "handshake_timeout": "500ms" }), true);
    assert!(proxy.shake(proxy.tcp_from(TRUSTED).await).await.is_err(), "TLS without a header");
    assert!(shake(&proxy, OTHER, "198.51.100.1:1000").await.is_err(), "a stranger's header is no TLS");
    proxy.shake(proxy.tcp_from(OTHER).await).await.unwrap();
    let mut silent = proxy.tcp_from(TRUSTED).await;
    let mut halting = introduced(&proxy, TRUSTED, "198.51.100.1:1000").await;
    halting.write_all(b"\x16\x03").await.unwrap();
    for stream in [&mut silent, &mut halting] {
        let read = timeout(PATIENCE.min(Duration::from_secs(20)), stream.read(&mut [0; 16])).await;
        assert_eq!(read.expect("it is cut").unwrap_or(0), 0);
    }
    let without = behind(json!({}), false);
    assert!(shake(&without, TRUSTED, "198.51.100.1:1000").await.is_err(), "where it is not configured");
}
