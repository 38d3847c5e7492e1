//! What a client of a real server has to survive.

use polytty_simulator::dockhand::{Dockhand, Opening, Options};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{End, SLOW, Terminal, bearer, call, lives, options, start, terminal_path, until, upgrade};

const LOCAL: u32 = 1;
const EDGE: u32 = 2;

#[tokio::test]
async fn what_is_said_before_the_process_is_created_is_lost() {
    let simulator = start(Options { create_delay: Some(SLOW), ..options() }).await;
    let mut terminal = Terminal::open_in(&simulator, LOCAL).await;
    terminal.type_in("echo EA''RLY\r").await;
    terminal.resize(90, 20).await;
    until("both are lost", || simulator.counters().messages_dropped == 2).await;
    terminal.expect_pong().await;
    terminal.expect("# ").await;
    terminal.type_in("stty size; echo LA''TE\r").await;
    terminal.expect("0 0\r\nLATE").await;
    assert!(!terminal.output.contains("EARLY"));
}

#[tokio::test]
async fn by_an_agent_it_is_kept_and_the_terminal_has_a_size() {
    let simulator = start(Options { create_delay: Some(SLOW), ..options() }).await;
    let mut terminal = Terminal::open_in(&simulator, EDGE).await;
    terminal.type_in("echo EA''RLY\r").await;
    terminal.expect("EARLY\r\n# ").await;
    terminal.type_in("stty size\r").await;
    terminal.expect("30 120\r\n").await;

    let mut terminal = Terminal::open_in(&simulator, EDGE).await;
    terminal.resize(90, 20).await;
    terminal.expect("# ").await;
    until("it is applied", || simulator.counters().resizes == 1).await;
    terminal.type_in("stty size\r").await;
    terminal.expect("20 90\r\n").await;
    assert_eq!(simulator.counters().messages_dropped, 0);
}

#[tokio::test]
async fn a_client_that_leaves_before_leaves_a_shell_all_the_same() {
    let simulator = start(Options { create_delay: Some(SLOW), ..options() }).await;
    drop(Terminal::open_in(&simulator, LOCAL).await);
    until("it is left", || simulator.counters().orphans == 1).await;
    assert_eq!(simulator.sessions(), 1);
    // The agent is told in time, and a container that is not there has no shell.
    drop(Terminal::open_in(&simulator, EDGE).await);
    drop(Terminal::open_path(&simulator, "/api/containers/nope/exec?envId=1").await);
    until("only that one is left", || simulator.sessions() == 1 && simulator.counters().attached == 0).await;
    assert_eq!(simulator.counters().orphaned, 1);
}

async fn refusal(simulator: &Dockhand, path: &str) -> String {
    let mut terminal = Terminal::open_path(simulator, path).await;
    assert_eq!(terminal.end().await, End::Close(1005), "{path}");
    assert_eq!((terminal.output.as_str(), terminal.news.len()), ("", 1), "{path}");
    terminal.news.remove(0)
}

#[tokio::test]
async fn the_101_says_nothing_about_the_container() {
    let simulator = start(options()).await;
    let id = |name: &str| {
        let containers = &simulator.environments()[0].containers;
        containers.iter().find(|container| container.name == name).unwrap().id.clone()
    };
    let paused = format!("Container {} is paused, unpause the container before exec", id("paused"));
    for (path, message) in [
        ("web/exec", "No environment specified"),
        ("web/exec?envId=", "No environment specified"),
        ("web/exec?envId=one", "No environment specified"),
        ("web/exec?envId=99", "Environment 99 not found"),
        ("/exec", "No container ID"),
        ("nope/exec?envId=1", "No such container: nope"),
        ("we%62/exec?envId=1", "No such container: we%62"),
        ("stopped/exec?envId=1", &format!("container {} is not running", id("stopped"))),
        ("paused/exec?envId=1", &paused),
        ("web/exec?envId=1&user=mallory", "unable to find user mallory: no matching entries in passwd file"),
        ("web/exec?envId=3", "Edge agent not connected"),
        ("web/exec?envId=4", "Docker socket not accessible"),
    ] {
        assert_eq!(refusal(&simulator, &format!("/api/containers/{path}")).await, message, "{path}");
    }
    until("nothing is left", || simulator.sessions() == 0).await;
    for good in [id("web").as_str(), &id("web")[..40]] {
        let path = format!("/api/containers/{good}/exec?envId=1");
        Terminal::open_path(&simulator, &path).await.expect("# ").await;
    }
    Terminal::open_in(&simulator, 5).await.expect("# ").await;
}

#[tokio::test]
async fn a_shell_that_is_not_there_is_output_and_an_exit() {
    let simulator = start(options()).await;
    for (shell, why) in [
        ("%2Fbin%2Fzsh", "exec: \"/bin/zsh\": stat /bin/zsh: no such file or directory: unknown\r\n"),
        ("fish", "exec: \"fish\": executable file not found in $PATH: unknown\r\n"),
        ("%2Fbin%2Fsh+-l", "exec: \"/bin/sh -l\": stat /bin/sh -l: no such file or directory: unknown\r\n"),
    ] {
        let mut terminal =
            Terminal::open_path(&simulator, &format!("/api/containers/web/exec?envId=1&shell={shell}")).await;
        terminal.expect_exit().await;
        assert!(terminal.output.starts_with("OCI runtime exec failed: ") && terminal.output.ends_with(why), "{why}");
    }
    let path = "/api/containers/web/exec?envId=1&shell=%2Fbin%2Fbash";
    Terminal::open_path(&simulator, path).await.expect("# ").await;
}

#[tokio::test]
async fn what_is_asked_for_is_recorded_as_it_was_meant() {
    let simulator = start(options()).await;
    let path = "/api/containers/web/exec?shell=%2Fbin%2Fba%26sh&user=w%C3%BC+x%3D%252F%3F&envId=1";
    assert!(refusal(&simulator, path).await.starts_with("unable to find user"));
    Terminal::open_path(&simulator, "/api/containers/web/exec?user=1000%3A1000&envId=1").await.expect("# ").await;
    call(&simulator, "POST /api/containers/web/exec?envId=5", r#"{"shell":"/bin/bash","user":"www-data"}"#).await;
    let opening = |environment, shell: &str, user: &str| Opening {
        environment: Some(environment),
        container: "web".to_owned(),
        shell: shell.to_owned(),
        user: user.to_owned(),
    };
    let expected = [
        opening(1, "/bin/ba&sh", "wü x=%2F?"),
        opening(1, "/bin/sh", "1000:1000"),
        opening(5, "/bin/bash", "www-data"),
    ];
    assert_eq!(simulator.openings(), expected);
}

/// Frames that RFC 6455 forbids a client, and the code of the Close that answers each.
const ILLEGAL: &[(&[u8], u16)] = &[
    // Text that is no UTF-8.
    (b"\x81\x82\0\0\0\0\xFF\xFF", 1007),
    // A Close with code 1006.
    (b"\x88\x82\0\0\0\0\x03\xEE", 1002),
    // A Close with one byte.
    (b"\x88\x81\0\0\0\0\x03", 1002),
    // Without a mask.
    (b"\x81\x02{}", 1002),
    // A reserved bit.
    (b"\xC1\x80\0\0\0\0", 1002),
    // A reserved opcode.
    (b"\x83\x80\0\0\0\0", 1002),
];

#[tokio::test]
async fn an_illegal_frame_ends_every_session_and_no_shell() {
    for (round, (frame, code)) in ILLEGAL.iter().enumerate() {
        let simulator = start(options()).await;
        let mut bystander = Terminal::open(&simulator).await;
        let pid = bystander.pid().await;
        let (reply, mut stream) = upgrade(&simulator, &terminal_path(&simulator, 1), &bearer(&simulator)).await;
        stream.write_all(frame).await.unwrap();
        let mut culprit = Terminal::over(stream, reply.body).await;
        assert_eq!(culprit.end().await, End::Close(*code), "{round}");
        assert_eq!(bystander.end().await, End::Reset, "{round}");
        assert!(bystander.news.is_empty());
        until("it is left", || simulator.counters().attached == 0 && simulator.counters().orphans >= 1).await;
        assert!(lives(pid));
        assert_eq!(simulator.counters().crashes, 1);
        Terminal::open(&simulator).await.expect("# ").await;
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_is_illegal_as_well() {
    let simulator = start(Options { max_message: 1_000, ..options() }).await;
    let empty = json!({"type": "input", "data": ""}).to_string().len();
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("# ").await;
    terminal.type_in(&" ".repeat(1_000 - empty)).await;
    terminal.expect_pong().await;
    assert_eq!(simulator.counters().crashes, 0);
    terminal.type_in(&" ".repeat(1_001 - empty)).await;
    assert_eq!(terminal.end().await, End::Close(1009));
    until("the process has ended", || simulator.counters().crashes == 1).await;
}

#[tokio::test]
async fn legal_closes_and_resets_are_harmless() {
    let simulator = start(options()).await;
    let mut bystander = Terminal::open(&simulator).await;
    bystander.expect("# ").await;
    for code in [1000_u16, 1001, 1002, 3000, 4999] {
        let mut terminal = Terminal::open(&simulator).await;
        terminal.expect("# ").await;
        let frame = [&[0x88, 0x82, 0, 0, 0, 0][..], &code.to_be_bytes()].concat();
        terminal.socket.get_mut().write_all(&frame).await.unwrap();
        assert_eq!(terminal.end().await, End::Close(code));
    }
    let terminal = Terminal::open(&simulator).await;
    terminal.socket.get_ref().set_zero_linger().unwrap();
    drop(terminal);
    until("only one is open", || simulator.counters().attached == 1).await;
    bystander.type_in("echo st''ill\r").await;
    bystander.expect("still").await;
    assert_eq!(simulator.counters().crashes, 0);
}

#[tokio::test]
async fn a_client_that_ends_its_side_leaves_too() {
    let simulator = start(options()).await;
    let mut terminal = Terminal::open(&simulator).await;
    terminal.expect("# ").await;
    futures_util::SinkExt::send(&mut terminal.socket, Message::text("{}")).await.unwrap();
    terminal.socket.get_mut().shutdown().await.unwrap();
    until("it is left", || simulator.counters().orphans == 1).await;
}
