//! What the limits of a session cost the way of a byte: keystrokes and 64-byte messages through a proxy whose limits are all
//! set and never reached, and through one that has none where there can be none, in alternating rounds of one run.
//!
//! `cargo bench --bench limits`; takes about two minutes. Each proxy is a process of its own with a real shell behind it, and
//! what is compared is the processor time of that process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on ends here and now")]

#[allow(dead_code, unused_imports, reason = "the suite's; not all of it is needed here")]
#[path = "../tests/suite/common/mod.rs"]
mod common;

use common::{Client, Served};
use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// Rounds of each kind, every one with all proxies, in turns.
const ROUNDS: usize = 120;

/// Keystrokes of one round, each waiting for its echo.
const KEYSTROKES: usize = 500;

/// Messages of one round, of 64 bytes each.
const MESSAGES: usize = 40_000;

/// Proxies: with limits, without, and without once more, which shows what the machine's noise comes to.
const PROXIES: usize = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let on = json!({
        "input_bytes_per_second": "1TiB", "input_messages_per_second": 1_000_000, "output_bytes_per_second": "1TiB",
    });
    let off = json!({
        "input_bytes_per_second": "0B", "input_messages_per_second": 0, "output_bytes_per_second": "0B",
    });
    let proxies = [served(on).await, served(off.clone()).await, served(off).await];
    let (mut typists, mut senders) = (Vec::new(), Vec::new());
    for proxy in &proxies {
        typists.push(typist(proxy).await);
        senders.push(sender(proxy).await);
    }
    println!("{ROUNDS} rounds in turns; processor time of the proxy; medians, and quartiles of the ratio in a round\n");
    compare("a keystroke and its echo", KEYSTROKES, &proxies, &mut typists, async |client| keystrokes(client).await)
        .await;
    compare("a message of 64 bytes", MESSAGES, &proxies, &mut senders, async |client| messages(client).await).await;
    assert_unheld(&proxies[0]).await;
}

async fn served(limits: Value) -> Served {
    Served::start(|_| Vec::new(), |config| config["limits"] = limits).await
}

/// A client whose terminal echoes what it is sent, byte by byte.
async fn typist(served: &Served) -> Client {
    let mut client = served.open("local").await;
    client.type_text("stty raw -echo; echo rea''dy; exec cat\r").await;
    client.see("ready\n").await;
    client
}

/// A client whose terminal counts what it is sent.
async fn sender(served: &Served) -> Client {
    let mut client = served.open("local").await;
    let count = MESSAGES * 64;
    let line = format!("stty raw -echo; echo rea''dy; while head -c {count} | wc -c; do :; done\r");
    client.type_text(&line).await;
    client.see("ready\n").await;
    client
}

async fn keystrokes(client: &mut Client) {
    for _ in 0..KEYSTROKES {
        client.type_bytes(b"x").await;
        client.see("x").await;
    }
}

async fn messages(client: &mut Client) {
    let message = Message::binary(vec![b'x'; 64]);
    for nth in 1..=MESSAGES {
        client.ws.feed(message.clone()).await.unwrap();
        if nth % 500 == 0 {
            client.ws.flush().await.unwrap();
        }
    }
    client.see(&(MESSAGES * 64).to_string()).await;
}

async fn compare(
    what: &str,
    count: usize,
    proxies: &[Served; PROXIES],
    clients: &mut [Client],
    work: impl AsyncFn(&mut Client),
) {
    let mut spent: [Vec<f64>; PROXIES] = Default::default();
    // The first round is not counted: what is made once is made there.
    for round in 0..=ROUNDS {
        for turn in 0..PROXIES {
            let which = (round + turn) % PROXIES;
            let before = processor_time(proxies[which].pid());
            work(&mut clients[which]).await;
            let micros = (processor_time(proxies[which].pid()) - before) as f64 / 1e3 / count as f64;
            if round > 0 {
                spent[which].push(micros);
            }
        }
    }
    let [on, off, again] = &spent;
    let ratio = |of: &[f64]| quartiles(of.iter().zip(off).map(|(one, other)| one / other).collect());
    let ([low, ratio_on, high], [noise_low, noise, noise_high]) = (ratio(on), ratio(again));
    let [_, on, _] = quartiles(on.clone());
    let [_, off, _] = quartiles(off.clone());
    println!(
        "{what}: {on:.3} µs on, {off:.3} µs off; on against off {ratio_on:.3} ({low:.3} to {high:.3}); \
         off against off {noise:.3} ({noise_low:.3} to {noise_high:.3})"
    );
}

/// That it was never held back.
async fn assert_unheld(proxy: &Served) {
    let metrics = proxy.metrics().await;
    assert!(!metrics.contains("polytty_limited_total{"), "{metrics}");
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[values.len() * quarter / 4])
}

/// What all threads of a process have used of the processors so far, in nanoseconds.
fn processor_time(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let time = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().map_or(0, |nanos| nanos.parse::<u64>().unwrap())
    };
    threads.map(|thread| time(thread.unwrap())).sum()
}
