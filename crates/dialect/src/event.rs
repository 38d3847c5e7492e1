//! The vocabulary: what terminals say, whatever wire they say it on.

use crate::{Code, Size};

/// What a client's message meant, beside the input that it carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// Input only (perhaps none), already appended.
    Input,
    /// The terminal has a new size.
    Resize {
        /// The size to apply.
        size: Size,
        /// Whether the client asked for more than there can be.
        clamped: bool,
    },
    /// No more input will come: half-close stdin.
    Eof,
    /// All output before this offset of the session has been consumed.
    Ack(u64),
    /// A sign of life, answered by [`ServerEvent::Pong`] with the same id.
    Ping(PingId),
    /// End the session itself.
    Close,
    /// A word this dialect does not know, or a size that is none. It is counted, and nothing else happens.
    Ignored,
}

/// What a provider's message meant, beside the output that it carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamEvent {
    /// Output only (perhaps none), already appended.
    Output,
    /// The remote process ended; all of its output has been appended.
    Exit(Exit),
    /// The provider says in its own words that it failed. The words are for the log.
    Failed(String),
    /// A word this dialect does not know. It is counted, and nothing else happens.
    Ignored,
}

/// How a remote process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Its exit status, where the provider tells one.
    pub code: Option<i32>,
    /// The signal that killed it, such as `SIGKILL`, where the provider tells one.
    pub signal: Option<String>,
    /// A few words for a person, where there is something to explain.
    pub reason: Option<String>,
}

/// What polytty tells a client, beside output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent<'a> {
    /// The terminal is open; stands before any output.
    Ready {
        /// The session's id.
        session: &'a str,
        /// What this client may do.
        role: Role,
        /// The terminal's size now.
        size: Size,
        /// Output bytes of the session before what follows.
        offset: u64,
        /// Input bytes of the session already taken.
        input: u64,
        /// Flow-control window in bytes, in force from the first [`ClientEvent::Ack`] on.
        window: u64,
        /// Where to come back to after a lost connection, where that is possible.
        resume: Option<Resume<'a>>,
    },
    /// The next `bytes` of output were delivered before; `missing` bytes before them are gone.
    Replay {
        /// Bytes that are repeated.
        bytes: u64,
        /// Bytes that can no longer be shown.
        missing: u64,
    },
    /// The next `bytes` of output are polytty's own and count in no offset.
    Synthetic {
        /// How many.
        bytes: u64,
    },
    /// A fresh link to come back to.
    Resume(Resume<'a>),
    /// The size that is in force, where it is not the one the client asked for.
    Size(Size),
    /// How many viewers watch.
    Viewers(u32),
    /// The answer to a [`ClientEvent::Ping`].
    Pong(&'a PingId),
    /// The remote process ended.
    Exit(&'a Exit),
    /// Something went wrong.
    Error {
        /// Which of the closed set.
        code: Code,
        /// A sentence for a person.
        message: &'a str,
        /// Whether the attachment ends with it.
        last: bool,
    },
}

/// A link to come back to, and when it ends to work (RFC 3339).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume<'a> {
    /// The `wss:` URL.
    pub url: &'a str,
    /// RFC 3339, UTC.
    pub expires_at: &'a str,
}

/// What an attached client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Types, and owns the size.
    Writer,
    /// Watches.
    Viewer,
}

impl Role {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Viewer => "viewer",
        }
    }
}

/// The `id` of a ping: any JSON number or string, sent back as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PingId(String);

impl PingId {
    /// The longest id, in bytes of JSON, that is sent back.
    pub const MAX_LEN: usize = 64;

    /// Takes a JSON value as it was written; `None` above [`PingId::MAX_LEN`].
    #[must_use]
    pub fn new(json: &str) -> Option<Self> {
        (json.len() <= Self::MAX_LEN).then(|| Self(json.to_owned()))
    }

    /// The JSON value as it was written.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

/// A message that breaks its dialect's grammar; says what was wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadMessage {
    /// One short sentence, fit for a close reason: it never repeats what the peer sent.
    pub reason: &'static str,
}

impl std::fmt::Display for BadMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for BadMessage {}
