//! Frames as a peer writes them, sound or not, and what a decoder makes of them. Nothing here uses the encoder.

use polytty_websocket::{Close, Decoder, Error, Event, Kind, Limits, Role};

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A frame, bit by bit.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) reserved: u8,
    pub(crate) opcode: u8,
    pub(crate) key: Option<[u8; 4]>,
    pub(crate) length: Length,
    pub(crate) payload: Vec<u8>,
}

/// How a length is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Shortest,
    /// In 16 bits.
    Word,
    /// In 64 bits.
    Long,
    /// In 64 bits, whatever the payload.
    Claimed(u64),
}

impl Frame {
    /// A final frame with the shortest length, masked if `to` is a server.
    pub(crate) fn new(to: Role, opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        let key = (to == Role::Server).then_some([0x37, 0xfa, 0x21, 0x3d]);
        Self { fin: true, reserved: 0, opcode, key, length: Length::Shortest, payload: payload.into() }
    }

    pub(crate) fn unfinished(mut self) -> Self {
        self.fin = false;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.fin) << 7 | self.reserved << 4 | self.opcode];
        let mask = u8::from(self.key.is_some()) << 7;
        let len = self.payload.len();
        match self.length {
            Length::Shortest if len < 126 => bytes.push(mask | len as u8),
            Length::Shortest | Length::Word if len < 1 << 16 => {
                bytes.push(mask | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            Length::Shortest | Length::Word | Length::Long => {
                bytes.push(mask | 127);
                bytes.extend((len as u64).to_be_bytes());
            }
            Length::Claimed(claimed) => {
                bytes.push(mask | 127);
                bytes.extend(claimed.to_be_bytes());
            }
        }
        bytes.extend(self.key.iter().flatten());
        bytes.extend(self.payload.iter().enumerate().map(|(i, byte)| byte ^ self.key.map_or(0, |key| key[i % 4])));
        bytes
    }
}

pub(crate) fn bytes(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::bytes).collect()
}

/// An event that owns what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message { kind: Kind::Text, payload } => {
                Self::Text(str::from_utf8(payload).expect("it was checked").to_owned())
            }
            Event::Message { kind: Kind::Binary, payload } => Self::Binary(payload.to_vec()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close(close) => Self::Close(close.map(|Close { code, reason }| (code.get(), reason.to_owned()))),
        }
    }
}

/// What `reads` are decoded to, and the error that ends it.
pub(crate) fn decode<'a>(
    role: Role,
    max_message: usize,
    reads: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Seen>, Option<Error>) {
    let mut decoder = Decoder::new(role, Limits { max_message });
    let mut seen = Vec::new();
    for read in reads {
        if let Err(error) = feed(&mut decoder, read, &mut seen) {
            return (seen, Some(error));
        }
    }
    (seen, None)
}

/// Gives `decoder` one read.
pub(crate) fn feed(decoder: &mut Decoder, read: &[u8], seen: &mut Vec<Seen>) -> Result<(), Error> {
    let mut scratch = read.to_vec();
    let mut rest = &mut scratch[..];
    while let Some(event) = decoder.decode(&mut rest)? {
        seen.push(event.into());
    }
    assert!(rest.is_empty(), "what is left was not taken");
    Ok(())
}
