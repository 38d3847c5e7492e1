//! Both ends of polytty's WebSocket against the cases of the Autobahn test suite, which the package kosoku carries: 301
//! of them, sections 1 to 10 (12 and 13 are about compression, which is not offered).
//!
//! It installs kosoku from PyPI into a virtual environment below the target directory, unless it is there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on fails here and now")]

#[allow(dead_code, unused_imports, reason = "the suite uses all of it")]
#[path = "../suite/common/mod.rs"]
mod common;
mod links;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use polytty::socket::{Incoming, Options, Role, Socket};
use polytty_dialect::Outbox;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const KOSOKU: &str = "kosoku==0.1.0";

/// How many cases there are without those about compression.
const CASES: usize = 301;

/// How long all of them may take.
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_a_server_every_case_is_answered_as_the_standard_has_it() {
    as_a_server(|stream| async { serve(stream).await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_a_server_over_tls_every_case_is_answered_as_the_standard_has_it() {
    let (acceptor, connector) = tls();
    let behind = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = behind.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = behind.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { serve(acceptor.accept(stream).await.unwrap()).await });
        }
    });
    // The fuzzing client speaks no TLS.
    as_a_server(move |mut near: TcpStream| {
        let connector = connector.clone();
        async move {
            let far = TcpStream::connect(address).await.unwrap();
            let mut far = connector.connect("localhost".try_into().unwrap(), far).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        }
    })
    .await;
}

async fn as_a_server<F: Future<Output = ()> + Send + 'static>(answer: impl Fn(TcpStream) -> F + Send + 'static) {
    let kosoku = kosoku().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    let reports = TempDir::new().unwrap();
    let mut client = Command::new(kosoku);
    client.args(["-m", "fuzzingclient", "-x", "12.*", "-x", "13.*", "-o"]).arg(reports.path());
    client.arg(format!("ws://{address}")).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let status = timeout(PATIENCE, client.status()).await.expect("all cases are run").unwrap();
    assert!(status.success(), "{status}");
    judge(reports.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_a_client_every_case_is_answered_as_the_standard_has_it() {
    as_a_client(|address| async move { TcpStream::connect(address).await.ok() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_a_client_over_tls_every_case_is_answered_as_the_standard_has_it() {
    let (acceptor, connector) = tls();
    as_a_client(move |address: SocketAddr| {
        let (acceptor, connector) = (acceptor.clone(), connector.clone());
        async move {
            // The fuzzing server speaks no TLS, so each connection has a relay of its own.
            let mut far = TcpStream::connect(address).await.ok()?;
            let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let near = TcpStream::connect(relay.local_addr().unwrap()).await.unwrap();
            tokio::spawn(async move {
                let (stream, _) = relay.accept().await.unwrap();
                let mut stream = acceptor.accept(stream).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
            });
            connector.connect("localhost".try_into().unwrap(), near).await.ok()
        }
    })
    .await;
}

async fn as_a_client<S: Stream, F: Future<Output = Option<S>>>(connect: impl Fn(SocketAddr) -> F) {
    let kosoku = kosoku().await;
    let reports = TempDir::new().unwrap();
    let mut server = Command::new(kosoku);
    server.args(["-m", "fuzzingserver", "-x", "12.*", "-x", "13.*", "-o"]).arg(reports.path());
    server.arg("127.0.0.1:0").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut server = server.spawn().unwrap();
    let mut says = BufReader::new(server.stderr.take().unwrap()).lines();
    let line = timeout(PATIENCE, says.next_line()).await.expect("the server gets ready").unwrap().unwrap();
    let address: SocketAddr = line.rsplit("ws://").next().unwrap().parse().unwrap_or_else(|_| panic!("{line}"));
    let running = async {
        let mut socket = dial(connect(address), "/getCaseCount").await.expect("the server takes connections");
        let Incoming::Message(_, count) = poll_fn(|cx| socket.poll_recv(cx)).await else { panic!("no count") };
        let count: usize = std::str::from_utf8(&count).unwrap().parse().unwrap();
        assert_eq!(count, CASES);
        for case in 1..=count {
            let socket = dial(connect(address), &format!("/runCase?case={case}&agent=polytty")).await;
            echo(socket.expect("the server takes connections")).await;
        }
        echo(dial(connect(address), "/updateReports?agent=polytty").await.unwrap()).await;
        // It writes its reports when it ends.
        let status = server.wait().await.unwrap();
        let mut told = String::new();
        while let Ok(Some(line)) = says.next_line().await {
            told += &line;
        }
        assert!(status.success(), "{status}: {told}");
    };
    timeout(PATIENCE, running).await.expect("all cases are run");
    judge(reports.path());
}

/// Every case has to be answered rightly, and every connection closed rightly. "Non-strict" is a right that the standard
/// leaves; "informational" is no verdict.
fn judge(reports: &Path) {
    let index = std::fs::read_to_string(reports.join("index.json")).unwrap();
    let index: Value = serde_json::from_str(&index).unwrap();
    let agents = index.as_object().unwrap();
    let cases = agents.values().next().unwrap().as_object().unwrap();
    let wrong: Vec<_> = cases.iter().filter(|(_, case)| !is_right(case)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(cases.len(), CASES);
}

/// Whether a case came out right by its own judgement.
fn is_right(case: &Value) -> bool {
    let fine = |key: &str| matches!(case[key].as_str(), Some("OK" | "NON-STRICT" | "INFORMATIONAL"));
    fine("behavior") && fine("behaviorClose")
}

fn options(role: Role) -> Options {
    let (ping_every, pong_within) = (Duration::from_secs(60), Duration::from_secs(60));
    Options { role, max_message: 16 << 20, ping_every, pong_within }
}

/// A stream, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// Both ends of TLS, by a certificate of their own.
fn tls() -> (TlsAcceptor, TlsConnector) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let server = server.unwrap().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.unwrap().with_root_certificates(roots).with_no_client_auth();
    (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)))
}

/// Takes a handshake as it comes and echoes what follows.
async fn serve(mut stream: impl Stream) {
    let Some((head, rest)) = read_head(&mut stream).await else { return };
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value.trim())
    });
    let Some(key) = key else { return };
    let accept = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    let reply = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        STANDARD.encode(accept)
    );
    if stream.write_all(reply.as_bytes()).await.is_ok() {
        echo(Socket::new(stream, &rest, options(Role::Server))).await;
    }
}

async fn dial<S: Stream>(connecting: impl Future<Output = Option<S>>, path: &str) -> Option<Socket<S>> {
    let mut stream = connecting.await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: \
         13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let (head, rest) = read_head(&mut stream).await?;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    Some(Socket::new(stream, &rest, options(Role::Client)))
}

/// The head of a request or an answer, and what came behind it.
async fn read_head(stream: &mut impl Stream) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Some((String::from_utf8(read).ok()?, rest));
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

/// Sends every message back, and leaves as a session does.
async fn echo(mut socket: Socket<impl Stream>) {
    let mut outbox = Outbox::new();
    loop {
        poll_fn(|cx| socket.poll_flushed(cx)).await;
        match poll_fn(|cx| socket.poll_recv(cx)).await {
            Incoming::Message(kind, payload) => {
                outbox.message(kind, |buffer| buffer.extend_from_slice(&payload));
                socket.send(&mut outbox);
            }
            Incoming::Broken(code, why) => {
                socket.leave(code, why).await;
                return;
            }
            Incoming::Closed(_) | Incoming::Ended | Incoming::Lost(_) => return socket.part().await,
        }
    }
}

/// Where kosoku is. Both tests of this file may be the first to need it.
async fn kosoku() -> PathBuf {
    static INSTALLED: tokio::sync::OnceCell<PathBuf> = tokio::sync::OnceCell::const_new();
    let install = || async {
        let binary = Path::new(env!("CARGO_BIN_EXE_polytty"));
        let home = binary.ancestors().nth(2).unwrap().join("kosoku");
        let kosoku = home.join("bin/kosoku");
        if !kosoku.exists() {
            run(Command::new("python3").args(["-m", "venv"]).arg(&home)).await;
            let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", KOSOKU];
            run(Command::new(home.join("bin/python")).args(pip)).await;
        }
        kosoku
    };
    INSTALLED.get_or_init(install).await.clone()
}

async fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
