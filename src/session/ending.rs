//! How a session, or one attachment to it, comes to its end.

use polytty_dialect::{Code, Exit};

use crate::limit::Exceeded;
use crate::provider::Failure;
use crate::recording::End;

/// Why a session ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// The remote process ended.
    Exit(Exit),
    /// The terminal could not be opened, or was lost.
    Failed(Failure),
    /// Its writer asked for it.
    Closed,
    /// The API asked for it.
    Deleted,
    /// Nobody used its link in time.
    Unused,
    /// Its client left and did not come back in time.
    Abandoned,
    /// Neither input nor output for too long.
    Idle,
    /// It reached its longest life.
    LifetimeOver,
    /// This process is shutting down.
    Draining,
}

impl Ending {
    /// The code, where something went wrong; `None` for an end in order.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Exit(_) | Self::Closed | Self::Deleted | Self::Abandoned => None,
            Self::Failed(failure) => Some(failure.code),
            Self::Unused => Some(Code::LinkGone),
            Self::Idle => Some(Code::IdleTimeout),
            Self::LifetimeOver => Some(Code::LifetimeOver),
            Self::Draining => Some(Code::Draining),
        }
    }

    /// One word for logs and metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Exit(_) => "exit",
            Self::Closed => "closed",
            Self::Deleted => "deleted",
            Self::Abandoned => "abandoned",
            other => other.code().map_or("internal", Code::slug),
        }
    }

    /// A sentence for a person.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Exit(exit) => match (exit.code, &exit.signal) {
                (Some(code), _) => format!("the process ended with status {code}"),
                (None, Some(signal)) => format!("the process was ended by {signal}"),
                (None, None) => "the process ended".to_owned(),
            },
            Self::Failed(failure) => failure.message.clone(),
            Self::Closed => "the session was closed".to_owned(),
            Self::Deleted => "the session was ended by its owner".to_owned(),
            Self::Unused => "nobody used the link in time".to_owned(),
            Self::Abandoned => "the client left and did not come back in time".to_owned(),
            Self::Idle => "there was neither input nor output for too long".to_owned(),
            Self::LifetimeOver => "the session reached its longest life".to_owned(),
            Self::Draining => "the proxy is shutting down; connect again".to_owned(),
        }
    }

    /// The exit status, where the provider told one.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exit(exit) => exit.code,
            _ => None,
        }
    }
}

impl From<&Ending> for End {
    fn from(ending: &Ending) -> Self {
        Self { status: ending.exit_code(), words: format!("{}: {}", ending.label(), ending.message()) }
    }
}

/// The close code and reason for an attachment that ends with its session.
pub(super) fn close_frame(ending: &Ending) -> (u16, String) {
    match ending.code() {
        None => (1000, format!("ended: {}", ending.message())),
        Some(code) => (code.close(), close_reason(code, &ending.message())),
    }
}

/// The reason of a Close that tells of something that went wrong. One that tells of a limit says when to come back, however
/// long its message is.
pub(super) fn close_reason(code: Code, message: &str) -> String {
    if !matches!(code, Code::RateLimited | Code::QuotaExceeded) || message.contains(TRY_AGAIN) {
        return format!("{code}: {message}");
    }
    let when = format!("{TRY_AGAIN}{} s", Exceeded::LOOK_AGAIN.as_secs());
    let mut reason = format!("{code}: {}", message.trim_end_matches('.'));
    reason.truncate(reason.floor_char_boundary(MAX_REASON - when.len()));
    reason + &when
}

/// What [`Exceeded::message`] says before it says when.
const TRY_AGAIN: &str = "; try again in ";

/// The longest reason of a Close, in bytes (RFC 6455, section 5.5).
const MAX_REASON: usize = 123;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Limit;

    #[test]
    fn every_4429_says_when_to_come_back_and_fits() {
        let told = close_reason(Code::QuotaExceeded, "The workspace is full.");
        assert_eq!(told, "quota_exceeded: The workspace is full; try again in 5 s");
        let long = close_reason(Code::RateLimited, &"ä".repeat(100));
        assert!(long.len() <= MAX_REASON && long.ends_with("ä; try again in 5 s"), "{long}");
        let own =
            Exceeded { retry_after: std::time::Duration::from_secs(86_400), ..Exceeded::count(Limit::Viewers, 1) };
        let own = close_reason(own.code(), &own.message());
        assert!(own.len() <= MAX_REASON && own.ends_with("; try again in 86400 s"), "{own}");
        assert_eq!(close_reason(Code::Draining, "bye"), "draining: bye");
    }
}
