//! Mutual TLS between replicas: 1.3 only, since both ends are ours.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto};

use crate::config::Cluster;
use crate::pem::{self, PemError};

/// Why a replica cannot show itself to the others, or know them.
#[derive(Debug, thiserror::Error)]
pub enum ClusterTlsError {
    /// A file cannot be read, or holds no such thing.
    #[error("cluster.{key}: {}: expected {expected}: {why}", .path.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What is wrong.
        why: String,
    },
    /// What is in the files is of no use to TLS.
    #[error("cluster: {0}")]
    Tls(String),
}

fn tls_error(error: impl ToString) -> ClusterTlsError {
    ClusterTlsError::Tls(error.to_string())
}

/// For the listener: nobody gets through without a certificate of `cluster.ca`.
pub(super) fn server_config(settings: &Cluster) -> Result<ServerConfig, ClusterTlsError> {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let roots = Arc::new(roots(&settings.ca)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build().map_err(tls_error)?;
    let (chain, key) = identity(settings)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(tls_error)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// For connections to other replicas.
pub(super) fn client_config(settings: &Cluster) -> Result<ClientConfig, ClusterTlsError> {
    let (chain, key) = identity(settings)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        .with_root_certificates(roots(&settings.ca)?)
        .with_client_auth_cert(chain, key)
        .map_err(tls_error)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// A name of its own, so that the listener for clients and this one cannot be taken for each other.
const ALPN: &[u8] = b"polytty-replica/1";

fn identity(settings: &Cluster) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), ClusterTlsError> {
    let chain = pem::certificates(&settings.cert).map_err(|error| file("cert", error))?;
    let key = pem::private_key(&settings.key).map_err(|error| file("key", error))?;
    Ok((chain, key))
}

fn roots(ca: &Path) -> Result<RootCertStore, ClusterTlsError> {
    let mut roots = RootCertStore::empty();
    for root in pem::certificates(ca).map_err(|error| file("ca", error))? {
        roots.add(root).map_err(tls_error)?;
    }
    Ok(roots)
}

fn file(key: &'static str, PemError { path, expected, why }: PemError) -> ClusterTlsError {
    ClusterTlsError::File { key, path, expected, why }
}
