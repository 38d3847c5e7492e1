//! A simulated Decthings: the methods of its api `Terminal` over HTTP and over the WebSocket `/v0/ws`, the events of the
//! latter, and for each terminal session a shell on a PTY.
//!
//! All sessions of a client share its connection, and so its back-pressure: a client that does not read stops the output
//! of all terminals that it is subscribed to, and nothing else. Output of a terminal that nobody is subscribed to is lost,
//! as it is in earnest: there is no replay. A session outlives its connections until its shell ends, somebody terminates
//! it or its launcher, or no input comes for the time that its launch has set.
//!
//! Where the reference is silent: a terminal has 80 columns and 24 rows; a session's first output follows the reply to
//! its launch; a message that is no call closes the connection with 1002, and a call of an unknown method is answered
//! with the error `unknown`; over HTTP nobody can subscribe. [`Options`] and [`FAULTS`] have the other readings.

mod calls;
mod encoding;
mod error;
mod events;
mod exit;
mod faults;
mod http_api;
mod outbox;
mod params;
mod socket;
mod terminal;
mod terminals;
mod world;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use anyhow::{Result, ensure};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde_json::{Value, json};
use tokio_util::sync::DropGuard;

use crate::{
    Clock, FaultSwitch, Mode,
    mode::mode,
    pty, random,
    web::{Place, Site},
};
use socket::Connections;
use terminals::Terminals;
use world::World;

pub use exit::ExitReason;
pub use faults::FAULTS;
pub use world::Launcher;

/// Bytes of a call, over either transport. The reference names no limit.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Which methods the WebSocket takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SocketCalls {
    /// All of them, as the protocol has it. The official clients do not rely on it.
    #[default]
    All,
    /// Those that official clients call over it: launch, subscribe, unsubscribe. The others fail with `unknown`.
    Subscriptions,
}

/// What comes of a WebSocket message that is no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    /// A Close with this code.
    Close(u16),
    /// Nothing.
    Ignore,
}

/// How to run the simulator. The default is what an official client should meet.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; default a free port of 127.0.0.1. Anything but loopback needs [`allow_remote`](Self::allow_remote).
    pub listen: SocketAddr,
    /// Whether to listen beyond loopback. Whoever then gets hold of the api key has a shell on this machine. Default no.
    pub allow_remote: bool,
    /// `host:port` under which clients reach the simulator, and the only one that it answers to; default the address
    /// that a connection has arrived at.
    pub authority: Option<String>,
    /// The program behind a terminal and its arguments; default an interactive `bash`, else `sh`,
    /// without start-up files.
    pub shell: Vec<String>,
    /// The time of day, by which sessions without input end. Default the system's.
    pub clock: Clock,
    /// The api key; default a new random one.
    pub api_key: Option<String>,
    /// Shells at a time; further launches fail with `quota_exceeded`. Default 4,096.
    pub max_sessions: usize,
    /// Columns and rows of a terminal whose launch names none. Default 80 and 24.
    pub default_size: (u16, u16),
    /// Which methods the WebSocket takes. Default all.
    pub socket_calls: SocketCalls,
    /// What comes of a WebSocket message that is no call. Default a Close with 1002.
    pub bad_frame: BadFrame,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allow_remote: false,
            authority: None,
            shell: pty::default_shell(),
            clock: Clock::system(),
            api_key: None,
            max_sessions: 4_096,
            default_size: (80, 24),
            socket_calls: SocketCalls::default(),
            bad_frame: BadFrame::Close(1002),
        }
    }
}

/// What the reference leaves open, as other servers may have decided it.
pub const MODES: &[Mode<Options>] = &[
    mode(
        "subscriptions-only",
        "The WebSocket takes the calls of the official clients only, and so no input.",
        |options| {
            options.socket_calls = SocketCalls::Subscriptions;
        },
    ),
    mode("nonsense-ignored", "A WebSocket message that is no call is ignored.", |options| {
        options.bad_frame = BadFrame::Ignore;
    }),
];

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("listen", &self.listen).field("shell", &self.shell).finish_non_exhaustive()
    }
}

/// What has happened so far, and what is so now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// WebSockets open now.
    pub connections: usize,
    /// Subscriptions now, of all connections together.
    pub subscriptions: usize,
    /// Sessions that can be called now. [`Decthings::sessions`] has those besides whose shell is still being hung up.
    pub alive: usize,
    /// Sessions launched.
    pub launched: u64,
    /// Sessions that have ended, for whatever reason.
    pub terminated: u64,
    /// WebSockets opened.
    pub upgrades_taken: u64,
    /// Upgrades refused, by a fault or rightly.
    pub upgrades_refused: u64,
    /// Calls over HTTP that reached their method.
    pub http_calls: u64,
    /// Calls over WebSockets.
    pub socket_calls: u64,
    /// Calls that failed at once, by a fault or rightly.
    pub calls_refused: u64,
    /// Messages that were no calls.
    pub malformed: u64,
    /// Bytes of terminal output handed to WebSockets.
    pub output_bytes: u64,
    /// Bytes of terminal output that nobody was subscribed to.
    pub lost_bytes: u64,
    /// Bytes of input given to terminals.
    pub input_bytes: u64,
    /// Sizes applied to terminals, those of launches not counted.
    pub resizes: u64,
    /// Requests for the place that a redirect of [`Fault::ApiRedirect`](crate::Fault::ApiRedirect) names.
    pub redirects_followed: u64,
}

/// Starts a simulated Decthings in the background of the current tokio runtime.
///
/// # Errors
/// The address cannot be bound or is not loopback without leave, or there is no randomness for the api key.
pub async fn start(options: Options) -> Result<Decthings> {
    let Options { listen, allow_remote, authority, shell, clock, api_key, max_sessions, .. } = options;
    ensure!(!shell.is_empty(), "the shell needs a program to start");
    let api_key = api_key.map_or_else(random::token, Ok)?;
    let (site, listener) = Site::bind(Place { listen, allow_remote, authority, max_sessions })?;
    let server = Arc::new(Server {
        site: Arc::clone(&site),
        world: World::random()?,
        terminals: Terminals::default(),
        connections: Connections::default(),
        tally: Tally::default(),
        clock,
        shell,
        api_key,
        default_size: options.default_size,
        socket_calls: options.socket_calls,
        bad_frame: options.bad_frame,
    });
    site.serve(listener, Arc::clone(&server));
    site.tracker.spawn(terminals::end_inactive(Arc::clone(&server)));
    let stop = site.cancel.clone().drop_guard();
    Ok(Decthings { server, _stop: stop })
}

/// A running simulator. Dropped, it stops; [`shutdown`](Self::shutdown) also waits for its shells to be gone.
#[derive(Debug)]
pub struct Decthings {
    server: Arc<Server>,
    _stop: DropGuard,
}

impl Decthings {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server.site.addr()
    }

    /// The `host:port` to reach it by.
    #[must_use]
    pub fn authority(&self) -> String {
        self.server.site.authority()
    }

    /// What a program that starts a simulator needs to know: `kind`, `url`, the `provider` entry of a configuration that
    /// reaches it, and a `target` whose terminal can be opened. It holds the api key.
    #[must_use]
    pub fn ready_line(&self) -> Value {
        let authority = self.authority();
        let http_url = format!("http://{authority}/v0");
        let launcher = &self.launchers()[0].id;
        json!({
            "kind": "decthings",
            "url": http_url,
            "provider": {
                "kind": "decthings",
                "http_url": http_url,
                "ws_url": format!("ws://{authority}/v0/ws"),
                "api_key": self.api_key(),
                "allow_private": true,
            },
            "target": {
                "model_id": self.models()[0],
                "execution_location": {"type": "persistentLauncher", "persistentLauncherId": launcher},
            },
        })
    }

    /// The api key.
    #[must_use]
    pub fn api_key(&self) -> &str {
        &self.server.api_key
    }

    /// The ids of the models that exist.
    #[must_use]
    pub fn models(&self) -> &[String] {
        &self.server.world.models
    }

    /// The persistent launchers that exist.
    #[must_use]
    pub fn launchers(&self) -> &[Launcher] {
        &self.server.world.launchers
    }

    /// Turns faults on and off.
    #[must_use]
    pub fn faults(&self) -> &FaultSwitch {
        &self.server.site.faults
    }

    /// Shells that live now, those being hung up included.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.server.site.sessions()
    }

    /// Connections that are open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.server.site.connections()
    }

    /// The ids of the sessions that can be called, the oldest first.
    #[must_use]
    pub fn terminals(&self) -> Vec<String> {
        self.server.terminals.all().iter().map(|terminal| terminal.id.clone()).collect()
    }

    /// The further models whose files a session may reach; `None` if there is no such session.
    #[must_use]
    pub fn filesystem_access(&self, terminal: &str) -> Option<Vec<String>> {
        self.server.terminals.get(terminal).map(|terminal| terminal.access())
    }

    /// Ends a session for this reason; false if there is none, or it is ending already.
    pub fn end(&self, terminal: &str, reason: ExitReason) -> bool {
        self.server.terminals.get(terminal).is_some_and(|terminal| terminal.end(reason))
    }

    /// Ends all sessions on a persistent launcher, as if it had ended. Returns how many.
    pub fn end_launcher(&self, launcher: &str) -> usize {
        let on_it = |terminal: &terminal::Terminal| terminal.launcher.as_deref() == Some(launcher);
        self.server.terminals.end(&ExitReason::LauncherTerminated, on_it)
    }

    /// Drops every WebSocket that is open, without a Close. The sessions go on.
    pub fn drop_connections(&self) {
        self.server.connections.drop_all();
    }

    /// What has happened so far, and what is so now.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let Server { tally, terminals, .. } = &*self.server;
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Counters {
            connections: tally.connections.load(Ordering::SeqCst),
            subscriptions: terminals.subscriptions(),
            alive: terminals.len(),
            launched: read(&tally.launched),
            terminated: read(&tally.terminated),
            upgrades_taken: read(&tally.upgrades_taken),
            upgrades_refused: read(&tally.upgrades_refused),
            http_calls: read(&tally.http_calls),
            socket_calls: read(&tally.socket_calls),
            calls_refused: read(&tally.calls_refused),
            malformed: read(&tally.malformed),
            output_bytes: read(&tally.output_bytes),
            lost_bytes: read(&tally.lost_bytes),
            input_bytes: read(&tally.input_bytes),
            resizes: read(&tally.resizes),
            redirects_followed: read(&tally.redirects_followed),
        }
    }

    /// Stops listening, drops every connection, and waits until every shell is gone: up to about two seconds.
    pub async fn shutdown(self) {
        self.server.site.shutdown().await;
    }
}

/// What all connections share.
struct Server {
    site: Arc<Site>,
    world: World,
    terminals: Terminals,
    connections: Connections,
    tally: Tally,
    clock: Clock,
    shell: Vec<String>,
    api_key: String,
    default_size: (u16, u16),
    socket_calls: SocketCalls,
    bad_frame: BadFrame,
}

impl Server {
    fn is_key(&self, key: &str) -> bool {
        verify_slices_are_equal(key.as_bytes(), self.api_key.as_bytes()).is_ok()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("site", &self.site).finish_non_exhaustive()
    }
}

/// [`Counters`] in the making.
#[derive(Debug, Default)]
struct Tally {
    connections: AtomicUsize,
    launched: AtomicU64,
    terminated: AtomicU64,
    upgrades_taken: AtomicU64,
    upgrades_refused: AtomicU64,
    http_calls: AtomicU64,
    socket_calls: AtomicU64,
    calls_refused: AtomicU64,
    malformed: AtomicU64,
    output_bytes: AtomicU64,
    lost_bytes: AtomicU64,
    input_bytes: AtomicU64,
    resizes: AtomicU64,
    redirects_followed: AtomicU64,
}
