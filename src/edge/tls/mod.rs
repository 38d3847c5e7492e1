//! TLS: which versions, which certificates, who shows one in return, and what is kept of a connection.

mod certificates;
mod error;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{CommonState, RootCertStore, ServerConfig, crypto};

use crate::auth::ClientCertificate;
use crate::config::{ClientAuth, Tls};
use crate::pem::certificates;

pub use error::{TlsError, TlsErrors};

use certificates::Certificates;

/// Loads certificates, keys and the roots of clients for TLS 1.2 and 1.3.
///
/// Of a connection nothing is kept here: what it takes to resume it is in a ticket that the client keeps (RFC 8446,
/// section 4.6.1; RFC 5077), sealed by a key that lives twelve hours, was never written down, and is made anew by every
/// call of this. There is no early data. Where clients are asked for certificates, none are resumed: a ticket would
/// outlive the certificate, and the roots it was verified by.
///
/// # Errors
///
/// [`TlsErrors`]: every file that is of no use, and what is wrong with it.
pub fn server_config(settings: &Tls) -> Result<ServerConfig, TlsErrors> {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let loaded = Certificates::load(&settings.certificates, &provider);
    let verifier = settings.client_ca.as_deref().map(|roots| verifier(roots, settings.client_auth, &provider));
    let (certificates, verifier) = match (loaded, verifier.transpose()) {
        (Ok(certificates), Ok(verifier)) => (certificates, verifier),
        (loaded, verifier) => {
            let errors = loaded.err().into_iter().flat_map(|errors| errors.0);
            return Err(TlsErrors(errors.chain(verifier.err()).collect()));
        }
    };
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Library)?;
    let asks_clients = verifier.is_some();
    let config = match verifier {
        Some(verifier) => config.with_client_cert_verifier(verifier),
        None => config.with_no_client_auth(),
    };
    let mut config = config.with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    if asks_clients {
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = crypto::aws_lc_rs::Ticketer::new().map_err(TlsError::Library)?;
    }
    Ok(config)
}

/// The certificate that a client has shown, and that was verified with the handshake; `None` where it has shown none.
pub(super) fn client_certificate(connection: &CommonState) -> Option<ClientCertificate> {
    connection.peer_certificates()?.first().and_then(ClientCertificate::verified)
}

fn verifier(
    path: &Path,
    auth: ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(path)? {
        roots.add(root).map_err(|error| TlsError::file(path, "roots for clients", error))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = match auth {
        ClientAuth::Required => builder,
        ClientAuth::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|error| TlsError::file(path, "roots for clients", error))
}
