//! How sessions call the hub of their connection.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::LineId;

/// Rung by the sessions of one connection, answered by its hub.
#[derive(Default)]
pub(crate) struct Bell(Mutex<State>);

#[derive(Default)]
struct State {
    /// The lines that want something. Each is here once at most, so there are never more than lines.
    rung: Vec<LineId>,
    /// Whether the hub is called to look at what it waits for, and not to a line.
    called: bool,
    hub: Option<Waker>,
}

impl Bell {
    /// Calls the hub to a line. The line sees to it that it calls once until it is looked after.
    pub(super) fn ring(&self, line: LineId) {
        self.change(|state| state.rung.push(line));
    }

    /// Calls the hub to look again at what it waits for.
    pub(super) fn call(&self) {
        self.change(|state| state.called = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let hub = {
            let mut state = self.lock();
            change(&mut state);
            state.hub.take()
        };
        if let Some(hub) = hub {
            hub.wake();
        }
    }

    /// Ready with the lines that called since, in the order of their calls; with none, when a line that was
    /// [choked](super::Line::is_choked) no longer is. Each of them is to be looked after with
    /// [`Line::next`](super::Line::next) until it wants nothing more. One task may wait here, the hub's.
    pub(crate) fn poll_rung(&self, cx: &mut Context<'_>, lines: &mut Vec<LineId>) -> Poll<()> {
        let mut state = self.lock();
        if state.rung.is_empty() && !mem::take(&mut state.called) {
            state.hub = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.called = false;
        lines.append(&mut state.rung);
        Poll::Ready(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
