//! The far side: a provider that has its output ready before it is asked for, so that it is never what is waited for. It
//! is a process of its own, plain TCP and one thread.
//!
//! The name of what is asked for says what it does: `bulk.CORPUS.SIZE.MIB` sends that much at the first key, in messages of
//! that size; `burst` sends 256 KiB at every key; `echo` sends every key back; `sink.MIB` takes that much and says so.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use polytty_websocket::{Decoder, Event, Limits, Role};
use polytty_workload::Corpus;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use super::wire::{BLOCK, Wire, frames};

/// What a sink says when it has everything.
pub(crate) const TAKEN: &[u8] = b"taken\n";

/// What a burst is made of: 256 KiB in messages of 4 KiB.
const BURST: [&[u8]; 64] = [&[b'x'; 4096]; 64];

/// Serves until it is killed. Prints its address first.
pub(crate) fn run() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        println!("{address}");
        let reels = Rc::new(Reels::default());
        loop {
            let (stream, _) = listener.accept().await?;
            let (address, reels) = (address.clone(), Rc::clone(&reels));
            tokio::task::spawn_local(async move {
                // Whoever leaves in the middle is done.
                let _ = serve(stream, &address, &reels).await;
            });
        }
    })
}

/// Every block in frames, made once.
#[derive(Default)]
struct Reels(std::cell::RefCell<HashMap<String, Rc<Reel>>>);

struct Reel {
    frames: Vec<u8>,
    /// Bytes of the terminal in it.
    length: usize,
}

impl Reels {
    fn get(&self, wire: Wire, corpus: Corpus, size: usize) -> Rc<Reel> {
        let name = format!("{}.{}.{size}", wire.name(), corpus.name());
        let mut reels = self.0.borrow_mut();
        let reel = reels.entry(name).or_insert_with(|| {
            let block = corpus.block(BLOCK);
            Rc::new(Reel { frames: wire.reel(&block, size), length: block.len() })
        });
        Rc::clone(reel)
    }
}

async fn serve(mut stream: TcpStream, address: &str, reels: &Reels) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
    });
    if let (Some(key), Some(rest)) = (key, path.strip_prefix("/w/")) {
        let accept = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
        let accept = base64::engine::general_purpose::STANDARD.encode(accept);
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await?;
        let (wire, what) = rest.split_once('/').unwrap_or_default();
        return talk(stream, Wire::named(wire).ok_or(io::ErrorKind::InvalidInput)?, what, reels).await;
    }
    // The API of either service: where its terminal is.
    let body = match path.strip_prefix("/api/v1/jobs/").and_then(|rest| rest.split_once('/')) {
        Some((job, _)) => format!("{{\"RequestId\":\"r\",\"WebTerminalUrl\":\"ws://{address}/w/operation/{job}\"}}"),
        None => {
            let group =
                path.split(['?', '&']).find_map(|pair| pair.strip_prefix("ContainerGroupId=")).unwrap_or_default();
            format!("{{\"RequestId\":\"r\",\"WebSocketUri\":\"ws://{address}/w/channel/{group}\"}}")
        }
    };
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    operation: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    data: std::borrow::Cow<'a, str>,
}

async fn talk(mut stream: TcpStream, wire: Wire, what: &str, reels: &Reels) -> io::Result<()> {
    let mut words = what.split('.');
    let (verb, rest): (_, Vec<_>) = (words.next().unwrap_or_default(), words.collect());
    let number = |at: usize| rest.get(at).and_then(|word: &&str| word.parse::<usize>().ok()).unwrap_or_default();
    let mut bulk = match verb {
        "bulk" => {
            let corpus = rest.first().and_then(|name| Corpus::named(name)).ok_or(io::ErrorKind::InvalidInput)?;
            let reel = reels.get(wire, corpus, number(1).max(1));
            let times = (number(2) << 20).div_ceil(reel.length);
            Some((reel, times))
        }
        _ => None,
    };
    let mut left = if verb == "sink" { number(0) << 20 } else { usize::MAX };
    let mut decoder = Decoder::new(Role::Server, Limits { max_message: 2 << 20 });
    let (mut encoder, mut out) = (frames(), Vec::new());
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let mut typed = 0;
        let mut input = &mut buffer[..count];
        while let Some(event) = decoder.decode(&mut input).map_err(io::Error::other)? {
            match event {
                Event::Message { payload, .. } => {
                    let said;
                    let keys: &[u8] = match wire {
                        Wire::Operation => {
                            said = serde_json::from_slice::<Said<'_>>(payload)?;
                            if said.operation == "stdin" { said.data.as_bytes() } else { b"" }
                        }
                        Wire::Channel if payload.first() == Some(&0) => &payload[1..],
                        Wire::Channel => b"",
                        Wire::Raw => payload,
                    };
                    typed += keys.len();
                    if keys.is_empty() {
                        continue;
                    }
                    match verb {
                        "echo" => wire.output(&mut encoder, keys, &mut out),
                        "burst" => BURST.iter().for_each(|piece| wire.output(&mut encoder, piece, &mut out)),
                        _ => {}
                    }
                }
                Event::Ping(payload) => encoder.pong(payload, &mut out),
                Event::Close(_) => {
                    encoder.close(None, &mut out);
                    stream.write_all(&out).await?;
                    return Ok(());
                }
                Event::Pong(_) => {}
            }
        }
        if left != usize::MAX && typed > 0 {
            left = left.saturating_sub(typed);
            if left == 0 {
                wire.output(&mut encoder, TAKEN, &mut out);
                left = usize::MAX;
            }
        }
        if !out.is_empty() {
            stream.write_all(&out).await?;
            out.clear();
        }
        if typed > 0
            && let Some((reel, times)) = bulk.take()
        {
            for _ in 0..times {
                stream.write_all(&reel.frames).await?;
            }
        }
    }
}
