//! When to connect again, and when to give up.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// So many losses within [`WINDOW`] are the end.
pub(super) const MOST: usize = 5;
pub(super) const WINDOW: Duration = Duration::from_secs(300);

/// The first wait before a connection is made anew, and the longest; each is twice the one before.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// What has become of the connections of late. Holds at most [`MOST`] losses.
///
/// A workspace has one connection, and a newer one takes the place of an older one without a word that says so. Two
/// programs that both insist would take it from each other for ever.
#[derive(Debug, Default)]
pub(super) struct Losses {
    at: VecDeque<Instant>,
    /// Attempts since the last connection that came to nothing.
    failures: u32,
}

impl Losses {
    /// A connection was lost. `true` when it is not to be made anew: it is the fifth within five minutes.
    pub(super) fn lost(&mut self, now: Instant) -> bool {
        self.forget(now);
        if self.at.len() == MOST {
            self.at.pop_front();
        }
        self.at.push_back(now);
        self.at.len() == MOST
    }

    /// An attempt to connect failed.
    pub(super) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// There is a connection.
    pub(super) fn connected(&mut self) {
        self.failures = 0;
    }

    /// How long to wait before the next attempt.
    pub(super) fn delay(&mut self, now: Instant) -> Duration {
        self.forget(now);
        let strikes = u32::try_from(self.at.len()).unwrap_or(u32::MAX).saturating_add(self.failures);
        match strikes.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => FIRST.saturating_mul(1 << doublings.min(6)).min(LONGEST),
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.at.front().is_some_and(|at| now.duration_since(*at) >= WINDOW) {
            self.at.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_wait_is_twice_the_one_before_up_to_a_minute() {
        let (mut losses, now) = (Losses::default(), Instant::now());
        assert_eq!(losses.delay(now), seconds(0));
        losses.lost(now);
        let mut waits = vec![losses.delay(now)];
        for _ in 0..8 {
            losses.failed();
            waits.push(losses.delay(now));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60].map(seconds));
        losses.connected();
        assert_eq!(losses.delay(now), seconds(1));
        assert_eq!(losses.delay(now + WINDOW), seconds(0), "what is long ago counts no more");
    }

    #[test]
    fn the_fifth_loss_within_five_minutes_is_the_last() {
        let (mut losses, start) = (Losses::default(), Instant::now());
        for minute in 0..20 {
            assert!(!losses.lost(start + seconds(75 * minute)), "one in 75 s is four in 300 s");
        }
        let mut losses = Losses::default();
        for at in [0, 1, 3, 298] {
            assert!(!losses.lost(start + seconds(at)));
        }
        assert!(losses.lost(start + seconds(299)));
    }
}
