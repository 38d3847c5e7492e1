//! Ten thousand addresses at one process.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::sample;
use crate::common::{Served, eventually};

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
