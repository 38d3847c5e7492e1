//! What a connection says of terminals that are no session's.
//!
//! Of each, the end of its output is kept: a terminal that is being made may speak before the answer that names it, and
//! one that somebody attaches to has its past in what the server sent on connecting.

use std::collections::{HashMap, HashSet, VecDeque};

use polytty_dialect::Exit;
use polytty_dialect::oblien::{RING, TerminalId};

/// Terminals of which something is kept, at [`RING`] bytes each. A workspace has ten; of any beyond these nothing is
/// kept.
const MAX_RINGS: usize = 16;

/// The terminals of others on one connection.
#[derive(Default)]
pub(super) struct Strangers {
    rings: HashMap<TerminalId, Ring>,
    /// Ids of sessions that are over: what still comes belongs to no-one.
    spent: HashSet<TerminalId>,
    /// Counts connections, since each tells everything anew.
    epoch: u64,
}

#[derive(Default)]
struct Ring {
    bytes: VecDeque<u8>,
    /// Bytes that ever went in.
    total: u64,
    exit: Option<Exit>,
}

/// How far each terminal's output had come when the making of a new one began.
pub(super) struct Marks {
    epoch: u64,
    totals: HashMap<TerminalId, u64>,
}

/// What was kept of a terminal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) output: Vec<u8>,
    /// Whether output is missing before it.
    pub(super) has_gap: bool,
    /// How it ended, if it has.
    pub(super) exit: Option<Exit>,
}

impl Strangers {
    /// Output of a terminal that no session has.
    pub(super) fn output(&mut self, id: TerminalId, bytes: &[u8]) {
        if self.spent.contains(&id) || !self.has_room(id) {
            return;
        }
        let ring = self.rings.entry(id).or_default();
        if ring.exit.take().is_some() {
            // Another terminal of the same id.
            ring.bytes.clear();
        }
        ring.push(bytes);
    }

    /// A terminal that no session has ended.
    pub(super) fn exit(&mut self, id: TerminalId, exit: Exit) {
        if !self.spent.contains(&id) && self.has_room(id) {
            self.rings.entry(id).or_default().exit = Some(exit);
        }
    }

    /// Notes where everybody is, before a new terminal is asked for. From here on any id may be the new one's.
    pub(super) fn mark(&mut self) -> Marks {
        self.spent.clear();
        let totals = self.rings.iter().map(|(id, ring)| (*id, ring.total)).collect();
        Marks { epoch: self.epoch, totals }
    }

    /// Hands over a terminal that was made since the marks were noted: only what came since is its own.
    pub(super) fn adopt_new(&mut self, id: TerminalId, marks: &Marks) -> Kept {
        let from = if marks.epoch == self.epoch { marks.totals.get(&id).copied().unwrap_or(0) } else { 0 };
        let was_kept = self.has_room(id);
        let Some(ring) = self.rings.remove(&id) else {
            return Kept { has_gap: !was_kept, ..Kept::default() };
        };
        let own = ring.total.saturating_sub(from);
        let output: Vec<u8> = ring.bytes.into();
        let skip = output.len().saturating_sub(usize::try_from(own).unwrap_or(usize::MAX));
        // An end without a byte since then may be that of the one before.
        let exit = ring.exit.filter(|_| own > 0 || from == 0);
        Kept { has_gap: own > output.len() as u64, output: output[skip..].to_vec(), exit }
    }

    /// Hands over a terminal that was there before.
    pub(super) fn adopt(&mut self, id: TerminalId) -> Kept {
        let was_kept = self.has_room(id) && !self.spent.remove(&id);
        match self.rings.remove(&id) {
            Some(ring) => Kept { output: ring.bytes.into(), has_gap: false, exit: ring.exit },
            None => Kept { has_gap: !was_kept, ..Kept::default() },
        }
    }

    /// Takes back a terminal that lives on without its session.
    pub(super) fn release(&mut self, id: TerminalId, past: &[u8]) {
        self.output(id, past);
    }

    /// A session's terminal is over; what still comes of its id is dropped until a new one is asked for.
    pub(super) fn spend(&mut self, id: TerminalId) {
        self.rings.remove(&id);
        self.spent.insert(id);
    }

    /// Forgets everything: a new connection tells it anew.
    pub(super) fn clear(&mut self) {
        self.rings.clear();
        self.spent.clear();
        self.epoch += 1;
    }

    fn has_room(&self, id: TerminalId) -> bool {
        self.rings.len() < MAX_RINGS || self.rings.contains_key(&id)
    }
}

impl Ring {
    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let bytes = &bytes[bytes.len().saturating_sub(RING)..];
        let excess = (self.bytes.len() + bytes.len()).saturating_sub(RING);
        self.bytes.drain(..excess);
        self.bytes.extend(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TerminalId = TerminalId::new(3);

    fn exit(code: i32) -> Exit {
        Exit { code: Some(code), ..Exit::default() }
    }

    #[test]
    fn a_prompt_that_comes_before_the_answer_is_the_new_terminals() {
        let mut strangers = Strangers::default();
        strangers.output(ID, b"of somebody before");
        let marks = strangers.mark();
        strangers.output(ID, b"$ ");
        strangers.output(ID, b"hi");
        assert_eq!(strangers.adopt_new(ID, &marks), Kept { output: b"$ hi".to_vec(), ..Kept::default() });
        assert_eq!(strangers.adopt_new(ID, &marks), Kept::default(), "it is handed over once");
    }

    #[test]
    fn a_terminal_that_ends_before_the_answer_has_its_output_and_its_end() {
        let mut strangers = Strangers::default();
        strangers.exit(ID, exit(9));
        let marks = strangers.mark();
        strangers.output(ID, b"bye");
        strangers.exit(ID, exit(0));
        let kept = strangers.adopt_new(ID, &marks);
        assert_eq!(kept, Kept { output: b"bye".to_vec(), has_gap: false, exit: Some(exit(0)) });
        // The end of the one before, and nothing since, is not the new one's.
        strangers.output(ID, b"x");
        strangers.exit(ID, exit(9));
        let marks = strangers.mark();
        assert_eq!(strangers.adopt_new(ID, &marks), Kept::default());
    }

    #[test]
    fn what_comes_after_the_end_of_a_session_is_dropped_until_a_terminal_is_asked_for() {
        let mut strangers = Strangers::default();
        strangers.spend(ID);
        strangers.output(ID, b"secret");
        strangers.exit(ID, exit(0));
        let marks = strangers.mark();
        strangers.output(ID, b"$ ");
        assert_eq!(strangers.adopt_new(ID, &marks).output, b"$ ");
        strangers.spend(ID);
        strangers.output(ID, b"secret");
        assert_eq!(strangers.adopt(ID), Kept { has_gap: true, ..Kept::default() });
        strangers.output(ID, b"more");
        assert_eq!(strangers.adopt(ID).output, b"more");
    }

    #[test]
    fn after_a_new_connection_all_of_a_new_terminal_is_its_own() {
        let mut strangers = Strangers::default();
        strangers.output(ID, b"12345");
        let marks = strangers.mark();
        strangers.clear();
        strangers.output(ID, b"$ all");
        assert_eq!(strangers.adopt_new(ID, &marks).output, b"$ all");
    }

    #[test]
    fn a_ring_keeps_the_end_and_says_that_more_was_there() {
        let mut strangers = Strangers::default();
        let marks = strangers.mark();
        strangers.output(ID, b"first");
        strangers.output(ID, &vec![b'x'; RING]);
        let kept = strangers.adopt_new(ID, &marks);
        assert_eq!((kept.output.len(), kept.has_gap), (RING, true));
        assert!(kept.output.iter().all(|byte| *byte == b'x'));
    }

    #[test]
    fn there_are_no_more_rings_than_allowed() {
        let mut strangers = Strangers::default();
        for byte in 0..=255 {
            strangers.output(TerminalId::new(byte), &vec![byte; RING + 1]);
        }
        assert_eq!(strangers.rings.len(), MAX_RINGS);
        assert!(strangers.rings.values().all(|ring| ring.bytes.len() == RING));
        assert!(strangers.adopt(TerminalId::new(255)).has_gap);
    }
}
