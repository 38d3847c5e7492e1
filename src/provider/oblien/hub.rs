//! The one connection of a workspace's runtime, and the task that owns it.
//!
//! A workspace takes one WebSocket at a time, so all of its sessions share it, whoever their clients are. The hub dials
//! when somebody wants a terminal, makes and ends terminals one after another where that matters, carries bytes both
//! ways, and leaves [`LINGER`] after its last terminal.

mod calls;
mod traffic;

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use polytty_dialect::oblien::TerminalId;
use polytty_dialect::{Code, Exit, Outbox, Size};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};

use super::access::Token;
use super::api::Api;
use super::hubs::{Junction, OblienHubs};
use super::redial::Losses;
use super::strangers::{Kept, Strangers};
use super::target::What;
use super::terminal::{Step, Terminal, unverifiable};
use crate::provider::dial::Stream;
use crate::provider::leftovers::Leftovers;
use crate::provider::shared::{Bell, Line, LineId, SharedUpstream};
use crate::provider::{BoxFuture, Failure};
use crate::socket::Socket;
use calls::{Deletion, Done};

/// How long a connection without terminals is kept.
const LINGER: Duration = Duration::from_secs(10);

/// How long the connection may be away while somebody waits for it.
const AWAY: Duration = Duration::from_secs(300);

/// How long after the answer to a deletion the next terminal is asked for. The server may give it the same id, and what
/// the deleted one still said has another way to come than the answer.
const AFTERMATH: Duration = Duration::from_millis(250);

/// How often a list is asked for that does not come, and how far apart.
const LISTINGS: u32 = 3;
const LIST_AGAIN: Duration = Duration::from_secs(2);

/// Somebody who wants a terminal.
pub(super) struct Opener {
    pub(super) what: What,
    pub(super) size: Size,
    /// As its own provider entry is configured.
    pub(super) max_terminals: u32,
    pub(super) end_attached: bool,
    pub(super) reply: oneshot::Sender<Result<SharedUpstream, Failure>>,
}

/// The owner of one connection.
pub(super) struct Hub {
    junction: Junction,
    hubs: Arc<OblienHubs>,
    api: Api,
    commands: mpsc::Receiver<Opener>,
    bell: Arc<Bell>,
    link: Link,
    /// The token of the last connection.
    token: Option<Token>,
    losses: Losses,
    /// Whether its credentials were refused when it dialled last. Those of another entry may be taken, so it does not linger.
    is_refused: bool,
    /// Since when a connection is being sought for somebody.
    seeking: Option<Instant>,

    terminals: HashMap<LineId, Terminal>,
    owners: HashMap<TerminalId, LineId>,
    strangers: Strangers,
    /// Lines that may have input, in the order of their turns. Each is there once at most.
    queue: VecDeque<LineId>,
    rung: Vec<LineId>,

    /// Terminals to be made, and to be taken over; each waits for a connection.
    creates: VecDeque<Opener>,
    attaches: Vec<(Opener, u64)>,
    /// Terminals to be ended.
    deletes: VecDeque<Deletion>,
    /// Terminals that are still to be ended after that has failed: their ids, and when they were made.
    leftovers: Leftovers<(TerminalId, String)>,
    /// Calls under way of each kind. They exclude each other, so that an id which is given out anew is never taken for
    /// the one that was given back.
    creating: u32,
    deleting: u32,
    calls: FuturesUnordered<BoxFuture<'static, Done>>,
    /// A call that was not polled yet wakes nobody.
    has_new_call: bool,
    /// A terminal has been caught up with since the last turn of writing, and may have input by now.
    has_settled: bool,
    /// When a terminal was last deleted.
    deleted: Option<Instant>,
    is_listing: bool,
    list_failures: u32,
    list_at: Option<Instant>,

    /// Counts lines and what else has to be told apart in time.
    clock: u64,
    ignored: u64,
    /// Since when there is nothing to do.
    idle: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
    input: Vec<u8>,
    outbox: Outbox,
}

/// The connection.
enum Link {
    /// None, and none before then.
    Closed(Instant),
    /// On its way.
    Dialling,
    Open(Box<Socket<Stream>>),
}

impl Hub {
    /// A hub that listens to `commands`, and is known to `hubs` by its junction until it leaves.
    pub(super) fn new(junction: Junction, hubs: Arc<OblienHubs>, api: Api, commands: mpsc::Receiver<Opener>) -> Self {
        let now = Instant::now();
        Self {
            junction,
            hubs,
            api,
            commands,
            bell: Arc::default(),
            link: Link::Closed(now),
            token: None,
            losses: Losses::default(),
            is_refused: false,
            seeking: None,
            terminals: HashMap::new(),
            owners: HashMap::new(),
            strangers: Strangers::default(),
            queue: VecDeque::new(),
            rung: Vec::new(),
            creates: VecDeque::new(),
            attaches: Vec::new(),
            deletes: VecDeque::new(),
            leftovers: Leftovers::default(),
            creating: 0,
            deleting: 0,
            calls: FuturesUnordered::new(),
            has_new_call: false,
            has_settled: false,
            deleted: None,
            is_listing: false,
            list_failures: 0,
            list_at: None,
            clock: 0,
            ignored: 0,
            idle: None,
            alarm: Box::pin(tokio::time::sleep_until(now)),
            input: Vec::new(),
            outbox: Outbox::new(),
        }
    }

    /// Serves until there has been nothing to do for a while.
    pub(super) async fn run(mut self) {
        loop {
            poll_fn(|cx| self.poll(cx)).await;
            let (hubs, junction) = (Arc::clone(&self.hubs), self.junction.clone());
            if hubs.leave(&junction, || self.commands.is_empty()) {
                break;
            }
            self.idle = None;
        }
        tracing::debug!(place = ?self.junction, ignored = self.ignored, "leaving the workspace");
        if let Link::Open(socket) = self.link {
            socket.leave(1000, "no terminal is left").await;
        }
    }

    /// One turn; ready when the hub may leave.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut is_busy = false;
            while let Poll::Ready(Some(opener)) = self.commands.poll_recv(cx) {
                self.admit(opener);
                is_busy = true;
            }
            while let Poll::Ready(Some(done)) = self.calls.poll_next_unpin(cx) {
                self.done(done);
                is_busy = true;
            }
            is_busy |= self.poll_bell(cx);
            let has_read = self.poll_read(cx);
            is_busy |= self.poll_write(cx);
            let now = Instant::now();
            let next = self.advance(now);
            if has_read {
                // Other tasks of this thread have their turn before the next one.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let has_news = std::mem::take(&mut self.has_new_call) | std::mem::take(&mut self.has_settled);
            if is_busy || has_news {
                continue;
            }
            if self.idle.is_some_and(|since| self.is_refused || now >= since + LINGER) {
                return Poll::Ready(());
            }
            let Some(next) = next else { return Poll::Pending };
            self.alarm.as_mut().reset(next);
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Takes somebody in, or sends them away where that is certain already.
    fn admit(&mut self, opener: Opener) {
        if let What::Attach(_) = opener.what {
            let asked = self.stamp();
            self.attaches.push((opener, asked));
            return;
        }
        self.creates.retain(|other| !other.reply.is_closed());
        let count = self.terminals.len() + self.creates.len() + self.creating as usize;
        if count >= opener.max_terminals as usize {
            let full = self.full(opener.max_terminals, "by our count");
            let _ = opener.reply.send(Err(full));
            return;
        }
        self.creates.push_back(opener);
    }

    /// Starts what can be started, and lets every terminal move on. When to look again.
    fn advance(&mut self, now: Instant) -> Option<Instant> {
        let mut next = self.catch_up(now);
        self.start_calls(now);
        next = earlier(next, self.leftovers.next());
        next = earlier(next, self.pace(now));
        if let Link::Open(_) = self.link {
            let aftermath = self.aftermath(now).filter(|_| !self.creates.is_empty());
            next = earlier(next, earlier(self.list_at, aftermath));
        }
        if let Link::Closed(not_before) = self.link {
            self.creates.retain(|opener| !opener.reply.is_closed());
            self.attaches.retain(|(opener, _)| !opener.reply.is_closed());
            if !self.is_wanted() {
                self.seeking = None;
            } else if now >= not_before {
                self.seeking.get_or_insert(now);
                self.dial();
            } else {
                next = earlier(next, Some(not_before));
            }
        }
        let is_idle = self.terminals.is_empty()
            && self.creates.is_empty()
            && self.attaches.is_empty()
            && self.deletes.is_empty()
            && self.leftovers.is_empty()
            && self.calls.is_empty();
        self.idle = is_idle.then(|| self.idle.unwrap_or(now));
        earlier(next, self.idle.map(|since| since + LINGER))
    }

    /// Until when a deleted terminal may still say something, if that is not over.
    fn aftermath(&self, now: Instant) -> Option<Instant> {
        self.deleted.map(|at| at + AFTERMATH).filter(|until| now < *until)
    }

    /// Whether somebody waits for the connection.
    fn is_wanted(&self) -> bool {
        !self.creates.is_empty()
            || !self.attaches.is_empty()
            || self.terminals.values().any(|terminal| terminal.line.attended())
    }

    /// Lets terminals that are catching up move on.
    fn catch_up(&mut self, now: Instant) -> Option<Instant> {
        let mut next = None;
        let catching: Vec<LineId> =
            self.terminals.iter().filter(|(_, terminal)| terminal.is_catching()).map(|(line, _)| *line).collect();
        for line in catching {
            let Some(terminal) = self.terminals.get_mut(&line) else { continue };
            match terminal.step(now) {
                Step::Wait => {}
                Step::WaitUntil(at) => next = earlier(next, Some(at)),
                Step::Scrollback => {
                    let (id, since) = (terminal.id, terminal.since);
                    self.ask_scrollback(line, id, since);
                }
                Step::Over(exit) => self.over(line, exit),
                Step::Lost(failure) => self.disown(line, failure),
            }
            if self.terminals.get(&line).is_some_and(|terminal| !terminal.is_catching()) {
                self.has_settled = true;
                self.enqueue(line);
            }
        }
        next
    }

    /// Binds a terminal to a session of its own.
    fn bind(&mut self, id: TerminalId, was_there: bool, kept: Kept, opener: Opener) {
        if let Some(line) = self.owners.get(&id).copied() {
            // The server gave the id to another one, so the terminal that had it is no more.
            self.drop_terminal(line, unverifiable("its id was given to a new terminal"));
        }
        let now = self.stamp();
        let line_id = LineId(now);
        let (line, upstream) = Line::new(&self.bell, line_id);
        let (mut terminal, exit) = Terminal::new(line, id, was_there, now, kept);
        terminal.stays = was_there && !opener.end_attached;
        self.terminals.insert(line_id, terminal);
        self.owners.insert(id, line_id);
        // If nobody waits any more, the session's end is dropped here, and the line asks for the terminal's.
        let _ = opener.reply.send(Ok(upstream));
        if let Some(exit) = exit {
            self.over(line_id, exit);
        }
    }

    /// A process has ended, and its session has all of its output.
    fn over(&mut self, line: LineId, exit: Exit) {
        let Some(terminal) = self.remove(line) else { return };
        // Terminals count against the workspace until they are deleted.
        if !terminal.stays {
            let deletion = self.deletion(&terminal);
            self.deletes.push_back(deletion);
        }
        terminal.line.exit(exit);
    }

    /// A terminal is lost to its session. What polytty made is not left behind.
    fn fail(&mut self, line: LineId, failure: Failure) {
        let Some(terminal) = self.remove(line) else { return };
        if !terminal.was_there {
            let deletion = self.deletion(&terminal);
            self.deletes.push_back(deletion);
        }
        terminal.line.fail(failure);
    }

    /// A terminal is lost, and its id is not its own any more.
    fn drop_terminal(&mut self, line: LineId, failure: Failure) {
        if let Some(terminal) = self.remove(line) {
            terminal.line.fail(failure);
        }
    }

    /// A terminal is lost, since nothing proves that it is still the same. If it is, it is not left behind: its date
    /// tells, once there is a list again.
    fn disown(&mut self, line: LineId, failure: Failure) {
        let Some(terminal) = self.remove(line) else { return };
        if !terminal.was_there && terminal.born.is_some() {
            let Terminal { id, born, .. } = &terminal;
            self.deletes.push_back(Deletion { id: *id, line: None, born: born.clone(), is_certain: false });
        }
        terminal.line.fail(failure);
    }

    /// A session wants its terminal to end.
    fn end(&mut self, line: LineId) {
        let Some(terminal) = self.remove(line) else { return };
        if terminal.stays {
            let past = terminal.past();
            self.strangers.adopt(terminal.id);
            self.strangers.release(terminal.id, &past);
            return;
        }
        // The line is let go when the terminal is gone: so long the session waits.
        let deletion = self.deletion(&terminal);
        self.deletes.push_back(Deletion { line: Some(terminal.line), ..deletion });
    }

    /// How to end a terminal. Without a connection, or on one that has yet to show it, its id may have been given to
    /// another by now.
    fn deletion(&self, terminal: &Terminal) -> Deletion {
        let is_certain = matches!(self.link, Link::Open(_)) && !terminal.is_catching();
        Deletion { id: terminal.id, line: None, born: terminal.born.clone(), is_certain }
    }

    fn remove(&mut self, line: LineId) -> Option<Terminal> {
        let terminal = self.terminals.remove(&line)?;
        self.owners.remove(&terminal.id);
        self.strangers.spend(terminal.id);
        Some(terminal)
    }

    /// Fails everybody who waits for a connection or, with `all`, has a terminal on it.
    fn fail_all(&mut self, failure: &Failure, all: bool) {
        let openers = self.creates.drain(..).chain(self.attaches.drain(..).map(|(opener, _)| opener));
        for opener in openers {
            let _ = opener.reply.send(Err(failure.clone()));
        }
        if all {
            for line in self.terminals.keys().copied().collect::<Vec<_>>() {
                self.fail(line, failure.clone());
            }
        }
    }

    fn enqueue(&mut self, line: LineId) {
        if let Some(terminal) = self.terminals.get_mut(&line)
            && !std::mem::replace(&mut terminal.is_queued, true)
        {
            self.queue.push_back(line);
        }
    }

    fn full(&self, most: u32, detail: impl Into<String>) -> Failure {
        let message = format!(
            "{} has no room for another terminal: it takes {most}, and those that have ended count until they are \
             deleted.",
            capitalized(&self.api.workspace())
        );
        Failure::new(Code::QuotaExceeded, message).detail(detail)
    }

    fn stamp(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}
