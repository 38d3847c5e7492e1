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
    /// A channel's byte before the output in binary, as ECI.
    Channel,
    /// Output in binary and nothing else: what an opaque proxy is given.
    Raw,
}

impl Wire {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Operation => "operation",
            Self::Channel => "channel",
            Self::Raw => "raw",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Operation, Self::Channel, Self::Raw].into_iter().find(|wire| wire.name() == name)
    }

    /// Appends the message that holds this output.
    pub(crate) fn output(self, encoder: &mut Frames, output: &[u8], frames: &mut Vec<u8>) {
        match self {
            Self::Operation => {
                let data = String::from_utf8_lossy(output);
                let data = serde_json::Value::from(data);
                // In the order that the service has, which a map does not keep.
                let text = format!(r#"{{"operation":"stdout","data":{data},"rows":0,"cols":0}}"#);
                encoder.message(Kind::Text, text.as_bytes(), frames);
            }
            Self::Channel => encoder.message_with(Kind::Binary, frames, |frames| {
                frames.push(1);
                frames.extend_from_slice(output);
            }),
            Self::Raw => encoder.message(Kind::Binary, output, frames),
        }
    }

    /// A whole block in messages of this size. None of text ends inside a character.
    pub(crate) fn reel(self, block: &[u8], size: usize) -> Vec<u8> {
        let mut encoder = frames();
        let mut frames = Vec::with_capacity(block.len() + block.len() / size * 16);
        let mut rest = block;
        while !rest.is_empty() {
            let mut end = size.min(rest.len());
            while self == Self::Operation && end < rest.len() && rest[end] & 0xc0 == 0x80 {
                end += 1;
            }
            self.output(&mut encoder, &rest[..end], &mut frames);
            rest = &rest[end..];
        }
        frames
    }
}
