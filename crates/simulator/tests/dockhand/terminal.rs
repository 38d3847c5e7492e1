//! The terminal: what the shell sees, what the client sees, and how both end.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use polytty_simulator::dockhand::{Auth, Options};
use serde_json::json;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    End, PATIENCE, SLOW, Terminal, bearer, lives, options, script, start, terminal_path, until, upgrade,
};

#[tokio::test]
async fn a_session_goes_as_one_with_a_real_server_went() {
    let container = Some("box".to_owned());
    let simulator = start(Options { auth: Auth::Off, container, create_delay: Some(SLOW), ..options() }).await;
    let path = "/api/containers/box/exec?shell=%2Fbin%2Fsh&user=root&envId=1";
    let mut terminal = Terminal::open_as(&simulator, path, "").await;
    terminal.resize(111, 33).await;
    until("it is lost", || simulator.counters().messages_dropped == 1).await;
    terminal.expect("# ").await;
    assert_eq!(terminal.output, "# ");
    terminal.type_in("stty size\r").await;
    terminal.expect("0 0\r\n# ").await;
    assert_eq!(terminal.output, "# stty size\r\n0 0\r\n# ");
    terminal.resize(99, 22).await;
    until("it is applied", || simulator.counters().resizes == 1).await;
    terminal.output.clear();
    terminal.type_in("stty size\r").await;
    terminal.expect("# ").await;
    assert_eq!(terminal.output, "stty size\r\n22 99\r\n# ");
    terminal.output.clear();
    terminal.type_in("exit 3\r").await;
    terminal.expect_exit().await;
    assert_eq!(terminal.output, "exit 3\r\n");

    let mut nowhere = Terminal::open_as(&simulator, "/api/containers/nope/exec?envId=1", "").await;
    assert_eq!(nowhere.end().await, End::Close(1005));
    assert_eq!(nowhere.news, ["No such container: nope"]);
    until("nothing is left", || simulator.sessions() == 0 && simulator.counters().attached == 0).await;
}

#[tokio::test]
async fn a_shell_has_a_real_controlling_terminal() {
    let simulator = start(options()).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("# ").await;
    terminal.type_in("echo [$(tty) $(ps -o tty= -p $$) $TERM]\r").await;
    terminal.expect("color]\r\n").await;
    let line = terminal.output.split("[/dev/").nth(1).unwrap().lines().next().unwrap();
    let words: Vec<_> = line.split(' ').collect();
    assert!(words[0].starts_with("pts/"), "{line}");
    assert_eq!(words, [words[0], words[0], "xterm-256color]"]);
}

#[tokio::test]
async fn a_resize_reaches_the_running_program_and_nonsense_is_ignored() {
    let simulator = start(script("trap 'stty size' WINCH; echo armed; while :; do sleep 0.02; printf .; done")).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("armed").await;
    terminal.resize(132, 43).await;
    // The dot says that the handler is done: bash loses a signal that comes while it runs.
    terminal.expect("43 132\r\n.").await;
    for (cols, rows) in
        [(json!(0), json!(10)), (json!(null), json!(10)), (json!(80.5), json!(24)), (json!(-1), json!(1))]
    {
        terminal.send(json!({"type": "resize", "cols": cols, "rows": rows})).await;
    }
    terminal.send(json!({"type": "resize"})).await;
    terminal.send(json!({"type": "resize", "cols": "100", "rows": "30"})).await;
    terminal.expect("30 100\r\n").await;
    assert_eq!((simulator.counters().resizes, simulator.counters().messages_ignored), (2, 5));
}

#[tokio::test]
async fn input_does_not_wait_for_a_resize_and_of_two_the_last_one_counts() {
    let simulator = start(Options { resize_delay: Duration::from_secs(3_600), ..options() }).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("# ").await;
    terminal.resize(70, 10).await;
    terminal.type_in("stty size\r").await;
    terminal.expect("0 0\r\n").await;

    let watch = script("trap 'stty size' WINCH; echo armed; while :; do sleep 0.02; done");
    let simulator = start(Options { resize_delay: Duration::from_millis(300), ..watch }).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("armed").await;
    terminal.resize(70, 10).await;
    terminal.resize(71, 11).await;
    terminal.expect("11 71\r\n").await;
}

#[tokio::test]
async fn every_byte_of_output_comes_before_the_exit() {
    let simulator = start(script("seq 1 20000; exit 3")).await;
    let expected: String = (1..=20_000).map(|number| format!("{number}\r\n")).collect();
    for _ in 0..20 {
        let mut terminal = Terminal::open(&simulator).await;
        terminal.expect_exit().await;
        assert!(terminal.output == expected, "{} of {} bytes", terminal.output.len(), expected.len());
    }
    until("the shells are reaped", || simulator.sessions() == 0).await;
    assert_eq!(simulator.counters().orphaned, 0);
}

#[tokio::test]
async fn a_slow_reader_gets_the_tail_as_well() {
    let simulator = start(script("seq 1 100000")).await;
    let mut terminal = Terminal::open(&simulator).await;
    let mut messages = 0;
    while let Some(Ok(message)) = terminal.next().await {
        if message.is_close() {
            break;
        }
        terminal.take(&message);
        messages += 1;
        if messages % 8 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert!(terminal.output.ends_with("\r\n99999\r\n100000\r\n"));
    assert_eq!((terminal.output.lines().count(), terminal.news.as_slice()), (100_000, &["exit".to_owned()][..]));
}

#[tokio::test]
async fn a_large_paste_goes_through_while_its_echo_comes_back() {
    // Raw mode with echo by the program: input and output are of the same size and flow at the same time.
    let simulator = start(script("stty raw -echo; echo ready; head -c 2000000")).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("ready").await;
    let (mut sink, mut stream) = terminal.socket.split();
    let piece: String = (0..40_000).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
    let message = json!({"type": "input", "data": piece}).to_string();
    let paste = async {
        for _ in 0..50 {
            sink.send(Message::text(message.clone())).await.unwrap();
        }
    };
    let read = async {
        let mut output = String::new();
        while let Some(Ok(Message::Text(text))) = stream.next().await {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            output += value["data"].as_str().unwrap_or_default();
        }
        output
    };
    let ((), output) = timeout(PATIENCE, async { tokio::join!(paste, read) }).await.unwrap();
    let echoed = output.trim_start_matches(['\r', '\n']);
    assert!(echoed == piece.repeat(50), "{} bytes", echoed.len());
    assert_eq!(simulator.counters().input_bytes, 2_000_000);
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_shell_and_can_still_interrupt_it() {
    let simulator = start(options()).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("# ").await;
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
    let before = simulator.counters().input_bytes;
    terminal.type_in("\u{3}").await;
    until("the interrupt is taken", || simulator.counters().input_bytes == before + 1).await;
    terminal.type_in("echo int''errupted\r").await;
    terminal.expect("interrupted").await;
}

#[tokio::test]
async fn input_that_no_program_reads_holds_up_neither_pings_nor_a_close() {
    let simulator = start(script("stty raw -echo; echo ready; exec sleep 1000")).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("ready").await;
    for _ in 0..10 {
        terminal.type_in(&"x".repeat(60_000)).await;
    }
    terminal.expect_pong().await;
    assert!(simulator.counters().input_bytes < 600_000, "the terminal is full");
    terminal.socket.close(None).await.unwrap();
    assert_eq!(terminal.end().await, End::Close(1005));
}

#[tokio::test]
async fn messages_without_a_meaning_are_ignored() {
    let simulator = start(options()).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("# ").await;
    for nothing in ["not JSON", "null", "[]", "7", r#"{"type":"ping"}"#, r#"{"type":"input","data":7}"#, "{}", ""] {
        terminal.socket.send(Message::text(nothing)).await.unwrap();
    }
    terminal.socket.send(Message::binary(b"\xFF\xFE".to_vec())).await.unwrap();
    terminal.expect_pong().await;
    assert_eq!(simulator.counters().messages_ignored, 9);
    assert_eq!(terminal.output, "# ");
    terminal.expect_silence().await;
    // Neither does the server speak by itself, nor ping. It takes a binary message as well, and answers in text.
    let message = json!({"type": "input", "data": "echo al''ive\r", "more": [1]}).to_string();
    terminal.socket.send(Message::binary(message.into_bytes())).await.unwrap();
    terminal.expect("alive\r\n").await;
}

#[tokio::test]
async fn characters_that_two_chunks_share_are_lost() {
    // The program speaks on when it is spoken to, so that each half is a chunk.
    let simulator =
        start(script(r"stty -echo; printf 'a\xe2\x82'; read x; printf '\xac\xff'; read x; printf '€é'")).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("a\u{FFFD}").await;
    terminal.type_in("\r").await;
    terminal.expect("a\u{FFFD}\u{FFFD}\u{FFFD}").await;
    terminal.type_in("\r").await;
    terminal.expect_exit().await;
    assert_eq!(terminal.output, "a\u{FFFD}\u{FFFD}\u{FFFD}€é");
}

#[tokio::test]
async fn input_is_utf_8_and_half_a_surrogate_pair_is_replaced() {
    let simulator = start(script("stty raw -echo; echo ready; head -c 10 | od -An -tx1")).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("ready").await;
    let message = r#"{"type":"input","data":"\u00e9\ud83d\ude00\ud800\r"}"#;
    terminal.socket.send(Message::text(message)).await.unwrap();
    terminal.expect_exit().await;
    assert!(terminal.output.contains("c3 a9 f0 9f 98 80 ef bf bd 0d"), "{}", terminal.output);
}

#[tokio::test]
async fn control_p_is_withheld_and_control_p_control_q_leaves_the_shell_running() {
    let simulator = start(options()).await;
    let mut terminal = Terminal::open(&simulator).await;
    let pid = terminal.pid().await;
    // The quotes keep the echo of the line, and the prompt that may come behind it, from looking like the answer.
    terminal.type_in("stty raw -echo; echo g''o; head -c 2 | od -An -tx1; stty sane\r").await;
    terminal.expect("go\n").await;
    let before = simulator.counters().input_bytes;
    terminal.type_in("\u{10}").await;
    terminal.expect_pong().await;
    assert_eq!(simulator.counters().input_bytes, before);
    terminal.type_in("a").await;
    terminal.expect("10 61").await;
    terminal.type_in("touch /dev/null; echo go''ing; \u{10}\u{11}never").await;
    terminal.expect_exit().await;
    assert!(lives(pid) && simulator.counters().orphans == 1);
    assert_eq!(simulator.sessions(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_leaves_its_shell_behind() {
    let simulator = start(options()).await;
    let mut pids = Vec::new();
    for leave in ["drop", "close"] {
        let mut terminal = Terminal::open(&simulator).await;
        pids.push(terminal.pid().await);
        if leave == "close" {
            terminal.socket.close(None).await.unwrap();
            assert_eq!(terminal.end().await, End::Close(1005), "a Close is answered");
            assert!(terminal.news.is_empty());
        }
        drop(terminal);
        until("it is left", || simulator.counters().orphans == pids.len()).await;
    }
    until("the sockets are closed", || simulator.counters().attached == 0).await;
    assert!(pids.iter().all(|pid| lives(*pid)));
    assert_eq!((simulator.sessions(), simulator.counters().orphaned), (2, 2));
    timeout(Duration::from_secs(5), simulator.shutdown()).await.expect("a shutdown takes about two seconds at most");
    assert!(!pids.into_iter().any(lives));
}

#[tokio::test]
async fn a_shell_that_was_left_ends_in_its_own_time() {
    let simulator = start(script("echo ready; read x; seq 1 100000; echo the end")).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("ready").await;
    terminal.type_in("\r").await;
    terminal.expect("\n1\r\n").await;
    // More than the kernel holds is still to come: somebody has to read it.
    drop(terminal);
    until("it is left", || simulator.counters().orphaned == 1).await;
    until("it has ended", || simulator.sessions() == 0).await;
    assert_eq!(simulator.counters().orphans, 0);
}

#[tokio::test]
async fn of_too_many_shells_that_were_left_the_oldest_is_hung_up() {
    let simulator = start(Options { max_orphans: 2, ..options() }).await;
    let mut pids = Vec::new();
    for left in 1..=3 {
        let mut terminal = Terminal::open(&simulator).await;
        pids.push(terminal.pid().await);
        drop(terminal);
        until("it is left", || simulator.counters().orphaned == left).await;
    }
    until("two are there", || simulator.sessions() == 2).await;
    assert_eq!(pids.into_iter().map(lives).collect::<Vec<_>>(), [false, true, true]);
}

#[tokio::test]
async fn the_first_subprotocol_that_is_offered_is_named() {
    let simulator = start(options()).await;
    let headers = format!("{}Sec-WebSocket-Protocol: one, two\r\n", bearer(&simulator));
    let (reply, stream) = upgrade(&simulator, &terminal_path(&simulator, 1), &headers).await;
    assert_eq!((reply.status, reply.header("sec-websocket-protocol")), (101, Some("one")));
    Terminal::over(stream, reply.body).await.expect("# ").await;
}

#[tokio::test]
async fn shutting_down_leaves_no_shell_behind() {
    let simulator = start(options()).await;
    let mut terminals = Vec::new();
    let mut pids = Vec::new();
    for _ in 0..4 {
        let mut terminal = Terminal::open(&simulator).await;
        pids.push(terminal.pid().await);
        terminals.push(terminal);
    }
    terminals.truncate(2);
    until("two are left", || simulator.counters().orphans == 2).await;
    let address = simulator.addr();
    timeout(Duration::from_secs(5), simulator.shutdown()).await.expect("a shutdown takes about two seconds at most");
    assert!(!pids.into_iter().any(lives));
    // The port may be another test's by now, for as long as that runs.
    until("nobody listens", || std::net::TcpStream::connect(address).is_err()).await;
}

#[tokio::test]
async fn shells_are_bounded() {
    let simulator = start(Options { max_sessions: 1, ..options() }).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("# ").await;
    let (reply, _) = upgrade(&simulator, &terminal_path(&simulator, 1), &bearer(&simulator)).await;
    assert_eq!(reply.status, 503);
    terminal.type_in("exit\r").await;
    terminal.expect_exit().await;
    until("the shell is reaped", || simulator.sessions() == 0).await;
    Terminal::open(&simulator).await.expect("# ").await;
}
