//! Durations such as `30s` and sizes such as `64KiB`.

use std::time::Duration;

const DURATION_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 6] =
    [("PiB", 1 << 50), ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads a duration: whole numbers, each with its unit (`d`, `h`, `m`, `s`, `ms`), larger units first, as in `1h30m`.
/// `None` if it is written otherwise or too large for 64 bits of milliseconds.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let (mut rest, mut total, mut units) = (text, 0_u64, &DURATION_UNITS[..]);
    while !rest.is_empty() {
        let (number, unit, behind) = quantity(rest)?;
        let index = units.iter().position(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(units[index].1)?)?;
        (rest, units) = (behind, &units[index + 1..]);
    }
    Some(Duration::from_millis(total))
}

/// Reads a size in bytes: one whole number and its unit (`B`, `KiB`, `MiB`, `GiB`, `TiB`, `PiB`).
/// `None` if it is written otherwise or too large for 64 bits.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit, "") = quantity(text)? else { return None };
    number.checked_mul(SIZE_UNITS.iter().find(|(name, _)| *name == unit)?.1)
}

/// The duration as [`parse_duration`] reads it, in the largest unit that leaves no rest. Fractions of a millisecond
/// are cut.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS, "0s")
}

/// The size as [`parse_size`] reads it, in the largest unit that leaves no rest.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZE_UNITS, "0B")
}

fn show(value: u64, units: &[(&str, u64)], zero: &str) -> String {
    match units.iter().find(|(_, unit)| value > 0 && value.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", value / unit),
        None => zero.to_owned(),
    }
}

/// The number and the letters at the beginning, and what stands behind them.
fn quantity(text: &str) -> Option<(u64, &str, &str)> {
    let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (unit, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len()));
    Some((digits.parse().ok()?, unit, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_nothing_else_has() {
        let millis = |text| parse_duration(text).map(|duration| duration.as_millis());
        for (text, expected) in [
            ("0s", 0),
            ("30s", 30_000),
            ("500ms", 500),
            ("5m", 300_000),
            ("24h", 86_400_000),
            ("1d", 86_400_000),
            ("1h30m", 5_400_000),
            ("1m0s5ms", 60_005),
            ("007s", 7000),
        ] {
            assert_eq!(millis(text), Some(expected), "{text:?}");
        }
        let too_large = "213503982335d";
        let others =
            ["", "30", "s", "30 s", " 30s", "30s ", "1.5h", "-1s", "+1s", "30S", "5min", "30s1h", "1s1s", "1h30"];
        for text in others.into_iter().chain([too_large, "18446744073709551616ms", "30ｓ", "٣s", "1e3s"]) {
            assert_eq!(millis(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_binary_and_say_so() {
        for (text, expected) in
            [("0B", 0), ("512B", 512), ("64KiB", 65_536), ("1MiB", 1_048_576), ("2GiB", 2_147_483_648)]
        {
            assert_eq!(parse_size(text), Some(expected), "{text:?}");
        }
        for text in
            ["", "64", "B", "64 KiB", "64K", "64KB", "64kib", "64k", "1.5MiB", "-1B", "1MiB1KiB", "17179869184GiB"]
        {
            assert_eq!(parse_size(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for text in ["0s", "1ms", "1500ms", "30s", "5m", "90m", "3d"] {
            assert_eq!(show_duration(parse_duration(text).unwrap()), text);
        }
        for text in ["0B", "1B", "1025B", "64KiB", "3MiB", "1GiB"] {
            assert_eq!(show_size(parse_size(text).unwrap()), text);
        }
        assert_eq!(
            parse_duration(&show_duration(Duration::from_millis(u64::MAX))).unwrap().as_millis() as u64,
            u64::MAX
        );
    }
}
