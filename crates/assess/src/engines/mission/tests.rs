//! Missions against closed forms, chains and the calendar; what they refuse.

use super::*;
use crate::engines::ServerGroup;

fn missions(count: u64, hours: f64) -> Missions {
    Missions { count, hours, seed: 1, threads: 2, level: 0.99, points: Vec::new() }
}

fn integrity(service: &Service, missions: &Missions) -> PropertyOutcome {
    let outcome = run(service, missions, &|_, _| (), &AtomicBool::new(false)).expect("valid");
    outcome.properties[1].clone()
}

#[test]
fn the_four_servers_of_the_specification_fall_within_the_interval() {
    let service = Service::of(ServerGroup::unattended(4, 0.01), 1);
    let found = integrity(&service, &missions(20_000, 100.0));
    assert!(found.failed.holds(0.855_798_6), "{:?}", found.failed);
    assert!(found.failed.high - found.failed.low < 0.02);
}
