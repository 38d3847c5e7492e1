//! What polytty's hot paths are measured with, by benches, by tests of allocation and by counts of instructions.
//!
//! A [`Case`] is one way through a codec, or through two that meet, made of the very calls that the proxy makes. Over a
//! [`Corpus`] and a length of messages it becomes a [`Path`], which takes one message at each [`Path::step`]. What comes
//! out at the other end is compared with what went in before a path is handed out: its other end is a [`Wire`], which shares
//! no code with the codecs.

#![allow(clippy::expect_used, reason = "what measures must end where it would measure something else")]

mod case;
mod corpus;
mod path;
mod wire;

pub use case::{Case, Contents, cases};
pub use corpus::Corpus;
pub use path::{Path, TURN};
pub use wire::Wire;

/// Lengths of messages, in bytes of what they hold: an echoed line, what a pipe or a TTY gives at once, and more.
pub const SIZES: [usize; 4] = [64, 1024, 4 * 1024, 16 * 1024];
