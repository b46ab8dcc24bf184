//! Numbers of a service's strategy (section 5 of the paper).

use super::result::StrategyResult;
use super::situation::Situation;
use super::solve::{self, Grade};
use super::sweeps::percent;
use crate::calculus::CalculusError;
use crate::calculus::strategy::{RejuvenationPlan, UnderAttack, under_attack};
use crate::design::units::time_text;
use crate::design::{FaultModel, Property, Service, Strategy};
use crate::engines::{EngineError, closed};

/// What chains say of more than `f` servers intruded at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Falls {
    /// Hours until it happens; `None`: never.
    mttf: Option<f64>,
    /// The probability that it happens within the mission.
    risk: f64,
    /// The share of time in the long run in which it is not so; `None` where intrusions never end.
    share: Option<f64>,
}

impl Falls {
    /// Solves the chain, unless there is no `grade` for it. `mttf` and `risk` are known already.
    pub(super) fn of(
        situation: &Situation,
        mttf: Option<f64>,
        risk: f64,
        grade: Option<Grade>,
    ) -> Result<Self, EngineError> {
        let care = &situation.care;
        let ends = care.detection >= 1.0 || care.expelling().is_some();
        // Servers that only stop tolerate no intrusion for integrity; here `f` of them may be intruded.
        let model = match situation.model {
            FaultModel::Crash => FaultModel::Arbitrary,
            model => model,
        };
        let alike = Situation { model, ..situation.clone() };
        let share = match grade.filter(|_| ends) {
            Some(grade) => solve::availability(&alike, Property::Integrity, grade)?,
            None => None,
        };
        Ok(Self { mttf, risk, share })
    }

    /// Mean hours to fall and mean hours to be back: `Tr = Tc (1 - A) / A`.
    fn recovery(&self) -> Option<f64> {
        let share = self.share.filter(|share| *share > 0.0)?;
        let hours = self.mttf? * (1.0 - share) / share;
        (hours.is_finite() && hours > 0.0).then_some(hours)
    }
}

/// Numbers of a service's strategy.
///
/// Without `[services.recoverable]` the time to recover is that of the whole service, from more than `f`
/// servers intruded until no more are: latency, intrusions that nobody notices and single repairers
/// are in it. Where intrusions never end there is none.
pub(super) fn numbers(
    service: &Service,
    situation: &Situation,
    falls: Falls,
) -> Result<StrategyResult, CalculusError> {
    let at_once = service.rejuvenation.as_ref().map_or(0, |turns| turns.at_once);
    let needed = service.fault_model.servers_min(service.f, at_once);
    let slack = service.n() as i64 - needed as i64;
    let times = service.recoverable.as_ref();
    let fall = times.map(|it| it.time_to_fall.value.0).or(falls.mttf);
    let recover = times.map(|it| it.time_to_recover.value.0).or_else(|| falls.recovery());
    let duty = fall.zip(recover).and_then(|(fall, back)| closed::recoverable(fall, back).ok());
    let exhaustion = exhaustion(service, situation, falls.risk)?;
    let mut text = slack_text(service, slack);
    if let Some(times) = times {
        let (recover, attack) = (times.time_to_recover.value.0, times.attack.value.0);
        text.push(' ');
        text.push_str(&match under_attack(times.time_to_fall.value.0, recover, attack)? {
            UnderAttack::Stands => {
                format!("An attack of {} ends before it falls.", time_text(attack))
            }
            UnderAttack::Recovers => {
                format!("An attack of {} makes it fall once, and it is back.", time_text(attack))
            }
            UnderAttack::Cycles { duty } => format!(
                "An attack of {} makes it fall again and again: it works {:.1} % of that time.",
                time_text(attack),
                duty * 100.0
            ),
        });
    }
    if let Some((is_safe, told)) = &exhaustion {
        text.push(' ');
        text.push_str(told);
        if !is_safe {
            text.push_str(" The schedule is not exhaustion-safe.");
        }
    }
    Ok(StrategyResult {
        slack,
        time_to_fall_h: fall,
        time_to_recover_h: recover,
        duty_cycle: duty,
        is_exhaustion_safe: exhaustion.map(|(is_safe, _)| is_safe),
        text,
    })
}

fn slack_text(service: &Service, slack: i64) -> String {
    let name = service.strategy.name();
    match service.fault_model {
        FaultModel::Single => {
            format!("Strategy {name} on one server: there is nothing to mask an intrusion with.")
        }
        _ if slack < 0 => format!(
            "Strategy {name}: {} servers are short of what f = {} and its rejuvenation need by {}; \
             each rejuvenation spends one of f.",
            service.n(),
            service.f,
            -slack
        ),
        _ if service.strategy == Strategy::NonStop => {
            format!("Strategy {name}: {slack} servers of slack; masking goes on without a pause.")
        }
        _ => format!("Strategy {name}: {slack} servers of slack."),
    }
}

/// Whether the schedule keeps more than `f` servers from being intruded or absent at once, and why. Intruders are
/// taken to come one after the other at the mean pace; a label that more than `f` servers share lets one of
/// them have all at once, and no schedule is safe from that.
fn exhaustion(
    service: &Service,
    situation: &Situation,
    risk: f64,
) -> Result<Option<(bool, String)>, CalculusError> {
    let model = match service.fault_model {
        FaultModel::Arbitrary => ravelin_model::FaultModel::Arbitrary,
        FaultModel::Asynchronous => ravelin_model::FaultModel::Asynchronous,
        FaultModel::Hybrid | FaultModel::Crash => ravelin_model::FaultModel::Hybrid,
        FaultModel::Single => return Ok(None),
    };
    let Some(turns) = situation.care.rejuvenation else { return Ok(None) };
    if !turns.is_recovery() {
        let told = "Its restarts expel nobody, and bound no intrusion.".to_owned();
        return Ok(Some((false, told)));
    }
    let plan = RejuvenationPlan {
        servers: u32::try_from(service.n()).unwrap_or(u32::MAX),
        tolerated: service.f.into(),
        at_once: u32::try_from(turns.at_once).unwrap_or(u32::MAX),
        period: turns.period,
        duration: turns.downtime,
        model,
    };
    let found = plan.exhaustion()?;
    let total = situation.mean_rate() * service.n() as f64;
    let between = if total > 0.0 { 1.0 / total } else { f64::INFINITY };
    let expected = if between.is_finite() {
        format!("one is expected every {}", time_text(between))
    } else {
        "none is expected".to_owned()
    };
    let mut told = if found.intrusion_time_min.is_finite() {
        format!(
            "An intrusion lasts {} at most; the schedule holds against intruders who need {} or more \
             for each server, and on average {expected}.",
            time_text(found.exposure),
            time_text(found.intrusion_time_min)
        )
    } else {
        format!("While servers are absent no intrusion is tolerated, and on average {expected}.")
    };
    let is_common = situation.shared().iter().any(|set| set.servers.len() > situation.f);
    if is_common {
        told.push_str(
            " A label that more than f servers share lets one intrusion have them at once.",
        );
    }
    if turns.expels < 1.0 {
        told.push_str(&format!(
            " Each turn expels an intruder with probability {} only.",
            percent(turns.expels)
        ));
    }
    told.push_str(&format!(
        " More than f servers are intruded within the mission with probability {}.",
        percent(risk)
    ));
    let is_safe = found.is_safe_against(between) && !is_common && turns.expels >= 1.0;
    Ok(Some((is_safe, told)))
}
