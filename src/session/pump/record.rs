//! The session's side of its recording.

use std::task::{Context, Poll};

use polytty_dialect::Code;

use super::Pump;
use crate::provider::Failure;
use crate::session::Ending;

/// What a client is told whose session may not go on without its recording.
const UNRECORDED: &str = "this session has to be recorded, and its recording cannot be written on";

impl Pump<'_> {
    /// Begins to record, if that is asked for. There is one recording of a session, whoever comes and goes.
    pub(super) fn record(&mut self) {
        let session = &self.task.session;
        let facts = session.record.facts();
        let Some(recorder) = self.task.settings.recorder.as_ref().filter(|_| facts.record) else { return };
        let (tap, writing) = recorder.begin(session.id, &facts.provider, self.size);
        session.record.set_recording(tap.queue());
        self.task.tasks.spawn(writing);
        self.tap = Some(tap);
    }

    /// Looks whether the recording has failed: ready when the session ends with it.
    pub(super) fn poll_recording(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let Some(tap) = &self.tap else { return Poll::Pending };
        let failure = std::task::ready!(tap.poll_failed(cx));
        self.tap = None;
        let ends = self.task.settings.recorder.as_ref().is_some_and(|recorder| recorder.ends_sessions());
        // A terminal that has ended by itself is told as such.
        if !ends || self.over.is_some() {
            return Poll::Pending;
        }
        let failure = Failure::new(Code::Internal, UNRECORDED).detail(failure.to_string());
        Poll::Ready(Ending::Failed(failure))
    }

    /// Whether the recording takes more output. Where it does not, the session reads no more, as configured.
    pub(super) fn is_recorder_ready(&self, cx: &mut Context<'_>) -> bool {
        self.tap.as_ref().is_none_or(|tap| tap.poll_room(cx).is_ready())
    }

    /// Ends the recording with how the terminal ended.
    pub(super) fn end_recording(&mut self, ending: &Ending) {
        if let Some(tap) = self.tap.take() {
            tap.end(ending.into());
        }
    }
}
