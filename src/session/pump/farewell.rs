//! The end of a terminal, told to a client until one has heard it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Pump;
use crate::session::Ending;
use crate::session::viewer::Seat;

/// Hears whether a client has answered the Close behind the last word.
pub(super) type Farewell = oneshot::Receiver<bool>;

impl Pump<'_> {
    /// The terminal is at its end and everything was sent: tells the client how it ended. Ready when the session has
    /// no more to wait for.
    ///
    /// What was sent last may be lost with the connection, and the last word with it. So a client that can come back
    /// is waited for until it has answered, and found again by who comes back.
    pub(super) fn poll_farewell(&mut self, cx: &mut Context<'_>, ending: Ending) -> Poll<Ending> {
        if let Some(client) = self.client.take_if(|client| client.has_way_back()) {
            if self.task.settings.lifetimes.detach_grace.is_zero() {
                self.client = Some(client);
                return Poll::Ready(ending);
            }
            self.task.session.record.end(&ending);
            self.viewers.seats().for_each(Seat::end);
            let (heard, farewell) = oneshot::channel();
            let last_word = ending.clone();
            self.last = client.position();
            self.task.tasks.spawn(async move {
                // Nobody listens any more when the session ended otherwise, or somebody came back.
                let _ = heard.send(client.end(&[], &last_word).await);
            });
            self.farewell = Some(farewell);
            self.renewal = None;
            self.detached = Instant::now();
            self.moved = true;
        }
        if self.client.is_some() {
            return Poll::Ready(ending);
        }
        // Without a client it waits for one that comes back.
        let Some(farewell) = &mut self.farewell else { return Poll::Pending };
        if std::task::ready!(Pin::new(farewell).poll(cx)).unwrap_or(false) {
            return Poll::Ready(ending);
        }
        self.farewell = None;
        self.detached = Instant::now();
        self.moved = true;
        Poll::Pending
    }
}
