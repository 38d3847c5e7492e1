//! What every simulated provider is made of, whatever it speaks: its [place on the network](Site), HTTP/1.1 behind
//! [guards](Service), the [opening handshake](Handshake) of a WebSocket, the [way out](Outlet) of its messages with the
//! faults that lie on it, and its [end](part).

mod body;
mod handshake;
mod outlet;
mod parting;
mod pings;
mod query;
mod service;
mod site;

pub(crate) use body::{Body, collect, empty, endless, full};
pub(crate) use handshake::{Handshake, refused_upgrade};
pub(crate) use outlet::{CHUNK, Messages, Outlet, Samples, Wire, limits, short_frame};
pub(crate) use parting::{Stop, next, part};
pub(crate) use pings::Pings;
pub(crate) use query::{Query, decoded_pairs};
pub(crate) use service::{Answer, Refusal, Service, only};
pub(crate) use site::{Permit, Place, Site};

/// Adds to a counter of what has happened.
pub(crate) fn count(counter: &std::sync::atomic::AtomicU64, by: usize) {
    counter.fetch_add(by as u64, std::sync::atomic::Ordering::SeqCst);
}
