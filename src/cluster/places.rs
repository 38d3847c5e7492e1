//! What takes one connection at a time, such as an Oblien workspace, belongs to one replica by a lease.
//!
//! A lease is a key in the store with the replica's id and a fencing token: a number that grows with every lease of that
//! place. Whoever renews it names both, so a replica that was away for too long finds out that it lost the place, and its
//! sessions there end instead of fighting for the connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::ReplicaId;
use super::members::{LEASE, RENEW};
use crate::redis::{CallError, Redis, Script};

/// How long a place is kept that no session uses any more: its connection lingers for ten seconds, and is left after that.
const LINGER: Duration = Duration::from_secs(15);

/// Takes a place that is free or that is this one's already. Returns who has it. A lease that is not renewed runs out by
/// itself; before that nobody is taken for gone, since whoever leaves has terminals to end there.
const ACQUIRE: &str = r"
local held = redis.call('GET', KEYS[1])
if held then
  if string.sub(held, 1, 8) == ARGV[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
  end
  return held
end
local mine = ARGV[1] .. ':' .. redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], mine, 'PX', ARGV[2])
return mine
";

/// Renews leases, also those that the store has forgotten. Returns which are not this replica's any more.
const KEEP: &str = r"
local lost = {}
for at = 1, #KEYS do
  local held = redis.call('GET', KEYS[at])
  if held and held ~= ARGV[at + 1] then
    lost[#lost + 1] = at
  else
    redis.call('SET', KEYS[at], ARGV[at + 1], 'PX', ARGV[1])
  end
end
return lost
";

/// Leases that are renewed with one call.
const BATCH: usize = 200;

/// Gives a lease up, if it is still this replica's.
const RELEASE: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
";

/// Where fencing tokens come from.
const FENCE: &[u8] = b"polytty:fence";

/// The places of this replica.
pub struct Places {
    me: ReplicaId,
    redis: Arc<Redis>,
    acquire: Script,
    keep: Script,
    release: Script,
    /// One entry a place that a session uses or has used until a moment ago.
    leases: Mutex<HashMap<Arc<str>, Lease>>,
    /// One change at a time, so that nothing is given up that is just being taken.
    turn: tokio::sync::Mutex<()>,
}

struct Lease {
    /// What the store's key holds: the replica and the fencing token.
    value: Arc<str>,
    users: usize,
    unused_since: Instant,
    lost: CancellationToken,
}

impl Lease {
    fn is_unused(&self) -> bool {
        self.users == 0 && self.unused_since.elapsed() >= LINGER
    }
}

/// A place that is this replica's for as long as one of these is kept, unless it is lost.
pub struct Held {
    places: Arc<Places>,
    name: Arc<str>,
    /// Which lease: the place may have been lost and taken again since.
    value: Arc<str>,
    lost: CancellationToken,
}

impl Held {
    /// Resolves when the place has gone to another replica.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut leases = self.places.leases();
        if let Some(lease) = leases.get_mut(&self.name).filter(|lease| lease.value == self.value) {
            lease.users = lease.users.saturating_sub(1);
            lease.unused_since = Instant::now();
        }
    }
}

/// Why a place is not this replica's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHeld {
    /// It is another one's.
    Elsewhere(ReplicaId),
    /// The store is away, or did not answer.
    Away,
    /// The store was started anew a moment ago, and those who had places before have yet to say so. It is over then.
    Settling(Duration),
}

impl Places {
    pub(super) fn new(me: ReplicaId, redis: Arc<Redis>) -> Arc<Self> {
        let [acquire, keep, release] = [ACQUIRE, KEEP, RELEASE].map(Script::new);
        let (leases, turn) = (Mutex::default(), tokio::sync::Mutex::default());
        Arc::new(Self { me, redis, acquire, keep, release, leases, turn })
    }

    /// Takes a place for a session.
    ///
    /// # Errors
    ///
    /// [`NotHeld`].
    pub async fn hold(self: &Arc<Self>, name: &str) -> Result<Held, NotHeld> {
        let name: Arc<str> = name.into();
        let _turn = self.turn.lock().await;
        if let Some(held) = self.join(&name) {
            return Ok(held);
        }
        let link = self.redis.link().map_err(|_| NotHeld::Away)?;
        // Those who had places before this incarnation say so at their next renewal.
        let settled = link.begun().at + LEASE;
        if let Some(left) = settled.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            return Err(NotHeld::Settling(left));
        }
        let lease = LEASE.as_millis().to_string();
        let me = self.me.to_string();
        let value: Result<String, CallError> =
            link.run(&self.acquire, &[&key(&name), FENCE], &[me.as_bytes(), lease.as_bytes()]).await;
        let value = value.map_err(|_| NotHeld::Away)?;
        let owner = value.split(':').next().and_then(|owner| owner.parse().ok()).ok_or(NotHeld::Away)?;
        if owner != self.me {
            return Err(NotHeld::Elsewhere(owner));
        }
        let lease =
            Lease { value: value.into(), users: 0, unused_since: Instant::now(), lost: CancellationToken::new() };
        self.leases().insert(name.clone(), lease);
        self.join(&name).ok_or(NotHeld::Away)
    }

    fn join(self: &Arc<Self>, name: &Arc<str>) -> Option<Held> {
        let mut leases = self.leases();
        let lease = leases.get_mut(name)?;
        lease.users += 1;
        Some(Held { places: self.clone(), name: name.clone(), value: lease.value.clone(), lost: lease.lost.clone() })
    }

    /// Renews what is used, and gives up what is not.
    pub(super) async fn keep_held(&self) {
        let mut ticks = interval(RENEW);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let _turn = self.turn.lock().await;
            let unused: Vec<_> = self.leases().extract_if(|_, lease| lease.is_unused()).collect();
            for (name, lease) in unused {
                self.give_up(&name, &lease.value).await;
            }
            let all: Vec<(Arc<str>, Arc<str>)> =
                self.leases().iter().map(|(name, lease)| (name.clone(), lease.value.clone())).collect();
            for batch in all.chunks(BATCH) {
                for name in self.renew(batch).await {
                    if let Some(lease) = self.leases().remove(name) {
                        tracing::warn!(place = ?name, "a place has gone to another replica; its sessions here end");
                        lease.lost.cancel();
                    }
                }
            }
        }
    }

    /// Which places are not this replica's any more, as far as can be known: nothing is while the store cannot be asked.
    async fn renew<'a>(&self, batch: &'a [(Arc<str>, Arc<str>)]) -> Vec<&'a Arc<str>> {
        let Ok(link) = self.redis.link() else { return Vec::new() };
        let lease = LEASE.as_millis().to_string();
        let keys: Vec<Vec<u8>> = batch.iter().map(|(name, _)| key(name)).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let values = batch.iter().map(|(_, value)| value.as_bytes());
        let arguments: Vec<&[u8]> = std::iter::once(lease.as_bytes()).chain(values).collect();
        let lost: Result<Vec<usize>, CallError> = link.run(&self.keep, &keys, &arguments).await;
        lost.unwrap_or_default().into_iter().filter_map(|at| batch.get(at - 1).map(|(name, _)| name)).collect()
    }

    pub(super) async fn give_up_all(&self) {
        let _turn = self.turn.lock().await;
        let all: Vec<_> = self.leases().drain().collect();
        for (name, lease) in all {
            self.give_up(&name, &lease.value).await;
        }
    }

    async fn give_up(&self, name: &str, value: &str) {
        // Where that fails, the lease runs out.
        if let Ok(link) = self.redis.link() {
            let _ = link.run::<i64>(&self.release, &[&key(name)], &[value.as_bytes()]).await;
        }
    }

    fn leases(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(name: &str) -> Vec<u8> {
    [b"polytty:place:", name.as_bytes()].concat()
}
