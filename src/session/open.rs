//! The time between a client's arrival and a verified terminal.

use std::future::poll_fn;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use polytty_dialect::{ClientEvent, Code, Message, ServerEvent, Size};
use tokio::time::{Instant, timeout};

use super::attachment::{Attachment, BEYOND};
use super::task::Task;
use super::{Command, Ending, Spec};
use crate::limit::Limit;
use crate::provider::{Failure, Upstream};
use crate::socket::{Incoming, MIN_MESSAGE};

/// Input that is kept for a terminal that is not there yet, in bytes. At the bound nothing more is read from the
/// client until it is.
const EARLY_INPUT: usize = 64 * 1024;

/// How opening came out.
pub(super) enum Opened {
    /// A terminal.
    Terminal(Box<Terminal>),
    /// No terminal; the client that is still there to be told, if any.
    Nothing { ending: Ending, client: Option<Box<Attachment>> },
}

/// A terminal that is open, its client unless it has left, and what was typed by now.
pub(super) struct Terminal {
    pub(super) upstream: Box<dyn Upstream>,
    pub(super) client: Option<Attachment>,
    pub(super) early: Early,
}

/// What a client did before the terminal was there.
#[derive(Default)]
pub(super) struct Early {
    pub(super) input: Vec<u8>,
    pub(super) size: Size,
    pub(super) eof: bool,
    /// A link was minted that may bring a client until then.
    pub(super) expected: Option<Instant>,
}

pub(super) struct Opening<'a> {
    task: &'a mut Task,
    spec: &'a Spec,
    client: Option<Attachment>,
    early: Early,
}

impl Opening<'_> {
    /// Opens the terminal unless the client, the API or the clock ends it first; then the call to the provider is
    /// dropped in the middle, which providers take care of. A client that is only lost ends nothing.
    pub(super) async fn run(task: &mut Task, spec: Box<Spec>, client: Box<Attachment>) -> Opened {
        let early = Early { size: spec.size, ..Early::default() };
        Opening { task, spec: &spec, client: Some(*client), early }.finish().await
    }

    async fn finish(mut self) -> Opened {
        let entry = &self.spec.provider;
        let asked = self.spec.size;
        let (drain, metrics) = (self.task.drain.clone(), self.task.metrics.clone());
        let mut opening = std::pin::pin!(async {
            entry.turn().await.inspect_err(|_| metrics.limited(Limit::Opens.key()))?;
            let opened = timeout(entry.open_timeout(), entry.open(&self.spec.target, asked)).await;
            let late = || format!("{} did not open the terminal in time.", entry.kind().title);
            opened.unwrap_or_else(|_| Err(Failure::new(Code::ProviderTimeout, late())))
        });
        let mut drained = std::pin::pin!(drain.cancelled());
        let result = poll_fn(|cx| {
            if drained.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Ending::Draining));
            }
            if let Poll::Ready(ending) = self.poll_around(cx) {
                return Poll::Ready(Err(ending));
            }
            opening.as_mut().poll(cx).map_err(Ending::Failed)
        })
        .await;
        match &result {
            Ok(_) => entry.note_opening(Ok(())),
            Err(Ending::Failed(failure)) => entry.note_opening(Err(failure)),
            // The end was not the provider's doing and says nothing about it.
            Err(_) => {}
        }
        match result {
            Ok(upstream) => Opened::Terminal(Box::new(Terminal { upstream, client: self.client, early: self.early })),
            Err(ending) => Opened::Nothing { ending, client: self.client.map(Box::new) },
        }
    }

    /// Everything but the provider: ready when it makes an end.
    fn poll_around(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        while let Poll::Ready(command) = self.task.inbox.poll_next_unpin(cx) {
            match command {
                Some(Command::Attach(newer)) => self.replace(*newer),
                Some(Command::Expect(until)) => self.early.expected = self.early.expected.max(Some(until)),
                Some(Command::Watch(viewer)) => self.task.seat_later(*viewer),
                // Nothing has been shown yet.
                Some(
                    Command::Repaint(_) | Command::ViewerLeft | Command::ViewerConfirmed(_) | Command::RenewViewer(_),
                ) => {}
                Some(Command::Scrollback(reply)) => drop(reply.send(Vec::new())),
                Some(Command::Fail(failure)) => return Poll::Ready(Ending::Failed(*failure)),
                Some(Command::End) | None => return Poll::Ready(Ending::Deleted),
            }
        }
        self.poll_client(cx)
    }

    fn replace(&mut self, newer: Attachment) {
        if let Some(older) = self.client.replace(newer) {
            self.task.tasks.spawn(super::pump::replaced(older));
        }
    }

    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let mut taken = 0;
        while let Some(client) = &mut self.client {
            let flushed = client.poll_flushed(cx).is_ready();
            if self.early.input.len() >= EARLY_INPUT || !(flushed || client.has_room_for_replies()) {
                client.socket().pause();
                return Poll::Pending;
            }
            if taken >= EARLY_INPUT {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            std::task::ready!(client.poll_unheld(cx));
            let (kind, payload) = match std::task::ready!(client.socket().poll_recv(cx)) {
                Incoming::Message(kind, payload) => (kind, payload),
                Incoming::Closed(None | Some(1000)) if !client.dialect().has_close() => {
                    return Poll::Ready(Ending::Closed);
                }
                left => {
                    let ending = self.detach(|client| client.depart(left));
                    return ending.map_or(Poll::Pending, Poll::Ready);
                }
            };
            taken += payload.len().max(MIN_MESSAGE);
            client.spend(payload.len());
            let event = client.dialect().decode(Message { kind, payload: &payload }, &mut self.early.input);
            self.task.metrics.ignored_client(client.newly_ignored_fields());
            let bad = match event {
                Ok(ClientEvent::Input) => continue,
                Ok(ClientEvent::Resize { size, .. }) => {
                    self.early.size = size;
                    self.task.session.record.set_size(size);
                    continue;
                }
                Ok(ClientEvent::Eof) => {
                    self.early.eof = true;
                    continue;
                }
                Ok(ClientEvent::Ping(id)) => {
                    client.reply(&ServerEvent::Pong(&id));
                    continue;
                }
                Ok(ClientEvent::Ignored) => {
                    self.task.metrics.ignored_client(1);
                    continue;
                }
                Ok(ClientEvent::Ack(offset)) if client.ack(offset) => continue,
                Ok(ClientEvent::Ack(_)) => BEYOND,
                Ok(ClientEvent::Close) => return Poll::Ready(Ending::Closed),
                Err(bad) => bad.reason,
            };
            let ending = self.detach(|client| client.refuse(Code::BadMessage, bad));
            return ending.map_or(Poll::Pending, Poll::Ready);
        }
        Poll::Pending
    }

    /// Lets the client go. The terminal is opened all the same, for it to come back to, unless no time is given for
    /// that.
    fn detach<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        farewell: impl FnOnce(Attachment) -> F,
    ) -> Option<Ending> {
        if let Some(client) = self.client.take() {
            self.task.tasks.spawn(farewell(client));
        }
        self.task.settings.lifetimes.detach_grace.is_zero().then_some(Ending::Abandoned)
    }
}
