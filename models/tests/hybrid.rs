//! The decision rule of `hybrid`, exhaustively.

use ravelin_models::hybrid::{Counter, Hybrid};
use stateright::{Checker as _, HasDiscoveries, Model as _};

fn check(bad: u16) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Hybrid::new(bad, Counter::Sound).checker().threads(threads);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    println!("server {bad} is bad: {} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn a_bad_leader_with_a_wormhole_splits_no_decision() {
    check(1);
}

#[test]
fn a_bad_later_leader_with_a_wormhole_splits_no_decision() {
    check(0);
}

#[test]
fn a_bad_voter_with_a_wormhole_splits_no_decision() {
    check(2);
}

#[test]
fn with_a_broken_wormhole_views_disagree() {
    for bad in 0..3 {
        let checker = Hybrid::new(bad, Counter::Broken).checker();
        let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
        assert!(checker.discovery("all views decide alike").is_some(), "server {bad} is bad");
    }
}
