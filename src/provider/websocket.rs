//! An upstream that has a WebSocket of its own.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use polytty_dialect::{BadMessage, Code, Exit, Kind, Message, Outbox, Size, UpstreamDialect, UpstreamEvent};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep, timeout};

use super::{BoxFuture, Failure, Happened, Upstream};
use crate::socket::{Incoming, MIN_MESSAGE, Options, Role, Socket};

/// How long a provider is given to take our leave.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long the connection may stay open, with nothing said, after the provider has told how the process ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Memory that a thread keeps for what is said to providers, in bytes.
const MAX_OUTBOX: usize = 256 * 1024;

thread_local! {
    static OUTBOX: RefCell<Outbox> = const { RefCell::new(Outbox::new()) };
}

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
        Self { socket, dialect, name, over: false, last_words: None, ignored: 0 }
    }

    /// Sends what the dialect says. Whatever that returns.
    fn say<T>(&mut self, what: impl FnOnce(&mut dyn UpstreamDialect, &mut Outbox) -> T) -> T {
        OUTBOX.with_borrow_mut(|outbox| {
            let said = what(&mut *self.dialect, outbox);
            self.socket.send(outbox);
            if outbox.capacity() > MAX_OUTBOX {
                *outbox = Outbox::new();
            }
            said
        })
    }

    /// How the process ended, where the provider has told.
    fn verdict(&self) -> Option<Happened> {
        match self.dialect.verdict()? {
            UpstreamEvent::Exit(exit) => Some(Happened::Exit(exit.clone())),
            UpstreamEvent::Failed(words) => Some(failed(self.name, words.clone())),
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
        // Beyond half of it, another turn of reading would bring more than may be taken.
        while taken <= budget / 2 && budget > 0 {
            let Self { socket, dialect, name, ignored, .. } = self;
            let mut happened = None;
            let came = socket.poll_each(cx, |kind, payload| {
                taken += payload.len().max(MIN_MESSAGE);
                let is_text = kind == Kind::Text;
                match dialect.decode(Message { kind, payload }, output) {
                    Ok(UpstreamEvent::Output) => {}
                    other => happened = meaning(other, name, ignored, is_text, payload.len()),
                }
                if happened.is_none() && taken < budget { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            let Poll::Ready(over) = came else { break };
            busy = true;
            if let Some(happened) = happened {
                return Poll::Ready(happened);
            }
            if let Some(over) = over {
                self.over = true;
                return Poll::Ready(self.verdict().unwrap_or_else(|| self.ended(over)));
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
        self.say(|dialect, outbox| dialect.input(bytes, outbox));
    }

    fn resize(&mut self, size: Size) {
        self.say(|dialect, outbox| dialect.resize(size, outbox));
    }

    fn eof(&mut self) -> bool {
        self.say(|dialect, outbox| dialect.eof(outbox))
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

/// What a message of the provider that is not simply output means to the session. `None` when it is nothing.
#[cold]
fn meaning(
    decoded: Result<UpstreamEvent, BadMessage>,
    name: &str,
    ignored: &mut u64,
    is_text: bool,
    length: usize,
) -> Option<Happened> {
    match decoded {
        Ok(UpstreamEvent::Output) => None,
        Ok(UpstreamEvent::Ignored) => {
            *ignored += 1;
            None
        }
        Ok(UpstreamEvent::Exit(exit)) => Some(Happened::Exit(exit)),
        Ok(UpstreamEvent::Failed(words)) => Some(failed(name, words)),
        Err(bad) => {
            let words = format!("{name} sent something that is not its own protocol; the terminal was closed.");
            let kind = if is_text { "text" } else { "binary" };
            let detail = format!("{bad}: a {kind} message of {length} bytes");
            Some(Happened::Failed(Failure::new(Code::ProviderLost, words).detail(detail)))
        }
    }
}

fn failed(name: &str, words: String) -> Happened {
    let message = format!("{name} reported that the terminal failed.");
    Happened::Failed(Failure::new(Code::ProviderLost, message).detail(words))
}
