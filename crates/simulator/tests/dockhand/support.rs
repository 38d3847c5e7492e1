//! A client of the simulator that shares no code with it: it calls, upgrades and speaks the terminal's wire.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use polytty_simulator::dockhand::{self, Dockhand, Options};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, protocol::Role},
};

/// Long enough for a loaded machine, short enough to notice a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// What is long enough to say that something does not happen.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);
/// A creation that takes long enough for a client to say something before.
pub(crate) const SLOW: Duration = Duration::from_secs(2);

fn command(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A shell without anybody's start-up files and without line editing, and the prompt of a container's root.
pub(crate) fn options() -> Options {
    Options { shell: command(&["/usr/bin/env", "PS1=# ", "/bin/sh", "-i"]), ..Options::default() }
}

pub(crate) fn script(script: &str) -> Options {
    Options { shell: command(&["/bin/bash", "-c", script]), ..Options::default() }
}

pub(crate) async fn start(options: Options) -> Dockhand {
    dockhand::start(options).await.unwrap()
}

/// The header that the API token goes into.
pub(crate) fn bearer(simulator: &Dockhand) -> String {
    format!("Authorization: Bearer {}\r\n", simulator.credential().token)
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
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The session cookie that it sets.
    pub(crate) fn cookie(&self) -> String {
        let (cookie, _) = self.header("set-cookie").unwrap().split_once(';').unwrap();
        format!("Cookie: theme=dark%; {cookie}\r\n")
    }
}

/// A call with these headers and this body.
pub(crate) fn request(simulator: &Dockhand, line: &str, headers: &str, body: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        simulator.authority(),
        body.len()
    )
}

/// A call by the API token.
pub(crate) async fn call(simulator: &Dockhand, line: &str, body: &str) -> Reply {
    call_as(simulator, line, &bearer(simulator), body).await
}

pub(crate) async fn call_as(simulator: &Dockhand, line: &str, headers: &str, body: &str) -> Reply {
    exchange(&simulator.authority(), &request(simulator, line, headers, body)).await
}

/// Logs in with the right password and this code.
pub(crate) async fn login(simulator: &Dockhand, code: Option<&str>) -> Reply {
    let credential = simulator.credential();
    let body = json!({"username": credential.username, "password": credential.password, "mfaToken": code});
    call_as(simulator, "POST /api/auth/login", "", &body.to_string()).await
}

/// One request on a connection of its own, and its answer.
pub(crate) async fn exchange(authority: &str, request: &str) -> Reply {
    let mut stream = TcpStream::connect(authority).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    timeout(PATIENCE, read_reply(&mut stream)).await.unwrap()
}

async fn read_reply(stream: &mut TcpStream) -> Reply {
    let (head, mut body) = read_head(stream).await;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut reply = Reply { status, head, body: Vec::new() };
    let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        assert!(stream.read_buf(&mut body).await.unwrap() > 0, "the body is cut off");
    }
    reply.body = body;
    reply
}

async fn read_head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(at + 4);
            return (String::from_utf8(bytes).unwrap(), rest);
        }
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "no answer: {bytes:?}");
    }
}

/// Everything that comes until the peer ends its side.
pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut all = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut all)).await.unwrap().unwrap();
    all
}

/// The path of a terminal in the container that runs.
pub(crate) fn terminal_path(simulator: &Dockhand, environment: u32) -> String {
    format!("/api/containers/{}/exec?shell=%2Fbin%2Fsh&user=root&envId={environment}", simulator.container())
}

/// The request that a WebSocket client opens a path with.
pub(crate) fn upgrade_request(simulator: &Dockhand, path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n",
        simulator.authority()
    )
}

/// A connection on which an upgrade was asked for.
pub(crate) async fn ask(simulator: &Dockhand, path: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(simulator.addr()).await.unwrap();
    stream.write_all(upgrade_request(simulator, path, headers).as_bytes()).await.unwrap();
    stream
}

/// Asks for an upgrade: the answer's head, and the connection with what came behind it.
pub(crate) async fn upgrade(simulator: &Dockhand, path: &str, headers: &str) -> (Reply, TcpStream) {
    let mut stream = ask(simulator, path, headers).await;
    let (head, body) = timeout(PATIENCE, read_head(&mut stream)).await.unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (Reply { status, head, body }, stream)
}

/// An open terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub(crate) socket: WebSocketStream<TcpStream>,
    /// All output so far.
    pub(crate) output: String,
    /// The messages of `error` messages, and `exit` for an exit.
    pub(crate) news: Vec<String>,
}

/// What a terminal has come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The TCP connection has ended without a Close.
    NoClose,
    /// A reset.
    Reset,
    /// A Close with this code; 1005 for one without.
    Close(u16),
}

impl Terminal {
    /// Opens one in the first environment, by the API token.
    pub(crate) async fn open(simulator: &Dockhand) -> Self {
        Self::open_in(simulator, 1).await
    }

    pub(crate) async fn open_in(simulator: &Dockhand, environment: u32) -> Self {
        Self::open_path(simulator, &terminal_path(simulator, environment)).await
    }

    pub(crate) async fn open_path(simulator: &Dockhand, path: &str) -> Self {
        Self::open_as(simulator, path, &bearer(simulator)).await
    }

    pub(crate) async fn open_as(simulator: &Dockhand, path: &str, headers: &str) -> Self {
        let (reply, stream) = upgrade(simulator, path, headers).await;
        assert_eq!(reply.status, 101, "{}", reply.head);
        assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(reply.header("sec-websocket-protocol"), None);
        assert_eq!(reply.header("sec-websocket-extensions"), None);
        Self::over(stream, reply.body).await
    }

    pub(crate) async fn over(stream: TcpStream, already_read: Vec<u8>) -> Self {
        let socket = WebSocketStream::from_partially_read(stream, already_read, Role::Client, None).await;
        Self { socket, output: String::new(), news: Vec::new() }
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn type_in(&mut self, text: &str) {
        self.send(json!({"type": "input", "data": text})).await;
    }

    pub(crate) async fn resize(&mut self, cols: u16, rows: u16) {
        self.send(json!({"type": "resize", "cols": cols, "rows": rows})).await;
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Option<Result<Message, Error>> {
        match timeout(PATIENCE, self.socket.next()).await {
            Ok(next) => next,
            Err(_) => panic!("silence after {:?}", self.output),
        }
    }

    /// Takes a message into account, checking its shape.
    pub(crate) fn take(&mut self, message: &Message) {
        let Message::Text(text) = message else { panic!("{message:?}") };
        let value: Value = serde_json::from_str(text).unwrap();
        let members = value.as_object().unwrap().len();
        match (value["type"].as_str().unwrap(), members) {
            ("output", 2) => self.output += value["data"].as_str().unwrap(),
            ("error", 2) => self.news.push(value["message"].as_str().unwrap().to_owned()),
            ("exit", 1) => self.news.push("exit".to_owned()),
            _ => panic!("{text}"),
        }
    }

    /// Reads until the output holds `text`.
    pub(crate) async fn expect(&mut self, text: &str) {
        while !self.output.contains(text) {
            match self.next().await {
                Some(Ok(message)) if message.is_text() => self.take(&message),
                Some(Ok(Message::Pong(_))) => {}
                other => panic!("{other:?} in place of {text:?}, after {:?}", self.output),
            }
        }
    }

    /// Says that nothing comes, and neither does an end.
    pub(crate) async fn expect_silence(&mut self) {
        let next = timeout(SILENCE, self.socket.next()).await;
        assert!(next.is_err(), "{next:?}");
    }

    /// Says that a ping is answered, whatever else comes.
    pub(crate) async fn expect_pong(&mut self) {
        self.socket.send(Message::Ping("payload".into())).await.unwrap();
        loop {
            match self.next().await {
                Some(Ok(Message::Pong(payload))) => return assert_eq!(&payload[..], b"payload"),
                Some(Ok(message)) => self.take(&message),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Asks a shell for its process id.
    pub(crate) async fn pid(&mut self) -> u32 {
        self.expect("# ").await;
        self.type_in("echo p''id=$$.\r").await;
        self.expect("pid=").await;
        loop {
            let rest = self.output.split("pid=").nth(1).unwrap();
            if let Some((pid, _)) = rest.split_once('.') {
                return pid.parse().unwrap();
            }
            let message = self.next().await.unwrap().unwrap();
            self.take(&message);
        }
    }

    /// Reads until the end.
    pub(crate) async fn end(&mut self) -> End {
        let mut end = End::NoClose;
        loop {
            match self.next().await {
                Some(Ok(Message::Close(frame))) => end = End::Close(frame.map_or(1005, |frame| frame.code.into())),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => self.take(&message),
                Some(Err(Error::Io(error))) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return if end == End::NoClose { End::Reset } else { end };
                }
                Some(Err(Error::Protocol(_) | Error::ConnectionClosed)) | None => return end,
                Some(Err(error)) => panic!("{error} after {} bytes", self.output.len()),
            }
        }
    }

    /// Reads until the end, which has to be an `exit` and an empty Close.
    pub(crate) async fn expect_exit(&mut self) {
        assert_eq!(self.end().await, End::Close(1005));
        assert_eq!(self.news, ["exit"]);
    }
}

/// Whether a process is there, be it as a zombie.
pub(crate) fn lives(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
