//! Every number of a service that has no meaning is refused by name.

use super::*;

fn good() -> Service {
    let mut service = Service::of(ServerGroup::repaired(4, 0.01, 1.0), 1);
    service.groups[0].rejuvenation = Some(Rejuvenation::by_calendar(10.0, 1.0));
    service.groups[0].outage = Some(Outage { rate: 0.1, duration: 1.0 });
    service.shocks.push(Shock { rate: 0.1, hits: vec![Hit { group: 0, count: 4 }] });
    service.refresh = Some(Refresh { every: 24.0, schedule: Schedule::Fixed });
    service
}

#[track_caller]
fn refused(change: impl Fn(&mut Service)) -> EngineError {
    let mut service = good();
    change(&mut service);
    service.check().expect_err("it has no meaning")
}

#[test]
fn a_good_one_passes() {
    good().check().expect("every number has a meaning");
}

#[test]
fn every_rate_and_time_is_checked() {
    type Change = fn(&mut Service, f64);
    let positive: [Change; 6] = [
        |it, x| it.groups[0].recovery.as_mut().expect("set").rate = x,
        |it, x| it.groups[0].rejuvenation.as_mut().expect("set").every = x,
        |it, x| it.groups[0].outage.as_mut().expect("set").rate = x,
        |it, x| it.groups[0].outage.as_mut().expect("set").duration = x,
        |it, x| it.shocks[0].rate = x,
        |it, x| it.refresh.as_mut().expect("set").every = x,
    ];
    for (number, change) in positive.into_iter().enumerate() {
        for bad in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            let refusal = refused(|it| change(it, bad));
            let expected = matches!(refusal, EngineError::NotPositive { .. });
            assert!(expected, "{number}, {bad}: {refusal:?}");
        }
    }
    let not_negative: [Change; 3] = [
        |it, x| it.groups[0].intrusion_rate = x,
        |it, x| it.groups[0].detection.latency = x,
        |it, x| it.groups[0].rejuvenation.as_mut().expect("set").downtime = x,
    ];
    for change in not_negative {
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            assert!(matches!(refused(|it| change(it, bad)), EngineError::Negative { .. }), "{bad}");
        }
    }
    for bad in [f64::NAN, f64::INFINITY, -0.1, 1.1] {
        let refusal = refused(|it| it.groups[0].detection.probability = bad);
        assert!(matches!(refusal, EngineError::NotAProbability { .. }), "{bad}");
    }
}

#[test]
fn numbers_of_servers_must_fit_each_other() {
    assert!(matches!(refused(|it| it.groups.clear()), EngineError::ServerCount { .. }));
    assert!(matches!(refused(|it| it.groups[0].count = 0), EngineError::ServerCount { .. }));
    assert!(matches!(refused(|it| it.groups[0].count = u32::MAX), EngineError::ServerCount { .. }));
    assert!(matches!(refused(|it| it.tolerated = 4), EngineError::TooManyTolerated { .. }));
    assert!(matches!(refused(|it| it.quorum = 0), EngineError::Quorum { .. }));
    assert!(matches!(refused(|it| it.quorum = 5), EngineError::Quorum { .. }));
    let long = |it: &mut Service| it.groups[0].rejuvenation.as_mut().expect("set").downtime = 10.0;
    assert!(matches!(refused(long), EngineError::NoUptime { .. }));
    let none = |it: &mut Service| it.groups[0].rejuvenation.as_mut().expect("set").at_once = 0;
    assert!(matches!(refused(none), EngineError::OutOfRange { .. }));
    let hit = |it: &mut Service| it.shocks[0].hits[0].group = 1;
    assert!(matches!(refused(hit), EngineError::UnknownGroup { group: 1, .. }));
    assert!(matches!(refused(|it| it.shocks[0].hits[0].count = 5), EngineError::BadHit { .. }));
    assert!(matches!(refused(|it| it.shocks[0].hits[0].count = 0), EngineError::BadHit { .. }));
    let twice = |it: &mut Service| it.shocks[0].hits.push(Hit { group: 0, count: 1 });
    assert!(matches!(refused(twice), EngineError::BadHit { .. }));
    let many = |it: &mut Service| it.shocks = vec![it.shocks[0].clone(); SHOCKS_MAX + 1];
    assert!(matches!(refused(many), EngineError::TooManyShocks { .. }));
}
