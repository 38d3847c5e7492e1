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
use crate::session::viewer::{Event, Seat, Snapshot, Viewer};

/// How long a terminal is a row shorter, so that the program in it paints it anew. Less, and a program that is busy
/// sees the size that it knows already.
const NUDGE: Duration = Duration::from_millis(100);

/// What a viewer is told when there is no seat left.
const NO_SEAT: &str = "as many viewers watch this session as may (sessions.max_viewers)";

impl Pump<'_> {
    /// Seats a viewer.
    pub(super) fn watch(&mut self, client: Attachment) {
        self.viewers.retain(|seat| !seat.is_left());
        if self.viewers.len() >= self.task.settings.max_viewers {
            self.task.tasks.spawn(client.refuse(Code::QuotaExceeded, NO_SEAT));
            return;
        }
        self.model();
        let seat = Seat::new();
        let (session, metrics) = (self.task.session.clone(), self.task.metrics.clone());
        let viewer = Viewer { client, seat: seat.clone(), session, metrics, is_over: false };
        self.task.tasks.spawn(viewer.run());
        self.viewers.push(seat.clone());
        self.repaint(&seat);
        self.count_viewers();
    }

    /// Shows a viewer what is on the screen now.
    pub(super) fn repaint(&mut self, seat: &Seat) {
        if !self.viewers.iter().any(|other| other.is(seat)) {
            return;
        }
        let mut bytes = RESET.to_vec();
        let whole = match &self.screen {
            Some(screen) => {
                bytes.extend_from_slice(&screen.snapshot());
                self.is_whole
            }
            None => {
                let (front, back) = self.ring.from(self.ring.first_boundary());
                bytes.extend_from_slice(front);
                bytes.extend_from_slice(back);
                self.ring.start() == 0
            }
        };
        let input = self.task.session.record.input();
        let snapshot = Snapshot { at: self.ring.end(), input, size: self.size, bytes: Bytes::from(bytes), whole };
        seat.tell(Event::Screen(snapshot));
        if !whole {
            self.nudge();
        }
    }

    /// Notes that viewers may have left.
    pub(super) fn count_viewers(&mut self) {
        self.viewers.retain(|seat| !seat.is_left());
        if self.viewers.is_empty() && self.task.settings.screen == ScreenPolicy::Viewers {
            self.screen = None;
        }
        let count = u32::try_from(self.viewers.len()).unwrap_or(u32::MAX);
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
                for seat in &self.viewers {
                    seat.tell(Event::Output(piece.clone()));
                }
            }
        }
    }

    /// Shows the last screen to whoever waits for one.
    pub(in crate::session) fn show_the_end(&mut self) {
        let behind: Vec<_> = self.viewers.iter().filter(|seat| seat.is_behind()).cloned().collect();
        behind.iter().for_each(|seat| self.repaint(seat));
    }

    /// Tells a new size to whoever watches.
    pub(super) fn show_size(&mut self, size: Size) {
        if !Screen::fits(size) {
            self.screen = None;
        }
        if let Some(screen) = &mut self.screen {
            screen.resize(size);
        }
        for seat in &self.viewers {
            seat.tell(Event::Size(size));
        }
    }

    /// Makes the model of the screen, if there is to be one, of the output that is still held.
    pub(super) fn model(&mut self) {
        if self.screen.is_some() || self.task.settings.screen == ScreenPolicy::Off || !Screen::fits(self.size) {
            return;
        }
        let from = self.ring.first_boundary();
        let mut screen = Screen::new(self.size);
        let (front, back) = self.ring.from(from);
        screen.feed(front);
        screen.feed(back);
        self.is_whole = from == 0;
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
            // The clock must look at the new deadline.
            self.alarm.as_mut().reset(Instant::now());
        }
    }

    /// Gives the terminal its row back.
    pub(super) fn end_nudge(&mut self) {
        self.nudged = None;
        // What the program has painted by now is all there is.
        self.is_whole = self.screen.is_some();
        if self.over.is_none() {
            self.upstream.resize(self.size);
        }
    }
}
