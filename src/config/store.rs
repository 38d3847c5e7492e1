//! `tickets.store`: where tickets are kept, and how a Redis is reached.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::error::Problem;
use super::secret::Secret;
use super::section::{Field, Read, Section};
use super::units::Authority;

/// The port of a Redis whose URL names none.
const DEFAULT_PORT: u16 = 6379;
/// The highest number of a database. A server has 16 of them unless it is told otherwise.
const MAX_DATABASE: u16 = 9999;

/// `tickets.store`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TicketStore {
    /// In this process.
    Memory,
    /// In a Redis that replicas share.
    Redis(RedisServer),
}

/// `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, or `rediss://` with TLS. It shows itself without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisServer {
    /// Whether it is reached by TLS.
    pub tls: bool,
    /// Host and port.
    pub authority: Authority,
    /// The user of its ACL; `None` is its default user.
    pub username: Option<String>,
    /// The password of that user (`tickets.password`, where it does not stand in the URL).
    pub password: Option<Secret>,
    /// The number of the database. Default 0.
    pub database: u16,
    /// A PEM file with roots trusted for it instead of the system's (`tickets.ca`).
    pub ca: Option<PathBuf>,
}

impl FromStr for RedisServer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (tls, rest) = match text.split_once("://") {
            Some(("redis", rest)) => (false, rest),
            Some(("rediss", rest)) => (true, rest),
            _ => return Err(A_STORE),
        };
        let (place, database) = match rest.split_once('/') {
            Some((place, "")) => (place, 0),
            Some((place, digits)) => (place, database(digits)?),
            None => (rest, 0),
        };
        let (user, host) = match place.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, place),
        };
        let authority: Authority = host.parse().map_err(|_| A_STORE)?;
        let authority = match authority.port() {
            Some(_) => authority,
            None => format!("{authority}:{DEFAULT_PORT}").parse().map_err(|_| A_STORE)?,
        };
        let (username, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((name, password)) => (decoded(name)?, decoded(password)?.map(Secret::new)),
            None => (None, None),
        };
        Ok(Self { tls, authority, username, password, database, ca: None })
    }
}

impl fmt::Display for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/{}", if self.tls { "rediss" } else { "redis" }, self.authority, self.database)
    }
}

const A_STORE: &str = "expected \"memory\", \"redis://HOST:PORT/DATABASE\" or \"rediss://HOST:PORT/DATABASE\" (with TLS); a \
                       user name stands before the host, as in redis://USER@HOST, and the password in tickets.password";

fn database(digits: &str) -> Result<u16, &'static str> {
    const WRONG: &str = "expected the number of a database from 0 to 9999 behind the host, as in redis://HOST:PORT/1, and \
                         nothing more";
    let is_number = digits.len() <= 4 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|number| is_number && *number <= MAX_DATABASE).ok_or(WRONG)
}

fn decoded(text: &str) -> Result<Option<String>, &'static str> {
    const WRONG: &str = "expected the user and password in the URL to be UTF-8 without control characters, with every \
                         character that means something in a URL written as %XX";
    let text = percent_encoding::percent_decode_str(text).decode_utf8().map_err(|_| WRONG)?;
    match text.contains(char::is_control) {
        true => Err(WRONG),
        false => Ok((!text.is_empty()).then(|| text.into_owned())),
    }
}

/// `store`, `password` and `ca` of `[tickets]`. The latter two mean nothing without a Redis.
pub(super) fn store(section: &mut Section<'_>) -> Read<TicketStore> {
    let store = section.or("store", TicketStore::Memory, |field| match field.node.text() {
        Some("memory") => Ok(TicketStore::Memory),
        _ => field.parse(A_STORE).map(TicketStore::Redis),
    });
    let password_field = section.field("password");
    let password = password_field.as_ref().map(Field::secret).transpose();
    let ca_field = section.field("ca");
    let ca = ca_field.as_ref().map(Field::file).transpose();
    let (store, password, ca) = (store?, password?, ca?);
    let TicketStore::Redis(mut server) = store else { return Ok(store) };
    let rule = |field: &Field<'_>, rule: &str| Err(field.tell(Problem::Rule(rule.to_owned())));
    match &ca_field {
        Some(field) if !server.tls => {
            return rule(field, "expected tickets.store to be rediss:// as well: there is no certificate without TLS");
        }
        _ => server.ca = ca,
    }
    match (&password_field, &server.password) {
        (Some(field), Some(_)) => return rule(field, "expected one password, found another one in tickets.store"),
        (Some(_), None) => server.password = password,
        (None, _) => {}
    }
    Ok(TicketStore::Redis(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> RedisServer {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn a_url_says_where_as_whom_and_which_database() {
        let whole = server("rediss://app:p%40ss%3A%2F@store.example:7000/3");
        assert_eq!((whole.tls, whole.authority.to_string().as_str()), (true, "store.example:7000"));
        assert_eq!((whole.username.as_deref(), whole.database), (Some("app"), 3));
        assert_eq!(whole.password.as_ref().map(Secret::expose), Some("p@ss:/"));
        assert_eq!(whole.to_string(), "rediss://store.example:7000/3");
        assert!(!format!("{whole:?} {whole}").contains("p@ss"));

        let least = server("redis://[::1]");
        assert_eq!((least.tls, least.to_string().as_str()), (false, "redis://[::1]:6379/0"));
        assert_eq!((least.username, least.password), (None, None));
        let default_user = server("redis://:secret@h/");
        assert_eq!((default_user.username, default_user.password.is_some()), (None, true));
        assert_eq!(server("redis://app@h").username.as_deref(), Some("app"));
    }

    #[test]
    fn what_is_no_such_url_is_refused_and_not_repeated() {
        for text in [
            "",
            "redis",
            "redis:h",
            "redis://",
            "http://h",
            "unix:///run/redis.sock",
            "redis://h:port",
            "redis://h:70000",
            "redis://h/x",
            "redis://h/10000",
            "redis://h/+1",
            "redis://h/0/1",
            "redis://h/0?protocol=resp3",
            "redis://h?x",
            "redis://u:hunter2@",
            "redis://u:%ff@h",
            "redis://u:hunter2%0a@h",
            "redis://a b",
        ] {
            let why = text.parse::<RedisServer>().expect_err(text);
            assert!(why.starts_with("expected ") && !why.contains("hunter2"), "{text:?}: {why}");
        }
    }
}
