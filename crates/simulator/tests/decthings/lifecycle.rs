//! Sessions and connections come and go independently.

use std::time::{Duration, SystemTime};

use polytty_simulator::{
    ManualClock,
    decthings::{ExitReason, Options},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Client, End, PATIENCE, launch_params, of, options, script, start, until};

#[tokio::test]
async fn a_client_may_close_at_any_time_and_its_sessions_go_on() {
    let simulator = start(options()).await;
    let mut client = Client::open(&simulator).await;
    let id = client.launch(&simulator).await;
    client.expect(&id, "ready> ").await;
    client.close().await;
    until("the subscription is gone", || simulator.counters().subscriptions == 0).await;
    until("and so is the connection", || simulator.counters().connections == 0).await;
    assert_eq!((simulator.sessions(), simulator.counters().alive), (1, 1));

    // Whoever comes back finds the session, and nothing is replayed.
    let mut client = Client::open(&simulator).await;
    assert_eq!(client.call("subscribeToEvents", &of(&id), &[]).await, json!({"result": {}}));
    assert!(client.is_silent().await);
    client.type_in(&id, "echo st''ill here\r").await;
    client.expect(&id, "still here").await;
}

#[tokio::test]
async fn dropped_connections_take_subscriptions_along_and_nothing_else() {
    let simulator = start(options()).await;
    let (mut one, mut other) = (Client::open(&simulator).await, Client::open(&simulator).await);
    let first = one.launch(&simulator).await;
    let second = other.launch(&simulator).await;
    simulator.drop_connections();
    for client in [&mut one, &mut other] {
        let end = client.end().await;
        assert!(matches!(end, End::NoClose | End::Reset), "{end:?}");
    }
    until("no connection is left", || simulator.counters().connections == 0).await;
    assert_eq!((simulator.counters().subscriptions, simulator.counters().alive), (0, 2));
    // Later ones are not concerned; ids begin at 0 again.
    let mut client = Client::open(&simulator).await;
    for id in [&first, &second] {
        assert_eq!(client.call("subscribeToEvents", &of(id), &[]).await, json!({"result": {}}));
        client.type_in(id, "echo ba''ck\r").await;
        client.expect(id, "back").await;
    }
}

#[tokio::test]
async fn output_goes_on_while_nobody_listens() {
    let simulator = start(script("while :; do echo tick; sleep 0.02; done")).await;
    let mut client = Client::open(&simulator).await;
    let id = client.launch(&simulator).await;
    client.expect(&id, "tick").await;
    client.close().await;
    until("ticks are lost", || simulator.counters().lost_bytes > 60).await;
    let mut client = Client::open(&simulator).await;
    client.call("subscribeToEvents", &of(&id), &[]).await;
    client.expect(&id, "tick\r\ntick").await;
}

#[tokio::test]
async fn a_client_that_stalls_and_dies_lets_its_terminal_go_on() {
    let simulator = start(options()).await;
    let mut client = Client::open(&simulator).await;
    let id = client.launch(&simulator).await;
    client.type_in(&id, "yes\r").await;
    client.expect(&id, "y\r\ny\r\n").await;
    drop(client);
    until("output is lost", || simulator.counters().lost_bytes > 1_000_000).await;
    let mut client = Client::open(&simulator).await;
    client.call("terminateTerminalSession", &of(&id), &[]).await;
    until("the shell is gone", || simulator.sessions() == 0).await;
}

async fn launch(client: &mut Client, params: &Value) -> String {
    client.call("launchTerminalSession", params, &[]).await["result"]["terminalSessionId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_without_input_ends_by_the_clock_and_output_does_not_count() {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    let talkative = script("while :; do echo tick; sleep 0.02; done");
    let simulator = start(Options { clock: clock.clock(), ..talkative }).await;
    let mut client = Client::open(&simulator).await;
    let mut params = launch_params(&simulator);
    let usual = launch(&mut client, &params).await;
    params["options"] = json!({"terminateAfterInactiveSeconds": 60});
    let (short, busy) = (launch(&mut client, &params).await, launch(&mut client, &params).await);

    clock.advance(Duration::from_secs(59));
    assert_eq!(client.call("writeToTerminalSession", &of(&busy), &[b" "]).await, json!({"result": {}}));
    let resize = json!({"terminalSessionId": short, "size": {"cols": 70, "rows": 20}});
    assert_eq!(client.call("resizeTerminalSession", &resize, &[]).await, json!({"result": {}}), "no input either");
    clock.advance(Duration::from_secs(1));
    assert_eq!(client.exit(&short).await, json!({"code": "inactive_timeout"}));
    assert_eq!(simulator.terminals().len(), 2);
    clock.advance(Duration::from_secs(59));
    assert_eq!(client.exit(&busy).await, json!({"code": "inactive_timeout"}));
    // 119 s are over; by default there are 1800.
    clock.advance(Duration::from_secs(1_680));
    client.expect(&usual, "tick").await;
    assert_eq!(simulator.terminals(), std::slice::from_ref(&usual));
    clock.advance(Duration::from_secs(1));
    assert_eq!(client.exit(&usual).await, json!({"code": "inactive_timeout"}));
    until("the shells are gone", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn every_reason_to_end_can_be_had() {
    let simulator = start(script("sleep 1000")).await;
    let mut client = Client::open(&simulator).await;
    for (reason, told) in [
        (ExitReason::TerminatedOnRequest, json!({"code": "terminated_on_request"})),
        (ExitReason::LauncherTerminated, json!({"code": "launcher_terminated"})),
        (ExitReason::InactiveTimeout, json!({"code": "inactive_timeout"})),
        (ExitReason::Unknown, json!({"code": "unknown"})),
        (ExitReason::out_of_memory(), json!({"code": "process_exit", "signal": "SIGKILL", "oom": true})),
        (
            ExitReason::ProcessExit { exit_code: None, signal: None, oom: false },
            json!({"code": "process_exit", "oom": false}),
        ),
    ] {
        let id = client.launch(&simulator).await;
        assert!(simulator.end(&id, reason));
        assert_eq!(client.exit(&id).await, told);
        assert!(!simulator.end(&id, ExitReason::Unknown), "it has ended already");
    }
    until("the shells are gone", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn the_end_of_a_launcher_is_that_of_its_sessions() {
    let simulator = start(script("sleep 1000")).await;
    let mut client = Client::open(&simulator).await;
    let launchers = simulator.launchers();
    let mut params = launch_params(&simulator);
    let mut ids = Vec::new();
    for location in [
        json!({"type": "persistentLauncher", "persistentLauncherId": launchers[0].id}),
        json!({"type": "persistentLauncher", "persistentLauncherId": launchers[0].id}),
        json!({"type": "persistentLauncher", "persistentLauncherId": launchers[1].id}),
        json!({"type": "temporaryLauncher", "spec": {"cpus": 1, "memoryMebibytes": 512}}),
    ] {
        params["executionLocation"] = location;
        ids.push(launch(&mut client, &params).await);
    }
    assert_eq!(simulator.end_launcher(&launchers[0].id), 2);
    for id in &ids[..2] {
        assert_eq!(client.exit(id).await, json!({"code": "launcher_terminated"}));
    }
    assert_eq!(simulator.terminals().len(), 2);
}

#[tokio::test]
async fn nothing_is_left_after_many_rounds() {
    let simulator = start(script("echo hello; read -r line")).await;
    for round in 0..100 {
        let mut client = Client::open(&simulator).await;
        let id = client.launch(&simulator).await;
        client.expect(&id, "hello").await;
        match round % 4 {
            0 => drop(client.call("terminateTerminalSession", &of(&id), &[]).await),
            1 => {
                client.type_in(&id, "\r").await;
                assert_eq!(client.exit(&id).await["code"], "process_exit");
            }
            2 => assert!(simulator.end(&id, ExitReason::Unknown)),
            _ => {
                drop(client);
                assert!(simulator.end(&id, ExitReason::Unknown));
            }
        }
    }
    until("no shell is left", || simulator.sessions() == 0).await;
    until("no connection is left", || simulator.counters().connections == 0).await;
    let counters = simulator.counters();
    assert_eq!((counters.alive, counters.subscriptions), (0, 0));
    assert_eq!((counters.launched, counters.terminated), (100, 100));
    timeout(PATIENCE, simulator.shutdown()).await.unwrap();
}
