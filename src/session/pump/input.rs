//! Client to upstream.

use std::task::{Context, Poll};

use polytty_dialect::{ClientEvent, Code, ServerEvent, Size};
use tokio::time::Instant;

use super::{Pump, TURN, with_scratch};
use crate::session::Ending;
use crate::session::attachment::{BEYOND, Heard};
use crate::socket::Incoming;

/// What reading the client came to.
enum Read {
    /// One turn of input is there, and perhaps more behind it.
    More,
    /// Nothing more for now.
    Wait,
    Eof,
    /// End the session.
    End,
    /// The client is gone, or has to go.
    Left(Incoming),
    /// The client broke its dialect.
    Bad(&'static str),
}

impl Pump<'_> {
    /// Keeps an eye on a client that is not read, because the upstream takes no input.
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let Some(client) = &mut self.client else { return Poll::Pending };
        client.socket().poll_idle(cx);
        let Some(why) = client.socket().failure() else { return Poll::Pending };
        let lost = Incoming::Lost(why.to_owned());
        self.detach(|client| client.depart(lost)).map_or(Poll::Pending, Poll::Ready)
    }

    /// Client to upstream: one turn.
    pub(super) fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        with_scratch(|input, _| {
            let mut moved = 0;
            loop {
                self.input_held = self.over.is_none() && self.upstream.poll_flushed(cx).is_pending();
                if self.input_held {
                    return self.poll_unread(cx);
                }
                if moved >= TURN {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if self.over.is_some() {
                    self.typed = Vec::new();
                }
                if !self.typed.is_empty() {
                    let typed = std::mem::take(&mut self.typed);
                    moved += self.input(&typed);
                    continue;
                }
                if std::mem::take(&mut self.eof) {
                    self.end_input();
                    continue;
                }
                input.clear();
                let (read, size) = self.read_client(cx, input, &mut moved);
                let at_rest = input.is_empty() && size.is_none();
                if self.over.is_none() {
                    self.take(input, size);
                }
                // Whatever else this comes to, what was typed is flushed on the way around.
                let ending = match read {
                    Read::Wait if at_rest => return Poll::Pending,
                    Read::More | Read::Wait => None,
                    Read::Eof => {
                        self.eof = self.over.is_none();
                        None
                    }
                    Read::End => Some(Ending::Closed),
                    Read::Left(how) => self.detach(|client| client.depart(how)),
                    Read::Bad(why) => self.detach(|client| client.refuse(Code::BadMessage, why)),
                };
                if let Some(ending) = ending {
                    return Poll::Ready(ending);
                }
            }
        })
    }

    /// Reads messages of the client until one ends the turn by what it means or by its length; `taken` is what they
    /// weigh. Of several sizes in a row, the latest counts, with where it stands in the input.
    fn read_client(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Vec<u8>,
        taken: &mut usize,
    ) -> (Read, Option<(Size, usize)>) {
        let Some(client) = &mut self.client else { return (Read::Wait, None) };
        let mut latest = None;
        let read = loop {
            if *taken >= TURN {
                break Read::More;
            }
            if !client.has_room_for_replies() && client.poll_flushed(cx).is_pending() {
                client.socket().pause();
                break Read::Wait;
            }
            if client.poll_unheld(cx).is_pending() {
                break Read::Wait;
            }
            // What is typed behind a size is told apart from what is typed before it.
            let most = if latest.is_some() { 0 } else { TURN };
            let Poll::Ready(heard) = client.poll_input(cx, input, taken, most) else { break Read::Wait };
            let event = match heard {
                Heard::Event(event) => event,
                Heard::Bad(why) => break Read::Bad(why),
                Heard::Over(Incoming::Closed(None | Some(1000))) if !client.dialect().has_close() => break Read::End,
                Heard::Over(how) => break Read::Left(how),
            };
            match event {
                ClientEvent::Input => {
                    if latest.is_some_and(|(_, at)| at < input.len()) {
                        break Read::More;
                    }
                }
                ClientEvent::Resize { size, clamped } => {
                    latest = Some((size, input.len()));
                    if clamped {
                        client.reply(&ServerEvent::Size(size));
                    }
                }
                ClientEvent::Eof => break Read::Eof,
                ClientEvent::Close => break Read::End,
                ClientEvent::Ping(id) => client.reply(&ServerEvent::Pong(&id)),
                ClientEvent::Ignored => self.task.metrics.ignored_client(1),
                ClientEvent::Ack(offset) if client.ack(offset) => {}
                ClientEvent::Ack(_) => break Read::Bad(BEYOND),
            }
        };
        self.task.metrics.ignored_client(client.newly_ignored_fields());
        if client.newly_confirmed() {
            self.way_back.confirm();
        }
        (read, latest)
    }

    /// Takes what was typed, and a size with where it stands in it: from here on it is the session's to deliver.
    fn take(&mut self, input: &[u8], size: Option<(Size, usize)>) {
        self.task.session.record.add_input(input.len());
        let Some((size, at)) = size else {
            self.input(input);
            return;
        };
        let (before, behind) = input.split_at(at);
        self.input(before);
        self.resize(size);
        self.typed.extend_from_slice(behind);
    }

    fn resize(&mut self, size: Size) {
        if size != self.size {
            self.size = size;
            self.task.session.record.set_size(size);
            self.upstream.resize(size);
            self.show_size(size);
            if let Some(tap) = &self.tap {
                tap.resize(size);
            }
        }
    }

    /// Hands input over, one turn of it at the most, and keeps the rest. How much went.
    fn input(&mut self, input: &[u8]) -> usize {
        let (now, later) = input.split_at(input.len().min(TURN));
        if !now.is_empty() {
            self.active = Instant::now();
            self.upstream.input(now);
            if let Some(tap) = &self.tap {
                tap.input(now);
            }
            self.typed.extend_from_slice(later);
        }
        now.len()
    }

    fn end_input(&mut self) {
        if !self.upstream.eof()
            && let Some(client) = &mut self.client
        {
            let message = "this provider cannot end the input of a terminal";
            client.reply(&ServerEvent::Error { code: Code::Unsupported, message, last: false });
        }
    }
}
