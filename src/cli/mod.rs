//! The command line.

mod certificate;
mod connect;
mod demo;
mod key;
mod link;
mod replay;
mod serve;
mod signals;
mod simulate;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Environment, Loaded};

/// Exit status for a wrong call, as clap has it.
const EX_USAGE: u8 = 2;

/// Exit status for a bad configuration (`EX_CONFIG` of sysexits.h).
const EX_CONFIG: u8 = 78;

/// A TLS-terminating reverse proxy for web terminals.
#[derive(Debug, Parser)]
#[command(name = "polytty", version, max_term_width = 100)]
pub struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the proxy
    Serve(ConfigFile),
    /// Read the configuration, its files and its certificates, and tell every mistake
    Check(ConfigFile),
    /// Run the proxy with simulated providers and a page to try them: needs no file and nothing installed
    Demo(demo::Demo),
    /// Run one simulated provider alone
    Simulate(simulate::Simulate),
    /// Ask a running proxy for a one-time link
    Link(link::Link),
    Connect(connect::Connect),
    /// Play a recorded session in this terminal
    Replay(replay::Replay),
    /// API keys
    #[command(subcommand)]
    Key(key::Key),
    /// Print the version
    Version,
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration file [default: $POLYTTY_CONFIG, ./proxy.toml, /etc/polytty/proxy.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// How a verb fails, which picks the exit status.
#[derive(Debug)]
enum Failed {
    /// At run time: 1.
    Run(anyhow::Error),
    /// For the way it was called: 2.
    Usage(String),
    /// For its configuration: 78.
    Config(String),
}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

impl Command {
    /// Runs the verb to its end.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let result = match self.verb {
            Verb::Serve(file) => serve::serve(&file),
            Verb::Check(file) => serve::check(&file),
            Verb::Demo(demo) => demo.run(),
            Verb::Simulate(simulate) => simulate.run(),
            Verb::Link(link) => link.run(),
            // Its statuses are those of the remote process.
            Verb::Connect(connect) => return connect.run(),
            Verb::Replay(replay) => replay.run(),
            Verb::Key(key) => key.run(),
            Verb::Version => {
                println!("polytty {}", env!("CARGO_PKG_VERSION"));
                Ok(())
            }
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failed::Run(error)) => {
                eprintln!("polytty: {error:#}");
                ExitCode::from(1)
            }
            Err(Failed::Usage(error)) => {
                eprintln!("polytty: {error}");
                ExitCode::from(EX_USAGE)
            }
            Err(Failed::Config(mistakes)) => {
                eprintln!("{}", mistakes.trim_end());
                ExitCode::from(EX_CONFIG)
            }
        }
    }
}

impl ConfigFile {
    fn load(&self) -> Result<Loaded, Failed> {
        let loaded = crate::config::load(self.config.as_deref(), &Environment::of_process());
        loaded.map_err(|mistakes| Failed::Config(mistakes.to_string()))
    }
}

/// The runtime that every verb with a network runs on.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
