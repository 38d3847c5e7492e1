//! What holds for every codec and all bytes.
#![allow(clippy::unwrap_used)]

use polytty_dialect::operation::{MAX_MESSAGE, OperationClient, PaiDlc};
use polytty_dialect::polytty_v1::PolyttyV1;
use polytty_dialect::raw::Raw;
use polytty_dialect::{
    ClientDialect, ClientEvent, Code, Kind, Message, Outbox, ServerEvent, Size, UpstreamDialect, UpstreamEvent,
    client_dialect,
};
use proptest::prelude::*;
use proptest::sample::Index;

const CLIENTS: [&str; 3] = ["polytty.v1", "operation", "raw"];

/// Payloads that come near to something: pieces of the grammar in any order, between any bytes.
fn nearly_messages() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        r#"{"operation":"stdin","data":""#,
        r#"{"operation":"stdout","data":""#,
        r#""}"#,
        r#"","rows":0,"cols":0}"#,
        r#"{"operation":"#,
        r#""resize","cols":"#,
        r#","rows":"#,
        r#"{"operation":"ack","bytes":"#,
        r#"{"operation":"ping","id":"#,
        "\"",
        "\\",
        "}",
        "]",
        "[[[[",
        "null",
        "1e999",
        "-0",
        "18446744073709551616",
        r"\ud83d",
        r"\ude00",
        r"\u00",
        "é",
        " ",
    ]);
    let piece = prop_oneof![
        4 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Terminal bytes: mostly text, with what JSON escapes, and here and there what is no UTF-8.
fn terminal_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[ -~]{0,12}".prop_map(String::into_bytes),
        3 => "[\u{0}-\u{1f}\"\\\\]{1,4}".prop_map(String::into_bytes),
        2 => "\\PC{1,4}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Text), Just(Kind::Binary)]
}

/// Cuts bytes at any places.
fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn lossy(bytes: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(bytes).into_owned().into_bytes()
}

/// What a page of this kind shows, and that it is told nothing but output.
fn shown(client: &mut dyn ClientDialect, pieces: &[&[u8]]) -> Vec<u8> {
    let mut out = Outbox::new();
    pieces.iter().for_each(|piece| client.output(piece, &mut out));
    client.finish(&mut out);
    let mut bytes = Vec::new();
    for message in out.iter() {
        match message.kind {
            Kind::Binary => bytes.extend_from_slice(message.payload),
            Kind::Text => {
                let object: serde_json::Value = serde_json::from_slice(message.payload).unwrap();
                assert_eq!(object["operation"], "stdout");
                bytes.extend_from_slice(object["data"].as_str().unwrap().as_bytes());
            }
        }
    }
    bytes
}

proptest! {
    #[test]
    fn no_message_makes_a_codec_panic_and_a_bad_one_appends_nothing(
        messages in prop::collection::vec((kind(), nearly_messages()), 0..6),
    ) {
        for name in CLIENTS {
            let mut client = client_dialect(name).unwrap();
            let mut input = Vec::new();
            for (kind, payload) in &messages {
                let had = input.len();
                if client.decode(Message { kind: *kind, payload }, &mut input).is_err() {
                    prop_assert_eq!(input.len(), had);
                }
            }
        }
        let (mut upstream, mut output) = (PaiDlc::new(), Vec::new());
        for (kind, payload) in &messages {
            let had = output.len();
            if upstream.decode(Message { kind: *kind, payload }, &mut output).is_err() {
                prop_assert_eq!(output.len(), had);
            }
        }
        // All of it came in text messages.
        prop_assert!(String::from_utf8(output).is_ok());
    }

    #[test]
    fn output_arrives_as_it_was(bytes in terminal_bytes(), cuts in prop::collection::vec(any::<Index>(), 0..4)) {
        let pieces = pieces(&bytes, &cuts);
        prop_assert_eq!(&shown(&mut PolyttyV1::new(), &pieces), &bytes);
        prop_assert_eq!(&shown(&mut Raw::new(), &pieces), &bytes);
        prop_assert_eq!(shown(&mut OperationClient::new(), &pieces), lossy(&bytes));
    }

    #[test]
    fn input_arrives_as_it_was(bytes in terminal_bytes(), cuts in prop::collection::vec(any::<Index>(), 0..4)) {
        for name in CLIENTS {
            let mut client = client_dialect(name).unwrap();
            let mut input = Vec::new();
            for piece in pieces(&bytes, &cuts) {
                prop_assert_eq!(client.decode(Message::binary(piece), &mut input), Ok(ClientEvent::Input));
            }
            prop_assert_eq!(&input, &bytes);
        }
    }

    #[test]
    fn text_input_arrives_as_serde_json_spelled_it(text in any::<String>()) {
        let message = format!(r#"{{"operation":"stdin","data":{}}}"#, serde_json::to_string(&text).unwrap());
        for name in ["polytty.v1", "operation"] {
            let (mut client, mut input) = (client_dialect(name).unwrap(), Vec::new());
            prop_assert_eq!(client.decode(Message::text(&message), &mut input), Ok(ClientEvent::Input));
            prop_assert_eq!(input, text.as_bytes());
        }
    }

    /// Page → proxy → server → proxy → page, all in the same words: the server's face writes what the page's face
    /// reads, and the other way round.
    #[test]
    fn both_faces_of_operation_understand_each_other(
        bytes in terminal_bytes(), cuts in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        let (mut server, mut page) = (PaiDlc::new(), OperationClient::new());
        let (mut out, mut up, mut down) = (Outbox::new(), Vec::new(), Vec::new());
        pieces(&bytes, &cuts).iter().for_each(|piece| server.input(piece, &mut out));
        for message in out.iter() {
            prop_assert_eq!(OperationClient::new().decode(message, &mut up), Ok(ClientEvent::Input));
        }
        let whole = lossy(&bytes);
        if up != whole {
            // Only a character without its end still waits.
            up.extend("\u{fffd}".bytes());
        }
        prop_assert_eq!(up, &*whole);

        out.clear();
        pieces(&bytes, &cuts).iter().for_each(|piece| page.output(piece, &mut out));
        page.finish(&mut out);
        for message in out.iter() {
            prop_assert_eq!(server.decode(message, &mut down), Ok(UpstreamEvent::Output));
        }
        prop_assert_eq!(&down, &whole);
    }

    #[test]
    fn no_message_to_the_server_is_too_long(
        seed in terminal_bytes(), times in 1..400_usize, cuts in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        let bytes = seed.repeat(times);
        let (mut server, mut out) = (PaiDlc::new(), Outbox::new());
        pieces(&bytes, &cuts).iter().for_each(|piece| server.input(piece, &mut out));
        let mut read = Vec::new();
        for message in out.iter() {
            prop_assert!(message.payload.len() <= MAX_MESSAGE);
            OperationClient::new().decode(message, &mut read).unwrap();
        }
        prop_assert!(lossy(&bytes).starts_with(&read));
        prop_assert!(lossy(&bytes).len() - read.len() <= 3);
    }
}

/// The serialized length is what counts: a control character is six bytes of it.
#[test]
fn input_is_cut_at_the_limit_and_not_before() {
    let frame = r#"{"operation":"stdin","data":""}"#.len();
    for (unit, escaped) in [("x", 1), ("\r", 2), ("\x1b", 6), ("é", 2), ("😀", 4)] {
        let fit = (MAX_MESSAGE - frame) / escaped;
        for (count, messages) in [(fit, 1), (fit + 1, 2), (2 * fit, 2), (2 * fit + 1, 3)] {
            let (mut server, mut out) = (PaiDlc::new(), Outbox::new());
            server.input(unit.repeat(count).as_bytes(), &mut out);
            assert_eq!(out.len(), messages, "{count} times {unit:?}");
            assert_eq!(out.iter().next().unwrap().payload.len(), frame + fit.min(count) * escaped);
        }
    }
}

/// A frame of the usual spelling is read before anybody knows whether it is UTF-8.
#[test]
fn what_is_no_utf8_is_bad_at_any_place_of_a_usual_frame() {
    for at in 0..200 {
        let mut data = "漢字 \\r\\n".repeat(20).into_bytes();
        data.truncate(200);
        data[at] = 0xff;
        let stdin = [&br#"{"operation":"stdin","data":""#[..], &data, br#""}"#].concat();
        for name in ["polytty.v1", "operation"] {
            let (mut client, mut input) = (client_dialect(name).unwrap(), b"kept".to_vec());
            assert!(client.decode(Message { kind: Kind::Text, payload: &stdin }, &mut input).is_err(), "{name}, {at}");
            assert_eq!(input, b"kept", "{name}, {at}");
        }
        let stdout = [&br#"{"operation":"stdout","data":""#[..], &data, br#""}"#].concat();
        let mut output = b"kept".to_vec();
        assert!(PaiDlc::new().decode(Message { kind: Kind::Text, payload: &stdout }, &mut output).is_err(), "{at}");
        assert_eq!(output, b"kept", "{at}");
    }
}

/// However much is handed over at once, no single message of a text dialect grows without bound.
#[test]
fn much_output_at_once_becomes_several_messages() {
    let (mut page, mut out) = (OperationClient::new(), Outbox::new());
    page.output(&[0x1b; 1 << 20], &mut out);
    assert_eq!(out.len(), 16);
    assert!(out.iter().all(|message| message.payload.len() < 400 * 1024));
}

/// Once the buffers have grown to what a turn needs, translating takes no more memory.
#[test]
fn a_steady_stream_grows_no_buffer() {
    let output = "\x1b[01;34mdirectory\x1b[0m  Wörter 漢字 😀\r\n".repeat(300);
    let key = Message::text(r#"{"operation":"stdin","data":"\u001b[A"}"#);
    for name in CLIENTS {
        let (mut client, mut server) = (client_dialect(name).unwrap(), PaiDlc::new());
        let (mut to_client, mut to_server) = (Outbox::new(), Outbox::new());
        let (mut input, mut bytes) = (Vec::new(), Vec::new());
        let mut grown = None;
        for turn in 0..50 {
            for piece in output.as_bytes().chunks(1000) {
                client.output(piece, &mut to_client);
            }
            to_client.iter().filter(|message| message.kind == Kind::Text).for_each(|message| {
                server.decode(message, &mut bytes).unwrap();
            });
            client.decode(key, &mut input).unwrap();
            server.input(&input, &mut to_server);
            let capacities = (to_client.capacity(), to_server.capacity(), input.capacity(), bytes.capacity());
            assert_eq!(*grown.get_or_insert(capacities), capacities, "{name}, turn {turn}");
            to_client.clear();
            to_server.clear();
            input.clear();
            bytes.clear();
        }
    }
}

#[test]
fn unknown_fields_are_counted_and_messages_that_are_ignored_are_not() {
    let mut client = PolyttyV1::new();
    let mut input = Vec::new();
    let mut read = |text: &str| {
        client.decode(Message::text(text), &mut input).unwrap();
        client.ignored_fields()
    };
    assert_eq!(read(r#"{"operation":"stdin","data":"x"}"#), 0);
    assert_eq!(read(r#"{"operation":"stdin","data":"x","colour":1,"shape":{}}"#), 2);
    assert_eq!(read(r#"{"operation":"dance","colour":1}"#), 2);
    assert_eq!(read(r#"{"operation":"close","colour":1}"#), 3);
}

#[test]
fn only_the_normalized_dialect_can_say_close() {
    for (name, has_close, carried) in [("polytty.v1", true, 2), ("operation", false, 5), ("raw", false, 0)] {
        let client = client_dialect(name).unwrap();
        assert_eq!((client.has_close(), client.carried()), (has_close, carried), "{name}");
    }
}

/// Nothing of what is carried is lost by what comes in between.
#[test]
fn a_resize_does_not_disturb_a_character_on_its_way_to_the_server() {
    let (mut server, mut out) = (PaiDlc::new(), Outbox::new());
    server.input(b"\xe2\x82", &mut out);
    assert!(out.is_empty());
    assert!(server.resize(Size::DEFAULT, &mut out));
    server.input(b"\xac", &mut out);
    let messages: Vec<_> = out.iter().map(|message| std::str::from_utf8(message.payload).unwrap()).collect();
    assert_eq!(messages, [r#"{"operation":"resize","cols":80,"rows":24}"#, r#"{"operation":"stdin","data":"€"}"#,]);
}

#[test]
fn every_code_is_a_word_on_the_wire() {
    for code in Code::ALL {
        let (mut client, mut out) = (PolyttyV1::new(), Outbox::new());
        client.event(&ServerEvent::Error { code, message: "\"\x1b\u{2028}", last: true }, &mut out);
        let message: serde_json::Value = serde_json::from_slice(out.iter().next().unwrap().payload).unwrap();
        let expected = serde_json::json!(
            { "operation": "error", "code": code.slug(), "message": "\"\x1b\u{2028}", "final": true }
        );
        assert_eq!(message, expected);
    }
}

/// A frontend's author reads the page, not the code: every error code, with the close code that follows it.
#[test]
fn the_protocol_page_lists_every_code() {
    let page = include_str!("../../../docs/protocol.md");
    let rows = page.lines().filter(|line| line.starts_with("| `")).collect::<Vec<_>>();
    for code in Code::ALL {
        let row = format!("| `{}` | {} |", code.slug(), code.close());
        assert!(rows.iter().any(|line| line.starts_with(&row)), "{row}");
        let close = code.close().to_string();
        let is_explained = page.lines().any(|line| {
            let cell = line.strip_prefix("| ").and_then(|line| line.split(" | ").next());
            cell.is_some_and(|cell| cell.split(", ").any(|listed| listed == close))
        });
        assert!(is_explained, "{close}");
    }
}
