//! Frames over a stream: what is read is decoded where it lies, what is written goes out as one piece.
//!
//! Reading goes into scratch memory of the thread. A connection keeps what a turn has left of it, and what waits to be
//! written; at rest it owns neither.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bytes::Bytes;
use polytty_dialect::{HEADROOM, Kind, Outbox};
use polytty_websocket::{Close, CloseCode, Decoder, Encoder, Error, Event, Limits, MAX_HEADER, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Meter;

/// What is read at once, in bytes.
const SCRATCH: usize = 64 * 1024;

/// Masking keys that a thread makes at once.
const KEYS: usize = 64;

/// What may wait to be written, in bytes, or one message of the largest size where that is more: one turn of 64 KiB in a
/// dialect that writes six bytes for one, and room for control frames. Beyond it the connection counts as broken.
const MAX_UNSENT: usize = 1024 * 1024;

/// The largest buffer for what goes out that a thread keeps from one turn to the next.
const SPARE_MOST: usize = 256 * 1024;

/// From this size on, what has to wait is moved into a buffer of its own length.
const SPARE_LEAST: usize = 4 * 1024;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
    static MASKS: RefCell<VecDeque<[u8; 4]>> = const { RefCell::new(VecDeque::new()) };
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A masking key that nobody can predict (RFC 6455, section 10.3), made in batches.
fn masking_key() -> [u8; 4] {
    MASKS.with_borrow_mut(|keys| {
        if let Some(key) = keys.pop_front() {
            return key;
        }
        let mut bytes = [0; 4 * KEYS];
        // The generator is seeded by the operating system; this process would not have come so far without it.
        let _ = SystemRandom::new().fill(&mut bytes);
        keys.extend(bytes.as_chunks::<4>().0);
        keys.pop_front().unwrap_or_default()
    })
}

/// Makes a buffer that is done with the one that goes out next.
fn spare(mut buffer: Vec<u8>) {
    let kept = SPARE.take();
    buffer.clear();
    let is_better = buffer.capacity() > kept.capacity() && buffer.capacity() <= SPARE_MOST;
    SPARE.set(if is_better { buffer } else { kept });
}

/// Why [`Wire::poll_each`] stopped.
pub(super) enum Stopped {
    /// There were messages, and for now there may be no more, or whoever takes them has had enough.
    Messages,
    /// Something else came, perhaps behind messages.
    By(Received),
}

/// What came from the peer and is no message.
#[derive(Debug)]
pub(super) enum Received {
    /// A Ping. Its answer is queued.
    Ping(Bytes),
    /// A Pong.
    Pong(Bytes),
    /// A Close, with its code. Its answer is queued, unless ours went out before.
    Close(Option<u16>),
    /// The end of the stream.
    End,
    /// Something that breaks the protocol or the limit.
    Broken(Error),
    /// A failure of the stream.
    Failed(io::Error),
}

/// One connection.
pub(super) struct Wire<S> {
    stream: Meter<S>,
    decoder: Decoder,
    encoder: Encoder<fn() -> [u8; 4]>,
    /// Read and not yet decoded, from `decoded` on.
    unread: Vec<u8>,
    decoded: usize,
    /// To be written, from `sent` on.
    unsent: Vec<u8>,
    sent: usize,
    max_unsent: usize,
    /// The answer to the last Ping, while it waits behind what is being written: an earlier one need not be answered any
    /// more (section 5.5.3), so a peer that sends many and reads nothing takes no memory.
    pong: Option<Bytes>,
    /// Our Close is queued, and nothing may follow it.
    is_closing: bool,
    /// The stream wants to be flushed.
    is_unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A stream behind its opening handshake, with what was read behind that.
    pub(super) fn new(stream: S, already_read: &[u8], role: Role, max_message: usize) -> Self {
        Self {
            stream: Meter::new(stream),
            decoder: Decoder::new(role, Limits { max_message }),
            encoder: Encoder::new(role, masking_key),
            unread: already_read.to_vec(),
            decoded: 0,
            unsent: Vec::new(),
            sent: 0,
            max_unsent: MAX_UNSENT.max(max_message.saturating_add(MAX_HEADER)),
            pong: None,
            is_closing: false,
            is_unflushed: false,
        }
    }

    pub(super) fn stream(&self) -> &Meter<S> {
        &self.stream
    }

    /// Whether the peer has begun a frame or message that it has not finished.
    pub(super) fn is_unfinished(&self) -> bool {
        !self.decoder.is_between_messages()
    }

    /// For raw bytes, past all frames.
    pub(super) fn stream_mut(&mut self) -> &mut Meter<S> {
        &mut self.stream
    }

    /// Hands over messages where they lie, until whoever takes them has had enough, or all that was read once is done with.
    pub(super) fn poll_each(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(Kind, &[u8]) -> ControlFlow<()>,
    ) -> Poll<Stopped> {
        loop {
            let mut some = false;
            let mut take = |kind, payload: &[u8]| {
                some = true;
                take(kind, payload)
            };
            let stopped = if self.unread.is_empty() {
                ready!(self.poll_read(cx, &mut take))
            } else {
                let mut rest = &mut self.unread[self.decoded..];
                let stopped = each(&mut self.decoder, &mut rest, &mut take);
                let left = rest.len();
                self.decoded = self.unread.len() - left;
                if left == 0 {
                    (self.unread, self.decoded) = (Vec::new(), 0);
                }
                stopped
            };
            match stopped {
                Some(Stopped::By(received)) => return Poll::Ready(Stopped::By(self.answer(received))),
                Some(Stopped::Messages) => return Poll::Ready(Stopped::Messages),
                None if some => return Poll::Ready(Stopped::Messages),
                None => {}
            }
        }
    }

    /// Reads once. `None` when all of it was taken.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut impl FnMut(Kind, &[u8]) -> ControlFlow<()>,
    ) -> Poll<Option<Stopped>> {
        READ.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            if let Err(error) = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                return Poll::Ready(Some(Stopped::By(Received::Failed(error))));
            }
            let mut rest = buffer.filled_mut();
            if rest.is_empty() {
                return Poll::Ready(Some(Stopped::By(Received::End)));
            }
            let stopped = each(&mut self.decoder, &mut rest, take);
            self.unread.extend_from_slice(rest);
            Poll::Ready(stopped)
        })
    }

    /// Answers what the protocol itself has an answer to.
    fn answer(&mut self, received: Received) -> Received {
        match &received {
            Received::Close(code) if !self.is_closing => {
                self.pong = None;
                let code = code.and_then(CloseCode::new);
                self.close(code.map(|code| Close { code, reason: "" }));
            }
            Received::Ping(payload) => (self.pong, self.is_unflushed) = (Some(payload.clone()), true),
            _ => {}
        }
        received
    }

    /// Takes the thread's buffer for what goes out, if there is none yet.
    fn begin(&mut self) {
        if self.unsent.capacity() == 0 {
            self.unsent = SPARE.take();
        }
    }

    /// Queues messages and takes them out of the outbox: long ones with the buffer that they lie in.
    pub(super) fn messages(&mut self, outbox: &mut Outbox) {
        if !self.is_closing && !outbox.is_empty() {
            if self.unsent.is_empty() && outbox.payload_len() >= SPARE_LEAST {
                spare(std::mem::take(&mut self.unsent));
                let frame = |kind, room: &mut _, payload: &mut _| self.encoder.in_place(framed(kind), room, payload);
                (self.unsent, self.sent) = outbox.take_frames(SPARE.take(), frame);
            } else {
                self.begin();
                for message in outbox.iter() {
                    self.encoder.message(framed(message.kind), message.payload, &mut self.unsent);
                }
            }
            self.is_unflushed = true;
        }
        outbox.clear();
    }

    /// Queues a Ping.
    pub(super) fn ping(&mut self, payload: &[u8]) {
        if !self.is_closing {
            self.begin();
            self.encoder.ping(payload, &mut self.unsent);
            self.is_unflushed = true;
        }
    }

    /// Queues a Close, behind which nothing is queued any more.
    pub(super) fn close(&mut self, close: Option<Close<'_>>) {
        if !self.is_closing {
            self.begin();
            self.encoder.close(close, &mut self.unsent);
            (self.is_closing, self.is_unflushed) = (true, true);
        }
    }

    /// Whether more waits to be written than may.
    pub(super) fn is_overfull(&self) -> bool {
        self.unsent.len() - self.sent > self.max_unsent
    }

    /// Whether all that is queued is with the kernel.
    pub(super) fn is_flushed(&self) -> bool {
        !self.is_unflushed
    }

    /// Writes what is queued; ready when the kernel has it.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.sent < self.unsent.len() {
                let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, &self.unsent[self.sent..])? else {
                    self.wait();
                    return Poll::Pending;
                };
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.sent += written;
            }
            self.sent = 0;
            spare(std::mem::take(&mut self.unsent));
            let Some(payload) = self.pong.take().filter(|_| !self.is_closing) else { break };
            self.begin();
            self.encoder.pong(&payload, &mut self.unsent);
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Moves what has to wait into a buffer of its own length: the thread's is needed by others.
    fn wait(&mut self) {
        if self.unsent.capacity() >= SPARE_LEAST && self.unsent.capacity() > 2 * (self.unsent.len() - self.sent) {
            let rest = self.unsent[self.sent..].to_vec();
            spare(std::mem::replace(&mut self.unsent, rest));
            self.sent = 0;
        }
    }
}

// A frame's header fits in front of a message.
const _: () = assert!(HEADROOM == MAX_HEADER);

const fn framed(kind: Kind) -> polytty_websocket::Kind {
    match kind {
        Kind::Text => polytty_websocket::Kind::Text,
        Kind::Binary => polytty_websocket::Kind::Binary,
    }
}

/// Decodes what there is. `None` when all input was taken and more is needed.
fn each(
    decoder: &mut Decoder,
    input: &mut &mut [u8],
    take: &mut impl FnMut(Kind, &[u8]) -> ControlFlow<()>,
) -> Option<Stopped> {
    loop {
        let received = match decoder.decode(input) {
            Ok(None) => return None,
            Ok(Some(Event::Message { kind, payload })) => {
                let kind = match kind {
                    polytty_websocket::Kind::Text => Kind::Text,
                    polytty_websocket::Kind::Binary => Kind::Binary,
                };
                if take(kind, payload).is_break() {
                    return Some(Stopped::Messages);
                }
                continue;
            }
            Ok(Some(Event::Ping(payload))) => Received::Ping(Bytes::copy_from_slice(payload)),
            Ok(Some(Event::Pong(payload))) => Received::Pong(Bytes::copy_from_slice(payload)),
            Ok(Some(Event::Close(close))) => Received::Close(close.map(|close| close.code.get())),
            Err(error) => Received::Broken(error),
        };
        return Some(Stopped::By(received));
    }
}
