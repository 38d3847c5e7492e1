//! One connection, and the calls that are under way on it.

use std::collections::{HashMap, VecDeque};
use std::task::{Context, Poll};
use std::time::Duration;

use polytty_dialect::Outbox;
use polytty_dialect::decthings::{Call, Calls, Events};
use tokio::time::Instant;

use super::super::service::Service;
use super::terminal::{Doing, Early};
use super::{MAX_LAUNCHES, Order};
use crate::provider::dial::Stream;
use crate::socket::Socket;

/// How long the service may take to launch a terminal: as long as the longest `open_timeout`.
pub(super) const LAUNCH_WITHIN: Duration = Duration::from_secs(600);

/// How long it may take over input, or over a size.
pub(super) const REPLY_WITHIN: Duration = Duration::from_secs(60);

/// How long the service may take to subscribe or to terminate.
const SOON: Duration = Duration::from_secs(15);

/// What is left of that time when the replies have to be read for, whatever is before them.
const MARGIN: Duration = Duration::from_secs(5);

pub(super) struct Connection {
    pub(super) socket: Socket<Stream>,
    pub(super) calls: Calls,
    pub(super) events: Events,
    /// Calls without a reply: launches up to `MAX_LAUNCHES`, and a few for each terminal.
    pub(super) pending: HashMap<u32, Pending>,
    /// Launches that nobody waits for any more, oldest first, [`MAX_LAUNCHES`] at the most: should the answer come
    /// after all, its terminal is ended.
    overdue: VecDeque<u32>,
    pub(super) launches: usize,
    pub(super) subscribing: usize,
    pub(super) early: Early,
    pub(super) outbox: Outbox,
    /// Messages that mean nothing here.
    pub(super) ignored: u64,
    pub(super) since: Instant,
}

/// A call whose reply is waited for.
pub(super) struct Pending {
    pub(super) what: What,
    pub(super) by: Instant,
}

pub(super) enum What {
    Launch(Order),
    Subscribe(u64),
    Doing(u64, Doing),
    Terminate(u64),
}

impl Connection {
    pub(super) fn new(socket: Socket<Stream>, service: &Service) -> Self {
        Self {
            socket,
            calls: service.calls(),
            events: Events::new(),
            pending: HashMap::new(),
            overdue: VecDeque::new(),
            launches: 0,
            subscribing: 0,
            early: Early::default(),
            outbox: Outbox::new(),
            ignored: 0,
            since: Instant::now(),
        }
    }

    /// Writes a call into the outbox and waits for its reply from now on.
    pub(super) fn call(&mut self, call: Call<'_>, what: What) {
        let within = match what {
            What::Launch(_) => LAUNCH_WITHIN,
            What::Doing(..) => REPLY_WITHIN,
            What::Subscribe(_) | What::Terminate(_) => SOON,
        };
        self.launches += usize::from(matches!(what, What::Launch(_)));
        self.subscribing += usize::from(matches!(what, What::Subscribe(_)));
        let id = self.calls.push(call, &mut self.outbox);
        self.pending.insert(id, Pending { what, by: Instant::now() + within });
    }

    /// Whether the replies that are waited for may wait behind output.
    pub(super) fn has_time(&self, now: Instant) -> bool {
        self.pending.values().all(|pending| pending.by > now + MARGIN && !matches!(pending.what, What::Launch(_)))
    }

    /// What the reply of this id is for.
    pub(super) fn answered(&mut self, id: u32) -> Option<What> {
        let Pending { what, .. } = self.pending.remove(&id)?;
        self.launches -= usize::from(matches!(what, What::Launch(_)));
        self.subscribing -= usize::from(matches!(what, What::Subscribe(_)));
        Some(what)
    }

    /// Remembers a launch whose answer did not come in time.
    pub(super) fn is_overdue(&mut self, id: u32) {
        if self.overdue.len() >= MAX_LAUNCHES {
            self.overdue.pop_front();
        }
        self.overdue.push_back(id);
    }

    /// Whether a reply is for such a launch. True once.
    pub(super) fn was_overdue(&mut self, id: u32) -> bool {
        let at = self.overdue.iter().position(|overdue| *overdue == id);
        at.and_then(|at| self.overdue.remove(at)).is_some()
    }

    /// Hands the outbox to the socket.
    pub(super) fn send(&mut self) {
        self.socket.send(&mut self.outbox);
    }

    /// Ready when the socket takes more. That writing has failed is told by reading.
    pub(super) fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let had_failed = self.socket.failure().is_some();
        std::task::ready!(self.socket.poll_flushed(cx));
        if self.socket.failure().is_some() {
            if !had_failed {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    pub(super) async fn leave(self: Box<Self>) {
        self.socket.leave(1000, "no terminal is left").await;
    }
}
