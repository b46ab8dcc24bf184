//! Changes one after the other, and what they do.

use super::super::outcomes::{Change, WORSE_BY};
use super::super::situation::Situation;
use super::answers::Answers;
use super::kind::Kind;
use super::options::{Step, options};
use super::outlook::Outlook;
use crate::design::{Design, Service};
use crate::engines::EngineError;

/// What is to be changed, and how far.
pub(super) struct Case<'d> {
    pub(super) design: &'d Design,
    pub(super) service: &'d Service,
    pub(super) accepted: f64,
    /// As an assessment computes it.
    pub(super) told: Outlook,
    /// As every change is computed: what changes are compared with.
    pub(super) compared: Outlook,
    pub(super) answers: Answers<'d>,
}

impl Case<'_> {
    /// What is at stake in a situation, as every change is computed.
    fn outlook(&self, situation: &Situation) -> Result<Outlook, EngineError> {
        self.ahead([situation].into_iter());
        Outlook::of(situation, self.service, |property| self.answers.broken(situation, property))
    }

    /// Solves what the outlooks of these situations take, side by side.
    fn ahead<'s>(&self, situations: impl Iterator<Item = &'s Situation>) {
        let promises = self.service.promises.iter().map(|(property, _)| *property);
        self.answers.ahead(situations.flat_map(|it| promises.clone().map(move |of| (it, of))));
    }
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

    /// As every change is computed.
    fn compared_risk(&self, case: &Case) -> f64 {
        self.risks.last().copied().unwrap_or(case.compared.risk)
    }

    pub(super) fn outlook<'a>(&'a self, case: &'a Case) -> &'a Outlook {
        self.outlooks.last().unwrap_or(&case.told)
    }

    /// What all of it costs; `None`: not every price is known.
    pub(super) fn cost(&self) -> Option<f64> {
        self.steps.iter().map(|step| step.cost).sum()
    }

    /// What is known of what it costs.
    pub(super) fn known_cost(&self) -> f64 {
        self.steps.iter().filter_map(|step| step.cost).sum()
    }

    /// Changes without a price.
    pub(super) fn unpriced(&self) -> usize {
        self.steps.iter().filter(|step| step.cost.is_none()).count()
    }

    pub(super) fn with(&self, case: &Case, step: Step) -> Result<Self, EngineError> {
        let situation = step.after.clone();
        let after = case.answers.risk(&situation)?;
        let mut next = Self { situation, ..self.clone() };
        next.steps.push(step);
        next.risks.push(after);
        Ok(next)
    }

    /// The same with what is at stake after every step.
    pub(super) fn weighed(mut self, case: &Case) -> Result<Self, EngineError> {
        case.ahead(self.steps.iter().skip(self.outlooks.len()).map(|step| &step.after));
        for step in self.steps.iter().skip(self.outlooks.len()) {
            self.outlooks.push(case.outlook(&step.after)?);
        }
        Ok(self)
    }

    /// Whether every step may stand in a plan. To be asked of what was weighed.
    pub(super) fn is_allowed(&self, case: &Case) -> bool {
        let before = std::iter::once(&case.compared).chain(&self.outlooks);
        before.zip(&self.outlooks).all(|(before, after)| before.allows(after, case.accepted))
    }

    /// The loss to expect after the last step, whatever it is before.
    pub(super) fn last_loss(&self, case: &Case) -> Result<f64, EngineError> {
        if self.steps.is_empty() {
            return Ok(case.compared.expected_loss);
        }
        Ok(case.outlook(&self.situation)?.expected_loss)
    }

    /// The steps that make some promise worse. To be asked of what was weighed.
    pub(super) fn harmful(&self, case: &Case) -> Vec<usize> {
        let before = std::iter::once(&case.compared).chain(&self.outlooks);
        let pairs = before.zip(&self.outlooks).enumerate();
        pairs.filter(|(_, (before, after))| before.is_harmed(after)).map(|(at, _)| at).collect()
    }

    /// The same with the last step as an assessment computes it.
    pub(super) fn into_assessed(mut self, case: &Case) -> Result<Self, EngineError> {
        self = self.weighed(case)?;
        if let (Some(outlook), Some(risk)) = (self.outlooks.last_mut(), self.risks.last_mut()) {
            *outlook = Outlook::assessed(&self.situation, case.service)?;
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
                kind: step.kind.name().to_owned(),
                text: step.text.clone(),
                assumed: step.assumed.clone(),
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
            let last = changes.last_mut().filter(|last| last.kind == step.kind.name());
            match last.filter(|_| step.kind.goes_further()) {
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
    first.assumed = second.assumed;
    first.cost = first.cost.zip(second.cost).map(|(a, b)| a + b);
    first.risk_after = second.risk_after;
    first.expected_loss_after = second.expected_loss_after;
    for (effect, then) in first.promises.iter_mut().zip(second.promises) {
        effect.after = then.after;
        effect.is_worse |= then.is_worse;
    }
}

/// All of these with what is at stake after every step.
pub(super) fn weighed(case: &Case, ways: Vec<Tried>) -> Result<Vec<Tried>, EngineError> {
    case.ahead(ways.iter().flat_map(|it| &it.steps).map(|step| &step.after));
    ways.into_iter().map(|it| it.weighed(case)).collect()
}

/// Every change that can follow; none that takes an earlier one back, and no move of a single server that does not
/// lower the risk by what three digits show.
pub(super) fn tried(case: &Case, from: &Tried) -> Result<Vec<Tried>, EngineError> {
    let is_back = |step: &Step| from.steps.iter().any(|it| it.kind.is_opposite(step.kind));
    let mut options = options(case.design, case.service, &from.situation);
    options.retain(|step| !is_back(step));
    case.answers.risks_ahead(options.iter().map(|step| &step.after));
    let mut all = Vec::new();
    for step in options {
        let is_move = matches!(step.kind, Kind::Move(_));
        let next = from.with(case, step)?;
        if !is_move || next.risk(case) * WORSE_BY < from.compared_risk(case) {
            all.push(next);
        }
    }
    Ok(all)
}
