//! The stories that are told of a whole running polytty: real TLS, real sockets, real shells, on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on fails here and now")]

mod api;
mod attacks;
mod certificates;
mod cli;
mod common;
mod connect;
mod descriptors;
mod docs;
mod endurance;
mod faults;
mod identities;
mod issuer;
mod limits;
mod links;
mod modes;
mod recording;
mod reload;
mod shared;
mod signing;
mod stalled;
mod terminal;
mod way_back;
