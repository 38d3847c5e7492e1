//! How much one session carries, in both directions.

use std::io;

use polytty_workload::Corpus;

use super::{Bench, PAIRS, Scenario, Shares, TRIES, Used};
use crate::generator::{Done, Order};
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
        let sizes: &[usize] = if self.quick { &[64, 4096] } else { &[64, 1024, 4096, 16_384] };
        let corpora: &[Corpus] = if self.quick { &[Corpus::Ls, Corpus::Yes] } else { &Corpus::ALL };
        let progress =
            self.progress(Scenario::Output, PAIRS.len() * corpora.len() * sizes.len() * self.rounds * proxies.len());
        let mut shares = Shares::default();
        let mut costs: Vec<Curve> = corpora
            .iter()
            .map(|corpus| Curve::new(&format!("cost of {}", corpus.name()), "CPU s/GB", Over::Bytes))
            .collect();
        let mut fastest = Vec::new();
        for pair in &PAIRS {
            for (corpus, curve) in corpora.iter().zip(&mut costs) {
                for &size in sizes {
                    let load = Load { corpus: *corpus, size, mib: self.mib(size) };
                    let is_text = pair.wire.is_text() || pair.dialect == crate::generator::Dialect::Operation;
                    if *corpus == Corpus::Random && is_text {
                        progress.step();
                        continue;
                    }
                    let name = format!("{}, {}, {size} B", pair.name, corpus.name());
                    progress.now(&name);
                    let mut cost = Measure::new(&name, "CPU s/GB", Better::Less);
                    let mut speed = Measure::new(&format!("{name}, speed"), "MB/s", Better::More);
                    for _ in 0..self.rounds {
                        for proxy in &proxies {
                            let (used, done) = self.bulk(proxy, pair, load).await?;
                            let (name, gigabytes) = (proxy.which.name(), done.bytes as f64 / 1e9);
                            speed.add(name, used.as_ref().map(|_| gigabytes * 1e3 / done.seconds));
                            if proxy.which != Which::Direct {
                                cost.add(name, used.as_ref().map(|used| used.proxy / gigabytes));
                            }
                            used.iter().for_each(|used| shares.add(proxy, used, &done));
                            progress.step();
                        }
                    }
                    cost.spread("polytty").iter().for_each(|cost| curve.add(pair.name, size as f64, cost.median));
                    if pair.name == PAIRS[0].name {
                        cost.spread("haproxy").iter().for_each(|cost| curve.add("haproxy", size as f64, cost.median));
                    }
                    report.add(cost);
                    fastest.push(speed);
                }
            }
        }
        fastest.into_iter().for_each(|measure| report.add(measure));
        shares.tell(report);
        costs.into_iter().for_each(|curve| report.curve(curve));
        Ok(())
    }

    /// Enough to be measured.
    fn mib(&self, size: usize) -> usize {
        match (self.quick, size) {
            (true, 64) => 8,
            (true, _) => 48,
            (false, 64) => 32,
            (false, _) => 128,
        }
    }

    async fn bulk(&self, proxy: &Proxy, pair: &Pair, load: Load) -> io::Result<(Option<Used>, Done)> {
        let Load { corpus, size, mib } = load;
        let what = format!("bulk.{}.{size}.{mib}", corpus.name());
        let order = Order::Bulk { session: 0, corpus: corpus.name().to_owned(), mib, is_pressed: false };
        self.carry(proxy, pair, &what, &order).await
    }

    /// Carries out an order in a session of its own; again, where that tells nothing.
    async fn carry(&self, proxy: &Proxy, pair: &Pair, what: &str, order: &Order) -> io::Result<(Option<Used>, Done)> {
        let mut tries = 0;
        loop {
            let mut generator = self.generator()?;
            self.open(proxy, &mut generator, pair, what, 1).await?;
            let meter = self.meter(proxy);
            let done = generator.order(order)?;
            let used = meter.stop(self, proxy);
            generator.order(&Order::Leave)?;
            tries += 1;
            if used.is_some() || tries == TRIES {
                return Ok((used, done));
            }
        }
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
                    let (name, gigabytes) = (proxy.which.name(), done.bytes as f64 / 1e9);
                    speed.add(name, used.as_ref().map(|_| gigabytes * 1e3 / done.seconds));
                    if proxy.which != Which::Direct {
                        cost.add(name, used.as_ref().map(|used| used.proxy / gigabytes));
                    }
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
