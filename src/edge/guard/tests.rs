use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

fn timing() -> Timing {
    Timing { request: Duration::from_secs(10), keep_alive: Duration::from_secs(60) }
}

fn pair() -> (Guard<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(256 * 1024);
    (Guard::new(ours, timing()), theirs)
}

/// What the guard lets through of `request`, and what it answers itself.
async fn judge(request: &[u8]) -> (Vec<u8>, String) {
    let (mut guard, mut peer) = pair();
    peer.write_all(request).await.unwrap();
    let judging = tokio::spawn(async move {
        let mut passed = Vec::new();
        let _ = guard.read_to_end(&mut passed).await;
        passed
    });
    peer.shutdown().await.unwrap();
    let passed = judging.await.unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).await.unwrap();
    (passed, answer)
}

#[tokio::test]
async fn sound_requests_pass_byte_for_byte_and_one_after_the_other() {
    let requests = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /v1 HTTP/1.1\r\nhost: a:1\r\ncontent-length: 5\r\n\r\nhelloGET /x?y HTTP/1.1\r\nHost:a\r\nX:\t1 \r\n\r\n";
    let (passed, answer) = judge(requests).await;
    assert_eq!(passed, requests);
    assert_eq!(answer, "");
}

#[tokio::test]
async fn requests_that_could_be_read_in_two_ways_are_refused_with_the_right_status() {
    let host = "Host: a\r\n";
    let cases = [
        (400, format!("GET / HTTP/1.1\r\n{host}{host}\r\n")),
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: \r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned()),
        (411, format!("POST / HTTP/1.1\r\n{host}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        (411, format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        (400, format!("POST / HTTP/1.1\r\n{host}Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd")),
        (400, format!("POST / HTTP/1.1\r\n{host}Content-Length: 4, 4\r\n\r\nabcd")),
        (400, format!("POST / HTTP/1.1\r\n{host}Content-Length: +4\r\n\r\nabcd")),
        (400, format!("POST / HTTP/1.1\r\n{host}Content-Length: 99999999999999999999\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Upgrade: websocket\r\nContent-Length: 4\r\n\r\nabcd")),
        (400, format!("GET http://a/ HTTP/1.1\r\n{host}\r\n")),
        (400, format!("OPTIONS * HTTP/1.1\r\n{host}\r\n")),
        (400, format!("CONNECT a:1 HTTP/1.1\r\n{host}\r\n")),
        (505, format!("GET / HTTP/1.0\r\n{host}\r\n")),
        (505, "PRI * HTTP/2.0\r\n\r\n".to_owned()),
        (400, format!("GET  / HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET / HTTP/1.1 \r\n{host}\r\n")),
        (400, format!("G{{T / HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}X : 1\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host} folded\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n {host}\r\n")),
        (400, "GET / HTTP/1.1\nHost: a\n\n".to_owned()),
        (400, format!("GET / HTTP/1.1\r\n{host}X: a\nY: b\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}X: a\rb\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}X: a\0b\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}nonsense\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}X: \u{e4}\r\n\r\n")),
        (400, format!("GET /\u{e4} HTTP/1.1\r\n{host}\r\n")),
        (431, format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "x".repeat(MAX_HEAD))),
        (431, format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: 1\r\n".repeat(101))),
    ];
    for (status, request) in cases {
        let (passed, answer) = judge(request.as_bytes()).await;
        assert!(passed.is_empty(), "{request:.200?} reached hyper");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.200?}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn behind_a_first_request_a_bad_head_ends_the_connection_without_a_word() {
    let good = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (passed, answer) = judge(&[&good[..], b"GET / HTTP/1.1\r\n\r\n"].concat()).await;
    assert_eq!((passed.as_slice(), answer.as_str()), (&good[..], ""));
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_a_slow_body_and_an_idle_connection_are_cut_at_their_deadlines() {
    for (sent, deadline) in [
        (&b""[..], 10),
        (b"GET / HT", 10),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", 10),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 60),
    ] {
        let (mut guard, mut peer) = pair();
        peer.write_all(sent).await.unwrap();
        let started = Instant::now();
        let mut passed = Vec::new();
        guard.read_to_end(&mut passed).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), deadline, "{:?}", String::from_utf8_lossy(sent));
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_in_does_not_extend_its_deadline() {
    let (mut guard, mut peer) = pair();
    let reading = tokio::spawn(async move {
        let started = Instant::now();
        let _ = guard.read_to_end(&mut Vec::new()).await;
        started.elapsed()
    });
    for byte in b"GET / HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if peer.write_all(&[*byte]).await.is_err() {
            break;
        }
    }
    let elapsed = reading.await.unwrap();
    assert!(elapsed <= Duration::from_secs(11), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_in_does_not_extend_its_deadline_either() {
    let (mut guard, mut peer) = pair();
    peer.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n").await.unwrap();
    let reading = tokio::spawn(async move {
        let started = Instant::now();
        let _ = guard.read_to_end(&mut Vec::new()).await;
        started.elapsed()
    });
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if peer.write_all(b"x").await.is_err() {
            break;
        }
    }
    let elapsed = reading.await.unwrap();
    assert!(elapsed <= Duration::from_secs(11), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_of_its_answer_is_cut() {
    let (ours, _peer) = duplex(16);
    let mut guard = Guard::new(ours, timing());
    let started = Instant::now();
    let error = guard.write_all(&[b'x'; 1000]).await.unwrap_err();
    assert_eq!((error.kind(), started.elapsed().as_secs()), (io::ErrorKind::TimedOut, 10));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sips_its_answer_is_cut_and_a_slow_line_gets_all_of_it() {
    for (sip, cut) in [(100, true), (2048, false)] {
        let (ours, mut peer) = duplex(16);
        let mut guard = Guard::new(ours, timing());
        let sipping = tokio::spawn(async move {
            let mut taken = vec![0; sip];
            while peer.read_exact(&mut taken).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let started = Instant::now();
        let wrote = guard.write_all(&[b'x'; 100_000]).await;
        assert_eq!(wrote.is_err(), cut, "{sip} bytes a second: {wrote:?}");
        let took = started.elapsed().as_secs();
        assert!(if cut { (10..=12).contains(&took) } else { took > 40 }, "{took}");
        sipping.abort();
    }
}

#[tokio::test]
async fn what_follows_an_upgrade_is_kept_for_the_new_protocol() {
    let (mut guard, mut peer) = pair();
    let head = b"GET /t/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    peer.write_all(&[&head[..], b"\x82\x80frames"].concat()).await.unwrap();
    let mut passed = vec![0; head.len()];
    guard.read_exact(&mut passed).await.unwrap();
    assert_eq!(passed, head);
    assert_eq!(guard.into_parts().1, b"\x82\x80frames");
}
