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
//!
//! A session that has the connection to itself may pace it ([`Line::pace`]): the hub stops reading at [`HELD`], and
//! waits while the client reads, however slowly; only a client that takes nothing for [`PATIENCE`] is let go then.

mod bell;
mod line;
mod upstream;

use std::time::Duration;

pub(super) use bell::Bell;
pub(super) use line::{Line, LineId, Want};
pub(super) use upstream::SharedUpstream;

/// Output that may wait for a session before its client is let go, in bytes.
pub(super) const FULL: usize = 256 << 10;

/// Output that may wait for a session that has the connection to itself, in bytes, before the hub waits for it.
pub(super) const HELD: usize = FULL / 8;

/// How long such a session may take nothing while the hub waits for it. What else the connection carries waits as long:
/// pings, and the ends of terminals.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Output that may wait for a session whose client was let go, in bytes, before the hub waits for that session's task.
pub(super) const CHOKED: usize = 2 * FULL;
