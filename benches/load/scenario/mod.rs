//! What is measured.

mod crowd;
mod keys;
mod memory;
mod mixed;
mod output;
mod scale;
mod setup;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use polytty_workload::Corpus;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs;
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

use super::generator::{Dialect, Done, Order, connector, roots};
use super::options::Options;
use super::process::{Generator, Source, cpu, stolen};
use super::progress::Progress;
use super::proxy::{PROCESSOR, Pair, Proxy, Setting, Which};
use super::report::{Better, Curve, Measure, Over, Report, at};
use super::wire::{STDOUT, Wire};

/// Source and generator share this processor, unless the proxies are on it, too.
const OTHERS: usize = 1;

/// A round tells nothing when so much of the processors' time was somebody else's.
const MOST_STOLEN: f64 = 0.05;

/// How often something is done at the most until it tells something.
const TRIES: usize = 3;

/// Links that are minted and sessions that are opened at once.
const AT_ONCE: usize = 32;

/// Descriptors that a proxy needs besides two a session.
const SPARE_DESCRIPTORS: u64 = 200;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    Output,
    Paste,
    Keys,
    Beside,
    Idle,
    Setup,
    Scale,
    Stalled,
    Oblien,
    Mixed,
}

impl Scenario {
    pub(crate) const ALL: [Self; 10] = [
        Self::Output,
        Self::Paste,
        Self::Keys,
        Self::Beside,
        Self::Idle,
        Self::Setup,
        Self::Scale,
        Self::Stalled,
        Self::Oblien,
        Self::Mixed,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Paste => "paste",
            Self::Keys => "keys",
            Self::Beside => "beside",
            Self::Idle => "idle",
            Self::Setup => "setup",
            Self::Scale => "scale",
            Self::Stalled => "stalled",
            Self::Oblien => "oblien",
            Self::Mixed => "mixed",
        }
    }

    /// One sentence for the report.
    fn about(self) -> &'static str {
        match self {
            Self::Output => {
                "Output of one session, by what it says and by the length of the provider's messages, every byte compared."
            }
            Self::Paste => "Input of one session in messages of 16 KiB, as fast as it is taken.",
            Self::Keys => "A key and its echo, one after the other, in each of so many sessions in turn.",
            Self::Beside => "A key and its echo in one session, every two milliseconds, while another session floods.",
            Self::Idle => "Resident memory of a session at rest: opened, after a key, and after a burst of 256 KiB.",
            Self::Setup => {
                "Whole sessions, one after the other: handshake, upgrade, open, a key and its echo, end. Minting is apart."
            }
            Self::Scale => "Cost of a key, of a byte and of a session as sessions grow, in the same process.",
            Self::Stalled => "Clients that stop reading while their terminals flood, and a bystander who types.",
            Self::Oblien => {
                "Ten terminals of a workspace over its one connection, each asking for 128 KiB when it has the last; \
                             others carry them over ten."
            }
            Self::Mixed => {
                "A mixed day: most sessions idle, some typed in, some that list files, one that floods, and some \
                            that come and go."
            }
        }
    }
}

/// Ways through the dialects.
const PAIRS: [Pair; 8] = [
    Pair { name: "channel → binary", wire: STDOUT, dialect: Dialect::Polytty },
    Pair { name: "operation → binary", wire: Wire::Operation, dialect: Dialect::Polytty },
    Pair { name: "dockhand → binary", wire: Wire::Dockhand, dialect: Dialect::Polytty },
    OBLIEN,
    Pair { name: "decthings → binary", wire: Wire::Decthings(0), dialect: Dialect::Polytty },
    Pair { name: "channel → operation", wire: STDOUT, dialect: Dialect::Operation },
    Pair { name: "operation → operation", wire: Wire::Operation, dialect: Dialect::Operation },
    Pair { name: "dockhand → operation", wire: Wire::Dockhand, dialect: Dialect::Operation },
];

/// A terminal that may share its connection with others.
const OBLIEN: Pair = Pair { name: "oblien → binary", wire: Wire::Channel(0), dialect: Dialect::Polytty };

/// The one that the others are least unlike.
const PLAIN: Pair = PAIRS[0];

/// Everything that runs.
pub(crate) struct Bench {
    home: TempDir,
    me: PathBuf,
    source: Source,
    tls: TlsConnector,
    /// polytty first.
    proxies: Vec<Which>,
    /// The processor of source and generator.
    others: usize,
    rounds: usize,
    quick: bool,
    corpora: Vec<Corpus>,
    sizes: Vec<usize>,
    /// What every process can hold, of those that hold one descriptor a session and of those that hold two.
    most_sessions: usize,
}

impl Bench {
    pub(crate) fn new(options: &Options, proxies: Vec<Which>, descriptors: u64) -> io::Result<Self> {
        let others = if options.one_processor { PROCESSOR } else { OTHERS };
        if std::thread::available_parallelism()?.get() <= others {
            let words = "the proxies need a processor, and source and generator another; --one-processor does with one";
            return Err(io::Error::other(words));
        }
        let home = tempfile::tempdir()?;
        // nginx looks for no address in a certificate.
        let names = ["127.0.0.1", "localhost"].map(str::to_owned);
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).map_err(io::Error::other)?;
        let (chain, key) = (cert.pem(), signing_key.serialize_pem());
        let ca = home.path().join("cert.pem");
        std::fs::write(&ca, &chain)?;
        std::fs::write(home.path().join("key.pem"), &key)?;
        std::fs::write(home.path().join("both.pem"), chain + &key)?;
        let me = std::env::current_exe()?;
        let source = Source::start(&me, home.path(), others)?;
        Ok(Self {
            tls: connector(aws_lc_rs::default_provider(), &roots(&ca.display().to_string())?)?,
            home,
            me,
            source,
            proxies,
            others,
            rounds: options.rounds(),
            quick: options.quick,
            corpora: options.corpora(),
            sizes: options.sizes(),
            most_sessions: (descriptors.saturating_sub(SPARE_DESCRIPTORS) / 2) as usize,
        })
    }

    pub(crate) async fn run(&self, scenario: Scenario, report: &mut Report) -> io::Result<()> {
        report.section(scenario.name(), scenario.about());
        match scenario {
            Scenario::Output => self.output(report).await,
            Scenario::Paste => self.paste(report).await,
            Scenario::Keys => self.keys(report).await,
            Scenario::Beside => self.beside(report).await,
            Scenario::Idle => self.idle(report).await,
            Scenario::Setup => self.setup(report).await,
            Scenario::Scale => self.scale(report).await,
            Scenario::Stalled => self.stalled(report).await,
            Scenario::Oblien => self.oblien(report).await,
            Scenario::Mixed => self.mixed(report).await,
        }
    }

    fn start(&self, which: Which, setting: Setting) -> io::Result<Proxy> {
        Proxy::start(which, self.home.path(), &self.source, self.tls.clone(), setting)
    }

    /// All of them, and none: the way past them.
    fn start_all(&self, setting: Setting, and_direct: bool) -> io::Result<Vec<Proxy>> {
        let direct = and_direct.then_some(Which::Direct);
        self.proxies.iter().copied().chain(direct).map(|which| self.start(which, setting)).collect()
    }

    fn generator(&self) -> io::Result<Generator> {
        let ca = self.home.path().join("cert.pem");
        Generator::start(&self.me, self.home.path(), &ca.display().to_string(), self.others)
    }

    fn progress(&self, scenario: Scenario, steps: usize) -> Progress {
        Progress::begin(scenario.name(), steps)
    }

    /// Opens so many sessions that ask for this: microseconds that each took.
    async fn open(
        &self,
        proxy: &Proxy,
        generator: &mut Generator,
        pair: &Pair,
        what: &str,
        count: usize,
    ) -> io::Result<Vec<f64>> {
        let mut latencies = Vec::with_capacity(count);
        while latencies.len() < count {
            let mut doors = Vec::new();
            for _ in 0..AT_ONCE.min(count - latencies.len()) {
                doors.push(proxy.door(pair, what).await?);
            }
            latencies.extend(generator.order(&Order::Open { doors })?.latencies);
        }
        Ok(latencies)
    }

    fn meter(&self, proxy: &Proxy) -> Meter {
        Meter { proxy: proxy.cpu(), source: cpu(self.source.process.id()), steal: stolen(), started: Instant::now() }
    }
}

/// What was used before something began.
struct Meter {
    proxy: f64,
    source: f64,
    steal: (u64, u64),
    started: Instant,
}

/// Processor seconds that were used meanwhile.
struct Used {
    proxy: f64,
    source: f64,
    seconds: f64,
}

impl Meter {
    /// What was used since; `None` if the round tells nothing.
    fn stop(self, bench: &Bench, proxy: &Proxy) -> Option<Used> {
        let (stolen, all) = stolen();
        let (stolen, all) = (stolen - self.steal.0, all - self.steal.1);
        let is_quiet = all == 0 || stolen as f64 / all as f64 <= MOST_STOLEN;
        is_quiet.then(|| Used {
            proxy: proxy.cpu() - self.proxy,
            source: cpu(bench.source.process.id()) - self.source,
            seconds: self.started.elapsed().as_secs_f64(),
        })
    }
}

/// How busy the processes are, so that it is seen who waits for whom: the proxy has a processor to itself, source and
/// generator share one.
#[derive(Default)]
struct Shares(BTreeMap<&'static str, [Vec<f64>; 3]>);

impl Shares {
    fn add(&mut self, proxy: &Proxy, used: &Used, done: &Done) {
        let all = self.0.entry(proxy.which.name()).or_default();
        for (values, seconds) in all.iter_mut().zip([used.proxy, used.source, done.cpu]) {
            values.push(seconds / used.seconds * 100.0);
        }
    }

    /// A measure for each proxy.
    fn tell(self, report: &mut Report) {
        for (name, all) in self.0 {
            let mut measure = Measure::new(&format!("busy under {name}"), "% of a CPU", Better::Less);
            for (of, values) in ["the proxy", "the source", "the generator"].into_iter().zip(all) {
                for value in values {
                    measure.add_alone(of, Some(value));
                }
            }
            report.add(measure);
        }
    }
}

/// Does something, and again where that tells nothing.
async fn counted<T>(mut round: impl AsyncFnMut() -> io::Result<(Option<Used>, T)>) -> io::Result<(Option<Used>, T)> {
    let mut tries = 1;
    loop {
        let (used, done) = round().await?;
        if used.is_some() || tries == TRIES {
            return Ok((used, done));
        }
        tries += 1;
    }
}

/// How long keys took, from a client and back.
struct Latencies {
    median: Measure,
    tail: Measure,
    /// By whom, of all rounds that tell something.
    all: BTreeMap<&'static str, Vec<f64>>,
}

impl Latencies {
    /// Nothing yet of what this is called.
    fn new(of: &str) -> Self {
        let measure = |what: &str| Measure::new(&format!("{of}{what}"), "µs", Better::Less);
        Self { median: measure("median"), tail: measure("99 %"), all: BTreeMap::new() }
    }

    /// Takes in a round, in ascending order; `None` if it tells nothing.
    fn add(&mut self, of: &'static str, sorted: Option<Vec<f64>>) {
        self.median.add(of, sorted.as_ref().map(|sorted| at(sorted, 0.5)));
        self.tail.add(of, sorted.as_ref().map(|sorted| at(sorted, 0.99)));
        self.all.entry(of).or_default().extend(sorted.into_iter().flatten());
    }

    fn tell(self, report: &mut Report, title: &str) {
        [self.median, self.tail].into_iter().for_each(|measure| report.add(measure));
        report.curve(distribution(title, self.all));
    }
}

/// A line for each proxy, of what all its rounds have shown.
fn distribution(name: &str, all: BTreeMap<&'static str, Vec<f64>>) -> Curve {
    let mut curve = Curve::new(name, "µs", Over::Share);
    for which in ["polytty", "haproxy", "nginx", "direct"] {
        if let Some(latencies) = all.get(which).filter(|latencies| !latencies.is_empty()) {
            curve.add_distribution(which, latencies.clone());
        }
    }
    curve
}

/// Waits until a proxy has nothing to do.
async fn until_settled(proxy: &Proxy) -> io::Result<()> {
    const LOOK: Duration = Duration::from_millis(100);
    let until = Instant::now() + Duration::from_secs(30);
    let mut before = proxy.cpu();
    while Instant::now() < until {
        tokio::time::sleep(LOOK).await;
        let now = proxy.cpu();
        if now - before < LOOK.as_secs_f64() / 100.0 {
            return Ok(());
        }
        before = now;
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("{} does not come to rest", proxy.which.name())))
}
