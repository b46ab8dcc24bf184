//! The trust graph: what depends on what, how far it is trusted, and how far it deserves it.

use super::estimate::{Estimate, Probability};

/// A component with the coverage that it adds itself (section 3.3 of the paper).
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// A name for people.
    pub name: String,
    /// Probability that it keeps its properties, given that all it depends on keep theirs: Pr_o;
    /// for one that depends on nothing, Pr_e.
    pub coverage: Estimate<Probability>,
    /// What it depends on. There are no cycles.
    pub depends: Vec<Dependence>,
}

/// One component trusting another.
#[derive(Clone, Debug, PartialEq)]
pub struct Dependence {
    /// Position in [`super::Design::components`].
    pub on: usize,
    /// How far it is trusted: the coverage that the design counts on.
    pub required: Estimate<Probability>,
}
