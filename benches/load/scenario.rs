//! What is measured, and how.

use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use polytty_workload::Corpus;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

use super::Options;
use super::generator::{Dialect, Order};
use super::process::{Generator, Source, cpu, resident, stolen};
use super::proxy::{Proxy, Which};
use super::report::{Better, Measure, Report};
use super::wire::Wire;

/// The proxies have one processor, source and generator the other one.
const PROXIES: usize = 0;
const OTHERS: usize = 1;

/// A round tells nothing when so much of the processors' time was somebody else's.
const MOST_STOLEN: f64 = 0.05;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Output,
    Paste,
    Keys,
    Beside,
    Idle,
    Setup,
}

impl Scenario {
    pub(crate) const ALL: [Self; 6] = [Self::Output, Self::Paste, Self::Keys, Self::Beside, Self::Idle, Self::Setup];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Paste => "paste",
            Self::Keys => "keys",
            Self::Beside => "beside",
            Self::Idle => "idle",
            Self::Setup => "setup",
        }
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|scenario| scenario.name() == name).ok_or(format!("--scenario takes one of {all}"))
    }
}

/// One way from a source to a client, and who of those that look at nothing carries the like.
struct Pair {
    name: &'static str,
    wire: Wire,
    dialect: Dialect,
}

/// `output` and `input` of the dialects.
const PAIRS: [Pair; 4] = [
    Pair { name: "channel → binary", wire: Wire::Channel, dialect: Dialect::Polytty },
    Pair { name: "operation → binary", wire: Wire::Operation, dialect: Dialect::Polytty },
    Pair { name: "channel → operation", wire: Wire::Channel, dialect: Dialect::Operation },
    Pair { name: "operation → operation", wire: Wire::Operation, dialect: Dialect::Operation },
];

/// Everything that runs.
pub(crate) struct Bench {
    home: TempDir,
    me: PathBuf,
    source: Source,
    tls: TlsConnector,
    against: Vec<Which>,
    rounds: usize,
    quick: bool,
}

impl Bench {
    pub(crate) fn new(options: &Options) -> io::Result<Self> {
        let home = tempfile::tempdir()?;
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).map_err(io::Error::other)?;
        let (chain, key) = (cert.pem(), signing_key.serialize_pem());
        std::fs::write(home.path().join("cert.pem"), &chain)?;
        std::fs::write(home.path().join("key.pem"), &key)?;
        std::fs::write(home.path().join("both.pem"), chain + &key)?;
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let me = std::env::current_exe()?;
        let source = Source::start(&me, home.path(), OTHERS)?;
        Ok(Self {
            home,
            me,
            source,
            tls: TlsConnector::from(Arc::new(config)),
            against: options.against.clone(),
            rounds: options.rounds,
            quick: options.quick,
        })
    }

    pub(crate) async fn run(&mut self, scenario: Scenario, report: &mut Report) -> io::Result<()> {
        report.section(scenario.name());
        match scenario {
            Scenario::Output => self.output(report).await,
            Scenario::Paste => self.paste(report).await,
            Scenario::Keys => self.keys(report).await,
            Scenario::Beside => self.beside(report).await,
            Scenario::Idle => self.idle(report).await,
            Scenario::Setup => self.setup(report).await,
        }
    }

    fn proxies(&self) -> Vec<Which> {
        [Which::Polytty].into_iter().chain(self.against.iter().copied()).collect()
    }

    fn start(&self, which: Which, scrollback: &str) -> io::Result<Proxy> {
        Proxy::start(which, self.home.path(), &self.source.address, self.tls.clone(), PROXIES, scrollback)
    }

    fn generator(&self) -> io::Result<Generator> {
        Generator::start(&self.me, self.home.path(), &self.home.path().join("cert.pem"), OTHERS)
    }

    /// Output of a corpus in messages of a size: processor seconds for a gigabyte of terminal bytes.
    async fn output(&self, report: &mut Report) -> io::Result<()> {
        let proxies =
            self.proxies().into_iter().map(|which| self.start(which, "256KiB")).collect::<io::Result<Vec<_>>>()?;
        let sizes: &[usize] = if self.quick { &[64, 4096] } else { &[64, 1024, 4096, 16_384] };
        let corpora: &[Corpus] = if self.quick { &[Corpus::Ls, Corpus::Yes] } else { &Corpus::ALL };
        for pair in &PAIRS {
            for &corpus in corpora {
                let is_text = pair.wire == Wire::Operation || pair.dialect == Dialect::Operation;
                if corpus == Corpus::Random && is_text {
                    continue;
                }
                for &size in sizes {
                    let name = format!("{}, {}, {size} B", pair.name, corpus.name());
                    let mib = match (self.quick, size) {
                        (true, 64) => 16,
                        (true, _) => 64,
                        (false, 64) => 32,
                        (false, _) => 128,
                    };
                    let mut measure = Measure::new(&name, "CPU s/GB", Better::Less);
                    for _ in 0..self.rounds {
                        for proxy in &proxies {
                            let cost = self.bulk(proxy, pair, corpus, size, mib).await?;
                            measure.add(proxy.which, cost);
                        }
                    }
                    report.add(measure);
                }
            }
        }
        Ok(())
    }

    async fn bulk(
        &self,
        proxy: &Proxy,
        pair: &Pair,
        corpus: Corpus,
        size: usize,
        mib: usize,
    ) -> io::Result<Option<f64>> {
        let mut generator = self.generator()?;
        let url = proxy.url(pair.wire, &format!("bulk.{}.{size}.{mib}", corpus.name())).await?;
        generator.order(&Order::Open { url, dialect: proxy.dialect(pair.wire, pair.dialect) })?;
        let (before, steal) = (cpu(proxy.process.id()), stolen());
        let done = generator.order(&Order::Bulk { session: 0, corpus: corpus.name().to_owned(), mib })?;
        let used = cpu(proxy.process.id()) - before;
        generator.order(&Order::Leave)?;
        Ok(is_quiet(steal).then_some(used / (done.bytes as f64 / 1e9)))
    }

    /// Input: processor seconds for a gigabyte.
    async fn paste(&self, report: &mut Report) -> io::Result<()> {
        let proxies =
            self.proxies().into_iter().map(|which| self.start(which, "256KiB")).collect::<io::Result<Vec<_>>>()?;
        let mib = if self.quick { 8 } else { 32 };
        for pair in &PAIRS {
            let mut measure = Measure::new(&format!("{}, 16 KiB", pair.name), "CPU s/GB", Better::Less);
            for _ in 0..self.rounds {
                for proxy in &proxies {
                    let mut generator = self.generator()?;
                    let url = proxy.url(pair.wire, &format!("sink.{mib}")).await?;
                    generator.order(&Order::Open { url, dialect: proxy.dialect(pair.wire, pair.dialect) })?;
                    let (before, steal) = (cpu(proxy.process.id()), stolen());
                    let done = generator.order(&Order::Paste { session: 0, mib })?;
                    let used = cpu(proxy.process.id()) - before;
                    generator.order(&Order::Leave)?;
                    measure.add(proxy.which, is_quiet(steal).then_some(used / (done.bytes as f64 / 1e9)));
                }
            }
            report.add(measure);
        }
        Ok(())
    }

    /// A key and its echo, alone and among many idle sessions.
    async fn keys(&self, report: &mut Report) -> io::Result<()> {
        let proxies =
            self.proxies().into_iter().map(|which| self.start(which, "256KiB")).collect::<io::Result<Vec<_>>>()?;
        let count = if self.quick { 2_000 } else { 10_000 };
        for pair in &PAIRS[..2] {
            for windows in [1, 8, 200] {
                let name = |what: &str| format!("{}, {windows} windows, {what}", pair.name);
                let mut measures = [
                    Measure::new(&name("cost"), "CPU µs/key", Better::Less),
                    Measure::new(&name("median"), "µs", Better::Less),
                    Measure::new(&name("99 %"), "µs", Better::Less),
                ];
                for _ in 0..self.rounds {
                    for proxy in &proxies {
                        let mut generator = self.generator()?;
                        for _ in 0..windows {
                            let url = proxy.url(pair.wire, "echo").await?;
                            generator.order(&Order::Open { url, dialect: proxy.dialect(pair.wire, pair.dialect) })?;
                        }
                        let sessions: Vec<usize> = (0..windows).collect();
                        generator.order(&Order::Keys { sessions: sessions.clone(), count: windows * 2 })?;
                        let (before, steal) = (cpu(proxy.process.id()), stolen());
                        let done = generator.order(&Order::Keys { sessions, count })?;
                        let used = cpu(proxy.process.id()) - before;
                        generator.order(&Order::Leave)?;
                        let quiet = is_quiet(steal);
                        let values = [used / count as f64 * 1e6, at(&done.latencies, 0.5), at(&done.latencies, 0.99)];
                        for (measure, value) in measures.iter_mut().zip(values) {
                            measure.add(proxy.which, quiet.then_some(value));
                        }
                    }
                }
                measures.into_iter().for_each(|measure| report.add(measure));
            }
        }
        Ok(())
    }

    /// A key and its echo while another session floods.
    async fn beside(&self, report: &mut Report) -> io::Result<()> {
        let proxies =
            self.proxies().into_iter().map(|which| self.start(which, "256KiB")).collect::<io::Result<Vec<_>>>()?;
        let mib = if self.quick { 128 } else { 512 };
        let pair = &PAIRS[0];
        let mut measures = [
            Measure::new("median beside a flood", "µs", Better::Less),
            Measure::new("99 % beside a flood", "µs", Better::Less),
        ];
        for _ in 0..self.rounds {
            for proxy in &proxies {
                let mut generator = self.generator()?;
                let dialect = proxy.dialect(pair.wire, pair.dialect);
                let corpus = Corpus::Ls.name().to_owned();
                for what in ["echo".to_owned(), format!("bulk.{corpus}.4096.{mib}")] {
                    let url = proxy.url(pair.wire, &what).await?;
                    generator.order(&Order::Open { url, dialect })?;
                }
                let steal = stolen();
                let done = generator.order(&Order::KeysBeside { session: 0, flood: 1, corpus, mib })?;
                generator.order(&Order::Leave)?;
                let quiet = is_quiet(steal);
                measures[0].add(proxy.which, quiet.then_some(at(&done.latencies, 0.5)));
                measures[1].add(proxy.which, quiet.then_some(at(&done.latencies, 0.99)));
            }
        }
        measures.into_iter().for_each(|measure| report.add(measure));
        Ok(())
    }

    /// Memory of a session at rest: after a key, and after a burst.
    async fn idle(&self, report: &mut Report) -> io::Result<()> {
        const BURST: usize = 256 << 10;
        let sessions = if self.quick { 200 } else { 1_000 };
        for (pair, scrollback) in [(&PAIRS[0], "0KiB"), (&PAIRS[1], "0KiB"), (&PAIRS[0], "256KiB")] {
            let name = |what: &str| format!("{}, scrollback {scrollback}, {what}", pair.name);
            let mut measures = [
                Measure::new(&name("after a key"), "KiB/session", Better::Less),
                Measure::new(&name("after 256 KiB"), "KiB/session", Better::Less),
            ];
            for which in self.proxies() {
                if which != Which::Polytty && scrollback != "0KiB" {
                    continue;
                }
                let proxy = self.start(which, scrollback)?;
                let mut generator = self.generator()?;
                let dialect = proxy.dialect(pair.wire, pair.dialect);
                let open = async |proxy: &Proxy, generator: &mut Generator, count: usize, what: &str| {
                    for _ in 0..count {
                        let url = proxy.url(pair.wire, what).await?;
                        generator.order(&Order::Open { url, dialect })?;
                    }
                    Ok::<_, io::Error>(())
                };
                // What is made once is not counted.
                open(&proxy, &mut generator, 20, "echo").await?;
                generator.order(&Order::Keys { sessions: (0..20).collect(), count: 40 })?;
                let first = resident(proxy.process.id());
                open(&proxy, &mut generator, sessions, "echo").await?;
                generator.order(&Order::Keys { sessions: (20..20 + sessions).collect(), count: sessions })?;
                measures[0].add(which, Some((resident(proxy.process.id()) - first) / sessions as f64));
                generator.order(&Order::Leave)?;
                drop((generator, proxy));

                // A new one: memory that was given back lies about in the old one.
                let proxy = self.start(which, scrollback)?;
                let mut generator = self.generator()?;
                open(&proxy, &mut generator, 20, "burst").await?;
                generator.order(&Order::Drain { sessions: (0..20).collect(), bytes: BURST })?;
                let first = resident(proxy.process.id());
                open(&proxy, &mut generator, sessions, "burst").await?;
                generator.order(&Order::Drain { sessions: (20..20 + sessions).collect(), bytes: BURST })?;
                let after = resident(proxy.process.id());
                measures[1].add(which, Some((after - first) / sessions as f64));
                generator.order(&Order::Leave)?;
            }
            measures.into_iter().for_each(|measure| report.add(measure));
        }
        Ok(())
    }

    /// A whole session: handshake, upgrade, open, first byte, end. Minting is not counted.
    async fn setup(&self, report: &mut Report) -> io::Result<()> {
        let proxies =
            self.proxies().into_iter().map(|which| self.start(which, "256KiB")).collect::<io::Result<Vec<_>>>()?;
        let count = if self.quick { 200 } else { 1_000 };
        let pair = &PAIRS[0];
        let mut measure = Measure::new("from the handshake to the end, minting apart", "CPU µs/session", Better::Less);
        for _ in 0..self.rounds {
            for proxy in &proxies {
                let mut urls = Vec::new();
                for _ in 0..count {
                    urls.push(proxy.url(pair.wire, "echo").await?);
                }
                let mut generator = self.generator()?;
                let (before, steal) = (cpu(proxy.process.id()), stolen());
                for url in urls {
                    generator.order(&Order::Open { url, dialect: proxy.dialect(pair.wire, pair.dialect) })?;
                    generator.order(&Order::Keys { sessions: vec![0], count: 1 })?;
                    generator.order(&Order::Leave)?;
                }
                let used = cpu(proxy.process.id()) - before;
                measure.add(proxy.which, is_quiet(steal).then_some(used / count as f64 * 1e6));
            }
        }
        report.add(measure);
        Ok(())
    }
}

fn is_quiet((stolen_before, all_before): (u64, u64)) -> bool {
    let (stolen, all) = stolen();
    let (stolen, all) = (stolen - stolen_before, all - all_before);
    all == 0 || stolen as f64 / all as f64 <= MOST_STOLEN
}

fn at(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}
