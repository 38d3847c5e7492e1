//! The socket, against peers of every kind.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt as _, DuplexStream, duplex};

fn options(role: Role) -> Options {
    Options { role, max_message: 1024, ping_every: Duration::from_secs(25), pong_within: Duration::from_secs(20) }
}

async fn pair() -> (Socket<DuplexStream>, Socket<DuplexStream>) {
    let (a, b) = duplex(256 * 1024);
    (Socket::new(a, b"", options(Role::Server)), Socket::new(b, b"", options(Role::Client)))
}

async fn recv(socket: &mut Socket<DuplexStream>) -> Incoming {
    std::future::poll_fn(|cx| socket.poll_recv(cx)).await
}

fn outbox(texts: &[&str]) -> Outbox {
    let mut outbox = Outbox::new();
    for text in texts {
        outbox.message(Kind::Text, |buffer| buffer.extend_from_slice(text.as_bytes()));
    }
    outbox
}

#[tokio::test(start_paused = true)]
async fn a_quiet_peer_that_answers_pings_is_kept_and_a_dead_one_is_found() {
    let (mut server, mut client) = pair().await;
    let answering = tokio::spawn(async move {
        let started = Instant::now();
        let waited = timeout(Duration::from_secs(120), recv(&mut client)).await;
        assert!(waited.is_err(), "the server sends nothing but pings, got {waited:?}");
        started.elapsed()
    });
    let lost = timeout(Duration::from_secs(600), recv(&mut server)).await.unwrap();
    assert!(matches!(lost, Incoming::Ended | Incoming::Lost(_)), "{lost:?}");
    assert!(answering.await.unwrap() >= Duration::from_secs(120));

    let (mut server, silent) = pair().await;
    let started = Instant::now();
    let lost = recv(&mut server).await;
    assert!(matches!(lost, Incoming::Lost(_)), "{lost:?}");
    assert!(started.elapsed() <= Duration::from_secs(46), "{:?}", started.elapsed());
    drop(silent);
}

/// The kernel tells of a reset once. Where it tells the writer, the reader finds what looks like an end in order.
#[tokio::test]
async fn a_reset_that_writing_found_is_no_end_in_order_but_one_behind_an_end_is() {
    for ends_first in [false, true] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut theirs, _) = listener.accept().await.unwrap();
        if ends_first {
            theirs.shutdown().await.unwrap();
        }
        theirs.set_zero_linger().unwrap();
        drop(theirs);
        ours.readable().await.unwrap();
        let mut client = Socket::new(ours, b"", options(Role::Client));
        let started = Instant::now();
        while client.failure().is_none() {
            client.send(&mut outbox(&["key"]));
            std::future::poll_fn(|cx| client.poll_flushed(cx)).await;
            assert!(started.elapsed() < Duration::from_secs(60), "writing goes on into nothing");
        }
        let over = std::future::poll_fn(|cx| client.poll_recv(cx)).await;
        match over {
            Incoming::Ended => assert!(ends_first, "{over:?}"),
            Incoming::Lost(_) => assert!(!ends_first, "{over:?}"),
            _ => panic!("{over:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn typing_into_a_dead_connection_does_not_keep_it() {
    let (mut client, silent) = pair().await;
    let started = Instant::now();
    let lost = loop {
        client.send(&mut outbox(&["key"]));
        std::future::poll_fn(|cx| client.poll_flushed(cx)).await;
        if let Ok(lost) = timeout(Duration::from_secs(3), recv(&mut client)).await {
            break lost;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "it is kept");
    };
    assert!(matches!(lost, Incoming::Lost(_)), "{lost:?}");
    assert!(started.elapsed() <= Duration::from_secs(50), "{:?}", started.elapsed());
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_what_is_sent_to_it_slowly_is_kept_though_its_pong_is_late() {
    let (ours, mut theirs) = duplex(64);
    let mut server = Socket::new(ours, b"", options(Role::Server));
    let text = "x".repeat(4000);
    server.send(&mut outbox(&[&text]));
    let slow = tokio::spawn(async move {
        let mut taken = [0; 64];
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            theirs.read_exact(&mut taken).await.unwrap();
        }
    });
    let serving = std::future::poll_fn(|cx| {
        let _ = server.poll_flushed(cx);
        server.poll_recv(cx)
    });
    let told = timeout(Duration::from_secs(240), serving).await;
    assert!(told.is_err(), "{told:?}");
    slow.abort();
}

/// Sends a message of so many bytes, one every so often, and returns what came of it and when.
async fn dribble(bytes: usize, every: Duration) -> (Incoming, Duration) {
    let (ours, mut theirs) = duplex(4096);
    let patience = Duration::from_secs(30);
    let mut server = Socket::new(ours, b"", options(Role::Server)).with_patience(patience);
    let started = Instant::now();
    tokio::spawn(async move {
        let mut frame = vec![0x82, 0xfe, (bytes >> 8) as u8, bytes as u8, 0, 0, 0, 0];
        frame.resize(frame.len() + bytes, b'x');
        for byte in frame {
            if theirs.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(every).await;
        }
        std::future::pending::<()>().await;
    });
    let came = timeout(Duration::from_secs(3600), recv(&mut server)).await.unwrap();
    (came, started.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_a_byte_a_second_is_not_waited_for_and_a_slow_line_is() {
    let (came, took) = dribble(1000, Duration::from_secs(1)).await;
    assert!(matches!(came, Incoming::Lost(ref why) if why == TOO_SLOW), "{came:?}");
    assert_eq!(took.as_secs(), 30);
    let (came, _) = dribble(1000, Duration::from_millis(28)).await;
    assert!(matches!(came, Incoming::Message(..)), "{came:?}");
}

#[tokio::test(start_paused = true)]
async fn fragments_without_an_end_and_half_a_header_are_messages_that_do_not_end() {
    for begun in [&[0x01, 0x80, 0, 0, 0, 0][..], &[0x82][..], &[0x82, 0xfe, 1][..]] {
        let (ours, mut theirs) = duplex(4096);
        let mut server = Socket::new(ours, b"", options(Role::Server)).with_patience(Duration::from_secs(3));
        theirs.write_all(begun).await.unwrap();
        let started = Instant::now();
        let came = timeout(Duration::from_secs(3600), recv(&mut server)).await.unwrap();
        assert!(matches!(came, Incoming::Lost(ref why) if why == TOO_SLOW), "{begun:?}: {came:?}");
        assert_eq!(started.elapsed().as_secs(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn time_in_which_nobody_reads_is_not_the_peers() {
    let (ours, mut theirs) = duplex(4096);
    let mut server = Socket::new(ours, b"", options(Role::Server)).with_patience(Duration::from_secs(30));
    theirs.write_all(&[0x82, 0x82, 0, 0, 0, 0, b'a']).await.unwrap();
    assert!(timeout(Duration::from_secs(20), recv(&mut server)).await.is_err());
    server.pause();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(timeout(Duration::from_secs(1), recv(&mut server)).await.is_err());
    theirs.write_all(b"b").await.unwrap();
    assert!(matches!(recv(&mut server).await, Incoming::Message(_, got) if got == "ab"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_reads_from_is_kept_warm_all_the_same() {
    let (ours, mut theirs) = duplex(4096);
    let mut server = Socket::new(ours, b"", options(Role::Server));
    let idle = tokio::spawn(async move {
        let idling = std::future::poll_fn(|cx| {
            server.poll_idle(cx);
            Poll::<()>::Pending
        });
        let _ = timeout(Duration::from_secs(110), idling).await;
    });
    let mut heard = Vec::new();
    theirs.read_to_end(&mut heard).await.unwrap();
    idle.await.unwrap();
    assert_eq!(heard, [0x89, 0, 0x89, 0, 0x89, 0, 0x89, 0], "a ping every 25 s");
}

#[tokio::test]
async fn what_a_peer_sent_before_it_left_is_read_although_writing_to_it_fails() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peer = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    let mut client = Socket::new(ours, b"", options(Role::Client));
    peer.write_all(b"\x82\x04tail\x88\x02\x03\xe8").await.unwrap();
    drop(peer);
    // The first write draws a reset, a later one fails.
    while client.failure().is_none() {
        client.send(&mut outbox(&["keys"]));
        std::future::poll_fn(|cx| client.poll_flushed(cx)).await;
        tokio::task::yield_now().await;
    }
    let read = std::future::poll_fn(|cx| client.poll_recv(cx)).await;
    assert!(matches!(read, Incoming::Message(Kind::Binary, ref tail) if tail == "tail"), "{read:?}");
    let read = std::future::poll_fn(|cx| client.poll_recv(cx)).await;
    assert!(matches!(read, Incoming::Closed(Some(1000))), "{read:?}");
}

#[tokio::test]
async fn everything_queued_arrives_before_the_close_and_its_reason_is_cut_to_size() {
    let (mut server, mut client) = pair().await;
    server.send(&mut outbox(&["one", "two"]));
    let reason = "internal: ".to_owned() + &"ä".repeat(200);
    let leaving = tokio::spawn(async move { server.leave(4500, &reason).await });
    for text in ["one", "two"] {
        assert!(matches!(recv(&mut client).await, Incoming::Message(Kind::Text, got) if got == text));
    }
    assert!(matches!(recv(&mut client).await, Incoming::Closed(Some(4500))));
    client.part().await;
    leaving.await.unwrap();
}

#[tokio::test]
async fn a_message_over_the_limit_is_told_apart_from_a_broken_frame_and_from_bad_text() {
    for (bytes, code) in [
        (&[0x82, 0xfe, 0x04, 0x01, 0, 0, 0, 0][..], 1009),
        (&[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0][..], 1009),
        (&[0xf2, 0x80, 0, 0, 0, 0][..], 1002),
        (&[0x82, 0x01, 0x41][..], 1002),
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff][..], 1007),
    ] {
        let (ours, mut theirs) = duplex(4096);
        let mut server = Socket::new(ours, b"", options(Role::Server));
        theirs.write_all(bytes).await.unwrap();
        theirs.flush().await.unwrap();
        let found = recv(&mut server).await;
        assert!(matches!(found, Incoming::Broken(got, _) if got == code), "{bytes:?}: {found:?}");
        let leaving = tokio::spawn(server.leave(code, "bad"));
        let mut close = [0; 4];
        theirs.read_exact(&mut close).await.unwrap();
        assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, code));
        drop(theirs);
        leaving.await.unwrap();
    }
}

#[tokio::test]
async fn bytes_read_behind_the_handshake_belong_to_the_session() {
    let (ours, _theirs) = duplex(64);
    let early = Bytes::from_static(&[0x82, 0x81, 0, 0, 0, 0, b'x']);
    let mut server = Socket::new(ours, &early, options(Role::Server));
    assert!(matches!(recv(&mut server).await, Incoming::Message(Kind::Binary, got) if got == "x"));
}
