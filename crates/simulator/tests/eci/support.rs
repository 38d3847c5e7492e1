//! A client of the simulator that shares no code with it: it signs, calls, upgrades and speaks the channels.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{SinkExt as _, StreamExt as _};
use polytty_simulator::eci::{self, Credential, Eci, Options};
use serde_json::json;
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, protocol::Role},
};

use crate::plain::hex;
pub(crate) use crate::plain::{
    End, PATIENCE, Reply, exchange, lives, plain_shell, until, upgrade, upgrade_request, upgrade_with,
};

pub(crate) fn options() -> Options {
    Options { shell: plain_shell(), ..Options::default() }
}

pub(crate) async fn start(options: Options) -> Eci {
    eci::start(options).await.unwrap()
}

/// Where the parameters of a call travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// `POST /?…` with an empty body, as the current SDKs do.
    Query,
    /// `POST /` with a form.
    Form,
    /// `GET /?…`, as the oldest SDKs do.
    Get,
}

/// How a call is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Acs3,
    Sha1,
}

/// A call to be signed and sent.
#[derive(Clone, Debug)]
pub(crate) struct ApiCall {
    pub(crate) authority: String,
    pub(crate) action: String,
    pub(crate) version: &'static str,
    pub(crate) path: &'static str,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) credential: Credential,
    pub(crate) at: SystemTime,
    pub(crate) nonce: String,
    pub(crate) carrier: Carrier,
    pub(crate) scheme: Scheme,
    /// Further header lines, each with its end.
    pub(crate) extra: &'static str,
}

impl ApiCall {
    pub(crate) fn new(simulator: &Eci, action: &str) -> Self {
        static NONCE: AtomicU64 = AtomicU64::new(0);
        Self {
            authority: simulator.authority(),
            action: action.to_owned(),
            version: "2018-08-08",
            path: "/",
            parameters: vec![("RegionId".to_owned(), "cn-hangzhou".to_owned())],
            credential: simulator.credential().clone(),
            at: SystemTime::now(),
            nonce: format!("nonce-{}", NONCE.fetch_add(1, Ordering::Relaxed)),
            carrier: Carrier::Query,
            scheme: Scheme::Acs3,
            extra: "",
        }
    }

    /// ExecContainerCommand in the first container of the first group.
    pub(crate) fn exec(simulator: &Eci, command: &str) -> Self {
        let group = &simulator.container_groups()[0];
        Self::new(simulator, "ExecContainerCommand")
            .set("ContainerGroupId", &group.id)
            .set("ContainerName", group.containers[0].name)
            .set("Command", command)
    }

    /// Sets a parameter, or takes it away if the value is empty.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.parameters.retain(|(other, _)| other != name);
        if !value.is_empty() {
            self.parameters.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub(crate) fn tty(self) -> Self {
        self.set("TTY", "true")
    }

    pub(crate) fn by(self, carrier: Carrier, scheme: Scheme) -> Self {
        Self { carrier, scheme, ..self }
    }

    pub(crate) fn with(self, credential: &Credential) -> Self {
        Self { credential: credential.clone(), ..self }
    }

    /// The bytes of the signed request.
    pub(crate) fn request(&self) -> String {
        match self.scheme {
            Scheme::Acs3 => self.acs3(),
            Scheme::Sha1 => self.sha1(),
        }
    }

    fn method(&self) -> &'static str {
        if self.carrier == Carrier::Get { "GET" } else { "POST" }
    }

    /// Sorted, and encoded as a signature demands.
    fn pairs(parameters: &[(String, String)]) -> String {
        let mut pairs: Vec<_> =
            parameters.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        pairs.sort_unstable();
        pairs.join("&")
    }

    fn date(&self) -> String {
        jiff::Timestamp::try_from(self.at).unwrap().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    fn acs3(&self) -> String {
        let pairs = Self::pairs(&self.parameters);
        let (query, body) = if self.carrier == Carrier::Form { (String::new(), pairs) } else { (pairs, String::new()) };
        let hash = hex(digest::digest(&digest::SHA256, body.as_bytes()).as_ref());
        let mut headers = vec![
            ("host", self.authority.clone()),
            ("x-acs-action", self.action.clone()),
            ("x-acs-content-sha256", hash.clone()),
            ("x-acs-date", self.date()),
            ("x-acs-signature-nonce", self.nonce.clone()),
            ("x-acs-version", self.version.to_owned()),
        ];
        if let Some(token) = &self.credential.security_token {
            headers.push(("x-acs-accesskey-id", self.credential.access_key_id.clone()));
            headers.push(("x-acs-security-token", token.clone()));
        }
        if self.carrier == Carrier::Form {
            headers.push(("content-type", "application/x-www-form-urlencoded".to_owned()));
        }
        headers.sort_unstable();
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let block: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!("{}\n{}\n{query}\n{block}\n{names}\n{hash}", self.method(), self.path);
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.credential.access_key_secret.as_bytes());
        let signature = hex(hmac::sign(&key, format!("ACS3-HMAC-SHA256\n{hash}").as_bytes()).as_ref());
        let mut lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let _ = write!(
            lines,
            "Authorization: ACS3-HMAC-SHA256 Credential={},SignedHeaders={names},Signature={signature}\r\n",
            self.credential.access_key_id
        );
        self.put_together(&query, &lines, &body)
    }

    fn sha1(&self) -> String {
        let mut parameters = self.parameters.clone();
        let common = [
            ("Action", self.action.as_str()),
            ("Version", self.version),
            ("Format", "JSON"),
            ("Timestamp", &self.date()),
            ("SignatureNonce", &self.nonce),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("AccessKeyId", &self.credential.access_key_id),
        ];
        let token = self.credential.security_token.as_deref().map(|token| ("SecurityToken", token));
        parameters.extend(common.into_iter().chain(token).map(|(key, value)| (key.to_owned(), value.to_owned())));
        let string = format!("{}&%2F&{}", self.method(), encode(&Self::pairs(&parameters)));
        let secret = format!("{}&", self.credential.access_key_secret);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        parameters.push(("Signature".to_owned(), STANDARD.encode(hmac::sign(&key, string.as_bytes()))));
        let pairs = Self::pairs(&parameters);
        let host = format!("Host: {}\r\n", self.authority);
        match self.carrier {
            Carrier::Form => {
                let lines = format!("{host}Content-Type: application/x-www-form-urlencoded\r\n");
                self.put_together("", &lines, &pairs)
            }
            _ => self.put_together(&pairs, &host, ""),
        }
    }

    fn put_together(&self, query: &str, lines: &str, body: &str) -> String {
        let question = if query.is_empty() { "" } else { "?" };
        let length =
            if self.carrier == Carrier::Get { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let (method, path, extra) = (self.method(), self.path, self.extra);
        format!("{method} {path}{question}{query} HTTP/1.1\r\n{lines}{length}{extra}\r\n{body}")
    }

    pub(crate) async fn send(&self) -> Reply {
        exchange(&self.authority, &self.request()).await
    }

    /// Sends the call and returns the link that it is answered with.
    pub(crate) async fn link(&self) -> String {
        let reply = self.send().await;
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        reply.json()["WebSocketUri"].as_str().unwrap().to_owned()
    }

    /// Sends the call, which is refused, and returns status and code.
    pub(crate) async fn refusal(&self) -> (u16, String) {
        let reply = self.send().await;
        (reply.status, reply.code())
    }
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// A command that `sh -c` runs, as the parameter has it.
pub(crate) fn sh(script: &str) -> String {
    json!(["/bin/sh", "-c", script]).to_string()
}

/// An open session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) socket: WebSocketStream<TcpStream>,
    /// All bytes so far of each channel.
    pub(crate) channels: [Vec<u8>; 5],
    /// All text messages so far.
    pub(crate) text: String,
}

impl Session {
    /// The simulator's shell on a terminal.
    pub(crate) async fn shell(simulator: &Eci) -> Self {
        Self::open(&ApiCall::exec(simulator, r#"["/bin/bash"]"#).tty()).await
    }

    /// Mints a link and opens it.
    pub(crate) async fn open(call: &ApiCall) -> Self {
        Self::open_link(&call.link().await).await
    }

    pub(crate) async fn open_link(link: &str) -> Self {
        let (reply, stream) = upgrade(link).await;
        assert_eq!(reply.status, 101, "{}", reply.head);
        assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(reply.header("sec-websocket-protocol"), None);
        Self::over(stream, reply.body).await
    }

    /// Opens a link with an offer of `v4.channel.k8s.io`; also returns what was selected.
    pub(crate) async fn offer_v4(link: &str) -> (Option<String>, Self) {
        let (authority, request) = upgrade_request(link, "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n");
        let mut stream = TcpStream::connect(authority).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
        }
        let reply = Reply { status: 101, head: String::from_utf8(head).unwrap(), body: Vec::new() };
        assert!(reply.head.starts_with("HTTP/1.1 101"), "{}", reply.head);
        (reply.header("sec-websocket-protocol").map(str::to_owned), Self::over(stream, Vec::new()).await)
    }

    pub(crate) async fn over(stream: TcpStream, already_read: Vec<u8>) -> Self {
        let socket = WebSocketStream::from_partially_read(stream, already_read, Role::Client, None).await;
        Self { socket, channels: Default::default(), text: String::new() }
    }

    pub(crate) async fn send(&mut self, channel: u8, payload: &[u8]) {
        self.socket.send(Message::binary([&[channel], payload].concat())).await.unwrap();
    }

    pub(crate) async fn type_in(&mut self, text: &str) {
        self.send(0, text.as_bytes()).await;
    }

    pub(crate) async fn resize(&mut self, channel: u8, cols: u16, rows: u16) {
        self.send(channel, format!(r#"{{"Width":{cols},"Height":{rows}}}"#).as_bytes()).await;
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Option<Result<Message, Error>> {
        match timeout(PATIENCE, self.socket.next()).await {
            Ok(next) => next,
            Err(_) => panic!("silence after {:?}", self.stdout()),
        }
    }

    /// Takes the output of a message into account, checking its shape.
    pub(crate) fn take(&mut self, message: &Message) {
        match message {
            Message::Binary(bytes) => {
                let (channel, payload) = bytes.split_first().expect("a channel");
                assert!((1..=3).contains(channel), "{bytes:?}");
                self.channels[usize::from(*channel)].extend_from_slice(payload);
            }
            Message::Text(text) => self.text += text,
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.channels[1]).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.channels[2]).into_owned()
    }

    /// What channel 3 has said.
    pub(crate) fn error(&self) -> String {
        String::from_utf8_lossy(&self.channels[3]).into_owned()
    }

    /// Reads until the output on channel 1 holds `text`.
    pub(crate) async fn expect(&mut self, text: &str) {
        while !self.stdout().contains(text) {
            match self.next().await {
                Some(Ok(message)) => self.take(&message),
                other => panic!("{other:?} in place of {text:?}, after {:?}", self.stdout()),
            }
        }
    }

    /// Asks a shell for its process id.
    pub(crate) async fn pid(&mut self) -> u32 {
        self.type_in("echo p''id=$$.\r").await;
        self.number("pid=").await
    }

    /// Reads until the output holds the number behind `name`, which a point ends.
    pub(crate) async fn number(&mut self, name: &str) -> u32 {
        self.expect(name).await;
        loop {
            let stdout = self.stdout();
            if let Some((number, _)) = stdout.split(name).nth(1).unwrap().split_once('.') {
                return number.parse().unwrap();
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
                Some(Ok(message)) => self.take(&message),
                Some(Err(Error::Protocol(_) | Error::ConnectionClosed)) | None => return end,
                Some(Err(error)) => panic!("{error} after {} bytes", self.channels[1].len()),
            }
        }
    }
}

/// Long enough to say that nothing comes.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);
