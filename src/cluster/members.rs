//! Who is there: a list in the store, of which every replica keeps one line fresh.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::ReplicaId;
use crate::config::Authority;
use crate::redis::{CallError, Redis, Script};

/// How long a line holds that is not renewed: a replica that is gone without a word is gone for the others by then.
pub(super) const LEASE: Duration = Duration::from_secs(10);

/// How often it is renewed.
pub(super) const RENEW: Duration = Duration::from_secs(3);

/// The list: a hash of the replicas' ids, with the time until which each line holds (in milliseconds of the store's
/// clock), a space, and where it is reached.
pub(super) const LIST: &[u8] = b"polytty:replicas";

/// Renews a line, sweeps out those that hold no longer, and returns the others. Each replica does so every three seconds,
/// so that all know of all: some sixty bytes a line.
const REFRESH: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now + ARGV[2]) .. ' ' .. ARGV[3])
local lines = redis.call('HGETALL', KEYS[1])
local live = {}
for at = 1, #lines, 2 do
  if tonumber(string.match(lines[at + 1], '^%d+')) > now then
    live[#live + 1] = lines[at]
    live[#live + 1] = lines[at + 1]
  else
    redis.call('HDEL', KEYS[1], lines[at])
  end
end
return live
";

/// The replicas, as far as this one knows.
pub struct Members {
    me: ReplicaId,
    address: String,
    redis: Arc<Redis>,
    refresh: Script,
    known: RwLock<Known>,
    /// Somebody wants to know at once.
    asked: Notify,
    /// The list has been read.
    read: Notify,
    has_left: AtomicBool,
}

/// What was read last.
#[derive(Default)]
struct Known {
    /// Where the others are reached.
    others: HashMap<ReplicaId, Authority>,
    /// When that was asked for, of a store that had been there for long enough for all of them to say that they are.
    settled: Option<Instant>,
}

/// What is known of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is reached there.
    At(Authority),
    /// It is not in the list.
    Gone,
    /// The list cannot be read now, or has yet to be filled.
    Unknown,
}

impl Members {
    pub(super) fn new(me: ReplicaId, advertise: &Authority, redis: Arc<Redis>) -> Arc<Self> {
        Arc::new(Self {
            me,
            address: advertise.to_string(),
            redis,
            refresh: Script::new(REFRESH),
            known: RwLock::default(),
            asked: Notify::new(),
            read: Notify::new(),
            has_left: AtomicBool::new(false),
        })
    }

    /// All but this one.
    pub(super) fn others(&self) -> Vec<ReplicaId> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).others.keys().copied().collect()
    }

    /// Where a replica is reached. One that is not known is looked for once more, for as long as a renewal takes.
    ///
    /// While the store is away, nobody is forgotten: the list stays as it was read last.
    pub(super) async fn find(&self, id: ReplicaId) -> Found {
        if let Some(known) = self.get(id) {
            return Found::At(known);
        }
        let asked = Instant::now();
        let read = self.read.notified();
        self.asked.notify_one();
        let _ = timeout(RENEW, read).await;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.others.get(&id) {
            Some(address) => Found::At(address.clone()),
            None if known.settled.is_some_and(|at| at >= asked) => Found::Gone,
            None => Found::Unknown,
        }
    }

    fn get(&self, id: ReplicaId) -> Option<Authority> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).others.get(&id).cloned()
    }

    /// Keeps this replica's line, and what it knows of the others, fresh.
    pub(super) async fn keep_known(&self) {
        let mut state = self.redis.watch();
        loop {
            if let Err(error) = self.renew().await {
                tracing::debug!(error = ?error.to_string(), "this replica's line in the list was not renewed");
            }
            tokio::select! {
                () = sleep(RENEW) => {}
                // A store that is back may have forgotten this replica.
                _ = state.changed() => {}
                // At most five times a second, whoever asks.
                () = self.asked.notified() => sleep(RENEW / 15).await,
            }
        }
    }

    async fn renew(&self) -> Result<(), CallError> {
        if self.has_left.load(Ordering::Relaxed) {
            return Ok(());
        }
        let lease = LEASE.as_millis().to_string();
        let id = self.me.to_string();
        let arguments = [id.as_bytes(), lease.as_bytes(), self.address.as_bytes()];
        let link = self.redis.link()?;
        let asked = Instant::now();
        let is_settled = link.begun().at + LEASE <= asked;
        let lines: Vec<(String, String)> = link.run(&self.refresh, &[LIST], &arguments).await?;
        let others = lines.iter().filter_map(|(id, line)| {
            let (_, address) = line.split_once(' ')?;
            Some((id.parse().ok()?, address.parse().ok()?))
        });
        let mut others: HashMap<ReplicaId, Authority> = others.filter(|(id, _)| *id != self.me).collect();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if !is_settled {
            // The list has begun anew: who is not in it yet may still come.
            known.others.iter().for_each(|(id, address)| _ = others.entry(*id).or_insert_with(|| address.clone()));
        }
        for (id, address) in others.iter().filter(|(id, _)| !known.others.contains_key(*id)) {
            tracing::info!(replica = %id, address = %address, "another replica is there");
        }
        for id in known.others.keys().filter(|id| !others.contains_key(*id)) {
            tracing::info!(replica = %id, "another replica is gone");
        }
        *known = Known { others, settled: if is_settled { Some(asked) } else { known.settled } };
        drop(known);
        self.read.notify_waiters();
        Ok(())
    }

    /// Takes this replica out of the list, for good.
    pub(super) async fn leave(&self) {
        self.has_left.store(true, Ordering::Relaxed);
        let Ok(link) = self.redis.link() else { return };
        let mut call = crate::redis::cmd("HDEL");
        call.arg(LIST).arg(self.me.to_string());
        let _ = link.call::<i64>(call).await;
    }
}
