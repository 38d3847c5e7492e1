//! Events as they go over the wire, and those that faults demand.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::{
    encoding::{event, event_of, put_varint},
    terminal::data_event,
};
use crate::{
    Fault,
    web::{CHUNK, Samples, Wire},
};

/// The id of a terminal that never is.
const NOBODY: &str = "nobody";
/// Output in an event that travels as text: little enough for each length to be a byte of ASCII.
const TEXT_CHUNK: usize = 100;

/// A `data` event for a terminal that does not exist. It is what comes with the 101 if a fault demands an early frame.
pub(super) fn unknown_terminal() -> Vec<u8> {
    event(&data_event(NOBODY), Some(b"early\r\n"))
}

/// How the next `data` event is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Usual,
    /// In a text message, if its output is text.
    Text,
    /// With lengths of nine bytes.
    Long,
}

impl Form {
    /// Bytes of output that it may carry.
    pub(super) fn limit(self) -> usize {
        if self == Self::Text { TEXT_CHUNK } else { CHUNK }
    }

    /// Makes the event, and is the usual form again.
    pub(super) fn message(&mut self, json: &[u8], output: &[u8]) -> Message {
        let usual = event(json, Some(output));
        match self {
            Self::Usual => Message::binary(usual),
            Self::Text => match String::from_utf8(usual) {
                Ok(text) => {
                    *self = Self::Usual;
                    Message::text(text)
                }
                Err(error) => Message::binary(error.into_bytes()),
            },
            Self::Long => {
                *self = Self::Usual;
                let mut bytes = event_head();
                for part in [json, output] {
                    bytes.push(0xFF);
                    bytes.extend((part.len() as u64).to_be_bytes());
                    bytes.extend_from_slice(part);
                }
                Message::binary(bytes)
            }
        }
    }
}

/// What events begin with, before their lengths.
fn event_head() -> Vec<u8> {
    let mut bare = event(b"", None);
    // The length of the JSON, which is one byte.
    bare.pop();
    bare
}

/// Samples for the faults of one connection: they concern the terminal that has spoken last.
#[derive(Debug, Default)]
pub(super) struct Events(Mutex<Option<Bytes>>);

impl Events {
    /// A terminal speaks, whose `data` events have this JSON.
    pub(super) fn said(&self, json: &Bytes) {
        *self.lock() = Some(json.clone());
    }

    /// The message that a fault of this kind's own demands.
    pub(super) fn spoilt(&self, fault: &Fault) -> Message {
        let json = self.json();
        let bytes = match fault {
            Fault::EventUnknownApi { .. } => event_of("Weather", &json, Some(b"unknown api\r\n")),
            Fault::EventUnknownTerminal { .. } => unknown_terminal(),
            Fault::EventTruncated { .. } => {
                let mut bytes = event(&json, Some(b"truncated\r\n"));
                bytes.truncate(bytes.len() / 2);
                bytes
            }
            Fault::EventHostileLength { length, .. } => {
                let mut bytes = event(&json, None);
                put_varint(*length, &mut bytes);
                bytes.extend(b"hostile\r\n");
                bytes
            }
            // Of those that get here only the one without a blob is left.
            _ => event(&json, None),
        };
        Message::binary(bytes)
    }

    fn json(&self) -> Bytes {
        self.lock().clone().unwrap_or_else(|| data_event(NOBODY))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Samples for Events {
    fn wire(&self) -> Wire {
        Wire::Binary
    }

    fn output(&self, data: &str) -> Vec<u8> {
        event(&self.json(), Some(data.as_bytes()))
    }

    fn around(&self, size: u64) -> (Vec<u8>, Vec<u8>) {
        let mut head = event(&self.json(), None);
        let room = size.saturating_sub(head.len() as u64);
        // The blob's own length takes 1, 3, 5 or 9 bytes: as many as say what is left behind them.
        for length in [1, 3, 5] {
            let mut bytes = head.clone();
            put_varint(room.saturating_sub(length), &mut bytes);
            if bytes.len() as u64 == head.len() as u64 + length {
                return (bytes, Vec::new());
            }
        }
        // A few sizes between the forms, and those beyond them, need the longest.
        head.push(0xFF);
        head.extend(room.saturating_sub(9).to_be_bytes());
        (head, Vec::new())
    }

    fn garbage(&self) -> Message {
        Message::binary(&b"\x07this is neither a reply nor an event"[..])
    }

    fn unknown(&self) -> Message {
        let json = String::from_utf8_lossy(&self.json()).replace("\"event\":\"data\"", "\"event\":\"toast\"");
        Message::binary(event(json.as_bytes(), Some(b"unknown event\r\n")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oversized_event_has_the_size_that_is_demanded() {
        let events = Events::default();
        let head = event(&data_event(NOBODY), None).len() as u64;
        for (size, length) in [
            (head + 1, 1),
            (head + 253, 1),
            // 253 bytes in one byte are too many, and 251 in three too few.
            (head + 254, 9),
            (head + 256, 3),
            (head + 65_538, 3),
            (head + 65_541, 5),
            (16 * 1024 * 1024 + 1, 5),
            (1 << 33, 9),
        ] {
            let (before, after) = events.around(size);
            assert!(after.is_empty());
            let claim = &before[before.len() - length..];
            assert_eq!(before.len() as u64, head + length as u64, "{size}");
            let number = if length == 1 { claim } else { &claim[1..] };
            let claimed = number.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            assert_eq!(before.len() as u64 + claimed, size);
        }
    }

    #[test]
    fn an_event_has_its_unusual_form_once() {
        let json = data_event("t");
        let usual = event(&json, Some(b"hi"));
        let mut form = Form::Text;
        assert_eq!(form.message(&json, &[0xFF]), Message::binary(event(&json, Some(&[0xFF]))), "no text yet");
        assert_eq!(form.message(&json, b"hi"), Message::text(String::from_utf8(usual.clone()).unwrap()));
        assert_eq!(form.message(&json, b"hi"), Message::binary(usual.clone()));
        let mut form = Form::Long;
        let Message::Binary(long) = form.message(&json, b"hi") else { panic!() };
        assert_eq!(long.len(), usual.len() + 16);
        assert!(long.starts_with(b"\x01\x08Terminal\xff\0\0\0\0\0\0\0"));
        assert_eq!(form, Form::Usual);
    }
}
