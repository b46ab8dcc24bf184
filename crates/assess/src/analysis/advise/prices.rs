//! What changes cost over one mission.

use super::super::situation::{Server, Situation};
use crate::design::{Design, Estimate, Money};

/// So many times a price; `None`: the design has none.
pub(super) fn price(cost: &Option<Estimate<Money>>, count: f64) -> Option<f64> {
    cost.as_ref().map(|cost| cost.value.0 * count)
}

/// What one more server costs in a service that is like `after`: the server itself, its rejuvenations, and its
/// wormhole where something is built on it. What has no price in the design costs nothing, as it does for the
/// servers that are there; `None`: servers have no price.
pub(super) fn server_price(design: &Design, after: &Situation, server: &Server) -> Option<f64> {
    let costs = &design.costs;
    let turns = after.care.rejuvenation.map_or(0.0, |turns| after.mission / turns.period);
    let turns = price(&costs.rejuvenation, turns).unwrap_or_default();
    let wormhole = match after.needs_wormholes() {
        true => {
            let wormhole = price(&costs.wormhole, 1.0).unwrap_or_default();
            wormhole + isolation_price(design, server.coverage).unwrap_or_default()
        }
        false => 0.0,
    };
    Some(price(&costs.server, 1.0)? + turns + wormhole)
}

/// What the isolation of a wormhole of this coverage costs: nothing where the design knows of none that is weaker;
/// `None`: isolation has no price.
pub(super) fn isolation_price(design: &Design, coverage: f64) -> Option<f64> {
    let is_isolated = design.wormholes.iter().any(|it| it.coverage.value.0 < coverage);
    if is_isolated { price(&design.costs.isolation, 1.0) } else { Some(0.0) }
}

/// What it costs to isolate the wormholes that are weaker than this coverage; `None`: isolation has no price.
pub(super) fn stronger_price(design: &Design, now: &Situation, coverage: f64) -> Option<f64> {
    match now.weaker(coverage) {
        0 => Some(0.0),
        weak => price(&design.costs.isolation, weak as f64),
    }
}
