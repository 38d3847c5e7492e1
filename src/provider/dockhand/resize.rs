//! Sizes over HTTP, as Dockhand's documentation has them.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use polytty_dialect::Size;
use tokio::time::timeout;

use super::super::BoxFuture;
use super::account::Account;

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells Dockhand the latest size, one call at a time: while one is under way, the sizes in between are left out.
pub(super) struct Resizer {
    account: Arc<Account>,
    /// `/api/exec/{id}/resize`
    path: String,
    environment: u32,
    wanted: Option<Size>,
    running: Option<BoxFuture<'static, Result<(), String>>>,
    /// It failed before; the log has heard of it.
    has_failed: bool,
}

impl Resizer {
    /// For an exec instance of an environment; `id` is checked to be fit for a path.
    pub(super) fn new(account: Arc<Account>, id: &str, environment: u32) -> Self {
        let path = format!("/api/exec/{id}/resize");
        Self { account, path, environment, wanted: None, running: None, has_failed: false }
    }

    pub(super) fn resize(&mut self, size: Size) {
        self.wanted = Some(size);
    }

    /// Drives the calls. Never an end by itself: a terminal of the wrong size is one, too.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        loop {
            if let Some(running) = &mut self.running {
                let Poll::Ready(result) = running.as_mut().poll(cx) else { return };
                self.running = None;
                if let Err(why) = result
                    && !std::mem::replace(&mut self.has_failed, true)
                {
                    tracing::warn!(why = ?why, "a terminal at Dockhand was not resized");
                }
            }
            let Some(size) = self.wanted.take() else { return };
            let (account, environment) = (Arc::clone(&self.account), self.environment);
            let path = format!("{}?h={}&w={}&envId={environment}", self.path, size.rows(), size.cols());
            self.running = Some(Box::pin(async move {
                match timeout(PATIENCE, account.call(&path, None)).await {
                    Ok(Ok(reply)) if reply.status.is_success() => Ok(()),
                    Ok(Ok(reply)) => Err(format!("status {}", reply.status.as_u16())),
                    Ok(Err(failure)) => Err(failure.to_string()),
                    Err(_) => Err(format!("no answer within {PATIENCE:?}")),
                }
            }));
        }
    }
}
