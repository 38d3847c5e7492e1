//! Frames that break RFC 6455, sent over an attached session.

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::arena::{Arena, SOON};
use super::{Row, Section, row};
use crate::common::{Link, PATIENCE, Site};

/// A connection behind its upgrade, in raw bytes.
pub(super) struct Wire {
    reader: ReadHalf<TlsStream<TcpStream>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
}

impl Wire {
    pub(super) async fn open(site: &Site, link: &Link) -> Self {
        let mut stream = site.dial().await;
        let (host, path) = (site.address, link.path());
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: \
             13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: polytty.v1\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        let (reader, writer) = tokio::io::split(stream);
        Self { reader, writer }
    }

    /// Writes bytes to the last one: what the kernel does not take at once waits here, and reading does not send it.
    async fn send(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).await.unwrap();
        self.writer.flush().await.unwrap();
    }

    pub(super) fn parts(&mut self) -> (&mut ReadHalf<TlsStream<TcpStream>>, &mut WriteHalf<TlsStream<TcpStream>>) {
        (&mut self.reader, &mut self.writer)
    }

    /// Reads until the output has this word.
    pub(super) async fn sees(&mut self, word: &str) -> bool {
        let mut output = Vec::new();
        let reading = async {
            while let Ok((first, payload)) = read(&mut self.reader).await {
                if first == 0x82 {
                    output.extend(payload);
                }
                if output.windows(word.len()).any(|window| window == word.as_bytes()) {
                    return true;
                }
            }
            false
        };
        timeout(PATIENCE, reading).await.unwrap_or(false)
    }
}

/// A masked frame with this first byte.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65536 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    let key = [0x11, 0x22, 0x33, 0x44];
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

async fn attached(arena: &Arena) -> Wire {
    Wire::open(&arena.world, &arena.world.mint("local").await).await
}

/// Bytes, and how the connection ends.
fn sent(attack: &'static str, what: &'static str, expected: &'static str, bytes: impl Into<Vec<u8>>) -> Row {
    let bytes = bytes.into();
    row(attack, what, expected, move |arena| {
        let bytes = bytes.clone();
        Box::pin(async move {
            let mut wire = attached(arena).await;
            // It may be cut before all of it is written.
            let writing = async {
                let _ = wire.writer.write_all(&bytes).await;
                let _ = wire.writer.flush().await;
            };
            let mut writing = std::pin::pin!(writing);
            let reader = &mut wire.reader;
            let mut reading = std::pin::pin!(verdict(reader));
            tokio::select! {
                verdict = &mut reading => return verdict,
                () = &mut writing => {}
            }
            reading.await
        })
    })
}

/// Reads frames until a Close, or the end.
pub(super) async fn verdict(reader: &mut ReadHalf<TlsStream<TcpStream>>) -> String {
    let reading = async {
        loop {
            match read(reader).await {
                Ok((0x88, payload)) if payload.len() >= 2 => {
                    return format!("Close {}", u16::from_be_bytes([payload[0], payload[1]]));
                }
                Ok(_) => {}
                Err(_) => return "the end, without a word".to_owned(),
            }
        }
    };
    timeout(SOON, reading).await.unwrap_or_else(|_| "nothing".to_owned())
}

/// The first byte of a frame, and its payload.
async fn read(reader: &mut ReadHalf<TlsStream<TcpStream>>) -> std::io::Result<(u8, Vec<u8>)> {
    let first = reader.read_u8().await?;
    let length = match reader.read_u8().await? {
        126 => u64::from(reader.read_u16().await?),
        127 => reader.read_u64().await?,
        short => u64::from(short),
    };
    let mut payload = vec![0; length as usize];
    reader.read_exact(&mut payload).await?;
    Ok((first, payload))
}

pub(super) fn section() -> Section {
    let rows = [headers(), fragments(), contents(), floods()].into_iter().flatten().collect();
    Section { title: "Frames", about: "Each over a session of its own, which is attached to.\n\n", rows }
}

fn headers() -> Vec<Row> {
    let giant = |length: u64| [&[0x82, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
    vec![
        row("sound: a frame", "what is typed, masked", "its echo", |arena| {
            Box::pin(async move {
                let mut wire = attached(arena).await;
                wire.send(&frame(0x82, b"echo so''und\r")).await;
                if wire.sees("sound\r\n").await { "its echo".to_owned() } else { "nothing".to_owned() }
            })
        }),
        sent("unmasked", "a binary frame without a mask", "Close 1002", *b"\x82\x01x"),
        sent("reserved bits", "RSV1, as if compressed", "Close 1002", frame(0xc2, b"x")),
        sent("reserved bits", "RSV2", "Close 1002", frame(0xa2, b"x")),
        sent("reserved bits", "RSV3 on a ping", "Close 1002", frame(0x99, b"x")),
        sent("reserved opcodes", "opcode 3", "Close 1002", frame(0x83, b"x")),
        sent("reserved opcodes", "opcode 15", "Close 1002", frame(0x8f, b"x")),
        sent("a giant frame", "a header that says 2^63 - 1 bytes", "Close 1009", giant(u64::MAX >> 1)),
        sent("a giant frame", "a header that says 1 GiB", "Close 1009", giant(1 << 30)),
        sent(
            "a giant frame",
            "a header that says one byte above `sessions.max_message`",
            "Close 1009",
            giant((1 << 20) + 1),
        ),
        sent("a length of 2^63", "a header with the highest bit of its length set", "Close 1002", giant(1 << 63)),
        sent(
            "a length longer than it needs to be",
            "one byte in a 16-bit length",
            "Close 1002",
            *b"\x82\xfe\0\x01\0\0\0\0x",
        ),
        sent("a length longer than it needs to be", "one byte in a 64-bit length", "Close 1002", giant(1)),
    ]
}

fn fragments() -> Vec<Row> {
    vec![
        sent("a fragment of nothing", "a continuation without a beginning", "Close 1002", frame(0x80, b"x")),
        sent("two messages at once", "a beginning within a fragmented message", "Close 1002", {
            [frame(0x02, b"x"), frame(0x02, b"y")].concat()
        }),
        sent("a fragmented ping", "a ping without FIN", "Close 1002", frame(0x09, b"x")),
        sent("a long ping", "126 bytes in a ping", "Close 1002", frame(0x89, &[b'x'; 126])),
        sent("endless fragments", "1 KiB each, above `sessions.max_message`, and no end", "Close 1009", {
            let mut fragments = frame(0x02, &[b'x'; 1024]);
            (0..1024).for_each(|_| fragments.extend(frame(0x00, &[b'x'; 1024])));
            fragments
        }),
        row("endless fragments", "100,000 empty ones, then the end of the message", "its echo", |arena| {
            Box::pin(async move {
                let mut wire = attached(arena).await;
                let mut fragments = frame(0x02, b"echo so''und");
                (0..100_000).for_each(|_| fragments.extend(frame(0x00, b"")));
                fragments.extend(frame(0x80, b"\r"));
                wire.send(&fragments).await;
                if wire.sees("sound\r\n").await { "its echo".to_owned() } else { "nothing".to_owned() }
            })
        }),
    ]
}

fn contents() -> Vec<Row> {
    let close = |code: u16| frame(0x88, &code.to_be_bytes());
    vec![
        sent("invalid UTF-8", "a text message of the byte FF", "Close 1007", frame(0x81, b"\xff")),
        sent("invalid UTF-8", "a surrogate in a text message", "Close 1007", frame(0x81, b"\xed\xa0\x80")),
        sent("invalid UTF-8", "half a character at the end of a text message", "Close 1007", frame(0x81, b"\xe2\x82")),
        sent("invalid UTF-8", "in the reason of a Close", "Close 1007", frame(0x88, b"\x03\xe8\xff")),
        sent("bad close codes", "999", "Close 1002", close(999)),
        sent("bad close codes", "1004", "Close 1002", close(1004)),
        sent("bad close codes", "1005", "Close 1002", close(1005)),
        sent("bad close codes", "1006", "Close 1002", close(1006)),
        sent("bad close codes", "1015", "Close 1002", close(1015)),
        sent("bad close codes", "2999", "Close 1002", close(2999)),
        sent("bad close codes", "5000", "Close 1002", close(5000)),
        sent("bad close codes", "one byte", "Close 1002", frame(0x88, b"\x03")),
        sent("no JSON", "a text message `{`", "Close 4400", frame(0x81, b"{")),
        sent("JSON of the wrong type", "`{\"operation\":\"resize\",\"cols\":\"x\",\"rows\":1}`", "Close 4400", {
            frame(0x81, br#"{"operation":"resize","cols":"x","rows":1}"#)
        }),
        sent("deep JSON", "100,000 opening brackets", "Close 4400", frame(0x81, "[".repeat(100_000).as_bytes())),
        sent("an acknowledgement from the future", "`ack` beyond what was sent", "Close 4400", {
            frame(0x81, br#"{"operation":"ack","bytes":18446744073709551615}"#)
        }),
    ]
}

fn floods() -> Vec<Row> {
    vec![
        row("ping flood", "100,000 pings of 125 bytes, whose answers nobody reads, then a line", "its echo", |arena| {
            Box::pin(async move {
                let mut wire = attached(arena).await;
                for _ in 0..100 {
                    wire.send(&frame(0x89, &[b'x'; 125]).repeat(1000)).await;
                }
                wire.send(&frame(0x82, b"echo so''und\r")).await;
                if wire.sees("sound\r\n").await { "its echo".to_owned() } else { "nothing".to_owned() }
            })
        }),
        row("message flood", "100,000 messages that mean nothing, then a line", "its echo", |arena| {
            Box::pin(async move {
                let mut wire = attached(arena).await;
                for _ in 0..100 {
                    wire.send(&frame(0x81, br#"{"operation":"nonsense"}"#).repeat(1000)).await;
                }
                wire.send(&frame(0x82, b"echo so''und\r")).await;
                if wire.sees("sound\r\n").await { "its echo".to_owned() } else { "nothing".to_owned() }
            })
        }),
    ]
}
