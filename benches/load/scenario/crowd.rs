//! Many at once: clients that do not read, and terminals that share a connection.

use std::io;

use polytty_workload::Corpus;

use super::{Bench, Latencies, OBLIEN, PLAIN, Scenario, Shares, Used, counted, until_settled};
use crate::generator::{Done, Order};
use crate::proxy::{Proxy, Setting, Which};
use crate::report::{Better, Measure, Report, at};

/// What each stalled client has asked for, in MiB: more than kernels hold.
const FLOOD: usize = 16;

/// How many of the stalled read on in the end, every byte compared.
const READ_ON: usize = 3;

/// A workspace's terminals.
const TERMINALS: usize = 10;

/// What a terminal is asked for at once, in KiB: less than may wait for a client whose connection is shared.
const ASKED: usize = 128;

/// What a round with stalled clients has shown.
struct Stalled {
    /// Of the bystander, in microseconds.
    latencies: Vec<f64>,
    /// KiB a stalled session.
    memory: f64,
    is_quiet: bool,
}

impl Bench {
    /// Clients that stop reading under a flood, and a bystander.
    pub(super) async fn stalled(&self, report: &mut Report) -> io::Result<()> {
        let sessions = if self.quick { 100 } else { 1_000.min(self.most_sessions.saturating_sub(1)) };
        let progress = self.progress(Scenario::Stalled, self.rounds * self.proxies.len());
        let name = |what: &str| format!("{sessions} stalled, {what}");
        let mut memory = Measure::new(&name("memory"), "KiB/session", Better::Less);
        let mut latencies = Latencies::new(&name("a bystander's key, "));
        for _ in 0..self.rounds {
            for which in &self.proxies {
                progress.now(which.name());
                // The others have no scrollback.
                let proxy = self.start(*which, Setting { scrollback: "0KiB", tls_upstream: false })?;
                progress.step();
                let round = match self.stall(&proxy, sessions).await {
                    // Only polytty has to hold them.
                    Err(error) if *which != Which::Polytty => {
                        let (name, words) = (which.name(), proxy.last_words());
                        report.note(format!("{name} does not hold {sessions} stalled sessions: {error}. {words}"));
                        memory.add(name, None);
                        latencies.add(name, None);
                        continue;
                    }
                    round => round?,
                };
                memory.add(which.name(), Some(round.memory));
                latencies.add(which.name(), round.is_quiet.then_some(round.latencies));
            }
        }
        report.add(memory);
        latencies.tell(report, "a bystander's key");
        report.note(format!(
            "The bystander types from the moment the flood begins. In the end, {READ_ON} of the stalled read on, and all of \
             their {FLOOD} MiB are compared. What kernels hold for them is not in the memory."
        ));
        Ok(())
    }

    async fn stall(&self, proxy: &Proxy, count: usize) -> io::Result<Stalled> {
        let mut generator = self.generator()?;
        let corpus = Corpus::Ls.name().to_owned();
        self.open(proxy, &mut generator, &PLAIN, "echo", 1).await?;
        self.open(proxy, &mut generator, &PLAIN, &format!("bulk.{corpus}.4096.{FLOOD}"), count).await?;
        generator.order(&Order::Keys { sessions: vec![0], count: 100, pause_ms: 0 })?;
        let first = proxy.resident();
        generator.order(&Order::Press { sessions: (1..=count).collect() })?;
        let meter = self.meter(proxy);
        let keys = if self.quick { 400 } else { 2_000 };
        let done = generator.order(&Order::Keys { sessions: vec![0], count: keys, pause_ms: 2 })?;
        let is_quiet = meter.stop(self, proxy).is_some();
        until_settled(proxy).await?;
        let memory = (proxy.resident() - first) / count as f64;
        for session in 1..=READ_ON.min(count) {
            let order = Order::Bulk { session, corpus: corpus.clone(), mib: FLOOD, is_pressed: true };
            generator.order(&order).map_err(|error| io::Error::new(error.kind(), format!("reading on: {error}")))?;
        }
        Ok(Stalled { latencies: done.latencies, memory, is_quiet })
    }

    /// One workspace of Oblien's with ten busy terminals.
    pub(super) async fn oblien(&self, report: &mut Report) -> io::Result<()> {
        let proxies = self.start_all(Setting::default(), true)?;
        let times = if self.quick { 64 } else { 256 };
        let progress = self.progress(Scenario::Oblien, self.rounds * proxies.len());
        let mut cost = Measure::new("ten busy terminals", "CPU s/GB", Better::Less);
        let mut speed = Measure::new("ten busy terminals, all together", "MB/s", Better::More);
        let mut fair = Measure::new("the last one's time over the first one's", "×", Better::Less);
        let mut shares = Shares::default();
        for _ in 0..self.rounds {
            for proxy in &proxies {
                progress.now(proxy.which.name());
                let (used, done) = counted(async || self.busy(proxy, times).await).await?;
                let (name, gigabytes) = (proxy.which.name(), done.bytes as f64 / 1e9);
                if proxy.cpu() > 0.0 {
                    cost.add(name, used.as_ref().map(|used| used.proxy / gigabytes));
                }
                speed.add(name, used.as_ref().map(|_| gigabytes * 1e3 / done.seconds));
                fair.add_alone(name, used.as_ref().map(|_| at(&done.latencies, 1.0) / at(&done.latencies, 0.0)));
                used.iter().for_each(|used| shares.add(proxy, used, &done));
                progress.step();
            }
        }
        [cost, speed, fair].into_iter().for_each(|measure| report.add(measure));
        shares.tell(report);
        Ok(())
    }

    /// Ten terminals, each of which is asked for so many bursts.
    async fn busy(&self, proxy: &Proxy, times: usize) -> io::Result<(Option<Used>, Done)> {
        let mut generator = self.generator()?;
        self.open(proxy, &mut generator, &OBLIEN, &format!("burst.{ASKED}"), TERMINALS).await?;
        let sessions: Vec<usize> = (0..TERMINALS).collect();
        let bursts = |times| Order::Bursts { sessions: sessions.clone(), kib: ASKED, times, side_by_side: true };
        generator.order(&bursts(4))?;
        let meter = self.meter(proxy);
        let done = generator.order(&bursts(times))?;
        let used = meter.stop(self, proxy);
        generator.order(&Order::Leave)?;
        Ok((used, done))
    }
}
