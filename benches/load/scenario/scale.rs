//! What things cost as sessions grow.

use std::io;
use std::time::Duration;

use super::{AT_ONCE, Bench, Meter, PLAIN, Scenario};
use crate::generator::Order;
use crate::process::Generator;
use crate::proxy::{Proxy, Setting, Which};
use crate::report::{Better, Curve, Measure, Over, Report};

/// What is measured at each count of sessions.
const WHAT: [(&str, &str); 4] = [
    ("memory of a session", "KiB/session"),
    ("opening a session", "CPU µs/session"),
    ("a key and its echo", "CPU µs/key"),
    ("output in bursts of 16 KiB", "CPU s/GB"),
];

/// A burst, in KiB.
const BURST: usize = 16;

/// Sessions that come and go before anything is counted.
const FIRST: usize = 2;

/// How long sessions are watched at rest.
const AT_REST: Duration = Duration::from_secs(2);

impl Bench {
    /// The same at 10, 100, 1,000, 5,000 and 9,900 sessions of one process.
    pub(super) async fn scale(&self, report: &mut Report) -> io::Result<()> {
        let wanted: &[usize] = if self.quick { &[10, 100, 1_000] } else { &[10, 100, 1_000, 5_000, 9_900] };
        let sizes: Vec<usize> = wanted.iter().copied().filter(|size| *size <= self.most_sessions).collect();
        if sizes.len() < wanted.len() {
            report.note(format!(
                "There are descriptors for {} sessions at most; more were left out.",
                self.most_sessions
            ));
        }
        let progress = self.progress(Scenario::Scale, self.rounds * self.proxies.len() * sizes.len());
        let name = |name: &str, size: usize| format!("{name}, {size}");
        let mut measures: Vec<[Measure; 4]> = sizes
            .iter()
            .map(|size| WHAT.map(|(what, unit)| Measure::new(&name(what, *size), unit, Better::Less)))
            .collect();
        let mut rest = Measure::new("all at rest", "CPU ms/s", Better::Less);
        for _ in 0..self.rounds {
            for which in self.proxies.iter().copied() {
                let proxy = self.start(which, Setting { scrollback: "0KiB", tls_upstream: false })?;
                let mut generator = self.generator()?;
                // What is made once is not counted. Few, since what they leave behind is taken up by those that follow.
                self.open(&proxy, &mut generator, &PLAIN, "burst.16", FIRST).await?;
                generator.order(&Order::Bursts { sessions: vec![0, 1], kib: BURST, times: 1, side_by_side: false })?;
                generator.order(&Order::Leave)?;
                let (first, mut now, mut is_lost) = (proxy.resident(), 0, false);
                for (size, measures) in sizes.iter().copied().zip(&mut measures) {
                    progress.now(&format!("{}, {size} sessions", which.name()));
                    let mut values = [None; 4];
                    if !is_lost {
                        values = match self.at_size(&proxy, &mut generator, first, now, size).await {
                            // Only polytty has to get there.
                            Err(error) if which != Which::Polytty => {
                                let (name, words) = (which.name(), proxy.last_words());
                                report.note(format!(
                                    "{name} does not get from {now} to {size} sessions: {error}. {words}"
                                ));
                                is_lost = true;
                                values
                            }
                            reached => reached?,
                        };
                    }
                    for (measure, value) in measures.iter_mut().zip(values) {
                        measure.add(which.name(), value);
                    }
                    now = size;
                    progress.step();
                }
                let meter = self.meter(&proxy);
                tokio::time::sleep(AT_REST).await;
                rest.add_alone(which.name(), meter.stop(self, &proxy).map(|used| used.proxy / used.seconds * 1e3));
                generator.order(&Order::Leave)?;
            }
        }
        self.tell(report, &sizes, measures);
        report.add(rest);
        Ok(())
    }

    /// Every measure, and a curve of each kind.
    fn tell(&self, report: &mut Report, sizes: &[usize], measures: Vec<[Measure; 4]>) {
        let mut curves = WHAT.map(|(name, unit)| Curve::new(name, unit, Over::Sessions));
        for (size, measures) in sizes.iter().zip(measures) {
            for (curve, measure) in curves.iter_mut().zip(measures) {
                for which in &self.proxies {
                    let spread = measure.spread(which.name());
                    spread.iter().for_each(|spread| curve.add(which.name(), *size as f64, spread.median));
                }
                report.add(measure);
            }
        }
        curves.into_iter().for_each(|curve| report.curve(curve));
    }

    /// Goes on from so many sessions to so many: what [`WHAT`] names, in its order.
    async fn at_size(
        &self,
        proxy: &Proxy,
        generator: &mut Generator,
        first: f64,
        from: usize,
        to: usize,
    ) -> io::Result<[Option<f64>; 4]> {
        // Minting is apart.
        let mut doors = Vec::with_capacity(to - from);
        for at in from..to {
            // Every other one echoes.
            doors.push(proxy.door(&PLAIN, if at % 2 == 0 { "echo" } else { "burst.16" }).await?);
        }
        let meter = self.meter(proxy);
        for doors in doors.chunks(AT_ONCE) {
            generator.order(&Order::Open { doors: doors.to_vec() })?;
        }
        let opened = per(meter, self, proxy, (to - from) as f64, 1e6);
        let (typing, listing): (Vec<usize>, Vec<usize>) = (0..to).partition(|at| at % 2 == 0);
        generator.order(&Order::Keys { count: typing.len(), sessions: typing.clone(), pause_ms: 0 })?;
        let times = (if self.quick { 1_024 } else { 4_096 } / listing.len()).max(1);
        let bursts = |sessions, times| Order::Bursts { sessions, kib: BURST, times, side_by_side: false };
        generator.order(&bursts(listing.clone(), 1))?;
        let memory = (proxy.resident() - first) / to as f64;

        let count = typing.len().max(if self.quick { 2_000 } else { 10_000 });
        let meter = self.meter(proxy);
        generator.order(&Order::Keys { sessions: typing, count, pause_ms: 0 })?;
        let key = per(meter, self, proxy, count as f64, 1e6);
        let meter = self.meter(proxy);
        let done = generator.order(&bursts(listing, times))?;
        let byte = per(meter, self, proxy, done.bytes as f64, 1e9);
        Ok([Some(memory), opened, key, byte])
    }
}

/// Processor time for one of so many, by a factor.
fn per(meter: Meter, bench: &Bench, proxy: &Proxy, count: f64, factor: f64) -> Option<f64> {
    meter.stop(bench, proxy).map(|used| used.proxy / count * factor)
}
