//! The keys by which a terminal's user leaves a process at Docker: Ctrl-P Ctrl-Q, unless others were asked for.

const CTRL_P: u8 = 0x10;
const CTRL_Q: u8 = 0x11;

/// The filter that input goes through. A Ctrl-P is withheld until the next byte; if that is a Ctrl-Q, the user leaves.
#[derive(Debug, Default)]
pub(super) struct DetachKeys {
    withheld: bool,
}

impl DetachKeys {
    /// Appends to `through` what reaches the terminal. Returns whether the user has left; what was typed behind that is
    /// nobody's.
    pub(super) fn pass(&mut self, input: &[u8], through: &mut Vec<u8>) -> bool {
        if !self.withheld && !input.contains(&CTRL_P) {
            through.extend_from_slice(input);
            return false;
        }
        for &byte in input {
            match (self.withheld, byte) {
                (true, CTRL_Q) => return true,
                (true, _) => {
                    // A second Ctrl-P frees the first and does not begin the chord anew.
                    through.extend([CTRL_P, byte]);
                    self.withheld = false;
                }
                (false, CTRL_P) => self.withheld = true,
                (false, _) => through.push(byte),
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let (mut keys, mut through) = (DetachKeys::default(), Vec::new());
        let left = pieces.iter().any(|piece| keys.pass(piece, &mut through));
        (through, left)
    }

    #[test]
    fn a_control_p_waits_for_the_next_byte_wherever_messages_are_cut() {
        let input = b"a\x10b\x10\x10c\x10";
        for at in 0..=input.len() {
            let (through, left) = pass(&[&input[..at], &input[at..]]);
            assert_eq!((through.as_slice(), left), (&b"a\x10b\x10\x10c"[..], false), "{at}");
        }
    }

    #[test]
    fn the_chord_leaves_and_is_not_typed() {
        assert_eq!(pass(&[b"ab\x10\x11cd"]), (b"ab".to_vec(), true));
        assert_eq!(pass(&[b"ab\x10", b"", b"\x11"]), (b"ab".to_vec(), true));
        assert_eq!(pass(&[b"\x11\x10x\x11"]), (b"\x11\x10x\x11".to_vec(), false));
    }
}
