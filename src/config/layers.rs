//! Lays the environment over the file. The `config` crate does the layering; positions and variables' names travel with
//! the values as their origins.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use config::{ConfigError, Map, Source, Value, ValueKind};

use super::environment::{Environment, PREFIX, segment_of};
use super::error::{Mistake, Place, Problem};
use super::file::{self, Layer, Origin, Origins, join};
use super::raw::{Kind, Node};

/// The sections that are lists of named entries.
const LISTS: [&str; 2] = ["keys", "providers"];
/// How a secret can be given, besides as a string.
const INDIRECT: [&str; 2] = ["ENV", "FILE"];

/// The tree of all layers, later ones over earlier ones: the file, variables for whole lists, variables for single keys.
/// `None` if the file is so broken that nothing more can be said.
pub(super) fn merge(
    file: Option<(&Arc<Path>, &str)>,
    environment: &Environment,
    mistakes: &mut Vec<Mistake>,
) -> Option<BTreeMap<String, Node>> {
    let mut origins = Origins::default();
    let mut layer = match file {
        Some((path, text)) => file::read(path, text, &mut origins, mistakes)?,
        None => Layer { root: BTreeMap::new(), tables: BTreeMap::new() },
    };
    let mut variables = Variables { root: &mut layer.root, origins: &mut origins, mistakes, taken: BTreeMap::new() };
    let assignments = variables.assign(environment);
    let file =
        Assignment { path: ROOT.to_owned(), value: Value::new(None, layer.root.into_iter().collect::<Map<_, _>>()) };
    let mut builder = config::Config::builder().add_source(file);
    for assignment in assignments {
        builder = builder.add_source(assignment);
    }
    let merged = builder.build().and_then(|merged| merged.collect());
    match merged.map(|mut layers| layers.remove(ROOT).map(|root| root.kind)) {
        Ok(Some(ValueKind::Table(root))) => {
            Some(Nodes { origins: &origins, tables: &layer.tables }.entries(root, Some("")))
        }
        Ok(_) => Some(BTreeMap::new()),
        Err(error) => {
            let problem = Problem::Rule(format!("the layers do not fit together: {error}"));
            mistakes.push(Mistake { place: Place::Nowhere, key: String::new(), problem });
            None
        }
    }
}

/// Reads the TOML value that a variable holds.
///
/// # Errors
///
/// What the parser says, without the text.
pub(super) fn value_of_variable(text: &str, variable: &Place) -> Result<Node, String> {
    let mut origins = Origins::default();
    let origin = Origin { key_place: variable.clone(), place: variable.clone(), other: None };
    let value = file::read_value(text, &origin, &mut origins)?;
    Ok(Nodes { origins: &origins, tables: &BTreeMap::new() }.node(value, None))
}

/// What everything is below while it is merged. `config` reads a top-level key as a path, all others as they are.
const ROOT: &str = "root";

/// A layer, as `config` takes it: a path such as `root.providers[0].region`, and its value.
#[derive(Clone)]
struct Assignment {
    path: String,
    value: Value,
}

impl std::fmt::Debug for Assignment {
    /// Without the value, which may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assignment").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Source for Assignment {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(Map::from([(self.path.clone(), self.value.clone())]))
    }
}

/// Finds out which key each variable sets.
struct Variables<'a> {
    root: &'a mut BTreeMap<String, Value>,
    origins: &'a mut Origins,
    mistakes: &'a mut Vec<Mistake>,
    /// Which variable sets a path; there are as many as there are variables.
    taken: BTreeMap<String, String>,
}

impl Variables<'_> {
    /// Replaces whole lists in place, since their entries are what other variables refer to, and returns the rest.
    fn assign(&mut self, environment: &Environment) -> Vec<Assignment> {
        let mut rest = Vec::new();
        for (name, value) in environment.overrides() {
            let Some(text) = value.to_str() else {
                self.tell(name, "", Problem::Rule("the value of the variable is not UTF-8".to_owned()));
                continue;
            };
            let below = &name[PREFIX.len()..];
            match LISTS.iter().find(|list| list.to_ascii_uppercase() == below) {
                Some(list) => self.replace_list(name, list, text),
                None => rest.push((name, below, text)),
            }
        }
        rest.into_iter().filter_map(|(name, below, text)| self.assignment(name, below, text)).collect()
    }

    fn replace_list(&mut self, name: &str, list: &str, text: &str) {
        match file::read_value(text, &origin(name), self.origins) {
            Ok(value) => {
                self.root.insert(list.to_owned(), value);
            }
            Err(message) => {
                let example = "expected a TOML array of tables such as [{ name = \"…\" }]";
                self.tell(name, list, Problem::Rule(format!("{example}; {message}")));
            }
        }
    }

    fn assignment(&mut self, name: &str, below: &str, text: &str) -> Option<Assignment> {
        let Some((section, key)) = below.split_once("__").filter(|(section, _)| is_segment(section)) else {
            return self.misnamed(name);
        };
        let (section, key) = match LISTS.iter().find(|list| list.to_ascii_uppercase() == section) {
            Some(list) => self.entry(name, list, key)?,
            None => (section.to_ascii_lowercase(), key),
        };
        let (key, how) = match key.rsplit_once("__") {
            Some((secret, how)) if INDIRECT.contains(&how) => (secret, Some(how)),
            _ => (key, None),
        };
        if !is_segment(key) {
            return self.misnamed(name);
        }
        let path = format!("{ROOT}.{section}.{}", key.to_ascii_lowercase());
        if let Some(other) = self.taken.insert(path.clone(), name.to_owned()) {
            self.tell(name, "", Problem::Rule(format!("{other} sets the same key; keep one of the two")));
            return None;
        }
        let mut value = self.origins.value(origin(name), text);
        if let Some(how) = how {
            value = self.origins.value(origin(name), Map::from([(how.to_ascii_lowercase(), value)]));
        }
        Some(Assignment { path, value })
    }

    fn misnamed<T>(&mut self, name: &str) -> Option<T> {
        let rule = "unknown variable: expected POLYTTY__SECTION__KEY in upper case, such as POLYTTY__SERVER__LISTEN";
        self.tell(name, "", Problem::Rule(rule.to_owned()));
        None
    }

    /// The entry that `NAME__KEY` refers to, and `KEY`. Of two names of which one begins with the other, the longer.
    fn entry<'k>(&mut self, variable: &str, list: &str, below: &'k str) -> Option<(String, &'k str)> {
        let entries = match self.root.get(list).map(|value| &value.kind) {
            Some(ValueKind::Array(entries)) => entries.as_slice(),
            _ => &[],
        };
        let names: Vec<(usize, String)> = entries
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| match &entry.kind {
                ValueKind::Table(table) => match &table.get("name")?.kind {
                    ValueKind::String(name) => Some((index, segment_of(name))),
                    _ => None,
                },
                _ => None,
            })
            .collect();
        let fits = |name: &str| below.strip_prefix(name).and_then(|rest| rest.strip_prefix("__"));
        let longest = names.iter().filter(|(_, name)| fits(name).is_some()).map(|(_, name)| name.len()).max();
        let mut found = names.iter().filter(|(_, name)| Some(name.len()) == longest && fits(name).is_some());
        match (found.next(), found.next()) {
            (Some((index, name)), None) => fits(name).map(|key| (format!("{list}[{index}]"), key)),
            _ => {
                let known = names.into_iter().map(|(_, name)| name).collect();
                self.tell(variable, list, Problem::NoSuchEntry { known });
                None
            }
        }
    }

    fn tell(&mut self, variable: &str, key: &str, problem: Problem) {
        self.mistakes.push(Mistake { place: Place::Variable(variable.to_owned()), key: key.to_owned(), problem });
    }
}

fn origin(variable: &str) -> Origin {
    let place = Place::Variable(variable.to_owned());
    Origin { key_place: place.clone(), place, other: None }
}

/// Whether a part of a variable's name can be that of a key.
fn is_segment(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_uppercase())
        && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        && !part.contains("__")
}

/// Turns what `config` has merged into [`Node`]s.
struct Nodes<'a> {
    origins: &'a Origins,
    /// Where tables are in the file, by their whole keys.
    tables: &'a BTreeMap<String, Origin>,
}

impl Nodes<'_> {
    /// The entries of a table that is at `path`, or within a list.
    fn entries(&self, values: Map<String, Value>, path: Option<&str>) -> BTreeMap<String, Node> {
        let node = |(key, value): (String, Value)| {
            let path = path.map(|path| join(path, &key));
            (key, self.node(value, path))
        };
        values.into_iter().map(node).collect()
    }

    fn node(&self, value: Value, path: Option<String>) -> Node {
        let origin = self.origins.of(&value).or_else(|| self.tables.get(path.as_ref()?)).cloned();
        let other = origin.as_ref().and_then(|origin| origin.other);
        let kind = match value.kind {
            ValueKind::Boolean(flag) => Kind::Boolean(flag),
            ValueKind::I64(number) => Kind::Integer(number),
            ValueKind::Float(number) => Kind::Float(number),
            ValueKind::String(text) => Kind::Text(text),
            ValueKind::Array(items) => Kind::List(items.into_iter().map(|item| self.node(item, None)).collect()),
            ValueKind::Table(values) => Kind::Table(self.entries(values, path.as_deref())),
            ValueKind::Nil => other.map_or(Kind::Told, Kind::Other),
            ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => Kind::Other("a number beyond 64 bits"),
        };
        let (key_place, place) = match (origin, &kind) {
            (Some(origin), _) => (origin.key_place, origin.place),
            // A table that variables have made is where the first of them is.
            (None, Kind::Table(nodes)) => {
                let first = nodes.values().map(|node| &node.key_place).min().cloned().unwrap_or(Place::Nowhere);
                (first.clone(), first)
            }
            (None, _) => (Place::Nowhere, Place::Nowhere),
        };
        Node { key_place, place, kind }
    }
}
