//! One terminal's share of a connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use polytty_dialect::{Code, Exit, Size};
use tokio::time::Instant;

use super::{Bell, CHOKED, FULL, HELD, PATIENCE, SharedUpstream};
use crate::provider::{Failure, Happened};

/// Notices that may wait for a session. At the bound a further one is left out: so many say the same.
const MAX_NOTICES: usize = 16;

/// What an empty line keeps allocated in each direction, in bytes.
const KEEP: usize = 4 << 10;

/// Tells the lines of one hub apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LineId(pub(crate) u64);

/// The hub's end of a line.
///
/// Dropped without [`Line::exit`] or [`Line::fail`], it tells the session that the terminal is lost.
pub(crate) struct Line(Arc<Shared>);

pub(super) struct Shared {
    id: LineId,
    bell: Arc<Bell>,
    state: Mutex<State>,
}

/// What lies between a hub and a session.
#[derive(Default)]
pub(super) struct State {
    output: Queue,
    /// Notices, each with the offset of the output that stands before it.
    notices: VecDeque<(u64, Failure)>,
    over: Option<Over>,
    /// Whether the session has been told that it must not wait any longer, since the line was last below [`FULL`].
    pressed: bool,
    /// Whether the session has the connection to itself, so that it may pace it.
    sole: bool,
    /// Since when the hub waits for the session, and the offset up to which that had taken output then.
    held: Option<(Instant, u64)>,
    /// The hub has waited for [`PATIENCE`] in vain, since the line was last below [`FULL`].
    tired: bool,
    input: Queue,
    /// The latest size, and the offset of the input that stands before it.
    size: Option<(u64, Size)>,
    attended: bool,
    /// The session wants the terminal to end, or is gone.
    leaving: bool,
    /// Whether the hub knows of [`State::leaving`].
    told: bool,
    /// The hub has nothing more to do for the session.
    done: bool,
    rung: bool,
    choked: bool,
    session: Option<Waker>,
}

enum Over {
    Exit(Exit),
    Failed(Failure),
}

/// What a session wants of its hub.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// So many bytes of input were appended.
    Input(usize),
    /// The terminal's new size.
    Resize(Size),
    /// End the terminal, then drop the line. Told once; nothing is wanted after it.
    End,
}

impl Line {
    /// A line of the connection that answers `bell`, and the session's end of it.
    pub(crate) fn new(bell: &Arc<Bell>, id: LineId) -> (Self, SharedUpstream) {
        let shared = Arc::new(Shared { id, bell: Arc::clone(bell), state: Mutex::default() });
        (Self(Arc::clone(&shared)), SharedUpstream::new(shared))
    }

    /// Hands output to the session. It is never refused: see [`Line::is_choked`].
    pub(crate) fn deliver(&self, output: &[u8]) {
        self.change(|state| {
            // Who leaves reads no more.
            if !state.leaving {
                state.output.push(output);
                state.choked = state.output.len() >= state.bound();
            }
        });
    }

    /// Whether the hub is to stop reading until the session has taken what is there; the bell rings then. Where others
    /// use the connection, it lasts as long as the session's task waits for its turn, never for a client.
    pub(crate) fn is_choked(&self) -> bool {
        self.0.lock().choked
    }

    /// Says whether the session has the connection to itself. If so, it may pace it as its client reads, until it has
    /// taken nothing for [`PATIENCE`]; when that will be, if the hub waits for it.
    pub(crate) fn pace(&self, sole: bool, now: Instant) -> Option<Instant> {
        let mut state = self.0.lock();
        let paced = state.paces();
        state.sole = sole;
        let until = state.wait_until(now);
        if state.paces() || !paced {
            return until;
        }
        // It has the time of any other line now: its client is to be let go if need be.
        let is_choked = state.output.len() >= CHOKED;
        let unchokes = std::mem::replace(&mut state.choked, is_choked) && !is_choked;
        let session = if state.output.len() > FULL { state.session.take() } else { None };
        drop(state);
        session.into_iter().for_each(Waker::wake);
        if unchokes {
            self.0.unchoke();
        }
        None
    }

    /// Tells the client something that does not end the session, such as a gap in the output, behind what was
    /// delivered so far.
    pub(crate) fn notice(&self, code: Code, message: impl Into<String>) {
        self.change(|state| {
            if state.notices.len() < MAX_NOTICES {
                state.notices.push_back((state.output.end(), Failure::new(code, message)));
            }
        });
    }

    /// The remote process ended; all of its output was delivered.
    pub(crate) fn exit(self, exit: Exit) {
        self.end(Over::Exit(exit));
    }

    /// The terminal is lost.
    pub(crate) fn fail(self, failure: Failure) {
        self.end(Over::Failed(failure));
    }

    /// What the session wants next, in the order in which it said so; input goes behind `input`, at most `max` bytes
    /// of it. `None` until the bell rings again.
    pub(crate) fn next(&self, input: &mut Vec<u8>, max: usize) -> Option<Want> {
        let mut state = self.0.lock();
        let want = state.next(input, max);
        state.rung = want.is_some();
        // The session may wait for its input to be taken.
        let session = matches!(want, Some(Want::Input(_))).then(|| state.session.take()).flatten();
        drop(state);
        session.into_iter().for_each(Waker::wake);
        want
    }

    /// Whether a client is attached to the session.
    pub(crate) fn attended(&self) -> bool {
        self.0.lock().attended
    }

    fn end(self, over: Over) {
        self.change(|state| state.over = Some(over));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let session = {
            let mut state = self.0.lock();
            change(&mut state);
            state.session.take()
        };
        session.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.change(|state| {
            state.done = true;
            if state.over.is_none() {
                let lost = Failure::new(Code::ProviderLost, "The connection to the provider was lost.");
                state.over = Some(Over::Failed(lost.detail("the hub has left the line")));
            }
        });
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what the session wants, and calls the hub unless it was called already.
    pub(super) fn want<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (result, rings) = {
            let mut state = self.lock();
            let result = change(&mut state);
            (result, !state.done && !std::mem::replace(&mut state.rung, true))
        };
        if rings {
            self.bell.ring(self.id);
        }
        result
    }

    /// Tells the hub that it may read again, whatever else it waits for.
    pub(super) fn unchoke(&self) {
        self.bell.call();
    }
}

impl State {
    fn next(&mut self, input: &mut Vec<u8>, max: usize) -> Option<Want> {
        if self.leaving {
            return (!std::mem::replace(&mut self.told, true)).then_some(Want::End);
        }
        let until = self.size.map_or(u64::MAX, |(at, _)| at);
        let taken = self.input.take(input, max, until);
        if taken > 0 {
            return Some(Want::Input(taken));
        }
        self.size.take_if(|(at, _)| *at <= self.input.start).map(|(_, size)| Want::Resize(size))
    }

    /// Takes what has come, up to `budget` bytes; `None` when that is nothing.
    pub(super) fn poll(&mut self, output: &mut Vec<u8>, budget: usize) -> Option<Happened> {
        let notice_at = self.notices.front().map_or(u64::MAX, |(at, _)| *at);
        if notice_at <= self.output.start {
            return self.notices.pop_front().map(|(_, notice)| Happened::Notice(notice));
        }
        let left = self.output.len().saturating_sub(budget);
        let presses = !self.paces() && (left >= CHOKED || (left > FULL && budget == 0));
        if presses && !std::mem::replace(&mut self.pressed, true) {
            return Some(Happened::CannotWait);
        }
        if self.output.take(output, budget, notice_at) > 0 {
            self.pressed &= self.output.len() > FULL;
            self.tired &= self.output.len() > FULL;
            return Some(Happened::Output);
        }
        if self.output.len() > 0 {
            return None;
        }
        self.over.take().map(|over| match over {
            Over::Exit(exit) => Happened::Exit(exit),
            Over::Failed(failure) => Happened::Failed(failure),
        })
    }

    /// Whether the hub, which had stopped reading for this line, may read again. True once.
    pub(super) fn unchokes(&mut self) -> bool {
        self.choked && self.output.len() < self.bound().min(FULL) && std::mem::take(&mut self.choked)
    }

    /// Whether the hub waits for this session rather than have it let its client go.
    fn paces(&self) -> bool {
        self.sole && !self.tired && !self.leaving
    }

    /// Output at which the hub stops reading, in bytes.
    fn bound(&self) -> usize {
        if self.paces() { HELD } else { CHOKED }
    }

    /// Until when the hub waits for the session, if it does.
    fn wait_until(&mut self, now: Instant) -> Option<Instant> {
        if !self.choked || !self.paces() {
            self.held = None;
            return None;
        }
        let (since, at) = self.held.get_or_insert((now, self.output.start));
        if *at != self.output.start {
            (*since, *at) = (now, self.output.start);
        }
        let until = *since + PATIENCE;
        self.tired = until <= now;
        (!self.tired).then_some(until)
    }

    pub(super) fn wait(&mut self, session: &Waker) {
        match &mut self.session {
            Some(waker) => waker.clone_from(session),
            none => *none = Some(session.clone()),
        }
    }

    pub(super) fn put_input(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
    }

    pub(super) fn put_size(&mut self, size: Size) {
        self.size = Some((self.input.end(), size));
    }

    pub(super) fn put_attended(&mut self, attended: bool) {
        self.attended = attended;
    }

    /// Nothing more is wanted but the end. Whether the hub, which had stopped reading for this line, may read again.
    pub(super) fn leave(&mut self) -> bool {
        self.leaving = true;
        self.output = Queue::default();
        std::mem::take(&mut self.choked)
    }

    /// Whether all input has been taken, or nobody will ever take it.
    pub(super) fn is_flushed(&self) -> bool {
        self.input.len() == 0 || self.over.is_some() || self.done
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }
}

/// Bytes on their way, counted from the first one ever.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Of `bytes`, those that were taken.
    taken: usize,
    /// The offset of the next byte to take.
    start: u64,
}

impl Queue {
    fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// The offset behind the last byte.
    fn end(&self) -> u64 {
        self.start + self.len() as u64
    }

    fn push(&mut self, bytes: &[u8]) {
        // What was taken is given up before the memory would have to grow for it.
        if self.taken > 0 && self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Moves up to `max` bytes that stand before the offset `until`. How many.
    fn take(&mut self, to: &mut Vec<u8>, max: usize, until: u64) -> usize {
        let before = usize::try_from(until.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let n = self.len().min(max).min(before);
        to.extend_from_slice(&self.bytes[self.taken..self.taken + n]);
        self.taken += n;
        self.start += n as u64;
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEEP);
            self.taken = 0;
        }
        n
    }
}

#[cfg(test)]
mod tests;
