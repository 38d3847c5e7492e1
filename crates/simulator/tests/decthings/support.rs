//! A client of the simulator that shares no code with it: it encodes, upgrades, calls and sorts what comes back.

use std::{collections::HashMap, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use polytty_simulator::decthings::{self, Decthings, Options};
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

/// A shell without anybody's start-up files, and a prompt that is easy to find.
pub(crate) fn options() -> Options {
    let shell = ["/usr/bin/env", "PS1=ready> ", "/bin/bash", "--norc", "--noprofile", "-i"];
    Options { shell: shell.map(str::to_owned).to_vec(), ..Options::default() }
}

pub(crate) fn script(script: &str) -> Options {
    Options { shell: ["/bin/bash", "-c", script].map(str::to_owned).to_vec(), ..Options::default() }
}

pub(crate) async fn start(options: Options) -> Decthings {
    decthings::start(options).await.unwrap()
}

/// The parameters of a launch on the ready line's target.
pub(crate) fn launch_params(simulator: &Decthings) -> Value {
    let target = &simulator.ready_line()["target"];
    json!({"modelId": target["model_id"], "executionLocation": target["execution_location"]})
}

pub(crate) fn of(terminal: &str) -> Value {
    json!({"terminalSessionId": terminal})
}

// Encoding, as the document draws it.

pub(crate) fn varint(number: usize) -> Vec<u8> {
    if number < 253 {
        vec![u8::try_from(number).unwrap()]
    } else if let Ok(number) = u16::try_from(number) {
        [&[0xFD], &number.to_be_bytes()[..]].concat()
    } else if let Ok(number) = u32::try_from(number) {
        [&[0xFE], &number.to_be_bytes()[..]].concat()
    } else {
        [&[0xFF], &(number as u64).to_be_bytes()[..]].concat()
    }
}

pub(crate) fn body(json: &str, blobs: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(blobs.len()).unwrap()];
    bytes.extend(varint(json.len()));
    blobs.iter().for_each(|blob| bytes.extend(varint(blob.len())));
    bytes.extend(json.as_bytes());
    blobs.iter().for_each(|blob| bytes.extend(*blob));
    bytes
}

/// Takes a number off the front.
fn take_varint(bytes: &mut &[u8]) -> usize {
    let (first, rest) = bytes.split_first().expect("a length");
    let size = match first {
        0xFD => 2,
        0xFE => 4,
        0xFF => 8,
        _ => 0,
    };
    let (number, rest) = rest.split_at(size);
    *bytes = rest;
    if size == 0 { usize::from(*first) } else { number.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)) }
}

/// The JSON and the blobs of a reply or an event, from its first length on.
pub(crate) fn parts(mut bytes: &[u8]) -> (Value, Vec<Vec<u8>>) {
    let length = take_varint(&mut bytes);
    let (json, mut rest) = bytes.split_at(length);
    let mut blobs = Vec::new();
    while !rest.is_empty() {
        let length = take_varint(&mut rest);
        let (blob, behind) = rest.split_at(length);
        blobs.push(blob.to_vec());
        rest = behind;
    }
    (serde_json::from_slice(json).unwrap(), blobs)
}

// HTTP.

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The reply of a method.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{} {:?}", self.head, String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), Some("application/octet-stream"));
        let (json, blobs) = parts(&self.body);
        assert!(blobs.is_empty());
        one_key(json)
    }
}

/// Checks that a reply is a result or an error, and not both.
fn one_key(json: Value) -> Value {
    assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
    json
}

pub(crate) fn request(simulator: &Decthings, path: &str, extra: &str, body: &[u8]) -> Vec<u8> {
    let authority = simulator.authority();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {}\r\n{extra}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub(crate) fn good_headers(simulator: &Decthings) -> String {
    format!("Content-Type: application/octet-stream\r\nAuthorization: Bearer {}\r\n", simulator.api_key())
}

/// One request on a connection of its own, and its answer.
pub(crate) async fn exchange(simulator: &Decthings, request: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(simulator.addr()).await.unwrap();
    stream.write_all(request).await.unwrap();
    timeout(PATIENCE, async {
        let (head, mut body) = read_head(&mut stream).await;
        let mut reply = Reply { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body: Vec::new() };
        let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        while body.len() < length {
            assert!(stream.read_buf(&mut body).await.unwrap() > 0, "the body is cut off");
        }
        reply.body = body;
        reply
    })
    .await
    .unwrap()
}

/// A call over HTTP: its `result` or its `error`, under that key.
pub(crate) async fn post(simulator: &Decthings, method: &str, params: &Value, blobs: &[&[u8]]) -> Value {
    let path = format!("/v0/Terminal/{method}");
    let request = request(simulator, &path, &good_headers(simulator), &body(&params.to_string(), blobs));
    exchange(simulator, &request).await.json()
}

/// The bytes up to the end of a head, and those behind it.
pub(crate) async fn read_head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(at + 4);
            return (String::from_utf8(bytes).unwrap(), rest);
        }
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "no answer: {bytes:?}");
    }
}

// The WebSocket.

pub(crate) fn upgrade_request(simulator: &Decthings, extra: &str) -> String {
    format!(
        "GET /v0/ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n",
        simulator.authority()
    )
}

/// Tries to open a WebSocket: the answer's head, and the connection with what came behind it.
pub(crate) async fn upgrade(simulator: &Decthings) -> (Reply, TcpStream) {
    let mut stream = TcpStream::connect(simulator.addr()).await.unwrap();
    stream.write_all(upgrade_request(simulator, "").as_bytes()).await.unwrap();
    let (head, body) = timeout(PATIENCE, read_head(&mut stream)).await.unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (Reply { status, head, body }, stream)
}

/// A client and its connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
    key: String,
    next_id: u32,
    /// Replies that nobody has asked for yet.
    replies: HashMap<u32, Value>,
    /// All output so far, by terminal.
    outputs: HashMap<String, Vec<u8>>,
    /// The reasons of terminals that have ended.
    exits: HashMap<String, Value>,
    /// Events of other names or apis, and how many messages have come.
    pub(crate) strange: Vec<(String, Value)>,
    pub(crate) messages: usize,
}

/// How a connection has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The TCP connection has ended without a Close.
    NoClose,
    /// A Close with this code.
    Close(u16),
    /// A TCP reset.
    Reset,
    /// Something that a strict client cannot read.
    Broken,
}

impl Client {
    pub(crate) async fn open(simulator: &Decthings) -> Self {
        let (reply, stream) = upgrade(simulator).await;
        assert_eq!(reply.status, 101, "{}", reply.head);
        assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(reply.header("sec-websocket-protocol"), None);
        assert_eq!(reply.header("sec-websocket-extensions"), None);
        Self::over(simulator, stream, reply.body).await
    }

    pub(crate) async fn over(simulator: &Decthings, stream: TcpStream, already_read: Vec<u8>) -> Self {
        Self {
            socket: WebSocketStream::from_partially_read(stream, already_read, Role::Client, None).await,
            key: simulator.api_key().to_owned(),
            next_id: 0,
            replies: HashMap::new(),
            outputs: HashMap::new(),
            exits: HashMap::new(),
            strange: Vec::new(),
            messages: 0,
        }
    }

    /// Sends a call, and returns its id.
    pub(crate) async fn send(&mut self, method: &str, params: &Value, blobs: &[&[u8]]) -> u32 {
        let json = json!({"api": "Terminal", "method": method, "params": params, "apiKey": self.key});
        let id = self.next_id;
        self.next_id += 1;
        let message = [&id.to_be_bytes(), &body(&json.to_string(), blobs)[..]].concat();
        self.socket.send(Message::binary(message)).await.unwrap();
        id
    }

    /// Waits for the reply to a call: its `result` or its `error`, under that key.
    pub(crate) async fn reply(&mut self, id: u32) -> Value {
        loop {
            if let Some(reply) = self.replies.remove(&id) {
                return reply;
            }
            self.pass().await;
        }
    }

    pub(crate) async fn call(&mut self, method: &str, params: &Value, blobs: &[&[u8]]) -> Value {
        let id = self.send(method, params, blobs).await;
        self.reply(id).await
    }

    /// Launches on the ready line's target and returns the session's id.
    pub(crate) async fn launch(&mut self, simulator: &Decthings) -> String {
        let reply = self.call("launchTerminalSession", &launch_params(simulator), &[]).await;
        reply["result"]["terminalSessionId"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
    }

    /// Types without waiting for the reply.
    pub(crate) async fn type_in(&mut self, terminal: &str, text: &str) -> u32 {
        self.send("writeToTerminalSession", &of(terminal), &[text.as_bytes()]).await
    }

    pub(crate) fn output(&self, terminal: &str) -> &[u8] {
        self.outputs.get(terminal).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn text(&self, terminal: &str) -> String {
        String::from_utf8_lossy(self.output(terminal)).into_owned()
    }

    /// Reads until a terminal's output holds `text`.
    pub(crate) async fn expect(&mut self, terminal: &str, text: &str) {
        while !self.text(terminal).contains(text) {
            assert!(!self.exits.contains_key(terminal), "the end in place of {text:?}: {:?}", self.text(terminal));
            self.pass().await;
        }
    }

    /// Reads until a terminal has ended, and returns the reason.
    pub(crate) async fn exit(&mut self, terminal: &str) -> Value {
        while !self.exits.contains_key(terminal) {
            self.pass().await;
        }
        self.exits[terminal].clone()
    }

    pub(crate) fn has_reply(&self, id: u32) -> bool {
        self.replies.contains_key(&id)
    }

    pub(crate) async fn next(&mut self) -> Option<Result<Message, Error>> {
        match timeout(PATIENCE, self.socket.next()).await {
            Ok(next) => next,
            Err(_) => panic!("silence: {self:?}"),
        }
    }

    /// Reads one message and takes it into account.
    pub(crate) async fn pass(&mut self) {
        match self.next().await {
            Some(Ok(message)) => self.take(message),
            other => panic!("{other:?} after {self:?}"),
        }
    }

    /// Whether nothing comes.
    pub(crate) async fn is_silent(&mut self) -> bool {
        timeout(SILENCE, self.socket.next()).await.is_err()
    }

    pub(crate) fn take(&mut self, message: Message) {
        if message.is_ping() || message.is_pong() {
            return;
        }
        assert!(message.is_binary() || message.is_text(), "{message:?}");
        self.messages += 1;
        let bytes = message.into_data();
        if bytes[0] == 0 {
            let id = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
            let (json, blobs) = parts(&bytes[5..]);
            assert!(blobs.is_empty());
            assert!(self.replies.insert(id, one_key(json)).is_none(), "a second reply to {id}");
            return;
        }
        let (api, rest) = bytes[2..].split_at(usize::from(bytes[1]));
        let (json, mut blobs) = parts(rest);
        let terminal = json["params"]["terminalSessionId"].as_str().unwrap_or_default().to_owned();
        assert!(!self.exits.contains_key(&terminal), "an event behind the end");
        match (api, json["event"].as_str(), blobs.len()) {
            (b"Terminal", Some("data"), 1) => self.outputs.entry(terminal).or_default().append(&mut blobs[0]),
            (b"Terminal", Some("exit"), 0) => {
                self.exits.insert(terminal, json["params"]["reason"].clone());
            }
            (api, ..) => self.strange.push((String::from_utf8_lossy(api).into_owned(), json)),
        }
    }

    /// Reads until the connection has ended.
    pub(crate) async fn end(&mut self) -> End {
        let mut end = End::NoClose;
        loop {
            match self.next().await {
                Some(Ok(Message::Close(frame))) => end = End::Close(frame.map_or(1005, |frame| frame.code.into())),
                Some(Ok(message)) => self.take(message),
                None | Some(Err(Error::ConnectionClosed)) => return end,
                Some(Err(Error::Protocol(
                    tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
                ))) => return end,
                Some(Err(Error::Io(error))) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return End::Reset;
                }
                Some(Err(Error::Protocol(_) | Error::Capacity(_))) => return End::Broken,
                Some(Err(error)) => panic!("{error}"),
            }
        }
    }

    /// Closes as the official clients do: a Close without a code.
    pub(crate) async fn close(mut self) {
        self.socket.close(None).await.unwrap();
        assert_eq!(self.end().await, End::Close(1005), "a Close is answered");
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
