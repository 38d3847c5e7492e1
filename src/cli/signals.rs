//! Signals: the first asks for an end in order, the second for an end.

use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, and SIGHUP where it is asked for.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub(super) async fn recv(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }

    /// From here on, the next one ends the process at once.
    pub(super) fn force_on_next(mut self) {
        tokio::spawn(async move {
            self.recv().await;
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
