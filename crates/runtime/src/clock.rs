//! The host's clock as cores see it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ravelin_model::Time;

/// Reads wall-clock time once and goes on by the monotonic clock, so that time never goes back
/// within a process. A change of the host's clock shows after a restart.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    at: Duration,
}

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), at }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Time {
        let since = self.at + self.started.elapsed();
        Time(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// How long until `time`; zero if it has passed.
    #[must_use]
    pub fn until(&self, time: Time) -> Duration {
        time.since(self.now())
    }
}
