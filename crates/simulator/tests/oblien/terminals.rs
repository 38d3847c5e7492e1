//! Terminals by REST: what is created, listed, remembered and deleted.

use polytty_simulator::oblien::Options;
use serde_json::{Value, json};

use crate::support::{Data, End, lives, numbers, options, start, until};

#[tokio::test]
async fn a_terminal_is_created_as_asked() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let reply = data
        .call("POST", "/terminals", r#"{"cmd":["/bin/sh","-c","stty size; tty; sleep 1000"],"cols":120,"rows":40}"#)
        .await;
    assert_eq!(reply.status, 201);
    let command = json!(["/bin/sh", "-c", "stty size; tty; sleep 1000"]);
    assert_eq!(reply.json(), json!({"success": true, "id": "1", "cols": 120, "rows": 40, "command": command}));
    data.said(1, "40 120\r\n/dev/pts/").await;
    let list = data.list().await;
    assert_eq!((&list[0]["id"], &list[0]["alive"], &list[0]["exit_code"]), (&json!("1"), &json!(true), &json!(0)));
    assert_eq!((&list[0]["cols"], &list[0]["rows"], &list[0]["command"]), (&json!(120), &json!(40), &command));
    let created = list[0]["created_at"].as_str().unwrap();
    assert!(created.len() == 20 && created.ends_with('Z'), "{created}");
    // `command` is another name for `cmd`, and gives way to it.
    let body = json!({"command": ["/bin/false"], "cmd": ["/bin/echo", "cmd"]});
    assert_eq!(data.create(body).await, 2);
    data.said(2, "cmd\r\n").await;
    assert_eq!(data.create(json!({"command": ["/bin/echo", "alias"]})).await, 3);
    data.said(3, "alias\r\n").await;
    // Nothing at all is an interactive shell of 80 columns and 24 rows.
    let reply = data.call("POST", "/terminals", "").await;
    assert_eq!((&reply.json()["cols"], &reply.json()["rows"]), (&json!(80), &json!(24)));
    data.said(4, "ready> ").await;
    let reply = data.call("POST", "/terminals", r#"{"cmd":["/no/such/program"]}"#).await;
    assert_eq!(reply.refusal(), (500, "pty_failed".to_owned()));
    let counters = simulator.counters();
    assert_eq!((counters.terminals_created, counters.terminals_deleted), (4, 0));
}

#[tokio::test]
async fn the_eleventh_terminal_is_refused_until_one_is_deleted() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    for id in 1..=9 {
        assert_eq!(data.script("sleep 1000").await, id);
    }
    // Those of another runtime and those that have ended count too.
    let mac = data.runtime("macos");
    assert_eq!(mac.script("exit 3").await, 1, "each runtime has ids of its own");
    mac.ended(1).await;
    assert_eq!(data.call("POST", "/terminals", "").await.refusal(), (429, "terminal_limit".to_owned()));
    assert_eq!(simulator.counters().terminals_alive, 9);
    mac.delete(1).await;
    assert_eq!(data.script("sleep 1000").await, 10);
    assert_eq!(mac.call("POST", "/terminals", "").await.status, 429);
    for id in 1..=10 {
        data.delete(id).await;
    }
    assert_eq!(data.list().await, Vec::<Value>::new());
    until("no shell is left", || simulator.sessions() == 0).await;
    assert_eq!(simulator.counters().terminals_deleted, 11);
}

#[tokio::test]
async fn the_limits_are_options() {
    let simulator = start(Options { max_terminals: 2, limit_status: 409, ..options() }).await;
    let data = Data::of(&simulator).await;
    data.script("sleep 1000").await;
    data.script("sleep 1000").await;
    assert_eq!(data.call("POST", "/terminals", "").await.refusal().0, 409);
    let simulator = start(Options { max_sessions: 1, ..options() }).await;
    let data = Data::of(&simulator).await;
    data.script("sleep 1000").await;
    assert_eq!(data.call("POST", "/terminals", "").await.refusal(), (503, "service_unavailable".to_owned()));
}

#[tokio::test]
async fn ids_come_again_late_or_at_once() {
    for (reuse_ids, expected) in [(false, 3), (true, 1)] {
        let simulator = start(Options { reuse_ids, ..options() }).await;
        let data = Data::of(&simulator).await;
        data.script("sleep 1000").await;
        data.script("sleep 1000").await;
        data.delete(1).await;
        assert_eq!(data.script("sleep 1000").await, expected);
    }
}

#[tokio::test]
async fn an_ended_terminal_stays_in_the_list_with_its_code() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    for (script, code) in [("exit 7", 7), ("exit 0", 0), ("kill -9 $$", -1)] {
        let id = data.script(script).await;
        assert_eq!(data.ended(id).await["exit_code"], code, "{script}");
    }
    assert_eq!(simulator.counters().terminals_alive, 0);
    until("the shells are reaped", || simulator.sessions() == 0).await;
    assert_eq!(data.list().await.len(), 3);
    data.delete(1).await;
    assert_eq!(data.call("DELETE", "/terminals/1", "").await.refusal(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn the_scrollback_is_the_newest_64_kib() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let id = data.script("seq 1 20000; exit 4").await;
    data.ended(id).await;
    let all = numbers(20_000);
    let (body, text) = data.scrollback(id, "").await;
    assert_eq!(
        (text.as_str(), &body["alive"], &body["exit_code"]),
        (&all[all.len() - 65_536..], &json!(false), &json!(4))
    );
    assert_eq!(
        (&body["success"], &body["scrollback_size"], &body["max_scrollback_size"]),
        (&json!(true), &json!(65_536), &json!(262_144))
    );
    assert_eq!(data.scrollback(id, "?bytes=7").await.1, "20000\r\n");
    assert_eq!(data.call("GET", "/terminals/1/scrollback?bytes=x", "").await.refusal().0, 400);

    let patch = |size: u64| json!({"scrollback_size": size}).to_string();
    let changed = |size: u64| json!({"success": true, "terminal_id": "1", "scrollback_size": size});
    let path = "/terminals/1/scrollback";
    assert_eq!(data.call("PATCH", path, &patch(100)).await.json(), changed(100));
    assert_eq!(data.scrollback(id, "").await.1, all[all.len() - 100..]);
    assert_eq!(data.call("PATCH", path, &patch(262_145)).await.refusal().0, 400);
    assert_eq!(data.call("PATCH", path, &patch(0)).await.json(), changed(65_536));
    assert_eq!(data.call("DELETE", path, "").await.json(), changed(65_536));
    assert_eq!(data.scrollback(id, "").await.1, "");

    let large = data.create(json!({"cmd": ["/usr/bin/seq", "1", "100000"], "scrollback_size": 200_000})).await;
    data.ended(large).await;
    let all = numbers(100_000);
    assert_eq!(data.scrollback(large, "").await.1, all[all.len() - 200_000..]);
    assert_eq!(data.call("POST", "/terminals", r#"{"scrollback_size":262145}"#).await.refusal().0, 400);
}

#[tokio::test]
async fn a_deletion_kills_whatever_runs_and_tells_its_exit_if_that_is_the_rule() {
    for exit_on_delete in [Some(-1), Some(137), None] {
        let simulator = start(Options { exit_on_delete, ..options() }).await;
        let data = Data::of(&simulator).await;
        let mut socket = data.connect().await;
        let id = data.call("POST", "/terminals", "").await.json()["id"].as_str().unwrap().parse().unwrap();
        let other = data.script("echo other; sleep 1000").await;
        let pid = socket.pid(id).await;
        socket.expect(other, "other").await;
        data.delete(id).await;
        match exit_on_delete {
            Some(code) => assert_eq!(socket.exit(id).await, code),
            None => assert!(socket.is_silent().await),
        }
        until("the shell is gone", || !lives(pid) && simulator.sessions() == 1).await;
        assert_eq!(data.list().await.len(), 1);
        socket.type_in(id, "echo ghost\r").await;
        until("nobody takes it", || simulator.counters().messages_ignored == 1).await;
    }
}

#[tokio::test]
async fn a_terminal_that_ended_by_itself_says_so_once() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let mut socket = data.connect().await;
    let id = data.script("exit 5").await;
    assert_eq!(socket.exit(id).await, 5);
    data.delete(id).await;
    assert!(socket.is_silent().await);
}

#[tokio::test]
async fn runtimes_are_apart() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let mac = data.runtime("macos");
    let (mut socket, mut mac_socket) = (data.connect().await, mac.connect().await);
    assert_eq!((data.script("echo default; sleep 1000").await, mac.script("echo macos; sleep 1000").await), (1, 1));
    socket.expect(1, "default\r\n").await;
    mac_socket.expect(1, "macos\r\n").await;
    assert_eq!((socket.text(1), mac_socket.text(1)), ("default\r\n".to_owned(), "macos\r\n".to_owned()));
    assert_eq!(simulator.counters().sockets_open, 2);
    // The default runtime can be named too.
    assert_eq!(data.runtime("default").list().await.len(), 1);
}

#[tokio::test]
async fn a_workspace_that_is_switched_off_ends_everything() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let mut socket = data.connect().await;
    data.script("sleep 1000").await;
    let off = crate::support::access(&simulator, "POST", simulator.workspace(), "/disable").await;
    assert_eq!(off.json(), json!({"success": true, "enabled": false}));
    assert_eq!(socket.end().await, End::NoClose);
    until("the shell is gone", || simulator.sessions() == 0 && simulator.counters().sockets_open == 0).await;
    assert_eq!(data.call("GET", "/terminals", "").await.refusal(), (502, "workspace_unreachable".to_owned()));
    assert_eq!(data.upgrade().await.0.status, 502);
    let data = Data::of(&simulator).await;
    assert_eq!(data.list().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_stopping_simulator_leaves_no_shell() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let mut socket = data.connect().await;
    data.call("POST", "/terminals", "").await;
    let stubborn = data.script("trap '' HUP; echo deaf; while :; do sleep 1; done").await;
    let pid = socket.pid(1).await;
    socket.expect(stubborn, "deaf").await;
    simulator.shutdown().await;
    assert!(!lives(pid));
}
