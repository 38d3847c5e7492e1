//! A simulated PAI-DLC, API version 2020-12-03: GetWebTerminal, GetJob and ListJobs over plain HTTP, signed with
//! ACS3-HMAC-SHA256 or the older ROA HMAC-SHA1, and the WebSocket that a terminal link leads to, with a shell on a PTY
//! behind it.
//!
//! The wire of the WebSocket is documented only by a sample of its client. Where that sample is silent, the simulator
//! follows the server that it seems to be made for: messages carry all four members, stderr is merged into stdout,
//! inbound messages end at 8,192 bytes, an unknown operation or malformed JSON ends the session by an injected 0x04, a
//! ping goes out every 54 s and its pong is due 60 s after the last, and at the end the TCP connection is closed with no
//! Close frame. Choices of its own: a binary message counts as malformed, and a resize to zero is ignored.

mod api;
mod faults;
mod output;
mod session;
mod upgrade;
mod wire;
mod world;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::Duration,
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio_util::sync::DropGuard;

use crate::{
    Clock, FaultSwitch, Mode,
    alibaba::{self, ApiError, Call, Gateway, Links, Style},
    mode::mode,
    pty, random,
    web::{self, Answer, Refusal, Service, Site},
};
use world::World;

pub use crate::alibaba::Credential;
pub use faults::FAULTS;
pub use output::EARLY_OUTPUT;
pub use world::{Job, Pod};

const REGION: &str = "cn-hangzhou";
const API_VERSION: &str = "2020-12-03";

/// How a session ends that its shell has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// A TCP FIN behind the last byte, and no Close frame.
    #[default]
    NoCloseFrame,
    /// A Close frame with code 1000, then the closing handshake.
    Close1000,
}

/// How to run the simulator. The default is what an official client should meet.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; default a free port of 127.0.0.1. Anything but loopback needs [`allow_remote`](Self::allow_remote).
    pub listen: SocketAddr,
    /// Whether to listen beyond loopback. Whoever then gets hold of the credentials has a shell on this machine. Default no.
    pub allow_remote: bool,
    /// `host:port` under which clients reach the simulator, and the only one that it answers to; default the address
    /// that a connection has arrived at.
    pub authority: Option<String>,
    /// The program behind a terminal and its arguments; default an interactive `bash`, else `sh`,
    /// without start-up files.
    pub shell: Vec<String>,
    /// The time of day, for signatures and links. Default the system's.
    pub clock: Clock,
    /// The permanent access key; default a new random one.
    pub credential: Option<Credential>,
    /// The temporary access key, with its token; default a new random one.
    pub sts_credential: Option<Credential>,
    /// How a session ends that its shell has ended.
    pub ending: Ending,
    /// Time between two WebSocket pings. Default 54 s.
    pub ping_every: Duration,
    /// How long a session lives without a pong. Default 60 s.
    pub pong_within: Duration,
    /// Shells at a time; further upgrades are refused with 503. Default 4,096.
    pub max_sessions: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allow_remote: false,
            authority: None,
            shell: pty::default_shell(),
            clock: Clock::system(),
            credential: None,
            sts_credential: None,
            ending: Ending::default(),
            ping_every: Duration::from_secs(54),
            pong_within: Duration::from_secs(60),
            max_sessions: 4_096,
        }
    }
}

/// What no document tells, as another server may have decided it.
pub const MODES: &[Mode<Options>] =
    &[mode("close-1000", "A session whose shell has ended is closed with 1000.", |options| {
        options.ending = Ending::Close1000;
    })];

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// API calls that were answered with 200 after a good signature.
    pub calls_answered: u64,
    /// API calls that were refused, by a fault or rightly.
    pub calls_refused: u64,
    /// Requests for the place that a redirect of [`Fault::ApiRedirect`](crate::Fault::ApiRedirect) names.
    pub redirects_followed: u64,
    /// Terminal links made.
    pub links_minted: u64,
    /// Links spent by an upgrade.
    pub upgrades_taken: u64,
    /// Upgrades refused, by a fault or rightly.
    pub upgrades_refused: u64,
    /// Bytes of terminal output handed to WebSockets.
    pub output_bytes: u64,
    /// Bytes of input given to terminals.
    pub input_bytes: u64,
    /// Sizes applied to terminals.
    pub resizes: u64,
    /// Pongs received.
    pub pongs: u64,
    /// Messages that ended their session: malformed, unknown or binary.
    pub bad_messages: u64,
}

/// Starts a simulated PAI-DLC in the background of the current tokio runtime.
///
/// # Errors
/// The address cannot be bound or is not loopback without leave, or there is no randomness for the credentials.
pub async fn start(options: Options) -> Result<PaiDlc> {
    let Options { listen, allow_remote, authority, shell, clock, max_sessions, .. } = options;
    ensure!(!shell.is_empty(), "the shell needs a program to start");
    let credential = options.credential.map_or_else(Credential::random, Ok)?;
    let sts_credential = options.sts_credential.map_or_else(Credential::random_sts, Ok)?;
    let (site, listener) = Site::bind(web::Place { listen, allow_remote, authority, max_sessions })?;
    let server = Arc::new(Server {
        site: Arc::clone(&site),
        world: World::random()?,
        gateway: Gateway::new(vec![credential.clone(), sts_credential.clone()], Style::Roa, API_VERSION, clock.clone()),
        links: Links::default(),
        tally: Tally::default(),
        clock,
        shell,
        ending: options.ending,
        ping_every: options.ping_every.max(Duration::from_millis(1)),
        pong_within: options.pong_within,
    });
    site.serve(listener, Arc::clone(&server));
    let stop = site.cancel.clone().drop_guard();
    Ok(PaiDlc { credential, sts_credential, server, _stop: stop })
}

/// A running simulator. Dropped, it stops; [`shutdown`](Self::shutdown) also waits for its shells to be gone.
#[derive(Debug)]
pub struct PaiDlc {
    credential: Credential,
    sts_credential: Credential,
    server: Arc<Server>,
    _stop: DropGuard,
}

impl PaiDlc {
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
    /// reaches it, and a `target` whose terminal can be opened. It holds the access key's secret.
    #[must_use]
    pub fn ready_line(&self) -> Value {
        self.ready_line_with(&self.credential)
    }

    /// The same with another access key, such as the [temporary one](Self::sts_credential): its token becomes
    /// `security_token` of the `provider` entry.
    #[must_use]
    pub fn ready_line_with(&self, credential: &Credential) -> Value {
        let authority = self.authority();
        let url = format!("http://{authority}");
        let job = &self.server.world.jobs[0];
        let mut line = json!({
            "kind": "pai-dlc",
            "url": url,
            "provider": {
                "kind": "pai-dlc",
                "region": REGION,
                "endpoint": url,
                "access_key_id": credential.access_key_id,
                "access_key_secret": credential.access_key_secret,
                "websocket_hosts": [authority],
                "allow_private": true,
            },
            "target": {"job_id": job.id, "pod_id": job.pods[0].id},
        });
        if let Some(token) = &credential.security_token {
            line["provider"]["security_token"] = token.as_str().into();
        }
        line
    }

    /// The permanent access key.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The temporary access key and its token.
    #[must_use]
    pub fn sts_credential(&self) -> &Credential {
        &self.sts_credential
    }

    /// The jobs that exist. The first one and its pods run; others show the states in which a terminal is refused.
    #[must_use]
    pub fn jobs(&self) -> &[Job] {
        &self.server.world.jobs
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

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.server.tally.counters()
    }

    /// Stops listening, drops every connection, and waits until every shell is gone: up to about two seconds.
    pub async fn shutdown(self) {
        self.server.site.shutdown().await;
    }
}

/// What all connections share.
#[derive(Debug)]
struct Server {
    site: Arc<Site>,
    world: World,
    gateway: Gateway,
    links: Links<Place>,
    tally: Tally,
    clock: Clock,
    shell: Vec<String>,
    ending: Ending,
    ping_every: Duration,
    pong_within: Duration,
}

/// Where a terminal link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    job: String,
    pod: String,
}

impl Service for Server {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, authority: String) -> Answer {
        let Ok(request_id) = random::uuid().map(|id| id.to_uppercase()) else { return Answer::Reset };
        let call = Call { server: self, request_id, authority };
        match request.uri().path() {
            path if path.starts_with(upgrade::PATH) => upgrade::answer(call, request).await,
            path if path.starts_with(alibaba::REDIRECTED) => api::bait(&call),
            _ => api::answer(&call, request).await,
        }
    }

    fn refuse(&self, refusal: &Refusal, authority: &str) -> Response<Bytes> {
        let request_id = random::uuid().unwrap_or_default().to_uppercase();
        ApiError::from(refusal.clone()).response(&request_id, authority)
    }
}

/// [`Counters`] in the making.
#[derive(Debug, Default)]
struct Tally {
    calls_answered: AtomicU64,
    calls_refused: AtomicU64,
    redirects_followed: AtomicU64,
    links_minted: AtomicU64,
    upgrades_taken: AtomicU64,
    upgrades_refused: AtomicU64,
    output_bytes: AtomicU64,
    input_bytes: AtomicU64,
    resizes: AtomicU64,
    pongs: AtomicU64,
    bad_messages: AtomicU64,
}

impl Tally {
    fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Counters {
            calls_answered: read(&self.calls_answered),
            calls_refused: read(&self.calls_refused),
            redirects_followed: read(&self.redirects_followed),
            links_minted: read(&self.links_minted),
            upgrades_taken: read(&self.upgrades_taken),
            upgrades_refused: read(&self.upgrades_refused),
            output_bytes: read(&self.output_bytes),
            input_bytes: read(&self.input_bytes),
            resizes: read(&self.resizes),
            pongs: read(&self.pongs),
            bad_messages: read(&self.bad_messages),
        }
    }
}
