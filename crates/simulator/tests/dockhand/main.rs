//! A simulated Dockhand as its clients meet it: over real sockets, with real shells.

#![allow(clippy::unwrap_used, reason = "in helpers of tests, too, a panic is the message")]

mod api;
mod documented;
mod faults;
mod login;
mod support;
mod terminal;
mod traps;
