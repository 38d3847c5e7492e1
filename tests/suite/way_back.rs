//! Resume links from outside: whoever comes by one, only the right one ever passes, and there is one writer.

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};

use crate::common::{Client, Connect, Link, World, eventually};

/// The link that `ready` has handed out.
fn way_back(session: &str, ready: &Value) -> Link {
    Link { session: session.to_owned(), url: ready["resume"]["url"].as_str().unwrap().to_owned() }
}

/// Comes by a link and hears that it leads nowhere.
async fn is_refused(world: &World, link: &Link, with: u16) {
    let mut refused = Client::connect(world, link, Connect::default()).await.unwrap();
    let closed = refused.drain().await;
    assert_eq!(closed.code, with, "{closed:?}");
    assert!(refused.said.iter().all(|said| said["operation"] != "ready"), "{:?}", refused.said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_that_race_for_one_way_back_one_is_the_writer_and_the_others_have_left() {
    const RACERS: usize = 100;
    let world = World::start().await;
    for provider in ["local", "oblien"] {
        let link = world.mint(provider).await;
        let mut first = Client::connect(&world, &link, Connect::default()).await.unwrap();
        let ready = first.ready().await;
        assert_eq!(first.run("count=0; echo in").await, "in\r\n");
        drop(first);
        world.until(&link.session, "detached").await;
        let back = way_back(&link.session, &ready);

        let racing = (0..RACERS).map(|_| Client::connect(&world, &back, Connect::default()));
        let mut racers: Vec<_> = join_all(racing).await.into_iter().map(Result::unwrap).collect();
        // Each types as soon as it may; of those who were replaced before, nothing is run.
        let racing = racers.iter_mut().map(|racer| async {
            let listening = async {
                loop {
                    if racer.said.iter().any(|said| said["operation"] == "ready") {
                        break true;
                    }
                    if !racer.read().await {
                        break false;
                    }
                }
            };
            let is_in = timeout(Duration::from_secs(30), listening).await.expect("everybody is told");
            if is_in {
                racer.try_typing("count=$((count+1)); echo cou''nted=$count\r").await;
            }
            // Whoever was replaced hears so; the one that stays hears nothing of the kind.
            while timeout(Duration::from_secs(3), racer.read()).await.is_ok_and(|goes_on| goes_on) {}
            is_in
        });
        let were_in = join_all(racing).await.into_iter().filter(|is_in| *is_in).count();
        let (still_in, out): (Vec<_>, Vec<_>) = racers.iter_mut().partition(|racer| racer.closed.is_none());
        assert_eq!(still_in.len(), 1, "{were_in} were in at some time");
        for racer in out {
            let closed = racer.closed.as_ref().unwrap();
            assert!([4409, 4410].contains(&closed.code), "{closed:?}");
        }
        let winner = still_in.into_iter().next().unwrap();
        // What was shown again lies behind it by now.
        winner.output.clear();
        assert_eq!(winner.run("echo alone").await, "alone\r\n");
        // It was heard of, so the link is spent, and the next one is good.
        is_refused(&world, &back, 4410).await;
        let ready = winner.said.iter().rfind(|said| said["operation"] == "ready").unwrap().clone();
        let next = way_back(&link.session, &ready);
        let mut again = Client::connect(&world, &next, Connect::default()).await.unwrap();
        again.ready().await;
        again.say(json!({ "operation": "close" })).await;
        again.drain().await;
        is_refused(&world, &next, 4410).await;
    }
}

#[tokio::test]
async fn a_way_back_that_has_expired_was_spent_or_whose_session_is_over_leads_nowhere() {
    let world = World::with(|config| config["tickets"] = json!({ "resume_ttl": "1s" })).await;
    let link = world.mint("local").await;
    let mut client = Client::connect(&world, &link, Connect::default()).await.unwrap();
    let ready = client.ready().await;
    // The client that stays is given fresh ones; an old one is gone.
    let expired = way_back(&link.session, &ready);
    client.hear("resume").await;
    eventually(async || {
        let status = Client::connect(&world, &expired, Connect { subprotocol: None, ..Connect::default() }).await.err();
        (status.map(|status| status.as_u16()) == Some(410)).then_some(())
    })
    .await;
    is_refused(&world, &expired, 4410).await;

    let world = World::start().await;
    for over in ["exit", "delete"] {
        let link = world.mint("local").await;
        let mut client = Client::connect(&world, &link, Connect::default()).await.unwrap();
        let ready = client.ready().await;
        if over == "exit" {
            client.type_text("exit\r").await;
        } else {
            world.api(Method::DELETE, &format!("/v1/sessions/{}", link.session), None).await;
        }
        assert_eq!(client.drain().await.code, 1000);
        world.until(&link.session, "ended").await;
        is_refused(&world, &way_back(&link.session, &ready), 4410).await;
    }
    let guessed = Link { session: String::new(), url: format!("wss://x/t/{}", "A".repeat(43)) };
    is_refused(&world, &guessed, 4404).await;
}

#[tokio::test]
async fn a_way_back_that_runs_out_while_nobody_is_there_is_gone_and_the_session_is_not() {
    let world = World::with(|config| config["tickets"] = json!({ "resume_ttl": "1s" })).await;
    let link = world.mint("local").await;
    let mut client = Client::connect(&world, &link, Connect::default()).await.unwrap();
    let ready = client.ready().await;
    assert_eq!(client.run("kept=this; echo in").await, "in\r\n");
    let newest = client.said.iter().rfind(|said| said["operation"] == "resume");
    let resume = newest.map_or(&ready["resume"], |said| said).clone();
    drop(client);
    let expires_at: jiff::Timestamp = resume["expires_at"].as_str().unwrap().parse().unwrap();
    // To try it before would be to use it.
    eventually(async || (jiff::Timestamp::now() > expires_at).then_some(())).await;
    world.until(&link.session, "detached").await;
    is_refused(&world, &Link { session: link.session.clone(), url: resume["url"].as_str().unwrap().to_owned() }, 4410)
        .await;
    let mut back = world.reconnect(&link.session).await;
    back.ready().await;
    back.catch_up().await;
    assert_eq!(back.run("echo $kept").await, "this\r\n");
}

#[tokio::test]
async fn without_a_scrollback_who_comes_back_goes_on_and_is_told_what_is_gone() {
    let world = World::with(|config| config["sessions"] = json!({ "scrollback": "0B" })).await;
    let link = world.mint("pai").await;
    let mut client = Client::connect(&world, &link, Connect::default()).await.unwrap();
    client.ready().await;
    assert_eq!(client.run("kept=this; echo in").await, "in\r\n");
    drop(client);
    let session = world.until(&link.session, "detached").await;
    let gone = session["bytes_out"].as_u64().unwrap();
    let held = world.api(Method::GET, &format!("/v1/sessions/{}/scrollback", link.session), None).await;
    assert_eq!((held.status.as_u16(), held.body), (200, json!("")));
    let mut back = world.reconnect(&link.session).await;
    assert_eq!(back.ready().await["offset"], gone);
    assert_eq!(back.hear("replay").await, json!({ "operation": "replay", "bytes": 0, "missing": gone }));
    // What is typed and shown from here on comes whole, however much it is.
    assert_eq!(back.run("echo $kept").await, "this\r\n");
    let lines: String = (1..=20_000).map(|n| format!("{n}\r\n")).collect();
    assert_eq!(back.run("seq 20000").await, lines);
}
