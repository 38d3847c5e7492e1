//! What the methods do, whichever transport a call came over.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::timeout};
use tracing::debug;

use super::{
    Server, SocketCalls,
    encoding::{put_varint, reply_head},
    error::{Method, RpcError},
    exit::ExitReason,
    outbox::{Outbox, Subscriber},
    params::{Launch, Location, Params},
    terminal::{self, Setup, Terminal},
    world::Launcher,
};
use crate::{Fault, Stage, pty::Shell, random, web::count};

/// How long a launch waits for the first output that [`Fault::LaunchEventsFirst`] puts before its reply.
const FIRST_OUTPUT: Duration = Duration::from_secs(2);
/// JSON in no sense of the word.
const NOT_JSON: &[u8] = b"this is {not JSON";

/// A call that may be made.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) params: Value,
    pub(super) blobs: Vec<Bytes>,
    /// Whether it brought the api key.
    pub(super) authorized: bool,
}

/// A call that has taken its place in the order of events, and may not have its result yet.
#[derive(Debug)]
pub(super) struct Begun {
    method: Method,
    progress: Progress,
    /// One of [`Stage::Call`] that concerns the reply.
    pub(super) fault: Option<Fault>,
}

#[derive(Debug)]
enum Progress {
    Done(Result<(Value, Then), RpcError>),
    /// When the terminal has taken it.
    Taken(oneshot::Receiver<()>),
    /// When this session has said something.
    Spoken(Arc<Terminal>),
    Never,
}

/// What is due when the reply is queued.
#[derive(Debug)]
pub(super) enum Then {
    Nothing,
    /// A session may speak: to be sent, or dropped, behind the reply.
    Start(oneshot::Sender<()>),
    /// A subscription begins with the reply.
    Subscribe(Arc<Terminal>, Subscriber),
}

impl Begun {
    /// A call of an api or a method that does not exist.
    pub(super) fn unknown() -> Self {
        // Any method will do: all of them may fail with this.
        Self { method: Method::List, progress: Progress::Done(Err(RpcError::Unknown)), fault: None }
    }

    /// The outcome once there is one. Dropped before, the call is done all the same.
    pub(super) async fn outcome(&mut self) -> Result<(Value, Then), RpcError> {
        match std::mem::replace(&mut self.progress, Progress::Never) {
            Progress::Done(outcome) => outcome,
            Progress::Taken(taken) => {
                taken.await.map(|()| (json!({}), Then::Nothing)).map_err(|_| RpcError::TerminalSessionNotFound)
            }
            Progress::Spoken(terminal) => {
                let _silent = timeout(FIRST_OUTPUT, terminal.spoken.cancelled()).await;
                Ok((json!({"terminalSessionId": terminal.id}), Then::Nothing))
            }
            Progress::Never => std::future::pending().await,
        }
    }

    /// The reply's JSON: `result` or `error`, and never both unless a fault demands it.
    pub(super) fn json(&self, result: Result<Value, &RpcError>) -> Vec<u8> {
        let mut json = match result {
            Ok(result) => json!({"result": result}),
            Err(error) => json!({"error": error.json(self.method)}),
        };
        match self.fault {
            Some(Fault::ReplyTwoKeys) => {
                for key in ["result", "error"] {
                    // A key that is missing comes into being as null.
                    let _value = &mut json[key];
                }
            }
            Some(Fault::ReplyNotJson) => return NOT_JSON.to_vec(),
            _ => {}
        }
        json.to_string().into_bytes()
    }

    /// The bytes of the reply, spoilt if a fault demands it: for the WebSocket with its id, else for HTTP.
    pub(super) fn encode(&self, id: Option<u32>, json: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + json.len());
        bytes.extend(id.map(reply_head).iter().flatten());
        let length = match self.fault {
            Some(Fault::ReplyHostileLength { length }) => length,
            _ => json.len() as u64,
        };
        put_varint(length, &mut bytes);
        bytes.extend_from_slice(json);
        if self.fault == Some(Fault::ReplyTruncated) {
            bytes.truncate(bytes.len() - json.len() / 2);
        }
        bytes
    }
}

/// Begins a call: what it changes is changed, or stands in line, on return. `connection` is the WebSocket that it came
/// over, if it came over one.
pub(super) fn begin(server: &Arc<Server>, call: Call, connection: Option<&Arc<Outbox>>) -> Begun {
    let method = call.method;
    let fault = server.site.faults.take_where(Stage::Call, |fault| strikes(fault, method, connection.is_some()));
    let progress = match &fault {
        Some(Fault::RpcError { code, .. }) => Progress::Done(Err(RpcError::Demanded(code.clone()))),
        Some(Fault::LaunchStalled) => Progress::Never,
        fault => match (fault, perform(server, call, connection)) {
            (Some(Fault::LaunchUnanswered), Progress::Done(Ok(_))) => Progress::Never,
            (Some(Fault::LaunchEventsFirst), Progress::Done(Ok((result, Then::Start(start))))) => {
                drop(start);
                let id = result["terminalSessionId"].as_str().unwrap_or_default();
                match server.terminals.get(id) {
                    Some(terminal) => Progress::Spoken(terminal),
                    None => Progress::Done(Ok((result, Then::Nothing))),
                }
            }
            (_, progress) => progress,
        },
    };
    if let Progress::Done(Err(_)) = progress {
        count(&server.tally.calls_refused, 1);
    }
    Begun { method, progress, fault }
}

/// Whether a fault of [`Stage::Call`] concerns a call like this.
fn strikes(fault: &Fault, method: Method, over_socket: bool) -> bool {
    match fault {
        Fault::RpcError { code, method: named } if named == "any" => {
            let documented = Method::ALL.iter().any(|method| method.may_fail_with(code));
            method.may_fail_with(code) || !documented
        }
        Fault::RpcError { method: named, .. } => named == method.name(),
        Fault::LaunchStalled | Fault::LaunchUnanswered => method == Method::Launch,
        Fault::LaunchEventsFirst => method == Method::Launch && over_socket,
        Fault::ReplyLate | Fault::ReplyUnknownId => over_socket,
        _ => true,
    }
}

fn perform(server: &Arc<Server>, call: Call, connection: Option<&Arc<Outbox>>) -> Progress {
    let done = |outcome| Progress::Done(outcome);
    let ready = |result: Result<Value, RpcError>| Progress::Done(result.map(|value| (value, Then::Nothing)));
    if !call.authorized {
        return done(Err(RpcError::BadCredentials));
    }
    if connection.is_some() && call.method.is_usual_over_http() && server.socket_calls == SocketCalls::Subscriptions {
        return done(Err(RpcError::Unknown));
    }
    let params = match Params::of(&call.params) {
        Ok(params) => params,
        Err(error) => return done(Err(error)),
    };
    let find = || {
        let id = params.terminal()?;
        server.terminals.get(id).ok_or(RpcError::TerminalSessionNotFound)
    };
    match call.method {
        Method::Launch => done(params.launch().and_then(|params| launch(server, params, connection))),
        Method::Write => match (find(), call.blobs.into_iter().next()) {
            (Ok(terminal), Some(input)) => Progress::Taken(terminal.write(input, server.clock.now())),
            (Ok(_), None) => done(Err(RpcError::invalid("data", "The input has to be in the first blob."))),
            (Err(error), _) => done(Err(error)),
        },
        Method::Resize => match params.terminal().and_then(|_| params.size()).and_then(|size| Ok((find()?, size))) {
            Ok((terminal, (cols, rows))) => Progress::Taken(terminal.resize(cols, rows)),
            Err(error) => done(Err(error)),
        },
        Method::Terminate => ready(find().and_then(|terminal| {
            let ended = terminal.end(ExitReason::TerminatedOnRequest);
            if ended { Ok(json!({})) } else { Err(RpcError::TerminalSessionNotFound) }
        })),
        Method::List => ready(params.terminals().map(|ids| server.terminals.list(ids.as_deref()))),
        Method::Subscribe => done(find().and_then(|terminal| match connection {
            Some(outbox) => Ok((json!({}), Then::Subscribe(terminal, Subscriber::new(outbox)))),
            // Over HTTP there is nothing that events could come over.
            None => Err(RpcError::Unknown),
        })),
        Method::Unsubscribe => ready(params.terminal().and_then(|id| {
            let terminal = server.terminals.get(id);
            let subscribed =
                terminal.zip(connection).is_some_and(|(terminal, outbox)| terminal.unsubscribe(outbox.connection));
            if subscribed { Ok(json!({})) } else { Err(RpcError::NotSubscribed) }
        })),
        Method::AddFilesystemAccess => ready(find().and_then(|terminal| {
            let model = params.model()?;
            if !server.world.has_model(model) {
                return Err(RpcError::ModelNotFound);
            }
            terminal.add_access(model);
            Ok(json!({}))
        })),
    }
}

/// Starts a session. Its output waits until what [`Then::Start`] holds is sent or dropped.
fn launch(server: &Arc<Server>, params: Launch, connection: Option<&Arc<Outbox>>) -> Result<(Value, Then), RpcError> {
    let Launch { model_id, location, access, inactive_after, cols, rows, subscribe } = params;
    if ![&model_id].into_iter().chain(&access).all(|model| server.world.has_model(model)) {
        return Err(RpcError::ModelNotFound);
    }
    let (launcher, location) = match location {
        Location::Persistent(id) => {
            let Launcher { id, spec } = server.world.launcher(&id).ok_or(RpcError::PersistentLauncherNotFound)?;
            (Some(id.clone()), json!({"type": "persistentLauncher", "persistentLauncherId": id, "spec": spec}))
        }
        Location::Temporary(spec) => (None, json!({"type": "temporaryLauncher", "spec": spec})),
    };
    let permit = server.site.permit().ok_or(RpcError::QuotaExceeded)?;
    let failed = |error: anyhow::Error| {
        debug!(?error, "no shell");
        RpcError::Unknown
    };
    let id = random::word(20).map_err(failed)?;
    let mut shell = Shell::spawn(&server.shell).map_err(failed)?;
    let (default_cols, default_rows) = server.default_size;
    let size = pty_process::Size::new(rows.unwrap_or(default_rows), cols.unwrap_or(default_cols));
    shell.parts().1.resize(size).map_err(|error| failed(error.into()))?;
    let now = server.clock.now();
    let setup = Setup { id, model_id, location, launcher, access, inactive_after, now };
    let (terminal, inbox) = Terminal::new(setup);
    server.terminals.insert(&terminal);
    if let Some(outbox) = connection.filter(|_| subscribe) {
        terminal.subscribe(Subscriber::new(outbox), || {});
    }
    count(&server.tally.launched, 1);
    let result = json!({"terminalSessionId": terminal.id});
    let (start, started) = oneshot::channel();
    server.site.tracker.spawn(terminal::run(Arc::clone(server), terminal, shell, inbox, started, permit));
    Ok((result, Then::Start(start)))
}
