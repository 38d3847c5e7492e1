//! From an address to a link: dial, show who we are, and ask whom we have met.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo};
use tokio::time::{Instant, timeout};

use super::link::{Begun, Link, RunId};
use super::{CONNECT, IN_FLIGHT, Redis};
use crate::provider::DialError;

/// The oldest server that is taken: before it, a script that reads the clock could not write.
const OLDEST: u32 = 5;

/// A connection, what has to run for it to go anywhere, and the version of the server for the log.
pub(super) struct Connected {
    pub(super) link: Link,
    pub(super) driver: Pin<Box<dyn Future<Output = ()> + Send>>,
    pub(super) version: String,
}

/// Connects, within two seconds. `known` is the incarnation that was met last.
///
/// # Errors
///
/// What went wrong, for the log; no secret is in it.
pub(super) async fn connect(redis: &Redis, known: Option<&Begun>) -> Result<Connected, String> {
    timeout(CONNECT, try_connect(redis, known)).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

async fn try_connect(redis: &Redis, known: Option<&Begun>) -> Result<Connected, String> {
    let server = &redis.server;
    let stream = redis.dialer.connect(server.tls, &server.authority).await.map_err(|error| words(&error))?;
    let mut who = RedisConnectionInfo::default()
        .set_db(server.database.into())
        .set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    if let Some(username) = &server.username {
        who = who.set_username(username);
    }
    if let Some(password) = &server.password {
        who = who.set_password(password.expose());
    }
    // Deadlines are ours, around every call; and of those in flight each has a place in the queue.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(IN_FLIGHT);
    let failed = |error: redis::RedisError| error.to_string();
    let (mut connection, driver) =
        MultiplexedConnection::new_with_config(&who, stream, config).await.map_err(failed)?;
    let mut driver: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(driver);
    let info: String = tokio::select! {
        () = &mut driver => Err("the connection was closed".to_owned()),
        info = info(&mut connection) => info.map_err(failed),
    }?;
    let Met { run_id, up, version } = met(&info)?;
    let begun = begun(run_id, up, known, Instant::now());
    let link = Link::new(connection, begun, redis.places.clone(), redis.metrics.clone());
    Ok(Connected { link, driver, version })
}

/// A server that still loads its data answers `INFO`, but not `PING`.
async fn info(connection: &mut MultiplexedConnection) -> redis::RedisResult<String> {
    redis::cmd("PING").query_async::<()>(connection).await?;
    redis::cmd("INFO").query_async(connection).await
}

/// What `INFO` says of a server.
#[derive(Debug, PartialEq, Eq)]
struct Met {
    run_id: RunId,
    /// For how long it has been running.
    up: Duration,
    version: String,
}

fn met(info: &str) -> Result<Met, String> {
    let field = |name: &str| {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.ok_or_else(|| format!("the server does not tell its {name}"))
    };
    let run_id = format!("{}{}", field("run_id")?, field("master_replid")?);
    let run_id = RunId::parse(&run_id).ok_or("the server's run_id is of another form")?;
    let up = field("uptime_in_seconds")?.parse().map_err(|_| "the server's uptime_in_seconds is no number")?;
    let version = field("redis_version")?.to_owned();
    let major: Option<u32> = version.split('.').next().and_then(|major| major.parse().ok());
    if major.is_none_or(|major| major < OLDEST) {
        return Err(format!("the server is of version {version}; {OLDEST} is the oldest that will do"));
    }
    if field("role")? != "master" {
        return Err("the server is a replica: nothing can be written there".to_owned());
    }
    Ok(Met { run_id, up: Duration::from_secs(up), version })
}

/// Since when an incarnation counts. Uptimes are told in whole seconds.
fn begun(run_id: RunId, up: Duration, known: Option<&Begun>, now: Instant) -> Begun {
    let at = match known {
        Some(known) if known.run_id == run_id => known.at,
        Some(_) => now,
        None => now.checked_sub(up.saturating_sub(Duration::from_secs(1))).unwrap_or(now),
    };
    Begun { run_id, at }
}

fn words(error: &DialError) -> String {
    match error {
        DialError::Name(error) => format!("its name cannot be resolved: {error}"),
        DialError::NotPublic => "its address is not public".to_owned(),
        DialError::Connect(error) => format!("it cannot be reached: {error}"),
        DialError::Tls(error) => format!("no TLS with it: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "0123456789abcdef0123456789abcdef01234567";

    fn said(change: impl Fn(&str) -> String) -> Result<Met, String> {
        met(&change(&format!(
            "# Server\r\nredis_version:7.0.15\r\nrun_id:{RUN}\r\nuptime_in_seconds:61\r\n# Replication\r\nrole:master\r\n\
             master_replid:{RUN}\r\n"
        )))
    }

    #[test]
    fn a_master_that_tells_its_run_id_is_taken_and_no_other() {
        let met = said(str::to_owned).unwrap();
        assert_eq!(
            (met.run_id.as_str(), met.up.as_secs(), met.version.as_str()),
            (RUN.repeat(2).as_str(), 61, "7.0.15")
        );
        for (what, instead, word) in [
            ("run_id", "runid", "run_id"),
            ("master_replid", "replid", "master_replid"),
            (RUN, "abc", "run_id"),
            (":61", ":?", "uptime"),
            ("7.0.15", "4.0.14", "4.0.14"),
            ("7.0.15", "new", "new"),
            ("role:master", "role:slave", "replica"),
        ] {
            let why = said(|info| info.replace(what, instead)).unwrap_err();
            assert!(why.contains(word), "{what} → {instead}: {why}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_incarnation_counts_from_its_start_or_from_when_it_took_the_place_of_another_one() {
        let id = |digit: &str| RunId::parse(&digit.repeat(80)).unwrap();
        tokio::time::advance(Duration::from_secs(1000)).await;
        let now = Instant::now();
        let first = begun(id("a"), Duration::from_secs(100), None, now);
        assert_eq!(now - first.at, Duration::from_secs(99));
        let again = begun(id("a"), Duration::from_secs(105), Some(&first), now + Duration::from_secs(5));
        assert_eq!(again.at, first.at, "it is the same one");
        let promoted = begun(id("b"), Duration::from_secs(9000), Some(&again), now + Duration::from_secs(7));
        assert_eq!(promoted.at, now + Duration::from_secs(7));
    }
}
