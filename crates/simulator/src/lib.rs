//! Simulated terminal providers: the provider's own API and wire, with a real PTY and a real shell behind them, and
//! [faults on demand](Fault).
//!
//! A simulator is a reading of a provider's public documents, made without looking at the code that it is used to
//! test. Where the documents are silent it is strict: what a client should not rely on, it does not offer.
//!
//! Whatever serves a shell on this machine is guarded here as a production service would be: credentials are made anew
//! at each start, the listener refuses any address but loopback unless told otherwise, and requests that carry another
//! host's name or a foreign `Origin` are refused before anything looks at them.

mod alibaba;
mod clock;
pub mod decthings;
pub mod dockhand;
pub mod eci;
mod fault;
mod kind;
mod mode;
mod net;
pub mod oblien;
pub mod pai_dlc;
mod pty;
mod random;
mod text;
mod web;

pub use clock::{Clock, ManualClock};
pub use fault::{Description, Fault, FaultSwitch, Stage};
pub use kind::{Kind, Simulator, Start};
pub use mode::Mode;
