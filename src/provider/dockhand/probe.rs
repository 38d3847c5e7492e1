//! Whether Dockhand asks strangers who they are. Nothing that polytty may call tells its version, but versions up to 1.0.33
//! give a terminal to whoever asks, and so does any version whose authentication is off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::account::Account;
use super::upstream::OPTIONS;
use crate::socket::Socket;

/// A container that there is hardly one of: the upgrade is answered before anybody looks for it.
const NOBODYS: &str = "/api/containers/none/exec?envId=1";

/// How long the answer may take, and how long Dockhand is given to take our leave.
const WITHIN: Duration = Duration::from_secs(10);
const FAREWELL: Duration = Duration::from_secs(1);

/// One question to a Dockhand, asked once.
#[derive(Debug)]
pub(super) struct Probe {
    /// Of the provider, for the log.
    name: String,
    is_due: AtomicBool,
}

impl Probe {
    pub(super) fn new(name: String) -> Self {
        Self { name, is_due: AtomicBool::new(true) }
    }

    /// Asks, beside whatever else happens, unless that was done before. What comes of it is logged.
    pub(super) fn ask_once(&self, account: &Arc<Account>) {
        if !self.is_due.swap(false, Ordering::Relaxed) {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(ask(self.name.clone(), Arc::clone(account)));
        }
    }

    /// Leaves it unasked.
    #[cfg(test)]
    pub(super) fn forgo(&self) {
        self.is_due.store(false, Ordering::Relaxed);
    }
}

async fn ask(name: String, account: Arc<Account>) {
    match timeout(WITHIN, account.dial_as_stranger(NOBODYS)).await {
        Ok(Ok((stream, read))) => {
            tracing::warn!(
                provider = ?name,
                "Dockhand gives a terminal to whoever asks: it is version 1.0.33 or older, or its authentication is off. \
                 Whoever reaches it has a shell in every container; use 1.0.36 or later, with authentication"
            );
            Socket::new(stream, &read, OPTIONS).leave_by(Instant::now() + FAREWELL, 1000, "").await;
        }
        Ok(Err(refusal)) => tracing::debug!(provider = ?name, ?refusal, "Dockhand gives no terminal to strangers"),
        Err(_) => tracing::debug!(provider = ?name, "Dockhand does not say whether it gives terminals to strangers"),
    }
}
