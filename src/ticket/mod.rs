//! One-time links: a ticket is minted, and exactly one upgrade redeems it.
//!
//! A ticket is 256 random bits. Only its SHA-256 is kept, so what a store leaks opens nothing. Redeeming is one atomic
//! take that returns a [`Grant`]; nothing looks first and spends later. A spent or expired ticket is remembered for a
//! while, to tell its holder why, and is then as unknown as one that never was.

mod memory;
mod redis;
mod resume;
mod ways;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use polytty_dialect::{Code, Role};

use crate::auth::NoRandomness;
use crate::cluster::ReplicaId;
use crate::session::SessionId;

pub use memory::MemoryStore;
pub use redis::RedisStore;
pub use resume::{ResumeLink, ResumeLinks};
pub use ways::Ways;

/// The secret in a link. It shows itself only as part of the URL that is handed to its holder.
pub struct Ticket(String);

/// Length of a ticket in characters: 32 bytes in base64url without padding.
pub const TICKET_LEN: usize = 43;

/// How long a spent or expired ticket is told apart from one that never was.
const REMEMBERED: Duration = Duration::from_secs(300);

/// How often what is over is swept out.
const SWEEP: Duration = Duration::from_secs(5);

impl Ticket {
    /// 256 random bits.
    fn random() -> Result<Self, NoRandomness> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).map_err(|_| NoRandomness)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(secret)))
    }

    /// What is kept of it.
    fn hash(&self) -> Hash {
        hash(&self.0)
    }

    /// The characters that stand behind `/t/`.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(***)")
    }
}

/// SHA-256 of a ticket's characters.
pub type Hash = [u8; 32];

/// What a ticket is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// The session to attach to.
    pub session: SessionId,
    /// As what.
    pub role: Role,
    /// The dialect for a client that offers no subprotocol.
    pub dialect: Option<&'static str>,
    /// The only subject that may use it; `None` where whoever holds it may.
    pub owner: Option<Arc<str>>,
}

impl Purpose {
    /// Whether somebody who has shown to be `subject` may use it.
    fn is_for(&self, subject: Option<&str>) -> bool {
        self.owner.is_none() || self.owner.as_deref() == subject
    }
}

/// Proof that a ticket was redeemed. Only this module can make one, and it is used up by attaching.
#[derive(Debug)]
pub struct Grant {
    purpose: Purpose,
    resumes: Option<Hash>,
}

impl Grant {
    /// What its holder may do.
    #[must_use]
    pub fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// The resume link that it was, if it was one. Its session has the last word on whether it still admits it.
    #[must_use]
    pub fn resumes(&self) -> Option<Hash> {
        self.resumes
    }
}

/// Why a ticket was not redeemed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It was used, or its time is over.
    Gone,
    /// There is no such ticket, or no longer.
    Unknown,
    /// There is no such ticket, but the store began anew so lately that it may have been forgotten.
    Forgotten,
    /// The store began anew since it was minted, and cannot know whether it was used before.
    Restarted,
    /// The store cannot be reached; nothing was taken.
    Unavailable,
    /// The store was asked and did not answer. It may have been taken, and whoever asks again may hear that it is gone.
    Unanswered,
}

impl Refused {
    /// The stable name.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::Gone => Code::LinkGone,
            Self::Unknown => Code::NotFound,
            Self::Forgotten | Self::Restarted => Code::StoreRestarted,
            Self::Unavailable | Self::Unanswered => Code::StoreUnavailable,
        }
    }

    /// A sentence for whoever held the link.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Gone => "this link was already used or has expired; ask for a new one",
            Self::Unknown => "there is no such link",
            Self::Forgotten => "links were lost by a restart, this one perhaps among them; ask for a new one",
            Self::Restarted => "a restart has made this link unusable; ask for a new one",
            Self::Unavailable => "links cannot be looked up at the moment; this one was not used, try it again",
            Self::Unanswered => "whether this link was used is not known; ask for a new one",
        }
    }
}

/// Why no ticket was minted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MintError {
    /// `limits.tickets` are outstanding.
    Full,
    /// The operating system yields no random bytes.
    NoRandomness,
    /// The store cannot be reached, or did not say that it keeps the ticket.
    Unavailable,
}

impl MintError {
    /// The stable name.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::Full => Code::QuotaExceeded,
            Self::NoRandomness => Code::Internal,
            Self::Unavailable => Code::StoreUnavailable,
        }
    }
}

/// What a store finds for whoever may have a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was taken, and its session is in this process.
    Here(Purpose),
    /// It was not taken: this replica has its session.
    Elsewhere(ReplicaId),
}

/// A future that a store hands out.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where tickets are kept. Both calls are atomic.
pub trait TicketStore: Send + Sync {
    /// Keeps a ticket for `ttl`.
    fn put(&self, hash: Hash, purpose: Purpose, ttl: Duration) -> StoreFuture<'_, Result<(), MintError>>;

    /// Takes a ticket out, if it is for `subject` or for anybody. Of any number of simultaneous calls for one hash,
    /// exactly one gets it. To anybody else it is unknown, and stays where it is. It also stays where it is when its
    /// session is elsewhere: only the replica that has the session takes it. The call is never repeated.
    fn take<'a>(&'a self, hash: Hash, subject: Option<&'a str>) -> StoreFuture<'a, Result<Taken, Refused>>;

    /// Whether a call now would certainly come to nothing.
    fn is_away(&self) -> bool {
        false
    }
}

/// What redeeming a ticket leads to.
#[derive(Debug)]
pub enum Redeemed {
    /// To a session in this process.
    Here(Grant),
    /// To a session of this replica, which has to be asked; nothing is spent yet.
    Elsewhere(ReplicaId),
}

impl Redeemed {
    /// The grant; `None` where the session is elsewhere.
    #[must_use]
    pub fn here(self) -> Option<Grant> {
        match self {
            Self::Here(grant) => Some(grant),
            Self::Elsewhere(_) => None,
        }
    }
}

/// Mints and redeems.
#[derive(Clone)]
pub struct Tickets {
    store: Arc<dyn TicketStore>,
    ttl: Duration,
    resume: Arc<ResumeLinks>,
}

impl Tickets {
    /// Tickets in `store` that live for `ttl`, and the resume links beside them.
    #[must_use]
    pub fn new(store: Arc<dyn TicketStore>, ttl: Duration, resume: Arc<ResumeLinks>) -> Self {
        Self { store, ttl, resume }
    }

    /// How long a ticket lives.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Finds out whether there is any use in preparing what a ticket would be for.
    ///
    /// # Errors
    ///
    /// [`MintError::Unavailable`].
    pub fn check(&self) -> Result<(), MintError> {
        if self.store.is_away() { Err(MintError::Unavailable) } else { Ok(()) }
    }

    /// Makes a ticket.
    ///
    /// # Errors
    ///
    /// [`MintError`]; nothing was kept.
    pub async fn mint(&self, purpose: Purpose) -> Result<Ticket, MintError> {
        let ticket = Ticket::random().map_err(|NoRandomness| MintError::NoRandomness)?;
        self.store.put(ticket.hash(), purpose, self.ttl).await?;
        Ok(ticket)
    }

    /// Spends a ticket, or finds the session of a resume link, for somebody who has shown to be `subject`, if anybody in
    /// particular. This is the only way to a [`Grant`].
    ///
    /// # Errors
    ///
    /// [`Refused`]; a text that cannot be a ticket is unknown and is not looked up.
    pub async fn redeem(&self, ticket: &str, subject: Option<&str>) -> Result<Redeemed, Refused> {
        let well_formed = ticket.len() == TICKET_LEN
            && ticket.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !well_formed {
            return Err(Refused::Unknown);
        }
        let hash = hash(ticket);
        if let Some(found) = self.resume.find(hash, subject) {
            return Ok(Redeemed::Here(Grant { purpose: found?, resumes: Some(hash) }));
        }
        Ok(match self.store.take(hash, subject).await? {
            Taken::Here(purpose) => Redeemed::Here(Grant { purpose, resumes: None }),
            Taken::Elsewhere(replica) => Redeemed::Elsewhere(replica),
        })
    }
}

fn hash(ticket: &str) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, ticket.as_bytes()).as_ref());
    hash
}
