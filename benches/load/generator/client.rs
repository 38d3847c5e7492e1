//! One session's client.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use http::Uri;
use polytty_websocket::{Close, CloseCode, Decoder, Event, Kind, Limits, Role};
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{Connectors, Dialect, Door};
use crate::source::TAKEN;
use crate::wire::Frames;

/// What is read at once, into memory that all clients share.
const CHUNK: usize = 64 << 10;

/// The length of a paste's messages.
const PASTE: usize = 16 << 10;

/// How long somebody who types beside a flood waits before the next key.
const BETWEEN_KEYS: Duration = Duration::from_millis(2);

thread_local! {
    static SCRATCH: std::cell::RefCell<Box<[u8]>> = std::cell::RefCell::new(vec![0; CHUNK].into());
}

/// One session's client.
pub(super) struct Client {
    stream: TlsStream<TcpStream>,
    dialect: Dialect,
    decoder: Decoder,
    encoder: Frames,
    /// Terminal bytes that were read and not asked for yet.
    pub(super) ahead: Vec<u8>,
    is_ready: bool,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Cow<'a, str>,
    #[serde(default)]
    message: Option<String>,
}

impl Client {
    /// Opens a session. What is said before anything is typed has come when this returns.
    pub(super) async fn open(tls: &Connectors, door: &Door) -> io::Result<Self> {
        let uri: Uri = door.url.parse().map_err(io::Error::other)?;
        let authority = uri.authority().ok_or(io::ErrorKind::InvalidInput)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tcp = TcpStream::connect((host.as_str(), authority.port_u16().unwrap_or(443))).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let mut stream = tls.of(door.exchange).connect(name, tcp).await?;
        let subprotocol = if door.dialect == Dialect::Polytty { "Sec-WebSocket-Protocol: polytty.v1\r\n" } else { "" };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cG9seXR0eS1sb2FkLWtleQ==\r\n{subprotocol}\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut head = Vec::new();
        let end = loop {
            if let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut head).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended within the answer to the upgrade"));
            }
        };
        if !head.starts_with(b"HTTP/1.1 101 ") {
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            return Err(io::Error::other(format!("the upgrade was answered with {line}")));
        }
        let decoder = Decoder::new(Role::Client, Limits { max_message: 4 << 20 });
        let encoder = Frames::new(Role::Client, || [1, 2, 3, 4]);
        let is_ready = door.dialect != Dialect::Polytty;
        let mut client = Self { stream, dialect: door.dialect, decoder, encoder, ahead: Vec::new(), is_ready };
        client.decode(&mut head[end..])?;
        // What is typed before `ready` is kept, but then something would be measured that is not open.
        while !client.is_ready || client.ahead.len() < door.greeting {
            client.read().await?;
        }
        client.ahead.drain(..door.greeting);
        Ok(client)
    }

    /// Takes output out of what was read.
    fn decode(&mut self, mut input: &mut [u8]) -> io::Result<()> {
        while let Some(event) = self.decoder.decode(&mut input).map_err(io::Error::other)? {
            match event {
                Event::Message { kind: Kind::Binary, payload } => self.ahead.extend_from_slice(payload),
                Event::Message { payload, .. } => {
                    let said: Said<'_> = serde_json::from_slice(payload)?;
                    match &*said.operation {
                        "stdout" => self.ahead.extend_from_slice(said.data.as_bytes()),
                        "ready" => self.is_ready = true,
                        "error" => return Err(io::Error::other(said.message.unwrap_or_default())),
                        _ => {}
                    }
                }
                Event::Close(close) => return Err(io::Error::other(format!("closed: {close:?}"))),
                Event::Ping(_) | Event::Pong(_) => {}
            }
        }
        Ok(())
    }

    /// Reads what is there, and waits until there is something.
    pub(super) async fn read(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
                let filled = buffer.filled_mut();
                if filled.is_empty() {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(self.decode(filled))
            })
        })
        .await
    }

    pub(super) async fn press(&mut self, keys: &[u8]) -> io::Result<()> {
        let mut frame = Vec::new();
        match self.dialect {
            Dialect::Polytty | Dialect::Opaque => self.encoder.message(Kind::Binary, keys, &mut frame),
            Dialect::Operation | Dialect::OpaqueOperation => {
                let data = String::from_utf8_lossy(keys);
                let text = serde_json::json!({ "operation": "stdin", "data": data }).to_string();
                self.encoder.message(Kind::Text, text.as_bytes(), &mut frame);
            }
        }
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }

    /// A key and its echo: microseconds.
    pub(super) async fn key(&mut self) -> io::Result<f64> {
        let pressed = Instant::now();
        self.press(b"x").await?;
        while self.ahead.is_empty() {
            self.read().await?;
        }
        if self.ahead != b"x" {
            return Err(io::Error::other("another echo than the key"));
        }
        self.ahead.clear();
        Ok(pressed.elapsed().as_secs_f64() * 1e6)
    }

    /// Key after key, until one of them goes wrong.
    pub(super) async fn type_on(&mut self, latencies: &mut Vec<f64>) -> io::Error {
        loop {
            match self.key().await {
                Ok(latency) => latencies.push(latency),
                Err(error) => return error,
            }
            tokio::time::sleep(BETWEEN_KEYS).await;
        }
    }

    /// Takes so many bytes, which have to be the block again and again.
    pub(super) async fn take(&mut self, block: &[u8], total: usize) -> io::Result<()> {
        let mut seen = 0;
        while seen < total {
            if self.ahead.is_empty() {
                self.read().await?;
            }
            let mut rest = &self.ahead[..];
            while !rest.is_empty() {
                let at = seen % block.len();
                let length = rest.len().min(block.len() - at);
                if rest[..length] != block[at..at + length] {
                    return Err(io::Error::other(format!("something else at byte {seen}")));
                }
                (seen, rest) = (seen + length, &rest[length..]);
            }
            self.ahead.clear();
        }
        // Nine thousand that rest should own nothing.
        self.ahead = Vec::new();
        if seen == total { Ok(()) } else { Err(io::Error::other("more than was asked for")) }
    }

    /// The block again and again, every byte compared: how many they were.
    pub(super) async fn bulk(&mut self, block: &[u8], mib: usize) -> io::Result<u64> {
        let total = (mib << 20).div_ceil(block.len()) * block.len();
        self.take(block, total).await?;
        Ok(total as u64)
    }

    pub(super) async fn paste(&mut self, mib: usize) -> io::Result<u64> {
        let chunk = vec![b'a'; PASTE];
        let total = mib << 20;
        for _ in 0..total / chunk.len() {
            self.press(&chunk).await?;
        }
        while self.ahead.len() < TAKEN.len() {
            self.read().await?;
        }
        if self.ahead != TAKEN {
            return Err(io::Error::other("another answer than that everything was taken"));
        }
        self.ahead.clear();
        Ok(total as u64)
    }

    /// Ends the session, and waits until the proxy has, too.
    pub(super) async fn leave(&mut self) -> io::Result<()> {
        let mut frame = Vec::new();
        if self.dialect == Dialect::Polytty {
            self.encoder.message(Kind::Text, br#"{"operation":"close"}"#, &mut frame);
        } else {
            let normal = CloseCode::new(1000).map(|code| Close { code, reason: "" });
            self.encoder.close(normal, &mut frame);
        }
        self.stream.write_all(&frame).await?;
        self.stream.flush().await?;
        while self.read().await.is_ok() {
            self.ahead.clear();
        }
        Ok(())
    }
}
