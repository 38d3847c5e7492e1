//! What of a replay is new.
//!
//! A server that is connected to again first repeats what it has kept of a terminal and then goes on with what comes
//! from there, without a mark in between. None is needed: together, both are one piece of the terminal's output that
//! reaches up to now. What has to be found is where in that piece our own output ended. [`Tail`] has kept the end of
//! what was delivered, and the longest overlap of its end with the beginning of the piece says it.
//!
//! The search runs while the bytes come in (Knuth, Morris and Pratt; the pattern is what comes in, the text is the
//! tail), takes time linear in both, and is over as soon as the longest overlap that is still possible is complete.
//! An overlap may also be a coincidence. One of [`CERTAIN`] bytes or more is taken as proof. A shorter one is believed
//! only where it has to be: when the tail holds all that the terminal has ever said, and the server's ring, being less
//! than full, must hold that, too. That needs the end of the replay, which only a quiet moment tells; the caller has
//! the clock, and calls [`Replay::settle`].
//!
//! Output that repeats itself without any difference for longer than the ring can be told apart by nobody; of several
//! overlaps the longest is taken, so nothing is shown twice.

use std::collections::VecDeque;

/// What a server keeps of a terminal's output by default, and what [`Tail`] keeps at most, in bytes.
pub const RING: usize = 64 * 1024;

/// The largest ring that a server can be asked for, in bytes; no replay is longer.
pub const MAX_HELD: usize = 256 * 1024;

/// What is held at most with an answer that nobody has fetched, in bytes. Beyond it the answer becomes a gap.
pub const MAX_UNFETCHED: usize = 4 * MAX_HELD;

/// An overlap of so many bytes is no coincidence.
pub const CERTAIN: usize = 64;

/// The end of what was delivered of a terminal's output: at most [`RING`] bytes; it grows with what it holds.
#[derive(Clone, Debug)]
pub struct Tail {
    bytes: VecDeque<u8>,
    whole: bool,
}

impl Tail {
    /// For a terminal of which nothing was delivered yet. `from_birth` says that it is to be followed from its first
    /// byte on.
    #[must_use]
    pub const fn new(from_birth: bool) -> Self {
        Self { bytes: VecDeque::new(), whole: from_birth }
    }

    /// Takes what is being delivered.
    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = if bytes.len() > RING {
            self.whole = false;
            &bytes[bytes.len() - RING..]
        } else {
            bytes
        };
        let excess = (self.bytes.len() + bytes.len()).saturating_sub(RING);
        self.whole &= excess == 0;
        self.bytes.drain(..excess);
        self.bytes.extend(bytes);
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A copy of what it holds.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes.iter().copied().collect()
    }
}

/// How what was received since connecting continues what was delivered before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// So many bytes of it were delivered before; all behind them is new, and nothing is missing.
    Overlap(usize),
    /// Nothing proves a connection: output may be missing before it, and some of it may have been delivered.
    Gap,
}

/// Collects what a server sends of one terminal after a connect, until it is known how that continues what was
/// delivered before. Holds at most [`MAX_HELD`] bytes while that is open, and [`MAX_UNFETCHED`] when it is known; where it
/// is a gap, the newest [`MAX_HELD`].
#[derive(Clone, Debug, Default)]
pub struct Replay {
    held: Vec<u8>,
    /// For each prefix of `held` that the search has needed: the length of its longest proper border.
    borders: Vec<u32>,
    /// Where in the tail the longest overlap begins that is still possible, and how much of it has been seen.
    start: usize,
    matched: usize,
    verdict: Option<Match>,
}

impl Replay {
    /// Nothing received yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was received; the answer, once it is certain. `tail` must be the same in all calls.
    pub fn push(&mut self, tail: &Tail, bytes: &[u8]) -> Option<Match> {
        let undecided = match self.verdict {
            None => bytes.len().min(MAX_HELD - self.held.len()),
            Some(_) => 0,
        };
        let (bytes, beyond) = bytes.split_at(undecided);
        self.held.extend_from_slice(bytes);
        if self.verdict.is_none() && self.search(tail) && self.matched >= CERTAIN {
            self.verdict = Some(Match::Overlap(self.matched));
        }
        if !beyond.is_empty() {
            // A replay is never longer than what is held undecided.
            self.settle(tail);
            self.append(beyond);
        }
        self.verdict
    }

    /// Takes what comes behind the answer, until that is fetched.
    fn append(&mut self, bytes: &[u8]) {
        if self.held.len() + bytes.len() > MAX_UNFETCHED {
            self.verdict = Some(Match::Gap);
        }
        if self.verdict == Some(Match::Gap) {
            let bytes = &bytes[bytes.len().saturating_sub(MAX_HELD)..];
            let excess = (self.held.len() + bytes.len()).saturating_sub(MAX_HELD);
            self.held.drain(..excess);
            self.held.extend_from_slice(bytes);
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    /// The answer now that the whole replay is there, as far as one can know.
    pub fn settle(&mut self, tail: &Tail) -> Match {
        if let Some(verdict) = self.verdict {
            return verdict;
        }
        while !self.search(tail) {
            self.retreat();
        }
        let is_all = self.matched == tail.len() && tail.whole && self.held.len() < RING;
        let verdict = if self.matched >= CERTAIN || is_all {
            Match::Overlap(self.matched)
        } else {
            self.beyond(tail).map_or(Match::Gap, Match::Overlap)
        };
        *self.verdict.insert(verdict)
    }

    /// What was received, as far as it is held.
    #[must_use]
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Moves on to the longest overlap that agrees with what is held. `true` when that is seen whole (it may be empty),
    /// `false` when more has to come to tell.
    fn search(&mut self, tail: &Tail) -> bool {
        while self.start + self.matched < tail.len() {
            let Some(&next) = self.held.get(self.matched) else { return false };
            if tail.bytes[self.start + self.matched] == next {
                self.matched += 1;
            } else {
                self.retreat();
            }
        }
        true
    }

    /// Gives up the overlap in question for the next shorter one.
    fn retreat(&mut self) {
        if self.matched == 0 {
            self.start += 1;
            return;
        }
        let border = self.border(self.matched);
        self.start += self.matched - border;
        self.matched = border;
    }

    /// The longest proper border of the first `len` bytes, `len` being at least 1.
    fn border(&mut self, len: usize) -> usize {
        extend_borders(&self.held, &mut self.borders, len);
        self.borders[len - 1] as usize
    }

    /// Where the server's ring is larger than the tail, the tail lies within the replay: how far its last occurrence
    /// reaches.
    fn beyond(&self, tail: &Tail) -> Option<usize> {
        if tail.len() < CERTAIN || self.held.len() < tail.len() {
            return None;
        }
        let pattern = tail.to_vec();
        let mut borders = Vec::new();
        extend_borders(&pattern, &mut borders, pattern.len());
        let (mut matched, mut last) = (0, None);
        for (at, &byte) in self.held.iter().enumerate() {
            while matched > 0 && (matched == pattern.len() || pattern[matched] != byte) {
                matched = borders[matched - 1] as usize;
            }
            matched += usize::from(pattern[matched] == byte);
            if matched == pattern.len() {
                last = Some(at + 1);
            }
        }
        last
    }
}

/// Makes `borders` reach `len`: for each prefix of `bytes`, the length of its longest proper border.
fn extend_borders(bytes: &[u8], borders: &mut Vec<u32>, len: usize) {
    while borders.len() < len {
        let at = borders.len();
        let mut border = at.checked_sub(1).map_or(0, |last| borders[last] as usize);
        while border > 0 && bytes[border] != bytes[at] {
            border = borders[border - 1] as usize;
        }
        let longer = at > 0 && bytes[border] == bytes[at];
        // At most `MAX_HELD`.
        borders.push(u32::try_from(border + usize::from(longer)).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests;
