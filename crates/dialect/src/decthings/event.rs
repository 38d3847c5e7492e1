//! What comes down the socket: replies, output and ends.

use std::borrow::Cow;

use super::fields::Fields;
use super::reply::{Reply, plain, read};
use super::varint::Pieces;
use super::{API, MAX_SESSION_ID};
use crate::{BadMessage, utf8};

/// How the JSON of output is spelled, up to the terminal's id and behind it.
const DATA_HEAD: &[u8] = br#"{"event":"data","params":{"terminalSessionId":""#;
const DATA_TAIL: &[u8] = br#""}}"#;

/// The first byte of a reply.
const REPLY: u8 = 0;

/// One message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The reply to the call of this id. What it says may be of no use, which then concerns that call alone.
    Reply(u32, Result<Reply, BadMessage>),
    /// Output of a terminal.
    Data {
        /// The terminal's id.
        session: Cow<'a, str>,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// The end of a terminal; nothing follows for it.
    Exit {
        /// The terminal's id.
        session: Cow<'a, str>,
        /// Why it ended.
        reason: ExitReason,
    },
    /// An event, or an API, that is not known here. It is counted, and nothing else happens.
    Ignored,
}

/// Why a terminal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// `process_exit`: the process ended by itself.
    Process {
        /// Its status, where there is one that fits.
        code: Option<i32>,
        /// The signal that ended it, such as `SIGKILL`, where there is one with the characters of such a name.
        signal: Option<String>,
        /// Whether it ran out of memory.
        oom: bool,
    },
    /// `terminated_on_request`: somebody asked for it.
    OnRequest,
    /// `launcher_terminated`: what it ran in was shut down.
    Launcher,
    /// `inactive_timeout`: nothing was typed for too long.
    Inactive,
    /// `unknown`, no reason at all, or one that is not documented.
    Unknown,
}

/// Reads the messages of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Events {
    ignored_fields: u64,
}

impl Events {
    /// A reader for one connection.
    #[must_use]
    pub const fn new() -> Self {
        Self { ignored_fields: 0 }
    }

    /// Reads one message, text or binary: a text one stands for its bytes. Nothing is kept from one message to the
    /// next, and only what is not spelled as usual is copied.
    ///
    /// # Errors
    ///
    /// [`BadMessage`] when its layout is broken, or an event of a terminal lacks what belongs to it: whose terminal it
    /// was about cannot be known then.
    pub fn read<'a>(&mut self, message: &'a [u8]) -> Result<Incoming<'a>, BadMessage> {
        let mut pieces = Pieces::new(message);
        if pieces.byte()? == REPLY {
            let id = pieces.u32()?;
            let json = pieces.sized()?;
            while !pieces.is_empty() {
                pieces.sized()?;
                self.ignored_fields += 1;
            }
            return Ok(Incoming::Reply(id, read(json)));
        }
        let len = pieces.byte()?;
        let api = pieces.slice(u64::from(len))?;
        let json = pieces.sized()?;
        let blob = if pieces.is_empty() { None } else { Some(pieces.sized()?) };
        while !pieces.is_empty() {
            pieces.sized()?;
            self.ignored_fields += 1;
        }
        if api != API.as_bytes() {
            return Ok(Incoming::Ignored);
        }
        match (known_data(json), blob) {
            (Some(session), Some(bytes)) => Ok(Incoming::Data { session: Cow::Borrowed(session), bytes }),
            _ => self.event(json, blob),
        }
    }

    /// How many fields and blobs that mean nothing here have been ignored. A message that is ignored as a whole is an
    /// [`Incoming::Ignored`] and not counted here.
    #[must_use]
    pub fn ignored_fields(&self) -> u64 {
        self.ignored_fields
    }

    fn event<'a>(&mut self, json: &'a [u8], blob: Option<&'a [u8]>) -> Result<Incoming<'a>, BadMessage> {
        let fields = Fields::parse(json)?;
        let event = fields.string("event")?;
        let params = match event.as_deref() {
            Some("data" | "exit") => fields.object("params")?,
            _ => return Ok(Incoming::Ignored),
        };
        let session = match params.string("terminalSessionId")? {
            Some(id) if id.len() <= MAX_SESSION_ID => id,
            _ => return Err(BadMessage { reason: "an event names no terminal" }),
        };
        self.ignored_fields += fields.unknown(&["event", "params"]);
        if event.as_deref() == Some("data") {
            self.ignored_fields += params.unknown(&["terminalSessionId"]);
            let bytes = blob.ok_or(BadMessage { reason: "an event of output has no output" })?;
            return Ok(Incoming::Data { session, bytes });
        }
        self.ignored_fields += params.unknown(&["terminalSessionId", "reason"]) + u64::from(blob.is_some());
        Ok(Incoming::Exit { session, reason: reason(&params.object("reason")?)? })
    }
}

/// The terminal's id, where the JSON is that of output in its usual spelling.
fn known_data(json: &[u8]) -> Option<&str> {
    let id = json.strip_prefix(DATA_HEAD)?.strip_suffix(DATA_TAIL)?;
    let is_plain = !id.iter().any(|&byte| byte < 0x20 || matches!(byte, b'"' | b'\\'));
    if !is_plain || id.len() > MAX_SESSION_ID {
        return None;
    }
    utf8::check(id).ok()
}

fn reason(fields: &Fields<'_>) -> Result<ExitReason, BadMessage> {
    Ok(match fields.string("code")?.as_deref() {
        Some("process_exit") => ExitReason::Process {
            code: fields.get("exitCode").and_then(|code| code.get().parse().ok()),
            signal: fields.string("signal")?.map(|signal| plain(&signal)).filter(|signal| !signal.is_empty()),
            oom: fields.get("oom").is_some_and(|oom| oom.get() == "true"),
        },
        Some("terminated_on_request") => ExitReason::OnRequest,
        Some("launcher_terminated") => ExitReason::Launcher,
        Some("inactive_timeout") => ExitReason::Inactive,
        _ => ExitReason::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::super::MAX_JSON;
    use super::*;

    #[test]
    fn an_id_that_is_too_long_is_nobodys_in_either_spelling() {
        for (len, is_read) in [(MAX_SESSION_ID, true), (MAX_SESSION_ID + 1, false)] {
            let id = "i".repeat(len);
            for space in ["", " "] {
                let json = format!(r#"{{{space}"event":"data","params":{{"terminalSessionId":"{id}"}}}}"#);
                let mut message = b"\x01\x08Terminal".to_vec();
                super::super::put_varint(json.len() as u64, &mut message);
                message.extend_from_slice(json.as_bytes());
                message.extend_from_slice(b"\x02hi");
                let read = Events::new().read(&message);
                assert_eq!(read.is_ok(), is_read, "{len}, {space:?}: {read:?}");
            }
        }
    }

    #[test]
    fn json_has_its_limit() {
        for (len, is_read) in [(MAX_JSON, true), (MAX_JSON + 1, false)] {
            let frame = r#"{"event":"new","x":""}"#;
            let json = format!(r#"{{"event":"new","x":"{}"}}"#, "x".repeat(len - frame.len()));
            let mut message = b"\x01\x08Terminal".to_vec();
            super::super::put_varint(json.len() as u64, &mut message);
            message.extend_from_slice(json.as_bytes());
            assert_eq!(Events::new().read(&message).is_ok(), is_read, "{len}");
        }
    }
}
