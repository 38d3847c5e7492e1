//! Decthings: calls with a reply, and events, each one binary message with JSON and blobs.
//!
//! The API "Terminal" of Decthings launches terminals and tells of their output and end. One WebSocket serves any
//! number of terminals, each known by the id that its launch was answered with. So this wire is no
//! [`UpstreamDialect`](crate::UpstreamDialect), which has one terminal: [`Calls`] writes what goes up, [`Events`] reads
//! what comes down, and whoever owns the socket keeps account of who is who.
//!
//! | message | layout |
//! |---|---|
//! | call | `u32` id, `u8` number of blobs, length of the JSON, length of each blob, JSON, blobs |
//! | reply | `00`, `u32` id, length of the JSON, JSON, then length and bytes of each blob to the end |
//! | event | any other byte (`01`), `u8` length of the API's name, name, length of the JSON, JSON, blobs as above |
//! | body of an HTTP call | a call without its id, and only the parameters as JSON |
//! | body of an HTTP reply | a reply without `00` and id |
//!
//! Lengths are numbers of one to nine bytes ([`put_varint`]). A message is never larger than what it came in, and a
//! length that goes beyond its message is refused before anything is done with it.

mod call;
mod event;
mod fields;
mod reply;
mod varint;

pub use call::{Call, Calls, ExecutionLocation, Gpus, Launch, LauncherSpec};
pub use event::{Events, ExitReason, Incoming};
pub use reply::{ErrorCode, Refusal, Reply, read_body};
pub use varint::put_varint;

/// The longest JSON that is read in one message, in bytes. The documented ones are a few hundred.
pub const MAX_JSON: usize = 64 * 1024;

/// The longest id of a terminal that is taken, in bytes. Longer ones are as bad as none.
pub const MAX_SESSION_ID: usize = 256;

/// The name under which terminals are called, in calls and in events.
const API: &str = "Terminal";
