//! Lock-outs: an address that guesses is told to wait, longer each time.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::time::Instant;

use super::rate::MAX_KEYS;
use super::{Address, Exceeded, Limit};

/// Who has guessed how often, and until when further guesses are answered with 429.
///
/// Only a failure is ever looked up here: whoever shows a good credential or a good ticket is not asked how often its
/// neighbours failed. At most 65,536 addresses are remembered (under 8 MiB), each for `longest` behind its last lock-out; all
/// for whom there is no room share one record.
pub struct Lockouts {
    failures: u32,
    first: Duration,
    longest: Duration,
    known: DashMap<Address, Record>,
    count: AtomicUsize,
    room: usize,
    shared: Mutex<Record>,
    shared_uses: AtomicU64,
}

#[derive(Clone, Copy)]
struct Record {
    failures: u32,
    /// The last failure that counted, or the end of the lock-out that it brought.
    until: Instant,
}

impl Lockouts {
    /// Locks an address out at its `failures`th failure, for `first`; for twice as long at the next one, and so on, up to
    /// `longest`. After `longest` without a failure, all is forgotten.
    #[must_use]
    pub fn new(failures: u32, first: Duration, longest: Duration) -> Self {
        Self::with_room(failures, first, longest, MAX_KEYS)
    }

    fn with_room(failures: u32, first: Duration, longest: Duration, room: usize) -> Self {
        Self {
            failures: failures.max(1),
            first,
            longest: longest.max(first),
            known: DashMap::new(),
            count: AtomicUsize::new(0),
            room,
            shared: Mutex::new(Record { failures: 0, until: Instant::now() }),
            shared_uses: AtomicU64::new(0),
        }
    }

    /// Notes a failure of `address`.
    ///
    /// # Errors
    ///
    /// [`Exceeded`] while it is locked out. That one is not counted, so that what it is told is true: when it comes back then,
    /// it is heard.
    pub fn fail(&self, address: Address) -> Result<(), Exceeded> {
        match self.known.entry(address) {
            Entry::Occupied(mut record) => self.note(record.get_mut()),
            Entry::Vacant(vacant) if self.take_room() => {
                let mut record = Record { failures: 0, until: Instant::now() };
                let noted = self.note(&mut record);
                vacant.insert(record);
                noted
            }
            Entry::Vacant(vacant) => {
                drop(vacant);
                self.shared_uses.fetch_add(1, Ordering::Relaxed);
                self.note(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }

    /// Forgets who has not failed for long enough. How many are still remembered, and how often the shared record was used
    /// since this was asked last.
    pub fn sweep(&self) -> (usize, u64) {
        let now = Instant::now();
        self.known.retain(|_, record| {
            let keep = now < record.until + self.longest;
            if !keep {
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
            keep
        });
        if self.known.capacity() > 1024 && self.known.capacity() / 4 > self.known.len() {
            self.known.shrink_to_fit();
        }
        (self.count.load(Ordering::Relaxed), self.shared_uses.swap(0, Ordering::Relaxed))
    }

    fn note(&self, record: &mut Record) -> Result<(), Exceeded> {
        // Read while the record is held: a time from before may lie behind that of another failure, and look locked out.
        let now = Instant::now();
        if now < record.until {
            return Err(Exceeded {
                limit: Limit::Failures,
                quota: self.failures,
                window: Some(self.longest.as_secs().max(1)),
                retry_after: record.until - now,
            });
        }
        if record.until + self.longest <= now {
            record.failures = 0;
        }
        record.failures = record.failures.saturating_add(1);
        let locked = record.failures.checked_sub(self.failures).map_or(Duration::ZERO, |beyond| {
            let doubled = 1_u32.checked_shl(beyond).and_then(|factor| self.first.checked_mul(factor));
            doubled.map_or(self.longest, |doubled| doubled.min(self.longest))
        });
        record.until = now + locked;
        Ok(())
    }

    fn take_room(&self) -> bool {
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < self.room).then_some(n + 1)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::time::advance;

    use super::*;

    fn address(number: u32) -> Address {
        Address::from(std::net::IpAddr::from(Ipv4Addr::from(number)))
    }

    fn lockouts(room: usize) -> Lockouts {
        Lockouts::with_room(3, Duration::from_secs(10), Duration::from_secs(60), room)
    }

    #[test]
    fn failures_at_the_same_time_lock_nobody_out_before_there_were_too_many() {
        let lockouts = Lockouts::with_room(u32::MAX, Duration::from_secs(10), Duration::from_secs(60), 1);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for address in [address(1), address(2)].iter().cycle().take(100_000) {
                        lockouts.fail(*address).unwrap();
                    }
                });
            }
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_out_doubles_up_to_the_longest_and_what_it_says_of_its_end_is_true() {
        let (lockouts, guesser) = (lockouts(10), address(1));
        for _ in 0..3 {
            lockouts.fail(guesser).unwrap();
        }
        for seconds in [10, 20, 40, 60, 60] {
            let locked = lockouts.fail(guesser).unwrap_err();
            assert_eq!((locked.retry_after.as_secs(), locked.quota, locked.window), (seconds, 3, Some(60)));
            lockouts.fail(address(2)).unwrap();
            advance(locked.retry_after - Duration::from_millis(1)).await;
            assert_eq!(
                lockouts.fail(guesser).unwrap_err().retry_after,
                Duration::from_millis(1),
                "it does not grow by itself"
            );
            advance(Duration::from_millis(1)).await;
            lockouts.fail(guesser).unwrap();
            // The neighbour's own count is left out of this.
            lockouts.known.remove(&address(2));
            lockouts.count.fetch_sub(1, Ordering::Relaxed);
        }
        advance(Duration::from_secs(120)).await;
        assert_eq!(lockouts.sweep(), (0, 0), "all is forgotten");
        for _ in 0..3 {
            lockouts.fail(guesser).unwrap();
        }
        assert_eq!(lockouts.fail(guesser).unwrap_err().retry_after.as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_are_far_apart_come_to_nothing_swept_or_not() {
        let lockouts = lockouts(10);
        for _ in 0..20 {
            lockouts.fail(address(1)).unwrap();
            advance(Duration::from_secs(60)).await;
        }
    }

    #[test]
    fn a_hundred_thousand_addresses_take_less_than_eight_mebibytes() {
        let lockouts = Lockouts::new(3, Duration::from_secs(10), Duration::from_secs(60));
        for number in 0..100_000 {
            let _ = lockouts.fail(address(number));
        }
        assert_eq!(lockouts.known.len(), MAX_KEYS);
        let size = crate::limit::rate::tests::table_size(&lockouts.known);
        assert!(size < 8 << 20, "{size}");
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_addresses_leave_the_map_at_its_bound() {
        let lockouts = lockouts(100);
        for number in 0..10_000 {
            let _ = lockouts.fail(address(number));
        }
        assert_eq!(lockouts.sweep(), (100, 9_900));
        assert_eq!(lockouts.known.len(), 100);
        lockouts.fail(address(1)).unwrap();
        assert!(lockouts.fail(address(9_999)).is_err(), "they share one record, which is locked");
        advance(Duration::from_secs(120)).await;
        assert_eq!(lockouts.sweep(), (0, 1));
        lockouts.fail(address(9_999)).unwrap();
    }
}
