//! Random runs: nothing wrong may ever happen, and everything asked must be answered once the world
//! is well again. `cargo xtask sim` makes many more.

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

#[test]
fn every_intruder_acts_and_is_survived() {
    let seeds = if cfg!(debug_assertions) { 1 } else { 6 };
    for known in intruder::all() {
        let mut acts = 0;
        // Some must meet with an occasion: more seeds for those.
        for seed in 0..6 * seeds {
            if seed >= seeds && acts > 0 {
                break;
            }
            let who = u16::try_from(seed % 4).unwrap();
            let calm = Options::calm(seed, Mode::Liveness, (4, 1)).intruded(who, known.name);
            let options = match known.name {
                "deserter" | "old-orders" => calm.with(FaultClass::KeyChange),
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
        assert!(acts > 0, "{} did nothing", known.name);
    }
}
