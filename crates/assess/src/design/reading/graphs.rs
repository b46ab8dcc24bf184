//! The trust graph and the attack trees.

use super::faults::Faults;
use super::structure::Node;
use super::{check_unique, cycles, money, name, position, positions, probability, required_text};
use crate::design::fault::Mistake;
use crate::design::service::{Property, Service};
use crate::design::tree::{AttackTree, Gate, TreeNode};
use crate::design::trust::{Component, Dependence};

pub(super) fn components(root: &Node, faults: &mut Faults<'_>) -> Vec<Component> {
    let nodes = root.many("components");
    check_unique(nodes, "[[components]]", faults);
    let names: Vec<&str> = nodes.iter().filter_map(|node| node.text("name")).collect();
    let components: Vec<Component> = nodes
        .iter()
        .map(|node| Component {
            name: name(node),
            coverage: probability(node, "coverage"),
            depends: depends(node, &names, faults),
        })
        .collect();
    let edges: Vec<Vec<usize>> =
        components.iter().map(|it| it.depends.iter().map(|edge| edge.on).collect()).collect();
    let line = |position: usize| nodes.get(position).map_or(0, |node| node.line);
    cycles::check(&names, &edges, "components depend on each other", line, faults);
    components
}

fn depends(node: &Node, names: &[&str], faults: &mut Faults<'_>) -> Vec<Dependence> {
    let nodes = node.many("depends");
    let named: Vec<(usize, String)> =
        nodes.iter().map(|it| (it.line_of("on"), required_text(it, "on"))).collect();
    // Names that are unknown or stand twice are faults, and so the lists may differ.
    let found = positions(&named, names, "[[components]]", faults);
    let dependence = |(on, node)| Dependence { on, required: probability(node, "required") };
    found.into_iter().zip(nodes).map(dependence).collect()
}

pub(super) fn attack_trees(
    root: &Node,
    services: &[Service],
    faults: &mut Faults<'_>,
) -> Vec<AttackTree> {
    let nodes = root.many("attack_trees");
    check_unique(nodes, "[[attack_trees]]", faults);
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    let mut trees = Vec::new();
    for node in nodes {
        let service = required_text(node, "service");
        let line = node.line_of("service");
        let service = position(&service, &names, "[[services]]", line, faults);
        let property = node.text("property");
        let property = Property::ALL.into_iter().find(|it| Some(it.name()) == property);
        let property = property.expect("one of the words");
        if service.and_then(|it| services.get(it)).is_some_and(|it| it.loss(property).is_none()) {
            let what = format!("the tree breaks {}, which is not promised", property.name());
            let hint = "add it to [services.promises], or drop the tree".to_owned();
            faults.add_at(node.line_of("property"), Mistake::Conflict { what }, hint);
        }
        let (root, nodes) = tree_nodes(node, faults);
        let service = service.unwrap_or_default();
        trees.push(AttackTree { name: name(node), service, property, root, nodes });
    }
    trees
}

/// The position of the goal, and all nodes.
fn tree_nodes(tree: &Node, faults: &mut Faults<'_>) -> (usize, Vec<TreeNode>) {
    let nodes = tree.many("nodes");
    check_unique(nodes, "[[attack_trees.nodes]]", faults);
    let names: Vec<&str> = nodes.iter().filter_map(|node| node.text("name")).collect();
    let goal = required_text(tree, "root");
    let line = tree.line_of("root");
    let root = position(&goal, &names, "[[attack_trees.nodes]]", line, faults).unwrap_or_default();
    let converted: Vec<TreeNode> = nodes
        .iter()
        .map(|node| TreeNode { name: name(node), gate: gate(node, &names, faults) })
        .collect();
    let children = |node: &TreeNode| match &node.gate {
        Gate::Leaf { .. } => Vec::new(),
        Gate::All(children) | Gate::Any(children) | Gate::AtLeast(_, children) => children.clone(),
    };
    let edges: Vec<Vec<usize>> = converted.iter().map(children).collect();
    let line = |position: usize| nodes.get(position).map_or(0, |node| node.line);
    cycles::check(&names, &edges, "nodes of a tree lead to each other", line, faults);
    (root, converted)
}

fn gate(node: &Node, names: &[&str], faults: &mut Faults<'_>) -> Gate {
    let word = node.text("gate").unwrap_or_default();
    let is_leaf = word == "leaf";
    let is_counted = word == "at-least";
    for (key, belongs) in
        [("cost", is_leaf), ("probability", is_leaf), ("children", !is_leaf), ("k", is_counted)]
    {
        if node.has(key) != belongs {
            let what = if belongs {
                format!("a node with gate `{word}` needs `{key}`")
            } else {
                format!("a node with gate `{word}` has no `{key}`")
            };
            let hint = "leaves have cost and probability, the others children; only `at-least` k";
            faults.add_at(node.line_of(key), Mistake::Conflict { what }, hint.to_owned());
            return Gate::Any(Vec::new());
        }
    }
    if is_leaf {
        return Gate::Leaf {
            cost: money(node, "cost"),
            probability: probability(node, "probability"),
        };
    }
    let named = node.names("children").unwrap_or_default();
    let children = positions(named, names, "[[attack_trees.nodes]]", faults);
    match word {
        "all" => Gate::All(children),
        "any" => Gate::Any(children),
        _ => {
            let k = node.count("k").and_then(|k| usize::try_from(k).ok()).unwrap_or_default();
            if k > named.len() {
                let what = format!("k = {k} of {} children", named.len());
                let hint = "lower k, or name more children".to_owned();
                faults.add_at(node.line_of("k"), Mistake::Conflict { what }, hint);
            }
            Gate::AtLeast(k, children)
        }
    }
}
