//! Recordings: what a session's terminal says, written down as asciicast.
//!
//! A session holds a `Tap` and puts in what happens, without ever waiting. A task of its own takes it out of the bounded
//! `Queue` and hands it to the `Pen`, which writes files on the `Shelf` from threads that may block. What is written can
//! be [played back](Playback) by the session's id, while it lives and after.

pub mod cast;

mod joined;
mod pen;
mod playback;
mod queue;
mod shelf;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::io::{self, ErrorKind};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use polytty_dialect::Size;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::config::Recording as Settings;
use crate::observe::Metrics;
use crate::session::SessionId;

pub use joined::{Joined, JoinedError, parts_of};
pub use playback::Playback;
pub(crate) use queue::{End, Queue};
pub use queue::{Report, Stage, WhenFull};

use cast::Format;
use pen::{Pen, Plan};
use queue::Limits;
use shelf::Shelf;

/// Writes to the disk at once, of all recordings together. More wait in their queues, and no other work that blocks
/// has to wait for a slow disk.
const WRITES: usize = 32;

/// How often old parts are looked for, at the most.
const SWEEP: Duration = Duration::from_secs(60);

/// Why a recording ended before its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No space is left, or none that this user may use.
    DiskFull,
    /// `recording.max_total` is reached, and there is nothing to delete.
    Cap,
    /// The operating system says otherwise.
    Io(String),
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Self::DiskFull,
            _ => Self::Io(error.to_string()),
        }
    }

    /// The label of the metric.
    pub(crate) fn slug(&self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::Cap => "cap",
            Self::Io(_) => "io",
        }
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::DiskFull => "free space in recording.directory, or lower recording.max_total or recording.keep",
            Self::Cap => {
                "raise recording.max_total, or lower recording.part_size: what is being written fills it alone"
            }
            Self::Io(_) => "see that recording.directory can be written",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DiskFull => f.write_str("the disk is full"),
            Self::Cap => f.write_str("recordings have taken all the room that they may (recording.max_total)"),
            Self::Io(error) => write!(f, "it cannot be written: {error}"),
        }
    }
}

/// Where all recordings of this process are made and kept.
pub struct Recorder {
    settings: Settings,
    shelf: Arc<Shelf>,
    writes: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// A session's end of its recording. Dropping it ends the recording.
pub(crate) struct Tap(Arc<Queue>);

impl Deref for Tap {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        &self.0
    }
}

impl Tap {
    /// What others look at.
    pub(crate) fn queue(&self) -> Arc<Queue> {
        self.0.clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.0.end(End { status: None, words: "the recording breaks off here".to_owned() });
    }
}

/// Finds out whether recordings can be put into a directory, without leaving anything behind.
///
/// # Errors
///
/// When they cannot.
pub fn check(directory: &Path) -> io::Result<()> {
    shelf::check(directory)
}

impl Recorder {
    /// Makes the directory where there is none (mode 0700), and counts what lies in it. Blocks.
    ///
    /// # Errors
    ///
    /// When it cannot be made, read or written.
    pub fn open(directory: &Path, settings: Settings, metrics: Arc<Metrics>) -> io::Result<Arc<Self>> {
        let shelf = Shelf::open(directory, settings.max_total, settings.keep, metrics.clone())?;
        Ok(Self::on(shelf, settings, metrics))
    }

    /// The same with a pipe for every part, named as the file would be: what reads from it decides how fast the disk is.
    #[cfg(test)]
    pub(crate) fn on_pipes(directory: &Path, settings: Settings, metrics: Arc<Metrics>) -> Arc<Self> {
        let shelf = Shelf::open_with(directory, settings.max_total, settings.keep, metrics.clone(), tests::pipe);
        Self::on(shelf.unwrap(), settings, metrics)
    }

    fn on(shelf: Arc<Shelf>, settings: Settings, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { settings, shelf, writes: Arc::new(Semaphore::new(WRITES)), metrics })
    }

    /// Whether a session ends with a recording that fails.
    pub(crate) fn ends_sessions(&self) -> bool {
        self.settings.when_disk_full == crate::config::WhenDiskFull::End
    }

    /// Begins to record a session. The future writes it and ends with it.
    pub(crate) fn begin(
        self: &Arc<Self>,
        id: SessionId,
        provider: &str,
        size: Size,
    ) -> (Tap, impl Future<Output = ()> + Send + 'static) {
        let Settings { format, input, queue, when_full, part_size, part_age, .. } = self.settings;
        let limits = Limits { bound: queue, when_full, input };
        let queue = Arc::new(Queue::new(limits, self.metrics.clone()));
        let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let provider = provider.to_owned();
        let plan = Plan { id, provider, format, began: micros(began), part_size, part_age: micros(part_age) };
        let pen = Pen::new(plan, self.shelf.clone(), size);
        let (recorder, theirs) = (self.clone(), queue.clone());
        let writing = async move {
            recorder.metrics.recording_begins();
            let result = recorder.write(&theirs, pen).await;
            recorder.metrics.recording_ends();
            if let Err(failure) = &result {
                recorder.metrics.recording_failed(failure.slug());
                tracing::error!(
                    session = %id,
                    reason = failure.slug(),
                    error = ?failure.to_string(),
                    advice = failure.advice(),
                    "a recording ended before its session"
                );
            }
            theirs.finish(result);
        };
        (Tap(queue), writing)
    }

    /// What was recorded of a session, in the version that it is in or another; `None` where nothing was.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn play(&self, id: SessionId, format: Option<Format>) -> Result<Option<Playback>, JoinedError> {
        let shelf = self.shelf.clone();
        let opened = spawn_blocking(move || {
            let parts = shelf.parts(id).map_err(JoinedError::Io)?;
            Playback::open(parts, format)
        });
        opened.await.unwrap_or_else(|error| Err(JoinedError::Io(io::Error::other(error))))
    }

    /// Deletes what is too old, for as long as the task lives.
    pub async fn keep_swept(self: Arc<Self>) {
        let every = self.settings.keep.map_or(SWEEP, |keep| (keep / 10).clamp(Duration::from_millis(100), SWEEP));
        loop {
            let shelf = self.shelf.clone();
            if let Ok(Err(error)) = spawn_blocking(move || shelf.sweep(SystemTime::now())).await {
                tracing::error!(error = ?error.to_string(), "the directory of recordings cannot be read");
            }
            tokio::time::sleep(every).await;
        }
    }

    async fn write(&self, queue: &Queue, mut pen: Pen) -> Result<(), Failure> {
        pen = self.blocking(pen, Pen::begin).await?;
        queue.begun();
        loop {
            let batch = Arc::new(queue.next().await);
            let theirs = batch.clone();
            pen = self.blocking(pen, move |pen| pen.write(&theirs)).await?;
            // The only other holder was the thread that has written it.
            let is_last = Arc::into_inner(batch).is_none_or(|batch| queue.done(batch));
            if is_last {
                // Closing a file may block, too.
                drop(spawn_blocking(move || drop(pen)));
                return Ok(());
            }
        }
    }

    /// Lends the pen to a thread that may block.
    async fn blocking(
        &self,
        mut pen: Pen,
        work: impl FnOnce(&mut Pen) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Pen, Failure> {
        let gone = |_| Failure::Io("the thread that writes has ended".to_owned());
        let place = self.writes.clone().acquire_owned().await.map_err(|_| Failure::Io("no more writes".to_owned()))?;
        let done = spawn_blocking(move || {
            let result = work(&mut pen).map(|()| pen);
            drop(place);
            result
        });
        done.await.map_err(gone)?
    }
}
