//! Terminal links: minted by the API, good for 30 seconds, shared ones for one upgrade.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::Result;

use crate::random;

/// The life of a link (GetWebTerminal, `IsShared`).
pub(super) const LINK_LIFE: Duration = Duration::from_secs(30);
/// Links at a time. At the bound no more are minted until some expire.
const MAX_LINKS: usize = 100_000;

/// Where a link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) job: String,
    pub(super) pod: String,
}

/// What became of a link at its upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was good, and is spent now.
    Good,
    /// It is not a shared link: whoever opens it has to be identified first. It is not spent.
    NeedsIdentity,
    /// It was never minted, leads elsewhere, or is spent or expired.
    Gone,
}

/// The links that can still be used.
#[derive(Debug, Default)]
pub(super) struct Links(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    by_token: HashMap<String, Link>,
    /// Every link lives equally long: the oldest expires first. Spent ones stay here until then.
    by_age: VecDeque<(SystemTime, String)>,
}

#[derive(Debug)]
struct Link {
    place: Place,
    shared: bool,
}

impl Links {
    /// The token of a new link, or `None` at the bound.
    pub(super) fn mint(&self, place: Place, shared: bool, now: SystemTime) -> Result<Option<String>> {
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

    /// Uses a link. Of any number of simultaneous uses of a shared one, one is good.
    pub(super) fn take(&self, token: &str, place: &Place, now: SystemTime) -> Taken {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.expire(now);
        match table.by_token.get(token) {
            Some(link) if link.place != *place => Taken::Gone,
            Some(link) if !link.shared => Taken::NeedsIdentity,
            Some(_) => {
                table.by_token.remove(token);
                Taken::Good
            }
            None => Taken::Gone,
        }
    }
}

impl Table {
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

    fn place(pod: &str) -> Place {
        Place { job: "job".to_owned(), pod: pod.to_owned() }
    }

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn a_shared_link_is_good_once_and_only_for_its_pod() {
        let links = Links::default();
        let token = links.mint(place("a"), true, START).unwrap().unwrap();
        assert_eq!(links.take(&token, &place("b"), START), Taken::Gone);
        assert_eq!(links.take("another", &place("a"), START), Taken::Gone);
        assert_eq!(links.take(&token, &place("a"), START), Taken::Good);
        assert_eq!(links.take(&token, &place("a"), START), Taken::Gone);
    }

    #[test]
    fn a_link_lives_for_thirty_seconds() {
        let links = Links::default();
        let [early, late] = [0, 1].map(|_| links.mint(place("a"), true, START).unwrap().unwrap());
        assert_eq!(links.take(&early, &place("a"), START + LINK_LIFE - Duration::from_millis(1)), Taken::Good);
        assert_eq!(links.take(&late, &place("a"), START + LINK_LIFE), Taken::Gone);
        assert!(links.0.lock().unwrap().by_age.is_empty());
    }

    #[test]
    fn a_common_link_asks_for_an_identity_and_is_not_spent() {
        let links = Links::default();
        let token = links.mint(place("a"), false, START).unwrap().unwrap();
        assert_eq!(links.take(&token, &place("a"), START), Taken::NeedsIdentity);
        assert_eq!(links.take(&token, &place("a"), START), Taken::NeedsIdentity);
        assert_eq!(links.take(&token, &place("a"), START + LINK_LIFE), Taken::Gone);
    }

    #[test]
    fn of_many_simultaneous_uses_one_is_good() {
        let links = Links::default();
        for _ in 0..200 {
            let token = links.mint(place("a"), true, START).unwrap().unwrap();
            let good: usize = std::thread::scope(|scope| {
                let uses: Vec<_> =
                    (0..4).map(|_| scope.spawn(|| links.take(&token, &place("a"), START) == Taken::Good)).collect();
                uses.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
            });
            assert_eq!(good, 1);
        }
    }
}
