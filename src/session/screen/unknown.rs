//! What is not known of a screen whose beginning was missed.
//!
//! Each cell of which nothing is known holds a mark, which goes the way of any other character: it is written over, erased
//! or scrolled away. When the last one is gone, all that is on the screen has been painted since, by whatever means.

use avt::parser::{DecMode, DecModes, Function};
use avt::{Observation, Observer, Operation, ScreenKind, Terminal};

/// The mark: a noncharacter (Unicode, section 23.7), which no program means anything by.
const MARK: char = '\u{fdd0}';

/// What is shown in its place.
const BLANK: &str = " ";

/// A screen of which something may not be known.
#[derive(Debug)]
pub(super) struct Unknown {
    /// Whether it is known on which of its two screens the program is. Until something is said of that, leaving the
    /// alternate one brings back another of which nothing is known.
    is_settled: bool,
    /// The program has come back to a screen of which nothing is known, since this was asked last.
    has_returned: bool,
}

impl Unknown {
    /// Forgets all that is on both screens.
    pub(super) fn of(terminal: &mut Terminal) -> Self {
        let is_settled = terminal.active_screen_kind() == ScreenKind::Alternate;
        if is_settled {
            terminal.feed("\x1b[?1047l");
            mark(terminal);
            terminal.feed("\x1b[?1047h");
        }
        mark(terminal);
        Self { is_settled, has_returned: false }
    }

    /// Takes output in place of the terminal.
    pub(super) fn feed(&mut self, terminal: &mut Terminal, text: &str) {
        if self.is_settled {
            return terminal.feed(text);
        }
        for (at, char) in text.char_indices() {
            let mut switch = Switch::default();
            terminal.feed_with(char, &mut switch);
            if switch.was_left {
                mark(terminal);
                self.has_returned = true;
            }
            if switch.is_said {
                self.is_settled = true;
                return terminal.feed(&text[at + char.len_utf8()..]);
            }
        }
    }

    /// Whether the program has left an alternate screen for one of which nothing is known; true once.
    pub(super) fn newly_returned(&mut self) -> bool {
        std::mem::take(&mut self.has_returned)
    }

    /// Whether something on the screen that is shown is not known.
    pub(super) fn is_shown(&self, terminal: &Terminal) -> bool {
        is_marked(terminal.screen())
    }

    /// Whether nothing of it is left.
    pub(super) fn is_over(&self, terminal: &Terminal) -> bool {
        self.is_settled && !is_marked(terminal.screen()) && !is_marked(terminal.primary_screen())
    }

    /// What a dump shows of what is not known.
    pub(super) fn blank(dump: &str) -> String {
        dump.replace(MARK, BLANK)
    }
}

fn is_marked(screen: avt::Screen<'_>) -> bool {
    screen.visible_lines().any(|line| line.cells().iter().any(|cell| cell.char() == MARK))
}

/// Marks every cell of the screen that is shown, and leaves the cursor, its looks and the modes as they are.
fn mark(terminal: &mut Terminal) {
    let (cols, rows) = terminal.size();
    let line: String = std::iter::repeat_n(MARK, cols).collect();
    // DECSC; absolute places, no wrapping, no looks.
    let mut text = "\x1b7\x1b[?6l\x1b[?7l\x1b[m".to_owned();
    for row in 1..=rows {
        text.push_str(&format!("\x1b[{row}H{line}"));
    }
    text.push_str("\x1b8");
    terminal.feed(&*text);
}

/// Watches for what tells on which screen the program is.
#[derive(Default)]
struct Switch {
    is_said: bool,
    /// It was on the alternate one all along.
    was_left: bool,
}

impl Observer for Switch {
    type Output = ();

    fn before(&mut self, context: &mut Observation<'_>, operation: &Operation) {
        let Operation::Function(function) = operation else { return };
        match function {
            Function::Decset(modes) if switches(modes) => self.is_said = true,
            Function::Decrst(modes) if switches(modes) => {
                self.is_said = true;
                self.was_left = context.terminal().active_screen_kind() == ScreenKind::Primary;
            }
            Function::Ris => self.is_said = true,
            _ => {}
        }
    }

    fn end(&mut self, _: &mut Observation<'_>) {}
}

fn switches(modes: &DecModes) -> bool {
    modes.as_slice().iter().any(|mode| matches!(mode, DecMode::AltScreenBuffer | DecMode::SaveCursorAltScreenBuffer))
}
