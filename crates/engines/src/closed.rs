//! Closed forms: formulas of a line or two, which the other engines must reproduce.
//!
//! Assumptions of all of them: `n` equal servers, of which `f` intruded at once are tolerated;
//! intrusions are independent but for the common share of [`beta`].
//!
//! # Source
//! The paper, sections 3.3 (coverage) and 5.5 (recoverable operation); K. Trivedi, *Probability and
//! Statistics with Reliability, Queuing, and Computer Science Applications*, 2nd ed., chapters 3 and 8;
//! K. Fleming, *A Reliability Model for Common Mode Failures in Redundant Safety Systems*, 1975 (beta
//! factor).

use super::EngineError;
use super::error::{at_least_zero, positive, probability};

/// The most servers of a closed form: the formulas take time in proportion to them.
pub const CLOSED_SERVERS_MAX: u32 = 10_000;

/// Probabilities that are looked at for the last one at which replication in the hybrid model pays.
const CROSSOVER_STEPS: u32 = 1_024;

/// Halvings of an interval after which it is a single floating-point number.
const HALVINGS: u32 = 200;

/// The probability that one server is intruded by `time`: `1 - e^(-rate time)`.
///
/// `rate`: intrusions per hour, at least 0; `time`: hours, at least 0.
///
/// # Errors
/// [`EngineError::Negative`].
pub fn intruded_by(rate: f64, time: f64) -> Result<f64, EngineError> {
    let exponent = at_least_zero("the intrusion rate", rate)? * at_least_zero("the time", time)?;
    Ok(-(-exponent).exp_m1())
}

/// The probability that more than `f` of `n` servers are intruded, each with probability `p` and none
/// ever recovered: `1 - sum_{x<=f} C(n,x) p^x (1-p)^(n-x)`.
///
/// Small results keep their digits: the terms beyond `f` are added up, not taken from 1.
///
/// # Errors
/// [`EngineError::NotAProbability`], [`EngineError::TooManyTolerated`], [`EngineError::ServerCount`].
pub fn no_repair(n: u32, f: u32, p: f64) -> Result<f64, EngineError> {
    check_group(n, f)?;
    let p = probability("the probability of intrusion", p)?;
    Ok(more_than(n, f, p))
}

/// The mean time until more than `f` of `n` servers are intruded at once, in hours, when each intruded
/// server is repaired by itself at rate `mu`: the sum of the mean times `h_x` from `x` to `x + 1`
/// intruded, `h_0 = 1/(n lambda)`, `h_x = (1 + x mu h_{x-1}) / ((n-x) lambda)`.
///
/// `lambda`: intrusions of one server per hour, above 0; `mu`: repairs of one server per hour, 0 for none.
///
/// # Errors
/// [`EngineError::NotPositive`] or [`EngineError::Negative`] of a rate; [`EngineError::TooManyTolerated`],
/// [`EngineError::ServerCount`]; [`EngineError::Overflow`] when the mean time has no number.
pub fn mttf(n: u32, f: u32, lambda: f64, mu: f64) -> Result<f64, EngineError> {
    check_group(n, f)?;
    let lambda = positive("the intrusion rate", lambda)?;
    let mu = at_least_zero("the repair rate", mu)?;
    let mut step = 0.0;
    let mut sum = 0.0;
    for intruded in 0..=f {
        step = (1.0 + f64::from(intruded) * mu * step) / (f64::from(n - intruded) * lambda);
        sum += step;
    }
    if sum.is_finite() { Ok(sum) } else { Err(EngineError::Overflow { name: "the mean time" }) }
}

/// The probability that more than `f` of `n` servers are intruded when the share `beta` of the
/// probability `p` strikes all of them at once: `1 - (1 - beta p) (1 - P_f((1 - beta) p))`.
///
/// `beta` 0 is [`no_repair`]; `beta` 1 is a single server, however many there are.
///
/// # Errors
/// As [`no_repair`].
pub fn beta(n: u32, f: u32, p: f64, beta: f64) -> Result<f64, EngineError> {
    check_group(n, f)?;
    let p = probability("the probability of intrusion", p)?;
    let beta = probability("the common share beta", beta)?;
    let common = beta * p;
    Ok(common + (1.0 - common) * more_than(n, f, (1.0 - beta) * p))
}

/// The probability of intrusion of one server beyond which `n` servers that tolerate `f` are more likely
/// to fail than a single server is to be intruded: 0.2324 for (4,1).
///
/// 0 when they are worse at any probability (`f` = 0), 1 when they never are (`f` = `n` - 1, one server
/// included).
///
/// # Errors
/// [`EngineError::TooManyTolerated`], [`EngineError::ServerCount`].
pub fn crossover(n: u32, f: u32) -> Result<f64, EngineError> {
    check_group(n, f)?;
    if n - f == 1 {
        return Ok(1.0);
    }
    if f == 0 {
        return Ok(0.0);
    }
    // Between 0 and 1 the curve meets the diagonal once: below it is better, above it worse.
    let (mut better, mut worse) = (0.0_f64, 1.0_f64);
    for _ in 0..HALVINGS {
        let middle = better.midpoint(worse);
        if more_than(n, f, middle) < middle {
            better = middle;
        } else {
            worse = middle;
        }
    }
    Ok(better)
}

/// The probability that a service of the hybrid model fails: more than `f` of its `n` servers are
/// intruded, or one is and its wormhole does not hold: `1 - sum_{x<=f} C(n,x) p^x (1-p)^(n-x) c^x`.
///
/// `coverage` (c): probability that a wormhole is intact once its host is intruded, independent of the
/// others; 1 is [`no_repair`].
///
/// # Errors
/// As [`no_repair`].
///
/// # Source
/// The paper, sections 3.3 (coverage) and 4.2 (hybrid failure assumptions).
pub fn hybrid(n: u32, f: u32, p: f64, coverage: f64) -> Result<f64, EngineError> {
    check_group(n, f)?;
    let p = probability("the probability of intrusion", p)?;
    let coverage = probability("the coverage of a wormhole", coverage)?;
    Ok(broken(n, f, p, coverage))
}

/// [`hybrid`] when the share `beta` of the probability `p` strikes all servers at once.
///
/// # Errors
/// As [`beta`].
pub fn hybrid_beta(n: u32, f: u32, p: f64, beta: f64, coverage: f64) -> Result<f64, EngineError> {
    let beta = probability("the common share beta", beta)?;
    let p = probability("the probability of intrusion", p)?;
    let common = beta * p;
    Ok(common + (1.0 - common) * hybrid(n, f, (1.0 - beta) * p, coverage)?)
}

/// The probability of intrusion of one server beyond which a hybrid service of `n` servers fails more
/// often than a single server is intruded: 0.0909 for (3,1) with coverage 0.7.
///
/// 0 when it does at any probability. It is [`crossover`] when the coverage is 1. Many servers with weak
/// wormholes may be worse at small probabilities too: this is the last crossing, found on a grid of
/// 1/1024 and then by halving.
///
/// # Errors
/// As [`no_repair`].
pub fn hybrid_crossover(n: u32, f: u32, coverage: f64) -> Result<f64, EngineError> {
    let coverage = probability("the coverage of a wormhole", coverage)?;
    if coverage >= 1.0 || f == 0 {
        return crossover(n, f);
    }
    check_group(n, f)?;
    let is_better = |p: f64| broken(n, f, p, coverage) < p;
    let at = |step: u32| f64::from(step) / f64::from(CROSSOVER_STEPS);
    let last = (1..CROSSOVER_STEPS).rev().find(|step| is_better(at(*step))).unwrap_or(0);
    let (mut better, mut worse) = (at(last), at(last + 1));
    for _ in 0..HALVINGS {
        let middle = better.midpoint(worse);
        // Below this the difference is lost in rounding, and the crossing is at 0.
        if middle > f64::EPSILON && is_better(middle) {
            better = middle;
        } else {
            worse = middle;
        }
    }
    Ok(better)
}

/// The share of time a recoverable component is up under an attack that does not end: `Tc / (Tc + Tr)`.
///
/// `time_to_fall` (Tc) and `time_to_recover` (Tr): hours, above 0.
///
/// # Errors
/// [`EngineError::NotPositive`].
///
/// # Source
/// The paper, section 5.5.
pub fn recoverable(time_to_fall: f64, time_to_recover: f64) -> Result<f64, EngineError> {
    let fall = positive("the time to fall", time_to_fall)?;
    let recover = positive("the time to recover", time_to_recover)?;
    // Divided through by Tc, so that two huge times do not overflow.
    Ok(1.0 / (1.0 + recover / fall))
}

/// The coverage that a user may count on: `Pr_a = Pr_o Pr_e`.
///
/// `operational`: Pr_o, that the component keeps its promise when its environment keeps its own;
/// `environmental`: Pr_e, that the environment does.
///
/// # Errors
/// [`EngineError::NotAProbability`].
///
/// # Source
/// The paper, section 3.3.
pub fn coverage(operational: f64, environmental: f64) -> Result<f64, EngineError> {
    let operational = probability("the operational coverage", operational)?;
    Ok(operational * probability("the environmental coverage", environmental)?)
}

fn check_group(n: u32, f: u32) -> Result<(), EngineError> {
    if n == 0 || n > CLOSED_SERVERS_MAX {
        return Err(EngineError::ServerCount { n: n.into(), most: CLOSED_SERVERS_MAX });
    }
    if f >= n {
        return Err(EngineError::TooManyTolerated { n, f });
    }
    Ok(())
}

/// The upper tail of the binomial distribution; `f < n`.
fn more_than(n: u32, f: u32, p: f64) -> f64 {
    broken(n, f, p, 1.0)
}

/// More than `f` intruded, or fewer of which one does not hold with probability `1 - coverage` each;
/// `f < n`.
fn broken(n: u32, f: u32, p: f64, coverage: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return if p >= 1.0 { 1.0 } else { 0.0 };
    }
    let (log_p, log_q) = (p.ln(), (-p).ln_1p());
    let mut log_choices = 0.0;
    // A share of 1 - c^x, which keeps its digits for a coverage near 1.
    let mut holding = 1.0;
    let mut fallen = 0.0;
    let (mut below, mut above) = (0.0, 0.0);
    for x in 0..=n {
        if x > 0 {
            log_choices += (f64::from(n - x + 1) / f64::from(x)).ln();
            fallen += holding * (1.0 - coverage);
            holding *= coverage;
        }
        let term = (log_choices + f64::from(x) * log_p + f64::from(n - x) * log_q).exp();
        if x <= f {
            below += term * (1.0 - fallen);
            above += term * fallen;
        } else {
            above += term;
        }
    }
    // Together they are 1 but for rounding in the logarithms, which this takes out.
    (above / (below + above)).min(1.0)
}

#[cfg(test)]
mod tests;
