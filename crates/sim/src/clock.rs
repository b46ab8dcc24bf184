//! A host's clock: off by some, running at its own speed, sometimes jumping ahead.

use ravelin_model::Time;

use crate::dice::Dice;
use crate::network::Micros;
use crate::options::{FaultClass, Options};

/// When simulations begin, as clocks show it.
const EPOCH_US: u64 = 1_700_000_000_000_000;
/// How far clocks differ at most.
const SKEW_MAX_US: u64 = 2_000_000;
/// How much faster than true time a clock runs at most, in millionths.
const DRIFT_MAX_PPM: u64 = 2_000;

/// From true time to what a host believes.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    offset: u64,
    ppm: u64,
}

impl Clock {
    /// The clock of a party, by its name.
    pub(crate) fn new(options: &Options, party: &str) -> Self {
        let mut dice = Dice::new(options.seed, &format!("clock of {party}"));
        let (skew, drift) = (dice.below(SKEW_MAX_US), dice.below(DRIFT_MAX_PPM));
        Self {
            offset: EPOCH_US + if options.has(FaultClass::Skew) { skew } else { 0 },
            ppm: if options.has(FaultClass::Drift) { drift } else { 0 },
        }
    }

    /// What it shows at the true time `now`.
    pub(crate) fn show(&self, now: Micros) -> Time {
        Time(
            self.offset + now + now / 1_000_000 * self.ppm + now % 1_000_000 * self.ppm / 1_000_000,
        )
    }

    /// The true time, after `now`, at which it shows `deadline` or more.
    pub(crate) fn when(&self, now: Micros, deadline: Time) -> Micros {
        let away = deadline.0.saturating_sub(self.show(now).0);
        let true_away = away - away / (1_000_000 + self.ppm) * self.ppm;
        now + true_away.max(1)
    }

    /// Jumps ahead.
    pub(crate) fn jump(&mut self, by: Micros) {
        self.offset += by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Mode, Settings};

    #[test]
    fn a_deadline_is_reached_soon_after_it_is_said_to_be() {
        for seed in 0..50 {
            let mut options = Options::draw(seed, Mode::Safety, Settings::default());
            options.classes.extend([FaultClass::Skew, FaultClass::Drift]);
            let clock = Clock::new(&options, "server 0");
            let deadline = clock.show(5_000_000).after(std::time::Duration::from_millis(730));
            let mut now = 5_000_000;
            for _ in 0..4 {
                now = clock.when(now, deadline);
            }
            assert!(clock.show(now) >= deadline);
            assert!(clock.show(now).since(deadline) < std::time::Duration::from_millis(3));
        }
    }
}
