//! One connection for all terminals of an account, which repeats nothing when it is made anew.

use std::time::Duration;

use http::Method;
use polytty_simulator::Kind;
use polytty_simulator::decthings::{Counters, Decthings, ExitReason};
use serde_json::json;
use tokio::time::timeout;

use super::{LONGER_THAN_A_REDIAL, notices, paced, resume, simulated};
use crate::common::{Client, Connect, World, eventually};

/// Lines that are typed behind the gap.
const BEHIND: usize = 200;

#[tokio::test]
async fn when_the_connection_drops_sessions_go_on_behind_a_gap_that_is_told_once() {
    let world = World::start().await;
    let mut clients = Vec::new();
    for name in ["one", "two", "three", "four", "five"] {
        let mut client = world.open("decthings").await;
        let (line, printed) = paced(name, 250);
        client.type_text(&line).await;
        client.see("ready\r\n").await;
        clients.push((client, printed));
    }
    let (first, printed) = &mut clients[0];
    let seen = first.see("one 20\r\n").await;
    assert!(printed.starts_with(&seen), "{seen}");
    printed.drain(..seen.len());
    simulated::<Decthings>(&world).drop_connections();
    for (client, printed) in &mut clients {
        let gap = client.hear("error").await;
        assert_eq!((&gap["code"], &gap["final"]), (&json!("output_gap"), &json!(false)));
        // What was read by now stands before the gap.
        let before = String::from_utf8(std::mem::take(&mut client.output)).unwrap();
        let behind = client.see("the-end\r\n").await;
        assert!(printed.starts_with(&before) && printed.ends_with(&behind), "{before}{behind}");
        assert!(before.len() + behind.len() < printed.len(), "a second is missing");
        assert_eq!(client.run("echo on").await, "on\r\n");
        assert_eq!(notices(client, "output_gap"), 1, "{:?}", client.said);
    }
    let counters = counters(&world);
    assert_eq!((counters.upgrades_taken, counters.connections, counters.subscriptions), (2, 1, 5), "{counters:?}");
    assert!(counters.lost_bytes > 0);
}

#[tokio::test]
async fn what_is_typed_while_the_connection_drops_arrives_in_order_and_all_of_it_behind_the_gap() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("typed");
    let mut client = world.open("decthings").await;
    client.type_text(&format!("stty -echo; echo rea''dy; cat > {}\r", file.display())).await;
    client.see("ready\r\n").await;
    let (mut typed, mut behind) = (0, None);
    while behind.is_none_or(|since| typed < since + BEHIND) {
        if typed == 50 {
            simulated::<Decthings>(&world).drop_connections();
        }
        typed += 1;
        client.type_text(&format!("{typed}\r")).await;
        if behind.is_none() {
            let _ = timeout(Duration::from_millis(5), client.read()).await;
            behind = (notices(&client, "output_gap") > 0).then_some(typed);
        }
    }
    let behind = behind.unwrap();
    // What is typed line by line is there once its line is; the end of the input is typed, too.
    client.say(json!({ "operation": "eof" })).await;
    assert_eq!(client.run("echo on").await, "on\r\n");
    let arrived: Vec<usize> =
        std::fs::read_to_string(&file).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert!(arrived.is_sorted_by(|one, other| one < other), "nothing twice, nothing out of order: {arrived:?}");
    assert!(arrived.ends_with(&(behind..=typed).collect::<Vec<_>>()), "all of it behind {behind}: {arrived:?}");
    assert_eq!(notices(&client, "output_gap"), 1);
}

#[tokio::test]
async fn while_nobody_is_attached_no_connection_is_made_and_who_comes_back_is_told_of_the_gap() {
    let world = World::start().await;
    let mut client = world.open("decthings").await;
    let ready = client.said[0].clone();
    let before = client.run("echo before").await;
    assert_eq!(before, "before\r\n");
    let offset = world.session(&client.session).await["bytes_out"].as_u64().unwrap();
    let session = client.session.clone();
    drop(client);
    world.until(&session, "detached").await;
    simulated::<Decthings>(&world).drop_connections();
    tokio::time::sleep(LONGER_THAN_A_REDIAL).await;
    let away = counters(&world);
    assert_eq!((away.upgrades_taken, away.connections, away.alive), (1, 0, 1), "nobody needs it: {away:?}");
    let (mut back, _) = resume(&world, &session, &ready, usize::try_from(offset).unwrap()).await;
    let gap = back.hear("error").await;
    assert_eq!((&gap["code"], &gap["final"]), (&json!("output_gap"), &json!(false)));
    assert_eq!(back.run("echo on").await, "on\r\n");
    assert_eq!(counters(&world).upgrades_taken, 2);
    assert_eq!(notices(&back, "output_gap"), 1);
}

#[tokio::test]
async fn who_was_away_while_the_connection_was_made_anew_for_others_is_told_of_the_gap_when_back() {
    let world = World::start().await;
    let mut client = world.open("decthings").await;
    let mut neighbour = world.open("decthings").await;
    let ready = client.said[0].clone();
    let (line, printed) = paced("line", 200);
    client.type_text(&line).await;
    let before = client.see("ready\r\n").await + &client.see("line 20\r\n").await;
    let (offset, session) = (before.len() + client.output.len(), client.session.clone());
    drop(client);
    world.until(&session, "detached").await;
    simulated::<Decthings>(&world).drop_connections();
    assert_eq!(neighbour.hear("error").await["code"], "output_gap");
    until(&world, |counters| counters.subscriptions == 2).await;
    // Its output goes on by now, with nobody there to see it.
    let sent = world.session(&session).await["bytes_out"].as_u64().unwrap();
    eventually(async || (world.session(&session).await["bytes_out"].as_u64()? > sent + 100).then_some(())).await;
    let (mut back, back_ready) = resume(&world, &session, &ready, offset).await;
    assert_eq!(back_ready["offset"], offset);
    let seen = back.see("the-end\r\n").await;
    assert!(seen.len() < printed.len() - offset, "a second is missing");
    assert_eq!(notices(&back, "output_gap"), 1, "{:?}", back.said);
    // Who has all of the output behind it knows already.
    let offset = world.session(&session).await["bytes_out"].as_u64().unwrap();
    let (mut again, _) = resume(&world, &session, &back_ready, usize::try_from(offset).unwrap()).await;
    assert_eq!(again.run("echo on").await, "on\r\n");
    assert_eq!(notices(&again, "output_gap"), 0);
}

#[tokio::test]
async fn a_terminal_that_is_ended_elsewhere_says_how_and_ends_no_other() {
    let world = World::start().await;
    let simulator = simulated::<Decthings>(&world);
    let mut neighbour = world.open("decthings").await;
    for (reason, code, close) in [
        (ExitReason::TerminatedOnRequest, None, 1000),
        (ExitReason::InactiveTimeout, Some("idle_timeout"), 4408),
        (ExitReason::Unknown, Some("provider_lost"), 4502),
    ] {
        let mut client = world.open("decthings").await;
        let id = simulator.terminals().pop().unwrap();
        assert!(simulator.end(&id, reason.clone()));
        match code {
            None => assert_eq!(client.hear("exit").await["code"], json!(null)),
            Some(code) => assert_eq!(client.hear("error").await["code"], code, "{reason:?}"),
        }
        assert_eq!(client.drain().await.code, close, "{reason:?}");
    }
    assert_eq!(neighbour.run("echo here").await, "here\r\n");
    assert_eq!(simulator.end_launcher(&simulator.launchers()[0].id), 1);
    assert_eq!(neighbour.hear("error").await["code"], "provider_not_running");
    assert_eq!(neighbour.drain().await.code, 4502);
}

#[tokio::test]
async fn every_way_for_a_session_to_end_ends_its_terminal() {
    let world = World::with(|config| config["sessions"] = json!({ "detach_grace": "0s" })).await;
    let mut exits = world.open("decthings").await;
    let mut closes = world.open("decthings").await;
    let mut deleted = world.open("decthings").await;
    let leaves = world.open("decthings").await;
    exits.type_text("exit 3\r").await;
    assert_eq!(exits.hear("exit").await["code"], 3);
    closes.say(json!({ "operation": "close" })).await;
    let path = format!("/v1/sessions/{}", deleted.session);
    assert_eq!(world.api(Method::DELETE, &path, None).await.status, 204);
    for client in [&mut exits, &mut closes, &mut deleted] {
        assert_eq!(client.drain().await.code, 1000);
    }
    drop(leaves);
    until(&world, |counters| (counters.terminated, counters.alive) == (4, 0)).await;
    assert_eq!(counters(&world).upgrades_taken, 1);
}

#[tokio::test]
async fn a_client_that_vanishes_while_we_dial_leaves_no_terminal() {
    let world = World::with(|config| config["sessions"] = json!({ "detach_grace": "0s" })).await;
    let simulator = simulated::<Decthings>(&world);
    for round in 0..40_u32 {
        if round % 4 == 0 {
            // The terminal runs for a while before we know of it.
            simulator.faults().next(Kind::Decthings.fault("reply-late").unwrap());
        }
        let link = world.mint("decthings").await;
        let launched = counters(&world).launched;
        let client = Client::connect(&world, &link, Connect::default()).await.unwrap();
        if round % 4 == 0 {
            until(&world, |counters| counters.launched > launched).await;
        } else {
            tokio::time::sleep(Duration::from_micros(u64::from(round) * 250)).await;
        }
        drop(client);
        world.until(&link.session, "ended").await;
    }
    until(&world, |counters| counters.terminated == counters.launched).await;
    let counters = counters(&world);
    assert!(counters.launched >= 10 && counters.alive == 0, "{counters:?}");
}

fn counters(world: &World) -> Counters {
    simulated::<Decthings>(world).counters()
}

async fn until(world: &World, is_so: impl Fn(Counters) -> bool) {
    eventually(async || is_so(counters(world)).then_some(())).await;
}
