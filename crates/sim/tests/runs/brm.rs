//! Random runs of reliable multicast: Validity, Agreement and Integrity hold, whoever is intruded.

use ravelin_multicast::brm::{Engine, Variant};
use ravelin_sim::brm::{Class, Options, Report, Settings, World, intruder, run_seeds};

/// A build without optimisation is ten times slower.
const SEEDS: u64 = if cfg!(debug_assertions) { 60 } else { 600 };

fn clean(report: &Report) {
    if let Some((options, violation)) = report.violations.first() {
        panic!("{violation}\n{options}");
    }
}

#[test]
fn every_promise_holds_whoever_is_intruded() {
    let report = run_seeds(0, SEEDS, Settings::default());
    println!("{report:?}");
    clean(&report);
    assert!(report.demanded > SEEDS / 2 && report.deliveries > 5 * SEEDS);
    assert!(report.silent < SEEDS / 4);
}

#[test]
fn each_protocol_under_each_engine_keeps_them() {
    for variant in [Variant::T, Variant::M] {
        for engine in [Engine::Quorum, Engine::RealTime] {
            let (variant, engine) = (Some(variant), Some(engine));
            let settings = Settings { variant, engine, ..Settings::default() };
            clean(&run_seeds(10_000, SEEDS / 4, settings));
        }
    }
}

#[test]
fn every_kind_of_intruder_acts_and_is_survived() {
    for name in intruder::NAMES {
        let settings = Settings { intruder: Some(name), ..Settings::default() };
        let report = run_seeds(20_000, SEEDS / 6, settings);
        clean(&report);
        assert!(report.acts.get(name).is_some_and(|acts| *acts > 0), "{name} did nothing");
    }
}

#[test]
fn every_kind_of_trouble_comes_to_pass() {
    let report = run_seeds(30_000, SEEDS, Settings::default());
    for class in Class::ALL {
        // These change what wormholes answer, and are seen in the options.
        let is_of_wormholes = matches!(
            class,
            Class::LateControl
                | Class::LateDecisions
                | Class::UncertainClocks
                | Class::LittleRoom
                | Class::LostDecisions
        );
        assert!(is_of_wormholes || report.faults.contains_key(class.name()), "{}", class.name());
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || run_seeds(40_000, SEEDS / 4, Settings::default());
    let (one, other) = (run(), run());
    assert_eq!((one.traces, one.events), (other.traces, other.events));
}

/// The run of a seed in which nothing goes wrong.
fn calm(seed: u64) -> Options {
    let drawn = Options::draw(seed, Settings::default());
    Options { classes: [].into(), intruders: [].into(), ..drawn }
}

#[test]
fn in_a_calm_world_everything_is_delivered_everywhere() {
    for seed in 0..SEEDS / 4 {
        let options = calm(seed);
        let outcome = World::new(options.clone()).run();
        assert_eq!(outcome.violation, None, "{options}");
        assert_eq!(outcome.refused, 0, "{options}");
        assert!(outcome.deliveries >= 2 * outcome.demanded, "{options}");
    }
}
