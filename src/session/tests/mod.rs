//! Whole sessions around a provider that does what its test says, in virtual time.

mod coming_back;
mod paced;
mod recorded;
mod size;
mod watching;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt as _;
use polytty_dialect::{Exit, Kind, Outbox, Role, Size, client_dialect};
use serde_json::Value;
use tokio::io::{DuplexStream, duplex};
use tokio::time::Instant;

use super::{
    Arrival, Attachment, COMMANDS, ClientIo, Lifetimes, ScreenPolicy, Scrollbacks, Session, Sessions, Settings, Spec,
    State,
};
use crate::limit::{InputPace, PaceSettings, Quotas};
use crate::observe::Metrics;
use crate::provider::{BoxFuture, Entry, Failure, Happened, Kind as ProviderKind, Provider, Target, Upstream};
use crate::recording::Recorder;
use crate::socket::{self, Incoming, Socket};
use crate::ticket::{MemoryStore, ResumeLinks, Tickets};

/// What the upstream does at each look at it: these bytes, and perhaps something else.
type Script = VecDeque<(Vec<u8>, Option<Happened>)>;

/// What a test has of its one terminal: it says what comes, and sees what was typed.
#[derive(Clone, Default)]
struct Terminal(Arc<Mutex<TerminalState>>);

#[derive(Default)]
struct TerminalState {
    script: Script,
    typed: Vec<u8>,
    sizes: Vec<Size>,
    taken: usize,
    session: Option<Waker>,
}

impl Terminal {
    fn says(&self, output: &[u8]) {
        self.does(output, None);
    }

    fn does(&self, output: &[u8], happened: Option<Happened>) {
        let mut state = self.0.lock().unwrap();
        state.script.push_back((output.to_vec(), happened));
        state.session.take().into_iter().for_each(Waker::wake);
    }

    fn typed(&self) -> Vec<u8> {
        self.0.lock().unwrap().typed.clone()
    }

    /// The rows of each size that it was given.
    fn rows(&self) -> Vec<u16> {
        self.0.lock().unwrap().sizes.iter().map(|size| size.rows()).collect()
    }

    /// Output bytes that the session has taken.
    fn taken(&self) -> usize {
        self.0.lock().unwrap().taken
    }
}

impl Provider for Terminal {
    fn target(&self, _: &Value) -> Result<Target, String> {
        Ok(Target::new(()))
    }

    fn open<'a>(&'a self, _: &'a Target, _: Size) -> BoxFuture<'a, Result<Box<dyn Upstream>, Failure>> {
        Box::pin(std::future::ready(Ok(Box::new(self.clone()) as Box<dyn Upstream>)))
    }
}

impl Upstream for Terminal {
    fn poll_output(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>, budget: usize) -> Poll<Happened> {
        let mut state = self.0.lock().unwrap();
        // That it cannot wait is said to whoever has no room, too.
        let next = match state.script.front() {
            Some((_, Some(Happened::CannotWait))) => state.script.pop_front(),
            Some(_) if budget > 0 => state.script.pop_front(),
            _ => None,
        };
        match next {
            None => {
                state.session = Some(cx.waker().clone());
                Poll::Pending
            }
            Some((bytes, happened)) => {
                output.extend_from_slice(&bytes);
                state.taken += bytes.len();
                Poll::Ready(happened.unwrap_or(Happened::Output))
            }
        }
    }

    fn poll_flushed(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn input(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= 64 * 1024, "an upstream is given a turn of input at the most");
        self.0.lock().unwrap().typed.extend_from_slice(bytes);
    }

    fn resize(&mut self, size: Size) {
        self.0.lock().unwrap().sizes.push(size);
    }

    fn eof(&mut self) -> bool {
        false
    }

    fn end(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What lies between a client and the session, in bytes.
const PIPE: usize = 4 << 20;

struct World {
    sessions: Arc<Sessions>,
    session: Arc<Session>,
    terminal: Terminal,
    tickets: Tickets,
    client: Client,
    metrics: Arc<Metrics>,
}

/// An attached client.
struct Client(Socket<DuplexStream>);

/// How a session is kept; a test changes what it is about.
fn lifetimes() -> Lifetimes {
    Lifetimes { detach_grace: Duration::from_secs(60), idle: None, max: None, read_detached: true }
}

fn exit(code: i32) -> Option<Happened> {
    Some(Happened::Exit(Exit { code: Some(code), ..Exit::default() }))
}

fn options(role: socket::Role) -> socket::Options {
    let (ping_every, pong_within) = (Duration::from_secs(25), Duration::from_secs(20));
    socket::Options { role, max_message: 1 << 20, ping_every, pong_within }
}

impl World {
    async fn start(output: &[u8], happened: Option<Happened>) -> Self {
        Self::with(lifetimes(), output, happened).await
    }

    async fn with(lifetimes: Lifetimes, output: &[u8], happened: Option<Happened>) -> Self {
        Self::with_screen(ScreenPolicy::Viewers, lifetimes, output, happened).await
    }

    async fn with_screen(
        screen: ScreenPolicy,
        lifetimes: Lifetimes,
        output: &[u8],
        happened: Option<Happened>,
    ) -> Self {
        Self::build(screen, lifetimes, None, output, happened).await
    }

    /// A session that may only be so fast, and its client.
    async fn paced(pace: PaceSettings, output: &[u8], happened: Option<Happened>) -> Self {
        Self::build_paced(ScreenPolicy::Viewers, lifetimes(), None, pace, output, happened).await
    }

    async fn build(
        screen: ScreenPolicy,
        lifetimes: Lifetimes,
        recorder: Option<Arc<Recorder>>,
        output: &[u8],
        happened: Option<Happened>,
    ) -> Self {
        Self::build_paced(screen, lifetimes, recorder, PaceSettings::default(), output, happened).await
    }

    async fn build_paced(
        screen: ScreenPolicy,
        lifetimes: Lifetimes,
        recorder: Option<Arc<Recorder>>,
        pace: PaceSettings,
        output: &[u8],
        happened: Option<Happened>,
    ) -> Self {
        let record = recorder.is_some();
        let terminal = Terminal::default();
        terminal.does(output, happened);
        let kind = ProviderKind { name: "scripted", title: "Scripted" };
        let provider = Box::new(terminal.clone());
        let entry = Entry::new("scripted".to_owned(), kind, 10, Duration::from_secs(15), provider);
        let resume = ResumeLinks::new("wss://term.example/t/".to_owned(), Duration::from_secs(3600));
        let scrollbacks = Scrollbacks::new(1 << 30);
        let settings = Settings {
            lifetimes,
            scrollback: 256 << 10,
            scrollbacks,
            resume: resume.clone(),
            screen,
            max_viewers: 3,
            pace,
            recorder,
            replica: None,
        };
        let metrics = Arc::new(Metrics::default());
        let quotas = Quotas::new(10, 10, None, metrics.clone());
        let sessions = Sessions::new(quotas, settings, metrics.clone());
        let spec = Spec {
            provider: Arc::new(entry),
            target: Target::new(()),
            size: Size::DEFAULT,
            subject: None,
            shared: true,
            labels: Vec::new(),
            dialect: None,
            record,
            held: None,
        };
        let session = sessions.create(spec, Duration::from_secs(30)).await.unwrap();
        let tickets = Tickets::new(MemoryStore::new(10), Duration::from_secs(30), resume);
        let input = InputPace::new(pace, metrics.clone());
        let client = Client::attach_paced(&session, input).await;
        Self { sessions, session, terminal, tickets, client, metrics }
    }
}

impl Client {
    async fn attach(session: &Session, arrival: Arrival) -> Self {
        Self::come(session, Role::Writer, arrival).await
    }

    async fn come(session: &Session, role: Role, arrival: Arrival) -> Self {
        Self::come_over(PIPE, session, role, arrival).await
    }

    async fn come_over(pipe: usize, session: &Session, role: Role, arrival: Arrival) -> Self {
        Self::speaking("polytty.v1", pipe, session, role, arrival).await
    }

    async fn attach_paced(session: &Session, pace: Option<Box<InputPace>>) -> Self {
        let (ours, theirs) = duplex(PIPE);
        let stream: ClientIo = Box::new(ours);
        let socket = Socket::new(stream, b"", options(socket::Role::Server));
        let dialect = client_dialect("polytty.v1").unwrap();
        let attachment = Attachment::new(socket, dialect, Role::Writer, Arrival::default()).paced(pace);
        assert!(session.attach(attachment).await.is_ok());
        Self(Socket::new(theirs, b"", options(socket::Role::Client)))
    }

    async fn speaking(dialect: &str, pipe: usize, session: &Session, role: Role, arrival: Arrival) -> Self {
        let (ours, theirs) = duplex(pipe);
        let stream: ClientIo = Box::new(ours);
        let socket = Socket::new(stream, b"", options(socket::Role::Server));
        let attachment = Attachment::new(socket, client_dialect(dialect).unwrap(), role, arrival);
        assert!(session.attach(attachment).await.is_ok());
        Self(Socket::new(theirs, b"", options(socket::Role::Client)))
    }

    async fn say(&mut self, kind: Kind, payload: &[u8]) {
        let mut outbox = Outbox::new();
        outbox.message(kind, |buffer| buffer.extend_from_slice(payload));
        self.0.send(&mut outbox);
        poll_fn(|cx| self.0.poll_flushed(cx)).await;
    }

    /// The next message: output, or something said. Pings are answered on the way.
    async fn next(&mut self) -> Incoming {
        let incoming = poll_fn(|cx| self.0.poll_recv(cx)).await;
        poll_fn(|cx| self.0.poll_flushed(cx)).await;
        incoming
    }

    /// Reads to the Close: output bytes, the words of every text message, the code.
    async fn drain(&mut self) -> (Vec<u8>, Vec<String>, Option<u16>) {
        let (mut output, mut said) = (Vec::new(), Vec::new());
        loop {
            match self.next().await {
                Incoming::Message(Kind::Binary, bytes) => output.extend_from_slice(&bytes),
                Incoming::Message(Kind::Text, text) => {
                    let text: Value = serde_json::from_slice(&text).unwrap();
                    said.push(text["operation"].as_str().unwrap().to_owned());
                }
                Incoming::Closed(code) => return (output, said, code),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn noise(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8).collect()
}

#[tokio::test(start_paused = true)]
async fn an_exit_waits_thirty_seconds_for_acknowledgements_and_then_everything_goes_out() {
    let output = noise(300_000);
    let mut world = World::start(&output, exit(3)).await;
    world.client.say(Kind::Text, br#"{"operation":"ack","bytes":0}"#).await;
    let started = Instant::now();
    let (got, said, close) = world.client.drain().await;
    assert!(got == output, "{} of {} bytes", got.len(), output.len());
    assert_eq!((said.last().unwrap().as_str(), close), ("exit", Some(1000)));
    let waited = started.elapsed().as_secs();
    assert!((30..32).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn output_that_was_read_goes_out_also_when_the_session_is_ended_from_elsewhere() {
    let output = noise(1_000_000);
    let mut world = World::start(&output, None).await;
    world.client.say(Kind::Text, br#"{"operation":"ack","bytes":0}"#).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.session.end().await);
    let (got, said, close) = world.client.drain().await;
    assert!(got == output, "{} of {} bytes", got.len(), output.len());
    assert_eq!((said.last().unwrap().as_str(), close), ("exit", Some(1000)));
    assert_eq!(world.session.info().bytes_out, 1_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_words_that_mean_nothing_stops_neither_output_nor_the_clock() {
    let mut world =
        World::with(Lifetimes { max: Some(Duration::from_secs(5)), ..lifetimes() }, &noise(1000), None).await;
    let flood: Vec<u8> = br#"{"operation":"dance"}"#.to_vec();
    let started = Instant::now();
    let flooding = async {
        loop {
            world.client.say(Kind::Text, &flood).await;
            if world.session.info().state == State::Ended {
                break;
            }
            tokio::time::sleep(Duration::from_micros(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), flooding).await.expect("its longest life is over");
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    let (got, said, close) = world.client.drain().await;
    assert_eq!((got.len(), said.last().unwrap().as_str(), close), (1000, "error", Some(4408)));
}

#[tokio::test(start_paused = true)]
async fn what_was_typed_in_the_last_moment_is_delivered_and_one_giant_message_in_turns() {
    let typed = noise((1 << 20) - 1000);
    let mut world = World::start(b"", None).await;
    world.client.say(Kind::Binary, &typed).await;
    let World { sessions, session, terminal, client, .. } = world;
    drop(client);
    let delivered = async {
        while terminal.typed().len() < typed.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), delivered).await;
    assert!(waited.is_ok(), "{} bytes, {:?}", terminal.typed().len(), session.info());
    assert!(terminal.typed() == typed);
    assert_eq!(session.info().state, State::Detached);
    let started = Instant::now();
    while sessions.get(session.id()).is_some() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let grace = started.elapsed().as_secs();
    assert!((59..=61).contains(&grace), "{grace} s");
    assert!(sessions.info(session.id()).is_some(), "it is remembered");
}

#[tokio::test(start_paused = true)]
async fn who_tells_a_session_more_than_may_wait_waits_until_it_has_listened() {
    let mut world = World::start(b"hello", None).await;
    world.client.see(5).await;
    // Its task has no turn on this thread meanwhile.
    let told = (0..100).take_while(|_| world.session.expect_client(Instant::now()).now_or_never().is_some()).count();
    assert_eq!(told, COMMANDS);
    assert!(world.session.expect_client(Instant::now()).await, "it has listened now");
}
