//! One input given to one target, and what it cost.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::meter::most_held;
use crate::target::{Memory, Target, Verdict};

/// Processor time that no input of a few KiB may take.
const TIME_MAX: Duration = Duration::from_millis(500);

/// What came of an input.
pub(crate) struct Trial {
    pub(crate) verdict: Verdict,
    pub(crate) held: usize,
    pub(crate) took: Duration,
}

impl Trial {
    /// Runs the target; its panics go through.
    pub(crate) fn run(target: &Target, input: &[u8]) -> Self {
        let begun = own_time();
        let (held, verdict) = most_held(|| (target.run)(input));
        Self { verdict, held, took: own_time().saturating_sub(begun) }
    }

    /// What every target promises, or which promise is broken.
    pub(crate) fn judge(&self, target: &Target, input: &[u8]) -> Result<(), String> {
        let Memory { base, factor } = target.memory;
        let held_max = base + factor * input.len();
        if self.held > held_max {
            return Err(format!(
                "{} bytes held for an input of {}: {held_max} are allowed",
                self.held,
                input.len()
            ));
        }
        if self.took > TIME_MAX {
            return Err(format!("{:?} for an input of {} bytes", self.took, input.len()));
        }
        Ok(())
    }
}

/// Processor time of this thread.
fn own_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}
