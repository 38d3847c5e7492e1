use super::SHORT;
use crate::block::{BLOCK, WINDOW, copy_run, marks, window};

/// Why a string body is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringError {
    /// It ends before its closing quote.
    Unclosed,
    /// A control character stands in it unescaped.
    Control,
    /// A backslash is followed by what is no escape.
    Escape,
}

/// How much was read.
pub(crate) struct Read {
    /// The position of the closing quote.
    pub(crate) len: usize,
    /// Whether all of it was certainly ASCII. Bytes behind the quote may have been looked at, too.
    pub(crate) is_ascii: bool,
}

/// Reads string bodies of one stream of text.
///
/// JavaScript may cut a string in the middle of a surrogate pair, so that one message ends with `\ud83d` and the next
/// one begins with `\ude00`. The first half is carried to the next body. A half that stays alone becomes U+FFFD. So
/// the bytes of all bodies together are those that [`String::from_utf16_lossy`] makes of all UTF-16 units together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unescaper {
    high: Option<u16>,
}

impl Unescaper {
    /// The most that is carried from one body to the next, in bytes.
    pub const MAX_CARRIED: usize = size_of::<u16>();

    /// Nothing carried.
    #[must_use]
    pub const fn new() -> Self {
        Self { high: None }
    }

    /// Reads one body, which begins behind its opening quote and ends before the first quote that is not escaped, and
    /// appends what it stands for as UTF-8. Returns the position of that quote.
    ///
    /// # Errors
    ///
    /// [`StringError`] where `input` does not begin with a body and its quote. Then nothing was appended, and what was
    /// carried is carried still.
    pub fn push(&mut self, input: &str, out: &mut Vec<u8>) -> Result<usize, StringError> {
        self.push_unchecked(input.as_bytes(), out).map(|read| read.len)
    }

    /// The same for what may not be UTF-8; then what is appended is not, either.
    pub(crate) fn push_unchecked(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Read, StringError> {
        let start = out.len();
        // No body grows by being read: the six bytes of `\uXXXX` become three at most. Only a carried half, which
        // turns out to be alone, adds three bytes. The rest is room for storing whole pieces.
        let room = if input.len() < FEW { REPLACEMENT.len() } else { WINDOW };
        out.resize(start + input.len() + room, 0);
        let mut body = Body { from: input, to: &mut out[start..], read: 0, written: 0, is_ascii: true };
        match body.decode(self.high) {
            Ok(high) => {
                let (len, written, is_ascii) = (body.read, body.written, body.is_ascii);
                out.truncate(start + written);
                self.high = high;
                Ok(Read { len, is_ascii })
            }
            Err(error) => {
                out.truncate(start);
                Err(error)
            }
        }
    }

    /// Appends U+FFFD for a carried half, since no other half can come: other input follows, or none.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if self.high.take().is_some() {
            out.extend_from_slice(REPLACEMENT.as_bytes());
        }
    }
}

const REPLACEMENT: &str = "\u{fffd}";

/// Where less than this is left, as at the end of any body and in a keystroke, bytes are taken one by one: to prepare a
/// window takes longer.
const FEW: usize = 16;

/// No byte that an escape of ASCII stands for.
const NONE: u8 = 0xff;

/// The value of a hexadecimal digit; [`NONE`] for any other byte.
static DIGITS: [u8; 256] = {
    let mut table = [NONE; 256];
    let mut byte = 0;
    while byte < table.len() {
        if let Some(value) = (byte as u8 as char).to_digit(16) {
            table[byte] = value as u8;
        }
        byte += 1;
    }
    table
};

/// What the byte behind a backslash stands for; [`NONE`] for `u` and for whatever is no escape.
static UNESCAPED: [u8; 256] = table();

const fn table() -> [u8; 256] {
    let mut table = [NONE; 256];
    let mut at = 0;
    while at < SHORT.len() {
        let (value, letter) = SHORT[at];
        table[letter as usize] = value;
        at += 1;
    }
    table[b'/' as usize] = b'/';
    table
}

/// One body on its way. `written` is never more than `read` and three bytes; `to` has room for a window more than
/// that less three.
struct Body<'a> {
    from: &'a [u8],
    to: &'a mut [u8],
    read: usize,
    written: usize,
    is_ascii: bool,
}

impl Body<'_> {
    /// Decodes up to the closing quote; returns the half of a pair that stands directly before it.
    fn decode(&mut self, carried: Option<u16>) -> Result<Option<u16>, StringError> {
        if let Some(high) = carried {
            if self.from.first() == Some(&b'"') {
                return Ok(carried);
            }
            self.join(high)?;
        }
        loop {
            self.plain();
            match self.from.get(self.read).ok_or(StringError::Unclosed)? {
                b'"' => return Ok(None),
                b'\\' => loop {
                    if let Some(high) = self.unicode()? {
                        return Ok(Some(high));
                    }
                    // Encoders that write nothing but ASCII put one behind another: no run is to be looked for.
                    if !self.from[self.read..].starts_with(b"\\u") {
                        break;
                    }
                },
                _ => return Err(StringError::Control),
            }
        }
    }

    /// Decodes clean runs and the commonest escapes, up to anything else. Positions are kept in local variables, or they
    /// would go through memory at each step.
    fn plain(&mut self) {
        while self.from.len() - self.read >= FEW {
            let mut copy = [0; WINDOW];
            let window = window(&self.from[self.read..], &mut copy);
            let Some(room) = self.to[self.written..].first_chunk_mut() else { return };
            let marks = marks(window);
            self.is_ascii &= marks.is_ascii;
            let (read, written, goes_on) = block(window, marks.specials, room);
            self.read += read;
            self.written += written;
            if !goes_on {
                return;
            }
        }
        self.few();
    }

    /// The same, byte by byte.
    fn few(&mut self) {
        while let Some(&byte) = self.from.get(self.read) {
            let (value, len) = match byte {
                b'\\' => {
                    let letter = self.from.get(self.read + 1).map_or(NONE, |&letter| UNESCAPED[usize::from(letter)]);
                    (letter, 2)
                }
                0..0x20 | b'"' => return,
                _ => (byte, 1),
            };
            if len == 2 && value == NONE {
                return;
            }
            self.is_ascii &= byte.is_ascii();
            self.to[self.written] = value;
            self.written += 1;
            self.read += len;
        }
    }

    /// Decodes `\uXXXX`, with the other half if it is the first of a pair.
    fn unicode(&mut self) -> Result<Option<u16>, StringError> {
        let unit = self.unit()?;
        self.read += UNIT_LEN;
        if !is_high(unit) {
            self.put(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER));
            return Ok(None);
        }
        if self.from.get(self.read) == Some(&b'"') {
            return Ok(Some(unit));
        }
        self.join(unit)?;
        Ok(None)
    }

    /// Joins the first half of a pair with what follows it; alone it becomes U+FFFD, and what follows is not touched.
    fn join(&mut self, high: u16) -> Result<(), StringError> {
        let low = if self.from[self.read..].starts_with(b"\\u") { Some(self.unit()?) } else { None };
        match low {
            Some(low) if is_low(low) => {
                self.read += UNIT_LEN;
                let pair = 0x1_0000 + (u32::from(high - 0xd800) << 10) + u32::from(low - 0xdc00);
                self.put(char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            _ => self.put(char::REPLACEMENT_CHARACTER),
        }
        Ok(())
    }

    /// The UTF-16 unit of the `\uXXXX` that is next. It is not passed over.
    fn unit(&self) -> Result<u16, StringError> {
        let escape = self.from[self.read..].first_chunk::<UNIT_LEN>().ok_or(StringError::Escape)?;
        if escape[1] != b'u' {
            return Err(StringError::Escape);
        }
        escape[2..].iter().try_fold(0, |unit, &digit| {
            let value = char::from(digit).to_digit(16).ok_or(StringError::Escape)?;
            Ok(unit << 4 | value as u16)
        })
    }

    fn put(&mut self, char: char) {
        self.written += char.encode_utf8(&mut self.to[self.written..]).len();
    }
}

/// Decodes a block, whose special bytes are in `mask`: clean runs, escapes of one letter, and those of ASCII that have four digits. Returns how much of the
/// window was read and of the room was written, and whether that was all of the block.
#[inline(always)]
fn block(window: &[u8; WINDOW], mut mask: u64, room: &mut [u8; WINDOW]) -> (usize, usize, bool) {
    let (mut read, mut written) = (0, 0);
    while mask != 0 {
        let special = mask.trailing_zeros() as usize;
        // Bits are taken away one by one, and not by where the escape ends: so the next bit is known before what is
        // done with this one.
        mask &= mask - 1;
        written = copy_run::<BLOCK, _>(window, read, special, room, written);
        let escape = u64::from_le_bytes(*window[special..].first_chunk().unwrap_or(&[0; 8]));
        let (value, len) = match escape as u32 {
            CR_LF => {
                let at = written & (BLOCK - 1);
                room[at..at + 2].copy_from_slice(b"\r\n");
                written += 2;
                read = special + 4;
                mask &= mask.wrapping_sub(1);
                continue;
            }
            UNICODE_BELOW_256 => (hex(escape), UNIT_LEN),
            _ if escape as u8 == b'\\' => (UNESCAPED[usize::from((escape >> 8) as u8)], 2),
            _ => (NONE, 0),
        };
        if value == NONE {
            return (special, written, false);
        }
        room[written & (BLOCK - 1)] = value;
        written += 1;
        read = special + len;
        if len == 2 && (value == b'"' || value == b'\\') {
            mask &= mask.wrapping_sub(1);
        }
    }
    if read < BLOCK {
        written = copy_run::<BLOCK, _>(window, read, BLOCK, room, written);
        read = BLOCK;
    }
    (read, written, true)
}

/// What the two line ends and an escape below U+0100 begin with, in little endian.
const CR_LF: u32 = u32::from_le_bytes(*b"\\r\\n");
const UNICODE_BELOW_256: u32 = u32::from_le_bytes(*b"\\u00");

/// What the last two digits of a `\u00XX` stand for; [`NONE`] where they are no digits or stand for no ASCII.
fn hex(escape: u64) -> u8 {
    let digit = |at: u32| u32::from(DIGITS[usize::from((escape >> (8 * at)) as u8)]);
    let value = digit(4) << 4 | digit(5);
    if value < 0x80 { value as u8 } else { NONE }
}

/// Length of `\uXXXX`.
const UNIT_LEN: usize = 6;

fn is_high(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

fn is_low(unit: u16) -> bool {
    (0xdc00..0xe000).contains(&unit)
}
