//! The header of a frame (RFC 6455, section 5.2).

use crate::{Error, MAX_CONTROL, MAX_HEADER};

/// What a frame is (section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn new(bits: u8) -> Result<Self, Error> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(Error::ReservedOpcode),
        })
    }

    pub(crate) fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// A header that breaks no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) opcode: Opcode,
    /// Whether its message ends with it.
    pub(crate) fin: bool,
    /// Bytes of payload.
    pub(crate) len: usize,
    /// Zero, which changes nothing, where there is no mask.
    pub(crate) key: [u8; 4],
}

/// What a header is judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// Whether the peer has to mask.
    pub(crate) masked: bool,
    /// Whether a message has begun and not ended.
    pub(crate) in_message: bool,
    /// The bytes that a data frame may carry.
    pub(crate) room: usize,
}

impl Head {
    /// Reads a header at the beginning of `bytes`, and how long it is. `None` when more bytes are needed, as long as
    /// those that are there break no rule.
    pub(crate) fn parse(bytes: &[u8], context: Context) -> Result<Option<(Self, usize)>, Error> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let (opcode, fin) = first_byte(first, context)?;
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        if (second & 0x80 != 0) != context.masked {
            return Err(if context.masked { Error::Unmasked } else { Error::Masked });
        }
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL {
            return Err(Error::LongControl);
        }
        let Some((len, rest)) = length(short, rest)? else { return Ok(None) };
        // A control frame has room for itself. Compared before it is narrowed to the machine's word.
        if !opcode.is_control() && len > context.room as u64 {
            return Err(Error::TooLong);
        }
        let len = len as usize;
        let (key, rest) = match (context.masked, rest.split_first_chunk()) {
            (false, _) => ([0; 4], rest),
            (true, Some((key, rest))) => (*key, rest),
            (true, None) => return Ok(None),
        };
        Ok(Some((Self { opcode, fin, len, key }, bytes.len() - rest.len())))
    }

    /// The header of a whole message or control frame, and how long it is.
    pub(crate) fn write(opcode: Opcode, len: usize, key: Option<[u8; 4]>) -> ([u8; MAX_HEADER], usize) {
        let mut bytes = [0; MAX_HEADER];
        bytes[0] = 0x80 | opcode as u8;
        let mut at = match len {
            0..=125 => {
                bytes[1] = len as u8;
                2
            }
            126..=0xffff => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&(len as u64).to_be_bytes());
                10
            }
        };
        if let Some(key) = key {
            bytes[1] |= 0x80;
            bytes[at..at + 4].copy_from_slice(&key);
            at += 4;
        }
        (bytes, at)
    }
}

fn first_byte(first: u8, context: Context) -> Result<(Opcode, bool), Error> {
    if first & 0x70 != 0 {
        return Err(Error::ReservedBits);
    }
    let (opcode, fin) = (Opcode::new(first & 0x0f)?, first & 0x80 != 0);
    match opcode {
        Opcode::Continuation if !context.in_message => Err(Error::StrayContinuation),
        Opcode::Text | Opcode::Binary if context.in_message => Err(Error::Interrupted),
        Opcode::Close | Opcode::Ping | Opcode::Pong if !fin => Err(Error::FragmentedControl),
        _ => Ok((opcode, fin)),
    }
}

/// The length that begins with the seven bits `short`, and what is behind it.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Error> {
    let (len, rest, shortest) = match short {
        126 => {
            let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*bytes)), rest, 126)
        }
        127 => {
            let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*bytes), rest, 0x1_0000)
        }
        short => (u64::from(short), rest, 0),
    };
    if len < shortest {
        return Err(Error::LongLength);
    }
    if len >> 63 != 0 {
        return Err(Error::HugeLength);
    }
    Ok(Some((len, rest)))
}
