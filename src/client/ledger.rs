//! Input that may have to be sent again.

use std::collections::VecDeque;

/// Input that is kept at once, in bytes, whether it was sent or not. At the bound no more is taken: whoever types has
/// to wait until the session has taken some.
pub const MAX_KEPT: usize = 1 << 20;

/// Input of one session from the first byte that it is not known to have taken. Offsets count the session's input.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    kept: VecDeque<u8>,
    /// The offset of the first byte that is kept.
    start: u64,
    /// The offset behind what was sent over the connection that is there.
    sent: u64,
    /// The offset behind what was ever sent.
    ever_sent: u64,
}

impl Ledger {
    /// How many bytes may be taken.
    pub(super) fn room(&self) -> usize {
        MAX_KEPT - self.kept.len()
    }

    /// Takes as much as there is room for. How much.
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        self.kept.extend(&bytes[..taken]);
        taken
    }

    /// The session has taken `input` bytes before the first of these.
    pub(super) fn begin(&mut self, input: u64) {
        (self.start, self.sent, self.ever_sent) = (input, input, input);
    }

    /// A new connection, over which the session says that it has taken `input` bytes. `false` when that cannot be:
    /// it was known to have more, or was never sent so many.
    pub(super) fn resume(&mut self, input: u64) -> bool {
        if !(self.start..=self.ever_sent).contains(&input) {
            return false;
        }
        self.forget(input);
        self.sent = input;
        true
    }

    /// Forgets what lies before `input`: the session has it.
    pub(super) fn forget(&mut self, input: u64) {
        let taken = usize::try_from(input.saturating_sub(self.start)).unwrap_or(usize::MAX).min(self.kept.len());
        self.kept.drain(..taken);
        self.start += taken as u64;
        // Memory follows what is kept, not what once was.
        if self.kept.is_empty() && self.kept.capacity() > MAX_KEPT / 16 {
            self.kept = VecDeque::new();
        }
    }

    /// Hands out up to `most` bytes that are to be sent next, in up to two pieces, and counts them as sent.
    pub(super) fn send(&mut self, most: usize, mut piece: impl FnMut(&[u8])) -> usize {
        let skip = usize::try_from(self.sent - self.start).unwrap_or(usize::MAX);
        let (front, back) = self.kept.as_slices();
        let first = front.get(skip..).unwrap_or_default();
        let first = &first[..first.len().min(most)];
        let second = &back[skip.saturating_sub(front.len()).min(back.len())..];
        let second = &second[..second.len().min(most - first.len())];
        for bytes in [first, second].into_iter().filter(|bytes| !bytes.is_empty()) {
            piece(bytes);
        }
        let sent = first.len() + second.len();
        self.sent += sent as u64;
        self.ever_sent = self.ever_sent.max(self.sent);
        sent
    }

    /// The offset behind what was sent over this connection.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether everything that is kept was sent over this connection.
    pub(super) fn is_sent(&self) -> bool {
        self.sent == self.start + self.kept.len() as u64
    }

    /// Bytes that were sent over this connection and are not known to have been taken.
    pub(super) fn unconfirmed(&self) -> u64 {
        self.sent - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(ledger: &mut Ledger, most: usize) -> String {
        let mut sent = Vec::new();
        let count = ledger.send(most, |piece| sent.extend_from_slice(piece));
        assert_eq!(count, sent.len());
        String::from_utf8(sent).unwrap()
    }

    #[test]
    fn what_the_session_has_not_taken_is_sent_again_and_nothing_else() {
        let mut ledger = Ledger::default();
        ledger.push(b"hello ");
        ledger.begin(100);
        ledger.push(b"world");
        assert_eq!(send(&mut ledger, 8), "hello wo");
        assert_eq!((ledger.sent(), ledger.is_sent()), (108, false));
        assert!(ledger.resume(103));
        assert_eq!(send(&mut ledger, 100), "lo world");
        assert!(ledger.is_sent());
        ledger.forget(108);
        assert_eq!(ledger.unconfirmed(), 3);
        for impossible in [107, 112] {
            assert!(!ledger.resume(impossible), "{impossible}");
        }
        assert!(ledger.resume(111));
        assert_eq!(send(&mut ledger, 100), "");
    }

    #[test]
    fn at_its_bound_it_takes_no_more_until_something_is_forgotten_and_then_gives_its_memory_back() {
        let mut ledger = Ledger::default();
        ledger.begin(0);
        assert_eq!(ledger.push(&vec![b'x'; MAX_KEPT + 1]), MAX_KEPT);
        assert_eq!((ledger.room(), ledger.push(b"y")), (0, 0));
        assert_eq!(send(&mut ledger, MAX_KEPT).len(), MAX_KEPT);
        ledger.forget(3);
        assert_eq!(ledger.push(b"abcd"), 3);
        assert_eq!(send(&mut ledger, 10), "abc", "also where the bytes wrap around");
        assert!(ledger.resume(MAX_KEPT as u64 - 1));
        assert_eq!(send(&mut ledger, 10), "xabc");
        ledger.forget(MAX_KEPT as u64 + 3);
        assert_eq!(ledger.kept.capacity(), 0);
    }
}
