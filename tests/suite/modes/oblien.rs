//! Oblien: other runtimes and credentials, ids that come again, and other ways to lose the connection and find it again.

use polytty_simulator::Simulator;
use polytty_simulator::oblien::{self, Eviction, Oblien, Options};
use serde_json::json;

use super::{Mode, shell, simulated};
use crate::common::{Client, Connect, Proxy, eventually};

pub(super) async fn modes() -> Vec<Mode> {
    let mut modes = vec![
        Mode::of(
            "oblien with the token in the query, where it counts nowhere else",
            start(Options { query_token_only: true, ..options() }).await,
        )
        .configured("websocket_token", "query"),
        Mode::of("oblien in a runtime of its own", start(options()).await).at("runtime", "macos"),
        Mode::of("oblien where an id comes again at once", start(Options { reuse_ids: true, ..options() }).await)
            .and(|proxy, _, client| Box::pin(ids_come_again(proxy, client))),
        Mode::of("oblien that answers 409 where it is full", start(Options { limit_status: 409, ..options() }).await)
            .and(|proxy, simulator, _| Box::pin(full(proxy, simulator))),
        Mode::of("oblien where a deletion brings no exit", start(Options { exit_on_delete: None, ..options() }).await),
    ];
    let simulator = start(options()).await;
    let line = simulator.ready_line_workspace().unwrap();
    modes.push(Mode::with("oblien with the token of a workspace alone", simulator, line));
    let simulator = start(options()).await;
    let workspace = simulator.workspace_not_enabled().to_owned();
    modes.push(Mode::of("oblien in a workspace whose access is off at first", simulator).at("workspace", workspace));
    let replays = [
        ("oblien that takes a connection away by a Close", options()),
        ("oblien that takes a connection away by a FIN", Options { eviction: Eviction::Fin, ..options() }),
        ("oblien that takes a connection away by a reset", Options { eviction: Eviction::Reset, ..options() }),
        ("oblien that repeats output in small pieces", Options { replay_chunk: 100, ..options() }),
    ];
    for (about, options) in replays {
        let mode = Mode::of(about, start(options).await);
        modes.push(mode.and(|_, simulator, client| Box::pin(goes_on(simulator, client))));
    }
    for (about, replay_ended) in [
        ("oblien that repeats what ended terminals have said", true),
        ("oblien that repeats nothing of ended terminals", false),
    ] {
        let mode = Mode::of(about, start(Options { replay_ended, ..options() }).await);
        modes.push(mode.and(|proxy, simulator, _| Box::pin(ends_while_away(proxy, simulator))));
    }
    modes
}

#[tokio::test]
async fn a_token_that_counts_only_in_the_query_is_refused_in_a_header() {
    let simulator = start(Options { query_token_only: true, ..options() }).await;
    let Mode { simulator: _simulator, entry, target, .. } = Mode::of("", simulator);
    let proxy = Proxy::start(vec![entry], vec![("it".to_owned(), target)], |_| {});
    let link = proxy.mint("it").await;
    let mut client = Client::connect(&proxy, &link, Connect::default()).await.unwrap();
    let error = client.hear("error").await;
    assert_eq!(error["code"], "provider_refused", "{error}");
    assert_eq!(client.drain().await.code, 4502);
}

/// Pings go out after 20 s of silence, so that is how long this takes.
#[tokio::test]
async fn where_no_pings_are_answered_a_connection_is_made_anew_and_kept_where_none_are_expected() {
    let world = async |pong_timeout: &str| {
        let simulator = start(Options { answers_pings: false, ..options() }).await;
        let Mode { simulator, entry, target, .. } = Mode::of("", simulator).configured("pong_timeout", pong_timeout);
        let proxy = Proxy::start(vec![entry], vec![("it".to_owned(), target)], |_| {});
        let mut client = proxy.open("it").await;
        assert_eq!(client.run("echo before").await, "before\r\n");
        (simulator, proxy, client)
    };
    let (patient, _proxy, mut waits) = world("0s").await;
    let (strict, _other, mut redials) = world("100ms").await;
    let opened = |simulator: &dyn Simulator| simulated::<Oblien>(simulator).counters().sockets_opened;
    eventually(async || (opened(&*strict) == 2).then_some(())).await;
    assert_eq!(redials.run("echo after").await, "after\r\n");
    assert!(redials.said.iter().all(|said| said["operation"] != "error"), "{:?}", redials.said);
    assert_eq!(waits.run("echo after").await, "after\r\n");
    assert_eq!(opened(&*patient), 1);
}

/// A terminal that gets the id of one that has just ended says nothing of it.
async fn ids_come_again(proxy: &Proxy, client: &mut Client) {
    for round in 0..5 {
        let mut other = proxy.open("it").await;
        assert_eq!(other.run(&format!("echo round-{round}; seq 1 300")).await.lines().count(), 301);
        other.type_text("seq 1 5000\r").await;
        other.say(json!({ "operation": "close" })).await;
        other.drain().await;
        let mut next = proxy.open("it").await;
        let seen = next.run("echo mine").await;
        assert_eq!(seen, "mine\r\n");
        next.say(json!({ "operation": "close" })).await;
        next.drain().await;
    }
    assert_eq!(client.run("echo still").await, "still\r\n");
}

/// The terminals of others leave one place, which the client has.
async fn full(proxy: &Proxy, simulator: &dyn Simulator) {
    let oblien = simulated::<Oblien>(simulator);
    oblien.faults().next(polytty_simulator::Fault::CreateLimit);
    let link = proxy.mint("it").await;
    let mut refused = Client::connect(proxy, &link, Connect::default()).await.unwrap();
    assert_eq!(refused.hear("error").await["code"], "quota_exceeded");
    refused.drain().await;
}

/// The connection is taken away and made anew, and nothing is shown twice or missing.
async fn goes_on(simulator: &dyn Simulator, client: &mut Client) {
    let oblien = simulated::<Oblien>(simulator);
    for round in 1..=2 {
        // More than one piece of what is repeated.
        client.type_text("seq 1 400; echo said''-it\r").await;
        client.see("said-it\r\n").await;
        let opened = oblien.counters().sockets_opened;
        assert_eq!(oblien.kick(), 1);
        eventually(async || (oblien.counters().sockets_opened > opened).then_some(())).await;
        client.type_text(&format!("echo typed''-{round}\r")).await;
        let seen = client.see(&format!("typed-{round}\r\n")).await;
        assert_eq!((seen.matches("echo").count(), seen.matches("said-it").count()), (1, 0), "{seen}");
    }
    let gaps = client.said.iter().filter(|said| said["code"] == "output_gap").count();
    assert_eq!(gaps, 0, "{:?}", client.said);
}

/// What a process said and how it ended while there was no connection is told when there is one.
async fn ends_while_away(proxy: &Proxy, simulator: &dyn Simulator) {
    let oblien = simulated::<Oblien>(simulator);
    let go = tempfile::tempdir().unwrap();
    let go = go.path().join("go");
    let mut client = proxy.open("it").await;
    let path = go.display();
    client.type_text(&format!("echo rea''dy; until [ -e {path} ]; do sleep 0.02; done; seq 1 99; exit 7\r")).await;
    client.see("ready\r\n").await;
    let alive = oblien.counters().terminals_alive;
    assert_eq!(oblien.kick(), 1);
    eventually(async || (oblien.counters().sockets_open == 0).then_some(())).await;
    std::fs::write(&go, "").unwrap();
    eventually(async || (oblien.counters().terminals_alive < alive).then_some(())).await;
    let expected: String = (1..=99).map(|n| format!("{n}\r\n")).collect();
    assert!(client.see("99\r\n").await.ends_with(&expected));
    assert_eq!(client.hear("exit").await["code"], 7);
    assert_eq!(client.drain().await.code, 1000);
}

async fn start(options: Options) -> Oblien {
    oblien::start(options).await.unwrap()
}

fn options() -> Options {
    Options { shell: shell(), ..Options::default() }
}
