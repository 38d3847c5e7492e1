//! The configuration as the program uses it: types that cannot be wrong.
//!
//! Whoever holds one of these may rely on it; everything that can be wrong about a file is found and told by
//! [`super::load`].

mod providers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use jsonwebtoken::Algorithm;

use super::endpoint::Endpoint;
use super::store::TicketStore;
use super::units::{BaseUrl, Origin};
use crate::auth::{CertificateName, Rights, Scope};
use crate::limit::{PaceSettings, Rate};
use crate::recording::WhenFull;
use crate::recording::cast::Format;

pub use providers::*;

/// All of `proxy.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// `[cluster]`, where there are replicas
    pub cluster: Option<super::Cluster>,
    /// `[jwt]`, where tokens are taken
    pub jwt: Option<Jwt>,
    /// `[[keys]]`, names unique
    pub keys: Vec<Key>,
    /// `[[providers]]`, names unique
    pub providers: Vec<Provider>,
}

/// `[server]`: where polytty listens and what it calls itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The TLS listener. Default `127.0.0.1:8443`.
    pub listen: SocketAddr,
    /// What clients reach it by; every link is built from it. `https`, no path. Required.
    pub public_url: BaseUrl,
    /// Plain HTTP for health and version. Default `127.0.0.1:9443`; `None` when set to `""`.
    pub admin_listen: Option<SocketAddr>,
    /// Origins whose pages may attach, beside that of `public_url`. Default none.
    pub origins: Vec<Origin>,
    /// The networks of proxies whose word on a client's address is taken. Default none.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether a connection of theirs begins with a header of the PROXY protocol, version 2. Default false.
    pub proxy_protocol: bool,
}

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `cert` and `key`, then `[[tls.certificates]]`. Never empty; the first is for whoever asks for no name, or for one
    /// that none of them holds.
    pub certificates: Vec<CertificateFiles>,
    /// The roots by which certificates of clients are verified. Default none: clients are not asked for any.
    pub client_ca: Option<PathBuf>,
    /// Whether a client may come without one. Default `optional`.
    pub client_auth: ClientAuth,
}

/// A certificate chain and its key, PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// `tls.client_auth`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// A client without a certificate gets in as far as TLS is concerned; one that shows a wrong one does not.
    Optional,
    /// Without a certificate there is no connection.
    Required,
}

/// `[tickets]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tickets {
    /// How long a link can be used. Default `30s`, 1 s to 1 h.
    pub ttl: Duration,
    /// How long a resume link can be used; an attached client is given a fresh one at half of it. Default `1h`, 1 s
    /// to 24 h.
    pub resume_ttl: Duration,
    /// Where tickets are kept. Default `memory`.
    pub store: TicketStore,
}

/// `[limits]`: what is refused, and at which number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections at once. Default 4096; above it, accepting waits.
    pub connections: u32,
    /// Of these, connections of one address (for IPv6, of one /64). Default 512.
    pub connections_per_address: u32,
    /// TLS handshakes of one address. Default 50 a second, 500 at once.
    pub handshakes: Rate,
    /// Requests of one address. Default 100 a second, 500 at once.
    pub requests: Rate,
    /// At which failed authentication or guessed ticket an address is locked out. Default 10.
    pub failures: u32,
    /// How long the first lock-out is. Each further one is twice as long. Default `10s`, 1 s to 1 d.
    pub lockout: Duration,
    /// How long one can be, and after how long without a failure all are forgotten. Default `15m`, `lockout` to 1 d.
    pub lockout_max: Duration,
    /// From accept to the end of the TLS handshake. Default `10s`.
    pub handshake_timeout: Duration,
    /// From the first byte of a request to the end of its head, and the same again for its body. Default `10s`.
    pub request_timeout: Duration,
    /// How long a message of a client may take to arrive, and a second more for each KiB of it. Default `30s`.
    pub message_timeout: Duration,
    /// How long an idle keep-alive connection is kept. Default `60s`.
    pub keep_alive: Duration,
    /// The largest body of an API request. Default `64KiB`.
    pub body: u64,
    /// Links minted by one key, or by one subject's tokens. Default 20 a second, 100 at once.
    pub mints: Rate,
    /// Links minted for one subject. Default 5 a second, 50 at once.
    pub subject_mints: Rate,
    /// Terminals opened at one provider that has no rate of its own. Default 20 a second, 100 at once.
    pub opens: Rate,
    /// Resident memory of the process, in bytes, from which on nobody new is let in; `None`, the default, stands for nine
    /// tenths of what it is given.
    pub memory: Option<u64>,
    /// Sessions at once, those with a link that nobody has used yet included. Default 4096.
    pub sessions: u32,
    /// Of these, sessions of one subject. Default 100.
    pub sessions_per_subject: u32,
    /// Links outstanding (minted, neither used nor expired) at once. Default 16384.
    pub tickets: u32,
    /// What a session may send and be sent. Default 8 MiB and 5000 messages of input a second, and any output.
    pub pace: PaceSettings,
}

/// `[sessions]`
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// `[[keys]]`: an API key, of which only the hash is known, or a client's certificate, or either. There is one of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Names the key in logs and lists.
    pub name: String,
    /// SHA-256 of the whole key, as `polytty key new` prints it (`sha256:` and 64 hex digits).
    pub hash: Option<[u8; 32]>,
    /// The certificate by which its holder may come instead.
    pub certificate: Option<CertificateName>,
    /// What its holder may do. Default: mint, observe and end, at all providers, for any subject.
    pub rights: Rights,
    /// Until when it is good. Default: for ever.
    pub expires_at: Option<Timestamp>,
}

/// `[jwt]`: the tokens of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwkSource {
    /// A file, read now and then.
    File(PathBuf),
    /// A URL, fetched now and then.
    Url(Endpoint),
}
