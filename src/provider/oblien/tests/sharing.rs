//! Many terminals over one connection, and other people's.

use super::*;

#[tokio::test]
async fn a_prompt_that_comes_before_the_answer_is_not_lost() {
    let world = World::new().await;
    world.server.change(|books| books.early = Some(b"early $ ".to_vec()));
    let mut terminal = world.open().await;
    terminal.shows("early $ ").await;
    assert_eq!(terminal.text(), "early $ ");
}

#[tokio::test]
async fn each_session_sees_its_own_terminal_and_nobody_the_rest() {
    let world = World::new().await;
    let (mut one, mut two) = (world.open().await, world.open().await);
    world.server.change(|books| books.add(9, true));
    for round in 0..200 {
        world.server.says(1, format!("one {round};").as_bytes());
        world.server.says(9, b"secret");
        world.server.says(2, format!("two {round};").as_bytes());
        world.server.sends(r#"{"channel":"watcher","type":"change","watcher_id":"1","path":"/x","op":"write"}"#);
        world.server.sends("not JSON");
    }
    for (terminal, name) in [(&mut one, "one"), (&mut two, "two")] {
        terminal.shows(&format!("{name} 199;")).await;
        let expected: String = (0..200).map(|round| format!("{name} {round};")).collect();
        assert_eq!(terminal.text(), expected);
    }
}

#[tokio::test]
async fn what_a_deleted_terminal_still_says_reaches_nobody() {
    let world = World::new().await;
    world.open().await.upstream.end().await;
    world.server.says(1, b"late secret");
    let mut next = world.open().await;
    world.server.says(1, b"$ ");
    next.shows("$ ").await;
    assert_eq!(next.text(), "$ ");
}

/// Interleaved, with one session that never reads: the others get every byte in order, and so does it, later.
#[tokio::test]
async fn one_that_does_not_read_neither_stalls_the_others_nor_loses_a_byte() {
    let world = World::new().await;
    let (mut slow, mut fast) = (world.open().await, world.open().await);
    let line = |name: &str, round: usize| format!("{name} {round} {}\n", "x".repeat(990));
    for round in 0..400 {
        world.server.says(1, line("slow", round).as_bytes());
        world.server.says(2, line("fast", round).as_bytes());
    }
    fast.shows(&line("fast", 399)).await;
    assert_eq!(fast.text(), (0..400).map(|round| line("fast", round)).collect::<String>());
    // Its line asks to be read without waiting for a client.
    let mut scratch = Vec::new();
    let first = poll_fn(|cx| slow.upstream.poll_output(cx, &mut scratch, 0)).await;
    assert!(matches!(first, Happened::CannotWait), "{first:?}");
    slow.shows(&line("slow", 399)).await;
    assert_eq!(slow.text(), (0..400).map(|round| line("slow", round)).collect::<String>());
}

#[tokio::test]
async fn a_long_paste_is_cut_for_the_wire_and_others_may_type_meanwhile() {
    let world = World::new().await;
    let (mut one, mut two) = (world.open().await, world.open().await);
    one.types(&"p".repeat(64 << 10));
    two.types("\x03");
    world.server.hears("binary <02>\x03").await;
    let all = |books: &server::Books| {
        books.heard.iter().filter(|heard| heard.starts_with("binary <01>")).map(|heard| heard.len() - 11).sum::<usize>()
    };
    world.server.until(|books| all(books) == 64 << 10).await;
    world.server.change(|books| {
        let longest = books.heard.iter().map(|heard| heard.len() - 11).max();
        assert_eq!(longest, Some(polytty_dialect::oblien::MAX_INPUT));
    });
}

#[tokio::test]
async fn somebody_attaches_to_a_terminal_with_its_past() {
    let world = World::new().await;
    world.server.change(|books| {
        books.add(4, true);
        books.terminals.get_mut(&4).unwrap().ring = b"$ make\r\n".to_vec();
    });
    let mut terminal = world.try_open(json!({"terminal": "4"})).await.unwrap_or_else(|f| panic!("{f:?}"));
    terminal.shows("$ make\r\n").await;
    world.server.says(4, b"done");
    terminal.shows("done").await;
    assert_eq!(terminal.text(), "$ make\r\ndone");
    terminal.types("x");
    world.server.hears("binary <04>x").await;

    let taken = world.refusal(json!({"terminal": "4"})).await;
    assert_eq!((taken.code, taken.message.as_str()), (Code::Forbidden, "Another session has terminal 4 already."));
    terminal.upstream.end().await;
    assert!(world.server.change(|books| books.terminals.is_empty()));
}

#[tokio::test]
async fn nobody_attaches_to_a_terminal_that_is_being_made_for_another() {
    let world = World::new().await;
    world.server.change(|books| books.create_after = Some(Duration::from_millis(200)));
    let attaching = async {
        world.server.receives("POST /terminals").await;
        world.refusal(json!({"terminal": "1"})).await
    };
    let (_terminal, refusal) = tokio::join!(world.open(), attaching);
    assert_eq!((refusal.code, refusal.message.as_str()), (Code::Forbidden, "Another session has terminal 1 already."));
}

/// What a stranger's terminal said on a connection that is open already is there for whoever attaches later.
#[tokio::test]
async fn somebody_attaches_over_a_connection_that_is_there() {
    let world = World::with(|settings| settings.end_attached = false).await;
    let mut other = world.open().await;
    world.server.change(|books| books.add(4, true));
    world.server.says(4, b"before ");
    world.server.says(1, b"$ ");
    other.shows("$ ").await;
    for _ in 0..2 {
        let mut terminal = world.try_open(json!({"terminal": 4})).await.unwrap_or_else(|f| panic!("{f:?}"));
        terminal.shows("before ").await;
        assert_eq!(terminal.text(), "before ");
        terminal.upstream.end().await;
    }
    let requests = world.server.requests().join("\n");
    assert!(!requests.contains("DELETE") && requests.matches("GET /ws").count() == 1, "{requests}");
}

#[tokio::test]
async fn a_terminal_that_is_not_there_is_refused_with_those_that_are() {
    let world = World::new().await;
    world.server.change(|books| {
        books.add(2, true);
        books.add(3, false);
        books.add(5, true);
    });
    let failure = world.refusal(json!({"terminal": "7"})).await;
    assert_eq!(
        (failure.code, failure.message.as_str()),
        (Code::ProviderNotRunning, "There is no terminal 7 in workspace ws_1; running: 2, 5.")
    );
    let ended = world.refusal(json!({"terminal": "3"})).await;
    assert_eq!((ended.code, ended.message.as_str()), (Code::ProviderNotRunning, "Terminal 3 has ended."));
}
