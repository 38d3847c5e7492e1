//! An issuer of tokens: keys made for one test, in a file or behind a web server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{CertifiedKey, KeyPair, PublicKeyData as _, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub(crate) struct Issuer {
    key: KeyPair,
    folder: TempDir,
}

impl Issuer {
    pub(crate) const NAME: &'static str = "https://issuer.example";

    pub(crate) fn new() -> Self {
        let issuer = Self { key: KeyPair::generate().unwrap(), folder: tempfile::tempdir().unwrap() };
        std::fs::write(issuer.file(), issuer.set().to_string()).unwrap();
        issuer
    }

    /// The file with its key.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("jwks.json")
    }

    /// What it signs by.
    pub(crate) fn key(&self) -> &KeyPair {
        &self.key
    }

    fn set(&self) -> Value {
        // An uncompressed point: 4, then both coordinates.
        let (x, y) = self.key.der_bytes()[1..].split_at(32);
        json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "kid": "one", "alg": "ES256", "use": "sig",
            "x": BASE64.encode(x), "y": BASE64.encode(y),
        }] })
    }

    pub(crate) fn token(&self, subject: &str, scope: &str) -> String {
        self.sign(subject, scope, Timestamp::now().as_second() + 300)
    }

    pub(crate) fn expired_token(&self, subject: &str) -> String {
        self.sign(subject, "polytty:admin", Timestamp::now().as_second() - 3600)
    }

    fn sign(&self, subject: &str, scope: &str, exp: i64) -> String {
        let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::ES256) };
        let claims = json!({ "iss": Self::NAME, "aud": "polytty", "sub": subject, "scope": scope, "exp": exp });
        encode(&header, &claims, &EncodingKey::from_ec_der(&self.key.serialize_der())).unwrap()
    }

    /// Serves its keys over TLS until the end of the test.
    pub(crate) async fn serve(&self) -> Served {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let ca = self.folder.path().join("ca.pem");
        std::fs::write(&ca, cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let (counted, set) = (Arc::clone(&asked), Bytes::from(self.set().to_string()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let answer = service_fn(|_| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    let answer = http::Response::new(Full::new(set.clone()));
                    async { Ok::<_, Infallible>(answer) }
                });
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            }
        });
        Served { address, ca, asked }
    }
}

/// A web server with the keys of an issuer.
pub(crate) struct Served {
    address: SocketAddr,
    ca: PathBuf,
    asked: Arc<AtomicUsize>,
}

impl Served {
    pub(crate) fn url(&self) -> String {
        format!("https://{}/keys/jwks.json", self.address)
    }

    pub(crate) fn ca(&self) -> &PathBuf {
        &self.ca
    }

    /// How often the keys were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}
