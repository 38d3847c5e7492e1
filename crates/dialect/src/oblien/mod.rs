//! Oblien: all terminals of a workspace over one WebSocket, as oblien.com/docs "Terminal" and the npm package `oblien`
//! have it.
//!
//! A binary message is one byte that says which terminal, then terminal bytes. The byte is the *number* that the
//! terminal's id spells: `"1"` is 0x01, not 0x31. A text message is a JSON object with a `channel` (`terminal` where it
//! is missing) and a `type`: `resize` up, `exit` down. Everything else is ignored, as the vendor's own client does:
//! other channels and types, what is no such object, and binary messages without a byte of output.
//!
//! On connecting, the server repeats what it has kept of each terminal, without a mark where that ends; [`Tail`] and
//! [`Replay`] find out what of it is new.

mod replay;

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use replay::{CERTAIN, MAX_HELD, MAX_UNFETCHED, Match, RING, Replay, Tail};

use crate::{Exit, Kind, Message, Outbox, Size};

/// The longest piece of input that goes into one message, in bytes. No limit is documented; this is well below the
/// 32 KiB at which usual WebSocket servers give up by default.
pub const MAX_INPUT: usize = 16 * 1024;

/// Which terminal of a workspace: a number that the API spells in decimal and the wire as one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TerminalId(u8);

impl TerminalId {
    /// The id with this byte on the wire.
    #[must_use]
    pub const fn new(byte: u8) -> Self {
        Self(byte)
    }

    /// Reads the API's spelling; `None` for anything but a decimal number from 0 to 255 without sign and leading zeros,
    /// since no other id has a byte of its own.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        text.parse().ok().filter(|_| is_plain).map(Self)
    }

    /// Its byte on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self.0
    }
}

impl fmt::Display for TerminalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a message of the server meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Output of a terminal; at least one byte.
    Output(TerminalId, &'a [u8]),
    /// A terminal's process has ended, now or some time ago.
    Exit(TerminalId, Exit),
    /// Nothing that concerns a terminal. It is counted, and nothing else happens.
    Ignored,
}

/// Reads one message of the server. Copies nothing; the bytes of [`Event::Output`] are the message's.
#[must_use]
pub fn decode(message: Message<'_>) -> Event<'_> {
    match (message.kind, message.payload) {
        (Kind::Binary, [id, output @ ..]) if !output.is_empty() => Event::Output(TerminalId(*id), output),
        (Kind::Binary, _) => Event::Ignored,
        (Kind::Text, payload) => control(payload).unwrap_or(Event::Ignored),
    }
}

/// Appends input for a terminal, in messages of at most [`MAX_INPUT`] bytes of it.
pub fn input(id: TerminalId, bytes: &[u8], out: &mut Outbox) {
    for piece in bytes.chunks(MAX_INPUT) {
        out.message(Kind::Binary, |payload| {
            payload.push(id.0);
            payload.extend_from_slice(piece);
        });
    }
}

/// Appends a terminal's new size.
pub fn resize(id: TerminalId, size: Size, out: &mut Outbox) {
    let (cols, rows) = (size.cols(), size.rows());
    out.message(Kind::Text, |payload| {
        // Writing to a vector cannot fail.
        let _ = write!(payload, r#"{{"channel":"terminal","type":"resize","id":"{id}","cols":{cols},"rows":{rows}}}"#);
    });
}

/// Watchers of files report over the same connection, and often.
const WATCHER: &[u8] = br#"{"channel":"watcher""#;

fn control(payload: &[u8]) -> Option<Event<'_>> {
    #[derive(Deserialize)]
    struct Control<'a> {
        #[serde(borrow)]
        channel: Option<Cow<'a, str>>,
        #[serde(borrow, rename = "type")]
        kind: Option<Cow<'a, str>>,
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        #[serde(borrow)]
        code: Option<&'a RawValue>,
    }

    if payload.starts_with(WATCHER) {
        return None;
    }
    // As a sequence, serde would read an array of these fields, too.
    if !payload.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let control: Control<'_> = serde_json::from_slice(payload).ok()?;
    if control.channel.is_some_and(|channel| channel != "terminal") || control.kind? != "exit" {
        return None;
    }
    // The documents have ids as strings; an official client writes them as numbers.
    let id = control.id?.get();
    let id = id.strip_prefix('"').and_then(|id| id.strip_suffix('"')).unwrap_or(id);
    let code = control.code.and_then(|code| code.get().parse().ok());
    Some(Event::Exit(TerminalId::parse(id)?, Exit { code, ..Exit::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_number_with_one_spelling() {
        for byte in 0..=255 {
            let id = TerminalId::new(byte);
            assert_eq!(TerminalId::parse(&id.to_string()), Some(id));
            assert_eq!(id.byte(), byte);
        }
        for text in ["", "00", "01", "+1", "-1", "256", "257", "1.0", "1 ", " 1", "0x1", "sess_def456", "١"] {
            assert_eq!(TerminalId::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn input_is_cut_at_the_limit_and_not_before() {
        for (len, messages) in [(0, 0), (1, 1), (MAX_INPUT, 1), (MAX_INPUT + 1, 2), (2 * MAX_INPUT, 2)] {
            let mut out = Outbox::new();
            input(TerminalId(7), &vec![b'x'; len], &mut out);
            assert_eq!(out.len(), messages, "{len}");
            assert!(out.iter().all(|message| message.payload[0] == 7 && message.payload.len() <= MAX_INPUT + 1));
            assert_eq!(out.payload_len(), len + messages);
        }
    }
}
