//! How proposals become one value.

use crate::frame::{Agreement, Decision, DecisionFunction, ELIST_MAX, Value};

/// What one process of the list proposed, as far as is known here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Proposal {
    /// Nothing came.
    Missing,
    /// It takes part, without a value.
    Bottom,
    /// This.
    Of(Value),
}

impl Proposal {
    pub(super) fn new(value: Option<Value>) -> Self {
        value.map_or(Self::Bottom, Self::Of)
    }

    pub(super) fn value(self) -> Option<Value> {
        match self {
            Self::Of(value) => Some(value),
            Self::Missing | Self::Bottom => None,
        }
    }
}

/// What the proposals that came amount to.
pub(super) fn decide(agreement: &Agreement, proposals: &[Proposal; ELIST_MAX]) -> Decision {
    let count = agreement.elist().len();
    let values = || proposals.iter().take(count).map(|one| one.value());
    let those = |wanted: &dyn Fn(Proposal) -> bool| {
        let places = (0..).zip(proposals.iter().take(count));
        places.fold(0_u16, |mask, (place, one)| mask | u16::from(wanted(*one)) << place)
    };
    let supporters = |value: Value| values().flatten().filter(|other| *other == value).count();
    // Of several with as many supporters, the one that stands first.
    let most = || {
        values()
            .flatten()
            .map(|value| (value, supporters(value)))
            .reduce(|best, next| if next.1 > best.1 { next } else { best })
    };
    let at_least = |least: usize| most().filter(|(_, number)| *number >= least).map(|(one, _)| one);
    let value = match agreement.decision {
        DecisionFunction::ReliableMulticast => values().next().flatten(),
        DecisionFunction::Plurality => at_least(1),
        DecisionFunction::MajorityOf(least) => at_least(usize::from(least)),
        DecisionFunction::AllEqual => at_least(count),
        DecisionFunction::Min => values().flatten().min(),
        DecisionFunction::Xor => values().flatten().reduce(|sum, next| {
            let mut sum = sum;
            sum.iter_mut().zip(next).for_each(|(byte, next)| *byte ^= next);
            sum
        }),
    };
    let is_part = |one: Proposal| match agreement.decision {
        DecisionFunction::Xor => one.value().is_some(),
        _ => one.value().is_some() && one.value() == value,
    };
    Decision {
        value,
        proposed_ok: those(&is_part),
        proposed_any: those(&|one| one != Proposal::Missing),
    }
}

#[cfg(test)]
mod tests;
