//! The simulated ECI, seen over the wire by a plain client.

#![allow(clippy::unwrap_used, reason = "in helpers of tests, too, a panic is the message")]

mod api;
mod command;
mod faults;
#[path = "../pai_dlc/support.rs"]
#[allow(dead_code, reason = "only what knows nothing of PAI-DLC is used here")]
mod plain;
mod support;
mod terminal;
