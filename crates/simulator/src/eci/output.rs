//! The way from a command to the WebSocket.

use std::time::Duration;

use pty_process::ReadPty;
use tokio::{process::Child, time::timeout};

use super::{
    Server,
    channel::{Channels, ERROR, Frames, Outcome, STDERR, STDOUT, message},
    pipes::{Output, Piece, Pipes},
    session::Manners,
};
use crate::{
    Fault,
    pty::Drain,
    web::{CHUNK, Messages, Outlet, Stop, count},
};

/// How long a shell that has closed its terminal has to end itself.
const TO_END: Duration = Duration::from_secs(2);

/// Sends what a terminal says until its shell has ended, and how it has.
pub(super) async fn of_terminal<S: Messages>(
    server: &Server,
    manners: Manners,
    outlet: &mut Outlet<'_, S, Channels>,
    mut pty: ReadPty<'_>,
    shell: &mut Child,
) -> Stop {
    let pump = async {
        begin(manners, outlet).await?;
        let mut frames = Frames::new(STDOUT, CHUNK, manners.text);
        let mut drain = Drain::default();
        loop {
            strike(outlet).await?;
            let (buffer, filled) = frames.space(outlet.limit());
            let read = drain.read(&mut pty, shell, buffer, filled).await;
            if read == 0 {
                break;
            }
            send(server, outlet, &mut frames, read).await?;
        }
        finish(outlet, &mut frames).await?;
        let status = timeout(TO_END, shell.wait()).await.ok().and_then(Result::ok);
        conclude(manners, outlet, &Outcome::of(status)).await
    };
    stop(pump.await)
}

/// Sends what a command says to its two outputs until it has ended, and how it has.
pub(super) async fn of_pipes<S: Messages>(
    server: &Server,
    manners: Manners,
    outlet: &mut Outlet<'_, S, Channels>,
    process: &mut Pipes,
    output: &mut Output,
) -> Stop {
    let pump = async {
        begin(manners, outlet).await?;
        let mut stdout = Frames::new(STDOUT, CHUNK, manners.text);
        let mut stderr = Frames::new(STDERR, CHUNK, manners.text);
        loop {
            strike(outlet).await?;
            let limit = outlet.limit();
            match output.next(process, stdout.space(limit), stderr.space(limit)).await {
                Some(Piece::Stdout(read)) => send(server, outlet, &mut stdout, read).await?,
                Some(Piece::Stderr(read)) => send(server, outlet, &mut stderr, read).await?,
                None => break,
            }
        }
        finish(outlet, &mut stdout).await?;
        finish(outlet, &mut stderr).await?;
        let status = process.ended().await;
        conclude(manners, outlet, &Outcome::of(status)).await
    };
    stop(pump.await)
}

/// Says why a command could not be started.
pub(super) async fn of_nothing<S: Messages>(
    manners: Manners,
    outlet: &mut Outlet<'_, S, Channels>,
    outcome: &Outcome,
) -> Stop {
    let said = async {
        begin(manners, outlet).await?;
        conclude(manners, outlet, outcome).await
    };
    stop(said.await)
}

/// An end that nothing has come in the way of is a Close with code 1000.
fn stop(pumped: Result<(), Stop>) -> Stop {
    pumped.err().unwrap_or(Stop::Close(1000, ""))
}

/// An empty message on channel 1, by which a Kubernetes server says that the streams are there.
async fn begin<S: Messages>(manners: Manners, outlet: &mut Outlet<'_, S, Channels>) -> Result<(), Stop> {
    if manners.text {
        return Ok(());
    }
    outlet.output(message(STDOUT, b"")).await
}

/// Says on channel 3 how the command has ended.
async fn conclude<S: Messages>(
    manners: Manners,
    outlet: &mut Outlet<'_, S, Channels>,
    outcome: &Outcome,
) -> Result<(), Stop> {
    match outcome.message(manners.v4) {
        Some(message) if !manners.silent => outlet.output(message).await,
        _ => Ok(()),
    }
}

async fn strike<S: Messages>(outlet: &mut Outlet<'_, S, Channels>) -> Result<(), Stop> {
    match outlet.strike().await? {
        Some(Fault::ExecError { .. }) => {
            outlet.output(message(ERROR, b"error executing command in container: the container has gone")).await?;
            Err(Stop::Close(1000, ""))
        }
        _ => Ok(()),
    }
}

async fn send<S: Messages>(
    server: &Server,
    outlet: &mut Outlet<'_, S, Channels>,
    frames: &mut Frames,
    read: usize,
) -> Result<(), Stop> {
    outlet.took(read);
    count(&server.tally.output_bytes, read);
    match frames.message(read) {
        Some(message) => outlet.output(message).await,
        None => Ok(()),
    }
}

async fn finish<S: Messages>(outlet: &mut Outlet<'_, S, Channels>, frames: &mut Frames) -> Result<(), Stop> {
    match frames.finish() {
        Some(message) => outlet.output(message).await,
        None => Ok(()),
    }
}
