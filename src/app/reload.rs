//! A new configuration for a polytty that runs: what can be replaced is, and what cannot is told.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::{App, StartError};
use crate::auth::Keys;
use crate::config::{Cluster, Config, Limits, Log, Server, Tls};
use crate::control::Api;
use crate::edge::{Edge, server_config};
use crate::observe::Metrics;

/// What of a running polytty a reload replaces.
pub(super) struct Replaceable {
    pub(super) edge: Arc<Edge>,
    pub(super) api: Arc<Api>,
    /// What is in force.
    pub(super) config: Config,
}

/// What came of a reload, by keys of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Changed, and in force from now on.
    pub applied: Vec<&'static str>,
    /// Changed in the file, but in force only after a restart.
    pub kept: Vec<&'static str>,
}

impl Reloaded {
    /// Notes what was changed; whether it was.
    fn apply<T: Clone + PartialEq>(&mut self, key: &'static str, running: &mut T, new: &T) -> bool {
        let is_changed = running != new;
        if is_changed {
            running.clone_from(new);
            self.applied.push(key);
        }
        is_changed
    }

    fn keep<T: PartialEq>(&mut self, key: &'static str, running: &T, new: &T) {
        if running != new {
            self.kept.push(key);
        }
    }
}

impl App {
    /// What is counted, reloads among it.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        self.replaceable().api.metrics.clone()
    }

    /// Puts a new configuration in force as far as that goes without a restart: certificates, whose files are read again
    /// in any case, the roots of clients, origins, API keys, deadlines, limits by address, credential and subject, and what
    /// replicas show each other. Sessions and connections go on; who somebody is, is asked again with every request.
    /// `log.filter` is left to the caller, who has the log.
    ///
    /// # Errors
    ///
    /// [`StartError::Tls`] and [`StartError::Cluster`]; everything is as it was.
    pub fn reload(&self, new: &Config) -> Result<Reloaded, StartError> {
        // Whatever can fail comes first.
        let tls = server_config(&new.tls)?;
        if let (Some(cluster), Some(settings)) = (&self.cluster, &new.cluster) {
            cluster.reload(settings)?;
        }
        let mut replaceable = self.replaceable();
        let Replaceable { edge, api, config: running } = &mut *replaceable;
        let mut reloaded = Reloaded::default();
        edge.tls.set(tls);
        // Taken apart without a rest, so that a new section or key cannot be forgotten here.
        let Config { server, tls, tickets, limits, sessions, recording, log, cluster, jwt, keys, providers } = new;
        let Tls { certificates, client_ca, client_auth } = tls;
        reloaded.apply("tls.certificates", &mut running.tls.certificates, certificates);
        reloaded.apply("tls.client_ca", &mut running.tls.client_ca, client_ca);
        reloaded.apply("tls.client_auth", &mut running.tls.client_auth, client_auth);
        if reloaded.apply("keys", &mut running.keys, keys) {
            api.identities.replace_keys(Keys::new(keys.clone()));
        }
        self::server(&mut reloaded, &mut running.server, server, edge);
        self::limits(&mut reloaded, &mut running.limits, limits, edge);
        let Log { filter, format } = log;
        reloaded.apply("log.filter", &mut running.log.filter, filter);
        reloaded.keep("log.format", &running.log.format, format);
        reloaded.keep("tickets", &running.tickets, tickets);
        reloaded.keep("sessions", &running.sessions, sessions);
        reloaded.keep("recording", &running.recording, recording);
        self::cluster(&mut reloaded, &mut running.cluster, cluster.as_ref());
        reloaded.keep("jwt", &running.jwt, jwt);
        reloaded.keep("providers", &running.providers, providers);
        Ok(reloaded)
    }

    fn replaceable(&self) -> MutexGuard<'_, Replaceable> {
        self.replaceable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn server(reloaded: &mut Reloaded, running: &mut Server, new: &Server, edge: &Edge) {
    let Server { listen, public_url, admin_listen, origins, trusted_proxies, proxy_protocol } = new;
    if reloaded.apply("server.origins", &mut running.origins, origins) {
        edge.origins.set(origins.clone());
    }
    reloaded.keep("server.listen", &running.listen, listen);
    reloaded.keep("server.public_url", &running.public_url, public_url);
    reloaded.keep("server.admin_listen", &running.admin_listen, admin_listen);
    reloaded.keep("server.trusted_proxies", &running.trusted_proxies, trusted_proxies);
    reloaded.keep("server.proxy_protocol", &running.proxy_protocol, proxy_protocol);
}

/// The files have been read by now, under these names.
fn cluster(reloaded: &mut Reloaded, running: &mut Option<Cluster>, new: Option<&Cluster>) {
    let (Some(running), Some(new)) = (running.as_mut(), new) else {
        return reloaded.keep("cluster", &running.is_some(), &new.is_some());
    };
    let Cluster { listen, advertise, cert, key, ca } = new;
    reloaded.apply("cluster.cert", &mut running.cert, cert);
    reloaded.apply("cluster.key", &mut running.key, key);
    reloaded.apply("cluster.ca", &mut running.ca, ca);
    reloaded.keep("cluster.listen", &running.listen, listen);
    reloaded.keep("cluster.advertise", &running.advertise, advertise);
}

fn limits(reloaded: &mut Reloaded, running: &mut Limits, new: &Limits, edge: &Edge) {
    let Limits {
        connections,
        connections_per_address,
        handshakes,
        requests,
        failures,
        lockout,
        lockout_max,
        handshake_timeout,
        request_timeout,
        message_timeout,
        keep_alive,
        body,
        mints,
        subject_mints,
        opens,
        memory,
        sessions,
        sessions_per_subject,
        tickets,
        pace,
    } = new;
    let old = running.clone();
    reloaded.apply("limits.connections_per_address", &mut running.connections_per_address, connections_per_address);
    reloaded.apply("limits.handshakes_per_second", &mut running.handshakes, handshakes);
    reloaded.apply("limits.requests_per_second", &mut running.requests, requests);
    reloaded.apply("limits.failures", &mut running.failures, failures);
    reloaded.apply("limits.lockout", &mut running.lockout, lockout);
    reloaded.apply("limits.lockout_max", &mut running.lockout_max, lockout_max);
    reloaded.apply("limits.handshake_timeout", &mut running.handshake_timeout, handshake_timeout);
    reloaded.apply("limits.request_timeout", &mut running.request_timeout, request_timeout);
    reloaded.apply("limits.message_timeout", &mut running.message_timeout, message_timeout);
    reloaded.apply("limits.keep_alive", &mut running.keep_alive, keep_alive);
    reloaded.apply("limits.body", &mut running.body, body);
    reloaded.apply("limits.mints_per_second", &mut running.mints, mints);
    reloaded.apply("limits.subject_mints_per_second", &mut running.subject_mints, subject_mints);
    reloaded.apply("limits.memory", &mut running.memory, memory);
    reloaded.keep("limits.connections", &running.connections, connections);
    reloaded.keep("limits.opens_per_second", &running.opens, opens);
    reloaded.keep("limits.sessions", &running.sessions, sessions);
    reloaded.keep("limits.sessions_per_subject", &running.sessions_per_subject, sessions_per_subject);
    reloaded.keep("limits.tickets", &running.tickets, tickets);
    // Sessions keep theirs.
    reloaded.keep("limits.input_bytes_per_second", &running.pace, pace);
    edge.limits.set(running.clone());
    edge.gate.change(&old, running);
}
