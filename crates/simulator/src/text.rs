//! Terminal output for wires that carry text.

/// Terminal output on its way into text: a character that two reads have cut in two is joined again, and what is no
/// UTF-8 becomes U+FFFD.
#[derive(Debug)]
pub(crate) struct Decoder {
    buffer: Box<[u8]>,
    /// Bytes at the start of `buffer` that may be the beginning of a character; at most 3.
    carried: usize,
}

impl Decoder {
    /// A decoder for reads of up to `capacity` bytes.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { buffer: vec![0; capacity + 3].into_boxed_slice(), carried: 0 }
    }

    /// Where to read to, at most `limit` bytes: `buffer[filled..]`.
    pub(crate) fn space(&mut self, limit: usize) -> (&mut [u8], usize) {
        let end = self.buffer.len().min(self.carried.saturating_add(limit));
        (&mut self.buffer[..end], self.carried)
    }

    /// The text of the `read` bytes that were put there, as far as its characters are complete.
    pub(crate) fn text(&mut self, read: usize) -> String {
        let filled = self.carried + read;
        let mut text = String::with_capacity(filled);
        let mut rest = &self.buffer[..filled];
        loop {
            match std::str::from_utf8(rest) {
                Ok(good) => {
                    text.push_str(good);
                    self.carried = 0;
                    return text;
                }
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    // `good` is valid, so nothing is replaced in it.
                    text.push_str(&String::from_utf8_lossy(good));
                    let Some(length) = error.error_len() else {
                        self.carried = bad.len();
                        self.buffer.copy_within(filled - self.carried..filled, 0);
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &bad[length..];
                }
            }
        }
    }

    /// What the end of the output leaves behind: U+FFFD for an incomplete character, else nothing.
    pub(crate) fn finish(&mut self) -> &'static str {
        if std::mem::take(&mut self.carried) > 0 { "\u{FFFD}" } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(decoder: &mut Decoder, bytes: &[u8]) -> String {
        let (buffer, filled) = decoder.space(usize::MAX);
        buffer[filled..filled + bytes.len()].copy_from_slice(bytes);
        decoder.text(bytes.len())
    }

    #[test]
    fn characters_are_joined_wherever_reads_cut_them() {
        let text = "aé€😀\u{2028}終";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut decoder = Decoder::new(64);
                let bytes = text.as_bytes();
                let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                let joined: String = parts.into_iter().map(|part| decode(&mut decoder, part)).collect();
                assert_eq!(joined + decoder.finish(), text);
            }
        }
    }

    #[test]
    fn what_is_no_utf_8_is_replaced_and_what_follows_is_kept() {
        let mut decoder = Decoder::new(64);
        assert_eq!(decode(&mut decoder, b"a\xFFb\xE2\x82c\xF0\x9F"), "a\u{FFFD}b\u{FFFD}c");
        assert_eq!(decode(&mut decoder, b"\x98"), "");
        assert_eq!(decode(&mut decoder, b"d"), "\u{FFFD}d");
        assert_eq!(decode(&mut decoder, b"\xC3"), "");
        assert_eq!(decoder.finish(), "\u{FFFD}");
        assert_eq!(decoder.finish(), "");
    }
}
