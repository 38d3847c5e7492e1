//! Sessions: remote terminals with an identity, each owned by one task.
//!
//! A session is created by the API and waits for its first client. The client's arrival opens the terminal at the
//! provider; from then on two directions are pumped until either side ends. A client may be lost or replaced, the
//! session goes on: it is the terminal, not the connection.

mod attachment;
mod ending;
mod info;
mod open;
mod pump;
mod questions;
mod registry;
mod ring;
mod screen;
mod task;
#[cfg(test)]
mod tests;
mod viewer;
mod way_back;

use std::fmt;
use std::future::poll_fn;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use futures_channel::mpsc;
use polytty_dialect::{Role, Size};
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;

use crate::auth::NoRandomness;
use crate::cluster::{Held, ReplicaId};
use crate::limit::PaceSettings;
use crate::provider::{Entry, Failure, Target};
use crate::recording::Recorder;
use crate::ticket::ResumeLinks;

pub use attachment::{Arrival, Attachment, ClientIo, Io};
pub use ending::Ending;
pub use info::{Info, State};
pub(crate) use questions::Questions;
pub use registry::{CreateError, Sessions};
pub use ring::Total as Scrollbacks;

use info::Record;
use viewer::Seat;

/// Identifies a session. Not a secret: it opens nothing without an API key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// 128 random bits.
    ///
    /// # Errors
    ///
    /// When the operating system yields no random bytes.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| NoRandomness)?;
        Ok(Self(id))
    }

    /// 96 random bits behind the id of the replica that owns the session, so that all others know whose it is.
    ///
    /// # Errors
    ///
    /// When the operating system yields no random bytes.
    pub fn at(replica: ReplicaId) -> Result<Self, NoRandomness> {
        let Self(mut id) = Self::random()?;
        id[..4].copy_from_slice(&replica.bytes());
        Ok(Self(id))
    }

    /// The replica that owns it, where there are replicas.
    #[must_use]
    pub fn replica(self) -> ReplicaId {
        let [a, b, c, d, ..] = self.0;
        [a, b, c, d].into()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SessionId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() != 32 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(());
        }
        u128::from_str_radix(text, 16).map(|id| Self(id.to_be_bytes())).map_err(|_| ())
    }
}

/// What the creator of a session asks for.
pub struct Spec {
    /// Who runs it.
    pub provider: Arc<Entry>,
    /// Where, in the provider's terms.
    pub target: Target,
    /// Its first size, until a client names one.
    pub size: Size,
    /// For whom it was made, as the creator says.
    pub subject: Option<Arc<str>>,
    /// Whether whoever holds a link to it may use that; if not, only its subject may.
    pub shared: bool,
    /// The creator's own notes.
    pub labels: Vec<(String, String)>,
    /// What its clients speak that offer no subprotocol, where its creator said so.
    pub dialect: Option<&'static str>,
    /// Whether it is recorded, which needs a recorder.
    pub record: bool,
    /// Its workspace's lease, where there are replicas and only one of them may have it.
    pub held: Option<Held>,
}

/// How long sessions live.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// How long a session is kept without its client.
    pub detach_grace: Duration,
    /// Ends it after so long without input and output.
    pub idle: Option<Duration>,
    /// Ends it after so long, however busy.
    pub max: Option<Duration>,
    /// Whether its output is read on while nobody is attached; if not, the remote process blocks in the end.
    pub read_detached: bool,
}

/// What all sessions of a process have in common.
pub struct Settings {
    /// How long they live.
    pub lifetimes: Lifetimes,
    /// Output that one of them holds for clients that come back, in bytes; 0 is none.
    pub scrollback: usize,
    /// Output that all of them hold.
    pub scrollbacks: Arc<Scrollbacks>,
    /// The links by which clients come back.
    pub resume: Arc<ResumeLinks>,
    /// When a model of the screen is kept.
    pub screen: ScreenPolicy,
    /// Viewers of one session at once.
    pub max_viewers: usize,
    /// How fast they may be.
    pub pace: PaceSettings,
    /// Who records them, where there is a place for that.
    pub recorder: Option<Arc<Recorder>>,
    /// The replica that this process is, with which their ids begin.
    pub replica: Option<ReplicaId>,
}

/// When a session keeps a model of what is on its screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScreenPolicy {
    /// Never: viewers begin with the scrollback.
    Off,
    /// While somebody watches.
    Viewers,
    /// From the beginning, so that also a writer who has missed output finds the right screen.
    Always,
}

/// A session as everybody but its task sees it.
pub struct Session {
    id: SessionId,
    dialect: Option<&'static str>,
    shared: bool,
    record: Record,
    commands: Mutex<mpsc::Sender<Command>>,
}

impl Session {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// What its clients speak that offer no subprotocol, where its creator said so.
    #[must_use]
    pub fn dialect(&self) -> Option<&'static str> {
        self.dialect
    }

    /// The only subject that may use its links, where they are not for whoever holds them.
    #[must_use]
    pub fn owner(&self) -> Option<Arc<str>> {
        self.record.facts().subject.clone().filter(|_| !self.shared)
    }

    /// The provider's name, and for whom it was made.
    #[must_use]
    pub fn belongs_to(&self) -> (&str, Option<&str>) {
        (&self.record.facts().provider, self.record.facts().subject.as_deref())
    }

    /// How it stands.
    #[must_use]
    pub fn info(&self) -> Info {
        self.record.info(self.id)
    }

    /// Hands it a client, a writer or a viewer. The task is gone when this fails, and the attachment comes back.
    ///
    /// # Errors
    ///
    /// The attachment, when the session has ended in the meantime.
    pub async fn attach(&self, attachment: Attachment) -> Result<(), Attachment> {
        let attachment = Box::new(attachment);
        let command = match attachment.role() {
            Role::Writer => Command::Attach(attachment),
            Role::Viewer => Command::Watch(attachment),
        };
        match self.tell(command).await {
            Err(Command::Attach(attachment) | Command::Watch(attachment)) => Err(*attachment),
            _ => Ok(()),
        }
    }

    /// Tells its task something, which comes back when that is gone.
    async fn tell(&self, command: Command) -> Result<(), Command> {
        // One sender for everybody: each clone of it would have room for a command of its own.
        let mut commands = self.commands.lock().await;
        let _ = poll_fn(|cx| commands.poll_ready(cx)).await;
        commands.try_send(command).map_err(mpsc::TrySendError::into_inner)
    }

    /// Asks it to end, at the provider too. Whether it was still there to be asked.
    pub async fn end(&self) -> bool {
        self.tell(Command::End).await.is_ok()
    }

    /// The last of its output, from the first place where one can begin to read; `None` when it has ended.
    pub async fn scrollback(&self) -> Option<Vec<u8>> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Scrollback(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Waits until what was recorded by now can be read, a second at the most.
    pub async fn flush_recording(&self) {
        if let Some(recording) = self.record.recording() {
            recording.flush().await;
        }
    }

    /// Tells it that a link was minted which may be used until then. Whether it was still there to be told.
    pub async fn expect_client(&self, until: Instant) -> bool {
        self.tell(Command::Expect(until)).await.is_ok()
    }
}

/// What a session's task is told.
enum Command {
    Attach(Box<Attachment>),
    Watch(Box<Attachment>),
    Repaint(Seat),
    ViewerLeft,
    /// It has the link that it was given last.
    ViewerConfirmed(Seat),
    /// It wants a fresh link.
    RenewViewer(Seat),
    Expect(Instant),
    Scrollback(oneshot::Sender<Vec<u8>>),
    End,
    /// Its terminal can be had no longer.
    Fail(Box<Failure>),
}

/// How many commands may wait for a session's task; whoever sends more waits, too. A channel of tokio would keep room for 32 of
/// them.
const COMMANDS: usize = 8;

#[cfg(test)]
mod id_tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written_and_nothing_else_is_one() {
        let id = SessionId::random().unwrap();
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        for wrong in ["", &text[1..], &format!("{text}0"), &text.to_uppercase().replace('0', "A"), &"+".repeat(32)] {
            assert!(wrong.parse::<SessionId>().is_err() || *wrong == text, "{wrong:?}");
        }
        assert!("+0000000000000000000000000000001".parse::<SessionId>().is_err());
    }
}
