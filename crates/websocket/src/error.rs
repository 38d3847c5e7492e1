//! What a peer can do wrong.

use std::fmt;

use crate::CloseCode;

/// How a peer broke the protocol or the limit. The connection has to be failed (RFC 6455, section 7.1.7) with
/// [`Error::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A reserved bit is set, though no extension was agreed on.
    ReservedBits,
    /// An opcode without a meaning.
    ReservedOpcode,
    /// A client sent a frame without a mask.
    Unmasked,
    /// A server sent a frame with a mask.
    Masked,
    /// A length is written with more bytes than it needs.
    LongLength,
    /// A length has its most significant bit set.
    HugeLength,
    /// A continuation of nothing.
    StrayContinuation,
    /// A new message begins inside of a fragmented one.
    Interrupted,
    /// A control frame is fragmented.
    FragmentedControl,
    /// A control frame carries more than [`MAX_CONTROL`](crate::MAX_CONTROL) bytes.
    LongControl,
    /// The body of a Close is one byte.
    ShortClose,
    /// A Close has a code that must not be sent.
    CloseCode,
    /// A text message, or the reason of a Close, is not UTF-8.
    Utf8,
    /// A message is over [`Limits::max_message`](crate::Limits::max_message).
    TooLong,
}

impl Error {
    /// The code to close with: 1002, 1007 or 1009.
    #[must_use]
    pub const fn code(self) -> CloseCode {
        match self {
            Self::Utf8 => CloseCode::INVALID_DATA,
            Self::TooLong => CloseCode::TOO_BIG,
            _ => CloseCode::PROTOCOL,
        }
    }

    /// What happened, in words that fit into a Close. They never hold what the peer sent.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "a reserved bit is set",
            Self::ReservedOpcode => "the opcode is reserved",
            Self::Unmasked => "a client's frame is not masked",
            Self::Masked => "a server's frame is masked",
            Self::LongLength => "a length has more bytes than it needs",
            Self::HugeLength => "a length has more than 63 bits",
            Self::StrayContinuation => "a frame continues nothing",
            Self::Interrupted => "a message begins inside of another",
            Self::FragmentedControl => "a control frame is fragmented",
            Self::LongControl => "a control frame is over 125 bytes",
            Self::ShortClose => "a Close has half a code",
            Self::CloseCode => "a Close has a code that must not be sent",
            Self::Utf8 => "text is not UTF-8",
            Self::TooLong => "a message is over the limit",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Error {}
