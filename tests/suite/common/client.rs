//! A WebSocket client that speaks what it is told to.

use futures_util::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Link, PATIENCE, Site};

/// What a client says in its handshake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connect<'a> {
    pub(crate) subprotocol: Option<&'a str>,
    pub(crate) origin: Option<&'a str>,
    /// Any other field.
    pub(crate) field: Option<(&'a str, &'a str)>,
}

impl Default for Connect<'_> {
    fn default() -> Self {
        Self { subprotocol: Some("polytty.v1"), origin: None, field: None }
    }
}

/// How a connection was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

/// An attached client. What it has read is kept: output, and everything that was said beside it.
pub(crate) struct Client {
    pub(crate) ws: WebSocketStream<TlsStream<TcpStream>>,
    pub(crate) session: String,
    pub(crate) subprotocol: Option<String>,
    pub(crate) output: Vec<u8>,
    pub(crate) said: Vec<Value>,
    pub(crate) closed: Option<Closed>,
    looked: usize,
}

impl Client {
    /// Uses a link; an HTTP status where the upgrade is refused.
    pub(crate) async fn connect(site: &Site, link: &Link, how: Connect<'_>) -> Result<Self, StatusCode> {
        Self::connect_over(site.dial().await, site, link, how).await
    }

    /// The same over a connection that is there already.
    pub(crate) async fn connect_over(
        stream: TlsStream<TcpStream>,
        site: &Site,
        link: &Link,
        how: Connect<'_>,
    ) -> Result<Self, StatusCode> {
        Self::try_connect_over(stream, site, link, how).await.expect("the connection holds")
    }

    /// The same; `None` when the connection breaks.
    pub(crate) async fn try_connect_over(
        stream: TlsStream<TcpStream>,
        site: &Site,
        link: &Link,
        how: Connect<'_>,
    ) -> Option<Result<Self, StatusCode>> {
        let mut request = Request::builder()
            .uri(format!("ws://{}{}", site.host, link.path()))
            .header("host", site.host.to_string())
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", tokio_tungstenite::tungstenite::handshake::client::generate_key());
        if let Some(origin) = how.origin {
            request = request.header("origin", origin);
        }
        if let Some((name, value)) = how.field {
            request = request.header(name, value);
        }
        if let Some(subprotocol) = how.subprotocol {
            request = request.header("sec-websocket-protocol", subprotocol);
        }
        let connecting = tokio_tungstenite::client_async(request.body(()).unwrap(), stream);
        match timeout(PATIENCE, connecting).await.expect("an upgrade is answered") {
            Ok((ws, response)) => Some(Ok(Self {
                ws,
                session: link.session.clone(),
                subprotocol: response
                    .headers()
                    .get("sec-websocket-protocol")
                    .map(|value| value.to_str().unwrap().to_owned()),
                output: Vec::new(),
                said: Vec::new(),
                closed: None,
                looked: 0,
            })),
            Err(Error::Http(response)) => Some(Err(response.status())),
            Err(Error::Io(_) | Error::ConnectionClosed | Error::Protocol(_)) => None,
            Err(other) => panic!("{other}"),
        }
    }

    /// Reads one message; `false` once the connection is over.
    pub(crate) async fn read(&mut self) -> bool {
        let message = timeout(PATIENCE, self.ws.next()).await;
        let message = message.unwrap_or_else(|_| panic!("nothing comes behind {:?}", self.tail()));
        match message {
            Some(Ok(Message::Binary(bytes))) => self.output.extend_from_slice(&bytes),
            Some(Ok(Message::Text(text))) => self.said.push(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Close(frame))) => {
                let frame = frame.map(|frame| (u16::from(frame.code), frame.reason.to_string()));
                let (code, reason) = frame.unwrap_or((1005, String::new()));
                self.closed = Some(Closed { code, reason });
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => {
                self.closed.get_or_insert(Closed { code: 1006, reason: String::new() });
                return false;
            }
        }
        true
    }

    /// Reads until something beside output is said, and returns it.
    pub(crate) async fn hear(&mut self, operation: &str) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < until, "no {operation}: {:?}", self.said);
            if let Some(at) = self.said[self.looked..].iter().position(|said| said["operation"] == operation) {
                self.looked += at + 1;
                return self.said[self.looked - 1].clone();
            }
            assert!(self.read().await, "no {operation} before the end: {:?} {:?}", self.said, self.closed);
        }
    }

    pub(crate) async fn ready(&mut self) -> Value {
        self.hear("ready").await
    }

    /// Reads until the output holds `wanted` behind what was waited for before, and returns all of it up to there.
    pub(crate) async fn see(&mut self, wanted: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < until, "no {wanted:?} in {:?}", self.tail());
            if let Some(at) = find(&self.output, wanted.as_bytes()) {
                let rest = self.output.split_off(at + wanted.len());
                let seen = std::mem::replace(&mut self.output, rest);
                return String::from_utf8_lossy(&seen).into_owned();
            }
            assert!(self.read().await, "no {wanted:?} before the end: {:?} {:?}", self.tail(), self.closed);
        }
    }

    /// Reads what was shown before, and returns it without the reset that stands before it.
    pub(crate) async fn catch_up(&mut self) -> String {
        let reset = self.hear("synthetic").await["bytes"].as_u64().unwrap() as usize;
        let shown = self.hear("replay").await["bytes"].as_u64().unwrap() as usize;
        while self.output.len() < reset + shown {
            assert!(self.read().await, "no replay before the end: {:?}", self.closed);
        }
        let rest = self.output.split_off(reset + shown);
        let seen = std::mem::replace(&mut self.output, rest);
        String::from_utf8_lossy(&seen[reset..]).into_owned()
    }

    /// Reads to the end of the connection.
    pub(crate) async fn drain(&mut self) -> Closed {
        while self.read().await {}
        self.closed.clone().unwrap()
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.ws.send(Message::text(message.to_string())).await.unwrap();
    }

    /// Says it, unless the connection is over.
    pub(crate) async fn try_saying(&mut self, message: Value) {
        let _ = self.ws.send(Message::text(message.to_string())).await;
    }

    /// Types, as binary.
    pub(crate) async fn type_bytes(&mut self, bytes: &[u8]) {
        self.ws.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// Types, as text.
    pub(crate) async fn type_text(&mut self, text: &str) {
        self.say(json!({ "operation": "stdin", "data": text })).await;
    }

    /// Types, unless the connection is over.
    pub(crate) async fn try_typing(&mut self, text: &str) {
        self.try_saying(json!({ "operation": "stdin", "data": text })).await;
    }

    /// Runs a line in the shell and returns what it printed, without prompt and echo. The markers are split in the
    /// line, so that its echo is not taken for them.
    pub(crate) async fn run(&mut self, line: &str) -> String {
        self.type_text(&format!("echo start''-of-run; {line}; echo end''-of-run\r")).await;
        self.see("start-of-run\r\n").await;
        let seen = self.see("end-of-run\r\n").await;
        seen.strip_suffix("end-of-run\r\n").unwrap_or(&seen).to_owned()
    }

    fn tail(&self) -> String {
        String::from_utf8_lossy(&self.output[self.output.len().saturating_sub(300)..]).into_owned()
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
