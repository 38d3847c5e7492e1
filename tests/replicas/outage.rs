//! The store is killed, started again, stopped; a replica is killed: no link is used twice, nobody is told what is not so,
//! what is open goes on, and everything comes back by itself.

use std::time::Duration;

use http::Method;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::sleep;

use super::common::{Client, Connect, Link, eventually};
use super::fleet::{Fleet, Replica};
use super::races::{Outcome, race};
use super::way_back;

/// Mints a link as soon as that is possible; until then, the answer is a 503 that says why and when to come back.
pub(super) async fn mint_again(replica: &Replica, provider: &str) -> Link {
    eventually(async || {
        let body = json!({ "provider": provider, "target": replica.target(provider) });
        let answer = replica.api(Method::POST, "/v1/sessions", Some(body)).await;
        if answer.status != 201 {
            assert_eq!(answer.status, 503, "{}", answer.body);
            assert!(["store_unavailable", "store_restarted"].contains(&answer.body["code"].as_str().unwrap()));
            assert!(answer.headers.contains_key("retry-after"), "{:?}", answer.headers);
            return None;
        }
        let text = |name: &str| answer.body[name].as_str().unwrap().to_owned();
        Some(Link { session: text("id"), url: text("url") })
    })
    .await
}

/// Links are minted and raced for while the store goes through all of it, round after round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_comes_and_goes_no_link_has_two_winners_and_every_loser_is_told_the_truth() {
    let mut fleet = Fleet::start(3, &[], |_| {}).await;
    let mut open = fleet.replicas[0].open("local").await;
    for round in 0..3 {
        let links: Vec<Link> = {
            let mut links = Vec::new();
            for at in 0..6 {
                links.push(mint_again(&fleet.replicas[at % 3], "local").await);
            }
            links
        };
        // A snapshot in which all of these are unused.
        fleet.redis.cli(&["SAVE"]);
        let (spent, rest) = links.split_at(2);
        for link in spent {
            let outcomes = race(&fleet, link).await;
            assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Won).count(), 1, "{outcomes:?}");
        }
        match round {
            // Restarted from the snapshot, it has the spent ones again.
            0 => fleet.redis.restart(),
            // Away: nobody wins, and nobody is told that the link was used.
            1 => fleet.redis.kill(),
            // It is there, and says nothing.
            _ => fleet.redis.pause(),
        }
        for link in links.iter() {
            let outcomes = race(&fleet, link).await;
            assert!(!outcomes.contains(&Outcome::Won), "round {round}: {outcomes:?}");
            assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Told(4500)), "round {round}: {outcomes:?}");
        }
        // What was open goes on.
        assert_eq!(open.run("echo on").await, "on\r\n");
        match round {
            0 => {}
            1 => fleet.redis.restart(),
            _ => fleet.redis.resume(),
        }
        // Nobody takes a replica for gone that has yet to say to the new store that it is there.
        for at in 0..30 {
            let path = format!("/v1/sessions/{}", open.session);
            let answer = fleet.replicas[1 + at % 2].api(Method::GET, &path, None).await;
            assert_eq!((answer.status.as_u16(), &answer.body["state"]), (200, &json!("attached")), "{}", answer.body);
            sleep(Duration::from_millis(100)).await;
        }
        // It recovers by itself, on every replica; a link that was never used may be good again, once.
        for at in 0..3 {
            let link = mint_again(&fleet.replicas[at % 3], "local").await;
            let outcomes = race(&fleet, &link).await;
            assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Won).count(), 1, "{outcomes:?}");
        }
        for link in spent {
            assert!(!race(&fleet, link).await.contains(&Outcome::Won), "round {round}: a spent link was good again");
        }
        for link in rest {
            let won = race(&fleet, link).await.iter().filter(|outcome| **outcome == Outcome::Won).count();
            assert!(won <= 1, "round {round}");
        }
    }
    assert_eq!(open.run("echo still on").await, "still on\r\n");
}

/// A replica is killed while its links are raced for, and its sessions are lost; those of the others are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replica_takes_its_own_sessions_along_and_nothing_else() {
    let mut fleet = Fleet::start(3, &[], |_| {}).await;
    let kept = fleet.replicas[1].mint("local").await;
    let mut carried = Client::connect(&fleet.replicas[2], &kept, Connect::default()).await.unwrap();
    carried.ready().await;
    let lost = fleet.replicas[0].mint("local").await;
    let mut dropped = Client::connect(&fleet.replicas[1], &lost, Connect::default()).await.unwrap();
    let ready = dropped.ready().await;
    let links: Vec<Link> = {
        let mut links = Vec::new();
        for _ in 0..8 {
            links.push(fleet.replicas[0].mint("local").await);
        }
        links
    };
    let doomed = fleet.replicas[0].pid();
    let racing = async {
        let mut all = Vec::new();
        for link in &links {
            all.push(race(&fleet, link).await);
        }
        all
    };
    let killing = async {
        sleep(Duration::from_millis(150)).await;
        rustix::process::kill_process(doomed, Signal::KILL).unwrap();
    };
    let (outcomes, ()) = tokio::join!(racing, killing);
    for outcomes in outcomes {
        assert!(outcomes.iter().filter(|outcome| **outcome == Outcome::Won).count() <= 1, "{outcomes:?}");
        // Used; gone with its replica; not to be reached; or cut off with it.
        let truths = [Outcome::Told(4410), Outcome::Told(4404), Outcome::Told(4500), Outcome::Broke, Outcome::Won];
        assert!(outcomes.iter().all(|outcome| truths.contains(outcome)), "{outcomes:?}");
    }
    assert_eq!(dropped.drain().await.code, 1006);
    assert_eq!(carried.run("echo on").await, "on\r\n");
    // The way back waits for its replica while that may be on its way, and then says that it is gone.
    let back = way_back(&lost.session, &ready, None);
    eventually(async || {
        let mut back = Client::connect(&fleet.replicas[2], &back, Connect::default()).await.unwrap();
        let closed = back.drain().await;
        assert!([4500, 4404].contains(&closed.code), "{closed:?}");
        (closed.code == 4404).then_some(())
    })
    .await;
    // The list names nobody who is gone, and a new replica at the same place is one of them.
    fleet.replicas[0].restart().await;
    eventually(async || {
        let list = fleet.replicas[0].api(Method::GET, "/v1/sessions", None).await.body;
        let lives =
            |session: &serde_json::Value| session["state"] == "attached" && session["id"] == kept.session.as_str();
        list["sessions"].as_array().unwrap().iter().any(lives).then_some(())
    })
    .await;
}

/// A replica that stands still for a while: its sessions wait, and so does who comes back to one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_back_waits_while_its_replica_cannot_be_reached() {
    let fleet = Fleet::start(2, &[], |_| {}).await;
    let link = fleet.replicas[0].mint("local").await;
    let mut client = Client::connect(&fleet.replicas[1], &link, Connect::default()).await.unwrap();
    let ready = client.ready().await;
    assert_eq!(client.run("echo before").await, "before\r\n");
    drop(client);
    fleet.replicas[1].until(&link.session, "detached").await;
    fleet.replicas[0].signal(Signal::STOP);
    let back = way_back(&link.session, &ready, None);
    let coming = Client::connect(&fleet.replicas[1], &back, Connect::default());
    let waking = async {
        sleep(Duration::from_secs(4)).await;
        fleet.replicas[0].signal(Signal::CONT);
    };
    let (client, ()) = tokio::join!(coming, waking);
    let mut client = client.unwrap();
    client.ready().await;
    assert!(client.catch_up().await.contains("before"));
    assert_eq!(client.run("echo after").await, "after\r\n");
}

/// SIGTERM: who is carried comes back by another replica, and who has a session here is told to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_leaves_gives_up_what_it_carries_and_the_session_is_found_by_another() {
    let mut fleet = Fleet::start(3, &[], |_| {}).await;
    let link = fleet.replicas[0].mint("local").await;
    let mut client = Client::connect(&fleet.replicas[1], &link, Connect::default()).await.unwrap();
    let ready = client.ready().await;
    assert_eq!(client.run("echo before").await, "before\r\n");
    assert_eq!(fleet.replicas[1].stop().await, Some(0));
    client.drain().await;
    fleet.replicas[2].until(&link.session, "detached").await;
    let back = way_back(&link.session, &ready, None);
    let mut client = Client::connect(&fleet.replicas[2], &back, Connect::default()).await.unwrap();
    client.ready().await;
    assert!(client.catch_up().await.contains("before"));
    assert_eq!(client.run("echo after").await, "after\r\n");
}

/// What ended while the store was away is not counted when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_end_while_the_store_is_away_make_room_when_it_is_back() {
    let fleet = Fleet::start(2, &[], |config| config["providers"][0]["max_sessions"] = json!(4)).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(fleet.replicas[0].open("local").await);
    }
    let kept = fleet.replicas[1].open("local").await;
    assert_eq!(
        fleet.replicas[1]
            .api(Method::POST, "/v1/sessions", Some(json!({ "provider": "local", "target": {} })))
            .await
            .status,
        429
    );
    // Its connections are cut and nobody is let in again for a while; what is in it stays as it is.
    fleet.redis.cli(&["CONFIG", "SET", "requirepass", "another"]);
    fleet.redis.cli_as("another", &["CLIENT", "KILL", "TYPE", "normal"]);
    eventually(async || {
        let away = fleet.replicas[0].metrics().await.contains("polytty_store_up 0\n");
        away.then_some(())
    })
    .await;
    for session in &mut sessions {
        session.say(json!({ "operation": "close" })).await;
        session.drain().await;
    }
    fleet.redis.cli_as("another", &["CONFIG", "SET", "requirepass", ""]);
    let body = json!({ "provider": "local", "target": {} });
    for at in 0..3 {
        let replica = &fleet.replicas[at % 2];
        eventually(async || {
            let status = replica.api(Method::POST, "/v1/sessions", Some(body.clone())).await.status.as_u16();
            assert!([201, 429, 503].contains(&status), "{status}");
            (status == 201).then_some(())
        })
        .await;
    }
    drop(kept);
}
