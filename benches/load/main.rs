//! What polytty costs, beside proxies that look at nothing: `cargo bench --bench load`; `-- --help` tells the flags, and
//! docs/benches.md what is measured and how to read it.
//!
//! Every part is a process of its own: the source (a provider that has its output ready), the proxies, which share one
//! processor, and the generator, which compares every byte. What is told of each proxy is the processor time that the kernel
//! says it used for a unit of work, in rounds that alternate, and the ratio of polytty's to each of the others' in the same
//! round.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a bench that cannot go on ends here and now"
)]

mod generator;
mod options;
mod own;
mod process;
mod progress;
mod proxy;
mod report;
mod scenario;
mod source;
mod wire;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use options::Options;
use proxy::Which;
use report::Report;
use scenario::Bench;

fn main() -> ExitCode {
    let descriptors = process::raise_descriptors();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The same program is each of the processes.
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["source", home] => source::run(Path::new(home)).map_err(|error| error.to_string()),
        ["generator", ca] => generator::run(ca).map_err(|error| error.to_string()),
        _ => run(&Options::parse(), descriptors),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, descriptors: u64) -> Result<(), String> {
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let against = options.against()?;
    let proxies: Vec<Which> = match options.is_own() {
        true => Vec::new(),
        false => [Which::Polytty].into_iter().chain(against.iter().copied()).collect(),
    };
    let mut report = Report::begin(options, &proxies, descriptors);
    runtime.block_on(async {
        if options.is_own() {
            return own::run(options, &mut report).await.map_err(|error| error.to_string());
        }
        let bench = Bench::new(options, proxies, descriptors).map_err(|error| error.to_string())?;
        for scenario in options.scenarios() {
            bench.run(scenario, &mut report).await.map_err(|error| format!("{}: {error}", scenario.name()))?;
            report.show();
        }
        Ok::<_, String>(())
    })?;
    report.finish(options, started.elapsed().as_secs_f64()).map_err(|error| error.to_string())
}
