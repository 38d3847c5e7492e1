//! Viewers: clients that watch a session and change nothing about it.
//!
//! Each has a task and a [`Seat`] of its own, so that none is felt by the writer or by another viewer. The session
//! puts what happens onto every seat and waits for none. A viewer that does not keep up is skipped forward to what is
//! on the screen by then; one that takes nothing for 15 s of what it is sent is let go. One whose connection was lost comes back by a link
//! of its own, and begins anew with what is on the screen.

mod gallery;
mod seat;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use polytty_dialect::{ClientEvent, Code, Message, Resume, ServerEvent};
use tokio::time::{Instant, timeout_at};

use super::attachment::{Attachment, BEYOND, Unconfirmed};
use super::{Command, Ending, Session};
use crate::limit::{Exceeded, Limit};
use crate::observe::Metrics;
use crate::socket::{DRAIN, Incoming, MIN_MESSAGE};

pub(super) use gallery::{Gallery, NoSeat};
pub(super) use seat::{Event, Seat, Snapshot};

use seat::Next;

/// Bytes that one turn takes from a viewer.
const TURN: usize = 64 * 1024;

/// How long a viewer may take nothing of what it is sent. Less than the 20 s after which its connection counts as lost,
/// which would give it no reason.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often it is looked whether one that is sent something takes it.
const LOOK: Duration = Duration::from_secs(2);

/// What a viewer is told whose screen is not all there.
const PARTLY: &str = "only a part of the screen is known until the program paints it anew";

/// What a viewer is told that reads nothing.
const STUCK: &str = "the viewer reads nothing";

/// What a viewer is told whose place was taken by itself.
const BACK: &str = "this viewer came back by another connection";

/// One viewer at work.
pub(super) struct Viewer {
    pub(super) client: Attachment,
    pub(super) seat: Seat,
    pub(super) session: Arc<Session>,
    pub(super) metrics: Arc<Metrics>,
    /// Whether the session has ended.
    pub(super) is_over: bool,
    /// When it asks for a fresh link to come back by, if it was given one.
    pub(super) renewal: Option<Instant>,
    /// How long a link lives.
    pub(super) link_ttl: Duration,
}

/// What a viewer comes to next.
enum Step {
    Next(Next),
    Left(Incoming),
    Bad(&'static str),
    /// It has shown that it got the link that it was sent last.
    Confirmed,
    /// It is here by another connection.
    Replaced,
}

impl Viewer {
    /// Shows the session until it ends or the viewer leaves.
    pub(super) async fn run(mut self) {
        let farewell = self.show().await;
        self.seat.leave();
        // It may have ended meanwhile.
        let _ = self.session.tell(Command::ViewerLeft).await;
        match farewell {
            Farewell::Over => {
                let ending = self.session.record.ending().unwrap_or(Ending::Draining);
                self.client.end(&[], &ending).await;
            }
            Farewell::Left(how) => self.client.depart(how).await,
            Farewell::Refused(code, why) => self.client.refuse(code, why).await,
        }
    }

    async fn show(&mut self) -> Farewell {
        let mut taken = (0, Instant::now());
        let mut over_at = None;
        loop {
            // Never without a clock: a viewer that stops reading, or acknowledging, is not waited for, least of all
            // when the session has ended.
            let now = Instant::now();
            let (is_at_rest, count) = (self.client.is_at_rest(), self.client.socket().transferred().1);
            if is_at_rest || taken.0 != count {
                taken = (count, now);
            }
            if self.is_over {
                over_at.get_or_insert(now);
            }
            let look = now + if is_at_rest { DRAIN } else { LOOK };
            let until = self.renewal.map_or(look, |renewal| renewal.min(look));
            let step = match timeout_at(until, poll_fn(|cx| self.poll_step(cx))).await {
                Ok(step) => step,
                Err(_) if self.renewal.is_some_and(|renewal| renewal <= Instant::now()) => {
                    self.renew().await;
                    continue;
                }
                Err(_) if over_at.is_some_and(|at| at + DRAIN <= Instant::now()) => return Farewell::Over,
                Err(_) if self.client.is_at_rest() || self.client.socket().transferred().1 != taken.0 => continue,
                Err(_) if taken.1 + PATIENCE > Instant::now() => continue,
                Err(_) => return Farewell::Refused(Code::FellBehind, STUCK),
            };
            match step {
                Step::Next(Next::Event(event)) => self.take(event),
                Step::Next(Next::Behind) => {
                    let _ = self.session.tell(Command::Repaint(self.seat.clone())).await;
                }
                Step::Next(Next::Over) => return Farewell::Over,
                Step::Left(how) => return Farewell::Left(how),
                Step::Bad(why) => return Farewell::Refused(Code::BadMessage, why),
                Step::Confirmed => {
                    let _ = self.session.tell(Command::ViewerConfirmed(self.seat.clone())).await;
                }
                Step::Replaced => return Farewell::Refused(Code::Replaced, BACK),
            }
        }
    }

    /// Asks for a fresh link before the one that it has runs out, and again if none comes.
    async fn renew(&mut self) {
        if self.client.is_confirmed() {
            let _ = self.session.tell(Command::RenewViewer(self.seat.clone())).await;
        }
        self.renewal = Some(Instant::now() + self.link_ttl / 4);
    }

    /// What the viewer says, and when it has taken what it was sent, what comes next.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        self.is_over = self.seat.is_over(cx);
        if self.seat.is_replaced() {
            return Poll::Ready(Step::Replaced);
        }
        let mut taken = 0;
        while self.client.has_room_for_replies() || self.client.poll_flushed(cx).is_ready() {
            if taken >= TURN {
                cx.waker().wake_by_ref();
                break;
            }
            if self.client.poll_unheld(cx).is_pending() {
                break;
            }
            let Poll::Ready(incoming) = self.client.socket().poll_recv(cx) else { break };
            let (kind, payload) = match incoming {
                Incoming::Message(kind, payload) => (kind, payload),
                left => return Poll::Ready(Step::Left(left)),
            };
            taken += payload.len().max(MIN_MESSAGE);
            self.client.spend(payload.len());
            self.client.hear();
            // Whatever it types goes nowhere.
            let mut typed = Vec::new();
            match self.client.dialect().decode(Message { kind, payload: &payload }, &mut typed) {
                Ok(ClientEvent::Ping(id)) => self.client.reply(&ServerEvent::Pong(&id)),
                Ok(ClientEvent::Ack(offset)) if self.client.ack(offset) => {}
                Ok(ClientEvent::Ack(_)) => return Poll::Ready(Step::Bad(BEYOND)),
                Ok(_) => self.metrics.ignored_client(1),
                Err(bad) => return Poll::Ready(Step::Bad(bad.reason)),
            }
        }
        if self.client.newly_confirmed() {
            return Poll::Ready(Step::Confirmed);
        }
        // The end needs no acknowledgement.
        let may_send = self.client.poll_flushed(cx).is_ready() && (self.is_over || self.client.credit() > 0);
        if may_send { self.seat.poll_next(cx).map(Step::Next) } else { Poll::Pending }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Output(bytes) => self.client.output(&bytes, &mut polytty_dialect::Outbox::new()),
            Event::Size(size) => self.client.reply(&ServerEvent::Size(size)),
            Event::Link(link) => {
                self.client.renew(Resume { url: &link.url, expires_at: &link.expires_at.to_string() });
                self.client.expect(Unconfirmed::Pong);
                self.renewal = Some(Instant::now() + self.link_ttl / 2);
            }
            Event::Screen(Snapshot { at, input, size, bytes, whole, link }) => {
                let resume = link.as_ref().map(|link| (link.url.as_str(), link.expires_at.to_string()));
                let resume = resume.as_ref().map(|(url, expires_at)| Resume { url, expires_at });
                self.client.ready(self.session.id, size, at, input, resume);
                if link.is_some() {
                    self.renewal = Some(Instant::now() + self.link_ttl / 2);
                    if self.client.arrival().resumes.is_some() {
                        self.client.expect(Unconfirmed::Message);
                    }
                }
                self.client.synthetic(bytes);
                if !whole {
                    let code = Code::OutputGap;
                    self.client.reply(&ServerEvent::Error { code, message: PARTLY, last: false });
                }
            }
        }
    }
}

/// Turns away a viewer for whom there is no seat.
pub(super) fn no_seat_left(viewer: Attachment, seats: usize, metrics: &Metrics) -> impl Future<Output = ()> + use<> {
    let exceeded = Exceeded::count(Limit::Viewers, u32::try_from(seats).unwrap_or(u32::MAX));
    metrics.limited(exceeded.limit.key());
    async move { viewer.refuse(exceeded.code(), &exceeded.message()).await }
}

enum Farewell {
    Over,
    Left(Incoming),
    Refused(Code, &'static str),
}
