//! What was measured.

use serde::{Deserialize, Serialize};

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    Less,
    More,
}

/// A median, with the least and the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { median, least, most })
    }
}

/// One thing, measured of several in alternating rounds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Measure {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
    /// By whom it was measured of, one value a round; `None` where the round told nothing.
    pub(crate) values: Vec<(String, Vec<Option<f64>>)>,
    /// Pairs of names whose values are compared, round by round: the first over the second.
    pub(crate) ratios: Vec<(String, String)>,
}

impl Measure {
    pub(crate) fn new(name: &str, unit: &str, better: Better) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned(), better, values: Vec::new(), ratios: Vec::new() }
    }

    /// Takes in what a round has shown of a proxy. polytty is compared with each of the others.
    pub(crate) fn add(&mut self, name: &str, value: Option<f64>) {
        if name != "polytty" {
            self.compare("polytty", name);
        }
        self.add_alone(name, value);
    }

    /// The same of what polytty is not compared with.
    pub(crate) fn add_alone(&mut self, name: &str, value: Option<f64>) {
        match self.values.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value),
            None => self.values.push((name.to_owned(), vec![value])),
        }
    }

    /// Has two of them compared.
    pub(crate) fn compare(&mut self, one: &str, other: &str) {
        let pair = (one.to_owned(), other.to_owned());
        if !self.ratios.contains(&pair) {
            self.ratios.push(pair);
        }
    }

    /// Of one of them.
    pub(crate) fn spread(&self, name: &str) -> Option<Spread> {
        Spread::of(self.rounds(name)?.iter().flatten().copied().collect())
    }

    /// Whether these two are compared.
    pub(crate) fn compares(&self, one: &str, other: &str) -> bool {
        self.ratios.iter().any(|(first, second)| (first.as_str(), second.as_str()) == (one, other))
    }

    /// One value over another, round by round.
    pub(crate) fn ratio(&self, one: &str, other: &str) -> Option<Spread> {
        let pairs = self.rounds(one)?.iter().zip(self.rounds(other)?);
        let ratios = pairs.filter_map(|(one, other)| Some((*one)? / (*other)?));
        Spread::of(ratios.filter(|ratio| ratio.is_finite()).collect())
    }

    fn rounds(&self, name: &str) -> Option<&[Option<f64>]> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, values)| &values[..])
    }
}

/// What the points of a curve lie over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Over {
    /// The share of keys that took at most so long, from 0 to 1.
    Share,
    /// Sessions.
    Sessions,
    /// Bytes of a message.
    Bytes,
}

/// Lines over something.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) over: Over,
    pub(crate) lines: Vec<(String, Vec<(f64, f64)>)>,
}

impl Curve {
    pub(crate) fn new(name: &str, unit: &str, over: Over) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned(), over, lines: Vec::new() }
    }

    /// Adds a point to a line.
    pub(crate) fn add(&mut self, line: &str, x: f64, y: f64) {
        match self.lines.iter_mut().find(|(name, _)| name == line) {
            Some((_, points)) => points.push((x, y)),
            None => self.lines.push((line.to_owned(), vec![(x, y)])),
        }
    }

    /// Adds the distribution of latencies as a line. More nines are not told than there are keys for.
    pub(crate) fn add_distribution(&mut self, line: &str, mut latencies: Vec<f64>) {
        const SHARES: [f64; 13] = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999];
        latencies.sort_by(f64::total_cmp);
        for share in SHARES {
            if (1.0 - share) * latencies.len() as f64 >= 1.0 {
                self.add(line, share, at(&latencies, share));
            }
        }
    }
}

/// The value that this share of them does not exceed.
pub(crate) fn at(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}
