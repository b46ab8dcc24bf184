//! Attack trees with shared parts.
use super::CalculusError;

/// The most nodes.
pub const ATTACK_NODES_MAX: usize = 1_000;

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
        /// Money.
        cost: f64,
        /// Probability that it succeeds, when tried.
        probability: f64,
    },
    /// All of these nodes.
    All(Vec<usize>),
    /// Any of these.
    Any(Vec<usize>),
    /// At least so many of these.
    AtLeast(usize, Vec<usize>),
}

/// An attack tree; a node may be part of several others.
#[derive(Clone, Debug)]
pub struct AttackTree {}

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
    /// Checks indices, numbers and cycles.
    pub fn new(_nodes: Vec<AttackNode>, _root: usize) -> Result<Self, CalculusError> {
        todo!()
    }
    /// The set of steps of least cost that reaches the goal if all succeed.
    pub fn cheapest(&self) -> Result<CheapestPath, CalculusError> {
        todo!()
    }
    /// Probability that the goal is reached when every step is tried.
    pub fn probability(&self) -> Result<f64, CalculusError> {
        todo!()
    }
}
