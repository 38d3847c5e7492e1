use super::{SHORT, WORD, clean_prefix, is_clean};

/// The longest that one byte becomes in a string body, in bytes: `\u001b`.
pub const MAX_EXPANSION: usize = 6;

/// Appends `text` as the body of a JSON string, without the quotes around it.
///
/// Exactly what RFC 8259 demands is escaped: `"`, `\` and U+0000 to U+001F, these by their short form where they have
/// one. Everything else stays as the UTF-8 that it is.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    if bytes.len() < WORD {
        for &byte in bytes {
            let entry = &ESCAPED[usize::from(byte)];
            out.extend_from_slice(&entry[..usize::from(entry[LEN])]);
        }
        return;
    }
    let mut stage = [0; STAGE];
    for chunk in bytes.chunks(CHUNK) {
        if is_clean(chunk) {
            out.extend_from_slice(chunk);
        } else {
            let staged = stage_chunk(chunk, &mut stage);
            out.extend_from_slice(&stage[..staged]);
        }
    }
}

/// The length of the longest prefix of `text` that ends on a character boundary and whose escaped form is at most
/// `limit` bytes long.
#[must_use]
pub fn escaped_prefix(text: &str, limit: usize) -> usize {
    if text.len().saturating_mul(MAX_EXPANSION) <= limit {
        return text.len();
    }
    let (chunks, _) = text.as_bytes().as_chunks::<CHUNK>();
    let (mut used, mut at) = (0, 0);
    for chunk in chunks {
        let len = escaped_len(chunk);
        if used + len > limit {
            break;
        }
        (used, at) = (used + len, at + CHUNK);
    }
    for &byte in &text.as_bytes()[at..] {
        used += usize::from(ESCAPED[usize::from(byte)][LEN]);
        if used > limit {
            return text.floor_char_boundary(at);
        }
        at += 1;
    }
    text.len()
}

/// The length of the escaped form of a chunk. Counted in bytes, so that the compiler can make vectors of it.
fn escaped_len(chunk: &[u8; CHUNK]) -> usize {
    let count = |is: fn(u8) -> bool| usize::from(chunk.iter().fold(0_u8, |count, &byte| count + u8::from(is(byte))));
    let controls = count(|byte| byte < 0x20);
    let short_controls = count(|byte| (byte.wrapping_sub(0x08) < 6) & (byte != 0x0b));
    let quotes = count(|byte| (byte == b'"') | (byte == b'\\'));
    chunk.len() + (MAX_EXPANSION - 1) * controls - 4 * short_controls + quotes
}

/// How many bytes are staged before they are appended. A chunk without anything to escape is appended as it is.
const CHUNK: usize = 64;

/// What a chunk becomes at most, and room to store a whole table entry behind any byte of it.
const STAGE: usize = CHUNK * MAX_EXPANSION + ROOM;

/// Room to escape one word in, and more: an offset below 64 and a table entry behind it need no bounds check.
const ROOM: usize = 64 + WORD;

/// Position of the length in an entry of [`ESCAPED`].
const LEN: usize = WORD - 1;

/// What each byte becomes, padded to a word, and at [`LEN`] how much of the word counts.
static ESCAPED: [[u8; WORD]; 256] = table();

const fn table() -> [[u8; WORD]; 256] {
    let mut table = [[0; WORD]; 256];
    let mut byte = 0;
    while byte < table.len() {
        let value = byte as u8;
        table[byte] = if value < 0x20 {
            let hex = *b"0123456789abcdef";
            [b'\\', b'u', b'0', b'0', hex[byte >> 4], hex[byte & 15], 0, 6]
        } else {
            [value, 0, 0, 0, 0, 0, 0, 1]
        };
        byte += 1;
    }
    let mut at = 0;
    while at < SHORT.len() {
        let (value, letter) = SHORT[at];
        table[value as usize] = [b'\\', letter, 0, 0, 0, 0, 0, 2];
        at += 1;
    }
    table
}

/// Escapes at most [`CHUNK`] bytes; returns how much of the stage they fill.
fn stage_chunk(chunk: &[u8], stage: &mut [u8; STAGE]) -> usize {
    let mut staged = 0;
    let (words, tail) = chunk.as_chunks::<WORD>();
    for word in words {
        let Some(room) = stage[staged..].first_chunk_mut() else { break };
        room[..WORD].copy_from_slice(word);
        let mut len = clean_prefix(*word);
        for &byte in &word[len..] {
            len += stage_byte(byte, len, room);
        }
        staged += len;
    }
    for &byte in tail {
        let Some(room) = stage[staged..].first_chunk_mut() else { break };
        staged += stage_byte(byte, 0, room);
    }
    staged
}

/// Stores the whole table entry and counts only what it holds: cheaper than a branch on terminal text.
fn stage_byte(byte: u8, at: usize, room: &mut [u8; ROOM]) -> usize {
    let entry = &ESCAPED[usize::from(byte)];
    let at = at & 63;
    room[at..at + WORD].copy_from_slice(entry);
    usize::from(entry[LEN])
}
