//! What a run has shown: a table a scenario on the terminal, JSON, and one page with plots.

mod measure;
mod page;
mod plot;
mod table;

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::options::Options;
use super::proxy::Which;
pub(crate) use measure::{Better, Curve, Measure, Over, at};

/// Everything that a run has shown.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    machine: String,
    kernel: String,
    commit: String,
    /// When it began, in UTC.
    date: String,
    versions: Vec<(String, String)>,
    flags: String,
    rounds: usize,
    descriptors: u64,
    seconds: f64,
    sections: Vec<Section>,
}

/// One scenario.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Section {
    name: String,
    /// What is done in it.
    about: String,
    measures: Vec<Measure>,
    /// What comes of several measures, for the page alone.
    summaries: Vec<Measure>,
    curves: Vec<Curve>,
    /// What there is to know besides.
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn begin(options: &Options, proxies: &[Which], descriptors: u64) -> Self {
        let git = |arguments: &[&str]| said("git", &[&["-C", env!("CARGO_MANIFEST_DIR")], arguments].concat());
        let is_changed = !git(&["status", "--porcelain", "--untracked-files=no"]).is_empty();
        let commit = git(&["rev-parse", "--short=12", "HEAD"]) + if is_changed { ", changed" } else { "" };
        let report = Self {
            machine: machine(),
            kernel: said("uname", &["-sr"]),
            commit,
            date: said("date", &["-u", "+%Y-%m-%d %H:%M"]),
            versions: proxies.iter().map(|which| (which.name().to_owned(), which.version())).collect(),
            flags: options.flags(),
            rounds: options.rounds(),
            descriptors,
            seconds: 0.0,
            sections: Vec::new(),
        };
        println!("{}, {}, commit {}", report.machine, report.kernel, report.commit);
        report.versions.iter().for_each(|(name, version)| println!("{name}: {version}"));
        report
    }

    pub(crate) fn section(&mut self, name: &str, about: &str) {
        self.sections.push(Section {
            name: name.to_owned(),
            about: about.to_owned(),
            measures: Vec::new(),
            summaries: Vec::new(),
            curves: Vec::new(),
            notes: Vec::new(),
        });
    }

    pub(crate) fn add(&mut self, measure: Measure) {
        if let Some(section) = self.sections.last_mut().filter(|_| !measure.values.is_empty()) {
            section.measures.push(measure);
        }
    }

    /// Bars on top of the scenario's part of the page.
    pub(crate) fn summary(&mut self, measure: Measure) {
        if let Some(section) = self.sections.last_mut().filter(|_| !measure.values.is_empty()) {
            section.summaries.push(measure);
        }
    }

    pub(crate) fn curve(&mut self, curve: Curve) {
        if let Some(section) = self.sections.last_mut().filter(|_| !curve.lines.is_empty()) {
            section.curves.push(curve);
        }
    }

    pub(crate) fn note(&mut self, note: String) {
        if let Some(section) = self.sections.last_mut() {
            section.notes.push(note);
        }
    }

    /// Shows the table of the scenario that was measured last.
    pub(crate) fn show(&self) {
        if let Some(section) = self.sections.last() {
            println!("\n{}", table::table(section));
        }
    }

    /// Writes what there is, and compares it with what was saved before.
    pub(crate) fn finish(mut self, options: &Options, seconds: f64) -> io::Result<()> {
        self.seconds = seconds;
        let out = options.out();
        std::fs::create_dir_all(&out)?;
        let json = serde_json::to_string_pretty(&self)?;
        let (data, page) = (out.join("report.json"), out.join("report.html"));
        std::fs::write(&data, &json)?;
        std::fs::write(&page, page::page(&self))?;
        if let Some(name) = &options.baseline {
            self.compare(&out.join(format!("{name}.baseline.json")))?;
        }
        if let Some(name) = &options.save {
            std::fs::write(out.join(format!("{name}.baseline.json")), &json)?;
        }
        println!("\n{:.0} s\n{}\n{}", self.seconds, data.display(), page.display());
        Ok(())
    }

    /// What has changed since a run that was saved. Only ratios to another proxy can be compared between two runs.
    fn compare(&self, path: &Path) -> io::Result<()> {
        let before: Self = serde_json::from_slice(&std::fs::read(path)?)?;
        println!("\n== against {} of commit {}", path.display(), before.commit);
        for section in &self.sections {
            let old = before.sections.iter().find(|old| old.name == section.name);
            for measure in &section.measures {
                let old = old.and_then(|old| old.measures.iter().find(|old| old.name == measure.name));
                for (one, other) in &measure.ratios {
                    let (Some(now), Some(then)) =
                        (measure.ratio(one, other), old.and_then(|old| old.ratio(one, other)))
                    else {
                        continue;
                    };
                    let change = (now.median / then.median - 1.0) * 100.0;
                    println!(
                        "{}: {}, {one} over {other}: {:.2} → {:.2} ({change:+.0} %)",
                        section.name, measure.name, then.median, now.median
                    );
                }
            }
        }
        Ok(())
    }
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
