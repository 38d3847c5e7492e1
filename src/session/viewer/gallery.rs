//! Who watches a session, and who may come back to it.

use std::sync::Arc;

use polytty_dialect::Role;

use super::Seat;
use crate::session::SessionId;
use crate::session::way_back::WayBack;
use crate::ticket::{Hash, ResumeLink, ResumeLinks};

/// The viewers of a session.
pub(in crate::session) struct Gallery {
    there: Vec<(Seat, WayBack)>,
    /// The ways back of those who have left, the latest last; as many as there are seats. At the bound the oldest is
    /// spent.
    away: Vec<WayBack>,
    seats: usize,
    links: Arc<ResumeLinks>,
    session: SessionId,
}

/// Why there is no seat for a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum NoSeat {
    /// It came by a link that leads nowhere any more.
    Gone,
    /// All are taken.
    Full,
}

impl Gallery {
    /// An empty one.
    pub(in crate::session) fn new(seats: usize, links: Arc<ResumeLinks>, session: SessionId) -> Self {
        Self { there: Vec::new(), away: Vec::new(), seats, links, session }
    }

    /// A seat for a viewer that comes by this link, or by an ordinary one, which is for `owner` only. Who comes back takes the place of the
    /// connection before, should nobody have noticed yet that it is lost.
    ///
    /// # Errors
    ///
    /// [`NoSeat`]; a link that was come by stays as good as it was.
    pub(in crate::session) fn seat(&mut self, by: Option<Hash>, owner: Option<Arc<str>>) -> Result<Seat, NoSeat> {
        self.sweep();
        let mut way_back = match by {
            None if self.there.len() >= self.seats => return Err(NoSeat::Full),
            None => WayBack::new(self.links.clone(), self.session, Role::Viewer),
            Some(link) => self.found_again(link)?,
        };
        way_back.arrived(by, owner);
        let seat = Seat::new();
        self.there.push((seat.clone(), way_back));
        Ok(seat)
    }

    fn found_again(&mut self, link: Hash) -> Result<WayBack, NoSeat> {
        if let Some(at) = self.there.iter().position(|(_, way_back)| way_back.admits(link)) {
            let (older, way_back) = self.there.swap_remove(at);
            older.replace();
            return Ok(way_back);
        }
        let at = self.away.iter().position(|way_back| way_back.admits(link)).ok_or(NoSeat::Gone)?;
        if self.there.len() >= self.seats {
            return Err(NoSeat::Full);
        }
        Ok(self.away.remove(at))
    }

    /// A new link by which the viewer of this seat comes back; `None` when it has left, and without randomness.
    pub(in crate::session) fn issue(&mut self, seat: &Seat) -> Option<ResumeLink> {
        self.way_back(seat)?.issue()
    }

    /// The viewer of this seat has the link that it was given last.
    pub(in crate::session) fn confirm(&mut self, seat: &Seat) {
        if let Some(way_back) = self.way_back(seat) {
            way_back.confirm();
        }
    }

    /// Parts those who have left from those who are there. How many these are.
    pub(in crate::session) fn sweep(&mut self) -> usize {
        let Self { there, away, seats, .. } = self;
        let left = there.extract_if(.., |(seat, _)| seat.is_left()).map(|(_, way_back)| way_back);
        away.extend(left.filter(|way_back| !way_back.is_empty()));
        away.drain(..away.len().saturating_sub(*seats));
        there.len()
    }

    /// The seats of those who are there.
    pub(in crate::session) fn seats(&self) -> impl Iterator<Item = &Seat> {
        self.there.iter().map(|(seat, _)| seat)
    }

    /// Whether this seat is taken.
    pub(in crate::session) fn has(&self, seat: &Seat) -> bool {
        self.seats().any(|other| other.is(seat))
    }

    /// Whether nobody is there.
    pub(in crate::session) fn is_empty(&self) -> bool {
        self.there.is_empty()
    }

    fn way_back(&mut self, seat: &Seat) -> Option<&mut WayBack> {
        self.there.iter_mut().find(|(other, _)| other.is(seat)).map(|(_, way_back)| way_back)
    }
}
