//! How long a key takes to be seen.

use std::collections::BTreeMap;
use std::io;

use polytty_workload::Corpus;

use super::{Bench, PAIRS, PLAIN, Scenario, Shares};
use crate::generator::Order;
use crate::proxy::{Setting, Which};
use crate::report::{Better, Curve, Measure, Over, Report, at};

impl Bench {
    /// A key and its echo, alone and among many sessions.
    pub(super) async fn keys(&self, report: &mut Report) -> io::Result<()> {
        const WINDOWS: [usize; 3] = [1, 8, 200];
        let proxies = self.start_all(Setting::default(), true)?;
        let count = if self.quick { 1_000 } else { 10_000 };
        let progress = self.progress(Scenario::Keys, 2 * WINDOWS.len() * self.rounds * proxies.len());
        let mut shares = Shares::default();
        for pair in &PAIRS[..2] {
            for windows in WINDOWS {
                let title = format!("{}, {windows} sessions", pair.name);
                let name = |what: &str| format!("{title}, {what}");
                let mut cost = Measure::new(&name("cost"), "CPU µs/key", Better::Less);
                let mut median = Measure::new(&name("median"), "µs", Better::Less);
                let mut tail = Measure::new(&name("99 %"), "µs", Better::Less);
                let mut all: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
                progress.now(&title);
                for _ in 0..self.rounds {
                    for proxy in &proxies {
                        let mut generator = self.generator()?;
                        self.open(proxy, &mut generator, pair, "echo", windows).await?;
                        let sessions: Vec<usize> = (0..windows).collect();
                        generator.order(&Order::Keys {
                            sessions: sessions.clone(),
                            count: windows * 2,
                            pause_ms: 0,
                        })?;
                        let meter = self.meter(proxy);
                        let done = generator.order(&Order::Keys { sessions, count, pause_ms: 0 })?;
                        let used = meter.stop(self, proxy);
                        generator.order(&Order::Leave)?;
                        let name = proxy.which.name();
                        if proxy.which != Which::Direct {
                            cost.add(name, used.as_ref().map(|used| used.proxy / count as f64 * 1e6));
                        }
                        median.add(name, used.as_ref().map(|_| at(&done.latencies, 0.5)));
                        tail.add(name, used.as_ref().map(|_| at(&done.latencies, 0.99)));
                        if let Some(used) = used {
                            shares.add(proxy, &used, &done);
                            all.entry(name).or_default().extend(done.latencies);
                        }
                        progress.step();
                    }
                }
                [cost, median, tail].into_iter().for_each(|measure| report.add(measure));
                report.curve(distribution(&title, all));
            }
        }
        shares.tell(report);
        Ok(())
    }

    /// A key and its echo while another session floods.
    pub(super) async fn beside(&self, report: &mut Report) -> io::Result<()> {
        let proxies = self.start_all(Setting::default(), true)?;
        let mib = if self.quick { 128 } else { 512 };
        let progress = self.progress(Scenario::Beside, self.rounds * proxies.len());
        let mut median = Measure::new("median", "µs", Better::Less);
        let mut tail = Measure::new("99 %", "µs", Better::Less);
        let mut all: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let mut shares = Shares::default();
        for _ in 0..self.rounds {
            for proxy in &proxies {
                let mut generator = self.generator()?;
                let corpus = Corpus::Ls.name().to_owned();
                self.open(proxy, &mut generator, &PLAIN, "echo", 1).await?;
                self.open(proxy, &mut generator, &PLAIN, &format!("bulk.{corpus}.4096.{mib}"), 1).await?;
                let meter = self.meter(proxy);
                let done = generator.order(&Order::KeysBeside { session: 0, flood: 1, corpus, mib })?;
                let used = meter.stop(self, proxy);
                generator.order(&Order::Leave)?;
                let name = proxy.which.name();
                median.add(name, used.as_ref().map(|_| at(&done.latencies, 0.5)));
                tail.add(name, used.as_ref().map(|_| at(&done.latencies, 0.99)));
                if let Some(used) = used {
                    shares.add(proxy, &used, &done);
                    all.entry(name).or_default().extend(done.latencies);
                }
                progress.step();
            }
        }
        [median, tail].into_iter().for_each(|measure| report.add(measure));
        report.curve(distribution("a key beside a flood", all));
        shares.tell(report);
        Ok(())
    }
}

/// A line for each proxy, of the keys of all its rounds.
pub(super) fn distribution(name: &str, all: BTreeMap<&str, Vec<f64>>) -> Curve {
    let mut curve = Curve::new(name, "µs", Over::Share);
    for which in ["polytty", "haproxy", "nginx", "direct"] {
        if let Some(latencies) = all.get(which) {
            curve.add_distribution(which, latencies.clone());
        }
    }
    curve
}
