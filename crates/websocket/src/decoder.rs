//! Bytes of a peer in, messages and control frames out.

use std::mem;

use crate::assembly::Assembly;
use crate::head::{Context, Head, Opcode};
use crate::{Close, Error, Kind, MAX_HEADER, Role, mask};

/// What a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest message, in bytes of payload over all its fragments. No frame can be longer either.
    pub max_message: usize,
}

/// What was decoded. Payloads are unmasked and lie in the input, or in the decoder if they came in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole data message, joined over its fragments.
    Message {
        /// Text or binary.
        kind: Kind,
        /// UTF-8 where the kind is text.
        payload: &'a [u8],
    },
    /// To be answered by a Pong with the same payload of at most 125 bytes (RFC 6455, section 5.5.2).
    Ping(&'a [u8]),
    /// The answer to a Ping, or an unasked sign of life (section 5.5.3).
    Pong(&'a [u8]),
    /// The peer will send nothing more; `None` when it gave no code. To be answered by a Close, unless ours went out
    /// before (section 5.5.1).
    Close(Option<Close<'a>>),
}

/// The reading half of one connection.
///
/// It owns at most [`Limits::max_message`] and 125 bytes of heap memory, and while a message arrives at most twice what
/// has come of it: a length is believed only as the bytes follow. A buffer that has to grow is there twice for a moment.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    limits: Limits,
    state: State,
    assembly: Assembly,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Between frames, or inside of a header of which `len` bytes have come.
    Head { bytes: [u8; MAX_HEADER - 1], len: u8 },
    /// Inside of a payload: `left` bytes are to come, and `key` is turned to meet the first of them.
    Payload { opcode: Opcode, fin: bool, left: usize, key: [u8; 4] },
    /// The peer has sent its Close.
    Closed,
    /// The peer is out of step.
    Failed(Error),
}

const BETWEEN_FRAMES: State = State::Head { bytes: [0; MAX_HEADER - 1], len: 0 };

/// An event, and where its payload lies.
enum Found<'i> {
    Message(Kind, Place<'i>),
    Control(Opcode, Place<'i>),
}

enum Place<'i> {
    Input(&'i [u8]),
    Assembly,
}

impl Decoder {
    /// A decoder for what comes behind the opening handshake.
    #[must_use]
    pub const fn new(role: Role, limits: Limits) -> Self {
        Self { role, limits, state: BETWEEN_FRAMES, assembly: Assembly::new() }
    }

    /// Takes the next event from the front of `input`, which is left to begin behind it.
    ///
    /// What was taken is overwritten; what is left is untouched, and can be given again later, from a copy elsewhere or
    /// in pieces. `None` means that all of the input was taken and more is needed. The memory of a message that came in
    /// pieces is freed by the next call, so calls go on until `None` even where it is clear that nothing will come.
    ///
    /// Behind a [`Event::Close`] all input is taken and nothing of it is looked at (section 5.5.1).
    ///
    /// # Errors
    ///
    /// When the peer broke a rule or the limit. Events before that were returned by earlier calls. Each further call
    /// returns the same error, and looks at nothing.
    #[inline]
    pub fn decode<'e, 'i: 'e>(&'e mut self, input: &mut &'i mut [u8]) -> Result<Option<Event<'e>>, Error> {
        match self.whole(input)? {
            Some((kind, payload)) => Ok(Some(Event::Message { kind, payload })),
            None => self.decode_any(input),
        }
    }

    /// A message of one frame that lies in the input as a whole: nearly all are. Everything else is left to
    /// [`Decoder::decode_any`], as it was.
    #[inline]
    fn whole<'i>(&mut self, input: &mut &'i mut [u8]) -> Result<Option<(Kind, &'i [u8])>, Error> {
        let (State::Head { len: 0, .. }, &[first, second, ..]) = (self.state, &**input) else { return Ok(None) };
        let kind = match first {
            0x81 => Kind::Text,
            0x82 => Kind::Binary,
            _ => return Ok(None),
        };
        let masked = second & 0x80 != 0;
        let (len, head) = match second & 0x7f {
            short @ ..126 => (usize::from(short), 2),
            126 => match input.get(2..4) {
                Some(&[high, low]) if high > 0 || low >= 126 => (usize::from(u16::from_be_bytes([high, low])), 4),
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        let whole = head + if masked { 4 } else { 0 } + len;
        let is_right = masked == (self.role == Role::Server) && len <= self.limits.max_message;
        if !is_right || input.len() < whole || !self.assembly.is_idle() {
            return Ok(None);
        }
        let (head, payload) = take(input, whole).split_at_mut(whole - len);
        if let Some(key) = head.last_chunk().filter(|_| masked) {
            mask(payload, *key);
        }
        if kind == Kind::Text && simdutf8::basic::from_utf8(payload).is_err() {
            return Err(self.fail(Error::Utf8));
        }
        Ok(Some((kind, payload)))
    }

    fn decode_any<'e, 'i: 'e>(&'e mut self, input: &mut &'i mut [u8]) -> Result<Option<Event<'e>>, Error> {
        match self.state {
            State::Head { .. } => self.assembly.release(),
            State::Payload { .. } => {}
            State::Closed => {
                self.assembly = Assembly::new();
                *input = &mut [];
                return Ok(None);
            }
            State::Failed(error) => return Err(self.fail(error)),
        }
        let found = match self.find(input) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error) => return Err(self.fail(error)),
        };
        match found {
            Found::Message(kind, Place::Input(payload)) => Ok(Some(Event::Message { kind, payload })),
            Found::Message(kind, Place::Assembly) => {
                Ok(Some(Event::Message { kind, payload: self.assembly.finished() }))
            }
            Found::Control(Opcode::Close, place) => self.close(place),
            Found::Control(opcode, place) => {
                let payload = match place {
                    Place::Input(payload) => payload,
                    Place::Assembly => self.assembly.control(),
                };
                Ok(Some(if opcode == Opcode::Ping { Event::Ping(payload) } else { Event::Pong(payload) }))
            }
        }
    }

    /// Whether nothing more will be decoded: the peer has sent its Close, or broken a rule.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Closed | State::Failed(_))
    }

    /// Whether nothing of a frame or message has come whose rest has not.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        !matches!(self.state, State::Payload { .. } | State::Head { len: 1.., .. }) && !self.assembly.in_message()
    }

    /// Bytes of heap memory that the decoder owns now. Between messages, once [`Decoder::decode`] has returned `None`,
    /// there are none.
    #[must_use]
    pub fn held(&self) -> usize {
        self.assembly.held()
    }

    /// Takes frames up to one that makes an event.
    fn find<'i>(&mut self, input: &mut &'i mut [u8]) -> Result<Option<Found<'i>>, Error> {
        loop {
            let (opcode, fin, left, key) = match self.state {
                State::Payload { opcode, fin, left, key } => (opcode, fin, left, key),
                _ => {
                    let Some(head) = self.head(input)? else { return Ok(None) };
                    match head.opcode {
                        Opcode::Text => self.assembly.begin(Kind::Text),
                        Opcode::Binary => self.assembly.begin(Kind::Binary),
                        _ => {}
                    }
                    (head.opcode, head.fin, head.len, head.key)
                }
            };
            let payload = take(input, left);
            if key != [0; 4] {
                mask(payload, key);
            }
            let left = left - payload.len();
            self.state = match left {
                0 => BETWEEN_FRAMES,
                _ => State::Payload { opcode, fin, left, key: turned(key, payload.len()) },
            };
            let found =
                if opcode.is_control() { self.control(opcode, payload, left) } else { self.data(fin, payload, left)? };
            if found.is_some() || left > 0 {
                return Ok(found);
            }
        }
    }

    /// The next header, from the input or joined with what came of it before.
    fn head(&mut self, input: &mut &mut [u8]) -> Result<Option<Head>, Error> {
        let context = Context {
            masked: self.role == Role::Server,
            in_message: self.assembly.in_message(),
            room: self.limits.max_message - self.assembly.message_len(),
        };
        let State::Head { bytes: kept, len: kept_len } = &mut self.state else { return Ok(None) };
        if *kept_len > 0 {
            return joined_head(kept, kept_len, input, context);
        }
        if let Some((head, len)) = Head::parse(input, context)? {
            take(input, len);
            return Ok(Some(head));
        }
        // What is no whole header is shorter than the longest one.
        let rest = take(input, input.len());
        kept[..rest.len()].copy_from_slice(rest);
        *kept_len = rest.len() as u8;
        Ok(None)
    }

    /// Takes `payload` of a data frame, of which `left` bytes are to come.
    fn data<'i>(&mut self, fin: bool, payload: &'i [u8], left: usize) -> Result<Option<Found<'i>>, Error> {
        let ends = fin && left == 0;
        if ends && self.assembly.message_len() == 0 {
            let kind = self.assembly.finish_with(payload)?;
            return Ok(Some(Found::Message(kind, Place::Input(payload))));
        }
        // The last frame says how long the message becomes.
        let most = match fin {
            true => self.assembly.message_len() + payload.len() + left,
            false => self.limits.max_message,
        };
        self.assembly.extend(payload, most)?;
        if !ends {
            return Ok(None);
        }
        Ok(Some(Found::Message(self.assembly.finish()?, Place::Assembly)))
    }

    /// The same for a control frame.
    fn control<'i>(&mut self, opcode: Opcode, payload: &'i [u8], left: usize) -> Option<Found<'i>> {
        if left == 0 && self.assembly.control().is_empty() {
            return Some(Found::Control(opcode, Place::Input(payload)));
        }
        self.assembly.extend_control(payload);
        (left == 0).then_some(Found::Control(opcode, Place::Assembly))
    }

    /// Ends with a Close. A message that it cuts off can never be finished.
    fn close<'e>(&'e mut self, place: Place<'e>) -> Result<Option<Event<'e>>, Error> {
        self.state = State::Closed;
        self.assembly.abandon_message();
        let body = match place {
            Place::Input(body) => body,
            Place::Assembly => self.assembly.control(),
        };
        match Close::parse(body) {
            Ok(close) => Ok(Some(Event::Close(close))),
            Err(error) => {
                self.state = State::Failed(error);
                Err(error)
            }
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        self.state = State::Failed(error);
        self.assembly = Assembly::new();
        error
    }
}

/// A header of which `kept` has come before.
#[cold]
fn joined_head(
    kept: &mut [u8; MAX_HEADER - 1],
    kept_len: &mut u8,
    input: &mut &mut [u8],
    context: Context,
) -> Result<Option<Head>, Error> {
    let mut joined = [0; MAX_HEADER];
    let mut len = usize::from(*kept_len);
    joined[..len].copy_from_slice(&kept[..len]);
    while let [byte] = take(input, 1) {
        joined[len] = *byte;
        len += 1;
        if let Some((head, _)) = Head::parse(&joined[..len], context)? {
            return Ok(Some(head));
        }
    }
    kept[..len].copy_from_slice(&joined[..len]);
    *kept_len = len as u8;
    Ok(None)
}

/// Splits off the front of `input`: `len` bytes, or all that there are.
fn take<'i>(input: &mut &'i mut [u8], len: usize) -> &'i mut [u8] {
    let whole = mem::take(input);
    let (taken, rest) = whole.split_at_mut(len.min(whole.len()));
    *input = rest;
    taken
}

/// The key as the byte meets it that is `by` bytes further on.
fn turned(mut key: [u8; 4], by: usize) -> [u8; 4] {
    key.rotate_left(by % 4);
    key
}
