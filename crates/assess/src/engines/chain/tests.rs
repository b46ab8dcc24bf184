//! Chains against closed forms and against each other's methods; what they refuse.

use super::*;
use crate::engines::{
    Crew, Detection, Hit, Outage, Property, Recovery, Refresh, Rejuvenation, Schedule, ServerGroup,
    Service, Shock, closed,
};

#[track_caller]
fn near(found: f64, wanted: f64, relative: f64) {
    let error = (found - wanted).abs();
    assert!(error <= relative * wanted.abs(), "{found} is not {wanted} ({error:e} off)");
}

fn integrity(service: &Service) -> ServiceChain {
    ServiceChain::until_failure(service, Property::Integrity, 1).expect("a valid service")
}

#[test]
fn without_repair_it_is_the_binomial_formula() {
    for (n, f, rate, time) in [(4, 1, 0.01, 100.0), (7, 2, 0.01, 3.0), (10, 3, 1e-6, 24.0)] {
        let service = Service::of(ServerGroup::unattended(n, rate), f);
        let p = closed::intruded_by(rate, time).expect("valid");
        let wanted = closed::no_repair(n, f, p).expect("valid");
        near(integrity(&service).failed_at(time).expect("valid"), wanted, 1e-9);
    }
}

#[test]
fn the_four_servers_of_the_specification_fall_as_they_should() {
    let service = Service::of(ServerGroup::unattended(4, 0.01), 1);
    let chain = integrity(&service);
    assert!((chain.failed_at(100.0).expect("valid") - 0.855_798_6).abs() < 1e-6);
    near(chain.mean_time_to_failure().expect("valid"), 58.333_333_333_3, 1e-9);
}

#[test]
fn with_repair_it_is_the_recursion() {
    for (n, f, wanted) in [(4, 1, 891.666_667), (7, 2, 10_479.523_81), (3, 1, 1750.0)] {
        let service = Service::of(ServerGroup::repaired(n, 0.01, 1.0), f);
        let found = integrity(&service).mean_time_to_failure().expect("valid");
        near(found, wanted, 1e-8);
        near(found, closed::mttf(n, f, 0.01, 1.0).expect("valid"), 1e-12);
    }
    // Rates twelve orders of magnitude apart, and a mean time of 1e40 hours.
    let service = Service::of(ServerGroup::repaired(13, 1e-9, 1e3), 4);
    let wanted = closed::mttf(13, 4, 1e-9, 1e3).expect("valid");
    near(integrity(&service).mean_time_to_failure().expect("valid"), wanted, 1e-10);
}
