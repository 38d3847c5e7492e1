//! Commands: what is run, and how it talks without a terminal.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{ApiCall, End, Session, lives, options, sh, start, until};

#[tokio::test]
async fn a_shell_alone_on_a_terminal_is_the_simulators_own() {
    let simulator = start(options()).await;
    for command in [r#"["/bin/bash"]"#, r#"["/bin/sh"]"#, "/bin/bash", "sh"] {
        let mut session = Session::open(&ApiCall::exec(&simulator, command).tty()).await;
        session.expect("ready> ").await;
    }
    let mut session =
        Session::open(&ApiCall::exec(&simulator, r#"["/bin/sh","-c","echo $0 $1","a","b c"]"#).tty()).await;
    assert_eq!(session.end().await, End::Close(1000));
    assert_eq!(session.stdout(), "a b c\r\n");
}

#[tokio::test]
async fn without_a_terminal_there_are_two_outputs_and_no_line_discipline() {
    let simulator = start(options()).await;
    let mut session = Session::open(&ApiCall::exec(&simulator, &sh("echo out; echo err >&2; tty"))).await;
    let first = session.next().await.unwrap().unwrap();
    assert_eq!(first, Message::binary(vec![1]), "the empty first message");
    assert_eq!(session.end().await, End::Close(1000));
    assert_eq!((session.stdout().as_str(), session.stderr().as_str()), ("out\nnot a tty\n", "err\n"));
    assert_eq!(session.error(), "command terminated with non-zero exit code: exit status 1", "tty says so");
    until("nothing is left", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn input_reaches_a_command_without_a_terminal_as_it_is() {
    let simulator = start(options()).await;
    let mut session = Session::open(&ApiCall::exec(&simulator, &sh("head -c 4 | od -An -tx1; exit 0"))).await;
    session.send(0, b"\r\x03").await;
    session.send(0, b"").await;
    session.send(0, b"\x04\xFF").await;
    assert_eq!(session.end().await, End::Close(1000));
    assert_eq!(session.stdout(), " 0d 03 04 ff\n");
    // There is no size to change.
    let mut session = Session::open(&ApiCall::exec(&simulator, &sh("head -c 1"))).await;
    session.resize(4, 100, 30).await;
    session.send(0, b"x").await;
    assert_eq!(session.end().await, End::Close(1000));
    assert_eq!((simulator.counters().resizes, simulator.counters().ignored_messages), (0, 1));
}

#[tokio::test]
async fn any_bytes_survive_the_way_there_and_back() {
    let simulator = start(options()).await;
    let session = Session::open(&ApiCall::exec(&simulator, &sh("head -c 3000000"))).await;
    let bytes: Vec<u8> =
        (0..3_000_000_u32).map(|at| u8::try_from(at.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    let (mut sink, mut stream) = session.socket.split();
    let input = bytes.clone();
    let writer = tokio::spawn(async move {
        for piece in input.chunks(100_000) {
            sink.send(Message::binary([&[0], piece].concat())).await.unwrap();
        }
        sink
    });
    let mut echoed = Vec::new();
    while let Some(Ok(message)) = stream.next().await {
        if let Message::Binary(message) = message {
            assert_eq!(message[0], 1);
            echoed.extend_from_slice(&message[1..]);
        }
    }
    assert!(echoed == bytes, "{} bytes came back", echoed.len());
    drop(writer.await.unwrap());
}

#[tokio::test]
async fn without_stdin_input_is_not_taken() {
    let simulator = start(options()).await;
    let mut session = Session::open(&ApiCall::exec(&simulator, &sh("cat; echo ended")).set("Stdin", "False")).await;
    session.expect("ended\n").await;
    let call = ApiCall::exec(&simulator, r#"["/bin/bash"]"#).tty().set("Stdin", "false");
    let mut session = Session::open(&call).await;
    session.expect("ready> ").await;
    session.type_in("exit\r").await;
    session.resize(4, 100, 30).await;
    until("the size came behind the input", || simulator.counters().ignored_messages > 0).await;
    assert_eq!(simulator.counters().input_bytes, 0);
}

#[tokio::test]
async fn a_killed_command_tells_its_signal_as_a_shell_would() {
    let simulator = start(options()).await;
    for tty in ["false", "true"] {
        let mut session = Session::open(&ApiCall::exec(&simulator, &sh("kill -9 $$")).set("TTY", tty)).await;
        assert_eq!(session.end().await, End::Close(1000));
        assert!(session.error().ends_with("exit status 137"), "{}", session.error());
    }
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_no_command() {
    let simulator = start(options()).await;
    let mut session = Session::open(&ApiCall::exec(&simulator, &sh("echo pid=$$.; sleep 1000"))).await;
    let pid = session.number("pid=").await;
    assert!(lives(pid));
    drop(session);
    until("the command is gone", || simulator.sessions() == 0 && !lives(pid)).await;
}

#[tokio::test]
async fn a_command_that_closes_its_outputs_is_waited_for() {
    let simulator = start(options()).await;
    let mut session = Session::open(&ApiCall::exec(&simulator, &sh("exec >&- 2>&-; read line; exit 5"))).await;
    session.send(0, b"go\n").await;
    assert_eq!(session.end().await, End::Close(1000));
    assert!(session.error().ends_with("exit status 5"), "{}", session.error());
}
