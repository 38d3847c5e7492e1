//! A simulator's place on the network: its listener and name, its connections and shells, and its end.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Result;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::service::{self, Service};
use crate::{
    FaultSwitch,
    net::{self, Conn},
};

/// Where a simulator listens and how many it serves.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The address to bind to.
    pub(crate) listen: SocketAddr,
    /// Whether it may be another than one of loopback.
    pub(crate) allow_remote: bool,
    /// The `host:port` that it answers to, if not the address that a connection has arrived at.
    pub(crate) authority: Option<String>,
    /// Shells at a time.
    pub(crate) max_sessions: usize,
}

/// What all connections of a simulator share, of whatever kind it is.
#[derive(Debug)]
pub(crate) struct Site {
    addr: SocketAddr,
    authority: Option<String>,
    pub(crate) faults: FaultSwitch,
    /// One for each shell that may still be started.
    permits: Arc<Semaphore>,
    live: AtomicUsize,
    connections: AtomicUsize,
    /// Every task belongs here: [`shutdown`](Self::shutdown) waits for them.
    pub(crate) tracker: TaskTracker,
    /// The end of the simulator. A session hangs its shell up then.
    pub(crate) cancel: CancellationToken,
}

impl Site {
    /// Binds, without serving yet.
    ///
    /// # Errors
    /// The address cannot be bound, or is not loopback without leave.
    pub(crate) fn bind(place: Place) -> Result<(Arc<Self>, TcpListener)> {
        let listener = net::bind(place.listen, place.allow_remote)?;
        let site = Self {
            addr: listener.local_addr()?,
            authority: place.authority,
            faults: FaultSwitch::default(),
            permits: Arc::new(Semaphore::new(place.max_sessions.min(Semaphore::MAX_PERMITS))),
            live: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            tracker: TaskTracker::new(),
            cancel: CancellationToken::new(),
        };
        Ok((Arc::new(site), listener))
    }

    /// Serves in the background until the site is [cancelled](Self::cancel).
    pub(crate) fn serve<S: Service>(self: &Arc<Self>, listener: TcpListener, service: Arc<S>) {
        let site = Arc::clone(self);
        self.tracker.spawn(net::accept_loop(listener, self.tracker.clone(), self.cancel.clone(), move |conn| {
            let (site, service) = (Arc::clone(&site), Arc::clone(&service));
            service::serve(site, service, conn)
        }));
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The `host:port` to reach it by.
    pub(crate) fn authority(&self) -> String {
        self.authority.clone().unwrap_or_else(|| {
            let ip = self.addr.ip();
            let ip = if ip.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { ip };
            SocketAddr::new(ip, self.addr.port()).to_string()
        })
    }

    /// The only `host:port` that requests of this connection may name.
    pub(super) fn authority_of(&self, conn: &Conn) -> std::io::Result<String> {
        match &self.authority {
            Some(authority) => Ok(authority.clone()),
            None => Ok(conn.local_addr()?.to_string()),
        }
    }

    /// Leave for one more shell, or `None` at the bound.
    pub(crate) fn permit(self: &Arc<Self>) -> Option<Permit> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        self.live.fetch_add(1, Ordering::SeqCst);
        Some(Permit { site: Arc::clone(self), _permit: permit })
    }

    /// Shells that live now: [permits](Permit) that are held.
    pub(crate) fn sessions(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    /// Connections that are open now.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn connected(self: &Arc<Self>) -> Connected {
        self.connections.fetch_add(1, Ordering::SeqCst);
        Connected(Arc::clone(self))
    }

    /// Stops listening, drops every connection, and waits until every task has ended.
    pub(crate) async fn shutdown(&self) {
        self.cancel.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Leave for one shell, and its place in the count of live ones.
#[derive(Debug)]
pub(crate) struct Permit {
    site: Arc<Site>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.site.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A connection's place in the count of open ones.
#[derive(Debug)]
pub(super) struct Connected(Arc<Site>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shells_are_counted_and_bounded() {
        let place =
            Place { listen: "127.0.0.1:0".parse().unwrap(), allow_remote: false, authority: None, max_sessions: 1 };
        let (site, _listener) = Site::bind(place).unwrap();
        let permit = site.permit().unwrap();
        assert!(site.permit().is_none());
        assert_eq!(site.sessions(), 1);
        drop(permit);
        assert_eq!(site.sessions(), 0);
        assert!(site.permit().is_some());
        assert_eq!(site.authority(), site.addr().to_string());
    }
}
