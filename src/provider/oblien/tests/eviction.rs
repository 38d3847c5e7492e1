//! Connections that are lost, taken, and made anew. Real sockets, and a clock that runs ahead when nothing else does.

use tokio::time::Instant;

use super::*;

/// Enough to be known again by.
const PAST: &[u8] = b"a line that is long enough to be told from any other line of this terminal\r\n";

async fn world_with_past() -> (World, Terminal) {
    let world = World::new().await;
    let mut terminal = world.open().await;
    world.server.says(1, PAST);
    terminal.shows(std::str::from_utf8(PAST).unwrap()).await;
    // The list that tells the terminal from a later one has been read.
    world.server.receives("GET /terminals ").await;
    (world, terminal)
}

#[tokio::test(start_paused = true)]
async fn after_an_eviction_nothing_is_shown_twice_and_nothing_is_missing() {
    let (world, mut terminal) = world_with_past().await;
    terminal.upstream.resize(Size::new(132, 43).unwrap());
    world.server.until(|books| books.heard.len() == 1).await;
    let lost = Instant::now();
    world.server.has_evicted().await;
    world.server.says(1, b"said while nobody listened\r\n");
    terminal.types("typed while nobody listened");
    terminal.shows("said while nobody listened\r\n").await;
    assert!(lost.elapsed() >= Duration::from_secs(1), "{:?}", lost.elapsed());
    world.server.says(1, b"$ ");
    terminal.shows("$ ").await;
    assert_eq!(terminal.text(), format!("{}said while nobody listened\r\n$ ", std::str::from_utf8(PAST).unwrap()));
    assert!(terminal.notices.is_empty(), "{:?}", terminal.notices);
    world.server.hears("binary <01>typed while nobody listened").await;
    world.server.change(|books| {
        let resizes = books.heard.iter().filter(|heard| heard.contains("\"cols\":132")).count();
        assert_eq!(resizes, 2, "{:?}", books.heard);
        // A fresh token for the new connection.
        assert!(books.requests.iter().any(|request| request == "GET /ws Bearer jwt-2"), "{:?}", books.requests);
    });
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_told() {
    let (world, mut terminal) = world_with_past().await;
    world.server.evicts();
    let news: Vec<u8> = (0..20_000).flat_map(|line| format!("line {line}\r\n").into_bytes()).collect();
    world.server.says(1, &news);
    terminal.shows("line 19999\r\n").await;
    assert_eq!(terminal.notices, [Code::OutputGap]);
    assert_eq!(terminal.output[PAST.len()..], news[news.len() - (64 << 10)..]);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ended_meanwhile_has_the_rest_of_its_output() {
    let (world, mut terminal) = world_with_past().await;
    world.server.evicts();
    world.server.says(1, b"last words");
    world.server.exits(1, 7);
    assert_eq!(terminal.end().await.unwrap().code, Some(7));
    assert_eq!(terminal.text(), format!("{}last words", std::str::from_utf8(PAST).unwrap()));
    assert!(terminal.notices.is_empty());
    world.server.receives("DELETE /terminals/1").await;
}

#[tokio::test(start_paused = true)]
async fn another_terminal_of_the_same_id_is_never_shown() {
    let (world, mut terminal) = world_with_past().await;
    world.server.has_evicted().await;
    world.server.change(|books| {
        books.terminals.clear();
        books.add(1, true);
    });
    world.server.says(1, b"somebody's secret");
    terminal.types("rm -rf /\n");
    let failure = terminal.end().await.unwrap_err();
    assert_eq!(failure.code, Code::ProviderLost);
    assert_eq!(terminal.output, PAST);
    world.server.change(|books| {
        assert!(books.heard.is_empty(), "{:?}", books.heard);
        assert!(books.terminals.contains_key(&1), "it is not ours to end");
    });
}

#[tokio::test(start_paused = true)]
async fn a_terminal_that_is_gone_is_lost() {
    let (world, mut terminal) = world_with_past().await;
    world.server.change(|books| books.terminals.clear());
    world.server.evicts();
    assert_eq!(terminal.end().await.unwrap_err().code, Code::ProviderLost);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_evicted_for_a_session_that_nobody_attends() {
    let (world, mut terminal) = world_with_past().await;
    terminal.upstream.attended(false);
    // It is the hub's turn to hear of it.
    terminal.types("x");
    world.server.hears("binary <01>x").await;
    world.server.evicts();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.server.change(|books| books.upgrades), 1);
    world.server.says(1, b"meanwhile");
    assert!(terminal.is_silent().await);
    terminal.upstream.attended(true);
    terminal.shows("meanwhile").await;
    assert_eq!(world.server.change(|books| books.upgrades), 2);
    // It can be ended without a connection, too.
    terminal.upstream.attended(false);
    world.server.evicts();
    terminal.upstream.end().await;
    assert!(world.server.change(|books| books.terminals.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn the_fifth_eviction_within_five_minutes_is_the_end() {
    let (world, mut terminal) = world_with_past().await;
    let started = Instant::now();
    for round in 1..=4 {
        world.server.evicts();
        world.server.until(|books| books.upgrades == round + 1).await;
    }
    assert!(started.elapsed() >= Duration::from_secs(15), "{:?}", started.elapsed());
    world.server.evicts();
    let failure = terminal.end().await.unwrap_err();
    assert_eq!(failure.code, Code::Evicted);
    // What polytty made is not left behind.
    world.server.receives("DELETE /terminals/1").await;
    assert_eq!(world.server.change(|books| books.upgrades), 5);
}

/// The workspace was started anew while nobody looked, and the id belongs to somebody else.
#[tokio::test(start_paused = true)]
async fn another_terminal_of_the_same_id_is_never_ended() {
    let (world, mut terminal) = world_with_past().await;
    terminal.upstream.attended(false);
    terminal.types("x");
    world.server.hears("binary <01>x").await;
    world.server.has_evicted().await;
    world.server.change(|books| {
        books.terminals.clear();
        books.add(1, true);
    });
    terminal.upstream.end().await;
    let requests = world.server.requests().join("\n");
    assert!(!requests.contains("DELETE") && world.server.change(|books| books.terminals.len()) == 1, "{requests}");
}

#[tokio::test(start_paused = true)]
async fn a_workspace_that_stopped_is_told_as_such() {
    let (world, mut terminal) = world_with_past().await;
    world.server.change(|books| books.status = json!({"success": true, "enabled": true, "running": false}));
    world.server.evicts();
    assert_eq!(terminal.end().await.unwrap_err().code, Code::ProviderNotRunning);
}

/// Whoever switched it off has ended every terminal by that, and means it.
#[tokio::test(start_paused = true)]
async fn access_that_was_switched_off_is_not_switched_on_for_terminals_that_are_gone_but_for_a_new_one() {
    let (world, mut terminal) = world_with_past().await;
    world.server.change(|books| books.status = json!({"success": true, "enabled": false, "running": false}));
    world.server.evicts();
    assert_eq!(terminal.end().await.unwrap_err().code, Code::ProviderNotRunning);
    let enables = || world.server.requests().iter().filter(|request| request.contains("/enable")).count();
    assert_eq!(enables(), 0);
    drop(terminal);
    let _new = world.open().await;
    assert_eq!(enables(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_workspace_that_is_out_of_order_for_a_while_is_waited_for() {
    let (world, mut terminal) = world_with_past().await;
    world.server.change(|books| books.upgrade_status = Some(503));
    world.server.evicts();
    world
        .server
        .until(|books| books.requests.iter().filter(|request| request.starts_with("GET /ws")).count() == 3)
        .await;
    world.server.change(|books| books.upgrade_status = None);
    world.server.says(1, b"back");
    terminal.shows("back").await;
    assert_eq!(terminal.text(), format!("{}back", std::str::from_utf8(PAST).unwrap()));
}

#[tokio::test(start_paused = true)]
async fn without_a_list_only_a_terminal_whose_output_proves_it_is_known_again() {
    let (world, mut proven) = world_with_past().await;
    let mut young = world.open().await;
    world.server.says(2, b"$ ");
    young.shows("$ ").await;
    world.server.until(|books| books.requests.iter().filter(|r| r.starts_with("GET /terminals ")).count() == 2).await;
    world.server.change(|books| books.list_status = Some(500));
    world.server.has_evicted().await;
    world.server.says(1, b"known");
    world.server.says(2, b"unknown");
    proven.shows("known").await;
    assert_eq!(young.end().await.unwrap_err().code, Code::ProviderLost);
    assert_eq!(young.text(), "$ ");
    // Once there is a list again, its date tells that it is still the same, and it is not left behind.
    world.server.change(|books| books.list_status = None);
    world.server.receives("DELETE /terminals/2").await;
}

#[tokio::test(start_paused = true)]
async fn a_young_terminal_is_known_by_the_list_and_all_that_it_said() {
    let world = World::new().await;
    let mut young = world.open().await;
    world.server.says(1, b"$ ");
    young.shows("$ ").await;
    world.server.receives("GET /terminals ").await;
    world.server.has_evicted().await;
    world.server.says(1, b"hi\r\n$ ");
    young.shows("hi\r\n$ ").await;
    assert_eq!(young.text(), "$ hi\r\n$ ");
    assert!(young.notices.is_empty());
}

/// Silence alone proves what it has kept, and what was typed goes out without anything else that happens.
#[tokio::test(start_paused = true)]
async fn what_was_typed_goes_out_when_a_silent_terminal_is_known_again() {
    let world = World::new().await;
    let mut young = world.open().await;
    world.server.says(1, b"$ ");
    young.shows("$ ").await;
    world.server.receives("GET /terminals ").await;
    let lost = Instant::now();
    world.server.has_evicted().await;
    young.types("q");
    world.server.hears("binary <01>q").await;
    // The first ping is 20 s away.
    assert!(lost.elapsed() < Duration::from_secs(15), "{:?}", lost.elapsed());
}

/// It need not fall silent to be known again.
#[tokio::test(start_paused = true)]
async fn a_young_terminal_that_goes_on_talking_is_typed_into_again() {
    let world = World::new().await;
    let mut young = world.open().await;
    world.server.says(1, b"$ ");
    young.shows("$ ").await;
    world.server.receives("GET /terminals ").await;
    world.server.has_evicted().await;
    young.types("q");
    let talking = async {
        loop {
            world.server.says(1, b"tick\r\n");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = world.server.hears("binary <01>q") => {}
        () = talking => {}
    }
}

/// A server that is gone without a word is noticed by its silence, and looked for anew.
#[tokio::test(start_paused = true)]
async fn a_connection_that_answers_no_ping_is_made_anew() {
    let world = World::with(|settings| settings.pong_timeout = Some(Duration::from_millis(300))).await;
    let mut terminal = world.open().await;
    world.server.says(1, PAST);
    terminal.shows(std::str::from_utf8(PAST).unwrap()).await;
    world.server.receives("GET /terminals ").await;
    world.server.goes_deaf();
    // Any message wakes the server, which then no longer reads.
    world.server.says(1, b"last ");
    terminal.shows("last ").await;
    tokio::time::timeout(DEADLINE, async {
        while world.server.change(|books| books.upgrades) < 2 {
            // The session's task, which is what keeps the hub's lines empty.
            let _ = terminal.is_silent().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("a new connection");
}

/// Round after round, nothing is left at the server and nothing in the provider.
#[tokio::test(start_paused = true)]
async fn a_hundred_sessions_leave_nothing_behind() {
    let world = World::new().await;
    for round in 0..100_u32 {
        let mut terminal = world.open().await;
        if round % 3 == 0 {
            world.server.says(1, b"bye");
            world.server.exits(1, 0);
            terminal.end().await.unwrap();
        }
        terminal.upstream.end().await;
        world.server.until(|books| books.terminals.is_empty()).await;
    }
    assert_eq!(world.server.change(|books| books.upgrades), 1);
    // Ten seconds later, the hub has left, too.
    tokio::time::timeout(DEADLINE, async {
        while !world.provider.hubs.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the hub has left");
}
