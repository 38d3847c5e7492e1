//! Memory of the real process: what ten thousand addresses take of it, and what happens when it runs short.

use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{ask, local, sample, told};
use crate::common::{Client, Connect, Served, eventually};

/// Addresses that come, each with a wrong key: it is remembered for its request and for its failure.
const ADDRESSES: usize = 10_000;

/// How many of them are in one write.
const BATCH: usize = 500;

/// What a process may grow by for all of them, in KiB: the two maps may take 13 MiB, but with 65,536 of
/// them.
const GROWTH: u64 = 8 << 10;

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[tokio::test]
async fn ten_thousand_addresses_do_not_grow_the_process_past_the_bound() {
    let served = Served::start(
        |_| Vec::new(),
        |config| {
            config["server"] = json!({ "trusted_proxies": ["127.0.0.1"] });
            config["limits"] = json!({ "requests_per_second": 1, "request_burst": 1000, "lockout_max": "1h" });
        },
    )
    .await;
    let mut stream = served.dial().await;
    let mut visit = async |from: usize| {
        let requests: String = (from..from + BATCH)
            .map(|nth| {
                format!(
                    "GET /v1/providers HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: 2001:db8:{:x}:{:x}::1\r\n\
                     Authorization: Bearer wrong\r\n\r\n",
                    served.address,
                    nth / 256,
                    nth % 256
                )
            })
            .collect();
        stream.write_all(requests.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let (mut answers, mut seen) = (Vec::new(), 0);
        while seen < BATCH {
            let mut chunk = [0; 16384];
            let count = stream.read(&mut chunk).await.unwrap();
            assert!(count > 0, "the connection is kept");
            answers.extend_from_slice(&chunk[..count]);
            let text = String::from_utf8_lossy(&answers);
            seen = text.matches("HTTP/1.1 401 ").count();
            assert!(!text.contains("HTTP/1.1 429 "), "nobody is refused for another's sake");
        }
    };
    // What is made once is there behind the first of them.
    visit(1_000_000).await;
    let before = resident(served.pid());
    for from in (0..ADDRESSES).step_by(BATCH) {
        visit(from).await;
    }
    let grown = resident(served.pid()).saturating_sub(before);
    assert!(grown < GROWTH, "{grown} KiB for {ADDRESSES} addresses");
    println!("{grown} KiB for {ADDRESSES} addresses");
    let remembered = eventually(async || {
        let metrics = served.metrics().await;
        let failures = sample(&metrics, "polytty_limit_entries{limit=\"failures\"}");
        (failures > 0).then_some(metrics).filter(|_| failures == (ADDRESSES + BATCH) as u64)
    })
    .await;
    assert_eq!(sample(&remembered, "polytty_limit_shared_total{limit=\"failures\"}"), 0);
    // Whose bucket is full again is forgotten.
    eventually(async || {
        let metrics = served.metrics().await;
        (sample(&metrics, "polytty_limit_entries{limit=\"requests_per_second\"}") == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn when_memory_runs_short_sessions_go_on_nobody_new_is_let_in_and_then_somebody_is() {
    const BOUND: u64 = 64 << 10;
    let served = Served::start(
        |_| Vec::new(),
        |config| {
            config["limits"] = json!({ "memory": "64MiB" });
            config["sessions"] = json!({ "scrollback": "64MiB", "scrollback_total": "1GiB" });
        },
    )
    .await;
    let mut client = served.open("local").await;
    assert_eq!(client.run("marker=kept; echo set").await, "set\r\n");
    let hers = ask(&served, local()).await;
    let links = format!("/v1/sessions/{}/links", hers.body["id"].as_str().unwrap());

    // Somebody's scrollback takes it: what nobody reads is held.
    let link = served.mint("local").await;
    let mut hoarder = Client::connect(&served, &link, Connect::default()).await.unwrap();
    hoarder.type_text("head -c 70000000 /dev/zero | tr '\\0' x\r").await;
    drop(hoarder);
    eventually(async || (resident(served.pid()) > BOUND).then_some(())).await;

    let refused = ask(&served, local()).await;
    assert_eq!((refused.status.as_u16(), &refused.body["code"]), (429, &json!("quota_exceeded")));
    assert_eq!(refused.body["detail"], "this proxy is short of memory; try again in 5 s");
    told(&refused.headers, "memory", "q=64");
    let watch = served.api(Method::POST, &links, Some(json!({ "role": "viewer" }))).await;
    assert_eq!(watch.status, 429);
    assert_eq!(client.run("echo $marker").await, "kept\r\n", "who is there goes on");
    let back = served.api(Method::POST, &links, Some(json!({ "role": "writer" }))).await;
    assert_eq!(back.status, 201, "and comes back");
    assert_eq!(sample(&served.metrics().await, "polytty_limited_total{limit=\"memory\"}"), 2);

    served.api(Method::DELETE, &format!("/v1/sessions/{}", link.session), None).await;
    eventually(async || (ask(&served, local()).await.status == 201).then_some(())).await;
}
