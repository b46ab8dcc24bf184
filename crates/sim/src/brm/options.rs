//! What happens in one run, all of it drawn from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ravelin_multicast::brm::{Engine, Variant};

use super::intruder;
use crate::dice::Dice;

/// Sizes of the groups.
const SIZES: (u64, u64) = (3, 7);
/// One run in so many has each kind of trouble.
const ODDS: u64 = 3;

/// A kind of trouble apart from intruded processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Up to `od` copies between two processes are lost.
    Loss,
    /// They arrive with some bits changed, instead.
    Corruption,
    /// Copies arrive twice.
    Duplication,
    /// Copies overtake each other by far, some by more than `tstart`.
    Reordering,
    /// The network brings old copies again, also after everybody has forgotten them.
    Replay,
    /// No copy reaches one process, which counts as failed by that.
    Isolation,
    /// Processes are asleep for a while, and hear everything afterwards.
    Pause,
    /// Between a timestamp and the proposal some time passes; some are refused.
    Stall,
    /// Proposals take long until the majority counts them; some come too late.
    LateControl,
    /// Wormholes learn decisions late.
    LateDecisions,
    /// Wormholes stop, most often fewer than would stop the others.
    WormholeCrash,
    /// Timestamps are uncertain.
    UncertainClocks,
    /// Wormholes have little room.
    LittleRoom,
    /// A wormhole is told no decisions, and gives up.
    LostDecisions,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Loss,
        Self::Corruption,
        Self::Duplication,
        Self::Reordering,
        Self::Replay,
        Self::Isolation,
        Self::Pause,
        Self::Stall,
        Self::LateControl,
        Self::LateDecisions,
        Self::WormholeCrash,
        Self::UncertainClocks,
        Self::LittleRoom,
        Self::LostDecisions,
    ];

    /// Its name in outputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Corruption => "corruption",
            Self::Duplication => "duplication",
            Self::Reordering => "reordering",
            Self::Replay => "replay",
            Self::Isolation => "isolation",
            Self::Pause => "pause",
            Self::Stall => "stall",
            Self::LateControl => "late-control",
            Self::LateDecisions => "late-decisions",
            Self::WormholeCrash => "wormhole-crash",
            Self::UncertainClocks => "uncertain-clocks",
            Self::LittleRoom => "little-room",
            Self::LostDecisions => "lost-decisions",
        }
    }
}

/// What is not drawn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// The protocol.
    pub variant: Option<Variant>,
    /// How the wormholes agree.
    pub engine: Option<Engine>,
    /// The only kind of intruder.
    pub intruder: Option<&'static str>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where chance comes from.
    pub seed: u64,
    /// The protocol.
    pub variant: Variant,
    /// How the wormholes agree.
    pub engine: Engine,
    /// Processes, each on a host of its own.
    pub n: u16,
    /// The omission degree.
    pub od: u16,
    /// The kinds of trouble.
    pub classes: BTreeSet<Class>,
    /// What the intruded processes do.
    pub intruders: BTreeMap<u16, &'static str>,
}

impl Options {
    /// The run of a seed. At least one process is not intruded, and all others may be.
    #[must_use]
    pub fn draw(seed: u64, settings: Settings) -> Self {
        let mut dice = Dice::new(seed, "brm options");
        let n = u16::try_from(dice.between(SIZES.0, SIZES.1)).unwrap_or(3);
        let variant = if dice.once_in(2) { Variant::T } else { Variant::M };
        let engine = if dice.once_in(2) { Engine::Quorum } else { Engine::RealTime };
        let od = u16::try_from(dice.below(4)).unwrap_or(0);
        let is_on = |_: &Class| dice.once_in(ODDS);
        let classes = Class::ALL.into_iter().filter(is_on).collect();
        let mut options = Self {
            seed,
            variant: settings.variant.unwrap_or(variant),
            engine: settings.engine.unwrap_or(engine),
            n,
            od,
            classes,
            intruders: BTreeMap::new(),
        };
        options.intrude(settings.intruder);
        options
    }

    fn intrude(&mut self, only: Option<&'static str>) {
        let mut dice = Dice::new(self.seed, "brm intruders");
        let mut left: Vec<u16> = (0..self.n).collect();
        let fewest = u64::from(only.is_some());
        for _ in 0..dice.between(fewest, u64::from(self.n) - 1) {
            let place = usize::try_from(dice.below(left.len() as u64)).unwrap_or(0);
            let name = only.or_else(|| dice.pick(&intruder::NAMES).copied());
            self.intruders.extend(name.map(|name| (left.swap_remove(place), name)));
        }
        // Who fills a wormhole with instances that do not exist has it refuse others for as long as
        // they may be planned ahead, unless it has the room that the protocol asks for.
        if self.intruders.values().any(|name| intruder::OPENERS.contains(name)) {
            self.classes.remove(&Class::LittleRoom);
        }
    }

    /// Whether this kind of trouble is on.
    #[must_use]
    pub fn has(&self, class: Class) -> bool {
        self.classes.contains(&class)
    }
}

impl fmt::Display for Options {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, variant, engine, n, od, .. } = self;
        write!(out, "seed {seed}: BRM-{variant:?} of {n} under {engine:?} with od {od};")?;
        self.classes.iter().try_for_each(|class| write!(out, " {}", class.name()))?;
        self.intruders.iter().try_for_each(|(who, name)| write!(out, "; {who} is {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_drawn_and_somebody_is_always_left() {
        let runs: Vec<Options> =
            (0..2000).map(|seed| Options::draw(seed, Settings::default())).collect();
        for class in Class::ALL {
            assert!(runs.iter().any(|run| run.has(class)), "{}", class.name());
        }
        for name in intruder::NAMES {
            assert!(runs.iter().any(|run| run.intruders.values().any(|it| *it == name)), "{name}");
        }
        for n in 3..=7 {
            for count in 0..usize::from(n) {
                let is_it = |run: &&Options| run.n == n && run.intruders.len() == count;
                assert!(runs.iter().any(|run| is_it(&run)), "{count} of {n}");
            }
        }
        assert!(runs.iter().all(|run| run.intruders.len() < usize::from(run.n)));
    }
}
