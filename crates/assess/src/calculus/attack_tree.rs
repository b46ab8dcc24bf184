//! Attack trees: what the attacker must do, what it costs, how likely it succeeds.
//!
//! A goal is reached by all, any or some of other goals, down to single steps; a step or goal may serve several
//! others (then the tree is a graph). What is done once serves everywhere: the cheapest way pays for a shared step
//! once, and the probability counts it once, both exactly by a decision diagram.
//!
//! A step that never succeeds is on no way: what goes through it only cannot be done.
//!
//! Set the cost of the cheapest way against the value of what it opens: a system whose intrusion costs
//! more than it brings is not worth attacking.
//!
//! # Source
//! The paper, section 2 (cost of intruding, value of assets, acceptable risk); B. Schneier, *Attack trees*, Dr.
//! Dobb's Journal, December 1999.

use super::CalculusError;
use super::diagram::{Diagram, Function};
use super::graph;

/// The most nodes.
pub const ATTACK_NODES_MAX: usize = 1_000;
/// The most references from goals to their parts.
pub const ATTACK_PARTS_MAX: usize = 10_000;

/// A node of an attack tree: a step of the attacker, or a goal made of others.
#[derive(Clone, Debug, PartialEq)]
pub struct AttackNode {
    /// For messages.
    pub name: String,
    /// What it takes.
    pub kind: AttackKind,
}

/// What it takes.
#[derive(Clone, Debug, PartialEq)]
pub enum AttackKind {
    /// One step of the attacker.
    Step {
        /// Money (of one currency), finite, at least 0.
        cost: f64,
        /// Probability that it succeeds, when tried; one of probability 0 is on no way.
        probability: f64,
    },
    /// All of these nodes, at least one.
    All(Vec<usize>),
    /// Any of these.
    Any(Vec<usize>),
    /// At least so many of these.
    AtLeast(usize, Vec<usize>),
}

/// A checked attack tree with its goal.
#[derive(Clone, Debug)]
pub struct AttackTree {
    nodes: Vec<AttackNode>,
    diagram: Diagram,
    goal: Function,
    /// The node of each variable: the steps that matter.
    steps: Vec<usize>,
}

/// The cheapest way to the goal.
#[derive(Clone, Debug, PartialEq)]
pub struct CheapestPath {
    /// Indices of the steps, ascending.
    pub steps: Vec<usize>,
    /// What they cost together.
    pub cost: f64,
    /// Probability that all of them succeed.
    pub probability: f64,
}

impl AttackTree {
    /// The tree whose goal is node `root`.
    ///
    /// # Errors
    /// [`CalculusError::Count`], [`CalculusError::Unknown`], [`CalculusError::Threshold`] (a goal of nothing
    /// included), [`CalculusError::NotAProbability`], [`CalculusError::Negative`];
    /// [`CalculusError::Cycle`] with the names along it; [`CalculusError::TooLarge`].
    pub fn new(nodes: Vec<AttackNode>, root: usize) -> Result<Self, CalculusError> {
        let count = nodes.len();
        if count == 0 || count > ATTACK_NODES_MAX {
            let (what, least, most) = ("nodes of an attack tree", 1, ATTACK_NODES_MAX);
            return Err(CalculusError::Count { what, count, least, most });
        }
        if root >= count {
            return Err(CalculusError::Unknown { what: "node", index: root, count });
        }
        let edges: Vec<Vec<usize>> = nodes.iter().map(|node| node.kind.parts().to_vec()).collect();
        let parts = edges.iter().map(Vec::len).sum::<usize>();
        if parts > ATTACK_PARTS_MAX {
            let (what, most) = ("parts of an attack tree", ATTACK_PARTS_MAX);
            return Err(CalculusError::Count { what, count: parts, least: 0, most });
        }
        nodes.iter().try_for_each(check)?;
        let name = |index: usize| nodes.get(index).map_or_else(String::new, |it| it.name.clone());
        let order = graph::order(&edges, "node", &name)?;
        let is_step = |index: &usize| {
            nodes.get(*index).is_some_and(|node| matches!(node.kind, AttackKind::Step { .. }))
        };
        // In the order of the walk, steps of one goal stand together, which keeps the diagram small.
        let steps: Vec<usize> = order.iter().copied().filter(is_step).collect();
        let mut diagram = Diagram::new(steps.len())?;
        let mut functions = vec![diagram.constant(false); count];
        let mut next_step = 0;
        for &index in &order {
            let Some(node) = nodes.get(index) else { continue };
            let parts = node.kind.parts().iter();
            let parts: Vec<Function> =
                parts.filter_map(|part| functions.get(*part).copied()).collect();
            let function = match &node.kind {
                AttackKind::Step { .. } => {
                    next_step += 1;
                    diagram.variable(next_step - 1)?
                }
                AttackKind::All(_) => diagram.all(&parts)?,
                AttackKind::Any(_) => diagram.any(&parts)?,
                AttackKind::AtLeast(k, _) => diagram.at_least(*k, &parts)?,
            };
            if let Some(place) = functions.get_mut(index) {
                *place = function;
            }
        }
        let goal = functions.get(root).copied().ok_or(CalculusError::Unreachable)?;
        Ok(Self { nodes, diagram, goal, steps })
    }

    /// The nodes, as given.
    #[must_use]
    pub fn nodes(&self) -> &[AttackNode] {
        &self.nodes
    }

    /// The set of steps of least total cost that reaches the goal if all of them succeed, each of which can;
    /// `None` where every way goes through a step that never succeeds.
    #[must_use]
    pub fn cheapest(&self) -> Option<CheapestPath> {
        let costs = self.steps_with(|cost, probability| match probability > 0.0 {
            true => cost,
            false => f64::INFINITY,
        });
        let (chosen, cost) = self.diagram.cheapest(self.goal, &costs)?;
        let probabilities = self.steps_with(|_, probability| probability);
        let probability =
            chosen.iter().filter_map(|variable| probabilities.get(*variable)).product();
        let mut steps: Vec<usize> =
            chosen.iter().filter_map(|variable| self.steps.get(*variable).copied()).collect();
        steps.sort_unstable();
        Some(CheapestPath { steps, cost, probability })
    }

    /// The probability that the goal is reached when every step is tried, independently.
    ///
    /// # Errors
    /// None that [`AttackTree::new`] has not found already.
    pub fn probability(&self) -> Result<f64, CalculusError> {
        self.diagram.probability(self.goal, &self.steps_with(|_, probability| probability))
    }

    /// How much likelier the goal is when a step succeeds than when it fails (Birnbaum), as pairs of node index
    /// and importance, in the order given: where prevention pays most.
    ///
    /// # Errors
    /// As [`AttackTree::probability`].
    pub fn importance(&self) -> Result<Vec<(usize, f64)>, CalculusError> {
        let probabilities = self.steps_with(|_, probability| probability);
        let importance = self.diagram.importance(self.goal, &probabilities)?;
        let mut pairs: Vec<(usize, f64)> = self.steps.iter().copied().zip(importance).collect();
        pairs.sort_unstable_by_key(|(index, _)| *index);
        Ok(pairs)
    }

    fn steps_with(&self, read: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        let step = |index: &usize| match self.nodes.get(*index).map(|node| &node.kind) {
            Some(AttackKind::Step { cost, probability }) => read(*cost, *probability),
            _ => 0.0,
        };
        self.steps.iter().map(step).collect()
    }
}

impl AttackKind {
    fn parts(&self) -> &[usize] {
        match self {
            Self::Step { .. } => &[],
            Self::All(parts) | Self::Any(parts) | Self::AtLeast(_, parts) => parts,
        }
    }
}

fn check(node: &AttackNode) -> Result<(), CalculusError> {
    let wanted = match &node.kind {
        AttackKind::Step { cost, probability } => {
            if !cost.is_finite() || *cost < 0.0 {
                let name = format!("the cost of {}", node.name);
                return Err(CalculusError::Negative { name, value: *cost });
            }
            if !(0.0..=1.0).contains(probability) {
                let name = format!("the probability of {}", node.name);
                return Err(CalculusError::NotAProbability { name, value: *probability });
            }
            return Ok(());
        }
        AttackKind::All(_) | AttackKind::Any(_) => 1,
        AttackKind::AtLeast(wanted, _) => *wanted,
    };
    let given = node.kind.parts().len();
    if wanted == 0 || wanted > given {
        return Err(CalculusError::Threshold { name: node.name.clone(), wanted, given });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
