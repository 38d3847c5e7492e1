//! Where tickets are kept, and the replicas that share it.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::StartError;
use crate::cluster::{Cluster, ReplicaId};
use crate::config::{Config, TicketStore};
use crate::observe::Metrics;
use crate::redis::Redis;
use crate::ticket::{self, MemoryStore, RedisStore, ResumeLinks, Ways};

/// The store, and what has to run for it.
pub(super) struct Store {
    pub(super) tickets: Arc<dyn ticket::TicketStore>,
    pub(super) redis: Option<Arc<Redis>>,
    /// Which of those that share it this process is.
    pub(super) replica: Option<ReplicaId>,
    /// The others.
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) background: Vec<JoinHandle<()>>,
}

impl Store {
    /// Begins to connect to what the configuration names.
    pub(super) fn start(
        config: &Config,
        resume: &Arc<ResumeLinks>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let max = config.limits.tickets;
        let server = match config.tickets.store.clone() {
            TicketStore::Memory => {
                let tickets = MemoryStore::new(max);
                let background = vec![tokio::spawn(tickets.clone().keep_swept())];
                return Ok(Self { tickets, redis: None, replica: None, cluster: None, background });
            }
            TicketStore::Redis(server) => server,
        };
        let replica = ReplicaId::random().map_err(|_| StartError::NoRandomness)?;
        let redis = Redis::new(server, metrics.clone()).map_err(StartError::StoreRoots)?;
        let cluster = config.cluster.as_ref().map(|settings| Cluster::new(replica, settings, redis.clone()));
        let cluster = cluster.transpose()?;
        let tickets = RedisStore::new(redis.clone(), replica, max, config.tickets.ttl);
        let ways = Ways::new(redis.clone(), replica, resume.clone());
        tracing::info!(replica = %replica, cluster = cluster.is_some(), "this is a replica");
        let mut background = vec![
            tokio::spawn(redis.clone().keep_connected()),
            tokio::spawn(tickets.clone().keep_swept()),
            tokio::spawn(ways.keep_noted()),
        ];
        background.extend(cluster.clone().map(|cluster| tokio::spawn(cluster.keep_known())));
        Ok(Self { tickets, redis: Some(redis), replica: Some(replica), cluster, background })
    }
}
