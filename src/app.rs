//! Wires a configuration into a running whole, and takes it down again.

mod reload;
mod store;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Identities, Jwks, JwksError, Keys, Tokens};
use crate::cluster::{Cluster, ClusterTlsError};
use crate::config::{Authority, Config, DetachedOutput, Jwt, Provider, ProviderKind, Screen, TicketStore};
use crate::control::Api;
use crate::edge::{Edge, Pages, Proxies, TlsErrors, bind, server_config};
use crate::limit::{Gate, Quotas, Rate};
use crate::live::Live;
use crate::observe::{Admin, Metrics, Readiness};
use crate::provider::{
    DecthingsProvider, Dialer, DockhandProvider, EciProvider, Entry, Kind, LocalProvider, OblienHubs, OblienProvider,
    PaiDlcProvider, RootsError,
};
use crate::recording::{self, Recorder};
use crate::redis;
use crate::session::{Lifetimes, ScreenPolicy, Scrollbacks, Sessions, Settings};
use crate::ticket::{ResumeLinks, Tickets};
use store::Store;

pub use reload::Reloaded;

use reload::Replaceable;

/// How long sessions have to leave once this process is told to: a client that does not read gets 30 s, and the
/// provider's farewell runs beside it.
const DRAIN: Duration = Duration::from_secs(40);

/// Why polytty does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({key}): {why}")]
    Listen {
        /// The configuration key that names it.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        why: io::Error,
    },
    /// Certificates, their keys, or the roots of clients are of no use.
    #[error(transparent)]
    Tls(#[from] TlsErrors),
    /// The keys that tokens are signed by are of no use.
    #[error("jwt: {0}")]
    Jwks(#[from] JwksError),
    /// The roots that the URL of `jwt.jwks` is trusted by are of no use.
    #[error("jwt.ca: {0}")]
    JwtRoots(RootsError),
    /// `tickets.ca` is of no use.
    #[error("tickets.ca: {0}")]
    StoreRoots(RootsError),
    /// This replica cannot show itself to the others, or know them.
    #[error(transparent)]
    Cluster(#[from] ClusterTlsError),
    /// The operating system yields no random bytes.
    #[error("the operating system yields no random bytes")]
    NoRandomness,
    /// A provider's `ca` is of no use.
    #[error("provider {name}: {why}")]
    Provider {
        /// Its name.
        name: String,
        /// What is wrong.
        why: RootsError,
    },
    /// Nothing can be put into `recording.directory`.
    #[error("recording.directory: {}: {why}", .directory.display())]
    Recording {
        /// The directory.
        directory: PathBuf,
        /// What the operating system says.
        why: io::Error,
    },
}

/// The listening sockets, bound before anything else so that the port is known.
pub struct Listeners {
    /// TLS.
    pub tls: TcpListener,
    /// Health and metrics.
    pub admin: Option<TcpListener>,
    /// Other replicas.
    pub cluster: Option<TcpListener>,
}

impl Listeners {
    /// Binds what the configuration names.
    ///
    /// # Errors
    ///
    /// [`StartError::Listen`].
    pub fn bind(tls: SocketAddr, admin: Option<SocketAddr>, cluster: Option<SocketAddr>) -> Result<Self, StartError> {
        let listen = |key, address| bind(address).map_err(|why| StartError::Listen { key, address, why });
        Ok(Self {
            tls: listen("server.listen", tls)?,
            admin: admin.map(|admin| listen("server.admin_listen", admin)).transpose()?,
            cluster: cluster.map(|cluster| listen("cluster.listen", cluster)).transpose()?,
        })
    }
}

/// A running polytty.
pub struct App {
    sessions: Arc<Sessions>,
    ready: Arc<Readiness>,
    drain: CancellationToken,
    connections: TaskTracker,
    background: Vec<JoinHandle<()>>,
    replaceable: Mutex<Replaceable>,
    cluster: Option<Arc<Cluster>>,
}

/// Finds out whether a configuration would start, without listening or dialling.
///
/// # Errors
///
/// [`StartError`].
pub fn check(config: &Config) -> Result<(), StartError> {
    server_config(&config.tls)?;
    config.jwt.as_ref().map(jwks).transpose()?;
    if let TicketStore::Redis(server) = &config.tickets.store {
        redis::check(server).map_err(StartError::StoreRoots)?;
    }
    config.cluster.as_ref().map(Cluster::check).transpose()?;
    if let Some(directory) = &config.recording.directory {
        recording::check(directory).map_err(|why| StartError::Recording { directory: directory.clone(), why })?;
    }
    let opens = config.limits.opens;
    let hubs = Arc::default();
    config.providers.iter().try_for_each(|provider| entry(provider.clone(), opens, &hubs).map(drop))
}

impl App {
    /// Starts everything. `pages` is the demo page, where there is one.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running.
    pub fn start(config: Config, listeners: Listeners, pages: Option<Pages>) -> Result<Self, StartError> {
        let tls = server_config(&config.tls)?;
        let in_force = config.clone();
        let opens = config.limits.opens;
        let hubs = Arc::default();
        let providers = config.providers.iter().cloned().map(|provider| entry(provider, opens, &hubs).map(Arc::new));
        let providers = providers.collect::<Result<Vec<_>, _>>()?;
        let metrics = Arc::new(Metrics::default());
        let recording = config.recording.clone();
        let record = recording.enabled;
        let recorder = match recording.directory.clone() {
            None => None,
            Some(directory) => Some(
                Recorder::open(&directory, recording, metrics.clone())
                    .map_err(|why| StartError::Recording { directory, why })?,
            ),
        };
        let lifetimes = Lifetimes {
            detach_grace: config.sessions.detach_grace,
            idle: config.sessions.idle_timeout,
            max: config.sessions.max_lifetime,
            read_detached: config.sessions.detached_output == DetachedOutput::Read,
        };
        let resume =
            ResumeLinks::new(format!("wss://{}/t/", config.server.public_url.authority()), config.tickets.resume_ttl);
        let store = Store::start(&config, &resume, &metrics)?;
        let settings = Settings {
            lifetimes,
            scrollback: config.sessions.scrollback,
            scrollbacks: Scrollbacks::new(config.sessions.scrollback_total),
            resume: resume.clone(),
            screen: match config.sessions.screen {
                Screen::Off => ScreenPolicy::Off,
                Screen::Viewers => ScreenPolicy::Viewers,
                Screen::Always => ScreenPolicy::Always,
            },
            max_viewers: config.sessions.max_viewers as usize,
            pace: config.limits.pace,
            recorder: recorder.clone(),
            replica: store.replica,
        };
        let counts = store.cluster.as_ref().map(|cluster| cluster.counts().clone());
        let quotas = Quotas::new(config.limits.sessions, config.limits.sessions_per_subject, counts, metrics.clone());
        let sessions = Sessions::new(quotas, settings, metrics.clone());
        let gate = Gate::new(&config.limits, metrics.clone());
        let cookie = config.jwt.as_ref().and_then(|jwt| jwt.cookie.clone());
        let jwks = config.jwt.as_ref().map(jwks).transpose()?;
        let tokens = config.jwt.zip(jwks.clone()).map(|(jwt, jwks)| Tokens::new(jwt, jwks));
        let api = Arc::new(Api {
            providers,
            sessions: sessions.clone(),
            tickets: Tickets::new(store.tickets, config.tickets.ttl, resume.clone()),
            identities: Identities::new(Keys::new(config.keys), tokens),
            max_tickets: config.limits.tickets,
            gate: gate.clone(),
            public_url: config.server.public_url.clone(),
            cluster: store.cluster.clone(),
            metrics: metrics.clone(),
            recorder: recorder.clone(),
            record,
        });
        let (connections, drain) = (TaskTracker::new(), CancellationToken::new());
        let edge = Arc::new(Edge {
            api: api.clone(),
            public_url: config.server.public_url,
            origins: Live::new(config.server.origins),
            max_message: config.sessions.max_message,
            limits: Live::new(config.limits),
            gate: gate.clone(),
            proxies: Proxies::new(config.server.trusted_proxies, config.server.proxy_protocol),
            cookie,
            pages,
            tls: Live::new(tls),
            tasks: connections.clone(),
            drain: drain.clone(),
        });
        let ready = Arc::new(Readiness::default());
        let mut background = vec![
            tokio::spawn(resume.keep_swept()),
            tokio::spawn(gate.keep_swept()),
            tokio::spawn(edge.clone().serve(listeners.tls)),
        ];
        background.extend(store.background);
        if let (Some(listener), Some(cluster)) = (listeners.cluster, &store.cluster) {
            background.push(tokio::spawn(edge.clone().serve_replicas(listener, cluster.clone())));
        }
        if let Some(jwks) = jwks {
            background.push(tokio::spawn(jwks.keep_fresh()));
        }
        background.extend(recorder.map(|recorder| tokio::spawn(recorder.keep_swept())));
        if let Some(listener) = listeners.admin {
            let authorities = listener.local_addr().map(admin_names).unwrap_or_default();
            let (ready, counted) = (ready.clone(), sessions.clone());
            let sessions = Box::new(move || counted.count());
            let redis = store.redis;
            let store_away = Box::new(move || redis.as_ref().is_some_and(|redis| redis.is_missed()));
            let admin = Arc::new(Admin { authorities, ready, metrics, sessions, store_away });
            background.push(tokio::spawn(admin.serve(listener)));
        }
        ready.set(true);
        let replaceable = Mutex::new(Replaceable { edge, api, config: in_force });
        Ok(Self { sessions, ready, drain, connections, background, replaceable, cluster: store.cluster })
    }

    /// Ends in order: no new connections, a Close to every client, an end to every terminal. Whether all left in time.
    pub async fn drain(self) -> bool {
        self.ready.set(false);
        self.drain.cancel();
        let sessions_left = self.sessions.drain(DRAIN).await;
        if let Some(cluster) = &self.cluster {
            cluster.leave().await;
        }
        self.connections.close();
        let connections_left = tokio::time::timeout(Duration::from_secs(5), self.connections.wait()).await.is_ok();
        for task in self.background {
            task.abort();
        }
        sessions_left && connections_left
    }
}

/// The keys that tokens are signed by.
fn jwks(jwt: &Jwt) -> Result<Arc<Jwks>, StartError> {
    let dialer = Dialer::new(jwt.ca.as_deref(), jwt.allow_private).map_err(StartError::JwtRoots)?;
    Ok(Jwks::new(&jwt.source, dialer)?)
}

/// A provider, which is opened at `opens` where its own configuration says nothing else. All of them share `hubs`.
fn entry(provider: Provider, opens: Rate, hubs: &Arc<OblienHubs>) -> Result<Entry, StartError> {
    let Provider { name, max_sessions, open_timeout, opens_per_second, open_burst, ca, allow_private, record, kind } =
        provider;
    let known = Kind { name: kind.as_str(), title: kind.title() };
    let dialer =
        || Dialer::new(ca.as_deref(), allow_private).map_err(|why| StartError::Provider { name: name.clone(), why });
    let provider: Box<dyn crate::provider::Provider> = match kind {
        ProviderKind::PaiDlc(settings) => {
            Box::new(PaiDlcProvider::new(name.clone(), settings, dialer()?, jiff::Timestamp::now))
        }
        ProviderKind::Eci(settings) => {
            Box::new(EciProvider::new(name.clone(), settings, dialer()?, jiff::Timestamp::now))
        }
        ProviderKind::Dockhand(settings) => Box::new(DockhandProvider::new(name.clone(), settings, dialer()?)),
        ProviderKind::Decthings(settings) => Box::new(DecthingsProvider::new(name.clone(), settings, dialer()?)),
        ProviderKind::Oblien(settings) => {
            Box::new(OblienProvider::new(name.clone(), settings, dialer()?, Arc::clone(hubs)))
        }
        ProviderKind::Local(settings) => Box::new(LocalProvider::new(name.clone(), settings)),
    };
    let opens =
        Rate { per_second: opens_per_second.unwrap_or(opens.per_second), burst: open_burst.unwrap_or(opens.burst) };
    Ok(Entry::new(name, known, max_sessions, open_timeout, provider).recorded(record).opening_at(opens))
}

/// The names by which the admin listener may be called: its address, and `localhost` where that is meant.
fn admin_names(address: SocketAddr) -> Vec<Authority> {
    let mut names = vec![address.to_string()];
    if address.ip().is_loopback() || address.ip().is_unspecified() {
        names.extend(["localhost", "127.0.0.1", "[::1]"].map(|host| format!("{host}:{}", address.port())));
    }
    names.iter().filter_map(|name| name.parse().ok()).collect()
}
