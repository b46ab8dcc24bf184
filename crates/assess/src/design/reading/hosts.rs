//! Hosts, the kinds of their wormholes, and what they fall to together.

use super::faults::Faults;
use super::structure::{Node, shown};
use super::{check_unique, name, probability};
use crate::design::fault::Mistake;
use crate::design::host::{CommonMode, Host, LabelKind, Wormhole};

pub(super) fn hosts(root: &Node, faults: &mut Faults<'_>) -> Vec<Host> {
    let nodes = root.many("hosts");
    check_unique(nodes, "[[hosts]]", faults);
    let host = |node: &Node| Host {
        name: name(node),
        labels: LabelKind::ALL.map(|kind| node.text(kind.name()).map(str::to_owned)),
    };
    nodes.iter().map(host).collect()
}

/// The kinds of wormhole; each host's must be one of them.
pub(super) fn wormholes(root: &Node, hosts: &[Host], faults: &mut Faults<'_>) -> Vec<Wormhole> {
    let nodes = root.many("wormholes");
    check_unique(nodes, "[[wormholes]]", faults);
    let kinds: Vec<Wormhole> = nodes
        .iter()
        .map(|node| Wormhole { name: name(node), coverage: probability(node, "coverage") })
        .collect();
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name.as_str()).collect();
    for (host, node) in hosts.iter().zip(root.many("hosts")) {
        if let Some(kind) = host.label(LabelKind::Wormhole) {
            super::position(kind, &names, "[[wormholes]]", node.line_of("wormhole"), faults);
        }
    }
    kinds
}

pub(super) fn common_mode(root: &Node, faults: &mut Faults<'_>) -> CommonMode {
    let Some(node) = root.one("common_mode") else { return CommonMode::default() };
    let shares =
        LabelKind::ALL.map(|kind| node.number(kind.name()).map(|_| probability(node, kind.name())));
    let total: f64 = shares.iter().flatten().map(|share| share.value.0).sum();
    if total > 1.0 + 1e-12 {
        let hint = "each is a share of the same intrusions: lower them".to_owned();
        faults.add_at(node.line, Mistake::Shares { total: total.to_string() }, hint);
    }
    CommonMode { shares }
}

/// Hosts that have all of the label values in a `where` table.
pub(super) fn hosts_where(node: &Node, hosts: &[Host], faults: &mut Faults<'_>) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..hosts.len()).collect();
    for kind in LabelKind::ALL {
        let Some(value) = node.text(kind.name()) else { continue };
        let has = |host: &Host| host.label(kind) == Some(value);
        if !hosts.iter().any(has) {
            unknown_label(kind, value, node.line_of(kind.name()), hosts, faults);
        }
        chosen.retain(|position| hosts.get(*position).is_some_and(has));
    }
    if chosen.is_empty() {
        let what = "no host has all of these labels".to_owned();
        let hint = "drop one of them, or the whole entry".to_owned();
        faults.add_at(node.line, Mistake::Conflict { what }, hint);
    }
    chosen
}

fn unknown_label(
    kind: LabelKind,
    value: &str,
    line: usize,
    hosts: &[Host],
    faults: &mut Faults<'_>,
) {
    let mut values: Vec<&str> = hosts.iter().filter_map(|host| host.label(kind)).collect();
    values.sort_unstable();
    values.dedup();
    let hint = match super::words::nearest(value, values.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("hosts have: {}", super::listed(&values)),
    };
    faults.add_at(line, Mistake::UnknownLabel { label: kind.name(), value: shown(value) }, hint);
}
