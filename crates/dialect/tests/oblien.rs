//! Plays Oblien's transcript to its codec, and holds it against any bytes.
//!
//! Every event says which terminal it is of, which the other codecs' transcripts cannot; the lines are the same.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "the codec of many terminals is none of those that this module drives")]
mod transcript;

use polytty_dialect::oblien::{Event, MAX_INPUT, TerminalId, decode, input, resize};
use polytty_dialect::{Kind, Message, Outbox, Size};
use proptest::prelude::*;
use transcript::{Action, Read, parse, show, unescape};

const TRANSCRIPT: &str = include_str!("../transcripts/oblien.txt");

fn read(kind: Kind, payload: &[u8]) -> Read {
    let (bytes, event) = match decode(Message { kind, payload }) {
        Event::Output(id, bytes) => (show(bytes), format!("output {id}")),
        Event::Exit(id, exit) => (String::new(), format!("exit {id} {:?}", exit.code)),
        Event::Ignored => (String::new(), "ignored".to_owned()),
    };
    Read { bytes, event, ..Read::default() }
}

fn call(call: &str) -> Vec<(Kind, Vec<u8>)> {
    let mut out = Outbox::new();
    let mut words = call.splitn(3, ' ');
    let (name, id) = (words.next().unwrap(), TerminalId::parse(words.next().unwrap()).unwrap());
    let rest = words.next().unwrap_or_default();
    match name {
        "input" => input(id, &unescape(rest), &mut out),
        "resize" => {
            let (cols, rows) = rest.split_once('x').unwrap();
            resize(id, Size::new(cols.parse().unwrap(), rows.parse().unwrap()).unwrap(), &mut out);
        }
        _ => panic!("no call {call:?}"),
    }
    out.iter().map(|message| (message.kind, message.payload.to_vec())).collect()
}

#[test]
fn the_transcript_holds() {
    let transcript = parse(TRANSCRIPT);
    assert_eq!(transcript.codec, "multiplexed oblien");
    for step in &transcript.steps {
        match &step.action {
            Action::Read { kind, payload, expected } => {
                assert_eq!(&read(*kind, payload), expected, "line {}", step.line);
            }
            Action::Call { call, sent, .. } => assert_eq!(&self::call(call), sent, "line {}", step.line),
        }
    }
}

/// Text that is cut short is nothing; of binary messages, what is there is output of the same terminal.
#[test]
fn every_message_cut_short_is_what_is_left_of_it() {
    for step in &parse(TRANSCRIPT).steps {
        let Action::Read { kind, payload, .. } = &step.action else { continue };
        for len in 0..payload.len() {
            let cut = read(*kind, &payload[..len]);
            match kind {
                Kind::Text => assert_eq!(cut.event, "ignored", "line {}, {len} bytes", step.line),
                Kind::Binary if len < 2 => assert_eq!(cut.event, "ignored"),
                Kind::Binary => {
                    assert_eq!((cut.bytes, cut.event), (show(&payload[1..len]), format!("output {}", payload[0])));
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn no_message_makes_the_codec_panic(kind in prop_oneof![Just(Kind::Text), Just(Kind::Binary)], payload in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Event::Output(id, bytes) = decode(Message { kind, payload: &payload }) {
            prop_assert!(kind == Kind::Binary && !bytes.is_empty());
            prop_assert_eq!((id.byte(), bytes), (payload[0], &payload[1..]));
        }
    }

    #[test]
    fn near_misses_of_an_exit_are_an_exit_or_nothing(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "\"channel\":", "\"terminal\"", "\"watcher\"", ",", "\"type\":", "\"exit\"", "\"id\":", "\"1\"", "1",
            "\"code\":", "0", "null", "[", "]", "-", "1e3", "\"\\ud800\"", " ",
        ]), 0..14),
    ) {
        let text = pieces.concat();
        let read = decode(Message::text(&text));
        if let Event::Exit(id, exit) = read {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&value["type"], "exit");
            let spelled = value["id"].to_string();
            prop_assert_eq!(id.to_string(), spelled.trim_matches('"'));
            if let Some(code) = exit.code {
                prop_assert_eq!(Some(f64::from(code)), value["code"].as_f64());
            }
        }
    }

    /// Whatever several terminals are typed into, in whatever order, each gets its own bytes in order.
    #[test]
    fn interleaved_input_arrives_at_its_terminal(
        typed in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40), 1..700_usize), 0..12),
    ) {
        let mut out = Outbox::new();
        let mut expected = std::collections::BTreeMap::<u8, Vec<u8>>::new();
        for (id, bytes, times) in &typed {
            let bytes = bytes.repeat(*times);
            input(TerminalId::new(*id), &bytes, &mut out);
            if !bytes.is_empty() {
                expected.entry(*id).or_default().extend(bytes);
            }
        }
        let mut arrived = std::collections::BTreeMap::<u8, Vec<u8>>::new();
        for message in out.iter() {
            prop_assert!(message.payload.len() <= 1 + MAX_INPUT);
            // The two directions have the same form.
            let Event::Output(id, bytes) = decode(message) else { panic!("an empty message") };
            arrived.entry(id.byte()).or_default().extend(bytes);
        }
        prop_assert_eq!(arrived, expected);
    }
}

/// Once the buffer has grown to what a turn needs, translating takes no more memory.
#[test]
fn a_steady_stream_grows_no_buffer() {
    let (mut out, typed) = (Outbox::new(), vec![b'x'; 64 << 10]);
    let mut grown = None;
    for turn in 0..20 {
        input(TerminalId::new(1), &typed, &mut out);
        resize(TerminalId::new(1), Size::DEFAULT, &mut out);
        assert_eq!(*grown.get_or_insert(out.capacity()), out.capacity(), "turn {turn}");
        out.clear();
    }
}
