//! Terminals that nobody has any more and that are still to be ended, since the call that should have done it failed.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Terminals that wait. At the bound, the one that has waited longest is given up.
const MOST: usize = 64;

/// Calls that are under way at once.
const MOST_AT_ONCE: usize = 4;

/// The first wait between two calls for one terminal, and the longest; each is twice the one before.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// How long it is tried for one terminal.
const GIVE_UP: Duration = Duration::from_secs(300);

/// The terminals of one hub that are still to be ended.
pub(super) struct Leftovers<T> {
    waiting: VecDeque<Leftover<T>>,
    under_way: usize,
}

/// One of them.
pub(super) struct Leftover<T> {
    /// What the call needs to know.
    pub(super) what: T,
    at: Instant,
    pause: Duration,
    until: Instant,
}

impl<T> Default for Leftovers<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), under_way: 0 }
    }
}

impl<T> Leftovers<T> {
    /// Takes one in, to be called for `after` so long; another one that is given up for it.
    #[must_use]
    pub(super) fn add(&mut self, what: T, now: Instant, after: Duration) -> Option<T> {
        self.put(Leftover { what, at: now + after, pause: FIRST, until: now + GIVE_UP })
    }

    /// One whose time has come; [`Leftovers::done`] or [`Leftovers::failed`] is to be told afterwards.
    pub(super) fn take(&mut self, now: Instant) -> Option<Leftover<T>> {
        if self.under_way >= MOST_AT_ONCE {
            return None;
        }
        let at = self.waiting.iter().position(|leftover| leftover.at <= now)?;
        self.under_way += 1;
        self.waiting.remove(at)
    }

    /// One that was taken has ended.
    pub(super) fn done(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// The call for one that was taken has failed, too; one that is given up, this or another.
    #[must_use]
    pub(super) fn failed(&mut self, mut leftover: Leftover<T>, now: Instant) -> Option<T> {
        self.done();
        if now >= leftover.until {
            return Some(leftover.what);
        }
        leftover.at = now + leftover.pause;
        leftover.pause = leftover.pause.saturating_mul(2).min(LONGEST);
        self.put(leftover)
    }

    /// The provider is there again: the time of all has come.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.waiting.iter_mut().for_each(|leftover| leftover.at = leftover.at.min(now));
    }

    /// When [`Leftovers::take`] has something next, unless one has to be done before.
    pub(super) fn next(&self) -> Option<Instant> {
        let at = self.waiting.iter().map(|leftover| leftover.at).min();
        at.filter(|_| self.under_way < MOST_AT_ONCE)
    }

    /// Whether nothing waits and nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.under_way == 0
    }

    fn put(&mut self, leftover: Leftover<T>) -> Option<T> {
        let given_up = if self.waiting.len() >= MOST { self.waiting.pop_front() } else { None };
        self.waiting.push_back(leftover);
        given_up.map(|leftover| leftover.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_twice_the_one_before_and_some_minutes_are_the_end() {
        let (mut leftovers, start) = (Leftovers::default(), Instant::now());
        assert_eq!(leftovers.add("a", start, Duration::ZERO), None);
        let (mut now, mut waits) = (start, Vec::new());
        let given_up = loop {
            let leftover = leftovers.take(now).expect("its time has come");
            if let Some(given_up) = leftovers.failed(leftover, now) {
                break given_up;
            }
            let next = leftovers.next().expect("another try");
            assert!(leftovers.take(next - Duration::from_millis(1)).is_none());
            waits.push((next - now).as_secs());
            now = next;
        };
        assert_eq!((given_up, leftovers.is_empty()), ("a", true));
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
    }

    #[test]
    fn there_are_no_more_than_allowed_and_few_at_once() {
        let (mut leftovers, now) = (Leftovers::default(), Instant::now());
        assert!((0..MOST).all(|at| leftovers.add(at, now, FIRST).is_none()));
        assert_eq!(leftovers.add(MOST, now, FIRST), Some(0));
        assert!(leftovers.take(now).is_none());
        leftovers.hurry(now);
        let taken: Vec<_> = std::iter::from_fn(|| leftovers.take(now)).collect();
        assert_eq!((taken.len(), leftovers.next()), (MOST_AT_ONCE, None));
        leftovers.done();
        assert_eq!(leftovers.next(), Some(now));
    }
}
