//! What is on a session's screen, for those who join in the middle.
//!
//! The model is `avt`, the terminal behind asciinema, which can write down its state as output that brings a fresh
//! terminal to it. It costs memory for two screens of cells and some nanoseconds for each character that it is fed,
//! so it is fed only while the configuration says that somebody needs it.

mod modes;
mod plain;

use polytty_dialect::Size;
use polytty_dialect::utf8::Joiner;

use modes::Modes;

/// The largest screen that is kept, in cells: 400 columns and 160 rows.
const MAX_CELLS: usize = 64_000;

/// A model of a terminal.
pub(super) struct Screen {
    terminal: avt::Terminal,
    modes: Modes,
    joiner: Joiner,
}

impl Screen {
    /// An empty screen.
    pub(super) fn new(size: Size) -> Self {
        let (cols, rows) = cells(size);
        // `cells` are never 0.
        let terminal = avt::Terminal::new(cols, rows).unwrap_or_else(|_| unreachable!("a size has cells"));
        Self { terminal, modes: Modes::default(), joiner: Joiner::new() }
    }

    /// Whether a screen of this size is kept: what one byte of output can change is bounded by it.
    pub(super) fn fits(size: Size) -> bool {
        let (cols, rows) = cells(size);
        cols * rows <= MAX_CELLS
    }

    /// Takes output. Bytes that are no UTF-8 are shown as U+FFFD.
    pub(super) fn feed(&mut self, output: &[u8]) {
        self.modes.feed(output);
        let Self { terminal, joiner, .. } = self;
        joiner.push(output, |text| terminal.feed(text));
    }

    pub(super) fn resize(&mut self, size: Size) {
        let (cols, rows) = cells(size);
        self.terminal.resize(cols, rows);
    }

    /// Output that brings a terminal of the same size, which was reset, to this state.
    pub(super) fn snapshot(&self) -> Vec<u8> {
        let mut snapshot = b"\x1b[H\x1b[2J".to_vec();
        self.modes.dump(&mut snapshot);
        // Last, for it ends in what the terminal is in the middle of.
        snapshot.extend_from_slice(plain::plain(&self.terminal.dump()).as_bytes());
        snapshot.extend_from_slice(self.joiner.held());
        snapshot
    }
}

fn cells(size: Size) -> (usize, usize) {
    (usize::from(size.cols()).max(1), usize::from(size.rows()).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size() -> Size {
        Size::new(40, 10).unwrap()
    }

    /// The text that a screen shows, and where its cursor is.
    fn shown(screen: &Screen) -> (Vec<String>, usize, usize) {
        let cursor = screen.terminal.cursor();
        (screen.terminal.screen().text(), cursor.col, cursor.row)
    }

    #[test]
    fn a_snapshot_brings_a_fresh_screen_to_the_same_state_and_what_follows_to_the_same_end() {
        let before = "prompt $ \x1b[31mred\x1b[m gr\u{fc}\u{df}e \u{4e16}\u{754c}\r\n\x1b[3;8r\x1b[?1049hfull\x1b[5;5Hscreen\x1b[?2004h";
        let behind = "\x1b[2;2Hmore\n\n\n\n\n\n\n\nscrolled\x1b[?1049lback";
        let mut one = Screen::new(size());
        one.feed(before.as_bytes());
        let mut two = Screen::new(size());
        two.feed(&one.snapshot());
        assert_eq!(shown(&one), shown(&two));
        assert!(String::from_utf8(two.snapshot()).unwrap().contains("\x1b[?2004h"));
        for screen in [&mut one, &mut two] {
            screen.feed(behind.as_bytes());
        }
        assert_eq!(shown(&one), shown(&two));
    }

    #[test]
    fn a_character_that_was_cut_is_whole_again_and_nonsense_is_replaced() {
        let mut screen = Screen::new(size());
        screen.feed(b"\xe2\x82");
        screen.feed(b"\xac\xff!");
        assert!(shown(&screen).0[0].starts_with("\u{20ac}\u{fffd}!"));
    }

    #[test]
    fn a_screen_of_one_cell_takes_anything() {
        let mut screen = Screen::new(Size::new(1, 1).unwrap());
        screen.feed("\u{4e16}\x1b[999;999H\x1b[2;1r\x1b[?1049hx".as_bytes());
        screen.resize(Size::new(1000, 1000).unwrap());
        screen.resize(Size::new(1, 2).unwrap());
        assert!(!screen.snapshot().is_empty());
    }
}
