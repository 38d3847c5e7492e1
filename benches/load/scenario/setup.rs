//! What a session costs to come and go, and a link to be minted.

use std::collections::BTreeMap;
use std::io;

use super::{Bench, PAIRS, PLAIN, Scenario, counted, distribution};
use crate::generator::{Door, Exchange, Order};
use crate::proxy::{Pair, Proxy, Setting, Which};
use crate::report::{Better, Measure, Report};

/// How polytty is called where clients agree on keys by X25519MLKEM768.
const HYBRID: &str = "polytty, ML-KEM";

/// A terminal that no API has to be asked for: one connection is all that polytty makes, as its peers do.
const DOCKHAND: Pair = PAIRS[2];

impl Bench {
    /// A whole session: handshake, upgrade, open, first byte, end. Minting is not counted, and measured by itself.
    pub(super) async fn setup(&self, report: &mut Report) -> io::Result<()> {
        let proxies = self.start_all(Setting::default(), false)?;
        let count = if self.quick { 200 } else { 1_000 };
        let progress = self.progress(Scenario::Setup, self.rounds * (2 * proxies.len() + 2));
        let measure = |name, unit| Measure::new(name, unit, Better::Less);
        let mut whole = measure("a session, minting apart", "CPU µs/session");
        let mut called = measure("a session, with a call of the provider's API", "CPU µs/session");
        let mut kept = measure("minting, over one connection", "CPU µs/link");
        let mut fresh = measure("minting, over a connection each", "CPU µs/link");
        let mut all: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
        // What is made once is not counted.
        for proxy in &proxies {
            for pair in [&DOCKHAND, &PLAIN] {
                self.come(proxy, pair, 20, Exchange::X25519).await?;
            }
        }
        for _ in 0..self.rounds {
            for proxy in &proxies {
                let name = proxy.which.name();
                let (cost, latencies) = self.come(proxy, &DOCKHAND, count, Exchange::X25519).await?;
                whole.add(name, cost);
                all.entry(name).or_default().extend(latencies);
                progress.step();
            }
            for proxy in &proxies {
                let (cost, _) = self.come(proxy, &PLAIN, count, Exchange::X25519).await?;
                called.add(proxy.which.name(), cost);
                progress.step();
            }
            for proxy in proxies.iter().filter(|proxy| proxy.which == Which::Polytty) {
                let (cost, _) = self.come(proxy, &DOCKHAND, count, Exchange::X25519MlKem768).await?;
                whole.add_alone(HYBRID, cost);
                whole.compare(HYBRID, "polytty");
                progress.step();
                kept.add("polytty", self.mint(proxy, count, false).await?);
                fresh.add("polytty", self.mint(proxy, count, true).await?);
                progress.step();
            }
        }
        [whole, called, kept, fresh].into_iter().for_each(|measure| report.add(measure));
        report.curve(distribution("from the connection to the first echo", all));
        report.note(
            "The first is a session at Dockhand, for which polytty makes one connection, as its peers do. The second is one at \
             ECI, for which it asks the API where the terminal is: its peers are told."
                .to_owned(),
        );
        Ok(())
    }

    /// Processor time for a session, and how long each took until its first echo.
    async fn come(
        &self,
        proxy: &Proxy,
        pair: &Pair,
        count: usize,
        exchange: Exchange,
    ) -> io::Result<(Option<f64>, Vec<f64>)> {
        let (used, done) = counted(async || {
            let mut doors = Vec::with_capacity(count);
            for _ in 0..count {
                doors.push(Door { exchange, ..proxy.door(pair, "echo").await? });
            }
            let mut generator = self.generator()?;
            let meter = self.meter(proxy);
            let done = generator.order(&Order::Come { doors })?;
            Ok((meter.stop(self, proxy), done))
        })
        .await?;
        Ok((used.map(|used| used.proxy / count as f64 * 1e6), done.latencies))
    }

    /// Processor time for a link. Nobody uses these.
    async fn mint(&self, proxy: &Proxy, count: usize, hangs_up: bool) -> io::Result<Option<f64>> {
        let (used, ()) = counted(async || {
            let meter = self.meter(proxy);
            for _ in 0..count {
                proxy.door(&PLAIN, "echo").await?;
                if let Some(mint) = proxy.mint().filter(|_| hangs_up) {
                    mint.hang_up().await;
                }
            }
            Ok((meter.stop(self, proxy), ()))
        })
        .await?;
        Ok(used.map(|used| used.proxy / count as f64 * 1e6))
    }
}
