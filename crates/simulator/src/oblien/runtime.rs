//! The terminals of one runtime and the one WebSocket that carries them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{
    ring::Ring,
    terminal::{Input, Remote},
};
use crate::web::Stop;

/// Messages that wait for the WebSocket. At the bound the terminals are read no further.
const QUEUE: usize = 4;

/// A runtime: the default one of a workspace, or one with a name of its own.
#[derive(Debug)]
pub(super) struct Runtime {
    pub(super) target: String,
    reuse_ids: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the server runs: else nobody can create or connect.
    open: bool,
    /// At most as many as the workspace has places, which is at most 255.
    terminals: BTreeMap<u8, Terminal>,
    socket: Option<Socket>,
    /// The id given last, and how many terminals and sockets there have been.
    last_id: u8,
    serial: u64,
    last_deleted: Option<(u8, Vec<u8>)>,
}

#[derive(Debug)]
struct Terminal {
    serial: u64,
    command: Vec<String>,
    cols: u16,
    rows: u16,
    created_at: String,
    ring: Ring,
    /// The exit code, once the shell has ended.
    ended: Option<i32>,
    remote: Remote,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Socket {
    serial: u64,
    queue: mpsc::Sender<Outbound>,
    stop: oneshot::Sender<Stop>,
}

/// What a WebSocket has to say.
#[derive(Debug)]
pub(super) enum Outbound {
    /// A whole frame: the terminal's number and its output.
    Output(Bytes),
    /// A terminal has ended.
    Exit { id: u8, code: i32 },
    /// Somebody wants to know when everything before this is on its way.
    Sent(oneshot::Sender<()>),
}

/// A terminal by its number and by what no other terminal has, since numbers can come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) id: u8,
    serial: u64,
}

/// What a new terminal is made of.
#[derive(Debug)]
pub(super) struct NewTerminal {
    pub(super) command: Vec<String>,
    pub(super) cols: u16,
    pub(super) rows: u16,
    pub(super) created_at: String,
    pub(super) scrollback_size: usize,
    pub(super) remote: Remote,
    pub(super) place: OwnedSemaphorePermit,
}

/// A WebSocket's part of its runtime.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) serial: u64,
    /// The scrollback of the terminals by id, and the exit codes of those that have ended.
    pub(super) replay: Vec<(u8, Vec<u8>, Option<i32>)>,
    pub(super) queue: mpsc::Receiver<Outbound>,
    pub(super) stop: oneshot::Receiver<Stop>,
    /// Whether another WebSocket had to go.
    pub(super) evicted: bool,
}

impl Runtime {
    pub(super) fn new(target: &str, reuse_ids: bool, open: bool) -> Self {
        let state = State { open, ..State::default() };
        Self { target: target.to_owned(), reuse_ids, state: Mutex::new(state) }
    }

    /// Lets the server run.
    pub(super) fn open(&self) {
        self.lock().open = true;
    }

    /// Ends the server: all terminals are deleted and the WebSocket ends without a Close.
    pub(super) fn shut(&self) {
        let mut state = self.lock();
        state.open = false;
        state.terminals.values().for_each(|terminal| terminal.remote.delete());
        state.terminals.clear();
        if let Some(socket) = state.socket.take() {
            // A socket that has stopped already is as it should be.
            let _stopped = socket.stop.send(Stop::Fin);
        }
    }

    /// Registers a terminal under a new id; `again` asks for the id that was deleted last. `None` if the server does not
    /// run or no id is free.
    pub(super) fn insert(&self, new: NewTerminal, again: bool) -> Option<Ticket> {
        let mut state = self.lock();
        if !state.open {
            return None;
        }
        let last_deleted = state.last_deleted.as_ref().filter(|_| again).map(|(id, _)| *id);
        let id =
            last_deleted.filter(|id| !state.terminals.contains_key(id)).or_else(|| state.free_id(self.reuse_ids))?;
        state.last_id = id;
        state.serial += 1;
        let serial = state.serial;
        let NewTerminal { command, cols, rows, created_at, scrollback_size, remote, place } = new;
        let ring = Ring::new(scrollback_size);
        let terminal = Terminal { serial, command, cols, rows, created_at, ring, ended: None, remote, _place: place };
        state.terminals.insert(id, terminal);
        Some(Ticket { id, serial })
    }

    /// Deletes a terminal; false if there is none.
    pub(super) fn delete(&self, id: u8) -> bool {
        let mut state = self.lock();
        let Some(terminal) = state.terminals.remove(&id) else { return false };
        terminal.remote.delete();
        state.last_deleted = Some((id, terminal.ring.newest(usize::MAX)));
        true
    }

    /// The id and the last output of the terminal that was deleted last, unless its id has another owner.
    pub(super) fn last_words(&self) -> Option<(u8, Vec<u8>)> {
        let state = self.lock();
        state.last_deleted.clone().filter(|(id, _)| !state.terminals.contains_key(id))
    }

    /// The id that the next terminal gets.
    pub(super) fn next_id(&self) -> Option<u8> {
        self.lock().free_id(self.reuse_ids)
    }

    /// The terminals as the API lists them.
    pub(super) fn list(&self) -> Vec<Value> {
        self.lock().terminals.iter().map(|(id, terminal)| terminal.to_json(*id)).collect()
    }

    /// Terminals whose shell runs.
    pub(super) fn alive(&self) -> usize {
        self.lock().terminals.values().filter(|terminal| terminal.ended.is_none()).count()
    }

    /// The newest `count` bytes of a terminal's scrollback, with the terminal's place in the list.
    pub(super) fn scrollback(&self, id: u8, count: usize) -> Option<(Vec<u8>, Value)> {
        let state = self.lock();
        let terminal = state.terminals.get(&id)?;
        Some((terminal.ring.newest(count), terminal.to_json(id)))
    }

    /// Changes a terminal's scrollback and returns its size; `None` if there is no such terminal.
    pub(super) fn change_scrollback(&self, id: u8, change: impl FnOnce(&mut Ring)) -> Option<usize> {
        let mut state = self.lock();
        let ring = &mut state.terminals.get_mut(&id)?.ring;
        change(ring);
        Some(ring.capacity())
    }

    /// Where a terminal's input goes, if it is alive. A size is taken down for the list.
    pub(super) fn input(&self, id: u8, input: &Input) -> Option<Remote> {
        let mut state = self.lock();
        let terminal = state.terminals.get_mut(&id).filter(|terminal| terminal.ended.is_none())?;
        if let Input::Resize(cols, rows) = *input {
            (terminal.cols, terminal.rows) = (cols, rows);
        }
        Some(terminal.remote.clone())
    }

    /// The terminal with this id, or the first that is alive.
    pub(super) fn remote(&self, id: Option<u8>) -> Option<Remote> {
        let state = self.lock();
        let mut alive = state.terminals.iter().filter(|(_, terminal)| terminal.ended.is_none());
        alive.find(|(number, _)| id.is_none_or(|id| id == **number)).map(|(_, terminal)| terminal.remote.clone())
    }

    /// The lowest id in use.
    pub(super) fn first_id(&self) -> Option<u8> {
        self.lock().terminals.keys().next().copied()
    }

    /// Takes a terminal's output down, and says where else it goes: to the WebSocket that is open at this moment.
    pub(super) fn said(&self, ticket: Ticket, bytes: &[u8]) -> Option<mpsc::Sender<Outbound>> {
        let mut state = self.lock();
        state.terminal(ticket)?.ring.push(bytes);
        state.queue()
    }

    /// Takes a terminal's end down, and says who has to be told.
    pub(super) fn ended(&self, ticket: Ticket, code: i32) -> Option<mpsc::Sender<Outbound>> {
        let mut state = self.lock();
        state.terminal(ticket)?.ended = Some(code);
        state.queue()
    }

    /// The queue of the WebSocket that is open at this moment.
    pub(super) fn queue(&self) -> Option<mpsc::Sender<Outbound>> {
        self.lock().queue()
    }

    /// Makes a new WebSocket the only one. `eviction` is what the one before it is told. `None` if the server does not
    /// run.
    ///
    /// What terminals have said until now is in the replay, and what they say from now on comes into the queue.
    pub(super) fn attach(&self, eviction: Stop) -> Option<Attachment> {
        let mut state = self.lock();
        if !state.open {
            return None;
        }
        state.serial += 1;
        let serial = state.serial;
        let (sender, queue) = mpsc::channel(QUEUE);
        let (stop_sender, stop) = oneshot::channel();
        let evicted = state.socket.replace(Socket { serial, queue: sender, stop: stop_sender });
        let evicted = evicted.is_some_and(|socket| socket.stop.send(eviction).is_ok());
        let terminals = state.terminals.iter();
        let replay = terminals.map(|(id, terminal)| (*id, terminal.ring.newest(usize::MAX), terminal.ended)).collect();
        Some(Attachment { serial, replay, queue, stop, evicted })
    }

    /// Forgets a WebSocket, unless another one has taken its place.
    pub(super) fn detach(&self, serial: u64) {
        self.lock().socket.take_if(|socket| socket.serial == serial);
    }

    /// Ends the WebSocket as `eviction` says; false if there is none.
    pub(super) fn kick(&self, eviction: Stop) -> bool {
        self.lock().socket.take().is_some_and(|socket| socket.stop.send(eviction).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn terminal(&mut self, ticket: Ticket) -> Option<&mut Terminal> {
        self.terminals.get_mut(&ticket.id).filter(|terminal| terminal.serial == ticket.serial)
    }

    fn queue(&self) -> Option<mpsc::Sender<Outbound>> {
        self.socket.as_ref().map(|socket| socket.queue.clone())
    }

    /// The lowest id that is free, or the next behind the last one given, so that an id comes again only after all others.
    fn free_id(&self, lowest: bool) -> Option<u8> {
        let start = if lowest { 0 } else { self.last_id };
        let behind = start.checked_add(1).map(|next| next..=u8::MAX);
        behind.into_iter().flatten().chain(1..=start).find(|id| !self.terminals.contains_key(id))
    }
}

impl Terminal {
    fn to_json(&self, id: u8) -> Value {
        json!({
            "id": id.to_string(),
            "command": self.command,
            "cols": self.cols,
            "rows": self.rows,
            "alive": self.ended.is_none(),
            // As the service says it: 0 while the process runs.
            "exit_code": self.ended.unwrap_or(0),
            "created_at": self.created_at,
            "scrollback_size": self.ring.capacity(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    fn insert(runtime: &Runtime, again: bool) -> Option<Ticket> {
        let (remote, _inputs) = Remote::new();
        let new = NewTerminal {
            command: vec!["sh".to_owned()],
            cols: 80,
            rows: 24,
            created_at: String::new(),
            scrollback_size: 8,
            remote,
            place: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
        };
        runtime.insert(new, again)
    }

    #[test]
    fn ids_come_again_only_after_all_others_have_been_given() {
        let runtime = Runtime::new("default", false, true);
        for round in 0..3 {
            for expected in 1..=u8::MAX {
                assert_eq!(insert(&runtime, false).unwrap().id, expected, "{round}");
                assert!(runtime.delete(expected));
            }
        }
        let kept = insert(&runtime, false).unwrap();
        let ids: Vec<_> = (0..254).map(|_| insert(&runtime, false).unwrap().id).collect();
        assert!(!ids.contains(&kept.id) && !ids.contains(&0));
        assert_eq!(insert(&runtime, false), None);
    }

    #[test]
    fn ids_come_again_at_once_if_that_is_the_rule() {
        let runtime = Runtime::new("default", true, true);
        for expected in [1, 2, 3] {
            assert_eq!(insert(&runtime, false).unwrap().id, expected);
        }
        assert!(runtime.delete(2));
        assert_eq!(insert(&runtime, false).unwrap().id, 2);
        assert_eq!(insert(&runtime, false).unwrap().id, 4);
    }

    #[test]
    fn what_a_deleted_terminal_still_says_is_not_its_successors() {
        let runtime = Runtime::new("default", false, true);
        let old = insert(&runtime, false).unwrap();
        runtime.said(old, b"old");
        assert!(runtime.delete(old.id));
        assert_eq!(runtime.last_words(), Some((old.id, b"old".to_vec())));
        let new = insert(&runtime, true).unwrap();
        assert_eq!((new.id, runtime.last_words()), (old.id, None));
        runtime.said(old, b"ghost");
        runtime.said(new, b"new");
        runtime.ended(old, 1);
        assert_eq!(runtime.scrollback(new.id, usize::MAX).unwrap().0, b"new");
        assert_eq!(runtime.alive(), 1);
    }

    #[test]
    fn one_socket_is_active_and_each_gets_everything_once() {
        let runtime = Runtime::new("default", false, true);
        let ticket = insert(&runtime, false).unwrap();
        assert!(runtime.said(ticket, b"before").is_none());
        let mut first = runtime.attach(Stop::Fin).unwrap();
        assert_eq!(first.replay, [(1, b"before".to_vec(), None)]);
        runtime.said(ticket, b"12").unwrap().try_send(Outbound::Exit { id: 1, code: 7 }).unwrap();
        assert!(matches!(first.queue.try_recv(), Ok(Outbound::Exit { id: 1, code: 7 })));
        let second = runtime.attach(Stop::Close(4000, "gone")).unwrap();
        assert_eq!((first.stop.try_recv(), second.evicted), (Ok(Stop::Close(4000, "gone")), true));
        assert_eq!(second.replay, [(1, b"before12".to_vec(), None)]);
        runtime.detach(first.serial);
        assert!(runtime.queue().is_some(), "the successor stays");
        assert!(runtime.kick(Stop::Fin));
        assert!(!runtime.kick(Stop::Fin));
        runtime.shut();
        assert!(runtime.attach(Stop::Fin).is_none() && insert(&runtime, false).is_none());
        runtime.open();
        assert_eq!(runtime.attach(Stop::Fin).unwrap().replay, []);
    }
}
