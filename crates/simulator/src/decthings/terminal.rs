//! One terminal session: a shell on a PTY, its input, and the connections that are subscribed to its events.
//!
//! It lives on without any connection, until its shell ends, somebody terminates it, or no input comes for too long.

use std::{
    convert::Infallible,
    future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::future::join_all;
use pty_process::{ReadPty, Size, WritePty};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    process::Child,
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

use super::{
    Server,
    exit::ExitReason,
    outbox::{Item, Subscriber},
};
use crate::{
    Fault, Stage,
    pty::{Drain, Shell},
    web::{CHUNK, Permit, count},
};

/// A session that runs.
#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) id: String,
    pub(super) started_at: SystemTime,
    pub(super) model_id: String,
    /// As `getTerminalSessions` shows it, with its spec.
    pub(super) location: Value,
    /// The persistent launcher that it runs on, if it is on one.
    pub(super) launcher: Option<String>,
    pub(super) inactive_after: Duration,
    /// The JSON of its `data` events.
    data_event: Bytes,
    input: mpsc::UnboundedSender<(Bytes, oneshot::Sender<()>)>,
    sizes: mpsc::UnboundedSender<((u16, u16), oneshot::Sender<()>)>,
    /// Cancelled once the first output has been queued for somebody.
    pub(super) spoken: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last_input: SystemTime,
    access: Vec<String>,
    /// `None` once the session has ended.
    subscribers: Option<Vec<Subscriber>>,
    /// Taken by the first who ends the session.
    end: Option<oneshot::Sender<ExitReason>>,
}

/// The ends that [`run`] takes from. Input and sizes are bounded by the calls that may be in flight: each call waits until
/// the terminal has taken what it brought.
#[derive(Debug)]
pub(super) struct Inbox {
    input: mpsc::UnboundedReceiver<(Bytes, oneshot::Sender<()>)>,
    sizes: mpsc::UnboundedReceiver<((u16, u16), oneshot::Sender<()>)>,
    end: oneshot::Receiver<ExitReason>,
}

/// What a launch decides about its session.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) id: String,
    pub(super) model_id: String,
    pub(super) location: Value,
    pub(super) launcher: Option<String>,
    pub(super) access: Vec<String>,
    pub(super) inactive_after: Duration,
    pub(super) now: SystemTime,
}

impl Terminal {
    pub(super) fn new(setup: Setup) -> (Arc<Self>, Inbox) {
        let (input, input_inbox) = mpsc::unbounded_channel();
        let (sizes, sizes_inbox) = mpsc::unbounded_channel();
        let (end, end_inbox) = oneshot::channel();
        let terminal = Self {
            started_at: setup.now,
            model_id: setup.model_id,
            location: setup.location,
            launcher: setup.launcher,
            inactive_after: setup.inactive_after,
            data_event: data_event(&setup.id),
            id: setup.id,
            input,
            sizes,
            spoken: CancellationToken::new(),
            state: Mutex::new(State {
                last_input: setup.now,
                access: setup.access,
                subscribers: Some(Vec::new()),
                end: Some(end),
            }),
        };
        (Arc::new(terminal), Inbox { input: input_inbox, sizes: sizes_inbox, end: end_inbox })
    }

    /// Hands input to the terminal, behind all that was handed to it before. The receiver tells when it has been taken,
    /// or fails if the session ends before.
    pub(super) fn write(&self, input: Bytes, now: SystemTime) -> oneshot::Receiver<()> {
        self.lock().last_input = now;
        let (taken, receiver) = oneshot::channel();
        // A session that has ended drops `taken`.
        let _ended = self.input.send((input, taken));
        receiver
    }

    /// Gives the terminal another size, before any input that has not been taken yet.
    pub(super) fn resize(&self, cols: u16, rows: u16) -> oneshot::Receiver<()> {
        let (taken, receiver) = oneshot::channel();
        let _ended = self.sizes.send(((cols, rows), taken));
        receiver
    }

    /// Ends the session; false if somebody else has done so before.
    pub(super) fn end(&self, reason: ExitReason) -> bool {
        let end = self.lock().end.take();
        end.is_some_and(|end| end.send(reason).is_ok())
    }

    /// Whether no input has come for too long.
    pub(super) fn is_inactive(&self, now: SystemTime) -> bool {
        now.duration_since(self.lock().last_input).is_ok_and(|idle| idle >= self.inactive_after)
    }

    /// Further models whose files it may reach.
    pub(super) fn access(&self) -> Vec<String> {
        self.lock().access.clone()
    }

    /// Lets it reach one more model's files. Once more is no more.
    pub(super) fn add_access(&self, model: &str) {
        let mut state = self.lock();
        if !state.access.iter().any(|known| known == model) {
            state.access.push(model.to_owned());
        }
    }

    /// Subscribes a connection and runs `before` at the same instant, so that whatever it puts into the outbox stands
    /// before the first event. False, without running it, if the session has ended.
    pub(super) fn subscribe(&self, subscriber: Subscriber, before: impl FnOnce()) -> bool {
        let mut state = self.lock();
        let Some(subscribers) = &mut state.subscribers else { return false };
        before();
        if !subscribers.iter().any(|other| other.outbox.connection == subscriber.outbox.connection) {
            subscribers.push(subscriber);
        }
        true
    }

    /// Ends a connection's subscription: no event follows. False if there is none.
    pub(super) fn unsubscribe(&self, connection: u64) -> bool {
        let mut state = self.lock();
        let Some(subscribers) = &mut state.subscribers else { return false };
        let Some(at) = subscribers.iter().position(|other| other.outbox.connection == connection) else { return false };
        subscribers.swap_remove(at).ended.cancel();
        true
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.lock().subscribers.as_ref().map_or(0, Vec::len)
    }

    fn subscribers(&self) -> Vec<Subscriber> {
        self.lock().subscribers.clone().unwrap_or_default()
    }

    /// Queues an event for a connection, if it is still subscribed.
    fn push(&self, subscriber: &Subscriber, item: Item) {
        let state = self.lock();
        let connection = subscriber.outbox.connection;
        let mut subscribers = state.subscribers.iter().flatten();
        if subscribers.any(|other| other.outbox.connection == connection) {
            subscriber.outbox.push(item);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a session to its end: the shell is gone and its subscribers know on return. Output is read once `start` has been
/// sent or dropped. Nobody finds the session any more when its end is told.
pub(super) async fn run(
    server: Arc<Server>,
    terminal: Arc<Terminal>,
    mut shell: Shell,
    inbox: Inbox,
    start: oneshot::Receiver<()>,
    permit: Permit,
) {
    let Inbox { mut input, mut sizes, end } = inbox;
    let reason = {
        let (output, pty, child) = shell.parts();
        let mut pump = Pump::new(&server, &terminal);
        tokio::select! {
            Ok(reason) = end => reason,
            reason = async {
                // A launch that cannot be answered any more has launched all the same.
                let _answered = start.await;
                pump.run(output, child).await
            } => reason,
            never = feed(&server, pty, &mut input, &mut sizes) => match never {},
            () = server.site.cancel.cancelled() => ExitReason::Unknown,
        }
    };
    server.terminals.remove(&terminal.id);
    count(&server.tally.terminated, 1);
    // What was not taken will never be.
    drop((input, sizes));
    let hang_up = async {
        shell.hang_up().await;
        drop(permit);
    };
    let tell = async {
        tokio::select! {
            () = tell_exit(&terminal, &reason) => {}
            () = server.site.cancel.cancelled() => {}
        }
    };
    tokio::join!(hang_up, tell);
}

/// Tells everybody who is subscribed, each behind the output that was queued before.
async fn tell_exit(terminal: &Terminal, reason: &ExitReason) {
    let params = json!({"terminalSessionId": terminal.id, "reason": reason.json()});
    let event = Bytes::from(json!({"event": "exit", "params": params}).to_string());
    let subscribers = terminal.lock().subscribers.take().unwrap_or_default();
    // One who does not read is not to keep it from the others.
    join_all(subscribers.into_iter().map(|subscriber| {
        let event = event.clone();
        async move {
            if let Some(room) = subscriber.room(0).await {
                subscriber.outbox.push(Item::Event(event, room));
            }
        }
    }))
    .await;
}

/// Gives the terminal its sizes and its input, for ever.
async fn feed(
    server: &Server,
    mut pty: WritePty<'_>,
    input: &mut mpsc::UnboundedReceiver<(Bytes, oneshot::Sender<()>)>,
    sizes: &mut mpsc::UnboundedReceiver<((u16, u16), oneshot::Sender<()>)>,
) -> Infallible {
    let mut rest = Bytes::new();
    let mut taken: Option<oneshot::Sender<()>> = None;
    loop {
        tokio::select! {
            // A size is not to wait for a program that takes no input.
            biased;
            Some(((cols, rows), done)) = sizes.recv() => {
                if pty.resize(Size::new(rows, cols)).is_ok() {
                    count(&server.tally.resizes, 1);
                }
                // The caller may be gone.
                let _gone = done.send(());
            }
            written = pty.write(&rest), if !rest.is_empty() => match written {
                Ok(written) => {
                    count(&server.tally.input_bytes, written);
                    drop(rest.split_to(written));
                }
                // A terminal that takes no more has lost its shell; the output tells.
                Err(_) => future::pending().await,
            },
            Some((next, done)) = input.recv(), if rest.is_empty() => {
                rest = next;
                taken = Some(done);
            }
        }
        if rest.is_empty()
            && let Some(done) = taken.take()
        {
            let _gone = done.send(());
        }
    }
}

/// The way from the terminal to its subscribers.
struct Pump<'a> {
    server: &'a Server,
    terminal: &'a Terminal,
    /// Of [`Stage::Terminal`].
    fault: Option<(String, u64)>,
    /// Bytes of output so far.
    sent: u64,
}

impl<'a> Pump<'a> {
    fn new(server: &'a Server, terminal: &'a Terminal) -> Self {
        let fault = match server.site.faults.take(Stage::Terminal) {
            Some(Fault::Exit { reason, after }) => Some((reason, after)),
            _ => None,
        };
        Self { server, terminal, fault, sent: 0 }
    }

    /// Delivers what the terminal says until the shell has ended, or a fault says that it has.
    async fn run(&mut self, mut pty: ReadPty<'_>, shell: &mut Child) -> ExitReason {
        let mut buffer = vec![0; CHUNK];
        let mut drain = Drain::default();
        loop {
            let limit = match &self.fault {
                Some((word, after)) if self.sent >= *after => return ExitReason::demanded(word),
                Some((_, after)) => usize::try_from(after - self.sent).map_or(CHUNK, |left| left.min(CHUNK)),
                None => CHUNK,
            };
            let read = drain.read(&mut pty, shell, &mut buffer[..limit], 0).await;
            if read == 0 {
                break;
            }
            self.sent += read as u64;
            self.deliver(&buffer[..read]).await;
        }
        shell.wait().await.map_or(ExitReason::Unknown, ExitReason::of)
    }

    /// Queues output for every subscriber, each when it has room. Without any the output is lost, as the provider says.
    async fn deliver(&self, output: &[u8]) {
        let subscribers = self.terminal.subscribers();
        if subscribers.is_empty() {
            return count(&self.server.tally.lost_bytes, output.len());
        }
        let output = Bytes::copy_from_slice(output);
        for subscriber in subscribers {
            if let Some(room) = subscriber.room(output.len()).await {
                let data = Item::Data(self.terminal.data_event.clone(), output.clone(), room);
                self.terminal.push(&subscriber, data);
                self.terminal.spoken.cancel();
            }
        }
    }
}

/// The JSON of a `data` event of this terminal.
pub(super) fn data_event(id: &str) -> Bytes {
    json!({"event": "data", "params": {"terminalSessionId": id}}).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_of_a_data_event_is_the_documented_one() {
        assert_eq!(&data_event("ts-1")[..], br#"{"event":"data","params":{"terminalSessionId":"ts-1"}}"#);
    }
}
