//! The messages of the terminal's WebSocket (GetWebTerminal, sample of `WebTerminalUrl`).

use serde::Deserialize;

/// A message of the client. A member that is missing has its zero value; unknown members are ignored.
#[derive(Debug, Deserialize)]
pub(super) struct Inbound {
    #[serde(default)]
    pub(super) operation: String,
    #[serde(default)]
    pub(super) data: String,
    #[serde(default)]
    pub(super) rows: u16,
    #[serde(default)]
    pub(super) cols: u16,
}

impl Inbound {
    /// `None` if it is no JSON object, or a member has the wrong type.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // An array of four would also do for the derived reader.
        text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()
    }
}

/// Bytes of a [`stdout`] message besides its data.
const ENVELOPE: usize = 64;

/// A message that carries terminal output. All four members are there, rows and columns being 0.
pub(super) fn stdout(data: &str) -> String {
    message("stdout", data)
}

/// A message of any operation, in the same shape.
pub(super) fn message(operation: &str, data: &str) -> String {
    let mut json = String::with_capacity(ENVELOPE + data.len() + data.len() / 8);
    json.push_str("{\"operation\":\"");
    escape(operation, &mut json);
    json.push_str("\",\"data\":\"");
    escape(data, &mut json);
    json.push_str("\",\"rows\":0,\"cols\":0}");
    json
}

/// Escapes as Go's `encoding/json` does by default: besides what JSON demands also `<`, `>`, `&`, U+2028 and U+2029.
fn escape(text: &str, json: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0C => "\\f",
            b'<' | b'>' | b'&' | 0..0x20 => "",
            // The two separators are E2 80 A8 and E2 80 A9.
            0xE2 if matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xA8 | 0xA9])) => {
                json.push_str(&text[start..at]);
                json.push_str(if bytes[at + 2] == 0xA8 { "\\u2028" } else { "\\u2029" });
                start = at + 3;
                continue;
            }
            _ => continue,
        };
        json.push_str(&text[start..at]);
        start = at + 1;
        if short.is_empty() {
            json.push_str("\\u00");
            json.push(char::from(HEX[usize::from(byte >> 4)]));
            json.push(char::from(HEX[usize::from(byte & 15)]));
        } else {
            json.push_str(short);
        }
    }
    json.push_str(&text[start..]);
}

/// Terminal output on its way into text: a character that two reads have cut in two is joined again, and what is no
/// UTF-8 becomes U+FFFD.
#[derive(Debug)]
pub(super) struct Decoder {
    buffer: Box<[u8]>,
    /// Bytes at the start of `buffer` that may be the beginning of a character; at most 3.
    carried: usize,
}

impl Decoder {
    /// A decoder for reads of up to `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        Self { buffer: vec![0; capacity + 3].into_boxed_slice(), carried: 0 }
    }

    /// Where to read to, at most `limit` bytes: `buffer[filled..]`.
    pub(super) fn space(&mut self, limit: usize) -> (&mut [u8], usize) {
        let end = self.buffer.len().min(self.carried.saturating_add(limit));
        (&mut self.buffer[..end], self.carried)
    }

    /// The text of the `read` bytes that were put there, as far as its characters are complete.
    pub(super) fn text(&mut self, read: usize) -> String {
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
    pub(super) fn finish(&mut self) -> &'static str {
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
    fn output_is_one_object_with_all_four_members() {
        let value: serde_json::Value = serde_json::from_str(&stdout("ls\r\n")).unwrap();
        assert_eq!(value, serde_json::json!({"operation": "stdout", "data": "ls\r\n", "rows": 0, "cols": 0}));
    }

    #[test]
    fn every_character_survives_the_escaping() {
        let all: String = (0..0x3000).filter_map(char::from_u32).chain(['\u{FFFD}', '😀']).collect();
        let json = stdout(&all);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["data"], all.as_str());
        assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']));
        assert_eq!(message("x", "\u{1b}[0m<"), r#"{"operation":"x","data":"\u001b[0m\u003c","rows":0,"cols":0}"#);
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

    #[test]
    fn missing_members_are_zero_and_wrong_types_are_errors() {
        let inbound = Inbound::parse(r#"{"operation":"ping","more":1}"#).unwrap();
        assert_eq!((inbound.operation.as_str(), inbound.data.as_str(), inbound.rows, inbound.cols), ("ping", "", 0, 0));
        for bad in [r#"{"operation":1}"#, r#"{"cols":1.5}"#, r#"{"rows":70000}"#, r#"{"cols":-1}"#, "[]", "x", ""] {
            assert!(Inbound::parse(bad).is_none(), "{bad}");
        }
    }
}
