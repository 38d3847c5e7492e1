//! A client that does not read is nobody's problem but its own.

use std::process::Command;
use std::time::Duration;

use crate::common::{Client, Demo, eventually};

/// Sessions that are stalled at once.
const STALLED: u64 = 20;

/// What one of them may add, the scrollback of 256 KiB and the kernel's queues included. Measured on a process that
/// holds the simulated provider, too, whose own buffers are counted with it.
const PER_SESSION: u64 = (1024 + 256) * 1024;

#[tokio::test]
async fn a_stalled_reader_under_yes_holds_little_and_its_neighbour_does_not_feel_it() {
    let demo = Demo::start().await;
    for provider in ["local", "pai"] {
        let mut neighbour = demo.open(provider).await;
        let mut stalled: Vec<Client> = Vec::new();
        // One session before the measurement, so that what is made once is not counted.
        let mut warm = demo.open(provider).await;
        warm.type_text("yes | head -c 1000000; exit\r").await;
        warm.drain().await;
        let before = memory(demo.pid()) + queues(demo.pid());
        for _ in 0..STALLED {
            let mut client = demo.open(provider).await;
            client.type_text("yes\r").await;
            stalled.push(client);
        }
        // Nobody reads: wait until nothing moves any more.
        let mut sent = Vec::new();
        eventually(async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let mut now = Vec::new();
            for client in &stalled {
                now.push(demo.session(&client.session).await["bytes_out"].as_u64().unwrap());
            }
            let still = now == sent && now.iter().all(|bytes| *bytes > 100_000);
            sent = now;
            still.then_some(())
        })
        .await;
        let (process, kernel) = (memory(demo.pid()), queues(demo.pid()));
        let added = (process + kernel).saturating_sub(before) / STALLED;
        println!(
            "{provider}: a stalled session adds {} KiB, {} KiB of it in the kernel",
            added / 1024,
            kernel / STALLED / 1024
        );
        assert!(added < PER_SESSION, "{provider}: {added} bytes");
        for n in 0..50 {
            assert_eq!(neighbour.run(&format!("echo {n}")).await, format!("{n}\r\n"));
        }
        // Ctrl-C passes the stalled output, and reading on shows that nothing was lost behind it.
        let mut first = stalled.swap_remove(0);
        first.type_text("\u{3}").await;
        first.see("^C").await;
        assert!(first.run("echo back").await.ends_with("back\r\n"));
    }
    assert_eq!(demo.terminate().await, 0);
}

/// Resident memory of a process, in bytes.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// What the kernel holds in the TCP queues of a process, in bytes: received, being sent, and set aside.
fn queues(pid: u32) -> u64 {
    let ss = Command::new("ss").args(["-tmnpH"]).output().expect("ss, of the package iproute2, is needed");
    assert!(ss.status.success());
    let text = String::from_utf8(ss.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let owned = format!("pid={pid},");
    let sockets = lines.windows(2).filter(|pair| pair[0].contains(&owned) && pair[1].contains("skmem:"));
    let amounts = sockets.flat_map(|pair| {
        let start = pair[1].find("skmem:(").unwrap() + "skmem:(".len();
        pair[1][start..].split([',', ')']).map(str::to_owned).collect::<Vec<_>>()
    });
    let of = |field: &str| {
        ["r", "w", "f", "bl"].iter().find_map(|name| field.strip_prefix(name)?.parse::<u64>().ok()).unwrap_or(0)
    };
    amounts.map(|field| of(&field)).sum()
}
