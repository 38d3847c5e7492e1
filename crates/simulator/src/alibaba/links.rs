//! Terminal links: minted by the API, good for 30 seconds and, but for those that ask for an identity, for one upgrade.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::Result;

use crate::random;

/// The life of a link: documented by GetWebTerminal (`IsShared`) and by ExecContainerCommand (`HttpUrl`).
const LINK_LIFE: Duration = Duration::from_secs(30);
/// Links at a time. At the bound no more are minted until some expire.
const MAX_LINKS: usize = 100_000;

/// What became of a link at its upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken<P> {
    /// It was good, led here, and is spent now.
    Good(P),
    /// It is not a shared link: whoever opens it has to be identified first. It is not spent.
    NeedsIdentity,
    /// It was never minted, leads elsewhere, or is spent or expired.
    Gone,
}

/// The links that can still be used. `P` says where they lead.
#[derive(Debug)]
pub(crate) struct Links<P>(Mutex<Table<P>>);

#[derive(Debug)]
struct Table<P> {
    by_token: HashMap<String, Link<P>>,
    /// Every link lives equally long: the oldest expires first. Spent ones stay here until then.
    by_age: VecDeque<(SystemTime, String)>,
}

#[derive(Debug)]
struct Link<P> {
    place: P,
    shared: bool,
}

impl<P> Default for Links<P> {
    fn default() -> Self {
        Self(Mutex::new(Table { by_token: HashMap::new(), by_age: VecDeque::new() }))
    }
}

impl<P> Links<P> {
    /// The token of a new link, or `None` at the bound.
    pub(crate) fn mint(&self, place: P, shared: bool, now: SystemTime) -> Result<Option<String>> {
        let token = random::token()?;
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.expire(now);
        if table.by_age.len() >= MAX_LINKS {
            return Ok(None);
        }
        table.by_token.insert(token.clone(), Link { place, shared });
        table.by_age.push_back((now + LINK_LIFE, token.clone()));
        Ok(Some(token))
    }

    /// Uses a link that leads to where it `fits`. Of any number of simultaneous uses of a shared one, one is good.
    pub(crate) fn take(&self, token: &str, now: SystemTime, fits: impl FnOnce(&P) -> bool) -> Taken<P> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.expire(now);
        match table.by_token.get(token) {
            Some(link) if !fits(&link.place) => Taken::Gone,
            Some(link) if !link.shared => Taken::NeedsIdentity,
            Some(_) => table.by_token.remove(token).map_or(Taken::Gone, |link| Taken::Good(link.place)),
            None => Taken::Gone,
        }
    }
}

impl<P> Table<P> {
    fn expire(&mut self, now: SystemTime) {
        while self.by_age.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, token)) = self.by_age.pop_front() {
                self.by_token.remove(&token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn a_shared_link_is_good_once_and_only_for_its_pod() {
        let links = Links::<&str>::default();
        let token = links.mint("a", true, START).unwrap().unwrap();
        assert_eq!(links.take(&token, START, |to| *to == "b"), Taken::Gone);
        assert_eq!(links.take("another", START, |to| *to == "a"), Taken::Gone);
        assert_eq!(links.take(&token, START, |to| *to == "a"), Taken::Good("a"));
        assert_eq!(links.take(&token, START, |to| *to == "a"), Taken::Gone);
    }

    #[test]
    fn a_link_lives_for_thirty_seconds() {
        let links = Links::<&str>::default();
        let [early, late] = [0, 1].map(|_| links.mint("a", true, START).unwrap().unwrap());
        assert_eq!(links.take(&early, START + LINK_LIFE - Duration::from_millis(1), |to| *to == "a"), Taken::Good("a"));
        assert_eq!(links.take(&late, START + LINK_LIFE, |to| *to == "a"), Taken::Gone);
        assert!(links.0.lock().unwrap().by_age.is_empty());
    }

    #[test]
    fn a_common_link_asks_for_an_identity_and_is_not_spent() {
        let links = Links::<&str>::default();
        let token = links.mint("a", false, START).unwrap().unwrap();
        assert_eq!(links.take(&token, START, |to| *to == "a"), Taken::NeedsIdentity);
        assert_eq!(links.take(&token, START, |to| *to == "a"), Taken::NeedsIdentity);
        assert_eq!(links.take(&token, START + LINK_LIFE, |to| *to == "a"), Taken::Gone);
    }

    #[test]
    fn of_many_simultaneous_uses_one_is_good() {
        let links = Links::<&str>::default();
        for _ in 0..200 {
            let token = links.mint("a", true, START).unwrap().unwrap();
            let good: usize = std::thread::scope(|scope| {
                let uses: Vec<_> = (0..4)
                    .map(|_| scope.spawn(|| links.take(&token, START, |to| *to == "a") == Taken::Good("a")))
                    .collect();
                uses.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
            });
            assert_eq!(good, 1);
        }
    }
}
