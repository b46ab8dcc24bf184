//! Counted transitions against those of chains that are built.

use super::super::lumped::Explorer;
use super::super::{STATES_MAX, ServiceChain};
use crate::{
    Crew, Detection, EngineError, Hit, Outage, Property, Recovery, Refresh, Rejuvenation, Schedule,
    ServerGroup, Service, Shock,
};

fn group(count: u32, rate: f64, detection: f64) -> ServerGroup {
    ServerGroup {
        detection: Detection { probability: detection, latency: 3.0 },
        recovery: Some(Recovery { rate: 0.5, crew: Crew::Single }),
        rejuvenation: Some(Rejuvenation {
            every: 60.0,
            downtime: 2.0,
            at_once: 1,
            expels: 1.0,
            schedule: Schedule::Random,
        }),
        outage: Some(Outage { rate: 0.01, duration: 4.0 }),
        ..ServerGroup::unattended(count, rate)
    }
}

fn services() -> Vec<Service> {
    let refresh = Some(Refresh { every: 24.0, schedule: Schedule::Random });
    let shock = |hits: &[(usize, u32)]| Shock {
        rate: 0.001,
        hits: hits.iter().map(|(group, count)| Hit { group: *group, count: *count }).collect(),
    };
    let service = |groups: Vec<ServerGroup>, tolerated, shocks: Vec<Shock>| {
        let n: u32 = groups.iter().map(|it| it.count).sum();
        Service { groups, tolerated, quorum: n - tolerated, shocks, refresh }
    };
    vec![
        service(vec![group(7, 0.01, 0.7)], 2, Vec::new()),
        service(vec![group(10, 0.01, 0.7)], 3, vec![shock(&[(0, 3)])]),
        service(
            vec![group(3, 0.01, 0.7), group(4, 0.02, 1.0), group(2, 0.0, 0.0)],
            3,
            vec![shock(&[(0, 3)]), shock(&[(0, 1), (1, 2)]), shock(&[(2, 2)])],
        ),
        service(
            vec![group(1, 0.01, 0.5); 6],
            2,
            vec![shock(&[(0, 1), (1, 1)]), shock(&[(2, 1), (3, 1)])],
        ),
    ]
}

#[test]
fn a_chain_has_about_as_many_transitions_as_are_counted() {
    for (number, service) in services().iter().enumerate() {
        for property in Property::ALL {
            for ends in [true, false] {
                if !ends && property == Property::Confidentiality {
                    continue;
                }
                let explorer = || Explorer::new(service, property, 1, ends).expect("valid");
                let counted = explorer().transitions();
                let chain = explorer().explore(STATES_MAX).expect("small");
                let built = chain.chain().transition_count() as f64;
                let what =
                    format!("{number} {property:?} {ends}: {counted:?}, and {built} are built");
                assert!(counted.transitions >= built, "{what}");
                assert!(counted.transitions <= 2.5 * built, "{what}");
                assert!(counted.outcomes >= counted.transitions / 2.0, "{what}");
            }
        }
    }
}

#[test]
fn a_chain_with_too_many_transitions_is_refused_before_it_is_built() {
    // Few states, from each of which a shock leads nearly everywhere: half a minute to find out by building.
    let shocks = vec![Shock { rate: 0.001, hits: vec![Hit { group: 0, count: 33 }] }];
    let plain = ServerGroup { outage: None, rejuvenation: None, ..group(100, 0.01, 0.7) };
    let groups = vec![plain];
    let refresh = Some(Refresh { every: 24.0, schedule: Schedule::Random });
    let service = Service { groups, tolerated: 33, quorum: 67, shocks, refresh };
    let property = Property::Confidentiality;
    let refused = ServiceChain::until_failure(&service, property, 1).map(|it| it.state_count());
    let Err(EngineError::TooManyTransitions { wanted, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(Ok(wanted), ServiceChain::outcome_bound(&service, property, 1, true));
    let checked = ServiceChain::check_transitions(&service, property, 1, true);
    assert!(matches!(checked, Err(EngineError::TooManyTransitions { .. })), "{checked:?}");
}
