//! Stories of the simulated Oblien, told over the wire by a client that shares no code with it.

#![allow(clippy::unwrap_used, reason = "in helpers of tests, too, a panic is the message")]

mod faults;
mod planes;
mod socket;
mod support;
mod terminals;
