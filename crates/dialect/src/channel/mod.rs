//! `channel`: messages whose first byte says which stream the rest belongs to.
//!
//! This is the framing of Kubernetes' remote commands (`exec`, `attach`) over WebSocket, and by all public evidence
//! that of Alibaba Cloud ECI's ExecContainerCommand, which documents none.
//!
//! | channel | direction | holds |
//! |---|---|---|
//! | 0 | to the server | stdin |
//! | 1 | to us | stdout |
//! | 2 | to us | stderr; not used with a TTY |
//! | 3 | to us | how the command ended: see [`Version`] |
//! | 4 | to the server | `{"Width":cols,"Height":rows}` |
//! | 255 | both | the next byte is a channel that is closed (version 5 only) |

mod framing;
mod lines;
mod verdict;

use std::io::Write as _;

pub use framing::{Framing, Version};

use crate::{BadMessage, Kind, Message, Outbox, Size, UpstreamDialect, UpstreamEvent};
use verdict::verdict;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// The longest message that is sent, in bytes, channel byte and base64 included. No document names a limit; this is
/// the smallest one that servers of this kind are known to have had.
pub const MAX_MESSAGE: usize = 8192;

/// Memory for base64 that a codec keeps from one message to the next, in bytes. A larger message's is given back.
const MAX_SCRATCH: usize = 2 * MAX_MESSAGE;

/// What a terminal takes for the end of input when it stands at the beginning of a line (Ctrl-D).
const END_OF_TRANSMISSION: u8 = 0x04;

/// How a new size reaches the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResizeMode {
    /// On channel 4, as Kubernetes has it.
    #[default]
    K8s4,
    /// Typed as a command, `stty rows R cols C`, for a server without a channel for it. The person sees it, and a
    /// program that is not a shell gets it as input.
    Stty,
    /// Not at all.
    Off,
}

/// The upstream face of `channel`: one command, with a TTY or without.
///
/// Terminal bytes pass as they are. Without a TTY nobody else makes them fit for a terminal, so it is done here: a
/// line feed becomes carriage return and line feed on its way to the screen, a carriage return (what the Enter key
/// sends) becomes a line feed on its way to the command. Channels that are not known are ignored, and text messages
/// outside of a base64 framing are output.
///
/// What channel 3 says is not told before the connection ends, since output may still follow it; see
/// [`UpstreamDialect::verdict`].
#[derive(Debug)]
pub struct Channel {
    framing: Framing,
    tty: bool,
    resize: ResizeMode,
    /// The size that was typed last.
    typed: Option<Size>,
    /// The last byte of output was a carriage return.
    returned: bool,
    verdict: Option<UpstreamEvent>,
    /// Empty memory for the payload of a base64 message, at most [`MAX_SCRATCH`].
    scratch: Vec<u8>,
}

impl Channel {
    /// A codec for one connection.
    #[must_use]
    pub const fn new(framing: Framing, tty: bool, resize: ResizeMode) -> Self {
        Self { framing, tty, resize, typed: None, returned: false, verdict: None, scratch: Vec::new() }
    }

    fn read(&mut self, channel: u8, payload: &[u8], output: &mut Vec<u8>) -> UpstreamEvent {
        match channel {
            STDOUT | STDERR => self.show(payload, output),
            // Kubernetes opens every channel with an empty message.
            ERROR if payload.is_empty() => {}
            ERROR if self.verdict.is_none() => self.verdict = Some(verdict(payload)),
            CLOSE if self.framing.version() == Version::V5 => {}
            _ => return UpstreamEvent::Ignored,
        }
        UpstreamEvent::Output
    }

    fn read_base64(&mut self, channel: u8, body: &[u8], output: &mut Vec<u8>) -> Result<UpstreamEvent, BadMessage> {
        // What passes as it is needs no memory on the way.
        if self.tty && matches!(channel, STDOUT | STDERR) {
            return framing::decode(body, output).map(|()| UpstreamEvent::Output);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let read = framing::decode(body, &mut scratch).map(|()| self.read(channel, &scratch, output));
        if scratch.capacity() <= MAX_SCRATCH {
            self.scratch = scratch;
        }
        read
    }

    fn show(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        if self.tty {
            output.extend_from_slice(bytes);
            return;
        }
        self.returned = lines::show(bytes, self.returned, output);
    }

    fn stdin(&mut self, bytes: &[u8], out: &mut Outbox) {
        let returns = !self.tty;
        for piece in bytes.chunks(self.framing.room(MAX_MESSAGE)) {
            self.framing.write(STDIN, out, &mut self.scratch, |payload| {
                let start = payload.len();
                payload.extend_from_slice(piece);
                if returns {
                    lines::enter(&mut payload[start..]);
                }
            });
        }
    }
}

impl UpstreamDialect for Channel {
    fn decode(&mut self, message: Message<'_>, output: &mut Vec<u8>) -> Result<UpstreamEvent, BadMessage> {
        // Nearly all there is.
        if let (Kind::Binary, true, [STDOUT, payload @ ..]) = (message.kind, self.tty, message.payload) {
            output.extend_from_slice(payload);
            return Ok(UpstreamEvent::Output);
        }
        if message.kind == Kind::Text && !self.framing.is_base64() {
            self.show(message.as_str()?.as_bytes(), output);
            return Ok(UpstreamEvent::Output);
        }
        if message.kind == Kind::Text {
            return match framing::unframe(message.payload)? {
                Some((channel, body)) => self.read_base64(channel, body, output),
                None => Ok(UpstreamEvent::Ignored),
            };
        }
        match message.payload {
            [] => Ok(UpstreamEvent::Ignored),
            [channel, payload @ ..] => Ok(self.read(*channel, payload, output)),
        }
    }

    fn input(&mut self, bytes: &[u8], out: &mut Outbox) {
        self.stdin(bytes, out);
    }

    /// `false` without a TTY, which has no size, and where it is switched off.
    fn resize(&mut self, size: Size, out: &mut Outbox) -> bool {
        if !self.tty {
            return false;
        }
        let (cols, rows) = (size.cols(), size.rows());
        match self.resize {
            ResizeMode::K8s4 => self.framing.write(RESIZE, out, &mut self.scratch, |payload| {
                // Writing to a vector cannot fail.
                let _ = write!(payload, r#"{{"Width":{cols},"Height":{rows}}}"#);
            }),
            // What is typed is seen, so it is typed only where something changes.
            ResizeMode::Stty if self.typed == Some(size) => {}
            ResizeMode::Stty => {
                self.typed = Some(size);
                self.stdin(format!("stty rows {rows} cols {cols}\n").as_bytes(), out);
            }
            ResizeMode::Off => return false,
        }
        true
    }

    /// With a TTY, Ctrl-D typed, which ends the input where it stands at the beginning of a line. Without one, only
    /// version 5 can close stdin.
    fn eof(&mut self, out: &mut Outbox) -> bool {
        match (self.tty, self.framing.version()) {
            (true, _) => self.stdin(&[END_OF_TRANSMISSION], out),
            (false, Version::V5) => {
                self.framing.write(CLOSE, out, &mut self.scratch, |payload| payload.push(STDIN));
            }
            (false, Version::Plain | Version::V4) => return false,
        }
        true
    }

    fn verdict(&self) -> Option<&UpstreamEvent> {
        self.verdict.as_ref()
    }
}
