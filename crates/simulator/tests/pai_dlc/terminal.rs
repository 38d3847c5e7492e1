//! The terminal: what the shell sees, what the client sees, and how both end.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use polytty_simulator::pai_dlc::{Ending, Options};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, timeout},
};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{ApiCall, End, PATIENCE, Terminal, lives, options, script, start, until, upgrade, upgrade_with};

#[tokio::test]
async fn a_shell_has_a_real_controlling_terminal() {
    let simulator = start(options()).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("ready> ").await;
    terminal.type_in("echo [$(tty) $(ps -o tty= -p $$) $(stty size) $TERM]\r").await;
    terminal.expect("color]\r\n").await;
    let line = terminal.output.split("[/dev/").nth(1).unwrap().lines().next().unwrap();
    let words: Vec<_> = line.split(' ').collect();
    assert!(words[0].starts_with("pts/"), "{line}");
    assert_eq!(words, [words[0], words[0], "24", "80", "xterm-256color]"]);
}

#[tokio::test]
async fn jobs_can_be_stopped_continued_and_interrupted() {
    let simulator = start(options()).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("ready> ").await;
    // It speaks once it is the foreground job.
    terminal.type_in("sh -c 'echo be\"\"gun; exec sleep 500'\r").await;
    terminal.expect("begun").await;
    terminal.type_in("\u{1a}").await;
    terminal.expect("Stopped").await;
    terminal.type_in("bg; jobs; echo list''ed\r").await;
    terminal.expect("listed").await;
    assert!(terminal.output.contains("Running"), "{}", terminal.output);
    terminal.output.clear();
    terminal.type_in("fg\r").await;
    terminal.expect("exec sleep 500'\r\n").await;
    terminal.output.clear();
    // An interrupt that comes before the shell has handed the terminal over is the shell's, so it is repeated.
    while !terminal.output.contains("ready> ") {
        terminal.type_in("\u{3}").await;
        while let Ok(Some(Ok(message))) = timeout(Duration::from_millis(300), terminal.socket.next()).await {
            terminal.take(&message);
        }
    }
    terminal.type_in("echo st''ill here $?\r").await;
    terminal.expect("still here 130").await;
    terminal.type_in("jobs; echo no''ne left\r").await;
    terminal.expect("none left").await;
    assert!(!terminal.output.contains("sleep"), "{}", terminal.output);
}

#[tokio::test]
async fn a_resize_reaches_the_terminal_and_the_running_program() {
    let simulator = start(script("trap 'stty size' WINCH; echo armed; while :; do sleep 0.02; printf .; done")).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("armed").await;
    terminal.resize(132, 43).await;
    // The dot says that the handler is done: bash loses a signal that comes while it runs.
    terminal.expect("43 132\r\n.").await;
    // Nonsense is ignored; the next good size is applied.
    terminal.resize(0, 10).await;
    terminal.send(json!({"operation": "resize"})).await;
    terminal.resize(100, 30).await;
    terminal.expect("30 100").await;
    assert_eq!(simulator.counters().resizes, 2);
}

#[tokio::test]
async fn a_full_screen_program_draws_for_the_size_it_has() {
    let simulator = start(options()).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("ready> ").await;
    terminal.resize(70, 20).await;
    terminal.type_in("top -d 1\r").await;
    terminal.expect("PID USER").await;
    assert!(terminal.output.contains("\u{1b}["), "cursor movements");
    terminal.output.clear();
    terminal.type_in("q").await;
    terminal.expect("ready> ").await;
}

#[tokio::test]
async fn every_byte_of_output_comes_before_the_end() {
    let simulator = start(script("seq 1 20000; exit 3")).await;
    let expected: String = (1..=20_000).map(|number| format!("{number}\r\n")).collect();
    for _ in 0..20 {
        let mut terminal = Terminal::open(&simulator).await;
        assert_eq!(terminal.end().await, End::NoClose);
        assert!(terminal.output == expected, "{} of {} bytes", terminal.output.len(), expected.len());
    }
    until("the shells are reaped", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn a_slow_reader_gets_the_tail_as_well() {
    let simulator = start(script("seq 1 100000")).await;
    let mut terminal = Terminal::open(&simulator).await;
    let mut messages = 0;
    while let Some(Ok(message)) = terminal.next().await {
        terminal.take(&message);
        messages += 1;
        if messages % 8 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert!(terminal.output.ends_with("\r\n99999\r\n100000\r\n"));
    assert_eq!(terminal.output.lines().count(), 100_000);
}

#[tokio::test]
async fn the_end_can_also_be_a_close() {
    let simulator = start(Options { ending: Ending::Close1000, ..script("seq 1 20000") }).await;
    let mut terminal = Terminal::open(&simulator).await;
    assert_eq!(terminal.end().await, End::Close(1000));
    assert!(terminal.output.ends_with("20000\r\n"));
}

#[tokio::test]
async fn a_program_left_in_the_background_does_not_hold_the_session() {
    let simulator = start(script("trap '' HUP; sleep 30 & echo left; exit")).await;
    let mut terminal = Terminal::open(&simulator).await;
    assert_eq!(timeout(Duration::from_secs(10), terminal.end()).await.unwrap(), End::NoClose);
    assert_eq!(terminal.output, "left\r\n");
}

#[tokio::test]
async fn characters_are_never_cut_and_what_is_no_utf_8_is_replaced() {
    let line = "終端é😀".repeat(1_000);
    let simulator = start(script(&format!("printf '{line}'; printf 'a\\xffb\\xe2\\x82'"))).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.end().await;
    assert_eq!(terminal.output, format!("{line}a\u{FFFD}b\u{FFFD}"));
}

#[tokio::test]
async fn standard_error_is_part_of_the_output() {
    let simulator = start(script("echo out; echo err >&2")).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.end().await;
    assert_eq!(terminal.output, "out\r\nerr\r\n");
}

#[tokio::test]
async fn a_large_paste_goes_through_while_its_echo_comes_back() {
    // Raw mode with echo by the program: input and output are of the same size and flow at the same time.
    let simulator = start(script("stty raw -echo; echo ready; head -c 2000000")).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("ready").await;
    let before = terminal.output.len();
    let (mut sink, mut stream) = terminal.socket.split();
    let piece: String = (0..4_000).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
    let message = json!({"operation": "stdin", "data": piece}).to_string();
    let paste = async {
        for _ in 0..500 {
            sink.send(Message::text(message.clone())).await.unwrap();
        }
    };
    let read = async {
        let mut output = String::new();
        while let Some(Ok(Message::Text(text))) = stream.next().await {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            output += value["data"].as_str().unwrap();
        }
        output
    };
    let ((), output) = timeout(PATIENCE, async { tokio::join!(paste, read) }).await.unwrap();
    let echoed = output.trim_start_matches(['\r', '\n']);
    assert!(before <= 7);
    assert!(echoed == piece.repeat(500), "{} bytes", echoed.len());
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_shell_and_can_still_interrupt_it() {
    let simulator = start(options()).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("ready> ").await;
    terminal.type_in("yes\r").await;
    // The count stands still once the buffers on the way are full.
    let mut last = (0, Instant::now());
    while last.1.elapsed() < Duration::from_millis(500) {
        let bytes = simulator.counters().output_bytes;
        if bytes != last.0 {
            last = (bytes, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(last.0 > 10_000, "only {} bytes", last.0);
    assert!(last.0 < 8 * 1024 * 1024, "{} bytes are on the way to a client that does not read", last.0);
    // The interrupt is taken although no output can leave.
    let before = simulator.counters().input_bytes;
    terminal.type_in("\u{3}").await;
    until("the interrupt is taken", || simulator.counters().input_bytes == before + 1).await;
    terminal.type_in("echo int''errupted\r").await;
    terminal.expect("interrupted").await;
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_shell_along() {
    let simulator = start(options()).await;
    for leave in ["drop", "close"] {
        let mut terminal = Terminal::open(&simulator).await;
        let pid = terminal.pid().await;
        assert!(lives(pid));
        assert_eq!(simulator.sessions(), 1);
        if leave == "close" {
            terminal.socket.close(None).await.unwrap();
            assert_eq!(terminal.end().await, End::Close(1005), "a Close is answered");
        }
        drop(terminal);
        until("the shell is gone", || simulator.sessions() == 0).await;
        assert!(!lives(pid), "{leave}: {pid} is left, or a zombie");
    }
}

#[tokio::test]
async fn a_bad_message_ends_the_session_by_an_end_of_transmission() {
    let simulator = start(options()).await;
    for bad in [
        Message::text("not JSON"),
        Message::text("[]"),
        Message::text(r#"{"operation":"stdin","data":7}"#),
        Message::text(r#"{"operation":"resize","cols":80.5,"rows":24}"#),
        Message::text(r#"{"operation":"eof"}"#),
        Message::text(r#"{"operation":"stdout","data":"x"}"#),
        Message::binary(br#"{"operation":"stdin","data":"x"}"#.to_vec()),
    ] {
        let mut terminal = Terminal::open(&simulator).await;
        terminal.expect("ready> ").await;
        terminal.socket.send(bad).await.unwrap();
        assert_eq!(terminal.end().await, End::NoClose);
        // bash says this when its input ends.
        assert!(terminal.output.contains("exit"), "{:?}", terminal.output);
    }
    assert_eq!(simulator.counters().bad_messages, 7);
}

#[tokio::test]
async fn a_shell_that_ignores_the_end_of_transmission_is_hung_up() {
    let simulator = start(script("echo deaf; exec sleep 1000")).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("deaf").await;
    terminal.socket.send(Message::text("{")).await.unwrap();
    assert_eq!(terminal.end().await, End::NoClose);
    until("the shell is gone", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn unknown_members_and_pings_are_harmless() {
    let simulator = start(options()).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.send(json!({"operation": "ping"})).await;
    terminal.send(json!({"operation": "stdin", "data": "echo al''ive\r", "more": [1]})).await;
    terminal.expect("alive").await;
    terminal.socket.send(Message::Ping("payload".into())).await.unwrap();
    loop {
        match terminal.next().await {
            Some(Ok(Message::Pong(payload))) => break assert_eq!(&payload[..], b"payload"),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_message_has_at_most_8192_bytes() {
    let simulator = start(script("stty raw -echo; echo ready; head -c 8152 | wc -c")).await;
    let empty = json!({"operation": "stdin", "data": ""}).to_string().len();
    let stdin = |bytes: usize| json!({"operation": "stdin", "data": "x".repeat(bytes - empty)});

    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("ready").await;
    terminal.send(stdin(8_192)).await;
    terminal.send(stdin(8_192)).await;
    terminal.expect("8152").await;

    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("ready").await;
    terminal.send(stdin(8_193)).await;
    assert_eq!(terminal.end().await, End::Close(1009));
}

#[tokio::test]
async fn pings_are_sent_and_a_client_that_does_not_answer_is_dropped() {
    let options = || Options {
        ping_every: Duration::from_millis(50),
        pong_within: Duration::from_millis(1_500),
        ..script("echo up; exec sleep 1000")
    };
    let simulator = start(options()).await;
    let mut terminal = Terminal::open(&simulator).await;
    let mut pings = 0;
    // Longer than a session lives without pongs; reading sends them.
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        match terminal.next().await {
            Some(Ok(Message::Ping(_))) => pings += 1,
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(pings >= 10, "{pings}");
    assert!(simulator.counters().pongs >= 10);
    assert_eq!(simulator.sessions(), 1);
    // From now on nothing is read, and so nothing answered.
    until("the silent client is dropped", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn bytes_right_behind_the_handshake_belong_to_the_session() {
    let simulator = start(options()).await;
    let link = ApiCall::terminal(&simulator, "IsShared=true").link().await;
    let message = br#"{"operation":"stdin","data":"echo ea''rly\r"}"#;
    let mut frame = vec![0x81, 0x80 | u8::try_from(message.len()).unwrap(), 0, 0, 0, 0];
    frame.extend(message);
    let (reply, stream) = upgrade_with(&link, &frame).await;
    assert_eq!(reply.status, 101);
    let mut terminal = Terminal::over(stream, reply.body).await;
    terminal.expect("early\r\n").await;
}

#[tokio::test]
async fn a_client_that_breaks_the_websocket_protocol_is_told_so() {
    let simulator = start(options()).await;
    for (broken, code) in [
        (&b"\x81\x02{}"[..], 1002),
        (b"\xF1\x80\0\0\0\0", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x81\x82\0\0\0\0\xff\xff", 1007),
    ] {
        let link = ApiCall::terminal(&simulator, "IsShared=true").link().await;
        let (reply, mut stream) = upgrade(&link).await;
        stream.write_all(broken).await.unwrap();
        let mut terminal = Terminal::over(stream, reply.body).await;
        assert_eq!(terminal.end().await, End::Close(code), "{broken:?}");
    }
}

#[tokio::test]
async fn a_shell_that_cannot_be_started_is_told_in_the_output() {
    let simulator = start(Options { shell: vec!["/no/such/shell".to_owned()], ..options() }).await;
    let mut terminal = Terminal::open(&simulator).await;
    assert_eq!(terminal.end().await, End::NoClose);
    assert!(terminal.output.contains("/no/such/shell"), "{}", terminal.output);
    until("the permit is given back", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn shutting_down_leaves_no_shell_behind() {
    let simulator = start(options()).await;
    let mut pids = Vec::new();
    let mut terminals = Vec::new();
    for _ in 0..4 {
        let mut terminal = Terminal::open(&simulator).await;
        pids.push(terminal.pid().await);
        terminals.push(terminal);
    }
    assert!(pids.iter().all(|pid| lives(*pid)));
    let address = simulator.addr();
    timeout(Duration::from_secs(5), simulator.shutdown()).await.expect("a shutdown takes about two seconds at most");
    assert!(pids.into_iter().all(|pid| !lives(pid)));
    // The port may be another test's by now, for as long as that runs.
    until("nobody listens", || std::net::TcpStream::connect(address).is_err()).await;
}
