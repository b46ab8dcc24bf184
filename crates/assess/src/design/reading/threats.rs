//! Attacks and vulnerabilities.

use super::faults::Faults;
use super::structure::Node;
use super::{check_unique, money, name, or_nothing, positions, probability, rate, required_text};
use crate::design::estimate::{Money, Probability};
use crate::design::fault::Mistake;
use crate::design::host::Host;
use crate::design::threat::{Attack, Exploit, Vulnerability};

pub(super) fn vulnerabilities(
    root: &Node,
    hosts: &[Host],
    faults: &mut Faults<'_>,
) -> Vec<Vulnerability> {
    let nodes = root.many("vulnerabilities");
    check_unique(nodes, "[[vulnerabilities]]", faults);
    nodes
        .iter()
        .map(|node| Vulnerability {
            name: name(node),
            hosts: affected(node, hosts, faults),
            disclosure: rate(node, "disclosure"),
            patch: rate(node, "patch"),
            prevented: or_nothing(node, "prevented").map(Probability),
        })
        .collect()
}

/// The hosts that have a vulnerability: named, chosen by labels, or all.
fn affected(node: &Node, hosts: &[Host], faults: &mut Faults<'_>) -> Vec<usize> {
    let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    match (node.names("hosts"), node.one("where")) {
        (Some(_), Some(_)) => {
            let what = "a vulnerability has both `hosts` and `where`".to_owned();
            let hint = "name its hosts, or the labels that choose them".to_owned();
            faults.add_at(node.line_of("where"), Mistake::Conflict { what }, hint);
            Vec::new()
        }
        (Some(named), None) => positions(named, &names, "[[hosts]]", faults),
        (None, Some(labels)) => super::hosts::hosts_where(labels, hosts, faults),
        (None, None) => (0..hosts.len()).collect(),
    }
}

pub(super) fn attacks(
    root: &Node,
    vulnerabilities: &[Vulnerability],
    faults: &mut Faults<'_>,
) -> Vec<Attack> {
    let nodes = root.many("attacks");
    check_unique(nodes, "[[attacks]]", faults);
    nodes
        .iter()
        .map(|node| Attack {
            name: name(node),
            rate: rate(node, "rate"),
            cost: money(node, "cost"),
            cost_again: or_nothing(node, "cost_again").map(Money),
            prevented: or_nothing(node, "prevented").map(Probability),
            exploits: exploits(node, vulnerabilities, faults),
        })
        .collect()
}

fn exploits(
    attack: &Node,
    vulnerabilities: &[Vulnerability],
    faults: &mut Faults<'_>,
) -> Vec<Exploit> {
    let known: Vec<&str> = vulnerabilities.iter().map(|known| known.name.as_str()).collect();
    let nodes = attack.many("exploits");
    let named: Vec<(usize, String)> = nodes
        .iter()
        .map(|node| (node.line_of("vulnerability"), required_text(node, "vulnerability")))
        .collect();
    // Entries whose vulnerability is unknown or named twice are faults, and so the lists may differ.
    let found = positions(&named, &known, "[[vulnerabilities]]", faults);
    let exploit =
        |(vulnerability, node)| Exploit { vulnerability, success: probability(node, "success") };
    found.into_iter().zip(nodes).map(exploit).collect()
}
