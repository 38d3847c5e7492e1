//! What the hub knows of one terminal.

use std::collections::HashMap;

use polytty_dialect::decthings::ExitReason;
use polytty_dialect::{Code, Size};
use tokio::time::{Duration, Instant};

use crate::provider::shared::{Line, Want};

/// Output of terminals whose launch is not answered yet, all together, in bytes. What goes beyond is left out, and the
/// terminal's client is told of the gap.
const MAX_EARLY: usize = 256 << 10;

/// Terminals that may be heard of before their launch is answered. Further ones are not listened to.
const MAX_EARLY_TERMINALS: usize = 64;

/// The longest wait between two attempts at a call that was refused as one of too many.
const MAX_PAUSE: Duration = Duration::from_secs(32);

/// Attempts at a call that is refused as one of too many: about a minute of them.
pub(super) const MAX_ATTEMPTS: u32 = 7;

/// What a terminal at rest keeps allocated for its input, in bytes.
const KEEP: usize = 1 << 10;

/// One terminal. At most one of its writes and resizes is under way: replies may come in any order, so the next one
/// waits for the reply, and what is typed meanwhile goes together.
pub(super) struct Terminal {
    /// Its id at the service.
    pub(super) id: String,
    /// The session's; gone when the session has been told the end and only the service has to be.
    pub(super) line: Option<Line>,
    pub(super) events: Subscription,
    /// Since when output may be missing that nobody was told of.
    pub(super) cut_since: Option<Instant>,
    /// Whether the client was told that the connection is away.
    pub(super) told_away: bool,
    pub(super) doing: Option<Doing>,
    /// Input under way, kept until it is taken.
    pub(super) input: Vec<u8>,
    /// A size to be sent before any further input.
    pub(super) size: Option<Size>,
    /// Not before then is anything called for this terminal.
    pub(super) pause_until: Option<Instant>,
    pub(super) attempts: u32,
    /// Whether it stands in the hub's queue.
    pub(super) queued: bool,
    /// It is to be ended; until then at the latest the session waits for it.
    pub(super) end_by: Option<Instant>,
    pub(super) terminating: bool,
    /// The service does not know it any more; its exit may still be on the way until then.
    pub(super) gone_by: Option<Instant>,
}

/// How a terminal's events stand on the present connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subscription {
    Live,
    Asked,
    Cut,
}

/// A call whose reply is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Write,
    Resize(Size),
}

impl Terminal {
    /// One that has just been launched, with its events subscribed to.
    pub(super) fn new(id: String, line: Line) -> Self {
        Self {
            id,
            line: Some(line),
            events: Subscription::Live,
            cut_since: None,
            told_away: false,
            doing: None,
            input: Vec::new(),
            size: None,
            pause_until: None,
            attempts: 0,
            queued: false,
            end_by: None,
            terminating: false,
            gone_by: None,
        }
    }

    /// Hands output to the session. Whether that has so much to take that no more should be read.
    pub(super) fn output(&mut self, bytes: &[u8]) -> bool {
        if self.end_by.is_some() {
            return false;
        }
        if self.cut_since.is_some() {
            self.tell_gap(Instant::now());
        }
        let Some(line) = &self.line else { return false };
        line.deliver(bytes);
        line.is_choked()
    }

    /// Whether somebody waits for it to come back.
    pub(super) fn is_missed(&self) -> bool {
        self.events != Subscription::Live && self.end_by.is_none() && self.line.as_ref().is_some_and(Line::attended)
    }

    /// Looks after what cannot wait for its turn, and has the bell ring for what comes next. `true` when the session
    /// wants the terminal to end.
    pub(super) fn peek(&mut self) -> bool {
        let Some(line) = &self.line else { return false };
        let mut wants_end = false;
        while let Some(want) = line.next(&mut self.input, 0) {
            match want {
                Want::Resize(size) => self.size = Some(size),
                Want::End => wants_end = true,
                // None is taken where none is asked for.
                Want::Input(_) => {}
            }
        }
        wants_end
    }

    /// Forgets the call that was under way, and the attempts that it took.
    pub(super) fn settle(&mut self) {
        self.input.clear();
        self.input.shrink_to(KEEP);
        self.attempts = 0;
        self.pause_until = None;
    }

    /// Puts the next attempt off: 1 s, 2 s, and so on. `false` when there were too many.
    pub(super) fn pause(&mut self, now: Instant) -> bool {
        let pause = Duration::from_secs(1 << self.attempts.min(5)).min(MAX_PAUSE);
        self.attempts += 1;
        self.pause_until = Some(now + pause);
        self.attempts < MAX_ATTEMPTS
    }

    /// Tells the client of the gap, if there is one that it does not know of.
    pub(super) fn tell_gap(&mut self, now: Instant) {
        let (Some(since), Some(line)) = (self.cut_since.take(), &self.line) else { return };
        let seconds = now.duration_since(since).as_secs().max(1);
        self.told_away = false;
        line.notice(
            Code::OutputGap,
            format!(
                "The connection to Decthings was away for about {seconds} s. Output of that time is missing here, and \
                 what was typed just before may not have arrived."
            ),
        );
    }
}

/// What was heard of terminals whose launch is not answered yet.
#[derive(Default)]
pub(super) struct Early {
    terminals: HashMap<String, Heard>,
    bytes: usize,
    /// Whether a terminal was one too many, and anyone who was not heard of may be the one.
    overflowed: bool,
}

/// What was heard of one of them.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) output: Vec<u8>,
    /// Whether more output came than was kept.
    pub(super) has_gap: bool,
    pub(super) exit: Option<ExitReason>,
}

impl Early {
    /// Keeps output. `false` when the terminal is one too many.
    pub(super) fn data(&mut self, session: &str, bytes: &[u8]) -> bool {
        let fits = self.bytes + bytes.len() <= MAX_EARLY;
        let Some(heard) = self.heard(session) else { return false };
        heard.has_gap |= !fits;
        // Behind a gap nothing is kept, so that what is kept is one piece.
        if heard.has_gap {
            return true;
        }
        heard.output.extend_from_slice(bytes);
        self.bytes += bytes.len();
        true
    }

    /// Keeps an end. `false` when the terminal is one too many.
    pub(super) fn exit(&mut self, session: &str, reason: ExitReason) -> bool {
        self.heard(session).map(|heard| heard.exit = Some(reason)).is_some()
    }

    /// Hands over what was heard of a terminal.
    pub(super) fn take(&mut self, session: &str) -> Heard {
        let unheard = || Heard { has_gap: self.overflowed, ..Heard::default() };
        let heard = self.terminals.remove(session).unwrap_or_else(unheard);
        self.bytes -= heard.output.len();
        heard
    }

    /// Forgets all; returns the ids of the terminals that may still run.
    pub(super) fn clear(&mut self) -> Vec<String> {
        (self.bytes, self.overflowed) = (0, false);
        self.terminals.drain().filter(|(_, heard)| heard.exit.is_none()).map(|(id, _)| id).collect()
    }

    fn heard(&mut self, session: &str) -> Option<&mut Heard> {
        if !self.terminals.contains_key(session) {
            if self.terminals.len() >= MAX_EARLY_TERMINALS {
                self.overflowed = true;
                return None;
            }
            self.terminals.insert(session.to_owned(), Heard::default());
        }
        self.terminals.get_mut(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_output_is_kept_in_one_piece_up_to_its_bound() {
        let mut early = Early::default();
        assert!(early.data("a", &vec![b'x'; MAX_EARLY - 1]));
        assert!(early.data("b", b"y"));
        assert!(early.data("b", b"z"), "counted, and not kept");
        assert!(early.data("b", b""));
        let (a, b) = (early.take("a"), early.take("b"));
        assert_eq!((a.output.len(), a.has_gap), (MAX_EARLY - 1, false));
        assert_eq!((b.output.as_slice(), b.has_gap), (&b"y"[..], true));
        assert!(early.data("b", b"z"), "there is room again");
        assert_eq!(early.take("b").output, b"z");
    }

    #[test]
    fn so_many_strangers_are_heard_of_and_no_more() {
        let mut early = Early::default();
        assert!((0..MAX_EARLY_TERMINALS).all(|at| early.data(&at.to_string(), b"x")));
        assert!(!early.data("one more", b"x"));
        assert!(!early.exit("one more", ExitReason::Unknown));
        assert!(early.take("one more").has_gap, "it said something that was not kept");
        assert!(!early.take("1").has_gap);
        assert!(early.data("1", b"x"));
        assert!(early.exit("0", ExitReason::Unknown));
        assert_eq!(early.clear().len(), MAX_EARLY_TERMINALS - 1, "one has ended by itself");
        assert!(!early.take("quiet").has_gap);
        assert!(early.data("one more", b"x"));
    }
}
