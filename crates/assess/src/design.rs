//! A design under assessment: hosts, services, threats, trust, and what everything is worth.
//!
//! [`Design`] is what a model file says once it was read and checked: holding one is proof that
//! `n`, `f` and the fault models fit together, that every number is in its range and has an
//! origin, and that every name leads somewhere. `docs/assess-model.schema.json` describes the
//! file; `examples/assess/` has four of them with comments.
//!
//! # Source
//! The paper, sections 2.3 (risk, cost of intruding, value of assets), 3.1 (attacks and
//! vulnerabilities), 3.3 (coverage) and 5 (strategies).

pub mod estimate;
pub mod fault;
mod from_plan;
pub mod host;
pub mod inputs;
pub mod limits;
mod reading;
mod schema;
mod sections;
pub mod service;
pub mod threat;
pub mod tree;
pub mod trust;
pub mod units;
mod writing;

pub use estimate::{Estimate, Hours, Money, Origin, PerHour, Probability};
pub use fault::{Fault, Mistake, ModelError};
pub use host::{CommonMode, Host, LabelKind, Wormhole};
pub use inputs::{Input, InputUnit};
pub use schema::schema;
pub use service::{
    AtRest, FaultModel, Outages, Property, Recoverable, Rejuvenation, Repairers, Root, Service,
    State, Strategy,
};
pub use threat::{Attack, Attacker, Exploit, Vulnerability};
pub use tree::{AttackTree, Gate, TreeNode};
pub use trust::{Component, Dependence};

/// A model file, read and checked. Indices into its lists are positions in the same design.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    /// Name of the file, for messages; empty for a design that was not read from one.
    pub file: String,
    /// A name for people.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// The currency of every amount of money, such as `EUR`.
    pub currency: String,
    /// For how long the services must hold.
    pub mission: Estimate<Hours>,
    /// Probability of breaking a promise within the mission that is still accepted, per service.
    pub acceptable_risk: Estimate<Probability>,
    /// Who attacks.
    pub attacker: Attacker,
    /// Attacks that are expected.
    pub attacks: Vec<Attack>,
    /// Vulnerabilities that they activate.
    pub vulnerabilities: Vec<Vulnerability>,
    /// Servers.
    pub hosts: Vec<Host>,
    /// What an intrusion has in common with those of hosts that share a label's value.
    pub common_mode: CommonMode,
    /// Kinds of wormhole that hosts may have.
    pub wormholes: Vec<Wormhole>,
    /// What the hosts do together.
    pub services: Vec<Service>,
    /// The trust graph: what depends on what, and how far it may.
    pub components: Vec<Component>,
    /// Ways to break a promise, as trees.
    pub attack_trees: Vec<AttackTree>,
    /// What changes of the design cost.
    pub costs: Costs,
}

impl Design {
    /// Reads and checks the text of a model file. `file` is its name, for messages.
    ///
    /// # Errors
    /// [`ModelError`] with every mistake found, each with line and hint; retrying does not help.
    pub fn parse(file: &str, text: &str) -> Result<Self, ModelError> {
        reading::design(file, text)
    }
}

/// What changes of the design cost over one mission. A change without a price is still advised,
/// and told to have none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Costs {
    /// One more server.
    pub server: Option<Estimate<Money>>,
    /// Giving one server another value of one label: another site, system or administrator.
    pub diversity: Option<Estimate<Money>>,
    /// One rejuvenation of one server.
    pub rejuvenation: Option<Estimate<Money>>,
    /// A wormhole for one server that had none.
    pub wormhole: Option<Estimate<Money>>,
    /// Moving one server's wormhole to the next stronger isolation.
    pub isolation: Option<Estimate<Money>>,
}
