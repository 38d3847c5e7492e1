//! The real process without descriptors: who is there goes on, who comes is turned away at once, and then all is well.

use std::time::Duration;

use futures_util::future::select_all;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::{Client, Connect, PATIENCE, Served, eventually};

/// Descriptors that the process may have. It needs about 15 for itself.
const LIMIT: u32 = 64;

/// The processor time that a process has used, in clock ticks of 10 ms (`proc_pid_stat(5)`, fields 14 and 15).
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let behind_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<_> = behind_name.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn descriptors(pid: u32) -> u32 {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u32
}

#[tokio::test]
async fn without_descriptors_sessions_go_on_new_ones_are_turned_away_and_all_is_well_when_there_are_some_again() {
    let limited = |_: &_| ["prlimit", &format!("--nofile={LIMIT}"), "--"].map(str::to_owned).into();
    let served = Served::start(limited, |config| {
        config["limits"] = json!({ "handshake_timeout": "5m", "request_timeout": "5m" });
    })
    .await;
    let mut client = served.open("local").await;
    assert_eq!(client.run("marker=kept; echo set").await, "set\r\n");
    // Somebody who is connected already, with a link.
    let (link, stream) = (served.mint("local").await, served.dial().await);

    let mut hoard = Vec::new();
    fill(&served, &mut hoard).await;
    // One that was handed down may lie beyond the limit, and the spare one that is given up to turn somebody away is taken
    // again a moment after they have heard of it.
    eventually(async || (descriptors(served.pid()) >= LIMIT).then_some(())).await;

    let before = ticks(served.pid());
    for n in 0..20 {
        assert_eq!(client.run(&format!("echo {n} $marker")).await, format!("{n} kept\r\n"), "who is there goes on");
    }
    let mut late = Client::connect_over(stream, &served, &link, Connect::default()).await.unwrap();
    let error = late.hear("error").await;
    assert_eq!((&error["code"], &error["final"]), (&json!("provider_unavailable"), &json!(true)), "{error}");
    assert_eq!(late.drain().await.code, 4502);
    // What became free by that is taken again.
    fill(&served, &mut hoard).await;
    for _ in 0..20 {
        let tcp = TcpStream::connect(served.address).await.unwrap();
        let turned = timeout(Duration::from_secs(5), served.shake(tcp)).await.expect("nobody is kept waiting");
        assert!(turned.is_err(), "nobody is let in");
    }
    let used = ticks(served.pid()) - before;
    assert!(used < 100, "{used} ticks: it spins");
    assert_eq!(served.log().matches("cannot accept").count(), 1, "it is told now and then");

    drop(hoard);
    let mut next = eventually(async || {
        let tcp = TcpStream::connect(served.address).await.unwrap();
        served.shake(tcp).await.ok()?;
        timeout(Duration::from_secs(5), served.open("local")).await.ok()
    })
    .await;
    assert_eq!(next.run("echo in").await, "in\r\n");
    assert_eq!(client.run("echo $marker").await, "kept\r\n");
}

/// Connects more than there are descriptors for, until somebody is closed at once. Who is accepted hears nothing before it
/// has said something.
async fn fill(served: &Served, hoard: &mut Vec<TcpStream>) {
    let begins = hoard.len();
    for _ in 0..LIMIT {
        hoard.push(TcpStream::connect(served.address).await.unwrap());
    }
    let heard = hoard[begins..].iter_mut().map(|tcp| Box::pin(tcp.read_u8()));
    let (first, ..) = timeout(PATIENCE, select_all(heard)).await.expect("somebody is turned away");
    assert!(first.is_err(), "nobody is told anything");
}
