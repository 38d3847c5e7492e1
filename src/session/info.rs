//! What is known of a session from outside.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use polytty_dialect::Size;
use serde::Serialize;

use super::{Ending, SessionId};
use crate::recording::{Queue, Report};

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its link was minted, nobody has used it yet.
    Pending,
    /// The terminal is being opened at the provider.
    Connecting,
    /// A writer is attached.
    Attached,
    /// The terminal is open, nobody is attached.
    Detached,
    /// Over.
    Ended,
}

const STATES: [State; 5] = [State::Pending, State::Connecting, State::Attached, State::Detached, State::Ended];

/// A snapshot of a session, as the API shows it. Times are RFC 3339, UTC; byte counts are terminal bytes, without
/// any dialect's wrapping.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// The session's id.
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// The provider's name in the configuration.
    pub provider: Arc<str>,
    /// The provider's kind.
    pub kind: &'static str,
    /// For whom it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Arc<str>>,
    /// The creator's own notes.
    pub labels: serde_json::Map<String, serde_json::Value>,
    /// The terminal's size.
    pub size: SizeInfo,
    /// Bytes typed.
    pub bytes_in: u64,
    /// Bytes shown.
    pub bytes_out: u64,
    /// Attached viewers.
    pub viewers: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What went wrong; `null` while it lives and after an end in order.
    pub code: Option<&'static str>,
    /// How it ended, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The exit status, where the provider told one.
    pub exit_code: Option<i32>,
    /// Its recording; `null` where there is none.
    pub recording: Option<Report>,
}

/// A size in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SizeInfo {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// What never changes about a session.
pub(super) struct Facts {
    pub(super) provider: Arc<str>,
    pub(super) kind: &'static str,
    pub(super) subject: Option<Arc<str>>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) created_at: Timestamp,
    /// Whether it is recorded once its terminal is open.
    pub(super) record: bool,
}

/// The living record behind [`Info`]: written by the session's task, read by anybody, without a lock on the way of
/// a byte.
pub(super) struct Record {
    facts: Facts,
    state: AtomicU8,
    size: AtomicU32,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    viewers: AtomicU32,
    ended: Mutex<Option<(Timestamp, Ending)>>,
    recording: OnceLock<Arc<Queue>>,
}

impl Record {
    pub(super) fn new(facts: Facts, size: Size) -> Self {
        let record = Self {
            facts,
            state: AtomicU8::new(State::Pending as u8),
            size: AtomicU32::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            viewers: AtomicU32::new(0),
            ended: Mutex::new(None),
            recording: OnceLock::new(),
        };
        record.set_size(size);
        record
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Notes how it stands. One that has ended stays so, whoever still comes to hear of it.
    pub(super) fn set_state(&self, state: State) {
        let live = |old| (old != State::Ended as u8).then_some(state as u8);
        // An error is the state that stays.
        let _ = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, live);
    }

    pub(super) fn set_size(&self, size: Size) {
        self.size.store(u32::from(size.cols()) << 16 | u32::from(size.rows()), Ordering::Relaxed);
    }

    /// Adds to what was typed and returns the sum.
    pub(super) fn add_input(&self, bytes: usize) -> u64 {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64
    }

    /// Adds to what was shown and returns the sum.
    pub(super) fn add_output(&self, bytes: usize) -> u64 {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64
    }

    pub(super) fn input(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    pub(super) fn output(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// Sets how many watch and returns how many did.
    pub(super) fn set_viewers(&self, count: u32) -> u32 {
        self.viewers.swap(count, Ordering::Relaxed)
    }

    pub(super) fn viewers(&self) -> u32 {
        self.viewers.load(Ordering::Relaxed)
    }

    /// It is recorded from now on.
    pub(super) fn set_recording(&self, recording: Arc<Queue>) {
        // There is one terminal, and so one recording.
        let _ = self.recording.set(recording);
    }

    /// Its recording, once there is one.
    pub(super) fn recording(&self) -> Option<&Arc<Queue>> {
        self.recording.get()
    }

    /// How it ended, if it has.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, ending)| ending.clone())
    }

    /// It has ended; the first word on this counts.
    pub(super) fn end(&self, ending: &Ending) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.get_or_insert_with(|| (Timestamp::now(), ending.clone()));
        drop(ended);
        self.set_viewers(0);
        self.set_state(State::Ended);
    }

    pub(super) fn info(&self, id: SessionId) -> Info {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let size = self.size.load(Ordering::Relaxed);
        Info {
            id: id.to_string(),
            state: STATES[usize::from(self.state.load(Ordering::Relaxed))],
            provider: self.facts.provider.clone(),
            kind: self.facts.kind,
            subject: self.facts.subject.clone(),
            labels: self.facts.labels.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect(),
            size: SizeInfo { cols: (size >> 16) as u16, rows: (size & 0xffff) as u16 },
            bytes_in: self.input(),
            bytes_out: self.output(),
            viewers: self.viewers(),
            created_at: self.facts.created_at,
            ended_at: ended.as_ref().map(|(at, _)| *at),
            code: ended.as_ref().and_then(|(_, ending)| ending.code()).map(polytty_dialect::Code::slug),
            reason: ended.as_ref().map(|(_, ending)| ending.message()),
            exit_code: ended.as_ref().and_then(|(_, ending)| ending.exit_code()),
            recording: match self.recording() {
                Some(recording) => Some(recording.report()),
                None => (self.facts.record && ended.is_none()).then(Report::pending),
            },
        }
    }
}
