//! Sessions whose recording is slow, or cannot be written. The disk is a pipe that nobody reads until the test does;
//! the time is real, since threads wait for it.

use std::path::Path;

use super::*;
use crate::config::{Recording, WhenDiskFull};
use crate::recording::WhenFull;
use crate::recording::cast::{Code, Event};
use crate::recording::tests::{drain_pipe, events, of, settings};

/// What the terminal says, in messages of ten thousand bytes.
const MESSAGES: usize = 100;

fn message(n: usize) -> Vec<u8> {
    format!("message {n:03} ").into_bytes().into_iter().cycle().take(10_000).collect()
}

fn everything() -> String {
    String::from_utf8((0..MESSAGES).flat_map(message).collect()).unwrap()
}

/// A session that says everything and ends, whose recording goes into pipes in `home`.
async fn talkative(home: &Path, when_full: WhenFull) -> (World, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    let recorder = Recorder::on_pipes(home, Recording { queue: 16 << 10, when_full, ..settings() }, metrics.clone());
    let world = World::build(ScreenPolicy::Off, lifetimes(), Some(recorder), b"", None).await;
    (0..MESSAGES).for_each(|n| world.terminal.says(&message(n)));
    (world, metrics)
}

/// Waits until the session takes no more output; how much it has taken.
async fn until_it_rests(terminal: &Terminal) -> usize {
    let mut taken = terminal.taken();
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        match terminal.taken() {
            more if more > taken || more == 0 => taken = more,
            _ => return taken,
        }
    }
}

/// Bytes that a recording says it has not. A disk that gets its turn late makes room between two gaps.
fn told_missing(events: &[Event]) -> usize {
    let gaps = events.iter().filter(|event| event.code == Code::Marker).map(|event| {
        let words = event.data.strip_suffix(" bytes of output are missing here");
        words.and_then(|bytes| bytes.parse::<usize>().ok()).unwrap_or_else(|| panic!("{}", event.data))
    });
    gaps.sum()
}

/// Reads so many bytes of output.
async fn read(client: &mut Client, bytes: usize) -> String {
    let mut output = Vec::new();
    while output.len() < bytes {
        match client.next().await {
            Incoming::Message(Kind::Binary, more) => output.extend_from_slice(&more),
            Incoming::Message(..) => {}
            other => panic!("{other:?}"),
        }
    }
    String::from_utf8(output).unwrap()
}

#[tokio::test]
async fn with_pause_a_slow_disk_holds_the_terminal_back_and_nothing_is_missing() {
    let home = tempfile::tempdir().unwrap();
    let (mut world, metrics) = talkative(home.path(), WhenFull::Pause).await;
    let taken = until_it_rests(&world.terminal).await;
    // What a pipe takes, the queue, and one turn.
    assert!((64 << 10..200 << 10).contains(&taken), "{taken}");
    let seen = read(&mut world.client, taken).await;
    assert!(everything().starts_with(&seen) && seen.len() == taken, "what was read is shown, {}", seen.len());
    // The way in is as free as ever.
    world.client.say(Kind::Binary, b"typed").await;
    while world.terminal.typed() != b"typed" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.terminal.does(b"", exit(0));
    let (cast, (rest, said, close)) = tokio::join!(drain_pipe(home.path(), world.session.id()), world.client.drain());
    assert_eq!(seen + &String::from_utf8(rest).unwrap(), everything());
    assert_eq!((said.last().unwrap().as_str(), close), ("exit", Some(1000)));
    let events = events(&cast);
    assert!(of(&events, &Code::Output) == everything());
    assert_eq!((of(&events, &Code::Exit).as_str(), of(&events, &Code::Marker).as_str()), ("0", ""));
    assert!(metrics.render(0).contains("\npolytty_recording_missing_bytes_total 0\n"));
    assert!(!metrics.render(0).contains("\npolytty_recording_pauses_total 0\n"));
}

#[tokio::test]
async fn with_gap_a_slow_disk_is_not_felt_and_the_recording_says_what_is_missing() {
    let home = tempfile::tempdir().unwrap();
    let (mut world, _) = talkative(home.path(), WhenFull::Gap).await;
    let seen = read(&mut world.client, MESSAGES * 10_000).await;
    assert!(seen == everything(), "all of it is seen while the disk stands still");
    world.terminal.does(b"", exit(0));
    let (cast, (_, said, close)) = tokio::join!(drain_pipe(home.path(), world.session.id()), world.client.drain());
    assert_eq!((said.last().unwrap().as_str(), close), ("exit", Some(1000)));
    let events = events(&cast);
    let there = of(&events, &Code::Output).len();
    assert_eq!(told_missing(&events), everything().len() - there);
    let end: Vec<_> = events.iter().rev().take(2).map(|event| event.code.as_str()).collect();
    assert_eq!(end, ["x", "m"], "the exit is told behind what is missing");
}

#[tokio::test]
async fn a_provider_that_cannot_be_made_to_wait_is_read_on_with_a_gap_and_its_client_stays() {
    let home = tempfile::tempdir().unwrap();
    let (mut world, _) = talkative(home.path(), WhenFull::Pause).await;
    let taken = until_it_rests(&world.terminal).await;
    {
        let mut state = world.terminal.0.lock().unwrap();
        state.script.push_front((Vec::new(), Some(Happened::CannotWait)));
        state.session.take().into_iter().for_each(Waker::wake);
    }
    let seen = read(&mut world.client, MESSAGES * 10_000).await;
    assert!(seen == everything());
    assert_eq!(world.session.info().state, State::Attached);
    world.terminal.does(b"", exit(0));
    let (cast, (_, said, close)) = tokio::join!(drain_pipe(home.path(), world.session.id()), world.client.drain());
    assert_eq!((said.last().unwrap().as_str(), close), ("exit", Some(1000)));
    let events = events(&cast);
    let missing = everything().len() - of(&events, &Code::Output).len();
    assert!(missing <= everything().len() - taken, "only what it could not wait for: {missing}");
    assert_eq!(told_missing(&events), missing);
}

#[tokio::test]
async fn a_recording_that_fails_ends_its_session_only_where_that_is_configured() {
    for when_disk_full in [WhenDiskFull::Continue, WhenDiskFull::End] {
        let home = tempfile::tempdir().unwrap();
        let limits = Recording { max_total: 2000, when_disk_full, ..settings() };
        let recorder = Recorder::open(home.path(), limits, Arc::default()).unwrap();
        let mut world = World::build(ScreenPolicy::Off, lifetimes(), Some(recorder), &message(0), None).await;
        let recording = async {
            loop {
                let report = world.session.info().recording.unwrap();
                if report.reason.is_some() {
                    return report;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let report = tokio::time::timeout(Duration::from_secs(60), recording).await.expect("it fails");
        assert!(report.reason.unwrap().contains("recording.max_total"));
        if when_disk_full == WhenDiskFull::Continue {
            world.terminal.does(b"still here", exit(0));
        }
        let (output, said, close) = world.client.drain().await;
        match when_disk_full {
            WhenDiskFull::Continue => {
                assert!(output.ends_with(b"still here"));
                assert_eq!((said.last().unwrap().as_str(), close), ("exit", Some(1000)));
            }
            WhenDiskFull::End => {
                assert_eq!(output.len(), 10_000, "what was said is seen");
                assert_eq!((said.last().unwrap().as_str(), close), ("error", Some(4500)));
                assert_eq!(world.session.info().code, Some("internal"));
            }
        }
    }
}
