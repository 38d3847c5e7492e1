use super::{SHORT, WORD, clean_prefix, is_clean};

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
        let start = out.len();
        // No body grows by being read: the six bytes of `\uXXXX` become three at most. Only a carried half, which
        // turns out to be alone, adds three bytes. The rest is room for storing whole words.
        out.resize(start + input.len() + WORD, 0);
        let mut body = Body { from: input.as_bytes(), to: &mut out[start..], read: 0, written: 0 };
        match body.decode(self.high) {
            Ok(high) => {
                let (read, written) = (body.read, body.written);
                out.truncate(start + written);
                self.high = high;
                Ok(read)
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

/// What is copied at once in a long clean run.
const BLOCK: usize = 32;

/// How many plain bytes behind an escape are taken one by one before words are tried again. A line of one letter is
/// the densest text there is; looking at whole words between its escapes takes nearly twice the time.
const SINGLES: usize = 2;

/// What the byte behind a backslash stands for; 0 for `u` and for whatever is no escape.
static UNESCAPED: [u8; 256] = table();

const fn table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < SHORT.len() {
        let (value, letter) = SHORT[at];
        table[letter as usize] = value;
        at += 1;
    }
    table[b'/' as usize] = b'/';
    table
}

/// One body on its way. `written` is never more than `read` and three bytes; `to` has room for a word more than that.
struct Body<'a> {
    from: &'a [u8],
    to: &'a mut [u8],
    read: usize,
    written: usize,
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
                b'\\' => {
                    if let Some(high) = self.unicode()? {
                        return Ok(Some(high));
                    }
                }
                _ => return Err(StringError::Control),
            }
        }
    }

    /// Decodes clean runs and escapes of one letter, up to anything else. Positions are kept in local variables, or
    /// they would go through memory at each step.
    fn plain(&mut self) {
        let (from, to) = (self.from, &mut *self.to);
        let (mut read, mut written) = (self.read, self.written);
        'runs: loop {
            let run = clean_run(&from[read..], &mut to[written..]);
            read += run;
            written += run;
            let mut singles = 0;
            loop {
                match from.get(read) {
                    Some(b'\\') => {
                        let letter = from.get(read + 1).map_or(0, |&letter| UNESCAPED[usize::from(letter)]);
                        if letter == 0 {
                            break 'runs;
                        }
                        to[written] = letter;
                        read += 2;
                        singles = 0;
                    }
                    None | Some(b'"' | 0..0x20) => break 'runs,
                    Some(&byte) if singles < SINGLES || from.len() - read < WORD => {
                        to[written] = byte;
                        read += 1;
                        singles += 1;
                    }
                    Some(_) => break,
                }
                written += 1;
            }
        }
        (self.read, self.written) = (read, written);
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

/// Copies whole words from the beginning of `from` and returns how many of their bytes are clean. It stops at the first
/// special byte, or where less than a word is left.
fn clean_run(from: &[u8], to: &mut [u8]) -> usize {
    let (mut run, mut is_long) = (0, false);
    while let Some(word) = from[run..].first_chunk::<WORD>() {
        to[run..run + WORD].copy_from_slice(word);
        let clean = clean_prefix(*word);
        run += clean;
        if clean < WORD {
            break;
        }
        if !is_long {
            while let Some(block) = from[run..].first_chunk::<BLOCK>().filter(|block| is_clean(&block[..])) {
                to[run..run + BLOCK].copy_from_slice(block);
                run += BLOCK;
            }
            is_long = true;
        }
    }
    run
}

/// Length of `\uXXXX`.
const UNIT_LEN: usize = 6;

fn is_high(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

fn is_low(unit: u16) -> bool {
    (0xdc00..0xe000).contains(&unit)
}
