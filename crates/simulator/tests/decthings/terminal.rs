//! Terminals over the WebSocket: what shells and clients see, and how both end.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use polytty_simulator::decthings::Options;
use serde_json::json;
use tokio::time::timeout;

use crate::support::{Client, PATIENCE, launch_params, lives, of, options, script, start, until};

async fn pid(client: &mut Client, terminal: &str) -> u32 {
    client.type_in(terminal, "echo p''id=$$.\r").await;
    client.expect(terminal, "pid=").await;
    loop {
        let text = client.text(terminal);
        if let Some((pid, _)) = text.split("pid=").nth(1).unwrap().split_once('.') {
            return pid.parse().unwrap();
        }
        client.pass().await;
    }
}

#[tokio::test]
async fn a_launch_opens_a_real_terminal() {
    let simulator = start(options()).await;
    let mut client = Client::open(&simulator).await;
    let id = client.launch(&simulator).await;
    client.expect(&id, "ready> ").await;
    client.type_in(&id, "echo answer=$((6*7)); tty; stty size\r").await;
    client.expect(&id, "answer=42").await;
    client.expect(&id, "/dev/pts/").await;
    client.expect(&id, "24 80").await;
    let counters = simulator.counters();
    assert_eq!((counters.connections, counters.subscriptions, counters.alive), (1, 1, 1));
    assert_eq!((counters.launched, counters.terminated, simulator.sessions()), (1, 0, 1));
    assert_eq!(simulator.terminals(), [id]);
}

#[tokio::test]
async fn a_launch_can_name_the_size_and_a_resize_another() {
    let simulator = start(Options { default_size: (99, 33), ..options() }).await;
    let mut client = Client::open(&simulator).await;
    let id = client.launch(&simulator).await;
    client.type_in(&id, "stty size\r").await;
    client.expect(&id, "33 99").await;

    let mut params = launch_params(&simulator);
    params["options"] = json!({"cols": 120, "rows": 40});
    let reply = client.call("launchTerminalSession", &params, &[]).await;
    let id = reply["result"]["terminalSessionId"].as_str().unwrap().to_owned();
    client.type_in(&id, "stty size\r").await;
    client.expect(&id, "40 120").await;
    // In their order, without waiting for replies.
    let resize = json!({"terminalSessionId": id, "size": {"cols": 70, "rows": 20}});
    let resized = client.send("resizeTerminalSession", &resize, &[]).await;
    client.type_in(&id, "stty size\r").await;
    client.expect(&id, "20 70").await;
    assert_eq!(client.reply(resized).await, json!({"result": {}}));
    assert_eq!(simulator.counters().resizes, 1);
}

#[tokio::test]
async fn writes_that_do_not_wait_for_each_other_keep_their_order() {
    let simulator = start(script("stty raw -echo; echo ready; head -c 20000 | sha256sum")).await;
    let mut client = Client::open(&simulator).await;
    let id = client.launch(&simulator).await;
    client.expect(&id, "ready").await;
    let mut all = Vec::new();
    for number in 0..4_000_u32 {
        let piece = format!("{number:05}");
        all.extend(piece.as_bytes());
        client.type_in(&id, &piece).await;
    }
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &all);
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    client.expect(&id, &hash).await;
}

#[tokio::test]
async fn a_large_paste_goes_through_while_its_echo_comes_back() {
    let simulator = start(script("stty raw -echo; echo ready; head -c 2000000")).await;
    let mut client = Client::open(&simulator).await;
    let id = client.launch(&simulator).await;
    client.expect(&id, "ready").await;
    let piece: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    let mut calls = Vec::new();
    for _ in 0..10 {
        calls.push(client.send("writeToTerminalSession", &of(&id), &[&piece]).await);
    }
    let reason = client.exit(&id).await;
    assert_eq!(reason, json!({"code": "process_exit", "exitCode": 0, "oom": false}));
    let output = client.output(&id);
    let start = output.len() - 2_000_000;
    assert!(output[start..] == piece.repeat(10), "{} bytes", output.len());
    for call in calls {
        assert_eq!(client.reply(call).await, json!({"result": {}}));
    }
}

#[tokio::test]
async fn every_byte_of_output_comes_before_the_end() {
    let simulator = start(script("seq 1 20000; exit 3")).await;
    let expected: String = (1..=20_000).map(|number| format!("{number}\r\n")).collect();
    let mut client = Client::open(&simulator).await;
    for _ in 0..20 {
        let id = client.launch(&simulator).await;
        assert_eq!(client.exit(&id).await, json!({"code": "process_exit", "exitCode": 3, "oom": false}));
        assert!(client.text(&id) == expected, "{} of {} bytes", client.output(&id).len(), expected.len());
    }
    until("the shells are reaped", || simulator.sessions() == 0).await;
    let counters = simulator.counters();
    assert_eq!((counters.launched, counters.terminated, counters.lost_bytes), (20, 20, 0));
}

#[tokio::test]
async fn bytes_that_are_no_text_go_through_unchanged() {
    let simulator = start(script("stty raw; for i in {0..255}; do printf \"\\\\x$(printf %x $i)\"; done")).await;
    let mut client = Client::open(&simulator).await;
    let id = client.launch(&simulator).await;
    client.exit(&id).await;
    assert_eq!(client.output(&id), (0..=255).collect::<Vec<u8>>());
}

#[tokio::test]
async fn a_shell_that_is_killed_tells_the_signal() {
    let simulator = start(options()).await;
    let mut client = Client::open(&simulator).await;
    let id = client.launch(&simulator).await;
    client.type_in(&id, "kill -9 $$\r").await;
    assert_eq!(client.exit(&id).await, json!({"code": "process_exit", "signal": "SIGKILL", "oom": false}));
}

#[tokio::test]
async fn many_sessions_share_one_connection_and_keep_their_bytes_apart() {
    let script = "while read -r who; do for i in $(seq 1 3000); do echo $who $i; done; exit; done";
    let simulator = start(self::script(&format!("stty -echo; {script}"))).await;
    let mut client = Client::open(&simulator).await;
    let mut ids = Vec::new();
    for number in 0..8 {
        let id = client.launch(&simulator).await;
        client.type_in(&id, &format!("w{number}\r")).await;
        ids.push(id);
    }
    for (number, id) in ids.iter().enumerate() {
        client.exit(id).await;
        let expected: String = (1..=3_000).map(|line| format!("w{number} {line}\r\n")).collect();
        let text = client.text(id);
        // The first line may have been echoed before the terminal was told not to.
        assert!(text.ends_with(&expected), "{} bytes of {number}", text.len());
        assert!(text.len() - expected.len() <= 4, "{:?}", &text[..text.len() - expected.len()]);
    }
    assert_eq!(simulator.counters().subscriptions, 0);
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_its_terminals_and_can_still_interrupt_them() {
    let simulator = start(options()).await;
    let mut client = Client::open(&simulator).await;
    let id = client.launch(&simulator).await;
    client.expect(&id, "ready> ").await;
    client.type_in(&id, "yes\r").await;
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
    // The interrupt is taken although no output can leave, and so are calls for other terminals.
    let before = simulator.counters().input_bytes;
    client.type_in(&id, "\u{3}").await;
    client.send("launchTerminalSession", &launch_params(&simulator), &[]).await;
    until("the interrupt is taken", || simulator.counters().input_bytes == before + 1).await;
    until("another one runs", || simulator.sessions() == 2).await;
    client.type_in(&id, "echo int''errupted\r").await;
    client.expect(&id, "interrupted").await;
    assert_eq!(simulator.counters().lost_bytes, 0);
}

#[tokio::test]
async fn a_terminal_that_takes_no_input_keeps_nobody_else_from_it() {
    let simulator = start(options()).await;
    let mut client = Client::open(&simulator).await;
    let (deaf, other) = (client.launch(&simulator).await, client.launch(&simulator).await);
    client.expect(&deaf, "ready> ").await;
    client.type_in(&deaf, "stty raw -echo; sleep 1000\r").await;
    client.type_in(&other, "stty raw -echo; echo rea''dy; head -c 5; exec bash --norc\r").await;
    client.expect(&other, "ready").await;
    // More than the terminal's own buffer holds; the reply has to wait.
    let stuck = client.send("writeToTerminalSession", &of(&deaf), &[&[b'x'; 200_000]]).await;
    client.type_in(&other, "hello").await;
    client.expect(&other, "hello").await;
    let resize = json!({"terminalSessionId": deaf, "size": {"cols": 70, "rows": 20}});
    assert_eq!(client.call("resizeTerminalSession", &resize, &[]).await, json!({"result": {}}));
    assert!(!client.has_reply(stuck));
    // Its end answers what was still waiting.
    assert_eq!(client.call("terminateTerminalSession", &of(&deaf), &[]).await, json!({"result": {}}));
    assert_eq!(client.reply(stuck).await, json!({"error": {"code": "terminal_session_not_found"}}));
}

#[tokio::test]
async fn terminating_leaves_no_process_behind() {
    let simulator = start(options()).await;
    let mut client = Client::open(&simulator).await;
    let id = client.launch(&simulator).await;
    let pid = pid(&mut client, &id).await;
    assert!(lives(pid));
    client.call("terminateTerminalSession", &of(&id), &[]).await;
    assert_eq!(client.exit(&id).await, json!({"code": "terminated_on_request"}));
    until("the shell is gone", || simulator.sessions() == 0).await;
    assert!(!lives(pid));
}

#[tokio::test]
async fn shutting_down_leaves_no_shell_behind() {
    let simulator = start(options()).await;
    let mut client = Client::open(&simulator).await;
    let mut pids = Vec::new();
    for _ in 0..4 {
        let id = client.launch(&simulator).await;
        pids.push(pid(&mut client, &id).await);
    }
    assert!(pids.iter().all(|pid| lives(*pid)));
    let address = simulator.addr();
    timeout(Duration::from_secs(5), simulator.shutdown()).await.expect("a shutdown takes about two seconds at most");
    assert!(pids.into_iter().all(|pid| !lives(pid)));
    // The port may be another test's by now, for as long as that runs.
    until("nobody listens", || std::net::TcpStream::connect(address).is_err()).await;
}

#[tokio::test]
async fn a_shell_that_cannot_be_started_fails_the_launch() {
    let simulator = start(Options { shell: vec!["/no/such/shell".to_owned()], ..options() }).await;
    let mut client = Client::open(&simulator).await;
    let reply = client.call("launchTerminalSession", &launch_params(&simulator), &[]).await;
    assert_eq!(reply, json!({"error": {"code": "unknown"}}));
    assert_eq!((simulator.sessions(), simulator.counters().alive), (0, 0));
}

#[tokio::test]
async fn a_program_left_in_the_background_does_not_hold_the_session() {
    let simulator = start(script("trap '' HUP; sleep 30 & echo left; exit")).await;
    let mut client = Client::open(&simulator).await;
    let id = client.launch(&simulator).await;
    assert_eq!(timeout(Duration::from_secs(10), client.exit(&id)).await.unwrap()["exitCode"], 0);
    assert_eq!(client.text(&id), "left\r\n");
}

#[tokio::test]
async fn output_is_sent_in_few_large_messages() {
    let simulator = start(script("head -c 10000000 /dev/zero | tr '\\0' x")).await;
    let mut client = Client::open(&simulator).await;
    let id = client.launch(&simulator).await;
    let start = Instant::now();
    timeout(PATIENCE, client.exit(&id)).await.unwrap();
    let (bytes, messages) = (client.output(&id).len(), client.messages);
    eprintln!("{bytes} bytes in {messages} messages and {:?}", start.elapsed());
    assert_eq!(bytes, 10_000_000);
    assert!(messages < 10_000, "{messages}");
}

#[tokio::test]
async fn a_ping_is_answered() {
    let simulator = start(options()).await;
    let mut client = Client::open(&simulator).await;
    let ping = tokio_tungstenite::tungstenite::Message::Ping("payload".into());
    futures_util::SinkExt::send(&mut client.socket, ping).await.unwrap();
    let pong = timeout(PATIENCE, client.socket.next()).await.unwrap().unwrap().unwrap();
    assert!(pong.is_pong() && &pong.into_data()[..] == b"payload");
}
