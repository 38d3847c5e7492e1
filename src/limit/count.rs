//! Counts by key: how many of something somebody has at the moment.

use std::hash::Hash;
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::{Exceeded, Limit};

/// How many places each key holds. A key is in the map as long as it holds one, so there are never more entries than places
/// held, and whoever hands these out has a bound for all of them (`limits.connections`, `limits.sessions`). Nothing is left
/// to be swept.
pub struct Counts<K: Hash + Eq> {
    limit: Limit,
    held: Arc<DashMap<K, u32>>,
}

/// A place that is held until this is dropped.
pub struct Held<K: Copy + Hash + Eq> {
    held: Arc<DashMap<K, u32>>,
    key: K,
}

impl<K: Copy + Hash + Eq> Counts<K> {
    /// Nobody holds anything yet.
    #[must_use]
    pub fn new(limit: Limit) -> Self {
        Self { limit, held: Arc::default() }
    }

    /// Takes a place for `key`, which may hold `max`.
    ///
    /// # Errors
    ///
    /// [`Exceeded`]; nothing was taken.
    pub fn take(&self, key: K, max: u32) -> Result<Held<K>, Exceeded> {
        let mut count = self.held.entry(key).or_insert(0);
        if *count >= max {
            let is_new = *count == 0;
            drop(count);
            if is_new {
                self.held.remove_if(&key, |_, count| *count == 0);
            }
            return Err(Exceeded::count(self.limit, max));
        }
        *count += 1;
        drop(count);
        Ok(Held { held: self.held.clone(), key })
    }

    /// Keys that hold a place.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether nobody holds a place.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

impl<K: Copy + Hash + Eq> Drop for Held<K> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.held.entry(self.key) {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_takes_as_many_as_it_may_and_one_that_is_given_back_can_be_taken_again() {
        let counts = Counts::new(Limit::SessionsPerSubject);
        let first = counts.take("a", 2).unwrap();
        let _second = counts.take("a", 2).unwrap();
        assert_eq!(counts.take("a", 2).err(), Some(Exceeded::count(Limit::SessionsPerSubject, 2)));
        let _other = counts.take("b", 2).unwrap();
        drop(first);
        let _third = counts.take("a", 2).unwrap();
        assert!(counts.take("a", 2).is_err());
        assert!(counts.take("c", 0).is_err());
        assert_eq!(counts.len(), 2);
    }

    #[test]
    fn from_many_threads_no_more_are_held_than_may_be_and_in_the_end_nothing_is_left() {
        let counts = Counts::new(Limit::ConnectionsPerAddress);
        let most = std::sync::atomic::AtomicU32::new(0);
        let now = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if let Ok(held) = counts.take(1, 2) {
                            let held_now = now.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
                            most.fetch_max(held_now, std::sync::atomic::Ordering::SeqCst);
                            now.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                            drop(held);
                        }
                    }
                });
            }
        });
        assert!(most.into_inner() <= 2);
        assert!(counts.is_empty());
    }
}
