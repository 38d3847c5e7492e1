//! Replicas: several processes that serve one `public_url`, share a store, and reach each other.
//!
//! Every session has one owning replica, the one that made it; its id begins with that replica's. Who is there is a list
//! in the store that every replica keeps its own line of (`members`). A request for a session, or an upgrade with a link
//! to one, that reaches another replica is handed to the owner over mutual TLS (`forward`), byte for byte: it is the
//! owner that authenticates, takes the ticket and speaks with the client. What takes one connection at a time, such as an
//! Oblien workspace, is leased to one replica (`places`).

mod counts;
mod forward;
mod members;
mod places;
mod replica;
mod tls;

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config;
use crate::live::Live;
use crate::redis::Redis;

pub use counts::{Counted, Counts, NotCounted};
pub use forward::{CLIENT_ADDRESS, CLIENT_CERTIFICATE, Unreached, handed_on, splice};
pub use members::Members;
pub use places::{Held, NotHeld, Places};
pub use replica::ReplicaId;
pub use tls::ClusterTlsError;

use forward::Forwarder;

/// This replica among the others.
pub struct Cluster {
    me: ReplicaId,
    members: Arc<Members>,
    places: Arc<Places>,
    counts: Arc<Counts>,
    forwarder: Forwarder,
    /// For those who connect to this one.
    server: Live<ServerConfig>,
    /// Lists of all replicas' sessions that are put together at once; each takes memory.
    listings: Semaphore,
}

/// How many that may be. Who asks for another one waits.
const MAX_LISTINGS: usize = 2;

impl Cluster {
    /// A replica that is reached as `settings` say. [`Cluster::keep_known`] has to run for the others to know of it.
    ///
    /// # Errors
    ///
    /// [`ClusterTlsError`], when its certificate or roots are of no use.
    pub fn new(me: ReplicaId, settings: &config::Cluster, redis: Arc<Redis>) -> Result<Arc<Self>, ClusterTlsError> {
        let forwarder = Forwarder::new(tls::client_config(settings)?);
        let members = Members::new(me, &settings.advertise, redis.clone());
        let places = Places::new(me, redis.clone());
        let counts = Counts::new(me, redis);
        let server = Live::new(tls::server_config(settings)?);
        let listings = Semaphore::new(MAX_LISTINGS);
        Ok(Arc::new(Self { me, members, places, counts, forwarder, server, listings }))
    }

    /// Finds out whether the files that `settings` name are of use.
    ///
    /// # Errors
    ///
    /// [`ClusterTlsError`].
    pub fn check(settings: &config::Cluster) -> Result<(), ClusterTlsError> {
        tls::client_config(settings)?;
        tls::server_config(settings).map(drop)
    }

    /// TLS for the listener that only replicas get through.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.server.get()
    }

    /// Reads certificate, key and roots again. Connections that are there go on.
    ///
    /// # Errors
    ///
    /// [`ClusterTlsError`]; everything is as it was.
    pub fn reload(&self, settings: &config::Cluster) -> Result<(), ClusterTlsError> {
        let (client, server) = (tls::client_config(settings)?, tls::server_config(settings)?);
        self.forwarder.show(client);
        self.server.set(server);
        Ok(())
    }

    /// Waits for the turn to put a list of all replicas' sessions together, which is over when what this returns is dropped.
    pub(crate) async fn listing(&self) -> Option<SemaphorePermit<'_>> {
        self.listings.acquire().await.ok()
    }

    /// This replica.
    #[must_use]
    pub fn me(&self) -> ReplicaId {
        self.me
    }

    /// What takes one connection at a time.
    #[must_use]
    pub fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// What all replicas count together.
    #[must_use]
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// The replicas that are there beside this one, as far as it knows.
    #[must_use]
    pub fn others(&self) -> Vec<ReplicaId> {
        self.members.others()
    }

    /// Keeps this replica's line in the list and its leases, for ever.
    pub async fn keep_known(self: Arc<Self>) {
        tokio::join!(self.members.keep_known(), self.places.keep_held(), self.counts.keep_said());
    }

    /// Gives its leases up and takes this replica out of the list, so that nobody waits for either to run out. Its sessions
    /// have to be gone by then.
    pub async fn leave(&self) {
        self.places.give_up_all().await;
        self.members.leave().await;
    }
}
