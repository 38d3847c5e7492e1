//! How often terminals are opened at one provider, so that its own quota of API calls is kept.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::RateLimiter;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::clock::{Reading, TokioClock};
use super::{Exceeded, Limit, Rate};

/// Terminals may be opened at a rate; whoever comes too early waits in a line.
///
/// The line is as long as the rate lets through in the time that somebody is ready to wait; beyond that they are told when
/// to come back, at once.
pub struct Opens {
    rate: Rate,
    limiter: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Reading>>,
    line: Semaphore,
    waiting: AtomicU32,
}

impl Opens {
    /// Opens at this rate.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let limiter = RateLimiter::direct_with_clock(rate.quota(), TokioClock);
        Self { rate, limiter, line: Semaphore::new(1), waiting: AtomicU32::new(0) }
    }

    /// Waits for one's turn, first come, first served, for at most about `patience`. Dropping this leaves the line.
    ///
    /// # Errors
    ///
    /// [`Exceeded`] at once, when the turn would come later than that.
    pub async fn turn(&self, patience: Duration) -> Result<(), Exceeded> {
        let interval = Duration::from_secs(1) / self.rate.per_second.max(1);
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        let wait = interval.saturating_mul(before);
        if wait > patience {
            return Err(Exceeded {
                limit: Limit::Opens,
                quota: self.rate.burst,
                window: Some(self.rate.window()),
                retry_after: wait - patience,
            });
        }
        // It is never closed.
        let _first = self.line.acquire().await;
        while let Err(not_until) = self.limiter.check() {
            sleep(not_until.wait_time_from(governor::clock::Clock::now(&TokioClock))).await;
        }
        Ok(())
    }
}

/// Somebody in the line.
struct Waits<'a>(&'a AtomicU32);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_opened_at_once_the_next_wait_their_turn_and_too_many_are_sent_away() {
        let opens = Arc::new(Opens::new(Rate { per_second: 2, burst: 3 }));
        let started = Instant::now();
        let patience = Duration::from_secs(2);
        let openers: Vec<_> = (0..10)
            .map(|_| {
                let opens = opens.clone();
                tokio::spawn(async move { opens.turn(patience).await.map(|()| started.elapsed().as_millis()) })
            })
            .collect();
        let mut opened = Vec::new();
        let mut refused = Vec::new();
        for opener in openers {
            match opener.await.unwrap() {
                Ok(after) => opened.push(after),
                Err(exceeded) => refused.push(exceeded),
            }
        }
        // Those of the burst stay in nobody's way: five more are in line within two seconds, one of them being served.
        opened.dedup_by_key(|after| *after / 10);
        assert_eq!(opened.len(), 6, "{opened:?}");
        assert_eq!(opened[0], 0);
        for (nth, after) in opened[1..].iter().enumerate() {
            assert!((500 * (nth as u128 + 1)..500 * (nth as u128 + 1) + 10).contains(after), "{opened:?}");
        }
        assert_eq!(refused.len(), 2, "{opened:?} {refused:?}");
        assert!(refused.iter().all(|exceeded| exceeded.window == Some(2) && exceeded.seconds() == 1), "{refused:?}");
        sleep(refused[0].retry_after).await;
        opens.turn(patience).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_line_makes_room() {
        let opens = Opens::new(Rate { per_second: 1, burst: 1 });
        opens.turn(Duration::ZERO).await.unwrap();
        for _ in 0..100 {
            let gave_up = tokio::time::timeout(Duration::from_millis(1), opens.turn(Duration::from_secs(1))).await;
            assert!(gave_up.is_err());
        }
        assert_eq!(opens.waiting.load(Ordering::Relaxed), 0);
        opens.turn(Duration::from_secs(1)).await.unwrap();
    }
}
