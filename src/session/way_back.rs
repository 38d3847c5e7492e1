//! Which resume links a session admits.
//!
//! Every attachment is given a link. Whoever comes by one has arrived only when something is heard of it: until then
//! the link it came by stays good, for the connection may have broken before the new one reached it. So there is a
//! chain of links, each given to somebody who came by the one before; being heard of spends all but the last, and
//! coming by one of them again spends all behind it.

use std::sync::Arc;

use polytty_dialect::Role;

use super::SessionId;
use crate::ticket::{Hash, Purpose, ResumeLink, ResumeLinks};

/// Links that a session admits at once. At the bound the oldest is spent: whoever holds it has been given newer ones
/// so many times.
const MAX_CHAIN: usize = 8;

/// The links of one session's writer, or of one of its viewers.
pub(super) struct WayBack {
    links: Arc<ResumeLinks>,
    session: SessionId,
    role: Role,
    /// The only subject that the links are for, where whoever came last came by one of its own.
    owner: Option<Arc<str>>,
    chain: Vec<Hash>,
    /// Of these, the one that whoever came last was given, if that client was given one.
    given: Option<Hash>,
}

impl WayBack {
    /// No links yet, for who comes as `role`.
    pub(super) fn new(links: Arc<ResumeLinks>, session: SessionId, role: Role) -> Self {
        Self { links, session, role, owner: None, chain: Vec::new(), given: None }
    }

    /// Whether a client that comes by this link is let in.
    pub(super) fn admits(&self, link: Hash) -> bool {
        self.chain.contains(&link)
    }

    /// Somebody came by this link, or by an ordinary one, which is for `owner` only: what was given to those before is
    /// spent.
    pub(super) fn arrived(&mut self, by: Option<Hash>, owner: Option<Arc<str>>) {
        self.owner = owner;
        let good = by.and_then(|link| self.chain.iter().position(|other| *other == link)).map_or(0, |at| at + 1);
        self.chain.drain(good..).for_each(|link| self.links.spend(link));
        self.given = None;
    }

    /// A new link for whoever is there; `None` without randomness.
    pub(super) fn issue(&mut self) -> Option<ResumeLink> {
        let purpose = Purpose { session: self.session, role: self.role, dialect: None, owner: self.owner.clone() };
        let link = self.links.issue(purpose).ok()?;
        if self.chain.len() == MAX_CHAIN {
            self.links.spend(self.chain.remove(0));
        }
        self.chain.push(link.hash);
        self.given = Some(link.hash);
        Some(link)
    }

    /// Whoever came last is there, and has the link that it was given, if any: all others are spent.
    pub(super) fn confirm(&mut self) {
        let given = self.given;
        self.chain.extract_if(.., |link| Some(*link) != given).for_each(|link| self.links.spend(link));
    }

    /// Whether no link leads here.
    pub(super) fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }

    /// How long a link lives.
    pub(super) fn ttl(&self) -> std::time::Duration {
        self.links.ttl()
    }
}

impl Drop for WayBack {
    fn drop(&mut self) {
        self.arrived(None, None);
    }
}
