//! How many sessions there may be: in total, for one subject, at one provider, in one workspace.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Counts, Exceeded, Held, Limit, NameKey};
use crate::cluster::{self, Counted, NotCounted};
use crate::observe::Metrics;
use crate::provider::{Entry, Workspace};

/// For whom and where a session is to be.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// For whom, where its creator says so. Sessions of nobody in particular count in total and at their provider only.
    pub subject: Option<&'a str>,
    /// At which provider.
    pub provider: &'a Entry,
    /// In which workspace, where the provider has a bound for each.
    pub workspace: Option<&'a Workspace>,
}

/// A session's places in all counts that concern it, given back when this is dropped.
pub struct Place {
    _total: OwnedSemaphorePermit,
    _provider: OwnedSemaphorePermit,
    _workspace: Option<Held<NameKey>>,
    _subject: Option<Held<NameKey>>,
    counted: Option<Counted>,
}

/// The counts of sessions. The one place where a session is reserved.
///
/// Where there are replicas, sessions of a subject and at a provider are counted over all of them. The total is that of this
/// process, and a workspace has one replica only.
pub struct Quotas {
    total: Arc<Semaphore>,
    max: u32,
    /// There are never more entries than sessions, and so never more than `limits.sessions`.
    subjects: Counts<NameKey>,
    per_subject: u32,
    workspaces: Counts<NameKey>,
    shared: Option<Arc<cluster::Counts>>,
    metrics: Arc<Metrics>,
}

/// Why there is no place for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// A count is full.
    Full(Exceeded),
    /// The store that replicas count by is away.
    StoreAway,
}

impl From<Exceeded> for NoPlace {
    fn from(exceeded: Exceeded) -> Self {
        Self::Full(exceeded)
    }
}

impl Quotas {
    /// `max` sessions, `per_subject` of them for one subject; `shared` is what all replicas count together.
    #[must_use]
    pub fn new(max: u32, per_subject: u32, shared: Option<Arc<cluster::Counts>>, metrics: Arc<Metrics>) -> Self {
        Self {
            total: Arc::new(Semaphore::new(max as usize)),
            max,
            subjects: Counts::new(Limit::SessionsPerSubject),
            per_subject,
            workspaces: Counts::new(Limit::WorkspaceSessions),
            shared,
            metrics,
        }
    }

    /// Reserves a session.
    ///
    /// # Errors
    ///
    /// [`NoPlace`], by the narrowest count that is full; nothing was taken.
    pub async fn reserve(&self, claim: Claim<'_>) -> Result<Place, NoPlace> {
        let place = match self.take(claim) {
            Ok(mut place) => self.count(claim).await.map(|counted| {
                place.counted = counted;
                place
            }),
            Err(exceeded) => Err(exceeded.into()),
        };
        if let Err(NoPlace::Full(exceeded)) = &place {
            self.metrics.limited(exceeded.limit.key());
        }
        place
    }

    /// Counts a session with those of all replicas.
    async fn count(&self, claim: Claim<'_>) -> Result<Option<Counted>, NoPlace> {
        let Some(shared) = &self.shared else { return Ok(None) };
        let (_, allowed) = claim.provider.sessions();
        let mut counts = vec![(format!("provider:{}", claim.provider.name()), allowed)];
        counts.extend(claim.subject.map(|subject| (format!("subject:{subject}"), self.per_subject)));
        match shared.reserve(&counts).await {
            Ok(counted) => Ok(Some(counted)),
            Err(NotCounted::Full(0)) => Err(Exceeded::count(Limit::ProviderSessions, allowed).into()),
            Err(NotCounted::Full(_)) => Err(Exceeded::count(Limit::SessionsPerSubject, self.per_subject).into()),
            Err(NotCounted::Away) => Err(NoPlace::StoreAway),
        }
    }

    fn take(&self, claim: Claim<'_>) -> Result<Place, Exceeded> {
        let subject = claim.subject.map(|subject| self.subjects.take(NameKey::of(&[subject]), self.per_subject));
        let subject = subject.transpose()?;
        let workspace = claim
            .workspace
            .map(|workspace| self.workspaces.take(NameKey::of(&[&workspace.name]), workspace.max_sessions));
        let workspace = workspace.transpose()?;
        let (_, allowed) = claim.provider.sessions();
        let provider = claim.provider.place().ok_or(Exceeded::count(Limit::ProviderSessions, allowed))?;
        let total = self.total.clone().try_acquire_owned();
        let total = total.map_err(|_| Exceeded::count(Limit::Sessions, self.max))?;
        Ok(Place { _total: total, _provider: provider, _workspace: workspace, _subject: subject, counted: None })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use polytty_dialect::{Code, Size};
    use serde_json::Value;

    use super::*;
    use crate::provider::{BoxFuture, Failure, Kind, Provider, Target, Upstream};

    struct Nothing;

    impl Provider for Nothing {
        fn target(&self, _: &Value) -> Result<Target, String> {
            Ok(Target::new(()))
        }

        fn open<'a>(&'a self, _: &'a Target, _: Size) -> BoxFuture<'a, Result<Box<dyn Upstream>, Failure>> {
            Box::pin(std::future::ready(Err(Failure::new(Code::Internal, "nothing"))))
        }
    }

    fn provider(name: &str, max: u32) -> Entry {
        let kind = Kind { name: "nothing", title: "Nothing" };
        Entry::new(name.to_owned(), kind, max, Duration::from_secs(1), Box::new(Nothing))
    }

    #[tokio::test]
    async fn each_count_is_reached_refused_by_its_name_and_free_again_when_a_session_ends() {
        let (a, b) = (provider("a", 4), provider("b", 100));
        let workspace = Workspace { name: "ws".to_owned(), max_sessions: 2 };
        let claim = |subject, provider, workspace| Claim { subject, provider, workspace };
        for (filling, limit, quota, max, per_subject) in [
            (claim(None, &b, None), Limit::Sessions, 3, 3, 100),
            (claim(Some("ada"), &b, None), Limit::SessionsPerSubject, 2, 100, 2),
            (claim(Some("ada"), &a, None), Limit::ProviderSessions, 4, 100, 100),
            (claim(Some("ada"), &b, Some(&workspace)), Limit::WorkspaceSessions, 2, 100, 100),
        ] {
            let metrics = Arc::new(Metrics::default());
            let quotas = Quotas::new(max, per_subject, None, metrics.clone());
            let mut places = Vec::new();
            let exceeded = loop {
                match quotas.reserve(filling).await {
                    Ok(place) => places.push(place),
                    Err(NoPlace::Full(exceeded)) => break exceeded,
                    Err(NoPlace::StoreAway) => unreachable!("there is none"),
                }
            };
            assert_eq!((exceeded, places.len()), (Exceeded::count(limit, quota), quota as usize));
            let line = format!("polytty_limited_total{{limit=\"{}\"}} 1", limit.key());
            assert!(metrics.render(0).lines().any(|found| found == line), "{line}");
            // What was refused holds nothing of the counts that had room.
            places.pop();
            places.push(quotas.reserve(filling).await.unwrap_or_else(|full| panic!("{full:?}")));
            drop(places);
            assert!(quotas.subjects.is_empty() && quotas.workspaces.is_empty());
        }
    }

    #[tokio::test]
    async fn one_subject_or_workspace_that_is_full_is_not_felt_by_another() {
        let provider = provider("a", 100);
        let quotas = Quotas::new(100, 1, None, Arc::default());
        let (one, other) = (
            Workspace { name: "one".to_owned(), max_sessions: 1 },
            Workspace { name: "other".to_owned(), max_sessions: 1 },
        );
        let claim = |subject, workspace| Claim { subject, provider: &provider, workspace };
        let _ada = quotas.reserve(claim(Some("ada"), Some(&one))).await.unwrap_or_else(|full| panic!("{full:?}"));
        let _bob = quotas.reserve(claim(Some("bob"), Some(&other))).await.unwrap_or_else(|full| panic!("{full:?}"));
        assert!(quotas.reserve(claim(Some("eve"), Some(&one))).await.is_err());
        assert!(quotas.reserve(claim(Some("eve"), None)).await.is_ok());
        assert!(quotas.reserve(claim(None, None)).await.is_ok(), "nobody in particular");
    }
}
