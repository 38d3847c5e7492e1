//! The hot path: two directions between a client and an upstream, in one task.
//!
//! Per turn, what has arrived is read into scratch memory of the thread (64 KiB a direction at the most), every whole
//! message in it is translated, and the result is written and flushed once. A side is read only while the other side
//! has room, so the pace of the slowest reaches the fastest through TCP and nothing is buffered beyond one turn. A
//! pump at rest owns no buffer but an unfinished piece; its sockets keep theirs.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use polytty_dialect::{ClientEvent, Code, Message, Outbox, ServerEvent, Size};
use tokio::time::{Instant, Sleep};

use super::attachment::{Attachment, BEYOND};
use super::info::State;
use super::open::Early;
use super::task::Task;
use super::{Command, Ending};
use crate::provider::{Failure, Happened, Upstream};
use crate::socket::{DRAIN, Incoming, MIN_MESSAGE};

/// Bytes of one direction that a session may move before the others have their turn.
const TURN: usize = 64 * 1024;

/// Scratch memory that a thread keeps from one turn to the next, in bytes. What a large message made grow beyond it
/// is given back.
const SCRATCH: usize = 4 * TURN;

#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    outbox: Outbox,
}

/// What a client is told that reads too slowly for a connection which others use, too.
const FELL_BEHIND: &str = "the client reads too slowly for a connection that others use, too";

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
    /// Output that was read but exceeds the client's credit: the rest of one message of the provider.
    held: Vec<u8>,
    /// The client's end of input, told once `typed` has gone out.
    eof: bool,
    /// The upstream's end, told once `held` has gone out.
    over: Option<Ending>,
    /// Whether the upstream takes no input at the moment.
    input_held: bool,
    active: Instant,
    detached: Instant,
    /// A link was minted that may bring a client until then.
    expected: Option<Instant>,
    over_since: Instant,
    born: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl<'a> Pump<'a> {
    /// Joins an open terminal and its client: applies the latest size, says `ready` and hands over what was typed
    /// while the terminal was being opened.
    pub(super) fn new(
        task: &'a mut Task,
        mut upstream: Box<dyn Upstream>,
        client: Option<Attachment>,
        early: Early,
        born: Instant,
    ) -> Self {
        let now = Instant::now();
        upstream.resize(early.size);
        task.session.record.add_input(early.input.len());
        task.session.record.set_state(State::Detached);
        let mut pump = Self {
            task,
            upstream,
            client: None,
            size: early.size,
            typed: early.input,
            eof: early.eof,
            held: Vec::new(),
            over: None,
            input_held: false,
            active: now,
            detached: now,
            expected: early.expected,
            over_since: now,
            born,
            alarm: Box::pin(tokio::time::sleep_until(now)),
        };
        if let Some(client) = client {
            pump.attach(client);
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

    /// What is left to be ended, and output that is left to be sent.
    pub(super) fn into_parts(self) -> (Box<dyn Upstream>, Vec<u8>, Option<Attachment>) {
        (self.upstream, self.held, self.client)
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if let Poll::Ready(ending) = self.poll_commands(cx) {
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
        while let Poll::Ready(command) = self.task.inbox.poll_recv(cx) {
            match command {
                Some(Command::Attach(client)) => {
                    if let Some(older) = self.client.take() {
                        self.task.tasks.spawn(replaced(older));
                    }
                    self.attach(*client);
                }
                Some(Command::Expect(until)) => self.expected = self.expected.max(Some(until)),
                Some(Command::End) | None => return Poll::Ready(Ending::Deleted),
            }
        }
        Poll::Pending
    }

    fn attach(&mut self, mut client: Attachment) {
        let record = &self.task.session.record;
        record.set_state(State::Attached);
        record.set_size(self.size);
        client.ready(self.task.session.id, self.size, record.output(), record.input());
        self.client = Some(client);
        self.active = Instant::now();
    }

    /// Lets a client go. The session ends with it when no time is given to come back.
    fn detach<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        farewell: impl FnOnce(Attachment) -> F,
    ) -> Option<Ending> {
        if let Some(client) = self.client.take() {
            self.task.tasks.spawn(farewell(client));
        }
        self.detached()
    }

    fn detached(&mut self) -> Option<Ending> {
        if self.task.lifetimes.detach_grace.is_zero() {
            return Some(Ending::Abandoned);
        }
        self.detached = Instant::now();
        self.task.session.record.set_state(State::Detached);
        // The clock must look at the new deadline.
        self.alarm.as_mut().reset(self.detached);
        None
    }

    /// Keeps an eye on a client that is not read, because the upstream takes no input.
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let Some(client) = &mut self.client else { return Poll::Pending };
        client.socket().poll_idle(cx);
        let Some(why) = client.socket().failure() else { return Poll::Pending };
        let lost = Incoming::Lost(why.to_owned());
        self.detach(|client| client.depart(lost)).map_or(Poll::Pending, Poll::Ready)
    }

    /// Client to upstream: one turn.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        with_scratch(|input, _| {
            let mut moved = 0;
            loop {
                self.input_held = self.over.is_none() && self.upstream.poll_flushed(cx).is_pending();
                if self.input_held {
                    return self.poll_unread(cx);
                }
                if moved >= TURN {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if self.over.is_some() {
                    self.typed = Vec::new();
                }
                if !self.typed.is_empty() {
                    let typed = std::mem::take(&mut self.typed);
                    moved += self.input(&typed);
                    continue;
                }
                if std::mem::take(&mut self.eof) {
                    self.end_input();
                    continue;
                }
                input.clear();
                let (read, size) = self.read_client(cx, input, &mut moved);
                let at_rest = input.is_empty() && size.is_none();
                if self.over.is_none() {
                    self.take(input, size);
                }
                // Whatever else this comes to, what was typed is flushed on the way around.
                let ending = match read {
                    Read::Wait if at_rest => return Poll::Pending,
                    Read::More | Read::Wait => None,
                    Read::Eof => {
                        self.eof = self.over.is_none();
                        None
                    }
                    Read::End => Some(Ending::Closed),
                    Read::Left(how) => self.detach(|client| client.depart(how)),
                    Read::Bad(why) => self.detach(|client| client.refuse(Code::BadMessage, why)),
                };
                if let Some(ending) = ending {
                    return Poll::Ready(ending);
                }
            }
        })
    }

    /// Reads messages of the client until one ends the turn by what it means or by its length; `taken` is what they
    /// weigh. Of several sizes in a row, the latest counts, with where it stands in the input.
    fn read_client(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Vec<u8>,
        taken: &mut usize,
    ) -> (Read, Option<(Size, usize)>) {
        let Some(client) = &mut self.client else { return (Read::Wait, None) };
        let sent = self.task.session.record.output();
        let mut latest = None;
        let read = loop {
            if *taken >= TURN {
                break Read::More;
            }
            if !client.has_room_for_replies() && client.poll_flushed(cx).is_pending() {
                break Read::Wait;
            }
            let Poll::Ready(incoming) = client.socket().poll_recv(cx) else { break Read::Wait };
            let (kind, payload) = match incoming {
                Incoming::Message(kind, payload) => (kind, payload),
                Incoming::Closed(None | Some(1000)) if !client.dialect().has_close() => break Read::End,
                left => break Read::Left(left),
            };
            *taken += payload.len().max(MIN_MESSAGE);
            match client.dialect().decode(Message { kind, payload: &payload }, input) {
                Ok(ClientEvent::Input) => {
                    if latest.is_some_and(|(_, at)| at < input.len()) {
                        break Read::More;
                    }
                }
                Ok(ClientEvent::Resize { size, clamped }) => {
                    latest = Some((size, input.len()));
                    if clamped {
                        client.reply(&ServerEvent::Size(size));
                    }
                }
                Ok(ClientEvent::Eof) => break Read::Eof,
                Ok(ClientEvent::Close) => break Read::End,
                Ok(ClientEvent::Ping(id)) => client.reply(&ServerEvent::Pong(&id)),
                Ok(ClientEvent::Ignored) => self.task.metrics.ignored_client(1),
                Ok(ClientEvent::Ack(offset)) if client.ack(offset, sent) => {}
                Ok(ClientEvent::Ack(_)) => break Read::Bad(BEYOND),
                Err(bad) => break Read::Bad(bad.reason),
            }
        };
        self.task.metrics.ignored_client(client.newly_ignored_fields());
        (read, latest)
    }

    /// Takes what was typed, and a size with where it stands in it: from here on it is the session's to deliver.
    fn take(&mut self, input: &[u8], size: Option<(Size, usize)>) {
        self.task.session.record.add_input(input.len());
        let Some((size, at)) = size else {
            self.input(input);
            return;
        };
        let (before, behind) = input.split_at(at);
        self.input(before);
        self.resize(size);
        self.typed.extend_from_slice(behind);
    }

    fn resize(&mut self, size: Size) {
        if size != self.size {
            self.size = size;
            self.task.session.record.set_size(size);
            self.upstream.resize(size);
        }
    }

    /// Hands input over, one turn of it at the most, and keeps the rest. How much went.
    fn input(&mut self, input: &[u8]) -> usize {
        let (now, later) = input.split_at(input.len().min(TURN));
        if !now.is_empty() {
            self.active = Instant::now();
            self.upstream.input(now);
            self.typed.extend_from_slice(later);
        }
        now.len()
    }

    fn end_input(&mut self) {
        if !self.upstream.eof()
            && let Some(client) = &mut self.client
        {
            let message = "this provider cannot end the input of a terminal";
            client.reply(&ServerEvent::Error { code: Code::Unsupported, message, last: false });
        }
    }

    /// Upstream to client: one turn.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let mut moved = 0;
        loop {
            let budget = self.room(cx);
            if !self.held.is_empty() {
                if budget == 0 {
                    return Poll::Pending;
                }
                moved += self.send_held(budget);
                continue;
            }
            if let Some(ending) = &self.over {
                return Poll::Ready(ending.clone());
            }
            if moved >= TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let happened = with_scratch(|output, outbox| {
                let happened = std::task::ready!(self.upstream.poll_output(cx, output, budget));
                if !output.is_empty() {
                    moved += output.len();
                    self.send(output, budget, outbox);
                }
                Poll::Ready(happened)
            });
            match std::task::ready!(happened) {
                Happened::Output => {}
                Happened::Notice(notice) => self.notice(&notice),
                Happened::CannotWait => {
                    if self.client.is_some()
                        && let Some(ending) = self.detach(|client| client.refuse(Code::FellBehind, FELL_BEHIND))
                    {
                        return Poll::Ready(ending);
                    }
                }
                Happened::Exit(exit) => self.finish(Ending::Exit(exit)),
                Happened::Failed(failure) => self.finish(Ending::Failed(failure)),
            }
        }
    }

    /// Tells the client something that ends nothing.
    fn notice(&mut self, notice: &Failure) {
        tracing::info!(session = %self.task.session.id, code = notice.code.slug(), detail = ?notice.detail, "session notice");
        if let Some(client) = &mut self.client {
            client.reply(&ServerEvent::Error { code: notice.code, message: &notice.message, last: false });
        }
    }

    /// The upstream is at its end; what is held of its output still has its time to go out.
    fn finish(&mut self, ending: Ending) {
        self.over = Some(ending);
        self.over_since = Instant::now();
        // The clock must look at the new deadline.
        self.alarm.as_mut().reset(self.over_since);
    }

    /// How many bytes of output may be moved now.
    fn room(&mut self, cx: &mut Context<'_>) -> usize {
        let Some(client) = &mut self.client else { return 0 };
        if client.poll_flushed(cx).is_pending() {
            return 0;
        }
        // What was not read yet is not lost with this client: it is let go by the next turn of its input.
        if client.socket().failure().is_some() {
            cx.waker().wake_by_ref();
            return 0;
        }
        // A client whose own input is stuck cannot be asked to acknowledge: it may be waiting behind that input.
        if self.input_held {
            return TURN;
        }
        let credit = client.credit(self.task.session.record.output());
        usize::try_from(credit).unwrap_or(usize::MAX).min(TURN)
    }

    /// Sends what there is room for and holds the rest.
    fn send(&mut self, output: &[u8], room: usize, outbox: &mut Outbox) {
        let (now, later) = output.split_at(output.len().min(room));
        self.held.extend_from_slice(later);
        self.active = Instant::now();
        if let Some(client) = &mut self.client {
            client.output(now, outbox);
            self.task.session.record.add_output(now.len());
        }
    }

    fn send_held(&mut self, room: usize) -> usize {
        let held = std::mem::take(&mut self.held);
        with_scratch(|_, outbox| self.send(&held, room, outbox));
        held.len() - self.held.len()
    }

    /// The deadlines. One timer serves all of them; it looks again when it was set for what has since moved.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        while self.alarm.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let lifetimes = &self.task.lifetimes;
            let idle = lifetimes.idle.map(|idle| (self.active + idle, Ending::Idle));
            let max = lifetimes.max.map(|max| (self.born + max, Ending::LifetimeOver));
            let grace = self.client.is_none().then(|| {
                let until = self.detached + lifetimes.detach_grace;
                (self.expected.map_or(until, |expected| until.max(expected)), Ending::Abandoned)
            });
            let over = self.over.clone().map(|ending| (self.over_since + DRAIN, ending));
            let Some((deadline, ending)) = [idle, max, grace, over].into_iter().flatten().min_by_key(|(at, _)| *at)
            else {
                // Nothing is due, ever, until a detachment sets the alarm.
                self.alarm.as_mut().reset(now + std::time::Duration::from_secs(86_400));
                continue;
            };
            if deadline <= now {
                return Poll::Ready(ending);
            }
            self.alarm.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// What reading the client came to.
enum Read {
    /// One turn of input is there, and perhaps more behind it.
    More,
    /// Nothing more for now.
    Wait,
    Eof,
    /// End the session.
    End,
    /// The client is gone, or has to go.
    Left(Incoming),
    /// The client broke its dialect.
    Bad(&'static str),
}

/// Tells a client that a newer one has its place.
pub(super) async fn replaced(older: Attachment) {
    older.refuse(Code::Replaced, "another client attached to this session").await;
}
