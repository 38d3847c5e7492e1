//! `polytty.v1` from the client's side, over any number of connections, without input or output.

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;
use polytty_dialect::{Kind, Outbox, Role, Size};

use super::ledger::Ledger;
use super::link::Link;
use super::outcome::Outcome;
use super::word::{self, RawResume, Word};
use super::{ConnectError, MAX_KEPT};

/// Input that is handed out in one go, in bytes, and in one message.
const TURN: usize = 64 << 10;
const MESSAGE: usize = 16 << 10;

/// Input that may be unconfirmed before a ping asks whether it was taken, in bytes. Less need not be asked about:
/// `ready` tells it, should the connection break.
const ASK_AFTER: u64 = MAX_KEPT as u64 / 16;

/// What a client knows of its session: how much output it has, which input the session may not have, how to come back.
///
/// Whoever drives it calls [`connected`](Self::connected) for each new connection, hands it every message by
/// [`take`](Self::take), sends what [`write`](Self::write) hands out whenever there is room, and asks
/// [`ended`](Self::ended) what the end of the connection means.
#[derive(Debug, Default)]
pub struct Conversation {
    role: Option<Role>,
    /// `ready` was heard over the connection that is there.
    attached: bool,
    /// The size of the terminal here, and the one that the other side was told or has told.
    size: Option<Size>,
    told: Option<Size>,
    input: Ledger,
    eof: Eof,
    closing: bool,
    ping: Option<Ping>,
    pings: u64,
    /// The offset behind the output that was heard, in bytes of the session.
    offset: u64,
    /// The offset behind what was sent over this connection; less than `offset` while it repeats itself.
    position: u64,
    /// Output that was handed on and is not consumed yet.
    unconsumed: u64,
    acked: Option<u64>,
    window: u64,
    /// Output that comes next and is not the session's, and output that a terminal has shown before.
    synthetic: u64,
    replayed: u64,
    resume: Option<Resume>,
    last_word: Option<Outcome>,
}

/// What is heard of a terminal.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The terminal is there, for the first time or again.
    Ready {
        /// What this client may do.
        role: Role,
        /// The terminal's size.
        size: Size,
        /// Whether it was there before.
        again: bool,
        /// Bytes of output that this client has not had and will not get. A viewer that does not keep up is skipped
        /// forward so, to what is on the screen by then.
        missing: u64,
    },
    /// The terminal has printed something.
    Output(Output),
    /// The terminal has another size than this client's.
    Size(Size),
    /// So many watch.
    Viewers(u64),
    /// Something went wrong that ends nothing.
    Notice {
        /// One of the protocol's error codes.
        code: String,
        /// Words for a person; they may hold control characters.
        message: String,
    },
    /// The connection was lost, for the reason that is told, and the way back is being tried. Said once until the next
    /// `Ready`, and by a [`Client`](super::Client) only.
    Lost(String),
    /// It is over. Said by a [`Client`](super::Client) only.
    Over(Outcome),
}

/// Output of a terminal, to be shown in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Not the terminal's own: it counts in no offset, and what a terminal answers to it is nobody's input.
    pub synthetic: Bytes,
    /// Shown by a terminal before, and answered then.
    pub replayed: Bytes,
    /// New.
    pub live: Bytes,
}

impl Output {
    /// How much of it counts, for [`Conversation::consumed`].
    #[must_use]
    pub fn counted(&self) -> u64 {
        (self.replayed.len() + self.live.len()) as u64
    }
}

/// A link to come back by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The link.
    pub link: Link,
    /// Until when it can be used.
    pub expires_at: Timestamp,
}

/// How a connection, or the attempt to make one, ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// With a Close; its code, if it had one.
    Closed(Option<u16>),
    /// Without one.
    Lost(String),
    /// It never came about.
    Refused(ConnectError),
}

/// What the end of a connection means.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is over.
    Over(Outcome),
    /// Come back by [`Conversation::resume`] and [`Conversation::offset`]; the words say what happened.
    Again(String),
}

/// The other side does not keep to the protocol: which rule it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Broken {}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Eof {
    #[default]
    Open,
    Asked,
    Sent,
    Taken,
}

#[derive(Clone, Copy, Debug)]
struct Ping {
    id: u64,
    /// Where the input stood before it.
    input: u64,
    behind_eof: bool,
}

impl Conversation {
    /// A conversation that has not begun, for a terminal of `size`; `None` leaves the size to others.
    #[must_use]
    pub fn new(size: Option<Size>) -> Self {
        Self { size, ..Self::default() }
    }

    /// A connection is there. Nothing that was under way over the one before counts any more.
    pub fn connected(&mut self) {
        self.attached = false;
        self.ping = None;
        self.acked = None;
        self.told = None;
        (self.synthetic, self.replayed) = (0, 0);
        self.last_word = None;
        if self.eof == Eof::Sent {
            self.eof = Eof::Asked;
        }
    }

    /// Takes one message.
    ///
    /// # Errors
    ///
    /// [`Broken`]; nothing more is to be expected of this connection.
    pub fn take(&mut self, kind: Kind, payload: Bytes) -> Result<Option<Event>, Broken> {
        if kind == Kind::Binary {
            return self.output(payload);
        }
        Ok(match word::read(&payload)? {
            Word::Ready { role, size, offset, input, window, resume } => {
                return self.ready(role, size, (offset, input, window), resume).map(Some);
            }
            Word::Resume(resume) => {
                self.resume = Some(parse(resume)?);
                None
            }
            Word::Replay { bytes, missing: _ } => {
                self.replayed = bytes;
                None
            }
            Word::Synthetic(bytes) => {
                self.synthetic = bytes;
                None
            }
            Word::Pong(id) => {
                self.pong(id);
                None
            }
            Word::Size(size) => {
                self.told = Some(size);
                Some(Event::Size(size))
            }
            Word::Viewers(count) => Some(Event::Viewers(count)),
            Word::Exit(exit) => {
                self.last_word = Some(Outcome::Exit(exit));
                None
            }
            Word::Error { code, message, last: true } => {
                self.last_word = Some(Outcome::Failed { code, message });
                None
            }
            Word::Error { code, message, last: false } => Some(Event::Notice { code, message }),
            Word::Unknown => None,
        })
    }

    /// Hands out what is to be said, of input 64 KiB at the most. Call it again once that is sent.
    pub fn write(&mut self, out: &mut Outbox) {
        let begins = self.role.is_none();
        // Whoever comes back says nothing before `ready`: any message would show that it has the new link.
        if !self.attached && !begins {
            return;
        }
        if self.role != Some(Role::Viewer)
            && let Some(size) = self.size
            && self.told != Some(size)
        {
            word::resize(size, out);
            self.told = Some(size);
        }
        if std::mem::take(&mut self.closing) {
            word::close(out);
        }
        if !self.attached {
            return;
        }
        let consumed = (self.offset - self.unconsumed).min(self.position);
        if self.acked.is_none_or(|acked| consumed >= acked + (self.window / 4).max(1)) {
            word::ack(consumed, out);
            self.acked = Some(consumed);
        }
        self.input.send(TURN, |bytes| {
            for message in bytes.chunks(MESSAGE) {
                out.message(Kind::Binary, |payload| payload.extend_from_slice(message));
            }
        });
        if self.eof == Eof::Asked && self.input.is_sent() {
            word::eof(out);
            self.eof = Eof::Sent;
        }
        let behind_eof = self.eof == Eof::Sent;
        if self.ping.is_none() && (behind_eof || self.input.unconfirmed() >= ASK_AFTER) {
            self.pings += 1;
            self.ping = Some(Ping { id: self.pings, input: self.input.sent(), behind_eof });
            word::ping(self.pings, out);
        }
    }

    /// What the end of a connection, or of the attempt to make one, means.
    pub fn ended(&mut self, how: End) -> Verdict {
        self.attached = false;
        let word = match (self.last_word.take(), &how) {
            (Some(Outcome::Failed { code, message }), _) if is_passing(&code) => {
                return self.again(Outcome::Failed { code, message });
            }
            (Some(outcome), _) => return Verdict::Over(outcome),
            (None, End::Refused(error)) => Outcome::NoConnection(error.clone()),
            (None, End::Closed(code)) => Outcome::Closed(*code),
            (None, End::Lost(why)) => Outcome::Lost(why.clone()),
        };
        let passes = match how {
            End::Refused(error) => error.is_passing(),
            // Going away, cut on the way, or of those in between; fell behind; too much at once.
            End::Closed(code) => matches!(code, None | Some(1001 | 1006 | 1011..=1015 | 4413 | 4429)),
            End::Lost(_) => true,
        };
        if passes { self.again(word) } else { Verdict::Over(word) }
    }

    /// What was lost can be come back to, if there is a link for it.
    fn again(&self, word: Outcome) -> Verdict {
        match (self.resume.is_some(), word) {
            (false, word) => Verdict::Over(word),
            (true, Outcome::Lost(why)) => Verdict::Again(why),
            (true, word) => Verdict::Again(word.to_string()),
        }
    }

    /// How many bytes may be typed; see [`MAX_KEPT`]. None behind the end of the input.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.eof == Eof::Open { self.input.room() } else { 0 }
    }

    /// Types as much as there is room for. How much. What a viewer types is dropped.
    pub fn type_bytes(&mut self, bytes: &[u8]) -> usize {
        if self.role == Some(Role::Viewer) {
            return bytes.len();
        }
        if self.eof == Eof::Open { self.input.push(bytes) } else { 0 }
    }

    /// Ends the input, behind what was typed.
    pub fn end_input(&mut self) {
        if self.eof == Eof::Open && self.role != Some(Role::Viewer) {
            self.eof = Eof::Asked;
        }
    }

    /// The terminal has this size from now on.
    pub fn resize(&mut self, size: Size) {
        self.size = Some(size);
    }

    /// Ends the session itself, not only this client's part in it.
    pub fn end_session(&mut self) {
        self.closing = true;
    }

    /// So much more output has been worked off (see [`Output::counted`]); it is acknowledged in steps.
    pub fn consumed(&mut self, bytes: u64) {
        self.unconsumed = self.unconsumed.saturating_sub(bytes);
    }

    /// Output that was handed on and is not worked off, in bytes.
    #[must_use]
    pub fn unconsumed(&self) -> u64 {
        self.unconsumed
    }

    /// How many bytes of the session's output this client has.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The newest link to come back by.
    #[must_use]
    pub fn resume(&self) -> Option<&Resume> {
        self.resume.as_ref()
    }

    /// Whether `ready` was heard over the connection that is there.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.attached
    }

    /// Whether the session has said its last word, behind which only a Close comes.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.last_word.is_some()
    }

    fn ready(
        &mut self,
        role: Role,
        size: Size,
        (offset, input, window): (u64, u64, u64),
        resume: Option<RawResume>,
    ) -> Result<Event, Broken> {
        // A viewer that does not keep up is told anew where it is.
        if self.attached && role == Role::Writer {
            return Err(Broken("a second `ready`"));
        }
        let resume = resume.map(parse).transpose()?;
        let again = self.role.is_some();
        if !again {
            self.input.begin(input);
            self.offset = offset;
        } else if role == Role::Writer && !self.input.resume(input) {
            return Err(Broken("the input that it says it has taken is not what was sent"));
        }
        // What one `ready` announced ends with the next one.
        (self.synthetic, self.replayed) = (0, 0);
        let missing = offset.saturating_sub(self.offset);
        self.offset = self.offset.max(offset);
        self.position = offset;
        self.window = window;
        // A viewer that is skipped forward keeps the link that it has.
        if resume.is_some() || !self.attached {
            self.resume = resume;
        }
        self.attached = true;
        self.role = Some(role);
        // A size that was told before the terminal was there is on its way; one that comes back tells its own.
        self.told = if again { Some(size) } else { self.told };
        Ok(Event::Ready { role, size, again, missing })
    }

    /// Output: what is not the session's, then what this client has had already, then what others were shown.
    fn output(&mut self, mut payload: Bytes) -> Result<Option<Event>, Broken> {
        if !self.attached {
            return Err(Broken("output before `ready`"));
        }
        let synthetic = payload.split_to(at_most(self.synthetic, &payload));
        self.synthetic -= synthetic.len() as u64;
        self.position += payload.len() as u64;
        // Usually nothing: it was asked for what follows.
        let had = self.offset.saturating_sub(self.position - payload.len() as u64);
        let had = payload.split_to(at_most(had, &payload)).len() as u64;
        self.replayed = self.replayed.saturating_sub(had);
        let replayed = payload.split_to(at_most(self.replayed, &payload));
        self.replayed -= replayed.len() as u64;
        let output = Output { synthetic, replayed, live: payload };
        self.offset += output.counted();
        self.unconsumed += output.counted();
        Ok(Some(Event::Output(output)))
    }

    fn pong(&mut self, id: Option<u64>) {
        if let Some(ping) = self.ping.take_if(|ping| Some(ping.id) == id) {
            self.input.forget(ping.input);
            if ping.behind_eof {
                self.eof = Eof::Taken;
            }
        }
    }
}

/// Whether trying again later may help after a final error of this code.
fn is_passing(code: &str) -> bool {
    matches!(code, "fell_behind" | "rate_limited" | "quota_exceeded" | "store_unavailable")
}

fn parse(resume: RawResume) -> Result<Resume, Broken> {
    let link = resume.url.parse().map_err(|_| Broken("a resume link is no link"))?;
    let expires_at = resume.expires_at.parse().map_err(|_| Broken("the end of a resume link is no time"))?;
    Ok(Resume { link, expires_at })
}

fn at_most(count: u64, bytes: &Bytes) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len())
}

#[cfg(test)]
mod tests;
