//! The session's end of a line.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use polytty_dialect::Size;
use tokio::time::timeout;

use super::line::{Shared, State};
use crate::provider::{BoxFuture, Happened, Upstream};

/// How long the hub is given to end a terminal.
const FAREWELL: Duration = Duration::from_secs(5);

/// A terminal behind a connection that others use, too. Dropped, it asks the hub to end the terminal.
pub(crate) struct SharedUpstream {
    line: Arc<Shared>,
    /// Whether the input so far ended a line.
    at_line_start: bool,
}

/// What ends the input of a terminal that works line by line, unless it was set to something else.
const VEOF: u8 = 0x04;

impl SharedUpstream {
    pub(super) fn new(line: Arc<Shared>) -> Self {
        Self { line, at_line_start: true }
    }

    fn leave(&self) {
        if self.line.want(State::leave) {
            self.line.unchoke();
        }
    }
}

impl Upstream for SharedUpstream {
    fn poll_output(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>, budget: usize) -> Poll<Happened> {
        let mut state = self.line.lock();
        let happened = state.poll(output, budget);
        if happened.is_none() {
            state.wait(cx.waker());
        }
        let unchokes = state.unchokes();
        drop(state);
        if unchokes {
            self.line.unchoke();
        }
        happened.map_or(Poll::Pending, Poll::Ready)
    }

    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.line.lock();
        if state.is_flushed() {
            return Poll::Ready(());
        }
        state.wait(cx.waker());
        Poll::Pending
    }

    fn input(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.at_line_start = matches!(last, b'\r' | b'\n');
        }
        self.line.want(|state| state.put_input(bytes));
    }

    fn resize(&mut self, size: Size) {
        self.line.want(|state| state.put_size(size));
    }

    /// A terminal has no half-close: Ctrl-D is typed, twice behind an unfinished line, which the first one only hands
    /// over.
    fn eof(&mut self) -> bool {
        let again = if self.at_line_start { 1 } else { 2 };
        self.line.want(|state| state.put_input(&[VEOF; 2][..again]));
        self.at_line_start = true;
        true
    }

    fn attended(&mut self, attended: bool) {
        self.line.want(|state| state.put_attended(attended));
    }

    fn end(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.leave();
            let done = poll_fn(|cx| {
                let mut state = self.line.lock();
                if state.is_done() {
                    return Poll::Ready(());
                }
                state.wait(cx.waker());
                Poll::Pending
            });
            let _ = timeout(FAREWELL, done).await;
        })
    }
}

impl Drop for SharedUpstream {
    fn drop(&mut self) {
        self.leave();
    }
}
