//! Bytes between the connection and the lines.

use std::ops::ControlFlow;
use std::task::{Context, Poll};

use polytty_dialect::oblien::{Event, MAX_INPUT, TerminalId, decode, input, resize};
use polytty_dialect::{Code, Exit, Message};
use tokio::time::Instant;

use super::{Hub, Link};
use crate::provider::Failure;
use crate::provider::shared::Want;
use crate::socket::{Incoming, MIN_MESSAGE, NO_PONG};

/// Bytes of one direction that are moved before the other one has its turn.
const TURN: usize = 64 << 10;

impl Hub {
    /// Looks after the lines that called. Whether there were any.
    pub(super) fn poll_bell(&mut self, cx: &mut Context<'_>) -> bool {
        let mut rung = std::mem::take(&mut self.rung);
        let was_rung = self.bell.poll_rung(cx, &mut rung).is_ready();
        for line in rung.drain(..) {
            // What is typed waits for its turn; an end does not.
            while let Some(terminal) = self.terminals.get_mut(&line) {
                match terminal.line.next(&mut self.input, 0) {
                    Some(Want::End) => self.end(line),
                    Some(Want::Resize(size)) => (terminal.size, terminal.owes_size) = (Some(size), true),
                    Some(Want::Input(_)) => {}
                    None => break,
                }
            }
            self.enqueue(line);
        }
        self.rung = rung;
        was_rung
    }

    /// Lets a terminal that has the connection to itself pace it; until when it may.
    pub(super) fn pace(&self, now: Instant) -> Option<Instant> {
        let is_sole = self.terminals.len() == 1
            && self.creates.is_empty()
            && self.attaches.is_empty()
            && self.deletes.is_empty()
            && (self.creating, self.deleting) == (0, 0)
            && matches!(self.link, Link::Open(_));
        let paced = self.terminals.values().map(|terminal| terminal.line.pace(is_sole && !terminal.is_catching(), now));
        paced.flatten().min()
    }

    /// Reads one turn, unless a session has yet to take what came before. Whether anything was read.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> bool {
        let Link::Open(socket) = &mut self.link else { return false };
        if self.terminals.values().any(|terminal| terminal.line.is_choked()) {
            socket.poll_idle(cx);
            return false;
        }
        let (mut taken, now) = (0, Instant::now());
        while taken < TURN {
            let Self { link: Link::Open(socket), owners, terminals, strangers, ignored, .. } = self else {
                return true;
            };
            let mut exited = None;
            let came = socket.poll_each(cx, |kind, payload| {
                taken += payload.len().max(MIN_MESSAGE);
                match decode(Message { kind, payload }) {
                    Event::Output(id, bytes) => match owners.get(&id).and_then(|line| terminals.get_mut(line)) {
                        Some(terminal) => terminal.output(bytes, now),
                        None => strangers.output(id, bytes),
                    },
                    Event::Exit(id, exit) => {
                        exited = Some((id, exit));
                        return ControlFlow::Break(());
                    }
                    Event::Ignored => *ignored += 1,
                }
                if taken < TURN { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            let Poll::Ready(over) = came else { return taken > 0 };
            if let Some((id, exit)) = exited {
                self.exited(id, exit);
            }
            if let Some(over) = over {
                self.lost(&over, now);
            }
        }
        true
    }

    fn exited(&mut self, id: TerminalId, exit: Exit) {
        let Some(line) = self.owners.get(&id).copied() else { return self.strangers.exit(id, exit) };
        let over = self.terminals.get_mut(&line).and_then(|terminal| terminal.exited(exit));
        if let Some(exit) = over {
            self.over(line, exit);
        }
    }

    /// The connection has ended. Nothing says why, but a server that has room for one only ends one when another comes;
    /// if it did not, connecting anew will show.
    fn lost(&mut self, how: &Incoming, now: Instant) {
        let (is_eviction, detail) = match how {
            Incoming::Closed(Some(code)) => (true, format!("closed with {code}")),
            Incoming::Closed(None) => (true, "closed without a code".to_owned()),
            Incoming::Ended => (true, "ended without a Close".to_owned()),
            Incoming::Broken(_, why) => (false, (*why).to_owned()),
            Incoming::Lost(why) => (why != NO_PONG, why.clone()),
            Incoming::Message(..) => return,
        };
        tracing::info!(place = ?self.junction, ?detail, terminals = self.terminals.len(), "the connection was lost");
        let is_last = self.losses.lost(now);
        let next = Link::Closed(now + self.losses.delay(now));
        if let Link::Open(socket) = std::mem::replace(&mut self.link, next) {
            self.part(socket);
        }
        if is_last {
            let failure = if is_eviction {
                Failure::new(
                    Code::Evicted,
                    "Another program takes the connection to this workspace again and again; it has only one.",
                )
            } else {
                Failure::new(Code::ProviderLost, "The connection to the workspace broke again and again.")
            };
            self.fail_all(&failure.detail(detail), true);
        }
    }

    /// Writes one turn: in turns, each line one message of input. Whether anything was written.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
        let Link::Open(socket) = &mut self.link else { return false };
        let had_failed = socket.failure().is_some();
        if socket.poll_flushed(cx).is_pending() {
            return false;
        }
        if socket.failure().is_some() {
            // What is typed from now on waits for the next connection. That this one is over is told by reading.
            if !had_failed {
                cx.waker().wake_by_ref();
            }
            return false;
        }
        let mut skipped = 0;
        while self.outbox.payload_len() < TURN && skipped < self.queue.len() {
            let Some(line) = self.queue.pop_front() else { break };
            let Some(terminal) = self.terminals.get_mut(&line) else { continue };
            if terminal.is_catching() {
                self.queue.push_back(line);
                skipped += 1;
                continue;
            }
            if std::mem::take(&mut terminal.owes_size)
                && let Some(size) = terminal.size
            {
                resize(terminal.id, size, &mut self.outbox);
            }
            self.input.clear();
            let want = terminal.line.next(&mut self.input, MAX_INPUT);
            match want {
                Some(Want::Input(_)) => input(terminal.id, &self.input, &mut self.outbox),
                Some(Want::Resize(size)) => (terminal.size, terminal.owes_size) = (Some(size), true),
                Some(Want::End) => {}
                None => {
                    terminal.is_queued = false;
                    continue;
                }
            }
            if want == Some(Want::End) {
                self.end(line);
            } else {
                self.queue.push_back(line);
            }
        }
        let Link::Open(socket) = &mut self.link else { return false };
        if self.outbox.is_empty() {
            return false;
        }
        socket.send(&mut self.outbox);
        // What goes wrong in writing is told by reading.
        let _ = socket.poll_flushed(cx);
        true
    }
}
