//! One path: its codec, its messages, and the scratch memory that a thread of the proxy has for it.

use std::hint::black_box;

use polytty_dialect::decthings::{Call, Calls, Events, Incoming};
use polytty_dialect::oblien::{self, Event, Tail, TerminalId};
use polytty_dialect::{ClientDialect, ClientEvent, Kind, Message, Outbox, UpstreamDialect, UpstreamEvent};

/// Bytes of terminal that a session moves in one turn, as in the proxy: then its scratch memory is emptied.
pub const TURN: usize = 64 * 1024;

/// The id of the terminal at Oblien.
pub(crate) const TERMINAL: u8 = 1;

/// The id of the terminal at Decthings, as long as the service's are.
pub(crate) const SESSION: &str = "01HF8Z4X6T1M3Q9K7R5W2V8B0C";

/// What a path leads through.
pub(crate) enum Codec {
    /// What a client sent, to input.
    ClientDecode(Box<dyn ClientDialect>),
    /// Output, to what a client is sent.
    ClientOutput(Box<dyn ClientDialect>),
    /// What a provider sent, to output.
    UpstreamDecode(Box<dyn UpstreamDialect>),
    /// Input, to what a provider is sent.
    UpstreamInput(Box<dyn UpstreamDialect>),
    /// What a client sent, to what a provider is sent, a message at a time as one types.
    Typed(Box<dyn ClientDialect>, Box<dyn UpstreamDialect>),
    /// What a provider sent, to what a client is sent: each message of a turn is decoded, their output encoded as one.
    Shown(Box<dyn UpstreamDialect>, Box<dyn ClientDialect>),
    /// Oblien's, whose output is copied to the line between the connection and the session.
    OblienDecode,
    OblienInput,
    /// What a connection remembers of what it delivered.
    OblienTail(Box<Tail>),
    /// As Oblien's.
    DecthingsDecode(Events),
    DecthingsInput(Calls),
}

/// One way through one codec, or through two that meet, over messages of one corpus and one length.
///
/// The messages of a turn are taken in a circle. Nothing but the codec's own memory is kept from one turn to the next.
pub struct Path {
    codec: Codec,
    messages: Vec<(Kind, Vec<u8>)>,
    next: usize,
    bytes: Vec<u8>,
    outbox: Outbox,
    size: usize,
    total: usize,
}

impl Path {
    pub(crate) fn new(codec: Codec, messages: Vec<(Kind, Vec<u8>)>, size: usize, total: usize) -> Self {
        Self { codec, messages, next: 0, bytes: Vec::new(), outbox: Outbox::new(), size, total }
    }

    /// How many messages make a turn.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.messages.len()
    }

    /// Terminal bytes of a message; text messages may have up to three more, so that no character is cut.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Terminal bytes of a turn.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.total
    }

    /// Takes the next message.
    ///
    /// # Panics
    ///
    /// When the codec makes anything else of it than what it holds.
    pub fn step(&mut self) {
        let (kind, payload) = &self.messages[self.next];
        let message = Message { kind: *kind, payload };
        self.next += 1;
        let ends = self.next == self.messages.len();
        take(&mut self.codec, message, ends, &mut self.bytes, &mut self.outbox);
        black_box((&self.bytes, &self.outbox));
        self.outbox.clear();
        if ends {
            self.next = 0;
            self.bytes.clear();
        }
    }

    /// Takes the messages of one turn.
    pub fn turn(&mut self) {
        for _ in 0..self.messages() {
            self.step();
        }
    }

    /// Takes as many turns as it takes to fill whatever is kept of what went before.
    pub fn warm_up(&mut self) {
        for _ in 0..TURN / self.total + 1 {
            self.turn();
        }
    }

    /// Takes one turn, and hands over the messages that were written and the bytes that were read on the way.
    pub(crate) fn watch(&mut self, mut wrote: impl FnMut(Message<'_>)) -> Vec<u8> {
        for (at, (kind, payload)) in self.messages.iter().enumerate() {
            let message = Message { kind: *kind, payload };
            let ends = at + 1 == self.messages.len();
            take(&mut self.codec, message, ends, &mut self.bytes, &mut self.outbox);
            self.outbox.iter().for_each(&mut wrote);
            self.outbox.clear();
        }
        std::mem::take(&mut self.bytes)
    }
}

/// The calls of the proxy: `src/session/pump`, `src/session/attachment.rs`, `src/provider`.
fn take(codec: &mut Codec, message: Message<'_>, ends: bool, bytes: &mut Vec<u8>, outbox: &mut Outbox) {
    match codec {
        Codec::ClientDecode(client) => assert_eq!(client.decode(message, bytes), Ok(ClientEvent::Input)),
        Codec::ClientOutput(client) => client.output(message.payload, outbox),
        Codec::UpstreamDecode(upstream) => assert_eq!(upstream.decode(message, bytes), Ok(UpstreamEvent::Output)),
        Codec::UpstreamInput(upstream) => upstream.input(message.payload, outbox),
        Codec::Typed(client, upstream) => {
            assert_eq!(client.decode(message, bytes), Ok(ClientEvent::Input));
            upstream.input(bytes, outbox);
            bytes.clear();
        }
        Codec::Shown(upstream, client) => {
            assert_eq!(upstream.decode(message, bytes), Ok(UpstreamEvent::Output));
            if ends {
                client.output(bytes, outbox);
                bytes.clear();
            }
        }
        Codec::OblienDecode => match oblien::decode(message) {
            Event::Output(_, output) => bytes.extend_from_slice(output),
            other => panic!("{other:?}"),
        },
        Codec::OblienInput => oblien::input(TerminalId::new(TERMINAL), message.payload, outbox),
        Codec::OblienTail(tail) => tail.push(message.payload),
        Codec::DecthingsDecode(events) => match events.read(message.payload) {
            Ok(Incoming::Data { bytes: output, .. }) => bytes.extend_from_slice(output),
            other => panic!("{other:?}"),
        },
        Codec::DecthingsInput(calls) => {
            calls.push(Call::Write(SESSION, message.payload), outbox);
        }
    }
}
