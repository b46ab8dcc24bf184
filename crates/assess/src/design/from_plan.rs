//! A cluster's plan as a design: what the plan knows, and assumptions to be replaced.

use ravelin_model::plan::{ClusterPlan, Member};

use super::estimate::{
    Estimate, HOURS_PER_DAY, HOURS_PER_YEAR, Hours, Money, PerHour, Probability,
};
use super::host::{CommonMode, Host, LabelKind, Wormhole};
use super::service::{
    AtRest, FaultModel, Property, Rejuvenation, Repairers, Root, Service, State, Strategy,
};
use super::threat::{Attack, Attacker, Exploit, Vulnerability};
use super::{Costs, Design};

/// The kind of wormhole that a plan says nothing about.
const WORMHOLE: &str = "process";

impl Design {
    /// The design of a cluster: its servers with the labels of the plan, n, f and fault model.
    /// Everything else is assumed, and says so: replace it by what is known.
    ///
    /// The plan is taken at its word; `ClusterPlan::check` tells whether it fits together.
    #[must_use]
    pub fn from_plan(plan: &ClusterPlan) -> Self {
        let is_hybrid = plan.fault_model == ravelin_model::FaultModel::Hybrid;
        let hosts: Vec<Host> = plan.members.iter().map(|it| host(it, is_hybrid)).collect();
        let coverage = noted(Probability(0.9), "how is the wormhole isolated from its payload?");
        let wormholes = is_hybrid.then(|| Wormhole { name: WORMHOLE.to_owned(), coverage });
        Self {
            file: String::new(),
            name: plan.name.clone(),
            description: format!("From the plan of epoch {}.", plan.epoch.0),
            currency: "EUR".to_owned(),
            mission: noted(Hours(HOURS_PER_YEAR), "for how long must it hold?"),
            acceptable_risk: noted(Probability(0.01), "what risk do you accept?"),
            attacker: Attacker { budget: noted(Money(100_000.0), "who attacks?") },
            attacks: vec![attack()],
            vulnerabilities: vec![vulnerability(hosts.len())],
            common_mode: common_mode(),
            services: vec![service(plan, hosts.len())],
            wormholes: wormholes.into_iter().collect(),
            hosts,
            components: Vec::new(),
            attack_trees: Vec::new(),
            costs: Costs::default(),
        }
    }
}

/// An assumption with what it asks for.
fn noted<T>(value: T, note: &str) -> Estimate<T> {
    Estimate { note: Some(note.to_owned()), ..Estimate::assumed(value) }
}

fn host(member: &Member, is_hybrid: bool) -> Host {
    let known = |value: &str| Some(value.to_owned()).filter(|value| !value.trim().is_empty());
    let labels = LabelKind::ALL.map(|kind| match kind {
        LabelKind::Site => known(&member.labels.zone),
        LabelKind::Administrator => known(&member.labels.administrator),
        LabelKind::OperatingSystem => known(&member.labels.os),
        LabelKind::Wormhole => is_hybrid.then(|| WORMHOLE.to_owned()),
        // A plan does not say; a shared build is what clusters have unless somebody cared.
        LabelKind::Build => Some("the same".to_owned()),
        LabelKind::Hardware => None,
    });
    Host { name: member.name.clone(), labels }
}

fn attack() -> Attack {
    Attack {
        name: "exploit of the exposed service".to_owned(),
        rate: noted(PerHour(6.0 / HOURS_PER_YEAR), "how often is one server attacked?"),
        cost: noted(Money(30_000.0), "what does an exploit cost?"),
        cost_again: noted(Money(500.0), "and its second use?"),
        prevented: Estimate::assumed(Probability(0.0)),
        exploits: vec![Exploit { vulnerability: 0, success: Estimate::assumed(Probability(0.5)) }],
    }
}

fn vulnerability(hosts: usize) -> Vulnerability {
    Vulnerability {
        name: "operating system".to_owned(),
        hosts: (0..hosts).collect(),
        disclosure: noted(PerHour(3.0 / HOURS_PER_YEAR), "how often is one published?"),
        patch: noted(PerHour(0.1 / HOURS_PER_DAY), "how fast do you patch?"),
        prevented: Estimate::assumed(Probability(0.0)),
    }
}

fn common_mode() -> CommonMode {
    let share = |kind: &LabelKind| match kind {
        LabelKind::Site => Some(0.01),
        LabelKind::Administrator => Some(0.05),
        LabelKind::OperatingSystem => Some(0.1),
        LabelKind::Build => Some(0.04),
        LabelKind::Hardware | LabelKind::Wormhole => None,
    };
    let estimate = |kind| share(&kind).map(|it| Estimate::assumed(Probability(it)));
    CommonMode { shares: LabelKind::ALL.map(estimate) }
}

fn service(plan: &ClusterPlan, hosts: usize) -> Service {
    let loss = |property| (property, noted(Money(100_000.0), "what is lost?"));
    Service {
        name: "cluster".to_owned(),
        line: 0,
        hosts: (0..hosts).collect(),
        f: plan.f,
        fault_model: match plan.fault_model {
            ravelin_model::FaultModel::Arbitrary => FaultModel::Arbitrary,
            ravelin_model::FaultModel::Hybrid => FaultModel::Hybrid,
            ravelin_model::FaultModel::Asynchronous => FaultModel::Asynchronous,
        },
        strategy: Strategy::NonStop,
        state: State::Sealed,
        at_rest: AtRest::File,
        promises: Property::ALL.map(loss).to_vec(),
        share_epoch: Some(Estimate::assumed(Hours(30.0 * HOURS_PER_DAY))),
        detection: noted(Probability(0.8), "how many intrusions are noticed?"),
        latency: noted(Hours(2.0 * HOURS_PER_DAY), "after how long?"),
        recovery: noted(Hours(8.0), "until the server is clean again?"),
        repairers: Repairers::Parallel,
        rejuvenation: Some(Rejuvenation {
            period: noted(Hours(30.0 * HOURS_PER_DAY), "do you rejuvenate?"),
            downtime: Estimate::assumed(Hours(0.25)),
            at_once: 1,
            root: Root::None,
        }),
        outages: None,
        recoverable: None,
    }
}

#[cfg(test)]
mod tests;
