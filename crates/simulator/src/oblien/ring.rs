//! The scrollback of a terminal: the newest bytes of its output.

use std::collections::VecDeque;

/// What a terminal keeps unless its creator says otherwise, in bytes (Terminal, "Get scrollback").
pub(super) const DEFAULT_CAPACITY: usize = 64 * 1024;
/// The most that a terminal may be made to keep, in bytes.
pub(super) const MAX_CAPACITY: usize = 256 * 1024;

/// The last bytes that were put in, up to a capacity. What is older is forgotten.
#[derive(Debug)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    capacity: usize,
}

impl Ring {
    /// An empty ring of `capacity` bytes, at most [`MAX_CAPACITY`].
    pub(super) fn new(capacity: usize) -> Self {
        Self { bytes: VecDeque::new(), capacity: capacity.min(MAX_CAPACITY) }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Changes the capacity; what no longer fits is forgotten.
    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.min(MAX_CAPACITY);
        self.make_room(0);
        self.bytes.shrink_to(self.capacity);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let newest = &bytes[bytes.len().saturating_sub(self.capacity)..];
        self.make_room(newest.len());
        self.bytes.extend(newest);
    }

    /// The newest `count` bytes, or all that there are.
    pub(super) fn newest(&self, count: usize) -> Vec<u8> {
        let (older, newer) = self.bytes.as_slices();
        let skip = self.len().saturating_sub(count);
        let mut bytes = Vec::with_capacity(self.len() - skip);
        bytes.extend_from_slice(&older[skip.min(older.len())..]);
        bytes.extend_from_slice(&newer[skip.saturating_sub(older.len())..]);
        bytes
    }

    fn make_room(&mut self, count: usize) {
        let excess = (self.len() + count).saturating_sub(self.capacity);
        self.bytes.drain(..excess.min(self.bytes.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_keeps_what_is_newest_whatever_the_pieces() {
        let all: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        for capacity in [1, 7, 64, 999, 1_000, 2_000] {
            for piece in [1, 3, 50, 1_000] {
                let mut ring = Ring::new(capacity);
                for bytes in all.chunks(piece) {
                    ring.push(bytes);
                    assert!(ring.len() <= capacity);
                }
                assert_eq!(ring.newest(usize::MAX), all[1_000_usize.saturating_sub(capacity)..]);
                for count in [0, 1, 5, capacity] {
                    let kept = count.min(ring.len());
                    assert_eq!(ring.newest(count), all[1_000 - kept..], "{capacity} {piece} {count}");
                }
            }
        }
    }

    #[test]
    fn a_smaller_capacity_forgets_what_is_oldest() {
        let mut ring = Ring::new(DEFAULT_CAPACITY);
        ring.push(b"abcdef");
        ring.set_capacity(4);
        assert_eq!(ring.newest(usize::MAX), b"cdef");
        ring.clear();
        assert_eq!((ring.len(), ring.capacity()), (0, 4));
        ring.set_capacity(usize::MAX);
        assert_eq!(ring.capacity(), MAX_CAPACITY);
    }
}
