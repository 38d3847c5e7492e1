//! One connection, one incarnation.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, Value, from_redis_value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::CALL;
use crate::observe::Metrics;

/// What a server says by these codes it says before it carries anything out. All other errors may come from the midst of
/// a script.
const BEFORE: [&str; 15] = [
    "LOADING",
    "READONLY",
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "MASTERDOWN",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "BUSY",
    "TRYAGAIN",
    "MOVED",
    "ASK",
    "NOSCRIPT",
];

/// After these, the server at this address is perhaps another one by now, or will be when it is connected to again.
const MOVED_ON: [&str; 4] = ["READONLY", "MASTERDOWN", "NOAUTH", "LOADING"];

/// What every script begins with: the function `run_id()`, the identity of the run that carries the script out. It costs
/// the server some microseconds.
const PRELUDE: &str = "local function run_id()
  local info = redis.call('INFO', 'server') .. redis.call('INFO', 'replication')
  return string.match(info, 'run_id:(%x+)') .. string.match(info, 'master_replid:(%x+)')
end
";

/// The identity of one run of a server as a master, 80 hexadecimal digits: its `run_id`, which it draws when it starts, and
/// its `master_replid`, which it draws when it becomes a master. The former alone would stay the same where a master is
/// demoted, given the data of its successor, and promoted again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunId(Arc<str>);

impl RunId {
    /// Reads its digits; `None` when they are none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 80 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| Self(text.into()))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An incarnation, and since when it counts.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Which one.
    pub run_id: RunId,
    /// When it started, to the second; or when it was first met in the place of another one, if that is later: a replica
    /// that was promoted has been running for long, and still lacks what its predecessor was told last.
    pub at: Instant,
}

/// What came of a call without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It was certainly not carried out: there is no connection, too many calls are in flight, or the server said so.
    #[error("the store is away")]
    Away,
    /// It was sent and no answer came, or one that says nothing. Whether it was carried out is not known.
    #[error("the store did not answer")]
    Unknown,
}

/// A Lua script, called by its hash. In it, `run_id()` is the identity of the run that carries it out, for comparison with
/// [`Link::run_id`], or with what was noted before.
#[derive(Debug)]
pub struct Script {
    text: String,
    sha1: String,
}

impl Script {
    /// Takes its text. So that [`CallError::Away`] is true of it, the first command in it that writes has to be the one
    /// that a server may refuse.
    #[must_use]
    pub fn new(text: &str) -> Self {
        use fmt::Write as _;
        let text = format!("{PRELUDE}{text}");
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let mut sha1 = String::with_capacity(40);
        for byte in hash.as_ref() {
            let _ = write!(sha1, "{byte:02x}");
        }
        Self { text, sha1 }
    }

    fn call(&self, by: &str, script: &str, keys: &[&[u8]], arguments: &[&[u8]]) -> Cmd {
        let mut call = redis::cmd(by);
        call.arg(script).arg(keys.len());
        keys.iter().chain(arguments).for_each(|argument| _ = call.arg(*argument));
        call
    }
}

/// One connection to the store. Cheap to clone; all clones are of the same connection, and broken together.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    connection: MultiplexedConnection,
    begun: Begun,
    places: Arc<Semaphore>,
    broken: CancellationToken,
    metrics: Arc<Metrics>,
}

impl Link {
    pub(super) fn new(
        connection: MultiplexedConnection,
        begun: Begun,
        places: Arc<Semaphore>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self(Arc::new(Inner { connection, begun, places, broken: CancellationToken::new(), metrics }))
    }

    /// The incarnation at its other end.
    #[must_use]
    pub fn run_id(&self) -> &RunId {
        &self.0.begun.run_id
    }

    /// That incarnation, and since when it counts.
    #[must_use]
    pub fn begun(&self) -> &Begun {
        &self.0.begun
    }

    /// Makes a call, once. It goes on when the future is dropped: nobody can break the connection for all others by
    /// leaving.
    ///
    /// # Errors
    ///
    /// [`CallError`]; after two seconds at the latest.
    pub async fn call<T: FromRedisValue>(&self, call: Cmd) -> Result<T, CallError> {
        let answer = self.limited(call).await;
        self.judge(answer)
    }

    /// Runs a script, once: by its hash, and by its text where the server does not know it yet.
    ///
    /// # Errors
    ///
    /// [`CallError`]; after four seconds at the latest.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&[u8]],
        arguments: &[&[u8]],
    ) -> Result<T, CallError> {
        let mut answer = self.limited(script.call("EVALSHA", &script.sha1, keys, arguments)).await;
        if answer.as_ref().is_err_and(|failed| failed.code() == "NOSCRIPT") {
            answer = self.limited(script.call("EVAL", &script.text, keys, arguments)).await;
        }
        self.judge(answer)
    }

    /// Resolves when the connection is broken.
    pub async fn broken(&self) {
        self.0.broken.cancelled().await;
    }

    /// Lets no further call begin.
    pub(super) fn give_up(&self) {
        self.0.broken.cancel();
    }

    /// Asks by a script that returns `run_id()` whether the same run is still there. It needs no place among the calls in flight, lest a crowd is
    /// mistaken for an absence.
    ///
    /// # Errors
    ///
    /// What is wrong, for the log.
    pub(super) async fn check(&self, whoami: &Script) -> Result<(), String> {
        let value = self.exchange(whoami.call("EVAL", &whoami.text, &[], &[]), None).await;
        let run_id = value.and_then(|value| from_redis_value::<String>(value).map_err(|_| Failed::NoAnswer));
        match run_id {
            Ok(run_id) if run_id == self.run_id().as_str() => Ok(()),
            Ok(_) => Err("it has begun another run behind this connection".to_owned()),
            Err(failed) => Err(format!("it gives no sign of life: {}", failed.error())),
        }
    }

    async fn limited(&self, call: Cmd) -> Result<Value, Failed> {
        let place = self.0.places.clone().try_acquire_owned().map_err(|_| Failed::NotSent)?;
        self.exchange(call, Some(place)).await
    }

    async fn exchange(&self, call: Cmd, place: Option<OwnedSemaphorePermit>) -> Result<Value, Failed> {
        if self.0.broken.is_cancelled() {
            return Err(Failed::NotSent);
        }
        let link = self.0.clone();
        let exchange = tokio::spawn(async move {
            let _place = place;
            let mut connection = link.connection.clone();
            let answer = async { connection.send_packed_command(&call).await?.extract_error() };
            match timeout(CALL, answer).await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => {
                    if error.code().is_some_and(|code| MOVED_ON.contains(&code)) {
                        link.broken.cancel();
                    }
                    Err(Failed::Error(error))
                }
                Err(_) => {
                    link.broken.cancel();
                    Err(Failed::NoAnswer)
                }
            }
        });
        // It is never aborted; that it panicked, or that the runtime ends, says nothing of the call.
        exchange.await.unwrap_or(Err(Failed::NoAnswer))
    }

    /// Counts a call and reads its answer.
    fn judge<T: FromRedisValue>(&self, answer: Result<Value, Failed>) -> Result<T, CallError> {
        let answer = answer.map_err(|failed| {
            tracing::debug!(why = ?failed, "a call to the store failed");
            failed.error()
        });
        // An answer of another type than the caller expects comes from something that is no such store.
        let answer = answer.and_then(|value| from_redis_value(value).map_err(|_| CallError::Unknown));
        self.0.metrics.store_call(match answer {
            Ok(_) => "answered",
            Err(CallError::Away) => "away",
            Err(CallError::Unknown) => "unknown",
        });
        answer
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broken = self.0.broken.is_cancelled();
        f.debug_struct("Link").field("run_id", self.run_id()).field("broken", &broken).finish()
    }
}

/// What became of one exchange.
#[derive(Debug)]
enum Failed {
    NotSent,
    NoAnswer,
    Error(RedisError),
}

impl Failed {
    /// The server's word for it, where it said one.
    fn code(&self) -> &str {
        match self {
            Self::Error(error) if error.kind() != ErrorKind::Io => error.code().unwrap_or_default(),
            _ => "",
        }
    }

    fn error(&self) -> CallError {
        match self {
            Self::NotSent => CallError::Away,
            Self::Error(_) if BEFORE.contains(&self.code()) => CallError::Away,
            Self::Error(_) | Self::NoAnswer => CallError::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_is_eighty_hexadecimal_digits() {
        let good = &"0123456789abcdef".repeat(5)[..];
        assert_eq!(RunId::parse(good).map(|id| id.to_string()).as_deref(), Some(good));
        for bad in ["", &good[1..], &format!("{good}0"), &good.replace('f', "g"), &good.replace('0', " ")] {
            assert_eq!(RunId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_script_is_called_by_the_hash_that_redis_gives_it() {
        let script = Script::new("return run_id()");
        assert!(script.text.starts_with(PRELUDE) && script.text.ends_with("return run_id()"));
        // FIPS 180-4's own example would do as well; the tests with a server see that it knows a script by its hash.
        assert_eq!(script.sha1.len(), 40);
    }

    #[test]
    fn only_what_is_said_before_anything_was_carried_out_is_certain() {
        let said = |text: &'static str| {
            let value = redis::parse_redis_value(text.as_bytes()).unwrap();
            Failed::Error(from_redis_value::<String>(value.clone()).map(|_| ()).map_or_else(
                |_| match value.extract_error() {
                    Err(error) => error,
                    Ok(value) => panic!("{value:?} is no error"),
                },
                |()| panic!("no error"),
            ))
        };
        for before in
            ["-LOADING x\r\n", "-READONLY x\r\n", "-NOAUTH x\r\n", "-OOM x\r\n", "-MISCONF x\r\n", "-BUSY x\r\n"]
        {
            assert_eq!(said(before).error(), CallError::Away, "{before:?}");
        }
        for midst in ["-ERR x\r\n", "-WRONGTYPE x\r\n", "-UNKILLABLE x\r\n", "-loading x\r\n"] {
            assert_eq!(said(midst).error(), CallError::Unknown, "{midst:?}");
        }
        assert_eq!(Failed::NotSent.error(), CallError::Away);
        assert_eq!(Failed::NoAnswer.error(), CallError::Unknown);
        let io = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(Failed::Error(io).error(), CallError::Unknown);
    }
}
