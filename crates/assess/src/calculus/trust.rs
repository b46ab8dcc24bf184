//! Trust and trustworthiness over a graph of components (paper, sections 3.2 and 3.3).
use super::CalculusError;

/// The most components.
pub const COMPONENTS_MAX: usize = 1_000;

/// A component, and how well it keeps its promise when what it relies on does.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// For messages.
    pub name: String,
    /// Pr_o, assessed.
    pub coverage: f64,
    /// How much of what it relies on must hold.
    pub need: Need,
}

/// How much of what a component relies on must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Everything.
    All,
    /// So many.
    AtLeast(usize),
}

/// `by` relies on `on`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reliance {
    /// Who trusts.
    pub by: usize,
    /// Whom.
    pub on: usize,
    /// Coverage that is required of it: how far it is trusted.
    pub required: f64,
}

/// Who trusts whom.
#[derive(Clone, Debug)]
pub struct TrustGraph {}

/// What a component deserves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trustworthiness {
    /// Pr_o, its own.
    pub own: f64,
    /// Pr_a, with all it relies on, what is shared counted once.
    pub exact: f64,
    /// The same if what is shared were counted as often as it is used.
    pub as_if_apart: f64,
}

/// A component trusted beyond its trustworthiness.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OverTrust {
    /// Index of the reliance.
    pub reliance: usize,
    /// How far it is trusted.
    pub required: f64,
    /// How far it deserves to be.
    pub deserved: f64,
}

impl TrustGraph {
    /// Checks indices, coverages and cycles.
    pub fn new(
        _components: Vec<Component>,
        _reliances: Vec<Reliance>,
    ) -> Result<Self, CalculusError> {
        todo!()
    }
    /// Of every component, in order.
    pub fn trustworthiness(&self) -> Result<Vec<Trustworthiness>, CalculusError> {
        todo!()
    }
    /// Every reliance where required exceeds deserved.
    pub fn over_trusted(&self) -> Result<Vec<OverTrust>, CalculusError> {
        todo!()
    }
}
