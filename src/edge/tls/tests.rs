//! Real handshakes over a pipe.

use std::path::PathBuf;

use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ED25519};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, HandshakeKind, NamedGroup, ProtocolVersion, SignatureScheme,
    SupportedProtocolVersion,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::config::CertificateFiles;
use crate::tls::{self, ServerStream};

/// A directory of certificates, gone at the end of the test.
struct Shelf(TempDir);

impl Shelf {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A certificate for these names, with its key.
    fn certificate(&self, file: &str, names: &[&str], key: &KeyPair) -> CertificateFiles {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().self_signed(key).unwrap();
        CertificateFiles {
            cert: self.write(&format!("{file}.pem"), &certificate.pem()),
            key: self.write(&format!("{file}.key"), &key.serialize_pem()),
        }
    }

    fn one(&self) -> Tls {
        tls(vec![self.certificate("one", &["one.example", "127.0.0.1"], &KeyPair::generate().unwrap())])
    }
}

fn tls(certificates: Vec<CertificateFiles>) -> Tls {
    Tls { certificates, client_ca: None, client_auth: ClientAuth::Optional }
}

/// A client that takes any certificate whose signature it knows.
#[derive(Debug)]
struct Gullible(Vec<SignatureScheme>);

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, &known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, &known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// What clients sign and verify by here.
const SCHEMES: [SignatureScheme; 2] = [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519];

fn client_with(
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
    schemes: &[SignatureScheme],
    shows: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
) -> ClientConfig {
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible(schemes.to_vec())));
    match shows {
        Some((certificate, key)) => config.with_client_auth_cert(vec![certificate], key).unwrap(),
        None => config.with_no_client_auth(),
    }
}

fn client(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    client_with(crypto::aws_lc_rs::default_provider(), versions, &SCHEMES, None)
}

struct Met {
    client: client::TlsStream<DuplexStream>,
    server: ServerStream<DuplexStream>,
}

fn acceptor(settings: &Tls) -> Arc<ServerConfig> {
    Arc::new(server_config(settings).unwrap())
}

/// Shakes hands; a byte each way shows that both are done, and brings the client its tickets.
async fn meet(acceptor: &Arc<ServerConfig>, client: &Arc<ClientConfig>, name: &str) -> std::io::Result<Met> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let connector = TlsConnector::from(client.clone());
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let (client, server) = tokio::join!(connector.connect(name, near), tls::accept(acceptor.clone(), far));
    let mut met = Met { client: client?, server: server? };
    met.server.write_all(b"s").await?;
    met.client.read_exact(&mut [0]).await?;
    met.client.write_all(b"c").await?;
    met.server.read_exact(&mut [0]).await?;
    Ok(met)
}

impl Met {
    fn shown(&self) -> CertificateDer<'static> {
        self.client.get_ref().1.peer_certificates().unwrap()[0].clone()
    }
}

#[tokio::test]
async fn each_client_is_shown_the_certificate_for_the_name_it_asks_for_and_else_the_first() {
    let shelf = Shelf::new();
    let key = KeyPair::generate().unwrap();
    let files = [
        shelf.certificate("first", &["first.example"], &key),
        shelf.certificate("second", &["second.example", "also.example"], &key),
        shelf.certificate("wild", &["*.wild.example"], &key),
        shelf.certificate("exact", &["exact.wild.example"], &key),
    ];
    let known: Vec<_> = files.iter().map(|files| certificates(&files.cert).unwrap().remove(0)).collect();
    let acceptor = acceptor(&tls(files.to_vec()));
    let client = Arc::new(client(&VERSIONS));
    for (asked, index) in [
        ("first.example", 0),
        ("second.example", 1),
        ("ALSO.example", 1),
        ("a.wild.example", 2),
        ("exact.wild.example", 3),
        ("a.b.wild.example", 0),
        ("wild.example", 0),
        ("unknown.example", 0),
        // No name is sent for an address (RFC 6066, section 3).
        ("127.0.0.1", 0),
    ] {
        assert_eq!(meet(&acceptor, &client, asked).await.unwrap().shown(), known[index], "{asked}");
    }
}

#[tokio::test]
async fn of_two_certificates_for_one_name_the_first_that_the_client_can_verify_is_shown() {
    let shelf = Shelf::new();
    let (new, usual) = (KeyPair::generate_for(&PKCS_ED25519).unwrap(), KeyPair::generate().unwrap());
    let files = [shelf.certificate("new", &["a.example"], &new), shelf.certificate("usual", &["a.example"], &usual)];
    let known: Vec<_> = files.iter().map(|files| certificates(&files.cert).unwrap().remove(0)).collect();
    let acceptor = acceptor(&tls(files.to_vec()));
    for (schemes, index) in [(&SCHEMES[..], 0), (&SCHEMES[..1], 1)] {
        let client = client_with(crypto::aws_lc_rs::default_provider(), &VERSIONS, schemes, None);
        assert_eq!(meet(&acceptor, &Arc::new(client), "a.example").await.unwrap().shown(), known[index]);
    }
}

#[tokio::test]
async fn both_versions_are_spoken_older_ones_are_not_and_the_key_exchange_withstands_quantum_computers() {
    let shelf = Shelf::new();
    let acceptor = acceptor(&shelf.one());
    for (version, spoken) in VERSIONS.iter().zip([ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3]) {
        let met = meet(&acceptor, &Arc::new(client(&[version])), "one.example").await.unwrap();
        let server = met.server.state();
        assert_eq!(server.protocol_version(), Some(spoken));
        let group = server.negotiated_key_exchange_group().unwrap().name();
        let hybrid = spoken == ProtocolVersion::TLSv1_3;
        assert_eq!(group == NamedGroup::X25519MLKEM768, hybrid, "{spoken:?}: {group:?}");
    }
    // Who does not know the hybrid exchange yet gets in as well.
    let mut classical = crypto::aws_lc_rs::default_provider();
    classical.kx_groups.retain(|group| group.name() != NamedGroup::X25519MLKEM768);
    let client = client_with(classical, &VERSIONS, &SCHEMES, None);
    let met = meet(&acceptor, &Arc::new(client), "one.example").await.unwrap();
    let group = met.server.state().negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519);

    // A client that knows TLS 1.1 at most: version 3.2, a random, no session, one cipher suite, no compression.
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let mut record = vec![22, 3, 1, 0, hello.len() as u8 + 4, 1, 0, 0, hello.len() as u8];
    record.extend(hello);
    let (mut near, far) = tokio::io::duplex(1024);
    near.write_all(&record).await.unwrap();
    let accepted = tls::accept(acceptor.clone(), far).await;
    assert!(accepted.is_err());
    let mut answer = [0; 7];
    near.read_exact(&mut answer).await.unwrap();
    assert_eq!((answer[0], answer[5]), (21, 2), "a fatal alert: {answer:?}");
}

#[tokio::test]
async fn http_1_1_is_what_is_agreed_on_and_a_client_that_wants_something_else_is_told_so_in_the_handshake() {
    let shelf = Shelf::new();
    let acceptor = acceptor(&shelf.one());
    for (offers, agreed) in [
        (&[][..], Ok(None)),
        (&["http/1.1"], Ok(Some("http/1.1"))),
        (&["h2", "http/1.1"], Ok(Some("http/1.1"))),
        (&["h2"], Err(())),
        (&["h3", "http/1.0"], Err(())),
    ] {
        let mut client = client(&VERSIONS);
        client.alpn_protocols = offers.iter().map(|offer| offer.as_bytes().to_vec()).collect();
        let met = meet(&acceptor, &Arc::new(client), "one.example").await;
        let got = met.map(|met| met.client.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)).map_err(|_| ());
        assert_eq!(got, agreed.map(|agreed| agreed.map(|agreed| agreed.as_bytes().to_vec())), "{offers:?}");
    }
}

#[tokio::test]
async fn a_client_resumes_by_its_ticket_until_the_keys_are_new_and_never_sends_early_data() {
    let shelf = Shelf::new();
    let (before, after) = (acceptor(&shelf.one()), acceptor(&shelf.one()));
    for version in VERSIONS {
        let mut client = client(&[version]);
        client.enable_early_data = true;
        let client = Arc::new(client);
        let kind = async |acceptor: &Arc<ServerConfig>| {
            let met = meet(acceptor, &client, "one.example").await.unwrap();
            assert!(!met.client.get_ref().1.is_early_data_accepted());
            met.server.state().handshake_kind().unwrap()
        };
        assert_eq!(kind(&before).await, HandshakeKind::Full);
        assert_eq!(kind(&before).await, HandshakeKind::Resumed, "{version:?}");
        assert_ne!(kind(&after).await, HandshakeKind::Resumed, "{version:?}: a ticket of other keys");
        assert_eq!(kind(&after).await, HandshakeKind::Resumed, "{version:?}");
    }
}

/// A root for clients, and a certificate that it has signed.
fn machine(usage: ExtendedKeyUsagePurpose) -> (String, CertificateDer<'static>, PrivateKeyDer<'static>) {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let mut leaf = CertificateParams::new(vec!["ci.example".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![usage];
    let key = KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&key, &root).unwrap();
    (root.pem(), leaf.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
}

#[tokio::test]
async fn a_client_is_known_by_a_certificate_of_the_right_root_and_no_other_gets_in() {
    let shelf = Shelf::new();
    let (root, certificate, key) = machine(ExtendedKeyUsagePurpose::ClientAuth);
    let (_, foreign, foreign_key) = machine(ExtendedKeyUsagePurpose::ClientAuth);
    let provider = crypto::aws_lc_rs::default_provider;
    let with = |shows| Arc::new(client_with(provider(), &VERSIONS, &SCHEMES, shows));
    for client_auth in [ClientAuth::Optional, ClientAuth::Required] {
        let client_ca = Some(shelf.write("clients.pem", &root));
        let acceptor = acceptor(&Tls { client_ca, client_auth, ..shelf.one() });
        let right = with(Some((certificate.clone(), key.clone_key())));
        for _ in 0..2 {
            let met = meet(&acceptor, &right, "one.example").await.unwrap();
            let connection = met.server.state();
            let shown = client_certificate(connection).unwrap();
            assert!("ci.example".parse::<crate::auth::CertificateName>().unwrap().is(&shown));
            assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full), "verified each time");
        }
        let wrong = with(Some((foreign.clone(), foreign_key.clone_key())));
        assert!(meet(&acceptor, &wrong, "one.example").await.is_err(), "signed by somebody else");
        let nobody = meet(&acceptor, &with(None), "one.example").await;
        match client_auth {
            ClientAuth::Optional => assert!(client_certificate(nobody.unwrap().server.state()).is_none()),
            ClientAuth::Required => assert!(nobody.is_err()),
        }
    }
    let (root, certificate, key) = machine(ExtendedKeyUsagePurpose::ServerAuth);
    let client_ca = Some(shelf.write("clients.pem", &root));
    let acceptor = acceptor(&Tls { client_ca, ..shelf.one() });
    assert!(meet(&acceptor, &with(Some((certificate, key))), "one.example").await.is_err(), "not for clients");
}

#[test]
fn every_file_that_is_of_no_use_is_told_at_once() {
    let shelf = Shelf::new();
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut swapped = shelf.certificate("swapped", &["a.example"], &key);
    swapped.key = shelf.write("other.key", &other.serialize_pem());
    let missing = CertificateFiles { cert: shelf.0.path().join("none.pem"), ..swapped.clone() };
    let nameless = shelf.certificate("nameless", &["127.0.0.1"], &key);
    let good = shelf.certificate("good", &["b.example"], &key);
    let client_ca = Some(shelf.write("empty.pem", ""));
    let settings = Tls { client_ca, ..tls(vec![good, swapped, missing, nameless]) };
    let told = server_config(&settings).err().unwrap();
    let told: Vec<_> =
        told.iter().map(|error| error.to_string().replace(shelf.0.path().to_str().unwrap(), "")).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].starts_with("/swapped.pem and /other.key cannot be used together"), "{told:?}");
    assert!(told[1].starts_with("/none.pem: expected a PEM certificate chain: No such file"), "{told:?}");
    assert!(told[2].starts_with("/nameless.pem: expected a certificate for a name"), "{told:?}");
    assert!(told[3].starts_with("/empty.pem: expected a PEM certificate chain: there is no certificate"), "{told:?}");
}
