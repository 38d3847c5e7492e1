//! PEM files with certificates and keys, as the configuration names them.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// The largest file, in bytes. A larger one is an error.
const FILE_MAX: u64 = 1024 * 1024;

/// A file that cannot be read, or does not hold what it should.
#[derive(Debug)]
pub(crate) struct PemError {
    /// Which file.
    pub(crate) path: PathBuf,
    /// What should be in it.
    pub(crate) expected: &'static str,
    /// What is wrong.
    pub(crate) why: String,
}

impl PemError {
    fn new(path: &Path, expected: &'static str, why: impl ToString) -> Self {
        Self { path: path.to_owned(), expected, why: why.to_string() }
    }
}

/// The certificates of a file; at least one.
///
/// # Errors
///
/// [`PemError`].
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    const EXPECTED: &str = "a PEM certificate chain";
    let pem = read(path, EXPECTED)?;
    let all: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| PemError::new(path, EXPECTED, error))?;
    if all.is_empty() {
        return Err(PemError::new(path, EXPECTED, "there is no certificate in it"));
    }
    Ok(all)
}

/// The private key of a file.
///
/// # Errors
///
/// [`PemError`].
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    const EXPECTED: &str = "a PEM private key";
    let pem = read(path, EXPECTED)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| PemError::new(path, EXPECTED, error))
}

/// A whole file, wiped from memory when it is dropped: it may hold a private key.
fn read(path: &Path, expected: &'static str) -> Result<Zeroizing<Vec<u8>>, PemError> {
    let failed = |error: std::io::Error| PemError::new(path, expected, error);
    let file = std::fs::File::open(path).map_err(failed)?;
    // Made large enough at once: growing would leave copies behind.
    let size = file.metadata().map_err(failed)?.len().min(FILE_MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size as usize + 2));
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(PemError::new(path, expected, "the file is larger than 1MiB"));
    }
    Ok(bytes)
}
