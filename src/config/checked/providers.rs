//! `[[providers]]`, as the program uses them.

use std::path::PathBuf;
use std::time::Duration;

use polytty_dialect::channel::ResizeMode;

use super::super::endpoint::Endpoint;
use super::super::secret::Secret;
use super::super::units::{Authority, BaseUrl};

/// `[[providers]]`: what every kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Names the provider in the API.
    pub name: String,
    /// Sessions at once. Default 1000.
    pub max_sessions: u32,
    /// From the first dial to a verified terminal. Default `15s`.
    pub open_timeout: Duration,
    /// Terminals opened a second, sustained; `None` leaves it to [`Limits::opens`](super::Limits::opens).
    pub opens_per_second: Option<u32>,
    /// Terminals opened at once; `None` leaves it to [`Limits::opens`](super::Limits::opens).
    pub open_burst: Option<u32>,
    /// A PEM file with roots trusted for this provider instead of the system's.
    pub ca: Option<PathBuf>,
    /// Whether addresses that are not public (loopback, private, link-local …) may be dialled. Default false.
    pub allow_private: bool,
    /// Whether its sessions are recorded whose creator does not say so; `None` leaves it to [`Recording::enabled`](super::Recording::enabled).
    pub record: Option<bool>,
    /// What the kind needs.
    pub kind: ProviderKind,
}

/// The kinds and their own keys.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// The commands that may be run, each a program and its arguments; the first is the default. Never empty.
    pub commands: Vec<Vec<String>>,
}
