//! Reading sections key by key. A key is known because something asks for it; what nobody asked for is a mistake.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::environment::{Environment, variable_of};
use super::error::{Mistake, Place, Problem};
use super::file::join;
use super::nearest::nearest;
use super::raw::{Kind, Node};

/// Proof that a mistake has been told; only [`Context::tell`] makes one. So whoever cannot return a value has told why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told(());

/// A value, or the knowledge that a mistake has been told in its place.
pub(super) type Read<T> = Result<T, Told>;

/// A file that the configuration names and that is opened later, such as a certificate.
#[derive(Clone, Debug)]
pub(super) struct NamedFile {
    /// Where it was named.
    pub(super) place: Place,
    /// By which key.
    pub(super) key: String,
    /// Where it is.
    pub(super) path: PathBuf,
}

/// What reading needs, and what it finds.
pub(super) struct Context<'a> {
    /// The configuration file, if there is one.
    pub(super) file: Option<Arc<Path>>,
    /// For secrets that are given as `{ env = "NAME" }`.
    pub(super) environment: &'a Environment,
    mistakes: RefCell<Vec<Mistake>>,
    files: RefCell<Vec<NamedFile>>,
}

impl<'a> Context<'a> {
    /// Starts with the mistakes that were found before.
    pub(super) fn new(file: Option<Arc<Path>>, environment: &'a Environment, mistakes: Vec<Mistake>) -> Self {
        Self { file, environment, mistakes: RefCell::new(mistakes), files: RefCell::default() }
    }

    /// Every mistake that was told, and every file that was named.
    pub(super) fn finish(self) -> (Vec<Mistake>, Vec<NamedFile>) {
        (self.mistakes.into_inner(), self.files.into_inner())
    }

    /// A path of the configuration: relative ones start at the file's directory; without a file, at the working one.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).join(path)
    }

    pub(super) fn name_file(&self, file: NamedFile) {
        self.files.borrow_mut().push(file);
    }

    pub(super) fn tell(&self, place: &Place, key: &str, problem: Problem) -> Told {
        self.mistakes.borrow_mut().push(Mistake { place: place.clone(), key: key.to_owned(), problem });
        Told(())
    }

    /// Where to say that a key is missing whose section is nowhere, or made up of variables.
    fn place_of_missing(&self, key: &str) -> Place {
        match &self.file {
            Some(file) => Place::At(file.clone(), 1, 1),
            None => Place::Variable(variable_of(key)),
        }
    }
}

/// One value and its key.
#[derive(Clone)]
pub(super) struct Field<'c> {
    pub(super) context: &'c Context<'c>,
    pub(super) key: String,
    pub(super) node: &'c Node,
}

impl Field<'_> {
    pub(super) fn tell(&self, problem: Problem) -> Told {
        self.context.tell(&self.node.place, &self.key, problem)
    }

    /// Tells that the value is of another form, and what it is. Silent if it has been told about.
    pub(super) fn wrong(&self, expected: impl Into<String>) -> Told {
        self.wrong_as(expected, self.node.describe())
    }

    /// The same, but only the value's type is told.
    pub(super) fn wrong_secret(&self, expected: impl Into<String>) -> Told {
        self.wrong_as(expected, self.node.describe_type().to_owned())
    }

    fn wrong_as(&self, expected: impl Into<String>, found: String) -> Told {
        match self.node.kind {
            Kind::Told => Told(()),
            _ => self.tell(Problem::Wrong { expected: expected.into(), found }),
        }
    }
}

/// A table while its keys are asked for.
pub(super) struct Section<'c> {
    context: &'c Context<'c>,
    path: String,
    /// `None` where there is no such table.
    node: Option<&'c Node>,
    keys: &'c BTreeMap<String, Node>,
    asked: Vec<&'static str>,
    /// It is an entry of a list, which stands as a whole in one place.
    is_entry: bool,
    /// Something that is no table stands there, or it cannot be known which keys belong there.
    told: Option<Told>,
}

const NO_KEYS: &BTreeMap<String, Node> = &BTreeMap::new();

impl<'c> Section<'c> {
    /// Reads the whole tree by `read`; then tells every key that it did not ask for.
    pub(super) fn root<T>(
        context: &'c Context<'c>,
        keys: &'c BTreeMap<String, Node>,
        read: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Read<T> {
        Self { context, path: String::new(), node: None, keys, asked: Vec::new(), is_entry: false, told: None }
            .read(read)
    }

    /// Reads a field as a table by `read`; then tells every key that it did not ask for.
    pub(super) fn of<T>(field: &Field<'c>, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        Self::below(field.context, field.key.clone(), Some(field.node)).read(read)
    }

    /// Reads the table `[key]`, an empty one if it is not there.
    pub(super) fn table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        self.asked.push(key);
        Self::below(self.context, join(&self.path, key), self.keys.get(key)).read(read)
    }

    /// Reads every entry of `[[key]]`; each has a `name`, which no other one has.
    pub(super) fn entries<T>(&mut self, key: &'static str, read: impl Fn(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let list = match self.field(key) {
            None => return Ok(Vec::new()),
            Some(list) => list,
        };
        let Kind::List(entries) = &list.node.kind else {
            return Err(list.wrong(format!("a list of tables, each under its own [[{key}]]")));
        };
        let mut names: BTreeMap<&str, &Place> = BTreeMap::new();
        // Collected before any error is returned, so that the mistakes of all entries are told.
        let mut all: Vec<Read<T>> = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let mut path = format!("{key}[{index}]");
            if let Some((name, place)) = name_of(entry) {
                path = join(key, name);
                match names.entry(name) {
                    Entry::Vacant(entry) => _ = entry.insert(place),
                    Entry::Occupied(first) => {
                        let problem = Problem::Duplicate { first: (*first.get()).clone() };
                        all.push(Err(self.context.tell(place, &join(&path, "name"), problem)));
                    }
                }
            }
            all.push(Self { is_entry: true, ..Self::below(self.context, path, Some(entry)) }.read(&read));
        }
        all.into_iter().collect()
    }

    /// The value of a key that need not be there.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Field<'c>) -> Read<T>,
    ) -> Read<Option<T>> {
        self.field(key).map(read).transpose()
    }

    /// The value of a key, or its default.
    pub(super) fn or<T>(&mut self, key: &'static str, default: T, read: impl FnOnce(Field<'c>) -> Read<T>) -> Read<T> {
        self.field(key).map_or(Ok(default), read)
    }

    /// The value of a key that must be there; `expected` says what it would be.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(Field<'c>) -> Read<T>,
    ) -> Read<T> {
        if let Some(field) = self.field(key) {
            return read(field);
        }
        if let Some(told) = self.told {
            return Err(told);
        }
        let key = join(&self.path, key);
        let place = match self.node.map(|node| &node.place) {
            Some(place) if self.is_entry || !place.is_variable() => place.clone(),
            _ => self.context.place_of_missing(&key),
        };
        Err(self.context.tell(&place, &key, Problem::Missing { expected: expected.to_owned() }))
    }

    /// The value of a key as it is.
    pub(super) fn field(&mut self, key: &'static str) -> Option<Field<'c>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let node = self.keys.get(key)?;
        Some(Field { context: self.context, key: join(&self.path, key), node })
    }

    /// Leaves the other keys alone: it cannot be known which of them are right.
    pub(super) fn give_up(&mut self, told: Told) {
        self.told = Some(told);
    }

    fn below(context: &'c Context<'c>, path: String, node: Option<&'c Node>) -> Self {
        let (keys, told) = match node.map(|node| (node, &node.kind)) {
            Some((_, Kind::Table(keys))) => (keys, None),
            Some((node, _)) => (NO_KEYS, Some(Field { context, key: path.clone(), node }.wrong("a table of keys"))),
            None => (NO_KEYS, None),
        };
        Self { context, path, node, keys, asked: Vec::new(), is_entry: false, told }
    }

    fn read<T>(mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        let value = read(&mut self);
        match self.told {
            Some(told) => Err(told),
            None => self.tell_unknown_keys().and(value),
        }
    }

    fn tell_unknown_keys(&self) -> Read<()> {
        let mut result = Ok(());
        for (key, node) in self.keys.iter().filter(|(key, _)| !self.asked.contains(&key.as_str())) {
            let problem = Problem::UnknownKey { suggestion: nearest(key, &self.asked), known: self.asked.clone() };
            result = Err(self.context.tell(&node.key_place, &join(&self.path, key), problem));
        }
        result
    }
}

fn name_of(entry: &Node) -> Option<(&str, &Place)> {
    let Kind::Table(keys) = &entry.kind else { return None };
    match keys.get("name")? {
        Node { place, kind: Kind::Text(name), .. } if !name.is_empty() => Some((name, place)),
        _ => None,
    }
}
