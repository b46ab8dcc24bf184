//! What a situation puts at stake: the risk of every promise, and the loss to expect.

use super::super::outcomes::{PromiseEffect, WORSE_BY};
use super::super::risk::decisive;
use super::super::situation::Situation;
use super::super::solve::{self, Grade, Question};
use crate::design::{Property, Service};
use crate::engines::EngineError;

/// What rounding alone makes of a sum.
pub(super) const ROUNDING: f64 = 1e-9;

/// The risk of every promise of a situation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outlook {
    risks: Vec<(Property, f64)>,
    /// The largest of those that decide.
    pub(super) risk: f64,
    /// Sum over the promises of risk times loss.
    pub(super) expected_loss: f64,
}

impl Outlook {
    /// As an assessment computes it.
    pub(super) fn assessed(situation: &Situation, service: &Service) -> Result<Self, EngineError> {
        Self::of(situation, service, |property| {
            solve::by_mission(situation, Question::Broken(property), Grade::Result)
        })
    }

    /// `risk_of`: the probability that a promise is broken.
    pub(super) fn of(
        situation: &Situation,
        service: &Service,
        risk_of: impl Fn(Property) -> Result<f64, EngineError>,
    ) -> Result<Self, EngineError> {
        let mut outlook = Self { risks: Vec::new(), risk: 0.0, expected_loss: 0.0 };
        let decisive = decisive(situation);
        for (property, loss) in &service.promises {
            let risk = risk_of(*property)?;
            outlook.risks.push((*property, risk));
            outlook.expected_loss += risk * loss.value.0;
            if decisive.contains(property) {
                outlook.risk = outlook.risk.max(risk);
            }
        }
        Ok(outlook)
    }

    /// Whether a change from `self` to `after` may stand in a plan: the losses that it adds are no more than
    /// those that it saves, and no promise is broken whose risk was accepted.
    pub(super) fn allows(&self, after: &Self, accepted: f64) -> bool {
        let is_dearer = after.expected_loss > self.expected_loss * (1.0 + ROUNDING);
        let mut both = self.risks.iter().zip(&after.risks);
        let breaks = both.any(|((_, now), (_, then))| *now <= accepted && *then > accepted);
        !is_dearer && !breaks
    }

    /// Whether a promise is worse after a change.
    pub(super) fn is_harmed(&self, after: &Self) -> bool {
        self.risks.iter().zip(&after.risks).any(|((_, now), (_, then))| then > now)
    }

    /// What becomes of each promise.
    pub(super) fn effects(&self, after: &Self) -> Vec<PromiseEffect> {
        let both = self.risks.iter().zip(&after.risks);
        let effect = |((property, before), (_, after)): (&(Property, f64), &(Property, f64))| {
            let is_worse = *after > *before * WORSE_BY;
            PromiseEffect { property: *property, before: *before, after: *after, is_worse }
        };
        both.map(effect).collect()
    }
}

/// Whether a risk of this grade is computed with the mean of all servers.
pub(super) fn is_merged(situation: &Situation, grade: Grade) -> bool {
    let mut promises = situation.promises.iter();
    promises.any(|it| solve::is_merged(situation, Question::Broken(*it), grade))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlook(risks: [f64; 3], losses: [f64; 3]) -> Outlook {
        let properties = [Property::Confidentiality, Property::Integrity, Property::Availability];
        let expected_loss = risks.iter().zip(losses).map(|(risk, loss)| risk * loss).sum();
        let risks = properties.into_iter().zip(risks).collect();
        Outlook { risks, risk: 0.0, expected_loss }
    }

    #[test]
    fn what_costs_more_than_it_saves_or_breaks_what_was_accepted_is_not_allowed() {
        let losses = [1000.0, 500.0, 100.0];
        let now = outlook([0.1, 0.05, 0.2], losses);
        let allows = |risks| now.allows(&outlook(risks, losses), 0.06);
        assert!(allows([0.1, 0.05, 0.2]) && allows([0.05, 0.05, 0.2]));
        // 50 saved, and 40 or 60 lost.
        assert!(allows([0.05, 0.05, 0.6]) && !allows([0.05, 0.05, 0.8]));
        // 50 saved and 10 lost, but integrity was accepted.
        assert!(allows([0.05, 0.06, 0.2]) && !allows([0.05, 0.07, 0.2]));
    }

    #[test]
    fn worse_is_what_shows() {
        let now = outlook([0.1, 0.1, 0.1], [1.0; 3]);
        let effects = now.effects(&outlook([0.1004, 0.102, 0.09], [1.0; 3]));
        let worse: Vec<bool> = effects.iter().map(|it| it.is_worse).collect();
        assert_eq!(worse, [false, true, false]);
    }
}
