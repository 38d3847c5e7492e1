//! The JSON objects with an `operation` that `polytty.v1` and the operation dialect have in common.
//!
//! Terminal bytes nearly always come in the one spelling that `JSON.stringify` and Go's encoder make of the
//! documented field order; [`known_frame`] reads it without a parser. Any other order, white space, escape or extra
//! field goes through serde_json, as [`Object`].
//!
//! Rules of reading: a field that occurs twice counts with its last value, as in JavaScript, Go and Python. A field
//! that its operation does not use may hold anything. A field that is missing makes a message ignored, never bad; a
//! field of the wrong type makes it bad.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::Unescaper;
use crate::{BadMessage, ClientEvent, MAX_CELLS, Size, utf8};

/// Reads `head`, a string body, a quote and `}` (with `extra`, also kubeutil's `,"rows":0,"cols":0}`), and appends
/// what the body stands for. `false` for any other spelling and for what is not UTF-8; then nothing has happened.
#[inline]
pub(crate) fn known_frame(head: &str, extra: Extra, text: &[u8], strings: &mut Unescaper, out: &mut Vec<u8>) -> bool {
    match text.strip_prefix(head.as_bytes()) {
        Some(body) => known_body(body, extra, strings, out),
        None => false,
    }
}

fn known_body(body: &[u8], extra: Extra, strings: &mut Unescaper, out: &mut Vec<u8>) -> bool {
    let (start, before) = (out.len(), *strings);
    if let Ok(read) = strings.push_unchecked(body, out) {
        let tail = &body[read.len + 1..];
        let is_known = tail == b"}" || {
            let tail = tail.trim_ascii_end();
            tail == b"}" || (extra == Extra::RowsAndCols && is_rows_and_cols(tail))
        };
        // The escapes are ASCII, and so is what stands behind the body.
        if is_known && (read.is_ascii || utf8::check(body).is_ok()) {
            return true;
        }
    }
    *strings = before;
    out.truncate(start);
    false
}

/// What may stand behind the `data` of a known frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extra {
    None,
    RowsAndCols,
}

fn is_rows_and_cols(tail: &[u8]) -> bool {
    let number = |tail: &[u8]| {
        let digits = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
        // JSON has no number with a leading zero; whoever sends one gets the parser's answer.
        (digits == 1 || (digits > 1 && tail[0] != b'0')).then_some(digits)
    };
    let read = || {
        let tail = tail.strip_prefix(b",\"rows\":")?;
        let tail = tail[number(tail)?..].strip_prefix(b",\"cols\":")?;
        Some(&tail[number(tail)?..] == b"}")
    };
    read().unwrap_or(false)
}

/// One message, its values as they were written.
#[derive(Default)]
pub(crate) struct Object<'a> {
    operation: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    cols: Option<&'a RawValue>,
    rows: Option<&'a RawValue>,
    bytes: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    unknown: u64,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Operation,
    Data,
    Cols,
    Rows,
    Bytes,
    Id,
    #[serde(other)]
    Unknown,
}

impl<'a> Object<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, BadMessage> {
        serde_json::from_str(text).map_err(|error| BadMessage {
            reason: if error.is_data() { "a text message must be a JSON object" } else { "malformed JSON" },
        })
    }

    /// The operation; `None` where there is none, which is ignored like one that is not known.
    pub(crate) fn operation(&self) -> Result<Option<Cow<'a, str>>, BadMessage> {
        let Some(value) = self.operation else { return Ok(None) };
        let body = string(value).ok_or(BadMessage { reason: "`operation` must be a string" })?;
        if !body.contains('\\') {
            return Ok(Some(Cow::Borrowed(&body[..body.len() - 1])));
        }
        let (mut strings, mut word) = (Unescaper::new(), Vec::new());
        read(body, &mut strings, &mut word)?;
        strings.flush(&mut word);
        Ok(Some(Cow::Owned(String::from_utf8_lossy(&word).into_owned())))
    }

    /// Appends `data`; nothing where there is none, which some frontends send to keep the connection alive.
    pub(crate) fn data(&self, strings: &mut Unescaper, out: &mut Vec<u8>) -> Result<(), BadMessage> {
        let Some(value) = self.data else { return Ok(()) };
        read(string(value).ok_or(BadMessage { reason: "`data` must be a string" })?, strings, out)
    }

    /// `cols` and `rows`; nothing where one is missing, null, fractional or less than one.
    ///
    /// A page that is not shown computes such numbers, and JSON writes its NaN as null.
    pub(crate) fn resize(&self, spelling: Spelling) -> Result<ClientEvent, BadMessage> {
        let (cols, rows) = (cells(self.cols, spelling)?, cells(self.rows, spelling)?);
        let event = cols.zip(rows).and_then(|(cols, rows)| {
            let clamped = cols.max(rows) > u64::from(MAX_CELLS);
            Size::new(cols, rows).map(|size| ClientEvent::Resize { size, clamped })
        });
        Ok(event.unwrap_or(ClientEvent::Ignored))
    }

    /// `bytes`, an offset in a stream; `None` where it is missing.
    pub(crate) fn bytes(&self) -> Result<Option<u64>, BadMessage> {
        let Some(value) = self.bytes else { return Ok(None) };
        match number(value.get()) {
            Some(Number::Whole(count)) => Ok(Some(count)),
            _ => Err(BadMessage { reason: "`bytes` must be a whole number from 0 to 2^64 - 1" }),
        }
    }

    /// `id` as it was written; null where it is missing.
    pub(crate) fn id(&self) -> Result<&'a str, BadMessage> {
        let Some(value) = self.id else { return Ok("null") };
        match value.get().as_bytes() {
            [b'"' | b'-' | b'0'..=b'9', ..] | b"null" => Ok(value.get()),
            _ => Err(BadMessage { reason: "`id` must be a number or a string" }),
        }
    }

    /// How many fields no operation uses.
    pub(crate) fn unknown(&self) -> u64 {
        self.unknown
    }
}

/// How a number of cells may be written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// As a number.
    Number,
    /// As a number or as a string that holds one.
    NumberOrString,
}

fn cells(value: Option<&RawValue>, spelling: Spelling) -> Result<Option<u64>, BadMessage> {
    let Some(value) = value.map(RawValue::get).filter(|&value| value != "null") else { return Ok(None) };
    let digits = match value.strip_prefix('"') {
        Some(body) if spelling == Spelling::NumberOrString => body.strip_suffix('"').unwrap_or(body),
        _ => value,
    };
    match number(digits).ok_or(BadMessage { reason: "`cols` and `rows` must be numbers" })? {
        Number::Whole(count) => Ok(Some(count)),
        Number::Huge => Ok(Some(u64::MAX)),
        Number::Other => Ok(None),
    }
}

enum Number {
    /// From 0 to 2^64 - 1, however it is written.
    Whole(u64),
    /// Whole, and too large for that.
    Huge,
    /// Negative or fractional.
    Other,
}

/// Reads a JSON number; `None` for anything else.
fn number(json: &str) -> Option<Number> {
    if let Ok(count) = json.parse() {
        return Some(Number::Whole(count));
    }
    // `parse` knows words such as `inf` too.
    let only_digits = json.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let value: f64 = json.parse().ok().filter(|_| only_digits)?;
    Some(if value < 0.0 || value.fract() != 0.0 && value.is_finite() {
        Number::Other
    } else if value < TWO_TO_THE_64 {
        Number::Whole(value as u64)
    } else {
        Number::Huge
    })
}

const TWO_TO_THE_64: f64 = 18_446_744_073_709_551_616.0;

/// What stands behind the opening quote of a string.
pub(crate) fn string(value: &RawValue) -> Option<&str> {
    value.get().strip_prefix('"')
}

/// Appends what a string stands for; `body` is as of [`string`].
pub(crate) fn read(body: &str, strings: &mut Unescaper, out: &mut Vec<u8>) -> Result<(), BadMessage> {
    strings.push(body, out).map(drop).map_err(|_| BadMessage { reason: "malformed JSON" })
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut object = Object::default();
        while let Some(field) = map.next_key()? {
            let slot = match field {
                Field::Operation => &mut object.operation,
                Field::Data => &mut object.data,
                Field::Cols => &mut object.cols,
                Field::Rows => &mut object.rows,
                Field::Bytes => &mut object.bytes,
                Field::Id => &mut object.id,
                Field::Unknown => {
                    object.unknown += 1;
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *slot = Some(map.next_value()?);
        }
        Ok(object)
    }
}
