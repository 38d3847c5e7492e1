//! polytty: a TLS-terminating reverse proxy for web terminals.
//!
//! It accepts one normalized client protocol, opens the session at whichever provider, and translates framing both
//! ways. The binary is the product; this library is its inside, laid out so that every part can be tested on its own.
//!
//! The way of a byte: [`edge`] (TLS, HTTP, upgrade) → [`ticket`] (a link is redeemed, once) → [`session`] (events are
//! pumped) → [`provider`] (a terminal at a service). [`control`] is the HTTP API beside it, [`app`] the one place that
//! wires a [`config`]uration into a running whole. [`client`] is the other end of a link.

pub mod app;
pub mod auth;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod config;
pub mod control;
pub mod edge;
pub mod limit;
pub mod live;
pub mod observe;
mod pem;
pub mod provider;
pub mod recording;
pub mod redis;
pub mod respond;
pub mod session;
pub mod socket;
pub mod ticket;
mod tls;

#[cfg(feature = "fuzzing")]
pub use tls::fuzz as tls_fuzz;
