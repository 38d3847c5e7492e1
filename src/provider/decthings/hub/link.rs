//! The connection: made when somebody needs it, made anew when it breaks.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use polytty_dialect::Code;
use polytty_dialect::decthings::Call;
use tokio::time::{Instant, Sleep, sleep_until};

use super::super::service::Post;
use super::connection::{Connection, LAUNCH_WITHIN, Pending, REPLY_WITHIN, What};
use super::terminal::{Doing, Subscription};
use super::{Hub, Posted, PostedCall};
use crate::provider::dial::Stream;
use crate::provider::{BoxFuture, Failure};
use crate::socket::{Incoming, Socket};

/// Bytes that are read before others have their turn.
pub(super) const TURN: usize = 256 << 10;

/// The wait before a connection is made anew: so long at first, doubled each time up to the second.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LAST_BACK_OFF: Duration = Duration::from_secs(60);

/// A connection that lasted so long was a good one: the next wait is the first again.
const GOOD: Duration = Duration::from_secs(60);

/// How long it is tried in vain, while somebody is attached, before the terminals count as lost.
const GIVE_UP: Duration = Duration::from_secs(300);

/// So many connections that broke the protocol within [`GIVE_UP`] are enough.
const MAX_BROKEN: usize = 3;

const BROKEN: &str = "Decthings broke its own protocol again and again; the terminal was closed.";

const AWAY: &str = "The connection to Decthings was lost and could not be made again for minutes.";

/// The connection, or the lack of it.
pub(super) enum Link {
    /// Nobody needs it.
    Down,
    Dialling(BoxFuture<'static, Result<Socket<Stream>, Failure>>),
    /// Somebody needs it; it is too early to try again.
    Waiting(Pin<Box<Sleep>>),
    Up(Box<Connection>),
}

/// What is remembered from one connection to the next.
#[derive(Default)]
pub(super) struct Outage {
    /// Attempts since the last good connection.
    attempts: u32,
    not_before: Option<Instant>,
    /// Since when nothing was heard of the service, while somebody waits for it. A connection alone is no sign of life.
    pub(super) since: Option<Instant>,
    /// When connections broke the protocol, [`MAX_BROKEN`] times at the most.
    broken: VecDeque<Instant>,
}

impl Link {
    pub(super) fn has_launches(&self) -> bool {
        matches!(self, Self::Up(connection) if connection.launches > 0)
    }
}

impl Hub {
    /// Drives the connection: dials, waits, reads.
    pub(super) fn poll_link(&mut self, cx: &mut Context<'_>) {
        loop {
            let needed = !self.launches.is_empty();
            match &mut self.link {
                Link::Down => {
                    let missed = || self.terminals.values().any(super::Terminal::is_missed);
                    if needed {
                        self.dial();
                    } else if missed() {
                        let at = self.outage.not_before.unwrap_or_else(Instant::now);
                        self.link = Link::Waiting(Box::pin(sleep_until(at)));
                    } else {
                        self.outage.since = None;
                        return;
                    }
                }
                // Who opens a terminal is not kept waiting: that is somebody's own attempt.
                Link::Waiting(_) if needed => self.dial(),
                Link::Waiting(sleep) => {
                    if sleep.as_mut().poll(cx).is_pending() {
                        return;
                    }
                    if self.terminals.values().any(super::Terminal::is_missed) {
                        self.dial();
                    } else {
                        self.link = Link::Down;
                    }
                }
                Link::Dialling(dialled) => match dialled.as_mut().poll(cx) {
                    Poll::Pending => return,
                    Poll::Ready(Ok(socket)) => self.up(socket),
                    Poll::Ready(Err(failure)) => self.not_up(&failure),
                },
                Link::Up(_) => {
                    if self.poll_read(cx).is_pending() {
                        return;
                    }
                }
            }
        }
    }

    /// Reads one turn; ready when the connection is at its end and has been given up.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut taken = 0;
        loop {
            if let Some(key) = self.choked
                && !self.terminals.get(&key).and_then(|terminal| terminal.line.as_ref()).is_some_and(|l| l.is_choked())
            {
                self.choked = None;
            }
            let Link::Up(connection) = &mut self.link else { return Poll::Ready(()) };
            if self.choked.is_some() {
                connection.socket.poll_idle(cx);
                return Poll::Pending;
            }
            if taken >= TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let (why, broken) = match ready!(self.poll_messages(cx, &mut taken)) {
                Ok(None | Some(Incoming::Message(..))) => continue,
                Err(what) => (what, true),
                Ok(Some(Incoming::Closed(code))) => (format!("closed with {}", code.unwrap_or(1005)), false),
                Ok(Some(Incoming::Ended)) => ("ended without a Close".to_owned(), false),
                Ok(Some(Incoming::Broken(_, why))) => (why.to_owned(), true),
                Ok(Some(Incoming::Lost(why))) => (why, false),
            };
            self.cut(&why, broken);
            return Poll::Ready(());
        }
    }

    fn dial(&mut self) {
        let service = Arc::clone(&self.service);
        self.link = Link::Dialling(Box::pin(async move { service.connect().await }));
    }

    fn up(&mut self, socket: Socket<Stream>) {
        tracing::info!(provider = ?self.service.name, terminals = self.terminals.len(), "connected to Decthings");
        self.leftovers.hurry(Instant::now());
        self.link = Link::Up(Box::new(Connection::new(socket, &self.service)));
        let keys: Vec<u64> = self.terminals.keys().copied().collect();
        keys.into_iter().for_each(|key| self.enqueue(key));
    }

    /// An attempt has failed: those who wait to open a terminal are told, the others wait on for as long as it makes
    /// sense.
    fn not_up(&mut self, failure: &Failure) {
        let now = Instant::now();
        tracing::info!(provider = ?self.service.name, code = failure.code.slug(), detail = ?failure.detail, "no connection to Decthings");
        self.link = Link::Down;
        self.back_off(now);
        for order in self.launches.drain(..) {
            let _ = order.opener.send(Err(failure.clone()));
        }
        let since = *self.outage.since.get_or_insert(now);
        if failure.code == Code::ProviderRefused {
            self.fail_cut(&failure.message, &failure.detail);
        } else if now >= since + GIVE_UP {
            self.fail_cut(AWAY, &failure.detail);
        }
        self.tell_away();
    }

    fn tell_away(&mut self) {
        for terminal in self.terminals.values_mut().filter(|terminal| terminal.is_missed()) {
            if let Some(line) = &terminal.line
                && !std::mem::replace(&mut terminal.told_away, true)
            {
                line.notice(Code::ProviderLost, "The connection to Decthings is lost for now; it is tried again.");
            }
        }
    }

    fn fail_cut(&mut self, message: &str, detail: &str) {
        let is_cut = |terminal: &super::Terminal| terminal.events != Subscription::Live;
        let keys: Vec<u64> =
            self.terminals.iter().filter(|(_, terminal)| is_cut(terminal)).map(|(&key, _)| key).collect();
        for key in keys {
            self.fail(key, Failure::new(Code::ProviderLost, message).detail(detail));
        }
        self.outage.since = None;
    }

    fn back_off(&mut self, now: Instant) {
        let wait = FIRST_BACK_OFF.saturating_mul(1 << self.outage.attempts.min(6)).min(LAST_BACK_OFF);
        self.outage.attempts += 1;
        self.outage.not_before = Some(now + wait);
    }

    /// The connection is over: what was under way on it is settled as well as can be.
    pub(super) fn cut(&mut self, why: &str, broken: bool) {
        let now = Instant::now();
        let Link::Up(mut connection) = std::mem::replace(&mut self.link, Link::Down) else { return };
        let (terminals, ignored) = (self.terminals.len(), connection.ignored + connection.events.ignored_fields());
        tracing::info!(provider = ?self.service.name, ?why, terminals, ignored, "the connection to Decthings is over");
        if now >= connection.since + GOOD {
            self.outage.attempts = 0;
        }
        self.back_off(now);
        for (_, Pending { what, .. }) in connection.pending.drain() {
            match what {
                What::Launch(order) => {
                    let message = "The connection to Decthings broke while the terminal was being opened.";
                    let _ = order.opener.send(Err(Failure::new(Code::ProviderUnavailable, message).detail(why)));
                }
                What::Subscribe(_) => {}
                What::Doing(key, doing) => self.undo(key, doing),
                What::Terminate(key) => {
                    if let Some(terminal) = self.terminals.get_mut(&key) {
                        terminal.terminating = false;
                    }
                }
            }
        }
        // Only a launch of ours can have brought them here, whoever waited for it.
        for id in connection.early.clear() {
            self.leave(id, now);
        }
        let mut ending = Vec::new();
        for (&key, terminal) in &mut self.terminals {
            terminal.events = Subscription::Cut;
            terminal.cut_since.get_or_insert(now);
            ending.extend(terminal.end_by.map(|_| key));
        }
        ending.into_iter().for_each(|key| self.enqueue(key));
        if broken {
            tokio::spawn(async move { connection.socket.leave(1002, "not the protocol").await });
            self.outage.broken.retain(|at| now < *at + GIVE_UP);
            self.outage.broken.push_back(now);
            if self.outage.broken.len() >= MAX_BROKEN {
                self.outage.broken.clear();
                self.fail_cut(BROKEN, why);
            }
        } else {
            tokio::spawn(connection.socket.part());
        }
        match self.outage.since {
            // The first time, it may well be back in a second.
            None => self.outage.since = Some(now),
            Some(since) if now >= since + GIVE_UP => self.fail_cut(AWAY, why),
            Some(_) => self.tell_away(),
        }
    }

    /// What was typed on a connection that broke may have arrived or not; twice would be worse than not at all.
    fn undo(&mut self, key: u64, doing: Doing) {
        let Some(terminal) = self.terminals.get_mut(&key) else { return };
        terminal.doing = None;
        terminal.input.clear();
        if let Doing::Resize(size) = doing {
            terminal.size.get_or_insert(size);
        }
    }

    /// Gives up calls whose reply is overdue.
    pub(super) fn expire_calls(&mut self, now: Instant) {
        let Link::Up(connection) = &mut self.link else { return };
        let due: Vec<u32> =
            connection.pending.iter().filter(|(_, pending)| pending.by <= now).map(|(&id, _)| id).collect();
        let mut hangs = false;
        for id in due {
            let Link::Up(connection) = &mut self.link else { return };
            match connection.answered(id) {
                Some(What::Subscribe(_)) => hangs = true,
                Some(What::Doing(key, doing)) => {
                    self.undo(key, doing);
                    if doing == Doing::Write {
                        let failure = Failure::new(Code::ProviderTimeout, "Decthings takes no input any more.");
                        self.fail(key, failure.detail(format!("no reply within {REPLY_WITHIN:?}")));
                    } else {
                        self.enqueue(key);
                    }
                }
                // Should the reply come after all, the terminal is ended then.
                Some(What::Launch(order)) => {
                    connection.is_overdue(id);
                    let failure = Failure::new(Code::ProviderTimeout, "Decthings did not launch the terminal in time.");
                    let _ = order.opener.send(Err(failure.detail(format!("no reply within {LAUNCH_WITHIN:?}"))));
                }
                Some(What::Terminate(_)) | None => {}
            }
        }
        if hangs {
            self.cut("a subscription was not answered", true);
        }
    }

    /// Makes a call by HTTP, beside everything else.
    pub(super) fn post(&mut self, key: Option<u64>, call: Call<'_>, is: PostedCall) {
        self.again = true;
        let (service, post) = (Arc::clone(&self.service), Post::new(call));
        self.posts.spawn(async move { Posted { key, call: is, reply: service.post(post).await } });
    }
}
