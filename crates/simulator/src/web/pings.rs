//! A connection on which no ping is ever answered.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::Conn;

/// The opcodes of RFC 6455 §5.5, and the bits of the first byte that they are in.
const OPCODE: u8 = 0x0F;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// A connection whose pings, if it is to leave them unanswered, reach the reader as pongs, which call for no answer: the
/// library answers whatever it takes for a ping.
#[derive(Debug)]
pub(crate) struct Pings {
    conn: Conn,
    frames: Option<Frames>,
}

/// Finds the first byte of each frame.
#[derive(Debug, Default)]
struct Frames {
    /// The head of a frame so far.
    head: [u8; 14],
    have: usize,
    /// Bytes of the payload to come.
    left: u64,
}

impl Pings {
    /// Takes a connection and what was read of it already.
    pub(crate) fn new(conn: Conn, behind: &mut [u8], are_answered: bool) -> Self {
        let mut frames = (!are_answered).then(Frames::default);
        if let Some(frames) = &mut frames {
            frames.pass(behind);
        }
        Self { conn, frames }
    }
}

impl Frames {
    fn pass(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.left -= skipped as u64;
                at += skipped;
                continue;
            }
            if self.have == 0 && bytes[at] & OPCODE == PING {
                bytes[at] ^= PING ^ PONG;
            }
            self.head[self.have] = bytes[at];
            (self.have, at) = (self.have + 1, at + 1);
            if let Some(length) = self.length() {
                (self.have, self.left) = (0, length);
            }
        }
    }

    /// The length of the payload, once the head is whole (RFC 6455 §5.2).
    fn length(&self) -> Option<u64> {
        let second = *self.head[..self.have].get(1)?;
        let extended = match second & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let number = self.head[2..2 + extended].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let length = if extended == 0 { u64::from(second & 0x7F) } else { number };
        (self.have == 2 + extended + mask).then_some(length)
    }
}

impl AsyncRead for Pings {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.conn).poll_read(cx, buf))?;
        if let Some(frames) = &mut self.frames {
            frames.pass(&mut buf.filled_mut()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pings {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.conn).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.conn).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.conn).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame of a client with this opcode; the payload looks like frames itself.
    fn frame(opcode: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        match length {
            0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
            126..0x1_0000 => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([0x89; 4]);
        frame.extend(vec![0x89; length]);
        frame
    }

    #[test]
    fn only_pings_are_changed_however_the_bytes_are_cut() {
        let lengths = [0, 1, 125, 126, 300, 0x1_0001];
        let all = |ping| -> Vec<u8> {
            lengths.iter().flat_map(|n| [frame(2, *n), frame(ping, 5), frame(1, *n)].concat()).collect()
        };
        for size in [1, 2, 3, 7, 64, 4096, usize::MAX] {
            let (mut bytes, mut frames) = (all(PING), Frames::default());
            bytes.chunks_mut(size).for_each(|chunk| frames.pass(chunk));
            assert!(bytes == all(PONG), "{size}");
        }
    }
}
