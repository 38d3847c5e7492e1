//! One-time links whose tickets lie in the store.

use std::sync::Arc;
use std::time::Duration;

use polytty::cluster::ReplicaId;
use polytty::redis::{CallError, cmd};
use polytty::session::SessionId;
use polytty::ticket::{MintError, Purpose, Redeemed, RedisStore, Refused, ResumeLinks, Ticket, Tickets, Ways};
use polytty_dialect::Role;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::eventually;
use super::link::Way;
use super::server::Server;

const TTL: Duration = Duration::from_secs(30);
const PREFIX: &str = "wss://term.example/t/";

/// One replica, as far as tickets are concerned.
pub(crate) struct Replica {
    pub(crate) id: ReplicaId,
    pub(crate) tickets: Tickets,
    pub(crate) resume: Arc<ResumeLinks>,
    pub(crate) way: Way,
    _running: JoinSet<()>,
}

impl Replica {
    async fn of(server: &Server) -> Self {
        Self::with(server, ReplicaId::random().unwrap(), 16_384, TTL).await
    }

    /// Another connection of the same replica, so that the two race for tickets and neither sends to the other.
    async fn twin(&self, server: &Server) -> Self {
        Self::with(server, self.id, 16_384, TTL).await
    }

    pub(crate) async fn with(server: &Server, id: ReplicaId, max: u32, ttl: Duration) -> Self {
        Self::at(&server.url(), id, max, ttl).await
    }

    async fn at(url: &str, id: ReplicaId, max: u32, ttl: Duration) -> Self {
        let way = Way::to(url);
        let resume = ResumeLinks::new(PREFIX.to_owned(), Duration::from_secs(3600));
        let store = RedisStore::new(way.redis.clone(), id, max, ttl);
        let mut running = JoinSet::new();
        running.spawn(store.clone().keep_swept());
        running.spawn(Ways::new(way.redis.clone(), id, resume.clone()).keep_noted());
        let tickets = Tickets::new(store, ttl, resume.clone());
        way.connected().await;
        Self { id, tickets, resume, way, _running: running }
    }

    pub(crate) async fn mint(&self) -> Ticket {
        self.tickets.mint(purpose()).await.unwrap()
    }

    /// `Ok` is a grant.
    async fn take(&self, ticket: &Ticket) -> Result<Purpose, Refused> {
        self.redeem(ticket, None).await.map(|redeemed| redeemed.here().expect("it is here").purpose().clone())
    }

    async fn redeem(&self, ticket: &Ticket, subject: Option<&str>) -> Result<Redeemed, Refused> {
        self.tickets.redeem(ticket.expose(), subject).await
    }

    /// Where a ticket leads that is not this replica's.
    async fn elsewhere(&self, ticket: &str) -> Option<ReplicaId> {
        match self.tickets.redeem(ticket, None).await {
            Ok(Redeemed::Elsewhere(replica)) => Some(replica),
            _ => None,
        }
    }
}

pub(crate) fn purpose() -> Purpose {
    Purpose { session: SessionId::random().unwrap(), role: Role::Writer, dialect: None, owner: None }
}

/// The only key in the store that looks like this.
fn key(server: &Server, pattern: &str) -> String {
    let keys = server.cli(&["keys", pattern]);
    assert!(!keys.is_empty() && !keys.contains('\n'), "{keys:?}");
    keys
}

/// A snapshot of now on the disk, as `BGSAVE` makes it.
async fn snapshot(server: &Server) {
    server.cli(&["bgsave"]);
    eventually("the snapshot", || async {
        let info = server.cli(&["info", "persistence"]);
        let done = info.contains("rdb_bgsave_in_progress:0") && info.contains("rdb_last_bgsave_status:ok");
        (done && server.path().join("dump.rdb").exists()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_ticket_works_once_at_its_replica_is_then_gone_and_at_no_time_in_the_store() {
    let server = Server::start();
    let (here, there) = (Replica::of(&server).await, Replica::of(&server).await);
    let purpose = Purpose { role: Role::Viewer, dialect: Some("raw"), ..purpose() };
    let ticket = here.tickets.mint(purpose.clone()).await.unwrap();
    let stored = server.cli(&["get", &key(&server, "*")]);
    assert!(!stored.contains(ticket.expose()) && !key(&server, "*").contains(ticket.expose()));

    assert_eq!(there.elsewhere(ticket.expose()).await, Some(here.id), "who has the session is asked, and takes it");
    assert_eq!(here.take(&ticket).await, Ok(purpose));
    for replica in [&here, &there] {
        assert_eq!(replica.take(&ticket).await, Err(Refused::Gone));
    }
}

#[tokio::test]
async fn what_is_spent_or_expired_is_gone_for_five_minutes_and_then_was_never_there() {
    let server = Server::start();
    let replica = Replica::with(&server, ReplicaId::random().unwrap(), 100, Duration::from_secs(1)).await;
    let remaining = |server: &Server| server.cli(&["pttl", &key(server, "polytty:ticket:*")]).parse::<u64>().unwrap();

    let expired = replica.mint().await;
    assert!((300_000..=301_000).contains(&remaining(&server)), "{}", remaining(&server));
    eventually("its end", || async {
        let pttl = remaining(&server);
        // Not to be taken by looking.
        (pttl <= 300_000).then_some(())
    })
    .await;
    assert_eq!(replica.take(&expired).await, Err(Refused::Gone));
    // The five minutes are the server's; here they pass in a millisecond.
    server.cli(&["pexpire", &key(&server, "*"), "1"]);
    eventually("nothing in the store", || async { server.cli(&["dbsize"]).contains('0').then_some(()) }).await;
    // The server runs for longer than any ticket lives by now, so it has forgotten none.
    assert_eq!(eventually("an answer", || async { replica.take(&expired).await.err() }).await, Refused::Unknown);

    let spent = replica.mint().await;
    assert!(replica.take(&spent).await.is_ok());
    assert!((290_000..=300_000).contains(&remaining(&server)), "{}", remaining(&server));
    assert_eq!(replica.take(&spent).await, Err(Refused::Gone));
}

#[tokio::test]
async fn a_ticket_of_one_subject_is_to_all_others_as_if_it_never_was_and_stays_good() {
    let server = Server::start();
    let replica = Replica::of(&server).await;
    let never_was = ResumeLinks::new(PREFIX.to_owned(), TTL).issue(purpose()).unwrap().url;
    let never_was = replica.tickets.redeem(never_was.strip_prefix(PREFIX).unwrap(), None).await.unwrap_err();
    let ticket = replica.tickets.mint(Purpose { owner: Some("älice\n\"".into()), ..purpose() }).await.unwrap();
    for other in [None, Some("bob"), Some("Älice\n\""), Some(""), Some("älice")] {
        assert_eq!(replica.redeem(&ticket, other).await.unwrap_err(), never_was, "{other:?}");
    }
    assert!(replica.redeem(&ticket, Some("älice\n\"")).await.is_ok());
    assert_eq!(replica.redeem(&ticket, Some("älice\n\"")).await.unwrap_err(), Refused::Gone);
    let shared = replica.mint().await;
    assert!(replica.redeem(&shared, Some("bob")).await.is_ok(), "whoever holds it");
}

#[tokio::test]
async fn a_full_replica_mints_nothing_and_has_room_again_after_a_redemption() {
    let server = Server::start();
    let replica = Replica::with(&server, ReplicaId::random().unwrap(), 1, TTL).await;
    let other = Replica::of(&server).await;
    let first = replica.mint().await;
    assert_eq!(replica.tickets.mint(purpose()).await.unwrap_err(), MintError::Full);
    other.mint().await;
    assert!(replica.take(&first).await.is_ok());
    replica.mint().await;
}

#[tokio::test]
async fn a_ticket_that_a_snapshot_brings_back_is_refused() {
    let mut server = Server::start();
    let replica = Replica::of(&server).await;
    let (spent, unspent) = (replica.mint().await, replica.mint().await);
    snapshot(&server).await;
    assert!(replica.take(&spent).await.is_ok());
    server.kill();
    replica.way.away().await;
    server.restart();
    replica.way.connected().await;
    let back = server.cli(&["keys", "polytty:ticket:*"]);
    let values: Vec<_> = back.lines().map(|key| server.cli(&["get", key])).collect();
    assert!(values.len() == 2 && values.iter().all(|value| value.contains("session")), "the server has it: {values:?}");
    for _ in 0..2 {
        assert_eq!(replica.take(&spent).await, Err(Refused::Restarted));
        assert_eq!(replica.take(&unspent).await, Err(Refused::Restarted), "nobody can know that it is not");
    }
    let fresh = replica.mint().await;
    assert!(replica.take(&fresh).await.is_ok());
}

#[tokio::test]
async fn a_ticket_that_a_failback_brings_back_is_refused_though_the_process_is_the_one_that_minted_it() {
    let (first, second) = (Server::start(), Server::start());
    let follow = |follower: &Server, leader: &Server| {
        follower.cli(&["replicaof", "127.0.0.1", &leader.port().to_string()]);
    };
    async fn up(follower: &Server) {
        let info = || follower.cli(&["info", "replication"]);
        eventually("replication", || async { info().contains("master_link_status:up").then_some(()) }).await;
    }
    // A replica that is attached for the first time makes it another run.
    follow(&second, &first);
    up(&second).await;
    let replica = Replica::of(&first).await;
    let spent = replica.mint().await;
    eventually("the ticket at the second", || async { second.cli(&["dbsize"]).contains('1').then_some(()) }).await;

    // The second is promoted, without having heard of what the first does last.
    second.cli(&["replicaof", "no", "one"]);
    assert!(replica.take(&spent).await.is_ok());
    follow(&first, &second);
    up(&first).await;
    first.cli(&["replicaof", "no", "one"]);
    replica.way.connected().await;

    let stored = first.cli(&["get", &key(&first, "polytty:ticket:*")]);
    assert!(
        first.cli(&["info", "server"]).contains(&format!("run_id:{}", &stored[..40])),
        "the same process: {stored}"
    );
    let refused = eventually("an answer", || async {
        replica
            .take(&spent)
            .await
            .map(|_| panic!("it was given twice"))
            .err()
            .filter(|why| *why != Refused::Unavailable)
    });
    assert_eq!(refused.await, Refused::Restarted);
}

#[tokio::test]
async fn a_ticket_that_a_restart_forgot_is_told_from_one_that_never_was_while_that_may_be() {
    let mut server = Server::start();
    let replica = Replica::with(&server, ReplicaId::random().unwrap(), 100, Duration::from_secs(2)).await;
    let ticket = replica.mint().await;
    server.kill();
    replica.way.away().await;
    server.restart();
    replica.way.connected().await;
    let from = Instant::now();
    assert_eq!(replica.take(&ticket).await, Err(Refused::Forgotten));
    eventually("the end of that", || async { (replica.take(&ticket).await == Err(Refused::Unknown)).then_some(()) })
        .await;
    assert!(from.elapsed() > Duration::from_millis(500), "{:?}", from.elapsed());
}

#[tokio::test]
async fn while_the_store_is_away_nothing_is_minted_or_taken_and_what_was_minted_is_not_lost() {
    let server = Server::start();
    let replica = Replica::of(&server).await;
    let ticket = replica.mint().await;
    // The server refuses, as it does in the midst of a failover.
    server.cli(&["replicaof", "127.0.0.1", "1"]);
    assert_eq!(replica.tickets.mint(purpose()).await.unwrap_err(), MintError::Unavailable);
    replica.way.away().await;
    assert_eq!(replica.take(&ticket).await, Err(Refused::Unavailable));
    assert_eq!(replica.tickets.mint(purpose()).await.unwrap_err(), MintError::Unavailable);
    assert_eq!(Refused::Unavailable.code().slug(), "store_unavailable");
}

#[tokio::test]
async fn a_store_that_was_killed_is_unavailable_and_recovers_by_itself() {
    let mut server = Server::start();
    let replica = Replica::of(&server).await;
    let ticket = replica.mint().await;
    server.kill();
    replica.way.away().await;
    assert_eq!(replica.take(&ticket).await, Err(Refused::Unavailable));
    assert_eq!(replica.tickets.mint(purpose()).await.unwrap_err(), MintError::Unavailable);
    server.restart();
    replica.way.connected().await;
    let ticket = replica.mint().await;
    assert!(replica.take(&ticket).await.is_ok());
}

#[tokio::test]
async fn a_take_without_an_answer_is_not_repeated_and_gives_the_ticket_to_nobody_twice() {
    let server = Server::start();
    let replica = Replica::of(&server).await;
    let ticket = replica.mint().await;
    server.pause();
    let from = Instant::now();
    assert_eq!(replica.take(&ticket).await, Err(Refused::Unanswered));
    assert!(from.elapsed() < Duration::from_secs(3), "{:?}", from.elapsed());
    assert!(Refused::Unanswered.message().contains("not known"));
    let mint = replica.tickets.mint(purpose()).await;
    assert_eq!(mint.unwrap_err(), MintError::Unavailable, "none is minted on hope");
    replica.way.away().await;

    server.resume();
    replica.way.connected().await;
    // What the server had been sent it may have carried out by now, or not: at most one taker gets it.
    let mut given = 0;
    for _ in 0..3 {
        match replica.take(&ticket).await {
            Ok(_) => given += 1,
            Err(refused) => assert_eq!(refused, Refused::Gone),
        }
    }
    assert!(given <= 1);
}

#[tokio::test]
async fn a_server_that_is_out_of_memory_mints_nothing_and_still_gives_what_it_has_once() {
    let server = Server::start();
    let replica = Replica::of(&server).await;
    let ticket = replica.mint().await;
    server.cli(&["config", "set", "maxmemory", "1"]);
    assert_eq!(replica.tickets.mint(purpose()).await.unwrap_err(), MintError::Unavailable);
    assert!(replica.take(&ticket).await.is_ok());
    // It could not be remembered; the server has been running for less than a ticket lives.
    assert_eq!(replica.take(&ticket).await, Err(Refused::Forgotten));
    assert_eq!(server.cli(&["dbsize"]), "0");
}

#[tokio::test]
async fn a_resume_link_leads_every_replica_to_the_one_that_has_its_session() {
    let mut server = Server::start();
    let (here, there) = (Replica::of(&server).await, Replica::of(&server).await);
    let link = here.resume.issue(purpose()).unwrap();
    let ticket = link.url.strip_prefix(PREFIX).unwrap();
    assert!(here.tickets.redeem(ticket, None).await.unwrap().here().is_some(), "whoever has it asks nobody");
    let leads = |id: ReplicaId| async move { (id == here.id).then_some(()) };
    eventually("the way", || async { leads(there.elsewhere(ticket).await?).await }).await;

    // What the store loses is put there again.
    server.restart();
    eventually("the way again", || async { leads(there.elsewhere(ticket).await?).await }).await;

    // Who has spent it says so, to whoever comes by way of others, too.
    here.resume.spend(link.hash);
    eventually("five minutes", || async {
        let pttl: u64 = server.cli(&["pttl", &key(&server, "polytty:way:*")]).parse().unwrap();
        (pttl <= 300_000).then_some(())
    })
    .await;
    leads(there.elsewhere(ticket).await.unwrap()).await.unwrap();
    assert_eq!(here.tickets.redeem(ticket, None).await.unwrap_err(), Refused::Gone);
}

#[tokio::test]
async fn resume_links_that_are_issued_while_the_store_is_away_are_noted_when_it_is_back() {
    let mut server = Server::start();
    let replica = Replica::of(&server).await;
    server.kill();
    replica.way.away().await;
    // More than the queue holds; to issue them waits for nobody.
    for _ in 0..6_000 {
        replica.resume.issue(purpose()).unwrap();
    }
    server.restart();
    eventually("all ways", || async { (server.cli(&["dbsize"]) == "6000").then_some(()) }).await;
    // More than the queue holds, while it is there.
    for _ in 0..6_000 {
        replica.resume.issue(purpose()).unwrap();
    }
    eventually("all ways", || async { (server.cli(&["dbsize"]) == "12000").then_some(()) }).await;
}

#[tokio::test]
async fn a_user_with_the_rights_that_are_documented_is_enough() {
    let server = Server::start();
    let scale = include_str!("../../docs/scale.md");
    let line = scale.lines().find_map(|line| line.trim().strip_prefix("`ACL SETUSER polytty ")?.split('`').next());
    let rights: Vec<_> = line.unwrap().split(' ').map(|right| right.replace("PASSWORD", "secret")).collect();
    let rights: Vec<_> = ["acl", "setuser", "polytty"].into_iter().chain(rights.iter().map(String::as_str)).collect();
    assert_eq!(server.cli(&rights), "OK");
    let url = format!("redis://polytty:secret@127.0.0.1:{}", server.port());
    let replica = Replica::at(&url, ReplicaId::random().unwrap(), 100, TTL).await;
    let ticket = replica.mint().await;
    assert!(replica.take(&ticket).await.is_ok());
    replica.resume.issue(purpose()).unwrap();
    eventually("a way", || async { (!server.cli(&["keys", "polytty:way:*"]).is_empty()).then_some(()) }).await;
    // Memory that has run out is not a right of the user's.
    let ticket = replica.mint().await;
    server.cli(&["config", "set", "maxmemory", "1"]);
    assert!(replica.take(&ticket).await.is_ok());

    let mut other = cmd("SET");
    other.arg("other:key").arg("1");
    let refused = replica.way.connected().await.call::<String>(other).await;
    assert_eq!(refused, Err(CallError::Away), "NOPERM says that nothing was done");
}

/// What came of one race for one ticket.
#[derive(Debug, Default)]
struct Race {
    winners: usize,
    losers: Vec<Refused>,
}

async fn race(replicas: &[Arc<Replica>], takers: usize, ticket: Ticket) -> Race {
    let ticket = Arc::new(ticket);
    let mut takes = JoinSet::new();
    for taker in 0..takers {
        let (replica, ticket) = (replicas[taker % replicas.len()].clone(), ticket.clone());
        takes.spawn(async move { replica.take(&ticket).await });
    }
    let mut race = Race::default();
    while let Some(taken) = takes.join_next().await {
        match taken.unwrap() {
            Ok(_) => race.winners += 1,
            Err(refused) => race.losers.push(refused),
        }
    }
    race
}

async fn three(server: &Server) -> Vec<Arc<Replica>> {
    let first = Replica::of(server).await;
    let (second, third) = (first.twin(server).await, first.twin(server).await);
    [first, second, third].map(Arc::new).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_takers_over_three_connections_one_gets_the_ticket_ten_thousand_times() {
    const LINKS: usize = 10_000;
    const AT_ONCE: usize = 16;
    let server = Server::start();
    let replicas = three(&server).await;
    let from = Instant::now();
    let mut races = JoinSet::new();
    for lane in 0..AT_ONCE {
        let replicas = replicas.clone();
        races.spawn(async move {
            for round in (lane..LINKS).step_by(AT_ONCE) {
                let ticket = replicas[round % 3].mint().await;
                let race = race(&replicas, 20, ticket).await;
                assert_eq!(race.winners, 1, "{round}: {race:?}");
                assert_eq!(race.losers, [Refused::Gone; 19], "{round}");
            }
        });
    }
    while let Some(lane) = races.join_next().await {
        lane.unwrap();
    }
    println!("{LINKS} links, 20 takers each, over three connections: {:?}", from.elapsed());
    let stats = server.cli(&["info", "commandstats"]);
    let calls = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:"));
    println!("what they cost the server: {}", calls.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_the_server_no_ticket_has_two_takers_and_every_loser_is_told_the_truth() {
    let mut server = Server::start();
    let replicas = three(&server).await;
    let mut races = JoinSet::new();
    for lane in 0..4 {
        let replicas = replicas.clone();
        races.spawn(async move {
            let (mut won, mut lost) = (0, 0);
            let until = Instant::now() + Duration::from_secs(12);
            while Instant::now() < until {
                let Ok(ticket) = replicas[lane % 3].tickets.mint(purpose()).await else {
                    sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let Race { winners, losers } = race(&replicas, 20, ticket).await;
                assert!(winners <= 1, "two have it: {losers:?}");
                if winners == 0 {
                    // Nobody is told that it was used who cannot know.
                    let excused = |why: &Refused| *why != Refused::Gone || losers.contains(&Refused::Unanswered);
                    assert!(losers.iter().all(excused), "{losers:?}");
                }
                assert!(!losers.contains(&Refused::Unknown), "it was minted: {losers:?}");
                won += winners;
                lost += 1 - winners;
            }
            (won, lost)
        });
    }
    for round in 0..3 {
        sleep(Duration::from_millis(700)).await;
        server.pause();
        sleep(Duration::from_millis(if round == 1 { 2_500 } else { 500 })).await;
        server.resume();
        sleep(Duration::from_millis(700)).await;
        snapshot(&server).await;
        sleep(Duration::from_millis(50)).await;
        server.restart();
    }
    let (mut won, mut lost) = (0, 0);
    while let Some(lane) = races.join_next().await {
        let (some, none) = lane.unwrap();
        (won, lost) = (won + some, lost + none);
    }
    println!("{won} tickets found a taker, {lost} none");
    assert!(won > 100, "{won}");
}
