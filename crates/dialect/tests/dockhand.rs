//! Dockhand's messages: their transcripts, every cut, and what holds for all bytes.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod transcript;

use polytty_dialect::dockhand::{Dockhand, Form, MAX_MESSAGE, MAX_WORDS};
use polytty_dialect::{Kind, Message, Outbox, Size, UpstreamDialect, UpstreamEvent};
use proptest::prelude::*;
use proptest::sample::Index;
use transcript::{Action, Codec, parse};

const TRANSCRIPTS: [(&str, &str); 2] = [
    ("dockhand", include_str!("../transcripts/dockhand.txt")),
    ("dockhand_raw", include_str!("../transcripts/dockhand_raw.txt")),
];

#[test]
fn every_transcript_holds() {
    for (file, text) in TRANSCRIPTS {
        let transcript = parse(text);
        let mut codec = Codec::new(&transcript.codec);
        for step in &transcript.steps {
            let line = step.line;
            match &step.action {
                Action::Read { kind, payload, expected } => {
                    let mut read = codec.read(*kind, payload);
                    read.event = read.event.trim_end().to_owned();
                    assert_eq!(&read, expected, "{file}, line {line}");
                }
                Action::Call { call, sent, returned } => {
                    let (messages, answer) = codec.call(call);
                    assert_eq!(&messages, sent, "{file}, line {line}");
                    assert_eq!(answer, *returned, "{file}, line {line}");
                }
            }
        }
    }
}

/// Every message is refused until its last byte is there, and leaves no trace: the whole is then read as if nothing
/// had happened.
#[test]
fn every_message_cut_short_leaves_no_trace() {
    let transcript = parse(TRANSCRIPTS[0].1);
    for (at, step) in transcript.steps.iter().enumerate() {
        let Action::Read { kind, payload, expected } = &step.action else { continue };
        for len in 0..payload.len() {
            let mut codec = Codec::new(&transcript.codec);
            codec.play(&transcript.steps[..at]);
            let place = format!("line {}, {len} of {} bytes", step.line, payload.len());
            let cut = codec.read(*kind, &payload[..len]);
            assert!(cut.event.starts_with("bad ") && cut.bytes.is_empty(), "{place}: {cut:?}");
            let whole = codec.read(*kind, payload);
            assert_eq!((&whole.bytes, whole.event.trim_end()), (&expected.bytes, expected.event.as_str()), "{place}");
        }
    }
}

/// The serialized length is what counts: a control character is six bytes of it.
#[test]
fn input_is_cut_at_the_limit_and_not_before() {
    let frame = r#"{"type":"input","data":""}"#.len();
    for (unit, escaped) in [("x", 1), ("\r", 2), ("\x1b", 6), ("é", 2), ("😀", 4)] {
        let fit = (MAX_MESSAGE - frame) / escaped;
        for (count, messages) in [(fit, 1), (fit + 1, 2), (2 * fit, 2), (2 * fit + 1, 3)] {
            let (mut codec, mut out) = (Dockhand::new(Form::Json), Outbox::new());
            codec.input(unit.repeat(count).as_bytes(), &mut out);
            assert_eq!(out.len(), messages, "{count} times {unit:?}");
            assert_eq!(out.iter().next().unwrap().payload.len(), frame + fit.min(count) * escaped);
        }
    }
    for (len, messages) in [(MAX_MESSAGE, 1), (MAX_MESSAGE + 1, 2)] {
        let (mut codec, mut out) = (Dockhand::new(Form::Raw), Outbox::new());
        codec.input(&vec![b'x'; len], &mut out);
        assert_eq!(out.len(), messages);
    }
}

#[test]
fn words_are_kept_up_to_their_limit() {
    for (len, kept) in [(MAX_WORDS, MAX_WORDS), (MAX_WORDS + 1, MAX_WORDS)] {
        let message = format!(r#"{{"type":"error","message":"{}"}}"#, "x".repeat(len));
        match Dockhand::new(Form::Json).decode(Message::text(&message), &mut Vec::new()) {
            Ok(UpstreamEvent::Failed(words)) => assert_eq!(words.len(), kept),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn unknown_fields_are_counted_and_messages_that_are_ignored_are_not() {
    let mut codec = Dockhand::new(Form::Json);
    let mut read = |text: &str| {
        codec.decode(Message::text(text), &mut Vec::new()).unwrap();
        codec.ignored_fields()
    };
    assert_eq!(read(r#"{"type":"output","data":"x"}"#), 0);
    assert_eq!(read(r#"{"type":"output","data":"x","message":1,"shape":{}}"#), 2);
    assert_eq!(read(r#"{"type":"exit","code":0}"#), 3);
    assert_eq!(read(r#"{"type":"pong","colour":1}"#), 3);
}

/// As many fields as a message has room for, before, between and behind those that count.
#[test]
fn any_number_of_unknown_fields_is_counted_and_the_last_of_a_field_that_comes_twice_counts() {
    let many: String = (0..100_000).map(|n| format!(r#""f{n}":[{{}}],"#)).collect();
    let message = format!(r#"{{{many}"data":"a","type":"pong",{many}"type":"output","\u0064ata":"b",{many}"x":1}}"#);
    let (mut codec, mut output) = (Dockhand::new(Form::Json), Vec::new());
    assert_eq!(codec.decode(Message::text(&message), &mut output), Ok(UpstreamEvent::Output));
    assert_eq!((output.as_slice(), codec.ignored_fields()), (&b"b"[..], 300_001));
    let nested = format!(r#"{{"x":{}{},"type":"exit"}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(codec.decode(Message::text(&nested), &mut output), Ok(UpstreamEvent::Exit(_))));
}

#[test]
fn a_steady_stream_grows_no_buffer() {
    let line = "\x1b[01;34mdirectory\x1b[0m  Wörter 漢字 😀\r\n".repeat(30);
    let message = serde_json::json!({"type": "output", "data": line}).to_string();
    // In the server's order of fields.
    let message = format!(r#"{{"type":"output","data":{}"#, &message[message.find(":\"").unwrap() + 1..]);
    let message = message.replace(r#","type":"output"}"#, "}");
    let (mut codec, mut out, mut output, mut grown) = (Dockhand::new(Form::Json), Outbox::new(), Vec::new(), None);
    for turn in 0..50 {
        for _ in 0..40 {
            assert_eq!(codec.decode(Message::text(&message), &mut output), Ok(UpstreamEvent::Output));
            codec.input(line.as_bytes(), &mut out);
        }
        assert_eq!(output.len(), 40 * line.len());
        let capacities = (out.capacity(), output.capacity());
        assert_eq!(*grown.get_or_insert(capacities), capacities, "turn {turn}");
        out.clear();
        output.clear();
    }
}

fn terminal_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[ -~]{0,12}".prop_map(String::into_bytes),
        3 => "[\u{0}-\u{1f}\"\\\\]{1,4}".prop_map(String::into_bytes),
        2 => "\\PC{1,4}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Pieces of the grammar in any order, between any bytes.
fn nearly_messages() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        r#"{"type":"output","data":""#,
        r#"{"type":"error","message":""#,
        r#"{"type":"exit"}"#,
        r#"{"type":"#,
        r#","data":"#,
        r#""}"#,
        "\"",
        "\\",
        "}",
        "[[[[",
        "null",
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

proptest! {
    #[test]
    fn input_arrives_as_the_lossy_whole_between_any_resizes(
        bytes in terminal_bytes(), times in 1..40_usize, cuts in prop::collection::vec(any::<Index>(), 0..5),
    ) {
        let bytes = bytes.repeat(times);
        let (mut codec, mut out, mut arrived) = (Dockhand::new(Form::Json), Outbox::new(), String::new());
        for piece in pieces(&bytes, &cuts) {
            codec.input(piece, &mut out);
            codec.resize(Size::DEFAULT, &mut out);
        }
        for message in out.iter() {
            prop_assert!(message.kind == Kind::Text && message.payload.len() <= MAX_MESSAGE);
            let object: serde_json::Value = serde_json::from_slice(message.payload).unwrap();
            match object["type"].as_str() {
                Some("input") => arrived.push_str(object["data"].as_str().unwrap()),
                Some("resize") => prop_assert_eq!((&object["cols"], &object["rows"]), (&80.into(), &24.into())),
                other => panic!("{other:?}"),
            }
        }
        let whole = String::from_utf8_lossy(&bytes).into_owned();
        // Only a character without its end still waits.
        let rest = whole.strip_prefix(&arrived);
        prop_assert!(matches!(rest, Some("" | "\u{fffd}")), "{:?}", rest);
    }

    #[test]
    fn output_arrives_as_serde_json_spelled_it(texts in prop::collection::vec(any::<String>(), 0..5)) {
        let (mut codec, mut output) = (Dockhand::new(Form::Json), Vec::new());
        for text in &texts {
            let message = format!(r#"{{"type":"output","data":{}}}"#, serde_json::to_string(text).unwrap());
            prop_assert_eq!(codec.decode(Message::text(&message), &mut output), Ok(UpstreamEvent::Output));
        }
        prop_assert_eq!(output, texts.concat().into_bytes());
    }

    #[test]
    fn no_message_makes_the_codec_panic_and_a_bad_one_appends_nothing(
        messages in prop::collection::vec((any::<bool>(), nearly_messages()), 0..8),
    ) {
        for form in [Form::Json, Form::Raw] {
            let (mut codec, mut output) = (Dockhand::new(form), Vec::new());
            for (is_text, payload) in &messages {
                let had = output.len();
                let kind = if *is_text { Kind::Text } else { Kind::Binary };
                if codec.decode(Message { kind, payload }, &mut output).is_err() {
                    prop_assert_eq!(output.len(), had);
                }
            }
            prop_assert!(form == Form::Raw || String::from_utf8(output).is_ok());
        }
    }
}
