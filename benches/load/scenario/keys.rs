//! How long a key takes to be seen.

use std::io;

use polytty_workload::Corpus;

use super::{Bench, Latencies, PAIRS, PLAIN, Scenario, Shares, Used, counted};
use crate::generator::{Done, Order};
use crate::proxy::{Pair, Proxy, Setting, Which};
use crate::report::{Better, Measure, Report};

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
                let mut cost = Measure::new(&format!("{title}, cost"), "CPU µs/key", Better::Less);
                let mut latencies = Latencies::new(&format!("{title}, "));
                progress.now(&title);
                for _ in 0..self.rounds {
                    for proxy in &proxies {
                        let (used, done) = counted(async || self.typed(proxy, pair, windows, count).await).await?;
                        let name = proxy.which.name();
                        if proxy.which != Which::Direct {
                            cost.add(name, used.as_ref().map(|used| used.proxy / count as f64 * 1e6));
                        }
                        used.iter().for_each(|used| shares.add(proxy, used, &done));
                        latencies.add(name, used.map(|_| done.latencies));
                        progress.step();
                    }
                }
                report.add(cost);
                latencies.tell(report, &title);
            }
        }
        shares.tell(report);
        Ok(())
    }

    /// So many keys in so many sessions in turn, which have seen a few before.
    async fn typed(
        &self,
        proxy: &Proxy,
        pair: &Pair,
        windows: usize,
        count: usize,
    ) -> io::Result<(Option<Used>, Done)> {
        let mut generator = self.generator()?;
        self.open(proxy, &mut generator, pair, "echo", windows).await?;
        let sessions: Vec<usize> = (0..windows).collect();
        generator.order(&Order::Keys { sessions: sessions.clone(), count: windows * 2, pause_ms: 0 })?;
        let meter = self.meter(proxy);
        let done = generator.order(&Order::Keys { sessions, count, pause_ms: 0 })?;
        let used = meter.stop(self, proxy);
        generator.order(&Order::Leave)?;
        Ok((used, done))
    }

    /// A key and its echo while another session floods.
    pub(super) async fn beside(&self, report: &mut Report) -> io::Result<()> {
        let proxies = self.start_all(Setting::default(), true)?;
        let mib = if self.quick { 128 } else { 512 };
        let progress = self.progress(Scenario::Beside, self.rounds * proxies.len());
        let mut latencies = Latencies::new("");
        let mut shares = Shares::default();
        for _ in 0..self.rounds {
            for proxy in &proxies {
                let (used, done) = counted(async || self.typed_beside(proxy, mib).await).await?;
                used.iter().for_each(|used| shares.add(proxy, used, &done));
                latencies.add(proxy.which.name(), used.map(|_| done.latencies));
                progress.step();
            }
        }
        latencies.tell(report, "a key beside a flood");
        shares.tell(report);
        Ok(())
    }

    async fn typed_beside(&self, proxy: &Proxy, mib: usize) -> io::Result<(Option<Used>, Done)> {
        let mut generator = self.generator()?;
        let corpus = Corpus::Ls.name().to_owned();
        self.open(proxy, &mut generator, &PLAIN, "echo", 1).await?;
        self.open(proxy, &mut generator, &PLAIN, &format!("bulk.{corpus}.4096.{mib}"), 1).await?;
        let meter = self.meter(proxy);
        let done = generator.order(&Order::KeysBeside { session: 0, flood: 1, corpus, mib })?;
        let used = meter.stop(self, proxy);
        generator.order(&Order::Leave)?;
        Ok((used, done))
    }
}
