//! `dockhand`: text messages, each a JSON object that names its type, as Dockhand's container terminals speak.
//!
//! | message | direction | meaning |
//! |---|---|---|
//! | `{"type":"input","data":"…"}` | to the server | input |
//! | `{"type":"resize","cols":120,"rows":40}` | to the server | a new size |
//! | `{"type":"output","data":"…"}` | to us | output |
//! | `{"type":"error","message":"…"}` | to us | it failed, in the words of Dockhand or Docker |
//! | `{"type":"exit"}` | to us | the process ended; no status is told |
//!
//! The server decodes what Docker sends piece by piece, so that a character which lies across two pieces arrives as
//! U+FFFD. Nothing can be done about that on this side.

use std::fmt;
use std::io::Write as _;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::frames::Frames;
use crate::json::Unescaper;
use crate::object::{Extra, known_frame, read, string};
use crate::utf8::Joiner;
use crate::{BadMessage, Exit, Kind, Message, Outbox, Size, UpstreamDialect, UpstreamEvent};

/// The longest message that is sent, in bytes of JSON. The server sets no limit below 100 MiB; this one keeps its
/// turns short, for it has no back-pressure.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// How much of the server's own words is kept, in bytes.
pub const MAX_WORDS: usize = 512;

const INPUT: &str = r#"{"type":"input","data":""#;
const OUTPUT: &str = r#"{"type":"output","data":""#;

/// What messages look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// JSON objects, as in the table above.
    #[default]
    Json,
    /// Terminal bytes and nothing else, in binary messages to the server and any to us.
    Raw,
}

/// The upstream face of `dockhand`.
///
/// Input in JSON is text: characters cut between two calls are joined, and what is no UTF-8 becomes U+FFFD
/// ([`Joiner`]); at most [`Joiner::MAX_CARRIED`] bytes wait for the next call. Unknown types are ignored, and so are
/// unknown fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dockhand {
    form: Form,
    input: Joiner,
    output: Unescaper,
    ignored_fields: u64,
}

impl Dockhand {
    /// A codec for one connection.
    #[must_use]
    pub const fn new(form: Form) -> Self {
        Self { form, input: Joiner::new(), output: Unescaper::new(), ignored_fields: 0 }
    }

    fn decode_object(&mut self, text: &str, output: &mut Vec<u8>) -> Result<UpstreamEvent, BadMessage> {
        let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| BadMessage {
            reason: if error.is_data() { "a message must be a JSON object" } else { "malformed JSON" },
        })?;
        let Some(kind) = fields.kind else { return Ok(UpstreamEvent::Ignored) };
        let kind = words(kind).ok_or(BadMessage { reason: "`type` must be a string" })?;
        let (event, is_unused) = match kind.as_str() {
            "output" => {
                if let Some(data) = fields.data {
                    let body = string(data).ok_or(BadMessage { reason: "`data` must be a string" })?;
                    read(body, &mut self.output, output)?;
                }
                (UpstreamEvent::Output, fields.message.is_some())
            }
            "error" => {
                let message = fields.message.and_then(words).unwrap_or_default();
                (UpstreamEvent::Failed(message), fields.data.is_some())
            }
            "exit" => {
                self.ignored_fields += u64::from(fields.message.is_some());
                (UpstreamEvent::Exit(Exit::default()), fields.data.is_some())
            }
            _ => return Ok(UpstreamEvent::Ignored),
        };
        self.ignored_fields += fields.others + u64::from(is_unused);
        Ok(event)
    }
}

/// The fields that a message may have, as they stand in it; of one that comes twice, the last. The others are counted, and
/// nothing of them is kept, however many there are.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    others: u64,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Name {
    Type,
    Data,
    Message,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InAnObject;

        impl<'de> Visitor<'de> for InAnObject {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some(name) = map.next_key()? {
                    let value = match name {
                        Name::Type => &mut fields.kind,
                        Name::Data => &mut fields.data,
                        Name::Message => &mut fields.message,
                        Name::Other => {
                            map.next_value::<IgnoredAny>()?;
                            fields.others += 1;
                            continue;
                        }
                    };
                    *value = Some(map.next_value()?);
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(InAnObject)
    }
}

/// A short string, cut at [`MAX_WORDS`] and without control characters.
fn words(value: &RawValue) -> Option<String> {
    let (mut strings, mut bytes) = (Unescaper::new(), Vec::new());
    read(string(value)?, &mut strings, &mut bytes).ok()?;
    strings.flush(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let text = &text[..text.floor_char_boundary(MAX_WORDS)];
    Some(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

impl UpstreamDialect for Dockhand {
    fn decode(&mut self, message: Message<'_>, output: &mut Vec<u8>) -> Result<UpstreamEvent, BadMessage> {
        if self.form == Form::Raw {
            output.extend_from_slice(message.payload);
            return Ok(UpstreamEvent::Output);
        }
        if message.kind == Kind::Binary {
            return Err(BadMessage { reason: "this dialect has no binary messages" });
        }
        if known_frame(OUTPUT, Extra::None, message.payload, &mut self.output, output) {
            return Ok(UpstreamEvent::Output);
        }
        let text = message.as_str()?;
        self.decode_object(text, output)
    }

    fn input(&mut self, bytes: &[u8], out: &mut Outbox) {
        if self.form == Form::Raw {
            for piece in bytes.chunks(MAX_MESSAGE) {
                out.message(Kind::Binary, |payload| payload.extend_from_slice(piece));
            }
            return;
        }
        let mut frames = Frames::new(INPUT, MAX_MESSAGE, out);
        self.input.push(bytes, |text| frames.push(text));
        frames.end();
    }

    /// `false` for [`Form::Raw`], which has no word for it.
    fn resize(&mut self, size: Size, out: &mut Outbox) -> bool {
        if self.form == Form::Raw {
            return false;
        }
        let (cols, rows) = (size.cols(), size.rows());
        out.message(Kind::Text, |payload| {
            // Writing to a vector cannot fail.
            let _ = write!(payload, r#"{{"type":"resize","cols":{cols},"rows":{rows}}}"#);
        });
        true
    }

    fn eof(&mut self, _out: &mut Outbox) -> bool {
        false
    }

    fn ignored_fields(&self) -> u64 {
        self.ignored_fields
    }
}
