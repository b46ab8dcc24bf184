//! Times to fall and recover, and schedules at their thresholds.

use super::*;

fn plan(servers: u32, tolerated: u32, at_once: u32, model: FaultModel) -> RejuvenationPlan {
    RejuvenationPlan { servers, tolerated, at_once, period: 24.0, duration: 2.0, model }
}

#[test]
fn an_attack_is_stood_recovered_from_or_cycled_through() {
    assert_eq!(under_attack(3.0, 1.0, 2.9), Ok(UnderAttack::Stands));
    assert_eq!(under_attack(3.0, 1.0, 3.0), Ok(UnderAttack::Recovers));
    assert_eq!(under_attack(3.0, 1.0, 4.0), Ok(UnderAttack::Cycles { duty: 0.75 }));
    assert_eq!(under_attack(3.0, 1.0, f64::INFINITY), Ok(UnderAttack::Cycles { duty: 0.75 }));
    for bad in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        assert!(under_attack(bad, 1.0, 1.0).is_err() && under_attack(1.0, bad, 1.0).is_err());
    }
    assert!(under_attack(1.0, 1.0, f64::NAN).is_err() && under_attack(1.0, 1.0, -1.0).is_err());
}

#[test]
fn rejuvenation_costs_two_servers_for_each_at_once() {
    let of = |plan: RejuvenationPlan| plan.exhaustion().expect("valid");
    let enough = of(plan(6, 1, 1, FaultModel::Arbitrary));
    assert_eq!((enough.servers_min, enough.slack, enough.tolerated_meanwhile), (6, 0, Some(1)));
    let short = of(plan(4, 1, 1, FaultModel::Arbitrary));
    assert_eq!((short.servers_min, short.slack, short.tolerated_meanwhile), (6, -2, Some(0)));
    let hybrid = of(plan(5, 1, 1, FaultModel::Hybrid));
    assert_eq!((hybrid.servers_min, hybrid.slack, hybrid.tolerated_meanwhile), (5, 0, Some(1)));
    let none = of(plan(4, 1, 2, FaultModel::Asynchronous));
    assert_eq!((none.slack, none.tolerated_meanwhile), (-4, None));
}

#[test]
fn a_schedule_is_safe_when_cleaning_is_faster_than_intruding() {
    let found = plan(9, 2, 1, FaultModel::Arbitrary).exhaustion().expect("valid");
    assert_eq!((found.period_min, found.is_feasible, found.exposure), (18.0, true, 22.0));
    assert_eq!(found.intrusion_time_min, 11.0);
    assert!(found.is_safe_against(11.0) && !found.is_safe_against(10.9));
    let crowded = RejuvenationPlan { period: 17.0, ..plan(9, 2, 1, FaultModel::Arbitrary) };
    let crowded = crowded.exhaustion().expect("valid");
    assert!(!crowded.is_feasible && !crowded.is_safe_against(1e9));
    // Somebody is absent all the time, which is counted with.
    let all = RejuvenationPlan { period: 2.0, ..plan(7, 1, 2, FaultModel::Hybrid) };
    let all = RejuvenationPlan { duration: 0.5, ..all }.exhaustion().expect("valid");
    assert!(all.is_feasible && all.is_safe_against(1e9), "{all:?}");
    let spent = plan(4, 1, 1, FaultModel::Arbitrary).exhaustion().expect("valid");
    assert!(!spent.is_safe_against(1e9), "nothing is tolerated while one is absent");
}

#[test]
fn plans_without_meaning_are_refused() {
    let refused = |plan: RejuvenationPlan| plan.exhaustion().expect_err("no meaning");
    let count = refused(plan(0, 0, 1, FaultModel::Arbitrary));
    assert!(matches!(count, CalculusError::Count { .. }));
    let few = refused(plan(3, 1, 1, FaultModel::Arbitrary));
    assert!(matches!(few, CalculusError::Threshold { wanted: 4, given: 3, .. }));
    let few = refused(plan(u32::MAX - 1, u32::MAX, u32::MAX, FaultModel::Hybrid));
    assert!(matches!(few, CalculusError::Count { .. }));
    let few = refused(plan(2, u32::MAX, 1, FaultModel::Hybrid));
    assert!(matches!(few, CalculusError::Threshold { .. }));
    for at_once in [0, 5, u32::MAX] {
        let refusal = refused(plan(4, 1, at_once, FaultModel::Arbitrary));
        assert!(matches!(refusal, CalculusError::Threshold { .. }));
    }
    for bad in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        let good = plan(4, 1, 1, FaultModel::Arbitrary);
        let refusal = refused(RejuvenationPlan { period: bad, ..good });
        assert!(matches!(refusal, CalculusError::NotPositive { .. }));
        let refusal = refused(RejuvenationPlan { duration: bad, ..good });
        assert!(matches!(refusal, CalculusError::NotPositive { .. }));
    }
}

/// Hours of minutes and of parts of hours are not exact: 20 minutes five times, a tenth of an hour three times.
#[test]
fn a_round_that_takes_a_period_fits_and_leaves_nothing_whatever_it_was_rounded_to() {
    for turns in 1..=20 {
        for minutes in [3.0, 6.0, 20.0, 29.0_f64] {
            let (one, all) = (minutes / 60.0, minutes * f64::from(turns) / 60.0);
            let round = f64::from(turns) * one;
            assert!(fits(round, all) && !leaves_time(round, all), "{turns} of {minutes}");
            assert!(!fits(round, all * 0.999) && leaves_time(round, all * 1.001));
        }
    }
    assert!(fits(3.0 * 0.1, 0.3) && !leaves_time(3.0 * 0.1, 0.3));
}
