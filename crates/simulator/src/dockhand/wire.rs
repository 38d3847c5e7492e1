//! The JSON messages of the terminal's WebSocket.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use serde_json::value::RawValue;

/// What a client's message makes the server do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inbound {
    /// Bytes for the terminal, at least one.
    Input(Vec<u8>),
    /// A new size, as it is passed on to Docker.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// Nothing: an unknown type, or what JavaScript or Docker would stumble over without telling the client.
    Ignored,
}

impl Inbound {
    /// Reads a message, be it from a text frame or a binary one.
    pub(super) fn parse(json: &[u8]) -> Self {
        Self::read(&String::from_utf8_lossy(json)).unwrap_or(Self::Ignored)
    }

    fn read(json: &str) -> Option<Self> {
        // The derived reader would take an array for an object.
        if !json.trim_start().starts_with('{') {
            return None;
        }
        let members: Members<'_> = serde_json::from_str(json).ok()?;
        match serde_json::from_str::<&str>(members.kind?.get()).ok()? {
            "input" => {
                let Text(data) = serde_json::from_str(members.data?.get()).ok()?;
                (!data.is_empty()).then_some(Self::Input(data))
            }
            "resize" => Some(Self::Resize { cols: dimension(members.cols?)?, rows: dimension(members.rows?)? }),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    cols: Option<&'a RawValue>,
    #[serde(borrow)]
    rows: Option<&'a RawValue>,
}

/// A size that is truthy in JavaScript and that Docker then takes from a query: a number, or a string of digits.
fn dimension(value: &RawValue) -> Option<u16> {
    match serde_json::from_str(value.get()).ok()? {
        serde_json::Value::Number(number) => {
            let number = number.as_f64().filter(|number| number.fract() == 0.0 && *number > 0.0)?;
            // Whole, and compared before: the cast is exact.
            (number <= f64::from(u16::MAX)).then_some(number as u16)
        }
        serde_json::Value::String(digits) => digits.parse().ok(),
        _ => None,
    }
}

/// A JSON string as the bytes of its UTF-8. Half of a surrogate pair, which JavaScript's strings may hold, becomes U+FFFD.
struct Text(Vec<u8>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        // Read as bytes, serde_json lets a lone surrogate through, in three bytes that begin with ED A0 to ED BF.
        let mut bytes = deserializer.deserialize_bytes(Bytes)?;
        let mut from = 0;
        while let Some(at) = bytes[from..].windows(2).position(|pair| pair[0] == 0xED && pair[1] >= 0xA0) {
            bytes[from + at..from + at + 3].copy_from_slice("\u{FFFD}".as_bytes());
            from += at + 3;
        }
        Ok(Self(bytes))
    }
}

/// Terminal output. What is no UTF-8 by itself becomes U+FFFD, so that a character whose bytes came in two chunks is lost.
pub(super) fn output(chunk: &[u8]) -> String {
    message("output", Some(("data", &String::from_utf8_lossy(chunk))))
}

/// An error, in the words of Docker or of the server.
pub(super) fn error(text: &str) -> String {
    message("error", Some(("message", text)))
}

/// The end of the stream to Docker; why, it does not say.
pub(super) fn exit() -> String {
    message("exit", None)
}

/// A message of any type, with one more member or none.
pub(super) fn message(kind: &str, member: Option<(&str, &str)>) -> String {
    /// Bytes besides the text.
    const ENVELOPE: usize = 64;
    let text = member.map_or(0, |(_, text)| text.len());
    let mut json = String::with_capacity(ENVELOPE + text + text / 8);
    json.push_str("{\"type\":\"");
    json.push_str(kind);
    json.push('"');
    if let Some((name, text)) = member {
        json.push_str(",\"");
        json.push_str(name);
        json.push_str("\":\"");
        escape(text, &mut json);
        json.push('"');
    }
    json.push('}');
    json
}

/// Escapes as `JSON.stringify` does: the quotation mark, the backslash, and the control characters below U+0020.
fn escape(text: &str, json: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut start = 0;
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        json.push_str(&text[start..at]);
        start = at + 1;
        json.push('\\');
        match byte {
            b'"' | b'\\' => json.push(char::from(byte)),
            b'\n' => json.push('n'),
            b'\r' => json.push('r'),
            b'\t' => json.push('t'),
            0x08 => json.push('b'),
            0x0C => json.push('f'),
            _ => {
                json.push_str("u00");
                json.push(char::from(HEX[usize::from(byte >> 4)]));
                json.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    json.push_str(&text[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_the_transcript_has_them() {
        assert_eq!(output(b"0 0\r\n# "), r##"{"type":"output","data":"0 0\r\n# "}"##);
        assert_eq!(error("No such container: nope"), r#"{"type":"error","message":"No such container: nope"}"#);
        assert_eq!(exit(), r#"{"type":"exit"}"#);
    }

    #[test]
    fn every_character_survives_the_escaping() {
        let all: String = (0..0x3000).filter_map(char::from_u32).chain(['\u{FFFD}', '😀']).collect();
        let json = output(all.as_bytes());
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value, serde_json::json!({"type": "output", "data": all}));
        assert_eq!(output(b"\x1b[0m<\x7f\x00"), "{\"type\":\"output\",\"data\":\"\\u001b[0m<\u{7f}\\u0000\"}");
    }

    #[test]
    fn each_chunk_is_decoded_by_itself() {
        assert_eq!(output(b"a\xE2\x82"), "{\"type\":\"output\",\"data\":\"a\u{FFFD}\"}");
        assert_eq!(output(b"\xACb"), "{\"type\":\"output\",\"data\":\"\u{FFFD}b\"}");
    }

    fn input(json: &str) -> Option<Vec<u8>> {
        match Inbound::parse(json.as_bytes()) {
            Inbound::Input(bytes) => Some(bytes),
            _ => None,
        }
    }

    #[test]
    fn input_is_a_string_that_is_not_empty() {
        assert_eq!(input(r#"{"type":"input","data":"ls\r","more":{"a":[1]}}"#).unwrap(), b"ls\r");
        assert_eq!(input(r#" {"data":"é😀","type":"input"}"#).unwrap(), "é😀".as_bytes());
        for json in [
            r#"{"type":"input","data":""}"#,
            r#"{"type":"input","data":7}"#,
            r#"{"type":"input","data":["a"]}"#,
            r#"{"type":"input"}"#,
            r#"{"type":"Input","data":"a"}"#,
            r#"{"type":7,"data":"a"}"#,
            r#"{"data":"a"}"#,
            r#"["input","a"]"#,
            "null",
            "ls",
            "",
        ] {
            assert_eq!(Inbound::parse(json.as_bytes()), Inbound::Ignored, "{json}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character() {
        assert_eq!(input(r#"{"type":"input","data":"a\ud800b\udc00"}"#).unwrap(), "a\u{FFFD}b\u{FFFD}".as_bytes());
        assert_eq!(input(r#"{"type":"input","data":"\ud83d\ude00\ud7ff"}"#).unwrap(), "😀\u{D7FF}".as_bytes());
    }

    #[test]
    fn sizes_are_what_javascript_and_docker_take_together() {
        let size = |cols: &str, rows: &str| {
            Inbound::parse(format!(r#"{{"type":"resize","cols":{cols},"rows":{rows}}}"#).as_bytes())
        };
        assert_eq!(size("120", "40"), Inbound::Resize { cols: 120, rows: 40 });
        assert_eq!(size("\"120\"", "4e1"), Inbound::Resize { cols: 120, rows: 40 });
        assert_eq!(size("120.0", "\"0\""), Inbound::Resize { cols: 120, rows: 0 });
        for bad in ["0", "80.5", "-1", "70000", "null", "true", "\"\"", "\"x\"", "[80]"] {
            assert_eq!(size(bad, "40"), Inbound::Ignored, "{bad}");
            assert_eq!(size("80", bad), Inbound::Ignored, "{bad}");
        }
        assert_eq!(Inbound::parse(br#"{"type":"resize","cols":80}"#), Inbound::Ignored);
    }
}
