//! The time between a client's arrival and a verified terminal.

use std::future::poll_fn;
use std::task::{Context, Poll};

use polytty_dialect::{ClientEvent, Code, Message, ServerEvent, Size};
use tokio::time::timeout;

use super::attachment::Attachment;
use super::task::Task;
use super::{Command, Ending, Spec};
use crate::provider::{Failure, Upstream};
use crate::socket::Incoming;

/// Input that is kept for a terminal that is not there yet, in bytes. At the bound nothing more is read from the
/// client until it is.
const EARLY_INPUT: usize = 64 * 1024;

/// How opening came out.
pub(super) enum Opened {
    /// A terminal, its client, and what the client has typed by now.
    Terminal { upstream: Box<dyn Upstream>, client: Attachment, early: Early },
    /// No terminal; the client that is still there to be told, if any.
    Nothing { ending: Ending, client: Option<Attachment> },
}

/// What a client did before the terminal was there.
#[derive(Default)]
pub(super) struct Early {
    pub(super) input: Vec<u8>,
    pub(super) size: Size,
    pub(super) eof: bool,
}

pub(super) struct Opening<'a> {
    task: &'a mut Task,
    spec: &'a Spec,
    client: Option<Attachment>,
    early: Early,
}

impl<'a> Opening<'a> {
    pub(super) fn new(task: &'a mut Task, spec: &'a Spec, client: Attachment) -> Self {
        let early = Early { size: spec.size, ..Early::default() };
        Self { task, spec, client: Some(client), early }
    }

    /// Opens the terminal unless the client, the API or the clock ends it first; then the call to the provider is
    /// dropped in the middle, which providers take care of.
    pub(super) async fn run(mut self) -> Opened {
        let entry = &self.spec.provider;
        let asked = self.spec.size;
        let drain = self.task.drain.clone();
        let mut opening = std::pin::pin!(timeout(entry.open_timeout(), entry.open(&self.spec.target, asked)));
        let mut drained = std::pin::pin!(drain.cancelled());
        let result = poll_fn(|cx| {
            if drained.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Ending::Draining));
            }
            if let Poll::Ready(ending) = self.poll_around(cx) {
                return Poll::Ready(Err(ending));
            }
            opening.as_mut().poll(cx).map(|result| match result {
                Ok(Ok(upstream)) => Ok(upstream),
                Ok(Err(failure)) => Err(Ending::Failed(failure)),
                Err(_) => Err(Ending::Failed(Failure::new(
                    Code::ProviderTimeout,
                    format!("{} did not open the terminal in time.", entry.kind().title),
                ))),
            })
        })
        .await;
        match &result {
            Ok(_) => entry.note_opening(Ok(())),
            Err(Ending::Failed(failure)) => entry.note_opening(Err(failure)),
            // The end was not the provider's doing and says nothing about it.
            Err(_) => {}
        }
        let Some(client) = self.client.take() else {
            return match result {
                Ok(upstream) => {
                    upstream.end().await;
                    Opened::Nothing { ending: Ending::Abandoned, client: None }
                }
                Err(ending) => Opened::Nothing { ending, client: None },
            };
        };
        match result {
            Ok(upstream) => Opened::Terminal { upstream, client, early: self.early },
            Err(ending) => Opened::Nothing { ending, client: Some(client) },
        }
    }

    /// Everything but the provider: ready when it makes an end.
    fn poll_around(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        while let Poll::Ready(command) = self.task.inbox.poll_recv(cx) {
            match command {
                Some(Command::Attach(newer)) => self.replace(*newer),
                Some(Command::Expect(_)) => {}
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
        let Some(client) = &mut self.client else { return Poll::Ready(Ending::Abandoned) };
        loop {
            let flushed = client.poll_flushed(cx).is_ready();
            if self.early.input.len() >= EARLY_INPUT || !(flushed || client.has_room_for_replies()) {
                return Poll::Pending;
            }
            let incoming = std::task::ready!(client.socket().poll_recv(cx));
            let event = match incoming {
                Incoming::Message(kind, payload) => {
                    client.dialect().decode(Message { kind, payload: &payload }, &mut self.early.input)
                }
                left => {
                    let client = self.client.take();
                    self.task.tasks.spawn(async move {
                        if let Some(client) = client {
                            match left {
                                Incoming::Broken(close, why) => client.break_off(close, why).await,
                                _ => client.part().await,
                            }
                        }
                    });
                    return Poll::Ready(Ending::Abandoned);
                }
            };
            match event {
                Ok(ClientEvent::Input | ClientEvent::Ack(0)) => {}
                Ok(ClientEvent::Resize(size)) => {
                    self.early.size = size;
                    self.task.session.record.set_size(size);
                }
                Ok(ClientEvent::Eof) => self.early.eof = true,
                Ok(ClientEvent::Ping(id)) => client.reply(&ServerEvent::Pong(&id)),
                Ok(ClientEvent::Close) => return Poll::Ready(Ending::Closed),
                Ok(ClientEvent::Ignored) => self.task.metrics.ignored_message(),
                Ok(ClientEvent::Ack(_)) => {
                    return Poll::Ready(self.bad_message("an ack is beyond what was sent"));
                }
                Err(bad) => return Poll::Ready(self.bad_message(bad.reason)),
            }
        }
    }

    /// A client that breaks the protocol before the terminal is there ends the session: nothing is lost with it.
    fn bad_message(&mut self, why: &'static str) -> Ending {
        if let Some(client) = self.client.take() {
            self.task.tasks.spawn(async move { client.refuse(Code::BadMessage, why).await });
        }
        Ending::Abandoned
    }
}
