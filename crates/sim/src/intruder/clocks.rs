//! Lies about the time, in its blocks' timestamps and to its own replica.

use std::time::Duration;

use super::{Deed, Intruder, Scene, Shift};

/// How long ago the past is: a day.
const PAST: Duration = Duration::from_secs(86_400);
/// How long ago the near past is: half of what ends an idle session.
const NEAR_PAST: Duration = Duration::from_secs(1_800);
/// How far ahead the future is: ten years.
const FUTURE: Duration = Duration::from_secs(315_360_000);

/// Lives in another time.
#[derive(Debug)]
pub(super) struct Clock {
    name: &'static str,
    shift: Shift,
}

impl Clock {
    /// Long ago.
    pub(super) fn past() -> Self {
        Self { name: "past-clock", shift: Shift::Past(PAST) }
    }

    /// Not long ago.
    pub(super) fn slow() -> Self {
        Self { name: "slow-clock", shift: Shift::Past(NEAR_PAST) }
    }

    /// Far ahead.
    pub(super) fn future() -> Self {
        Self { name: "future-clock", shift: Shift::Future(FUTURE) }
    }
}

impl Intruder for Clock {
    fn name(&self) -> &'static str {
        self.name
    }

    fn shift(&self) -> Shift {
        self.shift
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        if scene.own_block(&deed).is_some() {
            scene.act();
        }
        scene.let_pass(deed);
    }
}
