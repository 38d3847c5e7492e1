//! A provider for tests: one listener that answers by a script, writes down what it heard, and hands out the
//! terminals that were opened.

use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use futures_util::{SinkExt as _, StreamExt as _};
use polytty_dialect::Exit;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role};

use super::{Failure, Happened, Upstream};

/// How long anything in these tests may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// A request, as it was heard.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Method and target, such as `POST /?a=b`.
    pub(super) line: String,
    /// The head behind the first line, names in lower case.
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn field(&self, wanted: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    /// A parameter of the query, decoded.
    pub(super) fn query(&self, wanted: &str) -> Option<String> {
        let (_, query) = self.line.split_once('?')?;
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    }
}

/// What is said to a request.
pub(super) enum Answer {
    /// A status and a JSON body.
    Json(u16, Value),
    /// The same with further fields, each line ended.
    Fields(u16, String, Value),
    /// A terminal, and the subprotocol that is chosen.
    Terminal(Option<&'static str>),
    /// Nothing, and the connection stays open.
    Silence,
    /// Nothing, and the connection is closed.
    Hangup,
}

pub(super) struct Peer {
    /// `127.0.0.1:PORT`.
    pub(super) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    terminals: mpsc::UnboundedReceiver<Terminal>,
}

impl Peer {
    /// Listens, and asks `script` for the answer to each request, which is also given the server's address.
    pub(super) async fn start(script: impl FnMut(&Asked, &str) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (sender, terminals) = mpsc::unbounded_channel();
        let (heard, own, script) = (Arc::clone(&asked), address.clone(), Arc::new(Mutex::new(script)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (heard, own, script, sender) = (heard.clone(), own.clone(), script.clone(), sender.clone());
                tokio::spawn(async move {
                    let mut stream = stream;
                    let Some(request) = read(&mut stream).await else { return };
                    let answer = (script.lock().unwrap())(&request, &own);
                    heard.lock().unwrap().push(request.clone());
                    say(stream, &request, answer, &sender).await;
                });
            }
        });
        Self { address, asked, terminals }
    }

    /// What was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The first line of every request so far.
    pub(super) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    /// The next terminal that was opened.
    pub(super) async fn terminal(&mut self) -> Terminal {
        in_time(self.terminals.recv()).await.unwrap()
    }
}

/// The provider's end of a terminal.
pub(super) struct Terminal(pub(super) WebSocketStream<TcpStream>);

impl Terminal {
    pub(super) async fn text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Sends messages in one write.
    pub(super) async fn texts(&mut self, texts: &[String]) {
        for text in texts {
            self.0.feed(Message::text(text)).await.unwrap();
        }
        self.0.flush().await.unwrap();
    }

    pub(super) async fn binary(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// Sends a ping and waits for its answer; no data message may come before it.
    pub(super) async fn ping(&mut self) {
        self.0.send(Message::Ping("?".into())).await.unwrap();
        let answer = in_time(self.0.next()).await;
        assert!(matches!(answer, Some(Ok(Message::Pong(_)))), "{answer:?}");
    }

    /// Sends a Close, without a code for `None`.
    pub(super) async fn close(&mut self, code: Option<u16>) {
        let frame = code.map(|code| CloseFrame { code: code.into(), reason: "".into() });
        self.0.send(Message::Close(frame)).await.unwrap();
    }

    /// The next data message, or the Close; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Message> {
        loop {
            match in_time(self.0.next()).await?.ok()? {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return Some(message),
            }
        }
    }

    /// The next data message, which must be there.
    pub(super) async fn heard(&mut self) -> Vec<u8> {
        match self.next().await {
            Some(message @ (Message::Text(_) | Message::Binary(_))) => message.into_data().to_vec(),
            other => panic!("a message, not {other:?}"),
        }
    }
}

/// Waits for what must come.
pub(super) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

/// Reads output until it ends with `wanted`.
pub(super) async fn read_until(upstream: &mut Box<dyn Upstream>, wanted: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    while !output.ends_with(wanted) {
        match happened(upstream, &mut output).await {
            Happened::Output => {}
            other => panic!("{other:?} after {output:?}"),
        }
    }
    output
}

/// Reads to the end, and what it was.
pub(super) async fn read_to_end(upstream: &mut Box<dyn Upstream>) -> (Vec<u8>, Result<Exit, Failure>) {
    let mut output = Vec::new();
    loop {
        match happened(upstream, &mut output).await {
            Happened::Output | Happened::Notice(_) | Happened::CannotWait => {}
            Happened::Exit(exit) => return (output, Ok(exit)),
            Happened::Failed(failure) => return (output, Err(failure)),
        }
    }
}

async fn happened(upstream: &mut Box<dyn Upstream>, output: &mut Vec<u8>) -> Happened {
    in_time(std::future::poll_fn(|cx| {
        // As a session does: what was given is flushed, then output is looked for.
        let _ = upstream.poll_flushed(cx);
        match upstream.poll_output(cx, output, 64 << 10) {
            Poll::Ready(happened) => Poll::Ready(happened),
            Poll::Pending => Poll::Pending,
        }
    }))
    .await
}

/// Waits until everything given has gone out.
pub(super) async fn flush(upstream: &mut Box<dyn Upstream>) {
    in_time(std::future::poll_fn(|cx| upstream.poll_flushed(cx))).await;
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next()?.strip_suffix(" HTTP/1.1")?.to_owned();
    let fields: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let len = fields.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, len)| len.parse().unwrap());
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await.ok()?;
    Some(Asked { line, fields, body: String::from_utf8(body).unwrap() })
}

async fn say(mut stream: TcpStream, asked: &Asked, answer: Answer, terminals: &mpsc::UnboundedSender<Terminal>) {
    let (status, fields, body) = match answer {
        Answer::Json(status, body) => (status, String::new(), body),
        Answer::Fields(status, fields, body) => (status, fields, body),
        Answer::Terminal(subprotocol) => {
            let accept = accept(asked.field("sec-websocket-key").unwrap());
            let chosen = subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n{chosen}\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let _ = terminals.send(Terminal(WebSocketStream::from_raw_socket(stream, Role::Server, None).await));
            return;
        }
        Answer::Silence => {
            let _ = stream.read_u8().await;
            return;
        }
        Answer::Hangup => return,
    };
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status} X\r\n{fields}content-length: {}\r\n\r\n", body.len());
    let _ = stream.write_all((head + &body).as_bytes()).await;
}

fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(hash)
}
