//! A WebSocket as the session sees it: whole messages in, an outbox out, liveness and a polite end.
//!
//! The frames are those of `polytty-websocket`; `wire` carries them over a stream. Here are the limits, the pings, and the
//! order in which two ends part.

mod meter;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use polytty_dialect::{Kind, Outbox};
use polytty_websocket::{Close, CloseCode, Error};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, timeout, timeout_at};

use wire::{Received, Stopped, Wire};

pub use meter::Meter;
pub use polytty_websocket::Role;

/// What a message weighs at least of a turn, in bytes: one that carries nothing is no way around the turns of others.
pub const MIN_MESSAGE: usize = 64;

/// What [`Incoming::Lost`] says of a peer that takes for ever to send a message.
pub const TOO_SLOW: &str = "a message did not arrive in time";

/// The least that a peer has to send of a message that it has begun, in bytes a second, once its patience is used up.
const MIN_RATE: u64 = 1024;

/// What [`Incoming::Lost`] says of a peer that is there no more, or no longer answers.
pub const NO_PONG: &str = "nobody answered a ping";

/// The longest that a peer may take to read what was written before our Close.
pub const DRAIN: Duration = Duration::from_secs(30);

/// What tells the ping of [`Socket::probe`] from those that only keep the connection warm.
const PROBE: &[u8] = b"probe";

/// How long we read on after our Close, so that no reset destroys the tail of what the peer has yet to read.
const LINGER: Duration = Duration::from_secs(5);

/// The limits and the pace of one socket.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which end of the connection we are.
    pub role: Role,
    /// The largest message that is taken, and the largest frame.
    pub max_message: usize,
    /// A ping is sent when nothing was heard for so long. Middleboxes cut at 30 s.
    pub ping_every: Duration,
    /// The peer is lost when nothing is heard for so long after a ping, and no write that had to wait went on.
    pub pong_within: Duration,
}

/// What [`Socket::poll_recv`] found. All but [`Incoming::Message`] are final.
#[derive(Debug)]
pub enum Incoming {
    /// A whole data message.
    Message(Kind, Bytes),
    /// The peer sent a Close; `None` without a code (1005). The answer is queued.
    Closed(Option<u16>),
    /// The connection ended in order, but without a Close (1006).
    Ended,
    /// The peer broke the WebSocket protocol or a limit: the code to close with, and why.
    Broken(u16, &'static str),
    /// The connection failed: reset, TLS error, or a ping that nobody answered.
    Lost(String),
}

/// A WebSocket over any stream. Not cancel-safe in the middle of [`Socket::leave`] only.
pub struct Socket<S> {
    wire: Wire<S>,
    options: Options,
    alarm: Pin<Box<Sleep>>,
    heard: Instant,
    pinged: Option<Pinged>,
    probed: bool,
    /// The peer is out of step or at its end; only raw bytes can still be read.
    deaf: bool,
    /// The peer has sent its Close: ours is on the way, and nothing can follow it.
    closed: bool,
    failed: Option<String>,
    /// Writing found the connection reset. The kernel says so once, and reading then finds what looks like an end in order. It
    /// says something else (`EPIPE`) where the peer's end came before the reset.
    was_reset: bool,
    /// How long a message may take to arrive; for ever without it.
    patience: Option<Duration>,
    begun: Option<Begun>,
}

/// A message of which a part has come.
#[derive(Clone, Copy)]
struct Begun {
    /// When reading first had to wait for the rest.
    at: Instant,
    /// What had been read of the connection by then.
    read: u64,
}

struct Pinged {
    signs: u64,
    deadline: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Takes a stream behind its opening handshake, with the bytes that were read behind the head.
    pub fn new(stream: S, already_read: &[u8], options: Options) -> Self {
        let now = Instant::now();
        Self {
            wire: Wire::new(stream, already_read, options.role, options.max_message),
            options,
            alarm: Box::pin(tokio::time::sleep_until(now + options.ping_every)),
            heard: now,
            pinged: None,
            probed: false,
            deaf: false,
            closed: false,
            failed: None,
            was_reset: false,
            patience: None,
            begun: None,
        }
    }

    /// Gives the peer so long for each message, from where its first byte was read, and a second more for each KiB that
    /// comes. A peer that is slower is lost.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// The next data message, or how it ended. Answers pings and keeps its own liveness.
    ///
    /// That writing has failed is told only when nothing more can be read: what the peer sent before it left still
    /// lies in the kernel.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let mut message = None;
        let over = ready!(self.poll_each(cx, |kind, payload| {
            message = Some(Incoming::Message(kind, Bytes::copy_from_slice(payload)));
            ControlFlow::Break(())
        }));
        Poll::Ready(message.or(over).unwrap_or(Incoming::Ended))
    }

    /// The same for all messages that are there, each handed over where it lies, until whoever takes them has had enough.
    /// Ready with `None` when there were some, and with how it ended, behind the messages before.
    pub fn poll_each(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(Kind, &[u8]) -> ControlFlow<()>,
    ) -> Poll<Option<Incoming>> {
        if self.failed.is_none()
            && let Poll::Ready(lost) = self.poll_alive(cx)
        {
            return Poll::Ready(Some(lost));
        }
        // Answers to pings go out whether anybody writes or not. If they cannot, the task is woken when they can.
        let _ = self.poll_flushed(cx);
        let mut some = false;
        loop {
            if self.deaf {
                return Poll::Ready(Some(Incoming::Ended));
            }
            let stopped = self.wire.poll_each(cx, |kind, payload| {
                some = true;
                take(kind, payload)
            });
            let stopped = match (stopped, &self.failed) {
                (Poll::Ready(stopped), _) => stopped,
                (Poll::Pending, _) if some => return Poll::Ready(None),
                // A task that has used up its turn is told Pending although there may be more to read.
                (Poll::Pending, Some(why)) if has_budget_remaining() => {
                    return Poll::Ready(Some(Incoming::Lost(why.clone())));
                }
                (Poll::Pending, _) => return self.poll_unfinished(cx).map(Some),
            };
            self.heard = Instant::now();
            (self.pinged, self.begun) = (None, None);
            let over = match stopped {
                Stopped::Messages => return Poll::Ready(None),
                Stopped::By(Received::Ping(_)) => {
                    let _ = self.poll_flushed(cx);
                    continue;
                }
                Stopped::By(Received::Pong(payload)) => {
                    self.probed |= payload == PROBE;
                    continue;
                }
                Stopped::By(Received::Close(code)) => {
                    self.closed = true;
                    return Poll::Ready(Some(Incoming::Closed(code)));
                }
                Stopped::By(Received::End) if self.was_reset => Incoming::Lost(self.failed.clone().unwrap_or_default()),
                Stopped::By(Received::End) => Incoming::Ended,
                Stopped::By(Received::Broken(error)) => broken(error),
                Stopped::By(Received::Failed(error)) => lost(&error),
            };
            self.deaf = true;
            return Poll::Ready(Some(over));
        }
    }

    /// Nothing more has come: ready when a message that was begun has taken too long.
    fn poll_unfinished(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let Some(patience) = self.patience.filter(|_| self.wire.is_unfinished()) else { return Poll::Pending };
        let (now, read) = (Instant::now(), self.wire.stream().read());
        let begun = self.begun.get_or_insert(Begun { at: now, read });
        let deadline = begun.at + patience + Duration::from_secs((read - begun.read) / MIN_RATE);
        if now >= deadline {
            self.deaf = true;
            return Poll::Ready(Incoming::Lost(TOO_SLOW.to_owned()));
        }
        if self.alarm.deadline() > deadline {
            self.alarm.as_mut().reset(deadline);
            // To be woken by it. What it is for besides is looked at when it goes off.
            let _ = self.alarm.as_mut().poll_elapsed(cx);
        }
        Poll::Pending
    }

    /// Says that the peer is not being read at the moment: what of a message does not come meanwhile is not its fault.
    pub fn pause(&mut self) {
        self.begun = None;
    }

    /// Queues messages, and takes them out of the outbox. Call it only after [`Socket::poll_flushed`] was ready, so that at most
    /// one turn waits.
    pub fn send(&mut self, outbox: &mut Outbox) {
        if self.closed {
            outbox.clear();
            return;
        }
        self.wire.messages(outbox);
        if self.wire.is_overfull() {
            self.fail("more was to be sent at once than may wait");
        }
    }

    /// Ready when everything queued has been handed to the kernel. A failure counts as ready; reading tells of it.
    pub fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.wire.is_flushed() || self.failed.is_some() {
            return Poll::Ready(());
        }
        if let Err(error) = ready!(self.wire.poll_flush(cx)) {
            self.was_reset |= error.kind() == io::ErrorKind::ConnectionReset;
            self.fail(&error.to_string());
        }
        Poll::Ready(())
    }

    /// Asks the peer to show that what was sent so far has reached it.
    pub fn probe(&mut self) {
        self.probed = false;
        self.wire.ping(PROBE);
    }

    /// Whether the peer has answered the last [`Socket::probe`]. Found out by reading.
    pub fn is_probed(&self) -> bool {
        self.probed
    }

    /// Whether everything queued has been handed to the kernel.
    pub fn is_flushed(&self) -> bool {
        self.wire.is_flushed()
    }

    /// Whether writing has failed, and with what.
    pub fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Bytes read from and written to the transport.
    pub fn transferred(&self) -> (u64, u64) {
        (self.wire.stream().read(), self.wire.stream().written())
    }

    /// Leaves: everything queued, a Close with `code` and `reason`, then reading on until the peer's Close, its end,
    /// or 5 s. A peer that does not read gets 30 s. Whether the peer's Close came: then everything has reached it.
    pub async fn leave(self, code: u16, reason: &str) -> bool {
        self.leave_by(Instant::now() + DRAIN, code, reason).await
    }

    /// The same for a peer that has until `deadline` to read.
    pub async fn leave_by(mut self, deadline: Instant, code: u16, reason: &str) -> bool {
        if self.closed {
            self.part().await;
            return false;
        }
        let mut answered = false;
        let code = CloseCode::new(code).unwrap_or(CloseCode::INTERNAL);
        self.wire.close(Some(Close { code, reason }));
        if self.failed.is_none() {
            let flushed = timeout_at(deadline, std::future::poll_fn(|cx| self.poll_flushed(cx))).await;
            if flushed.is_ok() && self.failed.is_none() {
                answered = timeout(LINGER, self.peer_gone()).await.unwrap_or(false);
            }
        }
        let _ = timeout(Duration::from_secs(1), self.wire.stream_mut().shutdown()).await;
        answered
    }

    /// Answers the peer's Close, if there is one to answer, and lets go.
    pub async fn part(mut self) {
        let _ = timeout(LINGER, std::future::poll_fn(|cx| self.poll_flushed(cx))).await;
        let _ = timeout(Duration::from_secs(1), self.wire.stream_mut().shutdown()).await;
    }

    /// Reads on until the peer has gone. Whether it said so by a Close.
    async fn peer_gone(&mut self) -> bool {
        while !self.deaf {
            match std::future::poll_fn(|cx| self.wire.poll_each(cx, |_, _| ControlFlow::Continue(()))).await {
                Stopped::By(Received::Close(_)) => return true,
                Stopped::By(Received::End) => return false,
                Stopped::By(Received::Broken(_) | Received::Failed(_)) => self.deaf = true,
                Stopped::By(Received::Ping(_) | Received::Pong(_)) | Stopped::Messages => {}
            }
        }
        // The peer no longer speaks frames that we understand: say that no more will come, and let it finish.
        let _ = self.wire.stream_mut().shutdown().await;
        // On the heap: a session has room for all that it may come to.
        let mut waste = vec![0; 4096];
        loop {
            let mut waste = ReadBuf::new(&mut waste);
            let read = std::future::poll_fn(|cx| Pin::new(self.wire.stream_mut()).poll_read(cx, &mut waste)).await;
            if read.is_err() || waste.filled().is_empty() {
                return false;
            }
        }
    }

    fn fail(&mut self, why: &str) {
        self.failed.get_or_insert_with(|| why.to_owned());
    }

    /// Keeps the connection warm while nobody reads from it. A peer whose answers we do not read cannot be called
    /// silent, so nothing is found out here; see [`Socket::failure`].
    pub fn poll_idle(&mut self, cx: &mut Context<'_>) {
        self.pause();
        while self.alarm.as_mut().poll_elapsed(cx).is_ready() {
            let now = Instant::now();
            if self.wire.is_flushed() && self.failed.is_none() {
                self.wire.ping(b"");
                let _ = self.poll_flushed(cx);
            }
            (self.heard, self.pinged) = (now, None);
            self.alarm.as_mut().reset(now + self.options.ping_every);
        }
    }

    /// Sends a ping when it is quiet; ready when the peer has been quiet for too long.
    fn poll_alive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        while self.alarm.as_mut().poll_elapsed(cx).is_ready() {
            let now = Instant::now();
            let signs = self.wire.stream().signs();
            let next = match &mut self.pinged {
                // Half a message that came, or room that was made for ours, shows that the peer is there, if slow.
                Some(ping) if ping.signs != signs => {
                    ping.signs = signs;
                    ping.deadline = now + self.options.pong_within;
                    ping.deadline
                }
                Some(ping) if now >= ping.deadline => {
                    return Poll::Ready(Incoming::Lost(NO_PONG.to_owned()));
                }
                Some(ping) => ping.deadline,
                None if now < self.heard + self.options.ping_every => self.heard + self.options.ping_every,
                None => {
                    self.wire.ping(b"");
                    let _ = self.poll_flushed(cx);
                    let deadline = now + self.options.pong_within;
                    self.pinged = Some(Pinged { signs, deadline });
                    deadline
                }
            };
            self.alarm.as_mut().reset(next);
        }
        Poll::Pending
    }
}

trait PollElapsed {
    fn poll_elapsed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;
}

impl PollElapsed for Sleep {
    fn poll_elapsed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Future::poll(self, cx)
    }
}

fn broken(error: Error) -> Incoming {
    Incoming::Broken(error.code().get(), error.reason())
}

fn lost(error: &io::Error) -> Incoming {
    Incoming::Lost(match error.kind() {
        io::ErrorKind::UnexpectedEof => "the TLS connection was cut without a farewell".to_owned(),
        _ => error.to_string(),
    })
}
