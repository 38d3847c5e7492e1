//! What a client knows of a proxy: where it is, what to trust, and a key.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Client, Connect, PATIENCE, eventually};

/// A proxy from outside.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    /// What it is called in requests.
    pub(crate) host: SocketAddr,
    pub(crate) key: String,
    /// What a session at each provider is opened with.
    targets: Vec<(String, Value)>,
    root: CertificateDer<'static>,
    tls: TlsConnector,
}

/// A certificate that a client shows.
pub(crate) struct Shown {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// A minted link.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) session: String,
    pub(crate) url: String,
}

impl Link {
    /// The path of the link, `/t/…`.
    pub(crate) fn path(&self) -> &str {
        &self.url[self.url.find("/t/").expect("a link has a path")..]
    }
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Site {
    pub(crate) fn new(
        address: SocketAddr,
        key: String,
        targets: Vec<(String, Value)>,
        root: CertificateDer<'static>,
    ) -> Self {
        let tls = trusting(root.clone(), None);
        Self { address, host: address, key, targets, root, tls }
    }

    /// The same by another name: that of all replicas, which this is one of.
    #[allow(dead_code, reason = "only the stories of replicas need it")]
    pub(crate) fn called(self, host: SocketAddr) -> Self {
        Self { host, ..self }
    }

    /// The same proxy, for a client that shows a certificate.
    pub(crate) fn showing(&self, shown: Shown) -> Self {
        let (key, targets, root) = (self.key.clone(), self.targets.clone(), self.root.clone());
        let (address, host) = (self.address, self.host);
        Self { address, host, key, targets, tls: trusting(root.clone(), Some(shown)), root }
    }

    /// What a session at this provider is opened with.
    pub(crate) fn target(&self, provider: &str) -> Value {
        let target = self.targets.iter().find(|(name, _)| name == provider);
        target.map_or_else(|| json!({}), |(_, target)| target.clone())
    }

    /// A TLS connection.
    pub(crate) async fn dial(&self) -> TlsStream<TcpStream> {
        self.shake(TcpStream::connect(self.address).await.unwrap()).await.unwrap()
    }

    /// A TCP connection that comes from another address: all of 127.0.0.0/8 is this machine.
    pub(crate) async fn tcp_from(&self, source: Ipv4Addr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// TLS over a connection.
    pub(crate) async fn shake(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        tcp.set_nodelay(true)?;
        self.tls.connect(ServerName::try_from("127.0.0.1").unwrap(), tcp).await
    }

    /// Sends raw bytes over TLS and reads the raw answer to its end.
    pub(crate) async fn raw(&self, request: &str) -> String {
        let mut stream = self.dial().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(PATIENCE, reading).await.expect("the server ends the connection");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A call of the API with the world's key.
    pub(crate) async fn api(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let key = format!("Bearer {}", self.key);
        self.http(method, path, body, &[("authorization", &key)]).await
    }

    /// A call of the API with another credential.
    pub(crate) async fn call(&self, credential: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.http(method, path, body, &[("authorization", &format!("Bearer {credential}"))]).await
    }

    /// Any HTTP request.
    pub(crate) async fn http(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        fields: &[(&str, &str)],
    ) -> Answer {
        self.http_over(self.dial().await, method, path, body, fields).await
    }

    /// Any HTTP request, over a connection of its own.
    pub(crate) async fn http_over(
        &self,
        stream: TlsStream<TcpStream>,
        method: Method,
        path: &str,
        body: Option<Value>,
        fields: &[(&str, &str)],
    ) -> Answer {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", self.host.to_string());
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let response = sender.send_request(request.body(Full::new(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body =
            serde_json::from_slice(&body).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&body).into_owned()));
        Answer { status: head.status, headers: head.headers, body }
    }

    /// A link to a new session.
    pub(crate) async fn mint(&self, provider: &str) -> Link {
        self.mint_with(provider, |_| {}).await
    }

    /// A link to a new session, with more in the request.
    pub(crate) async fn mint_with(&self, provider: &str, change: impl FnOnce(&mut Value)) -> Link {
        let mut body = json!({ "provider": provider, "target": self.target(provider) });
        change(&mut body);
        let answer = self.api(Method::POST, "/v1/sessions", Some(body)).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let text = |name: &str| answer.body[name].as_str().unwrap().to_owned();
        Link { session: text("id"), url: text("url") }
    }

    /// A new session with its client attached and `ready` read.
    pub(crate) async fn open(&self, provider: &str) -> Client {
        let link = self.mint(provider).await;
        let mut client = Client::connect(self, &link, Connect::default()).await.unwrap();
        client.ready().await;
        client
    }

    /// Another link to a session, for a writer.
    pub(crate) async fn another_link(&self, session: &str) -> Link {
        let path = format!("/v1/sessions/{session}/links");
        let answer = self.api(Method::POST, &path, Some(json!({ "role": "writer" }))).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        Link { session: session.to_owned(), url: answer.body["url"].as_str().unwrap().to_owned() }
    }

    /// Comes back to a session.
    pub(crate) async fn reconnect(&self, session: &str) -> Client {
        let link = self.another_link(session).await;
        Client::connect(self, &link, Connect::default()).await.unwrap()
    }

    /// How a session stands.
    pub(crate) async fn session(&self, id: &str) -> Value {
        self.api(Method::GET, &format!("/v1/sessions/{id}"), None).await.body
    }

    /// Waits until a session stands as it should.
    pub(crate) async fn until(&self, id: &str, state: &str) -> Value {
        eventually(async || {
            let session = self.session(id).await;
            (session["state"] == state).then_some(session)
        })
        .await
    }
}

/// What an admin listener says under `/metrics`.
pub(crate) async fn metrics(admin: SocketAddr) -> String {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn trusting(root: CertificateDer<'static>, shown: Option<Shown>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match shown {
        Some(Shown { certificate, key }) => config.with_client_auth_cert(vec![certificate], key).unwrap(),
        None => config.with_no_client_auth(),
    };
    TlsConnector::from(Arc::new(config))
}
