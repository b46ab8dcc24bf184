//! Dates as people write them.

use std::time::{SystemTime, UNIX_EPOCH};

use ravelin_model::Time;

/// Now, in universal time: `2031-12-24T18:00:00Z`.
pub(crate) fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    written(seconds)
}

/// The date of an agreed time, to the millisecond.
pub(crate) fn of(time: Time) -> String {
    let date = written(time.0 / 1_000_000);
    format!("{}.{:03}Z", date.trim_end_matches('Z'), time.0 / 1_000 % 1_000)
}

/// The date `seconds` after the beginning of 1970.
///
/// # Source
/// The Gregorian calendar in cycles of 400 years, with years that begin in March so that leap days
/// come last.
fn written(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, turned) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + 400 * cycle + turned;
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::written;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
        ] {
            assert_eq!(written(seconds), date);
        }
    }
}
