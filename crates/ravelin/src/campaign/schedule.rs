//! What a campaign does, in which order: drawn from a seed.

use std::fmt;
use std::time::Duration;

use ravelin_model::{FaultModel, ReplicaId};
use ravelin_sim::{Dice, intruder};

use super::relay::Gate;
use super::wormholes::Harm;
use crate::drill::servers_of;
use crate::machine::Trouble;

/// The longest pause of a server.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The longest pause of a campaign that must be short.
const SHORT_PAUSE_MAX: Duration = Duration::from_secs(3);
/// Pauses of a full campaign, one range of seconds for each server.
const PAUSES: [(u64, u64); 4] = [(1, 4), (5, 14), (15, 40), (60, 60)];
/// How long a server is down, cut off or in an intruder's hands.
const HOLD: Duration = Duration::from_secs(3);
/// How long a wormhole is paused in a full campaign: longer than its server waits for an answer.
const WORMHOLE_PAUSE: Duration = Duration::from_secs(13);
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
    /// Its wormhole is harmed.
    Wormhole(Harm),
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
            Self::Wormhole(harm) => harm.name(),
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
            Drill::Wormhole(harm) => write!(out, "for {seconds:.1} s: {}", harm.what()),
            Drill::Machine(trouble) => write!(out, "for {seconds:.1} s: {}", trouble.what()),
        }
    }
}

/// Every drill on every server, one server after the other.
pub(super) fn full(seed: u64, model: FaultModel) -> Vec<Step> {
    let mut dice = Dice::new(seed, "campaign");
    let servers = servers_of(model);
    let mut pauses: Vec<_> = PAUSES.into_iter().rev().take(servers.into()).collect();
    shuffle(&mut dice, &mut pauses);
    let mut steps = Vec::new();
    for (server, (least, most)) in shuffled_servers(&mut dice, servers).zip(pauses) {
        let mut drills = vec![Drill::Kill, Drill::Wipe, Drill::Pause];
        drills.extend(CUTS.map(Drill::Cut));
        drills.extend(harms(model));
        let mut intruders = live_intruders(model);
        shuffle(&mut dice, &mut intruders);
        drills.extend(intruders.into_iter().map(Drill::Takeover));
        let pause = Duration::from_secs(dice.between(least, most)).min(PAUSE_MAX);
        steps.extend(drills.into_iter().map(|drill| {
            let hold = match drill {
                Drill::Pause => pause,
                Drill::Wormhole(Harm::Pause) => WORMHOLE_PAUSE,
                _ => HOLD,
            };
            Step { server, drill, hold }
        }));
    }
    steps
}

/// A part that takes about `most`: first every server once, by a kill, a wipe, a pause, or a cut; then a
/// one-way cut, and intruders on each server in turn, as many as fit.
pub(super) fn part(seed: u64, model: FaultModel, most: Duration) -> Vec<Step> {
    let mut dice = Dice::new(seed, "campaign");
    let servers: Vec<ReplicaId> = shuffled_servers(&mut dice, servers_of(model)).collect();
    let mut drills = vec![Drill::Kill, Drill::Wipe, Drill::Pause, Drill::Cut(Gate::Closed)];
    drills.extend(harms(model));
    shuffle(&mut dice, &mut drills);
    let one_way = [Gate::OutOnly, Gate::InOnly];
    drills.extend(dice.pick(&one_way).copied().map(Drill::Cut));
    let mut intruders = live_intruders(model);
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
pub(crate) fn names(model: FaultModel) -> Vec<&'static str> {
    let others = [Drill::Kill, Drill::Wipe, Drill::Pause].into_iter().chain(CUTS.map(Drill::Cut));
    others.chain(harms(model)).map(Drill::name).chain(live_intruders(model)).collect()
}

const CUTS: [Gate; 3] = [Gate::Closed, Gate::OutOnly, Gate::InOnly];

fn live_intruders(model: FaultModel) -> Vec<&'static str> {
    let live = intruder::all().iter().filter(|known| known.is_live && known.acts_in(model));
    live.map(|known| known.name).collect()
}

/// What can befall wormholes, where there are any.
fn harms(model: FaultModel) -> impl Iterator<Item = Drill> {
    let there = model == FaultModel::Hybrid;
    Harm::ALL.into_iter().filter(move |_| there).map(Drill::Wormhole)
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

    const MODELS: [FaultModel; 2] = [FaultModel::Arbitrary, FaultModel::Hybrid];

    #[test]
    fn a_full_campaign_does_everything_to_every_server() {
        for (seed, model) in (0..20).flat_map(|seed| MODELS.map(|model| (seed, model))) {
            let steps = full(seed, model);
            let harmed = ["wormhole-kill", "wormhole-pause", "wormhole-rollback", "wormhole-clone"];
            let harmed = harmed.into_iter().filter(|_| model == FaultModel::Hybrid);
            let live = intruder::all().iter().filter(|it| it.is_live && it.acts_in(model));
            let all = ["kill", "wipe", "pause", "cut", "cut-incoming", "cut-outgoing"];
            let all: BTreeSet<_> = live.map(|it| it.name).chain(all).chain(harmed).collect();
            assert_eq!(BTreeSet::from_iter(names(model)), all);
            for server in (0..servers_of(model)).map(ReplicaId) {
                let of: Vec<_> = steps.iter().filter(|step| step.server == server).collect();
                let played: BTreeSet<_> = of.iter().map(|step| step.drill.name()).collect();
                assert_eq!(played.len(), of.len(), "nothing is done twice");
                assert_eq!(played, all);
            }
            let pauses = steps.iter().filter(|step| step.drill == Drill::Pause);
            let lengths: Vec<u64> = pauses.map(|step| step.hold.as_secs()).collect();
            assert!(lengths.iter().all(|length| (1..=60).contains(length)), "{lengths:?}");
            assert!(lengths.contains(&60) && lengths.iter().any(|length| *length < 15));
            assert!(total(&steps) < Duration::from_secs(25 * 60), "{:?}", total(&steps));
        }
    }

    #[test]
    fn a_part_fits_its_time_and_touches_every_server() {
        for (seed, model) in (0..200).flat_map(|seed| MODELS.map(|model| (seed, model))) {
            let steps = part(seed, model, Duration::from_secs(60));
            assert!(total(&steps) <= Duration::from_secs(60));
            assert!(total(&steps) > Duration::from_secs(54), "it is used");
            let servers: BTreeSet<_> = steps.iter().map(|step| step.server).collect();
            assert_eq!(servers.len(), usize::from(servers_of(model)));
            let first = [Drill::Kill, Drill::Wipe, Drill::Pause, Drill::Cut(Gate::Closed)];
            for drill in first.into_iter().chain(harms(model)) {
                assert!(steps.iter().any(|step| step.drill == drill), "{drill:?}");
            }
        }
        assert_eq!(part(0, FaultModel::Arbitrary, Duration::from_secs(1)), []);
    }

    #[test]
    fn parts_of_many_seeds_reach_every_intruder_on_every_server() {
        for model in MODELS {
            let steps = (0..800).flat_map(|seed| part(seed, model, Duration::from_secs(60)));
            let reached: BTreeSet<_> = steps.map(|step| (step.drill.name(), step.server)).collect();
            for name in live_intruders(model) {
                for server in (0..servers_of(model)).map(ReplicaId) {
                    assert!(reached.contains(&(name, server)), "{name} on {server}");
                }
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
        for model in MODELS {
            assert_eq!(full(7, model), full(7, model));
            assert_eq!(part(7, model, most), part(7, model, most));
            assert_ne!(full(7, model), full(8, model));
            assert_ne!(part(7, model, most), part(8, model, most));
        }
    }
}
