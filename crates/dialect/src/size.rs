//! The size of a terminal in character cells.

/// The largest number of columns or rows that is passed on; larger ones are clamped (protocol, "resize").
pub const MAX_CELLS: u16 = 1000;

/// Columns and rows, each from 1 to [`MAX_CELLS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    cols: u16,
    rows: u16,
}

impl Size {
    /// What a terminal has before anybody named a size.
    pub const DEFAULT: Self = Self { cols: 80, rows: 24 };

    /// A size, clamped to [`MAX_CELLS`]; `None` if either number is zero.
    #[must_use]
    pub fn new(cols: u64, rows: u64) -> Option<Self> {
        Some(Self { cols: cells(cols)?, rows: cells(rows)? })
    }

    /// Columns.
    #[must_use]
    pub fn cols(self) -> u16 {
        self.cols
    }

    /// Rows.
    #[must_use]
    pub fn rows(self) -> u16 {
        self.rows
    }
}

fn cells(count: u64) -> Option<u16> {
    let count = u16::try_from(count.min(u64::from(MAX_CELLS))).ok()?;
    (count > 0).then_some(count)
}

impl Default for Size {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_size_and_a_giant_is_clamped() {
        assert_eq!(Size::new(0, 24), None);
        assert_eq!(Size::new(80, 0), None);
        let giant = Size::new(u64::MAX, 1001).unwrap();
        assert_eq!((giant.cols(), giant.rows()), (MAX_CELLS, MAX_CELLS));
        let edge = Size::new(1000, 1).unwrap();
        assert_eq!((edge.cols(), edge.rows()), (1000, 1));
    }
}
