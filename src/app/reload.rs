//! A new configuration for a polytty that runs: what can be replaced is, and what cannot is told.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::{App, StartError};
use crate::auth::Keys;
use crate::config::{Config, Limits, Log, Server, Tls};
use crate::control::Api;
use crate::edge::{Edge, acceptor};
use crate::limit::MintRate;
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
    /// Takes over what was changed.
    fn apply<T: Clone + PartialEq>(&mut self, key: &'static str, running: &mut T, new: &T, apply: impl FnOnce(&T)) {
        if running != new {
            apply(new);
            running.clone_from(new);
            self.applied.push(key);
        }
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
    /// in any case, the roots of clients, origins, API keys, deadlines, and the rate of minting. Sessions and connections
    /// go on; who somebody is, is asked again with every request. `log.filter` is left to the caller, who has the log.
    ///
    /// # Errors
    ///
    /// [`StartError::Tls`]; everything is as it was.
    pub fn reload(&self, new: &Config) -> Result<Reloaded, StartError> {
        // Whatever can fail comes first.
        let tls = acceptor(&new.tls)?;
        let mut replaceable = self.replaceable();
        let Replaceable { edge, api, config: running } = &mut *replaceable;
        let mut reloaded = Reloaded::default();
        edge.tls.set(tls);
        // Taken apart without a rest, so that a new section or key cannot be forgotten here.
        let Config { server, tls, tickets, limits, sessions, recording, log, jwt, keys, providers } = new;
        let Tls { certificates, client_ca, client_auth } = tls;
        reloaded.apply("tls.certificates", &mut running.tls.certificates, certificates, |_| {});
        reloaded.apply("tls.client_ca", &mut running.tls.client_ca, client_ca, |_| {});
        reloaded.apply("tls.client_auth", &mut running.tls.client_auth, client_auth, |_| {});
        reloaded.apply("keys", &mut running.keys, keys, |keys| api.identities.replace_keys(Keys::new(keys.clone())));
        self::server(&mut reloaded, &mut running.server, server, edge);
        self::limits(&mut reloaded, &mut running.limits, limits, edge, api);
        let Log { filter, format } = log;
        reloaded.apply("log.filter", &mut running.log.filter, filter, |_| {});
        reloaded.keep("log.format", &running.log.format, format);
        reloaded.keep("tickets", &running.tickets, tickets);
        reloaded.keep("sessions", &running.sessions, sessions);
        reloaded.keep("recording", &running.recording, recording);
        reloaded.keep("jwt", &running.jwt, jwt);
        reloaded.keep("providers", &running.providers, providers);
        Ok(reloaded)
    }

    fn replaceable(&self) -> MutexGuard<'_, Replaceable> {
        self.replaceable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn server(reloaded: &mut Reloaded, running: &mut Server, new: &Server, edge: &Edge) {
    let Server { listen, public_url, admin_listen, origins } = new;
    reloaded.apply("server.origins", &mut running.origins, origins, |origins| edge.origins.set(origins.clone()));
    reloaded.keep("server.listen", &running.listen, listen);
    reloaded.keep("server.public_url", &running.public_url, public_url);
    reloaded.keep("server.admin_listen", &running.admin_listen, admin_listen);
}

fn limits(reloaded: &mut Reloaded, running: &mut Limits, new: &Limits, edge: &Edge, api: &Api) {
    let Limits {
        connections,
        handshake_timeout,
        request_timeout,
        message_timeout,
        keep_alive,
        body,
        mints_per_second,
        mint_burst,
        sessions,
        tickets,
    } = new;
    let mint = (running.mints_per_second, running.mint_burst);
    reloaded.apply("limits.handshake_timeout", &mut running.handshake_timeout, handshake_timeout, |_| {});
    reloaded.apply("limits.request_timeout", &mut running.request_timeout, request_timeout, |_| {});
    reloaded.apply("limits.message_timeout", &mut running.message_timeout, message_timeout, |_| {});
    reloaded.apply("limits.keep_alive", &mut running.keep_alive, keep_alive, |_| {});
    reloaded.apply("limits.body", &mut running.body, body, |_| {});
    reloaded.apply("limits.mints_per_second", &mut running.mints_per_second, mints_per_second, |_| {});
    reloaded.apply("limits.mint_burst", &mut running.mint_burst, mint_burst, |_| {});
    edge.limits.set(running.clone());
    // A new rate forgets what was counted.
    if mint != (running.mints_per_second, running.mint_burst) {
        api.mint_rate.set(MintRate::new(running.mints_per_second, running.mint_burst));
    }
    reloaded.keep("limits.connections", &running.connections, connections);
    reloaded.keep("limits.sessions", &running.sessions, sessions);
    reloaded.keep("limits.tickets", &running.tickets, tickets);
}
