//! What is typed while a recording plays.

use crate::cli::connect::scanner::{Scanner, Sequence};

const ESC: u8 = 0x1b;

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Stop, or go on.
    Pause,
    /// Enough.
    Leave,
}

/// Reads keys. The terminal's answers to what the recording asks it are no keys, whatever is in them.
#[derive(Debug, Default)]
pub(super) struct Keys {
    scanner: Scanner,
    /// Behind `ESC O` stands one byte more.
    single_shift: bool,
}

impl Keys {
    /// What the keys among these bytes mean.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<Key> {
        bytes.iter().filter_map(|byte| self.step(*byte)).collect()
    }

    fn step(&mut self, byte: u8) -> Option<Key> {
        let is_key = self.scanner.is_between() && byte != ESC && !std::mem::take(&mut self.single_shift);
        let single_shift = &mut self.single_shift;
        self.scanner.feed(&[byte], |sequence| *single_shift = sequence == Sequence::Esc(b'O'));
        match byte {
            _ if !is_key => None,
            b' ' => Some(Key::Pause),
            b'q' | b'Q' | 0x03 => Some(Key::Leave),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_what_a_terminal_answers() {
        for (typed, meant) in [
            (" q\x03", vec![Key::Pause, Key::Leave, Key::Leave]),
            ("xyz\r", vec![]),
            ("\x1b[A \x1bOq ", vec![Key::Pause, Key::Pause]),
            ("\x1bP>|quick(1 2)\x1b\\ ", vec![Key::Pause]),
            ("\x1b]11;rgb:q q\x07q", vec![Key::Leave]),
        ] {
            assert_eq!(Keys::default().read(typed.as_bytes()), meant, "{typed:?}");
            let mut keys = Keys::default();
            let single: Vec<_> = typed.bytes().flat_map(|byte| keys.read(&[byte])).collect();
            assert_eq!(single, meant, "{typed:?} byte by byte");
        }
    }
}
