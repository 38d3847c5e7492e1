//! Each fault does what its line says, seen from a client.

use std::time::Duration;

use polytty_simulator::{Fault, pai_dlc::EARLY_OUTPUT, pai_dlc::PaiDlc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};

use crate::support::{
    ApiCall, End, PATIENCE, Reply, Terminal, exchange, options, script, start, until, upgrade, upgrade_request,
};

/// What is long enough to say that something does not happen.
const SILENCE: Duration = Duration::from_millis(300);

fn fault(text: &str) -> Fault {
    text.parse().unwrap()
}

fn call(simulator: &PaiDlc) -> ApiCall {
    ApiCall::terminal(simulator, "IsShared=true")
}

async fn commit(simulator: &PaiDlc, name: &str) -> Reply {
    simulator.faults().next(fault(name));
    call(simulator).send().await
}

#[tokio::test]
async fn the_api_refuses_with_each_code_and_once_only() {
    let simulator = start(options()).await;
    for (name, status, code) in [
        ("api-forbidden", 403, "Forbidden.RAM"),
        ("api-throttled=1500", 400, "Throttling.User"),
        ("api-unavailable", 503, "ServiceUnavailable"),
        ("api-signature", 400, "SignatureDoesNotMatch"),
        ("api-stale-clock", 400, "InvalidTimeStamp.Expired"),
        ("api-token-expired", 403, "InvalidSecurityToken.Expired"),
        ("api-not-found", 404, "NotFound"),
        ("api-bad-request", 400, "BadRequest"),
    ] {
        let reply = commit(&simulator, name).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code));
        let retry_after = name.contains("throttled").then_some("1500");
        assert_eq!(reply.header("x-acs-retry-after"), retry_after);
        assert_eq!(call(&simulator).send().await.status, 200, "after {name}");
    }
}

#[tokio::test]
async fn a_standing_fault_strikes_every_time() {
    let simulator = start(options()).await;
    simulator.faults().always(Fault::ApiUnavailable);
    for _ in 0..3 {
        assert_eq!(call(&simulator).send().await.status, 503);
    }
    simulator.faults().clear();
    assert_eq!(call(&simulator).send().await.status, 200);
}

#[tokio::test]
async fn good_statuses_come_with_useless_bodies() {
    let simulator = start(options()).await;
    let reply = commit(&simulator, "api-not-json").await;
    assert_eq!(reply.status, 200);
    assert!(serde_json::from_slice::<serde_json::Value>(&reply.body).is_err());
    let reply = commit(&simulator, "api-no-url").await;
    assert_eq!(reply.status, 200);
    assert!(reply.json()["RequestId"].is_string() && reply.json()["WebTerminalUrl"].is_null());
}

#[tokio::test]
async fn a_redirect_leads_to_a_bait_that_counts() {
    let simulator = start(options()).await;
    let reply = commit(&simulator, "api-redirect").await;
    let location = reply.header("location").unwrap();
    assert_eq!(reply.status, 302);
    assert_eq!(simulator.counters().redirects_followed, 0);
    let (authority, path) = location.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let reply = exchange(authority, &format!("GET /{path} HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
    let link = reply.json()["WebTerminalUrl"].as_str().unwrap().to_owned();
    assert_eq!(simulator.counters().redirects_followed, 1);
    assert_eq!(upgrade(&link).await.0.status, 404, "the bait opens nothing");
}

async fn send(simulator: &PaiDlc, name: &str) -> TcpStream {
    simulator.faults().next(fault(name));
    let mut stream = TcpStream::connect(simulator.addr()).await.unwrap();
    stream.write_all(call(simulator).request().as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn answers_can_fail_to_end_to_begin_and_to_be() {
    let simulator = start(options()).await;
    let mut endless = send(&simulator, "api-endless").await;
    let mut buffer = vec![0; 64 * 1024];
    for _ in 0..200 {
        timeout(PATIENCE, endless.read_exact(&mut buffer)).await.unwrap().unwrap();
    }
    drop(endless);
    let mut stalled = send(&simulator, "api-stalled").await;
    assert!(timeout(SILENCE, stalled.read(&mut buffer)).await.is_err(), "neither an answer nor an end");
    let mut reset = send(&simulator, "api-reset").await;
    let error = timeout(PATIENCE, reset.read(&mut buffer)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_link_can_lead_astray() {
    let simulator = start(options()).await;
    for (name, start) in [
        ("link-foreign-host", "ws://terminal.invalid/terminal/t1"),
        ("link-foreign-host=evil.example:99", "ws://evil.example:99/terminal/t1"),
        ("link-wrong-scheme", "http://127.0.0.1:"),
        ("link-wrong-scheme=file", "file://127.0.0.1:"),
    ] {
        simulator.faults().next(fault(name));
        let link = call(&simulator).link().await;
        assert!(link.starts_with(start), "{name}: {link}");
    }
    assert_eq!(simulator.faults().waiting(), 0);
}

#[tokio::test]
async fn an_upgrade_can_be_refused_and_the_link_is_good_still() {
    let simulator = start(options()).await;
    let link = call(&simulator).link().await;
    for (name, status) in [("upgrade-403", 403), ("upgrade-404", 404), ("upgrade-503", 503)] {
        simulator.faults().next(fault(name));
        assert_eq!(upgrade(&link).await.0.status, status);
    }
    assert_eq!(upgrade(&link).await.0.status, 101);
}

#[tokio::test]
async fn whoever_overlooks_a_wrong_handshake_gets_a_shell() {
    let simulator = start(options()).await;
    let good = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    for name in ["upgrade-200", "upgrade-wrong-accept", "upgrade-no-header", "upgrade-extension", "upgrade-subprotocol"]
    {
        let link = call(&simulator).link().await;
        simulator.faults().next(fault(name));
        let (reply, stream) = upgrade(&link).await;
        assert_eq!(reply.status, if name == "upgrade-200" { 200 } else { 101 });
        assert_eq!(reply.header("sec-websocket-accept") == Some(good), name != "upgrade-wrong-accept", "{name}");
        assert_eq!(reply.header("upgrade").is_some(), name != "upgrade-no-header", "{name}");
        assert_eq!(reply.header("sec-websocket-extensions").is_some(), name == "upgrade-extension", "{name}");
        assert_eq!(reply.header("sec-websocket-protocol").is_some(), name == "upgrade-subprotocol", "{name}");
        let mut terminal = Terminal::over(stream, reply.body).await;
        terminal.type_in("echo open $((40+2))\r").await;
        terminal.expect("open 42").await;
    }
}

#[tokio::test]
async fn an_upgrade_can_be_left_unanswered() {
    let simulator = start(options()).await;
    let (authority, request) = upgrade_request(&call(&simulator).link().await, "");
    simulator.faults().next(Fault::UpgradeStalled);
    let mut stream = TcpStream::connect(authority).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut buffer = [0; 16];
    assert!(timeout(SILENCE, stream.read(&mut buffer)).await.is_err());
    assert_eq!(simulator.sessions(), 1, "its place is held");
    drop(stream);
    until("the place is free", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn the_first_message_can_come_with_the_handshake() {
    let simulator = start(options()).await;
    let link = call(&simulator).link().await;
    simulator.faults().next(Fault::UpgradeEarlyFrame);
    let (authority, request) = upgrade_request(&link, "");
    let mut stream = TcpStream::connect(authority).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut first = vec![0; 4096];
    let read = timeout(PATIENCE, stream.read(&mut first)).await.unwrap().unwrap();
    let at = first.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(read > at, "one read has both");
    let mut terminal = Terminal::over(stream, first[at..read].to_vec()).await;
    terminal.expect("ready> ").await;
    assert!(terminal.output.starts_with(EARLY_OUTPUT));
}

const NUMBERS: &str = "seq 1 5000; sleep 1000";

async fn open(simulator: &PaiDlc, name: &str) -> Terminal {
    simulator.faults().next(fault(name));
    Terminal::open(simulator).await
}

fn numbers(bytes: usize) -> String {
    let all: String = (1..=5_000).map(|number| format!("{number}\r\n")).collect();
    all[..bytes].to_owned()
}

#[tokio::test]
async fn a_session_can_end_at_a_given_byte_in_each_way() {
    let simulator = start(script(NUMBERS)).await;
    for after in [0, 1, 4_095, 20_000] {
        let mut terminal = open(&simulator, &format!("fin={after}")).await;
        assert_eq!(terminal.end().await, End::NoClose);
        assert_eq!(terminal.output, numbers(after), "fin");

        let mut terminal = open(&simulator, &format!("close=4321@{after}")).await;
        assert_eq!(terminal.end().await, End::Close(4321));
        assert_eq!(terminal.output, numbers(after), "close");

        let mut terminal = open(&simulator, &format!("reset={after}")).await;
        let error = loop {
            match terminal.next().await {
                Some(Ok(message)) => terminal.take(&message),
                Some(Err(error)) => break error,
                None => panic!("an orderly end"),
            }
        };
        let Error::Io(error) = error else { panic!("{error:?}") };
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(terminal.output, numbers(after), "reset");
    }
    until("no shell is left", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn a_session_can_stall() {
    let simulator = start(script(NUMBERS)).await;
    let mut terminal = open(&simulator, "stall=3000").await;
    while terminal.output.len() < 3_000 {
        let message = terminal.next().await.unwrap().unwrap();
        terminal.take(&message);
    }
    assert_eq!(terminal.output, numbers(3_000));
    futures_util::SinkExt::send(&mut terminal.socket, Message::Ping("x".into())).await.unwrap();
    assert!(timeout(SILENCE, futures_util::StreamExt::next(&mut terminal.socket)).await.is_err(), "no pong");
    assert_eq!(simulator.sessions(), 1);
    drop(terminal);
    until("the shell is gone", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn messages_can_come_in_crumbs() {
    let simulator = start(script("seq 1 2000; printf '終端😀'")).await;
    for name in ["fragments", "fragments=1", "fragments=1000"] {
        let mut terminal = open(&simulator, name).await;
        assert_eq!(terminal.end().await, End::NoClose);
        let expected: String = (1..=2_000).map(|number| format!("{number}\r\n")).collect();
        assert_eq!(terminal.output, expected + "終端😀");
    }
    // On the wire: a first frame of three bytes that is not the last, then continuations.
    let link = call(&simulator).link().await;
    simulator.faults().next(fault("fragments"));
    let (reply, mut stream) = upgrade(&link).await;
    let mut wire = reply.body;
    while wire.len() < 15 {
        assert!(timeout(PATIENCE, stream.read_buf(&mut wire)).await.unwrap().unwrap() > 0);
    }
    assert_eq!(wire[..15], *b"\x01\x03{\"o\x00\x03per\x00\x03ati");
}

/// Opens a terminal with a fault that strikes once, between the bytes `before` it and the rest, and returns the message
/// or error that a strict client meets there.
async fn strange(simulator: &PaiDlc, name: &str) -> Result<Message, Error> {
    let mut terminal = open(simulator, name).await;
    while terminal.output.len() < 10 {
        let message = terminal.next().await.unwrap().unwrap();
        terminal.take(&message);
    }
    assert_eq!(terminal.output, numbers(10));
    let strange = terminal.next().await.unwrap();
    if strange.is_ok() {
        terminal.expect("\r\n5000\r\n").await;
        assert_eq!(terminal.output, numbers(terminal.output.len()), "the session has gone on");
    }
    strange
}

#[tokio::test]
async fn a_session_can_say_strange_things_and_go_on() {
    let simulator = start(script(NUMBERS)).await;
    let Ok(Message::Text(text)) = strange(&simulator, "garbage=10").await else { panic!("no text") };
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_err());

    let Ok(Message::Text(text)) = strange(&simulator, "unknown-operation=10").await else { panic!("no text") };
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["operation"], value.as_object().unwrap().len()), (&"toast".into(), 4));

    let Ok(Message::Binary(bytes)) = strange(&simulator, "binary=10").await else { panic!("not binary") };
    assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
}

#[tokio::test]
async fn a_session_can_break_the_websocket_protocol() {
    let simulator = start(script(NUMBERS)).await;
    let error = strange(&simulator, "reserved-bits=10").await.unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::NonZeroReservedBits)), "{error:?}");
    let error = strange(&simulator, "masked=10").await.unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::MaskedFrameFromServer)), "{error:?}");
}

#[tokio::test]
async fn a_frame_can_be_too_large() {
    let simulator = start(script("sleep 1; echo after")).await;
    let mut terminal = open(&simulator, "oversize").await;
    let error = terminal.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Capacity(_)), "{error:?}");
    // One that is within this client's limit shows that it is a good message but for its size.
    let mut terminal = open(&simulator, "oversize=100000").await;
    assert_eq!(terminal.end().await, End::NoClose);
    let (data, after) = terminal.output.split_once("after").unwrap();
    assert_eq!((data.trim_matches('x'), after), ("", "\r\n"));
    assert_eq!(data.len() + r#"{"operation":"stdout","data":"","rows":0,"cols":0}"#.len(), 100_000);
}
