//! Stories of terminals at a service that the test plays by hand.

mod ending;
mod outage;
mod peer;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use polytty_dialect::Exit;
use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::config::Writes;
use crate::config::secret::Secret;
use crate::provider::Happened;
use peer::{Connection, KEY, Peer};

const DEADLINE: Duration = Duration::from_secs(20);

type Terminal = Box<dyn Upstream>;

fn provider(address: &str, writes: Writes) -> Arc<DecthingsProvider> {
    let http_url: crate::config::Endpoint = format!("http://{address}/v0").parse().unwrap();
    let ws_url = http_url.web_socket_below("/ws");
    let settings = Decthings { http_url, ws_url, api_key: Secret::new(KEY.to_owned()), writes };
    Arc::new(DecthingsProvider::new("d".to_owned(), settings, Dialer::new(None, true).unwrap()))
}

fn target(provider: &DecthingsProvider) -> Target {
    let location = json!({"type": "persistentLauncher", "persistentLauncherId": "p-1"});
    provider.target(&json!({"model_id": "m-1", "execution_location": location})).unwrap()
}

fn size(cols: u64, rows: u64) -> Size {
    Size::new(cols, rows).unwrap()
}

/// Opens a terminal in a task of its own.
fn open(provider: &Arc<DecthingsProvider>) -> tokio::task::JoinHandle<Result<Terminal, Failure>> {
    let provider = Arc::clone(provider);
    tokio::spawn(async move {
        let target = target(&provider);
        provider.open(&target, size(120, 40)).await
    })
}

async fn opened(opening: tokio::task::JoinHandle<Result<Terminal, Failure>>) -> Terminal {
    let mut terminal = timeout(DEADLINE, opening).await.expect("an end in time").unwrap().expect("a terminal");
    terminal.attended(true);
    terminal
}

/// A service, its first connection, and a terminal `ts-1` on it.
async fn one(writes: Writes) -> (Peer, Arc<DecthingsProvider>, Connection, Terminal) {
    let mut peer = Peer::start().await;
    let provider = provider(&peer.address, writes);
    let opening = open(&provider);
    peer.expect("launchTerminalSession").await.launched("ts-1");
    let connection = peer.connection().await;
    let terminal = opened(opening).await;
    (peer, provider, connection, terminal)
}

async fn next(terminal: &mut Terminal, output: &mut Vec<u8>) -> Happened {
    timeout(DEADLINE, poll_fn(|cx| terminal.poll_output(cx, output, 4096))).await.expect("something in time")
}

/// Output until there is as much as is expected.
async fn output(terminal: &mut Terminal, expected: &[u8]) {
    let mut output = Vec::new();
    while output.len() < expected.len() {
        match next(terminal, &mut output).await {
            Happened::Output => {}
            other => panic!("{other:?} behind {:?}", String::from_utf8_lossy(&output)),
        }
    }
    assert_eq!(String::from_utf8_lossy(&output), String::from_utf8_lossy(expected));
}

async fn notice(terminal: &mut Terminal) -> Failure {
    match next(terminal, &mut Vec::new()).await {
        Happened::Notice(notice) => notice,
        other => panic!("{other:?}"),
    }
}

async fn exit(terminal: &mut Terminal) -> Exit {
    match next(terminal, &mut Vec::new()).await {
        Happened::Exit(exit) => exit,
        other => panic!("{other:?}"),
    }
}

async fn failed(terminal: &mut Terminal) -> Failure {
    match next(terminal, &mut Vec::new()).await {
        Happened::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

async fn flushed(terminal: &mut Terminal) {
    timeout(DEADLINE, poll_fn(|cx| terminal.poll_flushed(cx))).await.expect("input taken in time");
}

#[tokio::test]
async fn a_terminal_is_launched_as_it_was_asked_for() {
    let mut peer = Peer::start().await;
    let provider = provider(&peer.address, Writes::WebSocket);
    let opening = open(&provider);
    let call = peer.expect("launchTerminalSession").await;
    assert_eq!(call.id, Some(0));
    assert_eq!(
        call.params,
        json!({
            "modelId": "m-1",
            "executionLocation": {"type": "persistentLauncher", "persistentLauncherId": "p-1"},
            "options": {"cols": 120, "rows": 40},
            "subscribeToEvents": true,
        })
    );
    call.launched("ts-1");
    opened(opening).await;
}

#[tokio::test]
async fn what_is_typed_goes_up_in_order_and_waits_for_its_reply() {
    for writes in [Writes::WebSocket, Writes::Http] {
        let (mut peer, _provider, connection, mut terminal) = one(writes).await;
        terminal.input(b"ls");
        let first = peer.expect("writeToTerminalSession").await;
        assert_eq!((first.input().as_str(), first.is_http()), ("ls", writes == Writes::Http));
        assert_eq!(first.params, json!({"terminalSessionId": "ts-1"}));
        terminal.input(b" -l");
        terminal.input(b"a\r");
        terminal.resize(size(100, 30));
        terminal.input(b"pwd\r");
        assert!(peer.is_quiet(Duration::from_millis(50)).await, "one call at a time");
        first.done();
        let second = peer.expect("writeToTerminalSession").await;
        assert_eq!(second.input(), " -la\r", "typed meanwhile, sent together");
        second.done();
        let third = peer.expect("resizeTerminalSession").await;
        assert_eq!(third.params, json!({"terminalSessionId": "ts-1", "size": {"cols": 100, "rows": 30}}));
        assert!(peer.is_quiet(Duration::from_millis(50)).await, "what was typed behind the new size waits for it");
        third.done();
        let fourth = peer.expect("writeToTerminalSession").await;
        assert_eq!(fourth.input(), "pwd\r");
        fourth.done();
        flushed(&mut terminal).await;
        connection.data("ts-1", b"hello");
        output(&mut terminal, b"hello").await;
    }
}

#[tokio::test]
async fn a_long_paste_arrives_whole_and_in_order() {
    let (mut peer, _provider, _connection, mut terminal) = one(Writes::WebSocket).await;
    let paste: Vec<u8> = (0..200_000_u32).flat_map(|at| [b'a' + (at % 26) as u8]).collect();
    let mut arrived: Vec<u8> = Vec::new();
    let mut rest = paste.chunks(64 << 10);
    while arrived.len() < paste.len() {
        if let Some(piece) = rest.next() {
            flushed(&mut terminal).await;
            terminal.input(piece);
        }
        let call = peer.expect("writeToTerminalSession").await;
        assert!(call.blob.as_ref().unwrap().len() <= 64 << 10);
        arrived.extend(call.blob.as_ref().unwrap());
        call.done();
    }
    assert!(arrived == paste);
}

#[tokio::test]
async fn events_before_the_reply_are_the_terminals_first() {
    let mut peer = Peer::start().await;
    let provider = provider(&peer.address, Writes::WebSocket);
    let opening = open(&provider);
    let launch = peer.expect("launchTerminalSession").await;
    let connection = peer.connection().await;
    connection.data("ts-1", b"first ");
    connection.data("someone-elses", b"not yours");
    connection.data("ts-1", b"prompt");
    launch.launched("ts-1");
    connection.data("ts-1", b"$ ");
    let mut terminal = opened(opening).await;
    output(&mut terminal, b"first prompt$ ").await;

    // Even all of its life may come before the reply.
    let opening = open(&provider);
    let launch = peer.expect("launchTerminalSession").await;
    connection.data("ts-2", b"short");
    connection.exit("ts-2", &json!({"code": "process_exit", "exitCode": 3, "oom": false}));
    launch.launched("ts-2");
    let mut terminal = opened(opening).await;
    output(&mut terminal, b"short").await;
    assert_eq!(exit(&mut terminal).await.code, Some(3));
}

#[tokio::test]
async fn too_much_before_the_reply_is_an_honest_gap() {
    let mut peer = Peer::start().await;
    let provider = provider(&peer.address, Writes::WebSocket);
    let opening = open(&provider);
    let launch = peer.expect("launchTerminalSession").await;
    let connection = peer.connection().await;
    (0..5).for_each(|_| connection.data("ts-1", &[b'x'; 60_000]));
    launch.launched("ts-1");
    let mut terminal = opened(opening).await;
    output(&mut terminal, &[b'x'; 240_000]).await;
    assert_eq!(notice(&mut terminal).await.code, Code::OutputGap);
}

#[tokio::test]
async fn many_terminals_share_one_connection_and_each_hears_its_own() {
    let mut peer = Peer::start().await;
    let provider = provider(&peer.address, Writes::WebSocket);
    let openings: Vec<_> = (0..20).map(|_| open(&provider)).collect();
    let mut launches = Vec::new();
    for _ in 0..20 {
        launches.push(peer.expect("launchTerminalSession").await);
    }
    // Replies come in any order: here, backwards.
    launches.into_iter().rev().for_each(|launch| {
        let id = format!("ts-{}", launch.id.unwrap());
        launch.launched(&id);
    });
    let connection = peer.connection().await;
    let mut terminals = Vec::new();
    for opening in openings {
        terminals.push(opened(opening).await);
    }
    assert_eq!(peer.open(), 1);
    // Which is whose is found out by typing.
    let mut ids = Vec::new();
    for terminal in &mut terminals {
        terminal.input(b"who am i\r");
        let call = peer.expect("writeToTerminalSession").await;
        ids.push(call.params["terminalSessionId"].as_str().unwrap().to_owned());
        call.done();
    }
    for round in 0..50 {
        ids.iter().for_each(|id| connection.data(id, format!("{id}:{round};").as_bytes()));
    }
    for (terminal, id) in terminals.iter_mut().zip(&ids) {
        let expected: String = (0..50).map(|round| format!("{id}:{round};")).collect();
        output(terminal, expected.as_bytes()).await;
    }
}

#[tokio::test]
async fn one_session_that_does_not_read_holds_up_nobody() {
    let (mut peer, provider, connection, mut stalled) = one(Writes::WebSocket).await;
    let opening = open(&provider);
    peer.expect("launchTerminalSession").await.launched("ts-2");
    let mut other = opened(opening).await;
    let flood: Vec<u8> = (0..4_000_000_u32).map(|at| (at % 251) as u8).collect();
    flood[..400_000].chunks(50_000).for_each(|piece| connection.data("ts-1", piece));
    connection.data("ts-2", b"quick");
    output(&mut other, b"quick").await;
    // Its session is told to read on by itself; nothing is lost.
    let told = timeout(DEADLINE, poll_fn(|cx| stalled.poll_output(cx, &mut Vec::new(), 0))).await.unwrap();
    assert!(matches!(told, Happened::CannotWait), "{told:?}");
    flood[400_000..].chunks(50_000).for_each(|piece| connection.data("ts-1", piece));
    let mut taken = Vec::new();
    while taken.len() < flood.len() {
        next(&mut stalled, &mut taken).await;
    }
    assert!(taken == flood);
}

#[tokio::test]
async fn a_refused_launch_is_told_by_whom_it_is_up_to() {
    let mut peer = Peer::start().await;
    let provider = provider(&peer.address, Writes::WebSocket);
    for (code, expected, words) in [
        ("model_not_found", Code::ProviderNotRunning, "no model m-1"),
        ("persistent_launcher_not_found", Code::ProviderNotRunning, "no persistent launcher p-1"),
        ("quota_exceeded", Code::QuotaExceeded, "quota"),
        ("server_overloaded", Code::ProviderUnavailable, "no room"),
        ("bad_credentials", Code::ProviderRefused, "api_key"),
        ("too_many_requests", Code::ProviderUnavailable, "slow down"),
        ("payment_required", Code::ProviderRefused, "payment"),
        ("unknown", Code::ProviderUnavailable, "does not say why"),
        ("brand_new", Code::ProviderUnavailable, "does not say why"),
    ] {
        let opening = open(&provider);
        peer.expect("launchTerminalSession").await.refuse(code);
        let failure = opening.await.unwrap().err().expect("a failure");
        assert_eq!(failure.code, expected, "{failure:?}");
        assert!(failure.message.contains(words) && failure.detail.contains(code), "{failure:?}");
    }
    let opening = open(&provider);
    let reason = "executionLocation.spec.cpus: s3cret";
    peer.expect("launchTerminalSession").await.reply(&json!({"error": {
        "code": "invalid_parameter", "parameterName": "executionLocation.spec.cpus", "reason": reason,
    }}));
    let failure = opening.await.unwrap().err().expect("a failure");
    assert_eq!(failure.code, Code::ProviderRefused);
    assert!(
        failure.message.contains("execution_location") && !format!("{failure:?}").contains("s3cret"),
        "{failure:?}"
    );
    // What is no reply concerns the one who asked.
    for nonsense in [json!({}), json!({"result": {}}), json!({"result": {}, "error": {"code": "unknown"}}), json!(7)] {
        let opening = open(&provider);
        peer.expect("launchTerminalSession").await.reply(&nonsense);
        assert_eq!(opening.await.unwrap().err().unwrap().code, Code::ProviderUnavailable, "{nonsense}");
    }
    assert_eq!(peer.open(), 1, "all on one connection");
}

#[tokio::test]
async fn where_nobody_listens_opening_fails_at_once() {
    let provider = provider(&unused_address().await, Writes::WebSocket);
    let failure = timeout(DEADLINE, open(&provider)).await.unwrap().unwrap().err().expect("a failure");
    assert_eq!(failure.code, Code::ProviderUnavailable);
    assert!(!format!("{failure:?} {provider:?}").contains(KEY));
}

async fn unused_address() -> String {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn input_that_was_one_too_many_is_tried_again() {
    let (mut peer, _provider, _connection, mut terminal) = one(Writes::WebSocket).await;
    terminal.input(b"ls");
    peer.expect("writeToTerminalSession").await.refuse("too_many_requests");
    terminal.input(b"\r");
    let again = peer.expect("writeToTerminalSession").await;
    assert_eq!(again.input(), "ls", "the very same, and nothing overtakes it");
    again.done();
    assert_eq!(peer.expect("writeToTerminalSession").await.input(), "\r");
}

#[tokio::test]
async fn input_that_is_refused_is_the_end() {
    for (writes, code, expected) in [
        (Writes::WebSocket, "bad_credentials", Code::ProviderRefused),
        (Writes::WebSocket, "unknown", Code::ProviderUnavailable),
        (Writes::Http, "payment_required", Code::ProviderRefused),
    ] {
        let (mut peer, _provider, _connection, mut terminal) = one(writes).await;
        terminal.input(b"ls\r");
        peer.expect("writeToTerminalSession").await.refuse(code);
        assert_eq!(failed(&mut terminal).await.code, expected, "{code}");
        // What is left at the service is ended.
        peer.expect("terminateTerminalSession").await.done();
    }
    let (mut peer, _provider, _connection, mut terminal) = one(Writes::Http).await;
    terminal.input(b"ls\r");
    peer.expect("writeToTerminalSession").await.status(500);
    assert_eq!(failed(&mut terminal).await.code, Code::ProviderUnavailable);
    peer.expect("terminateTerminalSession").await.done();
}

#[tokio::test]
async fn a_refused_size_is_no_reason_to_end() {
    let (mut peer, _provider, connection, mut terminal) = one(Writes::WebSocket).await;
    terminal.resize(size(100, 30));
    peer.expect("resizeTerminalSession").await.refuse("unknown");
    terminal.resize(size(90, 20));
    peer.expect("resizeTerminalSession").await.refuse("too_many_requests");
    let again = peer.expect("resizeTerminalSession").await;
    assert_eq!(again.params["size"], json!({"cols": 90, "rows": 20}));
    again.done();
    connection.data("ts-1", b"still here");
    output(&mut terminal, b"still here").await;
}

#[tokio::test]
async fn what_is_not_known_is_ignored() {
    let (mut peer, _provider, connection, mut terminal) = one(Writes::WebSocket).await;
    connection.event(&json!({"event": "bell", "params": {"terminalSessionId": "ts-1"}}), Some(b"x"));
    connection.event(&json!({"event": "data", "params": {"terminalSessionId": "ts-9"}}), Some(b"not yours"));
    connection.raw(b"\x01\x05Debug\x02{}".to_vec());
    connection.raw(b"\x00\x00\x00\xff\xff\x0d{\"result\":{}}".to_vec());
    // An answer to nothing names a terminal that is none of ours.
    connection.raw(b"\x00\x00\x00\xff\xff\x27{\"result\":{\"terminalSessionId\":\"ts-9\"}}".to_vec());
    connection.data("ts-1", b"fine");
    output(&mut terminal, b"fine").await;
    assert!(peer.is_quiet(Duration::from_millis(50)).await);
}
