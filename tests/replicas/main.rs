//! Several replicas on one real Redis: whichever of them a client or a caller comes to, it is as if there were one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on fails here and now")]

#[allow(dead_code, unused_imports, reason = "the suite's; not all of it is needed here")]
#[path = "../suite/common/mod.rs"]
mod common;
mod fleet;
mod outage;
mod races;
#[allow(dead_code, reason = "the store's; not all of it is needed here")]
#[path = "../store/server.rs"]
mod server;

use http::Method;
use polytty_simulator::Kind;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use common::{Client, Connect, Link, eventually, simulate};
use fleet::Fleet;

/// The link that something said hands out.
fn way_back(session: &str, said: &Value, offset: Option<u64>) -> Link {
    let url = said["resume"]["url"].as_str().unwrap();
    let offset = offset.map(|offset| format!("?offset={offset}")).unwrap_or_default();
    Link { session: session.to_owned(), url: format!("{url}{offset}") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_of_one_replica_is_used_at_another_and_the_session_is_everybodys() {
    let fleet = Fleet::start(3, &[], |_| {}).await;
    let [one, two, three] = [&fleet.replicas[0], &fleet.replicas[1], &fleet.replicas[2]];
    let link = one.mint_with("local", |body| body["labels"] = json!({ "of": "one" })).await;

    // Used at the second one, it is spent at all of them.
    let mut client = Client::connect(two, &link, Connect::default()).await.unwrap();
    let ready = client.ready().await;
    assert_eq!(client.run("echo hello").await, "hello\r\n");
    for replica in [one, two, three] {
        let mut late = Client::connect(replica, &link, Connect::default()).await.unwrap();
        assert_eq!(late.drain().await.code, 4410);
    }

    // All of them list it, show it and tell what it has said; also what was paid for by the size of a window.
    client.say(json!({ "operation": "resize", "cols": 132, "rows": 50 })).await;
    assert_eq!(client.run("stty size").await, "50 132\r\n");
    for replica in [one, two, three] {
        let list = replica.api(Method::GET, "/v1/sessions", None).await.body;
        assert_eq!(list["sessions"].as_array().unwrap().len(), 1, "{list}");
        assert!(list.get("unreachable").is_none(), "{list}");
        let shown = replica.session(&link.session).await;
        assert_eq!((&shown["state"], &shown["labels"]["of"]), (&json!("attached"), &json!("one")), "{shown}");
        let path = format!("/v1/sessions/{}/scrollback", link.session);
        let scrollback = replica.api(Method::GET, &path, None).await.body;
        assert!(scrollback.as_str().unwrap().contains("hello"), "{scrollback}");
    }
    assert!(two.metrics().await.contains("polytty_carried 1\n"));

    // The way back leads there from the third one, which has never heard of it.
    drop(client);
    three.until(&link.session, "detached").await;
    let mut client = Client::connect(three, &way_back(&link.session, &ready, None), Connect::default()).await.unwrap();
    let ready = client.ready().await;
    assert_eq!(ready["role"], "writer");
    assert!(client.catch_up().await.contains("hello"));
    assert_eq!(client.run("echo again").await, "again\r\n");

    // A viewer's link, minted at the second one, used at the first.
    let path = format!("/v1/sessions/{}/links", link.session);
    let answer = two.api(Method::POST, &path, Some(json!({ "role": "viewer" }))).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let watch = Link { session: link.session.clone(), url: answer.body["url"].as_str().unwrap().to_owned() };
    let mut viewer = Client::connect(one, &watch, Connect::default()).await.unwrap();
    assert_eq!(viewer.ready().await["role"], "viewer");
    client.type_text("echo for''-viewers\r").await;
    viewer.see("for-viewers").await;

    // Ended by the second one, it is over for all, in order.
    let ended = two.api(Method::DELETE, &format!("/v1/sessions/{}", link.session), None).await;
    assert_eq!(ended.status, 204);
    assert_eq!(client.drain().await.code, 1000);
    assert_eq!(viewer.drain().await.code, 1000);
    for replica in [one, two, three] {
        replica.until(&link.session, "ended").await;
        let mut late =
            Client::connect(replica, &way_back(&link.session, &ready, None), Connect::default()).await.unwrap();
        assert_eq!(late.drain().await.code, 4410);
    }
}

/// 20 MB from a shell at one replica to a client at another, which stops reading in between; and as much the other way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_are_carried_whole_both_ways_and_at_the_pace_of_who_reads() {
    let fleet = Fleet::start(2, &[], |_| {}).await;
    let [one, two] = [&fleet.replicas[0], &fleet.replicas[1]];
    let link = one.mint("local").await;
    let mut client = Client::connect(two, &link, Connect::default()).await.unwrap();
    client.ready().await;
    client
        .type_text("stty raw -echo; PS1=; echo rea''dy; seq -w 1 2500000 | tail -c 20000000; echo; echo do''ne\r")
        .await;
    client.see("ready").await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    // The shell may have more to say behind it.
    let is_done = |output: &[u8]| output[output.len().saturating_sub(100)..].windows(5).any(|tail| tail == b"done\n");
    while !is_done(&client.output) {
        assert!(client.read().await, "{:?}", client.closed);
    }
    let seen = String::from_utf8(std::mem::take(&mut client.output)).unwrap();
    let numbers: Vec<u32> = seen.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(numbers.into_iter().eq(1..=2_500_000), "no number is missing, none is there twice");

    let sent: Vec<u8> = (0..4_000_000_u32).map(|at| b'a' + u8::try_from(at % 23).unwrap()).collect();
    client.type_text("head -c 4000000 | sha256sum\r").await;
    for chunk in sent.chunks(50_000) {
        client.type_bytes(chunk).await;
    }
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &sent);
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    client.see(&hash).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_belongs_to_one_replica_and_to_another_one_when_that_is_gone() {
    let simulator = simulate(Kind::Oblien).await;
    let mut line = simulator.ready_line();
    line["provider"]["name"] = json!("oblien");
    let (provider, target) = (line["provider"].take(), line["target"].take());
    // Another entry for the same workspace is no other workspace.
    let mut again = provider.clone();
    again["name"] = json!("again");
    let targets = ["oblien", "again"].map(|name| (name.to_owned(), target.clone()));
    let mut fleet = Fleet::start(3, &targets, |config| {
        config["providers"].as_array_mut().unwrap().extend([provider.clone(), again.clone()]);
    })
    .await;
    // Whoever is asked, one replica makes them all: the ids of a replica's sessions begin with its own.
    let mut clients = Vec::new();
    let mut owner = None;
    for (replica, entry) in fleet.replicas.iter().zip(["oblien", "again", "oblien"]) {
        // Who has a workspace is not known before the store has been there for a while.
        let link = outage::mint_again(replica, entry).await;
        let made_by = link.session[..8].to_owned();
        assert_eq!(owner.get_or_insert(made_by.clone()), &made_by);
        let mut client = Client::connect(replica, &link, Connect::default()).await.unwrap();
        client.ready().await;
        assert_eq!(client.run("echo hello").await, "hello\r\n");
        clients.push(client);
    }
    assert_eq!((simulator.connections(), simulator.sessions()), (1, 3), "one WebSocket for three terminals");
    let owner = owner.unwrap();

    // The owner dies. Its sessions are lost, and their clients hear nothing more; the workspace goes to another one.
    let at = fleet.replicas.iter().position(|replica| replica.log().contains(&format!("replica={owner}"))).unwrap();
    fleet.replicas[at].kill().await;
    let left: Vec<_> = (0..3).filter(|other| *other != at).collect();
    let asked = &fleet.replicas[left[0]];
    let link = outage::mint_again(asked, "oblien").await;
    assert_ne!(link.session[..8], owner);
    let mut client = Client::connect(&fleet.replicas[left[1]], &link, Connect::default()).await.unwrap();
    client.ready().await;
    assert_eq!(client.run("echo there").await, "there\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_subject_and_a_provider_may_have_is_counted_over_all_replicas() {
    let fleet = Fleet::start(3, &[], |config| {
        config["limits"]["sessions_per_subject"] = json!(4);
        config["providers"][0]["max_sessions"] = json!(6);
    })
    .await;
    let create = async |at: usize, subject: &str| {
        let body = json!({ "provider": "local", "target": {}, "subject": subject });
        fleet.replicas[at % 3].api(Method::POST, "/v1/sessions", Some(body)).await
    };
    let mut sessions = Vec::new();
    for at in 0..4 {
        let answer = create(at, "ada").await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        sessions.push(answer.body["id"].as_str().unwrap().to_owned());
    }
    for at in 0..3 {
        let answer = create(at, "ada").await;
        assert_eq!((answer.status.as_u16(), &answer.body["code"]), (429, &json!("quota_exceeded")), "{}", answer.body);
        assert!(answer.headers["ratelimit-policy"].to_str().unwrap().contains("sessions_per_subject"));
    }
    for at in 0..2 {
        assert_eq!(create(at, "bob").await.status, 201);
    }
    for at in 0..3 {
        let answer = create(at, "eve").await;
        assert!(answer.headers["ratelimit-policy"].to_str().unwrap().contains("max_sessions"), "{:?}", answer.headers);
    }
    // One that ends makes room, wherever it was and whoever is asked.
    let ended = fleet.replicas[2].api(Method::DELETE, &format!("/v1/sessions/{}", sessions[0]), None).await;
    assert_eq!(ended.status, 204);
    eventually(async || (create(1, "ada").await.status == 201).then_some(())).await;
    assert_eq!(create(0, "ada").await.status, 429);
}

/// What a key or a subject may mint is counted whichever replica is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_limited_at_every_replica() {
    let fleet = Fleet::start(2, &[], |config| {
        config["limits"]["subject_mints_per_second"] = json!(1);
        config["limits"]["subject_mint_burst"] = json!(3);
    })
    .await;
    let [one, two] = [&fleet.replicas[0], &fleet.replicas[1]];
    let link = one.mint_with("local", |body| body["subject"] = json!("ada")).await;
    let path = format!("/v1/sessions/{}/links", link.session);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(two.api(Method::POST, &path, Some(json!({}))).await.status.as_u16());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(one.api(Method::POST, &path, Some(json!({}))).await.status, 429, "it is the same count");
}

/// A workspace that goes to another replica takes its sessions here along, which say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_that_was_lost_ends_its_sessions_and_one_that_was_given_up_is_free() {
    let simulator = simulate(Kind::Oblien).await;
    let mut line = simulator.ready_line();
    line["provider"]["name"] = json!("oblien");
    let (provider, target) = (line["provider"].take(), line["target"].take());
    let mut fleet = Fleet::start(2, &[("oblien".to_owned(), target)], |config| {
        config["providers"].as_array_mut().unwrap().push(provider.clone());
    })
    .await;
    let open = async |fleet: &Fleet, at: usize| {
        let link = outage::mint_again(&fleet.replicas[at], "oblien").await;
        let mut client = Client::connect(&fleet.replicas[at], &link, Connect::default()).await.unwrap();
        client.ready().await;
        client
    };
    let mut client = open(&fleet, 0).await;
    // As if another one had it by now.
    let place = fleet.redis.cli(&["KEYS", "polytty:place:*"]);
    fleet.redis.cli(&["SET", &place, "ffffffff:999", "PX", "6000"]);
    let error = client.hear("error").await;
    assert_eq!((&error["code"], &error["final"]), (&json!("evicted"), &json!(true)));
    assert_eq!(client.drain().await.code, 4502);

    // By SIGTERM: its sessions end, then the workspace is another one's, without a wait for the lease.
    let mut client = open(&fleet, 0).await;
    assert_eq!(fleet.replicas[0].stop().await, Some(0));
    assert_eq!(client.drain().await.code, 1001);
    assert_eq!(fleet.redis.cli(&["KEYS", "polytty:place:*"]), "");
    let mut client = open(&fleet, 1).await;
    assert_eq!(client.run("echo there").await, "there\r\n");
}

/// Who shows a certificate to one replica is known by it to the owner of a session, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_known_by_its_certificate_is_known_to_all_replicas() {
    let fleet = Fleet::start(2, &[], |config| {
        config["tls"]["client_ca"] = json!("../ca.pem");
        let named = json!({ "name": "robot", "certificate": "robot.example", "scopes": ["observe", "end"] });
        config["keys"].as_array_mut().unwrap().push(named);
    })
    .await;
    let link = fleet.replicas[0].mint("local").await;
    let path = format!("/v1/sessions/{}", link.session);
    let pair = fleet.certificate(&["robot.example"]);
    for replica in &fleet.replicas {
        let known = replica.showing(pair.shown()).called(replica.host);
        assert_eq!(known.http(Method::GET, &path, None, &[]).await.status, 200);
        assert_eq!(replica.http(Method::GET, &path, None, &[]).await.status, 401);
        let list = known.http(Method::GET, "/v1/sessions", None, &[]).await.body;
        assert_eq!(list["sessions"].as_array().unwrap().len(), 1, "{list}");
    }
    let known = fleet.replicas[1].showing(pair.shown()).called(fleet.replicas[1].host);
    assert_eq!(known.http(Method::DELETE, &path, None, &[]).await.status, 204);
    fleet.replicas[0].until(&link.session, "ended").await;
}

/// The listener for replicas speaks with nobody else, and what replicas tell each other means nothing from a client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_in_by_the_way_of_replicas() {
    let fleet = Fleet::start(2, &[], |_| {}).await;
    let [one, two] = [&fleet.replicas[0], &fleet.replicas[1]];
    // Without a certificate, with one of another authority, and with one of theirs.
    let other = Fleet::start(1, &[], |_| {}).await;
    for (name, pair, gets_in) in [
        ("none", None, false),
        ("another authority's", Some(other.certificate(&["127.0.0.1"])), false),
        ("a replica's", Some(fleet.certificate(&["127.0.0.1"])), true),
    ] {
        let answer = fleet::knock(&fleet, one.inner, pair, b"GET /v1/sessions HTTP/1.1\r\nHost: nobody\r\n\r\n").await;
        assert_eq!(answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 421 ")), gets_in, "{name}");
    }
    // Plain text is no way in either.
    let mut plain = TcpStream::connect(one.inner).await.unwrap();
    plain.write_all(b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/"));

    // Who says of itself that it comes from elsewhere is still who it is.
    let link = one.mint("local").await;
    let forged = ("polytty-client-address", "203.0.113.7:1");
    let how = Connect { field: Some(forged), ..Connect::default() };
    let mut client = Client::connect(two, &link, how).await.unwrap();
    client.ready().await;
    let log = one.log();
    let attached = log.lines().find(|line| line.contains("client attaches")).unwrap();
    assert!(attached.contains("peer=127.0.0.1:") && !log.contains("203.0.113.7"), "{attached}");
    let forged_certificate = ("polytty-client-certificate", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let path = format!("/v1/sessions/{}", link.session);
    assert_eq!(two.http(Method::DELETE, &path, None, &[forged_certificate]).await.status, 401);
    // Another's credentials are asked for again by the owner.
    assert_eq!(two.http(Method::DELETE, &path, None, &[forged]).await.status, 401);
    assert_eq!(two.call("polytty_nobody", Method::DELETE, &path, None).await.status, 401);
}
