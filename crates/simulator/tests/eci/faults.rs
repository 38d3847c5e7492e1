//! Each fault does what its line says, seen from a client.

use futures_util::{SinkExt as _, StreamExt as _};
use polytty_simulator::{
    Fault,
    eci::{EARLY_OUTPUT, Eci, FAULTS},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};

use crate::support::{
    ApiCall, End, PATIENCE, SILENCE, Session, exchange, options, sh, start, until, upgrade, upgrade_request,
};

const NUMBERS: &str = "seq 1 5000; sleep 1000";

fn fault(text: &str) -> Fault {
    Fault::parse(text, FAULTS).unwrap()
}

fn call(simulator: &Eci) -> ApiCall {
    ApiCall::exec(simulator, r#"["/bin/bash"]"#).tty()
}

fn numbers(bytes: usize) -> String {
    let all: String = (1..=5_000).map(|number| format!("{number}\r\n")).collect();
    all[..bytes].to_owned()
}

async fn open(simulator: &Eci, name: &str, script: &str) -> Session {
    simulator.faults().next(fault(name));
    Session::open(&ApiCall::exec(simulator, &sh(script)).tty()).await
}

#[tokio::test]
async fn a_call_can_be_refused_for_every_reason() {
    let simulator = start(options()).await;
    for (name, status, code) in [
        ("api-forbidden", 403, "Forbidden.RAM"),
        ("api-throttled=1234", 400, "Throttling.User"),
        ("api-unavailable", 503, "ServiceUnavailable"),
        ("api-signature", 400, "SignatureDoesNotMatch"),
        ("api-stale-clock", 400, "InvalidTimeStamp.Expired"),
        ("api-token-expired", 403, "InvalidSecurityToken.Expired"),
        ("api-incorrect-status", 400, "IncorrectStatus"),
        ("api-value-exceeded", 400, "InvalidParameter.ValueExceeded"),
    ] {
        simulator.faults().next(fault(name));
        let reply = call(&simulator).send().await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{name}");
        let retry = name.starts_with("api-throttled").then_some("1234");
        assert_eq!(reply.header("x-acs-retry-after"), retry, "{name}");
        call(&simulator).link().await;
    }
    assert_eq!(simulator.counters().calls_refused, 8);
}

#[tokio::test]
async fn an_answer_can_be_wrong_or_never_end_or_never_come() {
    let simulator = start(options()).await;
    simulator.faults().next(fault("api-not-json"));
    let reply = call(&simulator).send().await;
    assert_eq!(reply.status, 200);
    assert!(serde_json::from_slice::<serde_json::Value>(&reply.body).is_err());

    simulator.faults().next(fault("api-no-url"));
    let reply = call(&simulator).send().await;
    assert_eq!((reply.status, reply.json().get("WebSocketUri")), (200, None));

    simulator.faults().next(fault("api-redirect"));
    let reply = call(&simulator).send().await;
    let location = reply.header("location").unwrap();
    assert_eq!((reply.status, simulator.counters().redirects_followed), (302, 0));
    let (authority, path) = location.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let reply = exchange(authority, &format!("GET /{path} HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
    assert_eq!(simulator.counters().redirects_followed, 1);
    assert_eq!(upgrade(reply.json()["WebSocketUri"].as_str().unwrap()).await.0.status, 404, "the bait opens nothing");

    let mut endless = send(&simulator, "api-endless").await;
    let mut buffer = vec![0; 64 * 1024];
    for _ in 0..200 {
        timeout(PATIENCE, endless.read_exact(&mut buffer)).await.unwrap().unwrap();
    }
    let mut stalled = send(&simulator, "api-stalled").await;
    assert!(timeout(SILENCE, stalled.read(&mut buffer)).await.is_err(), "neither an answer nor an end");
    let mut reset = send(&simulator, "api-reset").await;
    let error = timeout(PATIENCE, reset.read(&mut buffer)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

async fn send(simulator: &Eci, name: &str) -> TcpStream {
    simulator.faults().next(fault(name));
    let mut stream = TcpStream::connect(simulator.addr()).await.unwrap();
    stream.write_all(call(simulator).request().as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_link_can_lead_astray() {
    let simulator = start(options()).await;
    for (name, start) in [
        ("link-foreign-host", "ws://terminal.invalid/exec/?s="),
        ("link-foreign-host=evil.example:99", "ws://evil.example:99/exec/?s="),
        ("link-wrong-scheme", "http://127.0.0.1:"),
    ] {
        simulator.faults().next(fault(name));
        let link = call(&simulator).link().await;
        assert!(link.starts_with(start), "{name}: {link}");
    }
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
        let mut session = Session::over(stream, reply.body).await;
        session.type_in("echo open $((40+2))\r").await;
        session.expect("open 42").await;
    }
}

#[tokio::test]
async fn an_upgrade_can_be_left_unanswered() {
    let simulator = start(options()).await;
    let (authority, request) = upgrade_request(&call(&simulator).link().await, "");
    simulator.faults().next(fault("upgrade-stalled"));
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
    let (authority, request) = upgrade_request(&call(&simulator).link().await, "");
    simulator.faults().next(fault("upgrade-early-frame"));
    let mut stream = TcpStream::connect(authority).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut first = vec![0; 4096];
    let read = timeout(PATIENCE, stream.read(&mut first)).await.unwrap().unwrap();
    let at = first.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(read > at, "one read has both");
    let mut session = Session::over(stream, first[at..read].to_vec()).await;
    session.expect("ready> ").await;
    assert!(session.stdout().starts_with(EARLY_OUTPUT));
}

#[tokio::test]
async fn an_upgrade_can_accept_the_subprotocol_of_kubernetes() {
    let simulator = start(options()).await;
    simulator.faults().always(fault("upgrade-v4"));
    let link = ApiCall::exec(&simulator, "true").link().await;
    let (selected, mut session) = Session::offer_v4(&link).await;
    assert_eq!(selected.as_deref(), Some("v4.channel.k8s.io"));
    assert_eq!(session.end().await, End::Close(1000));
    assert_eq!(session.error(), r#"{"metadata":{},"status":"Success"}"#);
    let mut session = Session::open(&ApiCall::exec(&simulator, "true")).await;
    assert_eq!(session.end().await, End::Close(1000));
    assert_eq!(session.error(), "", "nobody who does not offer it meets it");
}

#[tokio::test]
async fn a_session_can_end_at_a_given_byte_in_each_way() {
    let simulator = start(options()).await;
    for after in [0, 1, 4_095, 20_000] {
        let mut session = open(&simulator, &format!("fin={after}"), NUMBERS).await;
        assert_eq!(session.end().await, End::NoClose);
        assert_eq!(session.stdout(), numbers(after), "fin");

        let mut session = open(&simulator, &format!("close=4321@{after}"), NUMBERS).await;
        assert_eq!(session.end().await, End::Close(4321));
        assert_eq!(session.stdout(), numbers(after), "close");

        let mut session = open(&simulator, &format!("exec-error={after}"), NUMBERS).await;
        assert_eq!(session.end().await, End::Close(1000));
        assert_eq!(session.stdout(), numbers(after), "exec-error");
        assert!(session.error().contains("has gone"), "{}", session.error());

        let mut session = open(&simulator, &format!("reset={after}"), NUMBERS).await;
        let error = loop {
            match session.next().await {
                Some(Ok(message)) => session.take(&message),
                Some(Err(error)) => break error,
                None => panic!("an orderly end"),
            }
        };
        let Error::Io(error) = error else { panic!("{error:?}") };
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(session.stdout(), numbers(after), "reset");
    }
    until("no command is left", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn faults_strike_without_a_terminal_too() {
    let simulator = start(options()).await;
    simulator.faults().next(fault("close=4321@10"));
    let mut session = Session::open(&ApiCall::exec(&simulator, &sh("seq 1 5000 >&2; sleep 1000"))).await;
    assert_eq!(session.end().await, End::Close(4321));
    assert_eq!(session.stderr(), "1\n2\n3\n4\n5\n");
    until("no command is left", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn a_session_can_stall() {
    let simulator = start(options()).await;
    let mut session = open(&simulator, "stall=3000", NUMBERS).await;
    while session.channels[1].len() < 3_000 {
        let message = session.next().await.unwrap().unwrap();
        session.take(&message);
    }
    assert_eq!(session.stdout(), numbers(3_000));
    session.socket.send(Message::Ping("x".into())).await.unwrap();
    assert!(timeout(SILENCE, session.socket.next()).await.is_err(), "no pong");
    assert_eq!(simulator.sessions(), 1);
    drop(session);
    until("the command is gone", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn messages_can_come_in_crumbs() {
    let simulator = start(options()).await;
    for name in ["fragments", "fragments=1", "fragments=1000"] {
        let mut session = open(&simulator, name, "seq 1 2000; printf '終端😀'; exit 3").await;
        assert_eq!(session.end().await, End::Close(1000));
        let expected: String = (1..=2_000).map(|number| format!("{number}\r\n")).collect();
        assert_eq!(session.stdout(), expected + "終端😀");
        assert!(session.error().ends_with("exit status 3"), "{}", session.error());
    }
}

/// Opens a session with a fault that strikes once, between the first ten bytes and the rest, and returns the message or
/// error that a strict client meets there.
async fn strange(simulator: &Eci, name: &str) -> Result<Message, Error> {
    let mut session = open(simulator, name, NUMBERS).await;
    while session.channels[1].len() < 10 {
        let message = session.next().await.unwrap().unwrap();
        session.take(&message);
    }
    assert_eq!(session.stdout(), numbers(10));
    let strange = session.next().await.unwrap();
    if strange.is_ok() {
        session.expect("\r\n5000\r\n").await;
        assert_eq!(session.stdout(), numbers(session.channels[1].len()), "the session has gone on");
    }
    strange
}

#[tokio::test]
async fn a_session_can_say_strange_things_and_go_on() {
    let simulator = start(options()).await;
    assert_eq!(strange(&simulator, "garbage=10").await.unwrap(), Message::binary(Vec::new()));
    let Message::Binary(bytes) = strange(&simulator, "unknown-operation=10").await.unwrap() else { panic!("text") };
    assert!(bytes[0] > 4, "{bytes:?}");
    assert_eq!(strange(&simulator, "text=10").await.unwrap(), Message::text("text\r\n"));
    let error = strange(&simulator, "reserved-bits=10").await.unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::NonZeroReservedBits)), "{error:?}");
    let error = strange(&simulator, "masked=10").await.unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::MaskedFrameFromServer)), "{error:?}");
}

#[tokio::test]
async fn a_frame_can_be_too_large() {
    let simulator = start(options()).await;
    let mut session = open(&simulator, "oversize", "sleep 1; echo after").await;
    session.next().await.unwrap().unwrap();
    let error = session.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Capacity(_)), "{error:?}");
    // One that is within this client's limit shows that it is a good message but for its size.
    let mut session = open(&simulator, "oversize=100000", "sleep 1; echo after").await;
    assert_eq!(session.end().await, End::Close(1000));
    let stdout = session.stdout();
    let (data, after) = stdout.split_once("after").unwrap();
    assert_eq!((data.trim_matches('x'), data.len(), after), ("", 99_999, "\r\n"));
}

#[tokio::test]
async fn manners_can_be_changed_for_a_session() {
    let simulator = start(options()).await;
    let mut session = open(&simulator, "errors-silent", "exit 7").await;
    assert_eq!((session.end().await, session.error()), (End::Close(1000), String::new()));
    let mut session = open(&simulator, "text-output", "echo as text").await;
    assert_eq!(session.end().await, End::Close(1000));
    assert_eq!((session.text.as_str(), session.stdout().as_str()), ("as text\r\n", ""));
    for (name, size) in [("resize-unsupported", "24 80"), ("resize-on-3", "20 90")] {
        let mut session = open(&simulator, name, "read line; stty size").await;
        session.resize(3, 90, 20).await;
        session.resize(4, 91, 21).await;
        session.type_in("go\r").await;
        session.end().await;
        assert!(session.stdout().ends_with(&format!("{size}\r\n")), "{name}: {}", session.stdout());
    }
}
