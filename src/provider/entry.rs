//! A configured provider with its quota and what was last seen of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use polytty_dialect::{Code, Size};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{BoxFuture, Failure, ListedTerminal, Provider, Target, Upstream, Workspace};
use crate::limit::{Opens, Rate};

/// One `[[providers]]` entry at work.
pub struct Entry {
    name: String,
    kind: Kind,
    max_sessions: u32,
    open_timeout: Duration,
    record: Option<bool>,
    opens: Option<Opens>,
    provider: Box<dyn Provider>,
    places: Arc<Semaphore>,
    health: Mutex<Health>,
}

/// A kind of provider by its two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// As in `kind = "…"`.
    pub name: &'static str,
    /// Towards people.
    pub title: &'static str,
}

/// What was last seen of a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Nothing was opened yet.
    #[default]
    Unknown,
    /// The last terminal was opened.
    Ok,
    /// The last terminal could not be opened, and why.
    Failing(Code, String),
}

impl Entry {
    /// Puts a provider behind its name and quota.
    pub fn new(
        name: String,
        kind: Kind,
        max_sessions: u32,
        open_timeout: Duration,
        provider: Box<dyn Provider>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(max_sessions as usize));
        Self {
            name,
            kind,
            max_sessions,
            open_timeout,
            record: None,
            opens: None,
            provider,
            places,
            health: Mutex::default(),
        }
    }

    /// Whether sessions here are recorded whose creators do not say so; `None` leaves it to the default of all
    /// providers.
    #[must_use]
    pub fn recorded(mut self, record: Option<bool>) -> Self {
        self.record = record;
        self
    }

    /// How often terminals are opened here.
    #[must_use]
    pub fn opening_at(mut self, rate: Rate) -> Self {
        self.opens = Some(Opens::new(rate));
        self
    }

    /// As given to [`Entry::recorded`].
    pub fn record(&self) -> Option<bool> {
        self.record
    }

    /// The name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// From the first dial to a verified terminal.
    pub fn open_timeout(&self) -> Duration {
        self.open_timeout
    }

    /// Sessions that hold a place, and places there are.
    pub fn sessions(&self) -> (u32, u32) {
        let free = u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX);
        (self.max_sessions.saturating_sub(free), self.max_sessions)
    }

    /// A place for one session; `None` when all are taken.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// Reads a target.
    ///
    /// # Errors
    ///
    /// As [`Provider::target`].
    pub fn target(&self, target: &Value) -> Result<Target, String> {
        self.provider.target(target)
    }

    /// The workspace that a target lies in, as [`Provider::workspace`].
    pub fn workspace(&self, target: &Target) -> Option<Workspace> {
        self.provider.workspace(target)
    }

    /// The terminals that are there, as [`Provider::terminals`].
    pub fn terminals<'a>(&'a self, target: &'a Target) -> Option<BoxFuture<'a, Result<Vec<ListedTerminal>, Failure>>> {
        self.provider.terminals(target)
    }

    /// Waits for the next opening that the rate of this provider lets through, for about [`Entry::open_timeout`].
    ///
    /// # Errors
    ///
    /// A [`Failure`] that says when to come back, at once, where that would not do.
    pub async fn turn(&self) -> Result<(), Failure> {
        let Some(opens) = &self.opens else { return Ok(()) };
        opens.turn(self.open_timeout).await.map_err(|exceeded| Failure::new(exceeded.code(), exceeded.message()))
    }

    /// Opens a terminal.
    ///
    /// # Errors
    ///
    /// As [`Provider::open`].
    pub async fn open(&self, target: &Target, size: Size) -> Result<Box<dyn Upstream>, Failure> {
        self.provider.open(target, size).await
    }

    /// What was last seen.
    pub fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers how opening a terminal went, where that says anything about the provider.
    pub fn note_opening(&self, result: Result<(), &Failure>) {
        let seen = match result {
            // These are about the caller and what it has used up, and tell nothing of the provider either way.
            Err(failure) if matches!(failure.code, Code::Forbidden | Code::QuotaExceeded | Code::RateLimited) => return,
            // The provider works; what the caller asked for does not run there.
            Err(failure) if failure.code == Code::ProviderNotRunning => Health::Ok,
            Err(failure) => Health::Failing(failure.code, failure.message.clone()),
            Ok(()) => Health::Ok,
        };
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Provider for Nothing {
        fn target(&self, _: &Value) -> Result<Target, String> {
            Err("nothing".to_owned())
        }

        fn open<'a>(&'a self, _: &'a Target, _: Size) -> BoxFuture<'a, Result<Box<dyn Upstream>, Failure>> {
            Box::pin(async { Err(Failure::new(Code::Internal, "nothing")) })
        }
    }

    #[test]
    fn what_a_caller_may_not_have_tells_nothing_of_the_provider() {
        let kind = Kind { name: "nothing", title: "Nothing" };
        let entry = Entry::new("n".to_owned(), kind, 1, Duration::from_secs(1), Box::new(Nothing));
        let note = |code| entry.note_opening(Err(&Failure::new(code, "why")));
        let about_the_caller = [Code::Forbidden, Code::QuotaExceeded, Code::RateLimited];
        about_the_caller.into_iter().for_each(note);
        assert_eq!(entry.health(), Health::Unknown);
        note(Code::ProviderUnavailable);
        let failing = entry.health();
        assert_eq!(failing, Health::Failing(Code::ProviderUnavailable, "why".to_owned()));
        about_the_caller.into_iter().for_each(note);
        assert_eq!(entry.health(), failing);
        note(Code::ProviderNotRunning);
        assert_eq!(entry.health(), Health::Ok);
    }
}
