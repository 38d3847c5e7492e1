//! The WebSocket `/v0/ws`: calls in, replies and events out.
//!
//! The handshake carries no credentials; each call brings the api key. A connection owns its subscriptions, not the
//! sessions: these go on without it.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream::FuturesUnordered};
use http::Request;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc::UnboundedReceiver},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Bytes, Error, Message, protocol::Role},
};
use tokio_util::sync::CancellationToken;

use super::{
    BadFrame, MAX_MESSAGE, Server,
    calls::{self, Begun, Call, Then},
    encoding::{self, Malformed},
    error::{Method, RpcError},
    events::{self, Events, Form},
    http_api::text,
    outbox::{Item, Outbox},
};
use crate::{
    Fault, Stage,
    net::Conn,
    web::{Answer, Handshake, Messages, Outlet, Stop, Wire, count, limits, next, part, refused_upgrade, short_frame},
};

/// Bytes of calls that one connection may have in flight. At the bound no further message is read.
const CALL_ROOM: usize = 2 * MAX_MESSAGE;
/// What a call counts for at least; so there are 1,024 in flight at most.
const MIN_CALL: usize = 8 * 1024;
/// Bytes of the largest message that is sent: more than a list of all sessions there can be.
const MAX_OUTBOUND: usize = 8 * 1024 * 1024;
/// How long a [late reply](Fault::ReplyLate) waits for another one.
const LATE: Duration = Duration::from_millis(250);
/// By which bit the id that nobody has asked for differs from that of a call.
const UNKNOWN_ID: u32 = 0x8000_0000;

/// Answers the handshake and serves the connection, or refuses.
pub(super) async fn upgrade(server: Arc<Server>, mut request: Request<Incoming>) -> Answer {
    let handshake = Handshake::of(&request).and_then(|handshake| {
        let fault = server.site.faults.take(Stage::Upgrade);
        match refused_upgrade(fault.as_ref()) {
            Some(refusal) => Err(refusal),
            None => Ok((handshake, fault)),
        }
    });
    match handshake {
        Ok((handshake, fault)) => {
            let early = short_frame(Wire::Binary, &events::unknown_terminal(), None);
            let session = {
                let server = Arc::clone(&server);
                move |conn, behind| async move { run(&server, conn, behind).await }
            };
            handshake.answer(&server.site, &mut request, fault.as_ref(), &early, session).await
        }
        Err(refusal) => {
            count(&server.tally.upgrades_refused, 1);
            Answer::and_close(text(&refusal))
        }
    }
}

/// Serves a connection to its end.
async fn run(server: &Arc<Server>, conn: Conn, behind: Vec<u8>) {
    let fault = server.site.faults.take(Stage::Session);
    let config = limits(MAX_MESSAGE).max_write_buffer_size(MAX_OUTBOUND);
    let socket = WebSocketStream::from_partially_read(conn.clone(), behind, Role::Server, Some(config)).await;
    let (mut sink, mut stream) = socket.split();
    let open = Open::new(server);
    let (outbox, queue) = Outbox::new(open.number);
    let dropped = server.connections.token();
    let stop = {
        let events = Events::default();
        let outlet = Outlet::new(&conn, &mut sink, &events, fault);
        tokio::select! {
            stop = send(server, outlet, &events, queue) => stop,
            stop = take_calls(server, &mut stream, &outbox) => stop,
            () = dropped.cancelled() => Stop::ClientLost,
            () = server.site.cancel.cancelled() => Stop::Shutdown,
        }
    };
    outbox.close();
    server.terminals.unsubscribe(outbox.connection);
    part(&server.site, stop, (sink, stream), conn, async {}).await;
}

/// Sends what is in the queue, and commits the connection's fault when its time has come.
async fn send<S: Messages>(
    server: &Server,
    mut outlet: Outlet<'_, S, Events>,
    events: &Events,
    mut queue: UnboundedReceiver<Item>,
) -> Stop {
    let sent: Result<(), Stop> = async {
        let mut form = Form::Usual;
        loop {
            strike(&mut outlet, events, &mut form).await?;
            let Some(item) = queue.recv().await else { return Ok(()) };
            // Each item keeps its room until it has gone.
            match item {
                Item::Reply(reply, _room) => outlet.output(Message::binary(reply)).await?,
                Item::Event(json, _room) => outlet.output(Message::binary(encoding::event(&json, None))).await?,
                Item::Data(json, mut output, _room) => {
                    events.said(&json);
                    while !output.is_empty() {
                        strike(&mut outlet, events, &mut form).await?;
                        let part = output.split_to(output.len().min(outlet.limit()).min(form.limit()));
                        outlet.took(part.len());
                        count(&server.tally.output_bytes, part.len());
                        outlet.output(form.message(&json, &part)).await?;
                    }
                }
            }
        }
    }
    .await;
    sent.err().unwrap_or(Stop::ClientLost)
}

async fn strike<S: Messages>(outlet: &mut Outlet<'_, S, Events>, events: &Events, form: &mut Form) -> Result<(), Stop> {
    match outlet.strike().await? {
        Some(Fault::EventAsText { .. }) => *form = Form::Text,
        Some(Fault::EventLongLengths { .. }) => *form = Form::Long,
        Some(fault) => outlet.send(events.spoilt(&fault)).await?,
        None => {}
    }
    Ok(())
}

/// Takes the client's calls until it is gone or has sent what is none.
async fn take_calls<S>(server: &Arc<Server>, stream: &mut S, outbox: &Arc<Outbox>) -> Stop
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    let room = Arc::new(Semaphore::new(CALL_ROOM));
    let replied = Notify::new();
    let mut answers = FuturesUnordered::new();
    loop {
        let message = tokio::select! {
            message = next(stream, None, Stop::ClientLost) => message,
            Some(()) = answers.next() => continue,
        };
        let bytes = match message {
            Ok(Message::Binary(bytes)) => bytes,
            Ok(Message::Text(text)) => text.into(),
            Ok(_) => continue,
            Err(stop) => return stop,
        };
        // As much as fits into a u32 by the limit of a message.
        let weight = u32::try_from(bytes.len().max(MIN_CALL)).unwrap_or(u32::MAX);
        let permit = loop {
            tokio::select! {
                permit = Arc::clone(&room).acquire_many_owned(weight) => break permit,
                Some(()) = answers.next() => {}
            }
        };
        // The room is never closed.
        let Ok(permit) = permit else { return Stop::ClientLost };
        match begin(server, outbox, bytes) {
            Ok((id, begun)) => answers.push(answer(outbox, &replied, id, begun, permit)),
            Err(Malformed) => {
                count(&server.tally.malformed, 1);
                if let BadFrame::Close(code) = server.bad_frame {
                    return Stop::Close(code, "malformed message");
                }
            }
        }
    }
}

/// What the JSON of a call holds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    api: String,
    method: String,
    #[serde(default)]
    params: Value,
    #[serde(default)]
    api_key: Option<String>,
}

/// Begins the call that a message holds, and returns its id with it.
fn begin(server: &Arc<Server>, outbox: &Arc<Outbox>, message: Bytes) -> Result<(u32, Begun), Malformed> {
    let (id, payload) = encoding::socket_call(message)?;
    // An array would also do for the derived reader.
    if !payload.json.trim_ascii_start().starts_with(b"{") {
        return Err(Malformed);
    }
    let envelope: Envelope = serde_json::from_slice(&payload.json).map_err(|_| Malformed)?;
    count(&server.tally.socket_calls, 1);
    let Some(method) = Method::find(&envelope.api, &envelope.method) else {
        count(&server.tally.calls_refused, 1);
        return Ok((id, Begun::unknown()));
    };
    let authorized = envelope.api_key.as_deref().is_some_and(|key| server.is_key(key));
    let call = Call { method, params: envelope.params, blobs: payload.blobs, authorized };
    Ok((id, calls::begin(server, call, Some(outbox))))
}

/// Queues the reply once there is an outcome, and does what is due with it. The call keeps its place until then.
async fn answer(outbox: &Outbox, replied: &Notify, id: u32, mut begun: Begun, _permit: OwnedSemaphorePermit) {
    let outcome = begun.outcome().await;
    if begun.fault == Some(Fault::ReplyLate) {
        let _alone = timeout(LATE, replied.notified()).await;
    }
    let (json, then) = match outcome {
        Ok((result, then)) => (begun.json(Ok(result)), then),
        Err(error) => (begun.json(Err(&error)), Then::Nothing),
    };
    let reply = begun.encode(Some(id), &json);
    let Some(room) = outbox.reply_room(reply.len()).await else { return };
    if begun.fault == Some(Fault::ReplyUnknownId) {
        let stray = encoding::socket_reply(id ^ UNKNOWN_ID, br#"{"result":{"terminalSessionId":"nobody-asked"}}"#);
        let Some(room) = outbox.reply_room(stray.len()).await else { return };
        outbox.push(Item::Reply(stray, room));
    }
    match then {
        Then::Subscribe(terminal, subscriber) => {
            let mut item = Some(Item::Reply(reply, room));
            terminal.subscribe(subscriber, || item.take().into_iter().for_each(|item| outbox.push(item)));
            if let Some(Item::Reply(_, room)) = item {
                // It has ended in the meantime.
                let json = begun.json(Err(&RpcError::TerminalSessionNotFound));
                outbox.push(Item::Reply(begun.encode(Some(id), &json), room));
            }
        }
        Then::Start(start) => {
            outbox.push(Item::Reply(reply, room));
            // A session that has ended already needs no leave to speak.
            let _ended = start.send(());
        }
        Then::Nothing => outbox.push(Item::Reply(reply, room)),
    }
    replied.notify_waiters();
}

/// A connection's number and its place in the count of open ones.
struct Open<'a> {
    server: &'a Server,
    number: u64,
}

impl<'a> Open<'a> {
    fn new(server: &'a Server) -> Self {
        let number = server.tally.upgrades_taken.fetch_add(1, Ordering::SeqCst);
        server.tally.connections.fetch_add(1, Ordering::SeqCst);
        Self { server, number }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.server.tally.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What ends all connections of the moment.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<CancellationToken>);

impl Connections {
    /// Drops every connection that is open.
    pub(super) fn drop_all(&self) {
        self.lock_and(std::mem::take).cancel();
    }

    fn token(&self) -> CancellationToken {
        self.lock_and(|token| token.clone())
    }

    fn lock_and<T>(&self, work: impl FnOnce(&mut CancellationToken) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
