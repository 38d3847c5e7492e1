//! The wire of Decthings: its transcript whole and cut short, and what holds for all bytes.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod transcript;

use polytty_dialect::decthings::{
    Call, Calls, Events, ExecutionLocation, ExitReason, Gpus, Incoming, Launch, LauncherSpec, Reply, put_varint,
    read_body,
};
use polytty_dialect::{BadMessage, Kind, Outbox, Size};
use proptest::prelude::*;
use transcript::{Action, Read, parse, show, unescape};

const TRANSCRIPT: &str = include_str!("../transcripts/decthings.txt");

#[test]
fn the_transcript_holds() {
    let transcript = parse(TRANSCRIPT);
    assert_eq!(transcript.codec, "decthings");
    let mut calls = Calls::new("KEY");
    for step in &transcript.steps {
        let line = step.line;
        match &step.action {
            Action::Read { payload, expected, .. } => assert_eq!(&read(payload), expected, "line {line}"),
            Action::Call { call, sent, .. } => {
                let made = make(&mut calls, call);
                assert_eq!(
                    vec![show(&made)],
                    sent.iter().map(|(_, payload)| show(payload)).collect::<Vec<_>>(),
                    "line {line}"
                );
                assert!(sent.iter().all(|(kind, _)| *kind == Kind::Binary), "line {line}");
            }
        }
    }
}

/// A message that is cut short is never taken for a shorter one, except where only blobs are missing that mean nothing.
#[test]
fn every_message_cut_short_is_bad() {
    for step in parse(TRANSCRIPT).steps {
        let Action::Read { payload, expected, .. } = step.action else { continue };
        if expected.event.starts_with("bad") {
            continue;
        }
        for len in 0..payload.len() {
            let place = format!("line {}, {len} of {} bytes", step.line, payload.len());
            let cut = read(&payload[..len]);
            if cut == expected {
                assert!(payload.len() - len <= 5, "{place}: {cut:?}");
            } else {
                assert!(cut.event.starts_with("bad") && cut.bytes.is_empty(), "{place}: {cut:?}");
            }
        }
    }
}

#[test]
fn the_key_is_escaped_and_shown_nowhere() {
    let mut calls = Calls::new("s3\"cr\\et\n");
    let mut out = Outbox::new();
    calls.push(Call::Terminate("t"), &mut out);
    let sent = String::from_utf8(out.iter().next().unwrap().payload[6..].to_vec()).unwrap();
    let json: serde_json::Value = serde_json::from_str(&sent).unwrap();
    assert_eq!(json["apiKey"], "s3\"cr\\et\n");
    assert!(!format!("{calls:?}").contains("s3"));
    let mut body = Vec::new();
    Call::Terminate("t").body(&mut body);
    assert_eq!(body, b"\x00\x19{\"terminalSessionId\":\"t\"}");
    assert_eq!(Call::Terminate("t").path(), "/Terminal/terminateTerminalSession");
}

#[test]
fn unknown_fields_and_blobs_are_counted() {
    let mut events = Events::new();
    events.read(&event(r#"{"event":"data","params":{"terminalSessionId":"t"}}"#, &[b"x"])).unwrap();
    assert_eq!(events.ignored_fields(), 0);
    let json = r#"{"event":"data","params":{"terminalSessionId":"t","a":1},"b":{"c":[]}}"#;
    events.read(&event(json, &[b"x", b"y"])).unwrap();
    assert_eq!(events.ignored_fields(), 3);
    let json = r#"{"event":"exit","params":{"terminalSessionId":"t","reason":{"code":"unknown"},"a":1}}"#;
    events.read(&event(json, &[b"x"])).unwrap();
    assert_eq!(events.ignored_fields(), 5);
}

/// Pieces of the grammar in any order, between any bytes.
fn nearly_messages() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        &b"\x00\x00\x00\x00\x07"[..],
        b"\x01\x08Terminal",
        b"\x01\x05Debug",
        b"\x0d{\"result\":{}}",
        b"\x1e{\"error\":{\"code\":\"quota\"}}    ",
        b"\x34{\"event\":\"data\",\"params\":{\"terminalSessionId\":\"ts\"}}",
        b"{\"event\":\"exit\",\"params\":{",
        b"\xfd\x00\x02{}",
        b"\xfe\xff\xff\xff\xff",
        b"\xff\x80\x00\x00\x00\x00\x00\x00\x00",
        b"[[[[",
        b"\x02hi",
        b"\x00",
    ]);
    let piece = prop_oneof![4 => words.prop_map(<[u8]>::to_vec), 1 => prop::collection::vec(any::<u8>(), 0..12)];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_message_makes_the_reader_panic_or_invent_bytes(message in nearly_messages()) {
        if let Ok(Incoming::Data { bytes, .. }) = Events::new().read(&message) {
            let within = message.as_ptr_range();
            prop_assert!(bytes.is_empty() || within.contains(&bytes.as_ptr()));
        }
        let _ = read_body(&message);
    }

    #[test]
    fn output_of_interleaved_terminals_keeps_its_owner_and_order(
        pieces in prop::collection::vec(("[a-c\"\\\\é]{1,3}", prop::collection::vec(any::<u8>(), 0..300)), 0..12),
    ) {
        let mut events = Events::new();
        for (id, bytes) in &pieces {
            let id_json = serde_json::to_string(id).unwrap();
            let message = event(&format!(r#"{{"event":"data","params":{{"terminalSessionId":{id_json}}}}}"#), &[bytes]);
            let read = events.read(&message).unwrap();
            prop_assert_eq!(read, Incoming::Data { session: id.into(), bytes });
        }
    }

    /// A server that takes a call apart by the layout alone finds what was put in.
    #[test]
    fn a_call_carries_any_input_for_any_terminal(
        id in any::<String>(),
        key in any::<String>(),
        bytes in prop_oneof![
            9 => prop::collection::vec(any::<u8>(), 0..300),
            1 => prop::collection::vec(any::<u8>(), 65_530..65_540),
        ],
    ) {
        let (mut calls, mut out) = (Calls::new(&key), Outbox::new());
        let numbers = (calls.push(Call::Terminate(&id), &mut out), calls.push(Call::Write(&id, &bytes), &mut out));
        prop_assert_eq!(numbers, (0, 1));
        let message = out.iter().nth(1).unwrap().payload;
        let json_end = message.len() - bytes.len();
        prop_assert_eq!(&message[json_end..], &bytes[..]);
        let json_start = message.iter().position(|&byte| byte == b'{').unwrap();
        let mut head = vec![0, 0, 0, 1, 1];
        put_varint((json_end - json_start) as u64, &mut head);
        put_varint(bytes.len() as u64, &mut head);
        // A brace may be part of a length.
        if json_start == head.len() {
            prop_assert_eq!(&message[..json_start], &head[..]);
            let json: serde_json::Value = serde_json::from_slice(&message[json_start..json_end]).unwrap();
            prop_assert_eq!(&json["params"]["terminalSessionId"], &id);
            prop_assert_eq!(&json["apiKey"], &key);
            prop_assert_eq!(&json["method"], "writeToTerminalSession");
        }
    }
}

fn event(json: &str, blobs: &[&[u8]]) -> Vec<u8> {
    let mut message = b"\x01\x08Terminal".to_vec();
    for piece in [json.as_bytes()].into_iter().chain(blobs.iter().copied()) {
        put_varint(piece.len() as u64, &mut message);
        message.extend_from_slice(piece);
    }
    message
}

fn read(payload: &[u8]) -> Read {
    let mut bytes = String::new();
    let event = match Events::new().read(payload) {
        Ok(Incoming::Reply(id, reply)) => format!("reply {id} {}", reply_words(reply)),
        Ok(Incoming::Data { session, bytes: output }) => {
            bytes = show(output);
            format!("data {session}")
        }
        Ok(Incoming::Exit { session, reason }) => format!("exit {session} {}", reason_words(reason)),
        Ok(Incoming::Ignored) => "ignored".to_owned(),
        Err(bad) => format!("bad {bad}"),
    };
    Read { bytes, event, ..Read::default() }
}

fn reply_words(reply: Result<Reply, BadMessage>) -> String {
    match reply {
        Ok(Reply::Done(None)) => "done".to_owned(),
        Ok(Reply::Done(Some(id))) => format!("launched {id}"),
        Ok(Reply::Refused(refusal)) => {
            let parameter = refusal.parameter.map(|parameter| format!(" {parameter}")).unwrap_or_default();
            format!("{:?} {}{parameter}", refusal.code, refusal.word)
        }
        Err(bad) => format!("bad {bad}"),
    }
}

fn reason_words(reason: ExitReason) -> String {
    match reason {
        ExitReason::Process { code, signal, oom } => {
            format!("process {code:?} {signal:?}{}", if oom { " oom" } else { "" })
        }
        other => format!("{other:?}"),
    }
}

/// The one message, or body, of a call.
fn make(calls: &mut Calls, call: &str) -> Vec<u8> {
    let (body, call) = call.strip_prefix("body ").map_or((false, call), |call| (true, call));
    let mut words = call.splitn(3, ' ');
    let (method, first, rest) = (words.next().unwrap(), words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (launch, input) = (launch(rest == "everything"), unescape(rest));
    let call = match method {
        "launch" => Call::Launch(&launch, size(first)),
        "write" => Call::Write(first, &input),
        "resize" => Call::Resize(first, size(rest)),
        "subscribe" => Call::Subscribe(first),
        "terminate" => Call::Terminate(first),
        _ => panic!("no call {method:?}"),
    };
    if body {
        let mut out = Vec::new();
        call.body(&mut out);
        return out;
    }
    let mut out = Outbox::new();
    calls.push(call, &mut out);
    out.iter().next().unwrap().payload.to_vec()
}

fn launch(everything: bool) -> Launch {
    let persistent = ExecutionLocation::PersistentLauncher { persistent_launcher_id: "p".to_owned() };
    let spec = LauncherSpec {
        cpus: serde_json::from_str("0.5").unwrap(),
        memory_mebibytes: 512,
        disk_mebibytes: Some(1024),
        swap_mebibytes: Some(0),
        gpus: Some(Gpus { model: "L4".to_owned(), count: 1 }),
    };
    Launch {
        model_id: "m".to_owned(),
        execution_location: if everything { ExecutionLocation::TemporaryLauncher { spec } } else { persistent },
        add_filesystem_access: if everything { vec!["x".to_owned(), "y".to_owned()] } else { Vec::new() },
        terminate_after_inactive_seconds: everything.then_some(1800),
    }
}

fn size(text: &str) -> Size {
    let (cols, rows) = text.split_once('x').unwrap();
    Size::new(cols.parse().unwrap(), rows.parse().unwrap()).unwrap()
}
