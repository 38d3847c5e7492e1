//! How much one session carries, in both directions.

use std::io;

use polytty_workload::Corpus;

use super::{Bench, PAIRS, Scenario, Shares, Used, counted};
use crate::generator::{Dialect, Done, Order};
use crate::proxy::{Pair, Proxy, Setting, Which};
use crate::report::{Better, Curve, Measure, Over, Report};

/// What is sent of a corpus: in messages of this size, so much.
#[derive(Clone, Copy)]
struct Load {
    corpus: Corpus,
    size: usize,
    mib: usize,
}

impl Bench {
    /// Output of a corpus in messages of a size: processor seconds for a gigabyte of terminal bytes, and bytes a second.
    pub(super) async fn output(&self, report: &mut Report) -> io::Result<()> {
        let proxies = self.start_all(Setting::default(), true)?;
        let loads = self.loads();
        let progress = self.progress(Scenario::Output, loads.len() * self.rounds * proxies.len());
        let (mut shares, mut curves, mut speeds) = (Shares::default(), Vec::new(), Vec::new());
        let mut summary =
            Measure::new("by wire and dialect, messages of 4 KiB, over all kinds of output", "CPU s/GB", Better::Less);
        for (pair, load) in &loads {
            let name = format!("{}, {}, {} B", pair.name, load.corpus.name(), load.size);
            progress.now(&name);
            let mut cost = Measure::new(&name, "CPU s/GB", Better::Less);
            let mut speed = Measure::new(&format!("{name}, speed"), "MB/s", Better::More);
            for _ in 0..self.rounds {
                for proxy in &proxies {
                    let (used, done) = self.bulk(proxy, pair, *load).await?;
                    add(&mut cost, &mut speed, proxy, used.as_ref(), &done);
                    used.iter().for_each(|used| shares.add(proxy, used, &done));
                    progress.step();
                }
            }
            let curve = curve_of(&mut curves, load.corpus);
            for (name, line) in [("polytty", pair.name), ("haproxy", "haproxy")] {
                // The others carry the bytes of this one with nothing around them.
                let is_told = name == "polytty" || pair.name == PAIRS[0].name;
                let Some(cost) = cost.spread(name).filter(|_| is_told) else { continue };
                curve.add(line, load.size as f64, cost.median);
                if load.size == 4096 {
                    summary.add_alone(line, Some(cost.median));
                }
            }
            report.add(cost);
            speeds.push(speed);
        }
        speeds.into_iter().for_each(|measure| report.add(measure));
        shares.tell(report);
        report.summary(summary);
        curves.into_iter().for_each(|(_, curve)| report.curve(curve));
        Ok(())
    }

    /// Everything that is carried, over each way.
    fn loads(&self) -> Vec<(Pair, Load)> {
        let mut loads = Vec::new();
        for pair in &PAIRS {
            for &corpus in &self.corpora {
                for &size in &self.sizes {
                    let is_text = pair.wire.is_text() || pair.dialect == Dialect::Operation;
                    // In a hurry, the densest corpus is not cut into short messages, too.
                    let is_left_out = self.quick && size == 64 && corpus == Corpus::Yes && self.corpora.len() > 1;
                    if !(is_left_out || (corpus == Corpus::Random && is_text)) {
                        loads.push((*pair, Load { corpus, size, mib: self.mib(size) }));
                    }
                }
            }
        }
        loads
    }

    /// Enough to be measured.
    fn mib(&self, size: usize) -> usize {
        match (self.quick, size) {
            (true, ..256) => 8,
            (true, _) => 32,
            (false, ..256) => 32,
            (false, _) => 128,
        }
    }

    async fn bulk(&self, proxy: &Proxy, pair: &Pair, load: Load) -> io::Result<(Option<Used>, Done)> {
        let Load { corpus, size, mib } = load;
        let what = format!("bulk.{}.{size}.{mib}", corpus.name());
        let order = Order::Bulk { session: 0, corpus: corpus.name().to_owned(), mib, is_pressed: false };
        self.carry(proxy, pair, &what, &order).await
    }

    /// Carries out an order in a session of its own.
    async fn carry(&self, proxy: &Proxy, pair: &Pair, what: &str, order: &Order) -> io::Result<(Option<Used>, Done)> {
        counted(async || {
            let mut generator = self.generator()?;
            self.open(proxy, &mut generator, pair, what, 1).await?;
            let meter = self.meter(proxy);
            let done = generator.order(order)?;
            let used = meter.stop(self, proxy);
            generator.order(&Order::Leave)?;
            Ok((used, done))
        })
        .await
    }

    /// Input: processor seconds for a gigabyte.
    pub(super) async fn paste(&self, report: &mut Report) -> io::Result<()> {
        let proxies = self.start_all(Setting::default(), true)?;
        let mib = if self.quick { 8 } else { 32 };
        let progress = self.progress(Scenario::Paste, PAIRS.len() * self.rounds * proxies.len());
        let mut shares = Shares::default();
        for pair in &PAIRS {
            let mut cost = Measure::new(pair.name, "CPU s/GB", Better::Less);
            let mut speed = Measure::new(&format!("{}, speed", pair.name), "MB/s", Better::More);
            progress.now(pair.name);
            for _ in 0..self.rounds {
                for proxy in &proxies {
                    let order = Order::Paste { session: 0, mib };
                    let (used, done) = self.carry(proxy, pair, &format!("sink.{mib}"), &order).await?;
                    add(&mut cost, &mut speed, proxy, used.as_ref(), &done);
                    used.iter().for_each(|used| shares.add(proxy, used, &done));
                    progress.step();
                }
            }
            report.add(cost);
            report.add(speed);
        }
        shares.tell(report);
        Ok(())
    }
}

/// Takes in what one round has shown.
fn add(cost: &mut Measure, speed: &mut Measure, proxy: &Proxy, used: Option<&Used>, done: &Done) {
    let (name, gigabytes) = (proxy.which.name(), done.bytes as f64 / 1e9);
    speed.add(name, used.map(|_| gigabytes * 1e3 / done.seconds));
    if proxy.which != Which::Direct {
        cost.add(name, used.map(|used| used.proxy / gigabytes));
    }
}

/// The curve of a corpus, made when it is first asked for.
fn curve_of(curves: &mut Vec<(Corpus, Curve)>, corpus: Corpus) -> &mut Curve {
    let at = curves.iter().position(|(known, _)| *known == corpus).unwrap_or_else(|| {
        curves.push((corpus, Curve::new(&format!("cost of {}", corpus.name()), "CPU s/GB", Over::Bytes)));
        curves.len() - 1
    });
    &mut curves[at].1
}
