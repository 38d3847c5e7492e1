//! The client's side of `polytty.v1`: a terminal at the far end of a link, through as many connections as it takes.
//!
//! [`Conversation`] is the protocol without input or output: which bytes of output are new, which input has to be sent
//! again, what a Close means. [`Connection`] is one WebSocket. [`Client`] puts both together and dials again whenever
//! a connection is lost; `polytty connect` is a terminal around it.
//!
//! The way of a byte: keyboard → [`Client::type_bytes`] → kept until the session has taken it → binary message; and
//! binary message → [`Event::Output`], each byte of the session once → screen → [`Client::consumed`] → `ack`.

mod backoff;
mod connection;
mod conversation;
mod dialling;
mod ledger;
mod link;
mod outcome;
mod word;

pub(crate) use backoff::Backoff;
pub use connection::{ConnectError, Connection};
pub use conversation::{Broken, Conversation, End, Event, Output, Resume, Verdict};
pub use dialling::{Client, Options};
pub use ledger::MAX_KEPT;
pub use link::Link;
pub use outcome::Outcome;
