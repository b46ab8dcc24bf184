//! The cheapest changes that reach the acceptable risk.
//!
//! Changes are tried one by one and then together, always the best next: the one with the largest
//! gain (of the logarithm of the risk) for its price, until the risk is accepted. Then changes that
//! turned out not to be needed are taken back, dearest first. The result is a good plan, not surely
//! the cheapest of all.

use super::error::AnalysisError;
use super::outcomes::{Advice, Change, ServiceAdvice};
use super::risk::risk;
use super::situation::{Situation, Turns};
use super::solve::{Grade, Question, by_mission};
use super::sweeps::percent;
use crate::design::units::time_text;
use crate::design::{Costs, Design, Estimate, FaultModel, LabelKind, Money, Service};
use crate::engines::{EngineError, closed};

/// Changes of one plan.
const PLAN_MAX: usize = 10;
/// Servers that are advised at most.
const ADVISED_SERVERS_MAX: usize = 25;
/// What a change must gain to be worth telling in a plan.
const GAIN_MIN: f64 = 0.005;
/// Coverage that the strongest isolation is taken to have, unless the design names a better one.
const STRONG_COVERAGE: f64 = 0.99;

/// A change that can be tried.
#[derive(Clone, Debug)]
struct Option_ {
    kind: &'static str,
    text: String,
    cost: Option<f64>,
    after: Situation,
}

/// Advice for every service of a design.
///
/// Cost: some hundred small chains for each service.
///
/// # Errors
/// [`AnalysisError`]: a service that no engine can compute.
pub fn advise(design: &Design) -> Result<Advice, AnalysisError> {
    let one = |service: &Service| {
        of_service(design, service).map_err(|error| AnalysisError::of(design, service, error))
    };
    Ok(Advice { services: design.services.iter().map(one).collect::<Result<_, _>>()? })
}

fn of_service(design: &Design, service: &Service) -> Result<ServiceAdvice, EngineError> {
    let start = Situation::of(design, service);
    let accepted = design.acceptable_risk.value.0;
    let base = risk(&start, Grade::Swept)?;
    let mut changes = Vec::new();
    for option in options(design, &start) {
        let after = risk(&option.after, Grade::Swept)?;
        changes.push(change(&option, base, after));
    }
    changes.sort_by(|a, b| a.risk_after.total_cmp(&b.risk_after).then_with(|| a.text.cmp(&b.text)));
    let (plan, end) = plan(design, &start, accepted)?;
    let after = risk(&end, Grade::Swept)?;
    let mut text = told(design, &start, base, &plan, after)?;
    text.extend(worse(&start, &changes, base)?);
    Ok(ServiceAdvice {
        service: service.name.clone(),
        risk: base,
        acceptable_risk: accepted,
        changes,
        plan,
        risk_after: after,
        is_reached: after <= accepted,
        text,
    })
}
