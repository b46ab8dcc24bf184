//! Every estimated number of a design, one by one: for sensitivity, for counting origins, and for
//! looking for the number that deserves to be measured.

use super::Design;
use super::estimate::{Estimate, Hours, Money, Origin, PerHour, Probability};
use super::host::LabelKind;
use super::service::Service;
use super::tree::{Gate, TreeNode};

/// Unit of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputUnit {
    /// Hours, above zero.
    Hours,
    /// Per hour, above zero.
    PerHour,
    /// In `0..=1`.
    Probability,
    /// The design's currency.
    Money,
}

/// One estimated number of a design.
#[derive(Debug)]
pub struct Input<'a> {
    /// Where it stands, such as `attacks.phishing.rate`.
    pub path: String,
    /// Its unit.
    pub unit: InputUnit,
    /// Where it comes from.
    pub origin: Origin,
    /// The number, to be read or changed.
    pub value: &'a mut f64,
}

/// A number that knows its unit.
trait Amount {
    const UNIT: InputUnit;
    fn number(&mut self) -> &mut f64;
}

impl Amount for Hours {
    const UNIT: InputUnit = InputUnit::Hours;
    fn number(&mut self) -> &mut f64 {
        &mut self.0
    }
}

impl Amount for PerHour {
    const UNIT: InputUnit = InputUnit::PerHour;
    fn number(&mut self) -> &mut f64 {
        &mut self.0
    }
}

impl Amount for Probability {
    const UNIT: InputUnit = InputUnit::Probability;
    fn number(&mut self) -> &mut f64 {
        &mut self.0
    }
}

impl Amount for Money {
    const UNIT: InputUnit = InputUnit::Money;
    fn number(&mut self) -> &mut f64 {
        &mut self.0
    }
}

/// What visits inputs.
type Visitor<'v> = dyn FnMut(Input<'_>) + 'v;

fn visit<T: Amount>(path: String, estimate: &mut Estimate<T>, visitor: &mut Visitor<'_>) {
    let (unit, origin) = (T::UNIT, estimate.origin);
    visitor(Input { path, unit, origin, value: estimate.value.number() });
}

impl Design {
    /// Shows every estimated number to `visitor`, always in the same order. Whoever changes one keeps
    /// it in its range.
    pub fn visit_inputs(&mut self, visitor: &mut dyn FnMut(Input<'_>)) {
        visit("mission.time".to_owned(), &mut self.mission, visitor);
        visit("mission.acceptable_risk".to_owned(), &mut self.acceptable_risk, visitor);
        visit("attacker.budget".to_owned(), &mut self.attacker.budget, visitor);
        self.visit_threats(visitor);
        for (kind, share) in LabelKind::ALL.into_iter().zip(&mut self.common_mode.shares) {
            if let Some(share) = share {
                visit(format!("common_mode.{}", kind.name()), share, visitor);
            }
        }
        for wormhole in &mut self.wormholes {
            let path = format!("wormholes.{}.coverage", wormhole.name);
            visit(path, &mut wormhole.coverage, visitor);
        }
        for service in &mut self.services {
            visit_service(service, visitor);
        }
        for component in &mut self.components {
            let path = format!("components.{}", component.name);
            visit(format!("{path}.coverage"), &mut component.coverage, visitor);
            for dependence in &mut component.depends {
                let path = format!("{path}.depends.{}.required", dependence.on);
                visit(path, &mut dependence.required, visitor);
            }
        }
        for tree in &mut self.attack_trees {
            for TreeNode { name, gate } in &mut tree.nodes {
                if let Gate::Leaf { cost, probability } = gate {
                    let path = format!("attack_trees.{}.{name}", tree.name);
                    visit(format!("{path}.cost"), cost, visitor);
                    visit(format!("{path}.probability"), probability, visitor);
                }
            }
        }
        let costs = &mut self.costs;
        for (name, cost) in [
            ("server", &mut costs.server),
            ("diversity", &mut costs.diversity),
            ("rejuvenation", &mut costs.rejuvenation),
            ("wormhole", &mut costs.wormhole),
            ("isolation", &mut costs.isolation),
        ] {
            if let Some(cost) = cost {
                visit(format!("costs.{name}"), cost, visitor);
            }
        }
    }

    fn visit_threats(&mut self, visitor: &mut Visitor<'_>) {
        for attack in &mut self.attacks {
            let path = format!("attacks.{}", attack.name);
            visit(format!("{path}.rate"), &mut attack.rate, visitor);
            visit(format!("{path}.cost"), &mut attack.cost, visitor);
            visit(format!("{path}.cost_again"), &mut attack.cost_again, visitor);
            visit(format!("{path}.prevented"), &mut attack.prevented, visitor);
            for exploit in &mut attack.exploits {
                let target = self.vulnerabilities.get(exploit.vulnerability);
                let target = target.map_or("", |it| it.name.as_str());
                visit(format!("{path}.exploits.{target}.success"), &mut exploit.success, visitor);
            }
        }
        for vulnerability in &mut self.vulnerabilities {
            let path = format!("vulnerabilities.{}", vulnerability.name);
            visit(format!("{path}.disclosure"), &mut vulnerability.disclosure, visitor);
            visit(format!("{path}.patch"), &mut vulnerability.patch, visitor);
            visit(format!("{path}.prevented"), &mut vulnerability.prevented, visitor);
        }
    }

    /// How many estimated numbers have each origin, most reliable first. A number that is 0 changes
    /// nothing, and does not count.
    #[must_use]
    pub fn origins(&self) -> Vec<(Origin, usize)> {
        let mut counts = Origin::ALL.map(|origin| (origin, 0));
        self.clone().visit_inputs(&mut |input| {
            for (origin, count) in &mut counts {
                *count += usize::from(*origin == input.origin && *input.value > 0.0);
            }
        });
        counts.to_vec()
    }
}

fn visit_service(service: &mut Service, visitor: &mut Visitor<'_>) {
    let path = format!("services.{}", service.name);
    for (promise, loss) in &mut service.promises {
        visit(format!("{path}.promises.{}", promise.name()), loss, visitor);
    }
    if let Some(epoch) = &mut service.share_epoch {
        visit(format!("{path}.share_epoch"), epoch, visitor);
    }
    visit(format!("{path}.detection"), &mut service.detection, visitor);
    visit(format!("{path}.latency"), &mut service.latency, visitor);
    visit(format!("{path}.recovery"), &mut service.recovery, visitor);
    if let Some(turns) = &mut service.rejuvenation {
        visit(format!("{path}.rejuvenation.period"), &mut turns.period, visitor);
        visit(format!("{path}.rejuvenation.downtime"), &mut turns.downtime, visitor);
    }
    if let Some(outages) = &mut service.outages {
        visit(format!("{path}.outages.rate"), &mut outages.rate, visitor);
        visit(format!("{path}.outages.duration"), &mut outages.duration, visitor);
    }
    if let Some(times) = &mut service.recoverable {
        visit(format!("{path}.recoverable.time_to_fall"), &mut times.time_to_fall, visitor);
        visit(format!("{path}.recoverable.time_to_recover"), &mut times.time_to_recover, visitor);
        visit(format!("{path}.recoverable.attack"), &mut times.attack, visitor);
    }
}
