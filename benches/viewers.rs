//! What it costs a writer to be watched: its throughput under `yes` with nobody watching, beside twenty viewers, three of
//! whom never read, beside those three alone, and beside three who do read, in alternating rounds of one run. And what the
//! twenty cost in memory.
//!
//! `cargo bench --bench viewers`; takes about a minute. The proxy is a process of its own, `polytty demo`, and the
//! terminal is a real one of its machine. Viewers that read take the bytes off the TLS connection and look at nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on ends here and now")]

#[allow(dead_code, unused_imports, reason = "the suite's; not all of it is needed here")]
#[path = "../tests/suite/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Client, Connect, Demo, Link};
use http::Method;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

/// Output of one round, in bytes.
const OUTPUT: usize = 60_000_000;

/// Rounds of each kind.
const ROUNDS: usize = 5;

const VIEWERS: usize = 20;

/// Of those, viewers that never read.
const STALLED: usize = 3;

/// Who watches in a kind of round.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    viewers: usize,
    /// Of those, viewers that never read.
    stalled: usize,
}

/// The first one is what the others are compared with.
const KINDS: [Kind; 4] = [
    Kind { name: "nobody", viewers: 0, stalled: 0 },
    Kind { name: "20, 3 stalled", viewers: VIEWERS, stalled: STALLED },
    Kind { name: "3 stalled", viewers: STALLED, stalled: STALLED },
    Kind { name: "3 that read", viewers: STALLED, stalled: 0 },
];

/// What one round showed.
struct Round {
    /// Of the writer, in megabytes a second.
    throughput: f64,
    /// The proxy's own time for it, in seconds: user and system.
    cpu: f64,
    /// The most memory that the proxy held, in bytes.
    memory: u64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let demo = Demo::start().await;
    println!("`yes | head -c {OUTPUT}` to one writer, {ROUNDS} rounds each, in turns\n");
    println!("round  watched by     MB/s  proxy CPU s  RSS MiB");
    // What is made once is not counted.
    round(&demo, KINDS[1]).await;
    let mut rounds: [Vec<Round>; KINDS.len()] = Default::default();
    for number in 1..=ROUNDS {
        for (kind, rounds) in KINDS.into_iter().zip(&mut rounds) {
            let round = round(&demo, kind).await;
            let mebibytes = round.memory as f64 / f64::from(1 << 20);
            println!(
                "{number:>5}  {:<13}  {:>4.1}  {:>11.2}  {mebibytes:>7.1}",
                kind.name, round.throughput, round.cpu
            );
            rounds.push(round);
        }
    }
    let [alone, others @ ..] = &rounds;
    for (kind, watched) in KINDS[1..].iter().zip(others) {
        for (what, of) in
            [("throughput", (|round| round.throughput) as fn(&Round) -> f64), ("proxy CPU", |round| round.cpu)]
        {
            let (least, median, most) = ratio(alone, watched, of);
            println!("{what}, {} against nobody: {median:.2} ({least:.2} to {most:.2})", kind.name);
        }
    }
    // Nobody is faster for a viewer that reads: what the stalled ones cost beyond those is what is felt of them.
    let (least, median, most) = ratio(&rounds[3], &rounds[2], |round| round.throughput);
    println!("throughput, 3 stalled against 3 that read: {median:.2} ({least:.2} to {most:.2})");
    let most = |rounds: &[Round]| rounds.iter().map(|round| round.memory).max().unwrap();
    let added = most(&rounds[1]).saturating_sub(most(alone)) / VIEWERS as u64 / 1024;
    println!("memory: {added} KiB a viewer, beside what a session without any takes");
    assert_eq!(demo.terminate().await, 0);
}

/// The least, the median and the most of what one kind of round is of another, round by round.
fn ratio(one: &[Round], other: &[Round], of: fn(&Round) -> f64) -> (f64, f64, f64) {
    let mut ratios: Vec<_> = one.iter().zip(other).map(|(one, other)| of(other) / of(one)).collect();
    ratios.sort_by(f64::total_cmp);
    (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1])
}

async fn round(demo: &Demo, kind: Kind) -> Round {
    let mut writer = demo.open("local").await;
    writer.type_text("stty -onlcr -echo; echo rea''dy\r").await;
    writer.see("ready\n").await;
    let mut watching = JoinSet::new();
    for number in 0..kind.viewers {
        let viewer = watch(demo, &writer.session).await;
        let reads = number >= kind.stalled;
        watching.spawn(async move {
            let Client { mut ws, .. } = viewer;
            let mut waste = vec![0; 64 << 10];
            // A TLS connection of its own: what it carries is of no interest.
            while reads && ws.get_mut().read(&mut waste).await.is_ok_and(|read| read > 0) {}
            std::future::pending::<()>().await;
        });
    }
    let (cpu, started) = (cpu(demo), Instant::now());
    let peak = Arc::new(AtomicU64::new(0));
    let looking = tokio::spawn(look(demo.pid(), Arc::clone(&peak)));
    writer.type_text(&format!("yes | head -c {OUTPUT}\r")).await;
    let mut count = 0;
    while count < OUTPUT {
        assert!(writer.read().await, "{:?}", writer.closed);
        count += writer.output.iter().filter(|byte| matches!(byte, b'y' | b'\n')).count();
        writer.output.clear();
    }
    let seconds = started.elapsed().as_secs_f64();
    looking.abort();
    let (cpu, memory) = (self::cpu(demo) - cpu, peak.load(Ordering::Relaxed).max(memory(demo.pid())));
    writer.say(json!({ "operation": "close" })).await;
    writer.drain().await;
    demo.until(&writer.session, "ended").await;
    watching.shutdown().await;
    Round { throughput: OUTPUT as f64 / 1e6 / seconds, cpu, memory }
}

async fn watch(demo: &Demo, session: &str) -> Client {
    let made =
        demo.api(Method::POST, &format!("/v1/sessions/{session}/links"), Some(json!({ "role": "viewer" }))).await;
    let url = made.body["url"].as_str().unwrap().to_owned();
    let link = Link { session: session.to_owned(), url };
    let mut viewer = Client::connect(demo, &link, Connect::default()).await.unwrap();
    viewer.ready().await;
    viewer
}

/// Looks at a process's memory until it is stopped.
async fn look(pid: u32, peak: Arc<AtomicU64>) {
    loop {
        peak.fetch_max(memory(pid), Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Resident memory of a process, in bytes.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// What the proxy's process has used of the processors so far, in seconds: user and system (proc_pid_stat(5), fields 14
/// and 15, in ticks of which Linux has a hundred a second).
fn cpu(demo: &Demo) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", demo.pid())).unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}
