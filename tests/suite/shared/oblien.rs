//! One workspace, its ten terminals, and others who use it, too.

use std::time::Duration;

use http::Method;
use polytty_simulator::Kind;
use polytty_simulator::oblien::{self, Counters, Oblien};
use serde_json::{Value, json};

use super::other::Other;
use super::{LONGER_THAN_A_REDIAL, notices, paced, resume, simulated};
use crate::common::{Client, Connect, Link, Proxy, SHELL, World, eventually};

#[tokio::test]
async fn the_eleventh_terminal_is_refused_before_there_is_a_link_to_it_and_there_is_room_again_when_one_has_ended() {
    let world = World::start().await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(world.open("oblien").await);
    }
    let before = counters(&world);
    let body = json!({ "provider": "oblien", "target": world.target("oblien") });
    let refused = world.api(Method::POST, "/v1/sessions", Some(body.clone())).await;
    assert_eq!((refused.status.as_u16(), &refused.body["code"]), (429, &json!("quota_exceeded")));
    assert_eq!(refused.headers["retry-after"], "5");
    assert_eq!(refused.headers["ratelimit-policy"], "\"max_terminals\";q=10");
    assert_eq!(refused.headers["ratelimit"], "\"max_terminals\";r=0");
    let after = counters(&world);
    assert_eq!((after.terminals_created, after.calls_refused), (10, before.calls_refused), "nobody was asked");
    clients[3].type_text("exit\r").await;
    assert_eq!(clients[3].drain().await.code, 1000);
    until(&world, |counters| counters.terminals_deleted == 1).await;
    let link = eventually(async || {
        let minted = world.api(Method::POST, "/v1/sessions", Some(body.clone())).await;
        let text = |name: &str| minted.body[name].as_str().unwrap().to_owned();
        (minted.status == 201).then(|| Link { session: text("id"), url: text("url") })
    })
    .await;
    clients[3] = Client::connect(&world, &link, Connect::default()).await.unwrap();
    clients[3].ready().await;
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.run(&format!("echo {n}")).await, format!("{n}\r\n"));
    }
    assert_eq!(counters(&world).sockets_opened, 1);
}

#[tokio::test]
async fn where_others_hold_terminals_it_is_the_provider_that_says_how_many_there_are() {
    let world = World::start().await;
    let other = Other::of(&world);
    let mut theirs = Vec::new();
    for _ in 0..8 {
        theirs.push(other.create(json!({})).await);
    }
    let (mut first, mut second) = (world.open("oblien").await, world.open("oblien").await);
    let before = counters(&world);
    assert_refused(&world, "quota_exceeded", 4429).await;
    let after = counters(&world);
    assert_eq!(after.calls_refused, before.calls_refused + 1, "it was asked");
    assert_eq!(after.terminals_created, 10);
    other.delete(&theirs[0]).await;
    let mut third = world.open("oblien").await;
    for client in [&mut first, &mut second, &mut third] {
        assert_eq!(client.run("echo mine").await, "mine\r\n");
    }
    let list = other.list().await;
    assert!(theirs[1..].iter().all(|id| list.contains(id)), "those of others are left alone: {list:?}");
}

#[tokio::test]
async fn a_terminal_that_exists_is_attached_to_by_one_session_and_shows_what_it_had_said() {
    let world = World::start().await;
    let other = Other::of(&world);
    let command = ["/bin/bash", "-c", "echo said before; exec /bin/bash --norc --noprofile"];
    let id = other.create(json!({ "cmd": command })).await;
    let stranger = other.create(json!({})).await;
    other.until_said(&id, "said before").await;

    let attach = |id: &str| {
        let id = id.to_owned();
        world.mint_with("oblien", move |body| body["target"]["terminal"] = json!(id))
    };
    let mut client = Client::connect(&world, &attach(&id).await, Connect::default()).await.unwrap();
    client.ready().await;
    client.see("said before\r\n").await;
    assert_eq!(client.run("echo typed after").await, "typed after\r\n");

    let mut second = Client::connect(&world, &attach(&id).await, Connect::default()).await.unwrap();
    assert_eq!(second.hear("error").await["code"], "forbidden");
    assert_eq!(second.drain().await.code, 4403);
    let mut nowhere = Client::connect(&world, &attach("99").await, Connect::default()).await.unwrap();
    let error = nowhere.hear("error").await;
    assert_eq!(error["code"], "provider_not_running");
    let running = format!("running: {id}, {stranger}.");
    assert!(error["message"].as_str().unwrap().ends_with(&running), "{error}");

    assert_eq!(client.run("echo still").await, "still\r\n");
    client.say(json!({ "operation": "close" })).await;
    assert_eq!(client.drain().await.code, 1000);
    eventually(async || (other.list().await == [stranger.as_str()]).then_some(())).await;
    assert_eq!(counters(&world).sockets_opened, 1);
}

#[tokio::test]
async fn the_terminals_that_can_be_attached_to_are_listed_for_whoever_may_open_one() {
    let world = World::start().await;
    let other = Other::of(&world);
    let running = other.create(json!({})).await;
    let over = other.create(json!({ "cmd": ["/bin/bash", "-c", "exit 7"] })).await;
    let mut own = world.open("oblien").await;
    let list =
        async |query: &str| world.api(Method::GET, &format!("/v1/providers/oblien/terminals{query}"), None).await;
    let terminals = eventually(async || {
        let answer = list("?runtime=default").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let terminals = answer.body["terminals"].as_array().unwrap().clone();
        let ended = terminals.iter().any(|terminal| terminal["id"] == *over && terminal["running"] == false);
        ended.then_some(terminals)
    })
    .await;
    assert_eq!(terminals.len(), 3, "{terminals:?}");
    let of = |id: &str| terminals.iter().find(|terminal| terminal["id"] == *id).unwrap();
    assert_eq!((&of(&running)["running"], &of(&running)["exit_code"]), (&json!(true), &json!(null)));
    assert_eq!(of(&over)["exit_code"], 7);
    assert!(of(&running)["created_at"].is_string());

    for (query, mention) in
        [("?workspace=a/b", "workspace"), ("?colour=red", "colour"), ("?runtime=a&runtime=b", "twice")]
    {
        let answer = list(query).await;
        assert_eq!((answer.status.as_u16(), &answer.body["code"]), (422, &json!("bad_message")), "{query}");
        assert!(answer.body["detail"].as_str().unwrap().contains(mention), "{query}: {}", answer.body);
    }
    let local = world.api(Method::GET, "/v1/providers/local/terminals", None).await;
    assert_eq!((local.status.as_u16(), &local.body["code"]), (422, &json!("unsupported")));
    let nobody = world.api(Method::GET, "/v1/providers/nobody/terminals", None).await;
    assert_eq!((nobody.status.as_u16(), &nobody.body["code"]), (404, &json!("not_found")));
    assert_eq!(own.run("echo still").await, "still\r\n");
}

#[tokio::test]
async fn after_an_eviction_sessions_go_on_and_nothing_is_shown_twice_or_lost() {
    let world = World::start().await;
    let mut quiet = world.open("oblien").await;
    let mut busy = Vec::new();
    for name in ["one", "two", "three"] {
        let mut client = world.open("oblien").await;
        let (line, printed) = paced(name, 250);
        client.type_text(&line).await;
        client.see("ready\r\n").await;
        busy.push((client, printed));
    }
    let before = counters(&world);
    for (round, line) in ["one 20\r\n", "one 120\r\n"].into_iter().enumerate() {
        let (client, printed) = &mut busy[0];
        let seen = client.see(line).await;
        assert!(printed.starts_with(&seen), "round {round}: {seen}");
        printed.drain(..seen.len());
        evict(&world).await;
        // The connection is away and known to be: this waits for the next one.
        quiet.type_text(&format!("echo typed''-{round}\r")).await;
        until(&world, |counters| counters.sockets_opened == round as u64 + 2).await;
        let seen = quiet.see(&format!("typed-{round}\r\n")).await;
        assert_eq!(seen.matches("echo").count(), 1, "typed once, shown once: {seen}");
    }
    for (client, printed) in &mut busy {
        assert_eq!(client.see("the-end\r\n").await, *printed);
        assert_eq!(client.run("echo on").await, "on\r\n");
        assert_eq!(notices(client, "output_gap"), 0);
    }
    assert_eq!(quiet.run("echo on").await, "on\r\n");
    assert_eq!(notices(&quiet, "output_gap"), 0);
    let after = counters(&world);
    assert_eq!(after.tokens_issued, before.tokens_issued + 2, "a token is renewed before each redial");
    assert_eq!((after.terminals_created, after.sockets_opened, after.upgrades_refused), (4, 3, 0));
}

#[tokio::test]
async fn who_is_away_when_the_connection_is_taken_and_made_anew_for_others_has_missed_nothing() {
    let world = World::start().await;
    let mut client = world.open("oblien").await;
    let mut neighbour = world.open("oblien").await;
    let ready = client.said[0].clone();
    let (line, printed) = paced("line", 200);
    client.type_text(&line).await;
    let begin = client.see("ready\r\n").await.len();
    let offset = begin + client.see("line 20\r\n").await.len() + client.output.len();
    let session = client.session.clone();
    drop(client);
    world.until(&session, "detached").await;
    evict(&world).await;
    neighbour.type_text("echo typed''-away\r").await;
    neighbour.see("typed-away\r\n").await;
    let all = (begin + printed.len()) as u64;
    eventually(async || (world.session(&session).await["bytes_out"].as_u64()? >= all).then_some(())).await;
    let (mut back, ready) = resume(&world, &session, &ready, offset).await;
    assert_eq!(ready["offset"], offset);
    assert_eq!(back.see("the-end\r\n").await, printed[offset - begin..]);
    assert_eq!((counters(&world).sockets_opened, notices(&back, "output_gap")), (2, 0));
}

#[tokio::test]
async fn what_was_said_beyond_the_providers_memory_while_the_connection_was_away_is_told_as_a_gap() {
    let world = World::start().await;
    let mut client = world.open("oblien").await;
    let go = tempfile::tempdir().unwrap();
    let go = go.path().join("go");
    let path = go.display();
    client.type_text(&format!("echo rea''dy; until [ -e {path} ]; do sleep 0.02; done; seq 1 30000\r")).await;
    client.see("ready\r\n").await;
    evict(&world).await;
    std::fs::write(&go, "").unwrap();
    client.see("30000\r\n").await;
    assert_eq!(notices(&client, "output_gap"), 1, "{:?}", client.said);
    assert_eq!(client.run("echo on").await, "on\r\n");
}

#[tokio::test]
async fn five_evictions_in_five_minutes_are_the_end_and_leave_no_terminal() {
    let world = World::start().await;
    let (mut first, mut second) = (world.open("oblien").await, world.open("oblien").await);
    for n in 1..=5 {
        until(&world, |counters| counters.sockets_opened == n).await;
        evict(&world).await;
    }
    for client in [&mut first, &mut second] {
        let error = client.hear("error").await;
        assert_eq!((&error["code"], &error["final"]), (&json!("evicted"), &json!(true)), "{error}");
        let closed = client.drain().await;
        assert_eq!(closed.code, 4502);
        assert!(closed.reason.starts_with("evicted: "), "{closed:?}");
        assert_eq!(world.session(&client.session).await["code"], "evicted");
    }
    until(&world, |counters| (counters.terminals_deleted, counters.terminals_alive) == (2, 0)).await;
    assert_eq!(counters(&world).sockets_opened, 5);
}

#[tokio::test]
async fn while_nobody_is_attached_nobody_else_is_evicted_and_who_comes_back_has_missed_nothing() {
    let world = World::start().await;
    let mut client = world.open("oblien").await;
    let ready = client.said[0].clone();
    let (line, printed) = paced("line", 200);
    client.type_text(&line).await;
    let begin = client.see("ready\r\n").await.len();
    let offset = begin + client.see("line 20\r\n").await.len() + client.output.len();
    let session = client.session.clone();
    drop(client);
    world.until(&session, "detached").await;
    evict(&world).await;
    tokio::time::sleep(LONGER_THAN_A_REDIAL).await;
    assert_eq!(counters(&world).sockets_opened, 1, "nobody needs it");
    let (mut back, ready) = resume(&world, &session, &ready, offset).await;
    assert_eq!(ready["offset"], offset);
    assert_eq!(back.see("the-end\r\n").await, printed[offset - begin..]);
    assert_eq!((counters(&world).sockets_opened, notices(&back, "output_gap")), (2, 0));
    assert_eq!(back.run("echo on").await, "on\r\n");
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_and_nobody_notices() {
    let world = World::start().await;
    let mut first = world.open("oblien").await;
    let before = counters(&world);
    world.other(Kind::Oblien).faults().next(Kind::Oblien.fault("tokens-revoked").unwrap());
    let mut second = world.open("oblien").await;
    assert_eq!(world.other(Kind::Oblien).faults().waiting(), 0, "it was refused");
    for client in [&mut first, &mut second] {
        assert_eq!(client.run("echo fine").await, "fine\r\n");
    }
    let after = counters(&world);
    assert_eq!(after.tokens_issued, before.tokens_issued + 1);
    assert_eq!(after.terminals_created, 2);
}

#[tokio::test]
async fn a_terminal_that_somebody_else_deletes_ends_its_session_and_no_other() {
    let world = World::start().await;
    let other = Other::of(&world);
    let mut first = world.open("oblien").await;
    let ids = other.list().await;
    let mut second = world.open("oblien").await;
    other.delete(&ids[0]).await;
    assert_eq!(first.hear("exit").await["code"], -1, "as the provider says it");
    assert_eq!(first.drain().await.code, 1000);
    assert_eq!(second.run("echo here").await, "here\r\n");
}

#[tokio::test]
async fn every_way_for_a_session_to_end_deletes_its_terminal() {
    let world = World::with(|config| config["sessions"] = json!({ "detach_grace": "0s" })).await;
    let mut exits = world.open("oblien").await;
    let mut closes = world.open("oblien").await;
    let mut deleted = world.open("oblien").await;
    let leaves = world.open("oblien").await;
    exits.type_text("exit 3\r").await;
    assert_eq!(exits.hear("exit").await["code"], 3);
    closes.say(json!({ "operation": "close" })).await;
    let path = format!("/v1/sessions/{}", deleted.session);
    assert_eq!(world.api(Method::DELETE, &path, None).await.status, 204);
    for client in [&mut exits, &mut closes, &mut deleted] {
        assert_eq!(client.drain().await.code, 1000);
    }
    drop(leaves);
    until(&world, |counters| (counters.terminals_deleted, counters.terminals_alive) == (4, 0)).await;
    assert_eq!(Other::of(&world).list().await, [""; 0]);
    assert_eq!(counters(&world).sockets_opened, 1);
}

#[tokio::test]
async fn a_client_that_vanishes_while_we_dial_leaves_no_terminal() {
    let world = World::with(|config| config["sessions"] = json!({ "detach_grace": "0s" })).await;
    // Nothing is said, so this answer comes late: the terminal is there, and we do not know it yet.
    world.other(Kind::Oblien).faults().next(Kind::Oblien.fault("create-late").unwrap());
    let silent = world.mint_with("oblien", |body| body["target"]["command"] = json!(["/bin/sleep", "1000"])).await;
    let client = Client::connect(&world, &silent, Connect::default()).await.unwrap();
    until(&world, |counters| counters.terminals_created == 1).await;
    drop(client);
    world.until(&silent.session, "ended").await;
    until(&world, |counters| counters.terminals_deleted == 1).await;
    // And wherever else it may happen to be.
    for round in 0..40_u32 {
        let link = world.mint("oblien").await;
        let client = Client::connect(&world, &link, Connect::default()).await.unwrap();
        tokio::time::sleep(Duration::from_micros(u64::from(round) * 250)).await;
        drop(client);
        world.until(&link.session, "ended").await;
    }
    until(&world, |counters| counters.terminals_deleted == counters.terminals_created).await;
    assert_eq!(counters(&world).terminals_alive, 0);
    assert_eq!(Other::of(&world).list().await, [""; 0]);
}

#[tokio::test]
async fn two_entries_for_one_workspace_do_not_take_its_connection_from_each_other() {
    let simulator = oblien::start(oblien::Options { shell: SHELL.map(str::to_owned).into(), ..Default::default() });
    let simulator = simulator.await.unwrap();
    let (line, scoped) = (simulator.ready_line(), simulator.ready_line_workspace().unwrap());
    let entry = |name: &str, line: &Value| {
        let mut entry = line["provider"].clone();
        entry["name"] = json!(name);
        entry
    };
    let entries = vec![entry("one", &line), entry("two", &scoped)];
    let targets = ["one", "two"].map(|name| (name.to_owned(), json!({})));
    let proxy = Proxy::start(entries, targets.into(), |_| {});
    let (mut one, mut two) = (proxy.open("one").await, proxy.open("two").await);
    for round in 0..20 {
        for client in [&mut one, &mut two] {
            assert_eq!(client.run(&format!("echo {round}")).await, format!("{round}\r\n"));
        }
    }
    let counters = simulator.counters();
    assert_eq!((counters.sockets_opened, counters.evictions, counters.terminals_created), (1, 0, 2));
    let mut more = Vec::new();
    for at in 0..8 {
        more.push(proxy.open(["one", "two"][at % 2]).await);
    }
    for provider in ["one", "two"] {
        let body = json!({ "provider": provider, "target": {} });
        let refused = proxy.api(Method::POST, "/v1/sessions", Some(body)).await;
        assert_eq!((refused.status.as_u16(), &refused.body["code"]), (429, &json!("quota_exceeded")), "{provider}");
    }
}

/// Tries to open one more, in vain.
async fn assert_refused(world: &World, code: &str, close: u16) {
    let link = world.mint("oblien").await;
    let mut client = Client::connect(world, &link, Connect::default()).await.unwrap();
    let error = client.hear("error").await;
    assert_eq!((&error["code"], &error["final"]), (&json!(code), &json!(true)), "{error}");
    let closed = client.drain().await;
    assert_eq!(closed.code, close);
    assert!(close != 4429 || closed.reason.ends_with("; try again in 5 s"), "{closed:?}");
}

/// Somebody else takes the connection; waits until it is gone at both ends.
async fn evict(world: &World) {
    assert_eq!(simulated::<Oblien>(world).kick(), 1, "there is one connection");
    until(world, |counters| counters.sockets_open == 0).await;
}

fn counters(world: &World) -> Counters {
    simulated::<Oblien>(world).counters()
}

async fn until(world: &World, is_so: impl Fn(Counters) -> bool) {
    eventually(async || is_so(counters(world)).then_some(())).await;
}
