//! The `polytty` command.

use std::process::ExitCode;

use clap::Parser;
use polytty::cli::Command;

fn main() -> ExitCode {
    Command::parse().run()
}
