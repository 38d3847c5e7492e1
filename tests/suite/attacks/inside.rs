//! Ways to have polytty connect to where it should not.

use serde_json::{Value, json};

use super::{Row, Section, row};
use crate::common::{Client, Connect, Proxy, simulate};
use polytty_simulator::Kind;

const UNAVAILABLE: &str = "`provider_unavailable`, Close 4502";

/// How a session ends that never becomes a terminal.
async fn opened(entry: Value, target: Value) -> String {
    let proxy = Proxy::start(vec![entry], vec![("it".to_owned(), target)], |_| {});
    let link = proxy.mint("it").await;
    let mut client = Client::connect(&proxy, &link, Connect::default()).await.unwrap();
    let closed = client.drain().await;
    let error = client.said.iter().find(|said| said["operation"] == "error");
    format!("`{}`, Close {}", error.map_or("nothing", |error| error["code"].as_str().unwrap()), closed.code)
}

/// A provider that is said to be at this URL, with `allow_private` at its default.
fn at(attack: &'static str, url: &'static str) -> Row {
    row(attack, url, UNAVAILABLE, move |_| {
        let url = url.trim_matches('`').split('`').next().unwrap_or_default().to_owned();
        Box::pin(async move { opened(dockhand(&url), json!({ "container": "web", "environment": 1 })).await })
    })
}

fn dockhand(url: &str) -> Value {
    json!({ "name": "it", "kind": "dockhand", "url": url, "token": "secret", "open_timeout": "5s" })
}

/// The same for something that listens on this machine and counts who comes.
fn trapped(attack: &'static str, sent: &'static str, host: &'static str) -> Row {
    row(attack, sent, "`provider_unavailable`, Close 4502; nobody connects", move |_| {
        Box::pin(async move {
            let trap = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            trap.set_nonblocking(true).unwrap();
            let url = format!("https://{host}:{}", trap.local_addr().unwrap().port());
            let came = opened(dockhand(&url), json!({ "container": "web", "environment": 1 })).await;
            match trap.accept() {
                Err(_) => format!("{came}; nobody connects"),
                Ok(_) => format!("{came}; somebody connects"),
            }
        })
    })
}

/// A field of `POST /v1/sessions`.
fn target(attack: &'static str, sent: &'static str, target: Value) -> Row {
    row(attack, sent, "422 `bad_message`", move |arena| {
        let target = target.clone();
        Box::pin(async move {
            let mut full = arena.world.target("pai");
            for (key, value) in target.as_object().unwrap() {
                full[key] = value.clone();
            }
            arena.create(json!({ "provider": "pai", "target": full })).await
        })
    })
}

pub(super) fn section() -> Section {
    let about = "A caller names no URL anywhere: where providers are stands in the configuration. Below, the configuration \
                 (or the DNS behind it, or the provider) is what leads astray, or a target tries to.\n\n";
    let rows = vec![
        at("the clouds' metadata service", "`https://169.254.169.254`"),
        at("the clouds' metadata service", "`https://[fd00:ec2::254]`"),
        at("the clouds' metadata service", "`https://[::ffff:a9fe:a9fe]`, the same address within IPv6"),
        at("the clouds' metadata service", "`https://[64:ff9b::a9fe:a9fe]`, the same address behind NAT64"),
        at("the clouds' metadata service", "`https://100.100.100.200`"),
        at("a private network", "`https://10.0.0.1`"),
        at("a private network", "`https://192.168.1.1`"),
        at("this machine", "`https://0.0.0.0:22`"),
        trapped("this machine", "`https://127.0.0.1:PORT`", "127.0.0.1"),
        trapped("private after resolution", "`https://localhost:PORT`", "localhost"),
        row(
            "a terminal link elsewhere",
            "an API's answer with a host outside of `websocket_hosts`",
            UNAVAILABLE,
            |_| {
                Box::pin(async move {
                    let simulator = simulate(Kind::PaiDlc).await;
                    let mut line = simulator.ready_line();
                    line["provider"]["name"] = json!("it");
                    line["provider"]["websocket_hosts"] = json!(["gateway.example.com"]);
                    opened(line["provider"].take(), line["target"].take()).await
                })
            },
        ),
        row("a redirect", "an API's answer of 302", "`provider_refused`, Close 4502", |_| {
            Box::pin(async move {
                let simulator = simulate(Kind::PaiDlc).await;
                simulator.faults().always(Kind::PaiDlc.fault("api-redirect").unwrap());
                let mut line = simulator.ready_line();
                line["provider"]["name"] = json!("it");
                opened(line["provider"].take(), line["target"].take()).await
            })
        }),
        target(
            "a URL in a target",
            "`endpoint: http://169.254.169.254/`",
            json!({ "endpoint": "http://169.254.169.254/" }),
        ),
        target("a URL in a target", "`url: ws://127.0.0.1/`", json!({ "url": "ws://127.0.0.1/" })),
        target("another path by an id", "`job_id: ../../admin`", json!({ "job_id": "../../admin" })),
        target("another path by an id", "`job_id: x?y=z`", json!({ "job_id": "x?y=z" })),
        target("another path by an id", "`job_id: x%2f..`", json!({ "job_id": "x%2f.." })),
        target("another host by an id", "`pod_id: @169.254.169.254`", json!({ "pod_id": "@169.254.169.254" })),
    ];
    Section { title: "Requests to the inside (SSRF)", about, rows }
}
