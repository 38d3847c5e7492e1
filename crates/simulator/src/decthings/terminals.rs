//! The sessions that run, by their ids.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Server, exit::ExitReason, terminal::Terminal};

/// How often sessions without input are looked for.
const EVERY: Duration = Duration::from_millis(100);

/// The sessions that run. There are as many as there may be shells.
#[derive(Debug, Default)]
pub(super) struct Terminals(Mutex<HashMap<String, Arc<Terminal>>>);

impl Terminals {
    pub(super) fn insert(&self, terminal: &Arc<Terminal>) {
        self.lock().insert(terminal.id.clone(), Arc::clone(terminal));
    }

    pub(super) fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Terminal>> {
        self.lock().get(id).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// All of them, the oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Terminal>> {
        let mut all: Vec<_> = self.lock().values().cloned().collect();
        all.sort_by(|one, other| (one.started_at, &one.id).cmp(&(other.started_at, &other.id)));
        all
    }

    /// What `getTerminalSessions` answers: those with these ids, or all. `startedAt` is in milliseconds since 1970.
    pub(super) fn list(&self, ids: Option<&[&str]>) -> Value {
        let shown = self.all().into_iter().filter(|terminal| ids.is_none_or(|ids| ids.contains(&terminal.id.as_str())));
        let shown = shown.map(|terminal| {
            let started = terminal.started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            json!({
                "id": terminal.id,
                "startedAt": u64::try_from(started.as_millis()).unwrap_or(u64::MAX),
                "modelId": terminal.model_id,
                "executionLocation": terminal.location,
            })
        });
        json!({"terminalSessions": shown.collect::<Vec<_>>()})
    }

    /// The subscriptions to all of them.
    pub(super) fn subscriptions(&self) -> usize {
        self.all().iter().map(|terminal| terminal.subscriptions()).sum()
    }

    /// Ends all subscriptions of a connection.
    pub(super) fn unsubscribe(&self, connection: u64) {
        for terminal in self.all() {
            terminal.unsubscribe(connection);
        }
    }

    /// Ends those that `which` is true for; returns how many.
    pub(super) fn end(&self, reason: &ExitReason, which: impl Fn(&Terminal) -> bool) -> usize {
        self.all().iter().filter(|terminal| which(terminal) && terminal.end(reason.clone())).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Terminal>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends sessions that had no input for too long, by the simulator's clock, until the simulator ends.
pub(super) async fn end_inactive(server: Arc<Server>) {
    loop {
        tokio::select! {
            () = server.site.cancel.cancelled() => return,
            () = sleep(EVERY) => {}
        }
        let now = server.clock.now();
        server.terminals.end(&ExitReason::InactiveTimeout, |terminal| terminal.is_inactive(now));
    }
}
