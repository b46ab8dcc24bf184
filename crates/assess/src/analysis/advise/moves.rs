//! Other values of labels, so that fewer servers fall together.
//!
//! A server with another value of a label is taken to be intruded as often as before: another administrator
//! has a machine that is as vulnerable, another system has vulnerabilities of its own. That holds too for
//! vulnerabilities that the design gives to a value of the label by `where`, and each change says so.
//!
//! The kind of a wormhole is not a matter of variety: see isolation.

use std::collections::BTreeMap;

use super::super::situation::{Server, Situation, label_numbers};
use super::kind::Kind;
use super::options::Step;
use super::prices::price;
use crate::design::{Costs, Design, LabelKind, Service};

/// What is taken of servers that get another value.
const SAME_RATE: &str = "what is new is as vulnerable as what is there";

fn name_of(kind: LabelKind) -> String {
    kind.name().replace('_', " ")
}

/// A value that no server has, and none above it.
fn fresh(now: &Situation) -> usize {
    now.servers.iter().flat_map(|it| it.labels).flatten().max().unwrap_or_default() + 1
}

/// Another value of one label for every server that shares its own.
pub(super) fn diversity(costs: &Costs, now: &Situation, kind: LabelKind) -> Option<Step> {
    let at = kind as usize;
    let share = now.shares.get(at).copied().unwrap_or_default();
    if share <= 0.0 || kind == LabelKind::Wormhole {
        return None;
    }
    let mut after = now.clone();
    let mut seen = Vec::new();
    let mut changed = 0;
    let fresh = fresh(now);
    for server in &mut after.servers {
        let Some(label) = server.labels.get_mut(at) else { continue };
        let Some(value) = *label else { continue };
        if seen.contains(&value) {
            *label = Some(fresh + changed);
            changed += 1;
        } else {
            seen.push(value);
        }
    }
    (changed > 0).then(|| Step {
        kind: Kind::Diversity(kind),
        text: format!("a different {} for every server", name_of(kind)),
        assumed: Some(SAME_RATE.to_owned()),
        cost: price(&costs.diversity, changed as f64),
        after,
    })
}

/// Another value of one label for one server, where that has a price: of the value that most servers share, the
/// server that shares most else. Nothing where [`diversity`] is the same change.
pub(super) fn moved(
    design: &Design,
    service: &Service,
    now: &Situation,
    kind: LabelKind,
) -> Option<Step> {
    let at = kind as usize;
    let share = now.shares.get(at).copied().unwrap_or_default();
    let cost = price(&design.costs.diversity, 1.0)?;
    if share <= 0.0 || kind == LabelKind::Wormhole {
        return None;
    }
    let mut by_value: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (position, server) in now.servers.iter().enumerate() {
        if let Some(value) = server.labels.get(at).copied().flatten() {
            by_value.entry(value).or_default().push(position);
        }
    }
    let excess: usize = by_value.values().map(|servers| servers.len() - 1).sum();
    if excess < 2 {
        return None;
    }
    let rate = |at: &usize| now.servers.get(*at).map_or(0.0, |server| server.rate);
    let least = |servers: &[usize]| servers.iter().map(rate).fold(f64::INFINITY, f64::min);
    // The first of those that are equal: values and servers have an order that no file changes.
    let (value, servers) = by_value.iter().rev().max_by(|(_, a), (_, b)| {
        a.len().cmp(&b.len()).then_with(|| least(a).total_cmp(&least(b)))
    })?;
    let shares =
        |at: &usize| now.servers.get(*at).map_or(0.0, |server| now.sharing(server, &now.servers));
    let leaves = servers
        .iter()
        .rev()
        .max_by(|a, b| shares(a).total_cmp(&shares(b)).then_with(|| rate(a).total_cmp(&rate(b))))?;
    let mut after = now.clone();
    let server = after.servers.get_mut(*leaves)?;
    let who = host_name(design, server);
    *server.labels.get_mut(at)? = Some(fresh(now));
    let numbers = label_numbers(design, service);
    let known = numbers.iter().find(|(_, number)| *number == value);
    let whose = known.map_or("a new one", |((_, name), _)| *name);
    let text = format!("another {} for {who} ({} share {whose})", name_of(kind), servers.len());
    let assumed = Some(SAME_RATE.to_owned());
    Some(Step { kind: Kind::Move(kind), text, assumed, cost: Some(cost), after })
}

/// What people call a server.
fn host_name(design: &Design, server: &Server) -> String {
    let host = server.host.and_then(|at| design.hosts.get(at));
    host.map_or_else(|| "one server".to_owned(), |host| host.name.clone())
}
