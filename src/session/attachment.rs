//! One client at a session: its socket, its dialect, and how far it has got.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use polytty_dialect::{
    ClientDialect, ClientEvent, Code, Exit, HEADROOM, Kind, Message, Outbox, Resume, Role, ServerEvent, Size,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::ending::{close_frame, close_reason};
use super::questions::Questions;
use super::{Ending, SessionId};
use crate::limit::InputPace;
use crate::provider::Failure;
use crate::socket::{DRAIN, Incoming, MIN_MESSAGE, Socket};
use crate::ticket::Hash;

/// Bytes of output that may be under way to a client that acknowledges.
pub(super) const WINDOW: u64 = 128 * 1024;

/// What is translated at once of output that is there as a whole, in bytes: a client may bound its messages.
const REST: usize = 64 * 1024;

/// What a client is told that acknowledges the future.
pub(super) const BEYOND: &str = "an ack is beyond what was sent";

/// Answers (pongs, notices) that may wait for a client to read. At the bound nothing more is read from it.
const MAX_REPLIES: usize = 16;

/// Any stream that a client comes over.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// The stream of a client, whatever it is.
pub type ClientIo = Box<dyn Io>;

/// A client behind its upgrade, ready to be handed to a session.
pub struct Attachment {
    socket: Socket<ClientIo>,
    dialect: Box<dyn ClientDialect>,
    role: Role,
    replies: Outbox,
    arrival: Arrival,
    /// The session's offset behind the output that was sent to it.
    position: u64,
    /// The last acknowledged offset, from the first `ack` on.
    acked: Option<u64>,
    unconfirmed: Option<Unconfirmed>,
    heard: bool,
    wants_screen: bool,
    /// The offset behind what was shown before, and the filter for it, where the dialect cannot say so.
    repeated: Option<(u64, Questions)>,
    /// What is left of a synthetic piece, which goes out before anything else.
    backlog: Bytes,
    ignored_fields: u64,
    /// How fast it may send, where that is bounded.
    pace: Option<Box<InputPace>>,
}

/// How a client comes to its session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Output bytes that it says it has, where it comes back.
    pub offset: Option<u64>,
    /// The resume link it came by, where it was one.
    pub resumes: Option<Hash>,
    /// The only subject that may use the link it came by, and so the links that it is given.
    pub owner: Option<Arc<str>>,
}

/// What reading a client came to.
pub(super) enum Heard {
    /// What its last message means.
    Event(ClientEvent),
    /// It broke its dialect.
    Bad(&'static str),
    /// It is gone, or has to go.
    Over(Incoming),
}

/// What shows that a client has got the resume link it was sent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unconfirmed {
    /// Any message, or the pong to the ping that was sent behind it.
    Message,
    /// That pong.
    Pong,
}

impl Attachment {
    /// A client that speaks `dialect` over `socket`.
    #[must_use]
    pub fn new(socket: Socket<ClientIo>, dialect: Box<dyn ClientDialect>, role: Role, arrival: Arrival) -> Self {
        let replies = Outbox::new();
        Self {
            socket,
            dialect,
            role,
            replies,
            arrival,
            position: 0,
            acked: None,
            unconfirmed: None,
            heard: false,
            wants_screen: false,
            repeated: None,
            backlog: Bytes::new(),
            ignored_fields: 0,
            pace: None,
        }
    }

    /// Bounds how fast it may send.
    #[must_use]
    pub fn paced(mut self, pace: Option<Box<InputPace>>) -> Self {
        self.pace = pace;
        self
    }

    /// Ready when it may be read. One that sends more than it may is not, for a while, in which its connection is kept warm.
    #[inline]
    pub(super) fn poll_unheld(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_held() { self.poll_held(cx) } else { Poll::Ready(()) }
    }

    #[cold]
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pace.as_mut().is_none_or(|pace| pace.poll_ready(cx).is_ready()) {
            return Poll::Ready(());
        }
        self.socket.poll_idle(cx);
        let _ = self.socket.poll_flushed(cx);
        Poll::Pending
    }

    /// Reads its messages where they lie, and appends what was typed to `input`: until one means something else, it may not be
    /// read any more, or what `taken` counts comes to `most`. At least one is read, whatever that is.
    pub(super) fn poll_input(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Vec<u8>,
        taken: &mut usize,
        most: usize,
    ) -> Poll<Heard> {
        let Self { socket, dialect, pace, heard, .. } = self;
        let mut last = None;
        let over = ready!(socket.poll_each(cx, |kind, payload| {
            *taken += payload.len().max(MIN_MESSAGE);
            *heard = true;
            let is_held = pace.as_mut().is_some_and(|pace| {
                pace.spend(payload.len());
                pace.is_held()
            });
            match dialect.decode(Message { kind, payload }, input) {
                Ok(ClientEvent::Input) if !is_held && *taken < most => ControlFlow::Continue(()),
                decoded => {
                    last = Some(decoded);
                    ControlFlow::Break(())
                }
            }
        }));
        Poll::Ready(match (last, over) {
            (Some(Ok(event)), _) => Heard::Event(event),
            (Some(Err(bad)), _) => Heard::Bad(bad.reason),
            (None, Some(over)) => Heard::Over(over),
            (None, None) => Heard::Event(ClientEvent::Input),
        })
    }

    /// Counts a message of it that was read.
    #[inline]
    pub(super) fn spend(&mut self, bytes: usize) {
        if let Some(pace) = &mut self.pace {
            pace.spend(bytes);
        }
    }

    /// Whether it sends more than it may, and is not being read.
    pub(super) fn is_held(&self) -> bool {
        self.pace.as_ref().is_some_and(|pace| pace.is_held())
    }

    /// How it came.
    pub(super) fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// Says that something went wrong, and leaves.
    pub async fn refuse(mut self, code: Code, message: &str) {
        let mut outbox = Outbox::new();
        self.dialect.event(&ServerEvent::Error { code, message, last: true }, &mut outbox);
        self.socket.send(&mut outbox);
        self.socket.leave(code.close(), &close_reason(code, message)).await;
    }

    /// Leaves a client that broke the WebSocket protocol itself, with its code.
    async fn break_off(self, close: u16, why: &str) {
        if close == Code::TooLarge.close() {
            self.refuse(Code::TooLarge, why).await;
        } else {
            self.socket.leave(close, &format!("bad_message: {why}")).await;
        }
    }

    /// Lets go of a client that has left, or has to.
    pub(super) async fn depart(self, how: Incoming) {
        match how {
            Incoming::Broken(close, why) => self.break_off(close, why).await,
            _ => self.socket.part().await,
        }
    }

    /// Sends the output that is left, tells how the session ended, and leaves. Whether all of that has reached it.
    pub(super) async fn end(mut self, rest: &[u8], ending: &Ending) -> bool {
        let deadline = Instant::now() + DRAIN;
        let mut outbox = Outbox::new();
        for piece in rest.chunks(REST) {
            if timeout_at(deadline, poll_fn(|cx| self.poll_flushed(cx))).await.is_err() {
                break;
            }
            self.output(piece, &mut outbox);
        }
        let _ = timeout_at(deadline, poll_fn(|cx| self.poll_flushed(cx))).await;
        if let Some((_, questions)) = self.repeated.take() {
            let mut held = Vec::new();
            questions.end(&mut held);
            self.dialect.output(&held, &mut outbox);
        }
        self.dialect.finish(&mut outbox);
        let message = ending.message();
        match (ending, ending.code()) {
            (Ending::Exit(exit), _) => self.dialect.event(&ServerEvent::Exit(exit), &mut outbox),
            (_, Some(code)) => {
                self.dialect.event(&ServerEvent::Error { code, message: &message, last: true }, &mut outbox);
            }
            (_, None) => {
                let exit = Exit { reason: Some(message), ..Exit::default() };
                self.dialect.event(&ServerEvent::Exit(&exit), &mut outbox);
            }
        }
        self.socket.send(&mut outbox);
        let (code, reason) = close_frame(ending);
        self.socket.leave_by(deadline, code, &reason).await
    }

    /// Tells the client that the terminal is there. Output that follows begins at `offset`.
    pub(super) fn ready(
        &mut self,
        session: SessionId,
        size: Size,
        offset: u64,
        input: u64,
        resume: Option<Resume<'_>>,
    ) {
        let session = &session.to_string();
        self.position = offset;
        // What was acknowledged before anything was sent is where the client already stood.
        self.acked = self.acked.map(|acked| acked.max(offset));
        let role = self.role;
        self.tell(&ServerEvent::Ready { session, role, size, offset, input, window: WINDOW, resume });
    }

    /// Sends output that is not the terminal's and counts in no offset: a piece of it, and the rest before anything
    /// else as the client takes it.
    pub(super) fn synthetic(&mut self, bytes: Bytes) {
        self.tell(&ServerEvent::Synthetic { bytes: bytes.len() as u64 });
        self.backlog = bytes;
        self.send_backlog();
    }

    fn send_backlog(&mut self) {
        let piece = self.backlog.split_to(self.backlog.len().min(REST));
        let mut outbox = Outbox::new();
        self.dialect.output(&piece, &mut outbox);
        self.socket.send(&mut outbox);
    }

    /// Says that the next `bytes` of output were shown by a terminal before, and that `missing` before them are gone.
    /// To a client whose dialect has no word for that, they are shown without their questions.
    pub(super) fn replay(&mut self, bytes: u64, missing: u64) {
        if bytes > 0 && !self.dialect.has_resume() {
            self.repeated = Some((self.position + bytes, Questions::default()));
        }
        self.tell(&ServerEvent::Replay { bytes, missing });
    }

    /// Hands over a fresh resume link.
    pub(super) fn renew(&mut self, link: Resume<'_>) {
        self.tell(&ServerEvent::Resume(link));
    }

    /// Whether its dialect has a word for a resume link.
    pub(super) fn has_way_back(&self) -> bool {
        self.dialect.has_resume()
    }

    /// Has it shown what is on the screen when it has caught up.
    pub(super) fn want_screen(&mut self) {
        self.wants_screen = true;
    }

    /// Whether it is to be shown the screen; true once.
    pub(super) fn takes_screen(&mut self) -> bool {
        std::mem::take(&mut self.wants_screen)
    }

    /// As what it came.
    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Whether everything that it was sent is with the kernel.
    pub(super) fn is_at_rest(&self) -> bool {
        self.socket.is_flushed() && self.replies.is_empty() && self.backlog.is_empty()
    }

    /// Asks the client to show that what was sent so far has reached it.
    pub(super) fn expect(&mut self, unconfirmed: Unconfirmed) {
        self.unconfirmed = Some(unconfirmed);
        self.heard = false;
        self.socket.probe();
    }

    /// Notes that a message of it was read.
    pub(super) fn hear(&mut self) {
        self.heard = true;
    }

    /// Whether it has got the resume link that it was sent last.
    pub(super) fn is_confirmed(&self) -> bool {
        self.unconfirmed.is_none()
    }

    /// Whether what it was asked to show has been shown since this was asked last.
    pub(super) fn newly_confirmed(&mut self) -> bool {
        let (heard, probed) = (self.heard, self.socket.is_probed());
        self.unconfirmed.take_if(|what| probed || (heard && *what == Unconfirmed::Message)).is_some()
    }

    fn tell(&mut self, event: &ServerEvent<'_>) {
        let mut outbox = Outbox::new();
        self.dialect.event(event, &mut outbox);
        self.socket.send(&mut outbox);
    }

    /// Queues an answer that goes out before any further output.
    pub(super) fn reply(&mut self, event: &ServerEvent<'_>) {
        self.dialect.event(event, &mut self.replies);
    }

    /// Queues word of something that ends nothing.
    pub(super) fn notice(&mut self, notice: &Failure) {
        self.reply(&ServerEvent::Error { code: notice.code, message: &notice.message, last: false });
    }

    /// Whether there is room for one more answer.
    pub(super) fn has_room_for_replies(&self) -> bool {
        self.replies.len() < MAX_REPLIES
    }

    /// Writes what is queued, answers first. Ready when the client's side is free for output.
    pub(super) fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.socket.poll_flushed(cx));
        while !self.backlog.is_empty() && self.socket.failure().is_none() {
            self.send_backlog();
            ready!(self.socket.poll_flushed(cx));
        }
        if self.replies.is_empty() {
            return Poll::Ready(());
        }
        self.socket.send(&mut self.replies);
        self.replies = Outbox::new();
        self.socket.poll_flushed(cx)
    }

    /// Sends output. Call it only after [`Attachment::poll_flushed`] was ready.
    pub(super) fn output(&mut self, bytes: &[u8], outbox: &mut Outbox) {
        let fresh = if self.repeated.is_some() { self.repeat(bytes, outbox) } else { bytes };
        self.dialect.output(fresh, outbox);
        self.socket.send(outbox);
        self.position += bytes.len() as u64;
    }

    /// Whether its output goes out as it is, so that [`Attachment::output_in_place`] may be called.
    #[inline]
    pub(super) fn is_verbatim(&self) -> bool {
        self.repeated.is_none() && self.dialect.is_verbatim()
    }

    /// Sends output that lies behind [`HEADROOM`] in a buffer, which is exchanged for an empty one.
    pub(super) fn output_in_place(&mut self, output: &mut Vec<u8>, outbox: &mut Outbox) {
        self.position += output.len().saturating_sub(HEADROOM) as u64;
        outbox.adopt(Kind::Binary, output);
        self.socket.send(outbox);
    }

    /// Sends what of `bytes` was shown before without its questions; what is left of them.
    fn repeat<'b>(&mut self, bytes: &'b [u8], outbox: &mut Outbox) -> &'b [u8] {
        let Some((until, mut questions)) = self.repeated.take() else { return bytes };
        let known = usize::try_from(until - self.position).unwrap_or(usize::MAX).min(bytes.len());
        let (known, fresh) = bytes.split_at(known);
        let mut shown = Vec::with_capacity(known.len());
        questions.cut(known, &mut shown);
        if fresh.is_empty() {
            self.repeated = Some((until, questions));
        } else {
            // A sequence that goes on in what is new was not seen whole before.
            questions.end(&mut shown);
        }
        self.dialect.output(&shown, outbox);
        fresh
    }

    /// The session's offset behind the output that was sent to it.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Fields of the client's messages that meant nothing here, since this was asked last.
    pub(super) fn newly_ignored_fields(&mut self) -> u64 {
        let all = self.dialect.ignored_fields();
        all - std::mem::replace(&mut self.ignored_fields, all)
    }

    /// Output bytes that may follow.
    pub(super) fn credit(&self) -> u64 {
        self.acked.map_or(u64::MAX, |acked| (acked + WINDOW).saturating_sub(self.position))
    }

    /// Takes an acknowledgement; `false` when it is beyond what was sent.
    pub(super) fn ack(&mut self, offset: u64) -> bool {
        self.acked = Some(self.acked.unwrap_or(0).max(offset));
        offset <= self.position
    }

    pub(super) fn socket(&mut self) -> &mut Socket<ClientIo> {
        &mut self.socket
    }

    pub(super) fn dialect(&mut self) -> &mut dyn ClientDialect {
        &mut *self.dialect
    }
}
