//! How many tickets of this replica are outstanding.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::ticket::{Hash, MintError};

/// The tickets that this replica has minted and that are, as far as it knows, neither used nor expired. One that was used
/// elsewhere counts until it would have expired.
pub(super) struct Outstanding {
    until: Mutex<HashMap<Hash, Instant>>,
    max: usize,
}

impl Outstanding {
    /// Room for `max` of them.
    pub(super) fn new(max: usize) -> Self {
        Self { until: Mutex::default(), max }
    }

    /// Counts one.
    ///
    /// # Errors
    ///
    /// [`MintError::Full`].
    pub(super) fn insert(&self, hash: Hash, until: Instant) -> Result<(), MintError> {
        let mut tickets = self.lock();
        if tickets.len() >= self.max {
            return Err(MintError::Full);
        }
        tickets.insert(hash, until);
        Ok(())
    }

    /// Counts it no longer.
    pub(super) fn remove(&self, hash: Hash) {
        self.lock().remove(&hash);
    }

    /// Counts those no longer that have expired.
    pub(super) fn sweep(&self, now: Instant) {
        self.lock().retain(|_, until| now < *until);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Hash, Instant>> {
        // Every change is one step: nobody can have left it half done.
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn there_is_room_again_for_what_was_used_or_has_expired() {
        let outstanding = Outstanding::new(2);
        let now = Instant::now();
        let second = Duration::from_secs(1);
        outstanding.insert([1; 32], now + second).unwrap();
        outstanding.insert([2; 32], now + 2 * second).unwrap();
        assert_eq!(outstanding.insert([3; 32], now + second), Err(MintError::Full));
        outstanding.remove([2; 32]);
        outstanding.remove([2; 32]);
        outstanding.insert([3; 32], now + 2 * second).unwrap();
        outstanding.sweep(now + second);
        outstanding.insert([4; 32], now + 2 * second).unwrap();
        assert_eq!(outstanding.insert([5; 32], now + 2 * second), Err(MintError::Full));
    }
}
