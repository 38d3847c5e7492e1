//! A simulated ECI, API version 2018-08-08: ExecContainerCommand and DescribeContainerGroups over plain HTTP, signed with
//! ACS3-HMAC-SHA256 or the older RPC HMAC-SHA1, and the WebSocket that `WebSocketUri` leads to, with a command behind it.
//!
//! The WebSocket's framing is not documented. What public clients rely on is Kubernetes' channels in binary messages
//! with no subprotocol, and that is the default here: an empty message on channel 1 first, stdin on 0, stdout on 1,
//! stderr on 2 if there is no terminal, plain text on 3 if the command fails, sizes on 4, Close 1000 at the end, and an
//! end without a Close after 60 s in which the client has sent nothing. Where the evidence is thin, [`Options`] and
//! [`FAULTS`] have the alternatives.
//!
//! `/bin/bash` and `/bin/sh` alone, on a terminal, run the simulator's configured shell; every other command is run as it
//! is. Choices of its own: what does not exist is `InvalidParameter.ValueExceeded`, a link lives for 30 s and opens once,
//! an inbound message ends at 1 MiB, and what is on an unknown channel or in a text message is ignored.

mod api;
mod channel;
mod command;
mod faults;
mod output;
mod pipes;
mod session;
mod sync;
mod upgrade;
mod world;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
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
    pty, random,
    web::{Answer, Place, Refusal, Service, Site},
};
use command::Exec;

pub use crate::alibaba::Credential;
pub use channel::EARLY_OUTPUT;
pub use faults::FAULTS;
pub use world::{Container, ContainerGroup};

const REGION: &str = "cn-hangzhou";
const API_VERSION: &str = "2018-08-08";

/// How a terminal learns its size. No public client shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resize {
    /// By `{"Width":COLS,"Height":ROWS}` on channel 4, as with Kubernetes.
    #[default]
    Channel4,
    /// By the same on channel 3.
    Channel3,
    /// Not at all: it stays as it is.
    Unsupported,
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
    /// How long a session lives in which the client sends nothing, not even a ping. Default 60 s.
    pub idle_after: Duration,
    /// How a terminal learns its size.
    pub resize: Resize,
    /// Whether output is in text messages without a channel. Default no.
    pub text_output: bool,
    /// Whether channel 3 stays silent when a command fails. Default no.
    pub silent_errors: bool,
    /// Whether an offered `v4.channel.k8s.io` is accepted; then channel 3 ends every session with a `Status`. Default no.
    pub accept_v4: bool,
    /// Commands at a time; further upgrades are refused with 503. Default 4,096.
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
            idle_after: Duration::from_secs(60),
            resize: Resize::default(),
            text_output: false,
            silent_errors: false,
            accept_v4: false,
            max_sessions: 4_096,
        }
    }
}

/// None: what ECI may be like is among its [`FAULTS`].
pub const MODES: &[Mode<Options>] = &[];

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// API calls that were answered with 200 after a good signature.
    pub calls_answered: u64,
    /// API calls that were refused, by a fault or rightly.
    pub calls_refused: u64,
    /// Requests for the place that a redirect of [`Fault::ApiRedirect`](crate::Fault::ApiRedirect) names.
    pub redirects_followed: u64,
    /// Links made.
    pub links_minted: u64,
    /// Links spent by an upgrade.
    pub upgrades_taken: u64,
    /// Upgrades refused, by a fault or rightly.
    pub upgrades_refused: u64,
    /// Bytes of output handed to WebSockets.
    pub output_bytes: u64,
    /// Bytes of input given to commands.
    pub input_bytes: u64,
    /// Sizes applied to terminals.
    pub resizes: u64,
    /// Pings received.
    pub pings: u64,
    /// Messages that were ignored: text, on an unknown channel, empty, or a size that nobody could have.
    pub ignored_messages: u64,
    /// Sessions ended because their client was silent for too long.
    pub idle_drops: u64,
    /// Connections that are open now.
    pub connections: u64,
}

/// Starts a simulated ECI in the background of the current tokio runtime.
///
/// # Errors
/// The address cannot be bound or is not loopback without leave, or there is no randomness for the credentials.
pub async fn start(options: Options) -> Result<Eci> {
    let Options { listen, allow_remote, authority, shell, clock, max_sessions, .. } = options;
    ensure!(!shell.is_empty(), "the shell needs a program to start");
    let credential = options.credential.map_or_else(Credential::random, Ok)?;
    let sts_credential = options.sts_credential.map_or_else(Credential::random_sts, Ok)?;
    let (site, listener) = Site::bind(Place { listen, allow_remote, authority, max_sessions })?;
    let credentials = vec![credential.clone(), sts_credential.clone()];
    let server = Arc::new(Server {
        site: Arc::clone(&site),
        groups: world::random()?,
        gateway: Gateway::new(credentials, Style::Rpc, API_VERSION, clock.clone()),
        links: Links::default(),
        tally: Tally::default(),
        clock,
        shell,
        idle_after: options.idle_after,
        resize: options.resize,
        text_output: options.text_output,
        silent_errors: options.silent_errors,
        accept_v4: options.accept_v4,
    });
    site.serve(listener, Arc::clone(&server));
    let stop = site.cancel.clone().drop_guard();
    Ok(Eci { credential, sts_credential, server, _stop: stop })
}

/// A running simulator. Dropped, it stops; [`shutdown`](Self::shutdown) also waits for its commands to be gone.
#[derive(Debug)]
pub struct Eci {
    credential: Credential,
    sts_credential: Credential,
    server: Arc<Server>,
    _stop: DropGuard,
}

impl Eci {
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
        let group = &self.server.groups[0];
        let mut line = json!({
            "kind": "eci",
            "url": url,
            "provider": {
                "kind": "eci",
                "region": REGION,
                "endpoint": url,
                "access_key_id": credential.access_key_id,
                "access_key_secret": credential.access_key_secret,
                "websocket_hosts": [authority],
                "allow_private": true,
            },
            "target": {"container_group_id": group.id, "container_name": group.containers[0].name},
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

    /// The container groups that exist. The first container of the first one runs; others show the states in which a
    /// command is refused.
    #[must_use]
    pub fn container_groups(&self) -> &[ContainerGroup] {
        &self.server.groups
    }

    /// Turns faults on and off.
    #[must_use]
    pub fn faults(&self) -> &FaultSwitch {
        &self.server.site.faults
    }

    /// Commands that live now, those being hung up included.
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
        Counters { connections: self.server.site.connections() as u64, ..self.server.tally.counters() }
    }

    /// Stops listening, drops every connection, and waits until every command is gone: up to about two seconds.
    pub async fn shutdown(self) {
        self.server.site.shutdown().await;
    }
}

/// What all connections share.
#[derive(Debug)]
struct Server {
    site: Arc<Site>,
    groups: Vec<ContainerGroup>,
    gateway: Gateway,
    links: Links<Exec>,
    tally: Tally,
    clock: Clock,
    shell: Vec<String>,
    idle_after: Duration,
    resize: Resize,
    text_output: bool,
    silent_errors: bool,
    accept_v4: bool,
}

impl Service for Server {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, authority: String) -> Answer {
        let Ok(request_id) = random::uuid().map(|id| id.to_uppercase()) else { return Answer::Reset };
        let call = Call { server: self, request_id, authority };
        match request.uri().path() {
            upgrade::PATH => upgrade::answer(call, request).await,
            alibaba::REDIRECTED => api::bait(&call),
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
    pings: AtomicU64,
    ignored_messages: AtomicU64,
    idle_drops: AtomicU64,
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
            pings: read(&self.pings),
            ignored_messages: read(&self.ignored_messages),
            idle_drops: read(&self.idle_drops),
            connections: 0,
        }
    }
}
