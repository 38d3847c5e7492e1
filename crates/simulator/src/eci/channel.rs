//! The channels of the session's WebSocket. They are those of Kubernetes: each binary message begins with the raw number
//! of its channel.

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    text::Decoder,
    web::{Samples, Wire, short_frame},
};

/// Input, from the client.
pub(super) const STDIN: u8 = 0;
/// Output.
pub(super) const STDOUT: u8 = 1;
/// Output of a command that has no terminal.
pub(super) const STDERR: u8 = 2;
/// Why the command has failed.
pub(super) const ERROR: u8 = 3;
/// Sizes of the terminal, from the client.
pub(super) const RESIZE: u8 = 4;

/// The subprotocol in which channel 3 always says how the command has ended.
pub(super) const V4: &str = "v4.channel.k8s.io";

/// A channel that no document names.
const UNKNOWN: u8 = 9;

/// What [`Fault::UpgradeEarlyFrame`](crate::Fault::UpgradeEarlyFrame) sends on channel 1.
pub const EARLY_OUTPUT: &str = "early\r\n";

/// A message on a channel.
pub(super) fn message(channel: u8, payload: &[u8]) -> Message {
    Message::binary([&[channel], payload].concat())
}

/// The payload of a message on the channel for sizes.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TerminalSize {
    pub(super) width: u16,
    pub(super) height: u16,
}

impl TerminalSize {
    /// `None` if it is no such object, or the terminal would have no cells.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok().filter(|size: &Self| size.width > 0 && size.height > 0)
    }
}

/// How a command has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With this exit code; 128 and the number of the signal if one has killed it.
    Exited(i32),
    /// It could not be started.
    NotStarted(String),
    /// Nobody knows.
    Unknown,
}

impl Outcome {
    /// What an exit status says.
    pub(super) fn of(status: Option<ExitStatus>) -> Self {
        let code = status.and_then(|status| status.code().or_else(|| status.signal().map(|signal| 128 + signal)));
        code.map_or(Self::Unknown, Self::Exited)
    }

    fn failure(&self) -> Option<String> {
        match self {
            Self::Exited(0) | Self::Unknown => None,
            Self::Exited(code) => Some(format!("command terminated with non-zero exit code: exit status {code}")),
            Self::NotStarted(why) => Some(format!("failed to exec in container: {why}")),
        }
    }

    /// What channel 3 says: with [`V4`] a `Status` (Kubernetes API, `meta/v1`), else plain text, and only of a failure.
    pub(super) fn message(&self, v4: bool) -> Option<Message> {
        let failure = self.failure();
        let text = if v4 { self.status(failure).to_string() } else { failure? };
        Some(message(ERROR, text.as_bytes()))
    }

    fn status(&self, failure: Option<String>) -> Value {
        match (self, failure) {
            (Self::Exited(code), Some(message)) => json!({
                "metadata": {},
                "status": "Failure",
                "message": message,
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            }),
            (_, Some(message)) => json!({
                "metadata": {},
                "status": "Failure",
                "message": message,
                "reason": "InternalError",
                "code": 500,
            }),
            (_, None) => json!({"metadata": {}, "status": "Success"}),
        }
    }
}

/// Where a stream of output is read to, and how it becomes messages.
#[derive(Debug)]
pub(super) enum Frames {
    /// Binary messages on a channel: the channel's number, then room for the payload.
    Binary(Box<[u8]>),
    /// Text messages without a channel.
    Text(Decoder),
}

impl Frames {
    /// Frames for reads of up to `capacity` bytes.
    pub(super) fn new(channel: u8, capacity: usize, text: bool) -> Self {
        if text {
            return Self::Text(Decoder::new(capacity));
        }
        let mut buffer = vec![0; capacity + 1].into_boxed_slice();
        buffer[0] = channel;
        Self::Binary(buffer)
    }

    /// Where to read to, at most `limit` bytes: `buffer[filled..]`.
    pub(super) fn space(&mut self, limit: usize) -> (&mut [u8], usize) {
        match self {
            Self::Binary(buffer) => {
                let end = buffer.len().min(limit.saturating_add(1));
                (&mut buffer[..end], 1)
            }
            Self::Text(decoder) => decoder.space(limit),
        }
    }

    /// The message of the `read` bytes that were put there; `None` while they are no whole character.
    pub(super) fn message(&mut self, read: usize) -> Option<Message> {
        match self {
            Self::Binary(buffer) => Some(Message::binary(buffer[..=read].to_vec())),
            Self::Text(decoder) => Some(decoder.text(read)).filter(|text| !text.is_empty()).map(Message::text),
        }
    }

    /// What the end of the stream leaves behind.
    pub(super) fn finish(&mut self) -> Option<Message> {
        match self {
            Self::Binary(_) => None,
            Self::Text(decoder) => Some(decoder.finish()).filter(|text| !text.is_empty()).map(Message::text),
        }
    }
}

/// The messages of this wire, for faults.
pub(super) struct Channels;

impl Samples for Channels {
    fn wire(&self) -> Wire {
        Wire::Binary
    }

    fn output(&self, data: &str) -> Vec<u8> {
        [&[STDOUT], data.as_bytes()].concat()
    }

    fn around(&self, _size: u64) -> (Vec<u8>, Vec<u8>) {
        (vec![STDOUT], Vec::new())
    }

    fn garbage(&self) -> Message {
        Message::binary(Vec::new())
    }

    fn unknown(&self) -> Message {
        message(UNKNOWN, b"unknown channel")
    }
}

/// The frame that [`Fault::UpgradeEarlyFrame`](crate::Fault::UpgradeEarlyFrame) sends behind its 101.
pub(super) fn early_frame() -> Vec<u8> {
    short_frame(Wire::Binary, &Channels.output(EARLY_OUTPUT), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_an_object_with_both_numbers() {
        let parse = |text: &str| TerminalSize::parse(text.as_bytes());
        assert_eq!(parse(r#"{"Width":120,"Height":40}"#), Some(TerminalSize { width: 120, height: 40 }));
        assert_eq!(parse(r#"{"Height":40,"Width":120,"More":1}"#), Some(TerminalSize { width: 120, height: 40 }));
        for bad in [
            r#"{"Width":120}"#,
            r#"{"width":120,"height":40}"#,
            r#"{"Width":0,"Height":40}"#,
            r#"{"Width":70000,"Height":40}"#,
            r#"{"Width":"120","Height":"40"}"#,
            r#"{"Width":1.5,"Height":40}"#,
            "",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_signal_counts_as_a_shell_would_have_it() {
        assert_eq!(Outcome::of(Some(ExitStatus::from_raw(9))), Outcome::Exited(137));
        assert_eq!(Outcome::of(Some(ExitStatus::from_raw(7 << 8))), Outcome::Exited(7));
        assert_eq!(Outcome::of(None), Outcome::Unknown);
    }

    #[test]
    fn without_a_subprotocol_only_a_failure_is_told_and_in_plain_text() {
        assert_eq!(Outcome::Exited(0).message(false), None);
        assert_eq!(Outcome::Unknown.message(false), None);
        let told = Outcome::Exited(7).message(false).unwrap().into_data();
        assert_eq!(&told[..], b"\x03command terminated with non-zero exit code: exit status 7");
        let told = Outcome::NotStarted("no such file".to_owned()).message(false).unwrap().into_data();
        assert!(told.ends_with(b"no such file"));
    }

    #[test]
    fn with_the_subprotocol_every_end_is_a_status() {
        let status = |outcome: Outcome| {
            let data = outcome.message(true).unwrap().into_data();
            assert_eq!(data[0], ERROR);
            serde_json::from_slice::<Value>(&data[1..]).unwrap()
        };
        assert_eq!(status(Outcome::Exited(0)), json!({"metadata": {}, "status": "Success"}));
        let failure = status(Outcome::Exited(7));
        assert_eq!((&failure["status"], &failure["reason"]), (&json!("Failure"), &json!("NonZeroExitCode")));
        assert_eq!(failure["details"]["causes"], json!([{"reason": "ExitCode", "message": "7"}]));
        assert_eq!(status(Outcome::NotStarted("why".to_owned()))["reason"], "InternalError");
    }

    #[test]
    fn frames_carry_their_channel_or_text_that_is_whole() {
        let read = |frames: &mut Frames, bytes: &[u8]| {
            let (buffer, filled) = frames.space(bytes.len());
            assert_eq!(buffer.len() - filled, bytes.len());
            buffer[filled..].copy_from_slice(bytes);
            frames.message(bytes.len())
        };
        let mut binary = Frames::new(STDERR, 8, false);
        assert_eq!(read(&mut binary, b"\xC3"), Some(message(STDERR, b"\xC3")));
        assert_eq!(binary.finish(), None);
        let mut text = Frames::new(STDOUT, 8, true);
        assert_eq!(read(&mut text, b"\xC3"), None);
        assert_eq!(read(&mut text, b"\xA9"), Some(Message::text("é")));
        assert_eq!(read(&mut text, b"\xC3"), None);
        assert_eq!(text.finish(), Some(Message::text("\u{FFFD}")));
    }
}
