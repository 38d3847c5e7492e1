//! Hands requests to the replica that they are for, and carries the bytes behind an upgrade.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Cluster, ReplicaId};
use crate::config::Authority;

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
    tls: TlsConnector,
}

impl Forwarder {
    pub(super) fn new(tls: TlsConnector) -> Self {
        Self { tls }
    }

    async fn dial(&self, address: &Authority) -> io::Result<TlsStream<TcpStream>> {
        let host = address.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let tcp = TcpStream::connect((host, address.port_or(0))).await?;
        tcp.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3);
        SockRef::from(&tcp).set_tcp_keepalive(&keepalive)?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.tls.connect(name, tcp).await
    }
}

impl Cluster {
    /// Hands a request to its replica. What comes back is its answer, be it a refusal; behind a 101 there is an upgrade.
    ///
    /// # Errors
    ///
    /// [`Unreached`], after eight seconds at the latest where nothing was sent.
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
    async fn reach(&self, to: ReplicaId) -> Result<TlsStream<TcpStream>, Unreached> {
        let until = Instant::now() + PATIENCE;
        loop {
            let Some(address) = self.members.find(to).await else { return Err(Unreached::Gone) };
            let error = match timeout(DIAL, self.forwarder.dial(&address)).await {
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

/// Carries bytes between a client and the replica behind an upgrade, until one of them ends. `early` is what the client
/// has sent already.
///
/// # Errors
///
/// What the operating system or TLS says. Both ends are closed by then.
pub async fn splice<A, B>(mut client: A, early: &[u8], mut owner: B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    owner.write_all(early).await?;
    copy_bidirectional_with_sizes(&mut client, &mut owner, CHUNK, CHUNK).await.map(drop)
}
