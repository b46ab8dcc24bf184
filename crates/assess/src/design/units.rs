//! Times and rates as people write them: `720h`, `30d`, `0.01/h`, `2/y`.

use super::estimate::{HOURS_PER_DAY, HOURS_PER_YEAR};

/// Units of time, with their hours.
const UNITS: [(&str, f64); 7] = [
    ("ms", 1.0 / 3_600_000.0),
    ("s", 1.0 / 3600.0),
    ("min", 1.0 / 60.0),
    ("h", 1.0),
    ("d", HOURS_PER_DAY),
    ("w", 7.0 * HOURS_PER_DAY),
    ("y", HOURS_PER_YEAR),
];

/// What a text with a unit says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Quantity {
    /// Hours.
    Time(f64),
    /// Per hour.
    Rate(f64),
}

/// Reads a time, as `30d`, or a rate, as `2/y`. `None`: neither. The number may be anything that
/// Rust reads as one; its range is the caller's to check.
pub(crate) fn quantity(text: &str) -> Option<Quantity> {
    let text = text.trim();
    if let Some((number, unit)) = text.split_once('/') {
        let number: f64 = number.trim().parse().ok()?;
        return Some(Quantity::Rate(number / hours(unit.trim())?));
    }
    let end = text.rfind(|letter: char| !letter.is_ascii_lowercase()).map_or(0, |last| last + 1);
    let (number, unit) = text.split_at_checked(end)?;
    let number: f64 = number.trim().parse().ok()?;
    Some(Quantity::Time(number * hours(unit)?))
}

/// Hours of a unit.
fn hours(unit: &str) -> Option<f64> {
    UNITS.iter().find(|(name, _)| *name == unit).map(|(_, hours)| *hours)
}

/// A time as a person would write it: the largest unit of which it has at least one.
#[must_use]
pub fn time_text(hours: f64) -> String {
    let fits = UNITS.iter().rev().find(|(_, unit)| hours >= *unit);
    let (name, unit) = fits.copied().unwrap_or(("ms", 1.0 / 3_600_000.0));
    format!("{}{name}", rounded(hours / unit))
}

/// A rate as a person would write it: per the smallest unit in which at least one event is
/// expected, at most per year.
#[must_use]
pub fn rate_text(per_hour: f64) -> String {
    let fits = UNITS.iter().skip(1).find(|(_, unit)| per_hour * unit >= 1.0);
    let (name, unit) = fits.copied().unwrap_or(("y", HOURS_PER_YEAR));
    format!("{}/{name}", rounded(per_hour * unit))
}

/// Four significant digits.
fn rounded(value: f64) -> String {
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    // What has many zeros is written by its power of ten.
    if (1e-3..1e7).contains(&rounded) { rounded.to_string() } else { format!("{rounded:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_rates_are_told_apart() {
        assert_eq!(quantity("720h"), Some(Quantity::Time(720.0)));
        assert_eq!(quantity(" 1.5 d "), Some(Quantity::Time(36.0)));
        assert_eq!(quantity("0.01/h"), Some(Quantity::Rate(0.01)));
        assert_eq!(quantity("8760 / y"), Some(Quantity::Rate(1.0)));
        assert_eq!(quantity("-1e2h"), Some(Quantity::Time(-100.0)));
        for neither in ["", "h", "10", "10 parsecs", "1/2/h", "/h", "1/", "1h30min", "10é", "h10"]
        {
            assert_eq!(quantity(neither), None, "{neither}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for hours in [1e-300, 1e-9, 0.001, 0.5, 1.0, 36.0, 720.0, 8760.0, 100_000.0, 1e300] {
            let Some(Quantity::Time(read)) = quantity(&time_text(hours)) else { panic!("{hours}") };
            assert!((read / hours - 1.0).abs() < 1e-3, "{hours}: {}", time_text(hours));
        }
        for rate in [1e-300, 1e-9, 1e-4, 0.01, 2.0, 5000.0, 1e300] {
            let Some(Quantity::Rate(read)) = quantity(&rate_text(rate)) else { panic!("{rate}") };
            assert!((read / rate - 1.0).abs() < 1e-3, "{rate}: {}", rate_text(rate));
        }
    }
}
