//! One connection, one incarnation.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use polytty::config::RedisServer;
use polytty::observe::Metrics;
use polytty::redis::{CallError, Link, Redis, Script, cmd};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::eventually;
use super::server::Server;

/// A way to a server, kept connected until it is dropped.
pub(crate) struct Way {
    pub(crate) redis: Arc<Redis>,
    pub(crate) metrics: Arc<Metrics>,
    _running: JoinSet<()>,
}

impl Way {
    pub(crate) fn to(url: &str) -> Self {
        Self::with_ca(url, None)
    }

    pub(crate) fn with_ca(url: &str, ca: Option<&Path>) -> Self {
        let server = RedisServer { ca: ca.map(Path::to_owned), ..url.parse().unwrap() };
        let metrics = Arc::new(Metrics::default());
        let redis = Redis::new(server, metrics.clone()).unwrap();
        let mut running = JoinSet::new();
        running.spawn(redis.clone().keep_connected());
        Self { redis, metrics, _running: running }
    }

    pub(crate) async fn connected(&self) -> Link {
        eventually("a connection", || async { self.redis.link().ok() }).await
    }

    pub(crate) async fn away(&self) {
        eventually("no connection", || async { self.redis.link().err() }).await;
    }

    /// What is found when a connection is tried.
    async fn refused(&self) -> String {
        let why =
            || self.redis.watch().borrow().why_away().filter(|why| *why != "not connected yet").map(str::to_owned);
        eventually("an attempt that fails", || async { why() }).await
    }

    fn metric(&self, line: &str) -> bool {
        self.metrics.render(0).lines().any(|found| found == line)
    }
}

#[tokio::test]
async fn calls_and_scripts_are_answered_by_the_incarnation_that_the_link_names() {
    let server = Server::start();
    let way = Way::to(&format!("{}/5", server.url()));
    let link = way.connected().await;
    let (run, replication) = link.run_id().as_str().split_at(40);
    assert!(server.cli(&["info", "server"]).contains(&format!("run_id:{run}")));
    assert!(server.cli(&["info", "replication"]).contains(&format!("master_replid:{replication}")));
    assert_eq!(
        link.run::<String>(&Script::new("return run_id()"), &[], &[]).await.as_deref(),
        Ok(link.run_id().as_str())
    );

    let mut set = cmd("SET");
    set.arg("a").arg("1");
    assert_eq!(link.call::<String>(set).await.as_deref(), Ok("OK"));
    assert_eq!(server.cli(&["-n", "5", "get", "a"]), "1", "in the database of the URL");
    let script = Script::new("return {redis.call('INCRBY', KEYS[1], ARGV[1]), ARGV[2]}");
    for sum in [3, 5] {
        assert_eq!(link.run::<(i64, String)>(&script, &[b"a"], &[b"2", b"\xc3\xa4"]).await, Ok((sum, "ä".to_owned())));
    }
    server.cli(&["script", "flush"]);
    assert!(link.run::<(i64, String)>(&script, &[b"a"], &[b"2", b""]).await.is_ok(), "it is told again");
    assert!(way.metric("polytty_store_up 1"));
    assert!(way.metric("polytty_store_calls_total{outcome=\"answered\"} 5"));
}

#[tokio::test]
async fn a_server_that_is_killed_is_away_and_another_incarnation_when_it_comes_back() {
    let mut server = Server::start();
    let way = Way::to(&server.url());
    let mut watched = way.redis.watch();
    let first = way.connected().await;
    assert_eq!(watched.borrow_and_update().run_id(), Some(first.run_id()));

    server.kill();
    watched.wait_for(|state| state.link().is_none()).await.unwrap();
    assert_eq!(way.redis.link().err(), Some(polytty::redis::Away));
    assert_eq!(first.call::<String>(cmd("PING")).await, Err(CallError::Away), "a link is never mended");
    assert!(way.metric("polytty_store_up 0"));

    server.restart();
    let second = way.connected().await;
    assert_ne!(first.run_id(), second.run_id());
    assert_eq!(second.call::<String>(cmd("PING")).await.as_deref(), Ok("PONG"));
    assert_eq!(first.call::<String>(cmd("PING")).await, Err(CallError::Away));
}

#[tokio::test]
async fn a_server_that_is_stopped_is_left_and_found_again_as_the_same_incarnation() {
    let server = Server::start();
    let way = Way::to(&server.url());
    let link = way.connected().await;
    server.pause();
    let from = Instant::now();
    assert_eq!(link.call::<String>(cmd("PING")).await, Err(CallError::Unknown));
    assert!(from.elapsed() < Duration::from_secs(3), "{:?}", from.elapsed());
    way.away().await;
    server.resume();
    let again = way.connected().await;
    assert_eq!(again.run_id(), link.run_id());
    assert_eq!(again.begun().at, link.begun().at);
}

#[tokio::test]
async fn a_server_that_stops_while_nobody_asks_is_noticed_too() {
    let server = Server::start();
    let way = Way::to(&server.url());
    way.connected().await;
    server.pause();
    way.away().await;
    server.resume();
    way.connected().await;
}

#[tokio::test]
async fn whoever_leaves_in_the_middle_of_a_call_breaks_it_for_nobody() {
    let server = Server::start();
    let way = Way::to(&server.url());
    let link = way.connected().await;
    for number in 0..2_000 {
        let mut incr = cmd("INCR");
        incr.arg("n");
        let call = link.call::<i64>(incr);
        tokio::select! { biased; _ = call => {} () = tokio::task::yield_now() => {} }
        if number % 100 == 0 {
            assert_eq!(link.call::<String>(cmd("PING")).await.as_deref(), Ok("PONG"));
        }
    }
    eventually("all calls to be done", || async { (server.cli(&["get", "n"]) == "2000").then_some(()) }).await;
    assert_eq!(link.call::<String>(cmd("PING")).await.as_deref(), Ok("PONG"));
}

#[tokio::test]
async fn of_too_many_calls_at_once_some_are_not_made_and_the_connection_stays() {
    let server = Server::start();
    let way = Way::to(&server.url());
    let link = way.connected().await;
    server.pause();
    let mut calls = JoinSet::new();
    for _ in 0..1_100 {
        let link = link.clone();
        calls.spawn(async move {
            let mut incr = cmd("INCR");
            incr.arg("n");
            link.call::<i64>(incr).await
        });
    }
    // Those without a place are told at once; then the others get their answers.
    for _ in 0..76 {
        assert_eq!(calls.join_next().await.unwrap().unwrap(), Err(CallError::Away));
    }
    server.resume();
    while let Some(answer) = calls.join_next().await {
        assert!(answer.unwrap().is_ok());
    }
    assert_eq!(server.cli(&["get", "n"]), "1024");
    assert!(way.redis.link().is_ok());
}

#[tokio::test]
async fn a_password_is_needed_where_one_is_set_and_is_never_shown() {
    let server = Server::start_with(&["--requirepass", "correct horse"]);
    let right = Way::to(&format!("redis://:correct%20horse@127.0.0.1:{}", server.port()));
    right.connected().await;
    assert!(!format!("{:?}", right.redis).contains("horse"));
    for wrong in ["redis://:hunter2@127.0.0.1", "redis://127.0.0.1", "redis://nobody:correct%20horse@127.0.0.1"] {
        let way = Way::to(&format!("{wrong}:{}", server.port()));
        let why = way.refused().await;
        let is_told = why.contains("WRONGPASS") || why.contains("NOAUTH") || why.contains("uthentication");
        assert!(is_told && !why.contains("hunter2") && !why.contains("horse"), "{wrong}: {why}");
    }
}

#[tokio::test]
async fn a_replica_is_no_store_and_neither_is_one_that_becomes_a_replica() {
    let master = Server::start();
    let port = master.port().to_string();
    let replica = Server::start_with(&["--replicaof", "127.0.0.1", &port]);
    let way = Way::to(&replica.url());
    let why = way.refused().await;
    assert!(why.contains("replica"), "{why}");
    replica.cli(&["replicaof", "no", "one"]);
    let link = way.connected().await;
    replica.cli(&["replicaof", "127.0.0.1", &port]);
    let mut set = cmd("SET");
    set.arg("a").arg("1");
    assert_eq!(link.call::<String>(set).await, Err(CallError::Away));
    way.away().await;
}

#[tokio::test]
async fn a_master_that_was_a_replica_for_a_while_is_another_incarnation_though_its_process_is_the_same() {
    let (server, other) = (Server::start(), Server::start());
    let way = Way::to(&server.url());
    let first = way.connected().await;
    server.cli(&["replicaof", "127.0.0.1", &other.port().to_string()]);
    eventually("the data of the other", || async {
        server.cli(&["info", "replication"]).contains("master_link_status:up").then_some(())
    })
    .await;
    server.cli(&["replicaof", "no", "one"]);
    let second = eventually("another incarnation", || async {
        way.redis.link().ok().filter(|link| link.run_id() != first.run_id())
    })
    .await;
    assert_eq!(first.run_id().as_str()[..40], second.run_id().as_str()[..40], "the process is the same");
}

#[tokio::test]
async fn over_tls_the_server_has_to_be_the_one_that_was_meant() {
    let certified = |name: &str| {
        let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (certified.cert.pem(), certified.signing_key.serialize_pem())
    };
    let (chain, key) = certified("localhost");
    let server = Server::start_tls(&chain, &key);
    let ca = server.path().join("chain.pem");
    let link = Way::with_ca(&server.url(), Some(&ca));
    let link = link.connected().await;
    assert_eq!(link.call::<String>(cmd("PING")).await.as_deref(), Ok("PONG"));

    let wrong_name = Way::with_ca(&server.url().replace("localhost", "127.0.0.1"), Some(&ca));
    let systems_roots = Way::to(&server.url());
    let plain = Way::to(&server.url().replace("rediss", "redis"));
    let (stranger, _) = certified("localhost");
    let file = server.path().join("stranger.pem");
    std::fs::write(&file, stranger).unwrap();
    let another_root = Way::with_ca(&server.url(), Some(&file));
    for (way, word) in
        [(wrong_name, "certificate"), (systems_roots, "certificate"), (another_root, "certificate"), (plain, "")]
    {
        let why = way.refused().await;
        assert!(why.contains(word) && way.redis.link().is_err(), "{why}");
    }
}
