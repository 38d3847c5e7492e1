//! A service that a test plays by hand: it hears every call, by socket or by HTTP, and answers what the test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// How long anything may take that is waited for.
const DEADLINE: Duration = Duration::from_secs(20);

pub(super) const KEY: &str = "s3cret-key";

pub(super) struct Peer {
    pub(super) address: String,
    calls: UnboundedReceiver<Call>,
    sockets: UnboundedReceiver<Connection>,
    open: Arc<AtomicU32>,
}

/// A call that was heard. `id` is that of the message; there is none by HTTP.
pub(super) struct Call {
    pub(super) method: String,
    pub(super) params: Value,
    pub(super) blob: Option<Vec<u8>>,
    pub(super) id: Option<u32>,
    answer: Answer,
}

enum Answer {
    Socket(UnboundedSender<Message>),
    Http(oneshot::Sender<Vec<u8>>),
}

/// The server's side of one socket.
#[derive(Clone)]
pub(super) struct Connection(UnboundedSender<Message>);

impl Peer {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (call, calls) = unbounded_channel();
        let (socket, sockets) = unbounded_channel();
        let open = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, call.clone(), socket.clone(), Arc::clone(&count)));
            }
        });
        Self { address, calls, sockets, open }
    }

    /// The next call, whatever it is.
    pub(super) async fn call(&mut self) -> Call {
        timeout(DEADLINE, self.calls.recv()).await.expect("a call in time").expect("a running peer")
    }

    /// The next call, which is of this method.
    pub(super) async fn expect(&mut self, method: &str) -> Call {
        let call = self.call().await;
        assert_eq!(call.method, method, "{}", call.params);
        call
    }

    /// The next socket that was opened.
    pub(super) async fn connection(&mut self) -> Connection {
        timeout(DEADLINE, self.sockets.recv()).await.expect("a connection in time").expect("a running peer")
    }

    /// Whether nothing is called for so long.
    pub(super) async fn is_quiet(&mut self, time: Duration) -> bool {
        timeout(time, self.calls.recv()).await.is_err()
    }

    /// Sockets that are open now.
    pub(super) fn open(&self) -> u32 {
        self.open.load(Ordering::SeqCst)
    }
}

impl Call {
    pub(super) fn reply(self, json: &Value) {
        let json = json.to_string();
        match (self.answer, self.id) {
            (Answer::Socket(socket), Some(id)) => {
                let mut message = vec![0];
                message.extend(id.to_be_bytes());
                sized(json.as_bytes(), &mut message);
                let _ = socket.send(Message::binary(message));
            }
            (Answer::Http(answer), _) => {
                let mut body = Vec::new();
                sized(json.as_bytes(), &mut body);
                let _ = answer.send(response(200, &body));
            }
            (Answer::Socket(_), None) => unreachable!("a call by socket has an id"),
        }
    }

    pub(super) fn done(self) {
        self.reply(&json!({"result": {}}));
    }

    pub(super) fn launched(self, session: &str) {
        self.reply(&json!({"result": {"terminalSessionId": session}}));
    }

    pub(super) fn refuse(self, code: &str) {
        self.reply(&json!({"error": {"code": code}}));
    }

    /// Answers a call by HTTP with a bare status.
    pub(super) fn status(self, status: u16) {
        let Answer::Http(answer) = self.answer else { panic!("a call by HTTP") };
        let _ = answer.send(response(status, b""));
    }

    pub(super) fn is_http(&self) -> bool {
        matches!(self.answer, Answer::Http(_))
    }

    pub(super) fn input(&self) -> String {
        String::from_utf8(self.blob.clone().expect("a blob")).unwrap()
    }
}

impl Connection {
    pub(super) fn data(&self, session: &str, bytes: &[u8]) {
        self.event(&json!({"event": "data", "params": {"terminalSessionId": session}}), Some(bytes));
    }

    pub(super) fn exit(&self, session: &str, reason: &Value) {
        self.event(&json!({"event": "exit", "params": {"terminalSessionId": session, "reason": reason}}), None);
    }

    pub(super) fn event(&self, json: &Value, blob: Option<&[u8]>) {
        let mut message = b"\x01\x08Terminal".to_vec();
        sized(json.to_string().as_bytes(), &mut message);
        if let Some(blob) = blob {
            sized(blob, &mut message);
        }
        self.raw(message);
    }

    pub(super) fn raw(&self, message: Vec<u8>) {
        let _ = self.0.send(Message::binary(message));
    }

    pub(super) fn close(&self) {
        let _ = self.0.send(Message::Close(None));
    }
}

async fn serve(
    stream: TcpStream,
    calls: UnboundedSender<Call>,
    sockets: UnboundedSender<Connection>,
    open: Arc<AtomicU32>,
) {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) if first[0] == b'P' => serve_http(stream, calls).await,
        Ok(1) => {
            open.fetch_add(1, Ordering::SeqCst);
            serve_socket(stream, calls, sockets).await;
            open.fetch_sub(1, Ordering::SeqCst);
        }
        _ => {}
    }
}

async fn serve_socket(stream: TcpStream, calls: UnboundedSender<Call>, sockets: UnboundedSender<Connection>) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let (sender, mut messages) = unbounded_channel();
    let _ = sockets.send(Connection(sender.clone()));
    loop {
        tokio::select! {
            message = messages.recv() => {
                let Some(message) = message else { return };
                let closes = message.is_close();
                if socket.send(message).await.is_err() || closes {
                    return;
                }
            }
            heard = socket.next() => match heard {
                Some(Ok(Message::Binary(message))) => {
                    let _ = calls.send(read_call(&message, Answer::Socket(sender.clone())));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
}

async fn serve_http(mut stream: TcpStream, calls: UnboundedSender<Call>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let method =
        head.split(' ').nth(1).unwrap().strip_prefix("/v0/Terminal/").expect("the path of a method").to_owned();
    assert!(head.contains(&format!("\r\nauthorization: Bearer {KEY}\r\n")), "{head}");
    assert!(head.contains("\r\ncontent-type: application/octet-stream\r\n"), "{head}");
    let len = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await.unwrap();
    let (json, blob) = read_frame(&body);
    assert!(json.get("apiKey").is_none(), "{json}");
    let (answer, answered) = oneshot::channel();
    let _ = calls.send(Call { method, params: json, blob, id: None, answer: Answer::Http(answer) });
    if let Ok(response) = answered.await {
        let _ = stream.write_all(&response).await;
    }
}

fn response(status: u16, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn read_call(message: &[u8], answer: Answer) -> Call {
    let id = u32::from_be_bytes(message[..4].try_into().unwrap());
    let (json, blob) = read_frame(&message[4..]);
    assert_eq!((&json["api"], &json["apiKey"]), (&json!("Terminal"), &json!(KEY)));
    let method = json["method"].as_str().unwrap().to_owned();
    Call { method, params: json["params"].clone(), blob, id: Some(id), answer }
}

/// JSON and blob of a call, read anew from the description of the wire.
fn read_frame(frame: &[u8]) -> (Value, Option<Vec<u8>>) {
    let (blobs, mut at) = (frame[0], 1);
    let mut length = || {
        let width = match frame[at] {
            0xfd => 2,
            0xfe => 4,
            0xff => 8,
            small => {
                at += 1;
                return (usize::from(small), at);
            }
        };
        let number = frame[at + 1..at + 1 + width].iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
        at += 1 + width;
        (number, at)
    };
    let (json_len, mut start) = length();
    let mut blob_len = 0;
    if blobs > 0 {
        (blob_len, start) = length();
    }
    assert_eq!((usize::from(blobs > 0) * blob_len + start + json_len, blobs <= 1), (frame.len(), true));
    let json = serde_json::from_slice(&frame[start..start + json_len]).unwrap();
    (json, (blobs > 0).then(|| frame[start + json_len..].to_vec()))
}

fn sized(bytes: &[u8], out: &mut Vec<u8>) {
    match bytes.len() {
        len @ 0..253 => out.push(len as u8),
        len @ 253..65_536 => {
            out.push(0xfd);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0xfe);
            out.extend((len as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}
