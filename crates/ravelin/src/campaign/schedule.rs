//! What a campaign does, in which order: drawn from a seed.

use std::fmt;
use std::time::Duration;

use ravelin_model::ReplicaId;
use ravelin_sim::{Dice, intruder};

use super::relay::Gate;
use crate::machine::Trouble;

/// The longest pause of a server.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The longest pause of a campaign that must be short.
const SHORT_PAUSE_MAX: Duration = Duration::from_secs(3);
/// Pauses of a full campaign, one range of seconds for each server.
const PAUSES: [(u64, u64); 4] = [(1, 4), (5, 14), (15, 40), (60, 60)];
/// How long a server is down, cut off or in an intruder's hands.
const HOLD: Duration = Duration::from_secs(3);
const SHORT_HOLD: Duration = Duration::from_millis(1500);
/// The same for what befalls machines, from and to.
const MACHINE_HOLD_MS: (u64, u64) = (2000, 8000);
/// What a step costs beside its hold: coming back, reading everything back, a cluster anew.
const AROUND: Duration = Duration::from_millis(2500);
/// What beginning and the last step cost.
const FRAME: Duration = Duration::from_secs(8);

/// What is done to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drill {
    /// `kill -9`, then started again.
    Kill,
    /// `kill -9` and its data directory deleted, then started again.
    Wipe,
    /// `SIGSTOP`, then `SIGCONT`.
    Pause,
    /// Its connections are cut, then it is let back.
    Cut(Gate),
    /// The intruder of this name has it, then it is given back.
    Takeover(&'static str),
    /// Nothing reaches it, or nothing leaves it, in turn, for moments.
    Flap,
    /// Its machine is in trouble, then no more.
    Machine(Trouble),
}

impl Drill {
    /// Its name in outputs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Wipe => "wipe",
            Self::Pause => "pause",
            Self::Cut(Gate::OutOnly) => "cut-incoming",
            Self::Cut(Gate::InOnly) => "cut-outgoing",
            Self::Cut(_) => "cut",
            Self::Takeover(name) => name,
            Self::Flap => "flap",
            Self::Machine(trouble) => trouble.name(),
        }
    }

    /// Whether others may rightly suspect the server afterwards, though it never lied.
    pub(super) fn excuses_suspicion(self) -> bool {
        match self {
            Self::Takeover(_) => true,
            Self::Machine(trouble) => trouble.excuses_suspicion(),
            _ => false,
        }
    }

    /// Whether proof against the server may come of it, though the server never lied.
    pub(super) fn may_expose(self) -> bool {
        matches!(self, Self::Takeover(_) | Self::Machine(Trouble::Twin))
    }

    /// The first of `servers` on which it can be played: a second process with a server's key is heard
    /// by those that the server dials, and those of lower number are dialed.
    fn first_server(self, servers: u16) -> u16 {
        match self {
            Self::Machine(Trouble::Twin) => servers.div_ceil(3).min(servers.saturating_sub(1)),
            _ => 0,
        }
    }

    /// Why it cannot be played here, if it cannot.
    pub(super) fn missing(self) -> Option<String> {
        match self {
            Self::Machine(trouble) => trouble.missing(),
            _ => None,
        }
    }
}

/// One step: what is done to whom, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) server: ReplicaId,
    pub(super) drill: Drill,
    pub(super) hold: Duration,
}

impl Step {
    /// About how long it takes.
    pub(super) fn cost(&self) -> Duration {
        self.hold + AROUND
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.hold.as_secs_f64();
        match self.drill {
            Drill::Kill => write!(out, "kill -9, started again after {seconds:.1} s"),
            Drill::Wipe => {
                write!(out, "kill -9, its data deleted, started again after {seconds:.1} s")
            }
            Drill::Pause => write!(out, "SIGSTOP for {seconds:.1} s"),
            Drill::Cut(Gate::OutOnly) => write!(out, "for {seconds:.1} s nothing reaches it"),
            Drill::Cut(Gate::InOnly) => write!(out, "for {seconds:.1} s nothing leaves it"),
            Drill::Cut(_) => write!(out, "all its connections closed for {seconds:.1} s"),
            Drill::Takeover(name) => {
                let known = intruder::all().iter().find(|known| known.name == name);
                write!(out, "owned: {}", known.map_or(name, |known| known.what))
            }
            Drill::Flap => write!(out, "for {seconds:.1} s cut off in one direction now and then"),
            Drill::Machine(trouble) => write!(out, "for {seconds:.1} s: {}", trouble.what()),
        }
    }
}

/// Every drill on every server, one server after the other.
pub(super) fn full(seed: u64, servers: u16) -> Vec<Step> {
    let mut dice = Dice::new(seed, "campaign");
    let mut pauses = PAUSES;
    shuffle(&mut dice, &mut pauses);
    let mut steps = Vec::new();
    for (server, (least, most)) in shuffled_servers(&mut dice, servers).zip(pauses) {
        let mut drills = vec![Drill::Kill, Drill::Wipe, Drill::Pause];
        drills.extend(CUTS.map(Drill::Cut));
        let mut intruders = live_intruders();
        shuffle(&mut dice, &mut intruders);
        drills.extend(intruders.into_iter().map(Drill::Takeover));
        let pause = Duration::from_secs(dice.between(least, most)).min(PAUSE_MAX);
        steps.extend(drills.into_iter().map(|drill| {
            let hold = if drill == Drill::Pause { pause } else { HOLD };
            Step { server, drill, hold }
        }));
    }
    steps
}

/// A part that takes about `most`: first every server once, by a kill, a wipe, a pause, or a cut; then a
/// one-way cut, and intruders on each server in turn, as many as fit.
pub(super) fn part(seed: u64, servers: u16, most: Duration) -> Vec<Step> {
    let mut dice = Dice::new(seed, "campaign");
    let servers: Vec<ReplicaId> = shuffled_servers(&mut dice, servers).collect();
    let mut drills = vec![Drill::Kill, Drill::Wipe, Drill::Pause, Drill::Cut(Gate::Closed)];
    shuffle(&mut dice, &mut drills);
    let one_way = [Gate::OutOnly, Gate::InOnly];
    drills.extend(dice.pick(&one_way).copied().map(Drill::Cut));
    let mut intruders = live_intruders();
    shuffle(&mut dice, &mut intruders);
    drills.extend(intruders.into_iter().map(Drill::Takeover));
    let short = u64::try_from(SHORT_PAUSE_MAX.as_millis()).unwrap_or(u64::MAX);
    let pause = Duration::from_millis(dice.between(1000, short));
    let steps = servers.iter().cycle().zip(drills).map(|(server, drill)| {
        let hold = if drill == Drill::Pause { pause } else { SHORT_HOLD };
        Step { server: *server, drill, hold }
    });
    let mut left = most.saturating_sub(FRAME);
    let fits = |step: &Step| match left.checked_sub(step.cost()) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    steps.take_while(fits).collect()
}

/// What can befall a machine, its connections and its server, in an endless row: all of it in some
/// order, on servers by chance, then all of it again.
pub(super) fn endless(seed: u64, servers: u16) -> impl Iterator<Item = Step> {
    let mut dice = Dice::new(seed, "machine");
    let deck = move || {
        let mut deck = machine_drills();
        shuffle(&mut dice, &mut deck);
        let deal = |drill: Drill| {
            let first = drill.first_server(servers);
            let server = ReplicaId(first + dice.below(u64::from(servers - first)) as u16);
            let hold = Duration::from_millis(dice.between(MACHINE_HOLD_MS.0, MACHINE_HOLD_MS.1));
            Step { server, drill, hold }
        };
        deck.into_iter().map(deal).collect::<Vec<_>>()
    };
    std::iter::repeat_with(deck).flatten()
}

/// All that an endless row is made of.
pub(super) fn machine_drills() -> Vec<Drill> {
    let mut drills = vec![Drill::Kill, Drill::Wipe, Drill::Pause, Drill::Flap];
    drills.extend(CUTS.map(Drill::Cut));
    drills.extend(Trouble::ALL.map(Drill::Machine));
    drills
}

/// Their names.
pub(crate) fn machine_names() -> Vec<&'static str> {
    machine_drills().into_iter().map(Drill::name).collect()
}

/// The names of all drills of a full campaign.
pub(crate) fn names() -> Vec<&'static str> {
    let others = [Drill::Kill, Drill::Wipe, Drill::Pause].into_iter().chain(CUTS.map(Drill::Cut));
    others.map(Drill::name).chain(live_intruders()).collect()
}

const CUTS: [Gate; 3] = [Gate::Closed, Gate::OutOnly, Gate::InOnly];

fn live_intruders() -> Vec<&'static str> {
    intruder::all().iter().filter(|known| known.is_live).map(|known| known.name).collect()
}

fn shuffled_servers(dice: &mut Dice, servers: u16) -> impl Iterator<Item = ReplicaId> + use<> {
    let mut ids: Vec<ReplicaId> = (0..servers).map(ReplicaId).collect();
    shuffle(dice, &mut ids);
    ids.into_iter()
}

/// # Source
/// R. Durstenfeld, Algorithm 235: Random permutation, CACM 7(7) 1964.
fn shuffle<T>(dice: &mut Dice, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        let chosen = usize::try_from(dice.below(last as u64 + 1)).unwrap_or(last);
        items.swap(last, chosen);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn total(steps: &[Step]) -> Duration {
        steps.iter().map(Step::cost).sum::<Duration>() + FRAME
    }

    #[test]
    fn a_full_campaign_does_everything_to_every_server() {
        for seed in 0..20 {
            let steps = full(seed, 4);
            for server in (0..4).map(ReplicaId) {
                let of: Vec<_> = steps.iter().filter(|step| step.server == server).collect();
                let names: BTreeSet<_> = of.iter().map(|step| step.drill.name()).collect();
                assert_eq!(names.len(), of.len(), "nothing is done twice");
                let live = intruder::all().iter().filter(|known| known.is_live);
                let all = ["kill", "wipe", "pause", "cut", "cut-incoming", "cut-outgoing"];
                let all: BTreeSet<_> = live.map(|known| known.name).chain(all).collect();
                assert_eq!(names, all);
                assert_eq!(BTreeSet::from_iter(super::names()), all);
            }
            let pauses = steps.iter().filter(|step| step.drill == Drill::Pause);
            let lengths: Vec<u64> = pauses.map(|step| step.hold.as_secs()).collect();
            assert!(lengths.iter().all(|length| (1..=60).contains(length)), "{lengths:?}");
            assert!(lengths.contains(&60) && lengths.iter().any(|length| *length < 5));
            assert!(total(&steps) < Duration::from_secs(25 * 60), "{:?}", total(&steps));
        }
    }

    #[test]
    fn a_part_fits_its_time_and_touches_every_server() {
        for seed in 0..200 {
            let steps = part(seed, 4, Duration::from_secs(60));
            assert!(total(&steps) <= Duration::from_secs(60));
            assert!(total(&steps) > Duration::from_secs(54), "it is used");
            let servers: BTreeSet<_> = steps.iter().map(|step| step.server).collect();
            assert_eq!(servers.len(), 4);
            for drill in [Drill::Kill, Drill::Wipe, Drill::Pause, Drill::Cut(Gate::Closed)] {
                assert!(steps.iter().any(|step| step.drill == drill));
            }
        }
        assert_eq!(part(0, 4, Duration::from_secs(1)), []);
    }

    #[test]
    fn parts_of_many_seeds_reach_every_intruder_on_every_server() {
        let steps = (0..400).flat_map(|seed| part(seed, 4, Duration::from_secs(60)));
        let reached: BTreeSet<_> = steps.map(|step| (step.drill.name(), step.server)).collect();
        for name in live_intruders() {
            for server in (0..4).map(ReplicaId) {
                assert!(reached.contains(&(name, server)), "{name} on {server}");
            }
        }
    }

    #[test]
    fn an_endless_row_does_everything_before_it_does_anything_again() {
        let names = BTreeSet::from_iter(machine_names());
        for seed in 0..50 {
            let steps: Vec<_> = endless(seed, 4).take(3 * names.len()).collect();
            for round in steps.chunks(names.len()) {
                let played: BTreeSet<_> = round.iter().map(|step| step.drill.name()).collect();
                assert_eq!(played, names);
            }
            let servers: BTreeSet<_> = steps.iter().map(|step| step.server).collect();
            assert_eq!(servers.len(), 4);
        }
    }

    #[test]
    fn a_seed_decides_everything() {
        let most = Duration::from_secs(60);
        let row = |seed| endless(seed, 4).take(40).collect::<Vec<_>>();
        assert_eq!(row(7), row(7));
        assert_ne!(row(7), row(8));
        assert_eq!(full(7, 4), full(7, 4));
        assert_eq!(part(7, 4, most), part(7, 4, most));
        assert_ne!(full(7, 4), full(8, 4));
        assert_ne!(part(7, 4, most), part(8, 4, most));
    }
}
