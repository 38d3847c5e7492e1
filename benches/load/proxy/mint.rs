//! Links, over one connection that is kept as long as the server keeps it.

use std::io;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

/// Where links are minted, and with what.
pub(crate) struct Mint {
    uri: Uri,
    key: String,
    tls: TlsConnector,
    kept: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Mint {
    /// `uri` is that of `POST /v1/sessions`, `key` an API key.
    pub(crate) fn new(uri: Uri, key: String, tls: TlsConnector) -> Self {
        Self { uri, key, tls, kept: Mutex::default() }
    }

    /// A link, by the body of the call.
    ///
    /// # Errors
    ///
    /// What the connection broke by, or the whole answer where there is no link in it.
    pub(crate) async fn link(&self, body: &Value) -> io::Result<String> {
        let mut kept = self.kept.lock().await;
        let mut sender = match kept.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        sender.ready().await.map_err(io::Error::other)?;
        let authority = self.uri.authority().ok_or(io::ErrorKind::InvalidInput)?;
        let request = Request::post(self.uri.path())
            .header("host", authority.as_str())
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(io::Error::other)?;
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let body = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        let answer: Value = serde_json::from_slice(&body)?;
        *kept = Some(sender);
        answer["url"].as_str().map(str::to_owned).ok_or_else(|| io::Error::other(answer.to_string()))
    }

    /// Leaves the connection, so that the next link takes another.
    pub(crate) async fn hang_up(&self) {
        self.kept.lock().await.take();
    }

    async fn connect(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        let authority = self.uri.authority().ok_or(io::ErrorKind::InvalidInput)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tcp = TcpStream::connect((host.as_str(), authority.port_u16().unwrap_or(443))).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let stream = self.tls.connect(name, tcp).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
