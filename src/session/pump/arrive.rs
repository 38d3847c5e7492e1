//! A client that comes, for the first time or again.

use bytes::Bytes;
use polytty_dialect::{Code, Resume, ServerEvent};
use tokio::time::Instant;

use super::{Pump, replaced};
use crate::session::attachment::{Attachment, Unconfirmed};
use crate::session::info::State;
use crate::session::screen::Screen;
use crate::ticket::{Refused, ResumeLink};

/// What a client is told whose offset lies in the future.
const AHEAD: &str = "offset is more than the output of this session so far";

/// Makes a terminal of which nothing is known fit for what follows: ends an unfinished sequence (CAN), then DECSTR,
/// leaves the alternate screen, ends mouse and focus reports, bracketed paste and synchronized output, shows the
/// cursor, and takes back margins, key modes, character set and colours (xterm, "Control Sequences").
pub(super) const RESET: &[u8] = b"\x18\x1b[!p\x1b[?1049l\x1b[?47l\x1b[?9;1000;1001;1002;1003;1004;1005;1006;1015;1016l\
\x1b[?2004l\x1b[?2026l\x1b[?25h\x1b[r\x1b[?1;6l\x1b[?7h\x1b[4l\x1b>\x0f\x1b(B\x1b[m";

impl Pump<'_> {
    /// Makes a client the session's own, in place of the one that is there, and tells it what it has missed.
    ///
    /// A client that knows how much output it has gets what follows that. One that knows nothing, or too little for
    /// what is still held, gets all that is held, behind a reset.
    pub(super) fn attach(&mut self, mut client: Attachment) {
        let arrival = client.arrival().clone();
        let end = self.ring.end();
        let refusal = match (arrival.resumes, arrival.offset) {
            (Some(link), _) if !self.way_back.admits(link) => Some((Code::LinkGone, Refused::Gone.message())),
            (_, Some(offset)) if offset > end => Some((Code::BadMessage, AHEAD)),
            _ => None,
        };
        if let Some((code, message)) = refusal {
            self.task.tasks.spawn(client.refuse(code, message));
            return;
        }
        if let Some(older) = self.client.take() {
            self.last = older.position();
            self.task.tasks.spawn(replaced(older));
        }
        // Who comes back by its own link knows what its terminal has shown. Of any other terminal it is only known
        // what it was sent.
        if arrival.resumes.is_none() || arrival.offset.is_none() {
            self.shown = self.shown.max(self.last);
        }
        let known = arrival.offset.filter(|offset| *offset >= self.ring.start());
        let from = known.unwrap_or_else(|| self.ring.first_boundary());
        let missing = from - arrival.offset.unwrap_or(0);
        let repeated = self.shown.clamp(from, end) - from;

        self.way_back.arrived(arrival.resumes, arrival.owner);
        let link = self.give_link(&client);
        let record = &self.task.session.record;
        let resume = link.as_ref().map(|link| (link.url.as_str(), link.expires_at.to_string()));
        let resume = resume.as_ref().map(|(url, expires_at)| Resume { url, expires_at });
        client.ready(self.task.session.id, self.size, from, record.input(), resume);
        if known.is_none() && end > 0 {
            client.synthetic(Bytes::from_static(RESET));
        }
        // What is held may lack the beginning, and was written for the sizes of then.
        if known.is_none() && end > 0 && self.screen.as_mut().is_some_and(Screen::is_whole) {
            client.want_screen();
        }
        if repeated > 0 || missing > 0 {
            client.replay(repeated, missing);
        }
        for (_, gap) in self.gaps.iter().filter(|(at, _)| from <= *at) {
            client.notice(gap);
        }
        if let Some(notice) = self.untold.take() {
            client.notice(&notice);
        }
        if !self.viewers.is_empty() {
            client.reply(&ServerEvent::Viewers(record.viewers()));
        }
        if arrival.resumes.is_some() {
            client.expect(Unconfirmed::Message);
        }
        record.set_state(State::Attached);
        record.set_size(self.size);
        self.client = Some(client);
        // It hears the end for itself, should there be one.
        self.farewell = None;
        self.must_read = false;
        self.upstream.attended(true);
        let now = Instant::now();
        (self.active, self.over_since) = (now, now);
        self.moved = true;
    }

    /// Gives the client a fresh resume link, before the one that it has runs out.
    pub(super) fn renew(&mut self) {
        let Some(mut client) = self.client.take() else { return };
        if client.is_confirmed() {
            if let Some(link) = self.give_link(&client) {
                client.renew(Resume { url: &link.url, expires_at: &link.expires_at.to_string() });
                client.expect(Unconfirmed::Pong);
            }
        } else {
            self.renewal = Some(Instant::now() + self.way_back.ttl() / 2);
        }
        self.client = Some(client);
    }

    fn give_link(&mut self, client: &Attachment) -> Option<ResumeLink> {
        self.renewal = None;
        if !client.has_way_back() || self.task.settings.lifetimes.detach_grace.is_zero() {
            return None;
        }
        self.renewal = Some(Instant::now() + self.way_back.ttl() / 2);
        self.way_back.issue()
    }
}
