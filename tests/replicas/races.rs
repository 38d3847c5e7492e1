//! A link has one winner, however many try at once and wherever, and whatever becomes of the store meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::common::{Client, Connect, Link};
use super::fleet::Fleet;

/// Those who race for each link.
const RACERS: usize = 20;

/// Links at a time.
const AT_ONCE: usize = 4;

/// What became of somebody who tried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// It was let in.
    Won,
    /// It was told by this code.
    Told(u16),
    /// It was refused by this status.
    Refused(u16),
    /// Its connection broke, since the replica was killed.
    Broke,
}

/// How many links there are: few enough for every run, unless more are asked for.
fn links() -> usize {
    std::env::var("POLYTTY_RACES").ok().and_then(|links| links.parse().ok()).unwrap_or(100)
}

/// One try.
pub(super) async fn attempt(fleet: &Fleet, at: usize, link: &Link) -> Outcome {
    let replica = &fleet.replicas[at % fleet.replicas.len()];
    let Ok(tcp) = TcpStream::connect(replica.address).await else { return Outcome::Broke };
    let Ok(stream) = replica.shake(tcp).await else { return Outcome::Broke };
    let mut client = match Client::try_connect_over(stream, replica, link, Connect::default()).await {
        Some(Ok(client)) => client,
        Some(Err(status)) => return Outcome::Refused(status.as_u16()),
        None => return Outcome::Broke,
    };
    let listening = async {
        while client.read().await {
            if client.said.iter().any(|said| said["operation"] == "ready") {
                return Outcome::Won;
            }
        }
        match client.closed.as_ref().map(|closed| closed.code) {
            Some(1006) | None => Outcome::Broke,
            Some(code) => Outcome::Told(code),
        }
    };
    let outcome = timeout(Duration::from_secs(60), listening).await.expect("everybody is told");
    if outcome == Outcome::Won {
        client.try_saying(serde_json::json!({ "operation": "close" })).await;
        let _ = timeout(Duration::from_secs(10), client.drain()).await;
    }
    outcome
}

/// Twenty tries at one link, spread over the replicas.
pub(super) async fn race(fleet: &Fleet, link: &Link) -> Vec<Outcome> {
    join_all((0..RACERS).map(|at| attempt(fleet, at, link))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_that_race_for_a_link_over_three_replicas_one_wins() {
    let fleet = Fleet::start(3, &[], |_| {}).await;
    let outcomes = stream::iter(0..links())
        .map(|at| {
            let fleet = &fleet;
            async move {
                let link = fleet.replicas[at % 3].mint("local").await;
                let outcomes = race(fleet, &link).await;
                assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Won).count(), 1, "{outcomes:?}");
                outcomes
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let mut counts = BTreeMap::new();
    outcomes.into_iter().flatten().for_each(|outcome| *counts.entry(outcome).or_insert(0) += 1);
    println!("{counts:?}");
    let expected = BTreeMap::from([(Outcome::Won, links()), (Outcome::Told(4410), links() * (RACERS - 1))]);
    assert_eq!(counts, expected);
}
