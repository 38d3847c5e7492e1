//! Each fault does what its line says, seen from a client.

use futures_util::{SinkExt as _, StreamExt as _};
use polytty_simulator::{
    Fault, Stage,
    dockhand::{Dockhand, EARLY_OUTPUT, FAULTS, Options},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};

use crate::support::{
    End, PATIENCE, Reply, SILENCE, Terminal, ask, bearer, call, call_as, exchange, login, options, read_all, request,
    script, start, terminal_path, until, upgrade,
};

const CREATE: &str = "POST /api/containers/web/exec?envId=1";

fn fault(text: &str) -> Fault {
    Fault::parse(text, FAULTS).unwrap()
}

async fn commit(simulator: &Dockhand, name: &str) -> Reply {
    simulator.faults().next(fault(name));
    call(simulator, CREATE, "").await
}

#[tokio::test]
async fn the_api_refuses_with_each_status_and_once_only() {
    let simulator = start(options()).await;
    for (name, status, error) in [
        ("api-unauthorized", 401, "Unauthorized"),
        ("api-forbidden", 403, "Permission denied"),
        ("api-locked=7", 429, "Too many login attempts. Please try again in 7 seconds."),
    ] {
        let reply = commit(&simulator, name).await;
        assert_eq!((reply.status, reply.error().as_str()), (status, error));
        assert_eq!(call(&simulator, CREATE, "").await.status, 200, "after {name}");
    }
    let reply = commit(&simulator, "api-unavailable").await;
    assert_eq!((reply.status, reply.header("content-type")), (503, Some("text/html; charset=utf-8")));
    simulator.faults().always(fault("api-locked"));
    for _ in 0..3 {
        assert_eq!(login(&simulator, None).await.status, 429);
    }
}

#[tokio::test]
async fn good_statuses_come_with_useless_bodies() {
    let simulator = start(options()).await;
    let reply = commit(&simulator, "api-not-json").await;
    assert_eq!(reply.status, 200);
    assert!(serde_json::from_slice::<serde_json::Value>(&reply.body).is_err());
    assert!(commit(&simulator, "api-no-url").await.json()["execId"].is_null());
    simulator.faults().next(fault("api-no-url"));
    let reply = login(&simulator, None).await;
    assert_eq!((reply.status, reply.header("set-cookie")), (200, None));
}

#[tokio::test]
async fn a_redirect_leads_to_a_bait_that_counts() {
    let simulator = start(options()).await;
    let reply = commit(&simulator, "api-redirect").await;
    assert_eq!((reply.status, simulator.counters().redirects_followed), (302, 0));
    let (authority, path) = reply.header("location").unwrap().strip_prefix("http://").unwrap().split_once('/').unwrap();
    exchange(authority, &format!("GET /{path} HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
    assert_eq!(simulator.counters().redirects_followed, 1);
}

#[tokio::test]
async fn answers_can_fail_to_end_to_begin_and_to_be() {
    let simulator = start(options()).await;
    let send = async |name: &str| {
        simulator.faults().next(fault(name));
        let mut stream = TcpStream::connect(simulator.addr()).await.unwrap();
        stream.write_all(request(&simulator, CREATE, &bearer(&simulator), "").as_bytes()).await.unwrap();
        stream
    };
    let mut endless = send("api-endless").await;
    let mut buffer = vec![0; 64 * 1024];
    for _ in 0..200 {
        timeout(PATIENCE, endless.read_exact(&mut buffer)).await.unwrap().unwrap();
    }
    drop(endless);
    let mut stalled = send("api-stalled").await;
    assert!(timeout(SILENCE, stalled.read(&mut buffer)).await.is_err(), "neither an answer nor an end");
    let mut reset = send("api-reset").await;
    let error = timeout(PATIENCE, reset.read(&mut buffer)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_upgrade_can_be_refused_by_a_bare_status_or_by_nothing() {
    let simulator = start(options()).await;
    for (name, answer) in [
        ("upgrade-401", "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n"),
        ("upgrade-500", "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n\r\n"),
        ("upgrade-503", "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n"),
        ("upgrade-dropped", ""),
    ] {
        simulator.faults().next(fault(name));
        let mut stream = ask(&simulator, &terminal_path(&simulator, 1), &bearer(&simulator)).await;
        assert_eq!(read_all(&mut stream).await, answer, "{name}");
        Terminal::open(&simulator).await.expect("# ").await;
    }
}

#[tokio::test]
async fn a_session_can_be_over_at_the_upgrade_and_a_new_login_helps() {
    let simulator = start(options()).await;
    let path = terminal_path(&simulator, 1);
    let cookie = login(&simulator, None).await.cookie();
    simulator.faults().next(Fault::UpgradeLoggedOut);
    assert_eq!(upgrade(&simulator, &path, &cookie).await.0.status, 401);
    assert_eq!(call_as(&simulator, "GET /api/environments", &cookie, "").await.status, 401);
    let cookie = login(&simulator, None).await.cookie();
    Terminal::open_as(&simulator, &path, &cookie).await.expect("# ").await;
    simulator.faults().next(Fault::UpgradeLoggedOut);
    Terminal::open(&simulator).await.expect("# ").await;
    assert_eq!(simulator.counters().logins, 2);
}

#[tokio::test]
async fn whoever_overlooks_a_wrong_handshake_gets_a_shell() {
    let simulator = start(options()).await;
    let good = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    for name in ["upgrade-200", "upgrade-wrong-accept", "upgrade-no-header", "upgrade-extension", "upgrade-subprotocol"]
    {
        simulator.faults().next(fault(name));
        let (reply, stream) = upgrade(&simulator, &terminal_path(&simulator, 1), &bearer(&simulator)).await;
        assert_eq!(reply.status, if name == "upgrade-200" { 200 } else { 101 });
        assert_eq!(reply.header("sec-websocket-accept") == Some(good), name != "upgrade-wrong-accept", "{name}");
        assert_eq!(reply.header("upgrade").is_some(), name != "upgrade-no-header", "{name}");
        assert_eq!(reply.header("sec-websocket-extensions").is_some(), name == "upgrade-extension", "{name}");
        assert_eq!(reply.header("sec-websocket-protocol").is_some(), name == "upgrade-subprotocol", "{name}");
        let mut terminal = Terminal::over(stream, reply.body).await;
        terminal.expect("# ").await;
        terminal.type_in("echo open $((40+2))\r").await;
        terminal.expect("open 42").await;
    }
}

#[tokio::test]
async fn an_upgrade_can_be_left_unanswered_or_come_with_the_first_message() {
    let simulator = start(options()).await;
    simulator.faults().next(Fault::UpgradeStalled);
    let mut stream = ask(&simulator, &terminal_path(&simulator, 1), &bearer(&simulator)).await;
    let mut buffer = [0; 4096];
    assert!(timeout(SILENCE, stream.read(&mut buffer)).await.is_err());
    drop(stream);
    until("the place is free", || simulator.sessions() == 0).await;

    simulator.faults().next(Fault::UpgradeEarlyFrame);
    let mut stream = ask(&simulator, &terminal_path(&simulator, 1), &bearer(&simulator)).await;
    let read = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
    let at = buffer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(read > at, "one read has both");
    let mut terminal = Terminal::over(stream, buffer[at..read].to_vec()).await;
    terminal.expect("# ").await;
    assert!(terminal.output.starts_with(EARLY_OUTPUT));
}

const NUMBERS: &str = "seq 1 5000; sleep 1000";

async fn open(simulator: &Dockhand, name: &str) -> Terminal {
    simulator.faults().next(fault(name));
    Terminal::open(simulator).await
}

fn numbers(bytes: usize) -> String {
    let all: String = (1..=5_000).map(|number| format!("{number}\r\n")).collect();
    all[..bytes].to_owned()
}

#[tokio::test]
async fn the_process_can_fail_to_come_in_each_way() {
    let simulator = start(options()).await;
    for (name, news, code) in [
        ("no-such-container", &["No such container: web"][..], 1005),
        ("docker-down", &["Docker socket not accessible"], 1005),
        ("environment-denied", &["Access denied for this environment"], 1008),
        ("internal-error", &[], 1011),
    ] {
        let mut terminal = open(&simulator, name).await;
        assert_eq!(terminal.end().await, End::Close(code), "{name}");
        assert_eq!(
            (terminal.news.as_slice(), terminal.output.as_str()),
            (&*news.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), "")
        );
    }
    let mut terminal = open(&simulator, "bad-shell").await;
    terminal.expect_exit().await;
    assert!(terminal.output.contains("exec: \"/bin/sh\": stat /bin/sh: no such file or directory"));
    until("nothing is left", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn a_refused_start_is_output_and_then_nothing() {
    let simulator = start(options()).await;
    let mut terminal = open(&simulator, "start-refused").await;
    terminal.expect("}").await;
    assert_eq!(terminal.output, r#"{"message":"container is not running"}"#);
    terminal.type_in("ls\r").await;
    terminal.expect_pong().await;
    terminal.expect_silence().await;
    drop(terminal);
    until("nothing is left", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn a_creation_can_last_for_ever() {
    let simulator = start(Options { create_delay: Some(std::time::Duration::ZERO), ..options() }).await;
    let mut terminal = open(&simulator, "create-stalled").await;
    terminal.type_in("ls\r").await;
    terminal.expect_pong().await;
    terminal.expect_silence().await;
    assert_eq!((terminal.output.as_str(), simulator.counters().messages_dropped), ("", 1));
    terminal.socket.close(None).await.unwrap();
    assert_eq!(terminal.end().await, End::Close(1005));
    until("nothing is left", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn a_lost_agent_is_silence() {
    let simulator = start(script("seq 1 5000; while read x; do echo got $x; done")).await;
    simulator.faults().next(fault("agent-lost=3000"));
    let mut terminal = Terminal::open_in(&simulator, 2).await;
    while terminal.output.len() < 3_000 {
        let message = terminal.next().await.unwrap().unwrap();
        terminal.take(&message);
    }
    assert_eq!(terminal.output, numbers(3_000));
    let before = simulator.counters().input_bytes;
    terminal.type_in("anything\r").await;
    terminal.expect_pong().await;
    terminal.expect_silence().await;
    assert_eq!(simulator.counters().input_bytes, before);
    drop(terminal);
    until("it is left", || simulator.counters().orphans == 1).await;
}

#[tokio::test]
async fn a_lost_docker_is_an_error_and_an_exit() {
    let simulator = start(script(NUMBERS)).await;
    for after in [0, 20_000] {
        let mut terminal = open(&simulator, &format!("docker-lost={after}")).await;
        assert_eq!(terminal.end().await, End::Close(1005));
        assert_eq!(terminal.output, numbers(after));
        assert_eq!(terminal.news, ["read ECONNRESET", "exit"]);
    }
    until("both are left", || simulator.counters().orphans == 2).await;
}

#[tokio::test]
async fn the_servers_process_can_end() {
    let simulator = start(script(NUMBERS)).await;
    let mut bystander = Terminal::open(&simulator).await;
    bystander.expect("\r\n5000\r\n").await;
    let mut terminal = open(&simulator, "process-gone=10").await;
    assert_eq!(terminal.end().await, End::Reset);
    assert_eq!(terminal.output, numbers(10));
    assert_eq!(bystander.end().await, End::Reset);
    until("both are left", || simulator.counters().orphans == 2).await;
    assert_eq!(simulator.counters().crashes, 1);
}

#[tokio::test]
async fn lines_that_look_like_chunk_sizes_can_be_lost() {
    // Without the terminal's own line ends: it would pass those on by themselves.
    let lines = r"stty -opost -echo; printf 'cafe\r\nplain\r\n12\r\nxyz\r\n'; read x; printf 'face\r\nend'";
    let simulator = start(script(lines)).await;
    let mut terminal = open(&simulator, "hex-lines-lost").await;
    terminal.expect("xyz\r\n").await;
    terminal.type_in("\r").await;
    terminal.expect_exit().await;
    assert_eq!(terminal.output, "plain\r\nxyz\r\nend");
}

#[tokio::test]
async fn a_session_can_end_at_a_given_byte_in_each_way() {
    let simulator = start(script(NUMBERS)).await;
    for after in [0, 1, 4_095, 20_000] {
        for (name, end) in [("fin=", End::NoClose), ("close=1002@", End::Close(1002)), ("reset=", End::Reset)] {
            let mut terminal = open(&simulator, &format!("{name}{after}")).await;
            assert_eq!(terminal.end().await, end, "{name}");
            assert_eq!(terminal.output, numbers(after), "{name}");
        }
    }
    until("all are left", || simulator.counters().orphans == 12).await;
    assert_eq!(simulator.counters().crashes, 0);
}

#[tokio::test]
async fn a_session_can_stall() {
    let simulator = start(script(NUMBERS)).await;
    let mut terminal = open(&simulator, "stall=3000").await;
    while terminal.output.len() < 3_000 {
        let message = terminal.next().await.unwrap().unwrap();
        terminal.take(&message);
    }
    terminal.socket.send(Message::Ping("x".into())).await.unwrap();
    assert!(timeout(SILENCE, terminal.socket.next()).await.is_err(), "no pong");
    drop(terminal);
    until("it is left", || simulator.counters().orphans == 1 && simulator.counters().attached == 0).await;
}

#[tokio::test]
async fn messages_can_come_in_crumbs() {
    let simulator = start(script("seq 1 2000; printf 'x'")).await;
    for name in ["fragments", "fragments=1", "fragments=1000"] {
        let mut terminal = open(&simulator, name).await;
        terminal.expect_exit().await;
        let expected: String = (1..=2_000).map(|number| format!("{number}\r\n")).collect();
        assert_eq!(terminal.output, expected + "x");
    }
    simulator.faults().next(fault("fragments"));
    let (reply, mut stream) = upgrade(&simulator, &terminal_path(&simulator, 1), &bearer(&simulator)).await;
    let mut wire = reply.body;
    while wire.len() < 15 {
        assert!(timeout(PATIENCE, stream.read_buf(&mut wire)).await.unwrap().unwrap() > 0);
    }
    assert_eq!(wire[..15], *b"\x01\x03{\"t\x00\x03ype\x00\x03\":\"");
}

/// Opens a terminal with a fault that strikes once, between the first bytes and the rest, and returns the message or error
/// that a strict client meets there.
async fn strange(simulator: &Dockhand, name: &str) -> Result<Message, Error> {
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
async fn a_session_can_say_strange_things() {
    let simulator = start(script(NUMBERS)).await;
    let Ok(Message::Text(text)) = strange(&simulator, "garbage=10").await else { panic!("no text") };
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_err());
    let Ok(Message::Text(text)) = strange(&simulator, "unknown-operation=10").await else { panic!("no text") };
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["type"], "toast");
    let Ok(Message::Binary(bytes)) = strange(&simulator, "binary=10").await else { panic!("not binary") };
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()["type"], "output");
    let error = strange(&simulator, "reserved-bits=10").await.unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::NonZeroReservedBits)), "{error:?}");
    let error = strange(&simulator, "masked=10").await.unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::MaskedFrameFromServer)), "{error:?}");
}

#[tokio::test]
async fn a_frame_can_be_too_large() {
    let simulator = start(script("read x; echo after")).await;
    let mut terminal = open(&simulator, "oversize").await;
    let error = terminal.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Capacity(_)), "{error:?}");
    // One that is within this client's limit shows that it is a good message but for its size.
    let mut terminal = open(&simulator, "oversize=100000").await;
    terminal.expect("x").await;
    terminal.type_in("\r").await;
    terminal.expect_exit().await;
    let data = terminal.output.strip_suffix("\r\nafter\r\n").unwrap();
    assert_eq!(data.trim_matches('x'), "");
    assert_eq!(data.len() + r#"{"type":"output","data":""}"#.len(), 100_000);
}

#[test]
fn every_fault_of_the_table_is_tested_here() {
    let here = include_str!("faults.rs");
    for line in FAULTS {
        assert!(here.contains(&format!("\"{}", line.name)) || by_variant(line.name), "{}", line.name);
    }
    assert!(FAULTS.iter().any(|line| line.stage == Stage::Upgrade));
}

/// Those that are named by their variant.
fn by_variant(name: &str) -> bool {
    ["upgrade-logged-out", "upgrade-stalled", "upgrade-early-frame"].contains(&name)
}
