//! Whether a full-screen program has the terminal, read off its output.

/// The DEC private modes that switch to the alternate screen (xterm's control sequences, "DECSET").
const MODES: [u32; 3] = [47, 1047, 1049];

/// The largest parameter that is told apart from others.
const MAX_PARAMETER: u32 = 99_999;

/// Follows output and knows whether the alternate screen is on. Sequences may be split at any place; nothing is
/// carried but a state and two numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AlternateScreen {
    on: bool,
    state: State,
    /// The parameter that is being read.
    parameter: u32,
    /// One of the parameters so far was among [`MODES`].
    is_named: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// Behind ESC.
    Escape,
    /// Behind ESC `[`.
    Bracket,
    /// Behind ESC `[` `?`, in its parameters.
    Private,
}

impl AlternateScreen {
    pub(super) fn is_on(self) -> bool {
        self.on
    }

    /// Takes output. Costs one search for ESC where there is none.
    pub(super) fn follow(&mut self, mut output: &[u8]) {
        while !output.is_empty() {
            if self.state == State::Text {
                let Some(at) = output.iter().position(|&byte| byte == ESC) else { return };
                output = &output[at..];
            }
            let (byte, rest) = (output[0], &output[1..]);
            output = rest;
            self.step(byte);
        }
    }

    fn step(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (_, ESC) => State::Escape,
            (State::Escape, b'[') => State::Bracket,
            (State::Escape, b'c') => {
                // RIS, a full reset.
                self.on = false;
                State::Text
            }
            (State::Bracket, b'?') => {
                (self.parameter, self.is_named) = (0, false);
                State::Private
            }
            (State::Private, b'0'..=b'9') => {
                self.parameter = (self.parameter * 10 + u32::from(byte - b'0')).min(MAX_PARAMETER);
                State::Private
            }
            (State::Private, b';') => {
                self.end_parameter();
                State::Private
            }
            (State::Private, b'h' | b'l') => {
                self.end_parameter();
                if self.is_named {
                    self.on = byte == b'h';
                }
                State::Text
            }
            _ => State::Text,
        };
    }

    fn end_parameter(&mut self) {
        self.is_named |= MODES.contains(&self.parameter);
        self.parameter = 0;
    }
}

const ESC: u8 = 0x1b;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(output: &[u8]) -> bool {
        let mut screen = AlternateScreen::default();
        screen.follow(output);
        screen.is_on()
    }

    #[test]
    fn each_mode_switches_it_on_and_off() {
        for mode in ["47", "1047", "1049", "1049;1", "25;1049", "1;47;9"] {
            let (on, off) = (format!("x\x1b[?{mode}hy"), format!("\x1b[?{mode}l"));
            assert!(after(on.as_bytes()), "{mode}");
            assert!(!after((on.clone() + &off).as_bytes()), "{mode}");
            assert!(after((on.clone() + &off + &on).as_bytes()), "{mode}");
        }
        assert!(!after(b"\x1b[?1049h\x1bc"));
    }

    #[test]
    fn other_sequences_do_not() {
        for other in [
            "\x1b[?25h",
            "\x1b[1049h",
            "\x1b[?10490h",
            "\x1b[?104900000000000000049h",
            "\x1b[?1049$p",
            "\x1b[?1049 h",
            "\x1b]?1049h",
            "[?1049h",
            "\x1b[?1049",
            "\x1b[?1049\x1b[?25h",
        ] {
            assert!(!after(other.as_bytes()), "{other:?}");
        }
        assert!(after(b"\x1b[?1049h\x1b[?25l\x1b[?1049$p"));
    }

    proptest! {
        #[test]
        fn where_output_is_split_makes_no_difference(
            pieces in prop::collection::vec(
                prop_oneof![
                    Just("\x1b[?1049h".to_owned()), Just("\x1b[?47l".to_owned()), Just("\x1b[?1;1047h".to_owned()),
                    "[\x1b\\[?0-9;hlc]{0,8}",
                ],
                0..8,
            ),
            cut in any::<prop::sample::Index>(),
        ) {
            let output = pieces.concat().into_bytes();
            let (mut whole, mut split, mut single) = <(AlternateScreen, AlternateScreen, AlternateScreen)>::default();
            whole.follow(&output);
            let (head, tail) = output.split_at(cut.index(output.len() + 1));
            split.follow(head);
            split.follow(tail);
            output.iter().for_each(|byte| single.follow(&[*byte]));
            prop_assert_eq!(whole, split);
            prop_assert_eq!(whole, single);
        }
    }
}
