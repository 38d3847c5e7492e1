//! Plays the transcripts to the codecs: whole, cut short, and split.
#![allow(clippy::unwrap_used)]

mod transcript;

use polytty_dialect::Kind;
use transcript::{ALL, Action, Codec, Transcript, parse, show, unescape};

#[test]
fn every_transcript_holds() {
    for (file, text) in ALL {
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
                    assert_eq!(readable(&messages), readable(sent), "{file}, line {line}");
                    assert_eq!(answer, *returned, "{file}, line {line}");
                }
            }
        }
    }
}

/// A message cut short is an error that leaves no trace: nothing is appended, and the whole message is then read as if
/// nothing had happened. Where every byte is input, what is there of it is input.
#[test]
fn every_message_cut_short_leaves_no_trace() {
    for (file, text) in ALL {
        let transcript = parse(text);
        for (at, step) in transcript.steps.iter().enumerate() {
            let Action::Read { kind, payload, expected } = &step.action else { continue };
            for len in 0..payload.len() {
                let place = format!("{file}, line {}, {len} of {} bytes", step.line, payload.len());
                let mut codec = after(&transcript, at);
                let read = codec.read(*kind, &payload[..len]);
                let is_json = *kind == Kind::Text && file != "raw";
                if read.event.starts_with("bad ") {
                    assert_eq!(read.bytes, "", "{place}");
                    assert_eq!(&codec.read(*kind, payload), expected, "{place}, then the whole");
                } else if is_json {
                    // Only white space was cut off, or the message has more than one value.
                    assert!(serde_json::from_slice::<serde_json::Value>(&payload[..len]).is_ok(), "{place}");
                } else {
                    assert!(read.bytes.ends_with(&show(&payload[..len])), "{place}: {}", read.bytes);
                }
            }
        }
    }
}

/// All terminal bytes that a transcript sends, in two pieces cut at any place, or one by one.
#[test]
fn where_terminal_bytes_are_split_makes_no_difference() {
    for (file, text) in ALL {
        let transcript = parse(text);
        let calls = transcript.steps.iter().filter_map(|step| match &step.action {
            Action::Call { call, .. } => call.strip_prefix("output ").or(call.strip_prefix("input ")),
            Action::Read { .. } => None,
        });
        // A first byte in the end, so that something is carried that never gets its rest.
        let bytes = [calls.flat_map(unescape).collect(), vec![b'.', 0xe2]].concat();
        let is_text = file.starts_with("operation");
        let whole = if is_text { String::from_utf8_lossy(&bytes).into_owned().into_bytes() } else { bytes.clone() };
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_arrives(&transcript, &[head, tail], &whole, &format!("{file}, cut at {cut}"));
        }
        assert_arrives(&transcript, &bytes.chunks(1).collect::<Vec<_>>(), &whole, &format!("{file}, byte by byte"));
    }
}

fn assert_arrives(transcript: &Transcript, pieces: &[&[u8]], whole: &[u8], place: &str) {
    let mut codec = Codec::new(&transcript.codec);
    let is_client = matches!(codec, Codec::Client(_));
    let call = if is_client { "output" } else { "input" };
    let mut messages = Vec::new();
    for piece in pieces {
        messages.extend(codec.call(&format!("{call} {}", show(piece))).0);
    }
    let mut bytes = messages.iter().flat_map(|(kind, payload)| terminal_bytes(*kind, payload)).collect::<Vec<_>>();
    if is_client {
        bytes.extend(codec.call("finish").0.iter().flat_map(|(kind, payload)| terminal_bytes(*kind, payload)));
    } else {
        // Upstream an unfinished character waits for ever.
        bytes.extend("\u{fffd}".bytes());
    }
    assert_eq!(show(&bytes), show(whole), "{place}");
    assert!(
        messages.iter().all(|(kind, payload)| !terminal_bytes(*kind, payload).is_empty()),
        "{place}: empty message"
    );
}

/// What a message shows, as any JSON parser would read it.
fn terminal_bytes(kind: Kind, payload: &[u8]) -> Vec<u8> {
    match kind {
        Kind::Binary => payload.to_vec(),
        Kind::Text => {
            let object: serde_json::Value = serde_json::from_slice(payload).unwrap();
            object["data"].as_str().unwrap().as_bytes().to_vec()
        }
    }
}

/// The codec as it is when step `at` begins.
fn after(transcript: &Transcript, at: usize) -> Codec {
    let mut codec = Codec::new(&transcript.codec);
    codec.play(&transcript.steps[..at]);
    codec
}

fn readable(messages: &[(Kind, Vec<u8>)]) -> Vec<(Kind, String)> {
    messages.iter().map(|(kind, payload)| (*kind, show(payload))).collect()
}
