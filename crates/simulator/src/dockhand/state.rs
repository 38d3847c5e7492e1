//! What all connections of a simulated Dockhand share.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    Flow, api,
    auth::Accounts,
    docker::{Docker, Process, Size},
    session::Wanted,
    upgrade,
    world::World,
};
use crate::{
    Clock,
    pty::Shell,
    web::{Answer, Refusal, Service, Site},
};

/// Openings that are remembered.
const MAX_OPENINGS: usize = 1_024;

/// The simulated server and the Docker behind it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) site: Arc<Site>,
    pub(super) world: World,
    pub(super) accounts: Accounts,
    pub(super) docker: Arc<Docker>,
    pub(super) tally: Tally,
    pub(super) openings: Mutex<VecDeque<Opening>>,
    /// The end of the server's present process.
    pub(super) process: Mutex<CancellationToken>,
    pub(super) clock: Clock,
    pub(super) shell: Vec<String>,
    pub(super) flow: Flow,
    /// `None` for a random one.
    pub(super) create_delay: Option<Duration>,
    pub(super) resize_delay: Duration,
    /// Bytes.
    pub(super) max_message: usize,
}

impl Service for Server {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, authority: String) -> Answer {
        if request.headers().contains_key(header::UPGRADE) {
            return upgrade::answer(&self, request).await;
        }
        api::answer(&self, request, &authority).await
    }

    fn refuse(&self, refusal: &Refusal, _authority: &str) -> Response<Bytes> {
        api::envelope(refusal.status, &refusal.message)
    }
}

impl Server {
    /// The token that is cancelled when the server's present process ends.
    pub(super) fn process(&self) -> CancellationToken {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the server's process: every session ends with it. The next process begins at once.
    pub(super) fn crash(&self) {
        let process = mem::take(&mut *self.process.lock().unwrap_or_else(PoisonError::into_inner));
        process.cancel();
        self.accounts.restart();
        self.tally.crashes.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts a terminal's WebSocket until the guard is dropped.
    pub(super) fn attach(self: &Arc<Self>) -> Attached {
        self.tally.attached.fetch_add(1, Ordering::SeqCst);
        Attached(Arc::clone(self))
    }

    /// The shell of a process whose client has left before it was created; `None` if the simulator ends first.
    pub(super) async fn create_late(&self, created: Instant, size: Size) -> Option<Shell> {
        tokio::select! {
            () = sleep_until(created) => {}
            () = self.site.cancel.cancelled() => return None,
        }
        Shell::spawn_sized(&self.shell, size).inspect_err(|error| debug!(?error, "no shell")).ok()
    }

    pub(super) fn record(&self, opening: Opening) {
        let mut openings = self.openings.lock().unwrap_or_else(PoisonError::into_inner);
        if openings.len() >= MAX_OPENINGS {
            openings.pop_front();
        }
        openings.push_back(opening);
    }

    pub(super) fn openings(&self) -> Vec<Opening> {
        self.openings.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(super) fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        let tally = &self.tally;
        Counters {
            calls_answered: read(&tally.calls_answered),
            calls_refused: read(&tally.calls_refused),
            redirects_followed: read(&tally.redirects_followed),
            logins: read(&tally.logins),
            logins_refused: read(&tally.logins_refused),
            execs_created: read(&tally.execs_created),
            resize_calls: read(&tally.resize_calls),
            upgrades_taken: read(&tally.upgrades_taken),
            upgrades_refused: read(&tally.upgrades_refused),
            attached: tally.attached.load(Ordering::SeqCst),
            connections: self.site.connections(),
            orphans: self.docker.orphans(),
            orphaned: self.docker.orphaned(),
            messages_dropped: read(&tally.messages_dropped),
            messages_ignored: read(&tally.messages_ignored),
            output_bytes: read(&tally.output_bytes),
            input_bytes: read(&tally.input_bytes),
            resizes: read(&tally.resizes),
            crashes: read(&tally.crashes),
        }
    }
}

/// Something that was asked for, whatever came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// `envId`, if it was a number.
    pub environment: Option<i64>,
    /// The container, as it was named.
    pub container: String,
    /// The program.
    pub shell: String,
    /// The user that it is to run as.
    pub user: String,
}

impl Opening {
    pub(super) fn of(wanted: &Wanted) -> Self {
        match wanted {
            Wanted::New { environment, container, shell, user } => {
                let (container, shell, user) = (container.clone(), shell.clone(), user.clone());
                Self { environment: *environment, container, shell, user }
            }
            Wanted::Exec(started) => Self::from(&started.process),
        }
    }
}

impl From<&Process> for Opening {
    fn from(process: &Process) -> Self {
        let Process { environment, container, shell, user } = process.clone();
        Self { environment: Some(environment.into()), container, shell, user }
    }
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls that were answered with a status of success.
    pub calls_answered: u64,
    /// Calls that were refused, by a fault or rightly.
    pub calls_refused: u64,
    /// Requests for the place that a redirect of [`Fault::ApiRedirect`](crate::Fault::ApiRedirect) names.
    pub redirects_followed: u64,
    /// Logins that brought a session.
    pub logins: u64,
    /// Logins refused by a wrong password or code, or by a lock.
    pub logins_refused: u64,
    /// Processes created by a call.
    pub execs_created: u64,
    /// Sizes given by a call.
    pub resize_calls: u64,
    /// Upgrades answered with a 101.
    pub upgrades_taken: u64,
    /// Upgrades refused, by a fault or rightly.
    pub upgrades_refused: u64,
    /// WebSockets of terminals that are open now.
    pub attached: usize,
    /// Connections that are open now.
    pub connections: usize,
    /// Shells that their clients have left and that live now.
    pub orphans: usize,
    /// Shells that their clients have left, ever.
    pub orphaned: u64,
    /// Messages dropped because the process was not created yet.
    pub messages_dropped: u64,
    /// Messages that meant nothing: malformed, of an unknown type, or of wrong values.
    pub messages_ignored: u64,
    /// Bytes of terminal output handed to WebSockets.
    pub output_bytes: u64,
    /// Bytes of input taken by terminals.
    pub input_bytes: u64,
    /// Sizes applied to terminals.
    pub resizes: u64,
    /// Ends of the server's process.
    pub crashes: u64,
}

/// [`Counters`] in the making.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) calls_answered: AtomicU64,
    pub(super) calls_refused: AtomicU64,
    pub(super) redirects_followed: AtomicU64,
    pub(super) logins: AtomicU64,
    pub(super) logins_refused: AtomicU64,
    pub(super) execs_created: AtomicU64,
    pub(super) resize_calls: AtomicU64,
    pub(super) upgrades_taken: AtomicU64,
    pub(super) upgrades_refused: AtomicU64,
    pub(super) attached: AtomicUsize,
    pub(super) messages_dropped: AtomicU64,
    pub(super) messages_ignored: AtomicU64,
    pub(super) output_bytes: AtomicU64,
    pub(super) input_bytes: AtomicU64,
    pub(super) resizes: AtomicU64,
    pub(super) crashes: AtomicU64,
}

/// A terminal's WebSocket in the count of those that are open.
#[derive(Debug)]
pub(super) struct Attached(Arc<Server>);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.tally.attached.fetch_sub(1, Ordering::SeqCst);
    }
}
