//! Somebody's own deployment: the generator alone, against links that lead to a shell.

use std::io;

use serde_json::{Value, json};

use super::generator::{Dialect, Door, Exchange, Order, connector, roots};
use super::options::Options;
use super::process::Generator;
use super::progress::Progress;
use super::proxy::Mint;
use super::report::{Better, Curve, Measure, Over, Report, at};

/// Keys a round.
const KEYS: usize = 1_000;

const ABOUT: &str =
    "Keys and output of a shell behind somebody's own proxy, as its clients see them. A round is a session.";

pub(crate) async fn run(options: &Options, report: &mut Report) -> io::Result<()> {
    report.section("own", ABOUT);
    let ca = options.ca.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let home = tempfile::tempdir()?;
    let processor = std::thread::available_parallelism().map_or(0, |count| count.get() - 1);
    let mut generator = Generator::start(&std::env::current_exe()?, home.path(), &ca, processor)?;
    let mint = mint(options, &ca)?;
    let rounds = if mint.is_some() { options.rounds() } else { options.urls.len() };
    let mut measures = [
        Measure::new("from the connection to ready", "ms", Better::Less),
        Measure::new("a key and its echo, median", "µs", Better::Less),
        Measure::new("a key and its echo, 99 %", "µs", Better::Less),
        Measure::new("output of `yes`", "MB/s", Better::More),
        Measure::new("the generator's own processor under output and keys", "%", Better::Less),
    ];
    let mut all = Vec::new();
    let progress = Progress::begin("own", rounds);
    for round in 0..rounds {
        let url = match &mint {
            Some((mint, body)) => mint.link(body).await?,
            None => options.urls[round].clone(),
        };
        let door = Door { url, dialect: Dialect::Polytty, exchange: Exchange::Any, greeting: 0 };
        let opened = generator.order(&Order::Open { doors: vec![door] })?;
        let mib = if options.quick { 8 } else { 64 };
        let before = std::time::Instant::now();
        let done = generator.order(&Order::Shell { session: 0, mib, keys: KEYS })?;
        let values = [
            at(&opened.latencies, 0.5) / 1e3,
            at(&done.latencies, 0.5),
            at(&done.latencies, 0.99),
            done.bytes as f64 / 1e6 / done.seconds,
            done.cpu / before.elapsed().as_secs_f64() * 100.0,
        ];
        for (measure, value) in measures.iter_mut().zip(values) {
            measure.add_alone("own", Some(value));
        }
        all.extend(done.latencies);
        generator.order(&Order::Leave)?;
        progress.step();
    }
    drop(progress);
    measures.into_iter().for_each(|measure| report.add(measure));
    let mut curve = Curve::new("a key and its echo", "µs", Over::Share);
    curve.add_distribution("own", all);
    report.curve(curve);
    report.show();
    Ok(())
}

/// Where links are minted, and by which body.
fn mint(options: &Options, ca: &str) -> io::Result<Option<(Mint, Value)>> {
    let (Some(uri), Some(file), Some(provider), Some(target)) =
        (&options.mint, &options.key_file, &options.provider, &options.target)
    else {
        return Ok(None);
    };
    let key = std::fs::read_to_string(file)?.trim().to_owned();
    let target: Value = serde_json::from_str(target)?;
    let tls = connector(rustls::crypto::aws_lc_rs::default_provider(), &roots(ca)?)?;
    Ok(Some((Mint::new(uri.clone(), key, tls), json!({ "provider": provider, "target": target }))))
}
