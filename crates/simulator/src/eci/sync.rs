//! Commands whose output is the call's own answer (`Sync`).

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    command::Exec,
    pipes::{Output, Piece, Pipes},
};
use crate::web::{Permit, Site};

/// Bytes of output in an answer. What is beyond is thrown away, and the command is hung up.
const MAX_OUTPUT: usize = 64 * 1024;
/// Time for a command. Then it is hung up, and the answer holds what it has said by then.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Runs a command without input, and returns what it has said to both its outputs.
///
/// # Errors
/// Why it could not be started.
pub(super) async fn run(site: &Arc<Site>, exec: &Exec, permit: Permit) -> Result<String, String> {
    let (mut process, _input, mut output) =
        Pipes::spawn(&exec.command, false).map_err(|error| format!("The command cannot be executed: {error:#}."))?;
    let cancel = site.cancel.clone();
    // In a task of its own: the process is hung up even if the caller goes away.
    let task = site.tracker.spawn(async move {
        let mut said = Vec::new();
        tokio::select! {
            _ = timeout(MAX_TIME, collect(&mut process, &mut output, &mut said)) => {}
            () = cancel.cancelled() => {}
        }
        drop(output);
        process.hang_up().await;
        drop(permit);
        said
    });
    let said = task.await.map_err(|_| "The command was interrupted.".to_owned())?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

async fn collect(process: &mut Pipes, output: &mut Output, said: &mut Vec<u8>) {
    let (mut out, mut err) = (vec![0; 4096], vec![0; 4096]);
    while let Some(piece) = output.next(process, (&mut out, 0), (&mut err, 0)).await {
        let bytes = match piece {
            Piece::Stdout(read) => &out[..read],
            Piece::Stderr(read) => &err[..read],
        };
        let room = MAX_OUTPUT - said.len();
        said.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if said.len() == MAX_OUTPUT {
            return;
        }
    }
}
