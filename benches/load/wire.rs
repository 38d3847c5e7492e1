//! How the source speaks: what it has to say on each wire.

use polytty_websocket::{Encoder, Kind, Role};

/// How much of a corpus is sent over and over, in bytes at the least.
pub(crate) const BLOCK: usize = 1 << 20;

/// Frames that nobody has to be surprised by: the key of a client's is always the same.
pub(crate) type Frames = Encoder<fn() -> [u8; 4]>;

/// A server's frames, which have no key.
pub(crate) fn frames() -> Frames {
    Encoder::new(Role::Server, || [0; 4])
}

/// How the source speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// `{"operation":"stdout","data":…}` in text, as PAI-DLC.
    Operation,
    /// A byte before the output in binary: the channel, 1, as ECI; the number of the terminal, as Oblien.
    Channel(u8),
    /// `{"type":"output","data":…}` in text, as Dockhand.
    Dockhand,
    /// An event with output as a blob, of the terminal of this number, as Decthings.
    Decthings(u32),
    /// Output in binary and nothing else: what an opaque proxy is given.
    Raw,
}

/// A container's standard output.
pub(crate) const STDOUT: Wire = Wire::Channel(1);

impl Wire {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Operation => "operation",
            Self::Channel(_) => "channel",
            Self::Dockhand => "dockhand",
            Self::Decthings(_) => "decthings",
            Self::Raw => "raw",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Operation, STDOUT, Self::Dockhand, Self::Raw].into_iter().find(|wire| wire.name() == name)
    }

    /// Whether its messages hold text, none of which may end inside a character.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Self::Operation | Self::Dockhand)
    }

    /// Appends the message that holds this output.
    pub(crate) fn output(self, encoder: &mut Frames, output: &[u8], frames: &mut Vec<u8>) {
        // Members stand in the order that the services have, which a map does not keep.
        let mut text = |head: &str, tail: &str| {
            let data = serde_json::Value::from(String::from_utf8_lossy(output));
            encoder.message(Kind::Text, format!("{head}{data}{tail}").as_bytes(), frames);
        };
        match self {
            Self::Operation => text(r#"{"operation":"stdout","data":"#, r#","rows":0,"cols":0}"#),
            Self::Dockhand => text(r#"{"type":"output","data":"#, "}"),
            Self::Channel(prefix) => encoder.message_with(Kind::Binary, frames, |frames| {
                frames.push(prefix);
                frames.extend_from_slice(output);
            }),
            Self::Decthings(terminal) => encoder.message_with(Kind::Binary, frames, |frames| {
                decthings_event(
                    &format!(r#"{{"event":"data","params":{{"terminalSessionId":"{terminal}"}}}}"#),
                    frames,
                );
                decthings_length(output.len(), frames);
                frames.extend_from_slice(output);
            }),
            Self::Raw => encoder.message(Kind::Binary, output, frames),
        }
    }

    /// A whole block in messages of this size.
    pub(crate) fn reel(self, block: &[u8], size: usize) -> Vec<u8> {
        let mut encoder = frames();
        let mut frames = Vec::with_capacity(block.len() + block.len() / size * 16);
        let mut rest = block;
        while !rest.is_empty() {
            let mut end = size.min(rest.len());
            while self.is_text() && end < rest.len() && rest[end] & 0xc0 == 0x80 {
                end += 1;
            }
            self.output(&mut encoder, &rest[..end], &mut frames);
            rest = &rest[end..];
        }
        frames
    }
}

/// Appends an event of Decthings' terminals, but for blobs.
pub(crate) fn decthings_event(json: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x01\x08Terminal");
    decthings_length(json.len(), out);
    out.extend_from_slice(json.as_bytes());
}

/// Appends a length as Decthings writes it.
pub(crate) fn decthings_length(length: usize, out: &mut Vec<u8>) {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..0xfd), _) => out.push(short),
        (_, Ok(medium)) => {
            out.push(0xfd);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}
