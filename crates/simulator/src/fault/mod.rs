//! The faults that a simulator commits on demand.

mod switch;
mod table;

use std::{fmt, str::FromStr};

pub use switch::FaultSwitch;

/// Where in a terminal's life a [`Fault`] strikes. One call or connection meets at most one fault per stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// In place of the answer to an API call.
    Api,
    /// In the link that an otherwise good answer carries.
    Link,
    /// In the answer to the WebSocket upgrade.
    Upgrade,
    /// Within the terminal session.
    Session,
}

/// A line of [`Fault::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// The word that [`Fault`] parses.
    pub name: &'static str,
    /// What may stand behind `NAME=`, with its default in parentheses; empty where nothing may.
    pub argument: &'static str,
    /// Where it strikes.
    pub stage: Stage,
    /// What happens, in one sentence.
    pub about: &'static str,
}

/// Something that a provider can do wrong. Parsed from `NAME` or `NAME=ARGUMENT`; [`Fault::ALL`] lists the names.
///
/// Where a variant has an `after`, it is the number of bytes of terminal output that are delivered untouched first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 403 `Forbidden.RAM`.
    ApiForbidden,
    /// 400 `Throttling.User` with `x-acs-retry-after` in milliseconds.
    ApiThrottled {
        /// Milliseconds, as the header has them.
        retry_after_ms: u64,
    },
    /// 503 `ServiceUnavailable`.
    ApiUnavailable,
    /// 400 `SignatureDoesNotMatch`.
    ApiSignature,
    /// 400 `InvalidTimeStamp.Expired`.
    ApiStaleClock,
    /// 403 `InvalidSecurityToken.Expired`.
    ApiTokenExpired,
    /// 404 `NotFound`.
    ApiNotFound,
    /// 400 `BadRequest`.
    ApiBadRequest,
    /// 200 with a body that is no JSON.
    ApiNotJson,
    /// 200 without `WebTerminalUrl`.
    ApiNoUrl,
    /// 302 to another path of the same server, where a plausible answer awaits whoever follows.
    ApiRedirect,
    /// 200 with a body that never ends.
    ApiEndless,
    /// No answer at all; the connection stays open.
    ApiStalled,
    /// The connection is reset in place of an answer.
    ApiReset,
    /// The link leads to another host.
    LinkForeignHost {
        /// The authority to put into the link.
        host: String,
    },
    /// The link has another scheme than `ws`.
    LinkWrongScheme {
        /// The scheme to put into the link.
        scheme: String,
    },
    /// The upgrade is refused with this HTTP status: 403, 404 or 503. The link is not spent.
    UpgradeRefused {
        /// The HTTP status.
        status: u16,
    },
    /// 200 in place of 101, with every other header of a good handshake; the session runs on.
    Upgrade200,
    /// 101 with the `Sec-WebSocket-Accept` of another key; the session runs on.
    UpgradeWrongAccept,
    /// 101 without an `Upgrade` header; the session runs on.
    UpgradeNoHeader,
    /// 101 with an extension that was not asked for; the session runs on.
    UpgradeExtension,
    /// 101 with a subprotocol that was not asked for; the session runs on.
    UpgradeSubprotocol,
    /// The 101 never comes; the connection stays open.
    UpgradeStalled,
    /// The first message travels in the same TCP segment as the 101. This is legal, and often got wrong.
    UpgradeEarlyFrame,
    /// The connection is reset.
    Reset {
        /// Output bytes before it.
        after: u64,
    },
    /// The connection is ended by a TCP FIN without a WebSocket Close.
    Fin {
        /// Output bytes before it.
        after: u64,
    },
    /// A WebSocket Close with this code.
    Close {
        /// The close code.
        code: u16,
        /// Output bytes before it.
        after: u64,
    },
    /// Neither reads, nor output, nor pongs any more; the connection stays open.
    Stall {
        /// Output bytes before it.
        after: u64,
    },
    /// Every message is cut into frames of `size` bytes and those into TCP segments of a few bytes. This is legal.
    Fragments {
        /// Payload bytes per frame, at least 1.
        size: usize,
    },
    /// One text message that is no JSON; the session goes on.
    Garbage {
        /// Output bytes before it.
        after: u64,
    },
    /// One message with an operation that no document names; the session goes on.
    UnknownOperation {
        /// Output bytes before it.
        after: u64,
    },
    /// One binary message; the session goes on.
    Binary {
        /// Output bytes before it.
        after: u64,
    },
    /// One frame with all reserved bits set; the session goes on.
    ReservedBits {
        /// Output bytes before it.
        after: u64,
    },
    /// One masked frame, which a server must not send; the session goes on.
    Masked {
        /// Output bytes before it.
        after: u64,
    },
    /// One text message in one frame of `size` bytes, well-formed but for its size; the session goes on.
    Oversize {
        /// Payload bytes of the frame.
        size: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.description().name;
        match self {
            Self::ApiThrottled { retry_after_ms } => write!(f, "{name}={retry_after_ms}"),
            Self::LinkForeignHost { host: text } | Self::LinkWrongScheme { scheme: text } => write!(f, "{name}={text}"),
            Self::Close { code, after } => write!(f, "{name}={code}@{after}"),
            Self::Fragments { size } => write!(f, "{name}={size}"),
            Self::Oversize { size } => write!(f, "{name}={size}"),
            _ => match self.after() {
                Some(after) => write!(f, "{name}={after}"),
                None => f.write_str(name),
            },
        }
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    /// # Errors
    /// The name is unknown, or the argument is not what [`Description::argument`] says.
    fn from_str(text: &str) -> Result<Self, anyhow::Error> {
        table::parse(text)
    }
}
