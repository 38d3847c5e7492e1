//! Connections that break, and what becomes of their terminals.

use super::*;

#[tokio::test]
async fn a_connection_that_breaks_is_made_anew_and_the_gap_is_told() {
    let (mut peer, _provider, connection, mut terminal) = one(Writes::WebSocket).await;
    connection.data("ts-1", b"before");
    output(&mut terminal, b"before").await;
    connection.close();
    let call = peer.expect("subscribeToEvents").await;
    assert_eq!((call.id, &call.params), (Some(0), &json!({"terminalSessionId": "ts-1"})));
    let connection = peer.connection().await;
    call.done();
    let gap = notice(&mut terminal).await;
    assert_eq!(gap.code, Code::OutputGap);
    connection.data("ts-1", b"behind");
    output(&mut terminal, b"behind").await;
    terminal.input(b"ls\r");
    assert_eq!(peer.expect("writeToTerminalSession").await.input(), "ls\r");
}

#[tokio::test]
async fn output_before_the_reply_to_a_subscription_stands_behind_the_gap() {
    let (mut peer, _provider, connection, mut terminal) = one(Writes::WebSocket).await;
    connection.close();
    let call = peer.expect("subscribeToEvents").await;
    peer.connection().await.data("ts-1", b"quick");
    assert_eq!(notice(&mut terminal).await.code, Code::OutputGap);
    output(&mut terminal, b"quick").await;
    call.done();
    terminal.input(b"x");
    peer.expect("writeToTerminalSession").await.done();
}

#[tokio::test]
async fn every_terminal_is_subscribed_to_again() {
    let (mut peer, provider, connection, first) = one(Writes::WebSocket).await;
    let mut terminals = vec![first];
    for at in 2..=40 {
        let opening = open(&provider);
        peer.expect("launchTerminalSession").await.launched(&format!("ts-{at}"));
        terminals.push(opened(opening).await);
    }
    connection.close();
    let mut subscribed = std::collections::BTreeSet::new();
    while subscribed.len() < 40 {
        let call = peer.expect("subscribeToEvents").await;
        subscribed.insert(call.params["terminalSessionId"].as_str().unwrap().to_owned());
        call.done();
    }
    for terminal in &mut terminals {
        assert_eq!(notice(terminal).await.code, Code::OutputGap);
    }
    assert_eq!(peer.open(), 1);
}

#[tokio::test]
async fn input_under_way_at_the_break_is_not_typed_twice() {
    let (mut peer, _provider, connection, mut terminal) = one(Writes::WebSocket).await;
    terminal.input(b"rm x\r");
    let _unanswered = peer.expect("writeToTerminalSession").await;
    terminal.resize(size(90, 20));
    terminal.input(b"ls\r");
    connection.close();
    peer.expect("subscribeToEvents").await.done();
    assert!(notice(&mut terminal).await.message.contains("typed"));
    peer.expect("resizeTerminalSession").await.done();
    assert_eq!(peer.expect("writeToTerminalSession").await.input(), "ls\r");
}

#[tokio::test]
async fn a_terminal_that_ended_meanwhile_has_ended() {
    let (mut peer, _provider, connection, mut terminal) = one(Writes::WebSocket).await;
    connection.close();
    peer.expect("subscribeToEvents").await.refuse("terminal_session_not_found");
    assert_eq!(notice(&mut terminal).await.code, Code::OutputGap);
    assert_eq!(exit(&mut terminal).await.code, None);
}

#[tokio::test]
async fn a_refused_subscription_is_a_lost_terminal() {
    let (mut peer, _provider, connection, mut terminal) = one(Writes::WebSocket).await;
    connection.close();
    peer.expect("subscribeToEvents").await.refuse("bad_credentials");
    let failure = failed(&mut terminal).await;
    assert_eq!(failure.code, Code::ProviderLost);
    assert!(failure.message.contains("api_key"), "{failure:?}");
    peer.expect("terminateTerminalSession").await.done();
}

#[tokio::test]
async fn without_anybody_attached_nothing_is_dialled() {
    let (mut peer, _provider, connection, mut terminal) = one(Writes::WebSocket).await;
    terminal.attended(false);
    connection.close();
    assert!(peer.is_quiet(Duration::from_secs(3)).await);
    assert_eq!(peer.open(), 0);
    terminal.attended(true);
    peer.expect("subscribeToEvents").await.done();
    assert_eq!(notice(&mut terminal).await.code, Code::OutputGap);
}

#[tokio::test]
async fn a_terminal_is_ended_over_http_where_there_is_no_connection() {
    let (mut peer, _provider, connection, mut terminal) = one(Writes::WebSocket).await;
    terminal.attended(false);
    connection.close();
    while peer.open() > 0 {
        tokio::task::yield_now().await;
    }
    let ending = tokio::spawn(terminal.end());
    let call = peer.expect("terminateTerminalSession").await;
    assert!(call.is_http());
    call.done();
    timeout(Duration::from_secs(3), ending).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_break_in_the_middle_of_an_end_does_not_stop_it() {
    let (mut peer, _provider, connection, terminal) = one(Writes::WebSocket).await;
    let ending = tokio::spawn(terminal.end());
    let _unanswered = peer.expect("terminateTerminalSession").await;
    connection.close();
    let call = peer.expect("terminateTerminalSession").await;
    assert!(call.is_http());
    call.done();
    timeout(Duration::from_secs(3), ending).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_break_while_a_terminal_is_opened_is_told_and_leaves_nothing_that_was_heard_of() {
    let mut peer = Peer::start().await;
    let provider = provider(&peer.address, Writes::WebSocket);
    let opening = open(&provider);
    let _unanswered = peer.expect("launchTerminalSession").await;
    let connection = peer.connection().await;
    connection.data("ts-1", b"$ ");
    connection.close();
    let failure = opening.await.unwrap().err().expect("a failure");
    assert_eq!(failure.code, Code::ProviderUnavailable);
    let call = peer.expect("terminateTerminalSession").await;
    assert_eq!((call.is_http(), &call.params["terminalSessionId"]), (true, &json!("ts-1")));
}

#[tokio::test]
async fn garbage_breaks_the_connection_and_again_and_again_the_terminal() {
    let (mut peer, _provider, mut connection, mut terminal) = one(Writes::WebSocket).await;
    for garbage in [&b"\x01\x08Terminal\xff\xff\xff\xff\xff\xff\xff\xff\xff{}"[..], b"\x01\x08Terminal\x02[]"] {
        connection.raw(garbage.to_vec());
        peer.expect("subscribeToEvents").await.done();
        connection = peer.connection().await;
        assert_eq!(notice(&mut terminal).await.code, Code::OutputGap);
    }
    connection.raw(b"\x00".to_vec());
    let failure = failed(&mut terminal).await;
    assert_eq!(failure.code, Code::ProviderLost);
    assert!(failure.message.contains("protocol"), "{failure:?}");
    peer.expect("terminateTerminalSession").await.done();
}

/// The waits double from a second to a minute, and after five minutes nobody is kept waiting any longer.
#[tokio::test(start_paused = true)]
async fn a_service_that_stays_away_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let provider = provider(&address, Writes::WebSocket);
    let opening = open(&provider);
    let (stream, _) = listener.accept().await.unwrap();
    let socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    let mut socket = launched_by_hand(socket).await;
    let mut terminal = opened(opening).await;
    socket.close(None).await.unwrap();
    drop(socket);
    let lost = tokio::time::Instant::now();
    let dials = Arc::new(std::sync::Mutex::new(Vec::new()));
    let dialled = Arc::clone(&dials);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
            dialled.lock().unwrap().push(lost.elapsed().as_secs());
        }
    });
    assert_eq!(notice(&mut terminal).await.code, Code::ProviderLost);
    let failure = timeout(
        Duration::from_secs(600),
        poll_fn(|cx| match terminal.poll_output(cx, &mut Vec::new(), 9) {
            Poll::Ready(Happened::Failed(failure)) => Poll::Ready(failure),
            Poll::Ready(other) => panic!("{other:?}"),
            Poll::Pending => Poll::Pending,
        }),
    );
    let failure = failure.await.expect("an end in time");
    assert_eq!(failure.code, Code::ProviderLost);
    assert!((300..400).contains(&lost.elapsed().as_secs()), "{:?}", lost.elapsed());
    let dials = dials.lock().unwrap();
    let waits: Vec<_> = [0].iter().chain(dials.iter()).zip(dials.iter()).map(|(before, at)| at - before).collect();
    for (wait, expected) in waits.iter().zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        assert!((expected..expected + 5).contains(wait), "{waits:?}");
    }
    assert!(waits.len() >= 8, "{waits:?}");
}

/// To be let in and shown out again is no better than to be kept out.
#[tokio::test(start_paused = true)]
async fn a_service_that_closes_every_connection_at_once_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let provider = provider(&listener.local_addr().unwrap().to_string(), Writes::WebSocket);
    let opening = open(&provider);
    let (stream, _) = listener.accept().await.unwrap();
    let mut socket = launched_by_hand(tokio_tungstenite::accept_async(stream).await.unwrap()).await;
    let mut terminal = opened(opening).await;
    socket.close(None).await.unwrap();
    drop(socket);
    let lost = tokio::time::Instant::now();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await {
                let _ = socket.close(None).await;
            }
        }
    });
    assert_eq!(notice(&mut terminal).await.code, Code::ProviderLost);
    let ended = poll_fn(|cx| terminal.poll_output(cx, &mut Vec::new(), 9));
    match timeout(Duration::from_secs(600), ended).await.expect("an end in time") {
        Happened::Failed(failure) => assert_eq!(failure.code, Code::ProviderLost),
        other => panic!("{other:?}"),
    }
    assert!((300..400).contains(&lost.elapsed().as_secs()), "{:?}", lost.elapsed());
}

/// A ping after 20 s of silence, and 20 s for its answer.
#[tokio::test(start_paused = true)]
async fn a_service_that_answers_no_ping_is_dialled_anew() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let provider = provider(&listener.local_addr().unwrap().to_string(), Writes::WebSocket);
    let opening = open(&provider);
    let (stream, _) = listener.accept().await.unwrap();
    let _silent = launched_by_hand(tokio_tungstenite::accept_async(stream).await.unwrap()).await;
    let _terminal = opened(opening).await;
    let heard = tokio::time::Instant::now();
    timeout(Duration::from_secs(120), listener.accept()).await.expect("a dial in time").unwrap();
    assert!((38..50).contains(&heard.elapsed().as_secs()), "{:?}", heard.elapsed());
}

/// Answers the first call as a launch.
async fn launched_by_hand(
    mut socket: tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>,
) -> tokio_tungstenite::WebSocketStream<tokio::net::TcpStream> {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    socket.next().await.unwrap().unwrap();
    let reply = b"\x00\x00\x00\x00\x00\x27{\"result\":{\"terminalSessionId\":\"ts-1\"}}";
    socket.send(Message::binary(reply.to_vec())).await.unwrap();
    socket
}
