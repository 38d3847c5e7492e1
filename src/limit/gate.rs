//! The limits that are kept by address, credential and subject, in one place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Address, Counts, Exceeded, Held, KeyedRate, Limit, Lockouts, Memory, NameKey};
use crate::config::Limits;
use crate::live::Live;
use crate::observe::Metrics;

/// How often what need not be remembered is swept out. Nothing expires by it: it only gives room and memory back.
const SWEEP: Duration = Duration::from_secs(5);

/// Everybody passes here and is counted.
pub struct Gate {
    connections: Counts<Address>,
    connections_per_address: AtomicU32,
    handshakes: Live<KeyedRate<Address>>,
    requests: Live<KeyedRate<Address>>,
    failures: Live<Lockouts>,
    mints: Live<KeyedRate<NameKey>>,
    subject_mints: Live<KeyedRate<NameKey>>,
    memory: Live<Memory>,
    metrics: Arc<Metrics>,
}

impl Gate {
    /// A gate with the configured limits.
    #[must_use]
    pub fn new(limits: &Limits, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            connections: Counts::new(Limit::ConnectionsPerAddress),
            connections_per_address: limits.connections_per_address.into(),
            handshakes: Live::new(KeyedRate::new(Limit::Handshakes, limits.handshakes)),
            requests: Live::new(KeyedRate::new(Limit::Requests, limits.requests)),
            failures: Live::new(Lockouts::new(limits.failures, limits.lockout, limits.lockout_max)),
            mints: Live::new(KeyedRate::new(Limit::Mints, limits.mints)),
            subject_mints: Live::new(KeyedRate::new(Limit::SubjectMints, limits.subject_mints)),
            memory: Live::new(Memory::new(limits.memory)),
            metrics,
        })
    }

    /// Takes other limits over from `old`. Where one has changed, what was counted for it is forgotten, but for connections:
    /// those that are there still count.
    pub fn change(&self, old: &Limits, new: &Limits) {
        self.connections_per_address.store(new.connections_per_address, Ordering::Relaxed);
        if old.handshakes != new.handshakes {
            self.handshakes.set(KeyedRate::new(Limit::Handshakes, new.handshakes));
        }
        if old.requests != new.requests {
            self.requests.set(KeyedRate::new(Limit::Requests, new.requests));
        }
        let lockout = |limits: &Limits| (limits.failures, limits.lockout, limits.lockout_max);
        if lockout(old) != lockout(new) {
            self.failures.set(Lockouts::new(new.failures, new.lockout, new.lockout_max));
        }
        if old.mints != new.mints {
            self.mints.set(KeyedRate::new(Limit::Mints, new.mints));
        }
        if old.subject_mints != new.subject_mints {
            self.subject_mints.set(KeyedRate::new(Limit::SubjectMints, new.subject_mints));
        }
        if old.memory != new.memory {
            self.memory.set(Memory::new(new.memory));
        }
    }

    /// Counts a connection as long as what this returns is held.
    ///
    /// # Errors
    ///
    /// [`Exceeded`].
    pub fn connection(&self, address: Address) -> Result<Held<Address>, Exceeded> {
        self.counted(self.connections.take(address, self.connections_per_address.load(Ordering::Relaxed)))
    }

    /// Counts a TLS handshake.
    ///
    /// # Errors
    ///
    /// [`Exceeded`].
    pub fn handshake(&self, address: Address) -> Result<(), Exceeded> {
        self.counted(self.handshakes.get().check(address))
    }

    /// Counts a request.
    ///
    /// # Errors
    ///
    /// [`Exceeded`].
    pub fn request(&self, address: Address) -> Result<(), Exceeded> {
        self.counted(self.requests.get().check(address))
    }

    /// Counts a failed authentication or a guessed ticket.
    ///
    /// # Errors
    ///
    /// [`Exceeded`] while the address is locked out: then this is the answer in place of what failed.
    pub fn failure(&self, address: Address) -> Result<(), Exceeded> {
        self.counted(self.failures.get().fail(address))
    }

    /// Counts a link that `by` mints for `subject`, if it is for anybody in particular.
    ///
    /// # Errors
    ///
    /// [`Exceeded`]. A subject that is refused takes nothing of the credential's rate, which others share.
    pub fn mint(&self, by: &str, subject: Option<&str>) -> Result<(), Exceeded> {
        let subject = subject.map_or(Ok(()), |subject| self.subject_mints.get().check(NameKey::of(&[subject])));
        self.counted(subject.and_then(|()| self.mints.get().check(NameKey::of(&[by]))))
    }

    /// Whether the process has memory for somebody new.
    ///
    /// # Errors
    ///
    /// [`Exceeded`].
    pub fn memory(&self) -> Result<(), Exceeded> {
        self.counted(self.memory.get().check())
    }

    /// Somebody waits for one of `limits.connections`.
    pub fn connections_are_full(&self) {
        self.metrics.limited(Limit::Connections.key());
    }

    /// Counts somebody whom another limit refused.
    pub fn refused(&self, exceeded: &Exceeded) {
        self.metrics.limited(exceeded.limit.key());
    }

    fn counted<T>(&self, passed: Result<T, Exceeded>) -> Result<T, Exceeded> {
        if let Err(exceeded) = &passed {
            self.refused(exceeded);
        }
        passed
    }

    /// Sweeps forever.
    pub async fn keep_swept(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(SWEEP);
        loop {
            ticks.tick().await;
            self.sweep();
        }
    }

    fn sweep(&self) {
        let addresses = [self.handshakes.get(), self.requests.get()].map(|rate| (rate.limit(), rate.sweep()));
        let names = [self.mints.get(), self.subject_mints.get()].map(|rate| (rate.limit(), rate.sweep()));
        let failures = [(Limit::Failures, self.failures.get().sweep())];
        for (limit, (entries, shared)) in addresses.into_iter().chain(names).chain(failures) {
            self.metrics.limit_map(limit.key(), entries, shared);
        }
        self.metrics.limit_map(Limit::ConnectionsPerAddress.key(), self.connections.len(), 0);
    }
}
