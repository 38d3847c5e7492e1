//! The messages of the data plane's WebSocket (Terminal, "Protocol").
//!
//! Binary messages are a byte with the terminal's number and then terminal bytes. Text messages are JSON objects.

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// What a text message of a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inbound {
    Resize {
        id: u8,
        cols: u16,
        rows: u16,
    },
    /// What no document names, or what makes no sense: another channel, type, id or size, or no JSON at all.
    Ignored,
}

/// A resize message. Its id is a string in the documents and in one official client, and a number in another.
#[derive(Deserialize)]
struct Resize {
    /// A missing channel is the terminals'.
    #[serde(default)]
    channel: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    #[serde(deserialize_with = "number")]
    id: u8,
    cols: u16,
    rows: u16,
}

impl Inbound {
    pub(super) fn parse(text: &str) -> Self {
        match serde_json::from_str(text) {
            Ok(Resize { channel, kind, id, cols: cols @ 1.., rows: rows @ 1.. })
                if kind == "resize" && channel.as_deref().is_none_or(|channel| channel == "terminal") =>
            {
                Self::Resize { id, cols, rows }
            }
            _ => Self::Ignored,
        }
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => parse_id(&text),
        Value::Number(number) => number.as_u64().and_then(|number| u8::try_from(number).ok()),
        _ => None,
    }
    .ok_or_else(|| serde::de::Error::custom("no terminal id"))
}

/// The number of a terminal: a decimal from 1 to 255, written as the API writes it.
pub(super) fn parse_id(text: &str) -> Option<u8> {
    let id = text.parse().ok().filter(|id| *id > 0)?;
    (u8::to_string(&id) == text).then_some(id)
}

/// The message by which a terminal's end is told. `code` is missing only by a fault.
pub(super) fn exit(id: u8, code: Option<i32>) -> String {
    let mut message = json!({"channel": "terminal", "type": "exit", "id": id.to_string()});
    if let Some(code) = code {
        message["code"] = code.into();
    }
    message.to_string()
}

/// A terminal's output in its frame.
pub(super) fn output(id: u8, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(1 + bytes.len());
    frame.push(id);
    frame.extend_from_slice(bytes);
    frame
}

/// What the watcher channel may say at any time, to clients that have no watcher too.
pub(super) fn watcher_messages() -> [String; 3] {
    [
        json!({"channel": "watcher", "type": "ready", "watcher_id": "1", "root": "/app/src", "dirs": 42}),
        json!({"channel": "watcher", "type": "change", "watcher_id": "1", "path": "/app/src/a.ts", "op": "write"}),
        json!({"channel": "watcher", "type": "overflow", "watcher_id": "1", "message": "events were lost"}),
    ]
    .map(|message| message.to_string())
}

/// Text messages of channels and types that no document names, and the end of a terminal that does not exist.
pub(super) fn unknown_messages(stranger: u8) -> [String; 4] {
    [
        json!({"channel": "metrics", "type": "exit", "id": "1", "code": 0}),
        json!({"channel": "terminal", "type": "title", "id": "1", "title": "unknown type"}),
        json!({"channel": "terminal", "type": "exit", "id": stranger.to_string(), "code": 0}),
        json!({"hello": ["no", "type", 1]}),
    ]
    .map(|message| message.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resize_names_its_terminal_by_a_string_or_a_number() {
        let expected = Inbound::Resize { id: 10, cols: 160, rows: 50 };
        for text in [
            r#"{"channel":"terminal","type":"resize","id":"10","cols":160,"rows":50}"#,
            r#"{"channel":"terminal","type":"resize","id":10,"cols":160,"rows":50,"more":1}"#,
            r#"{"type":"resize","id":"10","cols":160,"rows":50}"#,
        ] {
            assert_eq!(Inbound::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_ignored() {
        for text in [
            "",
            "{",
            "[]",
            "null",
            r#"{"channel":"watcher","type":"resize","id":"1","cols":1,"rows":1}"#,
            r#"{"channel":"terminal","type":"close","id":"1","cols":1,"rows":1}"#,
            r#"{"channel":"terminal","type":"resize","id":"1","cols":0,"rows":1}"#,
            r#"{"channel":"terminal","type":"resize","id":"1","cols":1.5,"rows":1}"#,
            r#"{"channel":"terminal","type":"resize","id":"1","cols":1}"#,
            r#"{"channel":"terminal","type":"resize","id":"256","cols":1,"rows":1}"#,
            r#"{"channel":"terminal","type":"resize","id":256,"cols":1,"rows":1}"#,
            r#"{"channel":"terminal","type":"resize","id":null,"cols":1,"rows":1}"#,
        ] {
            assert_eq!(Inbound::parse(text), Inbound::Ignored, "{text}");
        }
    }

    #[test]
    fn ids_are_numbers_that_fit_the_byte_in_front_of_every_frame() {
        assert_eq!((parse_id("1"), parse_id("10"), parse_id("255")), (Some(1), Some(10), Some(255)));
        for text in ["0", "256", "-1", "+1", "01", "", "one", "1 ", "sess_def456"] {
            assert_eq!(parse_id(text), None, "{text}");
        }
        assert_eq!(output(10, b"ls\n"), b"\x0Als\n");
    }

    #[test]
    fn an_exit_tells_its_code_unless_a_fault_withholds_it() {
        let exit = |code| serde_json::from_str::<Value>(&exit(1, code)).unwrap();
        assert_eq!(exit(Some(-1)), json!({"channel": "terminal", "type": "exit", "id": "1", "code": -1}));
        assert_eq!(exit(None), json!({"channel": "terminal", "type": "exit", "id": "1"}));
    }
}
