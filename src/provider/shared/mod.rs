//! Terminals that share one connection to their provider.
//!
//! The connection belongs to one task, the *hub*, which speaks the provider's protocol. Between the hub and each
//! session lies a [`Line`]: what the terminal has said and the session has not taken yet, and what the session wants
//! and the hub has not done yet. The session holds one end, a [`SharedUpstream`]; the hub holds the other.
//!
//! One connection knows no pace per terminal, so the hub never waits for a client. Output goes into the line, and when
//! more than [`FULL`] waits there, the session lets its client go (`fell_behind`) and reads on by itself. A session
//! without a client waits for nobody, so what is beyond [`FULL`] is only what arrives until its task has its turn; at
//! [`CHOKED`] the hub stops reading until then. Nothing is dropped.

mod bell;
mod line;
mod upstream;

pub(super) use bell::Bell;
pub(super) use line::{Line, LineId, Want};
pub(super) use upstream::SharedUpstream;

/// Output that may wait for a session before its client is let go, in bytes.
pub(super) const FULL: usize = 256 << 10;

/// Output that may wait for a session whose client was let go, in bytes, before the hub waits for that session's task.
pub(super) const CHOKED: usize = 2 * FULL;
