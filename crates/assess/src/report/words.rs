//! Numbers as people read them.

use crate::analysis::Unit;
use crate::design::estimate::{HOURS_PER_DAY, HOURS_PER_YEAR};

/// Letters of a probability that is shown as it is written.
const SHORT_LETTERS: usize = 7;

/// A number with three digits that count, in plain letters: `0.0123`, `4.56e-7`, `12300`.
pub fn figure(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return if value.is_nan() { "unknown".to_owned() } else { "no end".to_owned() };
    }
    if !(1e-4..1e7).contains(&size) {
        return format!("{value:.2e}");
    }
    let before = size.log10().floor() as i32;
    let after = usize::try_from(2 - before).unwrap_or(0);
    let text = format!("{value:.after$}");
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

/// A probability. Never rounded to 1 while it is not: what is all but certain shows how far from it.
pub fn probability(value: f64) -> String {
    let missing = 1.0 - value;
    // As people write them: 0.999.
    let short = value.to_string();
    if value.is_finite() && short.len() <= SHORT_LETTERS {
        return short;
    }
    if value < 1.0 && missing < 2e-3 {
        return format!("1 - {missing:.1e}");
    }
    figure(value)
}

/// A time in the unit that suits it; hours as given for scripts are in the JSON.
pub fn time(hours: f64) -> String {
    if !hours.is_finite() {
        return "for ever".to_owned();
    }
    let (value, unit) = match hours.abs() {
        size if size >= HOURS_PER_YEAR => (hours / HOURS_PER_YEAR, "y"),
        size if size >= 3.0 * HOURS_PER_DAY => (hours / HOURS_PER_DAY, "d"),
        size if size >= 1.0 || size == 0.0 => (hours, "h"),
        size if size >= 1.0 / 60.0 => (hours * 60.0, "min"),
        _ => (hours * 3600.0, "s"),
    };
    format!("{} {unit}", figure(value))
}

/// A mean time; none is one that never comes.
pub fn mean_time(hours: Option<f64>) -> String {
    hours.map_or_else(|| "never".to_owned(), time)
}

/// A rate in the unit that suits it.
pub fn rate(per_hour: f64) -> String {
    let (value, unit) = match per_hour {
        rate if rate >= 0.5 => (rate, "h"),
        rate if rate * HOURS_PER_DAY >= 0.5 => (rate * HOURS_PER_DAY, "d"),
        rate => (rate * HOURS_PER_YEAR, "y"),
    };
    format!("{}/{unit}", figure(value))
}

/// So many servers.
pub fn servers(count: usize) -> String {
    if count == 1 { "1 server".to_owned() } else { format!("{count} servers") }
}

/// An amount, in whole units where that is exact enough, with thousands apart.
pub fn money(amount: f64, currency: &str) -> String {
    if !amount.is_finite() || amount.abs() < 100.0 || amount.abs() >= 1e15 {
        return format!("{} {currency}", figure(amount)).trim_end().to_owned();
    }
    let digits = format!("{:.0}", amount.abs());
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    let sign = if amount < 0.0 { "-" } else { "" };
    format!("{sign}{grouped} {currency}").trim_end().to_owned()
}

/// A value in its unit.
pub fn value(value: Option<f64>, unit: Unit, currency: &str) -> String {
    let Some(number) = value else { return "never".to_owned() };
    match unit {
        Unit::Probability => probability(number),
        Unit::Hours => time(number),
        Unit::PerHour => rate(number),
        Unit::Money => money(number, currency),
        Unit::Number => figure(number),
    }
}

/// Names with commas between them.
pub(crate) fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits_that_count() {
        for (value, text) in [
            (0.0, "0"),
            (0.012_345, "0.0123"),
            (4.567e-7, "4.57e-7"),
            (891.667, "892"),
            (10_479.52, "10480"),
            (0.1, "0.1"),
            (7.0, "7"),
            (-2.5, "-2.5"),
            (f64::INFINITY, "no end"),
        ] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn what_is_all_but_certain_is_not_shown_as_certain() {
        assert_eq!(probability(0.999_999_01), "1 - 9.9e-7");
        assert_eq!(probability(0.999_271_3), "1 - 7.3e-4");
        assert_eq!(probability(0.999), "0.999");
        assert_eq!(probability(1.0), "1");
        assert_eq!(probability(0.99), "0.99");
    }

    #[test]
    fn times_rates_and_money_have_the_unit_that_suits_them() {
        assert_eq!(time(891.667), "37.2 d");
        assert_eq!(time(0.25), "15 min");
        assert_eq!(time(87_600.0), "10 y");
        assert_eq!(mean_time(None), "never");
        assert_eq!(rate(0.01), "87.6/y");
        assert_eq!(rate(2.0), "2/h");
        assert_eq!(money(1_234_567.0, "EUR"), "1 234 567 EUR");
        assert_eq!(money(0.5, "EUR"), "0.5 EUR");
        assert_eq!(value(None, Unit::Hours, ""), "never");
        assert_eq!([0, 1, 2].map(servers), ["0 servers", "1 server", "2 servers"]);
    }
}
