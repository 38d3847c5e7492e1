//! Standard input, output and error, each read or written by a thread of its own: they may block for as long as they
//! like, and their blocking mode is shared with other processes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

/// The most that is read or written at once, in bytes.
pub(super) const CHUNK: usize = 16 << 10;

/// How long to wait before asking again a stream that somebody else has made non-blocking.
const AGAIN: Duration = Duration::from_millis(10);

/// Reads standard input. The channel ends with it. One chunk waits; the next is read once that was taken.
pub(in crate::cli) fn read_stdin() -> io::Result<mpsc::Receiver<io::Result<Vec<u8>>>> {
    let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (sender, receiver) = mpsc::channel(1);
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut buffer = [0; CHUNK];
        loop {
            let read = match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => Ok(buffer[..count].to_vec()),
                Err(error) if is_passing(&error) => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            if sender.blocking_send(read).is_err() || failed {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// Where something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// Standard output; true for what counts as consumed.
    Output(bool),
    /// Standard error.
    Error,
}

/// How far writing has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Bytes written.
    pub(super) written: u64,
    /// Those of them that count as consumed.
    pub(super) counted: u64,
    /// Why nothing more will be written.
    pub(super) failed: Option<String>,
}

/// Writes to standard output and error, in order. It has no bound of its own: whoever writes knows by its progress
/// how much waits.
pub(super) struct Writer {
    queue: Arc<Queue>,
    progress: watch::Receiver<Progress>,
    queued: u64,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<VecDeque<(To, Vec<u8>)>>,
    filled: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(To, Vec<u8>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    pub(super) fn start() -> io::Result<Self> {
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let queue = Arc::new(Queue::default());
        let (sender, progress) = watch::channel(Progress::default());
        let theirs = queue.clone();
        thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(move || write_all(&theirs, &stdout, &stderr, &sender))?;
        Ok(Self { queue, progress, queued: 0 })
    }

    /// Has something written behind all that was before.
    pub(super) fn write(&mut self, to: To, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.queued += bytes.len() as u64;
        let mut waiting = self.queue.lock();
        match waiting.back_mut() {
            Some((last, rest)) if *last == to => rest.extend_from_slice(bytes),
            _ => waiting.push_back((to, bytes.to_vec())),
        }
        drop(waiting);
        self.queue.filled.notify_one();
    }

    /// Waits for progress.
    pub(super) async fn progress(&mut self) -> Progress {
        if self.progress.changed().await.is_err() {
            let failed = Some("the thread that writes has ended".to_owned());
            return Progress { failed, ..self.progress.borrow().clone() };
        }
        self.progress.borrow_and_update().clone()
    }

    /// Waits until everything is written, or writing has failed.
    pub(super) async fn drain(&mut self) {
        let queued = self.queued;
        let _ = self.progress.wait_for(|progress| progress.written >= queued || progress.failed.is_some()).await;
    }
}

fn write_all(queue: &Queue, stdout: &File, stderr: &File, progress: &watch::Sender<Progress>) {
    loop {
        let mut waiting = queue.lock();
        let (to, bytes) = loop {
            if let Some(next) = waiting.pop_front() {
                break next;
            }
            waiting = queue.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        };
        drop(waiting);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let piece = &rest[..rest.len().min(CHUNK)];
            let written = match to {
                To::Output(_) => (&*stdout).write(piece),
                To::Error => (&*stderr).write(piece),
            };
            let count = match written {
                Ok(0) => return fail(progress, "nothing more can be written"),
                Ok(count) => count,
                Err(error) if is_passing(&error) => continue,
                // Nobody listens to what we say beside the output, which is no reason to end.
                Err(_) if to == To::Error => rest.len(),
                Err(error) => return fail(progress, &error.to_string()),
            };
            rest = &rest[count..];
            progress.send_modify(|progress| {
                progress.written += count as u64;
                progress.counted += if to == To::Output(true) { count as u64 } else { 0 };
            });
        }
    }
}

fn fail(progress: &watch::Sender<Progress>, why: &str) {
    progress.send_modify(|progress| progress.failed = Some(why.to_owned()));
}

fn is_passing(error: &io::Error) -> bool {
    match error.kind() {
        ErrorKind::Interrupted => true,
        ErrorKind::WouldBlock => {
            thread::sleep(AGAIN);
            true
        }
        _ => false,
    }
}
