//! What the service says: replies, output, ends.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use polytty_dialect::decthings::{Call, ErrorCode, ExitReason, Incoming, Launch, Refusal, Reply};
use polytty_dialect::{BadMessage, Code};
use tokio::time::Instant;

use super::super::words;
use super::connection::{Connection, What};
use super::link::{Link, TURN};
use super::terminal::{Doing, Heard, Subscription, Terminal};
use super::{EXIT_WITHIN, Hub, Order, PostedCall};
use crate::provider::Failure;
use crate::provider::leftovers::Leftover;
use crate::socket::{self, MIN_MESSAGE};

const LAUNCH: &str = "launchTerminalSession";
const SUBSCRIBE: &str = "subscribeToEvents";

/// A message that is more than output.
enum Said {
    /// The terminal of this key has ended.
    Exit(u64, ExitReason),
    Reply(u32, Result<Reply, BadMessage>),
    /// No message of the protocol.
    Nonsense(String),
}

impl Hub {
    /// Reads messages where they lie until one is more than output, a session has yet to take its own, or so much was read that
    /// others have their turn; `taken` is what it weighs. Ready with how the connection ended, if it did.
    ///
    /// # Errors
    ///
    /// A message breaks the protocol, and with it the connection: which one.
    pub(super) fn poll_messages(
        &mut self,
        cx: &mut Context<'_>,
        taken: &mut usize,
    ) -> Poll<Result<Option<socket::Incoming>, String>> {
        let Self { link: Link::Up(connection), by_id, terminals, choked, outage, .. } = self else {
            return Poll::Ready(Ok(None));
        };
        let Connection { socket, events, early, launches, ignored, .. } = &mut **connection;
        let mut said = None;
        let over = ready!(socket.poll_each(cx, |_, payload| {
            *taken += payload.len().max(MIN_MESSAGE);
            let incoming = match events.read(payload) {
                Ok(incoming) => incoming,
                Err(bad) => {
                    said = Some(Said::Nonsense(format!("{bad}: a message of {} bytes", payload.len())));
                    return ControlFlow::Break(());
                }
            };
            if !matches!(incoming, Incoming::Ignored) {
                outage.since = None;
            }
            match incoming {
                Incoming::Data { session, bytes } => match by_id.get(&*session) {
                    Some(key) => {
                        if terminals.get_mut(key).is_some_and(|terminal| terminal.output(bytes)) {
                            *choked = Some(*key);
                            return ControlFlow::Break(());
                        }
                    }
                    None => {
                        let kept = *launches > 0 && early.data(&session, bytes);
                        *ignored += u64::from(!kept);
                    }
                },
                Incoming::Exit { session, reason } => match by_id.get(&*session) {
                    Some(&key) => {
                        said = Some(Said::Exit(key, reason));
                        return ControlFlow::Break(());
                    }
                    None => {
                        let kept = *launches > 0 && early.exit(&session, reason);
                        *ignored += u64::from(!kept);
                    }
                },
                Incoming::Reply(id, reply) => {
                    said = Some(Said::Reply(id, reply));
                    return ControlFlow::Break(());
                }
                Incoming::Ignored => *ignored += 1,
            }
            if *taken < TURN { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }));
        match said {
            None => {}
            Some(Said::Exit(key, reason)) => self.exit(key, words::ended(reason)),
            Some(Said::Reply(id, reply)) => self.replied(id, reply),
            Some(Said::Nonsense(what)) => return Poll::Ready(Err(what)),
        }
        Poll::Ready(Ok(over))
    }

    fn replied(&mut self, id: u32, reply: Result<Reply, BadMessage>) {
        let Link::Up(connection) = &mut self.link else { return };
        match connection.answered(id) {
            Some(what) => self.reply(what, reply),
            None if connection.was_overdue(id) => self.late(reply),
            None => connection.ignored += 1,
        }
    }

    fn reply(&mut self, what: What, reply: Result<Reply, BadMessage>) {
        match what {
            What::Launch(order) => {
                self.launched(order, reply);
                if let Link::Up(connection) = &mut self.link
                    && connection.launches == 0
                {
                    // Whoever was heard of and is not known by now is none of ours.
                    connection.early.clear();
                }
            }
            What::Subscribe(key) => self.subscribed(key, reply.map_err(|bad| words::no_reply(SUBSCRIBE, bad))),
            What::Doing(key, doing) => {
                let method = method(doing);
                self.done(key, doing, reply.map_err(|bad| words::no_reply(method, bad)));
            }
            What::Terminate(key) => {
                let reply = reply.map_err(|bad| words::no_reply("terminateTerminalSession", bad));
                self.terminated(key, &reply);
            }
        }
    }

    fn launched(&mut self, order: Order, reply: Result<Reply, BadMessage>) {
        let Order { launch, opener, .. } = order;
        let id = match launch_id(&launch, reply) {
            Ok(id) => id,
            Err(failure) => {
                let _ = opener.send(Err(failure));
                return;
            }
        };
        if self.by_id.contains_key(&id) {
            let failure =
                Failure::new(Code::ProviderUnavailable, "Decthings answered with a terminal that exists already.");
            let _ = opener.send(Err(failure.detail(LAUNCH)));
            return;
        }
        let heard = match &mut self.link {
            Link::Up(connection) => connection.early.take(&id),
            _ => Heard::default(),
        };
        let (key, line, upstream) = self.next_line();
        line.deliver(&heard.output);
        if heard.has_gap {
            line.notice(
                Code::OutputGap,
                "The terminal said too much while it was being opened; some of it is missing.",
            );
        }
        self.by_id.insert(id.clone(), key);
        self.terminals.insert(key, Terminal::new(id, line));
        if let Some(reason) = heard.exit {
            self.exit(key, words::ended(reason));
        }
        // An opener that is gone drops its end of the line, which is how the terminal comes to its end, too.
        let _ = opener.send(Ok(upstream));
    }

    /// The answer to a launch that nobody waits for any more: if it is a terminal, it must not be left behind.
    fn late(&mut self, reply: Result<Reply, BadMessage>) {
        if let Ok(Reply::Done(Some(id))) = reply
            && !self.by_id.contains_key(&id)
        {
            self.leave(id, Instant::now());
        }
    }

    fn subscribed(&mut self, key: u64, reply: Result<Reply, Failure>) {
        let now = Instant::now();
        // Others may have waited for the place, whatever became of this one.
        self.enqueue_cut();
        let Some(terminal) = self.terminals.get_mut(&key) else { return };
        terminal.events = Subscription::Cut;
        match reply {
            Ok(Reply::Done(_)) => {
                terminal.events = Subscription::Live;
                terminal.attempts = 0;
                terminal.pause_until = None;
                terminal.tell_gap(now);
                self.enqueue(key);
            }
            Ok(Reply::Refused(refusal)) => match refusal.code {
                ErrorCode::TerminalSessionNotFound => self.exit(key, Ok(words::vanished())),
                ErrorCode::TooManyRequests if terminal.pause(now) => {}
                _ => self.fail(key, lost(words::refused(SUBSCRIBE, &refusal, None))),
            },
            Err(failure) => self.fail(key, lost(failure)),
        }
    }

    /// A write or resize has come to its end.
    pub(super) fn done(&mut self, key: u64, doing: Doing, reply: Result<Reply, Failure>) {
        let now = Instant::now();
        let Some(terminal) = self.terminals.get_mut(&key) else { return };
        terminal.doing = None;
        match (reply, doing) {
            (Ok(Reply::Done(_)), _) => terminal.settle(),
            (Ok(Reply::Refused(Refusal { code: ErrorCode::TerminalSessionNotFound, .. })), _) => {
                terminal.input.clear();
                terminal.gone_by = Some(now + EXIT_WITHIN);
            }
            (Ok(Reply::Refused(refusal)), Doing::Write) => {
                let retries = refusal.code == ErrorCode::TooManyRequests && terminal.pause(now);
                if !retries {
                    let failure = words::refused(method(doing), &refusal, None);
                    self.fail(key, no_input(failure));
                }
            }
            (Ok(Reply::Refused(refusal)), Doing::Resize(size)) => {
                if refusal.code == ErrorCode::TooManyRequests && terminal.pause(now) {
                    terminal.size.get_or_insert(size);
                } else {
                    tracing::debug!(provider = ?self.service.name, detail = ?words::detail(method(doing), &refusal), "no resize");
                }
            }
            (Err(failure), Doing::Write) => self.fail(key, no_input(failure)),
            (Err(failure), Doing::Resize(_)) => {
                tracing::debug!(provider = ?self.service.name, detail = ?failure.detail, "no resize");
            }
        }
        self.enqueue(key);
    }

    /// The terminal was asked to end. Where that came to nothing it is asked again, and no session waits for that.
    pub(super) fn terminated(&mut self, key: u64, reply: &Result<Reply, Failure>) {
        let Some(terminal) = self.remove(key) else { return };
        if has_ended(reply).is_err() {
            let after = Duration::from_secs(1);
            let given_up = self.leftovers.add(terminal.id, Instant::now(), after);
            self.left_behind(given_up, "too many others");
        }
    }

    /// Has a terminal ended that nobody waits for.
    pub(super) fn leave(&mut self, id: String, now: Instant) {
        let given_up = self.leftovers.add(id, now, Duration::ZERO);
        self.left_behind(given_up, "too many others");
    }

    /// Asks for the end of those whose time has come.
    pub(super) fn clear_leftovers(&mut self) {
        let now = Instant::now();
        while let Some(leftover) = self.leftovers.take(now) {
            let id = leftover.what.clone();
            self.post(None, Call::Terminate(&id), PostedCall::Leftover(leftover));
        }
    }

    pub(super) fn cleared(&mut self, leftover: Leftover<String>, reply: &Result<Reply, Failure>) {
        match has_ended(reply) {
            Ok(()) => self.leftovers.done(),
            Err(detail) => {
                let given_up = self.leftovers.failed(leftover, Instant::now());
                self.left_behind(given_up, &detail);
            }
        }
    }

    fn left_behind(&self, given_up: Option<String>, detail: &str) {
        if given_up.is_some() {
            tracing::warn!(provider = ?self.service.name, ?detail, "a terminal may be left behind at Decthings");
        }
    }
}

/// Whether a terminal is gone by what was said to its end; if not, why, for the log.
fn has_ended(reply: &Result<Reply, Failure>) -> Result<(), String> {
    match reply {
        Ok(Reply::Done(_)) => Ok(()),
        Ok(Reply::Refused(refusal)) if refusal.code == ErrorCode::TerminalSessionNotFound => Ok(()),
        Ok(Reply::Refused(refusal)) => Err(words::detail("terminateTerminalSession", refusal)),
        Err(failure) => Err(failure.detail.clone()),
    }
}

fn launch_id(launch: &Arc<Launch>, reply: Result<Reply, BadMessage>) -> Result<String, Failure> {
    match reply.map_err(|bad| words::no_reply(LAUNCH, bad))? {
        Reply::Done(Some(id)) => Ok(id),
        Reply::Done(None) => Err(words::no_reply(LAUNCH, BadMessage { reason: "a result without terminalSessionId" })),
        Reply::Refused(refusal) => Err(words::refused(LAUNCH, &refusal, Some(launch))),
    }
}

fn method(doing: Doing) -> &'static str {
    match doing {
        Doing::Write => "writeToTerminalSession",
        Doing::Resize(_) => "resizeTerminalSession",
    }
}

/// A terminal that cannot be come back to.
fn lost(failure: Failure) -> Failure {
    let message = format!("The connection to the terminal could not be made again. {}", failure.message);
    Failure::new(Code::ProviderLost, message).detail(failure.detail)
}

/// A terminal that takes no input: it is not gone on with, since nobody knows what it has and what not.
fn no_input(failure: Failure) -> Failure {
    let message = format!("Decthings did not take what was typed. {}", failure.message);
    Failure::new(failure.code, message).detail(failure.detail)
}
