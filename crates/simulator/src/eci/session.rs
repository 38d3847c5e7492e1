//! One session: a WebSocket and a command, pumped in both directions until one of them ends.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use pty_process::{Size, WritePty};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    process::ChildStdin,
    time::{Instant, sleep},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, protocol::Role},
};
use tracing::debug;

use super::{
    Resize, Server,
    channel::{Channels, ERROR, Outcome, RESIZE, STDIN, TerminalSize},
    command::Exec,
    output,
    pipes::{Output, Pipes},
};
use crate::{
    Fault, Stage,
    net::Conn,
    pty::Shell,
    web::{Outlet, Permit, Stop, count, limits, next, part},
};

/// Bytes of an inbound message or frame. The real bound is not documented.
const MAX_INBOUND: usize = 1024 * 1024;
/// How long a command that takes no input is still waited for once its client has gone.
const TO_TAKE_INPUT: Duration = Duration::from_secs(2);

/// What a session does where the documents leave a choice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manners {
    /// The channel on which sizes are taken, if they are.
    resize: Option<u8>,
    /// Whether output is in text messages without a channel.
    pub(super) text: bool,
    /// Whether channel 3 stays silent.
    pub(super) silent: bool,
    /// Whether channel 3 carries a `Status`.
    pub(super) v4: bool,
}

impl Manners {
    fn of(server: &Server, fault: Option<&Fault>, v4: bool) -> Self {
        let resize = match (fault, server.resize) {
            (Some(Fault::ResizeUnsupported), _) | (_, Resize::Unsupported) => None,
            (Some(Fault::ResizeOn3), _) | (_, Resize::Channel3) => Some(ERROR),
            (_, Resize::Channel4) => Some(RESIZE),
        };
        Self {
            resize,
            text: server.text_output || matches!(fault, Some(Fault::TextOutput)),
            silent: server.silent_errors || matches!(fault, Some(Fault::ErrorsSilent)),
            v4,
        }
    }
}

/// Runs a session to its end: both the connection and the command are gone on return. `already_read` came behind the
/// handshake.
pub(super) async fn run(server: &Server, conn: Conn, already_read: Vec<u8>, exec: Exec, v4: bool, permit: Permit) {
    let fault = server.site.faults.take(Stage::Session);
    let manners = Manners::of(server, fault.as_ref(), v4);
    let config = Some(limits(MAX_INBOUND));
    let socket = WebSocketStream::from_partially_read(conn.clone(), already_read, Role::Server, config).await;
    let (mut sink, mut stream) = socket.split();
    let mut outlet = Outlet::new(&conn, &mut sink, &Channels, fault);
    let mut process = match Process::spawn(server, &exec) {
        Ok(process) => process,
        Err(error) => {
            debug!(?error, "no command");
            let outcome = Outcome::NotStarted(format!("{error:#}"));
            let stop = output::of_nothing(manners, &mut outlet, &outcome).await;
            return part(&server.site, stop, (sink, stream), conn, async { drop(permit) }).await;
        }
    };
    let stop = match &mut process {
        Process::Terminal(shell) => {
            let (from, to, child) = shell.parts();
            let output = output::of_terminal(server, manners, &mut outlet, from, child);
            let input = take_input(server, manners, &mut stream, &conn, exec.stdin.then_some(to));
            first(server, output, input).await
        }
        Process::Pipes(process, to, from) => {
            let output = output::of_pipes(server, manners, &mut outlet, process, from);
            let input = take_input(server, manners, &mut stream, &conn, to.take());
            first(server, output, input).await
        }
    };
    let hang_up = async {
        process.hang_up().await;
        drop(permit);
    };
    part(&server.site, stop, (sink, stream), conn, hang_up).await;
}

/// What the client has asked for.
enum Process {
    Terminal(Shell),
    Pipes(Pipes, Option<ChildStdin>, Output),
}

impl Process {
    fn spawn(server: &Server, exec: &Exec) -> anyhow::Result<Self> {
        if exec.tty {
            let command = if exec.is_shell() { &server.shell } else { &exec.command };
            return Ok(Self::Terminal(Shell::spawn(command)?));
        }
        let (process, input, output) = Pipes::spawn(&exec.command, exec.stdin)?;
        Ok(Self::Pipes(process, input, output))
    }

    async fn hang_up(self) {
        match self {
            Self::Terminal(shell) => shell.hang_up().await,
            Self::Pipes(process, input, output) => {
                drop((input, output));
                process.hang_up().await;
            }
        }
    }
}

/// Pumps both ways until one of them stops.
async fn first(server: &Server, output: impl Future<Output = Stop>, input: impl Future<Output = Stop>) -> Stop {
    tokio::select! {
        stop = output => stop,
        stop = input => stop,
        () = server.site.cancel.cancelled() => Stop::Shutdown,
    }
}

/// Where input goes.
trait Input: AsyncWrite + Unpin {
    /// Applies a size; false if there is no terminal that could have one.
    fn resize(&self, size: &TerminalSize) -> bool;
}

impl Input for WritePty<'_> {
    fn resize(&self, size: &TerminalSize) -> bool {
        WritePty::resize(self, Size::new(size.height, size.width)).is_ok()
    }
}

impl Input for ChildStdin {
    fn resize(&self, _size: &TerminalSize) -> bool {
        false
    }
}

/// Takes the client's messages until it is gone, or silent for too long. Without `input` the command gets none.
async fn take_input<S, I>(server: &Server, manners: Manners, stream: &mut S, conn: &Conn, mut input: Option<I>) -> Stop
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
    I: Input,
{
    let tally = &server.tally;
    loop {
        // Whatever comes is a sign of life. Nothing can come while the command does not take what came before.
        let deadline = Instant::now() + server.idle_after;
        let bytes = match next(stream, Some(deadline), Stop::Fin).await {
            Ok(Message::Binary(bytes)) => bytes,
            Ok(Message::Ping(_)) => {
                count(&tally.pings, 1);
                continue;
            }
            Ok(Message::Text(_)) => {
                count(&tally.ignored_messages, 1);
                continue;
            }
            Ok(_) => continue,
            Err(stop) => {
                count(&tally.idle_drops, usize::from(stop == Stop::Fin));
                return stop;
            }
        };
        match bytes.split_first() {
            Some((&STDIN, data)) => {
                if let Some(to) = &mut input {
                    match write(to, data, conn, server.idle_after).await {
                        Ok(true) => count(&tally.input_bytes, data.len()),
                        // It takes no more; what it says goes on.
                        Ok(false) => input = None,
                        Err(stop) => {
                            count(&tally.idle_drops, usize::from(stop == Stop::Fin));
                            return stop;
                        }
                    }
                }
            }
            Some((channel, json)) if Some(*channel) == manners.resize => {
                let size = TerminalSize::parse(json);
                let applied = size.is_some_and(|size| input.as_ref().is_some_and(|input| input.resize(&size)));
                count(if applied { &tally.resizes } else { &tally.ignored_messages }, 1);
            }
            Some(_) | None => count(&tally.ignored_messages, 1),
        }
    }
}

/// Writes input; false if the command takes no more.
///
/// # Errors
/// The command has taken nothing until the client had gone, or for as long as a client may be silent: its end, and its
/// pings, are stuck behind what is not read.
async fn write(to: &mut impl Input, data: &[u8], conn: &Conn, idle_after: Duration) -> Result<bool, Stop> {
    tokio::select! {
        biased;
        written = async {
            to.write_all(data).await?;
            to.flush().await
        } => Ok(written.is_ok()),
        () = async {
            conn.peer_gone().await;
            sleep(TO_TAKE_INPUT).await;
        } => Err(Stop::ClientLost),
        () = sleep(idle_after) => Err(Stop::Fin),
    }
}
