//! Clients that take their time, to a proxy whose deadlines are 3 s.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::arena::{Arena, SOON};
use super::frames::{Wire, frame};
use super::{Row, Section, row};

/// Between two bytes.
const DRIP: Duration = Duration::from_millis(50);

const CUT: &str = "the end, without a word";

pub(super) fn section() -> Section {
    let about = "To a proxy with deadlines of 3 s; a byte every 50 ms where nothing else is said.\n\n";
    Section { title: "Slow clients", about, rows: [before(), after()].into_iter().flatten().collect() }
}

/// Sends bytes one at a time until the connection ends, and returns what was read.
async fn drip(stream: impl AsyncRead + AsyncWrite, bytes: impl IntoIterator<Item = u8>) -> String {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let dripping = async {
        for byte in bytes {
            if writer.write_all(&[byte]).await.is_err() || writer.flush().await.is_err() {
                break;
            }
            sleep(DRIP).await;
        }
        std::future::pending::<()>().await;
    };
    let mut read = Vec::new();
    let reading = async {
        let _ = reader.read_to_end(&mut read).await;
    };
    let ended = async {
        tokio::select! {
            () = dripping => {}
            () = reading => {}
        }
    };
    match timeout(SOON, ended).await {
        Ok(()) if read.is_empty() => CUT.to_owned(),
        Ok(()) => String::from_utf8_lossy(&read).lines().next().unwrap_or_default().to_owned(),
        Err(_) => "it is kept".to_owned(),
    }
}

async fn tcp(arena: &Arena) -> TcpStream {
    TcpStream::connect(arena.hasty.address).await.unwrap()
}

fn before() -> Vec<Row> {
    vec![
        row("silence", "nothing behind the TCP handshake", CUT, |arena| {
            Box::pin(async move { drip(tcp(arena).await, []).await })
        }),
        row("slowloris, handshake", "a ClientHello of 500 bytes", CUT, |arena| {
            Box::pin(async move {
                drip(tcp(arena).await, [22, 3, 1, 2, 0, 1, 0, 1, 0xf4, 3, 3].into_iter().chain([7; 500])).await
            })
        }),
        row("silence within TLS", "nothing behind the TLS handshake", CUT, |arena| {
            Box::pin(async move { drip(arena.hasty.dial().await, []).await })
        }),
        row("slowloris, head", "a request line, and fields without an end", CUT, |arena| {
            Box::pin(async move {
                let head = "GET / HTTP/1.1\r\n".bytes().chain("X: y\r\n".bytes().cycle());
                drip(arena.hasty.dial().await, head.take(5000)).await
            })
        }),
        row("slowloris, body", "a sound head at once, then its body", CUT, |arena| {
            Box::pin(async move {
                let mut stream = arena.hasty.dial().await;
                let head = format!(
                    "POST /v1/sessions HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: \
                     application/json\r\nContent-Length: 5000\r\n\r\n",
                    arena.hasty.address, arena.hasty.key
                );
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                let came = drip(stream, [b' '; 5000]).await;
                // It may be told that the body did not arrive.
                if came.starts_with("HTTP/1.1 400 ") { CUT.to_owned() } else { came }
            })
        }),
        row("idle", "a request, and no other behind it", "its answer, then the end", |arena| {
            Box::pin(async move {
                let mut stream = arena.hasty.dial().await;
                let request = format!("GET /openapi.json HTTP/1.1\r\nHost: {}\r\n\r\n", arena.hasty.address);
                stream.write_all(request.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                match drip(stream, []).await.as_str() {
                    "HTTP/1.1 200 OK" => "its answer, then the end".to_owned(),
                    other => other.to_owned(),
                }
            })
        }),
    ]
}

fn after() -> Vec<Row> {
    vec![
        row("slow read", "calls whose answers are not read", "the end before all of them", |arena| {
            Box::pin(async move { unread(arena).await })
        }),
        row("slowloris, frame", "the header of a frame, then its payload", CUT, |arena| {
            Box::pin(async move { framed(arena, frame(0x82, &[b'x'; 5000])).await })
        }),
        row("slowloris, frame header", "two bytes of a header of 14", CUT, |arena| {
            Box::pin(async move { framed(arena, vec![0x82, 0xff]).await })
        }),
        row("slowloris, message", "a fragment, and never the last one", CUT, |arena| {
            Box::pin(async move { framed(arena, frame(0x02, b"x")).await })
        }),
    ]
}

async fn framed(arena: &Arena, bytes: Vec<u8>) -> String {
    let link = arena.hasty.mint("local").await;
    let mut wire = Wire::open(&arena.hasty, &link).await;
    let (reader, writer) = wire.parts();
    let dripping = async {
        for byte in bytes {
            if writer.write_all(&[byte]).await.is_err() || writer.flush().await.is_err() {
                break;
            }
            sleep(DRIP).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = dripping => String::new(),
        came = super::frames::verdict(reader) => came,
    }
}

/// Asks again and again without reading, until nothing more is taken from us; then reads what there is.
async fn unread(arena: &Arena) -> String {
    let stream = arena.hasty.dial().await;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let request = format!("GET /openapi.json HTTP/1.1\r\nHost: {}\r\n\r\n", arena.hasty.address);
    let mut asked = 0;
    let asking = async {
        while writer.write_all(request.as_bytes()).await.is_ok() && writer.flush().await.is_ok() {
            asked += 1;
        }
    };
    if timeout(SOON, asking).await.is_err() {
        return "it is kept".to_owned();
    }
    let mut read = Vec::new();
    let _ = timeout(SOON, reader.read_to_end(&mut read)).await;
    let answered = read.windows(9).filter(|window| window == b"HTTP/1.1 ").count();
    if answered < asked { "the end before all of them".to_owned() } else { format!("{answered} of {asked}") }
}
