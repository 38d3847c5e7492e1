//! What is asked for on the command line.

use std::path::PathBuf;

use clap::Parser;
use polytty_workload::Corpus;

use super::proxy::Which;
use super::scenario::Scenario;

/// Measures what polytty costs, beside proxies that look at nothing. docs/benches.md says what each scenario does.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench load --", max_term_width = 110)]
pub(crate) struct Options {
    /// Less of everything, in one round, in under two minutes
    #[arg(long)]
    pub(crate) quick: bool,
    /// Compare with these of haproxy and nginx, with commas between them; "" for none. The default is what is installed
    #[arg(long, value_name = "NAMES")]
    against: Option<String>,
    /// Only this; may be repeated
    #[arg(long = "scenario", value_name = "NAME", value_enum)]
    scenarios: Vec<Scenario>,
    /// Of output only this: plain, ls, yes, cjk, screen, cargo or random; may be repeated
    #[arg(long = "corpus", value_name = "NAME", value_parser = corpus)]
    corpora: Vec<Corpus>,
    /// Of output only messages of so many bytes; may be repeated
    #[arg(long = "size", value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    sizes: Vec<u32>,
    /// Everything on one processor: nobody is woken on another one, which virtual machines take long for. Latencies and speeds
    /// are everybody's together then
    #[arg(long)]
    pub(crate) one_processor: bool,
    /// Rounds, in which all proxies take turns [default: 5, or 1 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Where the report is written to [default: target/tmp/load]
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    /// Keep the report under this name, to be compared with
    #[arg(long, value_name = "NAME")]
    pub(crate) save: Option<String>,
    /// Compare with the report of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) baseline: Option<String>,
    /// Measure your own deployment instead: a link to a shell, used once; may be repeated
    #[arg(long = "url", value_name = "WSS", help_heading = "Your own deployment")]
    pub(crate) urls: Vec<String>,
    /// Or mint a link a round here: https://HOST/v1/sessions
    #[arg(long, value_name = "URL", requires_all = ["key_file", "provider", "target"], help_heading = "Your own deployment")]
    pub(crate) mint: Option<http::Uri>,
    /// The file that holds the API key
    #[arg(long, value_name = "FILE", requires = "mint", help_heading = "Your own deployment")]
    pub(crate) key_file: Option<PathBuf>,
    /// The name of the provider
    #[arg(long, value_name = "NAME", requires = "mint", help_heading = "Your own deployment")]
    pub(crate) provider: Option<String>,
    /// The target, a JSON object
    #[arg(long, value_name = "JSON", requires = "mint", help_heading = "Your own deployment")]
    pub(crate) target: Option<String>,
    /// A PEM file with the certificates to trust instead of the system's
    #[arg(long, value_name = "FILE", help_heading = "Your own deployment")]
    pub(crate) ca: Option<PathBuf>,
    /// Cargo adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Rounds of everything.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.map_or(if self.quick { 1 } else { 5 }, usize::from)
    }

    /// The kinds of output that are carried.
    pub(crate) fn corpora(&self) -> Vec<Corpus> {
        match (self.corpora.is_empty(), self.quick) {
            (false, _) => self.corpora.clone(),
            (true, true) => vec![Corpus::Ls, Corpus::Yes],
            (true, false) => Corpus::ALL.to_vec(),
        }
    }

    /// The lengths of the messages that carry it.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        match (self.sizes.is_empty(), self.quick) {
            (false, _) => self.sizes.iter().map(|size| *size as usize).collect(),
            (true, true) => vec![64, 4096],
            (true, false) => vec![64, 1024, 4096, 16_384],
        }
    }

    /// Whether somebody's own deployment is measured.
    pub(crate) fn is_own(&self) -> bool {
        self.mint.is_some() || !self.urls.is_empty()
    }

    /// Where the report is written to.
    pub(crate) fn out(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("load"))
    }

    /// What is to be measured, in the order in which it is.
    pub(crate) fn scenarios(&self) -> Vec<Scenario> {
        Scenario::ALL.into_iter().filter(|one| self.scenarios.is_empty() || self.scenarios.contains(one)).collect()
    }

    /// Whom polytty is compared with.
    ///
    /// # Errors
    ///
    /// A sentence for a name that is none, or of a program that is not there.
    pub(crate) fn against(&self) -> Result<Vec<Which>, String> {
        let is_installed = |which: &Which| which.program().is_some();
        let Some(names) = &self.against else {
            return Ok(Which::PEERS.into_iter().filter(is_installed).collect());
        };
        let named = |name: &str| match Which::PEERS.into_iter().find(|which| which.name() == name) {
            Some(which) if is_installed(&which) => Ok(which),
            Some(_) => Err(format!("{name} is not installed; scripts/load-peers installs it")),
            None => Err(format!("--against takes haproxy and nginx, not {name}")),
        };
        names.split(',').filter(|name| !name.is_empty()).map(named).collect()
    }

    /// As they were given, but for links, which are secrets.
    pub(crate) fn flags(&self) -> String {
        let words = std::env::args().skip(1).filter(|word| word != "--bench");
        words.map(|word| if word.contains("wss://") { "…".to_owned() } else { word }).collect::<Vec<_>>().join(" ")
    }
}

fn corpus(name: &str) -> Result<Corpus, String> {
    Corpus::named(name).ok_or_else(|| {
        let names: Vec<_> = Corpus::ALL.iter().map(|corpus| corpus.name()).collect();
        format!("there are {}", names.join(", "))
    })
}
