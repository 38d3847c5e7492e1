//! Viewers.

use super::*;
use crate::session::screen::Screen;
use crate::ticket::{Redeemed, Refused};

impl World {
    async fn watch(&self) -> Client {
        Client::come(&self.session, Role::Viewer, Arrival::default()).await
    }

    /// Watches by a resume link.
    async fn watch_again(&self, link: &str) -> Client {
        let grant = self.tickets.redeem(ticket(link), None).await.ok().and_then(Redeemed::here);
        let grant = grant.expect("the link is good");
        assert_eq!(grant.purpose().role, Role::Viewer);
        let arrival = Arrival { offset: Some(0), resumes: grant.resumes(), owner: None };
        Client::come(&self.session, Role::Viewer, arrival).await
    }

    async fn until_viewers_are(&self, count: u32) {
        while self.session.info().viewers != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn until_spent(&self, link: &str) {
        while self.tickets.redeem(ticket(link), None).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(self.tickets.redeem(ticket(link), None).await.unwrap_err(), Refused::Gone);
    }

    /// The same over a connection that holds little.
    async fn watch_narrowly(&self) -> Client {
        Client::come_over(64 << 10, &self.session, Role::Viewer, Arrival::default()).await
    }
}

fn ticket(link: &str) -> &str {
    link.rsplit('/').next().unwrap()
}

/// What a terminal shows that is given this output.
fn shown(output: &[u8]) -> Vec<u8> {
    shown_in(Size::DEFAULT, output)
}

fn shown_in(size: Size, output: &[u8]) -> Vec<u8> {
    let mut screen = Screen::new(size);
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
    // What it reads when it reads again ends in why.
    assert_eq!(a_word(&mut viewer, "error").await["code"], "fell_behind");
    let (_, _, close) = viewer.drain().await;
    assert_eq!(close, Some(4413));
}

/// Output of a program that paints one place over and over; more of it than is held.
fn much_in_one_place() -> Vec<u8> {
    b"\x1b[5;1Hworking \x1b[31m*\x1b[m".repeat(30_000)
}

#[tokio::test(start_paused = true)]
async fn without_a_whole_screen_a_viewer_is_told_so_and_the_program_is_made_to_paint() {
    for policy in [ScreenPolicy::Viewers, ScreenPolicy::Off] {
        let mut world = World::with_screen(policy, lifetimes(), b"$ ", None).await;
        world.client.see(2).await;
        world.terminal.says(&much_in_one_place());
        world.client.see(much_in_one_place().len()).await;
        let mut viewer = world.watch().await;
        assert_eq!(a_word(&mut viewer, "error").await["code"], "output_gap");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.terminal.rows(), [24, 23, 24], "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_that_paints_late_or_never_leaves_the_screen_unknown_until_it_does() {
    let mut world = World::start(b"$ ", None).await;
    world.client.see(2).await;
    world.terminal.says(&much_in_one_place());
    world.client.see(much_in_one_place().len()).await;
    let mut first = world.watch().await;
    assert_eq!(a_word(&mut first, "error").await["code"], "output_gap");
    tokio::time::sleep(Duration::from_secs(10)).await;
    // It has said something meanwhile, as a shell does that draws its prompt anew.
    world.terminal.says(b"\r\x1b[K$ ");
    world.client.see(6).await;
    let mut second = world.watch().await;
    assert_eq!(a_word(&mut second, "error").await["code"], "output_gap", "nothing was painted");

    world.terminal.says(b"\x1b[H\x1b[2Jall of it");
    world.client.see(16).await;
    let mut third = world.watch().await;
    world.terminal.says(b", live");
    let seen = third.see(6).await;
    assert_eq!(shown(&seen.synthetic), shown(b"\x1b[H\x1b[2Jall of it"));
    assert!(seen.word("error").is_none(), "it is whole");
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_a_program_whose_beginning_was_missed_sees_nothing_of_it_when_it_has_left() {
    let mut world = World::start(b"$ \x1b[?1049h", None).await;
    world.client.see(10).await;
    world.terminal.says(&much_in_one_place());
    world.client.see(much_in_one_place().len()).await;
    let mut viewer = world.watch().await;
    assert_eq!(a_word(&mut viewer, "error").await["code"], "output_gap");
    // One more piece than the last one, so that what was shown first is over.
    world.terminal.says(b"\x1b[2Jpainted");
    world.terminal.says(b"\x1b[?1049l$ ");
    let again = a_word(&mut viewer, "ready").await;
    assert_eq!(again["offset"], 10 + much_in_one_place().len() + 11 + 10);
    world.terminal.says(b"ls");
    let seen = viewer.see(2).await;
    let mut screen = Screen::new(Size::DEFAULT);
    screen.feed(&seen.synthetic);
    let text = String::from_utf8(screen.snapshot()).unwrap();
    assert!(text.contains("$ ") && !text.contains("painted") && !text.contains("working"), "{text:?}");
}

#[tokio::test(start_paused = true)]
async fn the_model_is_there_as_long_as_somebody_watches_and_no_longer() {
    let mut world = World::start(b"\x1b[2Jfirst line", None).await;
    world.client.see(14).await;
    let mut first = world.watch().await;
    first.see(0).await;
    let all = [b"\x1b[2Jfirst line", &much_in_one_place()[..]].concat();
    for piece in much_in_one_place().chunks(60_000) {
        world.terminal.says(piece);
        world.client.see(piece.len()).await;
        first.see(piece.len()).await;
    }
    let mut second = world.watch().await;
    world.terminal.says(b".");
    let seen = second.see(1).await;
    assert!(seen.word("error").is_none(), "it was fed meanwhile");
    assert_eq!(shown(&seen.synthetic), shown(&all));
    drop((first, second));
    world.until_viewers_are(0).await;
    let mut third = world.watch().await;
    assert_eq!(a_word(&mut third, "error").await["code"], "output_gap", "what is not held is not known any more");
}

#[tokio::test(start_paused = true)]
async fn after_a_flood_of_lines_the_screen_is_known_though_its_beginning_is_not_held() {
    let mut world = World::start(b"$ ", None).await;
    world.client.see(2).await;
    let lines: Vec<u8> = (0..60_000_u32).flat_map(|n| format!("{n}\r\n").into_bytes()).collect();
    world.terminal.says(&lines);
    world.client.see(lines.len()).await;
    let mut viewer = world.watch().await;
    world.terminal.says(b"$ ");
    let seen = viewer.see(2).await;
    assert_eq!(shown(&seen.synthetic), shown(&lines));
    assert!(seen.word("error").is_none());
    assert_eq!(world.terminal.rows(), [24], "nothing has to be painted anew");
}

/// What a terminal shows that was given a size in the middle of its output.
fn shown_resized(before: &[u8], size: Size, behind: &[u8]) -> Vec<u8> {
    let mut screen = Screen::new(Size::DEFAULT);
    screen.feed(before);
    screen.resize(size);
    screen.feed(behind);
    screen.snapshot()
}

/// What is written for 80 columns, and wraps there.
const WIDE: &[u8] = b"\x1b[10;70H0123456789wrapped\x1b[3;1Hcut \x1b[31mhere ";

#[tokio::test(start_paused = true)]
async fn who_joins_or_takes_it_up_after_a_resize_sees_what_was_written_in_the_size_of_then() {
    let small = Size::new(60, 12).unwrap();
    for policy in [ScreenPolicy::Viewers, ScreenPolicy::Always] {
        let mut world = World::with_screen(policy, lifetimes(), WIDE, None).await;
        let first = world.client.see(WIDE.len()).await;
        world.client.say(Kind::Text, br#"{"operation":"resize","cols":60,"rows":12}"#).await;
        while world.terminal.rows() != [24, 12] {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        world.terminal.says(b"and on");
        world.client.see(6).await;
        let mut viewer = world.watch().await;
        world.terminal.says(b", live");
        let seen = viewer.see(6).await;
        assert_eq!(shown_in(small, &seen.synthetic), shown_resized(WIDE, small, b"and on"), "who joins, {policy:?}");
        assert!(seen.word("error").is_none(), "{policy:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.terminal.rows(), [24, 12], "no need to paint anew");
        drop(viewer);
        world.until_viewers_are(0).await;

        world.lose().await;
        world.client = world.come_back(first.link(), None).await;
        let output = all_output(&mut world.client).await;
        let is_right = shown_in(small, &output) == shown_resized(WIDE, small, b"and on, live");
        assert_eq!(is_right, policy == ScreenPolicy::Always, "who takes it up, {policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_model_is_kept_what_was_written_before_a_resize_is_said_to_be_partly_known() {
    let mut world = World::with_screen(ScreenPolicy::Off, lifetimes(), WIDE, None).await;
    world.client.see(WIDE.len()).await;
    world.client.say(Kind::Text, br#"{"operation":"resize","cols":60,"rows":12}"#).await;
    while world.terminal.rows() != [24, 12] {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut viewer = world.watch().await;
    assert_eq!(a_word(&mut viewer, "error").await["code"], "output_gap");
}

/// All output that comes without waiting, the synthetic one, too.
async fn all_output(client: &mut Client) -> Vec<u8> {
    let mut output = Vec::new();
    while let Ok(incoming) = tokio::time::timeout(Duration::from_secs(1), client.next()).await {
        if let Incoming::Message(Kind::Binary, bytes) = incoming {
            output.extend_from_slice(&bytes);
        }
    }
    output
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
    world.until_viewers_are(2).await;
    world.watch().await.see(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_was_lost_comes_back_to_what_is_on_the_screen_by_then() {
    let mut world = World::start(b"one, ", None).await;
    world.client.see(5).await;
    let mut viewer = world.watch().await;
    let first = viewer.see(0).await;
    drop(viewer);
    world.until_viewers_are(0).await;
    world.terminal.says(b"two, ");
    world.client.see(5).await;

    let mut viewer = world.watch_again(first.link()).await;
    world.terminal.says(b"three");
    let again = viewer.see(5).await;
    assert_eq!((again.ready["role"].as_str(), again.ready["offset"].as_u64()), (Some("viewer"), Some(10)));
    assert_eq!(shown(&again.synthetic), shown(b"one, two, "));
    assert_eq!(again.output, b"three");
    world.until_viewers_are(1).await;
}

#[tokio::test(start_paused = true)]
async fn the_link_of_a_viewer_is_good_until_it_is_heard_of_and_leads_to_one_place() {
    let mut world = World::start(b"$ ", None).await;
    world.client.see(2).await;
    let mut lost = world.watch().await;
    let first = lost.see(0).await;
    // Both come before anybody noticed that the one before is lost, and the first of them reads nothing.
    let mut unheard = world.watch_again(first.link()).await;
    let mut back = world.watch_again(first.link()).await;
    for replaced in [&mut lost, &mut unheard] {
        let (_, said, close) = replaced.drain().await;
        assert_eq!((said.last().unwrap().as_str(), close), ("error", Some(4409)));
    }
    let newest = back.see(0).await;
    back.say(Kind::Text, br#"{"operation":"ping","id":1}"#).await;
    a_word(&mut back, "pong").await;
    world.until_spent(first.link()).await;
    assert_eq!(world.session.info().viewers, 1);
    drop(back);
    world.until_viewers_are(0).await;
    world.watch_again(newest.link()).await.see(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_viewer_is_given_a_fresh_link_in_time_and_the_one_before_is_spent() {
    // The writer answers nothing meanwhile, and is let go.
    let lifetimes = Lifetimes { detach_grace: Duration::from_secs(7200), ..lifetimes() };
    let mut world = World::with(lifetimes, b"$ ", None).await;
    world.client.see(2).await;
    let mut viewer = world.watch().await;
    let first = viewer.see(0).await;
    let started = Instant::now();
    let fresh = a_word(&mut viewer, "resume").await["url"].as_str().unwrap().to_owned();
    assert_eq!(started.elapsed().as_secs(), 1800, "half of its time");
    // The pong to the ping behind it goes out with the next look.
    viewer.say(Kind::Text, br#"{"operation":"ping","id":1}"#).await;
    a_word(&mut viewer, "pong").await;
    world.until_spent(first.link()).await;
    drop(viewer);
    world.until_viewers_are(0).await;
    world.watch_again(&fresh).await.see(0).await;
}

#[tokio::test(start_paused = true)]
async fn of_those_who_have_left_as_many_may_come_back_as_there_are_seats_if_one_is_free() {
    let mut world = World::start(b"$ ", None).await;
    world.client.see(2).await;
    let mut links = Vec::new();
    for _ in 0..4 {
        let mut viewer = world.watch().await;
        links.push(viewer.see(0).await.link().to_owned());
        drop(viewer);
        world.until_viewers_are(0).await;
    }
    world.until_spent(&links[0]).await;
    let mut taken = Vec::new();
    for _ in 0..3 {
        let mut viewer = world.watch().await;
        viewer.see(0).await;
        taken.push(viewer);
    }
    let (_, _, close) = world.watch_again(&links[1]).await.drain().await;
    assert_eq!(close, Some(4429));
    drop(taken.pop());
    world.until_viewers_are(2).await;
    // The latest to leave is one of them now, in place of the oldest.
    world.until_spent(&links[1]).await;
    world.watch_again(&links[2]).await.see(0).await;
}

#[tokio::test(start_paused = true)]
async fn the_links_of_viewers_are_spent_with_the_session() {
    let mut world = World::start(b"$ ", None).await;
    world.client.see(2).await;
    let mut viewer = world.watch().await;
    let first = viewer.see(0).await;
    assert!(world.session.end().await);
    viewer.drain().await;
    world.client.drain().await;
    world.until_spent(first.link()).await;
}

#[tokio::test(start_paused = true)]
async fn a_writer_who_missed_too_much_finds_the_right_screen_where_one_is_always_kept() {
    let mut world = World::with_screen(ScreenPolicy::Always, lifetimes(), b"\x1b[?1049h\x1b[1;1Htop line", None).await;
    let first = world.client.see(22).await;
    world.lose().await;
    // A program that paints the same place over and over.
    let much = much_in_one_place();
    world.terminal.says(&much);
    while world.terminal.taken() < 22 + much.len() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.client = world.come_back(first.link(), None).await;
    let from = world.client.see(0).await.ready["offset"].as_u64().unwrap();
    let output = all_output(&mut world.client).await;
    assert!(from > 22);
    assert_eq!(shown(&output), shown(&[b"\x1b[?1049h\x1b[1;1Htop line", &much[..]].concat()));
}
