//! What is on a session's screen, for those who join in the middle.
//!
//! The model is `avt`, the terminal behind asciinema, which can write down its state as output that brings a fresh
//! terminal to it. It costs memory for two screens of cells and some nanoseconds for each character that it is fed,
//! so it is fed only while the configuration says that somebody needs it.

mod modes;
mod plain;
mod sizes;
mod unknown;

use polytty_dialect::Size;
use polytty_dialect::utf8::Joiner;

use modes::Modes;
use unknown::Unknown;

pub(super) use sizes::Sizes;

/// The largest screen that is kept, in cells: 400 columns and 160 rows.
const MAX_CELLS: usize = 64_000;

/// A model of a terminal.
pub(super) struct Screen {
    /// Boxed, being many times the size of the rest of a session that nobody watches.
    terminal: Box<avt::Terminal>,
    modes: Modes,
    joiner: Joiner,
    unknown: Option<Unknown>,
}

impl Screen {
    /// An empty screen.
    pub(super) fn new(size: Size) -> Self {
        let (cols, rows) = cells(size);
        // `cells` are never 0.
        let terminal = avt::Terminal::new(cols, rows).unwrap_or_else(|_| unreachable!("a size has cells"));
        Self { terminal: Box::new(terminal), modes: Modes::default(), joiner: Joiner::new(), unknown: None }
    }

    /// Whether a screen of this size is kept: what one byte of output can change is bounded by it.
    pub(super) fn fits(size: Size) -> bool {
        let (cols, rows) = cells(size);
        cols * rows <= MAX_CELLS
    }

    /// Takes output. Bytes that are no UTF-8 are shown as U+FFFD.
    pub(super) fn feed(&mut self, output: &[u8]) {
        self.modes.feed(output);
        let Self { terminal, joiner, unknown, .. } = self;
        joiner.push(output, |text| match unknown {
            Some(unknown) => unknown.feed(terminal, text),
            None => terminal.feed(text),
        });
    }

    /// Nothing is known of what was on it so far. It is blank where nothing is painted from here on.
    pub(super) fn forget(&mut self) {
        self.unknown = Some(Unknown::of(&mut self.terminal));
    }

    /// Whether what is on it is another one than whoever was shown the one before can know; true once. The program has
    /// left an alternate screen that it entered before anything was known of it.
    pub(super) fn is_another(&mut self) -> bool {
        self.unknown.as_mut().is_some_and(Unknown::newly_returned)
    }

    /// Whether all that is on it is known.
    pub(super) fn is_whole(&mut self) -> bool {
        self.unknown.take_if(|unknown| unknown.is_over(&self.terminal));
        self.unknown.as_ref().is_none_or(|unknown| !unknown.is_shown(&self.terminal))
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
        let dump = self.terminal.dump();
        let dump = if self.unknown.is_some() { Unknown::blank(&dump) } else { dump };
        snapshot.extend_from_slice(plain::plain(&dump).as_bytes());
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

    /// A screen whose beginning was missed.
    fn partly() -> Screen {
        let mut screen = Screen::new(size());
        screen.forget();
        screen
    }

    #[test]
    fn what_was_missed_is_known_when_all_of_it_was_erased_painted_or_has_scrolled_away() {
        let lines: String = (0..10).map(|row| format!("\x1b[{};1H{}", row + 1, "x".repeat(40))).collect();
        for (painted, all) in [
            ("\x1b[2J", true),
            ("\x1bc", true),
            ("\x1b[H\x1b[J", true),
            ("\x1b[?1049h", true),
            ("\x1b[3;1H\x1b[J", false),
            ("\x1b[K", false),
            (&*"line\r\n".repeat(20), true),
            (&*"line\r\n".repeat(9), false),
            (&*lines, true),
            (&*lines.replace('x', ""), false),
            ("$ ls\r\n", false),
        ] {
            let mut screen = partly();
            assert!(!screen.is_whole());
            screen.feed(painted.as_bytes());
            assert_eq!(screen.is_whole(), all, "{painted:?}");
            assert!(!String::from_utf8(screen.snapshot()).unwrap().contains('\u{fdd0}'), "{painted:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_blank_and_the_rest_is_as_it_is() {
        let mut one = partly();
        let mut two = Screen::new(size());
        for screen in [&mut one, &mut two] {
            screen.feed(b"\x1b[31mred\x1b[5;5Hhere\x1b[?25l");
        }
        let mut shown_one = Screen::new(size());
        shown_one.feed(&one.snapshot());
        let mut shown_two = Screen::new(size());
        shown_two.feed(&two.snapshot());
        let trimmed = |screen: &Screen| {
            let (text, col, row) = shown(screen);
            (text.iter().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>(), col, row)
        };
        assert_eq!(trimmed(&shown_one), trimmed(&shown_two));
    }

    #[test]
    fn who_leaves_an_alternate_screen_whose_beginning_was_missed_comes_back_to_what_nobody_knows() {
        let vim = "\x1b[H\x1b[2Jtext\r\n~\r\n~";
        for piece in [1, 3, 100] {
            let mut screen = partly();
            for bytes in format!("{vim}\x1b[?1049l$ ").as_bytes().chunks(piece) {
                screen.feed(bytes);
            }
            assert!(screen.is_another() && !screen.is_another());
            assert!(!screen.is_whole());
            assert!(!shown(&screen).0.concat().contains("text"), "it was on the other screen");
            assert!(shown(&screen).0.concat().contains("$ "), "and this on the one that is there now");
        }
        // Who was seen to enter it had a screen before that, of which as much is known as there was.
        let mut screen = partly();
        screen.feed(format!("$ \x1b[?1049h{vim}").as_bytes());
        assert!(screen.is_whole());
        screen.feed(b"\x1b[?1049l");
        assert!(!screen.is_whole());
        screen.feed(b"\x1b[2J\x1b[?1049h\x1b[?1049l");
        assert!(screen.is_whole() && screen.unknown.is_none());
    }

    #[test]
    fn a_program_on_the_alternate_screen_is_forgotten_with_the_screen_below() {
        let mut screen = Screen::new(size());
        screen.feed(b"below\x1b[?1049hfull");
        screen.forget();
        assert!(!screen.is_whole());
        screen.feed(b"\x1b[2J");
        assert!(screen.is_whole());
        screen.feed(b"\x1b[?1049l");
        assert!(!screen.is_whole());
    }
}
