//! Each fault does what its line says, seen from a client.

use polytty_simulator::{
    Fault, Stage,
    oblien::{EARLY_OUTPUT, FAULTS, Oblien, Options},
};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, time::timeout};
use tokio_tungstenite::tungstenite::{Error, error::ProtocolError};

use crate::support::{
    Data, End, PATIENCE, SILENCE, Socket, access, exchange, fault, key, numbers, options, read_head, request, send,
    start, until,
};

const NUMBERS: &str = "seq 1 5000; sleep 1000";

async fn token(simulator: &Oblien) -> crate::support::Reply {
    access(simulator, "GET", simulator.workspace(), "/token").await
}

#[tokio::test]
async fn the_control_plane_refuses_with_each_code_and_once_only() {
    let simulator = start(options()).await;
    for (name, status, code) in [
        ("api-unauthorized", 401, "unauthorized"),
        ("api-rate-limited", 429, "rate_limited"),
        ("api-unavailable", 503, "service_unavailable"),
        ("api-not-found", 404, "not_found"),
        ("api-bad-request", 400, "bad_request"),
    ] {
        simulator.faults().next(fault(name));
        assert_eq!(token(&simulator).await.refusal(), (status, code.to_owned()));
        assert_eq!(token(&simulator).await.status, 200, "after {name}");
    }
    simulator.faults().next(fault("api-not-json"));
    let reply = token(&simulator).await;
    assert_eq!(reply.status, 200);
    assert!(serde_json::from_slice::<Value>(&reply.body).is_err());
}

#[tokio::test]
async fn a_redirect_leads_to_a_bait_that_counts() {
    let simulator = start(options()).await;
    simulator.faults().next(fault("api-redirect"));
    let reply = token(&simulator).await;
    assert_eq!(reply.status, 302);
    let (authority, path) = reply.header("location").unwrap().strip_prefix("http://").unwrap().split_once('/').unwrap();
    let bait = exchange(authority, &request(authority, "GET", &format!("/{path}"), "", "")).await;
    let data = Data::of(&simulator).await.with(bait.json()["token"].as_str().unwrap());
    assert_eq!(data.call("GET", "/terminals", "").await.status, 401, "the bait opens nothing");
    assert_eq!(simulator.counters().redirects_followed, 1);
}

#[tokio::test]
async fn answers_can_fail_to_end_to_begin_and_to_be() {
    let simulator = start(options()).await;
    let authority = simulator.authority();
    let path = format!("/workspace/{}/runtime-api-access/token", simulator.workspace());
    let call = request(&authority, "GET", &path, &key(&simulator), "");
    let mut buffer = vec![0; 64 * 1024];
    simulator.faults().next(fault("api-endless"));
    let mut endless = send(&authority, &call).await;
    for _ in 0..200 {
        timeout(PATIENCE, endless.read_exact(&mut buffer)).await.unwrap().unwrap();
    }
    drop(endless);
    simulator.faults().next(fault("api-stalled"));
    let mut stalled = send(&authority, &call).await;
    assert!(timeout(SILENCE, stalled.read(&mut buffer)).await.is_err(), "neither an answer nor an end");
    simulator.faults().next(fault("api-reset"));
    let mut reset = send(&authority, &call).await;
    let error = timeout(PATIENCE, reset.read(&mut buffer)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn tokens_can_be_missing_stale_or_revoked_until_a_new_one_is_made() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    simulator.faults().next(fault("token-missing"));
    let status = access(&simulator, "GET", simulator.workspace(), "").await;
    assert!(status.json()["enabled"] == true && simulator.faults().waiting() == 1, "it waits for a token");
    let reply = token(&simulator).await;
    assert_eq!((reply.status, &reply.json()["success"], &reply.json()["token"]), (200, &json!(true), &Value::Null));
    simulator.faults().next(fault("token-expired"));
    let stale = token(&simulator).await.json();
    let stale = data.with(stale["token"].as_str().unwrap());
    assert_eq!(stale.call("GET", "/terminals", "").await.status, 401);
    assert_eq!(data.call("GET", "/terminals", "").await.status, 200);

    let mut socket = data.connect().await;
    simulator.faults().next(fault("tokens-revoked"));
    assert_eq!(data.call("POST", "/terminals", "").await.refusal(), (401, "unauthorized".to_owned()));
    for _ in 0..2 {
        assert_eq!(data.call("GET", "/terminals", "").await.status, 401);
        assert_eq!(data.upgrade().await.0.status, 401);
    }
    assert!(socket.is_silent().await, "what is open stays open");
    let renewed = Data::of(&simulator).await;
    assert_eq!(renewed.call("GET", "/terminals", "").await.status, 200);
    simulator.faults().next(fault("tokens-revoked"));
    assert_eq!(renewed.upgrade().await.0.status, 401);
    assert_eq!(Data::of(&simulator).await.upgrade().await.0.status, 101);
}

#[tokio::test]
async fn a_creation_can_fail_and_leaves_nothing() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    for (name, status, code) in [
        ("create-failed", 500, "pty_failed"),
        ("create-limit", 429, "terminal_limit"),
        ("create-unavailable", 502, "workspace_unreachable"),
        ("create-unsuccessful", 200, "pty_failed"),
    ] {
        simulator.faults().next(fault(name));
        assert_eq!(data.call("POST", "/terminals", "").await.refusal(), (status, code.to_owned()));
    }
    simulator.faults().next(fault("create-not-json"));
    let reply = data.call("POST", "/terminals", "").await;
    assert!(reply.status == 200 && serde_json::from_slice::<Value>(&reply.body).is_err());
    assert_eq!((simulator.sessions(), simulator.counters().terminals_created), (0, 0));
    assert_eq!(data.script("sleep 1000").await, 1);
}

#[tokio::test]
async fn a_creation_can_succeed_without_saying_how() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let create = data.request("POST", "/terminals", "");
    let mut buffer = [0; 64];
    simulator.faults().next(fault("create-unanswered"));
    let mut unanswered = send(&data.authority, &create).await;
    assert!(timeout(SILENCE, unanswered.read(&mut buffer)).await.is_err());
    simulator.faults().next(fault("create-reset"));
    let mut reset = send(&data.authority, &create).await;
    let error = timeout(PATIENCE, reset.read(&mut buffer)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    simulator.faults().next(fault("create-no-id"));
    let reply = exchange(&data.authority, &create).await;
    assert_eq!((reply.status, &reply.json()["id"], &reply.json()["success"]), (201, &Value::Null, &json!(true)));
    simulator.faults().next(fault("create-word-id"));
    assert_eq!(exchange(&data.authority, &create).await.json()["id"], "sess_def456");
    let ids: Vec<_> = data.list().await.iter().map(|terminal| terminal["id"].clone()).collect();
    assert_eq!(ids, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn the_first_output_can_come_before_the_reply() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    simulator.faults().next(fault("create-late"));
    assert_eq!(data.script("echo nobody listens").await, 1, "without a socket there is nothing to wait for");
    let mut socket = data.connect().await;
    for id in 2..5 {
        simulator.faults().next(fault("create-late"));
        let mut call =
            send(&data.authority, &data.request("POST", "/terminals", r#"{"cmd":["/bin/sh","-c","read x; echo $x"]}"#))
                .await;
        assert!(timeout(SILENCE, read_head(&mut call)).await.is_err(), "it waits for the output");
        socket.type_in(id, "first\n").await;
        socket.expect(id, "first\r\n").await;
        assert_eq!(timeout(PATIENCE, read_head(&mut call)).await.unwrap().status, 201);
    }
}

#[tokio::test]
async fn an_id_can_come_again_behind_bytes_of_its_last_owner() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let mut socket = data.connect().await;
    simulator.faults().next(fault("create-stale"));
    let id = data.script("echo secret; sleep 1000").await;
    socket.expect(id, "stale\r\nsecret\r\n").await;
    data.delete(id).await;
    assert_eq!(socket.exit(id).await, -1);
    socket.output[1].clear();
    simulator.faults().next(fault("create-stale"));
    assert_eq!(data.script("echo mine; sleep 1000").await, id, "the same id");
    socket.expect(id, "secret\r\nmine\r\n").await;
    assert_eq!(data.scrollback(id, "").await.1, "mine\r\n");
}

#[tokio::test]
async fn a_deletion_can_fail_and_the_terminal_lives_on() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let id = data.script("sleep 1000").await;
    simulator.faults().next(fault("delete-failed"));
    assert_eq!(data.call("DELETE", "/terminals/1", "").await.refusal(), (500, "internal_error".to_owned()));
    simulator.faults().next(fault("delete-unanswered"));
    let mut unanswered = send(&data.authority, &data.request("DELETE", "/terminals/1", "")).await;
    assert!(timeout(SILENCE, unanswered.read(&mut [0; 64])).await.is_err());
    assert_eq!(data.list().await[0]["alive"], true);
    data.delete(id).await;
}

#[tokio::test]
async fn an_upgrade_can_be_refused() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let mut socket = data.connect().await;
    for (name, status) in [("upgrade-401", 401), ("upgrade-403", 403), ("upgrade-404", 404), ("upgrade-503", 503)] {
        simulator.faults().next(fault(name));
        let reply = exchange(&data.authority, &data.upgrade_request()).await;
        assert_eq!(reply.refusal().0, status);
    }
    assert!(socket.is_silent().await, "nobody is evicted");
}

#[tokio::test]
async fn whoever_overlooks_a_wrong_handshake_gets_a_terminal() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let id = data.script("cat").await;
    let good = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    for name in ["upgrade-200", "upgrade-wrong-accept", "upgrade-no-header", "upgrade-extension", "upgrade-subprotocol"]
    {
        simulator.faults().next(fault(name));
        let (reply, stream) = data.upgrade().await;
        assert_eq!(reply.status, if name == "upgrade-200" { 200 } else { 101 });
        assert_eq!(reply.header("sec-websocket-accept") == Some(good), name != "upgrade-wrong-accept", "{name}");
        assert_eq!(reply.header("upgrade").is_some(), name != "upgrade-no-header", "{name}");
        assert_eq!(reply.header("sec-websocket-extensions").is_some(), name == "upgrade-extension", "{name}");
        assert_eq!(reply.header("sec-websocket-protocol").is_some(), name == "upgrade-subprotocol", "{name}");
        let mut socket = Socket::over(stream, reply.body).await;
        socket.type_in(id, &format!("{name}\n")).await;
        socket.expect(id, &format!("{name}\r\n")).await;
    }
    simulator.faults().next(fault("upgrade-stalled"));
    let mut stalled = send(&data.authority, &data.upgrade_request()).await;
    assert!(timeout(SILENCE, stalled.read(&mut [0; 16])).await.is_err());
}

#[tokio::test]
async fn the_first_message_can_come_with_the_handshake() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    data.script("exit 0").await;
    let id = data.script("echo replay; sleep 1000").await;
    data.said(id, "replay").await;
    data.delete(1).await;
    simulator.faults().next(fault("upgrade-early-frame"));
    let mut stream = send(&data.authority, &data.upgrade_request()).await;
    let mut first = vec![0; 4096];
    let read = timeout(PATIENCE, stream.read(&mut first)).await.unwrap().unwrap();
    let at = first.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(read > at, "one read has both");
    let mut socket = Socket::over(stream, first[at..read].to_vec()).await;
    socket.expect(id, &format!("{EARLY_OUTPUT}replay\r\n")).await;
}

#[tokio::test]
async fn a_connection_can_end_at_a_given_byte_in_each_way() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let id = data.script(NUMBERS).await;
    data.said(id, "\r\n5000\r\n").await;
    let all = numbers(5_000);
    for after in [0, 1, 4_095, 20_000] {
        for (name, end) in [
            (format!("fin={after}"), End::NoClose),
            (format!("close=4321@{after}"), End::Close(4321, String::new())),
            (format!("reset={after}"), End::Reset),
            (format!("evict=1@{after}"), End::Close(1000, String::new())),
        ] {
            simulator.faults().next(fault(&name));
            let mut socket = data.connect().await;
            assert_eq!(socket.end().await, end, "{name}");
            assert_eq!(socket.text(id), all[..after], "{name}");
        }
    }
    assert_eq!(simulator.counters().evictions, 4);
    let mut socket = data.connect().await;
    socket.expect(id, "\r\n5000\r\n").await;
    assert_eq!(simulator.counters().terminals_alive, 1, "the terminal has not noticed");
}

#[tokio::test]
async fn a_party_that_keeps_coming_back_evicts_as_often_as_it_is_told() {
    let simulator = start(Options { eviction: polytty_simulator::oblien::Eviction::Fin, ..options() }).await;
    let data = Data::of(&simulator).await;
    simulator.faults().next(Fault::Evict { times: 3, after: 0 });
    for _ in 0..3 {
        assert_eq!(data.connect().await.end().await, End::NoClose);
    }
    let mut socket = data.connect().await;
    assert!(socket.is_silent().await);
    assert_eq!(simulator.counters().evictions, 3);
}

#[tokio::test]
async fn a_connection_can_stall() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let id = data.script(NUMBERS).await;
    data.said(id, "\r\n5000\r\n").await;
    simulator.faults().next(fault("stall=3000"));
    let mut socket = data.connect().await;
    while socket.text(id).len() < 3_000 {
        socket.step().await.unwrap();
    }
    assert_eq!(socket.text(id), numbers(5_000)[..3_000]);
    socket.send(tokio_tungstenite::tungstenite::Message::Ping("x".into())).await;
    assert!(socket.is_silent().await, "no pong");
    assert_eq!(simulator.counters().sockets_open, 1);
    drop(socket);
    until("it is gone", || simulator.counters().sockets_open == 0).await;
}

#[tokio::test]
async fn a_workspace_can_be_switched_off_in_the_midst() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    simulator.faults().next(fault("disabled=500"));
    let mut socket = data.connect().await;
    let id = data.script(NUMBERS).await;
    assert_eq!(socket.end().await, End::NoClose);
    assert_eq!(socket.text(id), numbers(5_000)[..500]);
    assert_eq!(data.call("GET", "/terminals", "").await.status, 502);
    until("no shell is left", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn a_terminal_can_die_and_the_others_live() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let other = data.script("sleep 1000").await;
    simulator.faults().next(fault("terminal-dies=500"));
    let mut socket = data.connect().await;
    let id = data.script("seq 1 200; exec sleep 1000").await;
    assert_eq!(socket.exit(id).await, -1);
    assert!(socket.text(id).len() >= 500);
    let list = data.list().await;
    assert_eq!((&list[0]["id"], &list[0]["alive"]), (&json!(other.to_string()), &json!(true)));
    assert_eq!((&list[1]["alive"], &list[1]["exit_code"]), (&json!(false), &json!(-1)));
}

#[tokio::test]
async fn an_exit_can_lack_its_code() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    simulator.faults().next(fault("exit-no-code"));
    let mut socket = data.connect().await;
    let id = data.script("exit 3").await;
    assert_eq!(socket.exit(id).await, Value::Null);
    assert_eq!(socket.texts, [json!({"channel": "terminal", "type": "exit", "id": "1"})]);
    assert_eq!(data.connect().await.exit(id).await, 3);
}

#[tokio::test]
async fn messages_can_come_in_crumbs() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let id = data.script("seq 1 2000; printf '終端😀'; sleep 1000").await;
    data.said(id, "😀").await;
    for name in ["fragments", "fragments=1", "fragments=1000"] {
        simulator.faults().next(fault(name));
        let mut socket = data.connect().await;
        socket.expect(id, "😀").await;
        assert_eq!(socket.text(id), numbers(2_000) + "終端😀");
    }
    // On the wire: a first frame of three bytes that is not the last, then continuations.
    simulator.faults().next(fault("fragments"));
    let (reply, mut stream) = data.upgrade().await;
    let mut wire = reply.body;
    while wire.len() < 10 {
        assert!(timeout(PATIENCE, stream.read_buf(&mut wire)).await.unwrap().unwrap() > 0);
    }
    assert_eq!(wire[..10], *b"\x02\x03\x011\r\x00\x03\n2\r");
}

/// Connects with a fault that strikes once behind the first ten bytes of output, and reads until the rest is there too.
async fn strange(name: &str) -> Socket {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let id = data.script(NUMBERS).await;
    data.said(id, "\r\n5000\r\n").await;
    simulator.faults().next(fault(&format!("{name}=10")));
    let mut socket = data.connect().await;
    socket.expect(id, "\r\n5000\r\n").await;
    assert_eq!(socket.text(id), numbers(5_000));
    assert_eq!(socket.frames[0], (id, 10));
    socket
}

#[tokio::test]
async fn a_connection_can_say_strange_things_and_go_on() {
    let socket = strange("garbage").await;
    assert!(socket.texts[0]["no JSON"].is_string(), "{:?}", socket.texts);

    let socket = strange("unknown-channel").await;
    let said: Vec<_> = socket.texts.iter().map(|text| format!("{}.{}", text["channel"], text["type"])).collect();
    assert_eq!(said, ["\"metrics\".\"exit\"", "\"terminal\".\"title\"", "\"terminal\".\"exit\"", "null.null"]);
    assert_eq!(socket.texts[2]["id"], "254");

    let socket = strange("unknown-terminal").await;
    assert_eq!((socket.text(0), socket.text(254)), ("not yours\r\n".to_owned(), "not yours\r\n".to_owned()));

    let socket = strange("watcher").await;
    let said: Vec<_> = socket.texts.iter().map(|text| (&text["channel"], &text["type"])).collect();
    assert_eq!(
        said,
        [
            (&json!("watcher"), &json!("ready")),
            (&json!("watcher"), &json!("change")),
            (&json!("watcher"), &json!("overflow"))
        ]
    );

    let socket = strange("short-frames").await;
    assert_eq!(socket.frames[1..3], [(0, 0), (1, 0)]);
}

#[tokio::test]
async fn a_connection_can_break_the_websocket_protocol() {
    for (name, expected) in
        [("reserved-bits", ProtocolError::NonZeroReservedBits), ("masked", ProtocolError::MaskedFrameFromServer)]
    {
        let simulator = start(options()).await;
        let data = Data::of(&simulator).await;
        simulator.faults().next(fault(name));
        let error = data.connect().await.step().await.unwrap_err().unwrap_err();
        let Error::Protocol(error) = error else { panic!("{error:?}") };
        assert_eq!(error, expected);
    }
}

#[tokio::test]
async fn a_frame_can_be_too_large() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    simulator.faults().next(fault("oversize"));
    let error = data.connect().await.step().await.unwrap_err().unwrap_err();
    assert!(matches!(error, Error::Capacity(_)), "{error:?}");
    // One that is within this client's limit shows that it is a good message but for its size.
    simulator.faults().next(fault("oversize=100000"));
    let mut socket = data.connect().await;
    socket.step().await.unwrap();
    assert_eq!(socket.frames, [(254, 99_999)]);
    assert_eq!(socket.text(254), "x".repeat(99_999));
}

#[test]
fn every_fault_of_the_table_has_its_story() {
    let stories = include_str!("faults.rs");
    for line in FAULTS {
        assert!(
            stories.contains(&format!("\"{}", line.name)) || stories.contains(&format!("({}", line.name)),
            "{}",
            line.name
        );
    }
    assert!(FAULTS.iter().any(|line| line.stage == Stage::Token));
}
