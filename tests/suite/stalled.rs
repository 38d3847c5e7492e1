//! A client that does not read is nobody's problem but its own.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::common::{Client, Connect, Demo, Link, eventually};

/// How a kind is tried.
struct Trial {
    provider: &'static str,
    /// Sessions that are stalled at once.
    stalled: usize,
    /// What one of them may add, in bytes, the scrollback of 256 KiB, the recording's queue of
    /// as much and the kernel's queues included. Measured on a
    /// process that holds the simulated provider, too, whose own buffers are counted with it.
    each: u64,
}

/// Each of these terminals has a connection of its own, whose pace is its client's.
const PACED: [Trial; 4] = [
    Trial { provider: "local", stalled: 20, each: 1 << 20 },
    Trial { provider: "pai", stalled: 20, each: 1280 << 10 },
    Trial { provider: "eci", stalled: 20, each: 1280 << 10 },
    Trial { provider: "dockhand", stalled: 20, each: 1280 << 10 },
];

/// These share one, which waits for nobody where there are several. Fewer of them, since their terminals never stop talking: a workspace of
/// Oblien has ten terminals, and each of ours is a busy loop.
const SHARED: [Trial; 2] = [
    Trial { provider: "oblien", stalled: 8, each: 1536 << 10 },
    Trial { provider: "decthings", stalled: 8, each: 1 << 20 },
];

#[tokio::test]
async fn a_stalled_reader_under_yes_holds_little_and_its_neighbour_does_not_feel_it() {
    let demo = Demo::start().await;
    for Trial { provider, stalled, each } in PACED {
        let (mut neighbour, before) = prepare(&demo, provider).await;
        let mut clients = flood(&demo, provider, stalled).await;
        // Nobody reads: wait until nothing moves any more.
        let mut sent = Vec::new();
        eventually(async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let mut now = Vec::new();
            for client in &clients {
                now.push(demo.session(&client.session).await["bytes_out"].as_u64().unwrap());
            }
            let still = now == sent && now.iter().all(|bytes| *bytes > 100_000);
            sent = now;
            still.then_some(())
        })
        .await;
        holds_little(&demo, provider, before, stalled, each);
        answers(&mut neighbour).await;
        // Ctrl-C passes the stalled output, and reading on shows that nothing was lost behind it.
        let mut first = clients.swap_remove(0);
        first.type_text("\u{3}").await;
        first.see("^C").await;
        assert!(first.run("echo back").await.ends_with("back\r\n"));
        clients.extend([first, neighbour]);
        end(&demo, &clients).await;
    }
    assert_eq!(demo.terminate().await, 0);
}

#[tokio::test]
async fn on_a_shared_connection_a_stalled_reader_is_let_go_and_finds_the_end_when_it_comes_back() {
    let demo = Demo::start().await;
    for Trial { provider, stalled, each } in SHARED {
        let (mut neighbour, before) = prepare(&demo, provider).await;
        let mut clients = flood(&demo, provider, stalled).await;
        for client in &clients {
            demo.until(&client.session, "detached").await;
        }
        // The last one to be let go is still being told so.
        let mut last = clients.pop().unwrap();
        let closed = last.drain().await;
        assert_eq!(closed.code, 4413, "{provider}: {closed:?}");
        assert_eq!(last.hear("error").await["code"], "fell_behind");
        holds_little(&demo, provider, before, stalled, each);
        answers(&mut neighbour).await;
        let ready = last.said.iter().find(|said| said["operation"] == "ready").unwrap();
        let (offset, url) = (last.output.len(), ready["resume"]["url"].as_str().unwrap());
        let link = Link { session: last.session.clone(), url: format!("{url}?offset={offset}") };
        let mut back = Client::connect(&demo, &link, Connect::default()).await.unwrap();
        let ready = back.ready().await;
        let missing = back.hear("replay").await["missing"].as_u64().unwrap();
        assert!(missing > 0, "{provider}: more was said than is kept");
        assert_eq!(ready["offset"].as_u64().unwrap(), offset as u64 + missing);
        back.type_text("\u{3}").await;
        back.see("^C").await;
        assert!(back.run("echo back").await.ends_with("back\r\n"));
        clients.extend([back, neighbour]);
        end(&demo, &clients).await;
    }
    assert_eq!(demo.terminate().await, 0);
}

/// A slow client whose terminal has the connection to itself is waited for, as it would be on a connection of its own.
#[tokio::test]
async fn who_is_alone_on_a_shared_connection_gets_all_of_a_flood_that_outruns_its_client() {
    const FLOOD: usize = 20_000_000;
    let demo = Demo::start().await;
    for provider in ["oblien", "decthings"] {
        let mut client = demo.open(provider).await;
        client.type_text(&format!("yes | head -c {FLOOD}; exit\r")).await;
        let mut sent = 0;
        // Nobody reads: wait until nothing moves any more, and a little longer.
        eventually(async || {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = demo.session(&client.session).await["bytes_out"].as_u64().unwrap();
            let is_still = now == std::mem::replace(&mut sent, now) && now > 100_000;
            is_still.then_some(())
        })
        .await;
        assert!(sent < FLOOD as u64, "{provider}: nobody had to wait");
        let closed = client.drain().await;
        assert_eq!(closed.code, 1000, "{provider}: {closed:?}");
        let lines = client.output.windows(3).filter(|window| window == b"y\r\n").count();
        assert_eq!(lines, FLOOD / 2, "{provider}");
    }
    assert_eq!(demo.terminate().await, 0);
}

/// Viewers that read nothing, and what one of them may add, in bytes: its queue of 256 KiB, a screen, what is on its way in
/// TLS, the kernel's queues.
const VIEWERS: usize = 20;
const A_VIEWER: u64 = 768 << 10;

#[tokio::test]
async fn twenty_viewers_that_read_nothing_hold_little_and_the_writer_does_not_wait_for_them() {
    // Ten times what may wait for a viewer, and over before they are let go.
    const FLOOD: usize = 4_000_000;
    let demo = Demo::start().await;
    let (mut writer, before) = prepare(&demo, "local").await;
    let path = format!("/v1/sessions/{}/links", writer.session);
    let mut viewers = Vec::new();
    for _ in 0..VIEWERS {
        let made = demo.api(http::Method::POST, &path, Some(json!({ "role": "viewer" }))).await;
        let link = Link { session: writer.session.clone(), url: made.body["url"].as_str().unwrap().to_owned() };
        let mut viewer = Client::connect(&demo, &link, Connect::default()).await.unwrap();
        viewer.ready().await;
        viewers.push(viewer);
    }
    writer.type_text(&format!("stty -onlcr -echo; echo be''gin; yes | head -c {FLOOD}; echo en''d\r")).await;
    writer.see("begin\n").await;
    let (mut count, mut most, mut looked_at) = (0, 0, 0);
    while count < FLOOD {
        assert!(writer.read().await, "{:?}", writer.closed);
        count += writer.output.len();
        writer.output.clear();
        if count > looked_at + FLOOD / 20 {
            looked_at = count;
            most = held(&demo).0.max(most);
        }
    }
    let added = most.saturating_sub(before);
    println!("a stalled viewer adds {} KiB", added / VIEWERS as u64 / 1024);
    assert!(added < VIEWERS as u64 * A_VIEWER, "{added} bytes");
    // One that reads again is skipped forward to what is on the screen.
    viewers.swap_remove(0).see("end").await;
    drop(viewers);
    end(&demo, &[writer]).await;
    assert_eq!(demo.terminate().await, 0);
}

/// A neighbour, and what the process holds when each path has been used once, so that what is made once is not counted.
async fn prepare(demo: &Demo, provider: &str) -> (Client, u64) {
    let neighbour = demo.open(provider).await;
    let mut warm = demo.open(provider).await;
    warm.type_text("yes | head -c 1000000; exit\r").await;
    warm.drain().await;
    demo.until(&warm.session, "ended").await;
    (neighbour, held(demo).0)
}

/// Terminals that say more than anybody will read.
async fn flood(demo: &Demo, provider: &str, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = demo.open(provider).await;
        client.type_text("yes\r").await;
        clients.push(client);
    }
    clients
}

fn holds_little(demo: &Demo, provider: &str, before: u64, stalled: usize, each: u64) {
    let (now, kernel) = held(demo);
    let (added, stalled) = (now.saturating_sub(before), stalled as u64);
    println!(
        "{provider}: a stalled session adds {} KiB, {} KiB of it in the kernel",
        added / stalled / 1024,
        kernel / stalled / 1024
    );
    assert!(added < stalled * each, "{provider}: {added} bytes");
}

async fn answers(neighbour: &mut Client) {
    for n in 0..50 {
        assert_eq!(neighbour.run(&format!("echo {n}")).await, format!("{n}\r\n"));
    }
}

async fn end(demo: &Demo, clients: &[Client]) {
    for client in clients {
        let path = format!("/v1/sessions/{}", client.session);
        assert_eq!(demo.api(http::Method::DELETE, &path, None).await.status, 204);
        demo.until(&client.session, "ended").await;
    }
}

/// Bytes of memory and of kernel queues together, and the latter alone.
fn held(demo: &Demo) -> (u64, u64) {
    let kernel = queues(demo.pid());
    (memory(demo.pid()) + kernel, kernel)
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
    // What is set aside may be below zero, and is printed as if it were not signed.
    let amount = |name: &str, field: &str| field.strip_prefix(name)?.parse::<u32>().ok().map(u32::cast_signed);
    let of = |field: &str| ["r", "w", "f", "bl"].iter().find_map(|name| amount(name, field)).unwrap_or(0);
    let sum: i64 = amounts.map(|field| i64::from(of(&field))).sum();
    u64::try_from(sum).unwrap_or(0)
}
