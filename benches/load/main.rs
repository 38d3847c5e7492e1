//! What polytty costs, beside proxies that look at nothing: `cargo bench --bench load`.
//!
//! Every part is a process of its own: the source (a provider that has its output ready), the proxies, which share one
//! processor, and the generator, which compares every byte. What is told of each proxy is the processor time that the kernel
//! says it used for a unit of work, in rounds that alternate, and the ratio to the first of the others in the same round.
//!
//! ```text
//! cargo bench --bench load -- [--quick] [--against haproxy,nginx] [--scenario NAME]… [--rounds N] [--out DIRECTORY]
//!                             [--save NAME] [--baseline NAME]
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a bench that cannot go on ends here and now"
)]

mod generator;
mod process;
mod proxy;
mod report;
mod scenario;
mod source;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use proxy::Which;
use report::Report;
use scenario::{Bench, Scenario};

/// What was asked for.
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) against: Vec<Which>,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) rounds: usize,
    pub(crate) out: PathBuf,
    pub(crate) save: Option<String>,
    pub(crate) baseline: Option<String>,
}

const USAGE: &str = "usage: cargo bench --bench load -- [--quick] [--against haproxy,nginx] [--scenario NAME]... \
                     [--rounds N] [--out DIRECTORY] [--save NAME] [--baseline NAME]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["source"] => source::run().map_err(|error| error.to_string()),
        ["generator", ca] => generator::run(ca).map_err(|error| error.to_string()),
        _ => options(&arguments).and_then(run),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: &[String]) -> Result<Options, String> {
    let installed = |which: &Which| which.program().is_some();
    let mut options = Options {
        quick: false,
        against: [Which::Haproxy, Which::Nginx].into_iter().filter(installed).collect(),
        scenarios: Vec::new(),
        rounds: 5,
        out: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("load"),
        save: None,
        baseline: None,
    };
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let mut value = || words.next().map(str::to_owned).ok_or_else(|| format!("{word} needs a value\n{USAGE}"));
        match word {
            // Cargo adds it.
            "--bench" => {}
            "--quick" => (options.quick, options.rounds) = (true, 1),
            "--against" => {
                options.against = value()?
                    .split(',')
                    .filter(|name| !name.is_empty())
                    .map(|name| match [Which::Haproxy, Which::Nginx].into_iter().find(|which| which.name() == name) {
                        Some(which) if installed(&which) => Ok(which),
                        Some(_) => Err(format!("{name} is not installed; scripts/load-peers installs it")),
                        None => Err(format!("--against takes haproxy and nginx, not {name}")),
                    })
                    .collect::<Result<_, _>>()?;
            }
            "--scenario" => options.scenarios.push(value()?.parse()?),
            "--rounds" => options.rounds = value()?.parse().map_err(|_| format!("--rounds takes a number\n{USAGE}"))?,
            "--out" => options.out = value()?.into(),
            "--save" => options.save = Some(value()?),
            "--baseline" => options.baseline = Some(value()?),
            _ => return Err(format!("unknown argument {word}\n{USAGE}")),
        }
    }
    if options.scenarios.is_empty() {
        options.scenarios = Scenario::ALL.to_vec();
    }
    Ok(options)
}

fn run(options: Options) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let mut report = Report::begin(&options);
    runtime.block_on(async {
        let mut bench = Bench::new(&options).map_err(|error| error.to_string())?;
        for scenario in &options.scenarios {
            bench.run(*scenario, &mut report).await.map_err(|error| format!("{}: {error}", scenario.name()))?;
        }
        Ok::<_, String>(())
    })?;
    report.finish(&options).map_err(|error| error.to_string())
}
