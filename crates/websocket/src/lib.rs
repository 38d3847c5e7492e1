//! WebSocket frames (RFC 6455, section 5) as a codec without input or output.
//!
//! It has no socket, no clock, no task and no randomness of its own, and it knows nothing of the opening handshake
//! (section 4) or of extensions (section 9): the reserved bits must be zero.
//!
//! # Decoding
//!
//! A [`Decoder`] belongs to one connection, the memory that is read into need not: many connections of a thread can
//! share one scratch buffer. [`Decoder::decode`] is called for one [`Event`] after another. A message that lies whole
//! in the input is unmasked where it lies and borrowed from there; nothing is copied. Only what is incomplete when the
//! input ends is kept by the decoder: up to 13 bytes of a header within itself, and the payload of an unfinished
//! message, unmasked and joined, in a buffer of its own. Between messages it owns no heap memory at all.
//!
//! ```
//! use polytty_websocket::{Decoder, Event, Kind, Limits, Role};
//!
//! # fn main() -> Result<(), polytty_websocket::Error> {
//! let mut decoder = Decoder::new(Role::Server, Limits { max_message: 1024 * 1024 });
//! // The examples of RFC 6455, section 5.7: a masked "Hello", then a Ping whose payload is still on its way.
//! let mut scratch = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x89\x85\x37\xfa\x21\x3d\x7f";
//! let mut rest = &mut scratch[..];
//! while let Some(event) = decoder.decode(&mut rest)? {
//!     assert_eq!(event, Event::Message { kind: Kind::Text, payload: b"Hello" });
//! }
//! assert!(rest.is_empty(), "what is incomplete is in the decoder now");
//!
//! let mut scratch = *b"\x9f\x4d\x51\x58";
//! assert_eq!(decoder.decode(&mut &mut scratch[..])?, Some(Event::Ping(b"Hello")));
//! # Ok(())
//! # }
//! ```
//!
//! # Encoding
//!
//! An [`Encoder`] appends whole frames to a buffer of the caller, header and payload side by side, so that many
//! messages become one write. A payload can also be written straight into that buffer, behind room left for its header
//! ([`Encoder::message_with`]). Messages are never fragmented.
//!
//! # Rules and limits
//!
//! | rule | section | [`Error`] | close code |
//! |---|---|---|---|
//! | reserved bits are zero | 5.2 | [`Error::ReservedBits`] | 1002 |
//! | opcodes 3–7 and 11–15 are reserved | 5.2 | [`Error::ReservedOpcode`] | 1002 |
//! | a client masks, a server does not | 5.1 | [`Error::Unmasked`], [`Error::Masked`] | 1002 |
//! | lengths take the fewest bytes, and at most 63 bits | 5.2 | [`Error::LongLength`], [`Error::HugeLength`] | 1002 |
//! | a continuation continues something, and nothing else does | 5.4 | [`Error::StrayContinuation`], [`Error::Interrupted`] | 1002 |
//! | control frames are whole and carry at most 125 bytes | 5.5 | [`Error::FragmentedControl`], [`Error::LongControl`] | 1002 |
//! | a Close is empty or has a code that may be sent | 5.5.1, 7.4 | [`Error::ShortClose`], [`Error::CloseCode`] | 1002 |
//! | text, and the reason of a Close, is UTF-8 | 5.6, 8.1 | [`Error::Utf8`] | 1007 |
//! | a message is at most [`Limits::max_message`] bytes | 10.4 | [`Error::TooLong`] | 1009 |
//!
//! Each is found as soon as the bytes that break it are there: a reserved bit in the first byte of a header, a length
//! over the limit before any of the payload, a byte that cannot be text before the rest of its frame. Of two faults in
//! one header, the one that comes first on the wire counts; the limit counts last.

mod assembly;
mod close;
mod decoder;
mod encoder;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
mod head;
mod mask;

pub use close::{Close, CloseCode};
pub use decoder::{Decoder, Event, Limits};
pub use encoder::{Begun, Encoder};
pub use error::Error;
#[cfg(any(test, feature = "fuzzing"))]
pub use fuzz::fuzz_decoder;
pub use mask::mask;

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We accepted it: what we read is masked, what we write is not.
    Server,
    /// We opened it: what we write is masked, what we read is not.
    Client,
}

/// The two kinds of data message (section 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text. The decoder has checked it; the encoder takes it as it is.
    Text,
    /// Any bytes.
    Binary,
}

/// The longest payload of a control frame, in bytes (section 5.5).
pub const MAX_CONTROL: usize = 125;

/// The longest header of a frame, in bytes (section 5.2): two, eight of length, four of masking key.
pub const MAX_HEADER: usize = 14;
