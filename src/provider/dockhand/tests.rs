//! Dockhand is a scripted peer here.

mod account;
mod documented;
mod ending;
mod opening;

use std::time::Duration;

use polytty_dialect::Exit;
use serde_json::json;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::config::DockhandCredentials;
use crate::config::secret::Secret;
use crate::provider::Happened;
use crate::provider::scripted::{Answer, Asked, Peer, Terminal, flush, in_time, read_to_end, read_until};

const EXEC: &str = "GET /api/containers/web/exec?shell=%2Fbin%2Fsh&user=root&envId=1";

fn settings(peer: &Peer) -> Dockhand {
    Dockhand {
        url: format!("http://{}", peer.address).parse().unwrap(),
        credentials: DockhandCredentials::Token(Secret::new("dh_s3cret".to_owned())),
        flow: DockhandFlow::WebSocket,
        first_output_timeout: Duration::from_secs(1),
        silence_timeout: Some(Duration::from_secs(600)),
        typed_ending: false,
    }
}

fn provider(settings: Dockhand) -> DockhandProvider {
    let provider = DockhandProvider::new("docks".to_owned(), settings, Dialer::new(None, true).unwrap());
    // The peers are scripted for what a session asks of them.
    provider.probe.forgo();
    provider
}

fn size() -> Size {
    Size::new(120, 40).unwrap()
}

async fn open_with(settings: Dockhand) -> Result<Box<dyn Upstream>, Failure> {
    let provider = provider(settings);
    let target = provider.target(&json!({"container": "web", "environment": 1})).unwrap();
    let opened = in_time(provider.open(&target, size())).await;
    if let Err(failure) = &opened {
        assert!(!format!("{failure:?}").contains("s3cret"), "{failure:?}");
    }
    opened
}

/// Opens while the other end does what `play` says.
async fn open_beside<T>(settings: Dockhand, play: impl Future<Output = T>) -> (Result<Box<dyn Upstream>, Failure>, T) {
    tokio::join!(open_with(settings), play)
}

/// A Dockhand whose every upgrade is a terminal.
async fn dockhand() -> Peer {
    Peer::start(|_, _| Answer::Terminal(None)).await
}

/// Opens a terminal that has shown its prompt.
async fn opened(peer: &mut Peer, settings: Dockhand) -> (Box<dyn Upstream>, Terminal) {
    let (upstream, terminal) = open_beside(settings, async {
        let mut terminal = peer.terminal().await;
        terminal.text(r##"{"type":"output","data":"# "}"##).await;
        terminal
    })
    .await;
    let (mut upstream, mut terminal) = (upstream.unwrap(), terminal);
    assert_eq!(read_until(&mut upstream, b"# ").await, b"# ");
    flush(&mut upstream).await;
    assert_eq!(text(&mut terminal).await, r#"{"type":"resize","cols":120,"rows":40}"#);
    (upstream, terminal)
}

async fn text(terminal: &mut Terminal) -> String {
    String::from_utf8(terminal.heard().await).unwrap()
}

#[tokio::test]
async fn keys_and_sizes_go_in_and_output_comes_out_until_the_exit() {
    let mut peer = dockhand().await;
    let settings = settings(&peer);
    let (mut upstream, mut terminal) = opened(&mut peer, settings).await;
    upstream.input("l\u{e9}\r".as_bytes());
    upstream.resize(Size::new(80, 24).unwrap());
    assert!(!upstream.eof());
    flush(&mut upstream).await;
    assert_eq!(text(&mut terminal).await, r#"{"type":"input","data":"lé\r"}"#);
    assert_eq!(text(&mut terminal).await, r#"{"type":"resize","cols":80,"rows":24}"#);
    terminal.text(r#"{"type":"output","data":"tail"}"#).await;
    terminal.text(r#"{"type":"pong","x":1}"#).await;
    terminal.text(r#"{"type":"exit"}"#).await;
    terminal.close(None).await;
    assert_eq!(read_to_end(&mut upstream).await, (b"tail".to_vec(), Ok(Exit::default())));
    assert_eq!(upstream.ignored(), 1);
    in_time(upstream.end()).await;
}

#[tokio::test]
async fn a_paste_goes_in_whole_in_messages_of_64_kib() {
    let mut peer = dockhand().await;
    let settings = settings(&peer);
    let (mut upstream, mut terminal) = opened(&mut peer, settings).await;
    let paste = "é\u{1b}\r😀".repeat(25_000);
    let typing = async {
        for turn in paste.as_bytes().chunks(64 << 10) {
            flush(&mut upstream).await;
            upstream.input(turn);
        }
        flush(&mut upstream).await;
    };
    let hearing = async {
        let mut heard = String::new();
        while heard.len() < paste.len() {
            let message = terminal.heard().await;
            assert!(message.len() <= 64 << 10);
            let message: Value = serde_json::from_slice(&message).unwrap();
            heard.push_str(message["data"].as_str().unwrap());
        }
        heard
    };
    let ((), heard) = tokio::join!(typing, hearing);
    assert!(heard == paste);
}

#[tokio::test]
async fn an_end_without_an_exit_is_a_loss() {
    let ends: [(&str, Option<u16>, Code); 4] = [
        (r#"{"type":"output","data":"tail"}"#, None, Code::ProviderLost),
        (r#"{"type":"error","message":"connect ECONNRESET s3cret"}"#, None, Code::ProviderLost),
        (r#"{"type":"output","data":"tail"}"#, Some(1011), Code::ProviderLost),
        ("no JSON", None, Code::ProviderLost),
    ];
    for (last, close, code) in ends {
        let mut peer = dockhand().await;
        let settings = settings(&peer);
        let (mut upstream, mut terminal) = opened(&mut peer, settings).await;
        terminal.text(last).await;
        terminal.close(close).await;
        let (output, ending) = read_to_end(&mut upstream).await;
        assert_eq!(output, if last.contains("tail") { &b"tail"[..] } else { b"" });
        let failure = ending.unwrap_err();
        assert_eq!(failure.code, code);
        assert!(!failure.message.contains("s3cret"));
    }
    let mut peer = dockhand().await;
    let settings = settings(&peer);
    let (mut upstream, terminal) = opened(&mut peer, settings).await;
    drop(terminal);
    assert_eq!(read_to_end(&mut upstream).await.1.unwrap_err().code, Code::ProviderLost);
}

/// Dockhand says nothing when an agent is gone, so input that nothing answers is the only sign.
#[tokio::test(start_paused = true)]
async fn input_that_nothing_answers_is_a_loss_after_its_time() {
    let mut peer = dockhand().await;
    let (mut upstream, terminal) = {
        let settings = settings(&peer);
        opened(&mut peer, settings).await
    };
    // Pings are answered all the while, and that is no output.
    let mut terminal = terminal;
    let answering = tokio::spawn(async move { while terminal.next().await.is_some() {} });
    let silent = tokio::time::timeout(Duration::from_secs(3600), wait(&mut upstream)).await;
    assert!(silent.is_err(), "without input, silence means nothing");
    upstream.input(b"ls\r");
    let started = Instant::now();
    let Happened::Failed(failure) = tokio::time::timeout(Duration::from_secs(3600), wait(&mut upstream)).await.unwrap()
    else {
        panic!("a loss")
    };
    assert_eq!(failure.code, Code::ProviderLost);
    assert_eq!(started.elapsed().as_secs(), 600);
    answering.abort();
}

#[tokio::test(start_paused = true)]
async fn output_starts_the_time_anew_and_zero_never_ends_it() {
    for (limit, expected) in [(Some(Duration::from_secs(60)), true), (None, false)] {
        let mut peer = dockhand().await;
        let settings = Dockhand { silence_timeout: limit, ..settings(&peer) };
        let (mut upstream, mut terminal) = opened(&mut peer, settings).await;
        upstream.input(b"x");
        tokio::time::sleep(Duration::from_secs(50)).await;
        terminal.text(r#"{"type":"output","data":"x"}"#).await;
        read_until(&mut upstream, b"x").await;
        let answering = tokio::spawn(async move { while terminal.next().await.is_some() {} });
        assert!(tokio::time::timeout(Duration::from_secs(300), wait(&mut upstream)).await.is_err());
        upstream.input(b"y");
        upstream.input(b"z");
        let over = tokio::time::timeout(Duration::from_secs(300), wait(&mut upstream)).await;
        assert_eq!(over.is_ok(), expected, "{limit:?}");
        answering.abort();
    }
}

/// The next that happens.
async fn wait(upstream: &mut Box<dyn Upstream>) -> Happened {
    std::future::poll_fn(|cx| {
        let _ = upstream.poll_flushed(cx);
        upstream.poll_output(cx, &mut Vec::new(), 64 << 10)
    })
    .await
}

#[tokio::test]
async fn nobody_else_looks_into_a_target_and_nothing_prints_a_secret() {
    let peer = dockhand().await;
    let mut settings = settings(&peer);
    let provider = provider(settings.clone());
    let failure = provider.open(&Target::new(7_u8), Size::DEFAULT).await.err().unwrap();
    assert_eq!(failure.code, Code::Internal);
    assert!(!format!("{provider:?}").contains("s3cret"));
    settings.credentials = DockhandCredentials::Login {
        username: "ada".to_owned(),
        password: Secret::new("s3cret".to_owned()),
        provider: "local".to_owned(),
    };
    assert!(!format!("{settings:?} {:?}", self::provider(settings.clone())).contains("s3cret"));
}
