//! Tickets in a Redis that replicas share.
//!
//! `polytty:ticket:HASH` holds a ticket: the run of the server under which it was minted, when it expires by the server's
//! clock, the replica that owns its session, and what it is good for. It is taken by one script, which overwrites it with
//! `gone` in the one write that it makes. A run that finds a ticket of another run refuses it for good: that one may have
//! been spent already, and this one would not know.
//!
//! The server forgets by itself: a ticket five minutes after it has expired, a spent one five minutes after it was.

mod outstanding;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use polytty_dialect::{Role, client_dialect};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Hash, MintError, Purpose, REMEMBERED, Refused, ReplicaId, SWEEP, StoreFuture, Taken, TicketStore};
use crate::redis::{CallError, Redis, Script};
use outstanding::Outstanding;

/// Tickets that this replica mints and takes. Those of other replicas lie beside them.
pub struct RedisStore {
    redis: Arc<Redis>,
    replica: ReplicaId,
    longest: Duration,
    outstanding: Outstanding,
    put: Script,
    take: Script,
}

impl RedisStore {
    /// A store in `redis` for the replica `replica`, which has at most `max_live` tickets outstanding. `longest` is how
    /// long a ticket of any replica lives: for so long after a restart, a ticket that is not known may have been forgotten.
    #[must_use]
    pub fn new(redis: Arc<Redis>, replica: ReplicaId, max_live: u32, longest: Duration) -> Arc<Self> {
        Arc::new(Self {
            redis,
            replica,
            longest,
            outstanding: Outstanding::new(max_live as usize),
            put: Script::new(include_str!("put.lua")),
            take: Script::new(include_str!("take.lua")),
        })
    }

    /// Sweeps forever. No ticket's expiry hangs on it: it only makes room under the bound.
    pub async fn keep_swept(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(SWEEP);
        loop {
            ticks.tick().await;
            self.outstanding.sweep(Instant::now());
        }
    }

    async fn try_put(&self, hash: Hash, purpose: Purpose, ttl: Duration) -> Result<(), CallError> {
        let stored = serde_json::to_string(&Stored::of(&purpose)).map_err(|_| CallError::Away)?;
        let replica = self.replica.to_string();
        let (ttl, remembered) = (ttl.as_millis().to_string(), REMEMBERED.as_millis().to_string());
        let arguments = [&ttl, &remembered, &replica, &stored].map(String::as_bytes);
        match self.redis.link()?.run(&self.put, &[ticket_key(hash).as_bytes()], &arguments).await? {
            1 => Ok(()),
            // Another ticket of the same 256 bits: what is there is not this one.
            _ => Err(CallError::Unknown),
        }
    }

    async fn try_take(&self, hash: Hash, subject: Option<&str>) -> Result<Taken, Refused> {
        let link = self.redis.link().map_err(|_| Refused::Unavailable)?;
        let (ticket, way) = (ticket_key(hash), way_key(hash));
        let (replica, remembered) = (self.replica.to_string(), REMEMBERED.as_millis().to_string());
        let is_somebody: &[u8] = if subject.is_some() { b"1" } else { b"0" };
        let arguments =
            [is_somebody, subject.unwrap_or_default().as_bytes(), replica.as_bytes(), remembered.as_bytes()];
        let answer = link.run(&self.take, &[ticket.as_bytes(), way.as_bytes()], &arguments).await;
        let (what, which): (String, String) = answer.map_err(|error| match error {
            CallError::Away => Refused::Unavailable,
            CallError::Unknown => Refused::Unanswered,
        })?;
        match what.as_str() {
            "taken" => {
                self.outstanding.remove(hash);
                read(&which).map(Taken::Here).ok_or(Refused::Unanswered)
            }
            "elsewhere" => match which.parse() {
                // A resume link of this replica's own that it has forgotten: nothing leads anywhere else.
                Ok(replica) if replica == self.replica => Err(Refused::Gone),
                Ok(replica) => Ok(Taken::Elsewhere(replica)),
                Err(()) => Err(Refused::Unknown),
            },
            "gone" => {
                self.outstanding.remove(hash);
                Err(Refused::Gone)
            }
            "restarted" => {
                self.outstanding.remove(hash);
                Err(Refused::Restarted)
            }
            _ if link.begun().at.elapsed() < self.longest => Err(Refused::Forgotten),
            _ => Err(Refused::Unknown),
        }
    }
}

impl TicketStore for RedisStore {
    fn put(&self, hash: Hash, purpose: Purpose, ttl: Duration) -> StoreFuture<'_, Result<(), MintError>> {
        Box::pin(async move {
            self.outstanding.insert(hash, Instant::now() + ttl)?;
            self.try_put(hash, purpose, ttl).await.map_err(|error| {
                // One whose fate is not known counts until it would have expired.
                if error == CallError::Away {
                    self.outstanding.remove(hash);
                }
                MintError::Unavailable
            })
        })
    }

    fn take<'a>(&'a self, hash: Hash, subject: Option<&'a str>) -> StoreFuture<'a, Result<Taken, Refused>> {
        Box::pin(self.try_take(hash, subject))
    }

    fn is_away(&self) -> bool {
        self.redis.link().is_err()
    }
}

fn ticket_key(hash: Hash) -> String {
    format!("polytty:ticket:{}", URL_SAFE_NO_PAD.encode(hash))
}

/// Where the replica is noted to which a resume link leads.
pub(super) fn way_key(hash: Hash) -> String {
    format!("polytty:way:{}", URL_SAFE_NO_PAD.encode(hash))
}

/// What a ticket is good for, as it is stored. A field that is not known here is of a newer version, and ignored.
#[derive(Serialize, Deserialize)]
struct Stored {
    session: String,
    role: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dialect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Arc<str>>,
}

impl Stored {
    fn of(purpose: &Purpose) -> Self {
        Self {
            session: purpose.session.to_string(),
            role: purpose.role.as_str().to_owned(),
            dialect: purpose.dialect.map(str::to_owned),
            owner: purpose.owner.clone(),
        }
    }
}

/// `None` where it was not written by this program.
fn read(stored: &str) -> Option<Purpose> {
    let Stored { session, role, dialect, owner } = serde_json::from_str(stored).ok()?;
    let role = [Role::Writer, Role::Viewer].into_iter().find(|known| known.as_str() == role)?;
    let dialect = dialect.and_then(|name| client_dialect(&name)).map(|dialect| dialect.name());
    Some(Purpose { session: session.parse().ok()?, role, dialect, owner })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionId;

    #[test]
    fn what_a_ticket_is_good_for_is_read_as_it_was_written() {
        let session = SessionId::random().unwrap();
        for (role, dialect, owner) in [
            (Role::Writer, None, None),
            (Role::Viewer, Some("raw"), Some("alice")),
            (Role::Writer, Some("polytty.v1"), Some("\"\\\n\u{1f600} \u{0} }")),
        ] {
            let purpose = Purpose { session, role, dialect, owner: owner.map(Into::into) };
            let stored = serde_json::to_string(&Stored::of(&purpose)).unwrap();
            assert_eq!(read(&stored), Some(purpose), "{stored}");
        }
        for other in ["", "{}", "[]", r#"{"session":"x","role":"writer"}"#] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
