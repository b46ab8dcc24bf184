//! The numbers that the formulas must give, and what they refuse.

use super::*;

const CLOSE: f64 = 1e-6;

#[track_caller]
fn check(found: Result<f64, EngineError>, wanted: f64, error: f64) {
    let found = found.expect("valid input");
    assert!((found - wanted).abs() <= error, "{found} is not {wanted}");
}

#[test]
fn without_repair_four_servers_fall_as_computed_by_hand() {
    let p = intruded_by(0.01, 100.0).expect("valid");
    check(no_repair(4, 1, p), 0.855_798_6, 5e-8);
    check(no_repair(1, 0, p), p, 1e-15);
    check(no_repair(4, 1, 0.0), 0.0, 0.0);
    check(no_repair(4, 1, 1.0), 1.0, 0.0);
}

#[test]
fn rare_intrusions_keep_their_digits() {
    let leading = 6.0 * 1e-9_f64.powi(2);
    check(no_repair(4, 1, 1e-9), leading, leading * 1e-8);
    check(intruded_by(1e-12, 1e-6), 1e-18, 1e-30);
}

#[test]
fn mean_times_are_those_of_the_recursion() {
    check(mttf(4, 1, 0.01, 0.0), 58.333_333_333, CLOSE);
    check(mttf(4, 1, 0.01, 1.0), 891.666_666_667, CLOSE);
    check(mttf(7, 2, 0.01, 1.0), 10_479.523_809_5, CLOSE);
    check(mttf(3, 1, 0.01, 1.0), 1750.0, CLOSE);
}

#[test]
fn common_causes_make_replicas_as_bad_as_one() {
    for (share, wanted) in
        [(0.0, 0.014_018_75), (0.1, 0.016_376_1), (0.5, 0.028_535_5), (1.0, 0.05)]
    {
        check(beta(4, 1, 0.05, share), wanted, 5e-7);
    }
}

#[test]
fn diversity_and_not_size_is_the_lever() {
    check(beta(7, 2, 0.05, 0.1), 0.007_767_6, 5e-8);
    check(beta(10, 3, 0.05, 0.1), 0.005_688_2, 5e-8);
    let more_servers = beta(10, 3, 0.05, 0.1).expect("valid");
    let more_diversity = beta(7, 2, 0.05, 0.01).expect("valid");
    assert!(more_diversity < more_servers, "{more_diversity} against {more_servers}");
    // However many servers there are, the common share stays.
    assert!(beta(100, 33, 0.05, 0.1).expect("valid") > 0.1 * 0.05 - 1e-12);
}

#[test]
fn beyond_the_crossover_one_server_is_better_than_four() {
    let at = crossover(4, 1).expect("valid");
    assert!((at - 0.232).abs() < 5e-4, "{at}");
    assert!(no_repair(4, 1, at + 0.01).expect("valid") > at + 0.01);
    assert!(no_repair(4, 1, at - 0.01).expect("valid") < at - 0.01);
    check(crossover(4, 0), 0.0, 0.0);
    check(crossover(2, 1), 1.0, 0.0);
    check(crossover(1, 0), 1.0, 0.0);
    check(crossover(3, 1), 0.5, 1e-12);
}

#[test]
fn shares_of_time_and_coverages_multiply() {
    check(recoverable(3.0, 1.0), 0.75, 1e-15);
    check(recoverable(f64::MAX, f64::MAX), 0.5, 1e-15);
    check(coverage(0.9, 0.8), 0.72, 1e-15);
}

#[test]
fn what_has_no_meaning_is_refused() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1, 1.1] {
        assert!(matches!(no_repair(4, 1, bad), Err(EngineError::NotAProbability { .. })), "{bad}");
        assert!(matches!(beta(4, 1, 0.1, bad), Err(EngineError::NotAProbability { .. })), "{bad}");
        assert!(matches!(coverage(0.5, bad), Err(EngineError::NotAProbability { .. })), "{bad}");
    }
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1, 0.0] {
        assert!(matches!(mttf(4, 1, bad, 1.0), Err(EngineError::NotPositive { .. })), "{bad}");
        assert!(matches!(recoverable(bad, 1.0), Err(EngineError::NotPositive { .. })), "{bad}");
    }
    assert!(matches!(mttf(4, 1, 0.1, f64::NAN), Err(EngineError::Negative { .. })));
    assert!(matches!(mttf(4, 4, 0.1, 1.0), Err(EngineError::TooManyTolerated { n: 4, f: 4 })));
    assert!(matches!(crossover(1, 7), Err(EngineError::TooManyTolerated { n: 1, f: 7 })));
    assert!(matches!(no_repair(0, 0, 0.1), Err(EngineError::ServerCount { .. })));
    assert!(matches!(no_repair(u32::MAX, 1, 0.1), Err(EngineError::ServerCount { .. })));
    assert!(matches!(mttf(400, 300, 1e-9, 1e9), Err(EngineError::Overflow { .. })));
}

#[test]
fn many_servers_are_no_trouble() {
    // The median of the binomial distribution: half of the servers, with probability one half.
    check(no_repair(9_999, 4_999, 0.5), 0.5, 1e-9);
    check(no_repair(CLOSED_SERVERS_MAX, 1, 0.5), 1.0, 1e-12);
}

/// Three servers that tolerate one, by hand: `1 - (1-p)^3 - 3 p (1-p)^2 c`.
#[test]
fn a_hybrid_service_falls_with_one_wormhole() {
    for (p, c) in [(0.204, 0.7), (0.01, 0.99), (0.5, 0.0), (0.3, 1.0)] {
        let q: f64 = 1.0 - p;
        let wanted = 1.0 - q.powi(3) - 3.0 * p * q * q * c;
        assert!((hybrid(3, 1, p, c).unwrap() - wanted).abs() < 1e-12, "{p} {c}");
    }
    assert!((hybrid(3, 1, 0.204, 0.7).unwrap() - 0.224).abs() < 1e-3);
    assert_eq!(hybrid(7, 3, 0.2, 1.0).unwrap(), no_repair(7, 3, 0.2).unwrap());
    assert_eq!(hybrid_beta(3, 1, 0.2, 0.3, 1.0).unwrap(), beta(3, 1, 0.2, 0.3).unwrap());
    assert_eq!(hybrid_beta(3, 1, 0.2, 0.0, 0.7).unwrap(), hybrid(3, 1, 0.2, 0.7).unwrap());
    assert!((hybrid_beta(3, 1, 0.2, 1.0, 0.7).unwrap() - 0.2).abs() < 1e-12);
    // Small probabilities keep their digits: three wormholes that fall.
    assert!((hybrid(3, 1, 1e-12, 0.7).unwrap() / 0.9e-12 - 1.0).abs() < 1e-6);
    assert!(hybrid(3, 1, 0.1, 1.5).is_err() && hybrid(3, 3, 0.1, 0.5).is_err());
    assert!(hybrid_beta(3, 1, 0.1, f64::NAN, 0.5).is_err());
}

/// `(1-p)(1 + 1.1 p) = 1` for (3,1) with coverage 0.7; replication never pays below 2/3.
#[test]
fn weak_wormholes_move_the_crossover() {
    assert!((hybrid_crossover(3, 1, 0.7).unwrap() - 1.0 / 11.0).abs() < 1e-9);
    assert!((hybrid_crossover(3, 1, 1.0).unwrap() - 0.5).abs() < 1e-9);
    for coverage in [0.0, 0.5, 0.66] {
        let found = hybrid_crossover(3, 1, coverage).unwrap();
        assert!(found < 1e-9, "{coverage}: {found}");
    }
    // Worse at small probabilities and at large ones, better between: the last crossing counts.
    let many = hybrid_crossover(101, 50, 0.989).unwrap();
    assert!(hybrid(101, 50, many - 0.01, 0.989).unwrap() < many - 0.01);
    assert!(hybrid(101, 50, many + 0.01, 0.989).unwrap() > many + 0.01);
    assert!(many > 0.3, "{many}");
    assert!(hybrid_crossover(3, 1, -0.1).is_err() && hybrid_crossover(2, 2, 0.5).is_err());
}
