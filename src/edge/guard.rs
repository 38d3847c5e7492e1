//! Looks at every raw request head before hyper does, and keeps the time.
//!
//! hyper reads what smugglers write more kindly than a proxy should: it drops one of two contradicting lengths before
//! a service can see it and takes a missing or doubled `Host`. The guard hands hyper whole heads that were found sound
//! (RFC 9112, sections 2, 3, 5 and 6), byte for byte, and the body that the head announced. Requests with a
//! `Transfer-Encoding` are refused: the API's bodies are small and their length is known.

mod head;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::respond::Problem;
#[cfg(feature = "fuzzing")]
pub(super) use head::check;
pub(super) use head::{Framing, find_end};

/// The largest head, in bytes.
pub(super) const MAX_HEAD: usize = 16 * 1024;

/// The least that a peer has to take of a response that it does not take at once, in bytes a second, besides the time
/// that a request may last.
const MIN_RATE: u64 = 1024;

/// How long a refused peer may go on sending before the connection is cut, so that it can read why.
const LINGER: Duration = Duration::from_secs(2);

/// The deadlines of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// From the first byte of a head to its end, and again from there to the end of the body.
    pub(super) request: Duration,
    /// From the end of a request to the first byte of the next.
    pub(super) keep_alive: Duration,
}

/// A stream that yields sound requests only.
pub(super) struct Guard<S> {
    io: S,
    timing: Timing,
    timer: Pin<Box<Sleep>>,
    buffer: Vec<u8>,
    phase: Phase,
    first: bool,
    /// Until when the peer may take nothing of what is written to it.
    stuck: Option<Pin<Box<Sleep>>>,
    /// Since when the peer is slow to take the response, and what it has taken since.
    slow: Option<(Instant, u64)>,
    linger: Option<Pin<Box<Sleep>>>,
}

enum Phase {
    /// Collecting a head.
    Head,
    /// Handing a sound head over: bytes of it that are left, and what follows.
    Deliver(usize, Framing),
    /// Handing over the body.
    Body(u64),
    /// The head asked for an upgrade: what follows is not HTTP, or nothing that we want to hear.
    Upgrade,
    /// Telling why the request is refused: the response, and how much of it was written.
    Refuse(Vec<u8>, usize),
    /// Nothing more is read.
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    pub(super) fn new(io: S, timing: Timing) -> Self {
        let timer = Box::pin(tokio::time::sleep(timing.request));
        Self {
            io,
            timing,
            timer,
            buffer: Vec::new(),
            phase: Phase::Head,
            first: true,
            stuck: None,
            slow: None,
            linger: None,
        }
    }

    /// The stream behind an upgrade, and what the client has sent behind its request.
    pub(super) fn into_parts(self) -> (S, Vec<u8>) {
        (self.io, self.buffer)
    }

    fn set_timer(&mut self, after: Duration) {
        self.timer.as_mut().reset(Instant::now() + after);
    }

    /// Reads more into the buffer; `false` at the end of the stream or of patience.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(false));
        }
        let mut chunk = [0; 4096];
        let mut chunk = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut chunk))?;
        if matches!(self.phase, Phase::Head) && self.buffer.is_empty() && !chunk.filled().is_empty() {
            self.set_timer(self.timing.request);
        }
        self.buffer.extend_from_slice(chunk.filled());
        Poll::Ready(Ok(!chunk.filled().is_empty()))
    }

    /// Passes on what writing came to, and gives up on a peer that takes nothing for as long as a request may last, or
    /// takes so little for longer than that.
    fn watch<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.stuck = None;
            return wrote;
        }
        let (now, request) = (Instant::now(), self.timing.request);
        let (since, taken) = *self.slow.get_or_insert((now, 0));
        let until = (now + request).min(since + request + Duration::from_secs(taken / MIN_RATE));
        let patience = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        patience.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Collects a head and judges it.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(end) = find_end(&self.buffer) {
                let sound = if end > MAX_HEAD { Err(head::too_large()) } else { head::check(&self.buffer[..end]) };
                self.phase = match sound {
                    Ok(framing) => Phase::Deliver(end, framing),
                    Err(problem) => self.refuse(&problem),
                };
                return Poll::Ready(Ok(()));
            }
            if self.buffer.len() > MAX_HEAD {
                self.phase = self.refuse(&head::too_large());
                return Poll::Ready(Ok(()));
            }
            if !ready!(self.poll_fill(cx))? {
                self.phase = Phase::Over;
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// The first request of a connection is told why. Behind it, hyper may be in the middle of a response, into which
    /// nothing may be written: the connection just ends.
    fn refuse(&mut self, problem: &Problem) -> Phase {
        tracing::debug!(code = %problem.code(), "a request head was refused");
        if self.first { Phase::Refuse(raw_response(problem), 0) } else { Phase::Over }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.phase {
                Phase::Head => ready!(this.poll_head(cx))?,
                Phase::Deliver(left, framing) => {
                    let count = (*left).min(buf.remaining());
                    buf.put_slice(&this.buffer[..count]);
                    this.buffer.drain(..count);
                    *left -= count;
                    if *left == 0 {
                        this.slow = None;
                        this.first = false;
                        this.phase = match *framing {
                            Framing::Body(length) => Phase::Body(length),
                            Framing::Upgrade => Phase::Upgrade,
                        };
                        this.set_timer(this.timing.request);
                    }
                    return Poll::Ready(Ok(()));
                }
                Phase::Body(0) => {
                    let idle = this.buffer.is_empty();
                    this.set_timer(if idle { this.timing.keep_alive } else { this.timing.request });
                    this.phase = Phase::Head;
                }
                Phase::Body(left) => {
                    if this.buffer.is_empty() {
                        if !ready!(this.poll_fill(cx))? {
                            this.phase = Phase::Over;
                        }
                        continue;
                    }
                    let count = usize::try_from(*left).unwrap_or(usize::MAX);
                    let count = count.min(buf.remaining()).min(this.buffer.len());
                    buf.put_slice(&this.buffer[..count]);
                    this.buffer.drain(..count);
                    *left -= count as u64;
                    return Poll::Ready(Ok(()));
                }
                // hyper reads here only to learn of the peer's end, and is woken by the response when there is one.
                Phase::Upgrade => return Poll::Pending,
                Phase::Refuse(response, written) => {
                    if *written == response.len() {
                        let flushed = Pin::new(&mut this.io).poll_flush(cx);
                        ready!(this.watch(cx, flushed))?;
                        this.phase = Phase::Over;
                        continue;
                    }
                    let wrote = Pin::new(&mut this.io).poll_write(cx, &response[*written..]);
                    let wrote = ready!(this.watch(cx, wrote))?;
                    if let Phase::Refuse(_, written) = &mut this.phase {
                        *written += wrote;
                    }
                }
                Phase::Over => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.io).poll_write(cx, buf);
        if let (Poll::Ready(Ok(count)), Some((_, taken))) = (&wrote, &mut self.slow) {
            *taken += *count as u64;
        }
        self.watch(cx, wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.watch(cx, flushed)
    }

    /// Says that no more will come, then reads on for a moment: closing with unread bytes would reset the connection
    /// and could destroy the response on its way.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            let shut = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.watch(cx, shut))?;
        }
        let linger = this.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        loop {
            if linger.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut waste = [0; 4096];
            let mut waste = ReadBuf::new(&mut waste);
            let read = ready!(Pin::new(&mut this.io).poll_read(cx, &mut waste));
            if read.is_err() || waste.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

fn raw_response(problem: &Problem) -> Vec<u8> {
    let reply = problem.reply();
    let status: StatusCode = reply.status();
    let body = problem.body();
    let mut raw = format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or("Error"));
    for (name, value) in reply.headers() {
        raw.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
    }
    raw.push_str(&format!("{}: {}\r\n{}: close\r\n\r\n", header::CONTENT_LENGTH, body.len(), header::CONNECTION));
    let mut raw = raw.into_bytes();
    raw.extend_from_slice(&body);
    raw
}

#[cfg(test)]
mod tests;
