//! What lies on the wire, written and read without the codecs: they are held against it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use polytty_dialect::Kind;
use serde_json::Value;

/// How terminal bytes lie in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// A text message and nothing else in it.
    Text,
    /// A binary message and nothing else in it.
    Binary,
    /// The `data` of a JSON object that has one other field before it: its name and its value.
    Json(&'static str, &'static str),
    /// Behind one byte.
    Behind(u8),
    /// In base64, behind one character.
    Base64(char),
    /// The blob of an event of Decthings, for this terminal.
    Event(&'static str),
    /// The blob of a call of Decthings.
    Call,
}

impl Wire {
    /// Whether messages are text, so that the one who sends them has to have whole characters.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Json(..))
    }

    /// A message that holds `bytes`. What a wire of text cannot hold becomes U+FFFD.
    ///
    /// # Panics
    ///
    /// For [`Wire::Call`], which no peer sends.
    #[must_use]
    pub fn write(self, bytes: &[u8]) -> (Kind, Vec<u8>) {
        let text = || String::from_utf8_lossy(bytes).into_owned();
        match self {
            Self::Text => (Kind::Text, text().into_bytes()),
            Self::Binary => (Kind::Binary, bytes.to_vec()),
            Self::Json(field, value) => {
                let message = format!(r#"{{"{field}":"{value}","data":{}}}"#, Value::String(text()));
                (Kind::Text, message.into_bytes())
            }
            Self::Behind(first) => (Kind::Binary, [&[first], bytes].concat()),
            Self::Base64(first) => (Kind::Text, format!("{first}{}", BASE64.encode(bytes)).into_bytes()),
            Self::Event(id) => {
                let json = format!(r#"{{"event":"data","params":{{"terminalSessionId":"{id}"}}}}"#);
                let mut message = b"\x01\x08Terminal".to_vec();
                for piece in [json.as_bytes(), bytes] {
                    put_length(piece.len(), &mut message);
                    message.extend_from_slice(piece);
                }
                (Kind::Binary, message)
            }
            Self::Call => panic!("no peer sends calls"),
        }
    }

    /// The terminal bytes of a message that a codec wrote.
    ///
    /// # Panics
    ///
    /// When that is no such message.
    #[must_use]
    pub fn read(self, kind: Kind, payload: &[u8]) -> Vec<u8> {
        let is_text = self.is_text() || matches!(self, Self::Base64(_));
        assert_eq!(kind == Kind::Text, is_text, "{self:?}");
        match self {
            Self::Text | Self::Binary => payload.to_vec(),
            Self::Json(field, value) => {
                let object: Value = serde_json::from_slice(payload).expect("it is JSON");
                assert_eq!(object[field], value);
                object["data"].as_str().expect("it has data").as_bytes().to_vec()
            }
            Self::Behind(first) => payload.strip_prefix(&[first]).expect("it has the byte").to_vec(),
            Self::Base64(first) => {
                let text = std::str::from_utf8(payload).expect("it is text");
                BASE64.decode(text.strip_prefix(first).expect("it has the character")).expect("it is base64")
            }
            Self::Call => {
                // An id of four bytes, one blob, and the lengths of JSON and blob.
                assert_eq!(payload[4], 1, "it has one blob");
                let (json, rest) = length(&payload[5..]);
                let (blob, rest) = length(rest);
                assert_eq!(rest.len(), json + blob);
                rest[json..].to_vec()
            }
            Self::Event(_) => panic!("no codec writes events"),
        }
    }
}

/// Appends a length in the shortest of its forms.
fn put_length(len: usize, out: &mut Vec<u8>) {
    match len {
        ..253 => out.push(len as u8),
        253..65_536 => {
            out.push(0xfd);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}

/// A length, and what lies behind it.
fn length(bytes: &[u8]) -> (usize, &[u8]) {
    let big_endian = |bytes: &[u8]| bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte));
    match bytes[0] {
        0xfd => (big_endian(&bytes[1..3]), &bytes[3..]),
        0xfe => (big_endian(&bytes[1..5]), &bytes[5..]),
        len => (usize::from(len), &bytes[1..]),
    }
}
