//! Where control sequences stand in terminal output (ECMA-48; xterm, "Control Sequences").

use memchr::memchr;

const ESC: u8 = 0x1b;

/// The longest control sequence that is looked into, in bytes; what is longer is passed over.
const MAX_SEQUENCE: usize = 64;

/// A sequence that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Sequence<'a> {
    /// `ESC [`, then this up to the final byte.
    Csi(&'a [u8], u8),
    /// `ESC` and one byte.
    Esc(u8),
}

/// Follows output, however it is split. Eight-bit control characters are taken for text, as they are in UTF-8.
#[derive(Debug, Default)]
pub(in crate::cli) struct Scanner {
    state: State,
    body: Vec<u8>,
    /// Bytes that a character still lacks.
    unfinished: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Esc,
    /// `ESC` and an intermediate byte.
    Designation,
    Csi,
    /// A string that ends with ST, or for OSC with BEL; true behind an ESC in it.
    Text {
        osc: bool,
        esc: bool,
    },
}

impl Scanner {
    /// Follows `output` and calls `found` for each sequence that ends in it.
    pub(in crate::cli) fn feed(&mut self, output: &[u8], mut found: impl FnMut(Sequence<'_>)) {
        let mut rest = output;
        while !rest.is_empty() {
            if self.state == State::Ground {
                let text = memchr(ESC, rest).unwrap_or(rest.len());
                self.text(&rest[..text]);
                rest = &rest[text..];
                if rest.is_empty() {
                    return;
                }
            }
            self.step(rest[0], &mut found);
            rest = &rest[1..];
        }
    }

    /// Whether something else may be written here without breaking a character or a sequence.
    pub(in crate::cli) fn is_between(&self) -> bool {
        self.state == State::Ground && self.unfinished == 0
    }

    fn step(&mut self, byte: u8, found: &mut impl FnMut(Sequence<'_>)) {
        self.state = match (self.state, byte) {
            // CAN and SUB end whatever there is.
            (_, 0x18 | 0x1a) => State::Ground,
            (State::Text { osc: true, .. }, 0x07) => State::Ground,
            (State::Text { osc, .. }, ESC) => State::Text { osc, esc: true },
            (State::Text { esc: true, .. }, b'\\') => State::Ground,
            // An ESC that is not the first half of ST ends the string and begins something else.
            (State::Text { esc: true, .. }, _) => {
                self.state = State::Esc;
                return self.step(byte, found);
            }
            (text @ State::Text { .. }, _) => text,
            (_, ESC) => State::Esc,
            (State::Esc, b'[') => {
                self.body.clear();
                State::Csi
            }
            (State::Esc, b']') => State::Text { osc: true, esc: false },
            (State::Esc, b'P' | b'X' | b'^' | b'_') => State::Text { osc: false, esc: false },
            (State::Esc | State::Designation, 0x20..=0x2f) => State::Designation,
            (State::Esc, _) => {
                found(Sequence::Esc(byte));
                State::Ground
            }
            (State::Csi, 0x40..=0x7e) => {
                if self.body.len() < MAX_SEQUENCE {
                    found(Sequence::Csi(&self.body, byte));
                }
                State::Ground
            }
            (State::Csi, 0x20..=0x3f) => {
                if self.body.len() < MAX_SEQUENCE {
                    self.body.push(byte);
                }
                State::Csi
            }
            // Control characters are carried out in the middle of a sequence.
            (State::Csi, 0x00..=0x1f) => State::Csi,
            (State::Ground | State::Designation | State::Csi, _) => State::Ground,
        };
    }

    fn text(&mut self, text: &[u8]) {
        let is_rest = |byte: &u8| byte & 0xc0 == 0x80;
        let joined = text.iter().take(self.unfinished.into()).take_while(|byte| is_rest(byte)).count();
        if joined == text.len() {
            self.unfinished -= joined as u8;
            return;
        }
        // What comes behind the last lead byte, if it lacks something; no character has more than three such bytes.
        self.unfinished = 0;
        for (behind, byte) in text[joined..].iter().rev().take(3).enumerate() {
            if !is_rest(byte) {
                let needs = match byte {
                    0xc2..=0xdf => 1,
                    0xe0..=0xef => 2,
                    0xf0..=0xf4 => 3,
                    _ => 0,
                };
                self.unfinished = (needs as u8).saturating_sub(behind as u8);
                return;
            }
        }
    }
}

/// The numbers of a sequence's parameters, empty ones as 0; those that are no numbers are left out.
pub(super) fn numbers(parameters: &[u8]) -> impl Iterator<Item = u16> + '_ {
    parameters
        .split(|byte| *byte == b';')
        .filter_map(|number| if number.is_empty() { Some(0) } else { std::str::from_utf8(number).ok()?.parse().ok() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(pieces: &[&[u8]]) -> (Vec<String>, bool) {
        let mut scanner = Scanner::default();
        let mut found = Vec::new();
        for piece in pieces {
            scanner.feed(piece, |sequence| {
                found.push(match sequence {
                    Sequence::Csi(body, end) => format!("[{}{}", String::from_utf8_lossy(body), char::from(end)),
                    Sequence::Esc(end) => char::from(end).to_string(),
                });
            });
        }
        (found, scanner.is_between())
    }

    #[test]
    fn sequences_are_found_wherever_the_output_is_split() {
        let output = "a\x1b[?1049hb\x1b=\x1b]0;\x1b[1m title\x07\x1bPq\x1b[2m\x1b\\\x1b(B\x1b[1;3\nm\x1b[9\x18x\x1b[c€";
        // An ESC inside of a string ends it, unless a backslash follows.
        let expected = ["[?1049h", "=", "[1m", "[2m", "\\", "[1;3m", "[c"].map(str::to_owned).to_vec();
        for at in 0..=output.len() {
            let (front, back) = output.as_bytes().split_at(at);
            assert_eq!(scan(&[front, back]), (expected.clone(), true), "split at {at}");
        }
    }

    #[test]
    fn it_is_known_whether_something_may_be_written_in_between() {
        for between in ["", "a", "€", "\x1b[1m", "\x1b]0;x\x07", "\x1bPx\x1b\\", "\x1b7"] {
            assert!(scan(&[between.as_bytes()]).1, "{between:?}");
        }
        for within in [&b"\x1b"[..], b"\x1b[", b"\x1b[1", b"\x1b]0;x", b"\x1bPx\x1b", b"\x1b(", b"\xe2", b"\xe2\x82"] {
            assert!(!scan(&[within]).1, "{within:?}");
        }
        for split in 1..4 {
            let (front, back) = "🦀".as_bytes().split_at(split);
            assert!(!scan(&[front]).1);
            assert!(scan(&[front, back]).1);
        }
        assert!(scan(&[b"\xe2", b"x"]).1, "a character that is broken off is over");
        assert!(scan(&[b"\x80\x80\x80\x80"]).1);
    }

    #[test]
    fn a_sequence_without_end_takes_no_memory() {
        let mut scanner = Scanner::default();
        scanner.feed(b"\x1b[", |_| ());
        scanner.feed(&vec![b'1'; 1 << 20], |_| ());
        assert!(scanner.body.capacity() <= 2 * MAX_SEQUENCE);
        scanner.feed(b"m", |found| panic!("{found:?}"));
        assert!(scanner.is_between());
    }

    #[test]
    fn parameters_are_numbers() {
        assert_eq!(numbers(b"1;;x;70000;49").collect::<Vec<_>>(), [1, 0, 49]);
        assert_eq!(numbers(b"").collect::<Vec<_>>(), [0]);
    }
}
