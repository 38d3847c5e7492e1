//! What is typed for us and not for the remote terminal.

use std::fmt;
use std::str::FromStr;

/// Ctrl-Z.
const SUSPEND: u8 = 0x1a;

/// The character that, first in a line, makes the next one a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EscapeChar(pub(super) Option<u8>);

impl FromStr for EscapeChar {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.as_bytes() {
            b"none" => Ok(Self(None)),
            [byte @ b' '..=b'~'] => Ok(Self(Some(*byte))),
            [b'^', letter @ (b'@'..=b'_' | b'a'..=b'z')] => Ok(Self(Some(letter.to_ascii_uppercase() ^ 0x40))),
            _ => Err("expected one ASCII character, a control character such as ^], or none"),
        }
    }
}

impl fmt::Display for EscapeChar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("none"),
            Some(byte) if byte < b' ' => write!(f, "^{}", char::from(byte ^ 0x40)),
            Some(byte) => write!(f, "{}", char::from(byte)),
        }
    }
}

/// What a person wants of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Leave,
    Suspend,
    Help,
}

/// Finds commands in what is typed.
#[derive(Debug)]
pub(super) struct Keys {
    escape: Option<u8>,
    line_start: bool,
    held: bool,
}

impl Keys {
    pub(super) fn new(escape: EscapeChar) -> Self {
        Self { escape: escape.0, line_start: true, held: false }
    }

    pub(super) fn escape(&self) -> EscapeChar {
        EscapeChar(self.escape)
    }

    /// Appends to `out` what is for the remote terminal, up to the first command. How much of `typed` that was, and
    /// the command.
    pub(super) fn feed(&mut self, typed: &[u8], out: &mut Vec<u8>) -> (usize, Option<Command>) {
        let Some(escape) = self.escape else {
            out.extend_from_slice(typed);
            return (typed.len(), None);
        };
        for (at, &key) in typed.iter().enumerate() {
            if std::mem::take(&mut self.held) {
                let command = match key {
                    b'.' => Some(Command::Leave),
                    SUSPEND => Some(Command::Suspend),
                    b'?' => Some(Command::Help),
                    _ => None,
                };
                if command.is_some() {
                    return (at + 1, command);
                }
                out.push(escape);
                if key == escape {
                    self.line_start = false;
                    continue;
                }
            } else if self.line_start && key == escape {
                self.held = true;
                continue;
            }
            out.push(key);
            self.line_start = matches!(key, b'\r' | b'\n');
        }
        (typed.len(), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types `text` key by key, or all at once; what goes out, and the commands.
    fn typed(escape: &str, text: &str, at_once: bool) -> (String, Vec<Command>) {
        let mut keys = Keys::new(escape.parse().unwrap());
        let (mut out, mut commands) = (Vec::new(), Vec::new());
        let pieces: Vec<&[u8]> = if at_once { vec![text.as_bytes()] } else { text.as_bytes().chunks(1).collect() };
        for mut piece in pieces {
            while !piece.is_empty() {
                let (taken, command) = keys.feed(piece, &mut out);
                commands.extend(command);
                piece = &piece[taken..];
            }
        }
        (String::from_utf8(out).unwrap(), commands)
    }

    #[test]
    fn a_command_stands_first_in_a_line_and_everything_else_is_typed() {
        use Command::{Help, Leave, Suspend};
        for (escape, text, out, commands) in [
            ("~", "~.", "", vec![Leave]),
            ("~", "ls\r~.", "ls\r", vec![Leave]),
            ("~", "ls\n~\u{1a}x", "ls\nx", vec![Suspend]),
            ("~", "~?~.", "", vec![Help, Leave]),
            ("~", "~~.", "~.", vec![]),
            ("~", "cd ~.\r", "cd ~.\r", vec![]),
            ("~", "~user\r~.", "~user\r", vec![Leave]),
            ("~", "~\r~.", "~\r", vec![Leave]),
            ("none", "~.", "~.", vec![]),
            ("^]", "~.\r\u{1d}.", "~.\r", vec![Leave]),
        ] {
            for at_once in [true, false] {
                assert_eq!(typed(escape, text, at_once), (out.to_owned(), commands.clone()), "{text:?}");
            }
        }
    }

    #[test]
    fn an_escape_character_is_written_as_it_is_read() {
        for text in ["~", "none", "^]", "#", "^A"] {
            assert_eq!(text.parse::<EscapeChar>().unwrap().to_string(), text);
        }
        assert_eq!("^a".parse(), Ok(EscapeChar(Some(1))));
        for wrong in ["", "ab", "^", "ä", "\n", "^é"] {
            assert!(wrong.parse::<EscapeChar>().is_err() || wrong == "^", "{wrong:?}");
        }
    }
}
