//! Messages and control frames in, bytes for the peer out.

use crate::close::MAX_REASON;
use crate::head::{Head, Opcode};
use crate::{Close, Kind, MAX_CONTROL, MAX_HEADER, Role, mask};

/// The writing half of one connection. It has no state but where keys come from, and owns no buffer: frames are
/// appended to one of the caller, who bounds it. Each adds its payload and at most [`MAX_HEADER`]
/// bytes.
#[derive(Clone, Copy, Debug)]
pub struct Encoder<K> {
    role: Role,
    key: K,
}

/// A message whose payload is being written behind room for its header; see [`Encoder::begin`].
#[derive(Debug)]
#[must_use = "the message is no frame before it is ended"]
pub struct Begun {
    start: usize,
}

impl<K: FnMut() -> [u8; 4]> Encoder<K> {
    /// An encoder for `role`. A [`Role::Client`] asks `key` for a fresh key for each frame, which the peer's other
    /// connections must not be able to predict (RFC 6455, sections 5.3 and 10.3); a [`Role::Server`] never asks.
    #[must_use]
    pub const fn new(role: Role, key: K) -> Self {
        Self { role, key }
    }

    /// Appends a message. A text has to be UTF-8.
    pub fn message(&mut self, kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
        self.frame(opcode(kind), payload, out);
    }

    /// Appends a message that `write` appends to the buffer, and nothing else to it; what was there has to stay.
    pub fn message_with(&mut self, kind: Kind, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let begun = self.begin(out);
        write(out);
        self.end(begun, kind, out);
    }

    /// Leaves room for a header, behind which a payload is to be appended to `out`, in as many steps as it takes. No
    /// other frame may be written there before [`Encoder::end`].
    pub fn begin(&self, out: &mut Vec<u8>) -> Begun {
        let start = out.len();
        out.resize(start + self.room(), 0);
        Begun { start }
    }

    /// Makes a message of all that was appended behind [`Encoder::begin`].
    ///
    /// The room fits payloads of 126 to 65,535 bytes. Others are moved, by two bytes or by six.
    pub fn end(&mut self, begun: Begun, kind: Kind, out: &mut Vec<u8>) {
        let Begun { start } = begun;
        let room = self.room();
        let payload = start + room;
        if out.len() < payload {
            out.resize(payload, 0);
        }
        let end = out.len();
        let key = self.next_key();
        let (head, len) = Head::write(opcode(kind), end - payload, key);
        if len < room {
            out.copy_within(payload..end, start + len);
            out.truncate(end - (room - len));
        } else if len > room {
            out.resize(end + (len - room), 0);
            out.copy_within(payload..end, start + len);
        }
        out[start..start + len].copy_from_slice(&head[..len]);
        if let Some(key) = key {
            mask(&mut out[start + len..], key);
        }
    }

    /// Makes a frame of a message where it lies: writes the header at the end of `room`, which is in front of `payload`, and
    /// masks the payload where that has to be. How long the header is.
    pub fn in_place(&mut self, kind: Kind, room: &mut [u8; MAX_HEADER], payload: &mut [u8]) -> usize {
        let key = self.next_key();
        let (head, len) = Head::write(opcode(kind), payload.len(), key);
        room[MAX_HEADER - len..].copy_from_slice(&head[..len]);
        if let Some(key) = key {
            mask(payload, key);
        }
        len
    }

    /// Takes back a message, with all that was appended behind [`Encoder::begin`].
    pub fn cancel(&self, begun: Begun, out: &mut Vec<u8>) {
        out.truncate(begun.start);
    }

    /// Appends a Ping. Of a payload over 125 bytes, the rest is left out.
    pub fn ping(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.frame(Opcode::Ping, &payload[..payload.len().min(MAX_CONTROL)], out);
    }

    /// Appends a Pong with the payload of the Ping that it answers; cut in the same way.
    pub fn pong(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.frame(Opcode::Pong, &payload[..payload.len().min(MAX_CONTROL)], out);
    }

    /// Appends a Close, behind which nothing may be sent (section 5.5.1). A reason over 123 bytes is cut between two
    /// characters.
    pub fn close(&mut self, close: Option<Close<'_>>, out: &mut Vec<u8>) {
        let mut body = [0; MAX_CONTROL];
        let len = match close {
            None => 0,
            Some(Close { code, reason }) => {
                let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
                body[..2].copy_from_slice(&code.get().to_be_bytes());
                body[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
                2 + reason.len()
            }
        };
        self.frame(Opcode::Close, &body[..len], out);
    }

    fn frame(&mut self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
        let key = self.next_key();
        let (head, len) = Head::write(opcode, payload.len(), key);
        out.reserve(len + payload.len());
        out.extend_from_slice(&head[..len]);
        let start = out.len();
        out.extend_from_slice(payload);
        if let Some(key) = key {
            mask(&mut out[start..], key);
        }
    }

    fn next_key(&mut self) -> Option<[u8; 4]> {
        match self.role {
            Role::Client => Some((self.key)()),
            Role::Server => None,
        }
    }

    /// The header of a payload of 126 to 65,535 bytes.
    const fn room(&self) -> usize {
        match self.role {
            Role::Client => 8,
            Role::Server => 4,
        }
    }
}

const fn opcode(kind: Kind) -> Opcode {
    match kind {
        Kind::Text => Opcode::Text,
        Kind::Binary => Opcode::Binary,
    }
}
