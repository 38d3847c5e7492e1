//! The flow that the documentation describes: a call creates the process, a WebSocket attaches to it by its id, and sizes
//! are calls.

use std::time::{Duration, SystemTime};

use polytty_simulator::{
    ManualClock,
    dockhand::{Dockhand, Flow, Options},
};
use serde_json::json;

use crate::support::{
    End, Terminal, ask, bearer, call, call_as, lives, options, read_all, start, terminal_path, until, upgrade,
};

fn documented() -> Options {
    Options { flow: Flow::Documented, ..options() }
}

async fn create(simulator: &Dockhand) -> String {
    let reply = call(simulator, "POST /api/containers/web/exec?envId=1", r#"{"shell":"/bin/sh","user":"root"}"#).await;
    reply.json()["execId"].as_str().unwrap().to_owned()
}

async fn resize(simulator: &Dockhand, id: &str, query: &str) -> u16 {
    call(simulator, &format!("POST /api/exec/{id}/resize?{query}"), "").await.status
}

#[tokio::test]
async fn a_process_is_created_attached_to_resized_and_ended() {
    let simulator = start(documented()).await;
    assert_eq!(simulator.ready_line()["provider"]["flow"], "documented");
    let id = create(&simulator).await;
    assert_eq!(resize(&simulator, &id, "h=40&w=120&envId=1").await, 200);
    let mut terminal = Terminal::open_path(&simulator, &format!("/api/exec/{id}?envId=1")).await;
    terminal.type_in("stty size\r").await;
    terminal.expect("40 120\r\n# ").await;
    assert_eq!(resize(&simulator, &id, "h=22&w=99&envId=1").await, 200);
    until("it is applied", || simulator.counters().resizes == 1).await;
    terminal.type_in("stty size\r").await;
    terminal.expect("22 99\r\n# ").await;
    // A size is a call here, not a message.
    terminal.resize(50, 10).await;
    until("it is ignored", || simulator.counters().messages_ignored == 1).await;
    terminal.type_in("exit\r").await;
    terminal.expect_exit().await;
    until("nothing is left", || simulator.sessions() == 0).await;
    assert_eq!(resize(&simulator, &id, "h=22&w=99&envId=1").await, 404);
    assert_eq!(simulator.counters().resize_calls, 2);
}

#[tokio::test]
async fn closing_the_websocket_ends_the_process() {
    let simulator = start(documented()).await;
    let id = create(&simulator).await;
    let mut terminal = Terminal::open_path(&simulator, &format!("/api/exec/{id}/ws?envId=1")).await;
    let pid = terminal.pid().await;
    terminal.socket.close(None).await.unwrap();
    assert_eq!(terminal.end().await, End::Close(1005));
    until("it is gone", || simulator.sessions() == 0).await;
    assert!(!lives(pid));
    assert_eq!(simulator.counters().orphaned, 0);
}

#[tokio::test]
async fn an_exec_is_good_once_and_for_a_minute() {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let simulator = start(Options { clock: clock.clock(), ..documented() }).await;
    let [id, late] = [create(&simulator).await, create(&simulator).await];
    let path = format!("/api/containers/web/exec?envId=1&execId={id}");
    Terminal::open_path(&simulator, &path).await.expect("# ").await;
    let (reply, mut stream) = upgrade(&simulator, &path, &bearer(&simulator)).await;
    assert_eq!(reply.status, 404);
    let rest = [reply.body, read_all(&mut stream).await.into_bytes()].concat();
    assert_eq!(rest, json!({"error": format!("No such exec instance: {id}")}).to_string().into_bytes());
    clock.advance(Duration::from_secs(60));
    assert_eq!(upgrade(&simulator, &format!("/api/exec/{late}"), &bearer(&simulator)).await.0.status, 404);
}

#[tokio::test]
async fn neither_a_stranger_nor_a_path_without_an_id_opens_anything() {
    let simulator = start(documented()).await;
    let id = create(&simulator).await;
    let mut stream = ask(&simulator, &format!("/api/exec/{id}?envId=1"), "").await;
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 401 "));
    let mut stream = ask(&simulator, &terminal_path(&simulator, 1), &bearer(&simulator)).await;
    assert_eq!(read_all(&mut stream).await, "");
    assert_eq!(call_as(&simulator, &format!("POST /api/exec/{id}/resize?h=1&w=1&envId=1"), "", "").await.status, 401);
    Terminal::open_path(&simulator, &format!("/api/exec/{id}?envId=1")).await.expect("# ").await;
}

#[tokio::test]
async fn sizes_are_checked() {
    let simulator = start(documented()).await;
    let id = create(&simulator).await;
    for (query, status) in [
        ("h=24&w=80", 500),
        ("h=24&w=80&envId=2", 404),
        ("w=80&envId=1", 400),
        ("h=24&w=-1&envId=1", 400),
        ("h=24&w=wide&envId=1", 400),
        ("h=24&w=80&envId=1", 200),
    ] {
        assert_eq!(resize(&simulator, &id, query).await, status, "{query}");
    }
}
