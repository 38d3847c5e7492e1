//! The hub's calls to the workspace, and what comes of them.

use std::time::Duration;

use bytes::Bytes;
use polytty_dialect::Code;
use polytty_dialect::oblien::TerminalId;
use tokio::time::{Instant, sleep};

use super::super::access::Token;
use super::super::api::{Api, CreateError, List};
use super::super::strangers::Marks;
use super::super::target::What;
use super::super::terminal::unverifiable;
use super::{AWAY, Hub, LIST_AGAIN, LISTINGS, Link, Opener};
use crate::provider::dial::Stream;
use crate::provider::leftovers::Leftover;
use crate::provider::shared::{Line, LineId};
use crate::provider::{BoxFuture, Failure};
use crate::socket::{Options, Role, Socket};

/// The largest message that is taken: a whole ring of the largest size in one, and as much again.
const MAX_MESSAGE: usize = 1 << 20;

/// Pings go out after so much silence; middleboxes cut at 30 s.
const PING_EVERY: Duration = Duration::from_secs(20);

/// How long after the first tries to end a terminal the next one comes.
const AGAIN: Duration = Duration::from_secs(1);

/// Stands for never.
const NEVER: Duration = Duration::from_secs(30 * 86_400);

/// The waits before further attempts to delete a terminal, during which none is made. Those behind the first are for one
/// whose date is not known: nothing would tell it later from another one of the same id.
const PAUSES: [Duration; 4] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(6)];

/// A terminal to be ended, and the line of a session that waits for it.
pub(super) struct Deletion {
    pub(super) id: TerminalId,
    pub(super) line: Option<Line>,
    /// When the one that is meant was made, as far as that is known.
    pub(super) born: Option<String>,
    /// Whether the id can only be its own. If not, and it is known when it was made, the list is asked first.
    pub(super) is_certain: bool,
}

/// What a call came to.
pub(super) enum Done {
    Dialled(Result<(Box<Socket<Stream>>, Token), Failure>),
    Created(Opener, Marks, Result<TerminalId, CreateError>),
    Deleted(Deletion, Result<(), Failure>),
    /// Another try.
    Cleared(Leftover<(TerminalId, String)>, Result<(), Failure>),
    /// With when it was asked for.
    Listed(u64, Result<List, Failure>),
    /// Of a line, and since when it was known.
    Scrollback(LineId, u64, Result<Vec<u8>, Failure>),
    /// A connection was left.
    Left,
}

impl Hub {
    pub(super) fn dial(&mut self) {
        self.link = Link::Dialling;
        let (api, last) = (self.api.clone(), self.token.clone());
        // Who switched access off has ended all terminals with it: there is nothing to switch it on for.
        let switches_on = self.terminals.is_empty();
        let pong_within = api.settings().pong_timeout.unwrap_or(NEVER);
        self.call(Box::pin(async move {
            let dialled = async {
                let (stream, already_read, token): (Stream, Bytes, Token) = api.connect(last, switches_on).await?;
                let options =
                    Options { role: Role::Client, max_message: MAX_MESSAGE, ping_every: PING_EVERY, pong_within };
                Ok((Box::new(Socket::new(stream, &already_read, options)), token))
            };
            Done::Dialled(dialled.await)
        }));
    }

    fn call(&mut self, call: BoxFuture<'static, Done>) {
        self.calls.push(call);
        self.has_new_call = true;
    }

    /// Starts what waits and may go.
    pub(super) fn start_calls(&mut self, now: Instant) {
        if self.creating == 0 {
            while let Some(deletion) = self.deletes.pop_front() {
                self.deleting += 1;
                let api = self.api.clone();
                self.call(Box::pin(see_to(api, deletion)));
            }
        }
        // These hold up nobody: an id that was given out anew is known by its date.
        while let Some(leftover) = self.leftovers.take(now) {
            let api = self.api.clone();
            self.call(Box::pin(async move {
                let (id, born) = &leftover.what;
                let result = delete_if_born(&api, *id, born).await;
                Done::Cleared(leftover, result)
            }));
        }
        if !matches!(self.link, Link::Open(_)) {
            return;
        }
        if self.deleting == 0 && self.deletes.is_empty() && self.aftermath(now).is_none() {
            while let Some(opener) = self.creates.pop_front() {
                self.create(opener);
            }
        }
        if self.list_at.is_some_and(|at| now >= at) {
            self.list_at = None;
            self.list();
        }
        if !self.is_listing && self.list_at.is_none() && self.may_attach() {
            self.list();
        }
    }

    /// Whether somebody waits to attach and may. While a terminal is being made, it may be in the list before the
    /// answer says that it is a session's already.
    fn may_attach(&self) -> bool {
        self.creating == 0 && !self.attaches.is_empty()
    }

    fn create(&mut self, opener: Opener) {
        let What::Create(command) = &opener.what else { return };
        if opener.reply.is_closed() {
            return;
        }
        self.creating += 1;
        let (api, command, marks) = (self.api.clone(), command.clone(), self.strangers.mark());
        // Once asked for, it is seen to the end, even if nobody waits any more: only the answer tells what to end.
        self.call(Box::pin(async move {
            let result = api.create(&command, opener.size).await;
            Done::Created(opener, marks, result)
        }));
    }

    /// Asks for the list, to know terminals again and to find those that somebody wants.
    pub(super) fn list(&mut self) {
        if self.is_listing {
            // Whoever is not in this one sees to the next.
            return;
        }
        self.is_listing = true;
        let (api, asked) = (self.api.clone(), self.stamp());
        self.call(Box::pin(async move { Done::Listed(asked, api.list().await) }));
    }

    pub(super) fn ask_scrollback(&mut self, line: LineId, id: TerminalId, since: u64) {
        let api = self.api.clone();
        self.call(Box::pin(async move { Done::Scrollback(line, since, api.scrollback(id).await) }));
    }

    /// Leaves a connection that is of no more use.
    pub(super) fn part(&mut self, socket: Box<Socket<Stream>>) {
        self.call(Box::pin(async move {
            socket.part().await;
            Done::Left
        }));
    }

    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Dialled(Ok((socket, token))) => self.connected(socket, token),
            Done::Dialled(Err(failure)) => self.unreachable(&failure),
            Done::Created(opener, marks, result) => {
                self.creating -= 1;
                self.created(opener, &marks, result);
            }
            Done::Deleted(deletion, result) => {
                self.deleting -= 1;
                self.deleted = Some(Instant::now());
                if let Err(failure) = result {
                    self.not_deleted(deletion.id, deletion.born, &failure);
                }
                drop(deletion.line);
            }
            Done::Cleared(_, Ok(())) => self.leftovers.done(),
            Done::Cleared(leftover, Err(failure)) => {
                let given_up = self.leftovers.failed(leftover, Instant::now());
                self.left_behind(given_up.map(|(id, _)| id), &failure);
            }
            Done::Listed(asked, result) => {
                self.is_listing = false;
                match result {
                    Ok(list) => self.listed(asked, &list),
                    Err(failure) => self.not_listed(asked, failure),
                }
            }
            Done::Scrollback(line, since, result) => {
                if let Some(terminal) = self.terminals.get_mut(&line).filter(|terminal| terminal.since == since) {
                    terminal.scrollback(result.as_deref().ok());
                }
            }
            Done::Left => {}
        }
    }

    /// A terminal could not be ended: it is tried again for a while, where its date tells it from a later one.
    fn not_deleted(&mut self, id: TerminalId, born: Option<String>, failure: &Failure) {
        let given_up = match born {
            Some(born) => self.leftovers.add((id, born), Instant::now(), AGAIN).map(|(id, _)| id),
            None => Some(id),
        };
        self.left_behind(given_up, failure);
    }

    fn left_behind(&self, given_up: Option<TerminalId>, failure: &Failure) {
        if let Some(id) = given_up {
            let (id, detail) = (id.byte(), &failure.detail);
            tracing::warn!(place = ?self.junction, id, ?detail, "a terminal could not be deleted");
        }
    }

    /// There is a connection. The server repeats what it has kept of every terminal.
    fn connected(&mut self, socket: Box<Socket<Stream>>, token: Token) {
        self.link = Link::Open(socket);
        self.token = Some(token);
        self.losses.connected();
        self.is_refused = false;
        self.seeking = None;
        self.strangers.clear();
        let (now, since) = (Instant::now(), self.stamp());
        self.leftovers.hurry(now);
        self.terminals.values_mut().for_each(|terminal| terminal.catch_up(now, since));
        (self.list_failures, self.list_at) = (0, None);
        if !self.terminals.is_empty() {
            self.list();
        }
        if self.terminals.is_empty() {
            tracing::debug!(place = ?self.junction, "connected to the workspace");
        } else {
            tracing::info!(place = ?self.junction, terminals = self.terminals.len(), "connected to the workspace again");
        }
    }

    /// There is none. Whoever was opening is told; who has a terminal waits on, unless that is in vain.
    fn unreachable(&mut self, failure: &Failure) {
        let now = Instant::now();
        self.losses.failed();
        self.is_refused = failure.code == Code::ProviderRefused;
        self.link = Link::Closed(now + self.losses.delay(now));
        let is_final = matches!(failure.code, Code::ProviderNotRunning | Code::ProviderRefused);
        let is_late = self.seeking.is_some_and(|since| now >= since + AWAY);
        tracing::info!(place = ?self.junction, code = %failure.code, detail = ?failure.detail, "no connection to the workspace");
        self.fail_all(failure, is_final || is_late);
    }

    fn created(&mut self, opener: Opener, marks: &Marks, result: Result<TerminalId, CreateError>) {
        let failure = match result {
            Ok(id) => {
                let kept = self.strangers.adopt_new(id, marks);
                self.bind(id, false, kept, opener);
                // It is the list that tells a terminal from a later one of the same id.
                self.list();
                return;
            }
            Err(CreateError::Quota(detail)) => self.full(opener.max_terminals, detail),
            Err(CreateError::Failed(failure)) => failure,
        };
        let _ = opener.reply.send(Err(failure));
    }

    fn listed(&mut self, asked: u64, list: &List) {
        self.list_failures = 0;
        let mut gone = Vec::new();
        for (line, terminal) in self.terminals.iter_mut().filter(|(_, terminal)| terminal.since < asked) {
            let entry = list.terminals.iter().find(|entry| entry.id == terminal.id);
            if let Err(failure) = terminal.listed(entry) {
                gone.push((*line, failure));
            }
        }
        for (line, failure) in gone {
            self.drop_terminal(line, failure);
        }
        if self.may_attach() {
            let (due, later) = std::mem::take(&mut self.attaches).into_iter().partition(|(_, since)| *since < asked);
            self.attaches = later;
            let due: Vec<(Opener, u64)> = due;
            for (opener, _) in due {
                self.attach(opener, list);
            }
        }
        if self.may_attach() || self.terminals.values().any(|terminal| terminal.since > asked) {
            self.list();
        }
    }

    fn attach(&mut self, opener: Opener, list: &List) {
        let What::Attach(id) = opener.what else { return };
        let refusal = match list.terminals.iter().find(|entry| entry.id == id) {
            _ if self.owners.contains_key(&id) => {
                Failure::new(Code::Forbidden, format!("Another session has terminal {id} already."))
            }
            None => {
                let others = list.terminals.iter().filter(|entry| entry.exit.is_none());
                let others: Vec<String> = others.map(|entry| entry.id.to_string()).collect();
                let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
                let message = format!("There is no terminal {id} in {}; running: {others}.", self.api.workspace());
                Failure::new(Code::ProviderNotRunning, message)
            }
            Some(entry) if entry.exit.is_some() => {
                Failure::new(Code::ProviderNotRunning, format!("Terminal {id} has ended."))
            }
            Some(entry) => {
                let kept = self.strangers.adopt(id);
                let born = entry.born.clone();
                self.bind(id, true, kept, opener);
                if let Some(terminal) = self.owners.get(&id).and_then(|line| self.terminals.get_mut(line)) {
                    terminal.born = born;
                }
                return;
            }
        };
        let _ = opener.reply.send(Err(refusal));
    }

    /// Without a list, nobody can attach; terminals that need one to be known again wait for a few more.
    fn not_listed(&mut self, asked: u64, failure: Failure) {
        let (due, later) = std::mem::take(&mut self.attaches).into_iter().partition(|(_, since)| *since < asked);
        self.attaches = later;
        let due: Vec<(Opener, u64)> = due;
        for (opener, _) in due {
            let _ = opener.reply.send(Err(failure.clone()));
        }
        self.list_failures += 1;
        if self.list_failures < LISTINGS {
            self.list_at = Some(Instant::now() + LIST_AGAIN);
            return;
        }
        let lost = unverifiable(failure.detail);
        let catching = self.terminals.iter().filter(|(_, terminal)| terminal.is_catching() && terminal.since < asked);
        for line in catching.map(|(line, _)| *line).collect::<Vec<_>>() {
            self.disown(line, lost.clone());
        }
    }
}

/// Ends a terminal, with patience for one whose date is not known. As long as it lasts none is made, so the id is still
/// its own and a list tells the date, by which it can be ended at any later time.
async fn see_to(api: Api, mut deletion: Deletion) -> Done {
    let mut result = delete(&api, &deletion).await;
    for (tried, pause) in PAUSES.into_iter().enumerate() {
        if result.is_ok() || (tried > 0 && deletion.born.is_some()) {
            break;
        }
        sleep(pause).await;
        if deletion.born.is_none()
            && let Ok(list) = api.list().await
        {
            let Some(entry) = list.terminals.into_iter().find(|entry| entry.id == deletion.id) else {
                return Done::Deleted(deletion, Ok(()));
            };
            deletion.born = entry.born;
        }
        result = delete(&api, &deletion).await;
    }
    Done::Deleted(deletion, result)
}

async fn delete(api: &Api, deletion: &Deletion) -> Result<(), Failure> {
    match &deletion.born {
        Some(born) if !deletion.is_certain => delete_if_born(api, deletion.id, born).await,
        _ => api.delete(deletion.id).await,
    }
}

/// Ends the terminal of this id unless it is another than the one that was made then.
async fn delete_if_born(api: &Api, id: TerminalId, born: &String) -> Result<(), Failure> {
    let list = api.list().await?;
    let is_there = list.terminals.iter().any(|entry| entry.id == id && entry.born.as_ref() == Some(born));
    if is_there { api.delete(id).await } else { Ok(()) }
}
