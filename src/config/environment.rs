//! The environment, handed in from outside, and what its variables are called.
//!
//! `POLYTTY__SECTION__KEY` sets `section.key`; `POLYTTY__PROVIDERS__NAME__KEY` sets a key of the provider `name`, whose
//! name is written in upper case with `_` for every other character; `POLYTTY__…__SECRET__FILE` is `{ file = … }`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// What every variable that sets a key begins with.
pub(super) const PREFIX: &str = "POLYTTY__";
/// The variable that names the configuration file.
pub(super) const FILE: &str = "POLYTTY_CONFIG";

/// A snapshot of environment variables. It has no `Debug`, since it holds secrets.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// That of this process, as it is now.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// The value of a variable, which need not be UTF-8.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(name).map(OsString::as_os_str)
    }

    /// All that begin with [`PREFIX`], by name.
    pub(super) fn overrides(&self) -> impl Iterator<Item = (&str, &OsStr)> {
        self.0
            .iter()
            .filter(|(name, _)| name.starts_with(PREFIX))
            .map(|(name, value)| (name.as_str(), value.as_os_str()))
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(k, v)| (k.into().to_string_lossy().into_owned(), v.into())).collect())
    }
}

/// The name of the variable that sets a key, such as `POLYTTY__TLS__CERT` for `tls.cert`.
pub(super) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.split('.').map(segment_of).collect::<Vec<_>>().join("__"))
}

/// How a variable's name spells a key or an entry's name.
pub(super) fn segment_of(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spelled_as_variables() {
        assert_eq!(variable_of("tls.cert"), "POLYTTY__TLS__CERT");
        assert_eq!(segment_of("pai-hangzhou.2"), "PAI_HANGZHOU_2");
    }

    #[test]
    fn only_variables_with_the_prefix_set_keys() {
        let all = [("POLYTTY__A__B", "1"), ("POLYTTY_CONFIG", "x"), ("HOME", "/"), ("XPOLYTTY__A__B", "2")];
        let environment: Environment = all.into_iter().collect();
        let names: Vec<_> = environment.overrides().map(|(name, _)| name).collect();
        assert_eq!(names, ["POLYTTY__A__B"]);
    }
}
