//! Each fault does what its line says, seen from a client.

use std::time::{Duration, Instant};

use polytty_simulator::{
    Fault,
    decthings::{Decthings, FAULTS},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};

use crate::support::{
    Client, End, PATIENCE, Reply, SILENCE, body, exchange, good_headers, launch_params, of, options, parts, post,
    request, script, start, until, upgrade, upgrade_request,
};

fn next(simulator: &Decthings, name: &str) {
    simulator.faults().next(Fault::parse(name, FAULTS).unwrap());
}

fn list(simulator: &Decthings) -> Vec<u8> {
    request(simulator, "/v0/Terminal/getTerminalSessions", &good_headers(simulator), &body("{}", &[]))
}

async fn struck(simulator: &Decthings, name: &str) -> Reply {
    next(simulator, name);
    exchange(simulator, &list(simulator)).await
}

#[tokio::test]
async fn answers_over_http_can_be_refused_or_useless() {
    let simulator = start(options()).await;
    assert_eq!(struck(&simulator, "api-unavailable").await.status, 500);
    assert_eq!(struck(&simulator, "api-not-found").await.status, 404);
    let useless = struck(&simulator, "api-not-json").await;
    assert_eq!((useless.status, useless.header("content-type")), (200, Some("application/octet-stream")));
    assert!(usize::from(useless.body[0]) > useless.body.len(), "a length beyond the end");
    assert_eq!(simulator.counters().calls_refused, 3);
    assert_eq!(exchange(&simulator, &list(&simulator)).await.status, 200);

    let reply = struck(&simulator, "api-redirect").await;
    let location = reply.header("location").unwrap().to_owned();
    assert_eq!((reply.status, simulator.counters().redirects_followed), (302, 0));
    let path = location.strip_prefix(&format!("http://{}", simulator.authority())).unwrap();
    assert_eq!(exchange(&simulator, &request(&simulator, path, "", b"")).await.status, 200);
    assert_eq!(simulator.counters().redirects_followed, 1);
}

#[tokio::test]
async fn answers_over_http_can_fail_to_end_to_begin_and_to_be() {
    let simulator = start(options()).await;
    let send = async |name: &str| {
        next(&simulator, name);
        let mut stream = TcpStream::connect(simulator.addr()).await.unwrap();
        stream.write_all(&list(&simulator)).await.unwrap();
        stream
    };
    let mut buffer = vec![0; 64 * 1024];
    let mut endless = send("api-endless").await;
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
async fn a_call_can_fail_with_every_code_over_both_transports() {
    let simulator = start(script("sleep 1000")).await;
    let mut client = Client::open(&simulator).await;
    for code in [
        "model_not_found",
        "persistent_launcher_not_found",
        "quota_exceeded",
        "server_overloaded",
        "bad_credentials",
        "too_many_requests",
        "payment_required",
        "unknown",
        "a_code_of_tomorrow",
    ] {
        next(&simulator, &format!("rpc-error={code}"));
        let reply = client.call("launchTerminalSession", &launch_params(&simulator), &[]).await;
        assert_eq!(reply, json!({"error": {"code": code}}));
        next(&simulator, &format!("rpc-error={code}@launchTerminalSession"));
        let reply = post(&simulator, "launchTerminalSession", &launch_params(&simulator), &[]).await;
        assert_eq!(reply, json!({"error": {"code": code}}));
    }
    next(&simulator, "rpc-error=invalid_parameter");
    let error = client.call("launchTerminalSession", &launch_params(&simulator), &[]).await["error"].clone();
    assert!(error["parameterName"].is_string() && error["reason"].is_string(), "{error}");
    assert_eq!(simulator.counters().launched, 0);

    // A code waits for a method that it belongs to.
    let id = client.launch(&simulator).await;
    next(&simulator, "rpc-error=not_subscribed");
    next(&simulator, "rpc-error=too_many_requests@resizeTerminalSession");
    next(&simulator, "rpc-error=terminal_session_not_found");
    let write = client.call("writeToTerminalSession", &of(&id), &[b"x"]).await;
    assert_eq!(write, json!({"error": {"code": "terminal_session_not_found"}}));
    assert_eq!(client.call("writeToTerminalSession", &of(&id), &[b"x"]).await, json!({"result": {}}));
    let size = json!({"terminalSessionId": id, "size": {"cols": 80, "rows": 24}});
    let resize = client.call("resizeTerminalSession", &size, &[]).await;
    assert_eq!(resize, json!({"error": {"code": "too_many_requests"}}));
    let unsubscribe = client.call("unsubscribeFromEvents", &of(&id), &[]).await;
    assert_eq!(unsubscribe, json!({"error": {"code": "not_subscribed"}}));
    assert_eq!(simulator.faults().waiting(), 0);
}

#[tokio::test]
async fn a_launch_can_stay_without_answer_with_and_without_a_session() {
    let simulator = start(options()).await;
    for (name, alive) in [("launch-stalled", 0), ("launch-unanswered", 1)] {
        next(&simulator, name);
        let mut client = Client::open(&simulator).await;
        let launch = client.send("launchTerminalSession", &launch_params(&simulator), &[]).await;
        // Other calls are answered meanwhile.
        let listed = client.call("getTerminalSessions", &json!({}), &[]).await;
        assert_eq!(listed["result"]["terminalSessions"].as_array().unwrap().len(), alive, "{name}");
        let deadline = Instant::now() + SILENCE;
        while let Ok(Some(Ok(message))) =
            timeout(deadline - Instant::now(), futures_util::StreamExt::next(&mut client.socket)).await
        {
            client.take(message);
        }
        assert!(!client.has_reply(launch));
    }
    until("the one that runs has spoken", || {
        let counters = simulator.counters();
        counters.output_bytes + counters.lost_bytes > 0
    })
    .await;
}

#[tokio::test]
async fn the_first_output_can_come_before_the_reply() {
    let simulator = start(options()).await;
    let mut client = Client::open(&simulator).await;
    next(&simulator, "launch-events-first");
    let launch = client.send("launchTerminalSession", &launch_params(&simulator), &[]).await;
    client.pass().await;
    assert!(!client.has_reply(launch), "the first message is an event");
    let id = client.reply(launch).await["result"]["terminalSessionId"].as_str().unwrap().to_owned();
    assert!(!client.output(&id).is_empty());
    client.expect(&id, "ready> ").await;
}

#[tokio::test]
async fn replies_can_overtake_each_other() {
    let simulator = start(script("sleep 1000")).await;
    let mut client = Client::open(&simulator).await;
    next(&simulator, "reply-late");
    let late = client.send("getTerminalSessions", &json!({}), &[]).await;
    let other = client.send("subscribeToEvents", &of("nobody"), &[]).await;
    client.pass().await;
    assert!(client.has_reply(other) && !client.has_reply(late));
    assert_eq!(client.reply(late).await, json!({"result": {"terminalSessions": []}}));
    // Without another one it comes all the same.
    next(&simulator, "reply-late");
    let start = Instant::now();
    client.call("getTerminalSessions", &json!({}), &[]).await;
    assert!(start.elapsed() >= Duration::from_millis(250));
}

/// The bytes of the next reply to a launch.
async fn launch_raw(client: &mut Client, simulator: &Decthings) -> Vec<u8> {
    client.send("launchTerminalSession", &launch_params(simulator), &[]).await;
    let message = client.next().await.unwrap().unwrap();
    assert!(message.is_binary());
    message.into_data().to_vec()
}

#[tokio::test]
async fn replies_can_be_wrong_in_every_way() {
    let simulator = start(script("sleep 1000")).await;
    let mut client = Client::open(&simulator).await;
    let id = |bytes: &[u8]| u32::from_be_bytes(bytes[1..5].try_into().unwrap());

    next(&simulator, "reply-unknown-id");
    let stray = launch_raw(&mut client, &simulator).await;
    assert_eq!(id(&stray), 0x8000_0000);
    let reply = client.next().await.unwrap().unwrap().into_data();
    assert_eq!((id(&reply), parts(&reply[5..]).0["result"].is_object()), (0, true));

    next(&simulator, "reply-two-keys");
    let reply = launch_raw(&mut client, &simulator).await;
    let (json, _) = parts(&reply[5..]);
    assert!(json["result"].is_object() && json.as_object().unwrap().get("error") == Some(&Value::Null), "{json}");

    next(&simulator, "reply-not-json");
    let reply = launch_raw(&mut client, &simulator).await;
    assert_eq!(usize::from(reply[5]), reply.len() - 6);
    assert!(serde_json::from_slice::<Value>(&reply[6..]).is_err());

    next(&simulator, "reply-truncated");
    let reply = launch_raw(&mut client, &simulator).await;
    assert!(usize::from(reply[5]) > reply.len() - 6, "{reply:?}");

    next(&simulator, "reply-hostile-length");
    let reply = launch_raw(&mut client, &simulator).await;
    assert_eq!(reply[5..14], [0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    next(&simulator, "reply-hostile-length=200");
    let reply = launch_raw(&mut client, &simulator).await;
    assert_eq!(reply[5], 200);

    // Over HTTP as well.
    let simulator = start(options()).await;
    next(&simulator, "reply-truncated");
    let reply = exchange(&simulator, &list(&simulator)).await;
    assert!(usize::from(reply.body[0]) > reply.body.len() - 1);
}

#[tokio::test]
async fn an_upgrade_can_be_refused() {
    let simulator = start(options()).await;
    for (name, status) in [("upgrade-403", 403), ("upgrade-404", 404), ("upgrade-503", 503)] {
        next(&simulator, name);
        assert_eq!(upgrade(&simulator).await.0.status, status);
    }
    assert_eq!(simulator.counters().upgrades_refused, 3);
    assert_eq!(upgrade(&simulator).await.0.status, 101);
}

#[tokio::test]
async fn whoever_overlooks_a_wrong_handshake_gets_a_connection() {
    let simulator = start(options()).await;
    let good = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    for name in ["upgrade-200", "upgrade-wrong-accept", "upgrade-no-header", "upgrade-extension", "upgrade-subprotocol"]
    {
        next(&simulator, name);
        let (reply, stream) = upgrade(&simulator).await;
        assert_eq!(reply.status, if name == "upgrade-200" { 200 } else { 101 });
        assert_eq!(reply.header("sec-websocket-accept") == Some(good), name != "upgrade-wrong-accept", "{name}");
        assert_eq!(reply.header("upgrade").is_some(), name != "upgrade-no-header", "{name}");
        assert_eq!(reply.header("sec-websocket-extensions").is_some(), name == "upgrade-extension", "{name}");
        assert_eq!(reply.header("sec-websocket-protocol").is_some(), name == "upgrade-subprotocol", "{name}");
        let mut client = Client::over(&simulator, stream, reply.body).await;
        let id = client.launch(&simulator).await;
        client.expect(&id, "ready> ").await;
    }
}

#[tokio::test]
async fn an_upgrade_can_be_left_unanswered_or_bring_an_event() {
    let simulator = start(options()).await;
    next(&simulator, "upgrade-stalled");
    let mut stream = TcpStream::connect(simulator.addr()).await.unwrap();
    stream.write_all(upgrade_request(&simulator, "").as_bytes()).await.unwrap();
    let mut buffer = [0; 4096];
    assert!(timeout(SILENCE, stream.read(&mut buffer)).await.is_err());

    next(&simulator, "upgrade-early-frame");
    let mut stream = TcpStream::connect(simulator.addr()).await.unwrap();
    stream.write_all(upgrade_request(&simulator, "").as_bytes()).await.unwrap();
    let read = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
    let at = buffer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(read > at, "one read has both");
    let mut client = Client::over(&simulator, stream, buffer[at..read].to_vec()).await;
    client.expect("nobody", "early\r\n").await;
    let id = client.launch(&simulator).await;
    client.expect(&id, "ready> ").await;
}

const NUMBERS: &str = "seq 1 5000; sleep 1000";

fn numbers(bytes: usize) -> String {
    let all: String = (1..=5_000).map(|number| format!("{number}\r\n")).collect();
    all[..bytes].to_owned()
}

/// Opens a connection with a fault, and launches.
async fn open(simulator: &Decthings, name: &str) -> (Client, String) {
    next(simulator, name);
    let mut client = Client::open(simulator).await;
    let id = client.launch(simulator).await;
    (client, id)
}

#[tokio::test]
async fn a_connection_can_end_at_a_given_byte_in_each_way() {
    let simulator = start(script(NUMBERS)).await;
    for after in [1, 4_095, 20_000] {
        for (name, end) in [
            (format!("fin={after}"), End::NoClose),
            (format!("close=4321@{after}"), End::Close(4321)),
            (format!("reset={after}"), End::Reset),
        ] {
            let (mut client, id) = open(&simulator, &name).await;
            assert_eq!(client.end().await, end, "{name}");
            assert_eq!(client.text(&id), numbers(after), "{name}");
        }
    }
    // At once, before any call is answered.
    next(&simulator, "close=1001");
    assert_eq!(Client::open(&simulator).await.end().await, End::Close(1001));
    until("no connection is left", || simulator.counters().connections == 0).await;
    assert_eq!(simulator.counters().alive, 9, "the sessions live on");
}

#[tokio::test]
async fn a_connection_can_stall() {
    let simulator = start(script(NUMBERS)).await;
    let (mut client, id) = open(&simulator, "stall=3000").await;
    while client.output(&id).len() < 3_000 {
        client.pass().await;
    }
    assert_eq!(client.text(&id), numbers(3_000));
    futures_util::SinkExt::send(&mut client.socket, Message::Ping("x".into())).await.unwrap();
    client.send("getTerminalSessions", &json!({}), &[]).await;
    assert!(client.is_silent().await, "neither a pong nor a reply");
    assert_eq!((simulator.counters().connections, simulator.counters().alive), (1, 1));
    drop(client);
    until("the connection is gone", || simulator.counters().connections == 0).await;
}

#[tokio::test]
async fn messages_can_come_in_crumbs() {
    let simulator = start(script("seq 1 2000")).await;
    for name in ["fragments", "fragments=1", "fragments=1000"] {
        let (mut client, id) = open(&simulator, name).await;
        assert_eq!(client.exit(&id).await["exitCode"], 0);
        let expected: String = (1..=2_000).map(|number| format!("{number}\r\n")).collect();
        assert_eq!(client.text(&id), expected);
    }
}

/// Meets a fault that strikes once, behind the first ten bytes of output, and returns the message or error that a strict
/// client meets there. If it is a message, the connection has gone on.
async fn strange(simulator: &Decthings, name: &str) -> (Result<Message, Error>, String) {
    let (mut client, id) = open(simulator, name).await;
    while client.output(&id).len() < 10 {
        client.pass().await;
    }
    assert_eq!(client.text(&id), numbers(10));
    let strange = client.next().await.unwrap();
    if strange.is_ok() {
        client.expect(&id, "\r\n5000\r\n").await;
        assert_eq!(client.text(&id), numbers(client.output(&id).len()));
    }
    (strange, id)
}

#[tokio::test]
async fn a_connection_can_say_strange_things_and_go_on() {
    let simulator = start(script(NUMBERS)).await;
    let event = async |name: &str| {
        let (message, id) = strange(&simulator, name).await;
        let Ok(Message::Binary(bytes)) = message else { panic!("{message:?}") };
        (bytes.to_vec(), id)
    };
    // All events of this connection but the strange one begin so.
    let head = |id: &str| {
        let json = format!("{{\"event\":\"data\",\"params\":{{\"terminalSessionId\":\"{id}\"}}}}");
        [b"\x01\x08Terminal", &[u8::try_from(json.len()).unwrap()][..], json.as_bytes()].concat()
    };

    let (garbage, _) = event("garbage=10").await;
    assert!(garbage[0] != 0 && usize::from(garbage[1]) > garbage.len(), "{garbage:?}");
    let (unknown, id) = event("unknown-operation=10").await;
    let (json, _) = parts(&unknown[10..]);
    assert_eq!((&json["event"], &json["params"]["terminalSessionId"]), (&json!("toast"), &json!(id)));
    let (api, id) = event("event-unknown-api=10").await;
    assert_eq!(api[..9], *b"\x01\x07Weather");
    assert_eq!(parts(&api[9..]).0["params"]["terminalSessionId"], id);
    let (nobody, _) = event("event-unknown-terminal=10").await;
    assert_eq!(parts(&nobody[10..]).0["params"]["terminalSessionId"], "nobody");
    let (bare, id) = event("event-no-blob=10").await;
    assert_eq!(bare, head(&id));
    let (truncated, id) = event("event-truncated=10").await;
    assert!(truncated.len() > 12 && truncated.len() < head(&id).len() && head(&id).starts_with(&truncated));
    let (hostile, id) = event("event-hostile-length=9223372036854775808@10").await;
    assert_eq!(hostile[..head(&id).len() + 9], [&head(&id)[..], &[0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0]].concat());
    let (hostile, id) = event("event-hostile-length=252@10").await;
    assert_eq!(hostile[..=head(&id).len()], [&head(&id)[..], &[252]].concat());
}

#[tokio::test]
async fn what_is_legal_and_unusual_changes_no_byte_of_output() {
    let simulator = start(script("seq 1 5000")).await;
    let expected: String = (1..=5_000).map(|number| format!("{number}\r\n")).collect();
    for name in ["event-as-text=10", "event-long-lengths=10"] {
        let (mut client, id) = open(&simulator, name).await;
        let (mut text, mut long) = (0, 0);
        while client.output(&id).len() < expected.len() {
            let message = client.next().await.unwrap().unwrap();
            text += usize::from(message.is_text());
            long += usize::from(message.clone().into_data().starts_with(b"\x01\x08Terminal\xff\0"));
            client.take(message);
        }
        assert_eq!((text, long), if name.contains("text") { (1, 0) } else { (0, 1) }, "{name}");
        assert_eq!(client.text(&id), expected);
    }
}

#[tokio::test]
async fn a_connection_can_break_the_websocket_protocol() {
    let simulator = start(script(NUMBERS)).await;
    let (error, _) = strange(&simulator, "reserved-bits=10").await;
    assert!(matches!(error, Err(Error::Protocol(ProtocolError::NonZeroReservedBits))), "{error:?}");
    let (error, _) = strange(&simulator, "masked=10").await;
    assert!(matches!(error, Err(Error::Protocol(ProtocolError::MaskedFrameFromServer))), "{error:?}");
}

#[tokio::test]
async fn a_frame_can_be_too_large() {
    let simulator = start(options()).await;
    next(&simulator, "oversize");
    let error = Client::open(&simulator).await.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Capacity(_)), "{error:?}");
    // One that is within this client's limit shows that it is a good event but for its size.
    for size in [100, 300, 100_000] {
        next(&simulator, &format!("oversize={size}"));
        let mut client = Client::open(&simulator).await;
        let message = client.next().await.unwrap().unwrap();
        assert_eq!(message.len(), size);
        client.take(message);
        assert!(client.output("nobody").iter().all(|byte| *byte == b'x'));
        let id = client.launch(&simulator).await;
        client.expect(&id, "ready> ").await;
    }
}

#[tokio::test]
async fn a_terminal_can_end_for_every_reason_at_a_given_byte() {
    let simulator = start(script(NUMBERS)).await;
    let mut client = Client::open(&simulator).await;
    for (name, reason) in [
        ("exit", json!({"code": "launcher_terminated"})),
        ("exit=inactive_timeout@1", json!({"code": "inactive_timeout"})),
        ("exit=terminated_on_request@5000", json!({"code": "terminated_on_request"})),
        ("exit=unknown@10", json!({"code": "unknown"})),
        ("exit=oom@20000", json!({"code": "process_exit", "signal": "SIGKILL", "oom": true})),
        ("exit=SIGSEGV@10", json!({"code": "process_exit", "signal": "SIGSEGV", "oom": false})),
        ("exit=no-code@10", json!({"code": "process_exit", "oom": false})),
    ] {
        next(&simulator, name);
        let id = client.launch(&simulator).await;
        assert_eq!(client.exit(&id).await, reason);
        let after = name.split_once('@').map_or(0, |(_, after)| after.parse().unwrap());
        assert_eq!(client.text(&id), numbers(after), "{name}");
    }
    until("no shell is left", || simulator.sessions() == 0).await;
}
