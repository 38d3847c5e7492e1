//! Where in terminal output one may begin to read: between characters and outside of escape sequences.
//!
//! The states are those of the parser that Paul Williams described for the DEC VT500 series (vt100.net, "A parser for
//! DEC's ANSI-compatible video terminals"), as far as they matter for where a sequence ends. ESC, CAN and SUB leave
//! every state, so what stands before the last of them need not be looked at.

use memchr::{memchr, memrchr3};

const ESC: u8 = 0x1b;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const BEL: u8 = 0x07;

/// What a terminal is in the middle of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::session) enum State {
    /// Nothing: the next byte begins something.
    #[default]
    Ground,
    /// Behind ESC.
    Escape,
    /// Behind ESC and an intermediate byte.
    Intermediate,
    /// In a control sequence (CSI).
    Control,
    /// In an operating system command (OSC), which BEL also ends.
    Command,
    /// In a device control string, or another one that only ESC ends.
    Text,
}

impl State {
    /// The state behind `bytes`.
    pub(super) fn behind(self, bytes: &[u8]) -> Self {
        let (mut state, rest) = match memrchr3(ESC, CAN, SUB, bytes) {
            Some(at) => (if bytes[at] == ESC { Self::Escape } else { Self::Ground }, &bytes[at + 1..]),
            None => (self, bytes),
        };
        for (at, &byte) in rest.iter().enumerate() {
            match state {
                Self::Ground | Self::Text => return state,
                Self::Command => {
                    return if memchr(BEL, &rest[at..]).is_some() { Self::Ground } else { Self::Command };
                }
                _ => state = state.step(byte),
            }
        }
        state
    }

    /// How many of `bytes` have to be passed over, so that what follows begins something new; `None` when all of them
    /// are inside of one sequence.
    pub(super) fn first_boundary(self, bytes: impl Iterator<Item = u8>) -> Option<usize> {
        /// The continuation bytes of one UTF-8 character at the most.
        const CONTINUATION: usize = 3;
        let mut state = self;
        let mut continuation = 0;
        let mut passed = 0;
        for byte in bytes {
            if state == Self::Ground {
                if continuation == CONTINUATION || byte & 0xc0 != 0x80 {
                    return Some(passed);
                }
                continuation += 1;
            } else {
                state = state.step(byte);
            }
            passed += 1;
        }
        (state == Self::Ground).then_some(passed)
    }

    /// The state behind one more byte.
    pub(in crate::session) fn step(self, byte: u8) -> Self {
        match (self, byte) {
            (_, ESC) => Self::Escape,
            (_, CAN | SUB) => Self::Ground,
            (Self::Command, BEL) => Self::Ground,
            (Self::Command | Self::Text, _) => self,
            (Self::Escape | Self::Intermediate, 0x20..=0x2f) => Self::Intermediate,
            (Self::Escape, b'[') => Self::Control,
            (Self::Escape, b']') => Self::Command,
            (Self::Escape, b'P' | b'X' | b'^' | b'_') => Self::Text,
            (Self::Control, 0x20..=0x3f) => Self::Control,
            // Controls are carried out in the middle of a sequence.
            (Self::Escape | Self::Intermediate | Self::Control, 0x00..=0x1f | 0x7f) => self,
            _ => Self::Ground,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slowly(state: State, bytes: &[u8]) -> State {
        bytes.iter().fold(state, |state, &byte| state.step(byte))
    }

    fn terminal_bytes() -> impl Strategy<Value = Vec<u8>> {
        let pieces = prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            prop::sample::select(vec![
                &b"\x1b[1;31m"[..],
                b"\x1b]0;title\x07",
                b"\x1bP1$r0m\x1b\\",
                b"\x1b(B",
                b"text\r\n",
                b"\x1b",
                b"[",
                b"]",
                b"\x07",
                b"\x18",
                "\u{20ac}\u{1f600}".as_bytes(),
                b"\x1b[38;5;",
                b"\x1b_apc",
            ])
            .prop_map(<[u8]>::to_vec),
        ];
        prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn looking_back_for_the_last_escape_comes_to_the_same_as_reading_every_byte(
            before in terminal_bytes(), bytes in terminal_bytes()
        ) {
            let state = slowly(State::Ground, &before);
            prop_assert_eq!(state.behind(&bytes), slowly(state, &bytes));
        }

        #[test]
        fn behind_the_first_boundary_a_terminal_is_in_the_middle_of_nothing(
            before in terminal_bytes(), bytes in terminal_bytes()
        ) {
            let state = slowly(State::Ground, &before);
            match state.first_boundary(bytes.iter().copied()) {
                Some(passed) => {
                    prop_assert_eq!(slowly(state, &bytes[..passed]), State::Ground);
                }
                None => prop_assert_ne!(slowly(state, &bytes), State::Ground),
            }
        }
    }

    #[test]
    fn a_cut_character_and_a_cut_sequence_are_passed_over() {
        let passed = |before: &[u8], bytes: &[u8]| slowly(State::Ground, before).first_boundary(bytes.iter().copied());
        assert_eq!(passed(b"\xf0", b"\x9f\x98\x80abc"), Some(3));
        assert_eq!(passed(b"\xe2\x82", b"\xac\xe2\x82\xac"), Some(1));
        assert_eq!(passed(b"\x1b[38;5", b";196mred"), Some(5));
        assert_eq!(passed(b"\x1b", b"[2Jx"), Some(3));
        assert_eq!(passed(b"\x1b]0;a long ti", b"tle\x07$ "), Some(4));
        assert_eq!(passed(b"\x1b]0;a long ti", b"tle\x1b\\$ "), Some(5));
        assert_eq!(passed(b"\x1bPq", b"\n\n#0\x1b\\ok"), Some(6));
        assert_eq!(passed(b"\x1bPq", b"no end"), None);
        assert_eq!(passed(b"plain", b"text"), Some(0));
    }
}
