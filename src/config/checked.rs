//! The configuration as the program uses it: types that cannot be wrong.
//!
//! Whoever holds one of these may rely on it; everything that can be wrong about a file is found and told by
//! [`super::load`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use polytty_dialect::channel::ResizeMode;

use super::endpoint::Endpoint;
use super::secret::Secret;
use super::units::{Authority, BaseUrl, Origin};
use crate::auth::{Rights, Scope};
use crate::recording::WhenFull;
use crate::recording::cast::Format;

/// All of `proxy.toml`.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[tls]`
    pub tls: Tls,
    /// `[tickets]`
    pub tickets: Tickets,
    /// `[limits]`
    pub limits: Limits,
    /// `[sessions]`
    pub sessions: Sessions,
    /// `[recording]`
    pub recording: Recording,
    /// `[log]`
    pub log: Log,
    /// `[jwt]`, where tokens are taken
    pub jwt: Option<Jwt>,
    /// `[[keys]]`, names unique
    pub keys: Vec<Key>,
    /// `[[providers]]`, names unique
    pub providers: Vec<Provider>,
}

/// `[server]`: where polytty listens and what it calls itself.
#[derive(Clone, Debug)]
pub struct Server {
    /// The TLS listener. Default `127.0.0.1:8443`.
    pub listen: SocketAddr,
    /// What clients reach it by; every link is built from it. `https`, no path. Required.
    pub public_url: BaseUrl,
    /// Plain HTTP for health and version. Default `127.0.0.1:9443`; `None` when set to `""`.
    pub admin_listen: Option<SocketAddr>,
    /// Origins whose pages may attach, beside that of `public_url`. Default none.
    pub origins: Vec<Origin>,
}

/// `[tls]`: the certificate chain and its key, PEM files. Both required.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// `[tickets]`
#[derive(Clone, Debug)]
pub struct Tickets {
    /// How long a link can be used. Default `30s`, 1 s to 1 h.
    pub ttl: Duration,
    /// How long a resume link can be used; an attached client is given a fresh one at half of it. Default `1h`, 1 s
    /// to 24 h.
    pub resume_ttl: Duration,
    /// Where tickets are kept. Default `memory`.
    pub store: TicketStore,
}

/// `tickets.store`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketStore {
    /// In this process.
    Memory,
}

/// `[limits]`: what is refused, and at which number.
#[derive(Clone, Debug)]
pub struct Limits {
    /// TCP connections at once. Default 4096; above it, accepting waits.
    pub connections: u32,
    /// From accept to the end of the TLS handshake. Default `10s`.
    pub handshake_timeout: Duration,
    /// From the first byte of a request to the end of its head, and the same again for its body. Default `10s`.
    pub request_timeout: Duration,
    /// How long an idle keep-alive connection is kept. Default `60s`.
    pub keep_alive: Duration,
    /// The largest body of an API request. Default `64KiB`.
    pub body: u64,
    /// Links minted per key and second, sustained. Default 20.
    pub mints_per_second: u32,
    /// Links a key may mint at once. Default 100.
    pub mint_burst: u32,
    /// Sessions at once, those with a link that nobody has used yet included. Default 4096.
    pub sessions: u32,
    /// Links outstanding (minted, neither used nor expired) at once. Default 16384.
    pub tickets: u32,
}

/// `[sessions]`
#[derive(Clone, Debug)]
pub struct Sessions {
    /// How long a session without its client is kept. Default `60s`; `0s` ends it at once.
    pub detach_grace: Duration,
    /// Ends a session with neither input nor output for so long. Default `30m`; `0s` never.
    pub idle_timeout: Option<Duration>,
    /// Ends a session however busy. Default `24h`; `0s` never.
    pub max_lifetime: Option<Duration>,
    /// Output that a session holds for clients that come back. Default `256KiB`, up to 64 MiB; `0KiB` holds none.
    pub scrollback: usize,
    /// What all sessions hold of it together; at the bound they forget earlier. Default `256MiB`.
    pub scrollback_total: usize,
    /// What becomes of output while nobody is attached. Default `read`.
    pub detached_output: DetachedOutput,
    /// When a model of the screen is kept. Default `viewers`.
    pub screen: Screen,
    /// Viewers of one session at once. Default 32.
    pub max_viewers: u32,
    /// The largest message of a client. Default `1MiB`, 1 KiB to 16 MiB.
    pub max_message: usize,
}

/// `sessions.detached_output`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetachedOutput {
    /// It is read on into the scrollback, so the remote process goes on.
    Read,
    /// It is not read, so nothing is missed and the remote process blocks in the end.
    Hold,
}

/// `sessions.screen`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// Never.
    Off,
    /// While somebody watches.
    Viewers,
    /// From the beginning of every session.
    Always,
}

/// `[recording]`
#[derive(Clone, Debug)]
pub struct Recording {
    /// Where recordings are put. Without it, nothing can be recorded.
    pub directory: Option<PathBuf>,
    /// Whether sessions are recorded of which neither their creator nor their provider says so. Default false.
    pub enabled: bool,
    /// Default `v3`.
    pub format: Format,
    /// Whether what is typed is recorded, passwords too. Default false.
    pub input: bool,
    /// What may wait to be written of one session, in bytes. Default `1MiB`, 16 KiB to 64 MiB.
    pub queue: usize,
    /// What happens when that much waits. Default `gap`.
    pub when_full: WhenFull,
    /// At how many bytes a part is complete. Default `64MiB`, 4 KiB to 1 TiB.
    pub part_size: u64,
    /// After how long a part is complete. Default `1h`, 1 s to 365 d.
    pub part_age: Duration,
    /// How long parts are kept. Default `30d`; `0s` for ever.
    pub keep: Option<Duration>,
    /// What all recordings may hold. Default `10GiB`, 64 KiB to 1 PiB.
    pub max_total: u64,
    /// What becomes of a session whose recording cannot be written on. Default `continue`.
    pub when_disk_full: WhenDiskFull,
}

/// `recording.when_disk_full`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenDiskFull {
    /// It goes on without its recording.
    Continue,
    /// It ends.
    End,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// A `tracing` filter, for example `info` or `polytty=debug`. Default `info`.
    pub filter: String,
    /// `text` or `json`. Default `text`.
    pub format: LogFormat,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One line an event, for people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// `[[keys]]`: an API key, of which only the hash is known.
#[derive(Clone, Debug)]
pub struct Key {
    /// Names the key in logs and lists.
    pub name: String,
    /// SHA-256 of the whole key, as `polytty key new` prints it (`sha256:` and 64 hex digits).
    pub hash: [u8; 32],
    /// What its holder may do. Default: mint, observe and end, at all providers, for any subject.
    pub rights: Rights,
    /// Until when it is good. Default: for ever.
    pub expires_at: Option<Timestamp>,
}

/// `[jwt]`: the tokens of one issuer.
#[derive(Clone, Debug)]
pub struct Jwt {
    /// What `iss` has to be. Required.
    pub issuer: String,
    /// What `aud` has to be, or hold. Required.
    pub audience: String,
    /// Where the issuer's keys are (`jwks`). Required.
    pub source: JwkSource,
    /// A PEM file with roots trusted for the URL instead of the system's.
    pub ca: Option<PathBuf>,
    /// Whether the URL may be at an address that is not public, and plain `http`. Default false.
    pub allow_private: bool,
    /// The algorithms that a token may be signed by. Default RS256, PS256, ES256 and EdDSA.
    pub algorithms: Vec<Algorithm>,
    /// The claim that says whose the token is. Default `sub`.
    pub subject_claim: String,
    /// The claim that says what its holder may do. Default `scope`.
    pub scope_claim: String,
    /// The words of that claim that give each scope. Default `polytty:` and its name.
    pub scopes: Vec<(Scope, Vec<String>)>,
    /// The claim that lists the providers which its holder may use. Default none: all of them.
    pub providers_claim: Option<String>,
    /// The cookie that holds the token of a browser. Default none.
    pub cookie: Option<String>,
}

/// `jwt.jwks`
#[derive(Clone, Debug)]
pub enum JwkSource {
    /// A file, read now and then.
    File(PathBuf),
    /// A URL, fetched now and then.
    Url(Endpoint),
}

/// `[[providers]]`: what every kind has.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Names the provider in the API.
    pub name: String,
    /// Sessions at once. Default 1000.
    pub max_sessions: u32,
    /// From the first dial to a verified terminal. Default `15s`.
    pub open_timeout: Duration,
    /// A PEM file with roots trusted for this provider instead of the system's.
    pub ca: Option<PathBuf>,
    /// Whether addresses that are not public (loopback, private, link-local …) may be dialled. Default false.
    pub allow_private: bool,
    /// Whether its sessions are recorded whose creator does not say so; `None` leaves it to [`Recording::enabled`].
    pub record: Option<bool>,
    /// What the kind needs.
    pub kind: ProviderKind,
}

/// The kinds and their own keys.
#[derive(Clone, Debug)]
pub enum ProviderKind {
    /// Alibaba Cloud PAI-DLC (GetWebTerminal).
    PaiDlc(PaiDlc),
    /// Alibaba Cloud ECI (ExecContainerCommand).
    Eci(Eci),
    /// Dockhand.
    Dockhand(Dockhand),
    /// Decthings (Terminal / launchTerminalSession).
    Decthings(Decthings),
    /// Oblien workspaces.
    Oblien(Oblien),
    /// A PTY on this machine.
    Local(Local),
}

impl ProviderKind {
    /// The word in `kind = "…"`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::PaiDlc(_) => "pai-dlc",
            Self::Eci(_) => "eci",
            Self::Dockhand(_) => "dockhand",
            Self::Decthings(_) => "decthings",
            Self::Oblien(_) => "oblien",
            Self::Local(_) => "local",
        }
    }

    /// What the kind is called towards people.
    #[must_use]
    pub fn title(&self) -> &'static str {
        match self {
            Self::PaiDlc(_) => "PAI-DLC",
            Self::Eci(_) => "ECI",
            Self::Dockhand(_) => "Dockhand",
            Self::Decthings(_) => "Decthings",
            Self::Oblien(_) => "Oblien",
            Self::Local(_) => "This machine",
        }
    }
}

/// `kind = "pai-dlc"`
#[derive(Clone, Debug)]
pub struct PaiDlc {
    /// Region id, such as `cn-hangzhou`. Required.
    pub region: String,
    /// Where the API is. Default `https://pai-dlc.{region}.aliyuncs.com`. `http` only with `allow_private`.
    pub endpoint: BaseUrl,
    /// The AccessKey id. Required.
    pub access_key_id: String,
    /// The AccessKey secret. Required.
    pub access_key_secret: Secret,
    /// The STS token that belongs to a temporary AccessKey.
    pub security_token: Option<Secret>,
    /// Hosts that a terminal link may lead to: a name, a `*.suffix`, each with an optional port.
    /// Default `["*.aliyun.com"]`.
    pub websocket_hosts: Vec<HostPattern>,
}

/// `kind = "eci"`
#[derive(Clone, Debug)]
pub struct Eci {
    /// Region id, such as `cn-hangzhou`. Required.
    pub region: String,
    /// Where the API is. Default `https://eci.{region}.aliyuncs.com`. `http` only with `allow_private`.
    pub endpoint: BaseUrl,
    /// The AccessKey id. Required.
    pub access_key_id: String,
    /// The AccessKey secret. Required.
    pub access_key_secret: Secret,
    /// The STS token that belongs to a temporary AccessKey.
    pub security_token: Option<Secret>,
    /// Hosts that a terminal link may lead to, as for [`PaiDlc`]. Default `["*.aliyun.com"]`.
    pub websocket_hosts: Vec<HostPattern>,
    /// How a new size reaches a container that has a TTY. Default `k8s4`.
    pub resize_mode: ResizeMode,
    /// The subprotocol to ask for: `v4.channel.k8s.io`. Default none.
    pub subprotocol: Option<&'static str>,
}

/// One entry of `websocket_hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This very host (and port; without one, the scheme's default port).
    Exact(Authority),
    /// Any host below this suffix (written `*.suffix`, kept without `*`, with its dot), on the scheme's default port
    /// or the given one.
    Suffix(String, Option<u16>),
}

/// `kind = "dockhand"`
#[derive(Clone, Debug)]
pub struct Dockhand {
    /// Where Dockhand is: its pages, its API and its terminals. Required. `http` only with `allow_private`.
    pub url: BaseUrl,
    /// `token`, or `username` and `password`. Required.
    pub credentials: DockhandCredentials,
    /// How a terminal is opened. Default `websocket`.
    pub flow: DockhandFlow,
    /// How long to wait for a shell's first output, before which Dockhand does not listen. Default `1s`, 100 ms to 60 s.
    pub first_output_timeout: Duration,
    /// Ends a session whose input nothing has answered for so long. Default `10m`, 10 s to 1 d; `0s` never does.
    pub silence_timeout: Option<Duration>,
    /// Whether Ctrl-C, Ctrl-U and `exit` are typed at the end of a session. Default false.
    pub typed_ending: bool,
}

/// Whom Dockhand takes polytty for.
#[derive(Clone, Debug)]
pub enum DockhandCredentials {
    /// An API token.
    Token(Secret),
    /// An account without a second factor.
    Login {
        /// Its name.
        username: String,
        /// Its password.
        password: Secret,
        /// Who checks them: `local`, `ldap` or `ldap:ID`. Default `local`.
        provider: String,
    },
}

/// `flow`
#[derive(Clone, Debug)]
pub enum DockhandFlow {
    /// One WebSocket that creates and starts the shell, as real servers have it.
    WebSocket,
    /// An exec instance that is created over HTTP, attached to, and resized over HTTP.
    Documented {
        /// The path of the WebSocket, `{exec_id}` in it. Default `/api/exec/{exec_id}/attach`.
        attach_path: String,
        /// What its messages look like. Default `json`.
        messages: AttachMessages,
    },
}

/// `attach_messages`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachMessages {
    /// As those of the other flow.
    #[default]
    Json,
    /// Terminal bytes and nothing else.
    Raw,
}

/// `kind = "decthings"`
#[derive(Clone, Debug)]
pub struct Decthings {
    /// Where calls are posted to. Default `https://api.decthings.com/v0`. `http` only with `allow_private`.
    pub http_url: Endpoint,
    /// The WebSocket of calls and events. Default: that of `http_url`, with `/ws` behind its path. `ws` only with
    /// `allow_private`.
    pub ws_url: Endpoint,
    /// The API key. Required.
    pub api_key: Secret,
    /// How input travels. Default `websocket`.
    pub writes: Writes,
}

/// `writes`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// Calls for an open terminal (input, size, end) go over the WebSocket that its events come from.
    WebSocket,
    /// They are posted one by one, as the official clients do.
    Http,
}

/// `kind = "oblien"`. At least one of `client` and `token` is there.
#[derive(Clone, Debug)]
pub struct Oblien {
    /// The control plane. Default `https://api.oblien.com`. `http` only with `allow_private`.
    pub api_url: BaseUrl,
    /// The gateway to the workspaces' data plane. Default `https://workspace.oblien.com`. `http` only with
    /// `allow_private`.
    pub gateway_url: BaseUrl,
    /// The API key, by which tokens are asked for.
    pub client: Option<OblienClient>,
    /// A token of `workspace` for the data plane, used until it is refused.
    pub token: Option<Secret>,
    /// The workspace of targets that name none.
    pub workspace: Option<String>,
    /// Whether a workspace's runtime access may be enabled where it is not. Default true.
    pub enable_access: bool,
    /// What the control plane calls runtime access in its paths. Default `runtime-api-access`.
    pub access_path: AccessPath,
    /// Where the token stands in the WebSocket's opening request. Default `header`.
    pub websocket_token: TokenPlace,
    /// How long a token is used that was asked for. Default `55m`, 1 s to 30 d.
    pub token_lifetime: Duration,
    /// Terminals that a runtime of a workspace takes at once. Default 10, 1 to 255.
    pub max_terminals: u32,
    /// How long an answer to a ping may take; `None` when none is to be expected. Default `20s`.
    pub pong_timeout: Option<Duration>,
    /// Whether a session that was attached to an existing terminal ends it when it is ended. Default true.
    pub end_attached: bool,
}

/// An API key of Oblien.
#[derive(Clone, Debug)]
pub struct OblienClient {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: Secret,
}

/// `access_path`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessPath {
    /// `runtime-api-access`, of the vendor's client and the newer documents.
    Runtime,
    /// `internal-api-access`, of the older documents.
    Internal,
}

impl AccessPath {
    /// As it stands in the path.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Runtime => "runtime-api-access",
            Self::Internal => "internal-api-access",
        }
    }
}

/// `websocket_token`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// `Authorization: Bearer`, as the documents have it.
    Header,
    /// `?token=`, as the vendor's client for browsers has it.
    Query,
}

/// `kind = "local"`
#[derive(Clone, Debug)]
pub struct Local {
    /// The commands that may be run, each a program and its arguments; the first is the default. Never empty.
    pub commands: Vec<Vec<String>>,
}
