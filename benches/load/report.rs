//! What was measured: a table while it runs, JSON, and one page with plots.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Options;
use super::proxy::Which;

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    Less,
}

/// One thing, measured of several proxies in alternating rounds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Measure {
    pub(crate) name: String,
    pub(crate) unit: String,
    better: Better,
    /// By proxy, one value a round; `None` where the round told nothing.
    values: Vec<(String, Vec<Option<f64>>)>,
}

impl Measure {
    pub(crate) fn new(name: &str, unit: &str, better: Better) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned(), better, values: Vec::new() }
    }

    pub(crate) fn add(&mut self, which: Which, value: Option<f64>) {
        match self.values.iter_mut().find(|(name, _)| name == which.name()) {
            Some((_, values)) => values.push(value),
            None => self.values.push((which.name().to_owned(), vec![value])),
        }
    }

    /// The median of one proxy, with the least and the most.
    fn spread(&self, which: &str) -> Option<(f64, f64, f64)> {
        let (_, values) = self.values.iter().find(|(name, _)| name == which)?;
        spread(values.iter().flatten().copied().collect())
    }

    /// polytty's value over another's, round by round.
    fn ratio(&self, other: &str) -> Option<(f64, f64, f64)> {
        let of = |which: &str| self.values.iter().find(|(name, _)| name == which).map(|(_, values)| values);
        let pairs = of("polytty")?.iter().zip(of(other)?);
        spread(pairs.filter_map(|(ours, theirs)| Some((*ours)? / (*theirs)?)).collect())
    }
}

fn spread(mut values: Vec<f64>) -> Option<(f64, f64, f64)> {
    values.sort_by(f64::total_cmp);
    Some((values[..].get(values.len() / 2).copied()?, *values.first()?, *values.last()?))
}

/// Everything that a run has shown.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    machine: String,
    kernel: String,
    commit: String,
    versions: Vec<(String, String)>,
    flags: String,
    rounds: usize,
    sections: Vec<(String, Vec<Measure>)>,
}

impl Report {
    pub(crate) fn begin(options: &Options) -> Self {
        let proxies: Vec<Which> = [Which::Polytty].into_iter().chain(options.against.iter().copied()).collect();
        let report = Self {
            machine: machine(),
            kernel: said("uname", &["-sr"]),
            commit: said("git", &["rev-parse", "--short=12", "HEAD"]),
            versions: proxies.iter().map(|which| (which.name().to_owned(), which.version())).collect(),
            flags: std::env::args().skip(1).filter(|word| word != "--bench").collect::<Vec<_>>().join(" "),
            rounds: options.rounds,
            sections: Vec::new(),
        };
        println!("{}, {}, commit {}", report.machine, report.kernel, report.commit);
        report.versions.iter().for_each(|(name, version)| println!("{name}: {version}"));
        report
    }

    pub(crate) fn section(&mut self, name: &str) {
        println!("\n== {name}");
        self.sections.push((name.to_owned(), Vec::new()));
    }

    /// Takes a measure in, and shows it.
    pub(crate) fn add(&mut self, measure: Measure) {
        let mut line = format!("{:<44} {:<14}", measure.name, measure.unit);
        for (name, _) in &measure.values {
            if let Some((median, least, most)) = measure.spread(name) {
                let _ = write!(line, "  {name} {median:.2} ({least:.2} to {most:.2})");
            }
            if let Some((ratio, ..)) = measure.ratio(name).filter(|_| name != "polytty") {
                let _ = write!(line, " → {ratio:.2}");
            }
        }
        println!("{line}");
        if let Some((_, measures)) = self.sections.last_mut() {
            measures.push(measure);
        }
    }

    /// Writes what there is, and compares it with what was saved before.
    pub(crate) fn finish(self, options: &Options) -> io::Result<()> {
        std::fs::create_dir_all(&options.out)?;
        let json = serde_json::to_string_pretty(&self)?;
        let (data, page) = (options.out.join("report.json"), options.out.join("report.html"));
        std::fs::write(&data, &json)?;
        std::fs::write(&page, self.page())?;
        if let Some(name) = &options.baseline {
            self.compare(&options.out.join(format!("{name}.baseline.json")))?;
        }
        if let Some(name) = &options.save {
            std::fs::write(options.out.join(format!("{name}.baseline.json")), &json)?;
        }
        println!("\n{}\n{}", data.display(), page.display());
        Ok(())
    }

    /// What has changed since a run that was saved. Only ratios to another proxy can be compared between two runs.
    fn compare(&self, path: &Path) -> io::Result<()> {
        let before: Self = serde_json::from_slice(&std::fs::read(path)?)?;
        println!("\n== against {} of commit {}", path.display(), before.commit);
        for (section, measures) in &self.sections {
            let old = before.sections.iter().find(|(name, _)| name == section).map(|(_, measures)| measures);
            for measure in measures {
                let old = old.and_then(|old| old.iter().find(|old| old.name == measure.name));
                for (name, _) in measure.values.iter().filter(|(name, _)| name != "polytty") {
                    if let (Some((now, ..)), Some((then, ..))) =
                        (measure.ratio(name), old.and_then(|old| old.ratio(name)))
                    {
                        println!(
                            "{section}: {}, to {name}: {then:.2} → {now:.2} ({:+.0} %)",
                            measure.name,
                            (now / then - 1.0) * 100.0
                        );
                    }
                }
            }
        }
        Ok(())
    }

    /// One page that needs nothing else.
    fn page(&self) -> String {
        let mut page = String::from(PAGE_HEAD);
        let _ = write!(
            page,
            "<p>{} · {} · commit {} · {} round{} · <code>{}</code></p><p>{}</p>",
            escaped(&self.machine),
            escaped(&self.kernel),
            escaped(&self.commit),
            self.rounds,
            if self.rounds == 1 { "" } else { "s" },
            escaped(&self.flags),
            self.versions
                .iter()
                .map(|(name, version)| format!("{}: {}", escaped(name), escaped(version)))
                .collect::<Vec<_>>()
                .join("<br>")
        );
        for (section, measures) in &self.sections {
            let _ = write!(page, "<h2>{}</h2>", escaped(section));
            for measure in measures {
                page.push_str(&plot(measure));
            }
        }
        page.push_str("</main></html>\n");
        page
    }
}

/// Bars of the medians with the spread on them, and the ratio beside.
fn plot(measure: &Measure) -> String {
    let most =
        measure.values.iter().filter_map(|(name, _)| measure.spread(name)).map(|(_, _, most)| most).fold(0.0, f64::max);
    let mut rows = String::new();
    for (name, _) in &measure.values {
        let Some((median, least, high)) = measure.spread(name) else { continue };
        let share = |value: f64| if most > 0.0 { value / most * 100.0 } else { 0.0 };
        let ratio = measure
            .ratio(name)
            .filter(|_| name != "polytty")
            .map(|(ratio, ..)| format!("polytty takes {ratio:.2} of it"));
        let _ = write!(
            rows,
            "<tr><th>{}</th><td class=bar><i style=\"width:{:.2}%\"></i><b style=\"left:{:.2}%;width:{:.2}%\"></b></td>\
             <td>{median:.2}</td><td class=dim>{least:.2} to {high:.2}</td><td class=dim>{}</td></tr>",
            escaped(name),
            share(median),
            share(least),
            share(high - least),
            ratio.unwrap_or_default()
        );
    }
    format!(
        "<figure><figcaption>{} <span>{}</span></figcaption><table>{rows}</table></figure>",
        escaped(&measure.name),
        escaped(&measure.unit)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output().map(|output| output.stdout);
    String::from_utf8_lossy(&output.unwrap_or_default()).trim().to_owned()
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let count = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{} × {count}", model.unwrap_or("unknown processor").trim())
}

const PAGE_HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
<title>polytty under load</title><style>\
:root{color-scheme:light dark;--ink:light-dark(#1b1f24,#e6e9ee);--dim:light-dark(#5d6672,#9aa4b2);--bar:light-dark(#2f6fde,#6ea0ff);--line:light-dark(#d9dee5,#2c333d)}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:light-dark(#fff,#14181d);margin:0}main{max-width:60rem;margin:auto;padding:2rem 1rem}\
h1{font-size:1.6rem;margin:0}h2{margin:2.5rem 0 .5rem;border-bottom:1px solid var(--line)}figure{margin:1rem 0}figcaption{font-weight:600}\
figcaption span,.dim{color:var(--dim);font-weight:400}table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:400;width:6rem}\
td{padding:.1rem .6rem .1rem 0;white-space:nowrap;font-variant-numeric:tabular-nums}td.bar{width:50%;position:relative;height:1.2rem}\
td.bar i{position:absolute;left:0;top:.25rem;height:.7rem;background:var(--bar);border-radius:2px}\
td.bar b{position:absolute;top:.55rem;height:.1rem;background:var(--ink)}\
</style><main><h1>polytty under load</h1>";
