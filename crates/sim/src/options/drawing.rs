//! How a run is drawn from its seed.

use super::*;
use crate::dice::Dice;
use crate::intruder::Blocks;

/// One run in so many is long enough for a checkpoint.
const LONG_ONCE_IN: u64 = 64;
/// Commits of a long run: past the first checkpoint.
const COMMITS_LONG: u64 = 1100;
/// Commits of a run in which somebody is to fetch the state.
const COMMITS_FETCHED: u64 = 800;
/// One run in so many sends every message as bytes.
const BYTES_ONCE_IN: u64 = 8;
/// One run in so many signs with Ed25519.
const ED25519_ONCE_IN: u64 = 50;

impl Options {
    /// Draws a run.
    #[must_use]
    pub fn draw(seed: u64, mode: Mode, settings: Settings) -> Self {
        let mut dice = Dice::new(seed, "options");
        let model = settings.model.unwrap_or(FaultModel::Arbitrary);
        let drawn = group(model, &mut dice);
        let (n, f) = settings.group.unwrap_or(drawn);
        let is_hybrid = model == FaultModel::Hybrid;
        let are_rollback_proof = is_hybrid
            && settings
                .are_rollback_proof
                .unwrap_or_else(|| Dice::new(seed, "wormholes").once_in(2));
        let mut logs = Dice::new(seed, "logs");
        let mut classes = Self::drawn_classes(is_hybrid, seed, &mut dice, &mut logs);
        let mut victims = victims(n, f, &mut dice);
        let mut wiped = None;
        if classes.contains(&FaultClass::Wipe) {
            wiped = victims.pop();
        }
        classes.retain(|class| *class != FaultClass::Wipe || wiped.is_some());
        let are_lasting = !is_hybrid || are_rollback_proof;
        let ends_instances = |class: &FaultClass| !are_lasting && ENDS_INSTANCES.contains(class);
        let mut restarting = None;
        if classes.iter().any(ends_instances) {
            restarting = wiped.or_else(|| victims.pop());
        }
        if restarting.is_none() {
            classes.retain(|class| !ends_instances(class));
        }
        let intruders: BTreeMap<_, _> = match settings.intruder {
            Some(name) => victims.into_iter().take(1).map(|who| (who, vec![name])).collect(),
            None => busy(victims, (model, are_lasting), &mut dice),
        };
        classes.extend(needed_by(&intruders, are_lasting));
        let must_fetch = is_any_of(&intruders, &NEED_SHORT_LOGS);
        if must_fetch {
            let absences = [FaultClass::Crash, FaultClass::RestartStorm, FaultClass::Pause];
            let fits = |class: &FaultClass| restarting.is_some() || !ends_instances(class);
            classes.extend(absences.into_iter().filter(fits));
            classes.insert(FaultClass::ShortLogs);
        }
        let are_short = classes.contains(&FaultClass::ShortLogs);
        Self {
            seed,
            mode,
            n,
            f,
            model,
            are_rollback_proof,
            broken_wormhole: None,
            leaders: dice.pick(&[1, 2, 2, 2, 2, 2, 2, 3]).map_or(2, |drawn| (f + 1).min(*drawn)),
            clients: u16::try_from(dice.between(2, 4)).unwrap_or(2),
            classes,
            intruders,
            wiped,
            restarting,
            travel: if seed % BYTES_ONCE_IN == 1 { Travel::Bytes } else { Travel::Verified },
            signatures: signatures(seed),
            commits: commits(seed, must_fetch),
            checkpoint_every: match must_fetch {
                true => 16,
                false => *logs.pick(&[16, 32, 64]).filter(|_| are_short).unwrap_or(&1024),
            },
            transfer_lag: match (must_fetch, are_short) {
                (true, _) => 8,
                (false, true) => logs.between(8, 100),
                (false, false) => u64::MAX,
            },
        }
    }

    fn drawn_classes(
        is_hybrid: bool,
        seed: u64,
        dice: &mut Dice,
        logs: &mut Dice,
    ) -> BTreeSet<FaultClass> {
        let weight = *dice.pick(&[0, 80, 200, 350]).unwrap_or(&0);
        let mut classes: BTreeSet<FaultClass> =
            Self::drawn_by_weight().filter(|_| dice.per_mille(weight)).collect();
        if logs.once_in(3) {
            classes.insert(FaultClass::ShortLogs);
        }
        if Dice::new(seed, "blackouts").once_in(if is_hybrid { 4 } else { 16 }) {
            classes.insert(FaultClass::Blackout);
        }
        if is_hybrid && Dice::new(seed, "reopenings").once_in(8) {
            classes.insert(FaultClass::Reopening);
        }
        classes
    }

    fn drawn_by_weight() -> impl Iterator<Item = FaultClass> {
        let apart = [FaultClass::ShortLogs, FaultClass::Blackout, FaultClass::Reopening];
        FaultClass::ALL.into_iter().filter(move |class| !apart.contains(class))
    }
}

fn commits(seed: u64, must_fetch: bool) -> u64 {
    match (must_fetch, seed % LONG_ONCE_IN) {
        (true, _) => COMMITS_FETCHED,
        (false, 33) => COMMITS_LONG,
        (false, _) => COMMITS_MIN,
    }
}

fn signatures(seed: u64) -> Signatures {
    match seed % ED25519_ONCE_IN {
        17 => Signatures::Ed25519,
        _ => Signatures::Simulated,
    }
}

/// A group's size and resilience, most often the smallest.
fn group(model: FaultModel, dice: &mut Dice) -> (u16, u16) {
    match (model, dice.below(20)) {
        (FaultModel::Hybrid, 0..4) => (5, 2),
        (FaultModel::Hybrid, _) => (3, 1),
        (_, 0) => (7, 2),
        (_, 1 | 2) => (5, 1),
        _ => (4, 1),
    }
}

/// Who is at fault: at most `f`, most often all of them.
fn victims(n: u16, f: u16, dice: &mut Dice) -> Vec<ReplicaId> {
    let count = if dice.once_in(8) { dice.below(u64::from(f) + 1) } else { u64::from(f) };
    let mut members: Vec<ReplicaId> = (0..n).map(ReplicaId).collect();
    let mut victims = Vec::new();
    for _ in 0..count {
        let place = usize::try_from(dice.below(members.len() as u64)).unwrap_or(0);
        victims.push(members.swap_remove(place));
    }
    victims
}

/// Intruders that act when somebody fetches the state, and never otherwise.
const NEED_SHORT_LOGS: [&str; 1] = ["false-state"];
/// Intruders that act when an epoch ends, and never otherwise.
const NEED_KEY_CHANGES: [&str; 2] = ["deserter", "old-orders"];

/// Trouble without which some of the intruders never act.
fn needed_by(
    intruders: &BTreeMap<ReplicaId, Vec<&'static str>>,
    are_lasting: bool,
) -> Vec<FaultClass> {
    let mut needed = Vec::new();
    if is_any_of(intruders, &NEED_KEY_CHANGES) {
        needed.push(FaultClass::KeyChange);
    }
    if is_any_of(intruders, &NEED_BLACKOUTS) && !are_lasting {
        needed.push(FaultClass::Blackout);
    }
    if is_any_of(intruders, &NEED_REOPENINGS) {
        needed.push(FaultClass::Reopening);
    }
    needed
}

fn is_any_of(intruders: &BTreeMap<ReplicaId, Vec<&'static str>>, those: &[&str]) -> bool {
    intruders.values().flatten().any(|name| those.contains(name))
}

/// Intruders that act when administrators end an epoch, and never otherwise.
const NEED_BLACKOUTS: [&str; 1] = ["false-closings"];

/// Intruders that act when administrators end an epoch and somebody changes its key, and seldom otherwise.
const NEED_REOPENINGS: [&str; 1] = ["whisperer"];

/// Intruders that are tried by name in any model, and drawn where they seldom have nothing to do.
const ACT_IN_HYBRID: [&str; 1] = ["falls-silent"];

/// What each of the victims does, but for those who would have nothing to do.
fn busy(
    victims: Vec<ReplicaId>,
    (model, are_lasting): (FaultModel, bool),
    dice: &mut Dice,
) -> BTreeMap<ReplicaId, Vec<&'static str>> {
    let is_idle = |name: &&str| {
        (are_lasting && NEED_BLACKOUTS.contains(name))
            || (model != FaultModel::Hybrid && ACT_IN_HYBRID.contains(name))
    };
    let drawn = victims.into_iter().map(|who| {
        let mut names = composition(model, dice);
        names.retain(|name| !is_idle(name));
        (who, names)
    });
    drawn.filter(|(_, names)| !names.is_empty()).collect()
}

/// One intruder, sometimes two at once that leave each other something to do.
fn composition(model: FaultModel, dice: &mut Dice) -> Vec<&'static str> {
    let fits = |known: &&intruder::Description| known.acts_in(model);
    let all: Vec<&intruder::Description> = intruder::all().iter().filter(fits).collect();
    let count = if dice.once_in(3) { 2 } else { 1 };
    let mut chosen: Vec<&intruder::Description> = Vec::new();
    for _ in 0..count {
        let Some(next) = dice.pick(&all).copied() else { continue };
        if chosen.iter().all(|other| fit_together(next, other)) {
            chosen.push(next);
        }
    }
    chosen.sort_by_key(|description| description.blocks != Blocks::Makes);
    chosen.into_iter().map(|description| description.name).collect()
}

fn fit_together(one: &intruder::Description, other: &intruder::Description) -> bool {
    let is_crowded = one.blocks != Blocks::Leaves && other.blocks != Blocks::Leaves;
    let is_makers = one.blocks == Blocks::Makes || other.blocks == Blocks::Makes;
    one.name != other.name
        && !(is_crowded && is_makers)
        && ![one.name, other.name].contains(&"mute")
}
