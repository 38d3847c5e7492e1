//! What a terminal answers by itself, cut from what is typed while old output is shown again.
//!
//! Such output may hold questions (where is the cursor, what are you, which colour is this) that were answered when it
//! was new. The terminal cannot know that and answers again, and the shell would take it for something typed.

use std::time::Duration;

use tokio::time::Instant;

use super::scanner::{Sequence, numbers};

/// Asks the terminal whether it is well (DSR). It answers questions in order, so its answer ends those to what was
/// written before.
pub(super) const MARK: &[u8] = b"\x1b[5n";

/// How long the answer to a mark is waited for. Terminals answer at once, or never.
const ANSWER: Duration = Duration::from_secs(2);

/// How long the beginning of what may be an answer is held back: as long as it may be a key that somebody pressed, and
/// when it is more than that.
const KEY: Duration = Duration::from_millis(100);
const REST: Duration = Duration::from_secs(1);

/// The longest control sequence that is an answer, in bytes, and what is kept of a string.
const MAX_SEQUENCE: usize = 64;
const MAX_KEPT: usize = 16;

/// The OSC answers: colours (4, 5, 10 to 19), the clipboard (52).
const OSC: [u16; 13] = [4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 52];

/// Cuts answers from what is typed, while it is active.
#[derive(Debug, Default)]
pub(super) struct Answers {
    active: bool,
    /// Answers to marks, and to questions that look like one, that are still to come.
    awaited: u32,
    marked: bool,
    until: Option<Instant>,
    held: Vec<u8>,
    held_since: Option<Instant>,
    state: State,
    /// Inside of a bracketed paste, where nothing is an answer.
    pasting: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Esc,
    Csi,
    /// A string, true behind an ESC in it.
    Text(bool),
}

impl Answers {
    /// Old output begins to be shown.
    pub(super) fn begin(&mut self) {
        self.active = true;
        self.until = None;
    }

    /// Something in old output that the terminal may answer as it answers a mark.
    pub(super) fn see(&mut self, sequence: Sequence<'_>) {
        if let Sequence::Csi(parameters, b'n') = sequence
            && numbers(parameters).eq([5])
        {
            self.awaited += 1;
        }
    }

    /// A mark was written behind the old output.
    pub(super) fn mark(&mut self) {
        self.awaited += 1;
        self.marked = true;
    }

    /// All of that has reached the terminal: its answers come now, if ever.
    pub(super) fn shown(&mut self, now: Instant) {
        self.until = Some(now + ANSWER);
        if self.marked && self.awaited == 0 {
            self.end();
        }
    }

    /// When [`Answers::tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let held = self.held_since.map(|since| since + if self.held.len() > 2 { REST } else { KEY });
        [held, self.until.filter(|_| self.active)].into_iter().flatten().min()
    }

    /// Gives up waiting for what has not come, and appends to `out` what was held back for it.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Vec<u8>) {
        if self.deadline().is_none_or(|at| at > now) {
            return;
        }
        if self.until.is_some_and(|until| until <= now) {
            self.end();
        }
        self.release(out);
    }

    /// Appends to `out` what of `typed` is no answer.
    pub(super) fn feed(&mut self, typed: &[u8], now: Instant, out: &mut Vec<u8>) {
        for (at, &byte) in typed.iter().enumerate() {
            if !self.active && self.state == State::Ground {
                out.extend_from_slice(&typed[at..]);
                break;
            }
            self.step(byte, out);
        }
        self.held_since = (self.state != State::Ground).then_some(now);
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.state = match (self.state, byte) {
            (State::Text(_), 0x07) | (State::Text(true), b'\\') => return self.string(out),
            (State::Text(_), _) => {
                if self.held.len() < MAX_KEPT {
                    self.held.push(byte);
                }
                State::Text(byte == 0x1b)
            }
            (State::Ground, 0x1b) => {
                self.held.push(byte);
                State::Esc
            }
            (State::Ground, _) => {
                out.push(byte);
                State::Ground
            }
            (State::Esc, b'[') => {
                self.held.push(byte);
                State::Csi
            }
            // DCS, OSC and APC: no key begins so but Alt with that letter, behind which nothing comes.
            (State::Esc, b'P' | b']' | b'_') if !self.pasting => {
                self.held.push(byte);
                State::Text(false)
            }
            (State::Csi, 0x20..=0x3f) if self.held.len() < MAX_SEQUENCE => {
                self.held.push(byte);
                State::Csi
            }
            (State::Csi, 0x40..=0x7e) => return self.sequence(byte, out),
            _ => {
                self.release(out);
                return self.step(byte, out);
            }
        };
    }

    /// A control sequence is whole.
    fn sequence(&mut self, end: u8, out: &mut Vec<u8>) {
        let body = &self.held[2..];
        if end == b'~' && matches!(body, b"200" | b"201") {
            self.pasting = body == b"200";
        }
        if self.pasting || !is_answer(body, end) {
            self.held.push(end);
            return self.release(out);
        }
        if end == b'n' && matches!(body, b"0" | b"3") {
            self.awaited = self.awaited.saturating_sub(1);
            if self.awaited == 0 && self.until.is_some() {
                self.end();
            }
        }
        self.forget();
    }

    /// A string is whole.
    fn string(&mut self, out: &mut Vec<u8>) {
        let is_answer = self.held[1] != b']'
            || numbers(self.held[2..].split(|byte| *byte == b';').next().unwrap_or_default())
                .any(|number| OSC.contains(&number));
        if is_answer { self.forget() } else { self.release(out) }
    }

    fn end(&mut self) {
        (self.active, self.marked, self.awaited, self.until) = (false, false, 0, None);
    }

    fn release(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        self.forget();
    }

    fn forget(&mut self) {
        self.held.clear();
        self.held_since = None;
        self.state = State::Ground;
    }
}

/// Whether a terminal says this by itself when asked: `body` stands between `CSI` and its final byte.
fn is_answer(body: &[u8], end: u8) -> bool {
    let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b';';
    match (body, end) {
        // Where the cursor is; it has two numbers. Without, it is a key, F3; with Shift, F3 cannot be told apart.
        ([b'?', ..], b'R') => true,
        (_, b'R') => body.contains(&b';') && body.iter().all(is_number),
        // What it is (DA1 to DA3), how it is (DSR), kitty's keyboard modes.
        ([b'?' | b'>' | b'=', ..], b'c') | ([b'?', ..], b'n' | b'u') => true,
        // How it is; its window (XTWINOPS); its line (DECREPTPARM).
        (_, b'n' | b't' | b'x') => !body.is_empty() && body.iter().all(is_number),
        // Which modes are on (DECRPM, and the same for ANSI's modes).
        ([.., b'$'], b'y') => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::scanner::Scanner;
    use super::*;

    fn active() -> Answers {
        let mut answers = Answers::default();
        answers.begin();
        answers
    }

    fn left(answers: &mut Answers, typed: &[&[u8]], now: Instant) -> String {
        let mut out = Vec::new();
        for piece in typed {
            answers.feed(piece, now, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    /// What terminals answer.
    const ANSWERS: [&str; 14] = [
        "\x1b[24;80R",
        "\x1b[?24;80;1R",
        "\x1b[?64;1;2;22c",
        "\x1b[>41;367;0c",
        "\x1b[0n",
        "\x1b[?13n",
        "\x1b[?2026;2$y",
        "\x1b[4;1$y",
        "\x1b[8;24;80t",
        "\x1b[?1u",
        "\x1bP1$r0m\x1b\\",
        "\x1bP>|xterm(367)\x1b\\",
        "\x1b]11;rgb:0000/0000/0000\x1b\\",
        "\x1b]4;1;rgb:cdcd/0000/0000\x07",
    ];

    /// What people type.
    const KEYS: [&str; 12] = [
        "ls -l\r",
        "\x1b[A",
        "\x1bOA",
        "\x1b[1;5C",
        "\x1b[15~",
        "\x1bx",
        "\x1b[I",
        "\x1b[O",
        "\x1b[<0;3;4M",
        "\x1b[97;5u",
        "ä",
        "\x1b[R",
    ];

    #[tokio::test]
    async fn answers_are_cut_and_keys_are_not_however_the_bytes_are_split() {
        let now = Instant::now();
        let typed: String =
            KEYS.iter().zip(ANSWERS.iter().cycle()).map(|(key, answer)| format!("{answer}{key}")).collect();
        let typed = typed + ANSWERS[12] + ANSWERS[13];
        for at in 0..=typed.len() {
            let (front, back) = typed.as_bytes().split_at(at);
            assert_eq!(left(&mut active(), &[front, back], now), KEYS.concat(), "split at {at}");
        }
        assert_eq!(left(&mut Answers::default(), &[typed.as_bytes()], now), typed, "only while it is active");
    }

    #[tokio::test]
    async fn what_is_pasted_is_no_answer() {
        let now = Instant::now();
        let paste = "\x1b[200~\x1b[24;80R\x1bP1$r\x1b\\\x1b[201~";
        assert_eq!(left(&mut active(), &[paste.as_bytes(), b"\x1b[1;1R"], now), paste);
    }

    #[tokio::test]
    async fn the_answer_to_the_mark_ends_it_also_behind_questions_of_the_same_kind() {
        let now = Instant::now();
        let mut answers = active();
        Scanner::default().feed(b"old \x1b[5n\x1b[6n\x1b[?5n\x1b[05n", |sequence| answers.see(sequence));
        answers.mark();
        answers.shown(now);
        let old = b"\x1b[0n\x1b[1;5R\x1b[?1n\x1b[0n\x1b[0n";
        assert_eq!(left(&mut answers, &[old, b"\x1b[2;7R"], now), "\x1b[2;7R", "the next answer is to something new");
        assert_eq!(answers.deadline(), None);
    }

    #[tokio::test]
    async fn an_escape_key_waits_a_moment_and_a_terminal_without_answers_ends_it_too() {
        let now = Instant::now();
        let mut answers = active();
        assert_eq!(answers.deadline(), None, "as long as old output is shown");
        assert_eq!(left(&mut answers, &[b"\x1b"], now), "");
        assert_eq!(answers.deadline(), Some(now + KEY));
        let mut out = Vec::new();
        answers.tick(now + KEY / 2, &mut out);
        assert!(out.is_empty());
        answers.tick(now + KEY, &mut out);
        assert_eq!(out, b"\x1b");
        answers.mark();
        answers.shown(now);
        assert_eq!(answers.deadline(), Some(now + ANSWER));
        answers.tick(now + ANSWER, &mut out);
        assert_eq!(left(&mut answers, &[b"\x1b[0n"], now + ANSWER), "\x1b[0n");
    }

    #[tokio::test]
    async fn an_answer_without_end_takes_no_memory_and_is_let_go() {
        let now = Instant::now();
        let mut answers = active();
        let mut out = Vec::new();
        answers.feed(b"\x1bP", now, &mut out);
        answers.feed(&vec![b'x'; 1 << 20], now, &mut out);
        assert!(out.is_empty() && answers.held.capacity() <= MAX_SEQUENCE);
        answers.tick(now + REST, &mut out);
        assert_eq!(left(&mut answers, &[b"y"], now + REST), "y");
    }
}
