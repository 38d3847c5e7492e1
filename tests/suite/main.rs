//! The stories that are told of a whole running polytty: real TLS, real sockets, real shells, on loopback.

mod api;
mod cli;
mod common;
mod faults;
mod links;
mod signing;
mod stalled;
mod terminal;
