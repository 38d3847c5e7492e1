//! A scenario as a table in plain text.

use std::fmt::Write as _;

use super::Section;
use super::measure::{Measure, Spread};

/// A row a measure, a column for each that it was measured of and for each ratio. Measures that have the same columns share
/// a head.
pub(super) fn table(section: &Section) -> String {
    let mut text = format!("== {}: {}\n", section.name, section.about);
    let names = section.measures.iter().map(|measure| measure.name.chars().count()).max().unwrap_or_default();
    for alike in section.measures.chunk_by(|one, other| columns(one) == columns(other)) {
        let head = ["", ""].map(str::to_owned).into_iter().chain(columns(&alike[0])).collect();
        let mut rows: Vec<Vec<String>> = vec![head];
        for measure in alike {
            let cells = columns(measure).into_iter().map(|column| cell(measure, &column));
            rows.push([measure.name.clone(), measure.unit.clone()].into_iter().chain(cells).collect());
        }
        let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
        for row in &rows {
            let _ = write!(text, "{:<names$}  {:<unit$}", row[0], row[1], unit = widths[1]);
            for (cell, width) in row.iter().zip(&widths).skip(2) {
                let _ = write!(text, "  {cell:>width$}");
            }
            text.push('\n');
        }
    }
    for note in &section.notes {
        let _ = writeln!(text, "{note}");
    }
    text
}

fn columns(measure: &Measure) -> Vec<String> {
    let names = measure.values.iter().map(|(name, _)| name.clone());
    names.chain(measure.ratios.iter().map(|(one, other)| format!("{one}/{other}"))).collect()
}

fn cell(measure: &Measure, column: &str) -> String {
    let ratio = measure.ratios.iter().find(|(one, other)| format!("{one}/{other}") == column);
    let spread = ratio.map_or_else(|| measure.spread(column), |(one, other)| measure.ratio(one, other));
    spread.map(text).unwrap_or_default()
}

/// `1.23 (1.20–1.31)`; the median alone where there is no spread.
pub(super) fn text(spread: Spread) -> String {
    let Spread { median, least, most } = spread;
    if least == most { number(median) } else { format!("{} ({}–{})", number(median), number(least), number(most)) }
}

/// Three digits or so.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
