//! Which size a terminal had at which place of its output.

use std::collections::VecDeque;
use std::ops::Range;

use polytty_dialect::Size;

/// Sizes that are remembered beside the present one, 16 bytes each. At the bound the oldest is forgotten, and with it the
/// layout of what was written then.
const MAX: usize = 64;

/// The sizes of a terminal, each from an offset of its output on.
#[derive(Debug)]
pub(in crate::session) struct Sizes {
    sizes: VecDeque<(u64, Size)>,
}

impl Sizes {
    /// Those of a terminal that has this size from its first byte on.
    pub(in crate::session) fn new(size: Size) -> Self {
        Self { sizes: VecDeque::from([(0, size)]) }
    }

    /// From `at` on it is this one. What lies before `held` will not be asked for any more.
    pub(in crate::session) fn change(&mut self, at: u64, size: Size, held: u64) {
        while self.sizes.get(1).is_some_and(|(next, _)| *next <= held) {
            self.sizes.pop_front();
        }
        self.sizes.pop_back_if(|(last, _)| *last == at);
        self.sizes.push_back((at, size));
        if self.sizes.len() > MAX + 1 {
            self.sizes.pop_front();
        }
    }

    /// Whether it was always the same from `from` on.
    pub(in crate::session) fn is_constant(&self, from: u64) -> bool {
        self.sizes.back().is_none_or(|(at, _)| *at <= from)
    }

    /// The pieces of the output within `range`, in order, each with the size that the terminal had; `None` where that is
    /// not known any more. The last one may be empty.
    pub(in crate::session) fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = (Option<Size>, Range<u64>)> {
        let oldest = self.sizes.front().map_or(range.end, |(at, _)| *at);
        let forgotten = (range.start < oldest).then(|| (None, range.start..oldest.min(range.end)));
        let ends = self.sizes.iter().skip(1).map(|(at, _)| *at).chain([u64::MAX]);
        let known = self.sizes.iter().zip(ends).filter(move |(_, end)| *end > range.start);
        let known =
            known.map(move |((at, size), end)| (Some(*size), (*at).clamp(range.start, range.end)..end.min(range.end)));
        forgotten.into_iter().chain(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(cols: u64) -> Size {
        Size::new(cols, 24).unwrap()
    }

    fn pieces(sizes: &Sizes, range: Range<u64>) -> Vec<(Option<u16>, Range<u64>)> {
        sizes.pieces(range).map(|(size, piece)| (size.map(Size::cols), piece)).collect()
    }

    #[test]
    fn each_piece_of_the_output_has_the_size_that_was_there() {
        let mut sizes = Sizes::new(size(1));
        assert_eq!(pieces(&sizes, 0..0), [(Some(1), 0..0)]);
        assert!(sizes.is_constant(0));
        sizes.change(0, size(2), 0);
        assert_eq!(pieces(&sizes, 0..5), [(Some(2), 0..5)], "nothing was written in the size before");
        sizes.change(5, size(3), 0);
        sizes.change(9, size(4), 0);
        assert_eq!(pieces(&sizes, 0..9), [(Some(2), 0..5), (Some(3), 5..9), (Some(4), 9..9)]);
        assert_eq!(pieces(&sizes, 7..20), [(Some(3), 7..9), (Some(4), 9..20)]);
        assert_eq!(pieces(&sizes, 9..20), [(Some(4), 9..20)]);
        assert!(sizes.is_constant(9) && !sizes.is_constant(8));
    }

    #[test]
    fn what_is_not_held_any_more_is_forgotten_and_beyond_the_bound_so_is_the_oldest() {
        let mut sizes = Sizes::new(size(1));
        sizes.change(10, size(2), 0);
        sizes.change(20, size(3), 0);
        sizes.change(30, size(4), 20);
        assert_eq!(pieces(&sizes, 20..40), [(Some(3), 20..30), (Some(4), 30..40)]);
        assert_eq!(sizes.sizes.len(), 2);

        let mut sizes = Sizes::new(size(1));
        for n in 1..=70 {
            sizes.change(n, size(n), 0);
        }
        assert_eq!(sizes.sizes.len(), MAX + 1);
        let all = pieces(&sizes, 0..80);
        assert_eq!((&all[0], &all[1], all.last().unwrap()), (&(None, 0..6), &(Some(6), 6..7), &(Some(70), 70..80)));
    }
}
