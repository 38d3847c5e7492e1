//! A simulated PAI-DLC as its clients meet it: over real sockets, with real shells.

#![allow(clippy::unwrap_used, reason = "in helpers of tests, too, a panic is the message")]

mod api;
mod faults;
mod support;
mod terminal;
