//! A server that plays control plane, gateway and workspace as the test tells it to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::DEADLINE;

pub(super) struct Server {
    address: String,
    books: Arc<watch::Sender<Books>>,
}

/// What the server knows and has seen.
#[derive(Default)]
pub(super) struct Books {
    pub(super) requests: Vec<String>,
    /// What clients sent over WebSockets.
    pub(super) heard: Vec<String>,
    pub(super) status: Value,
    pub(super) terminals: BTreeMap<u8, Process>,
    /// Tokens below this number are refused.
    pub(super) least_token: u64,
    tokens: u64,
    pub(super) create_status: Option<u16>,
    pub(super) create_after: Option<Duration>,
    /// The id of the next terminals, which no message can name.
    pub(super) odd_id: Option<Value>,
    /// Sent over the WebSocket before a terminal's creation is answered.
    pub(super) early: Option<Vec<u8>>,
    pub(super) upgrade_status: Option<u16>,
    pub(super) list_status: Option<u16>,
    pub(super) delete_status: Option<u16>,
    /// WebSockets are not read any more.
    is_deaf: bool,
    /// How many WebSockets there have been.
    pub(super) upgrades: u32,
    /// How many of them were taken away and have left.
    pub(super) left: u32,
    births: u32,
    socket: Option<mpsc::UnboundedSender<Message>>,
}

/// One terminal.
pub(super) struct Process {
    pub(super) ring: Vec<u8>,
    pub(super) exit: Option<i32>,
    pub(super) born: String,
}

impl Books {
    pub(super) fn add(&mut self, id: u8, is_alive: bool) {
        self.births += 1;
        let born = format!("2025-01-15T10:30:{:02}Z", self.births);
        self.terminals.insert(id, Process { ring: Vec::new(), exit: (!is_alive).then_some(0), born });
    }

    fn send(&mut self, message: Message) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(message);
        }
    }
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let status = json!({"success": true, "enabled": true, "running": true});
        let books = Arc::new(watch::Sender::new(Books { status, ..Books::default() }));
        let kept = Arc::clone(&books);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept)));
            }
        });
        Self { address, books }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Books) -> T) -> T {
        let mut result = None;
        self.books.send_modify(|books| result = Some(change(books)));
        result.unwrap()
    }

    pub(super) async fn until(&self, holds: impl Fn(&Books) -> bool) {
        let mut watched = self.books.subscribe();
        if tokio::time::timeout(DEADLINE, watched.wait_for(|books| holds(books))).await.is_err() {
            let books = self.books.borrow();
            panic!("never so: {:?} {:?}", books.requests, books.heard);
        }
    }

    /// All requests, with what they showed for credentials and in their bodies.
    pub(super) fn requests(&self) -> Vec<String> {
        self.books.borrow().requests.clone()
    }

    pub(super) async fn receives(&self, start: &str) {
        self.until(|books| books.requests.iter().any(|request| request.starts_with(start))).await;
    }

    pub(super) async fn hears(&self, message: &str) {
        self.until(|books| books.heard.iter().any(|heard| heard == message)).await;
    }

    /// A terminal says something: into its ring, and over the WebSocket there is.
    pub(super) fn says(&self, id: u8, bytes: &[u8]) {
        self.change(|books| {
            if let Some(terminal) = books.terminals.get_mut(&id) {
                terminal.ring.extend_from_slice(bytes);
                let excess = terminal.ring.len().saturating_sub(64 << 10);
                terminal.ring.drain(..excess);
            }
            let message = [&[id], bytes].concat();
            books.send(Message::binary(message));
        });
    }

    pub(super) fn exits(&self, id: u8, code: i32) {
        self.change(|books| {
            if let Some(terminal) = books.terminals.get_mut(&id) {
                terminal.exit = Some(code);
            }
            let exit = json!({"channel": "terminal", "type": "exit", "id": id.to_string(), "code": code});
            books.send(Message::text(exit.to_string()));
        });
    }

    pub(super) fn sends(&self, text: &str) {
        self.change(|books| books.send(Message::text(text)));
    }

    /// Somebody else's connection takes the place of the one there is.
    pub(super) fn evicts(&self) {
        self.change(|books| {
            books.send(Message::Close(None));
            books.socket = None;
        });
    }

    /// The same, and the client has noticed.
    pub(super) async fn has_evicted(&self) {
        let left = self.change(|books| books.left);
        self.evicts();
        self.until(|books| books.left > left).await;
    }

    /// The connection stays, and nobody serves it any more.
    pub(super) fn goes_deaf(&self) {
        self.change(|books| books.is_deaf = true);
    }
}

async fn serve(mut stream: TcpStream, books: Arc<watch::Sender<Books>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let field = |name: &str| {
        let at = head.to_ascii_lowercase().find(&format!("\r\n{name}: "))?;
        head[at..].trim_start().split("\r\n").next().unwrap().split_once(": ").map(|(_, value)| value.to_owned())
    };
    let mut body = vec![0; field("content-length").map_or(0, |len| len.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    let (method, path) = head.split(" HTTP/1.1").next().unwrap().split_once(' ').unwrap();
    let mut request = format!("{method} {path}");
    for name in ["x-client-id", "x-client-secret", "authorization"] {
        if let Some(value) = field(name) {
            write!(request, " {value}").unwrap();
        }
    }
    if !body.is_empty() {
        write!(request, " {}", String::from_utf8_lossy(&body)).unwrap();
    }
    let token = field("authorization").and_then(|bearer| bearer.strip_prefix("Bearer jwt-")?.parse::<u64>().ok());
    let mut refused = false;
    let mut delay = None;
    books.send_modify(|books| {
        books.requests.push(request.clone());
        refused = !path.starts_with("/workspace/") && token.is_some_and(|token| token < books.least_token);
        delay = books.create_after.filter(|_| method == "POST" && path.ends_with("/terminals"));
    });
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    if let Some(key) = field("sec-websocket-key") {
        let status = books.borrow().upgrade_status.or(refused.then_some(401));
        if let Some(status) = status {
            let _ = stream.write_all(&answer(status, &json!({"success": false}))).await;
            return;
        }
        let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        talk(WebSocketStream::from_raw_socket(stream, Role::Server, None).await, books).await;
        return;
    }
    let mut reply = (404, json!({"success": false, "error": "not_found"}));
    books.send_modify(|books| {
        if let Some(found) = if refused { Some((401, json!({"success": false}))) } else { route(method, path, books) } {
            reply = found;
        }
    });
    let _ = stream.write_all(&answer(reply.0, &reply.1)).await;
}

fn answer(status: u16, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn route(method: &str, path: &str, books: &mut Books) -> Option<(u16, Value)> {
    if let Some(call) = path.strip_prefix("/workspace/ws_1/") {
        if call.ends_with("api-access") {
            return Some((200, books.status.clone()));
        }
        books.tokens += 1;
        return Some((200, json!({"success": true, "token": format!("jwt-{}", books.tokens)})));
    }
    let path = path.strip_prefix("/runtimes/macos").unwrap_or(path);
    let mut parts = path.trim_start_matches('/').split('/').skip(1);
    let (id, rest) = (parts.next().and_then(|id| id.parse::<u8>().ok()), parts.next());
    match (method, id, rest) {
        ("POST", None, _) => {
            if let Some(status) = books.create_status {
                return Some((status, json!({"success": false, "error": "nope"})));
            }
            if let Some(id) = &books.odd_id {
                return Some((201, json!({"success": true, "id": id})));
            }
            let id = (1..=255).find(|id| !books.terminals.contains_key(id))?;
            books.add(id, true);
            if let Some(early) = books.early.clone() {
                books.send(Message::binary([&[id], &early[..]].concat()));
                books.terminals.get_mut(&id)?.ring = early;
            }
            Some((201, json!({"success": true, "id": id.to_string(), "cols": 80, "rows": 24, "command": ["sh"]})))
        }
        ("GET", None, _) => {
            if let Some(status) = books.list_status {
                return Some((status, json!({"success": false})));
            }
            let list = books.terminals.iter().map(|(id, terminal)| {
                json!({
                    "id": id.to_string(), "command": ["sh"], "cols": 80, "rows": 24, "created_at": terminal.born,
                    "alive": terminal.exit.is_none(), "exit_code": terminal.exit.unwrap_or(0),
                })
            });
            Some((200, json!({"success": true, "terminals": list.collect::<Vec<_>>()})))
        }
        ("DELETE", Some(id), None) => {
            if let Some(status) = books.delete_status {
                return Some((status, json!({"success": false})));
            }
            books.terminals.remove(&id)?;
            Some((200, json!({"success": true, "terminal_id": id.to_string()})))
        }
        ("GET", Some(id), Some("scrollback")) => {
            let terminal = books.terminals.get(&id)?;
            let kept = base64::engine::general_purpose::STANDARD.encode(&terminal.ring);
            Some((200, json!({"success": true, "scrollback": kept, "size": terminal.ring.len(), "alive": false})))
        }
        _ => None,
    }
}

async fn talk(mut socket: WebSocketStream<TcpStream>, books: Arc<watch::Sender<Books>>) {
    let (sender, mut outgoing) = mpsc::unbounded_channel();
    books.send_modify(|books| {
        for (id, terminal) in &books.terminals {
            if terminal.exit.is_none() && !terminal.ring.is_empty() {
                for piece in terminal.ring.chunks(10_000) {
                    let _ = sender.send(Message::binary([&[*id], piece].concat()));
                }
            }
        }
        for (id, terminal) in &books.terminals {
            if let Some(code) = terminal.exit {
                let exit = json!({"channel": "terminal", "type": "exit", "id": id.to_string(), "code": code});
                let _ = sender.send(Message::text(exit.to_string()));
            }
        }
        books.socket = Some(sender);
        books.upgrades += 1;
    });
    loop {
        tokio::select! {
            message = outgoing.recv() => match message {
                Some(message) => {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
                None => {
                    // Replaced: whatever still comes is not for anybody.
                    while let Some(Ok(_)) = socket.next().await {}
                    books.send_modify(|books| books.left += 1);
                    return;
                }
            },
            message = socket.next(), if !books.borrow().is_deaf => match message {
                Some(Ok(Message::Binary(bytes))) => {
                    let heard = format!("binary <{:02x}>{}", bytes[0], String::from_utf8_lossy(&bytes[1..]));
                    books.send_modify(|books| books.heard.push(heard));
                }
                Some(Ok(Message::Text(text))) => books.send_modify(|books| books.heard.push(format!("text {text}"))),
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return,
            },
        }
    }
}
