//! The accept loop and the life of one connection.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::header::HeaderValue;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Connection;
use super::guard::{Guard, Timing};
use super::pages::Pages;
use super::peer::{Arrived, Peer, Proxies};
use super::spare::Spare;
use crate::auth::ClientCertificate;
use crate::cluster::CLIENT_CERTIFICATE;
use crate::config::{BaseUrl, Limits, Origin};
use crate::control::Api;
use crate::limit::Gate;
use crate::live::Live;
use crate::respond::Reply;
use crate::tls;

/// What the kernel may hold for a client that does not read, in bytes (the kernel doubles it for its own accounting).
/// Left alone it grows to megabytes per stalled terminal.
const SEND_BUFFER: usize = 128 * 1024;

/// What the kernel may hold of a client's input that we do not read, in bytes.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// The pause after a failed accept: without it, a process out of descriptors burns a core.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often that is told while it lasts.
const WARN_AGAIN: Duration = Duration::from_secs(10);

/// Everything the edge needs to let somebody in or turn them away.
pub struct Edge {
    /// The HTTP API.
    pub api: Arc<Api>,
    /// How clients reach us: the only `Host` that is served.
    pub public_url: BaseUrl,
    /// Origins whose pages may attach; that of `public_url` is always among them.
    pub origins: Live<Vec<Origin>>,
    /// Bounds and deadlines.
    pub limits: Live<Limits>,
    /// Who is counted by address.
    pub gate: Arc<Gate>,
    /// Who may speak for others.
    pub proxies: Proxies,
    /// The largest message of a client.
    pub max_message: usize,
    /// The cookie that holds a browser's token, where one may.
    pub cookie: Option<String>,
    /// The demo page, where there is one.
    pub pages: Option<Pages>,
    /// TLS.
    pub tls: Live<ServerConfig>,
    /// Connections, upgraded ones and those being turned away included.
    pub tasks: TaskTracker,
    /// Tells every connection to finish.
    pub drain: CancellationToken,
}

/// Binds a listener whose connections inherit bounded kernel buffers.
///
/// # Errors
///
/// What the operating system says.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

impl Edge {
    /// Accepts until told to drain. Accepting and spawning is all that happens in this loop.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(self.limits.get().connections as usize));
        let (mut spare, mut turned_away) = (Spare::new(), 0);
        let mut warned: Option<Instant> = None;
        loop {
            let accepted = tokio::select! {
                () = self.drain.cancelled() => return,
                accepted = accept(&listener, &places, &self.gate) => accepted,
            };
            match accepted {
                Ok((stream, peer, place)) => {
                    self.tasks.spawn(self.clone().connection(stream, peer, place));
                }
                Err(error) => {
                    if Spare::is_wanted(&error) {
                        turned_away += spare.turn_away(&listener).await;
                    }
                    // Without descriptors, each attempt fails; one word in a while says as much as twenty a second.
                    if warned.is_none_or(|at| at.elapsed() >= WARN_AGAIN) {
                        warned = Some(Instant::now());
                        tracing::warn!(error = ?error.to_string(), turned_away, "cannot accept; trying again");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, address: SocketAddr, place: OwnedSemaphorePermit) {
        let _ = stream.set_nodelay(true);
        let opened = timeout(self.limits.get().handshake_timeout, self.open(stream, address, place)).await;
        let (connection, peer) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => {
                tracing::debug!(peer = %address, error = ?error.to_string(), "no TLS connection");
                return;
            }
            Err(_) => {
                tracing::debug!(peer = %address, "TLS handshake timed out");
                return;
            }
        };
        self.serve_http(connection, Arrived::Client(peer)).await;
    }

    /// Serves requests over a connection until it ends.
    pub(super) async fn serve_http(self: Arc<Self>, connection: Connection, arrived: Arrived) {
        let limits = self.limits.get();
        let certificate = match arrived {
            Arrived::Client(_) => super::tls::client_certificate(connection.stream.state()),
            Arrived::Replica(_) => None,
        };
        let timing = Timing { request: limits.request_timeout, keep_alive: limits.keep_alive };
        let guarded = Guard::new(connection, timing);
        let edge = &self;
        let service = service_fn(move |mut request: Request<Incoming>| {
            know(&mut request, certificate.as_ref(), arrived);
            async move { Ok::<Reply, Infallible>(edge.route(request, arrived).await) }
        });
        let mut http = http1::Builder::new();
        // The guard keeps the time of heads and bodies; hyper's own timer only backs it up.
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.keep_alive + limits.request_timeout * 2)
            .max_buf_size(64 * 1024)
            .half_close(true);
        let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(guarded), service).with_upgrades());
        let served = tokio::select! {
            served = serving.as_mut() => served,
            () = self.drain.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(peer = %arrived, error = ?error.to_string(), "connection ended");
        }
    }

    /// Finds out who is there, counts them, and shakes hands. Who is beyond a limit is not spoken to: before TLS there is no
    /// word that a client would show.
    async fn open(
        &self,
        mut stream: TcpStream,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> io::Result<(Connection, Peer)> {
        let peer = self.proxies.meet(&mut stream, address).await?;
        let own = match peer.counted() {
            None => None,
            Some(address) => {
                let counted = self.gate.connection(address);
                let counted = counted.and_then(|own| self.gate.handshake(address).map(|()| own));
                Some(counted.map_err(|exceeded| io::Error::other(exceeded.message()))?)
            }
        };
        let stream = tls::accept(self.tls.get(), stream).await?;
        Ok((Connection { stream, _place: place, own }, peer))
    }
}

/// Notes the client's certificate where everybody looks for it; and, for whom the request may be handed on to, in a field,
/// which means nothing from a client.
fn know(request: &mut Request<Incoming>, certificate: Option<&ClientCertificate>, arrived: Arrived) {
    let said = request.headers_mut().remove(CLIENT_CERTIFICATE);
    match arrived {
        Arrived::Client(_) => {
            let Some(certificate) = certificate else { return };
            if let Ok(field) = HeaderValue::from_str(&certificate.handed_on()) {
                request.headers_mut().insert(CLIENT_CERTIFICATE, field);
            }
            request.extensions_mut().insert(certificate.clone());
        }
        Arrived::Replica(_) => {
            let said = said.as_ref().and_then(|field| ClientCertificate::of_replica(field.to_str().ok()?));
            if let Some(certificate) = said {
                request.extensions_mut().insert(certificate);
            }
        }
    }
}

/// Waits for a place first: what is not accepted stays in the kernel's queue, where it costs nothing.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    gate: &Gate,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    if places.available_permits() == 0 {
        gate.connections_are_full();
    }
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}
