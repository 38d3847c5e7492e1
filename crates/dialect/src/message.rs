//! WebSocket messages as the codecs see them: a kind and a slice.

use crate::{BadMessage, utf8};

/// The two kinds of data message that RFC 6455 (section 5.6) knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

/// One whole WebSocket data message. A [`Kind::Text`] payload has been checked to be UTF-8 by the WebSocket layer;
/// a codec that is handed anything else answers with an error and never panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Text or binary.
    pub kind: Kind,
    /// The payload, unmasked and joined over fragments.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// A text message.
    #[must_use]
    pub fn text(payload: &'a str) -> Self {
        Self { kind: Kind::Text, payload: payload.as_bytes() }
    }

    /// A binary message.
    #[must_use]
    pub fn binary(payload: &'a [u8]) -> Self {
        Self { kind: Kind::Binary, payload }
    }

    /// The payload as text.
    pub(crate) fn as_str(self) -> Result<&'a str, BadMessage> {
        utf8::check(self.payload).map_err(|_| BadMessage { reason: "a text message must be UTF-8" })
    }
}

/// Room in front of each payload of an [`Outbox`], in bytes: the longest header of a WebSocket frame (RFC 6455, section 5.2).
pub const HEADROOM: usize = 14;

/// Messages to be sent, one behind another in one buffer that is used again and again.
///
/// In front of each payload is [`HEADROOM`], so that whoever sends can make a frame of it where it lies. The outbox grows to
/// what one turn of a session produces and is emptied by the sender; it has no bound of its own, its callers bound what
/// they translate per turn.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    whole: Vec<Whole>,
    /// Where the payload begins that is not ended yet.
    begun: Option<usize>,
}

/// A message that is whole, and where its payload lies.
#[derive(Clone, Copy, Debug)]
struct Whole {
    kind: Kind,
    start: usize,
    end: usize,
}

impl Outbox {
    /// An empty outbox, which owns no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), whole: Vec::new(), begun: None }
    }

    /// Appends one message. `write` appends its payload to the buffer it is given and must not touch what was there.
    pub fn message(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.part());
        self.end(kind);
    }

    /// Makes one message of a buffer that begins with [`HEADROOM`], which is exchanged for another, empty one. The outbox
    /// must hold nothing.
    pub fn adopt(&mut self, kind: Kind, buffer: &mut Vec<u8>) {
        self.clear();
        if buffer.len() >= HEADROOM {
            std::mem::swap(&mut self.bytes, buffer);
            self.begun = Some(HEADROOM);
            self.end(kind);
        }
    }

    /// The buffer, for a message that is written in parts; it becomes one by [`Outbox::end`].
    pub(crate) fn part(&mut self) -> &mut Vec<u8> {
        if self.begun.is_none() {
            self.bytes.extend_from_slice(&[0; HEADROOM]);
            self.begun = Some(self.bytes.len());
        }
        &mut self.bytes
    }

    /// Makes a message of all that was appended behind the last one.
    pub(crate) fn end(&mut self, kind: Kind) {
        let end = self.bytes.len();
        self.whole.push(Whole { kind, start: self.begun.take().unwrap_or(end), end });
    }

    /// The messages in order.
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        self.whole.iter().map(|&Whole { kind, start, end }| Message { kind, payload: &self.bytes[start..end] })
    }

    /// Makes frames of all messages where they lie, and takes them out: the buffer, in which they stand one behind the other
    /// from the returned place on. `frame` writes a header at the end of the room in front of a payload, which it may
    /// mask, and says how long the header is. The outbox goes on with the buffer `spare`.
    pub fn take_frames(
        &mut self,
        mut spare: Vec<u8>,
        mut frame: impl FnMut(Kind, &mut [u8; HEADROOM], &mut [u8]) -> usize,
    ) -> (Vec<u8>, usize) {
        spare.clear();
        let mut bytes = std::mem::replace(&mut self.bytes, spare);
        let mut frames = None;
        for Whole { kind, start, end } in self.whole.drain(..) {
            let (before, payload) = bytes[..end].split_at_mut(start);
            let Some(room) = before.last_chunk_mut() else { continue };
            let begins = start - frame(kind, room, payload).min(HEADROOM);
            let to = frames.get_or_insert(begins..begins).end;
            if to < begins {
                bytes.copy_within(begins..end, to);
            }
            frames = frames.map(|frames| frames.start..to + (end - begins));
        }
        self.begun = None;
        let frames = frames.unwrap_or_default();
        bytes.truncate(frames.end);
        (bytes, frames.start)
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.whole.len()
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty()
    }

    /// Payload bytes of all messages together.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.bytes.len() - (self.whole.len() + usize::from(self.begun.is_some())) * HEADROOM
    }

    /// Bytes that fit before the memory has to grow.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Forgets all messages and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.whole.clear();
        self.begun = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_in_order_and_the_memory_stays() {
        let mut out = Outbox::new();
        assert!(out.is_empty() && out.capacity() == 0);
        out.message(Kind::Text, |payload| payload.extend_from_slice(b"one"));
        out.message(Kind::Binary, |_| ());
        out.message(Kind::Text, |payload| payload.extend_from_slice("zwölf".as_bytes()));
        let expected = [Message::text("one"), Message::binary(b""), Message::text("zwölf")];
        assert_eq!(out.iter().collect::<Vec<_>>(), expected);
        assert_eq!((out.len(), out.payload_len()), (3, 9));

        let capacity = out.capacity();
        out.clear();
        assert!(out.is_empty() && out.iter().next().is_none());
        assert_eq!(out.capacity(), capacity);
    }

    #[test]
    fn frames_are_made_where_the_payloads_lie_and_stand_one_behind_the_other() {
        let mut out = Outbox::new();
        out.message(Kind::Text, |payload| payload.extend_from_slice(b"one"));
        out.message(Kind::Binary, |_| ());
        out.message(Kind::Binary, |payload| payload.extend_from_slice(&[b'x'; 200]));
        let mut lengths = [2, 14, 1].into_iter();
        let (frames, start) = out.take_frames(vec![1, 2, 3], |kind, room, payload| {
            let len = lengths.next().unwrap();
            room[HEADROOM - len..].fill(if kind == Kind::Text { b't' } else { b'b' });
            payload.make_ascii_uppercase();
            len
        });
        let expected = [&b"ttONE"[..], &[b'b'; 14], b"b", &[b'X'; 200]].concat();
        assert_eq!(frames[start..], expected);
        assert!(out.is_empty() && out.payload_len() == 0 && out.capacity() == 3);

        let (none, start) = out.take_frames(Vec::new(), |_, _, _| unreachable!());
        assert!(none[start..].is_empty());
    }

    #[test]
    fn a_buffer_is_adopted_with_the_room_in_front_of_it() {
        let (mut out, mut buffer) = (Outbox::new(), vec![0; HEADROOM]);
        buffer.extend_from_slice(b"output");
        out.adopt(Kind::Binary, &mut buffer);
        assert_eq!(out.iter().collect::<Vec<_>>(), [Message::binary(b"output")]);
        assert!(buffer.is_empty());

        out.adopt(Kind::Binary, &mut vec![0; HEADROOM - 1]);
        assert!(out.is_empty(), "a buffer without the room is none");
    }
}
