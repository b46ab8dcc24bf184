//! All servers of a hybrid cluster lose power at once, and with it their wormholes' instances.

use ravelin_model::FaultModel;
use ravelin_sim::{FaultClass, Mode, Options, Sim};

fn blackout(seed: u64, mode: Mode, group: (u16, u16)) -> Options {
    let calm = Options::calm(seed, mode, group);
    let options = Options { model: FaultModel::Hybrid, leaders: 1, ..calm };
    options.with(FaultClass::Blackout)
}

fn check(options: &Options) {
    let outcome = Sim::new(options.clone()).run();
    assert_eq!(outcome.violation, None, "{options}");
    if outcome.faults.get(&FaultClass::Blackout).is_some_and(|count| *count > 0) {
        assert!(outcome.epochs > 0, "{options}");
    }
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
