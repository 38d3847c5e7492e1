//! A simulated Oblien: the control plane that gives out a workspace's token, the data plane that creates terminals, and
//! the one WebSocket a runtime that carries them all, with a shell on a PTY behind each. Both planes share one listener.
//!
//! Most of what a server does is told by its clients only. Where they are silent the simulator has an [option](Options),
//! or a choice of its own: a token of the data plane in the `Authorization` header goes before one in the query; ids
//! are never reused before all 255 have been given; the id byte of a frame is the id's number, and ids begin at 1; what
//! a client sends to an unknown terminal or in an unknown message is ignored and counted; a size of zero is ignored; a
//! process that a signal has ended has the exit code -1; a runtime server that is switched off ends its WebSocket by a
//! TCP FIN without a Close; a token that is rotated is refused from then on, and an open WebSocket stays.
//!
//! While a WebSocket is open its pace is that of all its terminals: nothing is dropped. Without one a terminal runs on
//! and its scrollback keeps the newest 64 KiB.

mod access;
mod control;
mod data;
mod error;
mod faults;
mod options;
mod ring;
mod runtime;
mod socket;
mod tally;
mod terminal;
mod token;
mod upgrade;
mod wire;
mod world;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio_util::sync::DropGuard;

use crate::{
    Clock, FaultSwitch,
    web::{Answer, Place, Refusal, Service, Site, count},
};
use access::Signers;
use error::ApiError;
use tally::Tally;
use token::Use;
use world::{World, is_target};

pub use access::Credential;
pub use faults::FAULTS;
pub use options::{Eviction, MODES, Options};
pub use tally::Counters;
pub use upgrade::EARLY_OUTPUT;

/// The most terminals that a workspace can have: their ids have to fit into a byte.
const MAX_TERMINALS: usize = 255;
/// The most runtimes besides the default one.
const MAX_TARGETS: usize = 64;

/// Starts a simulated Oblien in the background of the current tokio runtime.
///
/// # Errors
/// The address cannot be bound or is not loopback without leave, an option is out of its range, or there is no
/// randomness for the credentials.
pub async fn start(options: Options) -> Result<Oblien> {
    let limit_status = StatusCode::from_u16(options.limit_status)?;
    ensure!(!options.shell.is_empty(), "the shell needs a program to start");
    ensure!(
        (1..=MAX_TERMINALS).contains(&options.max_terminals),
        "a workspace has from 1 to {MAX_TERMINALS} terminals, not {}",
        options.max_terminals
    );
    ensure!(options.replay_chunk > 0, "a frame of the replay carries at least one byte");
    ensure!(options.targets.len() <= MAX_TARGETS, "a workspace has at most {MAX_TARGETS} runtimes of other names");
    if let Some(bad) = options.targets.iter().find(|target| !is_target(target)) {
        anyhow::bail!("{bad:?} cannot be the name of a runtime");
    }
    let (site, listener) = Site::bind(Place {
        listen: options.listen,
        allow_remote: options.allow_remote,
        authority: options.authority,
        max_sessions: options.max_sessions,
    })?;
    let server = Arc::new(Server {
        world: World::random(&options.targets, options.max_terminals, options.reuse_ids)?,
        credential: options.credential.map_or_else(Credential::random, Ok)?,
        signers: Signers::random()?,
        tally: Tally::default(),
        clock: options.clock,
        shell: options.shell,
        max_terminals: options.max_terminals,
        limit_status,
        eviction: options.eviction,
        exit_on_delete: options.exit_on_delete,
        replay_chunk: options.replay_chunk,
        replay_ended: options.replay_ended,
        query_token_only: options.query_token_only,
        answers_pings: options.answers_pings,
        token_life: options.token_life,
        site: Arc::clone(&site),
    });
    site.serve(listener, Arc::clone(&server));
    let stop = site.cancel.clone().drop_guard();
    Ok(Oblien { server, _stop: stop })
}

/// A running simulator. Dropped, it stops; [`shutdown`](Self::shutdown) also waits for its shells to be gone.
#[derive(Debug)]
pub struct Oblien {
    server: Arc<Server>,
    _stop: DropGuard,
}

impl Oblien {
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
    /// reaches it, and a `target` whose terminal can be opened. It holds the API key's secret.
    #[must_use]
    pub fn ready_line(&self) -> Value {
        let key = &self.server.credential;
        self.line(json!({"client_id": key.client_id, "client_secret": key.client_secret}))
    }

    /// The same with a `token` in place of the API key: one of the control plane, for this workspace only, which is good
    /// for an hour.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub fn ready_line_scoped(&self) -> Result<Value> {
        let (token, _) = access::scoped_token(&self.server, self.workspace(), Duration::from_secs(60 * 60))?;
        Ok(self.line(json!({"token": token})))
    }

    /// The same with a `token` of the data plane in place of the API key: that of the workspace, which is good for 30
    /// days. The control plane does not know it.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub fn ready_line_workspace(&self) -> Result<Value> {
        let (token, _) = access::data_token(&self.server, &self.server.world.ready, Use::Workspace, None)?;
        Ok(self.line(json!({"token": token})))
    }

    /// The API key.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.server.credential
    }

    /// The id of the workspace that is ready for a terminal.
    #[must_use]
    pub fn workspace(&self) -> &str {
        &self.server.world.ready.id
    }

    /// The id of a workspace whose runtime server has to be enabled first.
    #[must_use]
    pub fn workspace_not_enabled(&self) -> &str {
        &self.server.world.not_enabled.id
    }

    /// The id of a workspace that does not run.
    #[must_use]
    pub fn workspace_stopped(&self) -> &str {
        &self.server.world.stopped.id
    }

    /// The namespace that all workspaces are in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.server.world.namespace
    }

    /// Ends every open WebSocket as if somebody else had opened another in its place, and returns how many there were.
    pub fn kick(&self) -> usize {
        let kicked = self.server.world.runtimes().filter(|runtime| runtime.kick(self.server.eviction.stop())).count();
        count(&self.server.tally.evictions, kicked);
        kicked
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
        let alive = self.server.world.runtimes().map(|runtime| runtime.alive() as u64).sum();
        self.server.tally.counters(alive)
    }

    /// Stops listening, drops every connection, and waits until every shell is gone: up to about two seconds.
    pub async fn shutdown(self) {
        self.server.site.shutdown().await;
    }

    fn line(&self, credential: Value) -> Value {
        let url = format!("http://{}", self.authority());
        let mut provider = json!({
            "kind": "oblien",
            "api_url": url,
            "gateway_url": url,
            "workspace": self.workspace(),
            "allow_private": true,
        });
        if let (Some(provider), Value::Object(mut credential)) = (provider.as_object_mut(), credential) {
            provider.append(&mut credential);
        }
        json!({"kind": "oblien", "url": url, "provider": provider, "target": {}})
    }
}

/// What all connections share.
#[derive(Debug)]
struct Server {
    site: Arc<Site>,
    world: World,
    credential: Credential,
    signers: Signers,
    tally: Tally,
    clock: Clock,
    shell: Vec<String>,
    max_terminals: usize,
    limit_status: StatusCode,
    eviction: Eviction,
    exit_on_delete: Option<i32>,
    replay_chunk: usize,
    replay_ended: bool,
    query_token_only: bool,
    answers_pings: bool,
    token_life: Duration,
}

impl Service for Server {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, authority: String) -> Answer {
        let path = request.uri().path();
        let first = path.split('/').nth(1).unwrap_or_default();
        match first {
            _ if path == control::REDIRECTED => control::bait(&self),
            "workspace" | "tokens" => control::answer(&self, request, &authority).await,
            _ => data::answer(&self, request).await,
        }
    }

    fn refuse(&self, refusal: &Refusal, _authority: &str) -> Response<Bytes> {
        let error = ApiError::from(refusal.clone());
        json_response(error.status, &error.body())
    }
}

fn json_response(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A good status with a body that is no JSON.
fn no_json() -> Answer {
    let mut response = Response::new(Bytes::from_static(b"<html><body>Welcome</body></html>"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    Answer::of(response)
}
