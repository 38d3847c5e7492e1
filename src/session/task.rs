//! The life of one session: wait for a client, open the terminal, pump, end.

use std::sync::Arc;
use std::time::Duration;

use futures_channel::mpsc;
use futures_util::StreamExt as _;
use polytty_dialect::Code;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::info::State;
use super::open::{Opened, Opening};
use super::pump::Pump;
use super::registry::Listed;
use super::viewer::{Seat, no_seat_left};
use super::{Attachment, Command, Ending, Session, Settings, Spec};
use crate::observe::Metrics;
use crate::provider::Upstream;

/// How long an ended session waits for its recording to be written.
const RECORDED: Duration = Duration::from_secs(5);

/// What a session's task works with.
pub(super) struct Task {
    pub(super) session: Arc<Session>,
    pub(super) inbox: mpsc::Receiver<Command>,
    pub(super) settings: Arc<Settings>,
    pub(super) drain: CancellationToken,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tasks: TaskTracker,
    /// Who came to watch before there was anything to see.
    pub(super) viewers: Vec<Attachment>,
    /// Since when there is the session.
    pub(super) born: Instant,
    /// Its place among all sessions, given up when the task is over, however that comes.
    pub(super) _listed: Listed,
}

/// What is left of a session that is over.
pub(super) struct Left {
    pub(super) ending: Ending,
    /// Output that its client was not sent yet.
    pub(super) rest: Vec<u8>,
    pub(super) client: Option<Attachment>,
    pub(super) upstream: Option<Box<dyn Upstream>>,
    /// Whoever watches.
    pub(super) seats: Vec<Seat>,
}

impl Task {
    /// Lives the session to its end. `until` is how long it waits for its first client.
    ///
    /// Each part of a life is boxed, so that a session has room only for the part that it is in.
    pub(super) async fn run(mut self: Box<Self>, spec: Box<Spec>, until: Instant) {
        let ending = match Box::pin(self.first_client(until)).await {
            Err(ending) => ending,
            Ok(client) => Box::pin(self.attended(spec, client)).await,
        };
        self.log(&ending);
    }

    fn log(&self, ending: &Ending) {
        let session = &self.session;
        self.metrics.session_ended(session.record.facts().kind, ending.label());
        let (code, exit) = (ending.code().map(Code::slug), ending.exit_code());
        match ending {
            Ending::Failed(failure) => tracing::warn!(
                session = %session.id,
                provider = ?session.record.facts().provider,
                code,
                reason = ?ending.message(),
                detail = ?failure.detail,
                "session failed"
            ),
            _ => tracing::info!(
                session = %session.id,
                provider = ?session.record.facts().provider,
                code,
                exit,
                reason = ?ending.message(),
                bytes_in = session.record.input(),
                bytes_out = session.record.output(),
                "session ended"
            ),
        }
    }

    async fn first_client(&mut self, mut until: Instant) -> Result<Box<Attachment>, Ending> {
        let ending = loop {
            tokio::select! {
                () = self.drain.cancelled() => break Ending::Draining,
                command = timeout_at(until, self.inbox.next()) => match command {
                    Ok(Some(Command::Attach(client))) => return Ok(client),
                    Ok(Some(Command::Expect(later))) => until = until.max(later),
                    Ok(Some(Command::Watch(viewer))) => self.seat_later(*viewer),
                    Ok(Some(
                        Command::Repaint(_)
                        | Command::ViewerLeft
                        | Command::ViewerConfirmed(_)
                        | Command::RenewViewer(_),
                    )) => {}
                    Ok(Some(Command::Scrollback(reply))) => drop(reply.send(Vec::new())),
                    Ok(Some(Command::Fail(failure))) => break Ending::Failed(*failure),
                    Ok(Some(Command::End)) => break Ending::Deleted,
                    Ok(None) | Err(_) => break Ending::Unused,
                }
            }
        };
        self.close(&ending).await;
        Err(ending)
    }

    async fn attended(&mut self, spec: Box<Spec>, client: Box<Attachment>) -> Ending {
        self.session.record.set_state(State::Connecting);
        tracing::info!(session = %self.session.id, provider = ?spec.provider.name(), "session opens");
        let left = match Box::pin(Opening::run(self, spec, client)).await {
            Opened::Terminal(terminal) => {
                let mut pump = Box::new(Pump::new(self, *terminal));
                let ending = pump.run().await;
                pump.end(ending)
            }
            Opened::Nothing { ending, client } => {
                let client = client.map(|client| *client);
                Left { ending, rest: Vec::new(), client, upstream: None, seats: Vec::new() }
            }
        };
        Box::pin(self.part(left)).await
    }

    /// Tells everybody who is left that it is over.
    async fn part(&mut self, left: Left) -> Ending {
        let Left { ending, rest, client, upstream, seats } = left;
        if let Some(upstream) = &upstream {
            self.metrics.ignored_upstream(upstream.ignored());
        }
        self.close(&ending).await;
        seats.iter().for_each(Seat::end);
        let client_left = async {
            if let Some(client) = client {
                client.end(&rest, &ending).await;
            }
        };
        let provider_left = async {
            if let Some(upstream) = upstream {
                upstream.end().await;
            }
        };
        let recorded = async {
            if let Some(recording) = self.session.record.recording() {
                // What is remembered of the session is how its recording ended, unless the disk takes too long.
                let _ = tokio::time::timeout(RECORDED, recording.over()).await;
            }
        };
        tokio::join!(client_left, provider_left, recorded);
        ending
    }

    /// Keeps a viewer until there is something to see.
    pub(super) fn seat_later(&mut self, viewer: Attachment) {
        if self.viewers.len() < self.settings.max_viewers {
            self.viewers.push(viewer);
        } else {
            self.tasks.spawn(no_seat_left(viewer, self.settings.max_viewers, &self.metrics));
        }
    }

    /// From here on nobody can attach; who was about to is told how it ended.
    async fn close(&mut self, ending: &Ending) {
        self.session.record.end(ending);
        self.inbox.close();
        while let Some(command) = self.inbox.next().await {
            if let Command::Attach(client) | Command::Watch(client) = command {
                let ending = ending.clone();
                self.tasks.spawn(async move { client.end(&[], &ending).await });
            }
        }
        for viewer in self.viewers.drain(..) {
            let ending = ending.clone();
            self.tasks.spawn(async move { viewer.end(&[], &ending).await });
        }
    }
}
