//! Resume links: the way back to a session whose client was lost.
//!
//! They are kept in the memory of the process that owns the session, and the session decides which of them it still
//! admits: a link is not spent by being used but by its user's confirmation that it arrived, so that a connection
//! which breaks in between costs nothing. Here it is only known which link leads to which session.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::Instant;

use super::{Hash, Purpose, REMEMBERED, Refused, Ticket};
use crate::auth::NoRandomness;

/// How many spent and expired links are remembered at once. At the bound, the next ones are forgotten at once and
/// answer as unknown.
const MAX_REMEMBERED: usize = 65_536;

/// Changes that wait for whoever follows them. At the bound, the next ones are left out, and that some were is said.
const MAX_CHANGES: usize = 4096;

/// The resume links of all sessions of this process.
pub struct ResumeLinks {
    /// What a link begins with: `wss://HOST/t/`.
    prefix: String,
    ttl: Duration,
    states: DashMap<Hash, State>,
    gone: AtomicUsize,
    follower: Mutex<Option<Sender<Hash>>>,
    missed: AtomicBool,
}

enum State {
    /// Leads to its session until then.
    Live(Purpose, Instant),
    /// Was spent, or its session has ended; is remembered until then.
    Gone(Instant),
}

/// A resume link as it is handed to its client.
#[derive(Debug)]
pub struct ResumeLink {
    /// Names it from here on.
    pub hash: Hash,
    /// The `wss:` URL.
    pub url: String,
    /// When it expires.
    pub expires_at: Timestamp,
}

impl ResumeLinks {
    /// Links that begin with `prefix` and live for `ttl`.
    #[must_use]
    pub fn new(prefix: String, ttl: Duration) -> Arc<Self> {
        Arc::new(Self {
            prefix,
            ttl,
            states: DashMap::new(),
            gone: AtomicUsize::new(0),
            follower: Mutex::default(),
            missed: AtomicBool::new(false),
        })
    }

    /// How long a link lives.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Makes a link for `purpose`. Whoever asks sees to it that there are few, and spends them in the end.
    ///
    /// # Errors
    ///
    /// When the operating system yields no random bytes.
    pub fn issue(&self, purpose: Purpose) -> Result<ResumeLink, NoRandomness> {
        let ticket = Ticket::random()?;
        let hash = ticket.hash();
        self.states.insert(hash, State::Live(purpose, Instant::now() + self.ttl));
        self.changed(hash);
        let expires_at = Timestamp::now() + SignedDuration::try_from(self.ttl).unwrap_or(SignedDuration::ZERO);
        Ok(ResumeLink { hash, url: format!("{}{}", self.prefix, ticket.expose()), expires_at })
    }

    /// Ends a link; for five minutes it is told apart from one that never was.
    pub fn spend(&self, hash: Hash) {
        let Some(mut state) = self.states.get_mut(&hash) else { return };
        if let State::Live(..) = *state {
            *state = State::Gone(Instant::now() + REMEMBERED);
            drop(state);
            self.changed(hash);
            if self.gone.fetch_add(1, Ordering::Relaxed) >= MAX_REMEMBERED {
                self.gone.fetch_sub(1, Ordering::Relaxed);
                self.states.remove(&hash);
            }
        }
    }

    /// What a link is for; `None` when it is none of these.
    pub(super) fn find(&self, hash: Hash, subject: Option<&str>) -> Option<Result<Purpose, Refused>> {
        let now = Instant::now();
        match *self.states.get(&hash)? {
            State::Live(ref purpose, _) if !purpose.is_for(subject) => Some(Err(Refused::Unknown)),
            State::Live(ref purpose, until) if now < until => Some(Ok(purpose.clone())),
            // Its session ends it some time; until then its holder hears what happened.
            State::Live(..) => Some(Err(Refused::Gone)),
            State::Gone(until) if now < until => Some(Err(Refused::Gone)),
            State::Gone(_) => None,
        }
    }

    /// From now on tells of each link that is issued or spent, and tells nobody who asked before.
    pub(super) fn changes(&self) -> Receiver<Hash> {
        let (sender, receiver) = mpsc::channel(MAX_CHANGES);
        *self.follower.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// Whether a change was left out since this was asked last.
    pub(super) fn missed(&self) -> bool {
        self.missed.swap(false, Ordering::Relaxed)
    }

    /// All links that are not spent.
    pub(super) fn live(&self) -> Vec<Hash> {
        let live = self.states.iter().filter(|entry| matches!(entry.value(), State::Live(..)));
        live.map(|entry| *entry.key()).collect()
    }

    /// How long something is known of a link; `None` when nothing is.
    pub(super) fn known_for(&self, hash: Hash, now: Instant) -> Option<Duration> {
        let until = match *self.states.get(&hash)? {
            State::Live(_, until) => until + REMEMBERED,
            State::Gone(until) => until,
        };
        Some(until.saturating_duration_since(now))
    }

    fn changed(&self, hash: Hash) {
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(follower) = &*follower
            && follower.try_send(hash).is_err()
        {
            self.missed.store(true, Ordering::Relaxed);
        }
    }

    /// Forgets what need not be remembered any longer.
    pub(super) fn sweep(&self, now: Instant) {
        self.states.retain(|_, state| match state {
            State::Live(..) => true,
            State::Gone(until) if now < *until => true,
            State::Gone(_) => {
                self.gone.fetch_sub(1, Ordering::Relaxed);
                false
            }
        });
    }

    /// Sweeps forever. Expiry does not hang on it: it only gives memory back.
    pub async fn keep_swept(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(super::SWEEP);
        loop {
            ticks.tick().await;
            self.sweep(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use polytty_dialect::Role;

    use super::*;
    use crate::session::SessionId;

    fn links() -> (Arc<ResumeLinks>, Purpose) {
        let purpose = Purpose { session: SessionId::random().unwrap(), role: Role::Writer, dialect: None, owner: None };
        (ResumeLinks::new("wss://term.example/t/".to_owned(), Duration::from_secs(3600)), purpose)
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_leads_to_its_session_until_it_is_spent_is_then_gone_and_later_was_never_there() {
        let (links, purpose) = links();
        let link = links.issue(purpose.clone()).unwrap();
        assert_eq!(link.url.len(), "wss://term.example/t/".len() + super::super::TICKET_LEN);
        for _ in 0..2 {
            assert_eq!(links.find(link.hash, None), Some(Ok(purpose.clone())), "finding spends nothing");
        }
        links.spend(link.hash);
        links.spend(link.hash);
        assert_eq!(links.find(link.hash, None), Some(Err(Refused::Gone)));
        tokio::time::advance(REMEMBERED).await;
        assert_eq!(links.find(link.hash, None), None);
        links.sweep(Instant::now());
        assert!(links.states.is_empty());
        assert_eq!(links.gone.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_link_of_one_subject_leads_nobody_else_anywhere() {
        let (links, purpose) = links();
        let link = links.issue(Purpose { owner: Some("alice".into()), ..purpose }).unwrap();
        assert_eq!(links.find(link.hash, None), Some(Err(Refused::Unknown)));
        assert_eq!(links.find(link.hash, Some("bob")), Some(Err(Refused::Unknown)));
        assert!(links.find(link.hash, Some("alice")).unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_expires() {
        let (links, purpose) = links();
        let link = links.issue(purpose).unwrap();
        tokio::time::advance(Duration::from_secs(3600) - Duration::from_millis(1)).await;
        assert!(links.find(link.hash, None).unwrap().is_ok());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(links.find(link.hash, None), Some(Err(Refused::Gone)));
    }
}
