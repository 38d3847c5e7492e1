//! Modes of a terminal that decide what it reports, which the terminal model does not keep: mouse, focus, paste, keypad.

use memchr::memchr;

const ESC: u8 = 0x1b;

/// DEC private modes that are kept (xterm, "Control Sequences", "DEC Private Mode Set").
const KEPT: [u16; 10] = [9, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 2004];

/// The longest sequence that is read, in bytes. What is longer sets no mode that is kept.
const MAX_SEQUENCE: usize = 64;

/// Follows the output for what it sets.
#[derive(Debug, Default)]
pub(super) struct Modes {
    /// One flag for each of [`KEPT`].
    set: [bool; KEPT.len()],
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
        for (mode, _) in KEPT.iter().zip(self.set).filter(|(_, set)| *set) {
            to.extend_from_slice(format!("\x1b[?{mode}h").as_bytes());
        }
        if self.application_keypad {
            to.extend_from_slice(b"\x1b=");
        }
    }

    /// Takes the pending sequence if it is whole, or drops it if it is none of those that matter.
    fn read_pending(&mut self) {
        match &self.pending[..] {
            [ESC] | [ESC, b'['] | [ESC, b'[', b'?'] => return,
            [ESC, b'='] => self.application_keypad = true,
            [ESC, b'>'] => self.application_keypad = false,
            // RIS
            [ESC, b'c'] => (self.set, self.application_keypad) = Default::default(),
            [ESC, b'[', b'?', params @ .., last] => match last {
                b'0'..=b'9' | b';' => return,
                b'h' | b'l' => {
                    for mode in params.split(|byte| *byte == b';') {
                        let mode = std::str::from_utf8(mode).ok().and_then(|mode| mode.parse::<u16>().ok());
                        if let Some(at) = KEPT.iter().position(|kept| Some(*kept) == mode) {
                            self.set[at] = *last == b'h';
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
    fn a_reset_takes_all_back_and_what_is_cut_off_sets_nothing() {
        assert_eq!(dumped(b"\x1b[?2004h\x1b=\x1bc", 3), "");
        assert_eq!(dumped(b"\x1b[?2004\x1b[?1000h", 2), "\x1b[?1000h");
        let long = [b"\x1b[?", &b"1;".repeat(100)[..], b"2004h\x1b[?1004h"].concat();
        assert_eq!(dumped(&long, 7), "\x1b[?1004h");
    }
}
