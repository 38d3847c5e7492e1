//! What a program has switched on in the terminal, so that it can be switched off when the program cannot any more.

use std::collections::BTreeSet;

use super::scanner::{Sequence, numbers};

/// Private modes (`CSI ? N h`) that make a terminal unfit for a shell: keys of the cursor, mouse, focus, alternate
/// screens, bracketed paste, synchronized output.
const PRIVATE: [u16; 17] = [1, 9, 47, 66, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 1047, 1049, 2004, 2026];

/// Other codes for the keys of the cursor (DECCKM).
const CURSOR_KEYS: u16 = 1;

/// Alternate screens.
const ALTERNATE: [u16; 3] = [47, 1047, 1049];

/// Kitty's keyboard modes that are undone at most: it keeps no more of them (its "Comprehensive keyboard handling").
const MAX_KEYBOARDS: u16 = 8;

/// The modes that are on.
#[derive(Debug, Default)]
pub(in crate::cli) struct Modes {
    private: BTreeSet<u16>,
    cursor_hidden: bool,
    keypad: bool,
    keyboards: u16,
    other_keys: bool,
}

impl Modes {
    /// Notes what a sequence changes.
    pub(in crate::cli) fn see(&mut self, sequence: Sequence<'_>) {
        match sequence {
            Sequence::Esc(b'=') => self.keypad = true,
            Sequence::Esc(b'>') => self.keypad = false,
            Sequence::Esc(b'c') => *self = Self::default(),
            Sequence::Csi([b'?', modes @ ..], end @ (b'h' | b'l')) => {
                for mode in numbers(modes) {
                    self.set(mode, end == b'h');
                }
            }
            Sequence::Csi([b'>', ..], b'u') => self.keyboards = (self.keyboards + 1).min(MAX_KEYBOARDS),
            Sequence::Csi([b'<', count @ ..], b'u') => {
                let count = numbers(count).next().unwrap_or(0).max(1);
                self.keyboards = self.keyboards.saturating_sub(count);
            }
            Sequence::Csi([b'>', parameters @ ..], b'm') => {
                let mut numbers = numbers(parameters);
                if matches!(numbers.next(), Some(0 | 4)) {
                    self.other_keys = numbers.next().is_some_and(|level| level > 0);
                }
            }
            _ => {}
        }
    }

    /// Whether some program seems to paint the whole screen: on an alternate one, or without one as `top` does, with
    /// other codes for the keys of the cursor or without a cursor.
    pub(super) fn is_full_screen(&self) -> bool {
        ALTERNATE.iter().any(|mode| self.private.contains(mode))
            || self.private.contains(&CURSOR_KEYS)
            || self.keypad
            || self.cursor_hidden
    }

    /// What switches all of it off; nothing where nothing is on.
    pub(in crate::cli) fn undo(&self) -> Vec<u8> {
        let mut undo = String::new();
        if self.keyboards > 0 {
            undo += &format!("\x1b[<{}u", self.keyboards);
        }
        if self.other_keys {
            undo += "\x1b[>4m";
        }
        for mode in self.private.iter().rev() {
            undo += &format!("\x1b[?{mode}l");
        }
        if self.keypad {
            undo += "\x1b>";
        }
        if self.cursor_hidden {
            undo += "\x1b[?25h";
        }
        if !undo.is_empty() {
            undo += "\x1b[m";
        }
        undo.into_bytes()
    }

    /// What switches it on again. Keyboard modes are left to the program, which is made to repaint.
    pub(super) fn redo(&self) -> Vec<u8> {
        let mut redo: String = self.private.iter().map(|mode| format!("\x1b[?{mode}h")).collect();
        if self.keypad {
            redo += "\x1b=";
        }
        if self.cursor_hidden {
            redo += "\x1b[?25l";
        }
        redo.into_bytes()
    }

    fn set(&mut self, mode: u16, on: bool) {
        if mode == 25 {
            self.cursor_hidden = !on;
        } else if PRIVATE.contains(&mode) {
            if on {
                self.private.insert(mode)
            } else {
                self.private.remove(&mode)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scanner::Scanner;
    use super::*;

    fn behind(output: &str) -> Modes {
        let mut modes = Modes::default();
        Scanner::default().feed(output.as_bytes(), |sequence| modes.see(sequence));
        modes
    }

    #[test]
    fn what_a_program_left_on_is_switched_off_and_nothing_else_is_touched() {
        assert!(behind("\x1b[1;31mred\x1b[?7h\x1b[?12l").undo().is_empty());
        let editor = "\x1b[?1049h\x1b[?1h\x1b=\x1b[?2004h\x1b[?25l\x1b[?1002;1006h\x1b[>1u\x1b[>4;2m";
        let modes = behind(editor);
        assert!(modes.is_full_screen());
        assert!(behind("\x1b[?1h\x1b=\x1b[H\x1b[J").is_full_screen(), "top leaves the screen what it is");
        assert!(!behind("\x1b[?2004h$ ").is_full_screen());
        let undo = String::from_utf8(modes.undo()).unwrap();
        for part in ["?1049l", "?1l", "\x1b>", "?2004l", "?25h", "?1002l", "?1006l", "\x1b[<1u", "\x1b[>4m"] {
            assert!(undo.contains(part), "{part:?} in {undo:?}");
        }
        assert!(behind(&format!("{editor}{undo}")).undo().is_empty(), "undoing is enough");
        assert!(behind(&format!("{editor}\x1bc")).undo().is_empty());
        let redo = String::from_utf8(modes.redo()).unwrap();
        assert_eq!(behind(&redo).private, modes.private);
        let end = "\x1b[<u\x1b[>4m\x1b[?1002;1006l\x1b[?2004l\x1b[?1l\x1b>\x1b[?1049l\x1b[?25h";
        assert!(behind(&format!("{editor}{end}")).undo().is_empty(), "a program that cleans up leaves nothing to do");
    }
}
