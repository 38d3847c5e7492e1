//! What a session at rest holds.

use std::io;

use super::{Bench, PAIRS, PLAIN, Scenario};
use crate::generator::Order;
use crate::process::Generator;
use crate::proxy::{Pair, Proxy, Setting, Which};
use crate::report::{Better, Measure, Report};

/// A burst, in KiB.
const BURST: usize = 256;

/// What is made once is not counted: so many sessions come first.
const FIRST: usize = 20;

/// What is compared.
struct Variant {
    name: &'static str,
    pair: Pair,
    setting: Setting,
    sessions: usize,
    /// Whether the others have the like.
    is_compared: bool,
}

impl Bench {
    /// Memory of a session at rest: opened, after a key, and after a burst.
    pub(super) async fn idle(&self, report: &mut Report) -> io::Result<()> {
        let variants = self.variants();
        let proxies = variants.iter().map(|variant| if variant.is_compared { self.proxies.len() } else { 1 });
        let progress = self.progress(Scenario::Idle, proxies.sum());
        for variant in variants {
            let name = |what: &str| format!("{}, {} sessions, {what}", variant.name, variant.sessions);
            let mut measures = ["opened", "after a key", "after 256 KiB"]
                .map(|what| Measure::new(&name(what), "KiB/session", Better::Less));
            for which in self.proxies.iter().copied() {
                if which != Which::Polytty && !variant.is_compared {
                    continue;
                }
                progress.now(&format!("{}, {}", variant.name, which.name()));
                progress.step();
                let values = match self.at_rest(which, &variant).await {
                    // Only polytty has to get there.
                    Err(error) if which != Which::Polytty => {
                        report.note(format!("{} does not hold {} sessions: {error}", which.name(), variant.sessions));
                        continue;
                    }
                    values => values?,
                };
                for (measure, value) in measures.iter_mut().zip(values) {
                    measure.add(which.name(), Some(value));
                }
            }
            measures.into_iter().for_each(|measure| report.add(measure));
        }
        report.note(
            "One process after the other, since memory that was given back lies about in an old one; no rounds, since pages \
             are counted and not timed. Memory of the kernel is not in it."
                .to_owned(),
        );
        Ok(())
    }

    fn variants(&self) -> Vec<Variant> {
        let sessions = if self.quick { 200 } else { 1_000 };
        let none = Setting { scrollback: "0KiB", tls_upstream: false };
        let variant = |name, pair, setting| Variant { name, pair, setting, sessions, is_compared: true };
        let mut variants = vec![
            variant("channel, no scrollback", PLAIN, none),
            variant("operation, no scrollback", PAIRS[1], none),
            variant("channel over TLS, no scrollback", PLAIN, Setting { tls_upstream: true, ..none }),
            Variant { is_compared: false, ..variant("channel, scrollback of 256 KiB", PLAIN, Setting::default()) },
        ];
        let most = self.most_sessions.saturating_sub(FIRST);
        if !self.quick && most > sessions {
            let all = variant("channel, no scrollback", PLAIN, none);
            variants.push(Variant { sessions: most.min(9_900 - FIRST), ..all });
        }
        variants
    }

    async fn at_rest(&self, which: Which, variant: &Variant) -> io::Result<[f64; 3]> {
        let (opened, touched) = self.after_a_key(which, variant).await?;
        Ok([opened, touched, self.after_a_burst(which, variant).await?])
    }

    async fn after_a_key(&self, which: Which, variant: &Variant) -> io::Result<(f64, f64)> {
        let (proxy, mut generator) = (self.start(which, variant.setting)?, self.generator()?);
        let sessions = variant.sessions;
        let touch = |generator: &mut Generator, from: usize, count: usize| {
            generator.order(&Order::Keys { sessions: (from..from + count).collect(), count, pause_ms: 0 })
        };
        self.open(&proxy, &mut generator, &variant.pair, "echo", FIRST).await?;
        touch(&mut generator, 0, FIRST)?;
        let first = proxy.resident();
        self.open(&proxy, &mut generator, &variant.pair, "echo", sessions).await?;
        let opened = per_session(&proxy, first, sessions);
        touch(&mut generator, FIRST, sessions)?;
        let touched = per_session(&proxy, first, sessions);
        generator.order(&Order::Leave)?;
        Ok((opened, touched))
    }

    async fn after_a_burst(&self, which: Which, variant: &Variant) -> io::Result<f64> {
        let (proxy, mut generator) = (self.start(which, variant.setting)?, self.generator()?);
        let what = format!("burst.{BURST}");
        let take = |generator: &mut Generator, from: usize, count: usize| {
            let sessions = (from..from + count).collect();
            generator.order(&Order::Bursts { sessions, kib: BURST, times: 1, side_by_side: false })
        };
        self.open(&proxy, &mut generator, &variant.pair, &what, FIRST).await?;
        take(&mut generator, 0, FIRST)?;
        let first = proxy.resident();
        self.open(&proxy, &mut generator, &variant.pair, &what, variant.sessions).await?;
        take(&mut generator, FIRST, variant.sessions)?;
        let burst = per_session(&proxy, first, variant.sessions);
        generator.order(&Order::Leave)?;
        Ok(burst)
    }
}

/// KiB a session that have come since.
fn per_session(proxy: &Proxy, first: f64, sessions: usize) -> f64 {
    (proxy.resident() - first) / sessions as f64
}
