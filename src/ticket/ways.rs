//! The ways to resume links: which replica owns the session that a link leads back to, noted in the shared store.
//!
//! The links themselves stay in the memory of their replica ([`ResumeLinks`]); what is noted here only leads others to it.
//! It is written in the background and may lag behind. What is written is always the state of now, so that nothing hangs on
//! its being written once or in order, and all of it is written again whenever a store is connected.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep};

use super::redis::way_key;
use super::{Hash, ReplicaId, ResumeLinks};
use crate::redis::{CallError, Link, Redis, cmd};

/// Ways that are written at once.
const AT_ONCE: usize = 64;

/// After a way could not be written, all are written again after so long.
const RETRY: Duration = Duration::from_secs(1);

/// Notes the ways of one replica.
pub struct Ways {
    redis: Arc<Redis>,
    replica: ReplicaId,
    links: Arc<ResumeLinks>,
    changes: Receiver<Hash>,
}

impl Ways {
    /// Notes in `redis` that `links` lead to `replica`. Of two for the same links, the later one hears of changes.
    #[must_use]
    pub fn new(redis: Arc<Redis>, replica: ReplicaId, links: Arc<ResumeLinks>) -> Self {
        let changes = links.changes();
        Self { redis, replica, links, changes }
    }

    /// Writes what changes, forever.
    pub async fn keep_noted(mut self) {
        let mut store = self.redis.watch();
        loop {
            let Ok(link) = store.wait_for(|state| state.link().is_some()).await.map(|state| state.link().cloned())
            else {
                return;
            };
            let Some(link) = link else { continue };
            if let Err(error) = self.while_connected(&link).await {
                tracing::debug!(why = %error, "the ways of resume links could not be noted");
                sleep(RETRY).await;
            }
        }
    }

    /// Writes all ways, and then those that change, until the link is of no more use. `Ok` if that may be by chance.
    async fn while_connected(&mut self, link: &Link) -> Result<(), CallError> {
        // What changes from here on is told again.
        while self.changes.try_recv().is_ok() {}
        self.links.missed();
        self.note(link, &self.links.live()).await?;
        let mut batch = Vec::with_capacity(AT_ONCE);
        loop {
            batch.clear();
            tokio::select! {
                () = link.broken() => return Ok(()),
                received = self.changes.recv_many(&mut batch, AT_ONCE) => if received == 0 {
                    // Somebody else hears of the changes now.
                    std::future::pending::<()>().await;
                },
            }
            self.note(link, &batch).await?;
            if self.links.missed() {
                return Ok(());
            }
        }
    }

    async fn note(&self, link: &Link, hashes: &[Hash]) -> Result<(), CallError> {
        let replica = self.replica.to_string();
        for some in hashes.chunks(AT_ONCE) {
            let now = Instant::now();
            let mut writes = Vec::with_capacity(some.len());
            for hash in some {
                let Some(known_for) = self.links.known_for(*hash, now) else { continue };
                let mut set = cmd("SET");
                // At least a millisecond: zero would be an error.
                set.arg(way_key(*hash)).arg(&replica).arg("PX").arg(known_for.as_millis().max(1) as u64);
                writes.push(link.call::<()>(set));
            }
            try_join_all(writes).await?;
        }
        Ok(())
    }
}
