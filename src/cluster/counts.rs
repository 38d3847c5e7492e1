//! Counts that all replicas share: sessions of a subject, sessions at a provider.
//!
//! Each count is a hash in the store with one field a replica, and it is the sum of the fields of those that are there. So
//! what a replica held is free again when it is gone, and what the store has forgotten each replica says anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{RwLock, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use super::ReplicaId;
use super::members::LIST;
use crate::redis::{CallError, Link, Redis, Script};

/// How often each replica says its counts anew, and how long what it said holds.
const AGAIN: Duration = Duration::from_secs(30);
const HOLDS: Duration = Duration::from_secs(120);

/// Counts that are said anew with one call.
const BATCH: usize = 200;

/// Ends of sessions that wait to be told. At the bound, they are left to the next time that all is said anew.
const MAX_ENDED: usize = 4096;

/// Adds one to each count, if none of them is full; else returns which one is.
const RESERVE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local live = {[ARGV[1]] = true}
local lines = redis.call('HGETALL', KEYS[1])
for at = 1, #lines, 2 do
  if tonumber(string.match(lines[at + 1], '^%d+')) > now then live[lines[at]] = true end
end
for at = 2, #KEYS do
  local sum = 0
  local fields = redis.call('HGETALL', KEYS[at])
  for field = 1, #fields, 2 do
    if live[fields[field]] then sum = sum + tonumber(fields[field + 1]) end
  end
  if sum >= tonumber(ARGV[at + 1]) then return at - 1 end
end
for at = 2, #KEYS do
  redis.call('HINCRBY', KEYS[at], ARGV[1], 1)
  redis.call('PEXPIRE', KEYS[at], ARGV[2])
end
return 0
";

/// Sets this replica's field of each count, and takes it out where it is zero.
const SAY: &str = r"
for at = 1, #KEYS do
  if ARGV[at + 2] == '0' then
    redis.call('HDEL', KEYS[at], ARGV[1])
  else
    redis.call('HSET', KEYS[at], ARGV[1], ARGV[at + 2])
    redis.call('PEXPIRE', KEYS[at], ARGV[2])
  end
end
return #KEYS
";

/// The counts of this replica, and the way to those of the others.
pub struct Counts {
    me: ReplicaId,
    redis: Arc<Redis>,
    reserve: Script,
    say: Script,
    /// What this replica holds. What has come to zero is there until the store was told, so there are never more entries
    /// than there were sessions when the store went away.
    own: Mutex<HashMap<Arc<str>, u32>>,
    /// Held for reading while one count changes here and in the store, for writing while all are said anew.
    changing: RwLock<()>,
    ended: mpsc::Sender<Arc<str>>,
    told: Mutex<Option<mpsc::Receiver<Arc<str>>>>,
}

/// One of each of some counts, until it is dropped.
pub struct Counted {
    counts: Arc<Counts>,
    names: Vec<Arc<str>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        for name in self.names.drain(..) {
            self.counts.subtract(&name);
            let _ = self.counts.ended.try_send(name);
        }
    }
}

/// Why nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCounted {
    /// The count at this place among those that were asked for is full.
    Full(usize),
    /// The store is away, or did not answer.
    Away,
}

impl Counts {
    pub(super) fn new(me: ReplicaId, redis: Arc<Redis>) -> Arc<Self> {
        let (ended, told) = mpsc::channel(MAX_ENDED);
        Arc::new(Self {
            me,
            redis,
            reserve: Script::new(RESERVE),
            say: Script::new(SAY),
            own: Mutex::default(),
            changing: RwLock::default(),
            ended,
            told: Mutex::new(Some(told)),
        })
    }

    /// Adds one to each of these counts, of which there may be so many, if all of them have room.
    ///
    /// # Errors
    ///
    /// [`NotCounted`]; nothing was added.
    pub async fn reserve(self: &Arc<Self>, names: &[(String, u32)]) -> Result<Counted, NotCounted> {
        let _changing = self.changing.read().await;
        let link = self.redis.link().map_err(|_| NotCounted::Away)?;
        let keys: Vec<Vec<u8>> = names.iter().map(|(name, _)| key(name)).collect();
        let mut arguments = vec![self.me.to_string(), HOLDS.as_millis().to_string()];
        arguments.extend(names.iter().map(|(_, max)| max.to_string()));
        let keys: Vec<&[u8]> = std::iter::once(LIST).chain(keys.iter().map(Vec::as_slice)).collect();
        let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
        let full: Result<usize, CallError> = link.run(&self.reserve, &keys, &arguments).await;
        let names: Vec<Arc<str>> = names.iter().map(|(name, _)| name.as_str().into()).collect();
        match full {
            Ok(0) => {
                names.iter().for_each(|name| *self.own().entry(name.clone()).or_default() += 1);
                Ok(Counted { counts: self.clone(), names })
            }
            Ok(at) => Err(NotCounted::Full(at - 1)),
            Err(_) => {
                // It may have been carried out: what is so is said.
                for name in names {
                    self.own().entry(name.clone()).or_default();
                    let _ = self.ended.try_send(name);
                }
                Err(NotCounted::Away)
            }
        }
    }

    /// Tells the store of ends, and says all counts anew now and then and whenever it is back.
    pub(super) async fn keep_said(&self) {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut told) = told else { return };
        let mut state = self.redis.watch();
        let mut again = interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(first) = told.recv() => {
                    let mut names = vec![first];
                    while let Ok(name) = told.try_recv() {
                        names.push(name);
                    }
                    let _changing = self.changing.write().await;
                    names.sort_unstable();
                    names.dedup();
                    self.say(&names).await;
                }
                _ = state.changed() => {
                    let is_there = state.borrow_and_update().link().is_some();
                    if is_there {
                        self.say_all().await;
                    }
                }
                _ = again.tick() => self.say_all().await,
            }
        }
    }

    async fn say_all(&self) {
        let _changing = self.changing.write().await;
        let names: Vec<_> = self.own().keys().cloned().collect();
        self.say(&names).await;
    }

    async fn say(&self, names: &[Arc<str>]) {
        let Ok(link) = self.redis.link() else { return };
        for batch in names.chunks(BATCH) {
            if let Err(error) = self.say_batch(&link, batch).await {
                tracing::debug!(error = ?error.to_string(), "the store was not told how many sessions there are");
                return;
            }
        }
    }

    async fn say_batch(&self, link: &Link, names: &[Arc<str>]) -> Result<(), CallError> {
        let keys: Vec<Vec<u8>> = names.iter().map(|name| key(name)).collect();
        let counts: Vec<u32> = {
            let own = self.own();
            names.iter().map(|name| own.get(name).copied().unwrap_or(0)).collect()
        };
        let mut arguments = vec![self.me.to_string(), HOLDS.as_millis().to_string()];
        arguments.extend(counts.iter().map(u32::to_string));
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
        link.run::<i64>(&self.say, &keys, &arguments).await?;
        // Nothing is added to meanwhile, so what was told to be zero still is.
        let mut own = self.own();
        for (name, _) in names.iter().zip(counts).filter(|(_, count)| *count == 0) {
            own.remove(name);
        }
        Ok(())
    }

    fn subtract(&self, name: &Arc<str>) {
        let mut own = self.own();
        if let Some(count) = own.get_mut(name) {
            *count = count.saturating_sub(1);
        }
    }

    fn own(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, u32>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(name: &str) -> Vec<u8> {
    [b"polytty:count:", name.as_bytes()].concat()
}
