//! Providers whose terminals all come over one connection: Oblien (one per workspace) and Decthings (one per account).
//! What happens to one terminal is nobody else's business, and what happens to the connection hides nothing.

mod decthings;
mod oblien;
mod other;
mod stream;

use std::any::Any;
use std::time::Duration;

use futures_util::future::{join, join_all};
use polytty_simulator::{Simulator, decthings::Decthings, oblien::Oblien};
use serde_json::{Value, json};

use crate::common::{Client, Connect, Link, World, eventually};
use stream::Stream;

/// Bytes that each of many terminals says, and that are typed into it, at once.
const OUTPUT: usize = 150_000;
const INPUT: usize = 60_000;

/// Lines that the stalled reader's terminal prints: 8 MB, far more than anybody holds for it.
const LINES: u64 = 1_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_sessions_of_a_workspace_have_each_their_own_bytes_in_order_though_one_does_not_read() {
    let world = patient_world().await;
    crowd("oblien", &world, 9).await;
    let counters = simulated::<Oblien>(&world).counters();
    assert_eq!((counters.sockets_opened, counters.upgrades_taken), (1, 1), "{counters:?}");
    assert_eq!(counters.terminals_created, 10);
    // Those that have ended count until they are deleted.
    eventually(async || (simulated::<Oblien>(&world).counters().terminals_deleted == 10).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_sessions_of_a_decthings_account_have_each_their_own_bytes_in_order_though_one_does_not_read() {
    let world = patient_world().await;
    crowd("decthings", &world, 49).await;
    let counters = simulated::<Decthings>(&world).counters();
    assert_eq!((counters.upgrades_taken, counters.launched), (1, 50), "{counters:?}");
    assert_eq!(counters.lost_bytes, 0);
    eventually(async || (simulated::<Decthings>(&world).counters().alive == 0).then_some(())).await;
}

/// So many sessions, all at work at once both ways, and one more whose reader stalls until the others are done.
async fn crowd(provider: &str, world: &World, count: u64) {
    let mut clients = Vec::new();
    for seed in 1..=count {
        clients.push((seed, world.open(provider).await));
    }
    let stalls = stall(world, provider);
    let works = join_all(clients.into_iter().map(|(seed, client)| work(provider, seed, client)));
    let (stalled, _) = join(stalls, works).await;
    stalled.resume(world).await;
}

/// Says and takes a checksummed stream at the same time, to the end of the shell.
async fn work(provider: &str, seed: u64, mut client: Client) {
    let (said, typed) = (Stream::seeded(seed).bytes(OUTPUT), Stream::seeded(1_000 + seed).bytes(INPUT));
    let says = Stream::seeded(seed).shell(OUTPUT);
    // Both at once; the sum of what was typed comes behind what is said.
    client
        .type_text(&format!(
            "exec sh -c 'stty raw -echo; echo rea\"\"dy; {says} & sum=$(head -c {INPUT} | sha256sum); wait; \
             echo \"sum ${{sum%% *}}\"; exit 7'\r"
        ))
        .await;
    client.see("ready\n").await;
    for (n, piece) in typed.chunks(INPUT / 10).enumerate() {
        client.type_bytes(piece).await;
        while client.output.len() < n * OUTPUT / 10 {
            assert!(client.read().await, "{provider} {seed}: {:?}", client.said);
        }
    }
    let closed = client.drain().await;
    assert_eq!(closed.code, 1000, "{provider} {seed}: {closed:?} {:?}", client.said);
    assert_eq!(client.hear("exit").await["code"], 7);
    let rest = client.output.split_off(OUTPUT.min(client.output.len()));
    assert_eq!(stream::sum(&client.output), stream::sum(&said), "{provider} {seed}");
    assert_eq!(String::from_utf8_lossy(&rest), format!("sum {}\n", stream::sum(&typed)), "{provider} {seed}");
}

/// A reader that stopped reading under a flood, and was let go.
struct Stalled {
    client: Client,
    /// What the flood is, and the session's offset at which it begins.
    flood: String,
    begin: usize,
}

/// Does not read until it is let go, then reads what was on its way.
async fn stall(world: &World, provider: &str) -> Stalled {
    let mut client = world.open(provider).await;
    client.type_text(&format!("echo rea''dy; seq 1 {LINES}; echo the''-end\r")).await;
    let begin = client.see("ready\r\n").await.len();
    let mut flood: String = (1..=LINES).map(|n| format!("{n}\r\n")).collect();
    flood.push_str("the-end\r\n");
    world.until(&client.session, "detached").await;
    let closed = client.drain().await;
    assert_eq!(closed.code, 4413, "{closed:?}");
    let error = client.hear("error").await;
    assert_eq!((&error["code"], &error["final"]), (&json!("fell_behind"), &json!(true)));
    assert!(client.output.len() < flood.len() / 2, "it stalled: {}", client.output.len());
    assert!(flood.as_bytes().starts_with(&client.output), "what came is the beginning");
    Stalled { client, flood, begin }
}

impl Stalled {
    /// Comes back by the link that it was given, and finds the end of the flood.
    async fn resume(self, world: &World) {
        let all = (self.begin + self.flood.len()) as u64;
        eventually(async || (world.session(&self.client.session).await["bytes_out"].as_u64()? >= all).then_some(()))
            .await;
        let offset = self.begin + self.client.output.len();
        let ready = self.client.said.iter().find(|said| said["operation"] == "ready").unwrap();
        let (mut back, ready) = resume(world, &self.client.session, ready, offset).await;
        let from = ready["offset"].as_u64().unwrap() as usize;
        assert!(from > offset, "what was beyond the scrollback is gone: {from} {offset}");
        let reset = back.hear("synthetic").await["bytes"].as_u64().unwrap() as usize;
        assert_eq!(back.hear("replay").await["missing"], from - offset, "and counted");
        while back.output.len() < reset {
            assert!(back.read().await);
        }
        back.output.drain(..reset);
        let seen = back.see("the-end\r\n").await;
        assert!(seen == self.flood[from - self.begin..], "{} bytes from {from}", seen.len());
        assert_eq!(back.run("echo back").await, "back\r\n");
        back.type_text("exit\r").await;
        assert_eq!(back.drain().await.code, 1000);
    }
}

/// Comes back by the link that `ready` has, with so much output.
async fn resume(world: &World, session: &str, ready: &Value, offset: usize) -> (Client, Value) {
    let url = ready["resume"]["url"].as_str().unwrap();
    let link = Link { session: session.to_owned(), url: format!("{url}?offset={offset}") };
    let mut back = Client::connect(world, &link, Connect::default()).await.unwrap();
    let ready = back.ready().await;
    (back, ready)
}

/// A world whose sessions wait long for clients that were let go.
async fn patient_world() -> World {
    World::with(|config| config["sessions"] = json!({ "detach_grace": "10m" })).await
}

/// The simulator of a kind, for what only that kind has.
fn simulated<S: Simulator>(world: &World) -> &S {
    let mut found = world.others.iter().filter_map(|(_, simulator)| {
        let simulator: &dyn Any = &**simulator;
        simulator.downcast_ref()
    });
    found.next().expect("a world has a simulator of every kind")
}

/// A line that prints `name 1` to `name count`, 20 ms apart, and what it prints.
fn paced(name: &str, count: u32) -> (String, String) {
    let line =
        format!("echo rea''dy; for n in $(seq 1 {count}); do echo {name} $n; sleep 0.02; done; echo the''-end\r");
    let mut printed: String = (1..=count).map(|n| format!("{name} {n}\r\n")).collect();
    printed.push_str("the-end\r\n");
    (line, printed)
}

/// How often a client was told this, without its session having ended.
fn notices(client: &Client, code: &str) -> usize {
    client.said.iter().filter(|said| said["code"] == code && said["final"] == false).count()
}

/// Long enough for a connection to be made anew, if it were: the first wait is a second.
const LONGER_THAN_A_REDIAL: Duration = Duration::from_millis(2_500);
