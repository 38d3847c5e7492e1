//! One terminal session: a WebSocket and a shell, pumped in both directions until one of them ends.

use std::time::Duration;

use futures_util::{SinkExt as _, Stream, StreamExt as _};
use pty_process::{Size, WritePty};
use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, protocol::Role},
};
use tracing::debug;

use super::{
    Ending, Server,
    output::{Operations, pump},
    wire::{Inbound, stdout},
};
use crate::{
    Stage,
    net::Conn,
    pty::Shell,
    web::{Outlet, Permit, Stop, count, limits, next, part},
};

/// Bytes of an inbound message or frame.
const MAX_INBOUND: usize = 8_192;
/// End of transmission: what a terminal's user types to end its input.
const EOT: &[u8] = &[0x04];
/// How long a shell has to end after an injected [`EOT`]; then it is hung up.
const EOT_GRACE: Duration = Duration::from_secs(2);
/// Runs a session to its end: both the connection and the shell are gone on return. `already_read` came behind the
/// handshake.
pub(super) async fn run(server: &Server, conn: Conn, already_read: Vec<u8>, permit: Permit) {
    let fault = server.site.faults.take(Stage::Session);
    let config = Some(limits(MAX_INBOUND));
    let socket = WebSocketStream::from_partially_read(conn.clone(), already_read, Role::Server, config).await;
    let (mut sink, mut stream) = socket.split();
    let mut shell = match Shell::spawn(&server.shell) {
        Ok(shell) => shell,
        Err(error) => {
            let said = sink.send(Message::text(stdout(&format!("{error:#}\r\n")))).await;
            debug!(?error, ?said, "no shell");
            return part(&server.site, ending(server), (sink, stream), conn, async { drop(permit) }).await;
        }
    };
    let stop = {
        let (output, input, child) = shell.parts();
        let mut outlet = Outlet::new(&conn, &mut sink, &Operations, fault);
        tokio::select! {
            pumped = pump(server, &mut outlet, output, child) => pumped.err().unwrap_or(ending(server)),
            stop = take_input(server, &mut stream, input) => stop,
            () = server.site.cancel.cancelled() => Stop::Shutdown,
        }
    };
    let hang_up = async {
        shell.hang_up().await;
        drop(permit);
    };
    part(&server.site, stop, (sink, stream), conn, hang_up).await;
}

/// How a session stops that its shell has ended.
fn ending(server: &Server) -> Stop {
    match server.ending {
        Ending::NoCloseFrame => Stop::Fin,
        Ending::Close1000 => Stop::Close(1000, ""),
    }
}

/// Takes the client's messages until it is gone or has sent a bad one.
async fn take_input<S>(server: &Server, stream: &mut S, mut pty: WritePty<'_>) -> Stop
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    let mut deadline = Instant::now() + server.pong_within;
    loop {
        let message = match next(stream, Some(deadline), Stop::ClientLost).await {
            Ok(message) => message,
            Err(stop) => return stop,
        };
        match message {
            Message::Pong(_) => {
                count(&server.tally.pongs, 1);
                deadline = Instant::now() + server.pong_within;
            }
            Message::Text(text) => {
                let start = Instant::now();
                if !apply(server, &text, &mut pty).await {
                    return end_by_eot(server, stream, pty).await;
                }
                // While the terminal took no input no pong could be read.
                deadline += start.elapsed();
            }
            Message::Binary(_) => return end_by_eot(server, stream, pty).await,
            // tungstenite has already put the pong into its queue, and never yields single frames; a Close is a `Stop`.
            Message::Ping(_) | Message::Frame(_) | Message::Close(_) => {}
        }
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
        match next(stream, Some(deadline), Stop::ClientLost).await {
            Ok(_) => {}
            Err(_) if Instant::now() >= deadline => break,
            Err(stop) => return stop,
        }
    }
    Stop::Fin
}
