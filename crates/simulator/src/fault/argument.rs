//! What stands behind the `=` of a fault.

use std::{error::Error, str::FromStr};

use anyhow::{Context as _, Result, bail};

/// The values of an argument, which are separated by `@`. Those that are missing at the end have their defaults.
pub(super) struct Argument<'a>(Option<&'a str>);

impl<'a> Argument<'a> {
    pub(super) fn new(text: Option<&'a str>) -> Self {
        Self(text)
    }

    /// The next value, or the default behind the last.
    pub(super) fn next<T: FromStr<Err: Error + Send + Sync + 'static>>(&mut self, default: T) -> Result<T> {
        let Some(text) = self.0 else { return Ok(default) };
        let (value, rest) = match text.split_once('@') {
            Some((value, rest)) => (value, Some(rest)),
            None => (text, None),
        };
        self.0 = rest;
        value.parse().with_context(|| format!("{value:?} is not of the right kind"))
    }

    /// Says whether everything was taken.
    pub(super) fn end(self) -> Result<()> {
        match self.0 {
            None => Ok(()),
            Some(rest) => bail!("{rest:?} is one value too many"),
        }
    }
}
