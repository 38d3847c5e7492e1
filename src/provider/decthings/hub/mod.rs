//! The hub: the one task that owns the socket of a provider entry, and all its terminals.
//!
//! It reads without waiting for any client (each terminal's output goes into its [`Line`]), writes what the lines
//! want in turns, and makes the connection anew when it breaks and somebody is attached. It leaves when its last
//! terminal has been gone for a while.

mod connection;
mod desk;
mod incoming;
mod link;
mod outgoing;
mod terminal;

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use polytty_dialect::Exit;
use polytty_dialect::decthings::Reply;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep_until};

use self::link::{Link, Outage};
use self::terminal::{Doing, Subscription, Terminal};
use super::service::Service;
use super::words;
use crate::provider::Failure;
use crate::provider::leftovers::{Leftover, Leftovers};
use crate::provider::shared::{Bell, Line, LineId};

pub(super) use desk::{Desk, Order};

/// Launches that wait to be sent, or to be answered. At the bound the hub takes no further orders.
const MAX_LAUNCHES: usize = 1024;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How long the hub stays, with its connection, when no terminal is left.
const LINGER: Duration = Duration::from_secs(10);

/// How long a terminal may take to end.
const END_WITHIN: Duration = Duration::from_secs(5);

/// How long the exit of a terminal may come behind the news that it is gone.
const EXIT_WITHIN: Duration = Duration::from_secs(3);

pub(super) struct Hub {
    service: Arc<Service>,
    desk: Arc<Desk>,
    orders: mpsc::Receiver<Order>,
    bell: Arc<Bell>,
    link: Link,
    outage: Outage,
    /// Taken and not sent yet.
    launches: VecDeque<Order>,
    terminals: HashMap<u64, Terminal>,
    /// The same by their ids at the service.
    by_id: HashMap<String, u64>,
    next_key: u64,
    /// Terminals that want to call, in turn; each is here once at most.
    ready: VecDeque<u64>,
    /// The terminal for whose session the socket is not read.
    choked: Option<u64>,
    /// Calls by HTTP. At most one for each terminal, its end apart, and a few for those that are left over.
    posts: JoinSet<Posted>,
    /// Whether a call by HTTP was made that is not waited for yet, or the socket may be read again.
    again: bool,
    /// Terminals, by their ids, that are still to be ended, and that no session waits for.
    leftovers: Leftovers<String>,
    clock: Pin<Box<Sleep>>,
    idle_since: Option<Instant>,
    rung: Vec<LineId>,
}

/// A call by HTTP that has come back.
struct Posted {
    /// The terminal's key; `None` for a leftover.
    key: Option<u64>,
    call: PostedCall,
    reply: Result<Reply, Failure>,
}

enum PostedCall {
    Doing(Doing),
    Terminate,
    Leftover(Leftover<String>),
}

impl Hub {
    fn new(service: Arc<Service>, desk: Arc<Desk>, orders: mpsc::Receiver<Order>) -> Self {
        Self {
            service,
            desk,
            orders,
            bell: Arc::default(),
            link: Link::Down,
            outage: Outage::default(),
            launches: VecDeque::new(),
            terminals: HashMap::new(),
            by_id: HashMap::new(),
            next_key: 0,
            ready: VecDeque::new(),
            choked: None,
            posts: JoinSet::new(),
            again: false,
            leftovers: Leftovers::default(),
            clock: Box::pin(sleep_until(Instant::now() + TICK)),
            idle_since: None,
            rung: Vec::new(),
        }
    }

    async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
        if let Link::Up(connection) = std::mem::replace(&mut self.link, Link::Down) {
            connection.leave().await;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_orders(cx);
        if self.poll_clock(cx).is_ready() {
            return Poll::Ready(());
        }
        self.poll_posts(cx);
        self.poll_bell(cx);
        self.pace();
        self.poll_link(cx);
        self.poll_send(cx);
        self.clear_leftovers();
        if std::mem::take(&mut self.again) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Lets a terminal that has the connection to itself pace it, as long as no reply behind its output is urgent.
    fn pace(&mut self) {
        let now = Instant::now();
        let is_sole = self.terminals.len() == 1
            && self.launches.is_empty()
            && matches!(&self.link, Link::Up(connection) if connection.has_time(now));
        for terminal in self.terminals.values() {
            if let Some(line) = &terminal.line {
                line.pace(is_sole && terminal.events == Subscription::Live, now);
            }
        }
    }

    fn poll_orders(&mut self, cx: &mut Context<'_>) {
        while self.launches.len() < MAX_LAUNCHES {
            match self.orders.poll_recv(cx) {
                Poll::Ready(Some(order)) => self.launches.push_back(order),
                // The desk keeps the sender for as long as the hub is there.
                Poll::Ready(None) | Poll::Pending => return,
            }
        }
    }

    /// The deadlines; ready when the hub leaves.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.clock.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            self.clock.as_mut().reset(now + TICK);
            self.launches.retain(|order| !order.opener.is_closed());
            self.expire_calls(now);
            self.expire_terminals(now);
            let is_idle = self.terminals.is_empty()
                && self.launches.is_empty()
                && self.posts.is_empty()
                && self.leftovers.is_empty()
                && !self.link.has_launches();
            if !is_idle {
                self.idle_since = None;
            } else if now >= *self.idle_since.get_or_insert(now) + LINGER && self.desk.close(&self.orders) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    fn expire_terminals(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let mut over = Vec::new();
        for (&key, terminal) in &mut self.terminals {
            if due(terminal.end_by) || due(terminal.gone_by) {
                over.push(key);
            } else if due(terminal.pause_until) && !terminal.queued {
                terminal.queued = true;
                self.ready.push_back(key);
            }
        }
        for key in over {
            let Some(terminal) = self.remove(key) else { continue };
            if terminal.end_by.is_some() {
                self.leave(terminal.id, now);
            } else if let Some(line) = terminal.line {
                line.exit(words::vanished());
            }
        }
    }

    fn poll_posts(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(done)) = self.posts.poll_join_next(cx) {
            let Ok(Posted { key, call, reply }) = done else { continue };
            match (key, call) {
                (Some(key), PostedCall::Doing(doing)) => self.done(key, doing, reply),
                (Some(key), PostedCall::Terminate) => self.terminated(key, &reply),
                (_, PostedCall::Leftover(leftover)) => self.cleared(leftover, &reply),
                (None, _) => {}
            }
        }
    }

    fn poll_bell(&mut self, cx: &mut Context<'_>) {
        let mut rung = std::mem::take(&mut self.rung);
        if self.bell.poll_rung(cx, &mut rung).is_ready() {
            for LineId(key) in rung.drain(..) {
                self.peek(key);
                self.enqueue(key);
            }
            // Whoever rang meanwhile has the next turn, and so does listening.
            cx.waker().wake_by_ref();
        }
        self.rung = rung;
    }

    /// Looks after what a session wants at once: its end, above all.
    fn peek(&mut self, key: u64) {
        if self.terminals.get_mut(&key).is_some_and(Terminal::peek) {
            self.end(key);
        }
    }

    /// Gives a terminal its turn, after the others.
    fn enqueue(&mut self, key: u64) {
        let Some(terminal) = self.terminals.get_mut(&key) else { return };
        if !std::mem::replace(&mut terminal.queued, true) {
            self.ready.push_back(key);
        }
    }

    /// Begins to end a terminal at the service.
    fn end(&mut self, key: u64) {
        let Some(terminal) = self.terminals.get_mut(&key) else { return };
        if terminal.end_by.is_none() {
            terminal.end_by = Some(Instant::now() + END_WITHIN);
            terminal.input = Vec::new();
            // Nobody takes its output any more, and the others are to be read for.
            if self.choked == Some(key) {
                self.choked = None;
                self.again = true;
            }
            self.enqueue(key);
        }
    }

    /// Tells a session that its terminal is lost, and ends what may be left of it.
    fn fail(&mut self, key: u64, failure: Failure) {
        let Some(terminal) = self.terminals.get_mut(&key) else { return };
        // One that is ending anyway keeps its line: the session waits for that.
        if terminal.end_by.is_none()
            && let Some(line) = terminal.line.take()
        {
            line.fail(failure);
            self.end(key);
        }
    }

    /// The terminal has ended by itself, or as it was asked to.
    fn exit(&mut self, key: u64, how: Result<Exit, Failure>) {
        let Some(mut terminal) = self.remove(key) else { return };
        if terminal.end_by.is_some() {
            return;
        }
        terminal.tell_gap(Instant::now());
        match (terminal.line, how) {
            (Some(line), Ok(exit)) => line.exit(exit),
            (Some(line), Err(failure)) => line.fail(failure),
            (None, _) => {}
        }
    }

    fn remove(&mut self, key: u64) -> Option<Terminal> {
        let terminal = self.terminals.remove(&key)?;
        self.by_id.remove(&terminal.id);
        Some(terminal)
    }

    /// A line for a terminal that is to be.
    fn next_line(&mut self) -> (u64, Line, crate::provider::shared::SharedUpstream) {
        let key = self.next_key;
        self.next_key += 1;
        let (line, upstream) = Line::new(&self.bell, LineId(key));
        (key, line, upstream)
    }
}
