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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn missing_members_are_zero_and_wrong_types_are_errors() {
        let inbound = Inbound::parse(r#"{"operation":"ping","more":1}"#).unwrap();
        assert_eq!((inbound.operation.as_str(), inbound.data.as_str(), inbound.rows, inbound.cols), ("ping", "", 0, 0));
        for bad in [r#"{"operation":1}"#, r#"{"cols":1.5}"#, r#"{"rows":70000}"#, r#"{"cols":-1}"#, "[]", "x", ""] {
            assert!(Inbound::parse(bad).is_none(), "{bad}");
        }
    }
}
