//! Tickets in the memory of this process.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::time::Instant;

use super::{Hash, MintError, Purpose, REMEMBERED, Refused, SWEEP, StoreFuture, Taken, TicketStore};

/// How many spent and expired tickets are remembered at once. At the bound, the next ones are forgotten at once and
/// answer as unknown.
const MAX_REMEMBERED: usize = 65_536;

enum State {
    /// Can be taken until then.
    Live(Purpose, Instant),
    /// Was spent or expired; is remembered until then.
    Gone(Instant),
}

/// One map from a ticket's hash to its state. A ticket changes state under its shard's lock, in one step, so that no
/// second taker can find it live, or find nothing where one was just spent.
pub struct MemoryStore {
    states: DashMap<Hash, State>,
    live: AtomicUsize,
    gone: AtomicUsize,
    max_live: usize,
}

impl MemoryStore {
    /// A store of at most `max_live` outstanding tickets.
    #[must_use]
    pub fn new(max_live: u32) -> Arc<Self> {
        Arc::new(Self {
            states: DashMap::new(),
            live: AtomicUsize::new(0),
            gone: AtomicUsize::new(0),
            max_live: max_live as usize,
        })
    }

    /// Sweeps forever. Expiry does not hang on it: it only gives memory back.
    pub async fn keep_swept(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(SWEEP);
        loop {
            ticks.tick().await;
            self.sweep(Instant::now());
        }
    }

    fn sweep(&self, now: Instant) {
        self.states.retain(|_, state| match state {
            State::Live(_, until) if now < *until => true,
            State::Live(_, until) => {
                self.live.fetch_sub(1, Ordering::Relaxed);
                *state = State::Gone(*until + REMEMBERED);
                self.remember()
            }
            State::Gone(until) if now < *until => true,
            State::Gone(_) => {
                self.gone.fetch_sub(1, Ordering::Relaxed);
                false
            }
        });
    }

    /// Takes a place among the remembered; `false` when there is none.
    fn remember(&self) -> bool {
        self.gone.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < MAX_REMEMBERED).then_some(n + 1)).is_ok()
    }

    fn insert(&self, hash: Hash, purpose: Purpose, until: Instant) -> Result<(), MintError> {
        self.live
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < self.max_live).then_some(n + 1))
            .map_err(|_| MintError::Full)?;
        self.states.insert(hash, State::Live(purpose, until));
        Ok(())
    }

    fn remove(&self, hash: Hash, subject: Option<&str>, now: Instant) -> Result<Purpose, Refused> {
        let Entry::Occupied(mut entry) = self.states.entry(hash) else { return Err(Refused::Unknown) };
        let gone_until = match entry.get() {
            State::Gone(until) if now < *until => return Err(Refused::Gone),
            State::Gone(_) => return Err(Refused::Unknown),
            State::Live(purpose, _) if !purpose.is_for(subject) => return Err(Refused::Unknown),
            State::Live(_, until) => (*until).min(now) + REMEMBERED,
        };
        self.live.fetch_sub(1, Ordering::Relaxed);
        let state =
            if self.remember() { mem::replace(entry.get_mut(), State::Gone(gone_until)) } else { entry.remove() };
        match state {
            State::Live(purpose, until) if now < until => Ok(purpose),
            State::Live(..) if gone_until <= now => Err(Refused::Unknown),
            _ => Err(Refused::Gone),
        }
    }
}

impl TicketStore for MemoryStore {
    fn put(&self, hash: Hash, purpose: Purpose, ttl: Duration) -> StoreFuture<'_, Result<(), MintError>> {
        Box::pin(std::future::ready(self.insert(hash, purpose, Instant::now() + ttl)))
    }

    fn take<'a>(&'a self, hash: Hash, subject: Option<&'a str>) -> StoreFuture<'a, Result<Taken, Refused>> {
        Box::pin(std::future::ready(self.remove(hash, subject, Instant::now()).map(Taken::Here)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ResumeLinks, Tickets};
    use super::*;
    use crate::session::SessionId;
    use polytty_dialect::Role;

    fn purpose() -> Purpose {
        Purpose { session: SessionId::random().unwrap(), role: Role::Writer, dialect: None, owner: None }
    }

    fn tickets(max: u32) -> (Arc<MemoryStore>, Tickets) {
        let store = MemoryStore::new(max);
        let resume = ResumeLinks::new("wss://term.example/t/".to_owned(), Duration::from_secs(60));
        (store.clone(), Tickets::new(store, Duration::from_secs(30), resume))
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_works_once_is_then_gone_and_later_was_never_there() {
        let (store, tickets) = tickets(10);
        let purpose = purpose();
        let ticket = tickets.mint(purpose.clone()).await.unwrap();
        let grant = tickets.redeem(ticket.expose(), None).await.unwrap().here().unwrap();
        assert_eq!(grant.purpose(), &purpose);
        assert_eq!(tickets.redeem(ticket.expose(), None).await.unwrap_err(), Refused::Gone);
        tokio::time::advance(REMEMBERED - Duration::from_millis(1)).await;
        assert_eq!(tickets.redeem(ticket.expose(), None).await.unwrap_err(), Refused::Gone);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(tickets.redeem(ticket.expose(), None).await.unwrap_err(), Refused::Unknown);
        store.sweep(Instant::now());
        assert!(store.states.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_expires_to_the_millisecond_whether_swept_or_not() {
        let (store, tickets) = tickets(10);
        let early = tickets.mint(purpose()).await.unwrap();
        let late = tickets.mint(purpose()).await.unwrap();
        tokio::time::advance(Duration::from_millis(29_999)).await;
        assert!(tickets.redeem(early.expose(), None).await.is_ok());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(tickets.redeem(late.expose(), None).await.unwrap_err(), Refused::Gone);

        let swept = tickets.mint(purpose()).await.unwrap();
        tokio::time::advance(Duration::from_secs(30)).await;
        store.sweep(Instant::now());
        assert_eq!(store.live.load(Ordering::Relaxed), 0);
        assert_eq!(tickets.redeem(swept.expose(), None).await.unwrap_err(), Refused::Gone);
    }

    #[tokio::test]
    async fn what_cannot_be_a_ticket_is_unknown() {
        let (_, tickets) = tickets(10);
        let ticket = tickets.mint(purpose()).await.unwrap();
        let good = ticket.expose();
        for near in [
            String::new(),
            good[1..].to_owned(),
            format!("{good}A"),
            format!("{good}="),
            good.replacen(&good[..1], "/", 1),
            format!(" {}", &good[1..]),
            "A".repeat(TICKET_LEN_FOR_TEST),
        ] {
            assert_eq!(tickets.redeem(&near, None).await.unwrap_err(), Refused::Unknown, "{near:?}");
        }
        assert!(tickets.redeem(good, None).await.is_ok(), "near misses spend nothing");
    }

    #[tokio::test]
    async fn a_ticket_of_one_subject_is_unknown_to_all_others_and_stays_good() {
        let (_, tickets) = tickets(10);
        let ticket = tickets.mint(Purpose { owner: Some("alice".into()), ..purpose() }).await.unwrap();
        for other in [None, Some("bob"), Some("Alice"), Some("")] {
            assert_eq!(tickets.redeem(ticket.expose(), other).await.unwrap_err(), Refused::Unknown, "{other:?}");
        }
        assert!(tickets.redeem(ticket.expose(), Some("alice")).await.is_ok());
        assert_eq!(tickets.redeem(ticket.expose(), Some("alice")).await.unwrap_err(), Refused::Gone);
        let shared = tickets.mint(purpose()).await.unwrap();
        assert!(tickets.redeem(shared.expose(), Some("bob")).await.is_ok(), "whoever holds it");
    }

    const TICKET_LEN_FOR_TEST: usize = super::super::TICKET_LEN;

    #[tokio::test]
    async fn a_full_store_mints_nothing_and_has_room_again_after_a_redemption() {
        let (_, tickets) = tickets(1);
        let first = tickets.mint(purpose()).await.unwrap();
        assert_eq!(tickets.mint(purpose()).await.unwrap_err(), MintError::Full);
        tickets.redeem(first.expose(), None).await.unwrap();
        assert!(tickets.mint(purpose()).await.is_ok());
    }

    #[test]
    fn of_many_threads_that_race_for_one_ticket_one_gets_it_and_the_others_hear_that_it_is_gone() {
        use std::sync::Barrier;
        let store = MemoryStore::new(10);
        for round in 0..2_000_u32 {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&round.to_le_bytes());
            store.insert(hash, purpose(), Instant::now() + Duration::from_secs(30)).unwrap();
            let barrier = Barrier::new(4);
            let results: Vec<_> = std::thread::scope(|scope| {
                let racers: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            barrier.wait();
                            store.remove(hash, None, Instant::now())
                        })
                    })
                    .collect();
                racers.into_iter().map(|racer| racer.join().unwrap()).collect()
            });
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
            assert_eq!(results.iter().filter(|result| matches!(result, Err(Refused::Gone))).count(), 3);
        }
    }
}
