//! The near side: clients that ask, compare and count, and do nothing else. A process of its own, one thread.
//!
//! It is told what to do in one line of JSON on its standard input after the other, and says in one line what came of it.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Uri;
use polytty_websocket::{Decoder, Event, Kind, Limits, Role};
use polytty_workload::Corpus;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::source::TAKEN;
use super::wire::{BLOCK, Frames};

/// How long somebody who types beside a flood waits before the next key.
const BETWEEN_KEYS: Duration = Duration::from_millis(2);

/// What a client reads at once.
const CHUNK: usize = 64 << 10;

/// What the generator is told.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Order {
    /// Opens a session that stays, by a URL and in a dialect. Sessions are numbered from 0.
    Open { url: String, dialect: Dialect },
    /// Presses a key and compares what comes with so many mebibytes of a corpus.
    Bulk { session: usize, corpus: String, mib: usize },
    /// Sends so many mebibytes and waits until they were taken.
    Paste { session: usize, mib: usize },
    /// Keys and their echoes, one after the other, in each of these sessions in turn.
    Keys { sessions: Vec<usize>, count: usize },
    /// The same beside a session that floods.
    KeysBeside { session: usize, flood: usize, corpus: String, mib: usize },
    /// Takes so many bytes from each of these sessions, whatever they are, after one key.
    Drain { sessions: Vec<usize>, bytes: usize },
    /// Leaves all sessions.
    Leave,
}

/// How a client is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Dialect {
    /// `polytty.v1`: output in binary.
    Polytty,
    /// `operation`: output in JSON.
    Operation,
    /// Through a proxy that looks at nothing: the source's own binary messages.
    Opaque,
    /// The same with the source's own JSON.
    OpaqueOperation,
}

/// What it answers.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Done {
    /// From the key to the last byte, or for all keys, in seconds.
    pub(crate) seconds: f64,
    /// Bytes of terminals that were compared or sent.
    pub(crate) bytes: u64,
    /// Microseconds from each key to its echo, sorted.
    #[serde(default)]
    pub(crate) latencies: Vec<f64>,
    /// What the generator itself has used of a processor, in seconds.
    pub(crate) cpu: f64,
    /// What went wrong; nothing counts then.
    #[serde(default)]
    pub(crate) error: Option<String>,
}

/// Serves orders until the input ends. `ca` is the certificate that is trusted.
pub(crate) fn run(ca: &str) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tls = connector(ca)?;
    let mut clients = Vec::new();
    for line in io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let before = super::process::cpu(std::process::id());
        let done = runtime.block_on(carry_out(&tls, &mut clients, order));
        let mut done = done.unwrap_or_else(|error| Done { error: Some(error.to_string()), ..Done::default() });
        done.cpu = super::process::cpu(std::process::id()) - before;
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, &done)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}

async fn carry_out(tls: &TlsConnector, clients: &mut Vec<Client>, order: Order) -> io::Result<Done> {
    let started = Instant::now();
    let mut done = Done::default();
    match order {
        Order::Open { url, dialect } => clients.push(Client::open(tls, &url, dialect).await?),
        Order::Bulk { session, corpus, mib } => {
            let block = corpus_of(&corpus)?.block(BLOCK);
            let started = Instant::now();
            done.bytes = clients[session].bulk(&block, mib).await?;
            done.seconds = started.elapsed().as_secs_f64();
            return Ok(done);
        }
        Order::Paste { session, mib } => done.bytes = clients[session].paste(mib).await?,
        Order::Keys { sessions, count } => {
            for at in 0..count {
                let client = &mut clients[sessions[at % sessions.len()]];
                let pressed = Instant::now();
                client.key().await?;
                done.latencies.push(pressed.elapsed().as_secs_f64() * 1e6);
            }
        }
        Order::KeysBeside { session, flood, corpus, mib } => {
            let block = corpus_of(&corpus)?.block(BLOCK);
            let (typist, flooded) = two(clients, session, flood);
            let mut latencies = Vec::new();
            let bytes = tokio::select! {
                bytes = flooded.bulk(&block, mib) => bytes?,
                broken = typist.type_on(&mut latencies) => return Err(broken),
            };
            (done.bytes, done.latencies) = (bytes, latencies);
        }
        Order::Drain { sessions, bytes } => {
            for session in sessions {
                clients[session].press(b"g").await?;
                clients[session].take(bytes).await?;
                done.bytes += bytes as u64;
            }
        }
        Order::Leave => {
            for mut client in clients.drain(..) {
                let _ = client.leave().await;
            }
        }
    }
    done.seconds = started.elapsed().as_secs_f64();
    done.latencies.sort_by(f64::total_cmp);
    Ok(done)
}

fn two(clients: &mut [Client], one: usize, other: usize) -> (&mut Client, &mut Client) {
    let [one, other] = clients.get_disjoint_mut([one, other]).expect("two sessions");
    (one, other)
}

fn corpus_of(name: &str) -> io::Result<Corpus> {
    Corpus::named(name).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no such corpus"))
}

/// One session's client.
struct Client {
    stream: TlsStream<TcpStream>,
    dialect: Dialect,
    decoder: Decoder,
    encoder: Frames,
    buffer: Box<[u8]>,
    /// Terminal bytes that were read and not asked for yet.
    ahead: Vec<u8>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    operation: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    data: std::borrow::Cow<'a, str>,
    #[serde(default)]
    message: Option<String>,
}

impl Client {
    async fn open(tls: &TlsConnector, url: &str, dialect: Dialect) -> io::Result<Self> {
        let uri: Uri = url.parse().map_err(io::Error::other)?;
        let authority = uri.authority().ok_or(io::ErrorKind::InvalidInput)?;
        let tcp = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(443))).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(authority.host().to_owned()).map_err(io::Error::other)?;
        let mut stream = tls.connect(name, tcp).await?;
        let subprotocol = if dialect == Dialect::Polytty { "Sec-WebSocket-Protocol: polytty.v1\r\n" } else { "" };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cG9seXR0eS1sb2FkLWtleQ==\r\n{subprotocol}\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if !head.starts_with(b"HTTP/1.1 101 ") {
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            return Err(io::Error::other(line));
        }
        let end = head.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(0) + 4;
        let decoder = Decoder::new(Role::Client, Limits { max_message: 4 << 20 });
        let encoder = Frames::new(Role::Client, || [1, 2, 3, 4]);
        let mut client = Self { stream, dialect, decoder, encoder, buffer: vec![0; CHUNK].into(), ahead: Vec::new() };
        client.decode(&mut head[end..])?;
        if dialect == Dialect::Polytty {
            // What is typed before `ready` is kept, but then nothing is measured that is not open.
            client.until_ready().await?;
        }
        Ok(client)
    }

    async fn until_ready(&mut self) -> io::Result<()> {
        loop {
            let count = self.stream.read(&mut self.buffer).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut chunk = self.buffer[..count].to_vec();
            if self.decode(&mut chunk)? {
                return Ok(());
            }
        }
    }

    /// Takes output out of what was read; whether `ready` was among it.
    fn decode(&mut self, mut input: &mut [u8]) -> io::Result<bool> {
        let mut is_ready = false;
        while let Some(event) = self.decoder.decode(&mut input).map_err(io::Error::other)? {
            match event {
                Event::Message { kind: Kind::Binary, payload } => self.ahead.extend_from_slice(payload),
                Event::Message { payload, .. } => {
                    let said: Said<'_> = serde_json::from_slice(payload)?;
                    match &*said.operation {
                        "stdout" => self.ahead.extend_from_slice(said.data.as_bytes()),
                        "ready" => is_ready = true,
                        "error" => return Err(io::Error::other(said.message.unwrap_or_default())),
                        _ => {}
                    }
                }
                Event::Close(close) => return Err(io::Error::other(format!("closed: {close:?}"))),
                Event::Ping(_) | Event::Pong(_) => {}
            }
        }
        Ok(is_ready)
    }

    async fn read(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let count = self.stream.read(&mut buffer).await?;
        let decoded = self.decode(&mut buffer[..count]);
        self.buffer = buffer;
        decoded?;
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    async fn press(&mut self, keys: &[u8]) -> io::Result<()> {
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

    /// A key and its echo.
    async fn key(&mut self) -> io::Result<()> {
        self.press(b"x").await?;
        while self.ahead.is_empty() {
            self.read().await?;
        }
        if self.ahead != b"x" {
            return Err(io::Error::other("another echo than the key"));
        }
        self.ahead.clear();
        Ok(())
    }

    /// Key after key, until one of them goes wrong.
    async fn type_on(&mut self, latencies: &mut Vec<f64>) -> io::Error {
        loop {
            let pressed = Instant::now();
            if let Err(error) = self.key().await {
                return error;
            }
            latencies.push(pressed.elapsed().as_secs_f64() * 1e6);
            tokio::time::sleep(BETWEEN_KEYS).await;
        }
    }

    /// The block again and again, every byte compared.
    async fn bulk(&mut self, block: &[u8], mib: usize) -> io::Result<u64> {
        let total = (mib << 20).div_ceil(block.len()) * block.len();
        self.press(b"g").await?;
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
        Ok(seen as u64)
    }

    async fn take(&mut self, bytes: usize) -> io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            if self.ahead.is_empty() {
                self.read().await?;
            }
            left = left.saturating_sub(self.ahead.len());
            self.ahead.clear();
        }
        Ok(())
    }

    async fn paste(&mut self, mib: usize) -> io::Result<u64> {
        let chunk = vec![b'a'; 16 << 10];
        let total = mib << 20;
        for _ in 0..total / chunk.len() {
            self.press(&chunk).await?;
        }
        while !self.ahead.ends_with(TAKEN) {
            self.read().await?;
        }
        self.ahead.clear();
        Ok(total as u64)
    }

    async fn leave(&mut self) -> io::Result<()> {
        let mut frame = Vec::new();
        if self.dialect == Dialect::Polytty {
            self.encoder.message(Kind::Text, br#"{"operation":"close"}"#, &mut frame);
        } else {
            let normal =
                polytty_websocket::CloseCode::new(1000).map(|code| polytty_websocket::Close { code, reason: "" });
            self.encoder.close(normal, &mut frame);
        }
        self.stream.write_all(&frame).await?;
        self.stream.flush().await?;
        while self.read().await.is_ok() {}
        Ok(())
    }
}

fn connector(ca: &str) -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(ca).map_err(io::Error::other)? {
        roots.add(root.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    // The same suite for everybody: what is compared is not the choice of a cipher.
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites = vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
