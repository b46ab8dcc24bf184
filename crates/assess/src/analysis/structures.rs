//! The trust graph, the attack trees and the sets of labels, as the calculus computes them.

use super::error::AnalysisError;
use super::result::{
    AttackTreeResult, CutSearch, CutSet, TreeNodeResult, TrustEdge, TrustGraph, TrustNode,
};
use crate::calculus::attack_tree::{self, AttackKind, AttackNode};
use crate::calculus::cuts::{self, Label};
use crate::calculus::{CalculusError, trust};
use crate::design::{AttackTree, Design, Gate, LabelKind, Service};

/// Label values that fall together at most, in sets that are looked for.
pub(super) const CUT_SIZE_MAX: usize = 4;
/// Sets that are told of one service.
pub(super) const CUTS_TOLD_MAX: usize = 32;

/// The trust graph with what each component deserves.
pub(super) fn trust(design: &Design) -> Result<TrustGraph, AnalysisError> {
    let told = |error| AnalysisError::structure(design, "the trust graph", error);
    if design.components.is_empty() {
        return Ok(TrustGraph { nodes: Vec::new(), edges: Vec::new() });
    }
    let own: Vec<f64> = design.components.iter().map(|it| it.coverage.value.0).collect();
    let deserved = deserved(design, &own).map_err(told)?;
    let mut nodes = Vec::new();
    for (position, component) in design.components.iter().enumerate() {
        nodes.push(TrustNode {
            name: component.name.clone(),
            own: component.coverage.value.0,
            assessed: deserved.get(position).copied().unwrap_or_default(),
            importance: importance(design, &own, position).map_err(told)?,
        });
    }
    let mut edges = Vec::new();
    for component in &design.components {
        for dependence in &component.depends {
            let assessed = deserved.get(dependence.on).copied().unwrap_or_default();
            let required = dependence.required.value.0;
            let to = design.components.get(dependence.on).map_or("", |it| it.name.as_str());
            edges.push(TrustEdge {
                from: component.name.clone(),
                to: to.to_owned(),
                required,
                assessed,
                // What rounding alone makes of it is no distrust.
                is_over_trusted: required > assessed + 1e-12,
            });
        }
    }
    Ok(TrustGraph { nodes, edges })
}

/// What each component deserves, were these the coverages that each adds itself.
fn deserved(design: &Design, own: &[f64]) -> Result<Vec<f64>, CalculusError> {
    let components = design.components.iter().zip(own).map(|(component, own)| trust::Component {
        name: component.name.clone(),
        coverage: *own,
        need: trust::Need::All,
    });
    let mut reliances = Vec::new();
    for (by, component) in design.components.iter().enumerate() {
        for dependence in &component.depends {
            let required = dependence.required.value.0;
            reliances.push(trust::Reliance { by, on: dependence.on, required });
        }
    }
    let graph = trust::TrustGraph::new(components.collect(), reliances)?;
    Ok(graph.trustworthiness()?.iter().map(|it| it.exact).collect())
}

/// By how much those that nothing depends on would fall at most, were a component to fail instead of to hold
/// (Birnbaum's importance).
fn importance(design: &Design, own: &[f64], position: usize) -> Result<f64, CalculusError> {
    let with = |value: f64| {
        let mut changed = own.to_vec();
        if let Some(coverage) = changed.get_mut(position) {
            *coverage = value;
        }
        deserved(design, &changed)
    };
    let (holds, fails) = (with(1.0)?, with(0.0)?);
    let is_top =
        |at: usize| !design.components.iter().any(|it| it.depends.iter().any(|edge| edge.on == at));
    let falls = holds.iter().zip(&fails).enumerate().filter(|(at, _)| is_top(*at));
    Ok(falls.map(|(_, (holds, fails))| holds - fails).fold(0.0, f64::max))
}

/// Every attack tree with its cheapest path.
pub(super) fn trees(design: &Design) -> Result<Vec<AttackTreeResult>, AnalysisError> {
    let one = |it: &AttackTree| {
        let what = format!("the attack tree `{}`", it.name);
        tree(design, it).map_err(|error| AnalysisError::structure(design, &what, error))
    };
    design.attack_trees.iter().map(one).collect()
}

fn tree(design: &Design, tree: &AttackTree) -> Result<AttackTreeResult, CalculusError> {
    let node = |node: &crate::design::TreeNode| AttackNode {
        name: node.name.clone(),
        kind: match &node.gate {
            Gate::Leaf { cost, probability } => {
                AttackKind::Step { cost: cost.value.0, probability: probability.value.0 }
            }
            Gate::All(children) => AttackKind::All(children.clone()),
            Gate::Any(children) => AttackKind::Any(children.clone()),
            Gate::AtLeast(k, children) => AttackKind::AtLeast(*k, children.clone()),
        },
    };
    let computed = attack_tree::AttackTree::new(tree.nodes.iter().map(node).collect(), tree.root)?;
    let cheapest = computed.cheapest();
    let cost = cheapest.as_ref().map(|it| it.cost);
    let steps = cheapest.map(|it| it.steps).unwrap_or_default();
    let service = design.services.get(tree.service);
    let loss = service.and_then(|it| it.loss(tree.property)).unwrap_or_default();
    let name = |position: &usize| tree.nodes.get(*position).map(|node| node.name.clone());
    Ok(AttackTreeResult {
        name: tree.name.clone(),
        service: service.map(|it| it.name.clone()).unwrap_or_default(),
        property: tree.property,
        cost,
        path: steps.iter().filter_map(name).collect(),
        probability: computed.probability()?,
        is_affordable: cost.is_some_and(|cost| cost <= design.attacker.budget.value.0),
        is_worthwhile: cost.is_some_and(|cost| cost < loss),
        nodes: drawn(tree, &steps),
    })
}

/// The nodes below the root for drawing, the root first, with those on the cheapest path marked.
fn drawn(tree: &AttackTree, steps: &[usize]) -> Vec<TreeNodeResult> {
    // Breadth first from the root: what the root does not reach is not drawn.
    let mut order = vec![tree.root];
    let mut next = 0;
    while let Some(at) = order.get(next).copied() {
        for child in tree.nodes.get(at).map(|node| children(&node.gate)).unwrap_or_default() {
            if !order.contains(child) {
                order.push(*child);
            }
        }
        next += 1;
    }
    let on_path = reached(tree, steps);
    let place = |child: &usize| order.iter().position(|it| it == child);
    let drawn = |at: &usize| {
        let node = tree.nodes.get(*at)?;
        let (gate, cost, probability) = match &node.gate {
            Gate::Leaf { cost, probability } => {
                ("leaf".to_owned(), Some(cost.value.0), Some(probability.value.0))
            }
            Gate::All(_) => ("all".to_owned(), None, None),
            Gate::Any(_) => ("any".to_owned(), None, None),
            Gate::AtLeast(k, _) => (format!("{k} of"), None, None),
        };
        Some(TreeNodeResult {
            name: node.name.clone(),
            gate,
            children: children(&node.gate).iter().filter_map(place).collect(),
            is_on_path: on_path.get(*at).copied().unwrap_or_default(),
            cost,
            probability,
        })
    };
    order.iter().filter_map(drawn).collect()
}

/// Which nodes the steps reach.
fn reached(tree: &AttackTree, steps: &[usize]) -> Vec<bool> {
    let mut reached: Vec<bool> = (0..tree.nodes.len()).map(|at| steps.contains(&at)).collect();
    // There are no circles: after as many rounds as there are nodes nothing changes any more.
    for _ in 0..tree.nodes.len() {
        let mut is_changed = false;
        for (at, node) in tree.nodes.iter().enumerate() {
            let below = children(&node.gate);
            let held = below.iter().filter(|it| reached.get(**it) == Some(&true)).count();
            let holds = match &node.gate {
                Gate::Leaf { .. } => continue,
                Gate::All(_) => held == below.len(),
                Gate::Any(_) => held > 0,
                Gate::AtLeast(k, _) => held >= *k,
            };
            if let Some(mark) = reached.get_mut(at)
                && holds
                && !*mark
            {
                *mark = true;
                is_changed = true;
            }
        }
        if !is_changed {
            break;
        }
    }
    reached
}

fn children(gate: &Gate) -> &[usize] {
    match gate {
        Gate::Leaf { .. } => &[],
        Gate::All(children) | Gate::Any(children) | Gate::AtLeast(_, children) => children,
    }
}

/// Minimal sets of label values whose fall intrudes more than `f` servers of a service.
pub(super) fn cut_sets(
    design: &Design,
    service: &Service,
) -> Result<(Vec<CutSet>, CutSearch), AnalysisError> {
    let mut labels: Vec<(LabelKind, String, Vec<usize>)> = Vec::new();
    for (at, position) in service.hosts.iter().enumerate() {
        let Some(host) = design.hosts.get(*position) else { continue };
        for kind in LabelKind::ALL {
            let Some(value) = host.label(kind) else { continue };
            match labels.iter_mut().find(|(known, it, _)| *known == kind && it == value) {
                Some((_, _, servers)) => servers.push(at),
                None => labels.push((kind, value.to_owned(), vec![at])),
            }
        }
    }
    // A value that one server has alone says nothing that the server itself would not.
    labels.retain(|(_, _, servers)| servers.len() > 1 || service.n() == 1);
    let named = labels.iter().map(|(kind, value, servers)| Label {
        name: format!("{}: {value}", kind.name()),
        servers: servers.clone(),
    });
    // A minimal set has no label that adds nobody, and so no more labels than servers that must fall.
    let wanted = usize::from(service.f) + 1;
    let size_max = CUT_SIZE_MAX.min(wanted);
    let named: Vec<Label> = named.collect();
    let is_sized = wanted <= CUT_SIZE_MAX || labels.len() <= CUT_SIZE_MAX;
    let found = cuts::minimal_cuts(service.n(), service.f.into(), &named, size_max);
    let what = format!("the sets of labels of service `{}`", service.name);
    let found = found.map_err(|error| AnalysisError::structure(design, &what, error))?;
    let set = |set: &Vec<usize>| {
        let chosen: Vec<_> = set.iter().filter_map(|it| labels.get(*it)).collect();
        let mut servers: Vec<usize> =
            chosen.iter().flat_map(|(_, _, servers)| servers.iter().copied()).collect();
        servers.sort_unstable();
        servers.dedup();
        let hosts = servers.iter().filter_map(|at| service.hosts.get(*at));
        CutSet {
            labels: chosen.iter().map(|(kind, value, _)| (*kind, value.clone())).collect(),
            servers: hosts
                .filter_map(|host| design.hosts.get(*host))
                .map(|host| host.name.clone())
                .collect(),
        }
    };
    let told: Vec<CutSet> = found.sets.iter().take(CUTS_TOLD_MAX).map(set).collect();
    let search = CutSearch {
        labels_max: size_max,
        found: found.sets.len(),
        is_complete: found.complete && is_sized && told.len() == found.sets.len(),
    };
    Ok((told, search))
}
