//! Attack trees: how a promise is broken, step by step.

use super::estimate::{Estimate, Money, Probability};
use super::service::Property;

/// One goal of an attacker, and the ways to it. Nodes may be shared by several parents; there are
/// no cycles.
#[derive(Clone, Debug, PartialEq)]
pub struct AttackTree {
    /// A name for people.
    pub name: String,
    /// The service whose promise the goal breaks, as a position in [`super::Design::services`].
    pub service: usize,
    /// The promise.
    pub property: Property,
    /// The goal, as a position in `nodes`.
    pub root: usize,
    /// Goals, steps between, and leaves.
    pub nodes: Vec<TreeNode>,
}

/// A node of an attack tree.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeNode {
    /// A name for people.
    pub name: String,
    /// How it is reached.
    pub gate: Gate,
}

/// How a node is reached. Children are positions in [`AttackTree::nodes`].
#[derive(Clone, Debug, PartialEq)]
pub enum Gate {
    /// By an attack of its own.
    Leaf {
        /// What it costs the attacker.
        cost: Estimate<Money>,
        /// That it succeeds, if tried.
        probability: Estimate<Probability>,
    },
    /// By all of its children.
    All(Vec<usize>),
    /// By any of its children.
    Any(Vec<usize>),
    /// By `k` of its children.
    AtLeast(usize, Vec<usize>),
}
