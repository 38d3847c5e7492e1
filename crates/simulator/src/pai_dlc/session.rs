//! One terminal session: a WebSocket and a shell, pumped in both directions until one of them ends.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use pty_process::{Size, WritePty};
use tokio::{
    io::AsyncWriteExt as _,
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::ProtocolError,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};
use tracing::debug;

use super::{
    Ending, Server, count,
    output::{CHUNK, Output},
    wire::{Inbound, stdout},
};
use crate::{Stage, net::Conn, pty::Shell};

/// Bytes of an inbound message or frame.
const MAX_INBOUND: usize = 8_192;
/// End of transmission: what a terminal's user types to end its input.
const EOT: &[u8] = &[0x04];
/// How long a shell has to end after an injected [`EOT`]; then it is hung up.
const EOT_GRACE: Duration = Duration::from_secs(2);
/// How long the peer has to take what is in flight and to end its side: until then the connection stays open, since
/// closing it with unread bytes would send a reset, and that destroys what the peer has not read yet.
const FAREWELL: Duration = Duration::from_secs(5);
/// The longest that [`Fault::Stall`](crate::Fault::Stall) holds a connection.
const MAX_STALL: Duration = Duration::from_secs(600);

/// Leave for one session, and its place in the count of live shells.
#[derive(Debug)]
pub(super) struct Permit {
    server: Arc<Server>,
    _permit: OwnedSemaphorePermit,
}

impl Permit {
    pub(super) fn of(server: &Arc<Server>) -> Option<Self> {
        let permit = Arc::clone(&server.permits).try_acquire_owned().ok()?;
        server.tally.live.fetch_add(1, Ordering::SeqCst);
        Some(Self { server: Arc::clone(server), _permit: permit })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.server.tally.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Why the pump has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The shell has ended and all its output is with the socket.
    ShellEnded,
    /// The client has sent a Close.
    ClientClosed,
    /// The connection broke, or its pongs stopped.
    ClientLost,
    /// A message above the limit.
    TooLarge,
    /// The client broke the WebSocket protocol.
    Violation,
    /// A bad message, and a shell that the injected end of transmission did not end.
    BadMessage,
    /// The simulator stops.
    Shutdown,
    /// A fault resets the connection.
    Reset,
    /// A fault ends the connection without a Close.
    Fin,
    /// A fault closes with this code.
    Close(u16),
    /// A fault stalls the connection.
    Stall,
}

/// Runs a session to its end: both the connection and the shell are gone on return. `already_read` came behind the
/// handshake.
pub(super) async fn run(server: &Server, conn: Conn, already_read: Vec<u8>, permit: Permit) {
    let fault = server.faults.take(Stage::Session);
    let socket = WebSocketStream::from_partially_read(conn.clone(), already_read, Role::Server, Some(limits())).await;
    let (mut sink, mut stream) = socket.split();
    let mut shell = match Shell::spawn(&server.shell) {
        Ok(shell) => shell,
        Err(error) => {
            let said = sink.send(Message::text(stdout(&format!("{error:#}\r\n")))).await;
            debug!(?error, ?said, "no shell");
            if let Ok(socket) = sink.reunite(stream) {
                let _overdue = timeout(FAREWELL, part(Stop::ShellEnded, server.ending, socket, &conn)).await;
            }
            return;
        }
    };
    let stop = {
        let (output, input, child) = shell.parts();
        let mut pump = Output::new(server, &conn, &mut sink, fault);
        tokio::select! {
            stop = pump.run(output, child) => stop,
            stop = take_input(server, &mut stream, input) => stop,
            () = server.cancel.cancelled() => Stop::Shutdown,
        }
    };
    debug!(?stop, "a session stops");
    if stop == Stop::Stall {
        tokio::select! {
            _ = timeout(MAX_STALL, conn.peer_gone()) => {}
            () = server.cancel.cancelled() => {}
        }
    }
    let farewell = async {
        if let Ok(socket) = sink.reunite(stream) {
            tokio::select! {
                _ = timeout(FAREWELL, part(stop, server.ending, socket, &conn)) => {}
                () = server.cancel.cancelled() => {}
            }
        }
        drop(conn);
    };
    let hang_up = async {
        shell.hang_up().await;
        drop(permit);
    };
    tokio::join!(hang_up, farewell);
}

/// Ends the connection as `stop` demands.
async fn part(stop: Stop, ending: Ending, mut socket: WebSocketStream<Conn>, conn: &Conn) {
    let code = match (stop, ending) {
        (Stop::ShellEnded, Ending::Close1000) => Some(1000),
        (Stop::TooLarge, _) => Some(1009),
        (Stop::Violation, _) => Some(1002),
        (Stop::Close(code), _) => Some(code),
        _ => None,
    };
    match stop {
        // What cannot be delivered is lost here, as it would be in earnest.
        Stop::ClientLost | Stop::Shutdown | Stop::Stall => return,
        Stop::Reset => return drop(conn.reset_on_drop()),
        _ => {}
    }
    if let Some(code) = code {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        if socket.close(Some(frame)).await.is_err() {
            return;
        }
    }
    if code.is_some() || stop == Stop::ClientClosed {
        // Until the closing handshake is complete; the reply to a Close goes out on the way.
        while let Some(Ok(_)) = socket.next().await {}
    } else if socket.flush().await.is_err() {
        return;
    }
    if conn.shutdown_write().is_ok() {
        conn.discard().await;
    }
}

/// Takes the client's messages until it is gone or has sent a bad one.
async fn take_input<S>(server: &Server, stream: &mut S, mut pty: WritePty<'_>) -> Stop
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    let mut deadline = Instant::now() + server.pong_within;
    loop {
        let message = match next(stream, deadline).await {
            Ok(message) => message,
            Err(stop) => return stop,
        };
        match message {
            Message::Pong(_) => {
                count(&server.tally.pongs, 1);
                deadline = Instant::now() + server.pong_within;
            }
            Message::Close(_) => return Stop::ClientClosed,
            Message::Text(text) => {
                let start = Instant::now();
                if !apply(server, &text, &mut pty).await {
                    return end_by_eot(server, stream, pty).await;
                }
                // While the terminal took no input no pong could be read.
                deadline += start.elapsed();
            }
            Message::Binary(_) => return end_by_eot(server, stream, pty).await,
            // tungstenite has already put the pong into its queue, and never yields single frames.
            Message::Ping(_) | Message::Frame(_) => {}
        }
    }
}

async fn next<S>(stream: &mut S, deadline: Instant) -> Result<Message, Stop>
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    match timeout_at(deadline, stream.next()).await {
        Ok(Some(Ok(message))) => Ok(message),
        Ok(Some(Err(Error::Capacity(_)))) => Err(Stop::TooLarge),
        Ok(Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)))) => Err(Stop::ClientLost),
        Ok(Some(Err(Error::Protocol(_) | Error::Utf8(_)))) => Err(Stop::Violation),
        Ok(Some(Err(_)) | None) | Err(_) => Err(Stop::ClientLost),
    }
}

/// Does what a message says; false if it is a bad one.
async fn apply(server: &Server, text: &str, pty: &mut WritePty<'_>) -> bool {
    let Some(Inbound { operation, data, rows, cols }) = Inbound::parse(text) else { return false };
    match operation.as_str() {
        "stdin" => {
            // A terminal that takes no more has lost its shell; the output tells.
            if pty.write_all(data.as_bytes()).await.is_ok() {
                count(&server.tally.input_bytes, data.len());
            }
        }
        "resize" => {
            if rows > 0 && cols > 0 && pty.resize(Size::new(rows, cols)).is_ok() {
                count(&server.tally.resizes, 1);
            }
        }
        "ping" => {}
        _ => return false,
    }
    true
}

/// Ends the input with an end of transmission and heeds no further message. The shell's end ends the session.
async fn end_by_eot<S>(server: &Server, stream: &mut S, mut pty: WritePty<'_>) -> Stop
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    count(&server.tally.bad_messages, 1);
    let deadline = Instant::now() + EOT_GRACE;
    let _blocked = timeout_at(deadline, pty.write_all(EOT)).await;
    while Instant::now() < deadline {
        match next(stream, deadline).await {
            Ok(Message::Close(_)) => return Stop::ClientClosed,
            Ok(_) => {}
            Err(_) if Instant::now() >= deadline => break,
            Err(stop) => return stop,
        }
    }
    Stop::BadMessage
}

/// Small buffers, and a bound for everything.
fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(CHUNK)
        // A chunk in which every byte is escaped to six, twice.
        .max_write_buffer_size(12 * CHUNK + 64 * 1024)
        .max_message_size(Some(MAX_INBOUND))
        .max_frame_size(Some(MAX_INBOUND))
}

/// The sending half of a session's WebSocket.
pub(super) trait Messages: Sink<Message, Error = Error> + Unpin + Send {}
impl<S: Sink<Message, Error = Error> + Unpin + Send> Messages for S {}
