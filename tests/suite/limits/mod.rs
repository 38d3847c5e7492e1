//! Every limit: reached, exceeded, recovered, and what is said of it true.

mod addresses;
mod failures;
mod forwarded;
mod memory;
mod pace;
mod quotas;

use std::net::Ipv4Addr;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::common::{Client, Closed, Connect, Link, Proxy, SHELL, Site};

/// A client that is told by an HTTP status.
const PLAIN: Connect<'_> = Connect { subprotocol: None, origin: None, field: None };

/// Somebody else on this machine.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 9, 9, 9);

/// A proxy with the provider `local` and these limits.
fn proxy(limits: Value) -> Proxy {
    proxy_with(limits, |_| {})
}

fn proxy_with(limits: Value, change: impl FnOnce(&mut Value)) -> Proxy {
    let local = json!({ "name": "local", "kind": "local", "commands": [SHELL] });
    Proxy::start(vec![local], Vec::new(), |config| {
        for (key, value) in limits.as_object().unwrap() {
            config["limits"][key] = value.clone();
        }
        change(config);
    })
}

/// How often a limit was run into, by the metric.
async fn limited(proxy: &Proxy, limit: &str) -> u64 {
    sample(&proxy.metrics().await, &format!("polytty_limited_total{{limit=\"{limit}\"}}"))
}

fn sample(metrics: &str, name: &str) -> u64 {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    value.map_or(0, |value| value.trim().parse().unwrap())
}

/// Holds a 429 to what it should say, and returns when it says to come back.
fn told(headers: &HeaderMap, limit: &str, policy: &str) -> Duration {
    let text = |name: &str| headers[name].to_str().unwrap();
    let seconds: u64 = text("retry-after").parse().unwrap();
    assert!(seconds >= 1);
    assert_eq!(text("ratelimit-policy"), format!("\"{limit}\";{policy}"));
    let until = if policy.contains(";w=") { format!(";t={seconds}") } else { String::new() };
    assert_eq!(text("ratelimit"), format!("\"{limit}\";r=0{until}"));
    Duration::from_secs(seconds)
}

/// Holds a Close to what it should say, and returns when it says to come back.
fn told_by(closed: &Closed, code: &str) -> Duration {
    assert_eq!(closed.code, 4429, "{closed:?}");
    assert!(closed.reason.starts_with(&format!("{code}: ")), "{closed:?}");
    let (_, when) = closed.reason.split_once("; try again in ").unwrap_or_else(|| panic!("{closed:?}"));
    Duration::from_secs(when.strip_suffix(" s").unwrap().parse().unwrap())
}

/// Uses a link from another address.
async fn connect_from(site: &Site, source: Ipv4Addr, link: &Link, how: Connect<'_>) -> Result<Client, StatusCode> {
    let stream = site.shake(site.tcp_from(source).await).await.unwrap();
    Client::connect_over(stream, site, link, how).await
}

/// A link that never was.
fn never() -> Link {
    Link { session: String::new(), url: format!("wss://x/t/{}", "A".repeat(43)) }
}

/// Asks for a session; the status, the fields and the body.
async fn ask(site: &Site, body: Value) -> crate::common::Answer {
    site.api(Method::POST, "/v1/sessions", Some(body)).await
}

fn local() -> Value {
    json!({ "provider": "local", "target": {} })
}
