//! Numbers of strategies (paper, section 5).
use super::CalculusError;
use ravelin_model::FaultModel;

/// What an attack of some length does to a recoverable component.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UnderAttack {
    /// Shorter than the time to fall.
    Stands,
    /// It falls once and recovers fully.
    Recovers,
    /// Up and down until the attack ends; the share of time up.
    Cycles {
        /// Tc / (Tc + Tr).
        duty: f64,
    },
}

/// Tc, Tr, Ta in hours.
pub fn under_attack(
    _time_to_fall: f64,
    _time_to_recover: f64,
    _attack: f64,
) -> Result<UnderAttack, CalculusError> {
    todo!()
}

/// A rejuvenation schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RejuvenationPlan {
    /// n.
    pub servers: u32,
    /// f.
    pub tolerated: u32,
    /// k: rejuvenated at once.
    pub at_once: u32,
    /// Hours from the beginning of one rejuvenation of a server to the next.
    pub period: f64,
    /// Hours that one takes.
    pub duration: f64,
    /// What is assumed of intruders.
    pub model: FaultModel,
}

/// Whether a schedule exhausts the service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exhaustion {
    /// The least n at which k absent servers cost nothing: 3f+2k+1, hybrid 2f+2k+1.
    pub servers_min: u32,
    /// servers - servers_min: negative where a rejuvenation spends tolerance.
    pub slack: i64,
    /// Intrusions still tolerated while k are absent.
    pub tolerated_meanwhile: u32,
    /// The shortest period in which all servers get their turn: ceil(n/k) durations.
    pub period_min: f64,
    /// Whether the period is that long.
    pub feasible: bool,
    /// Hours that an intrusion can last: from the end of one rejuvenation to that of the next.
    pub exposure: f64,
    /// The intruder must take longer than this on average for each server: exposure / (f + 1).
    pub intrusion_time_min: f64,
}

impl RejuvenationPlan {
    /// Its numbers.
    pub fn exhaustion(&self) -> Result<Exhaustion, CalculusError> {
        todo!()
    }
}
