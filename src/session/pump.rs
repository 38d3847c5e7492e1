//! The hot path: two directions between a client and an upstream, in one task.
//!
//! Per turn, what has arrived is read into scratch memory of the thread (64 KiB a direction at the most), every whole
//! message in it is translated, and the result is written and flushed once. A side is read only while the other side
//! has room, so the pace of the slowest reaches the fastest through TCP and nothing is buffered beyond one turn. A
//! pump at rest owns its scrollback and an unfinished piece; its sockets keep theirs.
//!
//! Without a client the upstream is read on into the scrollback, unless the configuration has it wait.

mod arrive;
mod farewell;
mod input;
mod output;
mod record;
mod watch;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt as _;
use polytty_dialect::{Code, Outbox, Role, Size};
use tokio::time::{Instant, Sleep};

use self::farewell::Farewell;
use super::attachment::Attachment;
use super::info::State;
use super::open::Terminal;
use super::ring::Ring;
use super::screen::{Screen, Sizes};
use super::task::{Left, Task};
use super::viewer::Gallery;
use super::way_back::WayBack;
use super::{Command, Ending, ScreenPolicy};
use crate::limit::OutputPace;
use crate::provider::{Failure, Upstream};
use crate::recording::Tap;
use crate::socket::DRAIN;

/// Bytes of one direction that a session may move before the others have their turn.
const TURN: usize = 64 * 1024;

/// Scratch memory that a thread keeps from one turn to the next, in bytes. What a large message made grow beyond it
/// is given back.
const SCRATCH: usize = 4 * TURN;

/// Gaps in the output that are told to who comes back. Beyond that, so many are told that another one says little new.
const MAX_GAPS: usize = 16;

#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    outbox: Outbox,
}

thread_local! {
    static THREAD: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// Lends the thread's scratch memory, empty.
fn with_scratch<T>(work: impl FnOnce(&mut Vec<u8>, &mut Outbox) -> T) -> T {
    THREAD.with_borrow_mut(|scratch| {
        scratch.bytes.clear();
        scratch.outbox.clear();
        let result = work(&mut scratch.bytes, &mut scratch.outbox);
        if scratch.bytes.capacity() > SCRATCH {
            scratch.bytes = Vec::new();
        }
        if scratch.outbox.capacity() > SCRATCH {
            scratch.outbox = Outbox::new();
        }
        result
    })
}

pub(super) struct Pump<'a> {
    task: &'a mut Task,
    upstream: Box<dyn Upstream>,
    client: Option<Attachment>,
    size: Size,
    /// Input that was read but exceeds a turn: the rest of one message of the client.
    typed: Vec<u8>,
    /// The last output. What the client has not been sent yet is in it, whatever its bound.
    ring: Ring,
    way_back: WayBack,
    /// The offset behind what the client that was there last was sent.
    last: u64,
    /// The offset behind what terminals before that one have shown, and may have answered.
    shown: u64,
    /// Gaps in the output that is held, each with the offset that it stands at; the last [`MAX_GAPS`] of them.
    gaps: VecDeque<(u64, Failure)>,
    /// The client's end of input, told once `typed` has gone out.
    eof: bool,
    /// The upstream's end, told once all output has gone out.
    over: Option<Ending>,
    /// Whether the upstream takes no input at the moment.
    input_held: bool,
    /// Whoever watches.
    viewers: Gallery,
    /// How fast output may go out, where that is bounded.
    pace: Option<Box<OutputPace>>,
    /// Where what happens is recorded, if it is.
    tap: Option<Tap>,
    /// The model of what is on the screen, while somebody needs it.
    screen: Option<Screen>,
    /// Which size the terminal had at which place of the output that is held.
    sizes: Sizes,
    /// The last notice that nobody was there to be told, gaps apart.
    untold: Option<Failure>,
    /// The upstream cannot wait, so it is read whether anybody is there or not.
    must_read: bool,
    /// Until when the terminal is a row shorter than it should be.
    nudged: Option<Instant>,
    active: Instant,
    detached: Instant,
    /// A link was minted that may bring a client until then.
    expected: Option<Instant>,
    over_since: Instant,
    /// Whether the client that is being told of it has heard it.
    farewell: Option<Farewell>,
    /// When the client is given a fresh resume link.
    renewal: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
    /// Whether a deadline has moved since the alarm was set.
    moved: bool,
}

impl<'a> Pump<'a> {
    /// Joins an open terminal and its client: applies the latest size, says `ready` and hands over what was typed
    /// while the terminal was being opened.
    pub(super) fn new(task: &'a mut Task, Terminal { mut upstream, client, early }: Terminal) -> Self {
        let now = Instant::now();
        upstream.resize(early.size);
        task.session.record.add_input(early.input.len());
        task.session.record.set_state(State::Detached);
        let ring = Ring::new(task.settings.scrollback, task.settings.scrollbacks.clone());
        let way_back = WayBack::new(task.settings.resume.clone(), task.session.id, Role::Writer);
        let pace = OutputPace::new(task.settings.pace, task.metrics.clone());
        let viewers = Gallery::new(task.settings.max_viewers, task.settings.resume.clone(), task.session.id);
        let mut pump = Self {
            task,
            upstream,
            client: None,
            size: early.size,
            typed: early.input,
            eof: early.eof,
            ring,
            way_back,
            last: 0,
            shown: 0,
            gaps: VecDeque::new(),
            over: None,
            input_held: false,
            viewers,
            pace,
            tap: None,
            screen: None,
            sizes: Sizes::new(early.size),
            untold: None,
            must_read: false,
            nudged: None,
            active: now,
            detached: now,
            expected: early.expected,
            over_since: now,
            farewell: None,
            renewal: None,
            alarm: Box::pin(tokio::time::sleep_until(now)),
            moved: true,
        };
        pump.record();
        if pump.task.settings.screen == ScreenPolicy::Always {
            pump.model();
        }
        if let Some(client) = client {
            pump.attach(client);
        }
        for viewer in std::mem::take(&mut pump.task.viewers) {
            pump.watch(viewer);
        }
        pump
    }

    /// Pumps until the session ends.
    pub(super) async fn run(&mut self) -> Ending {
        let drain = self.task.drain.clone();
        let mut drained = std::pin::pin!(drain.cancelled());
        poll_fn(|cx| {
            if drained.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ending::Draining);
            }
            self.poll_turn(cx)
        })
        .await
    }

    /// What is left, once this has come to its end.
    pub(super) fn end(mut self: Box<Self>, ending: Ending) -> Left {
        self.end_recording(&ending);
        self.show_the_end();
        let rest = self.client.as_ref().map(|client| {
            let (front, back) = self.ring.from(client.position());
            [front, back].concat()
        });
        let seats = self.viewers.seats().cloned().collect();
        Left { ending, rest: rest.unwrap_or_default(), client: self.client, upstream: Some(self.upstream), seats }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if let Poll::Ready(ending) = self.poll_commands(cx) {
            return Poll::Ready(ending);
        }
        if let Poll::Ready(ending) = self.poll_recording(cx) {
            return Poll::Ready(ending);
        }
        if let Poll::Ready(ending) = self.poll_input(cx) {
            return Poll::Ready(ending);
        }
        if let Poll::Ready(ending) = self.poll_output(cx) {
            return Poll::Ready(ending);
        }
        self.poll_clock(cx)
    }

    fn poll_commands(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        while let Poll::Ready(command) = self.task.inbox.poll_next_unpin(cx) {
            match command {
                Some(Command::Attach(client)) => self.attach(*client),
                Some(Command::Watch(client)) => self.watch(*client),
                Some(Command::Repaint(seat)) => self.repaint(&seat),
                Some(Command::ViewerLeft) => self.count_viewers(),
                Some(Command::ViewerConfirmed(seat)) => self.viewers.confirm(&seat),
                Some(Command::RenewViewer(seat)) => self.renew_viewer(&seat),
                Some(Command::Scrollback(reply)) => {
                    let (front, back) = self.ring.from(self.ring.first_boundary());
                    // Who asked may have left.
                    let _ = reply.send([front, back].concat());
                }
                Some(Command::Expect(until)) => self.expected = self.expected.max(Some(until)),
                Some(Command::Fail(failure)) => return Poll::Ready(Ending::Failed(*failure)),
                Some(Command::End) | None => return Poll::Ready(Ending::Deleted),
            }
        }
        Poll::Pending
    }

    /// Lets a client go. The session ends with it when no time is given to come back.
    fn detach<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        farewell: impl FnOnce(Attachment) -> F,
    ) -> Option<Ending> {
        if let Some(client) = self.client.take() {
            self.last = client.position();
            self.task.tasks.spawn(farewell(client));
            self.ring.trim(u64::MAX);
        }
        if self.task.settings.lifetimes.detach_grace.is_zero() {
            return Some(self.over.clone().unwrap_or(Ending::Abandoned));
        }
        self.upstream.attended(false);
        self.renewal = None;
        self.detached = Instant::now();
        self.task.session.record.set_state(State::Detached);
        self.moved = true;
        None
    }

    /// The deadlines. One timer serves all of them; it looks again when it was set for what has since moved.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        while std::mem::take(&mut self.moved) || self.alarm.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.renewal.is_some_and(|at| at <= now) {
                self.renew();
                // What was said goes out with the next look at the client.
                cx.waker().wake_by_ref();
            }
            if self.nudged.is_some_and(|at| at <= now) {
                self.end_nudge();
                cx.waker().wake_by_ref();
            } else if self.nudged.is_some() {
                // The shorter size has to go out before the other one does, whatever the client takes meanwhile.
                cx.waker().wake_by_ref();
            }
            let lifetimes = &self.task.settings.lifetimes;
            // A terminal that has ended is idle, and is told how it ended.
            let idle = lifetimes.idle.filter(|_| self.over.is_none()).map(|idle| (self.active + idle, Ending::Idle));
            let over = || self.over.clone();
            let max = lifetimes.max.map(|max| (self.task.born + max, over().unwrap_or(Ending::LifetimeOver)));
            let grace = self.client.is_none().then(|| {
                let until = self.detached + lifetimes.detach_grace;
                // A terminal that has ended waits as long for somebody to tell it to.
                let ending = self.over.clone().unwrap_or(Ending::Abandoned);
                (self.expected.map_or(until, |expected| until.max(expected)), ending)
            });
            let over = self.over.clone().filter(|_| self.client.is_some());
            let over = over.map(|ending| (self.over_since + DRAIN, ending));
            let due = [idle, max, grace, over].into_iter().flatten().min_by_key(|(at, _)| *at);
            if let Some((_, ending)) = due.as_ref().filter(|(at, _)| *at <= now) {
                return Poll::Ready(ending.clone());
            }
            let next = [due.map(|(at, _)| at), self.renewal, self.nudged].into_iter().flatten().min();
            // Without any, nothing is due until something that happens sets the alarm.
            self.alarm.as_mut().reset(next.unwrap_or(now + Duration::from_secs(86_400)));
        }
        Poll::Pending
    }
}

/// Tells a client that a newer one has its place.
pub(super) async fn replaced(older: Attachment) {
    older.refuse(Code::Replaced, "another client attached to this session").await;
}
