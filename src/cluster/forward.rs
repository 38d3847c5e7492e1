//! Hands requests to the replica that they are for, and carries the bytes behind an upgrade.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::members::Found;
use super::{Cluster, ReplicaId};
use crate::config::Authority;
use crate::live::Live;
use crate::tls::{self, ClientStream};

/// Carries the client's address to the owner. Between replicas only: from a client it means nothing.
pub const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("polytty-client-address");

/// From the first packet to the end of the TLS handshake with a replica.
const DIAL: Duration = Duration::from_secs(3);

/// How long a replica that is in the list, and cannot be reached, is tried for. By then the list knows whether it is gone.
const PATIENCE: Duration = Duration::from_secs(8);

/// The wait between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// From a request to the head of its answer. The longest that an answer takes is a ticket from a store that is slow.
const ANSWER: Duration = Duration::from_secs(15);

/// What is carried at once in each direction behind an upgrade, in bytes: the size of a TLS record.
const CHUNK: usize = 16 << 10;

/// How long a client may take to leave once the owner has.
const LINGER: Duration = Duration::from_secs(5);

/// How long nothing may move in either direction. The owner asks for a sign of life every 25 s, so by then one of the three
/// is gone, or the client has taken nothing for all that time.
const SILENCE: Duration = Duration::from_secs(300);

/// TCP keepalive: a replica that is gone without a word is noticed after about half a minute.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Carries what is known of the client's certificate to the owner, likewise.
pub const CLIENT_CERTIFICATE: HeaderName = HeaderName::from_static("polytty-client-certificate");

/// Why a request did not get to its replica, or its answer not back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// It is not in the list (any more): what it had is lost.
    Gone,
    /// It is in the list, and could not be reached. Nothing was sent.
    Away,
    /// The request was sent, and no answer came.
    Unanswered,
}

/// Dials replicas.
pub(super) struct Forwarder {
    tls: Live<ClientConfig>,
}

impl Forwarder {
    pub(super) fn new(tls: ClientConfig) -> Self {
        Self { tls: Live::new(tls) }
    }

    /// Shows another certificate, or trusts another root, from now on.
    pub(super) fn show(&self, tls: ClientConfig) {
        self.tls.set(tls);
    }

    async fn dial(&self, address: &Authority) -> io::Result<ClientStream<TcpStream>> {
        let host = address.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let tcp = TcpStream::connect((host, address.port_or(0))).await?;
        tcp.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3);
        SockRef::from(&tcp).set_tcp_keepalive(&keepalive)?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        tls::connect(self.tls.get(), name, tcp).await
    }
}

impl Cluster {
    /// Hands a request to its replica. What comes back is its answer, be it a refusal; behind a 101 there is an upgrade.
    ///
    /// # Errors
    ///
    /// [`Unreached`], after eleven seconds at the latest where nothing was sent.
    pub async fn forward(
        &self,
        to: ReplicaId,
        mut request: Request<Full<Bytes>>,
        client: SocketAddr,
    ) -> Result<Response<Incoming>, Unreached> {
        let stream = self.reach(to).await?;
        let address = HeaderValue::from_str(&client.to_string()).map_err(|_| Unreached::Away)?;
        request.headers_mut().insert(CLIENT_ADDRESS, address);
        let unanswered = |error: hyper::Error| {
            tracing::warn!(replica = %to, error = ?error.to_string(), "a replica did not answer");
            Unreached::Unanswered
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(unanswered)?;
        // It ends with the answer's body, or with the upgrade, and with the sender before any answer.
        tokio::spawn(connection.with_upgrades());
        match timeout(ANSWER, sender.send_request(request)).await {
            Ok(answer) => answer.map_err(unanswered),
            Err(_) => Err(Unreached::Unanswered),
        }
    }

    /// Connects to a replica, with patience for one that is in the list.
    async fn reach(&self, to: ReplicaId) -> Result<ClientStream<TcpStream>, Unreached> {
        let until = Instant::now() + PATIENCE;
        loop {
            let address = match self.members.find(to).await {
                Found::At(address) => address,
                Found::Gone => return Err(Unreached::Gone),
                Found::Unknown => return Err(Unreached::Away),
            };
            let error = match timeout_at(until.min(Instant::now() + DIAL), self.forwarder.dial(&address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            if Instant::now() >= until {
                tracing::warn!(replica = %to, address = %address, error = ?error.to_string(), "a replica cannot be reached");
                return Err(Unreached::Away);
            }
            sleep(PAUSE).await;
        }
    }
}

/// The request as its replica gets it: what the client has sent, with its body in one piece. Fields that are about the
/// client's connection stay behind, but for those of an upgrade.
#[must_use]
pub fn handed_on(
    method: Method,
    path: &str,
    headers: &HeaderMap,
    body: Bytes,
    is_upgrade: bool,
) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap_or_default();
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for (name, value) in headers {
        let is_hop = HOP.contains(name) || nominated.contains(name) || *name == CLIENT_ADDRESS;
        if !is_hop || (is_upgrade && *name == header::UPGRADE) {
            request.headers_mut().append(name, value.clone());
        }
    }
    if is_upgrade {
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    request
}

/// RFC 9110, section 7.6.1, and what hyper writes itself.
static HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
];

/// Carries bytes between a client and the replica behind an upgrade, until the owner has ended it and the client has left or
/// taken too long to. `early` is what the client has sent already.
///
/// # Errors
///
/// What the operating system or TLS says.
pub async fn splice<A, B>(client: A, early: &[u8], owner: B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (from_client, from_owner) = (Arc::new(Flow::default()), Arc::new(Flow::default()));
    let mut client = Watched { inner: client, flow: from_client.clone() };
    let mut owner = Watched { inner: owner, flow: from_owner.clone() };
    owner.write_all(early).await?;
    let left = async {
        from_owner.ended.cancelled().await;
        sleep(LINGER).await;
    };
    let silent = async {
        let mut before = None;
        loop {
            let now = Some((from_client.moved.load(Ordering::Relaxed), from_owner.moved.load(Ordering::Relaxed)));
            if now == before {
                break;
            }
            before = now;
            sleep(SILENCE).await;
        }
    };
    tokio::select! {
        carried = copy_bidirectional_with_sizes(&mut client, &mut owner, CHUNK, CHUNK) => carried.map(drop),
        () = left => Ok(()),
        () = silent => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// What came from one side.
#[derive(Default)]
struct Flow {
    moved: AtomicU64,
    ended: CancellationToken,
}

/// A stream that tells how much came from it, and when that was all.
struct Watched<S> {
    inner: S,
    flow: Arc<Flow>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        let count = buf.filled().len() - before;
        if count == 0 {
            self.flow.ended.cancel();
        }
        self.flow.moved.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    /// The owner has said its last word; the client says nothing, and does not leave.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_stays_behind_the_end_is_left_after_a_while() {
        let (near, mut client) = duplex(64);
        let (far, mut owner) = duplex(64);
        let carrying = tokio::spawn(splice(near, b"early", far));
        let mut early = [0; 5];
        owner.read_exact(&mut early).await.unwrap();
        owner.write_all(b"bye").await.unwrap();
        drop(owner);
        let mut said = [0; 3];
        client.read_exact(&mut said).await.unwrap();
        assert_eq!((&early, &said), (b"early", b"bye"));
        let begun = Instant::now();
        carrying.await.unwrap().unwrap();
        assert!(begun.elapsed() >= LINGER && begun.elapsed() < 2 * LINGER, "{:?}", begun.elapsed());
    }

    /// The client takes nothing, so the owner's end, which lies behind what it was to take, is never seen.
    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_moves_any_more_is_cut() {
        let (near, _client) = duplex(16);
        let (far, mut owner) = duplex(16);
        let carrying = tokio::spawn(splice(near, b"", far));
        let pouring = tokio::spawn(async move { owner.write_all(&[0; 100_000]).await });
        let begun = Instant::now();
        assert_eq!(carrying.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() <= 3 * SILENCE, "{:?}", begun.elapsed());
        assert!(pouring.await.unwrap().is_err());
    }
}
