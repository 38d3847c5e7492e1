//! Certificates of clients: what a key of the configuration can name one by.

use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// Names of one certificate that are looked at; further ones are not.
const MAX_NAMES: usize = 64;

/// A certificate that a client has shown and proven to hold the key of, signed by a root of `tls.client_ca`.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    fingerprint: [u8; 32],
    names: Arc<[String]>,
}

impl ClientCertificate {
    /// Takes the leaf that TLS has verified; nothing else may be put in here. `None` when it cannot be read.
    pub(crate) fn verified(leaf: &CertificateDer<'_>) -> Option<Self> {
        let certificate = EndEntityCert::try_from(leaf).ok()?;
        let names = certificate.valid_dns_names().map(str::to_ascii_lowercase);
        let names = names.chain(certificate.valid_uri_names().map(str::to_owned)).take(MAX_NAMES).collect();
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, leaf).as_ref());
        Some(Self { fingerprint, names })
    }
}

/// The longest text of [`ClientCertificate::handed_on`], in bytes. Names that do not fit are left out.
const MAX_HANDED_ON: usize = 4096;

impl ClientCertificate {
    /// As text for another replica, which is trusted to have verified it as this one is: the fingerprint, then the names.
    pub(crate) fn handed_on(&self) -> String {
        let mut text = URL_SAFE_NO_PAD.encode(self.fingerprint);
        for name in self.names.iter().map(|name| URL_SAFE_NO_PAD.encode(name)) {
            if text.len() + 1 + name.len() > MAX_HANDED_ON {
                break;
            }
            text.push('.');
            text.push_str(&name);
        }
        text
    }

    /// Reads what another replica has said. Never what a client has.
    pub(crate) fn of_replica(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let fingerprint = parts.next()??.try_into().ok()?;
        let names = parts.map(|name| String::from_utf8(name?).ok()).collect::<Option<_>>()?;
        Some(Self { fingerprint, names })
    }
}

/// What a key names a certificate by (`certificate` of `[[keys]]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The SHA-256 of the whole certificate.
    Fingerprint([u8; 32]),
    /// A name among its subject's alternative ones (RFC 5280, section 4.2.1.6): a DNS name, in lower case, or a URI. A
    /// wildcard stands for itself alone.
    Alternative(String),
}

impl CertificateName {
    /// Whether this is the certificate that it names.
    #[must_use]
    pub fn is(&self, certificate: &ClientCertificate) -> bool {
        match self {
            Self::Fingerprint(fingerprint) => *fingerprint == certificate.fingerprint,
            Self::Alternative(name) => certificate.names.contains(name),
        }
    }
}

impl FromStr for CertificateName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected \"sha256:\" and 64 hexadecimal digits, a DNS name such as \"ci.example.com\", or a \
                             URI such as \"spiffe://example.com/ci\"";
        if text.starts_with("sha256:") {
            return crate::config::sha256(text).map(Self::Fingerprint).ok_or(WRONG);
        }
        if text.is_empty() || text.len() > 256 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(WRONG);
        }
        let is_dns = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte));
        match text.contains(':') {
            true => Ok(Self::Alternative(text.to_owned())),
            false if is_dns => Ok(Self::Alternative(text.to_ascii_lowercase())),
            false => Err(WRONG),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    #[test]
    fn what_another_replica_is_told_of_a_certificate_is_the_same_one() {
        let names: Vec<_> =
            (0..40).map(|at| SanType::URI(format!("spiffe://x/{at}/{}", "a".repeat(90)).try_into().unwrap())).collect();
        let shown = certificate(&names);
        let text = shown.handed_on();
        assert!(text.len() <= MAX_HANDED_ON && text.bytes().all(|byte| byte.is_ascii_graphic()));
        let read = ClientCertificate::of_replica(&text).unwrap();
        assert_eq!(read.fingerprint, shown.fingerprint);
        assert!(read.names.len() > 20 && shown.names.starts_with(&read.names));
        for wrong in ["", ".", "AAAA", "not base64!", &text[..20], &format!("{text}.?")] {
            assert!(ClientCertificate::of_replica(wrong).is_none(), "{wrong:?}");
        }
    }

    fn certificate(names: &[SanType]) -> ClientCertificate {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        ClientCertificate::verified(der.der()).unwrap()
    }

    fn names(text: &str, certificate: &ClientCertificate) -> bool {
        text.parse::<CertificateName>().unwrap().is(certificate)
    }

    #[test]
    fn a_certificate_is_named_by_its_names_and_its_fingerprint_and_by_nothing_that_looks_like_them() {
        let dns = SanType::DnsName("CI.example.com".try_into().unwrap());
        let uri = SanType::URI("spiffe://example.com/ci".try_into().unwrap());
        let ci = certificate(&[dns, uri]);
        let hex: String = ci.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
        for right in ["ci.example.com", "Ci.Example.Com", "spiffe://example.com/ci", &format!("sha256:{hex}")] {
            assert!(names(right, &ci), "{right}");
        }
        let zero = format!("sha256:{}", "0".repeat(64));
        for wrong in ["example.com", "*.example.com", "spiffe://example.com/CI", "spiffe://example.com/c", &zero] {
            assert!(!names(wrong, &ci), "{wrong}");
        }
        let any = certificate(&[SanType::DnsName("*.example.com".try_into().unwrap())]);
        assert!(!names("ci.example.com", &any), "a wildcard is nobody in particular");
        assert!(names("*.example.com", &any));
    }

    #[test]
    fn what_names_no_certificate_is_a_mistake() {
        for text in ["", "sha256:00", "a b", "CN=ci", "ci@example.com", "a\nb", &"a".repeat(257)] {
            assert!(text.parse::<CertificateName>().is_err(), "{text:?}");
        }
    }
}
