//! The certificate of a demo: made anew at each start, in a folder of its own that goes with the process.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(86_400);

/// Files of a certificate, which are removed when this is dropped.
pub(super) struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// Makes a root and, signed by it, a certificate for loopback and for `host`. The root's key is forgotten at once,
    /// so nobody who trusts the root trusts more than this one certificate. Valid for 30 days.
    pub(super) fn make(host: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("polytty-demo-").tempdir().context("no temporary folder")?;
        let now = SystemTime::now();
        let mut root = CertificateParams::default();
        root.distinguished_name.push(DnType::CommonName, "polytty demo root");
        root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        root.not_before = (now - DAY).into();
        root.not_after = (now + 30 * DAY).into();
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate()?)?;

        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut names: Vec<_> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        if !names.iter().any(|name| name == host) {
            names.push(host.to_owned());
        }
        let mut leaf = CertificateParams::new(names)?;
        leaf.distinguished_name.push(DnType::CommonName, "polytty demo");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        leaf.not_before = (now - DAY).into();
        leaf.not_after = (now + 30 * DAY).into();
        let key = KeyPair::generate()?;
        let leaf = leaf.signed_by(&key, &root)?;

        let certificate = Self { folder };
        certificate.write("ca.pem", &root.pem())?;
        certificate.write("cert.pem", &leaf.pem())?;
        certificate.write("key.pem", &key.serialize_pem())?;
        Ok(certificate)
    }

    /// Puts a file beside the certificate, readable by its owner only.
    pub(super) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }

    /// Where all of it lies.
    pub(super) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The root, for clients to trust.
    pub(super) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The chain, for the server to show.
    pub(super) fn chain(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// The key, mode 0600.
    pub(super) fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    use crate::config::{CertificateFiles, ClientAuth, Tls};

    #[test]
    fn the_key_is_readable_by_its_owner_only_and_everything_goes_with_the_process() {
        let certificate = Certificate::make("terminals.example.com").unwrap();
        let key = certificate.key();
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let certificates = vec![CertificateFiles { cert: certificate.chain(), key: key.clone() }];
        let tls = Tls { certificates, client_ca: None, client_auth: ClientAuth::Optional };
        crate::edge::server_config(&tls).unwrap();
        drop(certificate);
        assert!(!key.exists());
    }
}
