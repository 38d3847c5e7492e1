//! Connections that one exchange is done with and another one may use: a call of an API is a fraction of what a connection and
//! its handshake cost.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::stream::Hold;
use crate::config::units::BaseUrl;

/// How long a connection is kept that nobody uses. Load balancers close theirs after 15 s at the earliest.
const MOST_IDLE: Duration = Duration::from_secs(10);

/// How old one becomes: a name may come to mean another address, and a service be moved.
const MOST_AGE: Duration = Duration::from_secs(60);

/// How long what is sent over one that was kept may be without a sign that it has arrived: whoever has forgotten it on the way
/// says nothing, and there is the time for another one.
const UNANSWERED: Duration = Duration::from_secs(3);

/// How many are kept at once.
const MOST_KEPT: usize = 8;

/// The connections that a dialer keeps.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<VecDeque<Idle>>>);

struct Idle {
    base: BaseUrl,
    since: Instant,
    link: Link,
}

impl Idle {
    fn is_good(&self) -> bool {
        self.since.elapsed() < MOST_IDLE && self.link.is_good()
    }
}

/// An HTTP connection, which a task of its own drives; gone when this is dropped.
pub(super) struct Link {
    pub(super) sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
    /// Of one that may be kept.
    hold: Option<Hold>,
    born: Instant,
}

impl Link {
    /// A connection that was just made.
    pub(super) fn new(sender: SendRequest<Full<Bytes>>, driver: AbortHandle, hold: Option<Hold>) -> Self {
        Self { sender, driver, hold, born: Instant::now() }
    }

    fn is_good(&self) -> bool {
        self.born.elapsed() < MOST_AGE && !self.sender.is_closed()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Kept {
    /// A connection to `base`, if there is one: the one that was used last.
    pub(super) fn take(&self, base: &BaseUrl) -> Option<Link> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Idle::is_good);
        let at = idle.iter().rposition(|one| one.base == *base && one.link.sender.is_ready())?;
        idle.remove(at).map(|one| one.link)
    }

    /// Keeps a connection whose last answer was read whole, if it may be. At the bound the oldest one makes room.
    pub(super) fn keep(&self, base: &BaseUrl, link: Link) {
        let Some(hold) = link.hold.as_ref().filter(|_| link.is_good()) else { return };
        if hold.give_up_after(UNANSWERED).is_err() {
            return;
        }
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= MOST_KEPT {
            idle.pop_front();
        }
        idle.push_back(Idle { base: base.clone(), since: Instant::now(), link });
        let kept = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            tokio::time::sleep(MOST_IDLE).await;
            if let Some(kept) = kept.upgrade() {
                kept.lock().unwrap_or_else(PoisonError::into_inner).retain(Idle::is_good);
            }
        });
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}
