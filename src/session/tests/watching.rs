//! Viewers.

use super::*;
use crate::session::screen::Screen;

impl World {
    async fn watch(&self) -> Client {
        Client::come(&self.session, Role::Viewer, Arrival::default()).await
    }

    /// The same over a connection that holds little.
    async fn watch_narrowly(&self) -> Client {
        Client::come_over(64 << 10, &self.session, Role::Viewer, Arrival::default()).await
    }
}

/// What a terminal shows that is given this output.
fn shown(output: &[u8]) -> Vec<u8> {
    let mut screen = Screen::new(Size::DEFAULT);
    screen.feed(output);
    screen.snapshot()
}

async fn a_word(client: &mut Client, operation: &str) -> Value {
    loop {
        match client.next().await {
            Incoming::Message(Kind::Text, text) => {
                let text: Value = serde_json::from_slice(&text).unwrap();
                if text["operation"] == operation {
                    return text;
                }
            }
            Incoming::Message(..) => {}
            other => panic!("no {operation}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_joins_in_the_middle_sees_the_screen_as_it_is_and_then_what_happens() {
    let before = b"$ ls\r\n\x1b[1;34msrc\x1b[m\r\n\x1b[?1049h\x1b[5;5Hfull screen";
    let mut world = World::start(before, None).await;
    world.client.see(before.len()).await;
    let mut viewer = world.watch().await;
    assert_eq!(a_word(&mut world.client, "viewers").await["count"], 1);
    world.terminal.says(b", live");
    let seen = viewer.see(6).await;
    assert_eq!(seen.ready["role"], "viewer");
    assert_eq!(seen.ready["offset"], before.len());
    assert!(seen.ready.get("resume").is_none());
    assert_eq!(shown(&seen.synthetic), shown(before), "the screen is that of the writer");
    assert_eq!(seen.output, b", live");
    assert!(seen.word("error").is_none(), "it is whole");

    viewer.say(Kind::Binary, b"typed by a viewer").await;
    viewer.say(Kind::Text, br#"{"operation":"close"}"#).await;
    viewer.say(Kind::Text, br#"{"operation":"resize","cols":10,"rows":10}"#).await;
    viewer.say(Kind::Text, br#"{"operation":"ping","id":1}"#).await;
    assert_eq!(a_word(&mut viewer, "pong").await["id"], 1);
    assert!(world.terminal.typed().is_empty());
    assert_eq!(world.session.info().viewers, 1);

    world.client.say(Kind::Text, br#"{"operation":"resize","cols":100,"rows":30}"#).await;
    assert_eq!(a_word(&mut viewer, "size").await["cols"], 100);
    drop(viewer);
    assert_eq!(a_word(&mut world.client, "viewers").await["count"], 0);
}

#[tokio::test(start_paused = true)]
async fn viewers_see_the_end_as_the_writer_does() {
    let mut world = World::start(b"$ ", None).await;
    world.client.see(2).await;
    let mut viewer = world.watch().await;
    viewer.see(0).await;
    world.terminal.does(b"bye", exit(4));
    let (output, said, close) = viewer.drain().await;
    assert!(output.ends_with(b"bye"));
    assert_eq!((said.last().unwrap().as_str(), close), ("exit", Some(1000)));
    world.client.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_does_not_keep_up_is_skipped_forward_and_the_writer_does_not_wait_for_it() {
    let mut world = World::start(b"$ ", None).await;
    world.client.see(2).await;
    let mut viewer = world.watch_narrowly().await;
    viewer.see(0).await;
    // Nobody reads the viewer's side, while more is written than its pipe and its seat hold.
    let lines: Vec<u8> = (0..100_000_u32).flat_map(|n| format!("{n}\r\n").into_bytes()).collect();
    for piece in lines.chunks(60_000) {
        world.terminal.says(piece);
    }
    let read = world.client.see(lines.len()).await;
    assert!(read.output == lines, "the writer has all of it");
    // What the viewer reads now: what was under way, then the screen as it is.
    let mut screens = 0;
    let mut output = Vec::new();
    while screens == 0 || !output.ends_with(b"99999\r\n") {
        match viewer.next().await {
            Incoming::Message(Kind::Binary, bytes) => output.extend_from_slice(&bytes),
            Incoming::Message(_, text) => {
                let text: Value = serde_json::from_slice(&text).unwrap();
                if text["operation"] == "ready" {
                    screens += 1;
                    output.clear();
                    if text["offset"] == 2 + lines.len() {
                        break;
                    }
                }
            }
            other => panic!("{other:?}"),
        }
    }
    world.terminal.says(b"now");
    while !output.ends_with(b"now") {
        if let Incoming::Message(Kind::Binary, bytes) = viewer.next().await {
            output.extend_from_slice(&bytes);
        }
    }
    assert_eq!(shown(&output), shown(&[b"$ ", &lines[..], b"now"].concat()));
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_reads_nothing_at_all_is_let_go() {
    let mut world = World::start(b"$ ", None).await;
    world.client.see(2).await;
    let mut viewer = world.watch_narrowly().await;
    viewer.see(0).await;
    for _ in 0..2 {
        world.terminal.says(&[b'x'; 60_000]);
        world.client.see(60_000).await;
    }
    assert_eq!(a_word(&mut world.client, "viewers").await["count"], 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_whole_screen_a_viewer_is_told_so_and_the_program_is_made_to_paint() {
    for policy in [ScreenPolicy::Viewers, ScreenPolicy::Off] {
        let mut world = World::with_screen(policy, lifetimes(), b"$ ", None).await;
        world.client.see(2).await;
        let much = b"0123456789\r\n".repeat(100_000);
        world.terminal.says(&much);
        world.client.see(much.len()).await;
        let mut viewer = world.watch().await;
        assert_eq!(a_word(&mut viewer, "error").await["code"], "output_gap");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let sizes: Vec<_> = world.terminal.0.lock().unwrap().sizes.iter().map(|size| size.rows()).collect();
        assert_eq!(sizes, [24, 23, 24], "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn there_are_seats_for_so_many() {
    let mut world = World::start(b"$ ", None).await;
    world.client.see(2).await;
    let mut viewers = Vec::new();
    for _ in 0..3 {
        let mut viewer = world.watch().await;
        viewer.see(0).await;
        viewers.push(viewer);
    }
    let (_, said, close) = world.watch().await.drain().await;
    assert_eq!((said.last().unwrap().as_str(), close), ("error", Some(4429)));
    drop(viewers.pop());
    while world.session.info().viewers != 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.watch().await.see(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_writer_who_missed_too_much_finds_the_right_screen_where_one_is_always_kept() {
    let mut world = World::with_screen(ScreenPolicy::Always, lifetimes(), b"\x1b[?1049h\x1b[1;1Htop line", None).await;
    let first = world.client.see(22).await;
    world.lose().await;
    // A program that paints the same place over and over.
    let much = b"\x1b[5;1Hworking \x1b[31m*\x1b[m".repeat(30_000);
    world.terminal.says(&much);
    while world.terminal.taken() < 22 + much.len() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.client = world.come_back(first.link(), None).await;
    let from = world.client.see(0).await.ready["offset"].as_u64().unwrap();
    let mut output = Vec::new();
    while let Ok(incoming) = tokio::time::timeout(Duration::from_secs(1), world.client.next()).await {
        if let Incoming::Message(Kind::Binary, bytes) = incoming {
            output.extend_from_slice(&bytes);
        }
    }
    assert!(from > 22);
    assert_eq!(shown(&output), shown(&[b"\x1b[?1049h\x1b[1;1Htop line", &much[..]].concat()));
}
