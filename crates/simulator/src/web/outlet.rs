//! The way from a terminal to its WebSocket, and the faults that lie on it.

use std::{num::NonZeroUsize, time::Duration};

use futures_util::{Sink, SinkExt as _};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::{
        WebSocketConfig,
        frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

use super::Stop;
use crate::{Fault, net::Conn, pty::MAX_READ};

/// Terminal output per message, in bytes.
pub(crate) const CHUNK: usize = 4 * MAX_READ;
/// The same while every message is cut into tiny frames.
const FRAGMENTED_CHUNK: usize = 1024;
/// Bytes per TCP segment while every message is cut into tiny frames.
const SEGMENT: usize = 5;
/// A pause before a reset, in which what was sent may still arrive.
const BEFORE_RESET: Duration = Duration::from_millis(50);

/// The sending half of a session's WebSocket.
pub(crate) trait Messages: Sink<Message, Error = Error> + Unpin + Send {}
impl<S: Sink<Message, Error = Error> + Unpin + Send> Messages for S {}

/// Whether a kind's output travels in text or in binary messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Text messages.
    Text,
    /// Binary messages.
    Binary,
}

impl Wire {
    fn data(self) -> Data {
        match self {
            Self::Text => Data::Text,
            Self::Binary => Data::Binary,
        }
    }

    /// The first byte of an unfragmented frame (RFC 6455 §5.2).
    fn first_byte(self) -> u8 {
        0x80 | u8::from(OpCode::Data(self.data()))
    }
}

/// Messages as a kind frames them, for the faults that need one.
pub(crate) trait Samples: Sync {
    /// In which messages output travels.
    fn wire(&self) -> Wire;

    /// The payload of a message that carries this terminal output; `data` has at most 20 bytes.
    fn output(&self, data: &str) -> Vec<u8>;

    /// What stands before and behind the data in the payload of an output message of `size` bytes, for
    /// [`Fault::Oversize`]. The data is a run of `x`.
    fn around(&self, size: u64) -> (Vec<u8>, Vec<u8>);

    /// A message that nobody can parse.
    fn garbage(&self) -> Message;

    /// A message that can be parsed and means nothing.
    fn unknown(&self) -> Message;
}

/// A WebSocket's sending half, and the fault that it may yet commit.
pub(crate) struct Outlet<'a, S, K> {
    conn: &'a Conn,
    sink: &'a mut S,
    samples: &'a K,
    fault: Option<Fault>,
    /// Bytes of terminal output so far.
    sent: u64,
}

impl<'a, S: Messages, K: Samples> Outlet<'a, S, K> {
    /// An outlet that has sent nothing yet. From here on `fault` changes how `conn` writes.
    pub(crate) fn new(conn: &'a Conn, sink: &'a mut S, samples: &'a K, fault: Option<Fault>) -> Self {
        if let Some(Fault::Fragments { .. }) = fault {
            conn.chop(SEGMENT);
        }
        Self { conn, sink, samples, fault, sent: 0 }
    }

    /// How many bytes of output the next message may carry, so that a fault strikes at the very byte: at most
    /// [`CHUNK`], and at least 1 after a [`strike`](Self::strike).
    pub(crate) fn limit(&self) -> usize {
        match &self.fault {
            Some(Fault::Fragments { .. }) => FRAGMENTED_CHUNK,
            Some(fault) => fault.after().map_or(CHUNK, |after| {
                usize::try_from(after.saturating_sub(self.sent)).map_or(CHUNK, |left| left.min(CHUNK))
            }),
            None => CHUNK,
        }
    }

    /// Counts bytes of terminal output towards the fault's `after`.
    pub(crate) fn took(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Sends a message with terminal output, in crumbs if the fault demands it.
    pub(crate) async fn output(&mut self, message: Message) -> Result<(), Stop> {
        match self.fault {
            Some(Fault::Fragments { size }) => self.fragments(message, size).await,
            _ => self.send(message).await,
        }
    }

    /// Sends a message and flushes.
    pub(crate) async fn send(&mut self, message: Message) -> Result<(), Stop> {
        self.sink.send(message).await.map_err(|_| Stop::ClientLost)
    }

    /// Commits the fault if its time has come: to be called before each read of the terminal. A fault that is a kind's
    /// own is given back, for the kind to commit.
    pub(crate) async fn strike(&mut self) -> Result<Option<Fault>, Stop> {
        let due = self.fault.as_ref().is_some_and(|fault| fault.after().is_some_and(|after| self.sent >= after));
        let Some(fault) = self.fault.take_if(|_| due) else { return Ok(None) };
        match fault {
            Fault::Reset { .. } => {
                sleep(BEFORE_RESET).await;
                return Err(Stop::Reset);
            }
            Fault::Fin { .. } => return Err(Stop::Fin),
            Fault::Close { code, .. } => return Err(Stop::Close(code, "")),
            Fault::Stall { .. } => return Err(Stop::Stall),
            Fault::Garbage { .. } => self.send(self.samples.garbage()).await?,
            Fault::UnknownOperation { .. } => self.send(self.samples.unknown()).await?,
            Fault::Binary { .. } => self.send(Message::binary(self.samples.output("binary\r\n"))).await?,
            Fault::Text { .. } => self.send(Message::text("text\r\n")).await?,
            Fault::ReservedBits { .. } => {
                let opcode = OpCode::Data(self.samples.wire().data());
                let mut frame = Frame::message(self.samples.output("reserved bits\r\n"), opcode, true);
                let header = frame.header_mut();
                (header.rsv1, header.rsv2, header.rsv3) = (true, true, true);
                self.send(Message::Frame(frame)).await?;
            }
            Fault::Masked { .. } => {
                let payload = self.samples.output("masked\r\n");
                let frame = short_frame(self.samples.wire(), &payload, Some([0x12, 0x34, 0x56, 0x78]));
                self.conn.write_raw(&frame).await.map_err(|_| Stop::ClientLost)?;
            }
            Fault::Oversize { size, .. } => self.oversize(size).await.map_err(|_| Stop::ClientLost)?,
            other => return Ok(Some(other)),
        }
        Ok(None)
    }

    async fn fragments(&mut self, message: Message, size: NonZeroUsize) -> Result<(), Stop> {
        let mut opcode = OpCode::Data(if message.is_text() { Data::Text } else { Data::Binary });
        let payload = message.into_data();
        let mut pieces = payload.chunks(size.get()).peekable();
        while let Some(piece) = pieces.next() {
            let last = pieces.peek().is_none();
            self.send(Message::Frame(Frame::message(piece.to_vec(), opcode, last))).await?;
            opcode = OpCode::Data(Data::Continue);
        }
        Ok(())
    }

    /// One frame with `size` bytes of payload, or as many as its framing takes; made while it is sent, in small blocks.
    async fn oversize(&self, size: u64) -> std::io::Result<()> {
        const BLOCK: [u8; 8 * 1024] = [b'x'; 8 * 1024];
        let (before, after) = self.samples.around(size);
        let framing = (before.len() + after.len()) as u64;
        let mut left = size.saturating_sub(framing);
        let mut head = vec![self.samples.wire().first_byte(), 127];
        head.extend((left + framing).to_be_bytes());
        head.extend(before);
        self.conn.write_raw(&head).await?;
        while left > 0 {
            let block = usize::try_from(left).map_or(BLOCK.len(), |left| left.min(BLOCK.len()));
            self.conn.write_raw(&BLOCK[..block]).await?;
            left -= block as u64;
        }
        self.conn.write_raw(&after).await
    }
}

/// Small buffers and a bound for everything; `max_message` is that of an inbound message or frame, in bytes.
pub(crate) fn limits(max_message: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(CHUNK)
        // A chunk of which each byte is escaped to six, twice.
        .max_write_buffer_size(12 * CHUNK + 64 * 1024)
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message))
}

/// A frame (RFC 6455 §5.2) with a payload of less than 126 bytes; more is cut off.
pub(crate) fn short_frame(wire: Wire, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap_or(u8::MAX).min(125);
    let payload = payload.iter().copied().take(usize::from(length));
    let first = wire.first_byte();
    match mask {
        None => [first, length].into_iter().chain(payload).collect(),
        Some(mask) => {
            let masked = payload.zip(mask.into_iter().cycle()).map(|(byte, key)| byte ^ key);
            [first, 0x80 | length].into_iter().chain(mask).chain(masked).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_frames_are_as_the_standard_draws_them() {
        assert_eq!(short_frame(Wire::Text, b"Hello", None), b"\x81\x05Hello");
        assert_eq!(short_frame(Wire::Binary, b"", None), b"\x82\x00");
        let masked = short_frame(Wire::Text, b"Hello", Some([0x37, 0xFA, 0x21, 0x3D]));
        assert_eq!(masked, [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]);
    }
}
