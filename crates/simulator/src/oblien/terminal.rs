//! One terminal: a shell, its input, and its output on the way to the scrollback and to the WebSocket.

use std::{future, sync::Arc};

use bytes::Bytes;
use pty_process::{ReadPty, Size, WritePty};
use tokio::{
    io::AsyncWriteExt as _,
    process::Child,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    Server,
    runtime::{Outbound, Runtime, Ticket},
};
use crate::{
    pty::{Drain, Shell},
    web::{CHUNK, Permit, count},
};

/// Bytes of input that wait for a terminal which takes none. At the bound nothing more is read from the WebSocket, and so
/// the other terminals get no input either: they share one socket.
const INPUT_BUFFER: usize = 256 * 1024;
/// What an input message counts for at least, in bytes.
const INPUT_OVERHEAD: usize = 64;
/// The exit code of a process that a signal has ended.
pub(super) const KILLED: i32 = -1;

/// What others may do to a terminal. Clones act on the same one.
#[derive(Clone, Debug)]
pub(super) struct Remote(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    input: mpsc::UnboundedSender<(Input, OwnedSemaphorePermit)>,
    /// Bytes that the queue may still take.
    room: Arc<Semaphore>,
    deleted: CancellationToken,
    kill: Notify,
    spoken: Notify,
}

/// What a terminal is given.
#[derive(Debug)]
pub(super) enum Input {
    /// Bytes to type.
    Data(Bytes),
    /// A new size, in columns and rows.
    Resize(u16, u16),
}

/// The receiving end of [`Remote::input`].
pub(super) type Inputs = mpsc::UnboundedReceiver<(Input, OwnedSemaphorePermit)>;

impl Remote {
    pub(super) fn new() -> (Self, Inputs) {
        let (input, inputs) = mpsc::unbounded_channel();
        let remote = Self(Arc::new(Inner {
            input,
            room: Arc::new(Semaphore::new(INPUT_BUFFER)),
            deleted: CancellationToken::new(),
            kill: Notify::new(),
            spoken: Notify::new(),
        }));
        (remote, inputs)
    }

    /// Puts input into the terminal's queue when there is room. A terminal that has ended takes none, and says nothing.
    pub(super) async fn input(&self, input: Input) {
        let size = if let Input::Data(bytes) = &input { bytes.len() } else { 0 };
        let size = size.clamp(INPUT_OVERHEAD, INPUT_BUFFER);
        // It fits: the buffer is far smaller than 4 GiB.
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(&self.0.room).acquire_many_owned(size).await {
            // Nobody receives any more once the terminal has ended.
            let _ended = self.0.input.send((input, permit));
        }
    }

    /// Ends the terminal without another word of its shell.
    pub(super) fn delete(&self) {
        self.0.deleted.cancel();
    }

    /// Kills the shell, as if it had crashed.
    pub(super) fn kill(&self) {
        self.0.kill.notify_one();
    }

    /// Waits until the first output is with a WebSocket.
    pub(super) async fn spoken(&self) {
        self.0.spoken.notified().await;
    }
}

/// Runs a terminal until its shell has ended or it is deleted; the shell is gone on return.
pub(super) async fn run(
    server: &Server,
    runtime: &Runtime,
    ticket: Ticket,
    mut shell: Shell,
    remote: Remote,
    inputs: Inputs,
    permit: Permit,
) {
    let ended = {
        let (output, input, child) = shell.parts();
        let pump = Pump { server, runtime, ticket, remote: &remote.0 };
        tokio::select! {
            code = pump.run(output, child) => Some(code),
            () = feed(server, inputs, input) => None,
            () = remote.0.deleted.cancelled() => None,
            () = server.site.cancel.cancelled() => None,
        }
    };
    remote.0.room.close();
    debug!(?ticket, ?ended, "a terminal has ended");
    let told = async {
        let queue = match ended {
            Some(code) => runtime.ended(ticket, code).map(|queue| (queue, code)),
            None if server.site.cancel.is_cancelled() => None,
            None => server.exit_on_delete.and_then(|code| Some((runtime.queue()?, code))),
        };
        if let Some((queue, code)) = queue {
            tokio::select! {
                // A client that is replaced or lost meanwhile is told when it is back.
                _ = queue.send(Outbound::Exit { id: ticket.id, code }) => {}
                () = server.site.cancel.cancelled() => {}
            }
        }
    };
    let hung_up = async {
        shell.hang_up().await;
        drop(permit);
    };
    tokio::join!(told, hung_up);
}

/// The way out of a terminal.
struct Pump<'a> {
    server: &'a Server,
    runtime: &'a Runtime,
    ticket: Ticket,
    remote: &'a Inner,
}

impl Pump<'_> {
    /// Passes on what the terminal says until the shell has ended, and returns its exit code.
    async fn run(&self, mut pty: ReadPty<'_>, shell: &mut Child) -> i32 {
        // The terminal's number is in front of every frame.
        let mut frame = vec![0; 1 + CHUNK].into_boxed_slice();
        frame[0] = self.ticket.id;
        let mut drain = Drain::default();
        loop {
            let read = tokio::select! {
                read = drain.read(&mut pty, shell, &mut frame, 1) => read,
                () = self.remote.kill.notified() => {
                    // A shell that has ended already is as good as killed.
                    let _ended = shell.start_kill();
                    continue;
                }
            };
            if read == 0 {
                break;
            }
            self.pass_on(&frame[..1 + read]).await;
        }
        loop {
            tokio::select! {
                status = shell.wait() => return status.ok().and_then(|status| status.code()).unwrap_or(KILLED),
                () = self.remote.kill.notified() => {
                    let _ended = shell.start_kill();
                }
            }
        }
    }

    async fn pass_on(&self, frame: &[u8]) {
        count(&self.server.tally.output_bytes, frame.len() - 1);
        let Some(queue) = self.runtime.said(self.ticket, &frame[1..]) else { return };
        // A WebSocket that is replaced meanwhile has no use for it; its successor gets the scrollback.
        if queue.send(Outbound::Output(Bytes::copy_from_slice(frame))).await.is_ok() {
            self.remote.spoken.notify_one();
        }
    }
}

/// Gives the terminal its input in order. It never returns: a shell that has closed its terminal may live on.
async fn feed(server: &Server, mut inputs: Inputs, mut pty: WritePty<'_>) {
    while let Some((input, room)) = inputs.recv().await {
        match input {
            Input::Data(bytes) => {
                // A terminal that takes no more has lost its shell; the output tells.
                if pty.write_all(&bytes).await.is_ok() {
                    count(&server.tally.input_bytes, bytes.len());
                }
            }
            Input::Resize(cols, rows) => {
                if pty.resize(Size::new(rows, cols)).is_ok() {
                    count(&server.tally.resizes, 1);
                }
            }
        }
        drop(room);
    }
    future::pending::<()>().await;
}
