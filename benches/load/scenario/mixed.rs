//! A mixed day.

use std::io;

use super::{Bench, Latencies, PAIRS, Scenario, Shares, Used, counted};
use crate::generator::{Day, Done, Order};
use crate::proxy::{Proxy, Setting};
use crate::report::{Better, Measure, Report};

/// What a listing is, and a piece of the flood, in KiB.
const LIST: usize = 16;
const FLOOD: usize = 512;

/// Sessions that come and go in a second.
const COMING: u64 = 5;

/// Who is there.
#[derive(Clone, Copy)]
struct Cast {
    idle: usize,
    typists: usize,
    lists: usize,
    seconds: u64,
}

impl Bench {
    /// Most sessions idle, some typed in, some that list files, one that floods, some that come and go: the processor in the
    /// sum.
    pub(super) async fn mixed(&self, report: &mut Report) -> io::Result<()> {
        let cast = match self.quick {
            true => Cast { idle: 45, typists: 10, lists: 4, seconds: 4 },
            false => Cast { idle: 149, typists: 35, lists: 15, seconds: 20 },
        };
        let proxies = self.start_all(Setting::default(), false)?;
        let progress = self.progress(Scenario::Mixed, self.rounds * proxies.len());
        let mut sum = Measure::new("all together", "CPU ms/s", Better::Less);
        let mut latencies = Latencies::new("a key and its echo, ");
        let mut shares = Shares::default();
        for _ in 0..self.rounds {
            for proxy in &proxies {
                progress.now(proxy.which.name());
                let (used, done) = counted(async || self.day(proxy, cast).await).await?;
                let name = proxy.which.name();
                sum.add(name, used.as_ref().map(|used| used.proxy / cast.seconds as f64 * 1e3));
                used.iter().for_each(|used| shares.add(proxy, used, &done));
                latencies.add(name, used.map(|_| done.latencies));
                progress.step();
            }
        }
        report.add(sum);
        latencies.tell(report, "a typist's key");
        shares.tell(report);
        report.note(format!(
            "{} sessions idle, {} with five keys a second, {} that list {LIST} KiB every second, one that gets {FLOOD} KiB twenty \
             times a second, and {COMING} a second that come and go; the providers speak three wires.",
            cast.idle, cast.typists, cast.lists
        ));
        Ok(())
    }

    async fn day(&self, proxy: &Proxy, cast: Cast) -> io::Result<(Option<Used>, Done)> {
        let Cast { idle, typists, lists, seconds } = cast;
        let mut generator = self.generator()?;
        let mut numbers = 0..;
        let mut range = async |generator: &mut _, count: usize, what: &str| {
            for pair in &PAIRS[..3] {
                let share = count / 3 + usize::from(pair.name == PAIRS[0].name) * (count % 3);
                self.open(proxy, generator, pair, what, share).await?;
            }
            Ok::<Vec<usize>, io::Error>(numbers.by_ref().take(count).collect())
        };
        range(&mut generator, idle, "echo").await?;
        let typists = range(&mut generator, typists, "echo").await?;
        let lists = range(&mut generator, lists, &format!("burst.{LIST}")).await?;
        let flood = range(&mut generator, 1, &format!("burst.{FLOOD}")).await?;
        let mut doors = Vec::new();
        for at in 0..seconds * COMING {
            doors.push(proxy.door(&PAIRS[at as usize % 3], "echo").await?);
        }
        let day = Day { seconds, typists, lists, list_kib: LIST, flood: flood[0], flood_kib: FLOOD, doors };
        let meter = self.meter(proxy);
        let done = generator.order(&Order::Day(day))?;
        let used = meter.stop(self, proxy);
        generator.order(&Order::Leave)?;
        Ok((used, done))
    }
}
