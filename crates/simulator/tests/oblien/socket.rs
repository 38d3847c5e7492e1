//! The WebSocket that carries all terminals of a runtime.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use polytty_simulator::oblien::{Eviction, Options};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, timeout},
};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Data, End, PATIENCE, SILENCE, Socket, numbers, options, read_head, send, start, until};

#[tokio::test]
async fn the_token_comes_in_the_header_or_in_the_query() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    for (query, headers, status) in [
        (String::new(), bearer(&data.token), 101),
        (format!("?token={}", data.token), String::new(), 101),
        (format!("?binary=true&token={}", data.token), String::new(), 101),
        (format!("?token={}", data.token), bearer("none"), 401),
        ("?token=none".to_owned(), bearer(&data.token), 101),
        ("?token=none".to_owned(), String::new(), 401),
        ("?token=".to_owned(), String::new(), 401),
    ] {
        let mut stream = send(&data.authority, &data.upgrade_with(&query, &headers)).await;
        assert_eq!(timeout(PATIENCE, read_head(&mut stream)).await.unwrap().status, status, "{query} {headers}");
    }
    // An offer to compress is declined.
    let offer = format!("{}Sec-WebSocket-Extensions: permessage-deflate\r\n", bearer(&data.token));
    let mut stream = send(&data.authority, &data.upgrade_with("", &offer)).await;
    let reply = timeout(PATIENCE, read_head(&mut stream)).await.unwrap();
    assert_eq!((reply.status, reply.header("sec-websocket-extensions")), (101, None));
}

#[tokio::test]
async fn one_socket_carries_many_terminals_by_their_numbers() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let mut socket = data.connect().await;
    for id in 1..=10 {
        assert_eq!(data.create(json!({"cols": 100, "rows": 30})).await, id);
    }
    for id in 1..=10 {
        socket.type_in(id, &format!("echo [$(tty) $(stty size) {id}$((0))]\r")).await;
    }
    let mut names = Vec::new();
    for id in 1..=10 {
        socket.expect(id, &format!(" 30 100 {id}0]\r\n")).await;
        let text = socket.text(id);
        names.push(text.split("[/dev/").nth(1).unwrap().split(' ').next().unwrap().to_owned());
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 10, "{names:?}");
}

#[tokio::test]
async fn a_resize_reaches_the_running_program_whether_its_id_is_text_or_number() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let mut socket = data.connect().await;
    let id = data.script("trap 'stty size' WINCH; echo armed; while :; do sleep 0.02; printf .; done").await;
    socket.expect(id, "armed").await;
    socket.resize("1", 132, 43).await;
    // The dot says that the handler is done: bash loses a signal that comes while it runs.
    socket.expect(id, "43 132\r\n.").await;
    socket.resize(1, 100, 30).await;
    socket.expect(id, "30 100\r\n.").await;
    // Nonsense is ignored; the next good size is applied.
    socket.resize("1", 0, 10).await;
    socket.resize("one", 10, 10).await;
    socket.resize(2, 10, 10).await;
    socket.send(Message::text("no JSON")).await;
    socket.send(Message::text(r#"{"channel":"watcher","type":"resize","id":"1","cols":9,"rows":9}"#)).await;
    socket.send(Message::text(r#"{"type":"resize","id":"1","cols":70,"rows":20}"#)).await;
    socket.expect(id, "20 70\r\n").await;
    let counters = simulator.counters();
    assert_eq!((counters.resizes, counters.messages_ignored), (3, 5));
    let list = data.list().await;
    assert_eq!((&list[0]["cols"], &list[0]["rows"]), (&json!(70), &json!(20)));
}

#[tokio::test]
async fn input_without_bytes_and_for_nobody_does_nothing() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let mut socket = data.connect().await;
    let id = data.script("stty -echo; echo on; head -c 3 | od -An -tx1").await;
    socket.expect(id, "on").await;
    for frame in [&b""[..], b"\x01", b"\x31ab", b"\x00ab", b"\xFFab", b"\x01\r\xC3\n"] {
        socket.send(Message::binary(frame.to_vec())).await;
    }
    socket.expect(id, " 0a c3 0a\r\n").await;
    assert_eq!(simulator.counters().messages_ignored, 4);
    assert_eq!(socket.exit(id).await, 0);
}

#[tokio::test]
async fn output_comes_before_the_exit_and_every_byte_of_it() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let mut socket = data.connect().await;
    for round in 0..10 {
        let id = data.script(&format!("seq 1 20000; exit {round}")).await;
        assert_eq!(socket.exit(id).await, round);
        assert!(socket.text(id) == numbers(20_000), "{} bytes", socket.text(id).len());
        data.delete(id).await;
    }
}

#[tokio::test]
async fn a_reader_that_stalls_holds_all_terminals_and_loses_nothing() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let mut socket = data.connect().await;
    let ids = [data.script("seq 1 300000").await, data.script("seq 1 300000").await];
    // What is in flight is bounded: after a while nothing more is taken from the terminals.
    let mut before = 0;
    let deadline = Instant::now() + PATIENCE;
    loop {
        tokio::time::sleep(SILENCE).await;
        let now = simulator.counters().output_bytes;
        if now == before && now > 0 {
            break;
        }
        before = now;
        assert!(Instant::now() < deadline);
    }
    let all = numbers(300_000);
    assert!(before < 2 * all.len() as u64, "{before}");
    for id in ids {
        assert_eq!(socket.exit(id).await, 0);
        assert!(socket.text(id) == all, "{} of {} bytes", socket.text(id).len(), all.len());
    }
}

#[tokio::test]
async fn a_long_paste_arrives_whole_while_its_echo_comes_back() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let mut socket = data.connect().await;
    let id = data.script("stty raw -echo; echo on; head -c 2000000 | sha256sum").await;
    socket.expect(id, "on").await;
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for piece in bytes.chunks(100_000) {
        socket.send(Message::binary([&[id], piece].concat())).await;
    }
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    socket.expect(id, &hash).await;
    assert_eq!(simulator.counters().input_bytes, 2_000_000);
}

#[tokio::test]
async fn a_terminal_that_takes_no_input_holds_the_socket_but_not_its_successor() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let (deaf, other) = (data.script("stty raw -echo; echo on; sleep 1000").await, data.script("cat").await);
    let piece = Message::binary([&[deaf][..], &[b'x'; 64 * 1024]].concat());
    let mut socket = data.connect().await;
    socket.expect(deaf, "on").await;
    while timeout(SILENCE, socket.stream.send(piece.clone())).await.is_ok() {}
    let frame = Message::binary([&[other][..], b"late\n"].concat());
    assert!(timeout(SILENCE, socket.stream.send(frame)).await.is_err(), "one socket, one pace");
    let mut next = data.connect().await;
    next.type_in(other, "alive\n").await;
    next.expect(other, "alive\r\n").await;
    until("the first is gone", || simulator.counters().sockets_open == 1).await;

    // Where the client's end can be seen, it is, although nothing is read any more.
    data.delete(deaf).await;
    let deaf = data.script("stty raw -echo; echo on; sleep 1000").await;
    next.expect(deaf, "on").await;
    for _ in 0..5 {
        next.send(Message::binary([&[deaf][..], &[b'x'; 64 * 1024]].concat())).await;
    }
    drop(next);
    until("the second is gone", || simulator.counters().sockets_open == 0).await;
}

#[tokio::test]
async fn on_connect_the_living_are_replayed_and_the_ended_are_told() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let (ended, living, silent) = (
        data.script("echo gone; exit 3").await,
        data.script("seq 1 20000; sleep 1000").await,
        data.script("sleep 1000").await,
    );
    data.ended(ended).await;
    data.said(living, "\r\n20000\r\n").await;
    let mut socket = data.connect().await;
    assert_eq!(socket.exit(ended).await, 3);
    // One frame with the whole scrollback, before the exit; nothing for those who said nothing.
    assert_eq!(socket.frames, [(living, 65_536)]);
    assert_eq!((socket.text(ended), socket.text(silent)), (String::new(), String::new()));
    let all = numbers(20_000);
    assert_eq!(socket.text(living), all[all.len() - 65_536..]);
    assert!(socket.is_silent().await);
}

#[tokio::test]
async fn the_replay_comes_in_pieces_and_of_the_ended_too_if_that_is_the_rule() {
    let simulator = start(Options { replay_chunk: 1_000, replay_ended: true, ..options() }).await;
    let data = Data::of(&simulator).await;
    let (ended, living) = (data.script("echo gone; exit 3").await, data.script("seq 1 500; sleep 1000").await);
    data.ended(ended).await;
    data.said(living, "\r\n500\r\n").await;
    let mut socket = data.connect().await;
    assert_eq!(socket.exit(ended).await, 3);
    assert_eq!(socket.frames, [(ended, 6), (living, 1_000), (living, 1_000), (living, 392)]);
    assert_eq!((socket.text(ended), socket.text(living)), ("gone\r\n".to_owned(), numbers(500)));
}

#[tokio::test]
async fn what_is_said_in_between_is_in_the_replay_and_nothing_comes_twice() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let id = data.script("trap '' HUP; for i in $(seq 1 4000); do echo $i; done; echo over; sleep 1000").await;
    let all = numbers(4_000) + "over\r\n";
    // Clients come and go in the middle of it; each sees everything from the beginning, once.
    loop {
        let mut socket = data.connect().await;
        for _ in 0..3 {
            let _end = timeout(SILENCE, socket.step()).await;
        }
        let text = socket.text(id);
        assert!(all.starts_with(&text), "{text}");
        if text.contains("over") {
            assert_eq!(text, all);
            break;
        }
    }
}

#[tokio::test]
async fn a_new_socket_replaces_the_old_one() {
    for (eviction, end) in [
        (Eviction::default(), End::Close(1000, String::new())),
        (Eviction::Close(1001, "going away"), End::Close(1001, "going away".to_owned())),
        (Eviction::Close(4001, "replaced"), End::Close(4001, "replaced".to_owned())),
        (Eviction::Fin, End::NoClose),
        (Eviction::Reset, End::Reset),
    ] {
        let simulator = start(Options { eviction, ..options() }).await;
        let data = Data::of(&simulator).await;
        let id = data.call("POST", "/terminals", "").await.json()["id"].as_str().unwrap().parse().unwrap();
        let mut old = data.connect().await;
        old.type_in(id, "echo o''ld\r").await;
        old.expect(id, "old\r\n").await;
        let mut new = data.connect().await;
        assert_eq!(old.end().await, end);
        new.expect(id, "old\r\n").await;
        new.type_in(id, "echo n''ew\r").await;
        new.expect(id, "new\r\n").await;
        let counters = simulator.counters();
        assert_eq!((counters.sockets_opened, counters.evictions, counters.terminals_alive), (2, 1, 1));
        until("one socket is open", || simulator.counters().sockets_open == 1).await;
    }
}

#[tokio::test]
async fn a_stalled_socket_gives_way_and_loses_only_what_the_scrollback_has() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let old = data.connect().await;
    let id = data.script("seq 1 60000; echo over; sleep 1000").await;
    until("some of it is on its way", || simulator.counters().output_bytes > 10_000).await;
    let mut new = data.connect().await;
    new.expect(id, "over\r\n").await;
    let (text, all) = (new.text(id), numbers(60_000) + "over\r\n");
    assert!(all.ends_with(&text) && text.len() >= 65_536, "{} bytes", text.len());
    drop(old);
}

#[tokio::test]
async fn whoever_is_kicked_can_come_back() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    assert_eq!(simulator.kick(), 0);
    let (mut socket, mut mac) = (data.connect().await, data.runtime("macos").connect().await);
    until("both are there", || simulator.counters().sockets_open == 2).await;
    assert_eq!(simulator.kick(), 2);
    assert_eq!(
        (socket.end().await, mac.end().await),
        (End::Close(1000, String::new()), End::Close(1000, String::new()))
    );
    until("both are gone", || simulator.counters().sockets_open == 0).await;
    assert_eq!(simulator.counters().evictions, 2);
    let mut socket = data.connect().await;
    assert!(socket.is_silent().await);
}

#[tokio::test]
async fn terminals_outlive_their_sockets_and_ends_are_told_later() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let mut socket = data.connect().await;
    let id = data.script("read -r; echo \"got $REPLY\"; exit 9").await;
    socket.type_in(id, "a line\n").await;
    socket.send(Message::Close(None)).await;
    assert_eq!(socket.end().await, End::Close(1005, String::new()));
    data.ended(id).await;
    until("no socket is left", || simulator.counters().sockets_open == 0).await;
    assert!(data.scrollback(id, "").await.1.ends_with("got a line\r\n"));
    assert_eq!(data.connect().await.exit(id).await, 9);
}

#[tokio::test]
async fn pings_are_answered_and_broken_frames_are_not() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let mut socket = data.connect().await;
    socket.send(Message::Ping("x".into())).await;
    assert_eq!(timeout(PATIENCE, socket.stream.next()).await.unwrap().unwrap().unwrap(), Message::Pong("x".into()));
    // An unmasked frame, and one beyond the limit of a message.
    for (bytes, code) in [(&b"\x82\x01\x01"[..], 1002), (b"\x82\xFF\0\0\0\0\0\x20\0\0\0\0\0\0", 1009)] {
        let (reply, mut stream) = data.upgrade().await;
        assert_eq!(reply.status, 101);
        stream.write_all(bytes).await.unwrap();
        assert_eq!(Socket::over(stream, reply.body).await.end().await, End::Close(code, String::new()));
    }
}

#[tokio::test]
async fn many_rounds_leave_nothing_behind() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    for _ in 0..250 {
        let mut socket = data.connect().await;
        let id = data.create(json!({"cmd": ["/bin/echo", "hello"]})).await;
        socket.expect(id, "hello\r\n").await;
        data.delete(id).await;
        let _closed = socket.stream.close(None).await;
    }
    until("nothing is left", || {
        let counters = simulator.counters();
        (simulator.sessions(), counters.sockets_open, counters.terminals_alive, simulator.connections()) == (0, 0, 0, 0)
    })
    .await;
    assert_eq!(simulator.counters().terminals_deleted, 250);
    timeout(Duration::from_secs(5), simulator.shutdown()).await.unwrap();
}
