//! A client of the simulator that shares no code with it: it signs, calls, upgrades and speaks the terminal's wire.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{SinkExt as _, StreamExt as _};
use polytty_simulator::pai_dlc::{self, Credential, Options, PaiDlc};
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

/// A shell without anybody's start-up files, and a prompt that is easy to find.
pub(crate) fn plain_shell() -> Vec<String> {
    ["/usr/bin/env", "PS1=ready> ", "/bin/bash", "--norc", "--noprofile", "-i"].map(str::to_owned).to_vec()
}

pub(crate) fn options() -> Options {
    Options { shell: plain_shell(), ..Options::default() }
}

pub(crate) fn script(script: &str) -> Options {
    Options { shell: ["/bin/bash", "-c", script].map(str::to_owned).to_vec(), ..Options::default() }
}

pub(crate) async fn start(options: Options) -> PaiDlc {
    pai_dlc::start(options).await.unwrap()
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
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn code(&self) -> String {
        self.json()["Code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What goes into a signed call, to be changed before it is sent.
#[derive(Clone, Debug)]
pub(crate) struct ApiCall {
    pub(crate) authority: String,
    pub(crate) action: &'static str,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) credential: Credential,
    pub(crate) at: SystemTime,
    pub(crate) nonce: String,
    pub(crate) extra: String,
}

impl ApiCall {
    pub(crate) fn new(simulator: &PaiDlc, action: &'static str, path: &str, query: &str) -> Self {
        static NONCE: AtomicU64 = AtomicU64::new(0);
        Self {
            authority: simulator.authority(),
            action,
            path: path.to_owned(),
            query: query.to_owned(),
            credential: simulator.credential().clone(),
            at: SystemTime::now(),
            nonce: format!("nonce-{}", NONCE.fetch_add(1, Ordering::Relaxed)),
            extra: String::new(),
        }
    }

    /// A call for the terminal of the ready line's target.
    pub(crate) fn terminal(simulator: &PaiDlc, query: &str) -> Self {
        let job = &simulator.jobs()[0];
        Self::new(simulator, "GetWebTerminal", &terminal_path(&job.id, &job.pods[0].id), query)
    }

    pub(crate) fn with(mut self, credential: &Credential) -> Self {
        self.credential = credential.clone();
        self
    }

    pub(crate) fn at(mut self, at: SystemTime) -> Self {
        self.at = at;
        self
    }

    pub(crate) fn extra(mut self, header: &str) -> Self {
        self.extra += header;
        self.extra += "\r\n";
        self
    }

    fn signed_headers(&self) -> Vec<(&'static str, String)> {
        let date = jiff::Timestamp::try_from(self.at).unwrap().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut headers = vec![("host", self.authority.clone())];
        if let Some(token) = &self.credential.security_token {
            headers.push(("x-acs-accesskey-id", self.credential.access_key_id.clone()));
            headers.push(("x-acs-security-token", token.clone()));
        }
        headers.extend([
            ("x-acs-action", self.action.to_owned()),
            ("x-acs-content-sha256", hex(digest::digest(&digest::SHA256, b"").as_ref())),
            ("x-acs-date", date),
            ("x-acs-signature-nonce", self.nonce.clone()),
            ("x-acs-version", "2020-12-03".to_owned()),
        ]);
        headers.sort_unstable();
        headers
    }

    /// The bytes of the signed request.
    pub(crate) fn request(&self) -> String {
        let headers = self.signed_headers();
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let block: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let mut pairs: Vec<_> = self.query.split('&').filter(|pair| !pair.is_empty()).collect();
        pairs.sort_unstable();
        let empty = hex(digest::digest(&digest::SHA256, b"").as_ref());
        let canonical = format!("GET\n{}\n{}\n{block}\n{names}\n{empty}", self.path, pairs.join("&"));
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.credential.access_key_secret.as_bytes());
        let signature = hex(hmac::sign(&key, format!("ACS3-HMAC-SHA256\n{hash}").as_bytes()).as_ref());
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let question = if self.query.is_empty() { "" } else { "?" };
        format!(
            "GET {}{question}{} HTTP/1.1\r\n{lines}{}Authorization: ACS3-HMAC-SHA256 \
             Credential={},SignedHeaders={names},Signature={signature}\r\n\r\n",
            self.path, self.query, self.extra, self.credential.access_key_id
        )
    }

    pub(crate) async fn send(&self) -> Reply {
        exchange(&self.authority, &self.request()).await
    }

    /// Sends the call and returns the link that it is answered with.
    pub(crate) async fn link(&self) -> String {
        let reply = self.send().await;
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        reply.json()["WebTerminalUrl"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn terminal_path(job: &str, pod: &str) -> String {
    format!("/api/v1/jobs/{job}/pods/{pod}/webterminal")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

/// The request that a WebSocket client opens `link` with.
pub(crate) fn upgrade_request(link: &str, extra: &str) -> (String, String) {
    let (authority, path) = link.strip_prefix("ws://").unwrap().split_once('/').unwrap();
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
    );
    (authority.to_owned(), request)
}

/// Tries to open a link: the answer's head, and the connection with what came behind it.
pub(crate) async fn upgrade(link: &str) -> (Reply, TcpStream) {
    upgrade_with(link, b"").await
}

/// The same with bytes right behind the request.
pub(crate) async fn upgrade_with(link: &str, behind: &[u8]) -> (Reply, TcpStream) {
    let (authority, request) = upgrade_request(link, "");
    let mut stream = TcpStream::connect(authority).await.unwrap();
    stream.write_all(&[request.as_bytes(), behind].concat()).await.unwrap();
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
}

/// What a terminal has come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The TCP connection has ended without a Close.
    NoClose,
    /// A Close with this code.
    Close(u16),
}

impl Terminal {
    /// Mints a link and opens it.
    pub(crate) async fn open(simulator: &PaiDlc) -> Self {
        Self::open_link(&ApiCall::terminal(simulator, "IsShared=true").link().await).await
    }

    pub(crate) async fn open_link(link: &str) -> Self {
        let (reply, stream) = upgrade(link).await;
        assert_eq!(reply.status, 101, "{}", reply.head);
        assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(reply.header("sec-websocket-protocol"), None);
        assert_eq!(reply.header("sec-websocket-extensions"), None);
        Self::over(stream, reply.body).await
    }

    pub(crate) async fn over(stream: TcpStream, already_read: Vec<u8>) -> Self {
        let socket = WebSocketStream::from_partially_read(stream, already_read, Role::Client, None).await;
        Self { socket, output: String::new() }
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn type_in(&mut self, text: &str) {
        self.send(json!({"operation": "stdin", "data": text})).await;
    }

    pub(crate) async fn resize(&mut self, cols: u16, rows: u16) {
        self.send(json!({"operation": "resize", "cols": cols, "rows": rows})).await;
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Option<Result<Message, Error>> {
        match timeout(PATIENCE, self.socket.next()).await {
            Ok(next) => next,
            Err(_) => panic!("silence after {:?}", self.output),
        }
    }

    /// Takes the output of a message into account, checking its shape.
    pub(crate) fn take(&mut self, message: &Message) {
        let Message::Text(text) = message else { panic!("{message:?}") };
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(value["operation"], "stdout", "{text}");
        assert_eq!((&value["rows"], &value["cols"]), (&json!(0), &json!(0)));
        assert_eq!(value.as_object().unwrap().len(), 4);
        self.output += value["data"].as_str().unwrap();
    }

    /// Reads until the output holds `text`.
    pub(crate) async fn expect(&mut self, text: &str) {
        while !self.output.contains(text) {
            match self.next().await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => self.take(&message),
                other => panic!("{other:?} in place of {text:?}, after {:?}", self.output),
            }
        }
    }

    /// Asks a shell for its process id.
    pub(crate) async fn pid(&mut self) -> u32 {
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
                Some(Err(Error::Protocol(_) | Error::ConnectionClosed)) | None => return end,
                Some(Err(error)) => panic!("{error} after {} bytes", self.output.len()),
            }
        }
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

/// The ROA HMAC-SHA1 request of the older SDKs.
pub(crate) fn roa_request(call: &ApiCall) -> String {
    let date = jiff::Timestamp::try_from(call.at).unwrap().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let acs = [
        ("x-acs-signature-method", "HMAC-SHA1"),
        ("x-acs-signature-nonce", &call.nonce),
        ("x-acs-signature-version", "1.0"),
        ("x-acs-version", "2020-12-03"),
    ];
    let block: String = acs.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let string = format!("GET\napplication/json\n\n\n{date}\n{block}{}?{}", call.path, call.query);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, call.credential.access_key_secret.as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, string.as_bytes()));
    let lines: String = acs.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "GET {}?{} HTTP/1.1\r\nhost: {}\r\naccept: application/json\r\ndate: {date}\r\n{lines}authorization: acs {}:{signature}\r\n\r\n",
        call.path, call.query, call.authority, call.credential.access_key_id
    )
}
