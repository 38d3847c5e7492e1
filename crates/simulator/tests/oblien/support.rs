//! A client of the simulator that shares no code with it: it calls both planes and speaks the WebSocket's wire.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{SinkExt as _, StreamExt as _};
use polytty_simulator::{
    Fault,
    oblien::{self, FAULTS, Oblien, Options},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, protocol::Role},
};

/// Long enough for a loaded machine, short enough to notice a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// What is long enough to say that something does not happen.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

/// A shell without anybody's start-up files, and a prompt that is easy to find.
pub(crate) fn options() -> Options {
    let shell = ["/usr/bin/env", "PS1=ready> ", "/bin/bash", "--norc", "--noprofile", "-i"];
    Options { shell: shell.map(str::to_owned).to_vec(), ..Options::default() }
}

pub(crate) async fn start(options: Options) -> Oblien {
    oblien::start(options).await.unwrap()
}

pub(crate) fn fault(text: &str) -> Fault {
    Fault::parse(text, FAULTS).unwrap()
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// What came behind the head before the connection was read no further.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Checks that this is a refusal in the provider's words, and returns its status and code.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let body = self.json();
        assert_eq!(body["success"], false, "{body}");
        assert!(body["message"].is_string(), "{body}");
        (self.status, body["error"].as_str().unwrap().to_owned())
    }
}

/// One request on a connection of its own, and its answer.
pub(crate) async fn exchange(authority: &str, request: &str) -> Reply {
    let mut stream = send(authority, request).await;
    timeout(PATIENCE, read_reply(&mut stream)).await.unwrap()
}

/// One request on a connection of its own.
pub(crate) async fn send(authority: &str, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(authority).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn read_reply(stream: &mut TcpStream) -> Reply {
    let mut reply = read_head(stream).await;
    let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
    while reply.body.len() < length {
        assert!(stream.read_buf(&mut reply.body).await.unwrap() > 0, "the body is cut off");
    }
    reply
}

pub(crate) async fn read_head(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = bytes.split_off(at + 4);
            let head = String::from_utf8(bytes).unwrap();
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            return Reply { status, head, body };
        }
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "no answer: {bytes:?}");
    }
}

/// The headers of the API key.
pub(crate) fn key(simulator: &Oblien) -> String {
    let key = simulator.credential();
    format!("X-Client-ID: {}\r\nX-Client-Secret: {}\r\n", key.client_id, key.client_secret)
}

pub(crate) fn request(authority: &str, method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

/// A call of the control plane with the API key.
pub(crate) async fn control(simulator: &Oblien, method: &str, path: &str, body: &str) -> Reply {
    let authority = simulator.authority();
    exchange(&authority, &request(&authority, method, path, &key(simulator), body)).await
}

/// A call under a workspace's runtime access, with the API key.
pub(crate) async fn access(simulator: &Oblien, method: &str, workspace: &str, rest: &str) -> Reply {
    control(simulator, method, &format!("/workspace/{workspace}/runtime-api-access{rest}"), "").await
}

/// The data plane of a workspace, as whoever holds a token reaches it.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) authority: String,
    pub(crate) token: String,
    /// What stands before every path: empty, or `/runtimes/NAME`.
    pub(crate) prefix: String,
}

impl Data {
    /// With a token that was got from the control plane.
    pub(crate) async fn of(simulator: &Oblien) -> Self {
        let reply = access(simulator, "POST", simulator.workspace(), "/enable").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let token = reply.json()["token"].as_str().unwrap().to_owned();
        Self { authority: simulator.authority(), token, prefix: String::new() }
    }

    pub(crate) fn with(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    pub(crate) fn runtime(&self, name: &str) -> Self {
        Self { prefix: format!("/runtimes/{name}"), ..self.clone() }
    }

    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> String {
        let token = format!("Authorization: Bearer {}\r\n", self.token);
        request(&self.authority, method, &format!("{}{path}", self.prefix), &token, body)
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: &str) -> Reply {
        exchange(&self.authority, &self.request(method, path, body)).await
    }

    /// Creates a terminal that runs this and returns its id.
    pub(crate) async fn create(&self, body: Value) -> u8 {
        let reply = self.call("POST", "/terminals", &body.to_string()).await;
        assert_eq!((reply.status, &reply.json()["success"]), (201, &json!(true)), "{reply:?}");
        reply.json()["id"].as_str().unwrap().parse().unwrap()
    }

    /// The same for a shell script.
    pub(crate) async fn script(&self, script: &str) -> u8 {
        self.create(json!({"cmd": ["/bin/bash", "-c", script]})).await
    }

    pub(crate) async fn delete(&self, id: u8) {
        let reply = self.call("DELETE", &format!("/terminals/{id}"), "").await;
        let expected = json!({"success": true, "terminal_id": id.to_string()});
        assert_eq!((reply.status, reply.json()), (200, expected));
    }

    pub(crate) async fn list(&self) -> Vec<Value> {
        let reply = self.call("GET", "/terminals", "").await;
        assert_eq!((reply.status, &reply.json()["success"]), (200, &json!(true)));
        reply.json()["terminals"].as_array().unwrap().clone()
    }

    /// Waits until a terminal has ended, and returns its line of the list.
    pub(crate) async fn ended(&self, id: u8) -> Value {
        let (id, deadline) = (id.to_string(), Instant::now() + PATIENCE);
        loop {
            let list = self.list().await;
            let terminal = list.iter().find(|terminal| terminal["id"] == id).unwrap();
            if terminal["alive"] == false {
                return terminal.clone();
            }
            assert!(Instant::now() < deadline, "still alive: {terminal}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The answer for a terminal's scrollback, and the decoded bytes.
    pub(crate) async fn scrollback(&self, id: u8, query: &str) -> (Value, String) {
        let reply = self.call("GET", &format!("/terminals/{id}/scrollback{query}"), "").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let body = reply.json();
        let bytes = STANDARD.decode(body["scrollback"].as_str().unwrap()).unwrap();
        assert_eq!(body["size"], bytes.len());
        (body, String::from_utf8(bytes).unwrap())
    }

    /// Waits until a terminal's scrollback holds `text`.
    pub(crate) async fn said(&self, id: u8, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.scrollback(id, "").await.1.contains(text) {
            assert!(Instant::now() < deadline, "it has not said {text:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The request that opens the WebSocket with the token in its header.
    pub(crate) fn upgrade_request(&self) -> String {
        self.upgrade_with("", &format!("Authorization: Bearer {}\r\n", self.token))
    }

    pub(crate) fn upgrade_with(&self, query: &str, headers: &str) -> String {
        format!(
            "GET {}/ws{query} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n",
            self.prefix, self.authority
        )
    }

    /// Tries to open the WebSocket: the answer's head, and the connection with what came behind it.
    pub(crate) async fn upgrade(&self) -> (Reply, TcpStream) {
        let mut stream = send(&self.authority, &self.upgrade_request()).await;
        let reply = timeout(PATIENCE, read_head(&mut stream)).await.unwrap();
        (reply, stream)
    }

    /// Opens the WebSocket.
    pub(crate) async fn connect(&self) -> Socket {
        let (reply, stream) = self.upgrade().await;
        assert_eq!(reply.status, 101, "{}", reply.head);
        assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(reply.header("sec-websocket-protocol"), None);
        assert_eq!(reply.header("sec-websocket-extensions"), None);
        Socket::over(stream, reply.body).await
    }
}

/// How a WebSocket has come to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The TCP connection has ended without a Close.
    NoClose,
    /// A Close with this code and reason.
    Close(u16, String),
    /// A TCP reset.
    Reset,
}

/// An open WebSocket and what it has said.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: WebSocketStream<TcpStream>,
    /// The output of the terminals by id.
    pub(crate) output: Vec<Vec<u8>>,
    /// The text messages in their order.
    pub(crate) texts: Vec<Value>,
    /// The sizes of the binary messages in their order, and whose they were.
    pub(crate) frames: Vec<(u8, usize)>,
}

impl Socket {
    pub(crate) async fn over(stream: TcpStream, already_read: Vec<u8>) -> Self {
        let stream = WebSocketStream::from_partially_read(stream, already_read, Role::Client, None).await;
        Self { stream, output: vec![Vec::new(); 256], texts: Vec::new(), frames: Vec::new() }
    }

    pub(crate) fn text(&self, id: u8) -> String {
        String::from_utf8_lossy(&self.output[usize::from(id)]).into_owned()
    }

    pub(crate) async fn send(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    pub(crate) async fn type_in(&mut self, id: u8, text: &str) {
        self.send(Message::binary([&[id], text.as_bytes()].concat())).await;
    }

    pub(crate) async fn resize(&mut self, id: impl Into<Value>, cols: u16, rows: u16) {
        let message = json!({"channel": "terminal", "type": "resize", "id": id.into(), "cols": cols, "rows": rows});
        self.send(Message::text(message.to_string())).await;
    }

    /// Takes the next message; `Err` is the end.
    pub(crate) async fn step(&mut self) -> Result<(), Result<End, Error>> {
        let message = match timeout(PATIENCE, self.stream.next()).await {
            Ok(message) => message,
            Err(_) => panic!("silence after {:?}", self.texts),
        };
        match message {
            Some(Ok(Message::Binary(frame))) => {
                if let Some((&id, bytes)) = frame.split_first() {
                    self.output[usize::from(id)].extend_from_slice(bytes);
                }
                self.frames.push((frame.first().copied().unwrap_or(0), frame.len().saturating_sub(1)));
            }
            Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                Ok(value) => self.texts.push(value),
                Err(_) => self.texts.push(json!({"no JSON": text.as_str()})),
            },
            Some(Ok(Message::Close(frame))) => {
                let end = frame.map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                // The reply to the Close goes out with the next reading, which also finds the end.
                while let Ok(Some(Ok(_))) = timeout(PATIENCE, self.stream.next()).await {}
                return Err(Ok(End::Close(end.0, end.1)));
            }
            Some(Ok(_)) => {}
            Some(Err(Error::Io(error))) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return Err(Ok(End::Reset));
            }
            Some(Err(Error::Protocol(
                tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )))
            | None => return Err(Ok(End::NoClose)),
            Some(Err(error)) => return Err(Err(error)),
        }
        Ok(())
    }

    /// Reads until a terminal has said `text`.
    pub(crate) async fn expect(&mut self, id: u8, text: &str) {
        while !self.text(id).contains(text) {
            if let Err(end) = self.step().await {
                panic!("{end:?} in place of {text:?}, after {:?}", self.text(id));
            }
        }
    }

    /// Reads until a text message fits.
    pub(crate) async fn until_text(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(text) = self.texts.iter().find(|text| fits(text)) {
                return text.clone();
            }
            if let Err(end) = self.step().await {
                panic!("{end:?} after {:?}", self.texts);
            }
        }
    }

    /// Reads until a terminal's exit is told, and returns the code.
    pub(crate) async fn exit(&mut self, id: u8) -> Value {
        let id = id.to_string();
        let exit = self.until_text(|text| text["type"] == "exit" && text["id"] == id).await;
        assert_eq!(exit["channel"], "terminal");
        exit["code"].clone()
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn is_silent(&mut self) -> bool {
        timeout(SILENCE, self.stream.next()).await.is_err()
    }

    /// Reads until the end.
    pub(crate) async fn end(&mut self) -> End {
        loop {
            match self.step().await {
                Ok(()) => {}
                Err(Ok(end)) => return end,
                Err(Err(error)) => panic!("{error} after {:?}", self.frames),
            }
        }
    }

    /// Asks a shell for its process id.
    pub(crate) async fn pid(&mut self, id: u8) -> u32 {
        self.type_in(id, "echo p''id=$$.\r").await;
        loop {
            let text = self.text(id);
            if let Some((pid, _)) = text.split("pid=").nth(1).and_then(|rest| rest.split_once('.')) {
                return pid.parse().unwrap();
            }
            self.step().await.unwrap();
        }
    }
}

/// Whether a process is there, be it as a zombie.
pub(crate) fn lives(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// What `seq 1 LAST` says on a terminal.
pub(crate) fn numbers(last: u32) -> String {
    (1..=last).map(|number| format!("{number}\r\n")).collect()
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "still not: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
