//! One session's terminal, as its hub knows it.

use std::time::Duration;

use polytty_dialect::oblien::{CERTAIN, Match, Replay, Tail, TerminalId};
use polytty_dialect::{Code, Exit, Size};
use tokio::time::Instant;

use super::api::Listed;
use super::strangers::Kept;
use crate::provider::Failure;
use crate::provider::shared::Line;

/// A replay is over when nothing came of its terminal for so long. Only where its bytes do not prove by themselves how
/// they continue what was delivered is that waited for.
pub(super) const SETTLE: Duration = Duration::from_secs(3);

/// How long a terminal that never falls silent may keep its session waiting for that.
pub(super) const SETTLE_AT_LAST: Duration = Duration::from_secs(10);

/// A terminal, and the line to its session.
pub(super) struct Terminal {
    pub(super) line: Line,
    pub(super) id: TerminalId,
    /// Whether it was there before its session.
    pub(super) was_there: bool,
    /// Whether it is left where it is when its session is ended.
    pub(super) stays: bool,
    /// When it was made, as the server's list has it. It tells it from another one of the same id.
    pub(super) born: Option<String>,
    /// Since when it is known, by the hub's count of events.
    pub(super) since: u64,
    /// The latest size that the session asked for, and whether the server has yet to hear of it.
    pub(super) size: Option<Size>,
    pub(super) owes_size: bool,
    /// Whether it waits in the hub's queue.
    pub(super) is_queued: bool,
    /// The end of what was delivered.
    tail: Tail,
    catching: Option<Box<Catching>>,
}

/// A terminal between a new connection and the certainty how what comes over it continues what was delivered.
struct Catching {
    replay: Replay,
    /// When the replay counts as whole.
    quiet: Instant,
    /// When it does at the latest, however much comes.
    settle_by: Instant,
    /// Whether the server's list has a terminal of this id, and whether its date says that it is the very same.
    is_listed: bool,
    is_known: bool,
    exit: Option<Exit>,
    /// How the list says that it ended.
    listed_exit: Option<Exit>,
    /// Whether what the server has kept was asked for, and whether the answer is there.
    asked: bool,
    answered: bool,
}

/// What has to be done about a terminal.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing, until something happens.
    Wait,
    /// Look again then.
    WaitUntil(Instant),
    /// Ask for what the server has kept: the process has ended, and none of it was repeated.
    Scrollback,
    /// The process has ended, and all of its output was delivered.
    Over(Exit),
    /// It cannot be told whether it is still the same terminal.
    Lost(Failure),
}

/// Nothing says whether a terminal is the one that a session had.
pub(super) fn unverifiable(detail: impl Into<String>) -> Failure {
    let message =
        "The connection to the workspace was lost, and it cannot be told whether the terminal is still there.";
    Failure::new(Code::ProviderLost, message).detail(detail)
}

impl Terminal {
    /// A terminal that was just made or taken over, with what it has said so far; how it ended, if it has.
    pub(super) fn new(line: Line, id: TerminalId, was_there: bool, since: u64, kept: Kept) -> (Self, Option<Exit>) {
        let tail = Tail::new(!was_there && !kept.has_gap);
        let (born, size) = (None, None);
        let mut terminal = Self {
            line,
            id,
            was_there,
            stays: false,
            born,
            since,
            size,
            owes_size: false,
            is_queued: false,
            tail,
            catching: None,
        };
        if kept.has_gap {
            terminal.tell_gap();
        }
        terminal.deliver(&kept.output);
        (terminal, kept.exit)
    }

    /// Whether what comes of it is still being compared with what was delivered. Until then its id may be that of
    /// another terminal, so nothing is typed into it.
    pub(super) fn is_catching(&self) -> bool {
        self.catching.is_some()
    }

    /// A new connection: what comes from now on begins with what was delivered before.
    pub(super) fn catch_up(&mut self, now: Instant, since: u64) {
        self.since = since;
        self.owes_size = self.size.is_some();
        self.catching = Some(Box::new(Catching {
            replay: Replay::new(),
            quiet: now + SETTLE,
            settle_by: now + SETTLE_AT_LAST,
            is_listed: false,
            is_known: false,
            exit: None,
            listed_exit: None,
            asked: false,
            answered: false,
        }));
    }

    /// Output over the connection.
    pub(super) fn output(&mut self, bytes: &[u8], now: Instant) {
        match &mut self.catching {
            None => self.deliver(bytes),
            Some(catching) => {
                catching.quiet = (now + SETTLE).min(catching.settle_by);
                catching.replay.push(&self.tail, bytes);
            }
        }
    }

    /// The server says that its process has ended. `Some` when that is all.
    pub(super) fn exited(&mut self, exit: Exit) -> Option<Exit> {
        match &mut self.catching {
            None => Some(exit),
            Some(catching) => {
                catching.exit = Some(exit);
                None
            }
        }
    }

    /// What a list that was asked for since it is known says of it.
    ///
    /// # Errors
    ///
    /// It is gone, or another one has its id.
    pub(super) fn listed(&mut self, entry: Option<&Listed>) -> Result<(), Failure> {
        let gone = |detail: &str| {
            let message = "The terminal is gone: somebody ended it, or the workspace was started anew.";
            Err(Failure::new(Code::ProviderLost, message).detail(detail))
        };
        let Some(entry) = entry else {
            return if self.is_catching() { gone("it is not in the list") } else { Ok(()) };
        };
        match (&self.born, &entry.born) {
            (Some(ours), Some(theirs)) if ours != theirs => return gone("another terminal has its id"),
            _ => {}
        }
        if let Some(catching) = &mut self.catching {
            catching.is_listed = true;
            catching.is_known = self.born.is_some() && entry.born.is_some();
            catching.listed_exit = entry.exit.clone();
        } else {
            self.born.clone_from(&entry.born);
        }
        Ok(())
    }

    /// What the server has kept of it, where that could be had.
    pub(super) fn scrollback(&mut self, kept: Option<&[u8]>) {
        if let Some(catching) = &mut self.catching {
            catching.answered = true;
            catching.replay.push(&self.tail, kept.unwrap_or_default());
        }
    }

    /// Moves on as far as what is known allows.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        let Some(catching) = &mut self.catching else { return Step::Wait };
        let is_quiet = now >= catching.quiet;
        if is_quiet && catching.exit.is_none() {
            catching.exit = catching.listed_exit.take();
        }
        let has_ended = catching.exit.is_some();
        if has_ended && catching.replay.held().is_empty() && !catching.answered {
            return if std::mem::replace(&mut catching.asked, true) { Step::Wait } else { Step::Scrollback };
        }
        let verdict = if is_quiet || has_ended {
            catching.replay.settle(&self.tail)
        } else {
            match catching.replay.push(&self.tail, &[]) {
                Some(verdict) => verdict,
                None => return Step::WaitUntil(catching.quiet),
            }
        };
        // Whose output this is: what is long enough proves it by itself, what is short needs the list, and where there
        // is nothing to compare, only the date in the list tells.
        let is_ours = match verdict {
            Match::Overlap(len) if len >= CERTAIN => true,
            Match::Overlap(len) if len > 0 => catching.is_listed,
            _ => catching.is_known,
        };
        if !is_ours {
            return if catching.is_listed { Step::Lost(unverifiable("the list has no date")) } else { Step::Wait };
        }
        let Some(catching) = self.catching.take() else { return Step::Wait };
        let news = match verdict {
            Match::Overlap(len) => &catching.replay.held()[len..],
            Match::Gap => {
                self.tail = Tail::new(false);
                self.tell_gap();
                catching.replay.held()
            }
        };
        self.deliver(news);
        catching.exit.map_or(Step::Wait, Step::Over)
    }

    /// The end of what was delivered, for whoever attaches next.
    pub(super) fn past(&self) -> Vec<u8> {
        self.tail.to_vec()
    }

    fn deliver(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.tail.push(bytes);
            self.line.deliver(bytes);
        }
    }

    fn tell_gap(&self) {
        self.line.notice(
            Code::OutputGap,
            "Some output may be missing here, and some may be repeated: the connection to the workspace was away.",
        );
    }
}
