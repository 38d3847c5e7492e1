//! The connection: its calls and replies, its subscriptions, and what it does with what it cannot read.

use futures_util::SinkExt as _;
use polytty_simulator::decthings::{BadFrame, Options, SocketCalls};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    Client, End, body, exchange, launch_params, of, options, post, read_head, script, start, until, upgrade,
    upgrade_request,
};

fn message(id: u32, json: &str, blobs: &[&[u8]]) -> Vec<u8> {
    [&id.to_be_bytes(), &body(json, blobs)[..]].concat()
}

#[tokio::test]
async fn the_handshake_needs_no_key_and_every_call_does() {
    let simulator = start(options()).await;
    let mut client = Client::open(&simulator).await;
    for (id, key) in [(7, json!("wrong")), (8, Value::Null), (9, json!(simulator.api_key()))] {
        let call = json!({"api": "Terminal", "method": "getTerminalSessions", "params": {}, "apiKey": key});
        client.socket.send(Message::binary(message(id, &call.to_string(), &[]))).await.unwrap();
    }
    let call = r#"{"api":"Terminal","method":"getTerminalSessions","params":{}}"#;
    client.socket.send(Message::binary(message(u32::MAX, call, &[]))).await.unwrap();
    for id in [7, 8, u32::MAX] {
        assert_eq!(client.reply(id).await, json!({"error": {"code": "bad_credentials"}}), "{id}");
    }
    assert_eq!(client.reply(9).await, json!({"result": {"terminalSessions": []}}));
}

#[tokio::test]
async fn what_comes_is_as_the_document_draws_it_byte_by_byte() {
    let simulator = start(script("printf hi; exec sleep 1000")).await;
    let (reply, mut stream) = upgrade(&simulator).await;
    let mut call = json!({"api": "terminal", "method": "launchTerminalSession", "params": launch_params(&simulator)});
    call["apiKey"] = json!(simulator.api_key());
    let payload = message(0x0102_0304, &call.to_string(), &[]);
    let mut frame = vec![0x82, 0x80 | 126];
    frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(payload);
    stream.write_all(&frame).await.unwrap();
    let mut wire = reply.body;
    let mut id = String::new();
    let expected = |id: &str| {
        let reply = format!("{{\"result\":{{\"terminalSessionId\":\"{id}\"}}}}");
        let data = format!("{{\"event\":\"data\",\"params\":{{\"terminalSessionId\":\"{id}\"}}}}");
        let byte = |length: usize| u8::try_from(length).unwrap();
        let reply = [&[0, 1, 2, 3, 4, byte(reply.len())], reply.as_bytes()].concat();
        let event = [b"\x01\x08Terminal", &[byte(data.len())][..], data.as_bytes(), b"\x02hi"].concat();
        let frame = |payload: &[u8]| [&[0x82, byte(payload.len())], payload].concat();
        [frame(&reply), frame(&event)].concat()
    };
    while wire.len() < expected(&id).len() || id.is_empty() {
        assert!(stream.read_buf(&mut wire).await.unwrap() > 0);
        id = simulator.terminals().pop().unwrap_or_default();
    }
    assert_eq!(wire, expected(&id));
}

#[tokio::test]
async fn a_text_message_counts_as_its_bytes() {
    let simulator = start(options()).await;
    let mut client = Client::open(&simulator).await;
    let call = json!({"api": "Terminal", "method": "getTerminalSessions", "params": {}, "apiKey": simulator.api_key()});
    let text = String::from_utf8(message(3, &call.to_string(), &[])).unwrap();
    client.socket.send(Message::text(text)).await.unwrap();
    assert_eq!(client.reply(3).await, json!({"result": {"terminalSessions": []}}));
}

#[tokio::test]
async fn an_unknown_api_or_method_fails_and_the_connection_goes_on() {
    let simulator = start(options()).await;
    let mut client = Client::open(&simulator).await;
    assert_eq!(client.call("attachToTerminalSession", &json!({}), &[]).await, json!({"error": {"code": "unknown"}}));
    let call = json!({"api": "Model", "method": "getTerminalSessions", "params": {}, "apiKey": simulator.api_key()});
    client.socket.send(Message::binary(message(77, &call.to_string(), &[]))).await.unwrap();
    assert_eq!(client.reply(77).await, json!({"error": {"code": "unknown"}}));
    let id = client.launch(&simulator).await;
    client.expect(&id, "ready> ").await;
}

#[tokio::test]
async fn what_is_no_call_closes_the_connection_or_is_ignored() {
    let hostile = |length: u64| [&[0, 0, 0, 1, 0, 0xFF][..], &length.to_be_bytes(), b"{}"].concat();
    let bad = [
        Vec::new(),
        vec![0, 0, 0],
        message(1, "{}", &[]),
        message(1, "not JSON", &[]),
        message(1, r#"["Terminal","getTerminalSessions",{},"key"]"#, &[]),
        [&message(1, "{}", &[])[..], b"more"].concat(),
        hostile(3),
        hostile(1 << 63),
        hostile(u64::MAX),
    ];
    let simulator = start(options()).await;
    for bad in &bad {
        let mut client = Client::open(&simulator).await;
        client.socket.send(Message::binary(bad.clone())).await.unwrap();
        assert_eq!(client.end().await, End::Close(1002), "{bad:?}");
    }
    assert_eq!(simulator.counters().malformed, 9);

    let simulator = start(Options { bad_frame: BadFrame::Ignore, ..options() }).await;
    let mut client = Client::open(&simulator).await;
    for bad in bad {
        client.socket.send(Message::binary(bad)).await.unwrap();
    }
    let id = client.launch(&simulator).await;
    client.expect(&id, "ready> ").await;
    assert_eq!(simulator.counters().malformed, 9);
}

#[tokio::test]
async fn a_message_has_a_limit() {
    let simulator = start(options()).await;
    let mut client = Client::open(&simulator).await;
    client.socket.send(Message::binary(vec![0; 4 * 1024 * 1024 + 1])).await.unwrap();
    assert_eq!(client.end().await, End::Close(1009));
}

#[tokio::test]
async fn a_subscription_begins_with_its_reply_and_ends_with_that_of_its_end() {
    let simulator = start(script("stty -echo; while read -r line; do echo \"<$line>\"; done")).await;
    let mut client = Client::open(&simulator).await;
    let id = client.launch(&simulator).await;
    client.type_in(&id, "one\r").await;
    client.expect(&id, "<one>").await;
    assert_eq!(client.call("unsubscribeFromEvents", &of(&id), &[]).await, json!({"result": {}}));
    let again = client.call("unsubscribeFromEvents", &of(&id), &[]).await;
    assert_eq!(again, json!({"error": {"code": "not_subscribed"}}));

    // What is said now is lost: there is no replay.
    let lost = simulator.counters().lost_bytes;
    client.type_in(&id, "two\r").await;
    until("it is lost", || simulator.counters().lost_bytes >= lost + 7).await;
    assert_eq!(client.call("subscribeToEvents", &of(&id), &[]).await, json!({"result": {}}));
    assert_eq!(client.call("subscribeToEvents", &of(&id), &[]).await, json!({"result": {}}), "twice is once");
    assert_eq!(simulator.counters().subscriptions, 1);
    client.type_in(&id, "three\r").await;
    client.expect(&id, "<three>").await;
    assert!(!client.text(&id).contains("two"), "{}", client.text(&id));
    assert_eq!(client.text(&id).matches("<three>").count(), 1);
    let nobody = client.call("subscribeToEvents", &of("nobody"), &[]).await;
    assert_eq!(nobody, json!({"error": {"code": "terminal_session_not_found"}}));
}

#[tokio::test]
async fn a_launch_need_not_subscribe() {
    let simulator = start(options()).await;
    let mut client = Client::open(&simulator).await;
    let mut params = launch_params(&simulator);
    params["subscribeToEvents"] = json!(false);
    assert!(client.call("launchTerminalSession", &params, &[]).await["result"].is_object());
    until("its prompt is lost", || simulator.counters().lost_bytes > 0).await;
    assert_eq!(simulator.counters().subscriptions, 0);
    assert!(client.is_silent().await);
}

#[tokio::test]
async fn two_connections_can_be_subscribed_to_one_terminal() {
    let simulator = start(options()).await;
    let (mut one, mut other) = (Client::open(&simulator).await, Client::open(&simulator).await);
    let id = one.launch(&simulator).await;
    assert_eq!(other.call("subscribeToEvents", &of(&id), &[]).await, json!({"result": {}}));
    assert_eq!(simulator.counters().subscriptions, 2);
    other.type_in(&id, "echo bo''th; exit 5\r").await;
    for client in [&mut one, &mut other] {
        assert_eq!(client.exit(&id).await["exitCode"], 5);
        assert!(client.text(&id).contains("both"));
    }
}

#[tokio::test]
async fn the_connection_may_be_restricted_to_what_needs_it() {
    let simulator = start(Options { socket_calls: SocketCalls::Subscriptions, ..options() }).await;
    let mut client = Client::open(&simulator).await;
    let id = client.launch(&simulator).await;
    let reply = client.call("writeToTerminalSession", &of(&id), &[b"x"]).await;
    assert_eq!(reply, json!({"error": {"code": "unknown"}}));
    post(&simulator, "writeToTerminalSession", &of(&id), &[b"echo over H''TTP\r"]).await;
    client.expect(&id, "over HTTP").await;
    assert_eq!(client.call("unsubscribeFromEvents", &of(&id), &[]).await, json!({"result": {}}));
}

#[tokio::test]
async fn upgrades_are_guarded_like_everything_else() {
    let simulator = start(options()).await;
    let good = upgrade_request(&simulator, "");
    let own = format!("Origin: http://{}\r\n", simulator.authority());
    for (request, status) in [
        (good.replace(&simulator.authority(), "rebound.example"), 421),
        (upgrade_request(&simulator, "Origin: http://evil.example\r\n"), 403),
        (upgrade_request(&simulator, "Origin: null\r\n"), 403),
        (upgrade_request(&simulator, &own), 101),
        (good.replace("/v0/ws", "/v0/v0"), 404),
        (good.replace("Version: 13", "Version: 12"), 426),
        (good.replace("Upgrade: websocket\r\n", ""), 426),
    ] {
        let mut stream = tokio::net::TcpStream::connect(simulator.addr()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let (head, _) = read_head(&mut stream).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request} {head}");
    }
    let refused = exchange(&simulator, good.replace("Version: 13", "Version: 8").as_bytes()).await;
    assert_eq!(refused.header("sec-websocket-version"), Some("13"));
}
