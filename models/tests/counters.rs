//! Attestation counters over restarts, exhaustively.

use ravelin_models::counters::Counters;
use ravelin_wormhole::core::Lease;
use stateright::{Checker as _, HasDiscoveries, Model as _};

fn check(lease: Option<Lease>, steps_max: usize, starts_max: usize) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Counters { lease, steps_max, starts_max }.checker().threads(threads);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    println!("{lease:?}, {steps_max} steps: {} states", checker.unique_state_count());
    checker.assert_properties();
}

const KEPT: [Option<Lease>; 3] = [None, Some(Lease::Run), Some(Lease::EveryUnmetered)];

#[test]
fn a_position_is_bound_once_whatever_is_put_back() {
    for lease in KEPT {
        check(lease, 6, 3);
    }
}

#[test]
#[ignore = "long: more steps and starts"]
fn a_position_is_bound_once_whatever_is_put_back_again_and_again() {
    for lease in KEPT {
        check(lease, 9, 4);
    }
}
