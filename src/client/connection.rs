//! One WebSocket to a link.

use std::fmt;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use polytty_dialect::{Outbox, polytty_v1};
use tokio::time::timeout;

use super::link::Link;
use super::outcome::printable;
use crate::provider::{DialError, Dialer, Stream, WebSocketRefusal, WebSocketRequest};
use crate::socket::{Incoming, Options, Role, Socket};

/// The largest message that is taken, in bytes.
const MAX_MESSAGE: usize = 1 << 20;

/// polytty is pinged when it was silent for so long.
const PING_EVERY: Duration = Duration::from_secs(15);

/// It is lost when nothing comes for so long after that. It must be more than the 25 s after which polytty says
/// something by itself, less the above: while the terminal takes no input, it reads no ping.
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// How long a leave may take.
const LEAVE: Duration = Duration::from_secs(1);

/// A connection to a session, behind its opening handshake.
pub struct Connection {
    socket: Socket<Stream>,
}

impl Connection {
    /// Uses a link. `offset` is how much of the session's output there is already, for somebody who comes back. It has
    /// no deadline of its own; dropping the future closes what was opened.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]. Unless nothing was reached at all, an ordinary link may be spent by then.
    pub async fn open(dialer: &Dialer, link: &Link, offset: Option<u64>) -> Result<Self, ConnectError> {
        let path_and_query = &link.path_and_query(offset);
        let request = WebSocketRequest {
            tls: true,
            authority: link.authority(),
            path_and_query,
            subprotocol: Some(polytty_v1::SUBPROTOCOL),
            headers: HeaderMap::new(),
        };
        let (stream, already_read) = dialer.websocket(request).await?;
        let options =
            Options { role: Role::Client, max_message: MAX_MESSAGE, ping_every: PING_EVERY, pong_within: PONG_WITHIN };
        Ok(Self { socket: Socket::new(stream, &already_read, options) })
    }

    /// The next message, or how it ended.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        self.socket.poll_recv(cx)
    }

    /// Keeps the connection warm while it is not read.
    pub fn poll_idle(&mut self, cx: &mut Context<'_>) {
        self.socket.poll_idle(cx);
    }

    /// Ready when everything that was sent is with the kernel. A failure counts as ready; reading tells of it.
    pub fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_flushed(cx)
    }

    /// Queues messages, and takes them out of the outbox. Call it only after [`Connection::poll_flushed`] was ready.
    pub fn send(&mut self, outbox: &mut Outbox) {
        self.socket.send(outbox);
    }

    /// Sends what is queued and a Close, and gives up after a second.
    pub async fn leave(self) {
        let _ = timeout(LEAVE, self.socket.leave(1000, "the client leaves")).await;
    }

    /// Answers the Close of the other side, and gives up after a second.
    pub async fn part(self) {
        let _ = timeout(LEAVE, self.socket.part()).await;
    }
}

/// Why there is no connection. Displayed, it is one line without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The host's name has no address.
    Name(String),
    /// No address could be connected to.
    Unreachable(String),
    /// No secure connection, or not with whom it should be.
    Tls(String),
    /// It did not answer in time.
    Timeout,
    /// It broke off without an answer.
    NoAnswer(String),
    /// It answered in HTTP, with this status.
    Status(u16),
    /// It took the upgrade and broke WebSocket's rules in doing so; says which.
    Handshake(&'static str),
}

impl ConnectError {
    /// Whether it may be otherwise in a while.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Status(status) => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::Handshake(_) => false,
            Self::Name(_) | Self::Unreachable(_) | Self::Tls(_) | Self::Timeout | Self::NoAnswer(_) => true,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(why) => write!(f, "the host name cannot be resolved: {why}"),
            Self::Unreachable(why) => write!(f, "the proxy cannot be reached: {why}"),
            Self::Tls(why) => write!(f, "no secure connection to the proxy: {why}"),
            Self::Timeout => f.write_str("the proxy did not answer in time"),
            Self::NoAnswer(why) => write!(f, "the proxy broke off without an answer: {why}"),
            Self::Status(status) => match StatusCode::from_u16(*status).ok().and_then(|code| code.canonical_reason()) {
                Some(words) => write!(f, "refused with HTTP status {status} ({words})"),
                None => write!(f, "refused with HTTP status {status}"),
            },
            Self::Handshake(rule) => write!(f, "the answer is no WebSocket: {rule}"),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<WebSocketRefusal> for ConnectError {
    fn from(refusal: WebSocketRefusal) -> Self {
        let words = |error: io::Error| printable(&error.to_string());
        match refusal {
            WebSocketRefusal::Dial(DialError::Name(error)) => Self::Name(words(error)),
            WebSocketRefusal::Dial(DialError::NotPublic) => Self::Unreachable("not a public address".to_owned()),
            WebSocketRefusal::Dial(DialError::Connect(error)) => Self::Unreachable(words(error)),
            WebSocketRefusal::Dial(DialError::Tls(error)) => Self::Tls(words(error)),
            WebSocketRefusal::Broken(failure) => Self::NoAnswer(printable(&failure.detail)),
            WebSocketRefusal::Status(status) => Self::Status(status.as_u16()),
            WebSocketRefusal::Lie(rule) => Self::Handshake(rule),
        }
    }
}
