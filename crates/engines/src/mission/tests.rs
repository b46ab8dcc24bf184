//! Missions against closed forms, chains and the calendar; what they refuse.

use std::cell::Cell;

use super::*;
use crate::chain::ServiceChain;
use crate::prism::tests::mixed;
use crate::{
    Crew, Detection, Hit, Outage, Recovery, Refresh, Rejuvenation, Schedule, ServerGroup, Shock,
    closed,
};

fn missions(count: u64, hours: f64) -> Missions {
    Missions { count, hours, seed: 1, threads: 2, level: 0.99, points: Vec::new() }
}

fn all(service: &Service, missions: &Missions) -> Outcome {
    run(service, missions, &|_, _| (), &AtomicBool::new(false)).expect("valid")
}

fn integrity(service: &Service, missions: &Missions) -> PropertyOutcome {
    all(service, missions).properties[1].clone()
}

#[test]
fn the_four_servers_of_the_specification_fall_within_the_interval() {
    let service = Service::of(ServerGroup::unattended(4, 0.01), 1);
    let found = integrity(&service, &missions(20_000, 100.0));
    assert!(found.failed.holds(0.855_798_6), "{:?}", found.failed);
    assert!(found.failed.high - found.failed.low < 0.02);
}

#[test]
fn mean_times_hold_those_of_the_recursion() {
    for (n, f, repair, wanted) in [
        (4, 1, 0.0, 58.333_333),
        (4, 1, 1.0, 891.666_667),
        (3, 1, 1.0, 1750.0),
        (7, 2, 1.0, 10_479.52),
    ] {
        let group = if repair > 0.0 {
            ServerGroup::repaired(n, 0.01, repair)
        } else {
            ServerGroup::unattended(n, 0.01)
        };
        let service = Service::of(group, f);
        let (count, cancel) = (missions(4_000, 1.0), AtomicBool::new(false));
        let found = mean_time(&service, Property::Integrity, &count, &|_, _| (), &cancel);
        let found = found.expect("it fails");
        assert!(found.holds(wanted), "{found:?} has not {wanted}");
        assert!(found.high - found.low < 0.1 * wanted, "{found:?}");
    }
}

#[test]
fn common_causes_at_the_beta_row_of_the_specification() {
    let (p, rate) = (0.05, |p: f64| -(-p).ln_1p());
    for (n, f, beta) in
        [(4, 1, 0.0), (4, 1, 0.1), (4, 1, 0.5), (4, 1, 1.0), (7, 2, 0.1), (10, 3, 0.1)]
    {
        let mut service = Service::of(ServerGroup::unattended(n, rate((1.0 - beta) * p)), f);
        if beta > 0.0 {
            let hits = vec![Hit { group: 0, count: n }];
            service.shocks.push(Shock { rate: rate(beta * p), hits });
        }
        let found = integrity(&service, &missions(50_000, 1.0)).failed;
        let wanted = closed::beta(n, f, p, beta).expect("valid");
        assert!(found.holds(wanted), "{n} {f} {beta}: {found:?} has not {wanted}");
    }
}

#[test]
fn everything_at_once_agrees_with_the_chain() {
    agrees_with_the_chain(&mixed(Schedule::Random), &missions(8_000, 150.0));
}

/// Two servers away together, and turns that expel now and then or never.
#[test]
fn turns_at_random_agree_with_the_chain() {
    for expels in [0.3, 0.0] {
        let mut pairs = mixed(Schedule::Random);
        let turns = pairs.groups[0].rejuvenation.expect("it has turns");
        pairs.groups[0].rejuvenation = Some(Rejuvenation { at_once: 2, expels, ..turns });
        agrees_with_the_chain(&pairs, &Missions { level: 0.9999, ..missions(80_000, 150.0) });
    }
}

fn agrees_with_the_chain(service: &Service, missions: &Missions) {
    let points = vec![20.0, 100.0];
    let outcome = all(service, &Missions { points: points.clone(), ..missions.clone() });
    for found in outcome.properties {
        let chain = ServiceChain::until_failure(service, found.property, 1).expect("valid");
        let name = found.property.name();
        let wanted = chain.failed_at(150.0).expect("computed");
        assert!(found.failed.holds(wanted), "{name}: {:?} has not {wanted}", found.failed);
        let curve = chain.failed_curve(&points).expect("computed");
        for (found, wanted) in found.curve.iter().zip(curve) {
            assert!(found.holds(wanted), "{name}: {found:?} has not {wanted}");
        }
        let share = match ServiceChain::with_repair(service, found.property, 1) {
            Ok(goes_on) => goes_on.failed_share_by(150.0).expect("computed"),
            Err(_) => chain.failed_share_by(150.0).expect("computed"),
        };
        assert!(
            found.failed_share.holds(share),
            "{name}: {:?} has not {share}",
            found.failed_share
        );
    }
}

#[test]
fn fixed_periods_are_kept_to_the_hour() {
    // One server that nobody watches, cleaned every 10 h: the share of time intruded is known exactly.
    let (rate, every) = (0.02_f64, 10.0);
    let exact = 1.0 + (-rate * every).exp_m1() / (rate * every);
    let mut service = Service::of(ServerGroup::unattended(1, rate), 0);
    service.groups[0].rejuvenation = Some(Rejuvenation::by_calendar(every, 0.0));
    let found = integrity(&service, &missions(5_000, 200.0)).failed_share;
    assert!(found.holds(exact), "{found:?} has not {exact}");
    // The exponential chain overstates it, nearly twofold.
    let chain = ServiceChain::with_repair(&service, Property::Integrity, 1).expect("valid");
    let random = chain.failed_share().expect("computed");
    assert!(random > 1.6 * found.high, "{random} {found:?}");
}

#[test]
fn servers_take_turns_and_their_absence_is_counted() {
    // Nobody intrudes: four servers in turn, each away 1 h of 10 h, never two at once.
    let service = |quorum| {
        let mut service = Service::of(ServerGroup::unattended(4, 0.0), 1);
        service.quorum = quorum;
        service.groups[0].rejuvenation = Some(Rejuvenation::by_calendar(10.0, 1.0));
        service
    };
    let share = |quorum| all(&service(quorum), &missions(2, 1_000.0)).properties[2].failed_share;
    assert!((share(4).value - 0.4).abs() < 0.002, "{:?}", share(4));
    assert_eq!(share(3).value, 0.0);
}

/// One is absent at any time, and who leaves waits for who comes back, whatever the hours were rounded to.
#[test]
fn a_round_that_takes_all_of_its_period_takes_nobody_else_away() {
    for (count, every, downtime) in [(4, 80.0 / 60.0, 20.0 / 60.0), (3, 0.3, 0.1), (7, 3.5, 0.5)] {
        let mut service = Service::of(ServerGroup::unattended(count, 0.0), 1);
        service.groups[0].rejuvenation = Some(Rejuvenation::by_calendar(every, downtime));
        let of = |quorum| {
            let service = Service { quorum, ..service.clone() };
            let found = all(&service, &missions(2, 1_000.0)).properties[2].clone();
            (found.failed.value, found.failed_share.value)
        };
        assert_eq!(of(count - 1), (0.0, 0.0), "{count} {every}");
        let (failed, share) = of(count);
        assert!(failed == 1.0 && share > 0.999, "{count} {every}: {failed} {share}");
    }
}

/// Each server is a group of its own where none is like another.
fn apart(service: &Service) -> Service {
    let mut apart = service.clone();
    apart.groups.clear();
    for group in &service.groups {
        apart.groups.extend((0..group.count).map(|_| ServerGroup { count: 1, ..group.clone() }));
    }
    apart
}

#[test]
fn servers_that_differ_take_turns_with_one_another() {
    let mut service = Service::of(ServerGroup::unattended(4, 0.0), 1);
    service.groups[0].rejuvenation = Some(Rejuvenation::by_calendar(10.0, 1.0));
    let missions = missions(2, 1_000.0);
    let of = |quorum| all(&Service { quorum, ..apart(&service) }, &missions).properties[2].clone();
    assert!((of(4).failed_share.value - 0.4).abs() < 0.002, "{:?}", of(4));
    assert_eq!(of(3).failed.value, 0.0, "two were away at once");
    // Another period is another calendar, with turns of its own.
    service.groups.push(service.groups[0].clone());
    service.groups[1].rejuvenation = Some(Rejuvenation::by_calendar(7.0, 1.0));
    assert_eq!(service.turns(0).of(3), (4, 4));
    assert_eq!(apart(&service).turns(7).of(0), (4, 4));
}

#[test]
fn servers_that_are_rejuvenated_at_once_are_away_together() {
    let mut service = Service::of(ServerGroup::unattended(5, 0.0), 1);
    service.groups[0].rejuvenation = Some(Rejuvenation {
        every: 10.0,
        downtime: 1.0,
        at_once: 2,
        expels: 1.0,
        schedule: Schedule::Fixed,
    });
    let missions = missions(2, 1_000.0);
    for service in [service.clone(), apart(&service)] {
        let of =
            |quorum| all(&Service { quorum, ..service.clone() }, &missions).properties[2].clone();
        // Two, two and one: three turns of an hour in ten.
        assert!((of(5).failed_share.value - 0.3).abs() < 0.002, "{:?}", of(5));
        assert!((of(4).failed_share.value - 0.2).abs() < 0.002, "{:?}", of(4));
        assert_eq!(of(3).failed.value, 0.0, "three were away at once");
    }
}

/// One outage while two of five are away is one too many. The chain, whose turns come at random and so meet, errs on
/// the side of caution; one that took no notice of how many are away together would not.
#[test]
fn the_chain_is_cautious_about_servers_that_are_away_together() {
    let mut service = Service { quorum: 3, ..Service::of(ServerGroup::unattended(5, 0.0), 1) };
    service.groups[0].outage = Some(Outage { rate: 0.002, duration: 0.5 });
    let with = |at_once, schedule| {
        let turns = Rejuvenation { every: 100.0, downtime: 1.0, at_once, expels: 1.0, schedule };
        let mut service = service.clone();
        service.groups[0].rejuvenation = Some(turns);
        service
    };
    let chain = |at_once| {
        let service = with(at_once, Schedule::Random);
        let chain = ServiceChain::until_failure(&service, Property::Availability, 1);
        chain.expect("valid").failed_at(200.0).expect("computed")
    };
    let by_calendar = |at_once| {
        let service = with(at_once, Schedule::Fixed);
        all(&service, &missions(20_000, 200.0)).properties[2].failed
    };
    for at_once in [1, 2] {
        assert!(chain(at_once) > by_calendar(at_once).low, "{at_once}");
    }
    assert!(chain(1) < by_calendar(2).low, "{} and {:?}", chain(1), by_calendar(2));
    // Three are too many without any outage.
    assert!(chain(3) > 0.95 && by_calendar(3).value >= 1.0);
}

/// By the calendar a server that keeps its intruder has its next turn when it is due.
#[test]
fn a_turn_that_expels_nobody_leaves_the_intruder_until_the_next() {
    // One server that is intruded at once, and cleaned at the first turn of ten hours that expels.
    let share = |expels| {
        let mut service = Service::of(ServerGroup::unattended(1, 1e3), 0);
        service.groups[0].rejuvenation = Some(Rejuvenation {
            every: 10.0,
            downtime: 5.0,
            at_once: 1,
            expels,
            schedule: Schedule::Fixed,
        });
        all(&service, &missions(10, 20_000.0)).properties[1].failed_share
    };
    // Intruded for 10, 20, 30 hours less the 5 of the turn before: 1 / expels periods on average.
    assert!((share(1.0).value - 0.5).abs() < 0.01, "{:?}", share(1.0));
    assert!((share(0.5).value - 0.75).abs() < 0.01, "{:?}", share(0.5));
    assert!((share(0.0).value - 1.0).abs() < 0.01, "{:?}", share(0.0));
}

#[test]
fn an_epoch_ends_by_the_calendar() {
    // Repaired at once, so only two intrusions within one day disclose.
    let mut service = Service::of(ServerGroup::repaired(4, 0.01, 1e6), 1);
    service.refresh = Some(Refresh { every: 24.0, schedule: Schedule::Fixed });
    let day = closed::no_repair(4, 1, closed::intruded_by(0.01, 24.0).expect("valid"));
    let day = day.expect("valid");
    let wanted = 1.0 - (1.0 - day).powi(5);
    let found = all(&service, &missions(20_000, 120.0)).properties[0].clone();
    assert!(found.failed.holds(wanted), "{:?} has not {wanted}", found.failed);
}

#[test]
fn results_do_not_depend_on_threads_and_depend_on_the_seed() {
    let service = mixed(Schedule::Fixed);
    let points = vec![10.0, 50.0];
    let once = Missions { points, ..missions(3_000, 60.0) };
    let alone = all(&service, &Missions { threads: 1, ..once.clone() });
    assert_eq!(alone, all(&service, &Missions { threads: 3, ..once.clone() }));
    assert_ne!(alone, all(&service, &Missions { seed: 2, ..once }));
}

#[test]
fn progress_is_told_to_the_end_and_cancelling_works() {
    let service = Service::of(ServerGroup::repaired(4, 0.5, 1.0), 1);
    let told = Cell::new((0, 0));
    let once = Missions { threads: 1, ..missions(30_000, 10.0) };
    run(&service, &once, &|done, total| told.set((done, total)), &AtomicBool::new(false))
        .expect("valid");
    assert_eq!(told.get(), (30_000, 30_000));
    let cancel = AtomicBool::new(false);
    let at_once = |_, _| cancel.store(true, Ordering::Relaxed);
    let long = missions(1_000_000, 10.0);
    assert_eq!(run(&service, &long, &at_once, &cancel), Err(EngineError::Cancelled));
}

#[test]
fn what_would_take_hours_or_for_ever_is_refused() {
    let busy = Service::of(ServerGroup::repaired(4, 1e6, 1e6), 1);
    let refused = run(&busy, &missions(1_000, 1e6), &|_, _| (), &AtomicBool::new(false));
    assert!(matches!(refused, Err(EngineError::TooMuchWork { .. })), "{refused:?}");
    let nobody = Service::of(ServerGroup::unattended(4, 0.0), 1);
    for property in Property::ALL {
        let never =
            mean_time(&nobody, property, &missions(10, 1.0), &|_, _| (), &AtomicBool::new(false));
        assert!(matches!(never, Err(EngineError::NeverFails { .. })), "{never:?}");
    }
    let quiet = all(&nobody, &missions(1_000, 1.0)).properties;
    assert!(quiet.iter().all(|it| it.failed.value == 0.0 && it.failed.high < 0.01));
    assert!(quiet.iter().all(|it| it.failed_share.high > 0.0), "nothing seen is not nothing");
}

#[test]
fn a_mission_that_never_ends_uses_up_its_budget() {
    // Out and back for ever: two of two are never out at once, since one is never out at all.
    let mut service = Service::of(ServerGroup::unattended(1, 0.0), 0);
    service.groups.push(ServerGroup::unattended(1, 0.0));
    service.groups[0].outage = Some(Outage { rate: 1.0, duration: 1.0 });
    service.quorum = 1;
    let events = AtomicU64::new(EVENTS_MAX);
    let cancel = AtomicBool::new(false);
    let budget = Budget { events, cancel: &cancel };
    let mut world = World::new(&service);
    let mut generator = rand_core::SeedableRng::seed_from_u64(1);
    let ended = world.run(&mut generator, f64::INFINITY, Some(Property::Availability), &budget);
    assert!(matches!(ended, Err(EngineError::TooMuchWork { .. })));
}

#[test]
fn options_without_meaning_are_refused() {
    let service = Service::of(ServerGroup::unattended(4, 0.1), 1);
    let good = missions(10, 10.0);
    let bad = [
        Missions { count: 0, ..good.clone() },
        Missions { count: 1, ..good.clone() },
        Missions { count: u64::MAX, ..good.clone() },
        Missions { hours: 0.0, ..good.clone() },
        Missions { hours: f64::NAN, ..good.clone() },
        Missions { hours: f64::INFINITY, ..good.clone() },
        Missions { threads: THREADS_MAX + 1, ..good.clone() },
        Missions { level: 1.0, ..good.clone() },
        Missions { level: 0.0, ..good.clone() },
        Missions { level: f64::NAN, ..good.clone() },
        Missions { points: vec![2.0, 1.0], ..good.clone() },
        Missions { points: vec![f64::NAN], ..good.clone() },
        Missions { points: vec![1.0; POINTS_MAX + 1], ..good },
    ];
    for bad in bad {
        let refused = run(&service, &bad, &|_, _| (), &AtomicBool::new(false));
        assert!(refused.is_err(), "{bad:?}");
    }
}

#[test]
fn intervals_are_wilsons() {
    // Newcombe, Stat. Med. 17 (1998), table I: 81 of 263 and 0 of 20, at 95 %.
    let found = Estimate::of_share(81, 263, 0.95).expect("valid");
    assert!((found.low - 0.2553).abs() < 5e-5 && (found.high - 0.3662).abs() < 5e-5, "{found:?}");
    let found = Estimate::of_share(0, 20, 0.95).expect("valid");
    assert!(found.low == 0.0 && (found.high - 0.1611).abs() < 5e-5, "{found:?}");
    assert!(Estimate::of_share(2, 1, 0.95).is_err() && Estimate::of_share(0, 0, 0.95).is_err());
    for (level, deviations) in
        [(0.5, 0.674_489_75), (0.95, 1.959_963_98), (0.99, 2.575_829_3), (0.999_999, 4.891_638_5)]
    {
        let found = estimate::quantile_of_level(level).expect("valid");
        assert!((found - deviations).abs() < 1e-7, "{found} is not {deviations}");
    }
    for level in [1e-12, 1e-3, 1.0 - 1e-15] {
        let found = estimate::quantile_of_level(level).expect("valid");
        assert!(found.is_finite() && found > 0.0, "{level}: {found}");
    }
}

#[test]
fn latency_and_chance_of_detection_count() {
    let service = |probability, latency| {
        let mut service = Service::of(ServerGroup::repaired(4, 0.01, 1.0), 1);
        service.groups[0].detection = Detection { probability, latency };
        service
    };
    for service in [service(1.0, 10.0), service(0.5, 0.0), service(0.5, 10.0), service(0.0, 0.0)] {
        let found = integrity(&service, &missions(5_000, 100.0)).failed;
        let chain = ServiceChain::until_failure(&service, Property::Integrity, 1).expect("valid");
        let wanted = chain.failed_at(100.0).expect("computed");
        assert!(found.holds(wanted), "{service:?}: {found:?} has not {wanted}");
    }
}

#[test]
fn a_single_crew_recovers_one_after_another() {
    let mut service = Service::of(ServerGroup::repaired(4, 0.05, 0.5), 2);
    for crew in [Crew::Single, Crew::Parallel] {
        service.groups[0].recovery = Some(Recovery { rate: 0.5, crew });
        let (count, cancel) = (missions(4_000, 1.0), AtomicBool::new(false));
        let found = mean_time(&service, Property::Integrity, &count, &|_, _| (), &cancel);
        let chain = ServiceChain::until_failure(&service, Property::Integrity, 1).expect("valid");
        let wanted = chain.mean_time_to_failure().expect("computed");
        assert!(found.expect("it fails").holds(wanted), "{crew:?}: {wanted}");
    }
    // One crew is one, however much the servers differ.
    service.groups[0].recovery = Some(Recovery { rate: 0.5, crew: Crew::Single });
    let chain = |service: &Service| {
        let chain = ServiceChain::until_failure(service, Property::Integrity, 1).expect("valid");
        chain.mean_time_to_failure().expect("computed")
    };
    let (together, apart) = (chain(&service), apart(&service));
    assert!((chain(&apart) / together - 1.0).abs() < 1e-9, "{} is not {together}", chain(&apart));
    let (count, cancel) = (missions(4_000, 1.0), AtomicBool::new(false));
    let found = mean_time(&apart, Property::Integrity, &count, &|_, _| (), &cancel);
    assert!(found.clone().expect("it fails").holds(together), "{found:?} has not {together}");
}
