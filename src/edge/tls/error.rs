//! Why there is no TLS.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::pem::PemError;

/// Everything that keeps TLS from being had, one line each. Never empty.
#[derive(Debug)]
pub struct TlsErrors(pub(super) Vec<TlsError>);

impl TlsErrors {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &TlsError> {
        self.0.iter()
    }
}

impl From<TlsError> for TlsErrors {
    fn from(error: TlsError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for TlsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for TlsErrors {}

/// One reason.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no such thing.
    #[error("{path}: expected {expected}: {why}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Certificate and key do not belong together, or are of no use to TLS.
    #[error("{cert} and {key} cannot be used together: {why}")]
    Pair {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The library cannot work, for want of random bytes for instance.
    #[error("TLS: {0}")]
    Library(rustls::Error),
}

impl From<PemError> for TlsError {
    fn from(PemError { path, expected, why }: PemError) -> Self {
        Self::File { path, expected, why }
    }
}

impl TlsError {
    pub(super) fn file(path: &Path, expected: &'static str, why: impl fmt::Display) -> Self {
        Self::File { path: path.to_owned(), expected, why: why.to_string() }
    }
}
