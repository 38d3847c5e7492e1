//! Before there is a terminal.

use super::*;

#[tokio::test]
async fn nothing_is_sent_before_the_first_output_and_then_the_size() {
    let mut peer = dockhand().await;
    let (upstream, mut terminal) = open_beside(settings(&peer), async {
        let mut terminal = peer.terminal().await;
        // Long enough to send something, were it so minded.
        assert!(tokio::time::timeout(Duration::from_millis(300), terminal.next()).await.is_err());
        terminal.text(r#"{"type":"output","data":""}"#).await;
        terminal.text(r#"{"type":"connected"}"#).await;
        terminal.text(r##"{"type":"output","data":"# "}"##).await;
        terminal
    })
    .await;
    let mut upstream = upstream.unwrap();
    upstream.input(b"ls\r");
    flush(&mut upstream).await;
    assert_eq!(text(&mut terminal).await, r#"{"type":"resize","cols":120,"rows":40}"#);
    assert_eq!(text(&mut terminal).await, r#"{"type":"input","data":"ls\r"}"#);
    assert_eq!(read_until(&mut upstream, b"# ").await, b"# ");

    let [asked] = &peer.asked()[..] else { panic!("one request") };
    assert_eq!(asked.line, EXEC);
    assert_eq!(asked.field("authorization"), Some("Bearer dh_s3cret"));
    for absent in ["origin", "cookie", "sec-websocket-protocol"] {
        assert_eq!(asked.field(absent), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shell_that_says_nothing_is_there_after_a_second_and_hears_its_size_again_when_it_speaks() {
    let mut peer = dockhand().await;
    let started = Instant::now();
    let (upstream, mut terminal) = open_beside(settings(&peer), peer.terminal()).await;
    assert!((1..3).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    let mut upstream = upstream.unwrap();
    flush(&mut upstream).await;
    let resize = r#"{"type":"resize","cols":120,"rows":40}"#;
    assert_eq!(text(&mut terminal).await, resize);
    terminal.text(r#"{"type":"output","data":"late"}"#).await;
    read_until(&mut upstream, b"late").await;
    flush(&mut upstream).await;
    assert_eq!(text(&mut terminal).await, resize);
}

#[tokio::test]
async fn an_error_instead_of_output_is_a_refusal() {
    for (words, code, message) in [
        ("No such container: web", Code::ProviderNotRunning, "Environment 1 has no container web."),
        (
            "Edge agent not connected",
            Code::ProviderUnavailable,
            "Dockhand does not reach the Docker host of environment 1.",
        ),
        ("s3cret things", Code::ProviderUnavailable, "Dockhand could not open the terminal."),
    ] {
        let mut peer = dockhand().await;
        let provider = provider(settings(&peer));
        let target = provider.target(&json!({"container": "web", "environment": 1})).unwrap();
        let (opened, mut terminal) = tokio::join!(in_time(provider.open(&target, size())), async {
            let mut terminal = peer.terminal().await;
            terminal.text(&json!({"type": "error", "message": words}).to_string()).await;
            terminal
        });
        let failure = opened.err().unwrap();
        assert_eq!((failure.code, failure.message.as_str(), failure.detail.as_str()), (code, message, words));
        // It was left in order, and nothing was typed.
        let Some(Message::Close(Some(frame))) = terminal.next().await else { panic!("a Close") };
        assert_eq!(u16::from(frame.code), 1000);
    }
}

#[tokio::test]
async fn a_close_instead_of_output_is_no_terminal() {
    for (close, code) in [
        (None, Code::ProviderUnavailable),
        (Some(1011), Code::ProviderUnavailable),
        (Some(1008), Code::ProviderRefused),
    ] {
        let mut peer = dockhand().await;
        let (opened, _terminal) = open_beside(settings(&peer), async {
            let mut terminal = peer.terminal().await;
            terminal.close(close).await;
            terminal
        })
        .await;
        assert_eq!(opened.err().unwrap().code, code, "{close:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_docker_refuses_is_told_although_the_connection_stays_open() {
    let mut peer = dockhand().await;
    let words = r#"{"type":"output","data":"{\"message\": \"container s3cret is not running\"}"}"#;
    let provider = provider(settings(&peer));
    let target = provider.target(&json!({"container": "web", "environment": 1})).unwrap();
    let started = Instant::now();
    let (opened, _terminal) = tokio::join!(in_time(provider.open(&target, size())), async {
        let mut terminal = peer.terminal().await;
        terminal.text(words).await;
        terminal
    });
    let failure = opened.err().unwrap();
    assert_eq!(failure.code, Code::ProviderNotRunning);
    assert_eq!(failure.message, "Container web of environment 1 is not running.");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_shell_that_prints_what_docker_would_say_is_a_shell() {
    let mut peer = dockhand().await;
    let (upstream, _terminal) = open_beside(settings(&peer), async {
        let mut terminal = peer.terminal().await;
        terminal.text(r#"{"type":"output","data":"{\"message\":\"of the day\"}\r\n"}"#).await;
        terminal.text(r##"{"type":"output","data":"# "}"##).await;
        terminal
    })
    .await;
    assert_eq!(read_until(&mut upstream.unwrap(), b"# ").await, b"{\"message\":\"of the day\"}\r\n# ");
}

/// For a shell that does not exist, Docker's words are output, and then it is over.
#[tokio::test]
async fn an_end_right_behind_the_first_output_is_the_terminals_own() {
    let mut peer = dockhand().await;
    let (upstream, _terminal) = open_beside(settings(&peer), async {
        let mut terminal = peer.terminal().await;
        terminal.text(r#"{"type":"output","data":"OCI runtime exec failed\r\n"}"#).await;
        terminal.text(r#"{"type":"exit"}"#).await;
        terminal.close(None).await;
        terminal
    })
    .await;
    let mut upstream = upstream.unwrap();
    let ending = read_to_end(&mut upstream).await;
    assert_eq!(ending, (b"OCI runtime exec failed\r\n".to_vec(), Ok(Exit::default())));
}

#[tokio::test]
async fn a_refused_upgrade_is_told_by_its_status() {
    for (status, code) in [
        (401, Code::ProviderRefused),
        (403, Code::ProviderRefused),
        (503, Code::ProviderUnavailable),
        (0, Code::ProviderUnavailable),
    ] {
        let peer =
            Peer::start(move |_, _| if status == 0 { Answer::Hangup } else { Answer::Json(status, json!({})) }).await;
        assert_eq!(open_with(settings(&peer)).await.err().unwrap().code, code, "{status}");
        assert_eq!(peer.asked().len(), 1, "a token is not renewed");
    }
}

/// A client that leaves while we wait for the first output leaves no connection, and with it no stream at Docker.
#[tokio::test]
async fn a_client_that_leaves_while_we_dial_leaves_in_order() {
    for typed_ending in [false, true] {
        let mut peer = dockhand().await;
        let settings = Dockhand { typed_ending, first_output_timeout: Duration::from_secs(5), ..settings(&peer) };
        let provider = provider(settings);
        let target = provider.target(&json!({"container": "web", "environment": 1})).unwrap();
        let mut opening = provider.open(&target, size());
        // A pong shows that the terminal has been opened.
        let mut terminal = tokio::select! {
            _ = &mut opening => panic!("there was no output yet"),
            terminal = async {
                let mut terminal = peer.terminal().await;
                terminal.ping().await;
                terminal
            } => terminal,
        };
        drop(opening);
        if typed_ending {
            terminal.text(r##"{"type":"output","data":"# "}"##).await;
            assert_eq!(text(&mut terminal).await, r#"{"type":"input","data":"\u0003"}"#);
            assert_eq!(text(&mut terminal).await, r#"{"type":"input","data":"\u0015exit\r"}"#);
            terminal.text(r#"{"type":"exit"}"#).await;
        }
        let Some(Message::Close(Some(frame))) = terminal.next().await else { panic!("a Close") };
        assert_eq!(u16::from(frame.code), 1000);
    }
}
