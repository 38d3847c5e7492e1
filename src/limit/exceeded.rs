//! What somebody is told who has run into a limit.

use std::time::Duration;

use http::header::{self, HeaderName};
use polytty_dialect::Code;

use crate::respond::{Problem, Reply, with};

/// Every limit that somebody can run into while the process has room. Its name is the configuration's key, the policy in a
/// `RateLimit` field, and the label of `polytty_limited_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Connections in total.
    Connections,
    /// Connections of one address.
    ConnectionsPerAddress,
    /// TLS handshakes of one address.
    Handshakes,
    /// Requests of one address.
    Requests,
    /// Failed authentications and guessed tickets of one address.
    Failures,
    /// Links minted by one credential.
    Mints,
    /// Links minted for one subject.
    SubjectMints,
    /// Links outstanding.
    Tickets,
    /// Terminals opened at one provider.
    Opens,
    /// Memory of the process.
    Memory,
    /// Sessions in total.
    Sessions,
    /// Sessions of one subject.
    SessionsPerSubject,
    /// Sessions at one provider.
    ProviderSessions,
    /// Sessions in one workspace.
    WorkspaceSessions,
    /// Viewers of one session.
    Viewers,
    /// Input bytes of one session.
    InputBytes,
    /// Messages of one client.
    InputMessages,
    /// Output bytes of one session.
    OutputBytes,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::Handshakes,
        Self::Requests,
        Self::Failures,
        Self::Mints,
        Self::SubjectMints,
        Self::Tickets,
        Self::Opens,
        Self::Memory,
        Self::Sessions,
        Self::SessionsPerSubject,
        Self::ProviderSessions,
        Self::WorkspaceSessions,
        Self::Viewers,
        Self::InputBytes,
        Self::InputMessages,
        Self::OutputBytes,
    ];

    /// Its key in the configuration.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::Handshakes => "handshakes_per_second",
            Self::Requests => "requests_per_second",
            Self::Failures => "failures",
            Self::Mints => "mints_per_second",
            Self::SubjectMints => "subject_mints_per_second",
            Self::Tickets => "tickets",
            Self::Opens => "opens_per_second",
            Self::Memory => "memory",
            Self::Sessions => "sessions",
            Self::SessionsPerSubject => "sessions_per_subject",
            Self::ProviderSessions => "max_sessions",
            Self::WorkspaceSessions => "max_terminals",
            Self::Viewers => "max_viewers",
            Self::InputBytes => "input_bytes_per_second",
            Self::InputMessages => "input_messages_per_second",
            Self::OutputBytes => "output_bytes_per_second",
        }
    }

    /// What there is too much of, for a sentence.
    fn words(self) -> &'static str {
        match self {
            Self::Connections | Self::ConnectionsPerAddress => "too many connections from this address",
            Self::Handshakes => "too many handshakes from this address",
            Self::Requests => "too many requests from this address",
            Self::Failures => "too many failed attempts from this address",
            Self::Mints => "too many links in too short a time",
            Self::SubjectMints => "too many links for this subject in too short a time",
            Self::Tickets => "too many links are outstanding",
            Self::Opens => "too many terminals are being opened at this provider",
            Self::Memory => "this proxy is short of memory",
            Self::Sessions => "this proxy holds as many sessions as it may",
            Self::SessionsPerSubject => "this subject has as many sessions as it may",
            Self::ProviderSessions => "this provider has as many sessions as it may",
            Self::WorkspaceSessions => "this workspace has as many sessions as it may",
            Self::Viewers => "as many viewers watch this session as may",
            Self::InputBytes | Self::InputMessages => "too much input in too short a time",
            Self::OutputBytes => "too much output in too short a time",
        }
    }
}

/// A limit is reached: which, its figures, and when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Which.
    pub limit: Limit,
    /// How many there may be: at once for a count, in one window for a rate.
    pub quota: u32,
    /// In how many seconds a spent quota is whole again; `None` for a count, which nothing but an end gives back.
    pub window: Option<u64>,
    /// From now. For a rate, the next one passes then, if nobody else comes before. For a count, it is worth another look.
    pub retry_after: Duration,
}

impl Exceeded {
    /// When it is worth another look at something that is full. Nobody knows when somebody leaves.
    pub const LOOK_AGAIN: Duration = Duration::from_secs(5);

    /// A count is full.
    #[must_use]
    pub fn count(limit: Limit, quota: u32) -> Self {
        Self { limit, quota, window: None, retry_after: Self::LOOK_AGAIN }
    }

    /// The stable name: `quota_exceeded` for a count, `rate_limited` for a rate.
    #[must_use]
    pub fn code(&self) -> Code {
        if self.window.is_some() { Code::RateLimited } else { Code::QuotaExceeded }
    }

    /// Whole seconds for a `Retry-After` field, at least 1.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.retry_after.as_nanos().div_ceil(1_000_000_000).max(1).try_into().unwrap_or(u64::MAX)
    }

    /// A sentence for whoever was refused, with when to come back. Short enough for the reason of a Close.
    #[must_use]
    pub fn message(&self) -> String {
        format!("{}; try again in {} s", self.limit.words(), self.seconds())
    }

    /// The 429: `Retry-After`, and the fields of draft-ietf-httpapi-ratelimit-headers-10. `RateLimit-Policy` (section 3) has
    /// the quota `q` and, for a rate, the window `w` in seconds; `RateLimit` (section 4) has what is left, `r`, and, for a
    /// rate, the seconds `t` until there is more. For a count nobody knows that.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let (key, quota, seconds) = (self.limit.key(), self.quota, self.seconds());
        let (policy, left) = match self.window {
            Some(window) => (format!("\"{key}\";q={quota};w={window}"), format!("\"{key}\";r=0;t={seconds}")),
            None => (format!("\"{key}\";q={quota}"), format!("\"{key}\";r=0")),
        };
        let reply = Problem::new(self.code(), self.message()).reply();
        let reply = with(reply, header::RETRY_AFTER, &seconds.to_string());
        let reply = with(reply, HeaderName::from_static("ratelimit-policy"), &policy);
        with(reply, HeaderName::from_static("ratelimit"), &left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_key_in_the_configuration_and_its_own_line_in_the_table() {
        let (configuration, table) = (include_str!("../../proxy.toml"), include_str!("../../docs/limits.md"));
        for limit in Limit::ALL {
            let key = limit.key();
            assert!(configuration.lines().any(|line| line.starts_with(&format!("#{key} = "))), "{key} in proxy.toml");
            let row = |line: &&str| {
                let first = line.strip_prefix("| ").and_then(|rest| rest.split('|').next()).unwrap_or_default();
                first.split('`').any(|word| word.trim_start_matches("sessions.") == key)
            };
            assert_eq!(table.lines().filter(row).count(), 1, "{key} in docs/limits.md");
            let longest = Exceeded { retry_after: Duration::from_secs(86_400), ..Exceeded::count(limit, u32::MAX) };
            assert!(longest.message().len() + "quota_exceeded: ".len() <= 123, "fits the reason of a Close");
        }
    }

    #[test]
    fn a_rate_tells_its_window_and_a_count_does_not_pretend_to_know_one() {
        let rate =
            Exceeded { limit: Limit::Requests, quota: 500, window: Some(5), retry_after: Duration::from_millis(1001) };
        let reply = rate.reply();
        assert_eq!(reply.status(), 429);
        assert_eq!(reply.headers()["retry-after"], "2", "never too early");
        assert_eq!(reply.headers()["ratelimit-policy"], "\"requests_per_second\";q=500;w=5");
        assert_eq!(reply.headers()["ratelimit"], "\"requests_per_second\";r=0;t=2");
        let count = Exceeded::count(Limit::SessionsPerSubject, 3);
        let reply = count.reply();
        assert_eq!(reply.headers()["retry-after"], "5");
        assert_eq!(reply.headers()["ratelimit-policy"], "\"sessions_per_subject\";q=3");
        assert_eq!(reply.headers()["ratelimit"], "\"sessions_per_subject\";r=0");
        assert_eq!((rate.code(), count.code()), (Code::RateLimited, Code::QuotaExceeded));
        assert_eq!(Exceeded { retry_after: Duration::ZERO, ..rate }.seconds(), 1);
    }
}
