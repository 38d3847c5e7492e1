//! Reading single values: each reader takes one field and returns what it means, or tells what would be right.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use zeroize::Zeroizing;

use super::error::{Place, Problem};
use super::layers::value_of_variable;
use super::nearest::nearest;
use super::quantity::{parse_duration, parse_size, show_duration, show_size};
use super::raw::{Kind, Node};
use super::secret::Secret;
use super::section::{Field, NamedFile, Read, Section};

/// The largest file that holds a secret, in bytes. A larger one is an error.
const SECRET_FILE_MAX: u64 = 64 * 1024;
/// What a secret looks like.
const A_SECRET: &str = r#"a secret: a string, { env = "NAME" } or { file = "PATH" }"#;

impl<'c> Field<'c> {
    /// A string that is not empty and has no control characters.
    pub(super) fn text(&self, expected: &str) -> Read<&'c str> {
        match &self.node.kind {
            Kind::Text(text) if !text.is_empty() && !text.contains(char::is_control) => Ok(text),
            _ => Err(self.wrong(expected)),
        }
    }

    /// A string that says by itself what would be right. It is not repeated, since it may hold a password.
    pub(super) fn parse<T: FromStr<Err = &'static str>>(&self, expected: &str) -> Read<T> {
        match &self.node.kind {
            Kind::Text(text) => text.parse().map_err(|error: &str| self.tell(Problem::Rule(error.to_owned()))),
            _ => Err(self.wrong(expected)),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Read<bool> {
        match &self.node.kind {
            Kind::Boolean(flag) => Ok(*flag),
            Kind::Text(text) if self.node.place.is_variable() => text.parse().map_err(|_| self.wrong("true or false")),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// A whole number.
    pub(super) fn number(&self, range: RangeInclusive<u32>) -> Read<u32> {
        let number = match &self.node.kind {
            Kind::Integer(number) => u32::try_from(*number).ok(),
            Kind::Text(text) if self.node.place.is_variable() => text.parse().ok(),
            _ => None,
        };
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| self.wrong(format!("a whole number from {} to {}", range.start(), range.end())))
    }

    /// A duration with its unit.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Read<Duration> {
        self.duration_where("", |duration| range.contains(duration), &range)
    }

    /// A duration with its unit; `0s` means that something never happens.
    pub(super) fn duration_or_never(&self, range: RangeInclusive<Duration>) -> Read<Option<Duration>> {
        let duration = self.duration_where(
            "0s for never, or ",
            |duration| duration.is_zero() || range.contains(duration),
            &range,
        )?;
        Ok((!duration.is_zero()).then_some(duration))
    }

    fn duration_where(
        &self,
        or: &str,
        is_right: impl Fn(&Duration) -> bool,
        range: &RangeInclusive<Duration>,
    ) -> Read<Duration> {
        self.node.text().and_then(parse_duration).filter(is_right).ok_or_else(|| {
            let (from, to) = (show_duration(*range.start()), show_duration(*range.end()));
            self.wrong(format!(r#"a duration such as "30s" ({or}from {from} to {to})"#))
        })
    }

    /// A size with its unit, in bytes.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Read<u64> {
        self.node.text().and_then(parse_size).filter(|size| range.contains(size)).ok_or_else(|| {
            let (from, to) = (show_size(*range.start()), show_size(*range.end()));
            self.wrong(format!(r#"a size such as "64KiB" (from {from} to {to})"#))
        })
    }

    /// A size with its unit, in bytes; `0B` sets no bound.
    pub(super) fn size_or_unbounded(&self, range: RangeInclusive<u64>) -> Read<Option<u64>> {
        let is_right = |size: &u64| *size == 0 || range.contains(size);
        let size = self.node.text().and_then(parse_size).filter(is_right).ok_or_else(|| {
            let (from, to) = (show_size(*range.start()), show_size(*range.end()));
            self.wrong(format!(r#"a size such as "64KiB" (0B for no bound, or from {from} to {to})"#))
        })?;
        Ok((size > 0).then_some(size))
    }

    /// A size with its unit, in bytes; `auto` leaves it to the process.
    pub(super) fn size_or_auto(&self, range: RangeInclusive<u64>) -> Read<Option<u64>> {
        if self.node.text() == Some("auto") {
            return Ok(None);
        }
        let size = self.node.text().and_then(parse_size).filter(|size| range.contains(size));
        size.map(Some).ok_or_else(|| {
            let (from, to) = (show_size(*range.start()), show_size(*range.end()));
            self.wrong(format!(r#""auto", or a size such as "512MiB" (from {from} to {to})"#))
        })
    }

    /// An IP address and a port.
    pub(super) fn address(&self) -> Read<SocketAddr> {
        let expected = r#"an IP address and a port such as "127.0.0.1:8443" or "[::]:8443""#;
        self.text(expected)?.parse().map_err(|_| self.wrong(expected))
    }

    /// One of several words.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&'static str, T)]) -> Read<T> {
        let names: Vec<&'static str> = words.iter().map(|(name, _)| *name).collect();
        let text = self.node.text().unwrap_or_default();
        let found = words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let meant = nearest(text, &names).filter(|_| names.len() > 1);
            let hint = meant.map(|name| format!(" (did you mean {name:?}?)")).unwrap_or_default();
            let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            self.wrong(format!("{}{hint}", names.join(" or ")))
        })
    }

    /// A file that is opened later. The context keeps it, so that it can be checked before.
    pub(super) fn file(&self) -> Read<PathBuf> {
        let path = self.context.resolve(self.text("the path of a PEM file")?);
        let place = self.node.place.clone();
        self.context.name_file(NamedFile { place, key: self.key.clone(), path: path.clone() });
        Ok(path)
    }

    /// A directory, which need not be there yet.
    pub(super) fn directory(&self) -> Read<PathBuf> {
        Ok(self.context.resolve(self.text("the path of a directory")?))
    }

    /// A list, every entry of which is read. A variable gives it as a TOML array, or as strings between commas.
    pub(super) fn list<T>(&self, expected: &str, item: impl Fn(Field<'_>) -> Read<T>) -> Read<Vec<T>> {
        let read = |nodes: &[Node]| -> Read<Vec<T>> {
            let fields = nodes.iter().enumerate().map(|(index, node)| {
                item(Field { context: self.context, key: format!("{}[{index}]", self.key), node })
            });
            // Collected before any error is returned, so that the mistakes of all entries are told.
            fields.collect::<Vec<_>>().into_iter().collect()
        };
        match &self.node.kind {
            Kind::List(nodes) => read(nodes),
            Kind::Text(text) if self.node.place.is_variable() => match entries_of_variable(text, &self.node.place) {
                Ok(nodes) => read(&nodes),
                Err(message) => Err(self.tell(Problem::Syntax(message))),
            },
            _ => Err(self.wrong(expected)),
        }
    }

    /// A credential, from wherever it is kept. No error repeats any of it.
    pub(super) fn secret(&self) -> Read<Secret> {
        match &self.node.kind {
            Kind::Text(text) => self.secret_of(text),
            Kind::Table(_) => Section::of(self, |table| {
                let sources = (table.field("env"), table.field("file"));
                match sources {
                    (Some(env), None) => self.secret_of_variable(&env),
                    (None, Some(file)) => self.secret_of_file(&file),
                    (Some(env), Some(file)) => match (env.node.place.is_variable(), file.node.place.is_variable()) {
                        (true, false) => self.secret_of_variable(&env),
                        (false, true) => self.secret_of_file(&file),
                        _ => Err(self.tell(Problem::Rule("expected either env or file, found both".to_owned()))),
                    },
                    (None, None) => Err(self.wrong_secret(A_SECRET)),
                }
            }),
            _ => Err(self.wrong_secret(A_SECRET)),
        }
    }

    fn secret_of_variable(&self, env: &Field<'_>) -> Read<Secret> {
        let name = env.text("the name of an environment variable")?;
        let unusable = |what| env.tell(Problem::SecretVariable { name: name.to_owned(), what });
        let value = self.context.environment.get(name).ok_or_else(|| unusable("is not set"))?;
        self.secret_of(value.to_str().ok_or_else(|| unusable("is not UTF-8"))?)
    }

    fn secret_of_file(&self, file: &Field<'_>) -> Read<Secret> {
        let path = self.context.resolve(file.text("the path of a file")?);
        match read_text(&path, SECRET_FILE_MAX) {
            Ok(text) => {
                let text = Zeroizing::new(text);
                let line = text.strip_suffix('\n').unwrap_or(&text);
                self.secret_of(line.strip_suffix('\r').unwrap_or(line))
            }
            Err(error) => Err(file.tell(Problem::Unreadable { file: path, error: error.to_string() })),
        }
    }

    fn secret_of(&self, text: &str) -> Read<Secret> {
        let found = match text {
            "" => "an empty string",
            // Secrets go into header fields and signatures, where a stray line break is a fault that is hard to see.
            _ if text.contains(char::is_control) => "control characters or several lines",
            _ => return Ok(Secret::new(text.to_owned())),
        };
        Err(self.tell(Problem::Wrong { expected: "a secret on one line".to_owned(), found: found.to_owned() }))
    }
}

/// Reads a UTF-8 file of at most `max` bytes.
///
/// # Errors
///
/// Those of the file system; `InvalidData` where the file is larger or is not UTF-8.
pub(super) fn read_text(path: &Path, max: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    if bytes.len() as u64 > max {
        return Err(invalid(format!("the file is larger than {}", show_size(max))));
    }
    String::from_utf8(bytes).map_err(|_| invalid("the file is not UTF-8".to_owned()))
}

fn entries_of_variable(text: &str, variable: &Place) -> Result<Vec<Node>, String> {
    if text.trim_start().starts_with('[') {
        return match value_of_variable(text, variable)?.kind {
            Kind::List(nodes) => Ok(nodes),
            _ => Err("expected one array".to_owned()),
        };
    }
    let entry = |text: &str| Node {
        key_place: variable.clone(),
        place: variable.clone(),
        kind: Kind::Text(text.trim().to_owned()),
    };
    Ok(if text.trim().is_empty() { Vec::new() } else { text.split(',').map(entry).collect() })
}
