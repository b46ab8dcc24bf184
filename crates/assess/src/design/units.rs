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

/// Letters of a time that is written exactly though in a smaller unit than need be.
const EXACT_MAX: usize = 5;

/// A time as a person would write it: in the largest unit of which it has at least one, unless a smaller one
/// gives it exactly and shorter, as `180d` for 25.71 weeks.
#[must_use]
pub fn time_text(hours: f64) -> String {
    let text = |(name, unit): (&str, f64)| format!("{}{name}", rounded(hours / unit));
    let fitting = UNITS.iter().rev().copied().filter(|(_, unit)| hours >= *unit);
    let is_exact = |(_, unit): &(&str, f64)| {
        let read: f64 = rounded(hours / unit).parse().unwrap_or(f64::NAN);
        (read * unit / hours - 1.0).abs() < 1e-9
    };
    let exact = fitting.clone().filter(is_exact).map(text);
    let exact = exact.filter(|text| text.len() <= EXACT_MAX).min_by_key(String::len);
    let largest = || text(fitting.clone().next().unwrap_or(("ms", 1.0 / 3_600_000.0)));
    exact.unwrap_or_else(largest)
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
    fn a_time_is_written_as_a_model_would() {
        for text in ["180d", "30d", "7.5d", "15d", "1w", "1y", "10y", "36h", "1.5h", "90s", "5min"]
        {
            let Some(Quantity::Time(hours)) = quantity(text) else { panic!("{text}") };
            assert_eq!(time_text(hours), text);
        }
        assert_eq!(time_text(100_000.0), "11.42y");
        assert_eq!(time_text(1000.0 / 7.0), "5.952d");
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
