//! UTF-8 that arrives in pieces.

use simdutf8::compat::Utf8Error;

/// Joins characters that were cut between two slices, and replaces what is no UTF-8.
///
/// What is handed on over all calls is, byte for byte, what [`String::from_utf8_lossy`] makes of all slices together:
/// each maximal subpart of an ill-formed sequence becomes one U+FFFD (Unicode, section 3.9; the WHATWG encoding
/// standard's decoder does the same). Nothing is handed on before it is certain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Joiner {
    /// The beginning of a character: well-formed as far as it goes.
    held: [u8; Self::MAX_CARRIED],
    len: u8,
}

impl Joiner {
    /// The most that is carried from one slice to the next, in bytes: a character without its last byte.
    pub const MAX_CARRIED: usize = 3;

    /// Nothing carried.
    #[must_use]
    pub const fn new() -> Self {
        Self { held: [0; Self::MAX_CARRIED], len: 0 }
    }

    /// How many bytes are carried now.
    #[must_use]
    pub fn carried(&self) -> usize {
        usize::from(self.len)
    }

    /// The beginning of a character that is carried now.
    #[must_use]
    pub fn held(&self) -> &[u8] {
        &self.held[..self.carried()]
    }

    /// Takes the next slice and hands on all text that is certain, in one piece or several, none of them empty.
    pub fn push(&mut self, bytes: &[u8], mut text: impl FnMut(&str)) {
        let rest = self.complete_held(bytes, &mut text);
        let whole = rest.len() - incomplete_suffix(rest);
        let (whole, held) = rest.split_at(whole);
        self.hold(held);
        hand_on(whole, text);
    }

    /// Hands on one U+FFFD for a character that stays incomplete, since no more bytes will come.
    pub fn finish(&mut self, mut text: impl FnMut(&str)) {
        if self.len > 0 {
            self.len = 0;
            text(REPLACEMENT);
        }
    }

    /// Adds bytes to the held character until it is whole or broken; returns those that do not belong to it.
    fn complete_held<'a>(&mut self, bytes: &'a [u8], text: &mut impl FnMut(&str)) -> &'a [u8] {
        if self.len == 0 {
            return bytes;
        }
        let had = usize::from(self.len);
        let mut char = [0; Self::MAX_CARRIED + 1];
        char[..had].copy_from_slice(&self.held[..had]);
        for (taken, &byte) in bytes.iter().enumerate() {
            let len = had + taken + 1;
            char[len - 1] = byte;
            match std::str::from_utf8(&char[..len]) {
                Ok(whole) => {
                    self.len = 0;
                    text(whole);
                    return &bytes[taken + 1..];
                }
                Err(error) if error.error_len().is_none() => self.hold(&char[..len]),
                Err(_) => {
                    self.len = 0;
                    text(REPLACEMENT);
                    return &bytes[taken..];
                }
            }
        }
        &[]
    }

    /// Keeps the beginning of a character. A slice that follows a still incomplete one is empty and changes nothing.
    fn hold(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.held[..bytes.len()].copy_from_slice(bytes);
            self.len = bytes.len() as u8;
        }
    }
}

/// The one place where long text is checked.
pub(crate) fn check(bytes: &[u8]) -> Result<&str, Utf8Error> {
    simdutf8::compat::from_utf8(bytes)
}

const REPLACEMENT: &str = "\u{fffd}";

/// How many bytes at the end are the beginning of a character that more bytes can complete.
fn incomplete_suffix(bytes: &[u8]) -> usize {
    if bytes.last().is_none_or(u8::is_ascii) {
        return 0;
    }
    let tail = &bytes[bytes.len().saturating_sub(Joiner::MAX_CARRIED)..];
    let Some(lead) = tail.iter().rposition(|&byte| byte >= 0xc0) else { return 0 };
    match std::str::from_utf8(&tail[lead..]) {
        Err(error) if error.valid_up_to() == 0 && error.error_len().is_none() => tail.len() - lead,
        _ => 0,
    }
}

/// How many bytes are mended together, once there is something in them that is no UTF-8.
const PIECE: usize = 256;

/// Hands on what does not end in the middle of a character.
fn hand_on(mut bytes: &[u8], mut text: impl FnMut(&str)) {
    while !bytes.is_empty() {
        let valid = match check(bytes) {
            Ok(valid) => return text(valid),
            Err(error) => error.valid_up_to(),
        };
        let len = if valid >= PIECE { valid } else { bytes.len().min(PIECE) };
        let (piece, rest) = bytes.split_at(len);
        // Only what follows can be the end of a piece's last character.
        let cut = if rest.is_empty() { 0 } else { incomplete_suffix(piece) };
        let (piece, rest) = bytes.split_at(len - cut);
        match check(piece) {
            Ok(valid) => text(valid),
            Err(_) => mend(piece, &mut text),
        }
        bytes = rest;
    }
}

/// Hands on at most [`PIECE`] bytes as one text, however often they are broken.
fn mend(piece: &[u8], text: &mut impl FnMut(&str)) {
    // Each U+FFFD is for at least one byte.
    let mut mended = [0; PIECE * REPLACEMENT.len()];
    let mut len = 0;
    for chunk in piece.utf8_chunks() {
        for &byte in chunk.valid().as_bytes() {
            mended[len] = byte;
            len += 1;
        }
        if !chunk.invalid().is_empty() {
            mended[len..len + REPLACEMENT.len()].copy_from_slice(REPLACEMENT.as_bytes());
            len += REPLACEMENT.len();
        }
    }
    let Ok(mended) = check(&mended[..len]) else { unreachable!("it was put together from text") };
    text(mended);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
        let (mut joiner, mut out) = (Joiner::new(), String::new());
        let mut text = |piece: &str| {
            assert!(!piece.is_empty());
            out.push_str(piece);
        };
        for piece in pieces {
            joiner.push(piece, &mut text);
            assert!(joiner.carried() <= Joiner::MAX_CARRIED);
        }
        joiner.finish(&mut text);
        out
    }

    /// Well-formed text, overlong and surrogate forms, lonely continuations, and beginnings of every length.
    fn nearly_utf8() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            "\\PC{1,3}".prop_map(String::into_bytes),
            prop::sample::select(vec![
                &b"\xc3"[..],
                b"\xe2\x82",
                b"\xf0\x9f\x98",
                b"\xf0\x9f",
                b"\xed\xa0\x80",
                b"\xc0\xaf",
                b"\xe0\x80",
                b"\xf4\x90",
                b"\x80",
                b"\xff",
                b"\xf5",
            ])
            .prop_map(<[u8]>::to_vec),
            prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    #[test]
    fn a_character_waits_for_its_last_byte() {
        let (mut joiner, mut out) = (Joiner::new(), String::new());
        for (byte, carried) in "😀".bytes().zip([1, 2, 3, 0]) {
            assert_eq!(out, "");
            joiner.push(&[byte], |text| out.push_str(text));
            assert_eq!(joiner.carried(), carried);
        }
        assert_eq!(out, "😀");
    }

    #[test]
    fn what_can_no_longer_become_a_character_does_not_wait() {
        for broken in [&b"\xff"[..], b"\x80", b"\xc0", b"\xe0\x80", b"\xed\xa0", b"\xf4\x90", b"\xf8"] {
            let (mut joiner, mut out) = (Joiner::new(), String::new());
            joiner.push(broken, |text| out.push_str(text));
            assert_eq!((joiner.carried(), out.as_str()), (0, &*String::from_utf8_lossy(broken)));
        }
    }

    #[test]
    fn a_beginning_before_another_beginning_is_broken() {
        for broken in [&b"\xe2\x82\xe2\x82"[..], b"\xf0\xf0", b"\xe2\xf0\x9f\x98"] {
            assert_eq!(joined([broken]), String::from_utf8_lossy(broken));
        }
    }

    #[test]
    fn what_is_broken_is_mended_wherever_a_piece_ends() {
        for broken in
            [&b"\xff"[..], b"\xe2\x82", b"\xf0\x9f\x98", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80\xed\xa0", b"\xff\xe2"]
        {
            for before in (0..9).chain(PIECE - 6..PIECE + 6).chain(2 * PIECE - 6..2 * PIECE + 6) {
                for behind in [0, 1, PIECE - 3, 3 * PIECE] {
                    for lead in [&b""[..], b"\xff"] {
                        let bytes = [lead, &vec![b'a'; before], broken, &vec![b'b'; behind], b"\x80"].concat();
                        assert_eq!(joined([&bytes[..]]), String::from_utf8_lossy(&bytes), "{broken:?} at {before}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn long_slices_equal_the_lossy_whole(
            pieces in prop::collection::vec(prop_oneof![nearly_utf8(), "[a-z]{0,400}".prop_map(String::into_bytes)], 0..12),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = pieces.concat();
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            prop_assert_eq!(joined([head, tail]), String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn every_split_equals_the_lossy_whole(bytes in nearly_utf8()) {
            let whole = String::from_utf8_lossy(&bytes);
            for cut in 0..=bytes.len() {
                let (head, tail) = bytes.split_at(cut);
                prop_assert_eq!(&joined([head, tail]), &*whole);
            }
            prop_assert_eq!(&joined(bytes.chunks(1)), &*whole);
        }
    }
}
