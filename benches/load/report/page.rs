//! The page: everything in one file that needs nothing else, no script, and no network.

use std::fmt::Write as _;

use super::measure::{Better, Spread};
use super::plot::{bars, escaped, lines, ratios};
use super::{Report, Section};

/// Above so many measures, a section's bars are folded away; the latter where there are curves, too.
const UNFOLDED: usize = 16;
const UNFOLDED_BESIDE_CURVES: usize = 10;

pub(super) fn page(report: &Report) -> String {
    let mut page = String::from("<!doctype html><html lang=en><meta charset=utf-8>");
    let _ = write!(
        page,
        "<meta name=viewport content=\"width=device-width\"><title>polytty under load</title><style>{STYLE}</style>\
         <main><h1>polytty under load</h1>"
    );
    let versions = report.versions.iter().map(|(name, version)| format!("{}: {}", escaped(name), escaped(version)));
    let _ = write!(
        page,
        "<p>{} · {} · {} descriptors a process</p><p>commit {} · {} UTC · {} round{} · {:.0} s · <code>cargo bench --bench load -- {}</code></p>\
         <p>{}</p>",
        escaped(&report.machine),
        escaped(&report.kernel),
        report.descriptors,
        escaped(&report.commit),
        escaped(&report.date),
        report.rounds,
        if report.rounds == 1 { "" } else { "s" },
        report.seconds,
        escaped(&report.flags),
        versions.collect::<Vec<_>>().join("<br>")
    );
    page.push_str(&overview(report));
    for section in &report.sections {
        page.push_str(&part(section));
    }
    page.push_str("</main></html>\n");
    page
}

/// What polytty takes of what each of the others does, by scenario and unit: the median of the ratios, with the spread of all.
fn overview(report: &Report) -> String {
    let mut overview = String::new();
    for other in ["haproxy", "nginx"] {
        let mut rows = Vec::new();
        for section in &report.sections {
            let measures = section
                .measures
                .iter()
                .filter(|measure| measure.better == Better::Less && measure.compares("polytty", other));
            let mut by_unit: Vec<(&str, Vec<f64>)> = Vec::new();
            for measure in measures {
                let Some(ratio) = measure.ratio("polytty", other) else { continue };
                match by_unit.iter_mut().find(|(unit, _)| *unit == measure.unit) {
                    Some((_, all)) => all.push(ratio.median),
                    None => by_unit.push((&measure.unit, vec![ratio.median])),
                }
            }
            for (unit, all) in by_unit {
                rows.extend(Spread::of(all).map(|spread| (format!("{}, {unit}", section.name), spread)));
            }
        }
        if !rows.is_empty() {
            let _ = write!(
                overview,
                "<figure class=over><figcaption>polytty over {other} <span>by scenario and unit, less is better: the median of the \
                 measures, and from the least to the most of them</span></figcaption>{}</figure>",
                ratios(&rows)
            );
        }
    }
    overview
}

fn part(section: &Section) -> String {
    let mut part = format!("<h2>{}</h2><p>{}</p>", escaped(&section.name), escaped(&section.about));
    for note in &section.notes {
        let _ = write!(part, "<p class=dim>{}</p>", escaped(note));
    }
    section.summaries.iter().for_each(|measure| part.push_str(&bars(measure)));
    if !section.curves.is_empty() {
        part.push_str("<div class=plots>");
        section.curves.iter().for_each(|curve| part.push_str(&lines(curve)));
        part.push_str("</div>");
    }
    let all: String = section.measures.iter().map(bars).collect();
    let unfolded = if section.curves.is_empty() { UNFOLDED } else { UNFOLDED_BESIDE_CURVES };
    if section.measures.len() > unfolded {
        let count = section.measures.len();
        let _ = write!(part, "<details><summary>All {count} measures</summary>{all}</details>");
    } else {
        part.push_str(&all);
    }
    part
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:light-dark(#1b1f24,#e6e9ee);--dim:light-dark(#5d6672,#9aa4b2);--line:light-dark(#d9dee5,#2c333d);\
--c0:light-dark(#2f6fde,#6ea0ff);--c1:light-dark(#c8541a,#ff9a5c);--c2:light-dark(#2b8a57,#5fcf94);--c3:light-dark(#7d8794,#7d8794);\
--c4:light-dark(#8a4fc4,#c08cff);--c5:light-dark(#a8862a,#e0c060)}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:light-dark(#fff,#14181d);margin:0}\
main{max-width:68rem;margin:auto;padding:2rem 1rem}h1{font-size:1.6rem;margin:0}p{margin:.4rem 0}\
h2{margin:2.5rem 0 .5rem;border-bottom:1px solid var(--line)}figure{margin:1.2rem 0}figcaption{font-weight:600}\
figcaption span,.dim{color:var(--dim);font-weight:400}.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}\
th{text-align:left;font-weight:400;width:7rem;padding-right:1rem;white-space:nowrap}td{padding:.1rem .6rem .1rem 0;white-space:nowrap;font-variant-numeric:tabular-nums}\
td.bar{width:45%;min-width:9rem;position:relative;height:1.2rem}td.bar i{position:absolute;left:0;top:.25rem;height:.7rem;border-radius:2px}\
td.bar b{position:absolute;top:.55rem;height:.1rem;background:var(--ink)}\
.over{max-width:48rem}.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:0 2rem}.plot{margin:.8rem 0;max-width:36rem}\
svg{width:100%;height:auto;font-size:11px;font-variant-numeric:tabular-nums}svg text{fill:var(--dim)}\
.grid{stroke:var(--line);fill:none}.one{stroke:var(--ink);fill:none}.line{fill:none;stroke-width:2}.dash{stroke-dasharray:5 4}\
svg text.y{text-anchor:end}svg text.x{text-anchor:middle}svg text.what{text-anchor:end}svg text.v{fill:var(--ink)}\
ul{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;margin:0;padding:0;font-size:.85rem}\
li svg{width:1.5rem;margin-right:.4rem;vertical-align:.1rem}\
summary{cursor:pointer;color:var(--dim)}code{overflow-wrap:anywhere}\
.c0{stroke:var(--c0)}.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}.c3{stroke:var(--c3)}.c4{stroke:var(--c4)}.c5{stroke:var(--c5)}\
i.c0,.dot.c0{background:var(--c0);fill:var(--c0)}i.c1,.dot.c1{background:var(--c1);fill:var(--c1)}\
i.c2,.dot.c2{background:var(--c2);fill:var(--c2)}i.c3,.dot.c3{background:var(--c3);fill:var(--c3)}\
i.c4,.dot.c4{background:var(--c4);fill:var(--c4)}i.c5,.dot.c5{background:var(--c5);fill:var(--c5)}";
