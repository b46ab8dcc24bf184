//! The machine that a campaign ran on, and how busy others kept it: times mean nothing without.

use std::fmt;
use std::fs;
use std::time::Duration;

/// How long the processors are watched.
const WATCH: Duration = Duration::from_secs(1);

/// How busy the processors were while the campaign did nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    /// Share of all processors in percent; `None` where the system does not tell.
    busy_percent: Option<u64>,
}

impl Noise {
    /// Watches for a second.
    pub(super) async fn measure() -> Self {
        let before = ticks();
        tokio::time::sleep(WATCH).await;
        let busy_percent =
            before.zip(ticks()).and_then(|((busy, all), (busy_later, all_later))| {
                (100 * busy_later.saturating_sub(busy)).checked_div(all_later.saturating_sub(all))
            });
        Self { busy_percent }
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.busy_percent {
            Some(busy) => write!(out, "{busy} %"),
            None => out.write_str("unknown"),
        }
    }
}

/// Ticks that the processors worked, and all ticks.
fn ticks() -> Option<(u64, u64)> {
    parse_ticks(&fs::read_to_string("/proc/stat").ok()?)
}

fn parse_ticks(stat: &str) -> Option<(u64, u64)> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    // user, nice, system, idle, waiting, interrupts, soft interrupts, stolen; guests are in user.
    let fields: Vec<u64> =
        fields.split_whitespace().take(8).map_while(|it| it.parse().ok()).collect();
    let all: u64 = fields.iter().sum();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    Some((all - idle, all))
}

/// The processors, as `2 x NAME`.
pub(crate) fn processors() -> String {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!("{count} x {}", name.map_or("unknown", |(_, name)| name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_disk_is_not_work_and_guests_are_not_counted_twice() {
        let stat = "cpu  10 20 30 400 50 1 2 3 10 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(parse_ticks(stat), Some((66, 516)));
        assert_eq!(parse_ticks("intr 5"), None);
    }
}
