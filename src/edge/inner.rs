//! The listener for other replicas. What comes over it was counted, and its Host and Origin looked at, where the client is;
//! here it is served as any other request, but handed on to nobody.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::listener::ACCEPT_PAUSE;
use super::peer::Arrived;
use super::{Connection, Edge};
use crate::cluster::Cluster;
use crate::tls;

impl Edge {
    /// Accepts replicas until told to drain: nobody gets past the handshake without a certificate of theirs.
    pub async fn serve_replicas(self: Arc<Self>, listener: TcpListener, cluster: Arc<Cluster>) {
        // As many as there may be clients: each of them may have come by way of another replica.
        let places = Arc::new(Semaphore::new(self.limits.get().connections as usize));
        loop {
            let accepted = tokio::select! {
                () = self.drain.cancelled() => return,
                accepted = accept(&listener, &places) => accepted,
            };
            match accepted {
                Ok((stream, address, place)) => {
                    self.tasks.spawn(self.clone().replica(stream, address, place, cluster.server_config()));
                }
                Err(error) => {
                    tracing::debug!(error = ?error.to_string(), "cannot accept a replica; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn replica(
        self: Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
        tls: Arc<ServerConfig>,
    ) {
        let _ = stream.set_nodelay(true);
        match timeout(self.limits.get().handshake_timeout, tls::accept(tls, stream)).await {
            Ok(Ok(stream)) => {
                let connection = Connection { stream, _place: place, own: None };
                self.serve_http(connection, Arrived::Replica(address)).await;
            }
            Ok(Err(error)) => {
                tracing::warn!(peer = %address, error = ?error.to_string(), "somebody who is no replica was refused");
            }
            Err(_) => tracing::debug!(peer = %address, "TLS handshake timed out"),
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, place))
}
