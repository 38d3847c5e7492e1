//! What is shown: the terminal's output, and a line of ours now and then.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use tokio::time::timeout;

use super::modes::Modes;
use super::scanner::Scanner;
use super::streams::{Progress, To, Writer};
use crate::client::Output;
use crate::session::Questions;

/// How long leaving waits for a screen that does not take what is left for it.
const LEAVE: Duration = Duration::from_millis(500);

/// Saves where the cursor is, in such a way that there is a line below it, and goes there; comes back. What stood in
/// that line is lost.
const GO_BELOW: &str = "\n\x1b[A\x1b7\x1b[B\r\x1b[2K";
const COME_BACK: &str = "\x1b8";

/// Standard output and error, as the person in front of them sees them.
pub(super) struct Screen {
    writer: Writer,
    scanner: Scanner,
    modes: Modes,
    /// Standard input is a terminal in raw mode.
    raw: bool,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    /// How much is consumed, as was told last.
    counted: u64,
    /// Cuts the questions from what is shown again, where a terminal would answer them.
    replay: Option<Questions>,
    below: bool,
}

impl Screen {
    /// `raw`: lines have to be begun and ended by us.
    pub(super) fn new(raw: bool) -> io::Result<Self> {
        Ok(Self {
            writer: Writer::start()?,
            scanner: Scanner::default(),
            modes: Modes::default(),
            raw,
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            counted: 0,
            replay: None,
            below: false,
        })
    }

    /// Shows output. What was shown before is shown to a terminal without the questions in it: they were answered then, and
    /// the shell would take another answer for something typed. How many bytes that left out.
    pub(super) fn show(&mut self, output: &Output) -> u64 {
        let Output { synthetic, replayed, live } = output;
        if !synthetic.is_empty() {
            self.end_replay();
            self.write(To::Output(false), synthetic);
        }
        let left_out = self.show_again(replayed);
        if !live.is_empty() {
            self.end_replay();
            self.write(To::Output(true), live);
        }
        left_out
    }

    fn show_again(&mut self, replayed: &[u8]) -> u64 {
        if !self.stdout_is_terminal {
            self.write(To::Output(true), replayed);
            return 0;
        }
        if replayed.is_empty() {
            return 0;
        }
        let questions = self.replay.get_or_insert_default();
        let before = questions.held() + replayed.len();
        let mut shown = Vec::with_capacity(before);
        questions.cut(replayed, &mut shown);
        let left_out = before - shown.len() - questions.held();
        self.write(To::Output(true), &shown);
        left_out as u64
    }

    /// A sequence that goes on in what is new was not seen whole before.
    fn end_replay(&mut self) {
        if let Some(questions) = self.replay.take() {
            let mut rest = Vec::new();
            questions.end(&mut rest);
            self.write(To::Output(true), &rest);
        }
    }

    /// Waits until something has been written; how much more of what counts that was.
    ///
    /// # Errors
    ///
    /// Why nothing more can be written.
    pub(super) async fn progress(&mut self) -> Result<u64, String> {
        let Progress { counted, failed, .. } = self.writer.progress().await;
        let more = counted - std::mem::replace(&mut self.counted, counted);
        failed.map_or(Ok(more), Err)
    }

    /// Says something on standard error, on lines of their own.
    pub(super) fn say(&mut self, words: &str) {
        let text =
            if self.raw { format!("\r\n{}\r\n", words.replace('\n', "\r\n")) } else { format!("polytty: {words}\n") };
        self.writer.write(To::Error, text.as_bytes());
    }

    /// Says something that is to be taken back: on the line below the cursor, where standard error is a terminal.
    pub(super) fn say_below(&mut self, words: &str) {
        if !(self.raw && self.stderr_is_terminal) {
            self.say(words);
        } else if self.scanner.is_between() {
            self.writer.write(To::Error, format!("{GO_BELOW}\x1b[7m {words} \x1b[m{COME_BACK}").as_bytes());
            self.below = true;
        }
    }

    /// Takes it back. Whether it may have hidden something of a full-screen program, which has to paint again.
    pub(super) fn clear_below(&mut self) -> bool {
        let below = std::mem::take(&mut self.below);
        if below {
            self.writer.write(To::Error, format!("{GO_BELOW}{COME_BACK}").as_bytes());
        }
        below && self.modes.is_full_screen()
    }

    /// Whether some full-screen program is shown.
    pub(super) fn is_full_screen(&self) -> bool {
        self.modes.is_full_screen()
    }

    /// Makes the terminal fit for somebody else, for now or for good, and waits a moment until that is done.
    pub(super) async fn hand_back(&mut self) {
        self.clear_below();
        self.undo();
        let _ = timeout(LEAVE, self.writer.drain()).await;
    }

    /// The same, having shown everything that is left, however long it takes.
    pub(super) async fn finish(&mut self) {
        self.clear_below();
        self.undo();
        self.writer.drain().await;
    }

    /// Takes the terminal back after [`Screen::hand_back`].
    pub(super) fn take_back(&mut self) {
        if self.stdout_is_terminal {
            self.writer.write(To::Output(false), &self.modes.redo());
        }
    }

    fn write(&mut self, to: To, bytes: &[u8]) {
        self.scanner.feed(bytes, |sequence| self.modes.see(sequence));
        self.writer.write(to, bytes);
    }

    fn undo(&mut self) {
        if self.stdout_is_terminal {
            self.writer.write(To::Output(false), &self.modes.undo());
        }
    }
}
