//! Connections to providers: resolve, check, then dial that very address.

mod address;
mod exchange;
mod handshake;
mod kept;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use polytty_dialect::Code;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use crate::tls;

use super::Failure;
use crate::config::units::Authority;
use kept::Kept;

pub(crate) use exchange::{Reply, Request};
pub(crate) use handshake::{WebSocketRefusal, WebSocketRequest};
pub(crate) use stream::Stream;

/// What the kernel may hold in each direction of a connection, in bytes (Linux doubles it for its bookkeeping). Left
/// alone, it grows to megabytes for a peer that stalls.
const SOCKET_BUFFER: u32 = 128 << 10;

/// How many addresses of one name are tried.
const MAX_ADDRESSES: usize = 8;

/// How long one address may keep the next one waiting. The last one has the caller's whole deadline.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_secs(3);

/// TCP keepalive: a peer that is gone without a word is noticed after about a minute of silence.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// Opens connections for one provider. Cheap to clone.
///
/// A name is resolved once per connection, its addresses are checked, and a checked address is dialled: between the
/// check and the dial nothing is looked up again. Nothing here has a deadline as a whole; the caller sets one, and
/// dropping a future closes what it had opened.
#[derive(Clone)]
pub struct Dialer {
    tls: Arc<ClientConfig>,
    allow_private: bool,
    kept: Kept,
}

impl Dialer {
    /// A dialer that trusts the roots in the PEM file `ca` and no others, or without one the system's, and that
    /// dials addresses which are not public only with `allow_private`.
    ///
    /// # Errors
    ///
    /// [`RootsError`], when there is nothing to trust.
    pub fn new(ca: Option<&Path>, allow_private: bool) -> Result<Self, RootsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(RootsError::Tls)?
            .with_root_certificates(roots(ca)?)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: Arc::new(config), allow_private, kept: Kept::default() })
    }

    /// The same for a peer that does not speak HTTP: no protocol is offered in its handshake.
    #[must_use]
    pub(crate) fn without_alpn(self) -> Self {
        let mut config = ClientConfig::clone(&self.tls);
        config.alpn_protocols.clear();
        Self { tls: Arc::new(config), kept: Kept::default(), ..self }
    }

    /// Whether addresses that are not public may be dialled.
    pub(crate) fn allows_private(&self) -> bool {
        self.allow_private
    }

    /// Connects to `authority`, port 443 or 80 where it names none, and with `tls` verifies whose certificate is
    /// there. The addresses are tried in the resolver's order.
    ///
    /// # Errors
    ///
    /// [`DialError`], which turns into a [`Failure`].
    pub(crate) async fn connect(&self, tls: bool, authority: &Authority) -> Result<Stream, DialError> {
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let addresses = self.resolve(host, authority.port_or(if tls { 443 } else { 80 })).await?;
        let tcp = dial(&addresses).await.map_err(DialError::Connect)?;
        if !tls {
            return Ok(Stream::Tcp(tcp));
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| DialError::Name(io::Error::new(io::ErrorKind::InvalidInput, "not a host name")))?;
        let tls = tls::connect(self.tls.clone(), name, tcp).await.map_err(DialError::Tls)?;
        Ok(Stream::Tls(Box::new(tls)))
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        let found: Vec<_> = lookup_host((host, port)).await.map_err(DialError::Name)?.collect();
        if found.is_empty() {
            return Err(DialError::Name(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
        }
        let may_dial = |address: &SocketAddr| self.allow_private || address::is_public(address.ip());
        let addresses: Vec<_> = found.into_iter().filter(may_dial).take(MAX_ADDRESSES).collect();
        if addresses.is_empty() { Err(DialError::NotPublic) } else { Ok(addresses) }
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("allow_private", &self.allow_private).finish_non_exhaustive()
    }
}

/// Why a [`Dialer`] trusts nobody.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The file cannot be read, or is no PEM.
    #[error("cannot read certificates from {path}: {reason}", path = .0.display(), reason = .1)]
    Read(PathBuf, pem::Error),
    /// The file holds a certificate that cannot serve as a root.
    #[error("{path} holds a certificate that cannot serve as a root: {reason}", path = .0.display(), reason = .1)]
    Root(PathBuf, rustls::Error),
    /// The file, or the system without one, has no certificates.
    #[error("no root certificates in {}", .0.as_ref().map_or("the system's store".into(), |path| path.to_string_lossy()))]
    Empty(Option<PathBuf>),
    /// The TLS library offers none of the versions 1.2 and 1.3.
    #[error("TLS is not available: {0}")]
    Tls(rustls::Error),
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum DialError {
    /// The name has no address.
    Name(io::Error),
    /// All addresses of the name are ones that this configuration does not dial.
    NotPublic,
    /// No address could be connected to; the error is that of the last one.
    Connect(io::Error),
    /// The TLS handshake failed.
    Tls(io::Error),
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        let (message, cause) = match error {
            DialError::Name(cause) => ("The provider's host name cannot be resolved.", cause),
            DialError::NotPublic => {
                return Self::new(
                    Code::ProviderUnavailable,
                    "The provider's address is not a public one, and this provider is not configured for such \
                     addresses.",
                )
                .detail("allow_private is not set");
            }
            DialError::Connect(cause) if cause.kind() == io::ErrorKind::TimedOut => {
                return Self::new(Code::ProviderTimeout, "The provider did not answer in time.")
                    .detail(printable(&cause));
            }
            DialError::Connect(cause) => ("The provider cannot be reached.", cause),
            DialError::Tls(cause) => ("No secure connection to the provider could be made.", cause),
        };
        Self::new(Code::ProviderUnavailable, message).detail(printable(&cause))
    }
}

/// An error's words for the log: one short line without control characters, whatever a peer put into them.
fn printable(error: &dyn std::fmt::Display) -> String {
    const MAX_CHARS: usize = 200;
    error.to_string().chars().take(MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, RootsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        let read = |error| RootsError::Read(path.to_owned(), error);
        for certificate in CertificateDer::pem_file_iter(path).map_err(read)? {
            roots.add(certificate.map_err(read)?).map_err(|error| RootsError::Root(path.to_owned(), error))?;
        }
    } else {
        // A system's store may well hold a few that rustls cannot use; what counts is that some are left.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() { Err(RootsError::Empty(ca.map(Path::to_owned))) } else { Ok(roots) }
}

async fn dial(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (at, &address) in addresses.iter().enumerate() {
        let tried = if at + 1 < addresses.len() {
            tokio::time::timeout(NEXT_ADDRESS_AFTER, dial_one(address))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        } else {
            dial_one(address).await
        };
        match tried {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn dial_one(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Before connecting: the window scale is agreed upon in the handshake.
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(&socket).set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_PROBES))?;
    socket.connect(address).await
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn listener() -> (TcpListener, Authority) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let authority = listener.local_addr().unwrap().to_string().parse().unwrap();
        (listener, authority)
    }

    fn pem(certificate: &rcgen::Certificate) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), certificate.pem()).unwrap();
        file
    }

    /// Accepts one connection with a fresh certificate for `name` and echoes what it reads.
    fn serve_tls(listener: TcpListener, name: &str) -> tempfile::NamedTempFile {
        let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let ca = pem(&certified.cert);
        let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            if let Ok(tls) = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(tcp).await {
                let (mut read, mut write) = tokio::io::split(tls);
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        });
        ca
    }

    fn tls_error(result: Result<Stream, DialError>) -> String {
        match result {
            Err(DialError::Tls(error)) => error.to_string(),
            Err(other) => panic!("expected a TLS error, got {other:?}"),
            Ok(_) => panic!("expected a TLS error, got a connection"),
        }
    }

    #[tokio::test]
    async fn a_connection_has_bounded_buffers_and_no_delay() {
        let (_listener, authority) = listener().await;
        let dialer = Dialer::new(None, true).unwrap();
        let Stream::Tcp(tcp) = dialer.connect(false, &authority).await.unwrap() else { panic!("plain was asked for") };
        assert!(tcp.nodelay().unwrap());
        let socket = SockRef::from(&tcp);
        for size in [socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap()] {
            assert!((128 << 10..=256 << 10).contains(&size), "{size}");
        }
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
    }

    #[tokio::test]
    async fn a_private_address_is_not_dialled_by_whatever_name() {
        let (listener, authority) = listener().await;
        let port = authority.port().unwrap();
        let dialer = Dialer::new(None, false).unwrap();
        for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:7f00:1]", "169.254.169.254", "10.0.0.1"] {
            let authority = format!("{host}:{port}").parse().unwrap();
            let error = dialer.connect(false, &authority).await.err();
            assert!(matches!(error, Some(DialError::NotPublic)), "{host}: {error:?}");
        }
        let failure = Failure::from(DialError::NotPublic);
        assert_eq!(failure.code, Code::ProviderUnavailable);
        // Nobody knocked.
        assert!(tokio::time::timeout(Duration::from_millis(50), listener.accept()).await.is_err());
    }

    #[tokio::test]
    async fn when_the_first_address_refuses_the_next_one_is_tried() {
        let (listener, _) = listener().await;
        let closed = self::listener().await.0.local_addr().unwrap();
        let good = listener.local_addr().unwrap();
        assert_eq!(dial(&[closed, good]).await.unwrap().peer_addr().unwrap(), good);
        assert_eq!(dial(&[closed]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_certificate_under_the_configured_root_is_taken() {
        let (listener, authority) = listener().await;
        let ca = serve_tls(listener, "127.0.0.1");
        let dialer = Dialer::new(Some(ca.path()), true).unwrap();
        let mut stream = dialer.connect(true, &authority).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"hello");
        let Stream::Tls(tls) = stream else { panic!("TLS was asked for") };
        assert_eq!(tls.state().protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    }

    #[tokio::test]
    async fn a_certificate_of_nobody_known_or_for_another_name_is_refused() {
        let (listener, authority) = listener().await;
        serve_tls(listener, "127.0.0.1");
        let stranger = pem(&rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap().cert);
        let dialer = Dialer::new(Some(stranger.path()), true).unwrap();
        let words = tls_error(dialer.connect(true, &authority).await);
        assert!(words.contains("certificate"), "{words}");

        let (listener, authority) = self::listener().await;
        let ca = serve_tls(listener, "other.example");
        let dialer = Dialer::new(Some(ca.path()), true).unwrap();
        let words = tls_error(dialer.connect(true, &authority).await);
        assert!(words.contains("127.0.0.1"), "{words}");
    }

    #[tokio::test]
    async fn a_name_without_address_is_told_as_such() {
        let dialer = Dialer::new(None, true).unwrap();
        // RFC 6761, section 6.4: `invalid` never resolves.
        let error = dialer.connect(false, &"nowhere.invalid".parse().unwrap()).await.err();
        assert!(matches!(error, Some(DialError::Name(_))), "{error:?}");
    }

    #[test]
    fn a_file_without_roots_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(Dialer::new(Some(file.path()), false), Err(RootsError::Empty(Some(_)))));
        let missing = Dialer::new(Some(Path::new("/nonexistent/ca.pem")), false).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/ca.pem"), "{missing}");
    }

    #[test]
    fn what_a_peer_puts_into_an_error_cannot_forge_a_log_line() {
        let forged = io::Error::other("bad\r\n2026 INFO all is well \u{1b}[2J".to_owned() + &"x".repeat(1000));
        let printed = printable(&forged);
        assert!(!printed.contains(char::is_control) && printed.len() <= 200, "{printed}");
    }
}
