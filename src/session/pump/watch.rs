//! The session's side of its viewers, and the model of its screen.

use std::time::Duration;

use bytes::Bytes;
use polytty_dialect::{Code, ServerEvent, Size};
use tokio::time::Instant;

use super::arrive::RESET;
use super::{Pump, TURN};
use crate::session::ScreenPolicy;
use crate::session::attachment::Attachment;
use crate::session::screen::Screen;
use crate::session::task::Task;
use crate::session::viewer::{Event, NoSeat, Seat, Snapshot, Viewer, no_seat_left};
use crate::ticket::{Refused, ResumeLink};

/// How long a terminal is a row shorter, so that the program in it paints it anew. Less, and a program that is busy
/// sees the size that it knows already.
const NUDGE: Duration = Duration::from_millis(100);

impl Pump<'_> {
    /// Seats a viewer.
    pub(super) fn watch(&mut self, client: Attachment) {
        let seat = match self.viewers.seat(client.arrival().resumes, client.arrival().owner.clone()) {
            Ok(seat) => seat,
            Err(no_seat) => {
                let Task { tasks, metrics, settings, .. } = &*self.task;
                match no_seat {
                    NoSeat::Full => tasks.spawn(no_seat_left(client, settings.max_viewers, metrics)),
                    NoSeat::Gone => tasks.spawn(client.refuse(Code::LinkGone, Refused::Gone.message())),
                };
                return;
            }
        };
        self.model();
        let comes_back = client.has_way_back() && !self.task.settings.lifetimes.detach_grace.is_zero();
        let link = if comes_back { self.viewers.issue(&seat) } else { None };
        let (session, metrics) = (self.task.session.clone(), self.task.metrics.clone());
        let link_ttl = self.way_back.ttl();
        let viewer = Viewer { client, seat: seat.clone(), session, metrics, is_over: false, renewal: None, link_ttl };
        self.task.tasks.spawn(viewer.run());
        self.paint_for(&seat, link);
        self.count_viewers();
    }

    /// Gives a viewer a fresh link to come back by.
    pub(super) fn renew_viewer(&mut self, seat: &Seat) {
        if let Some(link) = self.viewers.issue(seat) {
            seat.tell(Event::Link(link));
        }
    }

    /// Shows a viewer what is on the screen now.
    pub(super) fn repaint(&mut self, seat: &Seat) {
        if self.viewers.has(seat) {
            self.paint_for(seat, None);
        }
    }

    fn paint_for(&mut self, seat: &Seat, link: Option<ResumeLink>) {
        let mut bytes = RESET.to_vec();
        let whole = match &mut self.screen {
            Some(screen) => {
                bytes.extend_from_slice(&screen.snapshot());
                screen.is_whole()
            }
            None => {
                let (front, back) = self.ring.from(self.ring.first_boundary());
                bytes.extend_from_slice(front);
                bytes.extend_from_slice(back);
                self.ring.start() == 0 && self.sizes.is_constant(0)
            }
        };
        let input = self.task.session.record.input();
        let snapshot = Snapshot { at: self.ring.end(), input, size: self.size, bytes: Bytes::from(bytes), whole, link };
        seat.tell(Event::Screen(snapshot));
        if !whole {
            self.nudge();
        }
    }

    /// Notes that viewers may have left.
    pub(super) fn count_viewers(&mut self) {
        let count = u32::try_from(self.viewers.sweep()).unwrap_or(u32::MAX);
        if count == 0 && self.task.settings.screen == ScreenPolicy::Viewers {
            self.screen = None;
        }
        if self.task.session.record.set_viewers(count) != count
            && let Some(client) = &mut self.client
        {
            client.reply(&ServerEvent::Viewers(count));
        }
    }

    /// Shows new output to whoever watches.
    pub(super) fn show(&mut self, output: &[u8]) {
        if let Some(screen) = &mut self.screen {
            screen.feed(output);
        }
        if !self.viewers.is_empty() {
            let mut output = Bytes::copy_from_slice(output);
            while !output.is_empty() {
                let piece = output.split_to(output.len().min(TURN));
                for seat in self.viewers.seats() {
                    seat.tell(Event::Output(piece.clone()));
                }
            }
        }
        if self.screen.as_mut().is_some_and(Screen::is_another) {
            let seats: Vec<_> = self.viewers.seats().cloned().collect();
            seats.iter().for_each(|seat| self.repaint(seat));
        }
    }

    /// Shows the last screen to whoever waits for one.
    pub(super) fn show_the_end(&mut self) {
        let behind: Vec<_> = self.viewers.seats().filter(|seat| seat.is_behind()).cloned().collect();
        behind.iter().for_each(|seat| self.repaint(seat));
    }

    /// Tells a new size to whoever watches.
    pub(super) fn show_size(&mut self, size: Size) {
        self.sizes.change(self.ring.end(), size, self.ring.start());
        if !Screen::fits(size) {
            self.screen = None;
        }
        if let Some(screen) = &mut self.screen {
            screen.resize(size);
        } else if self.task.settings.screen == ScreenPolicy::Always {
            self.model();
        }
        for seat in self.viewers.seats() {
            seat.tell(Event::Size(size));
        }
    }

    /// Makes the model of the screen, if there is to be one, of the output that is still held.
    pub(super) fn model(&mut self) {
        if self.screen.is_some() || self.task.settings.screen == ScreenPolicy::Off || !Screen::fits(self.size) {
            return;
        }
        let held = self.ring.first_boundary()..self.ring.end();
        let mut screen = Screen::new(self.size);
        let mut is_known = held.start == 0;
        for (size, piece) in self.sizes.pieces(held) {
            match size.filter(|size| Screen::fits(*size)) {
                Some(size) => {
                    screen.resize(size);
                    if !is_known {
                        screen.forget();
                    }
                    is_known = true;
                }
                // What was written for a size that is not known is nowhere.
                None => is_known = false,
            }
            let (front, back) = self.ring.within(piece);
            screen.feed(front);
            screen.feed(back);
        }
        self.screen = Some(screen);
    }

    /// Makes the program paint its screen anew: the terminal loses a row for a moment.
    fn nudge(&mut self) {
        if self.nudged.is_some() || self.over.is_some() || self.size.rows() < 2 {
            return;
        }
        if let Some(shorter) = Size::new(u64::from(self.size.cols()), u64::from(self.size.rows()) - 1) {
            self.upstream.resize(shorter);
            let until = Instant::now() + NUDGE;
            self.nudged = Some(until);
            self.moved = true;
        }
    }

    /// Gives the terminal its row back.
    pub(super) fn end_nudge(&mut self) {
        self.nudged = None;
        if self.over.is_none() {
            self.upstream.resize(self.size);
        }
    }
}
