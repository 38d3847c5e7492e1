//! Questions that output puts to the terminal (where is the cursor, what are you, which colour is this), cut from what
//! is shown to a client a second time.
//!
//! They were answered when they were new. A terminal that is shown them again answers again, and the shell takes that
//! for something typed. A client whose dialect has a word for a replay sees to that itself, as `polytty connect` does by
//! this; for the others the questions are left out. Which sequences are answered is taken from xterm, "Control Sequences", and, for the keyboard
//! and for graphics, from kitty's protocol descriptions.

use memchr::memchr2;

use super::ring::VtState;

const ENQ: u8 = 0x05;
const BEL: u8 = 0x07;
const ESC: u8 = 0x1b;

/// The longest sequence that is looked into, in bytes. What is longer is no question that anybody asks.
const MAX_SEQUENCE: usize = 4096;

/// Leaves out questions, however the output is split.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    state: VtState,
    /// The sequence so far, from its ESC on; with the ESC that may begin its end, where it is a string.
    held: Vec<u8>,
    /// The sequence is too long, and is passed on as it comes.
    is_passing: bool,
}

impl Questions {
    /// Appends to `out` what of `output` is no question. The beginning of what may be one is held back.
    pub(crate) fn cut(&mut self, output: &[u8], out: &mut Vec<u8>) {
        let mut rest = output;
        while let Some((&byte, behind)) = rest.split_first() {
            if self.state == VtState::Ground && self.held.is_empty() {
                let text = memchr2(ESC, ENQ, rest).unwrap_or(rest.len());
                if text > 0 {
                    out.extend_from_slice(&rest[..text]);
                    rest = &rest[text..];
                    continue;
                }
            }
            self.step(byte, out);
            rest = behind;
        }
    }

    /// Bytes that are held back.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Appends to `out` what was held back.
    pub(crate) fn end(mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) {
        let before = self.state;
        self.state = before.step(byte);
        let is_text = matches!(before, VtState::Command | VtState::Text);
        if byte == ENQ && !is_text {
            return;
        }
        if byte == ESC && !is_text {
            // Whatever it interrupts asks nothing.
            self.pass(out);
        }
        // The ESC behind a string is the first half of its end, or ends it and begins something else.
        if before == VtState::Escape && self.held.len() > 1 && byte != b'\\' {
            self.held.pop();
            self.decide(out);
            self.held.push(ESC);
        }
        // Controls are carried out in the middle of a sequence.
        if !is_text && matches!(byte, 0x00..=0x1f | 0x7f) && self.state == before && byte != ESC {
            out.push(byte);
            return;
        }
        self.held.push(byte);
        if self.state == VtState::Ground {
            if matches!(byte, 0x18 | 0x1a) {
                self.pass(out);
            } else {
                self.decide(out);
            }
        } else if self.is_passing || self.held.len() > MAX_SEQUENCE {
            self.is_passing = true;
            // An ESC may turn out to begin something else.
            let keep = usize::from(byte == ESC);
            out.extend(self.held.drain(..self.held.len() - keep));
        }
    }

    fn pass(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        self.is_passing = false;
    }

    fn decide(&mut self, out: &mut Vec<u8>) {
        if !self.is_passing && is_question(&self.held) {
            self.held.clear();
        }
        self.pass(out);
    }
}

fn is_question(sequence: &[u8]) -> bool {
    match sequence {
        [ESC, b'[', body @ .., end] => is_control_question(body, *end),
        [ESC, b']', text @ ..] => is_command_question(text),
        // DECRQSS, XTGETTCAP, XTGETXRES.
        [ESC, b'P', b'$', b'q', ..] | [ESC, b'P', b'+', b'q' | b'Q', ..] => true,
        [ESC, b'_', b'G', keys @ ..] => keys.split(|byte| matches!(byte, b',' | b';')).any(|key| key == b"a=q"),
        // DECID.
        [ESC, b'Z'] => true,
        _ => false,
    }
}

/// A control sequence: what stands between `ESC [` and its last byte, and that.
fn is_control_question(body: &[u8], end: u8) -> bool {
    let is_private = |byte: &u8| matches!(byte, b'<'..=b'?');
    let prefix = body.first().copied().filter(is_private);
    let intermediates: Vec<u8> = body.iter().copied().filter(|byte| *byte < 0x30).collect();
    match (prefix, intermediates.as_slice(), end) {
        // DA1 to DA3; DSR; DECREQTPARM.
        (None | Some(b'>' | b'='), [], b'c') | (None | Some(b'?'), [], b'n') | (None, [], b'x') => true,
        // XTVERSION; the state of the keyboard; XTQMODKEYS; XTSMGRAPHICS.
        (Some(b'>'), [], b'q') | (Some(b'?'), [], b'u' | b'm' | b'S') => true,
        // DECRQM; DECRQPSR, DECRQTSR; DECRQDE; DECRQCRA; XTREPORTSGR; DECRQLP.
        (None | Some(b'?'), b"$", b'p') | (None, b"$", b'w' | b'u') | (None, b"\"", b'v') => true,
        (None, b"*", b'y') | (None, b"#" | b"'", b'|') => true,
        // Of the window: its state, place and sizes, its titles.
        (None, [], b't') => {
            let first = body.split(|byte| *byte == b';').next().unwrap_or_default();
            matches!(first, b"11" | b"13" | b"14" | b"15" | b"16" | b"18" | b"19" | b"20" | b"21")
        }
        _ => false,
    }
}

/// An operating system command, from its number on: colours, the clipboard.
fn is_command_question(text: &[u8]) -> bool {
    let text = text.strip_suffix(&[BEL]).or_else(|| text.strip_suffix(b"\x1b\\")).unwrap_or(text);
    let mut fields = text.split(|byte| *byte == b';');
    let number = fields.next().and_then(|number| std::str::from_utf8(number).ok()?.parse::<u16>().ok());
    matches!(number, Some(4 | 5 | 10..=19 | 21 | 52)) && fields.any(|field| field == b"?" || field.ends_with(b"=?"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<u8> {
        let mut questions = Questions::default();
        let mut out = Vec::new();
        for piece in pieces {
            questions.cut(piece, &mut out);
        }
        questions.end(&mut out);
        out
    }

    const QUESTIONS: &[&str] = &[
        "\x05",
        "\x1bZ",
        "\x1b[c",
        "\x1b[0c",
        "\x1b[>c",
        "\x1b[>0c",
        "\x1b[=c",
        "\x1b[5n",
        "\x1b[6n",
        "\x1b[?6n",
        "\x1b[?996n",
        "\x1b[x",
        "\x1b[>q",
        "\x1b[>0q",
        "\x1b[?u",
        "\x1b[?4m",
        "\x1b[?1;1;0S",
        "\x1b[4$p",
        "\x1b[?2026$p",
        "\x1b[2$w",
        "\x1b[1;1;1;1;5;5*y",
        "\x1b[14t",
        "\x1b[14;2t",
        "\x1b[21t",
        "\x1b]10;?\x07",
        "\x1b]11;?\x1b\\",
        "\x1b]4;1;?;2;?\x07",
        "\x1b]52;c;?\x07",
        "\x1b]21;foreground=?\x1b\\",
        "\x1bP$qm\x1b\\",
        "\x1bP+q544e\x1b\\",
        "\x1b_Ga=q,i=1,s=1;AAAA\x1b\\",
    ];

    const OTHERS: &[&str] = &[
        "text\r\n",
        "\u{20ac}\u{1f600}",
        "\x1b[1;31m",
        "\x1b[2J",
        "\x1b[?1049h",
        "\x1b[22;0t",
        "\x1b[8;24;80t",
        "\x1b[>4n",
        "\x1b[>4;2m",
        "\x1b[2 q",
        "\x1b[!p",
        "\x1b[>1u",
        "\x1b[u",
        "\x1b[3S",
        "\x1b[?25l",
        "\x1b]0;is this a title?\x07",
        "\x1b]10;#ffffff\x07",
        "\x1b]8;;https://example.com/?\x1b\\",
        "\x1b]52;c;aGVsbG8=\x07",
        "\x1bPq#0;2;0;0;0\x1b\\",
        "\x1b_Ga=T,f=24;AAAA\x1b\\",
        "\x1b(B",
        "\x1b=",
        "\x1b7",
        "\x1b[5\x18n",
        "\x1b[38;5;\x1b[m",
        "\x1b]0;broken off\x1b[m",
    ];

    #[test]
    fn questions_are_left_out_and_nothing_else_is() {
        for question in QUESTIONS {
            let output = format!("a{question}b");
            for at in 0..=output.len() {
                let (front, back) = output.as_bytes().split_at(at);
                assert_eq!(cut(&[front, back]), b"ab", "{question:?} split at {at}");
            }
        }
        for other in OTHERS {
            let output = format!("a{other}b");
            for at in 0..=output.len() {
                let (front, back) = output.as_bytes().split_at(at);
                assert_eq!(cut(&[front, back]), output.as_bytes(), "{other:?} split at {at}");
            }
        }
    }

    #[test]
    fn a_question_is_found_inside_and_behind_others() {
        assert_eq!(cut(&[b"\x1b]0;title\x1b[6nx"]), b"\x1b]0;titlex");
        assert_eq!(cut(&[b"\x1b[1;\x05mx"]), b"\x1b[1;mx");
        assert_eq!(cut(&[b"\x1b[\n6nx"]), b"\nx");
        assert_eq!(cut(&[b"\x1b[12\x1b[6nx"]), b"\x1b[12x");
        assert_eq!(cut(&[b"\x1b]11;?\x1b[6nx"]), b"x");
    }

    #[test]
    fn a_string_without_end_is_passed_on_and_takes_no_memory() {
        let mut questions = Questions::default();
        let mut out = Vec::new();
        questions.cut(b"\x1b]11;", &mut out);
        let long = vec![b'?'; 1 << 20];
        questions.cut(&long, &mut out);
        assert!(questions.held.capacity() <= 4 * MAX_SEQUENCE);
        questions.cut(b"\x1b\\\x1b[6n.", &mut out);
        assert_eq!(out.len(), 6 - 1 + long.len() + 2 + 1);
        assert!(out.ends_with(b"?\x1b\\."));
    }

    proptest! {
        #[test]
        fn it_makes_no_difference_how_output_is_split(
            pieces in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(QUESTIONS).prop_map(|piece| piece.as_bytes().to_vec()),
                    prop::sample::select(OTHERS).prop_map(|piece| piece.as_bytes().to_vec()),
                    prop::collection::vec(any::<u8>(), 1..3),
                ],
                0..20
            ),
            size in 1_usize..9
        ) {
            let output = pieces.concat();
            let split: Vec<_> = output.chunks(size).collect();
            prop_assert_eq!(cut(&split), cut(&[&output]));
        }

        #[test]
        fn what_asks_nothing_is_untouched(pieces in prop::collection::vec(prop::sample::select(OTHERS), 0..20)) {
            let output = pieces.concat();
            prop_assert_eq!(cut(&[output.as_bytes()]), output.as_bytes());
        }
    }
}
