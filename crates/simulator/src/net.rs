//! The listener, and a connection that its user can also treat badly.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

/// Kernel buffer per direction, so that a client that does not read is noticed after a few frames. Bytes; Linux doubles
/// it for its own accounting.
const SOCKET_BUFFER: usize = 64 * 1024;
/// Connections at a time. Further ones wait in the accept queue.
const MAX_CONNECTIONS: usize = 12_000;
/// The accept queue.
const BACKLOG: i32 = 1_024;
/// A pause after an accept error: without it, a full descriptor table makes the loop spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds to `listen`, with small socket buffers that every accepted connection inherits.
///
/// # Errors
/// The address is not loopback and `allow_remote` is not set, or it cannot be bound.
pub(crate) fn bind(listen: SocketAddr, allow_remote: bool) -> Result<TcpListener> {
    ensure!(
        allow_remote || listen.ip().is_loopback(),
        "{listen} is not a loopback address: whoever reaches a simulator with its credentials gets a shell on this machine"
    );
    let socket = Socket::new(Domain::for_address(listen), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&listen.into()).with_context(|| format!("cannot bind to {listen}"))?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into())?)
}

/// Accepts until `cancel`, and runs `handler` for each connection in a task of its own, which ends with `cancel` too.
pub(crate) async fn accept_loop<H, F>(
    listener: TcpListener,
    tracker: TaskTracker,
    cancel: CancellationToken,
    handler: H,
) where
    H: Fn(Conn) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = async {
                let permit = Arc::clone(&permits).acquire_owned().await;
                (listener.accept().await, permit)
            } => accepted,
        };
        let (stream, permit) = match accepted {
            (Ok((stream, _)), Ok(permit)) => (stream, permit),
            (Err(error), _) => {
                warn!(?error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
            // The semaphore is never closed.
            (_, Err(_)) => return,
        };
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let work = handler(Conn::new(stream));
        let cancel = cancel.clone();
        tracker.spawn(async move {
            let _permit = permit;
            tokio::select! {
                () = cancel.cancelled() => {}
                () = work => {}
            }
        });
    }
}

/// A TCP connection. Clones are handles to the same connection; it is closed when the last one is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Conn(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stream: TcpStream,
    /// Most bytes per write call, 0 for no limit.
    chop: AtomicUsize,
}

impl Conn {
    fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Inner { stream, chop: AtomicUsize::new(0) }))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.stream.local_addr()
    }

    /// From now on the connection is reset when its last handle is dropped, and what was not delivered yet is lost.
    pub(crate) fn reset_on_drop(&self) -> io::Result<()> {
        self.0.stream.set_zero_linger()
    }

    /// Sends a FIN behind everything that was written; reading goes on.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        SockRef::from(&self.0.stream).shutdown(std::net::Shutdown::Write)
    }

    /// From now on every write call takes at most `bytes`, so that each becomes a TCP segment.
    pub(crate) fn chop(&self, bytes: usize) {
        self.0.chop.store(bytes, Ordering::Relaxed);
    }

    /// Writes everything behind the back of whatever else writes to this connection.
    pub(crate) async fn write_raw(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.0.stream.writable().await?;
            match self.0.stream.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads and throws away until the peer has ended its direction, or an error.
    pub(crate) async fn discard(&self) {
        let mut scratch = [0; 4 * 1024];
        loop {
            if self.0.stream.readable().await.is_err() {
                return;
            }
            match self.0.stream.try_read(&mut scratch) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    /// Waits, without reading, until the peer has ended its direction or reset the connection.
    pub(crate) async fn peer_gone(&self) {
        // Unread bytes keep the socket readable, so a readiness event cannot be waited for.
        const EVERY: Duration = Duration::from_millis(50);
        loop {
            match tokio::time::timeout(EVERY, self.0.stream.ready(tokio::io::Interest::READABLE)).await {
                Ok(Ok(ready)) if ready.is_read_closed() => return,
                Ok(Err(_)) => return,
                _ => sleep(EVERY).await,
            }
        }
    }
}

impl AsyncRead for Conn {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.stream.poll_read_ready(cx))?;
            match self.0.stream.try_read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Conn {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let chop = self.0.chop.load(Ordering::Relaxed);
        let bytes = if chop == 0 { bytes } else { &bytes[..chop.min(bytes.len())] };
        loop {
            ready!(self.0.stream.poll_write_ready(cx))?;
            match self.0.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown_write())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_loopback_is_bound_without_leave() {
        let error = bind("0.0.0.0:0".parse().unwrap(), false).unwrap_err();
        assert!(error.to_string().contains("loopback"), "{error}");
        assert!(bind("0.0.0.0:0".parse().unwrap(), true).is_ok());
        assert!(bind("127.0.0.1:0".parse().unwrap(), false).is_ok());
    }
}
