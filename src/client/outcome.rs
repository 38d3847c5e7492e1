//! How a terminal ends for its client.

use std::fmt;

use polytty_dialect::Exit;

use super::{Broken, ConnectError};

/// How it ended. Displayed, it is one line for a person, without control characters and without a secret.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The remote process ended, or somebody ended the session; then `reason` says so.
    Exit(Exit),
    /// polytty said what went wrong.
    Failed {
        /// One of the protocol's error codes.
        code: String,
        /// Its words for a person.
        message: String,
    },
    /// A Close with this code and no other words; `None` without one.
    Closed(Option<u16>),
    /// There was no connection by the link that the client was started with.
    NoConnection(ConnectError),
    /// The connection broke, and nothing leads back: no link to come back by was given (yet).
    Lost(String),
    /// The connection broke, and no other one came about in time; says what stood in the way last.
    GaveUp(String),
    /// What was said is not `polytty.v1`.
    Broken(Broken),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(exit) => match (&exit.reason, &exit.signal, exit.code) {
                (Some(reason), ..) => f.write_str(&printable(reason)),
                (None, Some(signal), _) => write!(f, "the process was ended by {}", printable(signal)),
                (None, None, Some(code)) => write!(f, "the process ended with status {code}"),
                (None, None, None) => f.write_str("the process ended"),
            },
            Self::Failed { code, message } => write!(f, "{}: {}", printable(code), printable(message)),
            Self::Closed(Some(1000)) => f.write_str("the session ended"),
            Self::Closed(Some(code)) => write!(f, "the connection was closed with code {code}"),
            Self::Closed(None) => f.write_str("the connection was closed without a code"),
            Self::NoConnection(error) => error.fmt(f),
            Self::Lost(why) => {
                write!(f, "the connection was lost, and there is no link to come back by: {}", printable(why))
            }
            Self::GaveUp(why) => write!(f, "the connection was lost and did not come back in time: {}", printable(why)),
            Self::Broken(broken) => write!(f, "the other side does not speak polytty.v1: {broken}"),
        }
    }
}

/// One short line without control characters, whatever a peer has put into it.
pub(super) fn printable(text: &str) -> String {
    const MAX_CHARS: usize = 300;
    text.chars().take(MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_other_side_cannot_move_the_cursor() {
        let message = "\x1b[2J\nevil\u{9b}31m".to_owned();
        let told = Outcome::Failed { code: "internal".to_owned(), message }.to_string();
        assert_eq!(told, "internal:  [2J evil 31m");
        let reason = Some("x\r".repeat(1000));
        assert_eq!(Outcome::Exit(Exit { reason, ..Exit::default() }).to_string().len(), 300);
    }
}
