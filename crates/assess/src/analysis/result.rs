//! The result of an assessment.

use serde::Serialize;

use crate::design::{FaultModel, LabelKind, Origin, Property, Strategy};

/// Version of the JSON form. Fields are added without a new one, and never change their meaning.
pub const ASSESSMENT_FORMAT: u32 = 1;

/// Everything that was computed of one design.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Assessment {
    /// [`ASSESSMENT_FORMAT`].
    pub format: u32,
    /// What was assessed.
    pub design: Header,
    /// What must be known before anything else is read, gravest first.
    pub warnings: Vec<Finding>,
    /// What follows from the numbers, in words.
    pub conclusions: Vec<Finding>,
    /// One entry for each service.
    pub services: Vec<ServiceResult>,
    /// From attacks to failures.
    pub avi: AviGraph,
    /// What depends on what.
    pub trust: TrustGraph,
    /// One entry for each attack tree.
    pub attack_trees: Vec<AttackTreeResult>,
    /// Every number above once more, with unit, formula and source: for tables.
    pub quantities: Vec<Quantity>,
}

/// What was assessed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Header {
    /// Name of the design.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Currency of all money.
    pub currency: String,
    /// Mission time in hours.
    pub mission_h: f64,
    /// Risk that is accepted, per service.
    pub acceptable_risk: f64,
    /// Number of hosts.
    pub hosts: usize,
    /// How many input numbers have each origin: measured, expert, assumed.
    pub origins: Vec<(Origin, usize)>,
}

/// A warning or a conclusion.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Stable name for scripts, such as `replication-makes-worse`.
    pub id: String,
    /// How grave it is.
    pub severity: Severity,
    /// The service it is about, if it is about one.
    pub service: Option<String>,
    /// What is the case, in one or two sentences with numbers.
    pub text: String,
    /// What can be done; empty if nothing need be.
    pub hint: String,
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The design does not do what it is meant for.
    Grave,
    /// Something that a reader would otherwise be misled about.
    Warning,
    /// Good to know.
    Note,
}

/// One number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantity {
    /// Stable name: what `ravelin assess explain` takes, such as `risk`, `mttf`, `availability`.
    pub quantity: String,
    /// What it is about: a service, a component, a tree; empty for the design.
    pub subject: String,
    /// The promise it is about, if it is about one.
    pub property: Option<Property>,
    /// The number; `null` where it has no end.
    pub value: Option<f64>,
    /// Unit of `value`.
    pub unit: Unit,
    /// Which formula or engine gave it, such as `chain` or `beta`.
    pub formula: String,
    /// Where the formula comes from: a section of the paper, or a book.
    pub source: String,
    /// The least reliable origin of what went into it.
    pub origin: Origin,
}

/// Unit of a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// In `0..=1`.
    Probability,
    /// Hours.
    Hours,
    /// Per hour.
    PerHour,
    /// The design's currency.
    Money,
    /// A plain number.
    Number,
}

/// What was computed of one service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceResult {
    /// The service.
    pub name: String,
    /// Number of servers.
    pub n: usize,
    /// Intrusions tolerated.
    pub f: usize,
    /// What is assumed of an intruded server.
    pub fault_model: FaultModel,
    /// How it goes on under attack.
    pub strategy: Strategy,
    /// Mean rate of intrusions on one of its servers, per hour.
    pub intrusion_rate: f64,
    /// Probability that one server is intruded at least once within the mission: p.
    pub intrusion_probability: f64,
    /// Probability of more than `f` intrusions without any recovery, independent and with the
    /// design's common-mode shares.
    pub no_repair: Measure,
    /// The same of a single one of its servers: what replication is compared with.
    pub one_server: f64,
    /// The p beyond which `n` servers are worse than one; `None` for a single server.
    pub crossover: Option<f64>,
    /// Probability that more than `f` servers are intruded at once within the mission.
    pub risk: f64,
    /// Mean time until then; `None`: never.
    pub mttf_h: Option<f64>,
    /// Whether risks are those of missions, since the chains are too large, refused or merged. Mean times, shares of time,
    /// sweeps, causes and sensitivities are then missing, not without end.
    pub is_simulated: bool,
    /// The same risk by simulated missions, if any were asked for.
    pub simulated: Option<Simulated>,
    /// Each promise.
    pub properties: Vec<PropertyResult>,
    /// The probability that what does not come back by itself is lost within the mission: the larger
    /// risk of confidentiality and integrity, or that of availability where nothing else is promised.
    pub risk_any: f64,
    /// Whether `risk_any` is accepted; where it is simulated, the upper end of its interval.
    pub is_acceptable: bool,
    /// Risk over the mission, one series for each promise.
    pub risk_over_time: Vec<Series>,
    /// How risk changes when the design does.
    pub sweeps: Vec<Sweep>,
    /// What contributes to the risk: independent intrusions, each shared label, wormholes.
    pub causes: Vec<Cause>,
    /// Minimal sets of label values whose fall intrudes more than `f` servers.
    pub cuts: Vec<CutSet>,
    /// Whether those are all of them.
    pub cut_search: CutSearch,
    /// Elasticities of the risk, largest first.
    pub tornado: Vec<Elasticity>,
    /// Cost of intruding and value of what is guarded.
    pub economics: Economics,
    /// Numbers of its strategy.
    pub strategy_numbers: StrategyResult,
}

/// Risks by simulated missions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Simulated {
    /// Missions simulated.
    pub missions: u64,
    /// Share of them in which more than `f` servers were intruded at once.
    pub risk: f64,
    /// Lower end of the confidence interval.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// Confidence level of the intervals.
    pub level: f64,
    /// Each promise, in the order of the file.
    pub promises: Vec<SimulatedPromise>,
}

/// The risk of a promise by simulated missions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SimulatedPromise {
    /// The promise.
    pub property: Property,
    /// Servers that may be intruded (for availability: or absent) before it is broken.
    pub tolerated: usize,
    /// Share of missions in which it was broken.
    pub risk: f64,
    /// Lower end of the confidence interval.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
}

/// A probability under two assumptions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// Were all intrusions independent.
    pub independent: f64,
    /// With the common-mode shares of the labels that all servers have in common. Labels that only some have in
    /// common are no part of it.
    pub common_mode: f64,
    /// The total of those shares, at most 1: beta.
    pub beta: f64,
}

/// What was computed of one promise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PropertyResult {
    /// The promise.
    pub property: Property,
    /// Servers that may be intruded (for availability: or absent) before it is broken.
    pub tolerated: usize,
    /// Probability that it is broken within the mission.
    pub risk: f64,
    /// Mean time until then; `None`: never.
    pub mttf_h: Option<f64>,
    /// Share of time in which it holds, in the long run, or of the mission where unnoticed intrusions
    /// never end; `None` for confidentiality, which does not come back.
    pub availability: Option<f64>,
    /// Loss when it is broken.
    pub loss: f64,
    /// `risk` times `loss`.
    pub expected_loss: f64,
}

/// A line of a chart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// What the line is.
    pub name: String,
    /// Its points, by rising `x`.
    pub points: Vec<Point>,
}

/// A point of a line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Time in hours, or what a sweep varies.
    pub x: f64,
    /// The risk, in `0..=1`.
    pub y: f64,
}

/// How the risk changes with one property of the design, all else kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sweep {
    /// What is varied: `servers`, `tolerated`, `rejuvenation_period`, `diversity`,
    /// `wormhole_coverage`.
    pub parameter: String,
    /// The same in words, for an axis.
    pub label: String,
    /// Unit of `x`.
    pub unit: Unit,
    /// One or more lines; `wormhole_coverage` has one for hybrid and one for arbitrary.
    pub series: Vec<Series>,
    /// The `x` of the design itself, if it is one.
    pub current: Option<f64>,
    /// Where going on stops to pay: the knee of the first line, if it has one.
    pub knee: Option<Point>,
    /// What the sweep shows, in words.
    pub text: String,
}

/// A share of the risk.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cause {
    /// `independent`, or `label: value`, or `wormhole`.
    pub name: String,
    /// The risk were this cause absent.
    pub risk_without: f64,
    /// How much of the risk goes away with it, in `0..=1`.
    pub share: f64,
}

/// A minimal set of label values whose fall intrudes more than `f` servers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CutSet {
    /// The values, each with its label.
    pub labels: Vec<(LabelKind, String)>,
    /// Names of the servers that fall with them.
    pub servers: Vec<String>,
}

/// How far minimal sets of labels were looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CutSearch {
    /// Labels of the largest sets that were looked for.
    pub labels_max: usize,
    /// Sets that were found; no more than 32 of them are told.
    pub found: usize,
    /// Whether all minimal sets are told; false where the search ended before, where larger sets may
    /// exist, or where more were found than are told.
    pub is_complete: bool,
}

/// How strongly the risk depends on an input.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Elasticity {
    /// The input, as its path in the model file.
    pub input: String,
    /// Its value.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
    /// Where it comes from: a strong input that is only assumed deserves measuring.
    pub origin: Origin,
    /// Per cent by which the risk grows when the input grows by one per cent.
    pub elasticity: f64,
    /// Risk at half the input.
    pub low: f64,
    /// Risk at twice the input (probabilities: at most 1).
    pub high: f64,
}

/// Cost of intruding against value of assets (section 2.3 of the paper).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Economics {
    /// What the attacker pays for one intrusion, by the cheapest way; `None`: there is no way.
    pub cost_of_one: Option<f64>,
    /// What the attacker pays to intrude as many servers as it takes, by the cheapest way.
    pub cost_of_intruding: Option<f64>,
    /// The fewest servers whose intrusion breaks a promise: `f + 1`, fewer where less is tolerated.
    pub servers_to_intrude: usize,
    /// The exploits of that way.
    pub cheapest_way: Vec<String>,
    /// What breaking all promises is worth.
    pub value_of_assets: f64,
    /// The attacker's budget.
    pub budget: f64,
    /// Whether the budget pays the cheapest way.
    pub is_affordable: bool,
    /// Whether the assets are worth more than the cheapest way.
    pub is_worthwhile: bool,
    /// Sum over the promises of risk times loss.
    pub expected_loss: f64,
}

/// Numbers of a service's strategy (section 5 of the paper).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StrategyResult {
    /// Servers beyond what `f` and the rejuvenated ones need; negative: a rejuvenation spends one
    /// of `f`.
    pub slack: i64,
    /// Time until it falls: Tc.
    pub time_to_fall_h: Option<f64>,
    /// Time until it is back: Tr.
    pub time_to_recover_h: Option<f64>,
    /// Share of the time in which it works under a lasting attack: Tc/(Tc+Tr).
    pub duty_cycle: Option<f64>,
    /// Whether its rejuvenation keeps more than `f` servers from being intruded or absent, if an
    /// intruder needs at least one period for `f` of them; `None` without rejuvenation.
    pub is_exhaustion_safe: Option<bool>,
    /// What the numbers say, in words.
    pub text: String,
}

/// From attacks to failures, with the techniques that lower rates (figure 2 of the paper).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AviGraph {
    /// Attacks, vulnerabilities, intrusions, errors, failures.
    pub nodes: Vec<AviNode>,
    /// What leads to what.
    pub edges: Vec<AviEdge>,
}

/// A node of the AVI graph.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AviNode {
    /// Unique in the graph.
    pub id: String,
    /// For people.
    pub label: String,
    /// Which stage it is.
    pub kind: AviKind,
    /// Its rate per hour; of a vulnerability the rate of disclosures.
    pub rate: f64,
}

/// Stages of the AVI model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AviKind {
    /// Malicious attempts.
    Attack,
    /// What they activate.
    Vulnerability,
    /// What comes of both: a host is under foreign control.
    Intrusion,
    /// The wrong state that follows, until it is processed.
    Error,
    /// A promise is broken.
    Failure,
}

/// An edge of the AVI graph.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AviEdge {
    /// Id of a node.
    pub from: String,
    /// Id of a node.
    pub to: String,
    /// Rate per hour at which `from` leads to `to`.
    pub rate: f64,
    /// What the rate would be without the technique.
    pub rate_before: f64,
    /// What lowers it: `attack prevention`, `vulnerability removal`, `vulnerability prevention and removal`,
    /// `detection and recovery`, `masking, detection and recovery`; empty if nothing does.
    pub technique: String,
}

/// The trust graph (section 3.3 of the paper).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrustGraph {
    /// Components.
    pub nodes: Vec<TrustNode>,
    /// Who trusts whom.
    pub edges: Vec<TrustEdge>,
}

/// A component.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrustNode {
    /// Its name.
    pub name: String,
    /// Its own coverage: Pr_o, or Pr_e if it depends on nothing.
    pub own: f64,
    /// Its coverage with all that it depends on: Pr_a, exact with shared components.
    pub assessed: f64,
    /// By how much the coverage of those that nothing depends on falls, were it to fail (Birnbaum).
    pub importance: f64,
}

/// One component trusting another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrustEdge {
    /// Who trusts.
    pub from: String,
    /// Who is trusted.
    pub to: String,
    /// How far.
    pub required: f64,
    /// How far that is deserved.
    pub assessed: f64,
    /// Whether it is trusted beyond its trustworthiness.
    pub is_over_trusted: bool,
}

/// What was computed of one attack tree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttackTreeResult {
    /// Its name.
    pub name: String,
    /// The service.
    pub service: String,
    /// The promise that it breaks.
    pub property: Property,
    /// What the cheapest path costs whose leaves can all succeed; `None`: there is none.
    pub cost: Option<f64>,
    /// Its leaves; empty where there is none.
    pub path: Vec<String>,
    /// Probability that the goal is reached if everything is tried.
    pub probability: f64,
    /// Whether the attacker's budget pays the path.
    pub is_affordable: bool,
    /// Whether what is lost is worth more than the path costs.
    pub is_worthwhile: bool,
    /// The tree itself, for drawing: name, gate (`and`, `or`, `2 of`, `leaf`), children.
    pub nodes: Vec<TreeNodeResult>,
}

/// A node of an attack tree, for drawing. The first is the root.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TreeNodeResult {
    /// Its name.
    pub name: String,
    /// `leaf`, `all`, `any`, or `2 of`.
    pub gate: String,
    /// Positions of its children.
    pub children: Vec<usize>,
    /// Whether the cheapest path goes through it.
    pub is_on_path: bool,
    /// Cost of a leaf.
    pub cost: Option<f64>,
    /// Probability of a leaf.
    pub probability: Option<f64>,
}
