//! Numbers of strategies: time to fall and to recover, and whether a rejuvenation schedule exhausts the service.
//!
//! # Source
//! The paper, sections 5.2 (non-stop), 5.5 (recoverable operation); P. Sousa, N. Neves, P. Verissimo, *How
//! resilient are distributed f fault/intrusion-tolerant systems?*, DSN 2005 (exhaustion safety); P.
//! Sousa and others, *Highly available intrusion-tolerant services with proactive-reactive recovery*, IEEE Trans.
//! Par. Dist. Syst. 21(4) 2010.

use ravelin_model::FaultModel;

use super::CalculusError;

/// The most servers of a plan.
pub const PLAN_SERVERS_MAX: u32 = 10_000;

/// What an attack of some length does to a recoverable component.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UnderAttack {
    /// It is shorter than the time to fall.
    Stands,
    /// It falls once, and is back for good.
    Recovers,
    /// It goes down and up until the attack ends.
    Cycles {
        /// Share of time up: Tc / (Tc + Tr).
        duty: f64,
    },
}

/// What an attack of `attack` hours (Ta) does to a component that takes at least `time_to_fall` (Tc) to
/// fall and at most `time_to_recover` (Tr) to recover: it stands for Ta < Tc, recovers for Ta < Tc + Tr, and
/// cycles beyond.
///
/// # Errors
/// [`CalculusError::NotPositive`] of Tc or Tr; [`CalculusError::Negative`] of Ta. An endless attack is
/// infinite.
///
/// # Source
/// The paper, section 5.5.
pub fn under_attack(
    time_to_fall: f64,
    time_to_recover: f64,
    attack: f64,
) -> Result<UnderAttack, CalculusError> {
    let fall = positive("the time to fall", time_to_fall)?;
    let recover = positive("the time to recover", time_to_recover)?;
    if attack.is_nan() || attack < 0.0 {
        return Err(CalculusError::Negative {
            name: "the length of the attack".into(),
            value: attack,
        });
    }
    Ok(if attack < fall {
        UnderAttack::Stands
    } else if attack < fall + recover {
        UnderAttack::Recovers
    } else {
        UnderAttack::Cycles { duty: 1.0 / (1.0 + recover / fall) }
    })
}

/// A rejuvenation schedule: all servers in turn, some at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RejuvenationPlan {
    /// `n`.
    pub servers: u32,
    /// `f`: intrusions tolerated at once.
    pub tolerated: u32,
    /// `k`: rejuvenated at once, at least 1.
    pub at_once: u32,
    /// Hours from the beginning of one rejuvenation of a server to that of its next.
    pub period: f64,
    /// Hours that one takes, absence and state transfer together.
    pub duration: f64,
    /// What is assumed of intruders.
    pub model: FaultModel,
}

/// What a schedule costs and what it is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exhaustion {
    /// The fewest servers with which `k` absent ones cost nothing: 3f + 2k + 1, in the hybrid model
    /// 2f + 2k + 1.
    pub servers_min: u32,
    /// Servers beyond that; negative where a rejuvenation spends what tolerates intrusions.
    pub slack: i64,
    /// Intrusions tolerated while `k` servers are absent; `None` when the service cannot do without them at
    /// all.
    pub tolerated_meanwhile: Option<u32>,
    /// The shortest period in which everybody gets a turn, hours: n/k rounded up, times the duration.
    pub period_min: f64,
    /// Whether the period is that long.
    pub is_feasible: bool,
    /// The longest that an intrusion lasts, hours: it happens as soon as one rejuvenation is over and ends with the
    /// beginning of the next.
    pub exposure: f64,
    /// The service is never exhausted if the intruder takes at least so long, hours, from one server to the next:
    /// exposure over the intrusions that are left to tolerate while `k` are absent, since the first must be cleaned
    /// before one too many is added. It may prepare as long as it likes. Infinite where nothing is left.
    pub intrusion_time_min: f64,
}

impl Exhaustion {
    /// Whether an intruder who takes at least `hours` from one server to the next can never hold more than are tolerated.
    #[must_use]
    pub fn is_safe_against(&self, hours: f64) -> bool {
        self.is_feasible && hours >= self.intrusion_time_min
    }
}

impl RejuvenationPlan {
    /// What the schedule costs and what it is worth.
    ///
    /// # Errors
    /// [`CalculusError::Count`] of servers, [`CalculusError::Threshold`] when the fault model cannot tolerate so many or
    /// more are absent than there are, [`CalculusError::NotPositive`] of a time.
    pub fn exhaustion(&self) -> Result<Exhaustion, CalculusError> {
        let (n, f, k) = (self.servers, self.tolerated, self.at_once);
        if n == 0 || n > PLAN_SERVERS_MAX {
            let (count, most) = (index(n), index(PLAN_SERVERS_MAX));
            return Err(CalculusError::Count { what: "servers", count, least: 1, most });
        }
        let spread = match self.model {
            FaultModel::Arbitrary | FaultModel::Asynchronous => 3,
            FaultModel::Hybrid => 2,
        };
        let least = f.saturating_mul(spread).saturating_add(1);
        if n < least {
            let name = format!("tolerating {f} intrusions ({} model)", self.model.name());
            let (wanted, given) = (index(least), index(n));
            return Err(CalculusError::Threshold { name, wanted, given });
        }
        if k == 0 || k > n {
            let name = "rejuvenation at once".into();
            return Err(CalculusError::Threshold { name, wanted: index(k), given: index(n) });
        }
        let period = positive("the rejuvenation period", self.period)?;
        let duration = positive("the duration of a rejuvenation", self.duration)?;
        let servers_min = least.saturating_add(k.saturating_mul(2));
        // The largest f' for which n >= spread f' + 2k + 1, and no more than promised.
        let spare = n.checked_sub(k.saturating_mul(2).saturating_add(1));
        let tolerated_meanwhile = spare.map(|spare| (spare / spread).min(f));
        let period_min = f64::from(n.div_ceil(k)) * duration;
        let exposure = (period - duration).max(0.0);
        let intrusion_time_min = tolerated_meanwhile
            .filter(|tolerated| *tolerated > 0)
            .map_or(f64::INFINITY, |tolerated| exposure / f64::from(tolerated));
        Ok(Exhaustion {
            servers_min,
            slack: i64::from(n) - i64::from(servers_min),
            tolerated_meanwhile,
            period_min,
            is_feasible: fits(period_min, period),
            exposure,
            intrusion_time_min,
        })
    }
}

/// Turns that are one this part of a period too long still fit into it: times of files are rounded.
const PERIOD_WITHIN: f64 = 1e-9;

/// Whether a round of turns fits into a period, in the same unit.
#[must_use]
pub fn fits(round: f64, period: f64) -> bool {
    round <= period * (1.0 + PERIOD_WITHIN)
}

/// Whether a round of turns leaves some of a period in which nobody is absent.
#[must_use]
pub fn leaves_time(round: f64, period: f64) -> bool {
    round < period * (1.0 - PERIOD_WITHIN)
}

fn positive(name: &str, value: f64) -> Result<f64, CalculusError> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(CalculusError::NotPositive { name: name.into(), value })
    }
}

fn index(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
