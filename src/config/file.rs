//! The file as a layer: TOML, parsed for positions, which then travel with the values.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use config::{Value, ValueKind};
use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Mistake, Place, Problem};

/// Where the values of all layers were written. A value carries its index in here as its origin, in decimal.
#[derive(Default)]
pub(super) struct Origins(Vec<Origin>);

/// Where one value was written.
#[derive(Clone)]
pub(super) struct Origin {
    /// Where its key is.
    pub(super) key_place: Place,
    /// Where the value is.
    pub(super) place: Place,
    /// What it is, if it is of a type that no key takes.
    pub(super) other: Option<&'static str>,
}

impl Origins {
    /// Makes a value that knows where it was written.
    pub(super) fn value(&mut self, origin: Origin, kind: impl Into<ValueKind>) -> Value {
        self.0.push(origin);
        Value::new(Some(&(self.0.len() - 1).to_string()), kind)
    }

    /// Where a value was written; `None` for a table that layering itself has made.
    pub(super) fn of(&self, value: &Value) -> Option<&Origin> {
        self.0.get(value.origin()?.parse::<usize>().ok()?)
    }
}

/// What a file holds.
pub(super) struct Layer {
    /// The top-level keys.
    pub(super) root: BTreeMap<String, Value>,
    /// Where the tables outside of lists stand, by their whole keys: layering makes them anew, without their origins.
    pub(super) tables: BTreeMap<String, Origin>,
}

/// Reads TOML. Mistakes inside of single values are told, and reading goes on; `None` if the structure itself is broken,
/// so that nothing more can be said.
pub(super) fn read(path: &Arc<Path>, text: &str, origins: &mut Origins, mistakes: &mut Vec<Mistake>) -> Option<Layer> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let (broken, tables) = (Vec::new(), BTreeMap::new());
    let mut reader = Reader { lines: Lines::new(path, text), origins, broken, tables, sound: true };
    let told = mistakes.len();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let message = error.message();
        let (key, sound) = match leaf_around(table.get_ref(), &span, String::new()) {
            Some((key, leaf)) => {
                // A key without `=` may be a piece of something else. A string that was never closed has swallowed the
                // lines behind it.
                let before = text.get(..leaf.start).unwrap_or_default().trim_end();
                let is_single = text.get(leaf.clone()).is_some_and(|leaf| !leaf.contains('\n'));
                reader.broken.push(leaf);
                (key, before.ends_with(['=', '[', ',']) && is_single)
            }
            None if message == DUPLICATE => (text.get(span.clone()).map(|key| join("", key)).unwrap_or_default(), true),
            None => (String::new(), false),
        };
        reader.sound &= sound;
        let message = message.strip_suffix(", expected literal string").unwrap_or(message);
        mistakes.push(Mistake {
            place: reader.lines.at(span.start),
            key,
            problem: Problem::Syntax(message.to_owned()),
        });
    }
    if !reader.sound {
        // What looks like a key may be a piece of a value then, and that value a secret.
        mistakes[told..].iter_mut().for_each(|mistake| mistake.key.clear());
        return None;
    }
    Some(reader.layer(table.into_inner()))
}

/// Reads one TOML value, as a variable for a whole list holds it; all of it is at that variable.
///
/// # Errors
///
/// What the parser says, without the text.
pub(super) fn read_value(text: &str, origin: &Origin, origins: &mut Origins) -> Result<Value, String> {
    // The parser for a lone value takes no white space around it.
    let value = DeValue::parse(text.trim()).map_err(|error| error.message().to_owned())?;
    Ok(lone_value(value.into_inner(), origin, origins))
}

/// What `toml` says of a key that is there twice. The structure stays sound.
const DUPLICATE: &str = "duplicate key";

struct Reader<'a> {
    lines: Lines<'a>,
    origins: &'a mut Origins,
    /// Values that a mistake has been told about.
    broken: Vec<Range<usize>>,
    tables: BTreeMap<String, Origin>,
    sound: bool,
}

impl Reader<'_> {
    fn layer(mut self, table: DeTable<'_>) -> Layer {
        let root = self.entries(table, Some("")).collect();
        Layer { root, tables: self.tables }
    }

    /// The entries of a table that is at `path`, or within a list.
    fn entries(&mut self, table: DeTable<'_>, path: Option<&str>) -> impl Iterator<Item = (String, Value)> {
        table.into_iter().map(move |(key, value)| {
            let name = key.get_ref().to_string();
            let path = path.map(|path| join(path, &name));
            (name, self.value(key.span(), value, path))
        })
    }

    fn value(&mut self, key: Range<usize>, value: Spanned<DeValue<'_>>, path: Option<String>) -> Value {
        let span = value.span();
        let mut origin = Origin { key_place: self.lines.at(key.start), place: self.lines.at(span.start), other: None };
        if self.broken.contains(&span) {
            return self.origins.value(origin, ValueKind::Nil);
        }
        let kind = match value.into_inner() {
            DeValue::Array(items) => {
                ValueKind::Array(items.into_iter().map(|item| self.value(item.span(), item, None)).collect())
            }
            DeValue::Table(table) => {
                if let Some(path) = &path {
                    self.tables.insert(path.clone(), origin.clone());
                }
                ValueKind::Table(self.entries(table, path.as_deref()).collect())
            }
            scalar => self::scalar(scalar, &mut origin),
        };
        self.origins.value(origin, kind)
    }
}

fn lone_value(value: DeValue<'_>, origin: &Origin, origins: &mut Origins) -> Value {
    let mut origin = origin.clone();
    let kind = match value {
        DeValue::Array(items) => {
            ValueKind::Array(items.into_iter().map(|item| lone_value(item.into_inner(), &origin, origins)).collect())
        }
        DeValue::Table(table) => ValueKind::Table(
            table
                .into_iter()
                .map(|(key, value)| (key.get_ref().to_string(), lone_value(value.into_inner(), &origin, origins)))
                .collect(),
        ),
        other => scalar(other, &mut origin),
    };
    origins.value(origin, kind)
}

fn scalar(value: DeValue<'_>, origin: &mut Origin) -> ValueKind {
    match value {
        DeValue::String(text) => ValueKind::String(text.into_owned()),
        DeValue::Boolean(flag) => ValueKind::Boolean(flag),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => ValueKind::I64(number),
            Err(_) => other("a number beyond 64 bits", origin),
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => ValueKind::Float(number),
            Err(_) => other("a number of an unknown form", origin),
        },
        DeValue::Datetime(_) => other("a date or time", origin),
        DeValue::Array(_) | DeValue::Table(_) => other("a list or table", origin),
    }
}

fn other(what: &'static str, origin: &mut Origin) -> ValueKind {
    origin.other = Some(what);
    ValueKind::Nil
}

/// The innermost value that is neither table nor list and covers `span`, with its whole key.
fn leaf_around(table: &DeTable<'_>, span: &Range<usize>, path: String) -> Option<(String, Range<usize>)> {
    table.iter().find_map(|(key, value)| {
        let key = join(&path, key.get_ref());
        leaf_in(value, span, key)
    })
}

fn leaf_in(value: &Spanned<DeValue<'_>>, span: &Range<usize>, key: String) -> Option<(String, Range<usize>)> {
    match value.get_ref() {
        DeValue::Table(table) => leaf_around(table, span, key),
        DeValue::Array(items) => items.iter().find_map(|item| leaf_in(item, span, key.clone())),
        _ => {
            let leaf = value.span();
            (leaf.start <= span.start && span.end <= leaf.end).then_some((key, leaf))
        }
    }
}

/// A key below another, quoted where TOML would have it so.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// Turns byte offsets into lines and columns.
struct Lines<'a> {
    path: &'a Arc<Path>,
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(path: &'a Arc<Path>, text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(index, _)| index + 1)).collect();
        Self { path, text, starts }
    }

    fn at(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        let before = self.text.get(start..offset).unwrap_or_default();
        // No editor counts a byte order mark.
        let column = before.trim_start_matches('\u{feff}').chars().count() + 1;
        Place::At(self.path.clone(), line, column)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(text: &str) -> (bool, Vec<String>) {
        let mut mistakes = Vec::new();
        let layer = read(&Path::new("p").into(), text, &mut Origins::default(), &mut mistakes);
        (layer.is_some(), mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_broken_value_does_not_hide_what_follows() {
        let (sound, mistakes) = told("[a]\nb = 30s\nc = 1.2.3\nd = tru\nä = 1\n");
        assert!(!sound, "{mistakes:?}");
        let (sound, mistakes) = told("[a]\nb = 30s\nc = 1.2.3\nd = tru\nb = 1\n");
        assert!(sound);
        assert_eq!(mistakes[0], "p:2:5: a.b: not TOML: string values must be quoted");
        assert!(mistakes[1].starts_with("p:3:8: a.c: not TOML: "), "{mistakes:?}");
        assert!(mistakes[2].starts_with("p:4:5: a.d: not TOML: "), "{mistakes:?}");
        assert!(mistakes.contains(&"p:5:1: b: not TOML: duplicate key".to_owned()), "{mistakes:?}");
    }

    #[test]
    fn a_broken_structure_is_the_end() {
        for text in ["[a\nb = 1\n", "[a]\nb = [1, 2\nc = 1\n", "[a]\nb\nc = 1\n", "[a]\nb = \"\"\"x\nc = 1\n", "= 1\n"]
        {
            let (sound, mistakes) = told(text);
            assert!(!sound && !mistakes.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn columns_count_characters() {
        let path = Path::new("p").into();
        let lines = Lines::new(&path, "aé\n\"é\" = x");
        assert_eq!(lines.at(0).to_string(), "p:1:1");
        assert_eq!(lines.at(3).to_string(), "p:1:3");
        assert_eq!(lines.at(4).to_string(), "p:2:1");
        assert_eq!(lines.at(11).to_string(), "p:2:7");
        assert_eq!(lines.at(400).to_string(), "p:2:1");
        assert_eq!(Lines::new(&path, "\u{feff}ab").at(4).to_string(), "p:1:2");
    }

    #[test]
    fn every_prefix_of_a_file_is_read_without_a_panic() {
        let text = "a.b = \"\\u00e9\"\n[[c]]\nd = [1, {e = 'x'}]\n\"ü\" = 1979-05-27\n[f]\ng = \"\"\"é\n\"\"\"\n";
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            told(&text[..end]);
        }
        assert_eq!(told(text), (true, Vec::new()));
    }
    proptest! {
        /// Whatever a file holds, reading ends, and either it can be used or somebody is told why not.
        #[test]
        fn any_text_is_read_or_refused(text in r#"([a-c\[\]{}="'., \n#0-9é\\-]|\[\[a\]\]\n|a = |"""|\r\n|true){0,80}"#) {
            let (sound, mistakes) = told(&text);
            prop_assert!(sound || !mistakes.is_empty());
            prop_assert!(mistakes.iter().all(|mistake| mistake.starts_with("p:")));
        }
    }
}
