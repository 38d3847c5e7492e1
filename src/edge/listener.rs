//! The accept loop and the life of one connection.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Connection;
use super::guard::{Guard, Timing};
use super::pages::Pages;
use crate::config::{BaseUrl, Limits, Origin};
use crate::control::Api;
use crate::live::Live;
use crate::respond::Reply;

/// What the kernel may hold for a client that does not read, in bytes (the kernel doubles it for its own accounting).
/// Left alone it grows to megabytes per stalled terminal.
const SEND_BUFFER: usize = 128 * 1024;

/// What the kernel may hold of a client's input that we do not read, in bytes.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// The pause after a failed accept: without it, a process out of descriptors burns a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    /// The largest message of a client.
    pub max_message: usize,
    /// The cookie that holds a browser's token, where one may.
    pub cookie: Option<String>,
    /// The demo page, where there is one.
    pub pages: Option<Pages>,
    /// TLS.
    pub tls: Live<TlsAcceptor>,
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
        let mut warned: Option<Instant> = None;
        loop {
            let accepted = tokio::select! {
                () = self.drain.cancelled() => return,
                accepted = accept(&listener, &places) => accepted,
            };
            match accepted {
                Ok((stream, peer, place)) => {
                    self.tasks.spawn(self.clone().connection(stream, peer, place));
                }
                Err(error) => {
                    // Without descriptors, each attempt fails; one word in a while says as much as twenty a second.
                    if warned.is_none_or(|at| at.elapsed() >= WARN_AGAIN) {
                        warned = Some(Instant::now());
                        tracing::warn!(error = ?error.to_string(), "cannot accept; trying again");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let _ = stream.set_nodelay(true);
        let limits = self.limits.get();
        let handshake = timeout(limits.handshake_timeout, self.tls.get().accept(stream)).await;
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(peer = %peer, error = ?error.to_string(), "TLS handshake failed");
                return;
            }
            Err(_) => {
                tracing::debug!(peer = %peer, "TLS handshake timed out");
                return;
            }
        };
        let certificate = super::tls::client_certificate(stream.get_ref().1);
        let timing = Timing { request: limits.request_timeout, keep_alive: limits.keep_alive };
        let guarded = Guard::new(Connection { stream, _place: place }, timing);
        let edge = &self;
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(certificate) = &certificate {
                request.extensions_mut().insert(certificate.clone());
            }
            async move { Ok::<Reply, Infallible>(edge.route(request, peer).await) }
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
            tracing::debug!(peer = %peer, error = ?error.to_string(), "connection ended");
        }
    }
}

/// Waits for a place first: what is not accepted stays in the kernel's queue, where it costs nothing.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}
