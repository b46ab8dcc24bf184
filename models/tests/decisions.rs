//! The decision rule, exhaustively.

use ravelin_models::decisions::{Decisions, Scope};
use stateright::{Checker as _, HasDiscoveries, Model as _};

fn check(forker: u16, scope: Scope) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Decisions::new(forker, scope).checker().threads(threads);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    println!("server {forker} forks, {scope:?}: {} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn a_forking_leader_splits_no_decision() {
    check(1, Scope::Small);
}

#[test]
fn a_forking_voter_splits_no_decision() {
    check(3, Scope::Small);
}

#[test]
#[ignore = "hours: the whole of round 2"]
fn a_forking_leader_splits_no_decision_at_large() {
    check(1, Scope::Large);
}

#[test]
#[ignore = "hours: the whole of round 2"]
fn a_forking_voter_splits_no_decision_at_large() {
    check(3, Scope::Large);
}
