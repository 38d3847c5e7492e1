//! What lies between a session and one of its viewers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use polytty_dialect::Size;

use crate::ticket::ResumeLink;

/// Output that may wait for a viewer, in bytes. Beyond it, what waits is forgotten, and the viewer is skipped forward.
const BOUND: usize = 256 << 10;

/// What an event weighs at least, in bytes.
const MIN_EVENT: usize = 64;

/// What a viewer is told of its session.
#[derive(Debug)]
pub(in crate::session) enum Event {
    /// Everything begins here: what is on the screen, at this offset of the output.
    Screen(Snapshot),
    /// Output.
    Output(Bytes),
    /// The writer has changed the size.
    Size(Size),
    /// A fresh link to come back by.
    Link(ResumeLink),
}

/// A screen to begin with.
#[derive(Debug)]
pub(in crate::session) struct Snapshot {
    /// Output of the session before what follows, in bytes.
    pub(in crate::session) at: u64,
    /// Input of the session so far, in bytes.
    pub(in crate::session) input: u64,
    pub(in crate::session) size: Size,
    /// Output that brings a reset terminal to this screen.
    pub(in crate::session) bytes: Bytes,
    /// Whether it is all that is on the screen. If not, more of it comes when the program repaints.
    pub(in crate::session) whole: bool,
    /// A link to come back by, for who has just arrived.
    pub(in crate::session) link: Option<ResumeLink>,
}

/// A viewer's place at a session. The session puts events in, and never waits; the viewer takes them out.
#[derive(Clone)]
pub(in crate::session) struct Seat(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    bytes: usize,
    /// Events were forgotten; nothing is taken until a screen comes.
    behind: bool,
    /// The viewer was told that it is behind.
    asked: bool,
    /// The viewer has left.
    left: bool,
    /// The session has ended.
    over: bool,
    /// The viewer has come back by another connection.
    replaced: bool,
    viewer: Option<Waker>,
}

/// What a viewer finds at its seat.
#[derive(Debug)]
pub(in crate::session) enum Next {
    Event(Event),
    /// It has fallen behind, and has to ask for a screen. Told once.
    Behind,
    /// The session has ended; nothing more will come.
    Over,
}

impl Seat {
    pub(in crate::session) fn new() -> Self {
        Self(Arc::default())
    }

    /// Tells the viewer something; `false` when it has left.
    pub(in crate::session) fn tell(&self, event: Event) -> bool {
        let viewer = {
            let mut state = self.lock();
            if state.left {
                return false;
            }
            match &event {
                Event::Screen(_) => {
                    state.events.clear();
                    (state.bytes, state.behind, state.asked) = (0, false, false);
                }
                _ if state.behind => return true,
                _ if state.bytes + event.weight() > BOUND => {
                    state.events = VecDeque::new();
                    (state.bytes, state.behind, state.asked) = (0, true, false);
                }
                _ => {}
            }
            if !state.behind {
                state.bytes += event.weight();
                state.events.push_back(event);
            }
            state.viewer.take()
        };
        viewer.into_iter().for_each(Waker::wake);
        true
    }

    /// Tells it that nothing more will come.
    pub(in crate::session) fn end(&self) {
        let viewer = {
            let mut state = self.lock();
            state.over = true;
            state.viewer.take()
        };
        viewer.into_iter().for_each(Waker::wake);
    }

    /// Gives the place to the same viewer, who has come by another connection.
    pub(in crate::session) fn replace(&self) {
        let viewer = {
            let mut state = self.lock();
            state.replaced = true;
            state.viewer.take()
        };
        viewer.into_iter().for_each(Waker::wake);
    }

    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.lock();
        if let Some(event) = state.events.pop_front() {
            state.bytes -= event.weight().min(state.bytes);
            return Poll::Ready(Next::Event(event));
        }
        if state.over {
            return Poll::Ready(Next::Over);
        }
        state.viewer = Some(cx.waker().clone());
        if state.behind && !std::mem::replace(&mut state.asked, true) {
            return Poll::Ready(Next::Behind);
        }
        Poll::Pending
    }

    /// Whether the session has ended; wakes the viewer when it does.
    pub(super) fn is_over(&self, cx: &mut Context<'_>) -> bool {
        let mut state = self.lock();
        if !state.over {
            state.viewer = Some(cx.waker().clone());
        }
        state.over
    }

    /// Whether the same viewer is here by another connection.
    pub(super) fn is_replaced(&self) -> bool {
        self.lock().replaced
    }

    /// Whether a screen is owed to it.
    pub(in crate::session) fn is_behind(&self) -> bool {
        self.lock().behind
    }

    /// The viewer leaves.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        state.left = true;
        state.events = VecDeque::new();
    }

    /// Whether the viewer has left.
    pub(in crate::session) fn is_left(&self) -> bool {
        self.lock().left
    }

    /// Whether these are the same seat.
    pub(in crate::session) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Event {
    fn weight(&self) -> usize {
        match self {
            // It is what a viewer begins with, whatever its length.
            Self::Screen(_) => 0,
            Self::Output(bytes) => bytes.len().max(MIN_EVENT),
            Self::Size(_) | Self::Link(_) => MIN_EVENT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(seat: &Seat) -> String {
        match seat.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => "nothing".to_owned(),
            Poll::Ready(Next::Event(Event::Output(bytes))) => format!("{} bytes", bytes.len()),
            Poll::Ready(Next::Event(Event::Screen(screen))) => format!("screen at {}", screen.at),
            Poll::Ready(other) => format!("{other:?}"),
        }
    }

    fn output(length: usize) -> Event {
        Event::Output(vec![0; length].into())
    }

    fn screen(at: u64) -> Event {
        Event::Screen(Snapshot { at, input: 0, size: Size::DEFAULT, bytes: Bytes::new(), whole: true, link: None })
    }

    #[test]
    fn a_viewer_that_falls_behind_forgets_and_begins_anew_with_a_screen() {
        let seat = Seat::new();
        assert!(seat.tell(screen(0)));
        for _ in 0..4 {
            seat.tell(output(BOUND / 4));
        }
        assert_eq!(next(&seat), "screen at 0");
        assert_eq!(next(&seat), format!("{} bytes", BOUND / 4));
        seat.tell(output(BOUND / 2));
        assert_eq!(next(&seat), "Behind");
        seat.tell(output(1));
        assert_eq!(next(&seat), "nothing", "it was told");
        // The screen that was asked for is forgotten like anything else, and asked for again.
        seat.tell(screen(8));
        seat.tell(output(BOUND));
        seat.tell(output(1));
        assert_eq!(next(&seat), "Behind");
        seat.tell(screen(9));
        seat.tell(output(1));
        assert_eq!((next(&seat), next(&seat), next(&seat)), ("screen at 9".into(), "1 bytes".into(), "nothing".into()));
    }

    #[test]
    fn a_flood_of_events_that_carry_little_is_bounded_too() {
        let seat = Seat::new();
        for _ in 0..=BOUND / MIN_EVENT {
            seat.tell(output(1));
        }
        assert_eq!(next(&seat), "Behind");
    }

    #[test]
    fn what_came_before_the_end_is_seen_and_who_has_left_is_told_nothing() {
        let seat = Seat::new();
        seat.tell(output(3));
        seat.end();
        assert_eq!((next(&seat), next(&seat)), ("3 bytes".into(), "Over".into()));
        seat.leave();
        assert!(!seat.tell(output(1)));
    }
}
