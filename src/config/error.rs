//! What can be wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Every mistake of a configuration, in the order of the file, those of the environment behind. Never empty.
///
/// Displayed as one line a mistake. The command line ends with status 78 (`EX_CONFIG` of sysexits.h) on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(Vec<Mistake>);

impl Errors {
    /// Puts the mistakes in order; the caller has found at least one.
    pub(super) fn new(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by(|a, b| a.place.cmp(&b.place).then_with(|| a.key.cmp(&b.key)));
        Self(mistakes)
    }

    /// All mistakes, in order.
    #[must_use]
    pub fn mistakes(&self) -> &[Mistake] {
        &self.0
    }
}

impl From<Mistake> for Errors {
    fn from(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            write!(f, "{}{mistake}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// One mistake: `PLACE: KEY: PROBLEM`. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it was written, or where it should have been.
    pub place: Place,
    /// The whole key, such as `sessions.idle_timeout` or `providers.NAME.region`; empty where no key is concerned.
    pub key: String,
    /// What is wrong and what would be right.
    pub problem: Problem,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Nowhere => {}
            place => write!(f, "{place}: ")?,
        }
        match self.key.as_str() {
            "" => {}
            key => write!(f, "{key}: ")?,
        }
        self.problem.fmt(f)
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Neither a file nor a variable is to blame.
    Nowhere,
    /// A file as a whole.
    File(Arc<Path>),
    /// A place in a file. Line and column (in characters) count from 1.
    At(Arc<Path>, usize, usize),
    /// An environment variable.
    Variable(String),
}

impl Place {
    /// Whether the value comes as text from the environment, so that a number or a flag may be spelled in it.
    pub(super) fn is_variable(&self) -> bool {
        matches!(self, Self::Variable(_))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => Ok(()),
            Self::File(path) => path.display().fmt(f),
            Self::At(path, line, column) => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) => name.escape_debug().fmt(f),
        }
    }
}

/// What is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No file was named and none is where one is looked for.
    #[error("no configuration file: looked for {}; name one with --config or POLYTTY_CONFIG", list(.looked_for))]
    NoFile {
        /// The places, in their order.
        looked_for: Vec<String>,
    },
    /// A file is missing, may not be read, is no file, or is too large.
    #[error("cannot read {}: {error}", .file.display())]
    Unreadable {
        /// The file, as it was looked for.
        file: PathBuf,
        /// What the system says.
        error: String,
    },
    /// The file is not TOML here.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// Nothing reads this key.
    #[error("unknown key{}; the keys here are {}", did_you_mean(.suggestion), list(.known))]
    UnknownKey {
        /// A known key that looks like it.
        suggestion: Option<&'static str>,
        /// Every key that may stand there.
        known: Vec<&'static str>,
    },
    /// A variable's name that leads to no entry of a list, or to several.
    #[error("the entries that a variable can change are {}", or_none(.known))]
    NoSuchEntry {
        /// The entries, as variables spell them.
        known: Vec<String>,
    },
    /// A required key is not there.
    #[error("required: expected {expected}, found nothing")]
    Missing {
        /// What would be right.
        expected: String,
    },
    /// A value of the wrong type or outside its range.
    #[error("expected {expected}, found {found}")]
    Wrong {
        /// What would be right.
        expected: String,
        /// What was there; for a key that may hold a secret, only its type.
        found: String,
    },
    /// A name that another entry has.
    #[error("a second entry of this name; the first is at {first}, and names are unique")]
    Duplicate {
        /// Where the first stands.
        first: Place,
    },
    /// A secret is to come from a variable that is not there or not UTF-8.
    #[error("the environment variable {name} {what}; set it, or give the secret in another way")]
    SecretVariable {
        /// The variable's name.
        name: String,
        /// `is not set` or `is not UTF-8`.
        what: &'static str,
    },
    /// A rule beyond the value's own form, in words.
    #[error("{0}")]
    Rule(String),
}

fn list<T: AsRef<str>>(items: &[T]) -> String {
    items.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

fn or_none(items: &[String]) -> String {
    if items.is_empty() { "none: there is no entry with a name".to_owned() } else { list(items) }
}

fn did_you_mean(suggestion: &Option<&'static str>) -> String {
    suggestion.map(|key| format!(", did you mean {key}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_as_place_key_problem_in_the_order_of_the_file() {
        let file: Arc<Path> = Path::new("proxy.toml").into();
        let mistake = |place: Place, key: &str, problem| Mistake { place, key: key.to_owned(), problem };
        let wrong = || Problem::Wrong { expected: "a".to_owned(), found: "b".to_owned() };
        let errors = Errors::new(vec![
            mistake(Place::Variable("POLYTTY__A__\u{1b}B".to_owned()), "a.b", wrong()),
            mistake(Place::At(file.clone(), 12, 5), "sessions.idle_timeout", wrong()),
            mistake(Place::At(file, 2, 15), "", Problem::Syntax("no".to_owned())),
        ]);
        assert_eq!(
            errors.to_string(),
            "proxy.toml:2:15: not TOML: no\n\
             proxy.toml:12:5: sessions.idle_timeout: expected a, found b\n\
             POLYTTY__A__\\u{1b}B: a.b: expected a, found b"
        );
    }
}
