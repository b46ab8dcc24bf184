//! Changes one after the other, and the cheapest of them that reach the acceptable risk.

use super::super::outcomes::Change;
use super::super::risk::risk;
use super::super::situation::Situation;
use super::super::solve::Grade;
use super::options::{Step, options};
use super::outlook::Outlook;
use crate::design::{Design, Service};
use crate::engines::EngineError;

/// Changes of one plan.
const PLAN_MAX: usize = 16;
/// Kinds of which a second step replaces the first: what is written of both is the second.
const FURTHER: [&str; 4] =
    ["more-servers", "spare-servers", "shorter-rejuvenation", "shorter-share-epoch"];
/// Kinds of which only one stands in a plan.
const OPPOSITE: [(&str, &str); 3] = [
    ("hybrid", "arbitrary"),
    ("more-servers", "fewer-servers"),
    ("spare-servers", "fewer-servers"),
];
/// Logarithm of the factor by which a change must lower the risk to stand in a plan.
const GAIN_MIN: f64 = 0.005;

/// What is to be changed, and how far.
pub(super) struct Case<'d> {
    pub(super) design: &'d Design,
    pub(super) service: &'d Service,
    pub(super) accepted: f64,
    /// As an assessment computes it.
    pub(super) told: Outlook,
    /// As every change is computed: what changes are compared with.
    pub(super) compared: Outlook,
}

/// Changes one after the other.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub(super) steps: Vec<Step>,
    /// The risk after each step.
    risks: Vec<f64>,
    /// What is at stake after each of the first steps: as many as were weighed.
    outlooks: Vec<Outlook>,
    pub(super) situation: Situation,
}

impl Tried {
    /// Nothing changed yet.
    pub(super) fn nothing(situation: Situation) -> Self {
        Self { steps: Vec::new(), risks: Vec::new(), outlooks: Vec::new(), situation }
    }

    pub(super) fn risk(&self, case: &Case) -> f64 {
        self.risks.last().copied().unwrap_or(case.told.risk)
    }

    pub(super) fn outlook<'a>(&'a self, case: &'a Case) -> &'a Outlook {
        self.outlooks.last().unwrap_or(&case.told)
    }

    /// What all of it costs; `None`: not every price is known.
    pub(super) fn cost(&self) -> Option<f64> {
        self.steps.iter().map(|step| step.cost).sum()
    }

    /// What is known of what it costs.
    fn known_cost(&self) -> f64 {
        self.steps.iter().filter_map(|step| step.cost).sum()
    }

    /// Changes without a price.
    pub(super) fn unpriced(&self) -> usize {
        self.steps.iter().filter(|step| step.cost.is_none()).count()
    }

    fn with(&self, step: Step) -> Result<Self, EngineError> {
        let situation = step.after.clone();
        let after = risk(&situation, Grade::Swept)?;
        let mut next = Self { situation, ..self.clone() };
        next.steps.push(step);
        next.risks.push(after);
        Ok(next)
    }

    /// The same with what is at stake after every step.
    pub(super) fn weighed(mut self, case: &Case) -> Result<Self, EngineError> {
        for step in self.steps.iter().skip(self.outlooks.len()) {
            self.outlooks.push(Outlook::of(&step.after, case.service, Grade::Swept)?);
        }
        Ok(self)
    }

    /// Whether every step may stand in a plan. To be asked of what was weighed.
    fn is_allowed(&self, case: &Case) -> bool {
        let before = std::iter::once(&case.compared).chain(&self.outlooks);
        before.zip(&self.outlooks).all(|(before, after)| before.allows(after, case.accepted))
    }

    /// The same with the last step as an assessment computes it.
    pub(super) fn into_assessed(mut self, case: &Case) -> Result<Self, EngineError> {
        self = self.weighed(case)?;
        if let (Some(outlook), Some(risk)) = (self.outlooks.last_mut(), self.risks.last_mut()) {
            *outlook = Outlook::of(&self.situation, case.service, Grade::Result)?;
            *risk = outlook.risk;
        }
        Ok(self)
    }

    /// The steps, where several that go further in the same direction are one. To be asked of what was
    /// weighed.
    pub(super) fn changes(&self, case: &Case) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        // What is told and what is compared differ before the first step only.
        let (mut told, mut compared) = (&case.told, &case.compared);
        for (step, after) in self.steps.iter().zip(&self.outlooks) {
            let mut change = Change {
                kind: step.kind.to_owned(),
                text: step.text.clone(),
                cost: step.cost,
                risk_before: told.risk,
                risk_after: after.risk,
                promises: compared.effects(after),
                expected_loss_before: told.expected_loss,
                expected_loss_after: after.expected_loss,
            };
            for (effect, told) in change.promises.iter_mut().zip(told.effects(after)) {
                effect.before = told.before;
            }
            (told, compared) = (after, after);
            let last = changes.last_mut().filter(|last| last.kind == step.kind);
            match last.filter(|_| FURTHER.contains(&step.kind)) {
                Some(last) => go_further(last, change),
                None => changes.push(change),
            }
        }
        changes
    }
}

/// Two changes in the same direction as one.
fn go_further(first: &mut Change, second: Change) {
    first.text = second.text;
    first.cost = first.cost.zip(second.cost).map(|(a, b)| a + b);
    first.risk_after = second.risk_after;
    first.expected_loss_after = second.expected_loss_after;
    for (effect, then) in first.promises.iter_mut().zip(second.promises) {
        effect.after = then.after;
        effect.is_worse |= then.is_worse;
    }
}

/// Every change that can follow; none that takes an earlier one back.
pub(super) fn tried(case: &Case, from: &Tried) -> Result<Vec<Tried>, EngineError> {
    let has = |kind: &str| from.steps.iter().any(|step| step.kind == kind);
    let is_back = |step: &Step| {
        OPPOSITE.iter().any(|(a, b)| (step.kind == *a && has(b)) || (step.kind == *b && has(a)))
    };
    let options = options(case.design, &from.situation).into_iter();
    options.filter(|step| !is_back(step)).map(|step| from.with(step)).collect()
}

/// The two ways to the acceptable risk: the cheapest, and one whose price is not known.
pub(super) struct Ways {
    /// Changes with a price only; the best that there is where none reaches it.
    pub(super) priced: Tried,
    pub(super) unpriced: Option<Tried>,
}

/// Looks for both ways.
pub(super) fn ways(case: &Case, start: &Tried, singles: &[Tried]) -> Result<Ways, EngineError> {
    let mut all = singles.to_vec();
    for first in singles {
        all.extend(tried(case, first)?);
    }
    all.retain(|it| it.risk(case) <= case.accepted);
    let (mut priced, mut unpriced): (Vec<Tried>, Vec<Tried>) =
        all.into_iter().partition(|it| it.unpriced() == 0);
    priced.sort_by(|a, b| a.known_cost().total_cmp(&b.known_cost()));
    unpriced.sort_by(|a, b| {
        let changes = (a.unpriced(), a.steps.len()).cmp(&(b.unpriced(), b.steps.len()));
        changes.then_with(|| a.known_cost().total_cmp(&b.known_cost()))
    });
    let priced = match first_allowed(case, priced)? {
        Some(found) => found,
        None => step_by_step(case, start, singles, Prices::Known)?,
    };
    let mut other = None;
    for found in unpriced {
        let Some(found) = first_allowed(case, vec![found])? else { continue };
        let found = pruned(case, start, found)?;
        // What reaches it without the change that has no price is no other way.
        if found.unpriced() > 0 {
            other = Some(found);
            break;
        }
    }
    if other.is_none() && priced.risk(case) > case.accepted {
        let found = step_by_step(case, start, singles, Prices::Any)?;
        let gain = (priced.risk(case) / found.risk(case)).ln();
        other = (found.unpriced() > 0 && gain > GAIN_MIN).then_some(found);
    }
    Ok(Ways { priced, unpriced: other })
}

/// The first that may be a plan.
fn first_allowed(case: &Case, all: Vec<Tried>) -> Result<Option<Tried>, EngineError> {
    for tried in all {
        let tried = tried.weighed(case)?;
        if tried.is_allowed(case) {
            return Ok(Some(tried));
        }
    }
    Ok(None)
}

/// Which changes a plan may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prices {
    Known,
    Any,
}

/// Adds the change that gains most for its price, and another, as long as the risk is not accepted. One without
/// a price counts as much as the dearest of those that have one.
fn step_by_step(
    case: &Case,
    start: &Tried,
    singles: &[Tried],
    prices: Prices,
) -> Result<Tried, EngineError> {
    let known = singles.iter().flat_map(|it| &it.steps).filter_map(|step| step.cost);
    let dearest = known.fold(1.0, f64::max);
    let mut plan = start.clone();
    while plan.steps.len() < PLAN_MAX && plan.risk(case) > case.accepted {
        let before = plan.risks.last().copied().unwrap_or(case.compared.risk);
        let gain = |it: &Tried| (before / it.risk(case)).ln();
        let worth = |it: &Tried| {
            let price = it.steps.last().and_then(|step| step.cost).unwrap_or(dearest);
            gain(it) / price.max(1.0)
        };
        let mut next = tried(case, &plan)?;
        next.retain(|it| gain(it) > GAIN_MIN && (prices == Prices::Any || it.unpriced() == 0));
        next.sort_by(|a, b| worth(b).total_cmp(&worth(a)));
        match first_allowed(case, next)? {
            Some(best) => plan = best,
            None => break,
        }
    }
    pruned(case, start, plan)
}

/// The plan without the steps that turned out not to be needed, dearest first.
fn pruned(case: &Case, start: &Tried, plan: Tried) -> Result<Tried, EngineError> {
    let reached = plan.risk(case).max(case.accepted);
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
        // What is free and lowers the risk stays.
        if price(&dropped) <= 0.0 {
            continue;
        }
        let shorter = replayed(case, start, &kept.steps, dropped)?;
        if shorter.risk(case) <= reached && shorter.is_allowed(case) {
            kept = shorter;
        }
    }
    Ok(kept)
}

/// The steps but one, each taken as far as it is still possible.
fn replayed(
    case: &Case,
    start: &Tried,
    steps: &[Step],
    dropped: usize,
) -> Result<Tried, EngineError> {
    let mut plan = start.clone();
    for (_, step) in steps.iter().enumerate().filter(|(at, _)| *at != dropped) {
        // Different labels are different steps; of all else there is one of its kind.
        let is_same =
            |it: &Step| it.kind == step.kind && (step.kind != "diversity" || it.text == step.text);
        if let Some(same) = options(case.design, &plan.situation).into_iter().find(is_same) {
            plan = plan.with(same)?;
        }
    }
    plan.weighed(case)
}
