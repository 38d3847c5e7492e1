//! Rates by key: governor's arithmetic over a map that cannot grow beyond its bound.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};

use super::clock::{Reading, TokioClock};
use super::{Exceeded, Limit};

/// How many keys one rate remembers. An entry is a key of at most 17 bytes and a time: under 5 MiB when full.
///
/// At the bound, whoever is not remembered shares one bucket with all others who are not, and those who are remembered
/// keep theirs. A key whose bucket is full again need not be remembered, and is swept out.
pub(super) const MAX_KEYS: usize = 65_536;

/// How often something may be done: `per_second` sustained, `burst` at once. Both are at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Sustained.
    pub per_second: u32,
    /// At once, after a pause.
    pub burst: u32,
}

impl Rate {
    /// As governor has it.
    pub(super) fn quota(self) -> Quota {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Quota::per_second(at_least_one(self.per_second)).allow_burst(at_least_one(self.burst))
    }

    /// In how many seconds a spent burst is whole again.
    pub(super) fn window(self) -> u64 {
        u64::from(self.burst.max(1).div_ceil(self.per_second.max(1)))
    }
}

/// A rate that every key has for itself.
pub struct KeyedRate<K: Copy + Hash + Eq> {
    limit: Limit,
    rate: Rate,
    buckets: Arc<Buckets<K>>,
    limiter: RateLimiter<K, Store<K>, TokioClock, NoOpMiddleware<Reading>>,
}

impl<K: Copy + Hash + Eq> KeyedRate<K> {
    /// A rate with room for 65,536 keys.
    #[must_use]
    pub fn new(limit: Limit, rate: Rate) -> Self {
        Self::with_room(limit, rate, MAX_KEYS)
    }

    fn with_room(limit: Limit, rate: Rate, room: usize) -> Self {
        let buckets = Arc::new(Buckets::new(room));
        let limiter = RateLimiter::new(rate.quota(), Store(buckets.clone()), TokioClock);
        Self { limit, rate, buckets, limiter }
    }

    /// Counts one.
    ///
    /// # Errors
    ///
    /// [`Exceeded`]; nothing was counted.
    pub fn check(&self, key: K) -> Result<(), Exceeded> {
        self.limiter.check_key(&key).map_err(|not_until| Exceeded {
            limit: self.limit,
            quota: self.rate.burst,
            window: Some(self.rate.window()),
            retry_after: not_until.wait_time_from(governor::clock::Clock::now(&TokioClock)),
        })
    }

    /// Forgets every key whose bucket is full again. How many are still remembered, and how often the shared bucket was
    /// used since this was asked last.
    pub fn sweep(&self) -> (usize, u64) {
        self.limiter.retain_recent();
        (self.limiter.len(), self.buckets.shared_uses.swap(0, Ordering::Relaxed))
    }

    /// Which limit it is.
    #[must_use]
    pub fn limit(&self) -> Limit {
        self.limit
    }
}

/// What governor keeps per key, up to a bound.
struct Buckets<K: Hash + Eq> {
    known: DashMap<K, Nanos>,
    count: AtomicUsize,
    room: usize,
    /// The bucket of all for whom there is no room.
    shared: Mutex<Option<Nanos>>,
    shared_uses: AtomicU64,
}

impl<K: Hash + Eq> Buckets<K> {
    fn new(room: usize) -> Self {
        Self {
            known: DashMap::new(),
            count: AtomicUsize::new(0),
            room,
            shared: Mutex::new(None),
            shared_uses: AtomicU64::new(0),
        }
    }

    fn take_room(&self) -> bool {
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < self.room).then_some(n + 1)).is_ok()
    }
}

/// The buckets in the hands of governor.
struct Store<K: Hash + Eq>(Arc<Buckets<K>>);

impl<K: Copy + Hash + Eq> StateStore for Store<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let buckets = &*self.0;
        match buckets.known.entry(*key) {
            Entry::Occupied(mut bucket) => {
                let (outcome, next) = measure(Some(*bucket.get()))?;
                *bucket.get_mut() = next;
                Ok(outcome)
            }
            Entry::Vacant(vacant) if buckets.take_room() => {
                // A fresh bucket has room for one.
                let measured = measure(None);
                match measured {
                    Ok((outcome, next)) => {
                        vacant.insert(next);
                        Ok(outcome)
                    }
                    Err(error) => {
                        buckets.count.fetch_sub(1, Ordering::Relaxed);
                        Err(error)
                    }
                }
            }
            Entry::Vacant(vacant) => {
                drop(vacant);
                buckets.shared_uses.fetch_add(1, Ordering::Relaxed);
                let mut shared = buckets.shared.lock().unwrap_or_else(PoisonError::into_inner);
                let (outcome, next) = measure(*shared)?;
                *shared = Some(next);
                Ok(outcome)
            }
        }
    }
}

impl<K: Copy + Hash + Eq> ShrinkableKeyedStateStore<K> for Store<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        let buckets = &*self.0;
        buckets.known.retain(|_, state| {
            let keep = *state > drop_below;
            if !keep {
                buckets.count.fetch_sub(1, Ordering::Relaxed);
            }
            keep
        });
        // Memory follows down once most of it is unused.
        if buckets.known.capacity() > 1024 && buckets.known.capacity() / 4 > buckets.known.len() {
            buckets.known.shrink_to_fit();
        }
    }

    fn len(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::super::Address;
    use super::*;

    /// What a map takes, in bytes: hashbrown fills seven eighths of its places, and each has one more byte.
    pub(in crate::limit) fn table_size<K: Hash + Eq, V>(map: &DashMap<K, V>) -> usize {
        map.capacity() * 8 / 7 * (size_of::<(K, V)>() + 1)
    }

    fn rate(per_second: u32, burst: u32, room: usize) -> KeyedRate<u32> {
        KeyedRate::with_room(Limit::Requests, Rate { per_second, burst }, room)
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_the_next_is_told_the_truth_about_when_to_come_back_and_another_key_is_not_touched() {
        let rate = rate(2, 5, 10);
        for _ in 0..5 {
            rate.check(1).unwrap();
        }
        let refused = rate.check(1).unwrap_err();
        assert_eq!((refused.quota, refused.window, refused.retry_after), (5, Some(3), Duration::from_millis(500)));
        rate.check(2).unwrap();
        advance(refused.retry_after - Duration::from_nanos(1)).await;
        assert_eq!(rate.check(1).unwrap_err().retry_after, Duration::from_nanos(1));
        advance(Duration::from_nanos(1)).await;
        rate.check(1).unwrap();
        assert!(rate.check(1).is_err(), "one more, and no more than that");
        advance(Duration::from_secs(3)).await;
        for _ in 0..5 {
            rate.check(1).unwrap();
        }
        assert!(rate.check(1).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_keys_leave_the_map_at_its_bound_and_strangers_share_one_bucket_that_hurts_no_one_known() {
        let rate = rate(1, 3, 1000);
        let passed = (0..10_000).filter(|key| rate.check(*key).is_ok()).count();
        assert_eq!(passed, 1003, "a thousand by themselves, and a burst of the others together");
        assert_eq!(rate.sweep(), (1000, 9000));
        assert_eq!(rate.buckets.known.len(), 1000);
        rate.check(7).unwrap();
        assert!(rate.check(9999).is_err());
        // All but one have recovered; they make room for others.
        advance(Duration::from_millis(2500)).await;
        rate.check(8).unwrap();
        advance(Duration::from_millis(500)).await;
        assert_eq!(rate.sweep(), (1, 1));
        assert!(rate.buckets.known.capacity() < 1000);
        rate.check(9999).unwrap();
        advance(Duration::from_secs(10)).await;
        assert_eq!(rate.sweep(), (0, 0));
    }

    #[test]
    fn a_hundred_thousand_addresses_take_less_than_five_mebibytes() {
        let rate = KeyedRate::new(Limit::Requests, Rate { per_second: 1, burst: 1000 });
        for number in 0..100_000_u32 {
            let address = std::net::Ipv6Addr::from(u128::from(number) << 64);
            let _ = rate.check(Address::from(std::net::IpAddr::from(address)));
        }
        assert_eq!(rate.buckets.known.len(), MAX_KEYS);
        assert!(table_size(&rate.buckets.known) < 5 << 20, "{}", table_size(&rate.buckets.known));
    }

    #[test]
    fn from_many_threads_the_bound_and_the_burst_hold() {
        let rate = rate(1, 4, 64);
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..10_000).filter(|key| rate.check(key % 100).is_ok()).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        // 64 keys and the shared bucket, a burst each; and what a second or two of a slow machine adds.
        assert!((65 * 4..65 * 8).contains(&passed), "{passed}");
        assert!(rate.buckets.known.len() <= 64);
    }
}
