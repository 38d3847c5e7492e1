//! Which of the framings a connection speaks, and how a message is put into it.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::PAD;

use crate::{BadMessage, Kind, Outbox};

/// What channel 3 holds, and whether channels can be closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// No subprotocol, or one before version 4: plain text on channel 3 when the command failed, nothing otherwise.
    #[default]
    Plain,
    /// A `metav1.Status` on channel 3 in any case, with the exit status in it.
    V4,
    /// As version 4, and channel 255 closes another.
    V5,
}

/// A version, and whether messages are binary or text with base64 in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    version: Version,
    base64: bool,
}

impl Framing {
    /// The framing that a subprotocol stands for; binary and [`Version::Plain`] without one. `None` for a name that
    /// is none of Kubernetes' remote commands.
    #[must_use]
    pub fn of_subprotocol(name: Option<&str>) -> Option<Self> {
        let (version, base64) = match name {
            None | Some("channel.k8s.io") => (Version::Plain, false),
            Some("base64.channel.k8s.io") => (Version::Plain, true),
            Some("v4.channel.k8s.io") => (Version::V4, false),
            Some("v4.base64.channel.k8s.io") => (Version::V4, true),
            Some("v5.channel.k8s.io") => (Version::V5, false),
            Some(_) => return None,
        };
        Some(Self { version, base64 })
    }

    /// The version.
    #[must_use]
    pub fn version(self) -> Version {
        self.version
    }

    /// Whether messages are text: the channel as a decimal digit, and behind it the payload in base64.
    #[must_use]
    pub fn is_base64(self) -> bool {
        self.base64
    }

    /// How many bytes of payload fit into a message of `limit` bytes.
    pub(super) fn room(self, limit: usize) -> usize {
        if self.base64 { (limit - 1) / 4 * 3 } else { limit - 1 }
    }

    /// Appends one message on `channel`; `write` appends its payload.
    pub(super) fn write(self, channel: u8, out: &mut Outbox, scratch: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.base64 {
            out.message(Kind::Binary, |payload| {
                payload.push(channel);
                write(payload);
            });
            return;
        }
        scratch.clear();
        write(scratch);
        out.message(Kind::Text, |payload| {
            payload.push(b'0' + channel);
            let start = payload.len();
            payload.resize(start + scratch.len().div_ceil(3) * 4, 0);
            // There is room for all of it, so this cannot fail.
            let written = BASE64.encode_slice(&*scratch, &mut payload[start..]).unwrap_or(0);
            payload.truncate(start + written);
        });
    }
}

/// With the vectors of the processor that it runs on, where base64 has an engine for them.
#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon")))]
static BASE64: LazyLock<base64::engine::Simd> = LazyLock::new(|| base64::engine::Simd::standard(PAD));
#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
static BASE64: LazyLock<base64::engine::GeneralPurpose> =
    LazyLock::new(|| base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, PAD));

const WRONG: BadMessage = BadMessage { reason: "a text message must be a channel's digit and base64" };

/// Takes a text message apart: its channel, and its payload in base64. `None` for an empty one.
pub(super) fn unframe(message: &[u8]) -> Result<Option<(u8, &[u8])>, BadMessage> {
    match message.split_first() {
        None => Ok(None),
        Some((digit, body)) if digit.is_ascii_digit() => Ok(Some((digit - b'0', body))),
        Some(_) => Err(WRONG),
    }
}

/// Appends what base64 stands for; nothing where it is none.
pub(super) fn decode(body: &[u8], out: &mut Vec<u8>) -> Result<(), BadMessage> {
    let start = out.len();
    out.resize(start + body.len().div_ceil(4) * 3, 0);
    let decoded = BASE64.decode_slice(body, &mut out[start..]);
    out.truncate(start + decoded.as_ref().map_or(0, |len| *len));
    decoded.map(drop).map_err(|_| WRONG)
}
