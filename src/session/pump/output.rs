//! Upstream to client.

use std::task::{Context, Poll};

use polytty_dialect::{Code, HEADROOM, Outbox};
use tokio::time::Instant;

use super::arrive::RESET;
use super::{MAX_GAPS, Pump, TURN, with_scratch};
use crate::provider::{Failure, Happened};
use crate::session::Ending;

/// What a client is told that reads too slowly for a connection which others use, too.
const FELL_BEHIND: &str = "the client reads too slowly for a connection that others use, too";

impl Pump<'_> {
    /// Upstream to client: one turn.
    pub(super) fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let mut moved = 0;
        loop {
            let room = self.room(cx);
            if moved >= TURN && room > 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let unsent = self.unsent();
            if unsent > 0 && room > 0 {
                moved += self.catch_up(room);
                continue;
            }
            if unsent == 0 && room > 0 && self.paint() {
                continue;
            }
            if let Some(ending) = &self.over {
                let ending = ending.clone();
                return if unsent == 0 { self.poll_farewell(cx, ending) } else { Poll::Pending };
            }
            let budget = if unsent > 0 { 0 } else { room };
            let happened = with_scratch(|output, outbox| {
                // With room for the header of a frame, output can be sent from where it lies.
                output.resize(HEADROOM, 0);
                let happened = std::task::ready!(self.upstream.poll_output(cx, output, budget));
                let length = output.len() - HEADROOM;
                if length > 0 {
                    moved += length;
                    self.send(output, budget, outbox);
                }
                Poll::Ready(happened)
            });
            match std::task::ready!(happened) {
                Happened::Output => {}
                Happened::Notice(notice) => self.notice(&notice),
                Happened::CannotWait => {
                    // What the recording held up, it does no longer: it has a gap instead.
                    let was_recording = self.tap.as_ref().is_some_and(|tap| tap.hurry());
                    if was_recording && self.room(cx) > 0 {
                        continue;
                    }
                    self.must_read = true;
                    if self.client.is_some()
                        && let Some(ending) = self.detach(|client| client.refuse(Code::FellBehind, FELL_BEHIND))
                    {
                        return Poll::Ready(ending);
                    }
                }
                Happened::Exit(exit) => self.finish(Ending::Exit(exit)),
                Happened::Failed(failure) => self.finish(Ending::Failed(failure)),
            }
        }
    }

    /// Tells the client something that ends nothing. A gap is told to whoever comes back for what is around it, too.
    fn notice(&mut self, notice: &Failure) {
        let code = notice.code.slug();
        tracing::info!(session = %self.task.session.id, code, detail = ?notice.detail, "session notice");
        if notice.code == Code::OutputGap {
            let start = self.ring.start();
            self.gaps.retain(|(at, _)| *at >= start);
            if self.gaps.len() >= MAX_GAPS {
                self.gaps.pop_front();
            }
            self.gaps.push_back((self.ring.end(), notice.clone()));
        } else if self.client.is_none() {
            self.untold = Some(notice.clone());
        }
        // Beyond that, so many notices are unread that another one says nothing new.
        if let Some(client) = self.client.as_mut().filter(|client| client.has_room_for_replies()) {
            client.notice(notice);
        }
    }

    /// The upstream is at its end; what is held of its output still has its time to go out.
    fn finish(&mut self, ending: Ending) {
        self.end_recording(&ending);
        self.over = Some(ending);
        self.over_since = Instant::now();
        self.moved = true;
    }

    /// How many bytes of output may be moved now.
    fn room(&mut self, cx: &mut Context<'_>) -> usize {
        if !self.is_recorder_ready(cx) {
            // The client's socket has to be written to all the same.
            if let Some(client) = &mut self.client {
                let _ = client.poll_flushed(cx);
            }
            return 0;
        }
        let Some(client) = &mut self.client else {
            return if self.task.settings.lifetimes.read_detached || self.must_read { TURN } else { 0 };
        };
        if client.poll_flushed(cx).is_pending() {
            return 0;
        }
        // What was not read yet is not lost with this client: it is let go by the next turn of its input.
        if client.socket().failure().is_some() {
            // One that is held back is read when its time comes, which wakes the task.
            if !client.is_held() {
                cx.waker().wake_by_ref();
            }
            return 0;
        }
        let paced = self.pace.as_mut().map_or(usize::MAX, |pace| pace.poll_room(cx));
        // A client whose own input is stuck cannot be asked to acknowledge: it may be waiting behind that input.
        if self.input_held || client.is_held() {
            return TURN.min(paced);
        }
        usize::try_from(client.credit()).unwrap_or(usize::MAX).min(TURN).min(paced)
    }

    /// Output that is there and that the client was not sent yet, in bytes.
    fn unsent(&self) -> u64 {
        self.client.as_ref().map_or(0, |client| self.ring.end() - client.position())
    }

    /// Takes new output, which lies behind [`HEADROOM`]: sends what there is room for, and holds all of it.
    fn send(&mut self, buffer: &mut Vec<u8>, room: usize, outbox: &mut Outbox) {
        self.active = Instant::now();
        let output = &buffer[HEADROOM..];
        let length = output.len();
        let now = length.min(room);
        let sent = self.client.as_ref().map_or(u64::MAX, |client| client.position() + now as u64);
        self.ring.push(output, sent);
        self.show(output);
        if let Some(tap) = &self.tap {
            tap.output(output);
        }
        if let Some(client) = &mut self.client {
            if now == length && client.is_verbatim() {
                client.output_in_place(buffer, outbox);
            } else {
                client.output(&buffer[HEADROOM..HEADROOM + now], outbox);
            }
            if let Some(pace) = &mut self.pace {
                pace.spend(now);
            }
        }
        self.task.session.record.add_output(length);
    }

    /// Shows a client that missed a part of the output what is on the screen, where that is known. Whether it did.
    fn paint(&mut self) -> bool {
        if let (Some(client), Some(screen)) = (&mut self.client, &mut self.screen)
            && client.takes_screen()
            && screen.is_whole()
        {
            let screen = [RESET, &screen.snapshot()].concat();
            client.synthetic(screen.into());
            return true;
        }
        false
    }

    /// Sends output that was there before the client, or that there was no room for. How much.
    fn catch_up(&mut self, room: usize) -> usize {
        let Some(client) = &mut self.client else { return 0 };
        let (front, back) = self.ring.from(client.position());
        let piece = if front.is_empty() { back } else { front };
        let piece = &piece[..piece.len().min(room)];
        with_scratch(|_, outbox| client.output(piece, outbox));
        let moved = piece.len();
        self.ring.trim(client.position());
        if let Some(pace) = &mut self.pace {
            pace.spend(moved);
        }
        moved
    }
}
