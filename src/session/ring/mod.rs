//! The scrollback: the last output of a session, bounded, for clients that come back.

mod boundary;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use boundary::State;

pub(super) use boundary::State as VtState;

/// Output is forgotten in segments of a sixteenth of the bound, within these lengths in bytes. Only their boundaries
/// are places of which it is known what a terminal was in the middle of.
const SEGMENTS: usize = 16;
const MIN_SEGMENT: usize = 256;
const MAX_SEGMENT: usize = 16 << 10;

/// The first memory that a ring takes, in bytes. It doubles from there up to its bound.
const FIRST: usize = 256;

/// How much memory all rings of this process may hold together.
#[derive(Debug)]
pub struct Total {
    held: AtomicUsize,
    bound: usize,
}

impl Total {
    /// At most `bound` bytes. A ring that finds nothing left does not grow and forgets earlier instead.
    #[must_use]
    pub fn new(bound: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), bound })
    }

    /// Bytes held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let more = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= self.bound);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

/// The last output of one session. Offsets count the session's output bytes from its first.
#[derive(Debug)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    /// The offset of the oldest byte.
    start: u64,
    /// Where segments begin, oldest first; the first one is `start`.
    segments: VecDeque<(u64, State)>,
    /// What a terminal is in the middle of behind the last byte.
    state: State,
    bound: usize,
    total: Arc<Total>,
    /// Bytes that are counted in `total`.
    counted: usize,
}

impl Ring {
    /// An empty ring of at most `bound` bytes beside what must be kept; 0 keeps nothing else.
    pub(super) fn new(bound: usize, total: Arc<Total>) -> Self {
        Self {
            bytes: VecDeque::new(),
            start: 0,
            segments: VecDeque::new(),
            state: State::Ground,
            bound,
            total,
            counted: 0,
        }
    }

    /// The offset of the oldest byte that is held.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The offset behind the newest byte: how much output there was.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// The first offset at which a terminal that knows nothing may begin to read.
    pub(super) fn first_boundary(&self) -> u64 {
        let state = self.segments.front().map_or(self.state, |(_, state)| *state);
        state.first_boundary(self.bytes.iter().copied()).map_or(self.end(), |passed| self.start + passed as u64)
    }

    /// Appends output and forgets what is over the bound, but nothing at `keep` or behind it.
    pub(super) fn push(&mut self, output: &[u8], keep: u64) {
        for piece in output.chunks(self.segment()) {
            let bound = self.bound.min(self.room());
            let behind = self.end() + piece.len() as u64;
            if piece.len() > bound && behind <= keep {
                self.pass(behind);
                self.state = self.state.behind(piece);
                continue;
            }
            self.forget(bound.saturating_sub(piece.len()), keep);
            self.grow(piece.len());
            let begins = self.segments.back().is_none_or(|(at, _)| self.end() - at >= self.segment() as u64);
            if begins {
                self.segments.push_back((self.end(), self.state));
            }
            self.bytes.extend(piece);
            self.state = self.state.behind(piece);
        }
        self.count();
    }

    /// Gives back what had to be held beyond the bound, but nothing at `keep` or behind it.
    pub(super) fn trim(&mut self, keep: u64) {
        if self.bytes.len() > self.bound {
            self.forget(self.bound, keep);
            self.bytes.shrink_to(self.bound);
            self.count();
        }
    }

    /// The bytes from `offset` on, which lies between [`Ring::start`] and [`Ring::end`], in two pieces.
    pub(super) fn from(&self, offset: u64) -> (&[u8], &[u8]) {
        let skip = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX).min(self.bytes.len());
        let (front, back) = self.bytes.as_slices();
        match skip.checked_sub(front.len()) {
            Some(skip) => (&back[skip..], &[]),
            None => (&front[skip..], back),
        }
    }

    /// The bytes within `range`, whose ends lie between [`Ring::start`] and [`Ring::end`], in two pieces.
    pub(super) fn within(&self, range: Range<u64>) -> (&[u8], &[u8]) {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let (front, back) = self.from(range.start);
        let in_front = length.min(front.len());
        (&front[..in_front], &back[..(length - in_front).min(back.len())])
    }

    fn segment(&self) -> usize {
        (self.bound / SEGMENTS).clamp(MIN_SEGMENT, MAX_SEGMENT)
    }

    /// Forgets everything, and what comes up to `behind` without ever holding it.
    fn pass(&mut self, behind: u64) {
        self.bytes = VecDeque::new();
        self.segments.clear();
        self.start = behind;
    }

    /// Forgets whole segments until there are at most `room` bytes, or nothing may be forgotten any more.
    fn forget(&mut self, room: usize, keep: u64) {
        while self.bytes.len() > room {
            let end = self.segments.get(1).map_or(self.end(), |(at, _)| *at);
            if end > keep {
                return;
            }
            self.bytes.drain(..usize::try_from(end - self.start).unwrap_or(usize::MAX));
            self.start = end;
            self.segments.pop_front();
        }
    }

    /// What may be held without taking memory that others have.
    fn room(&self) -> usize {
        let left = self.total.bound.saturating_sub(self.total.held());
        self.counted + left
    }

    /// Makes room for `more` bytes, by doubling, and not beyond the bound unless it must.
    fn grow(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            let most = self.bound.min(self.room()).max(FIRST);
            let wanted = (self.bytes.capacity() * 2).clamp(FIRST, most).max(needed);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
    }

    /// Tells the total what this ring holds. What must be kept is held whether there is room or not.
    fn count(&mut self) {
        let capacity = self.bytes.capacity();
        if capacity > self.counted {
            if !self.total.take(capacity - self.counted) {
                self.total.held.fetch_add(capacity - self.counted, Ordering::Relaxed);
            }
        } else {
            self.total.held.fetch_sub(self.counted - capacity, Ordering::Relaxed);
        }
        self.counted = capacity;
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.total.held.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(bound: usize) -> Ring {
        Ring::new(bound, Total::new(1 << 30))
    }

    fn held(ring: &Ring, offset: u64) -> Vec<u8> {
        let (front, back) = ring.from(offset);
        [front, back].concat()
    }

    const SENT: u64 = u64::MAX;

    #[test]
    fn it_holds_the_end_of_what_it_was_given_and_most_of_its_bound() {
        let mut ring = ring(64 << 10);
        let all: Vec<u8> = (0..1_000_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
        for piece in all.chunks(7_777) {
            ring.push(piece, SENT);
            assert!(ring.bytes.len() <= 64 << 10);
        }
        assert_eq!(ring.end(), all.len() as u64);
        assert!(ring.bytes.len() > 56 << 10, "{}", ring.bytes.len());
        assert_eq!(held(&ring, ring.start()), all[ring.start() as usize..]);
        assert_eq!(held(&ring, ring.end() - 5), all[all.len() - 5..]);
        assert_eq!(held(&ring, ring.end()), b"");
        for from in [ring.start(), ring.end() - 40_000, ring.end() - 1, ring.end()] {
            for to in [from, from + 1, from + 30_000, ring.end()].map(|to| to.min(ring.end())) {
                let (front, back) = ring.within(from..to);
                assert_eq!([front, back].concat(), all[from as usize..to as usize]);
            }
        }
    }

    #[test]
    fn memory_grows_with_what_is_held() {
        let mut ring = ring(256 << 10);
        assert_eq!(ring.total.held(), 0);
        ring.push(b"$ ", SENT);
        assert!(ring.total.held() <= FIRST, "{}", ring.total.held());
        ring.push(&[b'x'; 10_000], SENT);
        assert!(ring.total.held() <= 20_000, "{}", ring.total.held());
        ring.push(&vec![b'x'; 10 << 20], SENT);
        assert_eq!(ring.total.held(), 256 << 10);
        let total = ring.total.clone();
        drop(ring);
        assert_eq!(total.held(), 0);
    }

    #[test]
    fn what_must_be_kept_is_kept_beyond_every_bound() {
        for bound in [0, 1_000] {
            let mut ring = ring(bound);
            ring.push(b"sent", SENT);
            let keep = ring.end();
            for _ in 0..100 {
                ring.push(&[b'x'; 100], keep);
            }
            assert_eq!(held(&ring, keep), [b'x'; 10_000], "{bound}");
            ring.trim(SENT);
            assert!(ring.total.held() <= bound.max(FIRST), "{bound}: {}", ring.total.held());
            ring.push(b"y", SENT);
            assert!(ring.bytes.len() <= bound, "{bound}: {}", ring.bytes.len());
            assert_eq!(ring.end(), 10_005);
        }
    }

    #[test]
    fn rings_share_a_total_and_those_that_find_none_left_forget_earlier() {
        let total = Total::new(64 << 10);
        let mut first = Ring::new(64 << 10, total.clone());
        first.push(&vec![b'x'; 48 << 10], SENT);
        let mut second = Ring::new(64 << 10, total.clone());
        second.push(&vec![b'y'; 1 << 20], SENT);
        assert!(total.held() <= 64 << 10, "{}", total.held());
        assert_eq!(second.end(), 1 << 20);
        drop(first);
        second.push(&vec![b'y'; 1 << 20], SENT);
        assert!(second.bytes.len() > 32 << 10, "{}", second.bytes.len());
    }

    #[test]
    fn a_reader_that_knows_nothing_begins_outside_of_characters_and_sequences() {
        let mut ring = ring(4 << 10);
        let line = "\u{1b}[38;5;196m€uro \u{1f600}\u{1b}]0;title\u{7}\r\n".as_bytes();
        for byte in line.iter().cycle().take(100_000) {
            ring.push(std::slice::from_ref(byte), SENT);
            let from = ring.first_boundary();
            let at = (from as usize) % line.len();
            let text = std::str::from_utf8(&line[..at]);
            assert!(text.is_ok_and(|text| State::Ground.behind(text.as_bytes()) == State::Ground), "{from} {at}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_pushed_and_kept_nothing_behind_keep_is_lost(
            bound in 0_usize..3_000,
            pushes in prop::collection::vec((0_usize..2_000, 0_u64..500), 1..40),
        ) {
            let mut ring = ring(bound);
            let mut all = Vec::new();
            for (length, unsent) in pushes {
                let piece: Vec<u8> = (0..length).map(|n| (n + all.len()) as u8 | 0x40).collect();
                let keep = (all.len() as u64).saturating_sub(unsent).max(ring.start());
                all.extend_from_slice(&piece);
                ring.push(&piece, keep);
                prop_assert_eq!(ring.end(), all.len() as u64);
                prop_assert!(ring.start() <= keep);
                let from = ring.start();
                prop_assert_eq!(&held(&ring, from)[..], &all[from as usize..]);
            }
        }
    }
}
