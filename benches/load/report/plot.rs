//! Plots, as SVG and tables that need no script. Colours are the page's.

use std::fmt::Write as _;

use super::measure::{Curve, Measure, Over, Spread};
use super::table::{number, text};

/// The size of a plot, and the room for its axes, in its own units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 34.0;
const TOP: f64 = 10.0;
const RIGHT: f64 = 22.0;

/// Colours that there are.
const COLOURS: usize = 6;

/// The colour of a proxy, and of a wire, is the same in every plot; what goes to JSON is dashed.
fn class(name: &str, at: usize) -> String {
    const KNOWN: [(&str, usize); 9] = [
        ("polytty", 0),
        ("haproxy", 1),
        ("nginx", 2),
        ("direct", 3),
        ("channel → ", 0),
        ("operation → ", 4),
        ("dockhand → ", 2),
        ("oblien → ", 5),
        ("decthings → ", 3),
    ];
    let known = KNOWN.iter().find(|(known, _)| name.starts_with(known)).map(|(_, colour)| *colour);
    format!("c{}{}", known.unwrap_or(at % COLOURS), if name.ends_with("→ operation") { " dash" } else { "" })
}

/// Bars of the medians with the spread on them, and the ratios beside.
pub(super) fn bars(measure: &Measure) -> String {
    let spreads: Vec<(&str, Spread)> =
        measure.values.iter().filter_map(|(name, _)| Some((name.as_str(), measure.spread(name)?))).collect();
    let most = spreads.iter().map(|(_, spread)| spread.most).fold(0.0, f64::max);
    let share = |value: f64| if most > 0.0 { value / most * 98.0 } else { 0.0 };
    let mut rows = String::new();
    for (at, (name, Spread { median, least, most })) in spreads.into_iter().enumerate() {
        let ratios = measure.ratios.iter().filter(|(_, other)| other == name);
        let ratios: Vec<String> = ratios
            .filter_map(|(one, other)| {
                Some(format!("{} takes {} of it", escaped(one), text(measure.ratio(one, other)?)))
            })
            .collect();
        let _ = write!(
            rows,
            "<tr><th>{}</th><td class=bar><i class=\"{}\" style=\"width:{:.2}%\"></i>\
             <b style=\"left:{:.2}%;width:{:.2}%\"></b></td><td>{}</td><td class=dim>{}</td></tr>",
            escaped(name),
            class(name, at),
            share(median),
            share(least),
            share(most - least),
            text(Spread { median, least, most }),
            ratios.join(", "),
        );
    }
    format!(
        "<figure><figcaption>{} <span>{}</span></figcaption><div class=wide><table>{rows}</table></div></figure>",
        escaped(&measure.name),
        escaped(&measure.unit)
    )
}

/// An axis: where a value lies on it from 0 to 1, and what is written beside it.
struct Axis {
    least: f64,
    most: f64,
    scale: fn(f64) -> f64,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        let (least, most) = ((self.scale)(self.least), (self.scale)(self.most));
        if most > least { ((self.scale)(value) - least) / (most - least) } else { 0.5 }
    }

    /// From 0, in steps that are easily read.
    fn linear(most: f64) -> Self {
        let rough = most.max(f64::MIN_POSITIVE) / 4.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let count = (most / step).ceil().max(1.0);
        let ticks = (0..=count as usize).map(|at| (at as f64 * step, round(at as f64 * step))).collect();
        Self { least: 0.0, most: count * step, scale: |value| value, ticks }
    }

    /// By powers of ten.
    fn logarithmic(least: f64, most: f64) -> Self {
        let (from, to) = (least.max(1e-3).log10().floor() as i32, most.max(1e-3).log10().ceil() as i32);
        let to = to.max(from + 1);
        let ticks = (from..=to).map(|power| (10f64.powi(power), round(10f64.powi(power)))).collect();
        Self { least: 10f64.powi(from), most: 10f64.powi(to), scale: f64::log10, ticks }
    }

    /// By the values that there are.
    fn of(values: &[f64]) -> Self {
        let (least, most) = (values.first().copied().unwrap_or(1.0), values.last().copied().unwrap_or(1.0));
        let ticks = values.iter().map(|value| (*value, format!("{value}"))).collect();
        Self { least, most, scale: f64::log10, ticks }
    }

    /// Nines: each as far from the last as that from the one before.
    fn nines(most: f64) -> Self {
        let shares = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999];
        let ticks = shares.into_iter().filter(|share| *share <= most);
        let ticks = ticks.map(|share| (share, format!("{} %", (share * 1e6).round() / 1e4))).collect();
        Self { least: 0.0, most, scale: |share| -(1.0 - share).log10(), ticks }
    }
}

/// Lines, with a legend.
pub(super) fn lines(curve: &Curve) -> String {
    let points = || curve.lines.iter().flat_map(|(_, points)| points).copied();
    let mut xs: Vec<f64> = points().map(|(x, _)| x).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    let (least, most) = points().fold((f64::MAX, 0.0), |(least, most), (_, y)| (y.min(least), y.max(most)));
    let (x, y) = match curve.over {
        Over::Share => (Axis::nines(xs.last().copied().unwrap_or(0.9)), Axis::logarithmic(least, most)),
        Over::Sessions | Over::Bytes => (Axis::of(&xs), Axis::linear(most)),
    };
    let (right, down) = (|value: f64| right(&x, value), |value: f64| down(&y, value));
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img aria-label=\"{}\">",
        escaped(&format!("{}, {}", curve.name, curve.unit))
    );
    grid(&mut svg, curve.over, &x, &y);
    let mut legend = String::new();
    for (at, (name, points)) in curve.lines.iter().enumerate() {
        let class = class(name, at);
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{:.1} {:.1}", right(*x), down(*y))).collect();
        let _ = write!(svg, "<path class=\"line {class}\" d=\"M{}\"/>", path.join("L"));
        for (x, y) in points {
            let _ = write!(
                svg,
                "<circle class=\"dot {class}\" cx={:.1} cy={:.1} r=3><title>{}: {} {}</title></circle>",
                right(*x),
                down(*y),
                escaped(name),
                number(*y),
                escaped(&curve.unit)
            );
        }
        let _ = write!(
            legend,
            "<li><svg viewBox=\"0 0 24 8\"><path class=\"line {class}\" d=\"M0 4H24\"/></svg>{}</li>",
            escaped(name)
        );
    }
    format!(
        "<figure class=plot><figcaption>{} <span>{}</span></figcaption>{svg}</svg><ul>{legend}</ul></figure>",
        escaped(&curve.name),
        escaped(&curve.unit)
    )
}

fn right(axis: &Axis, value: f64) -> f64 {
    LEFT + axis.place(value) * (WIDTH - LEFT - RIGHT)
}

fn down(axis: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - axis.place(value) * (HEIGHT - BOTTOM - TOP)
}

/// The lines behind the lines, and what is written beside them.
fn grid(svg: &mut String, over: Over, x: &Axis, y: &Axis) {
    for (value, label) in &y.ticks {
        let (at, end, label_at) = (down(y, *value), WIDTH - RIGHT, LEFT - 6.0);
        let _ = write!(
            svg,
            "<path class=grid d=\"M{LEFT} {at:.1}H{end}\"/><text class=y x={label_at} y={:.1}>{label}</text>",
            at + 4.0
        );
    }
    for (value, label) in &x.ticks {
        let (at, foot) = (right(x, *value), HEIGHT - BOTTOM);
        let _ = write!(
            svg,
            "<path class=grid d=\"M{at:.1} {TOP}V{foot}\"/><text class=x x={at:.1} y={:.1}>{label}</text>",
            foot + 15.0
        );
    }
    let what = match over {
        Over::Share => "of the keys took at most so long",
        Over::Sessions => "sessions",
        Over::Bytes => "bytes a message",
    };
    let _ = write!(svg, "<text class=what x={:.1} y={:.1}>{what}</text>", WIDTH - RIGHT, HEIGHT - 4.0);
}

/// What polytty takes of what another does, as dots with their spread on a logarithmic line: a row for each.
pub(super) fn ratios(rows: &[(String, Spread)]) -> String {
    const ROW: f64 = 22.0;
    const NAMES: f64 = 300.0;
    let height = rows.len() as f64 * ROW + BOTTOM;
    let least = rows.iter().map(|(_, ratio)| ratio.least).fold(0.5, f64::min);
    let most = rows.iter().map(|(_, ratio)| ratio.most).fold(2.0, f64::max);
    let values = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
    let ticks: Vec<f64> = values.into_iter().filter(|value| *value >= least / 2.6 && *value <= most * 2.6).collect();
    let axis = Axis { least: least / 1.1, most: most * 1.1, scale: f64::log10, ticks: Vec::new() };
    let right = |value: f64| NAMES + axis.place(value) * (WIDTH - NAMES - 70.0);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=img aria-label=\"ratios\">");
    for tick in ticks.into_iter().filter(|tick| (axis.least..=axis.most).contains(tick)) {
        let (at, foot, class) = (right(tick), height - BOTTOM, if tick == 1.0 { "one" } else { "grid" });
        let _ = write!(
            svg,
            "<path class={class} d=\"M{at:.1} 0V{foot}\"/><text class=x x={at:.1} y={:.1}>{tick} ×</text>",
            foot + 15.0
        );
    }
    for (at, (name, Spread { median, least, most })) in rows.iter().enumerate() {
        let middle = (at as f64 + 0.5) * ROW;
        let _ = write!(
            svg,
            "<text class=y x={:.1} y={:.1}>{}</text><path class=\"line c0\" d=\"M{:.1} {middle}H{:.1}\"/>\
             <circle class=\"dot c0\" cx={:.1} cy={middle} r=5 /><text class=v x={:.1} y={:.1}>{}</text>",
            NAMES - 12.0,
            middle + 4.0,
            escaped(name),
            right(*least),
            right(*most),
            right(*median),
            WIDTH - 60.0,
            middle + 4.0,
            number(*median)
        );
    }
    svg + "</svg>"
}

/// A number that ends soon, as it is.
fn round(value: f64) -> String {
    format!("{}", (value * 1e6).round() / 1e6)
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
