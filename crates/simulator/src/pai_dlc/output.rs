//! The way from a terminal to the WebSocket, and the faults that lie on it.

use std::time::Duration;

use futures_util::SinkExt as _;
use pty_process::ReadPty;
use tokio::{
    process::Child,
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};
use tokio_tungstenite::tungstenite::{
    Bytes, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use super::{
    Server, count,
    session::{Messages, Stop},
    wire::{Decoder, message, stdout},
};
use crate::{
    Fault,
    net::Conn,
    pty::{MAX_READ, read_available},
};

/// What [`Fault::UpgradeEarlyFrame`] sends as its first message's data.
pub const EARLY_OUTPUT: &str = "early\r\n";

/// Terminal output per message, in bytes.
pub(super) const CHUNK: usize = 4 * MAX_READ;
/// The same while every message is cut into tiny frames.
const FRAGMENTED_CHUNK: usize = 1024;
/// Bytes per TCP segment while every message is cut into tiny frames.
const SEGMENT: usize = 5;
/// Once the shell has ended, how long its terminal has to be silent for its output to count as complete. It matters only
/// if a program in the background still holds the terminal, which otherwise tells its end itself.
const QUIET: Duration = Duration::from_millis(200);
/// And how many bytes are taken at most from such a program. The kernel holds less than this for the shell.
const MAX_AFTER_EXIT: usize = 256 * 1024;
/// A pause before a reset, in which what was sent may still arrive.
const BEFORE_RESET: Duration = Duration::from_millis(50);

/// A WebSocket's sending half, and the fault that it may yet commit.
pub(super) struct Output<'a, S> {
    server: &'a Server,
    conn: &'a Conn,
    sink: &'a mut S,
    fault: Option<Fault>,
    /// Bytes of terminal output so far.
    sent: u64,
}

impl<'a, S: Messages> Output<'a, S> {
    pub(super) fn new(server: &'a Server, conn: &'a Conn, sink: &'a mut S, fault: Option<Fault>) -> Self {
        if let Some(Fault::Fragments { .. }) = fault {
            conn.chop(SEGMENT);
        }
        Self { server, conn, sink, fault, sent: 0 }
    }

    /// Sends what the terminal says, and pings, until the shell has ended, the socket fails, or a fault demands an end.
    pub(super) async fn run(&mut self, pty: ReadPty<'_>, shell: &mut Child) -> Stop {
        match self.pump(pty, shell).await {
            Ok(()) => Stop::ShellEnded,
            Err(stop) => stop,
        }
    }

    async fn pump(&mut self, mut pty: ReadPty<'_>, shell: &mut Child) -> Result<(), Stop> {
        let mut decoder = Decoder::new(CHUNK);
        let every = self.server.ping_every;
        let mut pings = interval_at(Instant::now() + every, every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut after_exit = None;
        loop {
            self.strike().await?;
            let (buffer, filled) = decoder.space(self.limit());
            let read = tokio::select! {
                read = read_available(&mut pty, buffer, filled) => read.unwrap_or(0),
                _ = pings.tick() => {
                    self.send(Message::Ping(Bytes::new())).await?;
                    continue;
                }
                _ = shell.wait(), if after_exit.is_none() => {
                    after_exit = Some(0);
                    continue;
                }
                () = sleep(QUIET), if after_exit.is_some() => 0,
            };
            if read == 0 {
                break;
            }
            self.sent += read as u64;
            count(&self.server.tally.output_bytes, read);
            let text = decoder.text(read);
            if !text.is_empty() {
                self.send_stdout(&text).await?;
            }
            if let Some(taken) = &mut after_exit {
                *taken += read;
                if *taken > MAX_AFTER_EXIT {
                    break;
                }
            }
        }
        match decoder.finish() {
            "" => Ok(()),
            rest => self.send_stdout(rest).await,
        }
    }

    /// How much may be read at once, so that a fault strikes at the very byte.
    fn limit(&self) -> usize {
        match &self.fault {
            Some(Fault::Fragments { .. }) => FRAGMENTED_CHUNK,
            Some(fault) => fault.after().map_or(CHUNK, |after| {
                usize::try_from(after.saturating_sub(self.sent)).map_or(CHUNK, |left| left.min(CHUNK))
            }),
            None => CHUNK,
        }
    }

    async fn send_stdout(&mut self, text: &str) -> Result<(), Stop> {
        let json = stdout(text);
        match self.fault {
            Some(Fault::Fragments { size }) => self.send_fragments(json.as_bytes(), size).await,
            _ => self.send(Message::text(json)).await,
        }
    }

    async fn send_fragments(&mut self, json: &[u8], size: usize) -> Result<(), Stop> {
        let mut opcode = OpCode::Data(Data::Text);
        let mut pieces = json.chunks(size).peekable();
        while let Some(piece) = pieces.next() {
            let last = pieces.peek().is_none();
            self.send(Message::Frame(Frame::message(piece.to_vec(), opcode, last))).await?;
            opcode = OpCode::Data(Data::Continue);
        }
        Ok(())
    }

    async fn send(&mut self, message: Message) -> Result<(), Stop> {
        self.sink.send(message).await.map_err(|_| Stop::ClientLost)
    }

    /// Commits the fault if its time has come.
    async fn strike(&mut self) -> Result<(), Stop> {
        let due = self.fault.as_ref().is_some_and(|fault| fault.after().is_some_and(|after| self.sent >= after));
        let Some(fault) = self.fault.take_if(|_| due) else { return Ok(()) };
        match fault {
            Fault::Reset { .. } => {
                sleep(BEFORE_RESET).await;
                Err(Stop::Reset)
            }
            Fault::Fin { .. } => Err(Stop::Fin),
            Fault::Close { code, .. } => Err(Stop::Close(code)),
            Fault::Stall { .. } => Err(Stop::Stall),
            Fault::Garbage { .. } => self.send(Message::text("this is {not JSON")).await,
            Fault::UnknownOperation { .. } => self.send(Message::text(message("toast", "unknown operation"))).await,
            Fault::Binary { .. } => self.send(Message::binary(stdout("binary\r\n").into_bytes())).await,
            Fault::ReservedBits { .. } => {
                let mut frame = Frame::message(stdout("reserved bits\r\n"), OpCode::Data(Data::Text), true);
                let header = frame.header_mut();
                (header.rsv1, header.rsv2, header.rsv3) = (true, true, true);
                self.send(Message::Frame(frame)).await
            }
            Fault::Masked { .. } => {
                let frame = short_frame(&stdout("masked\r\n"), Some([0x12, 0x34, 0x56, 0x78]));
                self.conn.write_raw(&frame).await.map_err(|_| Stop::ClientLost)
            }
            Fault::Oversize { size } => self.oversize(size).await.map_err(|_| Stop::ClientLost),
            _ => Ok(()),
        }
    }

    /// One frame with `size` bytes of payload, or as many as its JSON takes; made while it is sent, in small blocks.
    async fn oversize(&self, size: u64) -> std::io::Result<()> {
        const BLOCK: [u8; 8 * 1024] = [b'x'; 8 * 1024];
        let empty = stdout("");
        // Cut where the data goes: behind the quotation mark before `","rows"`.
        let (before, after) = empty.split_at(empty.find("\",\"rows\"").unwrap_or(0));
        let mut left = size.saturating_sub(empty.len() as u64);
        let mut head = vec![0x81, 127];
        head.extend((left + empty.len() as u64).to_be_bytes());
        head.extend(before.as_bytes());
        self.conn.write_raw(&head).await?;
        while left > 0 {
            let block = usize::try_from(left).map_or(BLOCK.len(), |left| left.min(BLOCK.len()));
            self.conn.write_raw(&BLOCK[..block]).await?;
            left -= block as u64;
        }
        self.conn.write_raw(after.as_bytes()).await
    }
}

/// The frame that [`Fault::UpgradeEarlyFrame`] sends behind its 101.
pub(super) fn early_frame() -> Vec<u8> {
    short_frame(&stdout(EARLY_OUTPUT), None)
}

/// A text frame (RFC 6455 §5.2) with a payload of less than 126 bytes.
fn short_frame(payload: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap_or(u8::MAX).min(125);
    let payload = payload.bytes().take(usize::from(length));
    match mask {
        None => [0x81, length].into_iter().chain(payload).collect(),
        Some(mask) => {
            let masked = payload.zip(mask.into_iter().cycle()).map(|(byte, key)| byte ^ key);
            [0x81, 0x80 | length].into_iter().chain(mask).chain(masked).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_frames_are_as_the_standard_draws_them() {
        assert_eq!(short_frame("Hello", None), b"\x81\x05Hello");
        let masked = short_frame("Hello", Some([0x37, 0xFA, 0x21, 0x3D]));
        assert_eq!(masked, [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]);
        assert_eq!(usize::from(early_frame()[1]), stdout(EARLY_OUTPUT).len());
    }
}
