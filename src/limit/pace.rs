//! Rates of one session, kept by not reading: what is too much stays with whoever sends it, and nothing is dropped.
//!
//! They lie on the way of a byte, so they are plain arithmetic of the session's own task: no lock, no map. What a message
//! takes is subtracted from what was paid for in advance; only when that is used up, a look at the time decides about the
//! next [`STRIDE`]'s worth. A timer is there only while something is held back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::Limit;
use crate::observe::Metrics;

/// How much may come at once after a pause: what the rate lets through in so long.
const BURST: Duration = Duration::from_secs(1);

/// What is paid for in advance, and how far beyond the burst somebody may get before being held back, so that a steady
/// stream costs few looks at the time and few timers.
const STRIDE: Duration = Duration::from_millis(20);

/// How fast a session may be; `None` is as fast as it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaceSettings {
    /// Input, in bytes of messages a second.
    pub input_bytes: Option<u64>,
    /// Messages of a client a second, whatever is in them.
    pub input_messages: Option<u64>,
    /// Output, in bytes of the terminal a second.
    pub output_bytes: Option<u64>,
}

/// A bucket that leaks at a rate: how far its level is ahead of the clock (the generic cell rate algorithm).
#[derive(Debug)]
struct Bucket {
    per_second: u64,
    /// Units that were put in and not used yet; below zero, units that were used and not put in yet.
    paid: i64,
    level: Instant,
}

impl Bucket {
    fn new(per_second: u64, now: Instant) -> Self {
        Self { per_second: per_second.max(1), paid: 0, level: now }
    }

    /// Uses units up. Until when to wait, if that is more than fits.
    #[inline]
    fn spend(&mut self, units: usize, now: impl FnOnce() -> Instant) -> Option<Instant> {
        // Nothing that is read or sent at once comes near to 2^63.
        self.paid -= units as i64;
        if self.paid >= 0 { None } else { self.pay(now()) }
    }

    /// Puts in what was used, and a stride's worth in advance.
    #[cold]
    fn pay(&mut self, now: Instant) -> Option<Instant> {
        let advance = self.per_second / (1_000 / STRIDE.as_millis() as u64);
        let units = self.paid.unsigned_abs() + advance;
        self.paid = i64::try_from(advance).unwrap_or(i64::MAX);
        let nanos = u128::from(units) * 1_000_000_000 / u128::from(self.per_second);
        self.level = self.level.max(now) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.level.checked_sub(BURST).filter(|until| *until > now + STRIDE)
    }

    /// How many units fit.
    fn room(&self, now: Instant) -> u64 {
        let free = BURST.saturating_sub(self.level.saturating_duration_since(now));
        let units = free.as_nanos() * u128::from(self.per_second) / 1_000_000_000;
        u64::try_from(units).unwrap_or(u64::MAX).saturating_add_signed(self.paid)
    }
}

/// What a client may send.
pub struct InputPace {
    bytes: Option<Bucket>,
    messages: Option<Bucket>,
    held: Option<Pin<Box<Sleep>>>,
    metrics: Arc<Metrics>,
}

impl InputPace {
    /// `None` where no bound is set.
    #[must_use]
    pub fn new(settings: PaceSettings, metrics: Arc<Metrics>) -> Option<Box<Self>> {
        let now = Instant::now();
        let bytes = settings.input_bytes.map(|rate| Bucket::new(rate, now));
        let messages = settings.input_messages.map(|rate| Bucket::new(rate, now));
        let any = bytes.is_some() || messages.is_some();
        any.then(|| Box::new(Self { bytes, messages, held: None, metrics }))
    }

    /// Ready when another message may be read, which ends the being held back.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(held) = &mut self.held {
            ready!(held.as_mut().poll(cx));
            self.held = None;
        }
        Poll::Ready(())
    }

    /// Whether the client is being held back.
    #[inline]
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Counts a message that was read.
    #[inline]
    pub fn spend(&mut self, bytes: usize) {
        let bytes = self.bytes.as_mut().and_then(|bucket| bucket.spend(bytes, Instant::now));
        let messages = self.messages.as_mut().and_then(|bucket| bucket.spend(1, Instant::now));
        if let Some(until) = bytes.max(messages) {
            self.hold(until, if bytes >= messages { Limit::InputBytes } else { Limit::InputMessages });
        }
    }

    #[cold]
    fn hold(&mut self, until: Instant, limit: Limit) {
        self.metrics.limited(limit.key());
        self.held = Some(Box::pin(sleep_until(until)));
    }
}

/// What a session may send to its client.
pub struct OutputPace {
    bytes: Bucket,
    held: Option<Pin<Box<Sleep>>>,
    metrics: Arc<Metrics>,
}

impl OutputPace {
    /// `None` where no bound is set.
    #[must_use]
    pub fn new(settings: PaceSettings, metrics: Arc<Metrics>) -> Option<Box<Self>> {
        let bytes = Bucket::new(settings.output_bytes?, Instant::now());
        Some(Box::new(Self { bytes, held: None, metrics }))
    }

    /// How many bytes may be sent now; the task is woken when there is room again.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> usize {
        if let Some(held) = &mut self.held {
            if held.as_mut().poll(cx).is_pending() {
                return 0;
            }
            self.held = None;
        }
        // With the burst spent to the byte, there may be room for less than one.
        let room = self.bytes.room(Instant::now()).max(1);
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// Counts what was sent.
    pub fn spend(&mut self, bytes: usize) {
        let now = Instant::now();
        let full = self.bytes.spend(bytes, || now).or_else(|| (self.bytes.room(now) == 0).then(|| now + STRIDE));
        if let Some(until) = full {
            self.metrics.limited(Limit::OutputBytes.key());
            self.held = Some(Box::pin(sleep_until(until)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn settings(input_bytes: u64, input_messages: u64, output_bytes: u64) -> PaceSettings {
        let rate = |rate| (rate > 0).then_some(rate);
        PaceSettings {
            input_bytes: rate(input_bytes),
            input_messages: rate(input_messages),
            output_bytes: rate(output_bytes),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn input_passes_at_once_up_to_a_second_of_its_rate_and_then_at_its_rate() {
        for (settings, message) in [(settings(1000, 0, 0), 100), (settings(0, 10, 0), 5_000_000)] {
            let mut pace = InputPace::new(settings, Arc::default()).unwrap();
            let started = Instant::now();
            for nth in 1..=10 {
                pace.spend(message);
                assert!(!pace.is_held(), "message {nth} of the burst");
            }
            for _ in 0..100 {
                poll_fn(|cx| pace.poll_ready(cx)).await;
                pace.spend(message);
            }
            poll_fn(|cx| pace.poll_ready(cx)).await;
            let took = started.elapsed();
            assert!((Duration::from_secs(10)..Duration::from_millis(10_100)).contains(&took), "{took:?}");
            tokio::time::sleep(Duration::from_secs(60)).await;
            for _ in 0..10 {
                pace.spend(message);
            }
            assert!(!pace.is_held(), "a pause earns a burst, and no more");
            pace.spend(message);
            assert!(pace.is_held());
        }
        assert!(InputPace::new(settings(0, 0, 5), Arc::default()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn output_has_room_for_its_rate_and_no_more() {
        let mut pace = OutputPace::new(settings(0, 0, 10_000), Arc::default()).unwrap();
        let started = Instant::now();
        let mut sent = 0;
        while started.elapsed() < Duration::from_secs(10) {
            let room = poll_fn(|cx| match pace.poll_room(cx) {
                0 => Poll::Pending,
                room => Poll::Ready(room),
            })
            .await;
            let piece = room.min(3000);
            pace.spend(piece);
            sent += piece;
        }
        assert!((105_000..112_000).contains(&sent), "a burst of a second, and ten seconds: {sent}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_largest_message_at_the_smallest_rate_is_waited_for_and_no_longer() {
        let mut pace = InputPace::new(settings(1024, 0, 0), Arc::default()).unwrap();
        let started = Instant::now();
        pace.spend(16 << 20);
        poll_fn(|cx| pace.poll_ready(cx)).await;
        assert_eq!(started.elapsed().as_secs(), 16_383);
    }
}
