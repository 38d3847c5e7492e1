//! A simulated Dockhand 1.0.36: its login and API tokens, the calls around a terminal, and the WebSocket of a terminal, with
//! a simulated Docker that starts real shells on a PTY behind it.
//!
//! It follows what real servers were seen to do, where that differs from their documentation: a WebSocket is a process of
//! its own, whatever was created by a call before; the 101 comes before anything is known of the container; what the
//! client says until the process is created is lost; a terminal has no size until it is given one; each chunk of output is
//! decoded by itself; the end has no reason; a client that leaves leaves its shell behind; and an illegal frame ends the
//! server's process. [`Flow::Documented`] is what the documentation says in its place.
//!
//! Choices of its own: a foreign `Origin` is refused, which the real server lets pass; the client is read no further while
//! a mebibyte of its input waits, and the terminal while its output waits, where the real server buffers without bound;
//! and the server that an illegal frame has ended is there again at once, with its login sessions but without its memory
//! of failed logins.

mod api;
mod auth;
mod detach;
mod docker;
mod faults;
mod login;
mod output;
mod plan;
mod session;
mod state;
mod totp;
mod upgrade;
mod wire;
mod world;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio_util::sync::DropGuard;

use crate::{
    Clock, FaultSwitch, Mode,
    mode::mode,
    pty, random,
    web::{Place, Site},
};
use auth::Accounts;
use docker::Docker;
use state::Server;
use world::World;

pub use auth::{Auth, Credential};
pub use faults::FAULTS;
pub use output::EARLY_OUTPUT;
pub use state::{Counters, Opening};
pub use world::{Connection, Container, Environment, State};

/// Which server it is: the one that there is, or the one that is documented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// The WebSocket creates the process. Sizes are messages.
    #[default]
    WebSocket,
    /// A call creates the process, the WebSocket attaches to it by its id, once and within a minute, and closing the
    /// WebSocket ends it. Sizes are calls; a `resize` message is ignored. The documentation names neither the path of the
    /// WebSocket nor its messages: `/api/exec/{id}`, the same with more behind it, and
    /// `/api/containers/{container}/exec?execId={id}` are good, and the messages are those of the other flow.
    Documented,
}

/// How to run the simulator. The default is what a client of a real server meets.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; default a free port of 127.0.0.1. Anything but loopback needs [`allow_remote`](Self::allow_remote).
    pub listen: SocketAddr,
    /// Whether to listen beyond loopback. Whoever then gets hold of the credentials has a shell on this machine. Default no.
    pub allow_remote: bool,
    /// `host:port` under which clients reach the simulator, and the only one that it answers to; default the address
    /// that a connection has arrived at.
    pub authority: Option<String>,
    /// The program that every shell of a container is, and its arguments; default an interactive `bash`, else `sh`,
    /// without start-up files.
    pub shell: Vec<String>,
    /// The time of day, for login sessions, locks, codes and execs. Default the system's.
    pub clock: Clock,
    /// Whether and how the server asks who calls. Default [`Auth::Required`].
    pub auth: Auth,
    /// The account and its API token; default `admin` with a new random password and token.
    pub credential: Option<Credential>,
    /// The life of a login session. Default a day.
    pub session_life: Duration,
    /// Which server it is. Default the one that there is.
    pub flow: Flow,
    /// The name of the container that runs; default `web`, or `web-` and 24 random characters with [`Auth::Off`].
    pub container: Option<String>,
    /// Time from the 101 to the created process; default at random 5 to 50 ms.
    pub create_delay: Option<Duration>,
    /// Time from a new size to its effect. Default 2 ms.
    pub resize_delay: Duration,
    /// Bytes of a message or frame of a client; a larger one is illegal. Default 100 MiB, as in the real server.
    pub max_message: usize,
    /// Shells at a time, those left behind included; further upgrades are refused with 503. Default 4,096.
    pub max_sessions: usize,
    /// Shells that are left behind at a time. At the bound the oldest is hung up. Default 256.
    pub max_orphans: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allow_remote: false,
            authority: None,
            shell: pty::default_shell(),
            clock: Clock::system(),
            auth: Auth::default(),
            credential: None,
            session_life: Duration::from_secs(86_400),
            flow: Flow::default(),
            container: None,
            create_delay: None,
            resize_delay: Duration::from_millis(2),
            max_message: 100 * 1024 * 1024,
            max_sessions: 4_096,
            max_orphans: 256,
        }
    }
}

/// Other servers than the one that is met first.
pub const MODES: &[Mode<Options>] = &[
    mode("documented", "Terminals are opened and resized as the documentation has it.", |options| {
        options.flow = Flow::Documented;
    }),
    mode("no-authentication", "Nobody is asked who they are, as by a version up to 1.0.33.", |options| {
        options.auth = Auth::Off;
    }),
];

/// Starts a simulated Dockhand in the background of the current tokio runtime.
///
/// # Errors
/// The address cannot be bound or is not loopback without leave, or there is no randomness for the credentials.
pub async fn start(options: Options) -> Result<Dockhand> {
    let Options { listen, allow_remote, authority, shell, clock, auth, max_sessions, .. } = options;
    ensure!(!shell.is_empty(), "the shell needs a program to start");
    let credential = options.credential.map_or_else(Credential::random, Ok)?;
    let container = match (options.container, auth) {
        (Some(name), _) => name,
        // Where nobody is asked for a token, the name has to do for one.
        (None, Auth::Off) => format!("web-{}", random::word(24)?),
        (None, _) => "web".to_owned(),
    };
    let (site, listener) = Site::bind(Place { listen, allow_remote, authority, max_sessions })?;
    let server = Arc::new(Server {
        site: Arc::clone(&site),
        world: World::new(&container)?,
        accounts: Accounts::new(auth, credential, clock.clone(), options.session_life)?,
        docker: Arc::new(Docker::new(clock.clone(), options.max_orphans)),
        tally: state::Tally::default(),
        openings: Default::default(),
        process: Default::default(),
        clock,
        shell,
        flow: options.flow,
        create_delay: options.create_delay,
        resize_delay: options.resize_delay,
        max_message: options.max_message,
    });
    site.serve(listener, Arc::clone(&server));
    let stop = site.cancel.clone().drop_guard();
    Ok(Dockhand { server, _stop: stop })
}

/// A running simulator. Dropped, it stops; [`shutdown`](Self::shutdown) also waits for its shells to be gone.
#[derive(Debug)]
pub struct Dockhand {
    server: Arc<Server>,
    _stop: DropGuard,
}

impl Dockhand {
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
    /// reaches it by its API token, and a `target` whose terminal can be opened.
    #[must_use]
    pub fn ready_line(&self) -> Value {
        self.ready_line_with(&[("token", &self.credential().token)])
    }

    /// The same with a provider entry that logs in. With [`Auth::Mfa`] that login asks for a code.
    #[must_use]
    pub fn ready_line_with_login(&self) -> Value {
        let Credential { username, password, .. } = self.credential();
        self.ready_line_with(&[("username", username), ("password", password)])
    }

    fn ready_line_with(&self, keys: &[(&str, &str)]) -> Value {
        let url = format!("http://{}", self.authority());
        let mut line = json!({
            "kind": "dockhand",
            "url": url,
            "provider": {"kind": "dockhand", "url": url, "allow_private": true},
            "target": {"container": self.container(), "environment": self.environments()[0].id, "shell": "/bin/sh"},
        });
        for (key, value) in keys {
            line["provider"][*key] = (*value).into();
        }
        if self.server.flow == Flow::Documented {
            line["provider"]["flow"] = "documented".into();
        }
        line
    }

    /// The account and its API token.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.server.accounts.credential
    }

    /// The secret of the account's one-time codes (RFC 6238), in base32. It matters with [`Auth::Mfa`] only.
    #[must_use]
    pub fn mfa_secret(&self) -> String {
        self.server.accounts.mfa_secret()
    }

    /// The code that is good once in place of a one-time code; `None` once it is used.
    #[must_use]
    pub fn backup_code(&self) -> Option<String> {
        self.server.accounts.backup_code()
    }

    /// The environments, one for each [`Connection`], with their containers.
    #[must_use]
    pub fn environments(&self) -> &[Environment] {
        &self.server.world.environments
    }

    /// The name of the container that runs, in every environment.
    #[must_use]
    pub fn container(&self) -> &str {
        &self.environments()[0].containers[0].name
    }

    /// What was asked for last, by WebSockets and by calls that create a process, the oldest first: at most 1,024.
    #[must_use]
    pub fn openings(&self) -> Vec<Opening> {
        self.server.openings()
    }

    /// Turns faults on and off.
    #[must_use]
    pub fn faults(&self) -> &FaultSwitch {
        &self.server.site.faults
    }

    /// Shells that live now, those left behind and those being hung up included.
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
        self.server.counters()
    }

    /// Ends every login session, so that its cookie is refused from now on. Open terminals are not affected.
    pub fn log_out_all(&self) {
        self.server.accounts.logout_all();
    }

    /// Stops listening, drops every connection, and waits until every shell is gone: up to about two seconds.
    pub async fn shutdown(self) {
        self.server.site.shutdown().await;
    }
}

/// A number as JavaScript's `parseInt` reads it: what follows the digits does not matter.
fn parse_int(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = digits.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(digits.len());
    text[..text.len() - digits.len() + end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_javascript_does() {
        for (text, number) in [("1", Some(1)), (" 12px", Some(12)), ("-3.9", Some(-3)), ("+4", Some(4))] {
            assert_eq!(parse_int(text), number, "{text}");
        }
        for text in ["", "x1", "-", "NaN"] {
            assert_eq!(parse_int(text), None, "{text}");
        }
    }
}
