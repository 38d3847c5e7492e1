//! How to run the simulator.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::access::Credential;
use crate::{Clock, Mode, mode::mode, pty, web::Stop};

/// How a WebSocket ends that another one replaces. No document tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// A Close with this code and reason.
    Close(u16, &'static str),
    /// A TCP FIN without a Close.
    Fin,
    /// A TCP reset.
    Reset,
}

impl Default for Eviction {
    /// A Close with code 1000 and no reason.
    fn default() -> Self {
        Self::Close(1000, "")
    }
}

impl Eviction {
    pub(super) fn stop(self) -> Stop {
        match self {
            Self::Close(code, reason) => Stop::Close(code, reason),
            Self::Fin => Stop::Fin,
            Self::Reset => Stop::Reset,
        }
    }
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
    /// The program and its arguments where a client names none; default an interactive `bash`, else `sh`, without
    /// start-up files.
    pub shell: Vec<String>,
    /// The time of day, for tokens. Default the system's.
    pub clock: Clock,
    /// The API key; default a new random one.
    pub credential: Option<Credential>,
    /// Shells at a time, in all workspaces; further ones are refused with 503. Default 4,096.
    pub max_sessions: usize,
    /// Terminals that a workspace may have, those that have ended included until they are deleted: 1 to 255. Default 10.
    pub max_terminals: usize,
    /// The HTTP status that refuses one more. Default 429.
    pub limit_status: u16,
    /// Whether the token of a WebSocket counts only in the query of its opening request. Default no.
    pub query_token_only: bool,
    /// Whether pings are answered. Default yes.
    pub answers_pings: bool,
    /// Names of the runtimes that a workspace has besides the default one, at most 64. Default `macos`.
    pub targets: Vec<String>,
    /// Whether the lowest free id is given, so that ids of deleted terminals come again at once. Default no: an id comes
    /// again only after all others.
    pub reuse_ids: bool,
    /// How a WebSocket ends that another one replaces.
    pub eviction: Eviction,
    /// The code of the exit message that a deletion brings, if it brings one. Default -1.
    pub exit_on_delete: Option<i32>,
    /// Bytes of scrollback per frame of the replay, at least 1. Default all in one.
    pub replay_chunk: usize,
    /// Whether the replay has the scrollback of terminals that have ended, too. Default no.
    pub replay_ended: bool,
    /// The life of a token of the data plane. Default one hour.
    pub token_life: Duration,
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
            max_sessions: 4_096,
            max_terminals: 10,
            limit_status: 429,
            query_token_only: false,
            answers_pings: true,
            targets: vec!["macos".to_owned()],
            reuse_ids: false,
            eviction: Eviction::default(),
            exit_on_delete: Some(-1),
            replay_chunk: usize::MAX,
            replay_ended: false,
            token_life: Duration::from_secs(60 * 60),
        }
    }
}

/// What the documents leave open, as other servers may have decided it.
pub const MODES: &[Mode<Options>] = &[
    mode("query-token-only", "The WebSocket's token counts only in the query of its opening request.", |options| {
        options.query_token_only = true;
    }),
    mode("no-pongs", "No ping is answered.", |options| options.answers_pings = false),
    mode("ids-come-again", "The lowest free id is given to the next terminal.", |options| options.reuse_ids = true),
    mode("limit-409", "The eleventh terminal is refused with 409.", |options| options.limit_status = 409),
    mode("evict-by-fin", "A WebSocket that another one replaces ends by a FIN.", |options| {
        options.eviction = Eviction::Fin;
    }),
    mode("evict-by-reset", "A WebSocket that another one replaces ends by a reset.", |options| {
        options.eviction = Eviction::Reset;
    }),
    mode("replay-in-pieces", "Scrollback is repeated in frames of 100 bytes.", |options| options.replay_chunk = 100),
    mode("replay-ended", "The scrollback of terminals that have ended is repeated, too.", |options| {
        options.replay_ended = true;
    }),
    mode("silent-deletion", "A deletion brings no exit message.", |options| options.exit_on_delete = None),
];
