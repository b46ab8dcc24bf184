//! The search for the cheapest changes that reach the acceptable risk.
//!
//! Every change and every pair of changes is tried. The ways that gain most for their price (of the logarithm of
//! the risk) are followed further, a few at a time, as long as they cost less than the cheapest that reached the
//! goal. What turned out not to be needed is taken back, dearest first.

use std::collections::BTreeSet;

use super::options::{Step, options};
use super::outlook::ROUNDING;
use super::plan::{Case, Tried, tried};
use crate::engines::EngineError;

/// Changes of one plan.
const PLAN_MAX: usize = 16;
/// Ways that are followed at a time.
const WAYS_MAX: usize = 5;
/// Servers up to which so many are; with more of them, whose chains take seconds each, only the best.
const WAYS_SERVERS_MAX: usize = 13;
/// Logarithm of the factor by which a change must lower the risk to stand in a plan.
const GAIN_MIN: f64 = 0.005;

/// The two ways to the acceptable risk: the cheapest, and one whose price is not known.
pub(super) struct Ways {
    /// Changes with a price only; the best that there is where none reaches it.
    pub(super) priced: Tried,
    pub(super) unpriced: Option<Tried>,
}

/// Which changes a plan may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prices {
    Known,
    Any,
}

/// Looks for both ways.
pub(super) fn ways(case: &Case, start: &Tried, singles: &[Tried]) -> Result<Ways, EngineError> {
    let mut all = singles.to_vec();
    for first in singles {
        all.extend(tried(case, first)?);
    }
    let (priced, mut reached): (Vec<Tried>, Vec<Tried>) =
        all.iter().cloned().partition(|it| it.unpriced() == 0);
    let priced = cheapest(case, start, priced, Prices::Known)?;
    reached.retain(|it| it.risk(case) <= case.accepted);
    reached.sort_by(|a, b| {
        let changes = (a.unpriced(), a.steps.len()).cmp(&(b.unpriced(), b.steps.len()));
        changes.then_with(|| a.known_cost().total_cmp(&b.known_cost()))
    });
    let mut other = None;
    for found in reached {
        let Some(found) = allowed(case, start, vec![found], 1)?.pop() else { continue };
        let found = pruned(case, start, found)?;
        // What reaches it without the change that has no price is no other way.
        if found.unpriced() > 0 {
            other = Some(found);
            break;
        }
    }
    if other.is_none() && priced.risk(case) > case.accepted {
        let found = cheapest(case, start, all, Prices::Any)?;
        let gain = (priced.risk(case) / found.risk(case)).ln();
        other = (found.unpriced() > 0 && gain > GAIN_MIN).then_some(found);
    }
    let other = other.map(|it| together(case, start, it)).transpose()?;
    Ok(Ways { priced: together(case, start, priced)?, unpriced: other })
}

/// The cheapest way that reaches the acceptable risk, from those that were `begun`; that with the least risk if
/// none does. A change without a price counts as much as the dearest of those that have one.
fn cheapest(
    case: &Case,
    start: &Tried,
    begun: Vec<Tried>,
    prices: Prices,
) -> Result<Tried, EngineError> {
    let known = begun.iter().flat_map(|it| &it.steps).filter_map(|step| step.cost);
    let dearest = known.fold(1.0, f64::max);
    let cost = |it: &Tried| it.known_cost() + it.unpriced() as f64 * dearest;
    let mut best: Option<Tried> = None;
    let mut furthest = start.clone();
    let ways = if start.situation.n() > WAYS_SERVERS_MAX { 1 } else { WAYS_MAX };
    let mut next = begun;
    for _ in 0..PLAN_MAX {
        let (mut reached, open): (Vec<Tried>, Vec<Tried>) =
            next.into_iter().partition(|it| it.risk(case) <= case.accepted);
        let is_cheaper = |it: &Tried, best: &Option<Tried>| {
            best.as_ref().is_none_or(|best| cost(it) < cost(best))
        };
        reached.retain(|it| is_cheaper(it, &best));
        reached.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
        if let Some(found) = allowed(case, start, reached, 1)?.pop() {
            best = Some(pruned(case, start, found)?);
        }
        let open: Vec<Tried> = open.into_iter().filter(|it| is_cheaper(it, &best)).collect();
        let kept = allowed(case, start, best_first(case, open, &cost), ways)?;
        next = Vec::new();
        for from in &kept {
            if from.risk(case) < furthest.risk(case) {
                furthest = from.clone();
            }
            let further = tried(case, from)?.into_iter();
            next.extend(further.filter(|it| {
                let is_known = prices == Prices::Any || it.unpriced() == 0;
                is_known && (from.risk(case) / it.risk(case)).ln() > GAIN_MIN
            }));
        }
        if next.is_empty() {
            break;
        }
    }
    match best {
        Some(best) => Ok(best),
        None => pruned(case, start, furthest),
    }
}

/// Those that lower the risk, by what each unit of the gain cost; of several that come to the same, one.
fn best_first(case: &Case, ways: Vec<Tried>, cost: &dyn Fn(&Tried) -> f64) -> Vec<Tried> {
    let gain = |it: &Tried| (case.compared.risk / it.risk(case)).ln();
    let price = |it: &Tried| cost(it).max(1.0) / gain(it);
    let mut ways: Vec<Tried> = ways.into_iter().filter(|it| gain(it) > GAIN_MIN).collect();
    ways.sort_by(|a, b| price(a).total_cmp(&price(b)));
    let mut known = BTreeSet::new();
    ways.retain(|it| known.insert(format!("{:.6e} {:.6e}", it.risk(case), cost(it))));
    ways
}

/// The first of these that may be a plan, as many as are wanted, weighed.
fn allowed(
    case: &Case,
    start: &Tried,
    ways: Vec<Tried>,
    most: usize,
) -> Result<Vec<Tried>, EngineError> {
    let mut found = Vec::new();
    for way in ways {
        if found.len() == most {
            break;
        }
        let way = way.weighed(case)?;
        if way.is_allowed(case) && is_sound(case, start, &way)? {
            found.push(way);
        }
    }
    Ok(found)
}

/// Whether no step adds more to the expected loss than it takes away, had it come last: what pays at first may
/// cost more than it saves once others have lowered the risk.
fn is_sound(case: &Case, start: &Tried, way: &Tried) -> Result<bool, EngineError> {
    let loss = way.outlook(case).expected_loss;
    for dropped in way.harmful(case) {
        let shorter = without(case, start, &way.steps, dropped)?;
        if shorter.last_loss(case)? * (1.0 + ROUNDING) < loss {
            return Ok(false);
        }
    }
    Ok(true)
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
        let shorter = without(case, start, &kept.steps, dropped)?;
        if shorter.risk(case) <= reached {
            kept = allowed(case, start, vec![shorter], 1)?.pop().unwrap_or(kept);
        }
    }
    Ok(kept)
}

/// The same with the steps that go further in one direction next to each other, where that changes nothing
/// else: they are told as one.
fn together(case: &Case, start: &Tried, way: Tried) -> Result<Tried, EngineError> {
    let mut order: Vec<&Step> = Vec::new();
    for step in &way.steps {
        let last = order.iter().rposition(|it| it.kind == step.kind && it.kind.goes_further());
        order.insert(last.map_or(order.len(), |at| at + 1), step);
    }
    let other = replayed(case, start, order.into_iter())?.weighed(case)?;
    let is_same = other.steps.len() == way.steps.len()
        && other.unpriced() == way.unpriced()
        && other.known_cost() <= way.known_cost() * (1.0 + ROUNDING)
        && other.risk(case) <= way.risk(case).max(case.accepted);
    let is_plan = is_same && other.is_allowed(case) && is_sound(case, start, &other)?;
    Ok(if is_plan { other } else { way })
}

/// The steps but one.
fn without(
    case: &Case,
    start: &Tried,
    steps: &[Step],
    dropped: usize,
) -> Result<Tried, EngineError> {
    let kept = steps.iter().enumerate().filter(|(at, _)| *at != dropped);
    replayed(case, start, kept.map(|(_, step)| step))
}

/// The steps one after the other, each taken as far as it is still possible.
fn replayed<'s>(
    case: &Case,
    start: &Tried,
    steps: impl Iterator<Item = &'s Step>,
) -> Result<Tried, EngineError> {
    let mut plan = start.clone();
    for step in steps {
        let options = options(case.design, case.service, &plan.situation);
        if let Some(same) = options.into_iter().find(|it| it.kind == step.kind) {
            plan = plan.with(case, same)?;
        }
    }
    Ok(plan)
}
