//! Clients that are lost and come back.

use polytty_dialect::Code;

use super::*;
use crate::ticket::Refused;

/// What a client has taken in: what was said, in order, with the output between.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) ready: Value,
    pub(super) said: Vec<Value>,
    pub(super) output: Vec<u8>,
    pub(super) synthetic: Vec<u8>,
}

impl Seen {
    pub(super) fn link(&self) -> &str {
        self.ready["resume"]["url"].as_str().expect("ready carries a resume link")
    }

    pub(super) fn word(&self, operation: &str) -> Option<&Value> {
        self.said.iter().find(|said| said["operation"] == operation)
    }
}

impl Client {
    /// Reads until `count` more bytes of the session's own output have come; with 0, until `ready`.
    pub(super) async fn see(&mut self, count: usize) -> Seen {
        let mut seen = Seen::default();
        let mut foreign = 0;
        while (count == 0 && seen.ready.is_null()) || seen.output.len() < count {
            match self.next().await {
                Incoming::Message(Kind::Binary, bytes) => {
                    let skipped = foreign.min(bytes.len());
                    foreign -= skipped;
                    seen.synthetic.extend_from_slice(&bytes[..skipped]);
                    seen.output.extend_from_slice(&bytes[skipped..]);
                }
                Incoming::Message(Kind::Text, text) => {
                    let text: Value = serde_json::from_slice(&text).unwrap();
                    match text["operation"].as_str().unwrap() {
                        "ready" => seen.ready = text,
                        "synthetic" => foreign += usize::try_from(text["bytes"].as_u64().unwrap()).unwrap(),
                        _ => seen.said.push(text),
                    }
                }
                other => panic!("{other:?} behind {} of {count} bytes", seen.output.len()),
            }
        }
        seen
    }
}

impl World {
    /// Loses the client without a word.
    pub(super) async fn lose(&mut self) {
        self.cut().await;
        while self.session.info().state != State::Detached {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Breaks the client's connection.
    async fn cut(&mut self) {
        let (gone, _) = duplex(1);
        self.client.0 = Socket::new(gone, b"", options(socket::Role::Client));
    }

    async fn redeem(&self, link: &str, offset: Option<u64>) -> Result<Arrival, Refused> {
        let ticket = link.rsplit('/').next().unwrap();
        let grant = self.tickets.redeem(ticket, None).await?.here().expect("it is here");
        assert_eq!(grant.purpose().session, self.session.id());
        Ok(Arrival { offset, resumes: grant.resumes(), owner: None })
    }

    pub(super) async fn come_back(&self, link: &str, offset: Option<u64>) -> Client {
        let arrival = self.redeem(link, offset).await.expect("the link is good");
        Client::attach(&self.session, arrival).await
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_with_an_offset_gets_what_follows_it_and_nothing_else() {
    let mut world = World::start(b"hello ", None).await;
    let first = world.client.see(6).await;
    assert_eq!((first.ready["offset"].as_u64(), first.ready["input"].as_u64()), (Some(0), Some(0)));
    world.client.say(Kind::Binary, b"typed").await;
    world.terminal.says(b"sent and lost, ");
    world.lose().await;
    world.terminal.says(b"said to nobody");

    world.client = world.come_back(first.link(), Some(6)).await;
    let second = world.client.see(29).await;
    assert_eq!(second.output, b"sent and lost, said to nobody");
    assert!(second.synthetic.is_empty(), "no reset");
    assert!(second.said.is_empty(), "nothing was shown before: {:?}", second.said);
    assert_eq!((second.ready["offset"].as_u64(), second.ready["input"].as_u64()), (Some(6), Some(5)));
    assert_ne!(second.link(), first.link());
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_with_nothing_gets_a_reset_and_all_that_is_held_and_is_told_what_was_shown() {
    let mut world = World::start(b"shown before", None).await;
    let first = world.client.see(12).await;
    world.lose().await;
    world.terminal.says(b", and not");
    world.client = world.come_back(first.link(), None).await;
    let second = world.client.see(21).await;
    assert_eq!(second.output, b"shown before, and not");
    assert!(!second.synthetic.is_empty());
    let replay = second.word("replay").unwrap();
    assert_eq!((replay["bytes"].as_u64(), replay["missing"].as_u64()), (Some(12), Some(0)));
    assert_eq!(second.ready["offset"], 0);
}

#[tokio::test(start_paused = true)]
async fn what_another_terminal_has_shown_in_between_is_told_apart() {
    let mut world = World::start(b"one ", None).await;
    let first = world.client.see(4).await;
    world.lose().await;
    world.terminal.says(b"two ");
    world.client = world.come_back(first.link(), None).await;
    let second = world.client.see(8).await;
    world.lose().await;
    world.terminal.says(b"three");
    // The first page again, with the link that the second was given: it knows what it has itself.
    let arrival = world.redeem(second.link(), None).await.unwrap();
    world.client = Client::attach(&world.session, Arrival { offset: Some(4), ..arrival }).await;
    let third = world.client.see(9).await;
    assert_eq!(third.output, b"two three");
}

#[tokio::test(start_paused = true)]
async fn a_link_is_good_until_its_user_is_heard_of_and_a_second_use_takes_the_place_of_the_first() {
    let mut world = World::start(b"$ ", None).await;
    let first = world.client.see(2).await;
    world.lose().await;
    let mut early = world.come_back(first.link(), Some(2)).await;
    // Nothing was heard of that one: it is still there when the next one comes by the same link.
    let mut late = world.come_back(first.link(), Some(2)).await;
    let given = late.see(0).await;
    let (_, said, close) = early.drain().await;
    assert_eq!((said.last().unwrap().as_str(), close), ("error", Some(Code::Replaced.close())));
    late.say(Kind::Text, br#"{"operation":"ping","id":1}"#).await;
    while !matches!(late.next().await, Incoming::Message(Kind::Text, text) if text.windows(4).any(|w| w == b"pong")) {}
    assert_eq!(world.redeem(first.link(), None).await.unwrap_err(), Refused::Gone);
    assert!(world.redeem(given.link(), None).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_pong_to_the_ping_behind_ready_confirms_as_well_as_a_word() {
    let mut world = World::start(b"$ ", None).await;
    let first = world.client.see(2).await;
    world.lose().await;
    let mut client = world.come_back(first.link(), Some(2)).await;
    client.see(0).await;
    world.terminal.says(b"x");
    client.next().await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(world.redeem(first.link(), None).await.unwrap_err(), Refused::Gone);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_before_ready_costs_nothing() {
    let mut world = World::start(b"$ ", None).await;
    let first = world.client.see(2).await;
    for _ in 0..20 {
        world.lose().await;
        world.terminal.says(b"x");
        // Redeemed, and gone before it has read a byte.
        world.client = world.come_back(first.link(), Some(2)).await;
    }
    world.lose().await;
    world.client = world.come_back(first.link(), Some(2)).await;
    assert_eq!(world.client.see(20).await.output, [b'x'; 20]);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_somebody_was_given_is_spent_when_another_comes_by_the_one_before() {
    let mut world = World::start(b"$ ", None).await;
    let first = world.client.see(2).await;
    world.lose().await;
    let mut unconfirmed = world.come_back(first.link(), Some(2)).await;
    let given = match poll_fn(|cx| unconfirmed.0.poll_recv(cx)).await {
        Incoming::Message(Kind::Text, text) => serde_json::from_slice::<Value>(&text).unwrap(),
        other => panic!("{other:?}"),
    };
    let _second = world.come_back(first.link(), Some(2)).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(world.redeem(given["resume"]["url"].as_str().unwrap(), None).await.unwrap_err(), Refused::Gone);
}

#[tokio::test(start_paused = true)]
async fn a_writer_who_comes_by_an_ordinary_link_spends_the_way_back_of_the_one_before() {
    let mut world = World::start(b"$ ", None).await;
    let first = world.client.see(2).await;
    let mut other = Client::attach(&world.session, Arrival::default()).await;
    let second = other.see(2).await;
    let (_, said, close) = world.client.drain().await;
    assert_eq!((said.last().unwrap().as_str(), close), ("error", Some(4409)));
    assert_eq!(world.redeem(first.link(), None).await.unwrap_err(), Refused::Gone);
    assert!(world.redeem(second.link(), None).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn output_beyond_the_scrollback_is_counted_as_missing_and_the_rest_begins_behind_a_reset() {
    let mut world = World::start(b"start", None).await;
    let first = world.client.see(5).await;
    world.lose().await;
    let line = b"\x1b[32m0123456789\x1b[m\r\n";
    let much = line.repeat((1 << 20) / line.len());
    world.terminal.says(&much);
    while world.terminal.taken() < 5 + much.len() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.client = world.come_back(first.link(), Some(5)).await;
    let head = world.client.see(0).await;
    let from = usize::try_from(head.ready["offset"].as_u64().unwrap()).unwrap();
    let second = {
        world.client.say(Kind::Text, format!(r#"{{"operation":"ack","bytes":{from}}}"#).as_bytes()).await;
        let (mut output, mut synthetic, mut foreign, mut missing) = (head.output, head.synthetic.len(), 0, 0);
        while output.len() < 5 + much.len() - from {
            match world.client.next().await {
                Incoming::Message(Kind::Binary, bytes) => {
                    let skipped = bytes.len().min(foreign);
                    foreign -= skipped;
                    synthetic += skipped;
                    output.extend_from_slice(&bytes[skipped..]);
                    let ack = format!(r#"{{"operation":"ack","bytes":{}}}"#, from + output.len());
                    world.client.say(Kind::Text, ack.as_bytes()).await;
                }
                Incoming::Message(_, text) => {
                    let text: Value = serde_json::from_slice(&text).unwrap();
                    foreign +=
                        if text["operation"] == "synthetic" { text["bytes"].as_u64().unwrap() as usize } else { 0 };
                    missing += text["missing"].as_u64().unwrap_or(0) as usize;
                }
                other => panic!("{other:?}"),
            }
        }
        (output, synthetic, missing)
    };
    let (output, synthetic, missing) = second;
    assert!(synthetic > 0);
    assert_eq!(missing, from - 5);
    assert!(output == much[from - 5..], "the rest is whole");
    assert!((200 << 10..=256 << 10).contains(&output.len()), "{}", output.len());
}

#[tokio::test(start_paused = true)]
async fn an_offset_in_the_future_is_refused_and_whoever_is_attached_stays() {
    let mut world = World::start(b"$ ", None).await;
    world.client.see(2).await;
    let mut wrong = Client::attach(&world.session, Arrival { offset: Some(3), ..Arrival::default() }).await;
    let (output, said, close) = wrong.drain().await;
    assert_eq!((output.len(), said.last().unwrap().as_str(), close), (0, "error", Some(4400)));
    world.client.say(Kind::Binary, b"still here").await;
    while world.terminal.typed() != b"still here" {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ends_while_nobody_is_there_waits_for_somebody_to_tell_it_to() {
    let mut world = World::start(b"$ ", None).await;
    let first = world.client.see(2).await;
    world.lose().await;
    world.terminal.does(b"done", exit(7));
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.client = world.come_back(first.link(), Some(2)).await;
    let (output, said, close) = world.client.drain().await;
    assert_eq!((&output[..], said.last().unwrap().as_str(), close), (&b"done"[..], "exit", Some(1000)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.redeem(first.link(), None).await.unwrap_err(), Refused::Gone, "after the exit");
}

#[tokio::test(start_paused = true)]
async fn a_last_word_that_was_lost_on_its_way_is_said_again_with_the_output_before_it() {
    let mut world = World::start(b"$ ", None).await;
    let first = world.client.see(2).await;
    world.terminal.does(b"done", exit(7));
    for _ in 0..3 {
        // It is sent and never read; then the connection breaks.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.session.info().state, State::Ended);
        world.cut().await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        world.client = world.come_back(first.link(), Some(2)).await;
    }
    let (output, said, close) = world.client.drain().await;
    assert_eq!((&output[..], said.last().unwrap().as_str(), close), (&b"done"[..], "exit", Some(1000)));
    // Who has heard it is not waited for.
    while world.sessions.get(world.session.id()).is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.session.info().exit_code, Some(7));
}

#[tokio::test(start_paused = true)]
async fn and_nobody_who_comes_is_waited_for_longer_than_the_grace() {
    let mut world = World::start(b"$ ", None).await;
    world.client.see(2).await;
    world.lose().await;
    world.terminal.does(b"done", exit(7));
    let started = Instant::now();
    while world.sessions.get(world.session.id()).is_some() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!((59..=61).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert_eq!(world.session.info().exit_code, Some(7));
}

#[tokio::test(start_paused = true)]
async fn an_attached_client_is_given_a_fresh_link_in_time_and_the_old_one_is_spent_when_it_has_it() {
    let mut world = World::start(b"$ ", None).await;
    let first = world.client.see(2).await;
    let started = Instant::now();
    let fresh = loop {
        if let Incoming::Message(Kind::Text, text) = world.client.next().await {
            let text: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(text["operation"], "resume");
            break text["url"].as_str().unwrap().to_owned();
        }
    };
    assert_eq!(started.elapsed().as_secs(), 1800);
    assert!(world.redeem(first.link(), None).await.is_ok(), "the client may not have it yet");
    // The pong goes out with the next look at the socket.
    world.terminal.says(b"x");
    world.client.next().await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(world.redeem(first.link(), None).await.unwrap_err(), Refused::Gone);
    assert!(world.redeem(&fresh, None).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_a_shared_connection_cannot_wait_for_is_let_go_and_finds_all_of_it_again() {
    let mut world = World::start(b"$ ", None).await;
    let first = world.client.see(2).await;
    world.client.say(Kind::Text, br#"{"operation":"ack","bytes":2}"#).await;
    world.terminal.says(&[b'a'; 200_000]);
    world.terminal.does(b"", Some(Happened::CannotWait));
    world.terminal.says(b"end");
    let (output, said, close) = world.client.drain().await;
    assert_eq!((said.last().unwrap().as_str(), close), ("error", Some(Code::FellBehind.close())));
    let have = 2 + output.len() as u64;
    world.client = world.come_back(first.link(), Some(have)).await;
    let rest = world.client.see(200_005 - have as usize).await;
    assert!([output, rest.output].concat() == [&[b'a'; 200_000][..], b"end"].concat());
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_output_is_told_to_whoever_comes_back_for_what_is_around_it() {
    let mut world = World::start(b"before", None).await;
    let first = world.client.see(6).await;
    world.lose().await;
    let gap = Failure::new(Code::OutputGap, "Some is missing.");
    world.terminal.does(b"", Some(Happened::Notice(gap)));
    world.terminal.says(b"behind");

    let mut link = first.link().to_owned();
    for (offset, count, told) in [(Some(6), 6, true), (Some(3), 9, true), (None, 12, true), (Some(7), 5, false)] {
        world.client = world.come_back(&link, offset).await;
        let seen = world.client.see(count).await;
        let error = seen.word("error");
        assert_eq!(error.is_some(), told, "{offset:?}: {:?}", seen.said);
        if let Some(error) = error {
            assert_eq!((error["code"].as_str(), error["final"].as_bool()), (Some("output_gap"), Some(false)));
        }
        link = seen.link().to_owned();
    }
}

#[tokio::test(start_paused = true)]
async fn output_can_be_made_to_wait_for_somebody_to_read_it() {
    let mut world = World::with(Lifetimes { read_detached: false, ..lifetimes() }, b"$ ", None).await;
    let first = world.client.see(2).await;
    world.lose().await;
    world.terminal.says(b"held");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.terminal.taken(), 2);
    world.client = world.come_back(first.link(), Some(2)).await;
    assert_eq!(world.client.see(4).await.output, b"held");
}

#[tokio::test(start_paused = true)]
async fn the_scrollback_can_be_asked_for() {
    let mut world = World::start(b"\xe2\x82\xac first", None).await;
    world.client.see(9).await;
    assert_eq!(world.session.scrollback().await.unwrap(), "\u{20ac} first".as_bytes());
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_told_of_a_replay_is_shown_it_without_the_questions_that_were_answered() {
    let mut world = World::start(b"where \x1b[6nam I? \x1b[6", None).await;
    world.client.see(19).await;
    world.lose().await;
    world.terminal.says(b"nand now? \x1b[6n.");
    let (session, arrival) = (world.session.clone(), Arrival::default());
    world.client = Client::speaking("raw", PIPE, &session, Role::Writer, arrival).await;
    let mut output = Vec::new();
    while !output.ends_with(b".") {
        match world.client.next().await {
            Incoming::Message(Kind::Binary, bytes) => output.extend_from_slice(&bytes),
            other => panic!("{other:?} behind {output:?}"),
        }
    }
    // What was not seen whole before was not answered.
    let shown = b"where am I? \x1b[6nand now? \x1b[6n.";
    assert!(output.ends_with(shown), "{:?}", String::from_utf8_lossy(&output));
}

#[tokio::test(start_paused = true)]
async fn every_gap_in_what_is_shown_again_is_told() {
    let mut world = World::start(b"one ", None).await;
    let first = world.client.see(4).await;
    for (name, text) in [("first", "two "), ("second", "three")] {
        world.terminal.does(b"", Some(Happened::Notice(Failure::new(Code::OutputGap, name))));
        world.terminal.says(text.as_bytes());
    }
    world.client.see(9).await;
    let mut link = first.link().to_owned();
    for (offset, expected) in [(4, &["first", "second"][..]), (5, &["second"]), (8, &["second"]), (9, &[])] {
        world.lose().await;
        world.client = world.come_back(&link, Some(offset)).await;
        let count = usize::try_from(13 - offset).unwrap();
        let seen = world.client.see(count).await;
        let gaps: Vec<_> = seen.said.iter().filter(|said| said["code"] == "output_gap").collect();
        let told: Vec<_> = gaps.iter().map(|gap| gap["message"].as_str().unwrap()).collect();
        assert_eq!(told, expected, "from {offset} on");
        link = seen.link().to_owned();
    }
}
