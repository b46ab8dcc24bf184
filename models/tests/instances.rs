//! Another instance of a wormhole from another epoch on, exhaustively.

use ravelin_models::instances::Instances;
use stateright::{Checker as _, HasDiscoveries, Model as _};

fn check(restarts_max: u8) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Instances::new(restarts_max).checker().threads(threads);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    println!("{restarts_max} restarts: {} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn who_comes_back_as_another_instance_splits_no_epoch() {
    check(1);
}

#[test]
#[ignore = "long: it comes back twice"]
fn who_comes_back_again_and_again_splits_no_epoch() {
    check(2);
}
