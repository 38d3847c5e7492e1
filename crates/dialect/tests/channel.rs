//! The channel framings: their transcripts, every cut, and what holds for all bytes.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod transcript;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use polytty_dialect::channel::{Channel, Framing, MAX_MESSAGE, ResizeMode};
use polytty_dialect::{Kind, Message, Outbox, Size, UpstreamDialect, UpstreamEvent};
use proptest::prelude::*;
use proptest::sample::Index;
use transcript::{Action, Codec, parse, show};

const TRANSCRIPTS: [(&str, &str); 5] = [
    ("channel", include_str!("../transcripts/channel.txt")),
    ("channel_no_tty", include_str!("../transcripts/channel_no_tty.txt")),
    ("channel_v4", include_str!("../transcripts/channel_v4.txt")),
    ("channel_v5", include_str!("../transcripts/channel_v5.txt")),
    ("channel_base64", include_str!("../transcripts/channel_base64.txt")),
];

const SUBPROTOCOLS: [Option<&str>; 6] = [
    None,
    Some("channel.k8s.io"),
    Some("base64.channel.k8s.io"),
    Some("v4.channel.k8s.io"),
    Some("v4.base64.channel.k8s.io"),
    Some("v5.channel.k8s.io"),
];

fn codec(subprotocol: Option<&str>, tty: bool) -> Channel {
    Channel::new(Framing::of_subprotocol(subprotocol).unwrap(), tty, ResizeMode::K8s4)
}

/// A message of the server, in either form.
fn framed(base64: bool, channel: u8, payload: &[u8]) -> (Kind, Vec<u8>) {
    match base64 {
        true => (Kind::Text, format!("{channel}{}", BASE64.encode(payload)).into_bytes()),
        false => (Kind::Binary, [&[channel], payload].concat()),
    }
}

/// A message of ours taken apart.
fn unframed(message: Message<'_>) -> (u8, Vec<u8>) {
    let (channel, payload) = message.payload.split_first().unwrap();
    match message.kind {
        Kind::Text => (channel - b'0', BASE64.decode(payload).unwrap()),
        Kind::Binary => (*channel, payload.to_vec()),
    }
}

fn read(codec: &mut Channel, (kind, payload): &(Kind, Vec<u8>), output: &mut Vec<u8>) -> UpstreamEvent {
    codec.decode(Message { kind: *kind, payload }, output).unwrap()
}

#[test]
fn every_transcript_holds() {
    for (file, text) in TRANSCRIPTS {
        let transcript = parse(text);
        let mut codec = Codec::new(&transcript.codec);
        for step in &transcript.steps {
            let line = step.line;
            match &step.action {
                Action::Read { kind, payload, expected } => {
                    assert_eq!(&codec.read(*kind, payload), expected, "{file}, line {line}");
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

/// A message cut short shows what is there of it, or is refused and shows nothing.
#[test]
fn every_message_cut_short_shows_no_more_than_is_there() {
    for (file, text) in TRANSCRIPTS {
        let transcript = parse(text);
        for (at, step) in transcript.steps.iter().enumerate() {
            let Action::Read { kind, payload, expected } = &step.action else { continue };
            for len in 0..payload.len() {
                let mut codec = Codec::new(&transcript.codec);
                codec.play(&transcript.steps[..at]);
                let cut = codec.read(*kind, &payload[..len]);
                let place = format!("{file}, line {}, {len} of {} bytes", step.line, payload.len());
                if cut.event.starts_with("bad ") {
                    assert_eq!(cut.bytes, "", "{place}");
                    assert_eq!(&codec.read(*kind, payload), expected, "{place}, then the whole");
                } else if cut.verdict.is_empty() {
                    let is_base64 = *kind == Kind::Text && file == "channel_base64";
                    let first = usize::from(*kind == Kind::Binary || is_base64);
                    let shown = if is_base64 {
                        show(&BASE64.decode(payload[..len].get(first..).unwrap_or_default()).unwrap())
                    } else {
                        show(payload[..len].get(first..).unwrap_or_default())
                    };
                    // Without a TTY line ends have grown; nothing else has changed.
                    let plain = |text: &str| text.replace("<0d>", "");
                    assert!(cut.bytes.is_empty() || plain(&cut.bytes) == plain(&shown), "{place}: {}", cut.bytes);
                }
            }
        }
    }
}

#[test]
fn a_message_is_cut_at_the_limit_and_not_before() {
    for subprotocol in SUBPROTOCOLS {
        let mut codec = codec(subprotocol, true);
        let base64 = Framing::of_subprotocol(subprotocol).unwrap().is_base64();
        let fit = if base64 { (MAX_MESSAGE - 1) / 4 * 3 } else { MAX_MESSAGE - 1 };
        for (len, messages) in [(1, 1), (fit, 1), (fit + 1, 2), (2 * fit, 2), (2 * fit + 1, 3)] {
            let mut out = Outbox::new();
            codec.input(&vec![b'x'; len], &mut out);
            assert_eq!(out.len(), messages, "{subprotocol:?}, {len}");
            assert!(out.iter().all(|message| message.payload.len() <= MAX_MESSAGE));
            assert_eq!(unframed(out.iter().next().unwrap()).1.len(), len.min(fit));
        }
    }
}

#[test]
fn a_subprotocol_that_is_none_has_no_framing() {
    for name in ["", "v6.channel.k8s.io", "v5.base64.channel.k8s.io", "V4.CHANNEL.K8S.IO", "polytty.v1"] {
        assert_eq!(Framing::of_subprotocol(Some(name)), None, "{name:?}");
    }
}

/// Once the buffers have grown to what a turn needs, translating takes no more memory.
#[test]
fn a_steady_stream_grows_no_buffer() {
    let line = "\x1b[01;34mdirectory\x1b[0m  Wörter 漢字 😀\n".repeat(30);
    for (subprotocol, tty) in SUBPROTOCOLS.into_iter().flat_map(|name| [(name, true), (name, false)]) {
        let mut codec = codec(subprotocol, tty);
        let base64 = Framing::of_subprotocol(subprotocol).unwrap().is_base64();
        let message = framed(base64, 1, line.as_bytes());
        let (mut out, mut output, mut grown) = (Outbox::new(), Vec::new(), None);
        for turn in 0..50 {
            for _ in 0..40 {
                read(&mut codec, &message, &mut output);
                codec.input(line.as_bytes(), &mut out);
            }
            codec.resize(Size::DEFAULT, &mut out);
            let capacities = (out.capacity(), output.capacity());
            assert_eq!(*grown.get_or_insert(capacities), capacities, "{subprotocol:?}, turn {turn}");
            out.clear();
            output.clear();
        }
    }
}

/// Cuts bytes at any places.
fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Bytes in which line ends are frequent.
fn terminal_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![2 => Just(b'\n'), 2 => Just(b'\r'), 5 => any::<u8>()], 0..200)
}

fn subprotocol() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(SUBPROTOCOLS.to_vec())
}

/// What a terminal needs that a pipe does not have: each line feed behind a carriage return.
fn with_returns(bytes: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    for &byte in bytes {
        if byte == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(byte);
    }
    out
}

proptest! {
    #[test]
    fn output_arrives_as_it_was_or_with_its_line_ends(
        bytes in terminal_bytes(),
        cuts in prop::collection::vec(any::<Index>(), 0..5),
        channels in prop::collection::vec(1..3_u8, 6),
        (subprotocol, tty) in (subprotocol(), any::<bool>()),
    ) {
        let mut codec = codec(subprotocol, tty);
        let base64 = Framing::of_subprotocol(subprotocol).unwrap().is_base64();
        let mut output = Vec::new();
        for (piece, channel) in pieces(&bytes, &cuts).iter().zip(channels) {
            prop_assert_eq!(read(&mut codec, &framed(base64, channel, piece), &mut output), UpstreamEvent::Output);
        }
        prop_assert_eq!(output, if tty { bytes } else { with_returns(&bytes) });
    }

    #[test]
    fn input_arrives_as_it_was_or_with_its_line_ends(
        bytes in terminal_bytes(),
        cuts in prop::collection::vec(any::<Index>(), 0..5),
        (subprotocol, tty) in (subprotocol(), any::<bool>()),
    ) {
        let (mut codec, mut out, mut arrived) = (codec(subprotocol, tty), Outbox::new(), Vec::new());
        for piece in pieces(&bytes, &cuts) {
            codec.input(piece, &mut out);
            codec.resize(Size::DEFAULT, &mut out);
        }
        for message in out.iter() {
            match unframed(message) {
                (0, payload) => arrived.extend(payload),
                (channel, payload) => prop_assert_eq!((channel, &payload[..]), (4, &br#"{"Width":80,"Height":24}"#[..])),
            }
        }
        let expected: Vec<u8> = match tty {
            true => bytes,
            false => bytes.iter().map(|&byte| if byte == b'\r' { b'\n' } else { byte }).collect(),
        };
        prop_assert_eq!(arrived, expected);
    }

    #[test]
    fn no_message_makes_the_codec_panic_and_a_bad_one_appends_nothing(
        messages in prop::collection::vec(
            (any::<bool>(), prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                "[0-9][A-Za-z0-9+/]{0,12}={0,2}".prop_map(String::into_bytes),
                "\u{3}\\{\"status\":\"(Success|Failure)\",\"details\":[\\[{}0-9]{0,6}\\}?".prop_map(String::into_bytes),
            ]),
            0..8,
        ),
        (subprotocol, tty) in (subprotocol(), any::<bool>()),
    ) {
        let (mut codec, mut output) = (codec(subprotocol, tty), Vec::new());
        for (is_text, payload) in &messages {
            let kind = if *is_text { Kind::Text } else { Kind::Binary };
            let had = output.len();
            let result = codec.decode(Message { kind, payload }, &mut output);
            // A line feed becomes two bytes; nothing becomes more.
            prop_assert!(output.len() - had <= 2 * payload.len());
            if result.is_err() {
                prop_assert_eq!(output.len(), had);
            }
        }
    }
}
