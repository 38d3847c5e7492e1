use super::SHORT;
use crate::block::{BLOCK, MAX_PIECE, WINDOW, copy_run, marks, room, window};

/// The longest that one byte becomes in a string body, in bytes: `\u001b`.
pub const MAX_EXPANSION: usize = 6;

/// Appends `text` as the body of a JSON string, without the quotes around it.
///
/// Exactly what RFC 8259 demands is escaped: `"`, `\` and U+0000 to U+001F, these by their short form where they have
/// one. Everything else stays as the UTF-8 that it is.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    if rest.len() >= WORD {
        let mut written = out.len();
        let mut copy = [0; WINDOW];
        while rest.len() >= WORD {
            let window = window(rest, &mut copy);
            let len = rest.len().min(BLOCK);
            let mask = marks(window).specials & (u64::MAX >> (BLOCK - len));
            written += if mask.count_ones() <= FEW {
                sparse(window, len, mask, room(out, written, rest.len()))
            } else {
                dense(&window[..len], room(out, written, rest.len()))
            };
            rest = &rest[len..];
        }
        out.truncate(written);
    }
    for &byte in rest {
        let entry = ESCAPED[usize::from(byte)].to_le_bytes();
        out.extend_from_slice(&entry[..usize::from(entry[LEN])]);
    }
}

/// The length of the longest prefix of `text` that ends on a character boundary and whose escaped form is at most
/// `limit` bytes long.
#[must_use]
pub fn escaped_prefix(text: &str, limit: usize) -> usize {
    if text.len().saturating_mul(MAX_EXPANSION) <= limit {
        return text.len();
    }
    let (chunks, _) = text.as_bytes().as_chunks::<BLOCK>();
    let (mut used, mut at) = (0, 0);
    for chunk in chunks {
        let len = escaped_len(chunk);
        if used + len > limit {
            break;
        }
        (used, at) = (used + len, at + BLOCK);
    }
    for &byte in &text.as_bytes()[at..] {
        used += (ESCAPED[usize::from(byte)] >> (8 * LEN)) as usize;
        if used > limit {
            return text.floor_char_boundary(at);
        }
        at += 1;
    }
    text.len()
}

/// The length of the escaped form of a chunk. Counted in bytes, so that the compiler can make vectors of it.
fn escaped_len(chunk: &[u8; BLOCK]) -> usize {
    let count = |is: fn(u8) -> bool| usize::from(chunk.iter().fold(0_u8, |count, &byte| count + u8::from(is(byte))));
    let controls = count(|byte| byte < 0x20);
    let short_controls = count(|byte| (byte.wrapping_sub(0x08) < 6) & (byte != 0x0b));
    let quotes = count(|byte| (byte == b'"') | (byte == b'\\'));
    chunk.len() + (MAX_EXPANSION - 1) * controls - 4 * short_controls + quotes
}

/// Bytes of an entry of [`ESCAPED`]. Shorter text, as a keystroke is, is looked up byte by byte.
const WORD: usize = 8;

/// Up to so many special bytes in a block, what stands between them is copied; with more of them, bytes are taken from the
/// table one by one.
const FEW: u32 = 12;

/// What a block becomes at most, with few special bytes and with many, rounded up to a power of two: an offset below it
/// needs no bounds check.
const MOST_OF_FEW: usize = (BLOCK + FEW as usize * (MAX_EXPANSION - 1)).next_power_of_two();
const MOST_OF_MANY: usize = (BLOCK * MAX_EXPANSION).next_power_of_two();

/// The same, with a whole piece or table entry behind its end.
const ROOM_OF_FEW: usize = MOST_OF_FEW + MAX_PIECE;
const ROOM_OF_MANY: usize = MOST_OF_MANY + WORD;

/// Position of the length in an entry of [`ESCAPED`].
const LEN: usize = WORD - 1;

/// What each byte becomes, as a word in little endian, and at [`LEN`] how much of the word counts.
static ESCAPED: [u64; 256] = table();

const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let value = byte as u8;
        table[byte] = u64::from_le_bytes(if value < 0x20 {
            let hex = *b"0123456789abcdef";
            [b'\\', b'u', b'0', b'0', hex[byte >> 4], hex[byte & 15], 0, 6]
        } else {
            [value, 0, 0, 0, 0, 0, 0, 1]
        });
        byte += 1;
    }
    let mut at = 0;
    while at < SHORT.len() {
        let (value, letter) = SHORT[at];
        table[value as usize] = u64::from_le_bytes([b'\\', letter, 0, 0, 0, 0, 0, 2]);
        at += 1;
    }
    table
}

/// Escapes the first `len` bytes of a block, whose special ones are in `mask`, by copying what stands between these.
fn sparse(window: &[u8; WINDOW], len: usize, mut mask: u64, room: &mut [u8; ROOM_OF_FEW]) -> usize {
    let (mut read, mut written) = (0, 0);
    while mask != 0 {
        let special = mask.trailing_zeros() as usize;
        written = copy_run::<MOST_OF_FEW, _>(window, read, special, room, written);
        written += put::<MOST_OF_FEW>(window[special], room, written);
        read = special + 1;
        mask &= mask - 1;
    }
    copy_run::<MOST_OF_FEW, _>(window, read, len, room, written)
}

/// Escapes bytes of a block one by one, without a branch.
fn dense(bytes: &[u8], room: &mut [u8; ROOM_OF_MANY]) -> usize {
    let mut written = 0;
    for &byte in bytes {
        written += put::<MOST_OF_MANY>(byte, room, written);
    }
    written
}

/// Stores the whole table entry and counts only what it holds: cheaper than a branch on terminal text.
#[inline(always)]
fn put<const MOST: usize>(byte: u8, room: &mut [u8], written: usize) -> usize {
    let entry = ESCAPED[usize::from(byte)];
    let at = written & (MOST - 1);
    room[at..at + WORD].copy_from_slice(&entry.to_le_bytes());
    (entry >> (8 * LEN)) as usize
}
