//! The rule of epochs, exhaustively.

use ravelin_models::epochs::{Epochs, Slip};
use stateright::{Checker as _, HasDiscoveries, Model as _};

/// Names of the properties that do not hold.
fn broken(liars: usize, crashes_max: u8, slip: Slip) -> Vec<&'static str> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Epochs::new(liars, crashes_max, slip).checker().threads(threads);
    let checker = match liars {
        1 => checker.symmetry_fn(Epochs::representative),
        _ => checker,
    };
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    let count = checker.unique_state_count();
    println!("{liars} lie, {crashes_max} crashes, {slip:?}: {count} states");
    if slip == Slip::None {
        checker.assert_properties();
    }
    checker.discoveries().into_keys().collect()
}

#[test]
fn one_plan_follows_each_epoch_and_all_reach_it() {
    broken(1, 2, Slip::None);
}

/// More liars than tolerated, yet fewer than a quorum.
#[test]
fn two_liars_hand_no_epoch_over_by_themselves() {
    broken(2, 1, Slip::None);
}

#[test]
fn a_step_taken_too_early_is_found() {
    let slips = [
        (Slip::SignsBeforeDurable, "nobody speaks in an epoch after its end"),
        (Slip::SpeaksOn, "nobody speaks in an epoch after its end"),
        (Slip::BeginsUnended, "nobody begins without the state"),
        (Slip::LeavesOthers, "nobody is left behind"),
    ];
    for (slip, property) in slips {
        let broken = broken(1, 1, slip);
        assert!(broken.contains(&property), "{slip:?}: {broken:?}");
    }
}

#[test]
#[ignore = "long: three crashes"]
fn one_plan_follows_each_epoch_whoever_crashes_again_and_again() {
    broken(1, 3, Slip::None);
}
