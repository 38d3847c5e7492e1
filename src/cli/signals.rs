//! Signals: the first asks for an end in order, the second for an end.

use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, and SIGHUP where it means the same.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())?, hangup: None })
    }

    /// For a program that belongs to a terminal: its closing is an end, too.
    pub(super) fn with_hangup() -> anyhow::Result<Self> {
        Ok(Self { hangup: Some(signal(SignalKind::hangup())?), ..Self::new()? })
    }

    /// Waits for the next one.
    pub(super) async fn recv(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
            _ = async { self.hangup.as_mut()?.recv().await }, if self.hangup.is_some() => {}
        }
    }

    /// From here on, the next one ends the process at once, after `last` was done.
    pub(super) fn force_on_next(mut self, last: impl FnOnce() + Send + 'static) {
        tokio::spawn(async move {
            self.recv().await;
            last();
            eprintln!("polytty: forced to end");
            process::exit(1);
        });
    }
}

/// SIGHUP, where it asks for a reload. From here on it no longer ends the process, also when nobody waits for it.
pub(super) struct Hangup(Signal);

impl Hangup {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// Waits for the next one; several that come at once count as one.
    pub(super) async fn recv(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
