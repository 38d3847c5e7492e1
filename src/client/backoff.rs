//! How long to wait before dialling again.

use std::time::Duration;

/// Waits that double from the first to the longest, each shortened by up to half, so that clients which were lost
/// together do not come back together.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first.min(most) }
    }

    /// The next wait. `random` is any number, all equally likely.
    pub(crate) fn wait(&mut self, random: u16) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.most);
        wait.mul_f64(1.0 - f64::from(random) / f64::from(u16::MAX) / 2.0)
    }

    /// Begins anew.
    pub(crate) fn reset(&mut self) {
        self.next = self.first.min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let waits: Vec<_> = (0..7).map(|_| backoff.wait(0).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.wait(u16::MAX), Duration::from_millis(100));
        assert_eq!(backoff.wait(0), Duration::from_millis(400), "shortening one wait shortens no other");
    }
}
