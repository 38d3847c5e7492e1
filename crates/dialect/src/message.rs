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

/// Messages to be sent, one behind another in one buffer that is used again and again.
///
/// It grows to what one turn of a session produces and is emptied by the sender; it has no bound of its own, its
/// callers bound what they translate per turn.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    ends: Vec<(Kind, usize)>,
}

impl Outbox {
    /// An empty outbox, which owns no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new() }
    }

    /// Appends one message. `write` appends its payload to the buffer it is given and must not touch what was there.
    pub fn message(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.end(kind);
    }

    /// The buffer, for a message that is written in parts; it becomes one by [`Outbox::end`].
    pub(crate) fn part(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Makes a message of all that was appended behind the last one.
    pub(crate) fn end(&mut self, kind: Kind) {
        self.ends.push((kind, self.bytes.len()));
    }

    /// The messages in order.
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        let mut start = 0;
        self.ends.iter().map(move |&(kind, end)| {
            let payload = &self.bytes[start..end];
            start = end;
            Message { kind, payload }
        })
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Payload bytes of all messages together.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.bytes.len()
    }

    /// Payload bytes that fit before the memory has to grow.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Forgets all messages and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
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
}
