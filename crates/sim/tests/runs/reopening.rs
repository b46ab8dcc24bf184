//! All servers of a hybrid cluster lose power at once, and with it their wormholes' instances.

use std::collections::BTreeMap;

use ravelin_model::FaultModel;
use ravelin_sim::{FaultClass, Mode, Options, Outcome, Sim};

fn blackout(seed: u64, mode: Mode, group: (u16, u16)) -> Options {
    let calm = Options::calm(seed, mode, group);
    let options = Options { model: FaultModel::Hybrid, leaders: 1, ..calm };
    options.with(FaultClass::Blackout)
}

fn check(options: &Options) -> Outcome {
    let outcome = Sim::new(options.clone()).run();
    assert_eq!(outcome.violation, None, "{options}");
    if outcome.faults.get(&FaultClass::Blackout).is_some_and(|count| *count > 0) {
        assert!(outcome.epochs > 0, "{options}");
    }
    outcome
}

#[test]
fn administrators_open_a_cluster_again_and_nothing_acknowledged_is_lost() {
    for seed in 0..12 {
        check(&blackout(seed, Mode::Liveness, (3, 1)));
        check(&blackout(seed, Mode::Safety, (3, 1)));
    }
    for seed in 0..4 {
        check(&blackout(seed, Mode::Liveness, (5, 2)));
    }
}

#[test]
fn an_intruder_keeps_no_cluster_closed() {
    for (seed, name) in
        (0..).zip(["mute", "withholder", "liar", "late-heaps", "delayer", "deserter"])
    {
        check(&blackout(seed, Mode::Liveness, (3, 1)).intruded(1, name));
    }
}

/// What it says of what it holds is another thing for each, now nothing and now what was said before: alone,
/// and with what else keeps the others apart.
#[test]
fn lies_about_the_end_of_an_epoch_split_nobody_and_keep_no_cluster_closed() {
    let seeds = if cfg!(debug_assertions) { 2 } else { 12 };
    for names in ["false-closings", "false-closings+late-heaps", "false-closings+withholder"] {
        let mut acts = 0;
        for (seed, mode) in (0..seeds).flat_map(|it| [(it, Mode::Liveness), (it, Mode::Safety)]) {
            let who = u16::try_from(seed % 3).unwrap();
            let outcome = check(&blackout(100 + seed, mode, (3, 1)).intruded(who, names));
            acts += outcome.acts["false-closings"];
        }
        assert!(acts > 4 * seeds, "{names}: {acts}");
    }
}

/// Worlds in which one member comes to an end of its own while others hold, whom it must not leave: of all it
/// is one in twenty.
const ENDED_ALONE: [u64; 4] = [55, 84, 85, 97];

/// An intruder shows one member alone what may let it decide a change of a key, or more than those decide who
/// hold, and is silent then; now and then it has that one begin the next epoch by itself.
#[test]
fn one_that_is_shown_alone_what_ends_an_epoch_leaves_nobody_behind() {
    let seeds = if cfg!(debug_assertions) { 0..4 } else { 0..60 };
    let mut reached = BTreeMap::new();
    for seed in ENDED_ALONE.into_iter().chain(seeds) {
        for are_rollback_proof in [true, false] {
            let who = u16::try_from(seed % 3).unwrap();
            let calm = Options::calm(seed, Mode::Liveness, (3, 1)).intruded(who, "whisperer");
            let model = FaultModel::Hybrid;
            let options = Options { model, are_rollback_proof, ..calm };
            let outcome = check(&options.with(FaultClass::Reopening));
            outcome.reached.iter().for_each(|what| *reached.entry(*what).or_insert(0) += 1);
        }
    }
    assert!(reached["ended beside holders"] >= ENDED_ALONE.len(), "{reached:?}");
}
