//! A simulated Decthings as its clients meet it: over real sockets, with real shells.

#![allow(clippy::unwrap_used, reason = "in helpers of tests, too, a panic is the message")]

mod connection;
mod faults;
mod http;
mod lifecycle;
mod support;
mod terminal;
