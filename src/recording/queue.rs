//! What lies between a session and the writer of its recording: a queue with a bound, which the session fills without
//! ever waiting.
//!
//! Bytes are appended to one buffer, and the writer takes the whole of it at once, so that many small writes cost no
//! allocation each. What the writer has taken and not written yet still counts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use polytty_dialect::Size;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::Failure;
use crate::observe::Metrics;

/// What an event weighs beside its bytes.
const ENTRY: usize = 64;

/// Output that comes within so many microseconds of the last is one event with it: nobody sees the difference.
const TOGETHER: u64 = 1000;

/// The longest that something waits to be written, where there is not more of it: so often a recording is flushed.
pub(super) const FLUSH: Duration = Duration::from_millis(500);

/// What whoever looks at a recording waits for its flush.
const PATIENCE: Duration = Duration::from_secs(1);

/// Each buffer that is kept from one batch to the next, in bytes. What a flood made grow is given back, for most
/// recordings are idle.
pub(super) const SPARE: usize = 4 << 10;

/// What becomes of a terminal's bytes when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// They are left out, and a marker says how many.
    Gap,
    /// The session reads no more of them until there is room.
    Pause,
}

/// How a recording is queued.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes that may wait, and what one message goes beyond it.
    pub(super) bound: usize,
    pub(super) when_full: WhenFull,
    /// Whether input is recorded.
    pub(super) input: bool,
}

/// One entry of the queue; the bytes stand in [`Batch::bytes`], in order.
#[derive(Debug)]
pub(super) struct Entry {
    /// Microseconds since the beginning.
    pub(super) at: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Output(usize),
    Input(usize),
    Resize(Size),
    Gap(Gap),
    End(End),
}

/// What was left out, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) output: u64,
    pub(super) input: u64,
}

impl Gap {
    /// What a marker says of it.
    pub(super) fn label(self) -> String {
        match self {
            Self { output, input: 0 } => format!("{output} bytes of output are missing here"),
            Self { output: 0, input } => format!("{input} bytes of input are missing here"),
            Self { output, input } => format!("{output} bytes of output and {input} of input are missing here"),
        }
    }
}

/// How a recorded session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The exit status, where there is one.
    pub(crate) status: Option<i32>,
    /// What is said where there is none.
    pub(crate) words: String,
}

/// What the writer takes at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    /// Pushes up to here are in it.
    upto: u64,
    weight: usize,
    /// It is the last.
    is_last: bool,
}

/// How a recording stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The terminal is not open yet, so there is nothing to record.
    Pending,
    /// It is being written.
    On,
    /// All of it is written.
    Ended,
    /// It could not be written on; what was written by then is there.
    Failed,
}

/// A recording, as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How it stands.
    pub state: Stage,
    /// Bytes of output and input that were left out because the queue was full.
    pub missing: u64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Report {
    /// Of a session whose terminal is not open yet.
    #[must_use]
    pub fn pending() -> Self {
        Self { state: Stage::Pending, missing: 0, reason: None }
    }
}

/// The queue of one recording, and how it stands.
pub(crate) struct Queue {
    limits: Limits,
    began: Instant,
    state: Mutex<State>,
    /// Wakes the writer.
    filled: Notify,
    /// Wakes whoever waits for a flush or for the end.
    written: Notify,
    /// The session's task: there is room again, or it is over.
    session: AtomicWaker,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    batch: Batch,
    /// Batches that were written out, for their buffers.
    spare: Option<Batch>,
    /// What waits, and what the writer has taken and not written yet.
    weight: usize,
    /// Calls so far, and those of them that are written.
    pushed: u64,
    done: u64,
    /// The first part is there.
    begun: bool,
    /// What is left out at the moment, with the last size.
    gap: Option<(Gap, Option<Size>)>,
    /// What was left out altogether.
    missing: u64,
    /// The session waits for room.
    paused: bool,
    /// The session can wait for nobody: what does not fit is left out whatever the policy.
    hurried: bool,
    flush: bool,
    /// Nothing more will come.
    closed: bool,
    /// The writer has ended.
    over: Option<Result<(), Failure>>,
}

impl Queue {
    pub(super) fn new(limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            limits,
            began: Instant::now(),
            state: Mutex::default(),
            filled: Notify::new(),
            written: Notify::new(),
            session: AtomicWaker::new(),
            metrics,
        }
    }

    /// Takes output of the terminal.
    pub(crate) fn output(&self, bytes: &[u8]) {
        self.bytes(bytes, false);
    }

    /// Takes what was typed, if that is recorded.
    pub(crate) fn input(&self, bytes: &[u8]) {
        if self.limits.input {
            self.bytes(bytes, true);
        }
    }

    /// Takes a new size.
    pub(crate) fn resize(&self, size: Size) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.pushed += 1;
        // Of sizes that there is no room for, the latest counts.
        if state.gap.is_some() || state.weight >= self.limits.bound {
            state.gap.get_or_insert_default().1 = Some(size);
        } else {
            self.push(&mut state, What::Resize(size));
        }
    }

    /// The session has ended; the first word on this counts, and nothing comes behind it.
    pub(crate) fn end(&self, end: End) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        self.close_gap(&mut state);
        state.pushed += 1;
        self.push(&mut state, What::End(end));
        state.closed = true;
        self.filled.notify_one();
    }

    /// Ready while more may come; wakes the session's task when there is room again.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.limits.when_full == WhenFull::Gap {
            return Poll::Ready(());
        }
        self.session.register(cx.waker());
        let mut state = self.lock();
        if state.over.is_some() || state.closed || state.hurried {
            return Poll::Ready(());
        }
        if state.weight >= self.limits.bound && !state.paused {
            state.paused = true;
            self.metrics.recording_paused();
        }
        if state.paused { Poll::Pending } else { Poll::Ready(()) }
    }

    /// The session cannot wait any longer, until there is room again: what does not fit is left out. Whether it waited.
    pub(crate) fn hurry(&self) -> bool {
        let mut state = self.lock();
        let waited = std::mem::take(&mut state.paused);
        state.hurried |= waited;
        waited
    }

    /// Ready with the reason once the recording has failed; wakes the session's task then.
    pub(crate) fn poll_failed(&self, cx: &mut Context<'_>) -> Poll<Failure> {
        self.session.register(cx.waker());
        match &self.lock().over {
            Some(Err(failure)) => Poll::Ready(failure.clone()),
            _ => Poll::Pending,
        }
    }

    /// Waits until everything that was taken by now is written, a second at the most.
    pub(crate) async fn flush(&self) {
        let upto = {
            let mut state = self.lock();
            state.flush = true;
            state.pushed
        };
        self.filled.notify_one();
        let _ =
            timeout(PATIENCE, self.until(|state| state.over.is_some() || (state.begun && state.done >= upto))).await;
    }

    /// Waits until the writer has ended.
    pub(crate) async fn over(&self) {
        self.until(|state| state.over.is_some()).await;
    }

    /// How it stands.
    pub(crate) fn report(&self) -> Report {
        let state = self.lock();
        let (stage, reason) = match &state.over {
            None => (Stage::On, None),
            Some(Ok(())) => (Stage::Ended, None),
            Some(Err(failure)) => (Stage::Failed, Some(failure.to_string())),
        };
        let missing = state.missing + state.gap.map_or(0, |(gap, _)| gap.output + gap.input);
        Report { state: stage, missing, reason }
    }

    /// The writer's side: waits for something to write and then for more of it, but not for long.
    pub(super) async fn next(&self) -> Batch {
        self.filled_until(|state| !state.batch.entries.is_empty()).await;
        let is_due = |state: &State| state.flush || state.closed || state.batch.weight >= self.limits.bound / 4;
        let _ = timeout(FLUSH, self.filled_until(is_due)).await;
        let mut state = self.lock();
        let state = &mut *state;
        state.flush = false;
        let mut batch = std::mem::replace(&mut state.batch, state.spare.take().unwrap_or_default());
        batch.upto = state.pushed;
        batch.is_last = state.closed;
        batch
    }

    /// The first part is there.
    pub(super) fn begun(&self) {
        self.lock().begun = true;
        self.written.notify_waiters();
    }

    /// A batch was written. Whether it was the last.
    pub(super) fn done(&self, mut batch: Batch) -> bool {
        let mut state = self.lock();
        state.weight -= batch.weight.min(state.weight);
        state.done = batch.upto;
        if state.weight <= self.limits.bound / 2 {
            self.close_gap(&mut state);
            state.paused = false;
            state.hurried = false;
        }
        batch.bytes.clear();
        batch.entries.clear();
        batch.bytes.shrink_to(SPARE);
        batch.entries.shrink_to(SPARE / size_of::<Entry>());
        batch.weight = 0;
        let is_last = batch.is_last;
        state.spare = Some(batch);
        drop(state);
        self.session.wake();
        self.written.notify_waiters();
        is_last
    }

    /// The writer has ended.
    pub(super) fn finish(&self, result: Result<(), Failure>) {
        let mut state = self.lock();
        if let Some((gap, _)) = state.gap.take() {
            state.missing += gap.output + gap.input;
        }
        *state = State {
            missing: state.missing,
            begun: state.begun,
            pushed: state.pushed,
            closed: true,
            over: Some(result),
            ..State::default()
        };
        drop(state);
        self.session.wake();
        self.written.notify_waiters();
    }

    fn bytes(&self, bytes: &[u8], is_input: bool) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.pushed += 1;
        let may_leave_out = self.limits.when_full == WhenFull::Gap || state.hurried || is_input;
        if state.gap.is_some() || (may_leave_out && state.weight >= self.limits.bound) {
            let (gap, _) = state.gap.get_or_insert_default();
            if *gap == Gap::default() {
                self.metrics.recording_gap();
            }
            *(if is_input { &mut gap.input } else { &mut gap.output }) += bytes.len() as u64;
            self.metrics.recording_missing(bytes.len() as u64);
            return;
        }
        self.grow(&mut state.batch.bytes, bytes.len());
        state.batch.bytes.extend_from_slice(bytes);
        let at = self.at();
        match state.batch.entries.last_mut() {
            Some(Entry { at: last, what: What::Output(len) }) if !is_input && at < *last + TOGETHER => {
                *len += bytes.len();
                state.batch.weight += bytes.len();
                state.weight += bytes.len();
            }
            _ => {
                let what = if is_input { What::Input(bytes.len()) } else { What::Output(bytes.len()) };
                self.push_at(&mut state, at, what, bytes.len());
            }
        }
        if state.batch.weight >= self.limits.bound / 4 {
            self.filled.notify_one();
        }
    }

    /// Doubles a buffer as usual, but not beyond the bound.
    fn grow(&self, buffer: &mut Vec<u8>, more: usize) {
        let needed = buffer.len() + more;
        if needed > buffer.capacity() {
            let capacity = (buffer.capacity() * 2).min(self.limits.bound).max(needed);
            buffer.reserve_exact(capacity - buffer.len());
        }
    }

    /// Ends a gap with its marker, and the size that was given meanwhile.
    fn close_gap(&self, state: &mut State) {
        let Some((gap, size)) = state.gap.take() else { return };
        state.missing += gap.output + gap.input;
        if gap != Gap::default() {
            self.push(state, What::Gap(gap));
        }
        if let Some(size) = size {
            self.push(state, What::Resize(size));
        }
    }

    fn push(&self, state: &mut State, what: What) {
        self.push_at(state, self.at(), what, 0);
    }

    fn push_at(&self, state: &mut State, at: u64, what: What, bytes: usize) {
        if state.batch.entries.is_empty() {
            self.filled.notify_one();
        }
        state.batch.entries.push(Entry { at, what });
        state.batch.weight += bytes + ENTRY;
        state.weight += bytes + ENTRY;
    }

    fn at(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// For the one writer.
    async fn filled_until(&self, mut is_so: impl FnMut(&State) -> bool) {
        while !is_so(&self.lock()) {
            self.filled.notified().await;
        }
    }

    /// For anybody else.
    async fn until(&self, mut is_so: impl FnMut(&State) -> bool) {
        loop {
            let mut written = std::pin::pin!(self.written.notified());
            written.as_mut().enable();
            if is_so(&self.lock()) {
                return;
            }
            written.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
