//! Random runs: nothing wrong may ever happen, and everything asked must be answered once the world
//! is well again. `cargo xtask sim` makes many more.

use ravelin_model::{FaultModel, ReplicaId};
use ravelin_sim::runner::{Report, replay, run_seeds};
use ravelin_sim::{FaultClass, Mode, Options, Settings, intruder};

/// Seeds of each mode: a build without optimisation is ten times slower.
const SEEDS: u64 = if cfg!(debug_assertions) { 4 } else { 60 };

fn clean(report: &Report) {
    if let Some(failure) = report.violations.first() {
        panic!("{}", failure.to_file());
    }
}

#[test]
fn nothing_wrong_happens_whatever_the_world_does() {
    let report = run_seeds(0, SEEDS, Mode::Safety, Settings::default());
    clean(&report);
    assert!(report.uncounted.len() as u64 <= SEEDS / 4, "{:?}", report.uncounted);
}

#[test]
fn everything_is_answered_once_the_world_is_well() {
    let report = run_seeds(1_000, SEEDS, Mode::Liveness, Settings::default());
    clean(&report);
    assert!(report.operations > 20 * SEEDS);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for mode in [Mode::Safety, Mode::Liveness] {
        let run = || run_seeds(2_000, SEEDS / 4, mode, Settings::default());
        let (one, other) = (run(), run());
        assert_eq!(one.traces, other.traces);
        assert_eq!(one.events, other.events);
    }
}

/// Groups with wormholes that outlive crashes, and with ones that do not.
fn with_wormholes() -> impl Iterator<Item = Settings> {
    let groups = [(3, 1), (5, 2)].into_iter();
    groups.flat_map(|group| {
        [true, false].map(|are_rollback_proof| Settings {
            group: Some(group),
            model: Some(FaultModel::Hybrid),
            are_rollback_proof: Some(are_rollback_proof),
            intruder: None,
        })
    })
}

#[test]
fn with_wormholes_nothing_wrong_happens_whatever_the_world_does() {
    for settings in with_wormholes() {
        let report = run_seeds(3_000, SEEDS / 4, Mode::Safety, settings);
        clean(&report);
        assert!(report.uncounted.len() as u64 <= 1 + SEEDS / 16, "{:?}", report.uncounted);
    }
}

#[test]
fn with_wormholes_everything_is_answered_once_the_world_is_well() {
    for settings in with_wormholes() {
        let report = run_seeds(4_000, SEEDS / 4, Mode::Liveness, settings);
        clean(&report);
        assert!(report.operations > 20 * (SEEDS / 4));
    }
}

/// Server 0 forks its chain in both halves of a network that falls apart now and then.
fn forking(seed: u64, group: (u16, u16), is_broken: bool) -> Options {
    Options {
        model: FaultModel::Hybrid,
        are_rollback_proof: true,
        broken_wormhole: is_broken.then_some(ReplicaId(0)),
        ..Options::calm(seed, Mode::Safety, group)
    }
    .with(FaultClass::Partition)
    .intruded(0, "equivocator")
}

#[test]
fn one_broken_wormhole_breaks_agreement_and_whoever_sees_that_halts() {
    let (mut acts, mut halted, mut kinds) = (0, 0, std::collections::BTreeMap::new());
    for (seed, group) in (0..8).flat_map(|seed| [(3, 1), (5, 2)].map(|group| (seed, group))) {
        let outcome = replay(&forking(seed, group, true));
        acts += outcome.acts["equivocator"];
        halted += outcome.halted;
        let kind = outcome.violation.map_or("none", |violation| violation.kind);
        assert_ne!(kind, "broken-wormhole", "{group:?} seed {seed}: it saw it and goes on");
        *kinds.entry(kind).or_insert(0) += 1;
        let sound = replay(&forking(seed, group, false));
        assert_eq!((sound.violation, sound.halted, sound.proofs), (None, 0, 0), "seed {seed}");
    }
    assert!(acts > 0 && halted > 0, "{acts} acts, {halted} halted");
    assert!(kinds.contains_key("agreement"), "{kinds:?}");
}

/// Intruders that live of two blocks in a round, or two branches of a chain.
const BARRED: [&str; 6] =
    ["chain-gap", "different-to-each", "equivocator", "future-flood", "offline-tree", "twin"];

#[test]
fn a_sound_wormhole_attests_no_fork() {
    for name in BARRED {
        let calm = Options::calm(7, Mode::Liveness, (3, 1)).intruded(0, name);
        let outcome = replay(&Options { model: FaultModel::Hybrid, ..calm });
        assert!(outcome.acts[name] > 0, "{name} did nothing");
        assert_eq!((outcome.violation, outcome.proofs), (None, 0), "{name}");
    }
}

/// Worlds in which whoever is far behind stood still for good without what outlasts a restart; of all it is
/// one in twenty.
const TELLING: [u64; 5] = [20, 35, 51, 75, 94];

/// Of three with wormholes that outlive crashes one falls silent, and the others start again: whoever of
/// these is far behind gets the state from the only one that can help, or never. That has what a quorum
/// signed from before it started.
#[test]
fn the_only_one_that_can_help_may_have_been_restarted() {
    let mut acts = 0;
    for seed in TELLING.into_iter().chain(0..SEEDS * 2) {
        let options = Options {
            model: FaultModel::Hybrid,
            are_rollback_proof: true,
            leaders: 1,
            commits: 0,
            checkpoint_every: 16,
            transfer_lag: 8,
            ..Options::calm(seed, Mode::Liveness, (3, 1))
                .with(FaultClass::Crash)
                .with(FaultClass::ShortLogs)
                .intruded(u16::try_from(seed % 3).unwrap(), "falls-silent")
        };
        let outcome = replay(&options);
        if let Some(violation) = outcome.violation {
            panic!("{violation}\n{options}");
        }
        acts += outcome.acts["falls-silent"];
    }
    assert!(acts > 20 * SEEDS, "{acts}");
}

#[test]
fn every_intruder_acts_and_is_survived() {
    every_intruder_acts_in(FaultModel::Arbitrary);
}

#[test]
fn with_wormholes_every_intruder_acts_and_is_survived() {
    every_intruder_acts_in(FaultModel::Hybrid);
}

fn every_intruder_acts_in(model: FaultModel) {
    let seeds = if cfg!(debug_assertions) { 1 } else { 6 };
    for known in intruder::all().iter().filter(|known| known.acts_in(model)) {
        let is_hybrid = model == FaultModel::Hybrid;
        let group = if is_hybrid { (3, 1) } else { (4, 1) };
        let mut acts = 0;
        // Some must meet with an occasion: more seeds for those.
        for seed in 0..6 * seeds {
            if seed >= seeds && acts > 0 {
                break;
            }
            let who = u16::try_from(seed % u64::from(group.0)).expect("one of the group");
            let calm = Options::calm(seed, Mode::Liveness, group).intruded(who, known.name);
            let calm = Options { model, are_rollback_proof: is_hybrid, ..calm };
            let options = match known.name {
                "deserter" | "old-orders" => calm.with(FaultClass::KeyChange),
                "falls-silent" => Options { commits: 1000, mode: Mode::Safety, ..calm },
                "whisperer" => calm.with(FaultClass::Reopening),
                "false-closings" => {
                    Options { are_rollback_proof: false, ..calm }.with(FaultClass::Blackout)
                }
                "false-state" => Options {
                    checkpoint_every: 16,
                    transfer_lag: 8,
                    commits: 1500,
                    mode: Mode::Safety,
                    classes: [FaultClass::ShortLogs, FaultClass::RestartStorm, FaultClass::Pause]
                        .into(),
                    ..calm
                },
                _ => calm,
            };
            let outcome = replay(&options);
            if let Some(violation) = outcome.violation {
                panic!("{violation}\n{options}");
            }
            acts += outcome.acts.get(known.name).copied().unwrap_or(0);
        }
        assert!(acts > 0, "{} did nothing in {}", known.name, model.name());
    }
}
