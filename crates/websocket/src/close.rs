//! The body of a Close frame.

use std::fmt;

use crate::Error;

/// The longest reason of a Close, in bytes: a control frame's payload less the two bytes of the code.
pub(crate) const MAX_REASON: usize = crate::MAX_CONTROL - 2;

/// A status code that may stand in a Close frame (RFC 6455, sections 7.4.1 and 7.4.2).
///
/// These are 1000–1003 and 1007–1011, the registered 1012 and 1013, and 3000–4999. 1005, 1006 and 1015 say that there
/// was no code and are never sent; the rest of 1004–2999 is without a meaning, below 1000 and from 5000 on nothing is
/// defined.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: what the connection was for is done.
    pub const NORMAL: Self = Self(1000);
    /// 1001: this end goes away.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// 1007: what the peer sent is not what its kind promises.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1009: a message is too big.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: something went wrong at this end.
    pub const INTERNAL: Self = Self(1011);

    /// `None` for a code that must not be sent.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1013 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a connection is closed (section 5.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// For the program.
    pub code: CloseCode,
    /// For a person; empty when there is none. From a peer at most 123 bytes, and not to be trusted in a log.
    pub reason: &'a str,
}

impl<'a> Close<'a> {
    /// Reads the body of a Close frame. `None` for an empty one (1005 to those who ask for a code).
    ///
    /// # Errors
    ///
    /// [`Error::ShortClose`], [`Error::Utf8`], [`Error::CloseCode`].
    pub(crate) fn parse(body: &'a [u8]) -> Result<Option<Self>, Error> {
        let (code, reason) = match body {
            [] => return Ok(None),
            [_] => return Err(Error::ShortClose),
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        };
        let reason = simdutf8::basic::from_utf8(reason).map_err(|_| Error::Utf8)?;
        let code = CloseCode::new(code).ok_or(Error::CloseCode)?;
        Ok(Some(Self { code, reason }))
    }
}
