//! Reliable multicast with the wormholes' help, exhaustively.

use ravelin_models::brm::Multicasts;
use ravelin_multicast::brm::{Engine, Variant};
use stateright::{Checker as _, HasDiscoveries, Model as _};

fn check(model: Multicasts) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = model.checker().threads(threads);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    println!("{model:?}: {} states", checker.unique_state_count());
    checker.assert_properties();
}

fn check_all(variant: Variant, engine: Engine) {
    for intruded in [None, Some(0), Some(2)] {
        check(Multicasts { variant, engine, intruded, od: 0, stops_max: 1 });
    }
}

#[test]
fn brm_t_under_a_majority_keeps_its_promises() {
    check_all(Variant::T, Engine::Quorum);
}

#[test]
fn brm_t_in_real_time_keeps_its_promises() {
    check_all(Variant::T, Engine::RealTime);
}

#[test]
fn brm_m_under_a_majority_keeps_its_promises() {
    check_all(Variant::M, Engine::Quorum);
}

#[test]
fn brm_m_in_real_time_keeps_its_promises() {
    check_all(Variant::M, Engine::RealTime);
}

#[test]
fn a_lost_or_changed_copy_between_each_two_harms_nobody() {
    for variant in [Variant::T, Variant::M] {
        let engine = Engine::RealTime;
        check(Multicasts { variant, engine, intruded: Some(2), od: 1, stops_max: 0 });
    }
}
