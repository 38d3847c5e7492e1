//! `polytty connect`

mod keys;
pub(super) mod modes;
pub(super) mod scanner;
mod screen;
mod seat;
mod status;
pub(super) mod streams;
pub(super) mod tty;

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use self::keys::EscapeChar;
use self::seat::{Done, Seat};
use super::EX_USAGE;
use crate::client::{Client, Link, Options};
use crate::config::Secret;
use crate::config::quantity::parse_duration;
use crate::provider::Dialer;

/// Attach this terminal to the one behind a link.
///
/// The session outlives a lost connection: connect comes back to it by itself, without losing or repeating anything.
/// It ends with the status of the remote process (128 and its number for a signal, 0 where it is not told), or with
/// 255 when the connection or the session fails.
#[derive(Debug, Args)]
pub(super) struct Connect {
    /// The link, wss://HOST/t/…; better given by the environment than on a command line that others can see
    #[arg(env = "POLYTTY_LINK", hide_env_values = true, value_name = "URL", value_parser = unread)]
    url: Secret,
    /// A PEM file with the root to trust, instead of the system's
    #[arg(long, env = "POLYTTY_CA")]
    ca: Option<PathBuf>,
    /// The character that makes the next one a command when it is typed first in a line: ~. leaves, ~^Z suspends, ~?
    /// lists them. "none" for none
    #[arg(long, default_value = "~", value_name = "CHAR")]
    escape: EscapeChar,
    /// Give up so long after the connection was lost, such as 30s [default: when the session can no longer be come
    /// back to]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    give_up_after: Option<Duration>,
}

/// Takes whatever is given: clap repeats a value that it is told is wrong.
fn unread(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text.to_owned()))
}

/// Says something on standard error. That nobody can hear it changes no exit status.
fn tell(words: &str) {
    let _ = writeln!(io::stderr(), "polytty: {words}");
}

pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("expected a duration such as 500ms, 30s or 5m")
}

impl Connect {
    /// Runs to the end, tells what went wrong, and picks the exit status.
    pub(super) fn run(self) -> ExitCode {
        let link: Link = match self.url.expose().parse() {
            Ok(link) => link,
            Err(why) => {
                tell(&format!("the link: {why}"));
                return ExitCode::from(EX_USAGE);
            }
        };
        let (status, words) = match self.attach(link) {
            Ok(Done::Over(outcome)) => status::of(&outcome),
            Ok(Done::Left) => (0, None),
            Ok(Done::Signalled(signal)) => (status::of_signal(signal), None),
            Ok(Done::Unheard(why)) => (status::FAILED, Some(format!("standard output: {why}"))),
            Err(error) => (status::FAILED, Some(format!("{error:#}"))),
        };
        if let Some(words) = words {
            tell(&words);
        }
        ExitCode::from(status)
    }

    fn attach(self, link: Link) -> anyhow::Result<Done> {
        let dialer = Dialer::new(self.ca.as_deref(), true)?;
        let options = Options { give_up_after: self.give_up_after, ..Options::default() };
        // One thread is enough for one terminal.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let done = runtime.block_on(async {
            let client = Client::new(dialer, link, tty::size(), options);
            Ok(Seat::take(client, self.escape)?.sit().await)
        });
        // A read of standard input cannot be called off, and need not be.
        runtime.shutdown_background();
        done
    }
}
