//! The hot path: two directions between a client and an upstream, in one task.
//!
//! Per turn, what has arrived is read into scratch memory of the thread (64 KiB a direction at the most), every whole
//! message in it is translated, and the result is written and flushed once. A side is read only while the other side
//! has room, so the pace of the slowest reaches the fastest through TCP and nothing is buffered beyond one turn. A
//! session at rest owns no buffer but an unfinished piece.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use polytty_dialect::{ClientEvent, Code, Message, Outbox, ServerEvent, Size};
use tokio::time::{Instant, Sleep};

use super::attachment::Attachment;
use super::info::State;
use super::open::Early;
use super::task::Task;
use super::{Command, Ending};
use crate::provider::{Happened, Upstream};
use crate::socket::Incoming;

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
        if scratch.outbox.payload_len() > SCRATCH {
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
    born: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl<'a> Pump<'a> {
    /// Joins an open terminal and its client: applies the latest size, says `ready` and hands over what was typed
    /// while the terminal was being opened.
    pub(super) fn new(
        task: &'a mut Task,
        mut upstream: Box<dyn Upstream>,
        client: Attachment,
        early: Early,
        born: Instant,
    ) -> Self {
        let now = Instant::now();
        upstream.resize(early.size);
        task.session.record.add_input(early.input.len());
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
            born,
            alarm: Box::pin(tokio::time::sleep_until(now)),
        };
        pump.attach(client);
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

    /// What is left to be ended.
    pub(super) fn into_parts(self) -> (Box<dyn Upstream>, Option<Attachment>) {
        (self.upstream, self.client)
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
                Some(Command::Expect(_)) => {}
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
    fn detach(&mut self, how: Incoming) -> Option<Ending> {
        if let Some(client) = self.client.take() {
            self.task.tasks.spawn(async move {
                match how {
                    Incoming::Broken(close, why) => client.break_off(close, why).await,
                    _ => client.part().await,
                }
            });
        }
        self.detached()
    }

    /// Sends a client away that broke its dialect.
    fn turn_away(&mut self, why: &'static str) -> Option<Ending> {
        if let Some(client) = self.client.take() {
            self.task.tasks.spawn(async move { client.refuse(Code::BadMessage, why).await });
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
        let lost = std::task::ready!(client.socket().poll_idle(cx));
        self.detach(lost).map_or(Poll::Pending, Poll::Ready)
    }

    /// Client to upstream: one turn.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        with_scratch(|input, _| {
            let mut moved = 0;
            loop {
                self.input_held = self.upstream.poll_flushed(cx).is_pending();
                if self.input_held {
                    return self.poll_unread(cx);
                }
                if moved >= TURN {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
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
                if self.client.is_none() {
                    return Poll::Pending;
                }
                input.clear();
                let outcome = self.read_client(cx, input);
                self.task.session.record.add_input(input.len());
                moved += self.input(input);
                // Whatever else this comes to, what was typed is flushed on the way around.
                match outcome {
                    Read::More => {}
                    Read::Wait if input.is_empty() => return Poll::Pending,
                    Read::Wait => {}
                    Read::Resize(size) => self.resize(size),
                    Read::Eof => self.eof = true,
                    Read::End => return Poll::Ready(Ending::Closed),
                    Read::Left(how) => {
                        if let Some(ending) = self.detach(how) {
                            return Poll::Ready(ending);
                        }
                    }
                    Read::Bad(why) => {
                        if let Some(ending) = self.turn_away(why) {
                            return Poll::Ready(ending);
                        }
                    }
                }
            }
        })
    }

    /// Reads messages of the client until one means more than input, or one turn of input is there.
    fn read_client(&mut self, cx: &mut Context<'_>, input: &mut Vec<u8>) -> Read {
        let Some(client) = &mut self.client else { return Read::Wait };
        let sent = self.task.session.record.output();
        while input.len() < TURN {
            if !client.has_room_for_replies() && client.poll_flushed(cx).is_pending() {
                return Read::Wait;
            }
            let Poll::Ready(incoming) = client.socket().poll_recv(cx) else { return Read::Wait };
            let (kind, payload) = match incoming {
                Incoming::Message(kind, payload) => (kind, payload),
                Incoming::Closed(None | Some(1000)) if !client.dialect().has_close() => return Read::End,
                left => return Read::Left(left),
            };
            match client.dialect().decode(Message { kind, payload: &payload }, input) {
                Ok(ClientEvent::Input) => {}
                Ok(ClientEvent::Resize(size)) => return Read::Resize(size),
                Ok(ClientEvent::Eof) => return Read::Eof,
                Ok(ClientEvent::Close) => return Read::End,
                Ok(ClientEvent::Ping(id)) => client.reply(&ServerEvent::Pong(&id)),
                Ok(ClientEvent::Ignored) => self.task.metrics.ignored_message(),
                Ok(ClientEvent::Ack(offset)) => {
                    if !client.ack(offset, sent) {
                        return Read::Bad("an ack is beyond what was sent");
                    }
                }
                Err(bad) => return Read::Bad(bad.reason),
            }
        }
        Read::More
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
            self.typed = later.to_vec();
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
            if let Some(ending) = self.over.take() {
                return Poll::Ready(ending);
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
                Happened::Exit(exit) => self.over = Some(Ending::Exit(exit)),
                Happened::Failed(failure) => self.over = Some(Ending::Failed(failure)),
            }
        }
    }

    /// How many bytes of output may be moved now.
    fn room(&mut self, cx: &mut Context<'_>) -> usize {
        let Some(client) = &mut self.client else { return 0 };
        if client.poll_flushed(cx).is_pending() {
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
            let grace = self.client.is_none().then(|| (self.detached + lifetimes.detach_grace, Ending::Abandoned));
            let Some((deadline, ending)) = [idle, max, grace].into_iter().flatten().min_by_key(|(at, _)| *at) else {
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
    Resize(Size),
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
