//! Sessions on a terminal.

use std::{
    cell::Cell,
    process::{Command, Stdio},
    time::Duration,
};

use futures_util::SinkExt as _;
use polytty_simulator::eci::{Options, Resize};
use tokio::{io::AsyncWriteExt as _, time::Instant};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{ApiCall, End, SILENCE, Session, lives, options, sh, start, until, upgrade, upgrade_with};

const BASH: &str = r#"["/bin/bash"]"#;

#[tokio::test]
async fn a_terminal_takes_input_shows_output_and_ends_with_1000() {
    let simulator = start(options()).await;
    let mut session = Session::shell(&simulator).await;
    let first = session.next().await.unwrap().unwrap();
    assert_eq!(first, Message::binary(vec![1]), "the empty first message");
    session.expect("ready> ").await;
    session.type_in("echo answer=$((6*7)); tty\r").await;
    session.expect("answer=42").await;
    session.expect("/dev/pts/").await;
    session.type_in("exit\r").await;
    assert_eq!(session.end().await, End::Close(1000));
    assert_eq!((session.stderr(), session.error(), session.text.as_str()), (String::new(), String::new(), ""));
    until("the shell is gone", || simulator.sessions() == 0).await;
    until("the connections are gone", || simulator.counters().connections == 0).await;
}

#[tokio::test]
async fn a_terminal_is_resized_on_channel_4() {
    let simulator = start(options()).await;
    let mut session = Session::shell(&simulator).await;
    session.type_in("stty size\r").await;
    session.expect("24 80\r\n").await;
    session.resize(4, 101, 37).await;
    session.type_in("stty size\r").await;
    session.expect("37 101\r\n").await;
    for odd in [&b"{}"[..], br#"{"Width":0,"Height":0}"#, b"not json", b""] {
        session.send(4, odd).await;
    }
    session.resize(3, 55, 66).await;
    session.type_in("stty size; echo s''till\r").await;
    session.expect("37 101\r\nstill").await;
    let counters = simulator.counters();
    assert_eq!((counters.resizes, counters.ignored_messages), (1, 5));
}

#[tokio::test]
async fn a_terminal_can_learn_its_size_on_channel_3_or_not_at_all() {
    for (resize, sizes) in [(Resize::Channel3, "20 90"), (Resize::Unsupported, "24 80")] {
        let simulator = start(Options { resize, ..options() }).await;
        let mut session = Session::shell(&simulator).await;
        session.resize(3, 90, 20).await;
        session.resize(4, 91, 21).await;
        session.type_in("stty size; echo si''zed\r").await;
        session.expect("sized").await;
        assert!(session.stdout().contains(&format!("{sizes}\r\nsized")), "{resize:?}: {}", session.stdout());
    }
}

#[tokio::test]
async fn what_no_document_names_is_ignored() {
    let simulator = start(options()).await;
    let mut session = Session::shell(&simulator).await;
    for message in [
        Message::binary(Vec::new()),
        Message::binary(vec![9, b'x']),
        Message::binary(vec![255]),
        Message::text("0exit\r"),
        Message::binary(b"0exit\r".to_vec()),
    ] {
        session.socket.send(message).await.unwrap();
    }
    session.type_in("echo here''after\r").await;
    session.expect("hereafter").await;
    assert_eq!(simulator.counters().ignored_messages, 5);
}

#[tokio::test]
async fn a_silent_client_is_dropped_and_a_ping_is_a_sign_of_life() {
    let simulator = start(Options { idle_after: Duration::from_secs(1), ..options() }).await;
    let mut session = Session::shell(&simulator).await;
    session.expect("ready> ").await;
    let (start, mut pings) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_millis(2_500) {
        session.socket.send(Message::Ping("x".into())).await.unwrap();
        pings += 1;
        let answer = session.next().await.unwrap().unwrap();
        assert_eq!(answer, Message::Pong("x".into()));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((simulator.counters().pings, simulator.counters().idle_drops), (pings, 0));
    let start = Instant::now();
    assert_eq!(session.end().await, End::NoClose);
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    assert_eq!(simulator.counters().idle_drops, 1);
    until("the shell is gone", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn output_does_not_keep_a_silent_client_alive() {
    let simulator = start(Options { idle_after: Duration::from_millis(300), ..options() }).await;
    let mut session =
        Session::open(&ApiCall::exec(&simulator, &sh("while :; do echo x; sleep 0.02; done")).tty()).await;
    assert_eq!(session.end().await, End::NoClose);
    assert!(session.stdout().contains("x\r\n"));
}

#[tokio::test]
async fn the_end_comes_behind_all_output() {
    let simulator = start(options()).await;
    let mut session = Session::open(&ApiCall::exec(&simulator, &sh("seq 1 50000")).tty()).await;
    assert_eq!(session.end().await, End::Close(1000));
    let expected: String = (1..=50_000).map(|number| format!("{number}\r\n")).collect();
    assert!(session.stdout() == expected, "{} bytes", session.channels[1].len());
    assert_eq!(simulator.counters().output_bytes, expected.len() as u64);
}

#[tokio::test]
async fn a_failure_is_told_on_channel_3_in_plain_text() {
    let simulator = start(options()).await;
    let mut session = Session::open(&ApiCall::exec(&simulator, &sh("echo bye; exit 7")).tty()).await;
    assert_eq!(session.end().await, End::Close(1000));
    assert_eq!(session.stdout(), "bye\r\n");
    assert_eq!(session.error(), "command terminated with non-zero exit code: exit status 7");
    let mut session = Session::open(&ApiCall::exec(&simulator, "/no/such/program").tty()).await;
    assert_eq!(session.end().await, End::Close(1000));
    assert!(session.error().contains("/no/such/program"), "{}", session.error());
    until("nothing is left", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn channel_3_can_stay_silent() {
    let simulator = start(Options { silent_errors: true, ..options() }).await;
    let mut session = Session::open(&ApiCall::exec(&simulator, &sh("exit 7")).tty()).await;
    assert_eq!(session.end().await, End::Close(1000));
    assert_eq!(session.error(), "");
}

#[tokio::test]
async fn output_can_come_as_text() {
    let simulator = start(Options { text_output: true, ..options() }).await;
    let mut session = Session::open(&ApiCall::exec(&simulator, &sh("printf '終端😀\\377'; seq 1 3000")).tty()).await;
    assert_eq!(session.end().await, End::Close(1000));
    let expected: String = (1..=3_000).map(|number| format!("{number}\r\n")).collect();
    assert_eq!(session.text, format!("終端😀\u{FFFD}{expected}"));
    assert_eq!(session.stdout(), "");
}

#[tokio::test]
async fn an_offered_subprotocol_is_passed_over_by_default() {
    let simulator = start(options()).await;
    let link = ApiCall::exec(&simulator, &sh("exit 7")).tty().link().await;
    let (selected, mut session) = Session::offer_v4(&link).await;
    assert_eq!(selected, None);
    assert_eq!(session.end().await, End::Close(1000));
    assert!(session.error().ends_with("exit status 7"), "plain text: {}", session.error());
}

#[tokio::test]
async fn an_accepted_subprotocol_ends_every_session_with_a_status() {
    let simulator = start(Options { accept_v4: true, ..options() }).await;
    for (code, status) in [(0, "Success"), (7, "Failure")] {
        let call = ApiCall::exec(&simulator, &sh(&format!("exit {code}"))).tty();
        let (selected, mut session) = Session::offer_v4(&call.link().await).await;
        assert_eq!(selected.as_deref(), Some("v4.channel.k8s.io"));
        assert_eq!(session.end().await, End::Close(1000));
        let told: serde_json::Value = serde_json::from_str(&session.error()).unwrap();
        assert_eq!(told["status"], status);
        if code == 7 {
            assert_eq!(told["details"]["causes"][0]["message"], "7");
        }
        // Nobody who does not offer it meets it.
        let call = ApiCall::exec(&simulator, &sh(&format!("exit {code}"))).tty();
        let mut session = Session::open(&call).await;
        assert_eq!(session.end().await, End::Close(1000));
        assert_eq!(session.error().is_empty(), code == 0);
    }
}

#[tokio::test]
async fn a_client_that_closes_is_answered_and_leaves_no_shell() {
    let simulator = start(options()).await;
    let mut session = Session::shell(&simulator).await;
    let pid = session.pid().await;
    assert!(lives(pid));
    session.socket.close(None).await.unwrap();
    assert_eq!(session.end().await, End::Close(1005), "the Close is echoed");
    until("the shell is gone", || simulator.sessions() == 0 && !lives(pid)).await;
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_no_shell_even_if_that_takes_no_input() {
    let simulator = start(options()).await;
    let mut session = Session::shell(&simulator).await;
    let pid = session.pid().await;
    drop(session);
    until("the shell is gone", || simulator.sessions() == 0 && !lives(pid)).await;

    let simulator = start(Options { idle_after: Duration::from_secs(4), ..options() }).await;
    let mut session =
        Session::open(&ApiCall::exec(&simulator, &sh("stty raw -echo; echo deaf; sleep 1000")).tty()).await;
    session.expect("deaf").await;
    let paste = Message::binary([&[0][..], &[b'x'; 200_000]].concat());
    let stuck = tokio::time::timeout(SILENCE, async {
        for _ in 0..100 {
            session.socket.send(paste.clone()).await.unwrap();
        }
    });
    assert!(stuck.await.is_err(), "20 MB went nowhere");
    drop(session);
    until("nothing is left", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn a_reader_that_pauses_stops_the_command_and_misses_nothing() {
    let simulator = start(options()).await;
    let count = 600_000;
    let mut session = Session::open(&ApiCall::exec(&simulator, &sh(&format!("seq 1 {count}"))).tty()).await;
    session.expect("\n1000\r\n").await;
    let since = Cell::new((0, Instant::now()));
    until("the output stands still", || {
        let now = simulator.counters().output_bytes;
        if since.get().0 != now {
            since.set((now, Instant::now()));
        }
        since.get().1.elapsed() > SILENCE
    })
    .await;
    let held = simulator.counters().output_bytes;
    assert!(held < 3_000_000, "{held} bytes are on their way to a client that does not read");
    assert_eq!(session.end().await, End::Close(1000));
    let expected: String = (1..=count).map(|number| format!("{number}\r\n")).collect();
    assert!(session.stdout() == expected, "{} bytes", session.channels[1].len());
}

#[tokio::test]
async fn a_long_paste_arrives_whole_and_in_order() {
    let simulator = start(options()).await;
    let script = "stty raw -echo; echo on; head -c 300000 | cksum; echo done";
    let mut session = Session::open(&ApiCall::exec(&simulator, &sh(script)).tty()).await;
    session.expect("on").await;
    let paste: Vec<u8> = (0..300_000_u32).map(|at| u8::try_from(at * 7919 % 251).unwrap()).collect();
    for piece in paste.chunks(65_536) {
        session.send(0, piece).await;
    }
    session.expect("done").await;
    let mut cksum = Command::new("cksum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut cksum.stdin.take().unwrap(), &paste).unwrap();
    let expected = String::from_utf8(cksum.wait_with_output().unwrap().stdout).unwrap();
    assert!(session.stdout().contains(expected.trim()), "{} {expected}", session.stdout());
    assert_eq!(simulator.counters().input_bytes, 300_000);
}

#[tokio::test]
async fn a_broken_or_oversized_message_is_told_by_its_code() {
    let simulator = start(options()).await;
    for (broken, code) in [
        (&b"\x82\x01\x00"[..], 1002),
        (b"\xC2\x80\0\0\0\0", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x81\x82\0\0\0\0\xff\xff", 1007),
        (b"\x82\xFF\0\0\0\0\x00\x10\x00\x01\0\0\0\0", 1009),
    ] {
        let link = ApiCall::exec(&simulator, BASH).tty().link().await;
        let (reply, mut stream) = upgrade(&link).await;
        stream.write_all(broken).await.unwrap();
        let mut session = Session::over(stream, reply.body).await;
        assert_eq!(session.end().await, End::Close(code), "{broken:?}");
    }
    until("nothing is left", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn bytes_right_behind_the_handshake_belong_to_the_session() {
    let simulator = start(options()).await;
    let link = ApiCall::exec(&simulator, BASH).tty().link().await;
    let typed = b"\0echo ea''rly\r";
    let mut frame = vec![0x82, 0x80 | u8::try_from(typed.len()).unwrap(), 0, 0, 0, 0];
    frame.extend(typed);
    let (reply, stream) = upgrade_with(&link, &frame).await;
    let mut session = Session::over(stream, reply.body).await;
    session.expect("early\r\n").await;
}

#[tokio::test]
async fn shells_are_bounded() {
    let simulator = start(Options { max_sessions: 1, ..options() }).await;
    let session = Session::shell(&simulator).await;
    let link = ApiCall::exec(&simulator, BASH).tty().link().await;
    assert_eq!(upgrade(&link).await.0.status, 503);
    drop(session);
    until("the shell is gone", || simulator.sessions() == 0).await;
    assert_eq!(upgrade(&link).await.0.status, 101, "the link was not spent");
}

#[tokio::test]
async fn shutting_down_leaves_nothing_behind() {
    let simulator = start(options()).await;
    let mut session = Session::shell(&simulator).await;
    let pid = session.pid().await;
    let script = "trap '' HUP; echo pid=$$.; while :; do sleep 1; done";
    let mut stubborn = Session::open(&ApiCall::exec(&simulator, &sh(script))).await;
    let other = stubborn.number("pid=").await;
    let addr = simulator.addr();
    simulator.shutdown().await;
    assert!(!lives(pid) && !lives(other));
    // The port may be another test's by now, for as long as that runs.
    until("nobody listens", || std::net::TcpStream::connect(addr).is_err()).await;
}
