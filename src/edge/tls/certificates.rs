//! Which certificate a client is shown: the one for the name it asks for (RFC 6066, section 3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use super::{TlsError, TlsErrors};
use crate::config::CertificateFiles;
use crate::pem;

/// The certificates that there are, by the DNS names in them. Bounded by the configuration.
#[derive(Debug)]
pub(super) struct Certificates {
    /// The first is shown to whoever asks for no name, or for an unknown one.
    all: Vec<Arc<CertifiedKey>>,
    /// Names in lower case, `*.` in front of some, and the certificates that hold them, in their order.
    by_name: HashMap<String, Vec<usize>>,
}

impl Certificates {
    /// Loads them all.
    pub(super) fn load(files: &[CertificateFiles], provider: &CryptoProvider) -> Result<Self, TlsErrors> {
        let mut certificates = Self { all: Vec::new(), by_name: HashMap::new() };
        let mut errors = Vec::new();
        for (index, files) in files.iter().enumerate() {
            match load(files, provider) {
                Ok((_, names)) if names.is_empty() && index > 0 => {
                    let why = "there is no DNS name in it by which it could be chosen";
                    errors.push(TlsError::file(&files.cert, "a certificate for a name", why));
                }
                Ok((key, names)) => certificates.add(key, names),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(certificates) } else { Err(TlsErrors(errors)) }
    }

    fn add(&mut self, key: CertifiedKey, names: Vec<String>) {
        let index = self.all.len();
        self.all.push(Arc::new(key));
        for name in names {
            self.by_name.entry(name).or_default().push(index);
        }
    }

    /// The certificates for a name: those that hold it, else those that hold `*.` and what follows its first label (RFC
    /// 6125, section 6.4.3), else the default.
    fn of(&self, name: Option<&str>) -> &[usize] {
        let found = name.map(str::to_ascii_lowercase).and_then(|name| {
            let above = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
            self.by_name.get(&name).or_else(above)
        });
        found.map_or(&[0], Vec::as_slice)
    }
}

impl ResolvesServerCert for Certificates {
    /// Of several certificates for one name, the first whose kind of key the client can verify by.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.of(hello.server_name());
        let verifiable = |index: &&usize| {
            let key = self.all.get(**index).map(|certificate| &certificate.key);
            key.is_some_and(|key| key.choose_scheme(hello.signature_schemes()).is_some())
        };
        let chosen = candidates.iter().find(verifiable).or_else(|| candidates.first())?;
        self.all.get(*chosen).cloned()
    }
}

/// A chain with its key, and the DNS names in the leaf.
fn load(files: &CertificateFiles, provider: &CryptoProvider) -> Result<(CertifiedKey, Vec<String>), TlsError> {
    let CertificateFiles { cert, key } = files;
    let (chain, private) = (pem::certificates(cert)?, pem::private_key(key)?);
    let pair = |why: String| TlsError::Pair { cert: cert.clone(), key: key.clone(), why };
    let leaf = chain.first().map(EndEntityCert::try_from);
    let names = match leaf {
        Some(Ok(leaf)) => leaf.valid_dns_names().map(str::to_ascii_lowercase).collect(),
        Some(Err(error)) => return Err(TlsError::file(cert, "a certificate of X.509 version 3", error)),
        None => Vec::new(),
    };
    let certified = CertifiedKey::from_der(chain, private, provider).map_err(|error| pair(error.to_string()))?;
    Ok((certified, names))
}
