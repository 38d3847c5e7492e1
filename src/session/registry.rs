//! All sessions of this process: who is there, who was there lately, and how many there may be.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use futures_channel::mpsc;
use jiff::Timestamp;
use polytty_dialect::Code;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::info::{Facts, Record};
use super::{COMMANDS, Command, Ending, Info, Session, SessionId, Settings, Spec, task};
use crate::auth::NoRandomness;
use crate::cluster::Held;
use crate::limit::{Claim, Exceeded, NoPlace, Place, Quotas};
use crate::observe::Metrics;
use crate::provider::Failure;

/// How many ended sessions are remembered; the oldest is forgotten at the bound.
const ENDED: usize = 1024;

/// How long a session outwaits its link, so that a link used in its last moment still finds it.
const OUTWAIT: Duration = Duration::from_secs(5);

/// The sessions of this process.
pub struct Sessions {
    live: DashMap<SessionId, Arc<Session>>,
    ended: Mutex<VecDeque<(SessionId, Info)>>,
    quotas: Quotas,
    tasks: TaskTracker,
    drain: CancellationToken,
    settings: Arc<Settings>,
    metrics: Arc<Metrics>,
}

/// Why no session was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateError {
    /// As many are there as may be.
    Full(Exceeded),
    /// The store that replicas count by is away.
    StoreAway,
    /// This process is shutting down.
    Draining,
    /// The operating system yields no random bytes.
    NoRandomness,
}

impl From<NoPlace> for CreateError {
    fn from(why: NoPlace) -> Self {
        match why {
            NoPlace::Full(exceeded) => Self::Full(exceeded),
            NoPlace::StoreAway => Self::StoreAway,
        }
    }
}

impl From<NoRandomness> for CreateError {
    fn from(_: NoRandomness) -> Self {
        Self::NoRandomness
    }
}

impl Sessions {
    /// An empty registry with room for as many sessions as the quotas say.
    #[must_use]
    pub fn new(quotas: Quotas, settings: Settings, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            live: DashMap::new(),
            ended: Mutex::new(VecDeque::new()),
            quotas,
            tasks: TaskTracker::new(),
            drain: CancellationToken::new(),
            settings: Arc::new(settings),
            metrics,
        })
    }

    /// Creates a session that waits for its first client as long as a link of `ttl` may bring it.
    ///
    /// # Errors
    ///
    /// [`CreateError`]; nothing was created.
    pub async fn create(self: &Arc<Self>, mut spec: Spec, ttl: Duration) -> Result<Arc<Session>, CreateError> {
        if self.drain.is_cancelled() {
            return Err(CreateError::Draining);
        }
        let workspace = spec.provider.workspace(&spec.target);
        let claim = Claim { subject: spec.subject.as_deref(), provider: &spec.provider, workspace: workspace.as_ref() };
        let place = self.quotas.reserve(claim).await?;
        // Beside these, the sender has room for one.
        let (commands, inbox) = mpsc::channel(COMMANDS - 1);
        let facts = Facts {
            provider: spec.provider.name().into(),
            kind: spec.provider.kind().name,
            subject: spec.subject.clone(),
            labels: spec.labels.clone(),
            created_at: Timestamp::now(),
            record: spec.record && self.settings.recorder.is_some(),
        };
        let session = Arc::new(Session {
            id: self.settings.replica.map_or_else(SessionId::random, SessionId::at)?,
            dialect: spec.dialect,
            shared: spec.shared,
            record: Record::new(facts, spec.size),
            commands: tokio::sync::Mutex::new(commands),
        });
        self.live.insert(session.id, session.clone());
        let (held, gone) = (spec.held.take(), CancellationToken::new());
        if let Some(held) = &held {
            self.tasks.spawn(end_when_lost(held.lost(), gone.clone(), session.clone()));
        }
        let gone = held.is_some().then(|| gone.drop_guard());
        let listed = Listed { registry: self.clone(), id: session.id, _place: place, _held: held, _gone: gone };
        let task = Box::new(task::Task {
            session: session.clone(),
            inbox,
            settings: self.settings.clone(),
            drain: self.drain.child_token(),
            metrics: self.metrics.clone(),
            tasks: self.tasks.clone(),
            viewers: Vec::new(),
            born: Instant::now(),
            _listed: listed,
        });
        let until = Instant::now() + Self::patience(ttl);
        self.tasks.spawn(task.run(Box::new(spec), until));
        Ok(session)
    }

    /// How long a session waits for the holder of a link that lives for `ttl`.
    #[must_use]
    pub fn patience(ttl: Duration) -> Duration {
        ttl + OUTWAIT
    }

    /// A session that is there.
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<Arc<Session>> {
        self.live.get(&id).map(|session| session.value().clone())
    }

    /// How a session stands, or stood when it ended lately.
    #[must_use]
    pub fn info(&self, id: SessionId) -> Option<Info> {
        if let Some(session) = self.get(id) {
            return Some(session.info());
        }
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.iter().rev().find(|(other, _)| *other == id).map(|(_, info)| info.clone())
    }

    /// All that are there and all that ended lately, the newest first.
    #[must_use]
    pub fn list(&self) -> Vec<Info> {
        let mut list: Vec<_> = self.live.iter().map(|session| session.info()).collect();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        list.extend(ended.iter().map(|(_, info)| info.clone()));
        drop(ended);
        list.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.id.cmp(&b.id)));
        list.dedup_by(|a, b| a.id == b.id);
        list
    }

    /// How many are there.
    #[must_use]
    pub fn count(&self) -> usize {
        self.live.len()
    }

    /// Ends all sessions and waits until the last client had its Close, `patience` at the most. Whether all left.
    pub async fn drain(&self, patience: Duration) -> bool {
        self.drain.cancel();
        self.tasks.close();
        tokio::time::timeout(patience, self.tasks.wait()).await.is_ok()
    }

    fn forget(&self, id: SessionId) {
        let Some(session) = self.get(id) else { return };
        // Where it has not said how it ended, its task has come to grief. The first word on this counts.
        session.record.end(&Ending::Failed(Failure::new(Code::Internal, "The session failed inside of this proxy.")));
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() == ENDED {
            ended.pop_front();
        }
        ended.push_back((id, session.info()));
        drop(ended);
        // In this order: whoever asks in between finds it in one of the two, or in both.
        self.live.remove(&id);
    }
}

/// The place of a session in the registry and in the quotas, given up with the session's task, however that ends.
pub(super) struct Listed {
    registry: Arc<Sessions>,
    id: SessionId,
    _place: Place,
    _held: Option<Held>,
    _gone: Option<DropGuard>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.registry.forget(self.id);
    }
}

/// Ends a session whose workspace has gone to another replica, whose connection has taken the place of this one's.
async fn end_when_lost(lost: CancellationToken, gone: CancellationToken, session: Arc<Session>) {
    tokio::select! {
        () = lost.cancelled() => {
            let message = "The workspace has gone to another replica of this proxy.";
            let _ = session.tell(Command::Fail(Box::new(Failure::new(Code::Evicted, message)))).await;
        }
        () = gone.cancelled() => {}
    }
}
