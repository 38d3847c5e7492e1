//! The configuration as it was written: a tree of values, each with its place, the environment laid over the file.

use std::collections::BTreeMap;

use super::error::Place;

/// One value. It has no `Debug`, since it may be a secret.
pub(super) struct Node {
    /// Where its key stands; for an entry of a list, where the entry does.
    pub(super) key_place: Place,
    /// Where the value stands.
    pub(super) place: Place,
    /// The value.
    pub(super) kind: Kind,
}

/// The types a value can have.
pub(super) enum Kind {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// A string, or whatever an environment variable holds.
    Text(String),
    /// An array.
    List(Vec<Node>),
    /// A table.
    Table(BTreeMap<String, Node>),
    /// Something that no key takes, in words.
    Other(&'static str),
    /// Something that a mistake has already been told about.
    Told,
}

impl Node {
    /// The string that it is.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The type and, where that is short, the value. Not for keys that may hold a secret.
    pub(super) fn describe(&self) -> String {
        /// Characters of a string that are shown.
        const SHOWN: usize = 40;
        match &self.kind {
            Kind::Boolean(flag) => flag.to_string(),
            Kind::Integer(number) => format!("the number {number}"),
            Kind::Float(number) => format!("the number {number}"),
            // The password of a URL must not show, even where no URL belongs.
            Kind::Text(text) if text.contains("://") || text.contains('@') => "a string of another form".to_owned(),
            Kind::Text(text) if text.chars().count() <= SHOWN => format!("{text:?}"),
            Kind::Text(text) => format!("{:?}…", text.chars().take(SHOWN).collect::<String>()),
            _ => self.describe_type().to_owned(),
        }
    }

    /// The type alone.
    pub(super) fn describe_type(&self) -> &'static str {
        match &self.kind {
            Kind::Boolean(_) => "a boolean",
            Kind::Integer(_) | Kind::Float(_) => "a number",
            Kind::Text(text) if text.is_empty() => "an empty string",
            Kind::Text(_) => "a string of another form",
            Kind::List(_) => "a list",
            Kind::Table(_) => "a table",
            Kind::Other(what) => what,
            Kind::Told => "nothing that can be read",
        }
    }
}
