//! The cheapest changes that reach the acceptable risk.
//!
//! Every change is tried by itself, and every pair of them; the best ways are followed further. A plan that is
//! found so is a good one, not surely the cheapest of all.
//!
//! The risk of the promises that do not come back decides how far to go, and all promises decide which way:
//! a change that adds more to the expected loss than it takes away, or breaks a promise whose risk was
//! accepted, is told and stands in no plan. Changes without a price are in no cheapest plan either; a way
//! that needs them stands apart.

mod answers;
mod kind;
mod moves;
mod options;
mod outlook;
mod plan;
mod prices;
mod search;

use super::error::AnalysisError;
use super::findings::money;
use super::outcomes::{Advice, Change, ServiceAdvice, WORSE_BY};
use super::risk::{decisive, risk};
use super::situation::Situation;
use super::solve::Grade;
use super::sweeps::percent;
use crate::design::{Design, FaultModel, Service};
use crate::engines::EngineError;
use answers::Answers;
use kind::Kind;
use outlook::Outlook;
use plan::{Case, Tried};
use search::Ways;

/// Advice for every service of a design.
///
/// `threads`: that solve chains side by side, at least one; the advice does not depend on it. `progress(done,
/// total)` is told of chains from the calling thread: those that were solved, and those that are known to be
/// needed, which grow as the search goes on; it begins anew with each service.
///
/// Cost: some hundred small chains for each service.
///
/// # Errors
/// [`AnalysisError`]: a service that no engine can compute.
pub fn advise(
    design: &Design,
    threads: usize,
    progress: &dyn Fn(u64, u64),
) -> Result<Advice, AnalysisError> {
    let one = |service: &Service| {
        let answers = Answers::new(threads, progress);
        let advice = of_service(design, service, answers);
        advice.map_err(|error| AnalysisError::of(design, service, error))
    };
    Ok(Advice {
        design: design.name.clone(),
        currency: design.currency.clone(),
        services: design.services.iter().map(one).collect::<Result<_, _>>()?,
    })
}

fn of_service(
    design: &Design,
    service: &Service,
    answers: Answers<'_>,
) -> Result<ServiceAdvice, EngineError> {
    let start = Tried::nothing(Situation::of(design, service));
    // What is promised now and after the plan is computed as an assessment computes it.
    let told = Outlook::assessed(&start.situation, service)?;
    let compared = match outlook::is_merged(&start.situation, Grade::Swept) {
        true => Outlook::of(&start.situation, service, |it| answers.broken(&start.situation, it))?,
        false => told.clone(),
    };
    let accepted = design.acceptable_risk.value.0;
    let case = Case { design, service, accepted, told, compared, answers };
    let singles = plan::weighed(&case, plan::tried(&case, &start)?)?;
    let mut changes: Vec<Change> = singles.iter().flat_map(|it| it.changes(&case)).collect();
    changes.sort_by(|a, b| a.risk_after.total_cmp(&b.risk_after).then_with(|| a.text.cmp(&b.text)));
    let ways = match case.told.risk <= accepted {
        true => Ways { priced: start.clone(), unpriced: None },
        false => search::ways(&case, &start, &singles)?,
    };
    let priced = ways.priced.into_assessed(&case)?;
    let unpriced = ways.unpriced.map(|it| it.into_assessed(&case)).transpose()?;
    let mut text = vec![summary(&case, &priced, unpriced.as_ref())];
    text.extend(unpriced.iter().map(|it| apart(&case, it)));
    text.extend(lasting(&case, &start.situation, &priced));
    text.extend(worse(&case, &start, &singles)?);
    let is_merged = |it: &Tried| outlook::is_merged(&it.situation, Grade::Swept);
    if is_merged(&start) || singles.iter().any(is_merged) {
        text.push(
            "Its servers differ so much that some changes were compared with the mean of all servers; \
             the risk as it is and that of the whole plan are those of an assessment."
                .to_owned(),
        );
    }
    let risk_after = priced.risk(&case);
    Ok(ServiceAdvice {
        service: service.name.clone(),
        risk: case.told.risk,
        acceptable_risk: accepted,
        promises: case.told.effects(priced.outlook(&case)),
        expected_loss: case.told.expected_loss,
        expected_loss_after: priced.outlook(&case).expected_loss,
        changes,
        plan: priced.changes(&case),
        risk_after,
        is_reached: risk_after <= accepted,
        unpriced_plan: unpriced.iter().flat_map(|it| it.changes(&case)).collect(),
        unpriced_risk_after: unpriced.as_ref().map(|it| it.risk(&case)),
        text,
    })
}

/// The steps of a plan, one after the other.
fn steps(case: &Case, plan: &Tried) -> String {
    let changes = plan.changes(case);
    let steps: Vec<&str> = changes.iter().map(|change| change.text.as_str()).collect();
    steps.join("; ")
}

/// The cheapest way; `other`: the one that has no price, if any.
fn summary(case: &Case, plan: &Tried, other: Option<&Tried>) -> String {
    let (now, after) = (percent(case.told.risk), percent(plan.risk(case)));
    let accepted = percent(case.accepted);
    if case.told.risk <= case.accepted {
        return format!("The risk of {now} is accepted ({accepted}): nothing need be changed.");
    }
    if plan.steps.is_empty() {
        return format!(
            "No change whose price is known lowers the risk of {now} without losing more by it than is saved, \
             or breaking a promise whose risk is accepted."
        );
    }
    let (steps, cost) = (steps(case, plan), plan.cost().unwrap_or_default());
    let price = money(cost, &case.design.currency);
    let mut text = if plan.risk(case) <= case.accepted {
        format!("From {now} to {after} ({accepted} is accepted), for {price} in all: {steps}.")
    } else {
        let (with, left) = match other.is_some_and(|it| it.risk(case) <= case.accepted) {
            true => (" with what has a price in the design", ""),
            false => (
                "",
                " What is left has to be lowered at its source: attacks, vulnerabilities, what is at stake.",
            ),
        };
        format!(
            "The accepted {accepted} is not reached{with}. From {now} to {after}, for {price}: \
             {steps}.{left}"
        )
    };
    let amount = |it: f64| money(it, &case.design.currency);
    let (before, after) = (case.told.expected_loss, plan.outlook(case).expected_loss);
    let saved = before - after;
    let pays = if saved >= cost { "no less than the changes cost" } else { "less than they cost" };
    text.push_str(&format!(
        " The expected loss of a mission goes from {} to {}: that saves {}, {pays}.",
        amount(before),
        amount(after),
        amount(saved)
    ));
    text
}

/// The way that has no price.
fn apart(case: &Case, plan: &Tried) -> String {
    let (after, steps) = (percent(plan.risk(case)), steps(case, plan));
    let reached = if plan.risk(case) <= case.accepted { "reaches it" } else { "goes further" };
    format!(
        "Another way {reached}, {after}, and not all of it has a price in the design: {steps}. With its \
         prices in `[costs]` the two ways can be compared."
    )
}

/// Promises that do not decide, and stay at more risk than is accepted.
fn lasting(case: &Case, now: &Situation, plan: &Tried) -> Option<String> {
    let decisive = decisive(now);
    let effects = case.told.effects(plan.outlook(case));
    let left = effects.iter().filter(|it| it.after > case.accepted);
    let left = left.filter(|it| !decisive.contains(&it.property)).map(|it| {
        let (before, after) = (percent(it.before), percent(it.after));
        match plan.steps.is_empty() {
            true => format!("{} is missing at some time with {before}", it.property.name()),
            false => {
                format!(
                    "{} is missing at some time with {after} ({before} now)",
                    it.property.name()
                )
            }
        }
    });
    let left: Vec<String> = left.collect();
    (!left.is_empty()).then(|| {
        format!("Not what decides, since it comes back by itself: {}.", left.join(" and "))
    })
}

/// Where replication makes things worse. Where servers are merged for the sake of many changes, this is computed as
/// an assessment computes it: the mean of all servers may say the opposite of what they do.
fn worse(case: &Case, start: &Tried, singles: &[Tried]) -> Result<Vec<String>, EngineError> {
    let mut told = Vec::new();
    let (base, situation) = (case.told.risk, &start.situation);
    if situation.model != FaultModel::Single {
        // A single server is never merged.
        let one = case.answers.risk(&situation.with_tolerance(FaultModel::Single, 0))?;
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
    let is_merged = |it: &Tried| outlook::is_merged(&it.situation, Grade::Swept);
    for more in singles {
        let Some(step) = more.steps.last().filter(|step| step.kind == Kind::MoreServers) else {
            continue;
        };
        let as_compared = (case.compared.risk, more.risk(case));
        let (before, after) = match is_merged(start) || is_merged(more) {
            false => as_compared,
            true => match risk(&more.situation, Grade::Result) {
                Ok(after) => (base, after),
                Err(refusal) if refusal.is_of_chains() => as_compared,
                Err(refusal) => return Err(refusal),
            },
        };
        if after > before * WORSE_BY {
            told.push(format!(
                "More servers make things worse: {} takes the risk from {} to {}.",
                step.text,
                percent(before),
                percent(after)
            ));
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests;
