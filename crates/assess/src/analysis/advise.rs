//! The cheapest changes that reach the acceptable risk.
//!
//! Every change is tried by itself, and every pair of them. If no pair reaches the acceptable risk,
//! changes are added one by one, always the one that gains most for its price (of the logarithm of the
//! risk); then those that turned out not to be needed are taken back, dearest first. Such a plan is a
//! good one, not surely the cheapest of all.

mod options;

use super::error::AnalysisError;
use super::outcomes::{Advice, Change, ServiceAdvice};
use super::risk::{self, risk};
use super::situation::Situation;
use super::solve::Grade;
use super::sweeps::percent;
use crate::design::{Design, FaultModel, Service};
use crate::engines::EngineError;
use options::{Step, options};

/// Changes of one plan.
const PLAN_MAX: usize = 16;
/// Kinds of which a second step replaces the first: what is written of both is the second.
const FURTHER: [&str; 3] = ["more-servers", "shorter-rejuvenation", "shorter-share-epoch"];
/// Kinds of which only one stands in a plan.
const OPPOSITE: [(&str, &str); 2] = [("hybrid", "arbitrary"), ("more-servers", "fewer-servers")];
/// Logarithm of the factor by which a change must lower the risk to stand in a plan.
const GAIN_MIN: f64 = 0.005;

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
    let start =
        Tried { steps: Vec::new(), risks: Vec::new(), situation: Situation::of(design, service) };
    let accepted = design.acceptable_risk.value.0;
    // What is promised now and after the plan is computed as an assessment computes it.
    let base = risk(&start.situation, Grade::Result)?;
    let singles = tried(design, &start)?;
    let mut changes: Vec<Change> = singles.iter().flat_map(|it| it.changes(base)).collect();
    changes.sort_by(|a, b| a.risk_after.total_cmp(&b.risk_after).then_with(|| a.text.cmp(&b.text)));
    let found = if base <= accepted {
        start.clone()
    } else {
        plan(design, &start, base, &singles, accepted)?.into_assessed()?
    };
    let risk_after = found.risk(base);
    let mut text = vec![summary(base, accepted, &found)];
    text.extend(worse(&start.situation, &changes, base)?);
    let is_merged = |it: &Tried| risk::is_merged(&it.situation, Grade::Swept);
    if is_merged(&start) || singles.iter().any(is_merged) {
        text.push(
            "Its servers differ so much that some changes were compared with the mean of all servers; \
             the risk as it is and that of the whole plan are those of an assessment."
                .to_owned(),
        );
    }
    Ok(ServiceAdvice {
        service: service.name.clone(),
        risk: base,
        acceptable_risk: accepted,
        changes,
        plan: found.changes(base),
        risk_after,
        is_reached: risk_after <= accepted,
        text,
    })
}

/// Changes one after the other, with the risk after each.
#[derive(Clone, Debug)]
struct Tried {
    steps: Vec<Step>,
    risks: Vec<f64>,
    situation: Situation,
}

impl Tried {
    fn risk(&self, base: f64) -> f64 {
        self.risks.last().copied().unwrap_or(base)
    }

    /// What all of it costs, where a change without a price counts as much as `dearest`.
    fn cost(&self, dearest: f64) -> f64 {
        self.steps.iter().map(|step| step.cost.unwrap_or(dearest)).sum()
    }

    /// Changes without a price.
    fn unpriced(&self) -> usize {
        self.steps.iter().filter(|step| step.cost.is_none()).count()
    }

    /// The same with the risk after the last step as an assessment computes it.
    fn into_assessed(mut self) -> Result<Self, EngineError> {
        if let Some(last) = self.risks.last_mut() {
            *last = risk(&self.situation, Grade::Result)?;
        }
        Ok(self)
    }

    /// The steps, where several that go further in the same direction are one.
    fn changes(&self, base: f64) -> Vec<Change> {
        let before = std::iter::once(&base).chain(&self.risks);
        let mut changes: Vec<Change> = Vec::new();
        for ((step, before), after) in self.steps.iter().zip(before).zip(&self.risks) {
            let last = changes.last_mut().filter(|last| last.kind == step.kind);
            match last.filter(|_| FURTHER.contains(&step.kind)) {
                Some(last) => {
                    last.text.clone_from(&step.text);
                    last.cost = last.cost.zip(step.cost).map(|(a, b)| a + b);
                    last.risk_after = *after;
                }
                None => changes.push(Change {
                    kind: step.kind.to_owned(),
                    text: step.text.clone(),
                    cost: step.cost,
                    risk_before: *before,
                    risk_after: *after,
                }),
            }
        }
        changes
    }

    fn with(&self, step: Step) -> Result<Self, EngineError> {
        let situation = step.after.clone();
        let after = risk(&situation, Grade::Swept)?;
        let mut next = Self { situation, ..self.clone() };
        next.steps.push(step);
        next.risks.push(after);
        Ok(next)
    }
}

/// Every change that can follow; none that takes an earlier one back.
fn tried(design: &Design, from: &Tried) -> Result<Vec<Tried>, EngineError> {
    let has = |kind: &str| from.steps.iter().any(|step| step.kind == kind);
    let is_back = |step: &Step| {
        OPPOSITE.iter().any(|(a, b)| (step.kind == *a && has(b)) || (step.kind == *b && has(a)))
    };
    let options = options(design, &from.situation).into_iter();
    options.filter(|step| !is_back(step)).map(|step| from.with(step)).collect()
}

/// The price of the dearest of all changes that have one, at least 1.
fn dearest(singles: &[Tried]) -> f64 {
    let prices = singles.iter().flat_map(|it| &it.steps).filter_map(|step| step.cost);
    prices.fold(1.0, f64::max)
}

/// The cheapest of these that reaches the acceptable risk: of those whose price is known, if there are any.
fn cheapest(all: &[Tried], base: f64, accepted: f64, dearest: f64) -> Option<Tried> {
    let reached = all.iter().filter(|it| it.risk(base) <= accepted);
    let best = reached.min_by(|a, b| {
        let is_unpriced = (a.unpriced() > 0).cmp(&(b.unpriced() > 0));
        is_unpriced.then_with(|| a.cost(dearest).total_cmp(&b.cost(dearest)))
    });
    best.cloned()
}

fn plan(
    design: &Design,
    start: &Tried,
    base: f64,
    singles: &[Tried],
    accepted: f64,
) -> Result<Tried, EngineError> {
    let mut pairs = Vec::new();
    for first in singles {
        pairs.extend(tried(design, first)?);
    }
    let all: Vec<Tried> = singles.iter().chain(&pairs).cloned().collect();
    let dearest = dearest(singles);
    if let Some(found) = cheapest(&all, base, accepted, dearest) {
        return Ok(found);
    }
    let mut plan = start.clone();
    while plan.steps.len() < PLAN_MAX && plan.risk(base) > accepted {
        let before = plan.risk(base);
        let gain = |it: &Tried| {
            let gain = (before / it.risk(base)).ln();
            let price = it.steps.last().and_then(|step| step.cost).unwrap_or(dearest);
            (gain, gain / price.max(1.0))
        };
        let next = tried(design, &plan)?;
        let best = next
            .into_iter()
            .filter(|it| gain(it).0 > GAIN_MIN)
            .max_by(|a, b| gain(a).1.total_cmp(&gain(b).1));
        match best {
            Some(best) => plan = best,
            None => break,
        }
    }
    pruned(design, start, plan, base, accepted)
}

/// The plan without the steps that turned out not to be needed, dearest first.
fn pruned(
    design: &Design,
    start: &Tried,
    plan: Tried,
    base: f64,
    accepted: f64,
) -> Result<Tried, EngineError> {
    let reached = plan.risk(base).max(accepted);
    let mut kept = plan;
    let mut left = kept.steps.len();
    while left > 0 {
        left -= 1;
        // The dearest of those not yet looked at, counted from the dearest.
        let mut order: Vec<usize> = (0..kept.steps.len()).collect();
        let price = |at: &usize| kept.steps.get(*at).and_then(|it| it.cost).unwrap_or(f64::MAX);
        order.sort_by(|a, b| price(b).total_cmp(&price(a)));
        let looked_at = kept.steps.len().saturating_sub(left + 1);
        let Some(dropped) = order.get(looked_at).copied() else { continue };
        let shorter = replayed(design, start, &kept.steps, dropped)?;
        if shorter.risk(base) <= reached {
            kept = shorter;
        }
    }
    Ok(kept)
}

/// The steps but one, each taken as far as it is still possible.
fn replayed(
    design: &Design,
    start: &Tried,
    steps: &[Step],
    dropped: usize,
) -> Result<Tried, EngineError> {
    let mut plan = start.clone();
    for (_, step) in steps.iter().enumerate().filter(|(at, _)| *at != dropped) {
        // Different labels are different steps; of all else there is one of its kind.
        let is_same =
            |it: &Step| it.kind == step.kind && (step.kind != "diversity" || it.text == step.text);
        if let Some(same) = options(design, &plan.situation).into_iter().find(is_same) {
            plan = plan.with(same)?;
        }
    }
    Ok(plan)
}

fn summary(base: f64, accepted: f64, plan: &Tried) -> String {
    let (now, after) = (percent(base), percent(plan.risk(base)));
    let accepted_text = percent(accepted);
    if base <= accepted {
        return format!(
            "The risk of {now} is accepted ({accepted_text}): nothing need be changed."
        );
    }
    let changes = plan.changes(base);
    let steps: Vec<&str> = changes.iter().map(|change| change.text.as_str()).collect();
    let steps = steps.join("; ");
    let priced: Option<f64> = plan.steps.iter().map(|step| step.cost).sum();
    let price = priced.map_or_else(
        || "of which not every price is known".to_owned(),
        |price| format!("for {price:.0} in all"),
    );
    if plan.risk(base) <= accepted {
        format!("From {now} to {after} ({accepted_text} is accepted), {price}: {steps}.")
    } else if plan.steps.is_empty() {
        format!("No change that is known here lowers the risk of {now}.")
    } else {
        format!(
            "The accepted {accepted_text} is not reached. From {now} to {after}, {price}: {steps}. What \
             is left has to be lowered at its source: attacks, vulnerabilities, what is at stake."
        )
    }
}

/// Where replication makes things worse.
fn worse(situation: &Situation, changes: &[Change], base: f64) -> Result<Vec<String>, EngineError> {
    let mut told = Vec::new();
    if situation.model != FaultModel::Single {
        let one = risk(&situation.with_tolerance(FaultModel::Single, 0), Grade::Swept)?;
        if one < base {
            told.push(format!(
                "Replication makes things worse: one of these servers alone would have a risk of {}, all \
                 {} together have {}.",
                percent(one),
                situation.n(),
                percent(base)
            ));
        }
    }
    for change in changes.iter().filter(|it| it.kind == "more-servers" && it.risk_after > base) {
        told.push(format!(
            "More servers make things worse: {} takes the risk from {} to {}.",
            change.text,
            percent(base),
            percent(change.risk_after)
        ));
    }
    Ok(told)
}
