//! What a session costs to come and go, and a link to be minted.

use std::collections::BTreeMap;
use std::io;

use super::keys::distribution;
use super::{Bench, PLAIN, Scenario};
use crate::generator::{Door, Exchange, Order};
use crate::proxy::{Proxy, Setting, Which};
use crate::report::{Better, Measure, Report};

/// How polytty is called where clients agree on keys by X25519MLKEM768.
const HYBRID: &str = "polytty, ML-KEM";

impl Bench {
    /// A whole session: handshake, upgrade, open, first byte, end. Minting is not counted, and measured by itself.
    pub(super) async fn setup(&self, report: &mut Report) -> io::Result<()> {
        let proxies = self.start_all(Setting::default(), false)?;
        let count = if self.quick { 200 } else { 1_000 };
        let progress = self.progress(Scenario::Setup, self.rounds * (proxies.len() + 2));
        let mut whole = Measure::new("a session, minting apart", "CPU µs/session", Better::Less);
        let mut kept = Measure::new("minting, over one connection", "CPU µs/link", Better::Less);
        let mut fresh = Measure::new("minting, over a connection each", "CPU µs/link", Better::Less);
        let mut all: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        // What is made once is not counted.
        for proxy in &proxies {
            self.come(proxy, 20, Exchange::X25519).await?;
        }
        for _ in 0..self.rounds {
            for proxy in &proxies {
                let (cost, latencies) = self.come(proxy, count, Exchange::X25519).await?;
                whole.add(proxy.which.name(), cost);
                all.entry(proxy.which.name()).or_default().extend(latencies);
                progress.step();
            }
            for proxy in proxies.iter().filter(|proxy| proxy.which == Which::Polytty) {
                let (cost, _) = self.come(proxy, count, Exchange::X25519MlKem768).await?;
                whole.add_alone(HYBRID, cost);
                whole.compare(HYBRID, "polytty");
                progress.step();
                kept.add("polytty", self.mint(proxy, count, false).await?);
                fresh.add("polytty", self.mint(proxy, count, true).await?);
                progress.step();
            }
        }
        [whole, kept, fresh].into_iter().for_each(|measure| report.add(measure));
        report.curve(distribution("from the connection to the first echo", all));
        Ok(())
    }

    /// Processor time for a session, and how long each took until its first echo.
    async fn come(&self, proxy: &Proxy, count: usize, exchange: Exchange) -> io::Result<(Option<f64>, Vec<f64>)> {
        let mut doors = Vec::with_capacity(count);
        for _ in 0..count {
            doors.push(Door { exchange, ..proxy.door(&PLAIN, "echo").await? });
        }
        let mut generator = self.generator()?;
        let meter = self.meter(proxy);
        let done = generator.order(&Order::Come { doors })?;
        let cost = meter.stop(self, proxy).map(|used| used.proxy / count as f64 * 1e6);
        Ok((cost, done.latencies))
    }

    /// Processor time for a link. Nobody uses these.
    async fn mint(&self, proxy: &Proxy, count: usize, hangs_up: bool) -> io::Result<Option<f64>> {
        let meter = self.meter(proxy);
        for _ in 0..count {
            proxy.door(&PLAIN, "echo").await?;
            if let Some(mint) = proxy.mint().filter(|_| hangs_up) {
                mint.hang_up().await;
            }
        }
        Ok(meter.stop(self, proxy).map(|used| used.proxy / count as f64 * 1e6))
    }
}
