//! How terminals come to their end, from either side.

use super::*;

#[tokio::test]
async fn every_reason_has_its_meaning() {
    let (mut peer, provider, connection, first) = one(Writes::WebSocket).await;
    drop(first);
    peer.expect("terminateTerminalSession").await.done();
    let exits = [
        (json!({"code": "process_exit", "exitCode": 0, "oom": false}), Some(0), None, None),
        (
            json!({"code": "process_exit", "exitCode": 137, "signal": "SIGKILL", "oom": true}),
            Some(137),
            Some("SIGKILL"),
            Some("out of memory"),
        ),
        (json!({"code": "process_exit", "signal": "SIGHUP", "oom": false}), None, Some("SIGHUP"), None),
        (json!({"code": "terminated_on_request"}), None, None, Some("on request")),
    ];
    for (at, (reason, code, signal, words)) in exits.into_iter().enumerate() {
        let (id, opening) = (format!("exit-{at}"), open(&provider));
        peer.expect("launchTerminalSession").await.launched(&id);
        let mut terminal = opened(opening).await;
        connection.data(&id, b"last words");
        connection.exit(&id, &reason);
        output(&mut terminal, b"last words").await;
        let exit = exit(&mut terminal).await;
        assert_eq!((exit.code, exit.signal.as_deref()), (code, signal), "{reason}");
        assert_eq!(exit.reason.is_some(), words.is_some(), "{exit:?}");
        assert!(words.is_none_or(|words| exit.reason.as_ref().unwrap().contains(words)), "{exit:?}");
        terminal.end().await;
    }
    for (reason, code, words) in [
        ("launcher_terminated", Code::ProviderNotRunning, "launcher"),
        ("inactive_timeout", Code::IdleTimeout, "nothing was typed"),
        ("unknown", Code::ProviderLost, "does not say why"),
        ("brand_new", Code::ProviderLost, "does not say why"),
    ] {
        let opening = open(&provider);
        peer.expect("launchTerminalSession").await.launched(reason);
        let mut terminal = opened(opening).await;
        connection.exit(reason, &json!({"code": reason}));
        let failure = failed(&mut terminal).await;
        assert_eq!(failure.code, code, "{reason}");
        assert!(failure.message.contains(words), "{failure:?}");
        terminal.end().await;
    }
    assert!(peer.is_quiet(Duration::from_millis(50)).await, "what has ended is not ended again");
}

#[tokio::test]
async fn a_session_that_ends_ends_its_terminal() {
    for writes in [Writes::WebSocket, Writes::Http] {
        let (mut peer, _provider, connection, terminal) = one(writes).await;
        let ending = tokio::spawn(terminal.end());
        let call = peer.expect("terminateTerminalSession").await;
        assert_eq!(call.params, json!({"terminalSessionId": "ts-1"}));
        assert_eq!(call.is_http(), writes == Writes::Http);
        assert!(!ending.is_finished());
        connection.data("ts-1", b"nobody reads this");
        call.done();
        timeout(Duration::from_secs(3), ending).await.expect("no waiting for what has been done").unwrap();
        connection.exit("ts-1", &json!({"code": "terminated_on_request"}));
        assert!(peer.is_quiet(Duration::from_millis(50)).await);
    }
}

/// What is not read for it any more is read for the others, and so is the answer that ends it.
#[tokio::test]
async fn a_flood_that_nobody_takes_holds_up_neither_the_end_nor_the_others() {
    let (mut peer, provider, connection, flooding) = one(Writes::WebSocket).await;
    let opening = open(&provider);
    peer.expect("launchTerminalSession").await.launched("ts-2");
    let mut other = opened(opening).await;
    let flood = || (0..64).for_each(|_| connection.data("ts-1", &[b'x'; 60_000]));
    flood();
    let ending = tokio::spawn(flooding.end());
    let call = peer.expect("terminateTerminalSession").await;
    flood();
    connection.data("ts-2", b"still read");
    output(&mut other, b"still read").await;
    call.done();
    timeout(Duration::from_secs(3), ending).await.expect("an end in time").unwrap();
}

/// The session does not wait for that.
#[tokio::test]
async fn an_end_that_is_refused_is_asked_for_again() {
    let (mut peer, _provider, _connection, terminal) = one(Writes::WebSocket).await;
    let ending = tokio::spawn(terminal.end());
    peer.expect("terminateTerminalSession").await.refuse("too_many_requests");
    timeout(Duration::from_secs(3), ending).await.unwrap().unwrap();
    let again = peer.expect("terminateTerminalSession").await;
    assert!(again.is_http());
    assert_eq!(again.params, json!({"terminalSessionId": "ts-1"}));
    again.status(503);
    peer.expect("terminateTerminalSession").await.done();
    assert!(peer.is_quiet(Duration::from_millis(50)).await);
}

#[tokio::test]
async fn input_that_nobody_takes_does_not_hold_up_the_end() {
    let (mut peer, _provider, _connection, mut terminal) = one(Writes::WebSocket).await;
    terminal.input(b"ls\r");
    let _stuck = peer.expect("writeToTerminalSession").await;
    terminal.input(b"more");
    let ending = tokio::spawn(terminal.end());
    peer.expect("terminateTerminalSession").await.done();
    timeout(Duration::from_secs(3), ending).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_leaves_while_the_terminal_is_opened_leaves_nothing_behind() {
    let mut peer = Peer::start().await;
    let provider = provider(&peer.address, Writes::WebSocket);
    let opening = open(&provider);
    let launch = peer.expect("launchTerminalSession").await;
    opening.abort();
    assert!(opening.await.is_err());
    launch.launched("ts-1");
    let call = peer.expect("terminateTerminalSession").await;
    assert_eq!(call.params, json!({"terminalSessionId": "ts-1"}));
    call.done();
    assert!(peer.is_quiet(Duration::from_millis(50)).await);
}

#[tokio::test]
async fn a_terminal_that_is_gone_without_a_word_has_ended() {
    let (mut peer, _provider, connection, mut terminal) = one(Writes::WebSocket).await;
    terminal.input(b"ls\r");
    peer.expect("writeToTerminalSession").await.refuse("terminal_session_not_found");
    let exited = exit(&mut terminal).await;
    assert!(exited.code.is_none() && exited.reason.unwrap().contains("gone"));
    drop(connection);

    // Where a word comes behind it, that is what counts.
    let (mut peer, _provider, connection, mut terminal) = one(Writes::WebSocket).await;
    terminal.input(b"exit 3\r");
    peer.expect("writeToTerminalSession").await.refuse("terminal_session_not_found");
    connection.data("ts-1", b"bye");
    connection.exit("ts-1", &json!({"code": "process_exit", "exitCode": 3, "oom": false}));
    output(&mut terminal, b"bye").await;
    assert_eq!(exit(&mut terminal).await.code, Some(3));
}

#[tokio::test(start_paused = true)]
async fn the_connection_goes_when_nobody_has_needed_it_for_a_while() {
    let (mut peer, provider, _connection, terminal) = one(Writes::WebSocket).await;
    let ending = tokio::spawn(terminal.end());
    peer.expect("terminateTerminalSession").await.done();
    ending.await.unwrap();
    let gone = async {
        while peer.open() > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(60), gone).await.expect("the hub leaves");
    // And comes again.
    let opening = open(&provider);
    peer.expect("launchTerminalSession").await.launched("ts-2");
    opened(opening).await;
}
