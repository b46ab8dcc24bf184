//! Result files under `docs/results/`: each says by which command, when and on what it was made.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

/// Opens a result file's text: its title, and where the numbers come from.
pub(crate) fn heading(title: &str, command: &str) -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (date, machine) = (date(since), machine());
    format!("# {title}\n\nMade by `{command}` on {date}, {machine}. Never edited by hand.\n")
}

/// Writes `text` to `file`, which lies below `root` unless it is absolute.
///
/// # Errors
/// When the directory or the file cannot be written.
pub(crate) fn write(root: &Path, file: &str, text: &str) -> Result<()> {
    let path: PathBuf = root.join(file);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make the place of `{file}`"))?;
    }
    fs::write(&path, text).with_context(|| format!("cannot write `{file}`"))?;
    Ok(())
}

/// Cores and the processor's model; never the machine's name.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let known = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = known.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |rest| rest.trim_start_matches([' ', '\t', ':']));
    format!("{cores} cores, {model}")
}

/// The day `since` 1 January 1970, in the Gregorian calendar, as `YYYY-MM-DD` in UTC.
fn date(since: Duration) -> String {
    // Years begin in March here, so that the leap day is a year's last.
    let days = since.as_secs() / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        let known = [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_689_599, "2024-12-31"),
            (1_735_689_600, "2025-01-01"),
            (4_107_542_400, "2100-03-01"),
        ];
        for (seconds, day) in known {
            assert_eq!(date(Duration::from_secs(seconds)), day);
        }
    }

    #[test]
    fn a_heading_says_how_and_on_what() {
        let heading = heading("Title", "cargo xtask something");
        assert!(heading.starts_with("# Title\n\nMade by `cargo xtask something` on 2"));
        assert!(heading.contains(" cores, "));
    }
}
