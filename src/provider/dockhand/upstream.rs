//! An open terminal at Dockhand.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use polytty_dialect::dockhand::{Dockhand, Form};
use polytty_dialect::{BadMessage, Code, Exit, Message, Outbox, Size, UpstreamDialect, UpstreamEvent};
use tokio::time::{Instant, Sleep, sleep, timeout, timeout_at};

use super::super::dial::Stream;
use super::super::{BoxFuture, Failure, Happened, Upstream};
use super::refusal;
use super::resize::Resizer;
use super::screen::AlternateScreen;
use super::target::DockhandTarget;
use crate::socket::{Incoming, MIN_MESSAGE, Options, Role, Socket};

/// Dockhand sends no sign of life, so ours is a ping that any middlebox takes as traffic. It proves that Dockhand is
/// there, and nothing about Docker behind it.
pub(super) const OPTIONS: Options = Options {
    role: Role::Client,
    max_message: 1 << 20,
    ping_every: Duration::from_secs(20),
    pong_within: Duration::from_secs(20),
};

/// How long Dockhand is given to take our leave, the typed ending included.
const FAREWELL: Duration = Duration::from_secs(6);

/// How much output that nobody will see is still read before the ending is typed, in bytes. At the bound, it is not.
const UNSEEN: usize = 1 << 20;

/// How long a program is given to react to Ctrl-C, and the shell to `exit`.
const AFTER_INTERRUPT: Duration = Duration::from_millis(300);
const AFTER_EXIT: Duration = Duration::from_secs(2);

/// How a terminal is treated, by the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manners {
    pub(super) form: Form,
    pub(super) first_output_timeout: Duration,
    pub(super) silence_timeout: Option<Duration>,
    pub(super) typed_ending: bool,
}

pub(super) struct DockhandUpstream {
    socket: Socket<Stream>,
    dialect: Dockhand,
    outbox: Outbox,
    manners: Manners,
    /// Where sizes go over HTTP.
    resizer: Option<Resizer>,
    /// Output that came before the terminal was handed over: what the first message or two held.
    early: Vec<u8>,
    /// The end that came before the terminal was handed over.
    ended: Option<Happened>,
    /// The latest size.
    size: Option<Size>,
    /// Output has come, so the other side listens.
    is_heard: bool,
    /// A size was said while reading, which nobody else brings on its way.
    owes_size: bool,
    /// Followed only where the ending is typed.
    screen: AlternateScreen,
    silence: Option<Silence>,
    over: bool,
    ignored: u64,
}

/// Watches for input that nothing answers.
struct Silence {
    limit: Duration,
    /// When the first input went out that no output has followed.
    since: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl DockhandUpstream {
    /// Takes a verified connection and the bytes that were read behind the 101.
    pub(super) async fn new(stream: Stream, read: Bytes, manners: Manners, resizer: Option<Resizer>) -> Self {
        let silence =
            manners.silence_timeout.map(|limit| Silence { limit, since: None, alarm: Box::pin(sleep(limit)) });
        Self {
            socket: Socket::new(stream, &read, OPTIONS),
            dialect: Dockhand::new(manners.form),
            outbox: Outbox::new(),
            manners,
            resizer,
            early: Vec::new(),
            ended: None,
            size: None,
            is_heard: false,
            owes_size: false,
            screen: AlternateScreen::default(),
            silence,
            over: false,
            ignored: 0,
        }
    }

    /// Waits for the first output: only then Dockhand listens, and whatever is sent before is lost, or worse, spoils
    /// the start. A shell that says nothing is taken to be there after `first_output_timeout`.
    ///
    /// # Errors
    ///
    /// What Dockhand or Docker say instead of output.
    pub(super) async fn prove(&mut self, target: &DockhandTarget) -> Result<(), Failure> {
        let wait = self.manners.first_output_timeout;
        let deadline = Instant::now() + wait;
        while !self.is_heard {
            let Ok(incoming) = timeout_at(deadline, self.next()).await else { return Ok(()) };
            self.take_early(incoming, target)?;
            if self.ended.is_some() {
                return Ok(());
            }
        }
        let Some(words) = refusal::refused_start(&self.early) else { return Ok(()) };
        // Docker's refusal is followed by nothing; a shell that printed the same says more, if only its prompt.
        let deadline = Instant::now() + wait;
        let len = self.early.len();
        while self.early.len() == len && self.ended.is_none() {
            let Ok(incoming) = timeout_at(deadline, self.next()).await else {
                return Err(refusal::start(&words, target));
            };
            self.take_early(incoming, target)?;
        }
        Ok(())
    }

    /// Leaves without a word to the shell, which is not there or never was.
    pub(super) fn hush(mut self) -> Box<Self> {
        self.manners.typed_ending = false;
        Box::new(self)
    }

    async fn next(&mut self) -> Incoming {
        poll_fn(|cx| {
            let _ = self.socket.poll_flushed(cx);
            self.socket.poll_recv(cx)
        })
        .await
    }

    fn take_early(&mut self, incoming: Incoming, target: &DockhandTarget) -> Result<(), Failure> {
        let mut early = std::mem::take(&mut self.early);
        let is_message = matches!(incoming, Incoming::Message(..));
        let is_nonsense = matches!(incoming, Incoming::Broken(..)) || is_message;
        let happened = self.take(incoming, &mut early);
        self.early = early;
        match happened {
            None => Ok(()),
            // With nothing before it, this is no terminal; behind some output, it is the end of one.
            Some(Happened::Failed(failure)) if self.early.is_empty() => Err(match failure.code {
                Code::ProviderLost if is_message && self.over => refusal::in_words(&failure.detail, target),
                // What was said is no word of Dockhand's, or no WebSocket.
                Code::ProviderLost if is_nonsense => {
                    Failure::new(Code::ProviderUnavailable, failure.message).detail(failure.detail)
                }
                Code::ProviderLost => Failure::new(
                    Code::ProviderUnavailable,
                    "Dockhand closed the connection before there was a terminal.",
                )
                .detail(failure.detail),
                _ => failure,
            }),
            ended => {
                self.ended = ended;
                Ok(())
            }
        }
    }

    /// One message of Dockhand, or the connection's end, as what it means to the session.
    fn take(&mut self, incoming: Incoming, output: &mut Vec<u8>) -> Option<Happened> {
        let (kind, payload) = match incoming {
            Incoming::Message(kind, payload) => (kind, payload),
            over => {
                self.over = true;
                return Some(self.closed(over));
            }
        };
        let start = output.len();
        let decoded = self.dialect.decode(Message { kind, payload: &payload }, output);
        self.heard(&output[start..]);
        self.meaning(decoded, payload.len())
    }

    /// What a message of this length means to the session; `None` when it is output, or nothing.
    fn meaning(&mut self, decoded: Result<UpstreamEvent, BadMessage>, length: usize) -> Option<Happened> {
        match decoded {
            Ok(UpstreamEvent::Output) => None,
            Ok(UpstreamEvent::Ignored) => {
                self.ignored += 1;
                None
            }
            Ok(UpstreamEvent::Exit(exit)) => {
                self.over = true;
                Some(Happened::Exit(exit))
            }
            Ok(UpstreamEvent::Failed(words)) => {
                self.over = true;
                Some(lost("Dockhand reported that the terminal failed.", words))
            }
            Err(bad) => {
                let words = "Dockhand sent something that is not its own protocol; the terminal was closed.";
                Some(lost(words, format!("{bad}: a message of {length} bytes")))
            }
        }
    }

    /// What the end of the connection means. An exit has a message of its own, but messages without JSON have none.
    fn closed(&self, how: Incoming) -> Happened {
        const LOST: &str = "The connection to Dockhand was lost.";
        match how {
            Incoming::Closed(None | Some(1000)) if self.manners.form == Form::Raw => Happened::Exit(Exit::default()),
            Incoming::Closed(Some(1008)) => Happened::Failed(Failure::new(
                Code::ProviderRefused,
                "Dockhand closed the terminal: it is not allowed.",
            )),
            Incoming::Closed(Some(code)) => lost(LOST, format!("closed with {code}, without an exit")),
            Incoming::Closed(None) => lost(LOST, "closed without an exit".to_owned()),
            Incoming::Ended => lost(LOST, "ended without a Close".to_owned()),
            Incoming::Broken(_, why) => {
                lost("Dockhand broke the WebSocket protocol; the terminal was closed.", why.to_owned())
            }
            Incoming::Lost(why) => lost(LOST, why),
            Incoming::Message(..) => lost(LOST, "a message is no end".to_owned()),
        }
    }

    fn heard(&mut self, output: &[u8]) {
        if output.is_empty() {
            return;
        }
        if let Some(silence) = &mut self.silence {
            silence.since = None;
        }
        if self.manners.typed_ending {
            self.screen.follow(output);
        }
        if !self.is_heard {
            self.is_heard = true;
            // What was said about the size before now may be lost.
            if let Some(size) = self.size {
                self.say_size(size);
                self.owes_size = true;
            }
        }
    }

    fn say_size(&mut self, size: Size) {
        if let Some(resizer) = &mut self.resizer {
            resizer.resize(size);
        } else {
            self.dialect.resize(size, &mut self.outbox);
            self.send();
        }
    }

    fn send(&mut self) {
        self.socket.send(&mut self.outbox);
        self.outbox = Outbox::new();
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        let Some(silence) = &mut self.silence else { return Poll::Pending };
        let Some(since) = silence.since else { return Poll::Pending };
        loop {
            let due = since + silence.limit;
            if Instant::now() >= due {
                let words = "The container has not answered for too long; the Docker host behind Dockhand may be gone.";
                return Poll::Ready(lost(words, format!("input, and no output for {:?}", silence.limit)));
            }
            if silence.alarm.deadline() != due {
                silence.alarm.as_mut().reset(due);
            }
            ready!(silence.alarm.as_mut().poll(cx));
        }
    }

    /// Ctrl-C, Ctrl-U and `exit` to a shell. Not while a full-screen program has the terminal, to which they would mean
    /// anything, nor where that cannot be told.
    async fn type_ending(&mut self) {
        let mut unseen = 0;
        while !self.over && unseen < UNSEEN {
            // What already lies here may tell of another screen.
            let Ok(incoming) = timeout(Duration::ZERO, self.next()).await else { break };
            unseen += self.take_unseen(incoming);
        }
        if unseen >= UNSEEN {
            // Which screen is on is not known, and what pours out so much is not a shell at its prompt.
            return;
        }
        if !self.is_heard {
            let _ = timeout(self.manners.first_output_timeout, self.read_until(|upstream| upstream.is_heard)).await;
        }
        if self.over || self.screen.is_on() {
            return;
        }
        self.input(b"\x03");
        let _ = timeout(AFTER_INTERRUPT, self.read_until(|_| false)).await;
        if self.over || self.screen.is_on() {
            return;
        }
        self.input(b"\x15exit\r");
        let _ = timeout(AFTER_EXIT, self.read_until(|_| false)).await;
    }

    async fn read_until(&mut self, done: impl Fn(&Self) -> bool) {
        while !self.over && !done(self) {
            let incoming = self.next().await;
            self.take_unseen(incoming);
        }
    }

    fn take_unseen(&mut self, incoming: Incoming) -> usize {
        let weight = if let Incoming::Message(_, payload) = &incoming { payload.len().max(MIN_MESSAGE) } else { 0 };
        // Whatever ends it makes it over, but for a broken message; then there is nothing to say either.
        if self.take(incoming, &mut Vec::new()).is_some() {
            self.over = true;
        }
        weight
    }
}

impl Upstream for DockhandUpstream {
    fn poll_output(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>, budget: usize) -> Poll<Happened> {
        if let Some(resizer) = &mut self.resizer {
            resizer.poll(cx);
        }
        if budget == 0 {
            self.socket.poll_idle(cx);
            return Poll::Pending;
        }
        if !self.early.is_empty() {
            output.append(&mut std::mem::take(&mut self.early));
            return Poll::Ready(Happened::Output);
        }
        if let Some(ended) = self.ended.take() {
            return Poll::Ready(ended);
        }
        // What was taken counts, not what it meant: messages without output are no way around the budget.
        let (mut taken, mut is_busy) = (0, false);
        while taken < budget {
            let Self { socket, dialect, .. } = self;
            let (start, mut last) = (output.len(), None);
            let came = socket.poll_each(cx, |kind, payload| {
                taken += payload.len().max(MIN_MESSAGE);
                match dialect.decode(Message { kind, payload }, output) {
                    Ok(UpstreamEvent::Output) if taken < budget => ControlFlow::Continue(()),
                    decoded => {
                        last = Some((decoded, payload.len()));
                        ControlFlow::Break(())
                    }
                }
            });
            let Poll::Ready(over) = came else { break };
            is_busy = true;
            self.heard(&output[start..]);
            let happened = match (last, over) {
                (Some((decoded, length)), _) => self.meaning(decoded, length),
                (None, Some(over)) => self.take(over, output),
                (None, None) => None,
            };
            if let Some(happened) = happened {
                return Poll::Ready(happened);
            }
        }
        if std::mem::take(&mut self.owes_size) {
            match &mut self.resizer {
                Some(resizer) => resizer.poll(cx),
                None => drop(self.socket.poll_flushed(cx)),
            }
        }
        if is_busy {
            return Poll::Ready(Happened::Output);
        }
        self.poll_silence(cx)
    }

    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_flushed(cx)
    }

    fn input(&mut self, bytes: &[u8]) {
        if let Some(silence) = &mut self.silence {
            silence.since.get_or_insert_with(Instant::now);
        }
        self.dialect.input(bytes, &mut self.outbox);
        self.send();
    }

    fn resize(&mut self, size: Size) {
        self.size = Some(size);
        self.say_size(size);
    }

    /// Dockhand has no word for it, and a Ctrl-D that is typed ends more than the input where it does not stand at
    /// the beginning of a line.
    fn eof(&mut self) -> bool {
        false
    }

    fn ignored(&self) -> u64 {
        self.ignored + self.dialect.ignored_fields()
    }

    fn end(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let _ = timeout(FAREWELL, async move {
                if self.manners.typed_ending && !self.over {
                    self.type_ending().await;
                }
                self.socket.leave(1000, "the session ended").await;
            })
            .await;
        })
    }
}

fn lost(words: &str, detail: String) -> Happened {
    Happened::Failed(Failure::new(Code::ProviderLost, words).detail(detail))
}
