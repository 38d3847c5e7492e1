//! Whole sessions around a provider that does what its test says, in virtual time.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use polytty_dialect::{Exit, Kind, Outbox, Role, Size, client_dialect};
use serde_json::Value;
use tokio::io::{DuplexStream, duplex};
use tokio::time::Instant;

use super::{Attachment, ClientIo, Lifetimes, Session, Sessions, Spec, State};
use crate::observe::Metrics;
use crate::provider::{BoxFuture, Entry, Failure, Happened, Kind as ProviderKind, Provider, Target, Upstream};
use crate::socket::{self, Incoming, Socket};

/// What the upstream does at each look at it: these bytes, and perhaps its end.
type Script = VecDeque<(Vec<u8>, Option<Exit>)>;

/// A provider whose one terminal follows a script and writes down its input.
struct Scripted {
    script: Mutex<Script>,
    heard: Arc<Mutex<Vec<u8>>>,
}

struct ScriptedUpstream {
    script: Script,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Provider for Scripted {
    fn target(&self, _: &Value) -> Result<Target, String> {
        Ok(Target::new(()))
    }

    fn open<'a>(&'a self, _: &'a Target, _: Size) -> BoxFuture<'a, Result<Box<dyn Upstream>, Failure>> {
        let script = std::mem::take(&mut *self.script.lock().unwrap());
        let upstream = ScriptedUpstream { script, heard: self.heard.clone() };
        Box::pin(std::future::ready(Ok(Box::new(upstream) as Box<dyn Upstream>)))
    }
}

impl Upstream for ScriptedUpstream {
    fn poll_output(&mut self, _: &mut Context<'_>, output: &mut Vec<u8>, budget: usize) -> Poll<Happened> {
        if budget == 0 {
            return Poll::Pending;
        }
        match self.script.pop_front() {
            None => Poll::Pending,
            Some((bytes, exit)) => {
                output.extend_from_slice(&bytes);
                Poll::Ready(exit.map_or(Happened::Output, Happened::Exit))
            }
        }
    }

    fn poll_flushed(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn input(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= 64 * 1024, "an upstream is given a turn of input at the most");
        self.heard.lock().unwrap().extend_from_slice(bytes);
    }

    fn resize(&mut self, _: Size) {}

    fn eof(&mut self) -> bool {
        false
    }

    fn end(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

struct World {
    sessions: Arc<Sessions>,
    session: Arc<Session>,
    heard: Arc<Mutex<Vec<u8>>>,
    client: Socket<DuplexStream>,
}

fn options(role: socket::Role) -> socket::Options {
    let (ping_every, pong_within) = (Duration::from_secs(25), Duration::from_secs(20));
    socket::Options { role, max_message: 1 << 20, ping_every, pong_within }
}

impl World {
    async fn start(script: impl Into<Script>, max: Option<Duration>) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let provider = Box::new(Scripted { script: Mutex::new(script.into()), heard: heard.clone() });
        let kind = ProviderKind { name: "scripted", title: "Scripted" };
        let entry = Entry::new("scripted".to_owned(), kind, 10, Duration::from_secs(15), provider);
        let lifetimes = Lifetimes { detach_grace: Duration::from_secs(60), idle: None, max };
        let sessions = Sessions::new(10, lifetimes, Arc::new(Metrics::default()));
        let spec = Spec {
            provider: Arc::new(entry),
            target: Target::new(()),
            size: Size::DEFAULT,
            subject: None,
            labels: Vec::new(),
            dialect: None,
        };
        let session = sessions.create(spec, Duration::from_secs(30)).unwrap();
        let (ours, theirs) = duplex(4 << 20);
        let stream: ClientIo = Box::new(ours);
        let socket = Socket::new(stream, Bytes::new(), options(socket::Role::Server)).await;
        let attachment = Attachment::new(socket, client_dialect("polytty.v1").unwrap(), Role::Writer);
        assert!(session.attach(attachment).await.is_ok());
        let client = Socket::new(theirs, Bytes::new(), options(socket::Role::Client)).await;
        Self { sessions, session, heard, client }
    }

    async fn say(&mut self, kind: Kind, payload: &[u8]) {
        let mut outbox = Outbox::new();
        outbox.message(kind, |buffer| buffer.extend_from_slice(payload));
        self.client.send(&outbox);
        poll_fn(|cx| self.client.poll_flushed(cx)).await;
    }

    /// Reads to the Close: output bytes, the words of every text message, the code.
    async fn drain(&mut self) -> (Vec<u8>, Vec<String>, Option<u16>) {
        let (mut output, mut said) = (Vec::new(), Vec::new());
        loop {
            match poll_fn(|cx| self.client.poll_recv(cx)).await {
                Incoming::Message(Kind::Binary, bytes) => output.extend_from_slice(&bytes),
                Incoming::Message(Kind::Text, text) => {
                    let text: Value = serde_json::from_slice(&text).unwrap();
                    said.push(text["operation"].as_str().unwrap().to_owned());
                }
                Incoming::Closed(code) => {
                    poll_fn(|cx| self.client.poll_flushed(cx)).await;
                    return (output, said, code);
                }
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
    let mut world = World::start([(output.clone(), Some(Exit { code: Some(3), ..Exit::default() }))], None).await;
    world.say(Kind::Text, br#"{"operation":"ack","bytes":0}"#).await;
    let started = Instant::now();
    let (got, said, close) = world.drain().await;
    assert!(got == output, "{} of {} bytes", got.len(), output.len());
    assert_eq!((said.last().unwrap().as_str(), close), ("exit", Some(1000)));
    let waited = started.elapsed().as_secs();
    assert!((30..32).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn output_that_was_read_goes_out_also_when_the_session_is_ended_from_elsewhere() {
    let output = noise(1_000_000);
    let mut world = World::start([(output.clone(), None)], None).await;
    world.say(Kind::Text, br#"{"operation":"ack","bytes":0}"#).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.session.end().await);
    let (got, said, close) = world.drain().await;
    assert!(got == output, "{} of {} bytes", got.len(), output.len());
    assert_eq!((said.last().unwrap().as_str(), close), ("exit", Some(1000)));
    assert_eq!(world.session.info().bytes_out, 1_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_words_that_mean_nothing_stops_neither_output_nor_the_clock() {
    let mut world = World::start([(noise(1000), None)], Some(Duration::from_secs(5))).await;
    let flood: Vec<u8> = br#"{"operation":"dance"}"#.to_vec();
    let started = Instant::now();
    let flooding = async {
        loop {
            world.say(Kind::Text, &flood).await;
            if world.session.info().state == State::Ended {
                break;
            }
            tokio::time::sleep(Duration::from_micros(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), flooding).await.expect("its longest life is over");
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    let (got, said, close) = world.drain().await;
    assert_eq!((got.len(), said.last().unwrap().as_str(), close), (1000, "error", Some(4408)));
}

#[tokio::test(start_paused = true)]
async fn what_was_typed_in_the_last_moment_is_delivered_and_one_giant_message_in_turns() {
    let typed = noise((1 << 20) - 1000);
    let mut world = World::start([], None).await;
    world.say(Kind::Binary, &typed).await;
    let World { sessions, session, heard, client } = world;
    drop(client);
    let delivered = async {
        while heard.lock().unwrap().len() < typed.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), delivered).await;
    assert!(waited.is_ok(), "{} bytes, {:?}", heard.lock().unwrap().len(), session.info());
    assert!(*heard.lock().unwrap() == typed);
    assert_eq!(session.info().state, State::Detached);
    let started = Instant::now();
    while sessions.get(session.id()).is_some() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let grace = started.elapsed().as_secs();
    assert!((59..=61).contains(&grace), "{grace} s");
    assert!(sessions.info(session.id()).is_some(), "it is remembered");
}
