//! One connection of the source: a call of an API, or a terminal.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::ready;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use polytty_websocket::{Decoder, Event, Limits, Role};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::act::{Act, Reel};
use super::{PROMPT, Shared, decthings, oblien};
use crate::wire::{Wire, frames};

/// What is read at once, into memory that all connections share: nine thousand that rest should own nothing.
const CHUNK: usize = 256 << 10;

/// The longest head of a request.
const MAX_HEAD: usize = 16 << 10;

thread_local! {
    static SCRATCH: std::cell::RefCell<Box<[u8]>> = std::cell::RefCell::new(vec![0; CHUNK].into());
}

/// Reads what is there and hands it to `take`; 0 at the end.
pub(super) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    mut take: impl FnMut(&mut [u8]) -> io::Result<()>,
) -> io::Result<usize> {
    poll_fn(|cx| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
            let filled = buffer.filled_mut();
            let count = filled.len();
            take(filled)?;
            std::task::Poll::Ready(Ok(count))
        })
    })
    .await
}

/// Writes what is said, and then what a key has asked for besides, so often.
pub(super) async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    said: &mut Vec<u8>,
    asked: Option<(Rc<Reel>, usize)>,
) -> io::Result<()> {
    stream.write_all(said).await?;
    said.clear();
    if let Some((reel, times)) = asked {
        for _ in 0..times {
            stream.write_all(&reel.frames).await?;
        }
    }
    stream.flush().await
}

/// What was asked.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Vec<u8>,
    /// What stands behind `Bearer`.
    pub(super) token: Option<String>,
    /// Of an upgrade.
    key: Option<String>,
    /// Whether no other call follows it.
    is_last: bool,
}

pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    tls: bool,
    shared: &Shared,
) -> io::Result<()> {
    let (request, key) = loop {
        let Some(request) = request(&mut stream).await? else { return Ok(()) };
        if let Some(key) = request.key.clone() {
            break (request, key);
        }
        let (status, body) = call(&request, tls, shared);
        let connection = if request.is_last { "close" } else { "keep-alive" };
        let answer = format!(
            "HTTP/1.1 {status} Told\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await?;
        if request.is_last {
            return stream.shutdown().await;
        }
        stream.flush().await?;
    };
    let is_dockhand = request.path.starts_with("/api/containers/");
    if is_dockhand && request.token.is_none() {
        stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n").await?;
        return stream.shutdown().await;
    }
    let accept = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    let accept = base64::engine::general_purpose::STANDARD.encode(accept);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.flush().await?;
    match request.path.as_str() {
        "/ws" => return oblien::talk(stream, shared).await,
        "/v0/ws" => return decthings::talk(stream, shared).await,
        _ => {}
    }
    let (wire, what) = terminal(&request.path).ok_or(io::ErrorKind::InvalidInput)?;
    talk(stream, wire, Act::named(what, wire, &shared.reels)?).await
}

/// A wire and what is asked for on it: `/w/WIRE/WHAT`, or a container's path at a Dockhand.
fn terminal(path: &str) -> Option<(Wire, &str)> {
    if let Some(rest) = path.strip_prefix("/api/containers/") {
        return Some((Wire::Dockhand, rest.split_once("/exec")?.0));
    }
    let (wire, what) = path.strip_prefix("/w/")?.split_once('/')?;
    Some((Wire::named(wire)?, what))
}

async fn request<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<Request>> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
            break end + 4;
        }
        if read.len() > MAX_HEAD || stream.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let field = |wanted: &str| {
        head.lines().skip(1).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
        })
    };
    let length: usize = field("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
    let mut body = read.split_off(end);
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Ok(None);
        }
    }
    let mut words = head.split(' ').map(str::to_owned);
    Ok(Some(Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        body,
        token: field("authorization").and_then(|value| value.strip_prefix("Bearer ").map(str::to_owned)),
        key: field("sec-websocket-key"),
        is_last: field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
    }))
}

/// The API of each service: where its terminal is.
fn call(request: &Request, tls: bool, shared: &Shared) -> (u16, String) {
    let path = &request.path;
    let at = format!("{}://{}/w", if tls { "wss" } else { "ws" }, shared.addresses[usize::from(tls)]);
    if let Some((job, _)) = path.strip_prefix("/api/v1/jobs/").and_then(|rest| rest.split_once('/')) {
        return (200, format!("{{\"RequestId\":\"r\",\"WebTerminalUrl\":\"{at}/operation/{job}\"}}"));
    }
    if let Some(group) = path.split(['?', '&']).find_map(|pair| pair.strip_prefix("ContainerGroupId=")) {
        return (200, format!("{{\"RequestId\":\"r\",\"WebSocketUri\":\"{at}/channel/{group}\"}}"));
    }
    shared.workspace.call(request)
}

/// What a client of each wire may say.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, default, alias = "type")]
    operation: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Cow<'a, str>,
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, wire: Wire, mut act: Act) -> io::Result<()> {
    let mut decoder = Decoder::new(Role::Server, Limits { max_message: 2 << 20 });
    let (mut encoder, mut out) = (frames(), Vec::new());
    if wire == Wire::Dockhand {
        wire.output(&mut encoder, PROMPT, &mut out);
    }
    loop {
        if !out.is_empty() {
            stream.write_all(&out).await?;
            stream.flush().await?;
            // A burst is not kept by all who have had one.
            out = Vec::new();
        }
        let (mut reel, mut is_over) = (None, false);
        let count = read(&mut stream, |mut input| {
            while let Some(event) = decoder.decode(&mut input).map_err(io::Error::other)? {
                match event {
                    Event::Message { payload, .. } => {
                        let said = keys(wire, payload)?;
                        reel = act.press(&said, wire, &mut encoder, &mut out).or(reel.take());
                    }
                    Event::Ping(payload) => encoder.pong(payload, &mut out),
                    Event::Close(_) => {
                        encoder.close(None, &mut out);
                        is_over = true;
                    }
                    Event::Pong(_) => {}
                }
            }
            Ok(())
        })
        .await?;
        if count == 0 || is_over {
            stream.write_all(&out).await?;
            return stream.shutdown().await;
        }
        if let Some((reel, times)) = reel {
            for _ in 0..times {
                stream.write_all(&reel.frames).await?;
            }
            stream.flush().await?;
        }
    }
}

/// What was typed, in a message of a client.
fn keys(wire: Wire, payload: &[u8]) -> io::Result<Cow<'_, [u8]>> {
    Ok(match wire {
        Wire::Operation | Wire::Dockhand => {
            let said = serde_json::from_slice::<Said<'_>>(payload)?;
            match (&*said.operation, said.data) {
                ("stdin" | "input", Cow::Borrowed(data)) => Cow::Borrowed(data.as_bytes()),
                ("stdin" | "input", Cow::Owned(data)) => Cow::Owned(data.into_bytes()),
                _ => Cow::Borrowed(b""),
            }
        }
        Wire::Channel(_) if payload.first() == Some(&0) => Cow::Borrowed(&payload[1..]),
        Wire::Channel(_) => Cow::Borrowed(b""),
        Wire::Raw | Wire::Decthings(_) => Cow::Borrowed(payload),
    })
}
