//! A thousand sessions come and go, many of them badly, and nothing is left behind. It counts the descriptors of its
//! own process and the tasks of the proxy's own runtime, so it has a process to itself.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on fails here and now")]

#[allow(dead_code, unused_imports, reason = "the suite's; not all of it is needed here")]
#[path = "../suite/common/mod.rs"]
mod common;

use std::any::Any;
use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use common::{Client, Connect, Link, Proxy, SHELL, eventually, simulate};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use http::Method;
use polytty_simulator::dockhand::Dockhand;
use polytty_simulator::{Description, Fault, FaultSwitch, Kind, Simulator, Stage, oblien};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

const ROUNDS: u64 = 1_000;

/// Runtimes of Oblien's workspace besides the default one: more than there are faults.
const PLACES: usize = 64;

/// How often a fault that struck nobody is played.
const TRIES: usize = 5;

/// Rounds at a time.
const AT_ONCE: usize = 32;

/// The choices are the same in every run; what comes of them is up to the machine.
const SEED: u64 = 0x706f_6c79_7474_7900;

/// How long a round watches its terminal, and how long it waits to be sent off.
const GLANCE: Duration = Duration::from_millis(300);
const FAREWELL: Duration = Duration::from_secs(8);

/// How long what is left may take to go: a terminal that could not be ended is tried again up to a minute later.
const REST: Duration = Duration::from_secs(150);

/// Faults in which the provider makes a terminal and never tells which, so that nobody could end it; and one whose answer
/// is waited for much longer than a test may last, lest it brings a terminal.
const UNTOLD: [&str; 9] = [
    "launch-stalled",
    "create-unanswered",
    "create-reset",
    "create-no-id",
    "create-word-id",
    "launch-unanswered",
    "reply-not-json",
    "reply-truncated",
    "reply-hostile-length",
];

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// The client vanishes while we dial.
    VanishDialling,
    /// The client vanishes from an open terminal.
    Vanish,
    /// The client leaves by a WebSocket Close.
    Leave,
    /// The client ends the session.
    Close,
    /// The API ends the session.
    Delete,
    /// The shell exits.
    Exit,
}

const ENDS: [End; 6] = [End::VanishDialling, End::Vanish, End::Leave, End::Close, End::Delete, End::Exit];

#[derive(Clone, Copy, Debug)]
struct Round {
    /// `None` for the local provider.
    kind: Option<Kind>,
    fault: Option<&'static str>,
    end: End,
}

#[test]
fn a_thousand_rounds_leave_nothing_behind() {
    let (others, ours) = (runtime(2), runtime(1));
    let simulators: Vec<_> = Kind::ALL.into_iter().map(|kind| (kind, others.block_on(simulator(kind)))).collect();
    let proxy = {
        let _inside = ours.enter();
        proxy(&simulators)
    };
    // Once each, so that what is made once is not counted.
    for kind in Kind::ALL.into_iter().map(Some).chain([None]) {
        others.block_on(async {
            let link = proxy.mint(kind.map_or("local", Kind::as_str)).await;
            play(&proxy, Round { kind, fault: None, end: End::Close }, &link).await
        });
    }
    others.block_on(at_rest(&simulators));
    let before = Count::of(&ours);
    let opened = others.block_on(churn(&proxy, &simulators));
    println!("opened by how they ended: {opened:?}");
    let missed = others.block_on(mop_up(&proxy, &simulators));
    assert!(missed.is_empty(), "these struck nobody: {missed:?}");
    assert!(opened.values().sum::<u64>() > ROUNDS / 3, "most came to nothing: {opened:?}");
    others.block_on(async {
        at_rest(&simulators).await;
        none_lives(&proxy).await;
        let mut now = Count::of(&ours);
        let settled = async {
            while now.tasks > before.tasks || now.sockets > before.sockets {
                sleep(Duration::from_millis(50)).await;
                now = Count::of(&ours);
            }
        };
        let is_settled = timeout(common::PATIENCE, settled).await.is_ok();
        println!("before: {before:?}, after: {now:?}");
        assert!(is_settled, "more is there than before: {before:?}, {now:?}");
        assert!(ours.spawn(proxy.drain()).await.unwrap(), "all leave in time");
        for (_, simulator) in simulators {
            simulator.shutdown().await;
        }
    });
}

/// A simulator of a kind; Oblien's has runtimes with connections of their own.
async fn simulator(kind: Kind) -> Box<dyn Simulator> {
    if kind != Kind::Oblien {
        return simulate(kind).await;
    }
    let (shell, targets) = (SHELL.map(str::to_owned).into(), (0..PLACES).map(|at| format!("r{at}")).collect());
    Box::new(oblien::start(oblien::Options { shell, targets, ..oblien::Options::default() }).await.unwrap())
}

fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap()
}

/// What there is of what could be left behind.
#[derive(Clone, Copy, Debug)]
struct Count {
    /// Of the proxy's runtime.
    tasks: usize,
    /// Of this process: the proxy's, the simulators' and the clients'.
    sockets: usize,
}

impl Count {
    fn of(ours: &Runtime) -> Self {
        let links =
            std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        let sockets = links.filter(|to| to.to_string_lossy().starts_with("socket:")).count();
        Self { tasks: ours.metrics().num_alive_tasks(), sockets }
    }
}

fn proxy(simulators: &[(Kind, Box<dyn Simulator>)]) -> Proxy {
    let (mut providers, mut targets) = (Vec::new(), Vec::new());
    for (kind, simulator) in simulators {
        let mut line = simulator.ready_line();
        let name = kind.as_str();
        line["provider"]["name"] = json!(name);
        line["provider"]["open_timeout"] = json!("2s");
        if *kind == Kind::Dockhand {
            line["provider"]["typed_ending"] = json!(true);
        }
        for (name, target) in places(*kind, &line["target"]) {
            let mut entry = line["provider"].clone();
            entry["name"] = json!(name);
            targets.push((name, target));
            providers.push(entry);
        }
        providers.push(line["provider"].take());
        targets.push((name.to_owned(), line["target"].take()));
    }
    by_name_and_password(simulators, &mut providers);
    providers.push(json!({ "name": "local", "kind": "local", "commands": [SHELL] }));
    Proxy::start(providers, targets, |configuration| configuration["sessions"] = json!({ "detach_grace": "0s" }))
}

/// More entries for a kind, and a target of each. A connection that terminals share meets its faults when it is made, so
/// there has to be more than one of them; a login is made once, and one that is refused is not made again for long.
fn places(kind: Kind, target: &Value) -> Vec<(String, Value)> {
    match kind {
        Kind::PaiDlc | Kind::Eci => Vec::new(),
        Kind::Oblien => {
            (0..PLACES).map(|at| (format!("oblien-{at}"), json!({ "runtime": format!("r{at}") }))).collect()
        }
        Kind::Dockhand | Kind::Decthings => {
            let own = kind.faults().iter().filter(|fault| has_own_place(kind, fault.stage));
            own.map(|fault| (format!("{kind}-{}", fault.name), target.clone())).collect()
        }
    }
}

fn has_own_place(kind: Kind, stage: Stage) -> bool {
    match kind {
        Kind::Dockhand => stage == Stage::Api,
        Kind::Decthings => matches!(stage, Stage::Api | Stage::Upgrade | Stage::Session),
        _ => false,
    }
}

/// What makes calls by which the API's faults can strike: logins at Dockhand, and input over HTTP at Decthings.
fn by_name_and_password(simulators: &[(Kind, Box<dyn Simulator>)], providers: &mut [Value]) {
    let dockhand = simulators.iter().find_map(|(_, simulator)| {
        let simulator: &dyn Any = &**simulator;
        simulator.downcast_ref::<Dockhand>()
    });
    let credential = dockhand.unwrap().credential();
    for entry in providers {
        let name = entry["name"].as_str().unwrap();
        if name.starts_with("dockhand-") {
            entry.as_object_mut().unwrap().remove("token");
            (entry["username"], entry["password"]) = (json!(credential.username), json!(credential.password));
        } else if name.starts_with("decthings-api-") {
            entry["writes"] = json!("http");
        }
    }
}

/// Plays every fault that has struck nobody so far, one of each kind at a time. Those that strike nobody then, either.
async fn mop_up(proxy: &Proxy, simulators: &[(Kind, Box<dyn Simulator>)]) -> Vec<(Kind, &'static str)> {
    let missed = join_all(simulators.iter().map(|(kind, simulator)| async move {
        let mut missed = Vec::new();
        for (at, fault) in kind.faults().iter().filter(|fault| !UNTOLD.contains(&fault.name)).enumerate() {
            if !strikes(proxy, *kind, &**simulator, at, fault).await {
                missed.push((*kind, fault.name));
            }
        }
        missed
    }));
    missed.await.concat()
}

/// Plays a fault until it strikes, in a place of its own where that matters; whether it does.
async fn strikes(proxy: &Proxy, kind: Kind, simulator: &dyn Simulator, at: usize, fault: &Description) -> bool {
    for again in 0..TRIES {
        if simulator.faults().met().contains(fault.name) {
            return true;
        }
        let provider = match kind {
            Kind::Oblien => format!("oblien-{}", (at + again * 5) % PLACES),
            _ if has_own_place(kind, fault.stage) => format!("{kind}-{}", fault.name),
            _ => kind.to_string(),
        };
        let Some(link) = mint(proxy, &provider).await else { continue };
        // What an earlier stage still has in store would keep it from its own.
        simulator.faults().clear();
        strike(kind, when_it_has_spoken(kind, fault), simulator.faults());
        play(proxy, Round { kind: Some(kind), fault: Some(fault.name), end: End::Close }, &link).await;
    }
    simulator.faults().clear();
    simulator.faults().met().contains(fault.name)
}

/// A fault of a connection that is there before its terminals waits until one has spoken: a connection that breaks while the
/// answer to a launch is on its way leaves a terminal that nobody knows.
fn when_it_has_spoken(kind: Kind, fault: &Description) -> Fault {
    let usual = kind.fault(fault.name).unwrap();
    let full = usual.to_string();
    match full.strip_suffix('0').filter(|rest| rest.ends_with(['=', '@'])) {
        Some(rest) if matches!(kind, Kind::Oblien | Kind::Decthings) => kind.fault(&format!("{rest}1")).unwrap(),
        _ => usual,
    }
}

/// Plays all rounds; how many terminals opened, by how their rounds ended.
async fn churn(proxy: &Proxy, simulators: &[(Kind, Box<dyn Simulator>)]) -> BTreeMap<End, u64> {
    let mut random = SEED;
    let rounds: Vec<_> = (0..ROUNDS).map(|_| choose(&mut random)).collect();
    let played = stream::iter(rounds).map(|round| async move {
        let provider = round.kind.map_or("local", Kind::as_str);
        // Who gets no link calls nobody whom a fault could strike.
        let Some(link) = mint(proxy, provider).await else { return (round.end, false) };
        if let (Some(kind), Some(fault)) = (round.kind, round.fault) {
            let (_, simulator) = simulators.iter().find(|(other, _)| *other == kind).unwrap();
            commit(kind, fault, simulator.faults());
        }
        (round.end, play(proxy, round, &link).await)
    });
    let mut opened = BTreeMap::new();
    let played: Vec<_> = played.buffer_unordered(AT_ONCE).collect().await;
    for (end, is_open) in played {
        *opened.entry(end).or_default() += u64::from(is_open);
    }
    simulators.iter().for_each(|(_, simulator)| simulator.faults().clear());
    opened
}

/// Turns a fault on for whoever reaches its stage first.
fn commit(kind: Kind, fault: &str, switch: &FaultSwitch) {
    let fault = kind.fault(fault).unwrap();
    // Many that strike in a row are no accident any more: what cannot be ended by then is given up.
    if switch.waiting() > 1 {
        return;
    }
    strike(kind, fault, switch);
}

fn strike(kind: Kind, fault: Fault, switch: &FaultSwitch) {
    // Tokens last: the call that brings them is made anew only when they are refused.
    if kind == Kind::Oblien && matches!(fault.stage(), Stage::Api | Stage::Link) {
        switch.next(Fault::TokensRevoked);
    }
    switch.next(fault);
}

fn choose(random: &mut u64) -> Round {
    let mut below = |bound: usize| usize::try_from(next(random) % bound as u64).unwrap();
    let kind = Kind::ALL.get(below(Kind::ALL.len() + 1)).copied();
    let end = ENDS[below(ENDS.len())];
    // What ends a shared connection ends it for all: now and then is enough.
    let is_shared = matches!(kind, Some(Kind::Oblien | Kind::Decthings));
    let (strikes, spares) = (below(2) == 0, below(10) != 0);
    let fault = kind.filter(|_| strikes).and_then(|kind| {
        let fault = kind.faults()[below(kind.faults().len())];
        let is_spared = is_shared && spares && matches!(fault.stage, Stage::Session | Stage::Upgrade);
        // As these kinds' own entries are configured, no call is made by which they could strike; others are.
        let is_idle = matches!((kind, fault.stage), (Kind::Dockhand | Kind::Decthings, Stage::Api));
        (!is_spared && !is_idle && !UNTOLD.contains(&fault.name)).then_some(fault.name)
    });
    Round { kind, fault, end }
}

/// Sebastiano Vigna's splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A link, unless the one workspace of Oblien has all the sessions that it takes.
async fn mint(proxy: &Proxy, provider: &str) -> Option<Link> {
    let body = json!({ "provider": provider, "target": proxy.target(provider) });
    let answer = proxy.api(Method::POST, "/v1/sessions", Some(body)).await;
    if answer.status == 429 && answer.headers["ratelimit"] == "\"max_terminals\";r=0" {
        return None;
    }
    assert_eq!(answer.status, 201, "{}", answer.body);
    let text = |name: &str| answer.body[name].as_str().unwrap().to_owned();
    Some(Link { session: text("id"), url: text("url") })
}

/// One session from its link to its end; whether there was a terminal.
async fn play(proxy: &Proxy, round: Round, link: &Link) -> bool {
    let mut client = Client::connect(proxy, link, Connect::default()).await.unwrap();
    if round.end == End::VanishDialling {
        return false;
    }
    while !client.said.iter().any(|said| said["operation"] == "ready") {
        if !client.read().await {
            return false;
        }
    }
    client.try_typing("echo fi''ne\r").await;
    let seen = async {
        while !client.output.windows(6).any(|seen| seen == b"fine\r\n") {
            if !client.read().await {
                pending::<()>().await;
            }
        }
    };
    let _ = timeout(GLANCE, seen).await;
    match round.end {
        End::VanishDialling | End::Vanish => return true,
        End::Leave => drop(client.ws.close(None).await),
        End::Close => client.try_saying(json!({ "operation": "close" })).await,
        End::Exit => client.try_typing("exit\r").await,
        End::Delete => {
            let path = format!("/v1/sessions/{}", link.session);
            let status = proxy.api(Method::DELETE, &path, None).await.status;
            assert!([204, 404].contains(&status.as_u16()), "{status}");
        }
    }
    // A terminal that a fault has silenced does not exit; its client has seen enough.
    let _ = timeout(FAREWELL, client.drain()).await;
    true
}

/// Waits until no session lives.
async fn none_lives(proxy: &Proxy) {
    eventually(async || {
        let sessions = proxy.api(Method::GET, "/v1/sessions", None).await.body;
        let sessions = sessions["sessions"].as_array().unwrap();
        sessions.iter().all(|session| session["state"] == "ended").then_some(())
    })
    .await;
}

/// Waits until nobody is connected to the simulators any more, and no shell runs but those that Dockhand leaves behind.
async fn at_rest(simulators: &[(Kind, Box<dyn Simulator>)]) {
    for (kind, simulator) in simulators {
        let left = || (simulator.connections(), if *kind == Kind::Dockhand { 0 } else { simulator.sessions() });
        let resting = async {
            while left() != (0, 0) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(timeout(REST, resting).await.is_ok(), "{kind}: connections and shells left: {:?}", left());
    }
}
