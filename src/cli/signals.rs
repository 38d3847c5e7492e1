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

/// Keeps SIGHUP from ending the process: this version does not reload.
pub(super) fn survive_hangup() -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::warn!("this version does not reload its configuration; restart it");
        }
    });
    Ok(())
}
