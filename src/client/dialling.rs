//! A terminal at the far end of a link, through as many connections as it takes.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use jiff::Timestamp;
use polytty_dialect::{Outbox, Size};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::backoff::Backoff;
use super::{Broken, ConnectError, Connection, Conversation, End, Event, Link, Outcome, Verdict};
use crate::provider::{BoxFuture, Dialer};
use crate::socket::Incoming;

/// How long a connection may take, from the first packet to the upgrade.
const DIAL: Duration = Duration::from_secs(15);

/// How long somebody who comes back waits for `ready`. The first time has no such bound: the provider takes its time.
const READY: Duration = Duration::from_secs(15);

/// What is handed on and not consumed before nothing more is read, in bytes; and one message more. polytty keeps to
/// less by itself.
const READ_AHEAD: u64 = 256 << 10;

/// The least that is tried to come back, whatever the clock here says of a link's end.
const LEAST_PATIENCE: Duration = Duration::from_secs(60);

/// How a [`Client`] comes back.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Give up so long after a connection was lost. `None`: when the link to come back by has expired.
    pub give_up_after: Option<Duration>,
    /// The wait before the first attempt to come back; it doubles with each. Default 200 ms.
    pub first_wait: Duration,
    /// The longest wait between two attempts. Default 5 s.
    pub longest_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let (first_wait, longest_wait) = (Duration::from_millis(200), Duration::from_secs(5));
        Self { give_up_after: None, first_wait, longest_wait }
    }
}

/// A client of one session. It does something only while [`Client::next`] is awaited.
pub struct Client {
    dialer: Dialer,
    options: Options,
    conversation: Conversation,
    state: State,
    backoff: Backoff,
    /// Since when it is without `ready`, having had it.
    lost: Option<Instant>,
    outbox: Outbox,
}

enum State {
    Dialling(BoxFuture<'static, Result<Connection, ConnectError>>),
    Open(Box<Connection>, Option<Pin<Box<Sleep>>>),
    /// Until the next attempt.
    Waiting(Pin<Box<Sleep>>),
    Parting(BoxFuture<'static, ()>, Outcome),
    Over(Outcome),
}

impl Client {
    /// A client that will use `link`, with a terminal of `size`; `None` leaves the size to others.
    #[must_use]
    pub fn new(dialer: Dialer, link: Link, size: Option<Size>, options: Options) -> Self {
        let dialling = dial(dialer.clone(), link, None, DIAL);
        Self {
            dialer,
            options,
            conversation: Conversation::new(size),
            state: State::Dialling(dialling),
            backoff: Backoff::new(options.first_wait, options.longest_wait),
            lost: None,
            outbox: Outbox::new(),
        }
    }

    /// The next thing that happens. It can be dropped at any time and called again. After [`Event::Over`] it says the
    /// same again.
    pub async fn next(&mut self) -> Event {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Leaves the session as it is.
    pub async fn leave(self) {
        if let State::Open(connection, _) = self.state {
            connection.leave().await;
        }
    }

    /// See [`Conversation::room`].
    #[must_use]
    pub fn room(&self) -> usize {
        self.conversation.room()
    }

    /// See [`Conversation::type_bytes`]. It is sent by [`Client::next`].
    pub fn type_bytes(&mut self, bytes: &[u8]) -> usize {
        self.conversation.type_bytes(bytes)
    }

    /// See [`Conversation::end_input`].
    pub fn end_input(&mut self) {
        self.conversation.end_input();
    }

    /// See [`Conversation::resize`].
    pub fn resize(&mut self, size: Size) {
        self.conversation.resize(size);
    }

    /// See [`Conversation::end_session`].
    pub fn end_session(&mut self) {
        self.conversation.end_session();
    }

    /// See [`Conversation::consumed`].
    pub fn consumed(&mut self, bytes: u64) {
        self.conversation.consumed(bytes);
    }

    /// What it knows of its session.
    #[must_use]
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            match &mut self.state {
                State::Dialling(dialling) => match ready!(dialling.as_mut().poll(cx)) {
                    Ok(connection) => {
                        self.conversation.connected();
                        let patience = self.lost.map(|_| Box::pin(sleep(READY)));
                        self.state = State::Open(Box::new(connection), patience);
                    }
                    Err(error) => {
                        // The end of an attempt is no new loss; what it says still decides.
                        self.end(End::Refused(error));
                    }
                },
                State::Open(..) => {
                    if let Some(event) = ready!(self.poll_open(cx)) {
                        return Poll::Ready(event);
                    }
                }
                State::Waiting(wait) => {
                    ready!(wait.as_mut().poll(cx));
                    self.come_back();
                }
                State::Parting(parting, outcome) => {
                    ready!(parting.as_mut().poll(cx));
                    self.state = State::Over(outcome.clone());
                }
                State::Over(outcome) => return Poll::Ready(Event::Over(outcome.clone())),
            }
        }
    }

    /// Sends what there is to send, then reads one message. `None` when something has changed and nothing is to tell.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let State::Open(connection, patience) = &mut self.state else { return Poll::Ready(None) };
        while connection.poll_flushed(cx).is_ready() {
            self.conversation.write(&mut self.outbox);
            if self.outbox.is_empty() {
                break;
            }
            connection.send(&mut self.outbox);
        }
        if let Some(wait) = patience
            && wait.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(self.end(End::Lost("the terminal did not answer in time".to_owned())));
        }
        // The last word and its Close carry nothing that would have to be worked off.
        if self.conversation.unconsumed() >= READ_AHEAD && !self.conversation.is_over() {
            connection.poll_idle(cx);
            return Poll::Pending;
        }
        let event = match ready!(connection.poll_recv(cx)) {
            Incoming::Message(kind, payload) => self.conversation.take(kind, payload),
            Incoming::Closed(code) => return Poll::Ready(self.end(End::Closed(code))),
            Incoming::Broken(_, rule) => Err(Broken(rule)),
            Incoming::Ended => {
                let why = "it ended without a Close".to_owned();
                return Poll::Ready(self.end(End::Lost(why)));
            }
            Incoming::Lost(why) => return Poll::Ready(self.end(End::Lost(why))),
        };
        match event {
            Ok(event) => {
                if matches!(event, Some(Event::Ready { .. })) {
                    *patience = None;
                    self.lost = None;
                    self.backoff.reset();
                }
                Poll::Ready(event)
            }
            Err(broken) => {
                self.part(Outcome::Broken(broken));
                Poll::Ready(None)
            }
        }
    }

    /// A connection, or the attempt to make one, has ended: what to tell, if anything.
    fn end(&mut self, how: End) -> Option<Event> {
        match self.conversation.ended(how) {
            Verdict::Over(outcome) => {
                self.part(outcome);
                None
            }
            Verdict::Again(why) => {
                let is_new = self.lost.is_none();
                let since = *self.lost.get_or_insert_with(Instant::now);
                let mut random = [0; 2];
                // Without randomness the waits are merely not spread.
                let _ = aws_lc_rs::rand::fill(&mut random);
                let wait = self.backoff.wait(u16::from_ne_bytes(random));
                let left = self.patience(since);
                if wait >= left {
                    self.part(Outcome::GaveUp(why));
                    return None;
                }
                self.state = State::Waiting(Box::pin(sleep(wait)));
                is_new.then_some(Event::Lost(why))
            }
        }
    }

    /// How much longer to try, having been lost at `since`.
    fn patience(&self, since: Instant) -> Duration {
        let waited = since.elapsed();
        if let Some(after) = self.options.give_up_after {
            return after.saturating_sub(waited);
        }
        let Some(resume) = self.conversation.resume() else { return Duration::ZERO };
        let until_end = resume.expires_at.duration_since(Timestamp::now());
        Duration::try_from(until_end).unwrap_or_default().max(LEAST_PATIENCE.saturating_sub(waited))
    }

    fn come_back(&mut self) {
        let (Some(resume), Some(since)) = (self.conversation.resume(), self.lost) else { return };
        let (link, offset) = (resume.link.clone(), self.conversation.offset());
        let within = DIAL.min(self.patience(since));
        self.state = State::Dialling(dial(self.dialer.clone(), link, Some(offset), within));
    }

    fn part(&mut self, outcome: Outcome) {
        let parting: BoxFuture<'static, ()> = match std::mem::replace(&mut self.state, State::Over(outcome.clone())) {
            State::Open(connection, _) => Box::pin(connection.part()),
            _ => return,
        };
        self.state = State::Parting(parting, outcome);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("conversation", &self.conversation).finish_non_exhaustive()
    }
}

fn dial(
    dialer: Dialer,
    link: Link,
    offset: Option<u64>,
    within: Duration,
) -> BoxFuture<'static, Result<Connection, ConnectError>> {
    Box::pin(async move {
        let opening = timeout(within, Connection::open(&dialer, &link, offset));
        opening.await.unwrap_or(Err(ConnectError::Timeout))
    })
}
