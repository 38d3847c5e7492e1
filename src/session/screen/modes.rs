//! What the terminal model does not keep: modes that decide what a terminal reports (mouse, focus, paste, keypad), and the
//! looks of its cursor.

use memchr::memchr;

const ESC: u8 = 0x1b;

/// DEC private modes that are kept (xterm, "Control Sequences", "DEC Private Mode Set"). Of one group only one is set at a
/// time: which reports of the mouse are wanted, and how they are spelled. Resetting any of a group resets all.
const KEPT: [&[u16]; 6] = [&[9, 1000, 1002, 1003], &[1005, 1006, 1015, 1016], &[1004], &[2004], &[12], &[45]];

/// The longest sequence that is read, in bytes. What is longer sets no mode that is kept.
const MAX_SEQUENCE: usize = 64;

/// Follows the output for what it sets.
#[derive(Debug, Default)]
pub(super) struct Modes {
    /// For each group of [`KEPT`], which of it is set.
    set: [Option<u16>; KEPT.len()],
    /// The digit of DECSCUSR, once a program has said one.
    cursor: Option<u8>,
    application_keypad: bool,
    /// The beginning of a sequence whose end has not come yet.
    pending: Vec<u8>,
}

impl Modes {
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !self.pending.is_empty() {
            let Some((&byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            if byte == ESC || self.pending.len() == MAX_SEQUENCE {
                self.pending.clear();
            }
            if byte == ESC || !self.pending.is_empty() {
                self.pending.push(byte);
                self.read_pending();
            }
        }
        while let Some(at) = memchr(ESC, bytes) {
            self.pending.push(ESC);
            bytes = &bytes[at + 1..];
            while !self.pending.is_empty() {
                let Some((&byte, rest)) = bytes.split_first() else { return };
                if byte == ESC || self.pending.len() == MAX_SEQUENCE {
                    self.pending.clear();
                    break;
                }
                bytes = rest;
                self.pending.push(byte);
                self.read_pending();
            }
        }
    }

    /// What sets a fresh terminal so.
    pub(super) fn dump(&self, to: &mut Vec<u8>) {
        for mode in self.set.iter().flatten() {
            to.extend_from_slice(format!("\x1b[?{mode}h").as_bytes());
        }
        if let Some(cursor) = self.cursor {
            to.extend_from_slice(&[ESC, b'[', cursor, b' ', b'q']);
        }
        if self.application_keypad {
            to.extend_from_slice(b"\x1b=");
        }
    }

    /// Takes the pending sequence if it is whole, or drops it if it is none of those that matter.
    fn read_pending(&mut self) {
        match &self.pending[..] {
            [ESC] | [ESC, b'['] | [ESC, b'[', b'?' | b'0'..=b'6'] | [ESC, b'[', b'0'..=b'6', b' '] => return,
            [ESC, b'[', cursor, b' ', b'q'] => self.cursor = Some(*cursor),
            [ESC, b'='] => self.application_keypad = true,
            [ESC, b'>'] => self.application_keypad = false,
            // RIS
            [ESC, b'c'] => (self.set, self.cursor, self.application_keypad) = Default::default(),
            [ESC, b'[', b'?', params @ .., last] => match last {
                b'0'..=b'9' | b';' => return,
                b'h' | b'l' => {
                    for mode in params.split(|byte| *byte == b';') {
                        let mode = std::str::from_utf8(mode).ok().and_then(|mode| mode.parse::<u16>().ok());
                        let Some(mode) = mode else { continue };
                        if let Some(at) = KEPT.iter().position(|group| group.contains(&mode)) {
                            self.set[at] = (*last == b'h').then_some(mode);
                        }
                    }
                }
                _ => {}
            },
            _ => {}
        }
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dumped(output: &[u8], split: usize) -> String {
        let mut modes = Modes::default();
        for piece in output.chunks(split) {
            modes.feed(piece);
        }
        let mut dump = Vec::new();
        modes.dump(&mut dump);
        String::from_utf8(dump).unwrap()
    }

    #[test]
    fn what_a_program_sets_is_there_however_its_output_is_split() {
        let vim = b"text\x1b[?1049h\x1b[?2004h\x1b[?1002;1006h\x1b=more\x1b[1;31mred\x1b[?25l\x1b[?1002l\x1b[?1000h";
        for split in 1..vim.len() {
            assert_eq!(dumped(vim, split), "\x1b[?1000h\x1b[?1006h\x1b[?2004h\x1b=", "{split}");
        }
    }

    #[test]
    fn of_the_modes_of_a_mouse_the_last_one_counts_and_any_reset_ends_them() {
        assert_eq!(dumped(b"\x1b[?1003h\x1b[?1000h\x1b[?1006h\x1b[?1015h", 4), "\x1b[?1000h\x1b[?1015h");
        assert_eq!(dumped(b"\x1b[?1003h\x1b[?1006h\x1b[?1000l\x1b[?1005l", 4), "");
    }

    #[test]
    fn the_cursor_keeps_the_looks_that_a_program_gave_it() {
        let output = b"\x1b[5 q\x1b[4m\x1b[2J\x1b[3;4H\x1b[1 qx\x1b[0 p\x1b[?12h";
        for split in 1..output.len() {
            assert_eq!(dumped(output, split), "\x1b[?12h\x1b[1 q", "{split}");
        }
    }

    #[test]
    fn a_reset_takes_all_back_and_what_is_cut_off_sets_nothing() {
        assert_eq!(dumped(b"\x1b[?2004h\x1b=\x1bc", 3), "");
        assert_eq!(dumped(b"\x1b[?2004\x1b[?1000h", 2), "\x1b[?1000h");
        let long = [b"\x1b[?", &b"1;".repeat(100)[..], b"2004h\x1b[?1004h"].concat();
        assert_eq!(dumped(&long, 7), "\x1b[?1004h");
    }
}
