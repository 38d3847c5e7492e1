//! An upstream that has a WebSocket of its own.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use polytty_dialect::{Code, Exit, Kind, Message, Outbox, Size, UpstreamDialect, UpstreamEvent};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep, timeout};

use super::{BoxFuture, Failure, Happened, Upstream};
use crate::socket::{Incoming, MIN_MESSAGE, Options, Role, Socket};

/// How long a provider is given to take our leave.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long the connection may stay open, with nothing said, after the provider has told how the process ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How one provider's WebSocket is treated.
#[derive(Clone, Copy, Debug)]
pub(super) struct WebSocketOptions {
    /// What the provider is called towards people, such as `PAI-DLC`.
    pub name: &'static str,
    /// The largest message that is taken.
    pub max_message: usize,
    /// A ping is sent when nothing was heard for so long.
    pub ping_every: Duration,
    /// The provider is lost when it answers no ping for so long.
    pub pong_within: Duration,
}

/// A terminal behind a WebSocket, in some dialect.
pub(super) struct WebSocketUpstream<S> {
    socket: Socket<S>,
    dialect: Box<dyn UpstreamDialect>,
    name: &'static str,
    outbox: Outbox,
    over: bool,
    /// Runs once the provider has told how the process ended; see [`UpstreamDialect::verdict`].
    last_words: Option<Pin<Box<Sleep>>>,
    ignored: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> WebSocketUpstream<S> {
    /// Takes a verified connection and the bytes that were read behind the provider's 101.
    pub(super) async fn new(
        stream: S,
        already_read: Bytes,
        dialect: Box<dyn UpstreamDialect>,
        options: WebSocketOptions,
    ) -> Self {
        let WebSocketOptions { name, max_message, ping_every, pong_within } = options;
        let options = Options { role: Role::Client, max_message, ping_every, pong_within };
        let socket = Socket::new(stream, &already_read, options);
        Self { socket, dialect, name, outbox: Outbox::new(), over: false, last_words: None, ignored: 0 }
    }

    fn send(&mut self) {
        self.socket.send(&self.outbox);
        self.outbox = Outbox::new();
    }

    /// One message of the provider, or its end, as what it means to the session.
    fn take(&mut self, incoming: Incoming, output: &mut Vec<u8>) -> Option<Happened> {
        let (kind, payload) = match incoming {
            Incoming::Message(kind, payload) => (kind, payload),
            over => {
                self.over = true;
                return Some(self.verdict().unwrap_or_else(|| self.ended(over)));
            }
        };
        match self.dialect.decode(Message { kind, payload: &payload }, output) {
            Ok(UpstreamEvent::Output) => None,
            Ok(UpstreamEvent::Ignored) => {
                self.ignored += 1;
                None
            }
            Ok(UpstreamEvent::Exit(exit)) => Some(Happened::Exit(exit)),
            Ok(UpstreamEvent::Failed(words)) => Some(self.failed(words)),
            Err(bad) => Some(Happened::Failed(
                Failure::new(
                    Code::ProviderLost,
                    format!("{} sent something that is not its own protocol; the terminal was closed.", self.name),
                )
                .detail(format!(
                    "{bad}: a {} message of {} bytes",
                    if kind == Kind::Text { "text" } else { "binary" },
                    payload.len()
                )),
            )),
        }
    }

    fn failed(&self, words: String) -> Happened {
        let message = format!("{} reported that the terminal failed.", self.name);
        Happened::Failed(Failure::new(Code::ProviderLost, message).detail(words))
    }

    /// How the process ended, where the provider has told.
    fn verdict(&self) -> Option<Happened> {
        match self.dialect.verdict()? {
            UpstreamEvent::Exit(exit) => Some(Happened::Exit(exit.clone())),
            UpstreamEvent::Failed(words) => Some(self.failed(words.clone())),
            UpstreamEvent::Output | UpstreamEvent::Ignored => None,
        }
    }

    /// Ready when the provider has told how the process ended, and has had its time to say more.
    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        if self.last_words.is_none() && self.dialect.verdict().is_some() {
            self.last_words = Some(Box::pin(sleep(LAST_WORDS)));
        }
        let Some(wait) = &mut self.last_words else { return Poll::Pending };
        ready!(wait.as_mut().poll(cx));
        self.verdict().map_or(Poll::Pending, Poll::Ready)
    }

    /// What the end of the connection means: to leave in order is an exit without a status, everything else a loss.
    fn ended(&self, how: Incoming) -> Happened {
        let lost = |detail: String| {
            Happened::Failed(
                Failure::new(Code::ProviderLost, format!("The connection to {} was lost.", self.name)).detail(detail),
            )
        };
        match how {
            Incoming::Closed(None | Some(1000 | 1001)) | Incoming::Ended => Happened::Exit(Exit::default()),
            Incoming::Closed(Some(code)) => lost(format!("closed with {code}")),
            Incoming::Broken(_, why) => {
                let message = format!("{} broke the WebSocket protocol; the terminal was closed.", self.name);
                Happened::Failed(Failure::new(Code::ProviderLost, message).detail(why))
            }
            Incoming::Lost(why) => lost(why),
            Incoming::Message(..) => lost("a message is no end".to_owned()),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Upstream for WebSocketUpstream<S> {
    fn poll_output(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>, budget: usize) -> Poll<Happened> {
        // What was taken counts, not what it meant: messages without output are no way around the budget.
        let mut taken = 0;
        let mut busy = false;
        while taken < budget {
            let Poll::Ready(incoming) = self.socket.poll_recv(cx) else { break };
            busy = true;
            if let Incoming::Message(_, payload) = &incoming {
                taken += payload.len().max(MIN_MESSAGE);
            }
            if let Some(happened) = self.take(incoming, output) {
                return Poll::Ready(happened);
            }
        }
        if busy {
            self.last_words = None;
            return Poll::Ready(Happened::Output);
        }
        if budget == 0 {
            self.socket.poll_idle(cx);
            return Poll::Pending;
        }
        self.poll_last_words(cx)
    }

    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_flushed(cx)
    }

    fn input(&mut self, bytes: &[u8]) {
        self.dialect.input(bytes, &mut self.outbox);
        self.send();
    }

    fn resize(&mut self, size: Size) {
        self.dialect.resize(size, &mut self.outbox);
        self.send();
    }

    fn eof(&mut self) -> bool {
        let said = self.dialect.eof(&mut self.outbox);
        self.send();
        said
    }

    fn ignored(&self) -> u64 {
        self.ignored + self.dialect.ignored_fields()
    }

    fn end(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if self.over {
                self.socket.part().await;
            } else {
                let _ = timeout(FAREWELL, self.socket.leave(1000, "the session ended")).await;
            }
        })
    }
}
