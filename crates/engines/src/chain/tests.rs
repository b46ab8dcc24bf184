//! Chains against closed forms and against each other's methods; what they refuse.

use super::*;
use crate::{
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

#[test]
fn a_curve_is_the_same_as_its_points() {
    let service = Service::of(ServerGroup::repaired(4, 0.01, 0.5), 1);
    let chain = integrity(&service);
    let times = [0.0, 1.0, 10.0, 10.0, 200.0];
    let curve = chain.failed_curve(&times).expect("valid");
    assert_eq!(curve[0], 0.0);
    for (time, point) in times.iter().zip(&curve).skip(1) {
        near(*point, chain.failed_at(*time).expect("valid"), 1e-9);
    }
}

#[test]
fn common_causes_at_the_beta_row_of_the_specification() {
    // At p = 0.05 of one server: the common share strikes all as one shock, the rest strikes one.
    let p = 0.05;
    let rows = [
        (4, 1, 0.0, 0.014_018_75),
        (4, 1, 0.1, 0.016_376_1),
        (4, 1, 0.5, 0.028_535_5),
        (4, 1, 1.0, 0.05),
        (7, 2, 0.1, 0.007_767_6),
        (10, 3, 0.1, 0.005_688_2),
    ];
    for (n, f, beta, wanted) in rows {
        let rate = |p: f64| -(-p).ln_1p();
        let mut service = Service::of(ServerGroup::unattended(n, rate((1.0 - beta) * p)), f);
        if beta > 0.0 {
            let hits = vec![Hit { group: 0, count: n }];
            service.shocks.push(Shock { rate: rate(beta * p), hits });
        }
        let found = integrity(&service).failed_at(1.0).expect("valid");
        near(found, closed::beta(n, f, p, beta).expect("valid"), 1e-9);
        assert!((found - wanted).abs() < 1e-6, "{found} is not {wanted}");
    }
}

#[test]
fn one_server_beats_four_beyond_the_crossover_and_diversity_beats_servers() {
    let failed = |n, f, p: f64| {
        let service = Service::of(ServerGroup::unattended(n, -(-p).ln_1p()), f);
        integrity(&service).failed_at(1.0).expect("valid")
    };
    assert!(failed(4, 1, 0.22) < 0.22 && failed(4, 1, 0.24) > 0.24);
    let shared = |n, f, beta: f64| {
        let rate = |p: f64| -(-p).ln_1p();
        let group = ServerGroup::unattended(n, rate((1.0 - beta) * 0.05));
        let mut service = Service::of(group, f);
        let hits = vec![Hit { group: 0, count: n }];
        service.shocks.push(Shock { rate: rate(beta * 0.05), hits });
        integrity(&service).failed_at(1.0).expect("valid")
    };
    // Three more servers save a quarter; a tenth of the common share saves two thirds.
    assert!(shared(10, 3, 0.1) > 0.7 * shared(7, 2, 0.1));
    assert!(shared(7, 2, 0.01) < 0.6 * shared(7, 2, 0.1));
}

#[test]
fn the_long_run_of_two_states_is_known() {
    let mut builder = ChainBuilder::new(2).expect("two states");
    builder.transition(0, 1, 0.25).expect("valid");
    builder.transition(1, 0, 0.75).expect("valid");
    let chain = builder.build(0).expect("valid");
    let shares = chain.long_run().expect("one long run");
    near(shares[1], 0.25, 1e-15);
    // p(t) = 1/4 (1 - e^-t), and its mean over time.
    let at = chain.probability_in(&[false, true], &[2.0]).expect("valid")[0];
    near(at, 0.25 * -(-2.0_f64).exp_m1(), 1e-12);
    let share = chain.share_in(&[false, true], 2.0).expect("valid");
    near(share, 0.25 * (1.0 + (-2.0_f64).exp_m1() / 2.0), 1e-10);
    near(chain.mean_time_to(&[false, true]).expect("valid"), 4.0, 1e-15);
    assert_eq!(chain.mean_time_to(&[true, false]), Ok(0.0));
}

#[test]
fn small_stiff_chains_are_squared() {
    // A repair of seconds against intrusions of centuries, over a thousand years.
    let service = Service::of(ServerGroup::repaired(4, 1e-6, 3_600.0), 1);
    let chain = integrity(&service);
    let mean = closed::mttf(4, 1, 1e-6, 3_600.0).expect("valid");
    let hours = 8_766_000.0;
    near(chain.failed_at(hours).expect("computed"), -(-hours / mean).exp_m1(), 1e-6);
    // A thousand even steps square one matrix.
    let times: Vec<f64> = (1..=1_000).map(|step| hours * f64::from(step) / 1_000.0).collect();
    for (time, found) in times.iter().zip(chain.failed_curve(&times).expect("computed")) {
        near(found, -(-time / mean).exp_m1(), 1e-6);
    }
    let goes_on = ServiceChain::with_repair(&service, Property::Integrity, 1).expect("valid");
    let rest = goes_on.failed_share().expect("computed");
    near(goes_on.failed_at(hours).expect("computed"), rest, 1e-9);
}

#[test]
fn uniformisation_and_squaring_agree() {
    let service = Service::of(ServerGroup::repaired(5, 0.02, 2.0), 2);
    let chain = integrity(&service);
    let initial = chain.chain().beginning();
    let squared = squaring::Matrix::over(chain.chain(), 300.0).apply(&initial);
    // One short step after another, which is cheaper in ticks.
    let mut clock = uniform::Clock::new(chain.chain(), 300.0).expect("short");
    let mut ticked = initial;
    for _ in 0..3_000 {
        ticked = clock.advance(&ticked, 0.1).expect("short");
    }
    assert!(!squaring::is_better(chain.chain(), 0.1 * chain.chain().fastest().0));
    for (squared, ticked) in squared.iter().zip(&ticked) {
        near(*squared, *ticked, 1e-9);
    }
}

#[test]
fn chains_at_rest_skip_what_changes_nothing() {
    // More than 300 states, so nothing is squared; a hundred years of repairs within an hour.
    let group = || ServerGroup {
        detection: Detection { probability: 1.0, latency: 1.0 },
        ..ServerGroup::repaired(5, 1e-4, 1.0)
    };
    let groups = vec![group(), group(), group()];
    let service = Service { groups, tolerated: 5, quorum: 10, shocks: Vec::new(), refresh: None };
    let chain = integrity(&service);
    assert!(chain.state_count() > 300, "{}", chain.state_count());
    let hours = 876_000.0;
    let mean = chain.mean_time_to_failure().expect("computed");
    near(chain.failed_at(hours).expect("computed"), -(-hours / mean).exp_m1(), 1e-5);
    // The long run by the calendar and by elimination.
    let goes_on = ServiceChain::with_repair(&service, Property::Integrity, 1).expect("valid");
    let share = goes_on.failed_share().expect("computed");
    near(goes_on.failed_at(hours).expect("computed"), share, 1e-8);
    near(goes_on.failed_share_by(hours).expect("computed"), share, 1e-3);
}

#[test]
fn aggregation_and_elimination_agree() {
    let group = |rate| ServerGroup {
        detection: Detection { probability: 0.9, latency: 5.0 },
        rejuvenation: Some(Rejuvenation {
            every: 700.0,
            downtime: 1.0,
            at_once: 1,
            expels: 1.0,
            schedule: Schedule::Random,
        }),
        ..ServerGroup::repaired(3, rate, 0.5)
    };
    let groups = vec![group(1e-3), group(1e-5)];
    let service = Service { groups, tolerated: 1, quorum: 4, shocks: Vec::new(), refresh: None };
    let chain = ServiceChain::with_repair(&service, Property::Integrity, 1).expect("valid");
    let flow = stationary::whole(chain.chain());
    let direct = elimination::solve(&flow, flow.band()).expect("solved");
    let swept = aggregation::solve(&flow).expect("settled");
    for (direct, swept) in direct.iter().zip(&swept) {
        near(*swept, *direct, 1e-8);
    }
}

#[test]
fn halves_that_seldom_meet_are_weighed_exactly() {
    // Two rows of 400 states, each state visited by its weight, and the first row three times as often.
    // Every transition is as frequent as the one back, so the shares are known.
    let weight = |state: u32| f64::from(1 + state % 7) * if state < 400 { 3.0 } else { 1.0 };
    let mut builder = ChainBuilder::new(800).expect("few");
    let mut both_ways = |one: u32, other: u32, flow: f64| {
        let index = |state: u32| usize::try_from(state).expect("small");
        for (from, to) in [(one, other), (other, one)] {
            builder.transition(index(from), index(to), flow / weight(from)).expect("valid");
        }
    };
    for half in [0, 400] {
        (1..400).for_each(|state| both_ways(half + state - 1, half + state, 1.0));
    }
    both_ways(399, 400, 1e-9);
    let chain = builder.build(0).expect("valid");
    let flow = stationary::whole(&chain);
    let total: f64 = (0..800).map(weight).sum();
    let wanted: Vec<f64> = (0..800).map(|state| weight(state) / total).collect();
    let direct = elimination::solve(&flow, flow.band()).expect("solved");
    let swept = aggregation::solve(&flow).expect("settled");
    for shares in [chain.long_run().expect("solved"), direct, swept] {
        for (found, wanted) in shares.iter().zip(&wanted) {
            near(*found, *wanted, 1e-7);
        }
    }
}

#[test]
fn a_long_chain_is_solved_in_its_band() {
    // Births and deaths: the mean time up 20,000 steps without deaths is their sum.
    let states = 20_001;
    let mut builder = ChainBuilder::new(states).expect("few");
    for state in 0..states - 1 {
        builder.transition(state, state + 1, 2.0).expect("valid");
    }
    let chain = builder.build(0).expect("valid");
    let mut marked = vec![false; states];
    marked[states - 1] = true;
    near(chain.mean_time_to(&marked).expect("computed"), 10_000.0, 1e-9);
}

#[test]
fn a_single_crew_is_slower_than_one_for_each() {
    let single = |crew| {
        let mut service = Service::of(ServerGroup::repaired(4, 0.05, 0.5), 2);
        service.groups[0].recovery = Some(Recovery { rate: 0.5, crew });
        integrity(&service).mean_time_to_failure().expect("computed")
    };
    // By hand: h0 = 1/(4 l), h1 = (1 + m h0)/(3 l), h2 = (1 + m h1)/(2 l) with m for one crew.
    let (l, m) = (0.05, 0.5);
    let h0 = 1.0 / (4.0 * l);
    let h1 = (1.0 + m * h0) / (3.0 * l);
    let h2 = (1.0 + m * h1) / (2.0 * l);
    near(single(Crew::Single), h0 + h1 + h2, 1e-12);
    near(single(Crew::Parallel), closed::mttf(4, 2, l, m).expect("valid"), 1e-12);
}

#[test]
fn what_nobody_notices_stays_until_rejuvenation() {
    let hidden = |rejuvenation| {
        let mut service = Service::of(ServerGroup::repaired(4, 0.001, 1.0), 1);
        service.groups[0].detection.probability = 0.5;
        service.groups[0].rejuvenation = rejuvenation;
        integrity(&service).mean_time_to_failure().expect("computed")
    };
    let every = |every| {
        hidden(Some(Rejuvenation {
            every,
            downtime: 0.0,
            at_once: 1,
            expels: 1.0,
            schedule: Schedule::Random,
        }))
    };
    assert!(hidden(None) < every(1000.0) && every(1000.0) < every(10.0));
    // Without detection, a random rejuvenation is a repair at that rate.
    let mut service = Service::of(ServerGroup::unattended(4, 0.01), 1);
    service.groups[0].rejuvenation = Some(Rejuvenation {
        every: 1.0,
        downtime: 0.0,
        at_once: 1,
        expels: 1.0,
        schedule: Schedule::Random,
    });
    near(integrity(&service).mean_time_to_failure().expect("computed"), 891.666_666_7, 1e-9);
}

fn in_turns(at_once: u32, expels: f64) -> Option<Rejuvenation> {
    let schedule = Schedule::Random;
    Some(Rejuvenation { every: 10.0, downtime: 1.0, at_once, expels, schedule })
}

/// Those who are absent together are missed together, and whoever misses one of them misses all.
#[test]
fn servers_that_are_rejuvenated_at_once_are_missed_at_once() {
    let of = |at_once, quorum| {
        let mut service = Service { quorum, ..Service::of(ServerGroup::unattended(4, 0.0), 1) };
        service.groups[0].rejuvenation = in_turns(at_once, 1.0);
        service
    };
    let failed = |at_once, quorum| {
        let service = of(at_once, quorum);
        let chain = ServiceChain::until_failure(&service, Property::Availability, 1);
        chain.expect("valid").failed_at(5.0).expect("computed")
    };
    // Turns of pairs are half as many, and each takes one too many.
    near(failed(2, 3), -(-5.0 * 4.0 / (9.5 * 2.0_f64)).exp_m1(), 1e-9);
    assert!(failed(1, 3) < failed(2, 3) / 2.0, "{}", failed(1, 3));
    assert!(failed(2, 2) < failed(2, 3) / 2.0 && failed(4, 2) > failed(2, 2));
    // All four together: a tenth of the time nobody is there, less what turns that meet have in common.
    let chain = ServiceChain::with_repair(&of(4, 1), Property::Availability, 1).expect("valid");
    let share = chain.failed_share().expect("computed");
    near(share, 1.0 - 0.975_f64.powi(4), 1e-9);
    assert!((share / 0.1 - 1.0).abs() < 0.05);
    // How many go at once matters to nothing else.
    let intruded = |at_once| {
        let mut service = Service::of(ServerGroup::unattended(4, 0.01), 1);
        service.groups[0].rejuvenation =
            in_turns(at_once, 1.0).map(|turns| Rejuvenation { downtime: 0.0, ..turns });
        integrity(&service).mean_time_to_failure().expect("computed")
    };
    near(intruded(1), intruded(3), 1e-12);
}

/// Turns that expel nobody are absences, and nothing else; every second one that does is repair at half the rate.
#[test]
fn turns_expel_as_often_as_they_are_said_to() {
    let mean = |expels| {
        let mut service = Service::of(ServerGroup::unattended(4, 0.01), 1);
        service.groups[0].rejuvenation =
            in_turns(1, expels).map(|turns| Rejuvenation { every: 1.0, downtime: 0.0, ..turns });
        integrity(&service).mean_time_to_failure().expect("computed")
    };
    near(mean(0.5), closed::mttf(4, 1, 0.01, 0.5).expect("valid"), 1e-9);
    near(mean(0.0), closed::mttf(4, 1, 0.01, 0.0).expect("valid"), 1e-9);
    let away = |expels| {
        let mut service = Service::of(ServerGroup::unattended(4, 0.0), 1);
        service.groups[0].rejuvenation = in_turns(1, expels);
        let chain = ServiceChain::until_failure(&service, Property::Availability, 1);
        chain.expect("valid").failed_at(5.0).expect("computed")
    };
    near(away(0.0), away(1.0), 1e-12);
}

#[test]
fn stages_of_servers_that_differ_begin_in_turns() {
    let mut together = Service::of(ServerGroup::unattended(3, 0.01), 1);
    together.groups[0].rejuvenation = Some(Rejuvenation::by_calendar(60.0, 2.0));
    let mut apart = together.clone();
    apart.groups = vec![ServerGroup { count: 1, ..together.groups[0].clone() }; 3];
    for property in [Property::Integrity, Property::Availability] {
        let failed = |service: &Service| {
            let chain = ServiceChain::until_failure(service, property, 6).expect("valid");
            chain.failed_at(30.0).expect("computed")
        };
        near(failed(&apart), failed(&together), 1e-9);
    }
}

#[test]
fn more_stages_come_closer_to_a_fixed_period() {
    // One server that nobody watches, cleaned every 10 h exactly: the share of time intruded is known.
    let (rate, every) = (0.02_f64, 10.0);
    let exact = 1.0 + (-rate * every).exp_m1() / (rate * every);
    let mut last = f64::INFINITY;
    for stages in [1, 2, 4, 16, 64] {
        let mut service = Service::of(ServerGroup::unattended(1, rate), 0);
        service.groups[0].rejuvenation = Some(Rejuvenation::by_calendar(every, 0.0));
        let chain = ServiceChain::with_repair(&service, Property::Integrity, stages);
        let share = chain.expect("valid").failed_share().expect("computed");
        let error = (share - exact).abs() / exact;
        assert!(error < 0.6 * last, "{stages} stages: {error} after {last}");
        last = error;
    }
    assert!(last < 0.02, "{last}");
}

#[test]
fn availability_counts_absent_servers_and_integrity_does_not() {
    // Nobody intrudes; each server is out a tenth of the time, independently.
    let mut service = Service::of(ServerGroup::unattended(4, 0.0), 1);
    service.groups[0].outage = Some(Outage { rate: 0.1, duration: 10.0 / 9.0 });
    let chain = ServiceChain::with_repair(&service, Property::Availability, 1).expect("valid");
    let wanted = closed::no_repair(4, 1, 0.1).expect("valid");
    near(chain.failed_share().expect("computed"), wanted, 1e-12);
    let never = integrity(&service);
    assert_eq!(never.failed_at(1e6), Ok(0.0));
    assert!(matches!(never.mean_time_to_failure(), Err(EngineError::NeverFails { .. })));
}

#[test]
fn confidentiality_never_recovers_within_an_epoch() {
    let service =
        |refresh| Service { refresh, ..Service::of(ServerGroup::repaired(4, 0.01, 1e4), 1) };
    let mean = |service: &Service| {
        let chain = ServiceChain::until_failure(service, Property::Confidentiality, 1);
        chain.expect("valid").mean_time_to_failure().expect("computed")
    };
    // Without refresh a repaired server has leaked its share all the same.
    near(mean(&service(None)), closed::mttf(4, 1, 0.01, 0.0).expect("valid"), 1e-3);
    // Random refreshes end the epoch for whoever was repaired.
    let often = mean(&service(Some(Refresh { every: 1.0, schedule: Schedule::Random })));
    near(often, closed::mttf(4, 1, 0.01, 1.0).expect("valid"), 1e-3);
    let repaired = ServiceChain::with_repair(&service(None), Property::Confidentiality, 1);
    assert_eq!(repaired.map(|_| ()), Err(EngineError::NoRecovery));
}

#[test]
fn shocks_on_part_of_a_group_draw_among_all_of_it() {
    // Two of four at a time, from rest: the first shock breaks f = 1.
    let shock = |count, f| {
        let mut service = Service::of(ServerGroup::unattended(4, 0.0), f);
        service.shocks.push(Shock { rate: 0.5, hits: vec![Hit { group: 0, count }] });
        let mean = integrity(&service).mean_time_to_failure().expect("computed");
        // Servers in different stages of a period that never ends are hit as likely as others.
        let schedule = Schedule::Fixed;
        service.groups[0].rejuvenation =
            Some(Rejuvenation { every: 1e12, downtime: 0.0, at_once: 1, expels: 1.0, schedule });
        let staged = ServiceChain::until_failure(&service, Property::Integrity, 4).expect("valid");
        near(staged.mean_time_to_failure().expect("computed"), mean, 1e-9);
        mean
    };
    near(shock(2, 1), 2.0, 1e-12);
    // f = 2: after the first, the second hits nobody new with 1 of 6 pairs.
    near(shock(2, 2), 2.0 + 2.0 * 6.0 / 5.0, 1e-12);
    // One at a time, f = 3: collecting four coupons.
    near(shock(1, 3), 2.0 * (1.0 + 4.0 / 3.0 + 2.0 + 4.0), 1e-12);
}

#[test]
fn too_large_and_too_stiff_chains_are_refused_with_their_size() {
    let group = || ServerGroup {
        detection: Detection { probability: 0.5, latency: 1.0 },
        rejuvenation: Some(Rejuvenation::by_calendar(100.0, 1.0)),
        ..ServerGroup::repaired(10, 0.01, 1.0)
    };
    let groups = vec![group(), group(), group()];
    let service = Service { groups, tolerated: 9, quorum: 20, shocks: Vec::new(), refresh: None };
    let explorer = lumped::Explorer::new(&service, Property::Integrity, 32, true).expect("valid");
    // With the limit of everybody else it takes seconds to arrive there.
    match explorer.explore(2_000) {
        Err(EngineError::TooManyStates { wanted, most: 2_000 }) => {
            assert!(wanted > 1_000_000_000, "{wanted}");
        }
        other => panic!("{:?}", other.map(|chain| chain.state_count())),
    }
    // 400 states in a ring, of which one is left in microseconds.
    let mut builder = ChainBuilder::new(400).expect("few");
    for state in 0..400 {
        let rate = if state == 7 { 1e12 } else { 1e-6 };
        builder.transition(state, (state + 1) % 400, rate).expect("valid");
    }
    let refused = builder.build(0).expect("valid").transient(&[1e6]);
    assert!(matches!(refused, Err(EngineError::Stiff { .. })), "{refused:?}");
}

#[test]
fn a_curve_in_one_pass_is_what_stepping_from_point_to_point_gives() {
    let mut builder = ChainBuilder::new(401).expect("few");
    for state in 0..400 {
        builder.transition(state, (state + 1) % 400, 1.0).expect("valid");
        builder.transition(state, (state * 7 + 3) % 400, 0.3).ok();
        builder.transition(state, 400, 1e-4).expect("valid");
    }
    let chain = builder.build(0).expect("valid");
    // Ends that are never left, states that are, and both; at rest long before the last point and not yet.
    let one = |chosen: &[usize]| (0..401).map(|it| chosen.contains(&it)).collect::<Vec<_>>();
    for marked in [one(&[400]), one(&[5, 250]), one(&[7, 400])] {
        for times in [vec![0.0, 1.0, 30.0], vec![10.0, 1_000.0, 9_000.0]] {
            let states = chain.transient(&times).expect("computed");
            let curve = chain.probability_in(&marked, &times).expect("computed");
            for (found, state) in curve.iter().zip(&states) {
                near(*found, sum_of(state, &marked), 1e-8);
            }
        }
    }
}

#[test]
fn builders_refuse_what_is_no_chain() {
    assert!(matches!(ChainBuilder::new(0), Err(EngineError::TooManyStates { .. })));
    assert!(matches!(ChainBuilder::new(usize::MAX), Err(EngineError::TooManyStates { .. })));
    let mut builder = ChainBuilder::new(3).expect("few");
    for rate in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        let refused = builder.transition(0, 1, rate);
        assert!(matches!(refused, Err(EngineError::NotPositive { .. })), "{rate}");
    }
    for (from, to) in [(0, 0), (3, 0), (0, 3), (usize::MAX, 0)] {
        let refused = builder.transition(from, to, 1.0);
        assert!(matches!(refused, Err(EngineError::BadTransition { .. })), "{from} {to}");
    }
    builder.transition(0, 1, 1.0).expect("valid");
    builder.transition(0, 2, 1.0).expect("valid");
    assert!(builder.clone().build(3).is_err());
    let chain = builder.build(0).expect("valid");
    // It may end in 1 or in 2: no single long run, and no certain way to 1.
    assert!(matches!(chain.long_run(), Err(EngineError::NeverFails { .. })));
    let never = chain.mean_time_to(&[false, true, false]);
    assert!(matches!(never, Err(EngineError::NeverFails { .. })));
    assert!(matches!(chain.transient(&[f64::NAN]), Err(EngineError::Negative { .. })));
    assert!(matches!(chain.transient(&[2.0, 1.0]), Err(EngineError::Unordered { .. })));
    let points = vec![1.0; CURVE_POINTS_MAX + 1];
    assert!(matches!(chain.transient(&points), Err(EngineError::OutOfRange { .. })));
    assert!(matches!(chain.share_in(&[], 0.0), Err(EngineError::NotPositive { .. })));
}

#[test]
fn numbers_at_the_edge_of_floating_point_are_refused_or_computed() {
    for (rate, repair) in [(1e-320, 1.0), (1e-320, 1e-320), (1e300, 1e-300), (1e308, 1e308)] {
        let service = Service::of(ServerGroup::repaired(4, rate, repair), 1);
        let Ok(chain) = ServiceChain::until_failure(&service, Property::Integrity, 1) else {
            continue;
        };
        for time in [0.0, 1e-300, 1.0, 1e300] {
            match chain.failed_at(time) {
                Ok(p) => assert!((0.0..=1.0).contains(&p), "{rate} {repair} {time}: {p}"),
                Err(EngineError::Stiff { .. }) => {}
                Err(other) => panic!("{rate} {repair} {time}: {other}"),
            }
        }
        match chain.mean_time_to_failure() {
            Ok(mean) => assert!(mean.is_finite() && mean > 0.0, "{rate} {repair}: {mean}"),
            Err(EngineError::Overflow { .. }) => {}
            Err(other) => panic!("{rate} {repair}: {other}"),
        }
    }
}

#[test]
fn shocks_that_spread_too_far_are_refused() {
    let group = ServerGroup {
        detection: Detection { probability: 0.5, latency: 1.0 },
        ..ServerGroup::repaired(20, 0.01, 1.0)
    };
    let hits = (0..5).map(|group| Hit { group, count: 10 }).collect();
    let shocks = vec![Shock { rate: 0.1, hits }];
    let groups = vec![group; 5];
    let service = Service { groups, tolerated: 59, quorum: 41, shocks, refresh: None };
    let refused = ServiceChain::until_failure(&service, Property::Integrity, 1);
    let refused = refused.map(|chain| chain.state_count());
    assert!(matches!(refused, Err(EngineError::TooManyTransitions { .. })), "{refused:?}");
}

#[test]
fn answers_of_many_states_at_many_times_are_refused() {
    let mut builder = ChainBuilder::new(STATES_MAX).expect("the most");
    builder.transition(0, 1, 1.0).expect("valid");
    let chain = builder.build(0).expect("valid");
    let refused = chain.transient(&[1.0; 21]);
    assert!(matches!(refused, Err(EngineError::OutOfRange { .. })));
    let found = chain.probability_in(&[false, true], &[1.0]).expect("computed");
    near(found[0], -(-1.0_f64).exp_m1(), 1e-12);
}
