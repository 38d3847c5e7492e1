//! What goes up: launches first, then the terminals in turn.

use std::task::Context;

use polytty_dialect::decthings::Call;
use tokio::time::Instant;

use super::connection::What;
use super::link::Link;
use super::terminal::{Doing, Subscription};
use super::{Hub, MAX_LAUNCHES, PostedCall};
use crate::provider::shared::Want;

/// Input that one terminal may send before the others have their turn, in bytes: what a session gives at once.
const MAX_WRITE: usize = 64 << 10;

/// What is written at once, in bytes, and one call beyond it.
const WRITE: usize = 64 << 10;

/// Bytes that are written before others have their turn.
const TURN: usize = 256 << 10;

/// Subscriptions that are asked for at once when a connection is made anew.
const MAX_SUBSCRIBING: usize = 32;

impl Hub {
    /// Sends what there is for as long as the socket takes it. While it takes nothing, nothing is taken from the lines
    /// either, and that is what holds those who type.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) {
        let mut sent = 0;
        loop {
            match &mut self.link {
                Link::Up(connection) => {
                    if connection.poll_flushed(cx).is_pending() {
                        return;
                    }
                }
                _ => {
                    self.send_without_socket();
                    return;
                }
            }
            if sent >= TURN {
                cx.waker().wake_by_ref();
                return;
            }
            self.fill();
            let Link::Up(connection) = &mut self.link else { return };
            if connection.outbox.is_empty() {
                return;
            }
            sent += connection.outbox.payload_len();
            connection.send();
        }
    }

    /// Fills the outbox.
    fn fill(&mut self) {
        while let Link::Up(connection) = &mut self.link
            && connection.launches < MAX_LAUNCHES
            && connection.outbox.payload_len() < WRITE
            && let Some(order) = self.launches.pop_front()
        {
            if !order.opener.is_closed() {
                let launch = std::sync::Arc::clone(&order.launch);
                connection.call(Call::Launch(&launch, order.size), What::Launch(order));
            }
        }
        for _ in 0..self.ready.len() {
            let Link::Up(connection) = &self.link else { return };
            if connection.outbox.payload_len() >= WRITE {
                return;
            }
            if let Some(key) = self.ready.pop_front() {
                self.serve(key);
            }
        }
    }

    /// Without a connection, terminals can still be ended. The others have their turn when there is one.
    fn send_without_socket(&mut self) {
        for key in std::mem::take(&mut self.ready) {
            if let Some(terminal) = self.terminals.get_mut(&key) {
                terminal.queued = false;
                self.terminate(key);
            }
        }
    }

    /// Makes the one call that a terminal may make now, if it wants to.
    fn serve(&mut self, key: u64) {
        let now = Instant::now();
        let Some(terminal) = self.terminals.get_mut(&key) else { return };
        terminal.queued = false;
        if terminal.end_by.is_some() {
            return self.terminate(key);
        }
        if terminal.gone_by.is_some() || terminal.doing.is_some() || terminal.pause_until.is_some_and(|at| at > now) {
            return;
        }
        terminal.pause_until = None;
        match terminal.events {
            Subscription::Cut => return self.subscribe(key),
            Subscription::Asked => return,
            Subscription::Live => {}
        }
        let again = !terminal.input.is_empty();
        let doing = match (again, terminal.size.take(), &terminal.line) {
            (true, size, _) => {
                terminal.size = size;
                Some(Doing::Write)
            }
            (false, Some(size), _) => Some(Doing::Resize(size)),
            (false, None, Some(line)) => match line.next(&mut terminal.input, MAX_WRITE) {
                Some(Want::Input(_)) => Some(Doing::Write),
                Some(Want::Resize(size)) => Some(Doing::Resize(size)),
                Some(Want::End) => {
                    self.end(key);
                    return self.terminate(key);
                }
                None => None,
            },
            (false, None, None) => None,
        };
        if let Some(doing) = doing {
            self.call(key, doing);
            self.peek(key);
        }
    }

    fn call(&mut self, key: u64, doing: Doing) {
        let Some(terminal) = self.terminals.get_mut(&key) else { return };
        terminal.doing = Some(doing);
        let (id, input) = (std::mem::take(&mut terminal.id), std::mem::take(&mut terminal.input));
        let call = match doing {
            Doing::Write => Call::Write(&id, &input),
            Doing::Resize(size) => Call::Resize(&id, size),
        };
        if self.service.posts_writes() {
            self.post(Some(key), call, PostedCall::Doing(doing));
        } else if let Link::Up(connection) = &mut self.link {
            connection.call(call, What::Doing(key, doing));
        }
        if let Some(terminal) = self.terminals.get_mut(&key) {
            (terminal.id, terminal.input) = (id, input);
        }
    }

    fn subscribe(&mut self, key: u64) {
        let (Some(terminal), Link::Up(connection)) = (self.terminals.get_mut(&key), &mut self.link) else { return };
        // At the bound, the next answer calls for those that are left.
        if connection.subscribing < MAX_SUBSCRIBING {
            terminal.events = Subscription::Asked;
            connection.call(Call::Subscribe(&terminal.id), What::Subscribe(key));
        }
    }

    /// Gives all terminals their turn that are still to be subscribed to.
    pub(super) fn enqueue_cut(&mut self) {
        let is_cut = |terminal: &super::Terminal| terminal.events == Subscription::Cut && !terminal.queued;
        let cut: Vec<u64> = self.terminals.iter().filter(|(_, t)| is_cut(t)).map(|(&key, _)| key).collect();
        cut.into_iter().for_each(|key| self.enqueue(key));
    }

    /// Asks for the end of a terminal that is to be ended: over the socket, or by HTTP where that is configured or
    /// there is no socket.
    fn terminate(&mut self, key: u64) {
        let Some(terminal) = self.terminals.get_mut(&key) else { return };
        if terminal.end_by.is_none() || std::mem::replace(&mut terminal.terminating, true) {
            return;
        }
        match &mut self.link {
            Link::Up(connection) if !self.service.posts_writes() => {
                connection.call(Call::Terminate(&terminal.id), What::Terminate(key));
            }
            _ => {
                let id = terminal.id.clone();
                self.post(Some(key), Call::Terminate(&id), PostedCall::Terminate);
            }
        }
    }
}
