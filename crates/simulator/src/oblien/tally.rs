//! What has happened.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What has happened so far, and what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// REST calls of both planes that were answered as asked.
    pub calls_answered: u64,
    /// REST calls of both planes that were refused, by a fault of the control plane or rightly.
    pub calls_refused: u64,
    /// Requests for the place that a redirect of [`Fault::ApiRedirect`](crate::Fault::ApiRedirect) names.
    pub redirects_followed: u64,
    /// Tokens made, of whatever use.
    pub tokens_issued: u64,
    /// Handshakes that were answered with 101, or with what a fault makes of it.
    pub upgrades_taken: u64,
    /// Upgrades refused, by a fault or rightly.
    pub upgrades_refused: u64,
    /// WebSockets opened.
    pub sockets_opened: u64,
    /// WebSockets open now.
    pub sockets_open: u64,
    /// WebSockets ended because another one came, or as if another one had come.
    pub evictions: u64,
    /// Terminals created.
    pub terminals_created: u64,
    /// Terminals deleted by a call.
    pub terminals_deleted: u64,
    /// Terminals whose shell runs now.
    pub terminals_alive: u64,
    /// Bytes that terminals have said.
    pub output_bytes: u64,
    /// Bytes of input given to terminals.
    pub input_bytes: u64,
    /// Sizes applied to terminals after their creation.
    pub resizes: u64,
    /// Messages of clients that meant nothing: malformed, unknown, or for a terminal that is not there.
    pub messages_ignored: u64,
}

/// [`Counters`] in the making.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) calls_answered: AtomicU64,
    pub(super) calls_refused: AtomicU64,
    pub(super) redirects_followed: AtomicU64,
    pub(super) tokens_issued: AtomicU64,
    pub(super) upgrades_taken: AtomicU64,
    pub(super) upgrades_refused: AtomicU64,
    pub(super) sockets_opened: AtomicU64,
    pub(super) sockets_open: AtomicUsize,
    pub(super) evictions: AtomicU64,
    pub(super) terminals_created: AtomicU64,
    pub(super) terminals_deleted: AtomicU64,
    pub(super) output_bytes: AtomicU64,
    pub(super) input_bytes: AtomicU64,
    pub(super) resizes: AtomicU64,
    pub(super) messages_ignored: AtomicU64,
}

impl Tally {
    pub(super) fn counters(&self, terminals_alive: u64) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Counters {
            calls_answered: read(&self.calls_answered),
            calls_refused: read(&self.calls_refused),
            redirects_followed: read(&self.redirects_followed),
            tokens_issued: read(&self.tokens_issued),
            upgrades_taken: read(&self.upgrades_taken),
            upgrades_refused: read(&self.upgrades_refused),
            sockets_opened: read(&self.sockets_opened),
            sockets_open: self.sockets_open.load(Ordering::SeqCst) as u64,
            evictions: read(&self.evictions),
            terminals_created: read(&self.terminals_created),
            terminals_deleted: read(&self.terminals_deleted),
            terminals_alive,
            output_bytes: read(&self.output_bytes),
            input_bytes: read(&self.input_bytes),
            resizes: read(&self.resizes),
            messages_ignored: read(&self.messages_ignored),
        }
    }
}
