//! The store that replicas share: one connection to a Redis, and which incarnation of it that is.
//!
//! A Redis that is killed and started again from a snapshot, or replaced by its replica, may have forgotten what it was
//! told, or remember what it was told to forget. It then runs under another [`RunId`]. A TCP connection cannot outlive the
//! process at its other end, so connection and run are one unit here, the [`Link`]. When it breaks it is never mended, but
//! replaced by another one, which says whose it is. Where more hangs on it, a [`Script`] asks for the run that carries it
//! out, so that not even what stands between here and the server can be mistaken for it.
//!
//! No call is ever repeated. Whoever makes one hears that it was answered, that it was certainly not carried out
//! ([`CallError::Away`]), or that nobody knows ([`CallError::Unknown`]).

mod connect;
mod link;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};

use crate::client::Backoff;
use crate::config::RedisServer;
use crate::observe::Metrics;
use crate::provider::{Dialer, RootsError};

pub use link::{Begun, CallError, Link, RunId, Script};
pub use redis::{Cmd, FromRedisValue, Value, cmd};

use connect::Connected;

/// From the first packet to the server's word which incarnation it is.
const CONNECT: Duration = Duration::from_secs(2);

/// From handing a call over to its answer. A call that takes longer counts as unanswered, and its connection as broken.
const CALL: Duration = Duration::from_secs(2);

/// How often the server is asked for a sign of life, so that one which is gone without a word is noticed by then.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The first wait before connecting again, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A connection that lived for so long was a good one: the waits begin anew.
const SETTLED: Duration = Duration::from_secs(10);

/// Calls in flight at once. At the bound, the next ones are [`CallError::Away`] at once.
const IN_FLIGHT: usize = 1024;

/// For so long a store may be away before somebody who asks whether new work is welcome is told that it is not. A restart
/// on the spot takes less.
const MISSED: Duration = Duration::from_secs(5);

/// What is said before the first attempt has come to anything.
const NOT_YET: &str = "not connected yet";

/// The way to one Redis. [`Redis::keep_connected`] has to run for it to lead anywhere.
pub struct Redis {
    server: RedisServer,
    dialer: Dialer,
    state: watch::Sender<State>,
    places: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// Whether the store is there, as which incarnation, and since when.
#[derive(Clone, Debug)]
pub struct State {
    link: Result<Link, Arc<str>>,
    since: Instant,
    was_there: bool,
}

impl State {
    /// The connection; `None` while there is none.
    #[must_use]
    pub fn link(&self) -> Option<&Link> {
        self.link.as_ref().ok()
    }

    /// The incarnation at its other end; `None` while there is none.
    #[must_use]
    pub fn run_id(&self) -> Option<&RunId> {
        self.link().map(Link::run_id)
    }

    /// Why there is no connection, for the log and for whoever runs this: what was found the last time that one was tried.
    /// `None` while there is one.
    #[must_use]
    pub fn why_away(&self) -> Option<&str> {
        self.link.as_ref().err().map(AsRef::as_ref)
    }

    /// Since when it has been connected, or away.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }
}

/// There is no connection to the store now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away;

impl From<Away> for CallError {
    fn from(_: Away) -> Self {
        Self::Away
    }
}

impl Redis {
    /// A way to `server`, not connected yet.
    ///
    /// # Errors
    ///
    /// When the roots that its certificate is trusted by are of no use.
    pub fn new(server: RedisServer, metrics: Arc<Metrics>) -> Result<Arc<Self>, RootsError> {
        let dialer = dialer(&server)?;
        let (state, _) = watch::channel(State { link: Err(NOT_YET.into()), since: Instant::now(), was_there: false });
        let places = Arc::new(Semaphore::new(IN_FLIGHT));
        metrics.store_up(false);
        Ok(Arc::new(Self { server, dialer, state, places, metrics }))
    }

    /// The connection of now, for a call. Cheap.
    ///
    /// # Errors
    ///
    /// [`Away`], while there is none; that counts as a call that was not carried out.
    pub fn link(&self) -> Result<Link, Away> {
        self.state.borrow().link.clone().map_err(|_| {
            self.metrics.store_call("away");
            Away
        })
    }

    /// Tells of every change between connected and away, and of incarnations. Whoever looks late sees the latest.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Whether it has been away for five seconds, or has never been connected.
    #[must_use]
    pub fn is_missed(&self) -> bool {
        let state = self.state.borrow();
        state.link.is_err() && (!state.was_there || state.since.elapsed() >= MISSED)
    }

    /// Connects, and connects again, for ever.
    pub async fn keep_connected(self: Arc<Self>) {
        let mut waits = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let mut known: Option<Begun> = None;
        loop {
            let why = match connect::connect(&self, known.as_ref()).await {
                Ok(connected) => {
                    let link = connected.link.clone();
                    known = Some(link.begun().clone());
                    let from = Instant::now();
                    let why = self.while_connected(connected).await;
                    if from.elapsed() >= SETTLED {
                        waits.reset();
                    }
                    why
                }
                Err(why) => why,
            };
            self.is_away(why);
            sleep(waits.wait(random())).await;
        }
    }

    /// Publishes a connection and keeps it alive. Why it ended.
    async fn while_connected(&self, connected: Connected) -> String {
        let Connected { link, driver, version } = connected;
        tracing::info!(store = %self.server, run_id = %link.run_id(), version = ?version, "the store is connected");
        self.metrics.store_up(true);
        self.state.send_replace(State { link: Ok(link.clone()), since: Instant::now(), was_there: true });
        let why = tokio::select! {
            () = driver => "the connection was closed".to_owned(),
            () = link.broken() => "a call was not answered in time, or the server takes no writes".to_owned(),
            why = heartbeats(&link) => why,
        };
        // Before anybody hears of it: whoever holds the link must not think that it still leads anywhere.
        link.give_up();
        why
    }

    /// Publishes that there is no connection. A store that is away for an hour need not fill a log with it: only another
    /// reason is news.
    fn is_away(&self, why: String) {
        self.metrics.store_up(false);
        self.state.send_if_modified(|state| {
            if state.why_away() == Some(&why) {
                return false;
            }
            tracing::warn!(store = %self.server, why = ?why, "the store is away");
            if state.link.is_ok() {
                state.since = Instant::now();
            }
            state.link = Err(why.into());
            true
        });
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("server", &self.server).field("state", &*self.state.borrow()).finish()
    }
}

/// Finds out whether the way to a server could be made, without dialling it.
///
/// # Errors
///
/// As [`Redis::new`].
pub fn check(server: &RedisServer) -> Result<(), RootsError> {
    dialer(server).map(drop)
}

/// The address is the operator's choice, so a private one is as good as any.
fn dialer(server: &RedisServer) -> Result<Dialer, RootsError> {
    Dialer::new(server.ca.as_deref(), true).map(Dialer::without_alpn)
}

/// Asks for signs of life until one fails to come. Why it did.
async fn heartbeats(link: &Link) -> String {
    let whoami = Script::new("return run_id()");
    loop {
        sleep(HEARTBEAT).await;
        if let Err(why) = link.check(&whoami).await {
            return why;
        }
    }
}

/// Any number. Without randomness, replicas come back together, which is no reason not to come back.
fn random() -> u16 {
    let mut bytes = [0; 2];
    let _ = SystemRandom::new().fill(&mut bytes);
    u16::from_le_bytes(bytes)
}
