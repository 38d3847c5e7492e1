//! JSON objects as their fields, read where the usual spelling does not do.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::MAX_JSON;
use crate::{BadMessage, utf8};

/// The fields of an object with their values as they were written. Of a field that occurs twice, the last one counts.
#[derive(Default)]
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Reads an object of at most [`MAX_JSON`] bytes.
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, BadMessage> {
        if json.len() > MAX_JSON {
            return Err(BadMessage { reason: "the JSON of a message is over the limit" });
        }
        let text = utf8::check(json).map_err(|_| BadMessage { reason: "the JSON of a message is not UTF-8" })?;
        serde_json::from_str(text).map_err(|error| BadMessage {
            reason: if error.is_data() { "the JSON of a message is no object" } else { "malformed JSON" },
        })
    }

    /// The value of a field; `None` where it is missing or null.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let (_, value) = self.0.iter().rev().find(|(known, _)| known == name)?;
        (value.get() != "null").then_some(*value)
    }

    /// The same for an object; an empty one where it is missing.
    pub(super) fn object(&self, name: &str) -> Result<Self, BadMessage> {
        self.get(name).map_or(Ok(Self::default()), |value| Self::parse(value.get().as_bytes()))
    }

    /// The same for a string.
    pub(super) fn string(&self, name: &str) -> Result<Option<Cow<'a, str>>, BadMessage> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text: Text<'a> = serde_json::from_str(value.get())
            .map_err(|_| BadMessage { reason: "a field of a message is not the string that it should be" })?;
        Ok(Some(text.0))
    }

    /// How many fields have none of these names.
    pub(super) fn unknown(&self, known: &[&str]) -> u64 {
        self.0.iter().filter(|(name, _)| !known.contains(&name.as_ref())).count() as u64
    }
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}
