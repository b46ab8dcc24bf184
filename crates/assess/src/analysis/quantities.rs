//! Every number of an assessment once more, with unit, formula and source.

use super::result::{AttackTreeResult, Quantity, ServiceResult, TrustGraph, Unit};
use crate::design::{Design, Origin, Property};

/// Where a quantity comes from.
struct Kind {
    quantity: &'static str,
    unit: Unit,
    formula: &'static str,
    source: &'static str,
}

const RISK: Kind = Kind {
    quantity: "risk",
    unit: Unit::Probability,
    formula: "chain: probability of first reaching more than the tolerated number by T",
    source: "section 2.3 of the paper (risk); J. Norris, Markov Chains, 1997, chapter 2",
};
const SIMULATED_RISK: Kind = Kind {
    formula: "monte-carlo: share of missions that reached more than the tolerated number",
    ..RISK
};
const MTTF: Kind = Kind {
    quantity: "mttf",
    unit: Unit::Hours,
    formula: "chain: mean time of first reaching more than the tolerated number",
    source: "section 5 of the paper; J. Norris, Markov Chains, 1997, section 3.3",
};
const AVAILABILITY: Kind = Kind {
    quantity: "availability",
    unit: Unit::Probability,
    formula: "chain: share of time in which it holds, in the long run",
    source: "section 5 of the paper; J. Norris, Markov Chains, 1997, section 3.8",
};
const RATE: Kind = Kind {
    quantity: "intrusion_rate",
    unit: Unit::PerHour,
    formula: "sum over exploits: rate (1 - prevented) open success, open = d / (d + r), d less what is prevented",
    source: "section 3.1 of the paper: attack and vulnerability make an intrusion",
};
const INTRUDED: Kind = Kind {
    quantity: "intrusion_probability",
    unit: Unit::Probability,
    formula: "1 - e^(-rate T)",
    source: "section 2.3 of the paper",
};
const NO_REPAIR: Kind = Kind {
    quantity: "no_repair",
    unit: Unit::Probability,
    formula: "1 - sum over x <= f of C(n,x) p^x (1-p)^(n-x) c^x, c = 1 without wormholes",
    source: "section 3.1 of the paper (masking by a majority)",
};
const BETA: Kind = Kind {
    quantity: "beta",
    unit: Unit::Probability,
    formula: "1 - (1 - beta p)(1 - P_f((1 - beta) p)), beta: shares of the labels that all servers have alike",
    source: "section 4.2 of the paper (common mode); K. Fleming, beta factor, 1975",
};
const CROSSOVER: Kind = Kind {
    quantity: "crossover",
    unit: Unit::Probability,
    formula: "the p at which P_f(p) = p",
    source: "section 2.1 of the paper (common-mode symptoms, higher fault probabilities)",
};
const EXPECTED_LOSS: Kind = Kind {
    quantity: "expected_loss",
    unit: Unit::Money,
    formula: "sum over promises of risk times loss",
    source: "section 2.3 of the paper (risk as probability and impact)",
};
const COST: Kind = Kind {
    quantity: "cost_of_intruding",
    unit: Unit::Money,
    formula: "cheapest set of exploits that reaches as many servers as break a promise",
    source: "section 2.3 of the paper (cost of intruding)",
};
const SLACK: Kind = Kind {
    quantity: "slack",
    unit: Unit::Number,
    formula: "n - (3f + 2k + 1), with wormholes n - (2f + 2k + 1)",
    source: "section 5 of the paper (non-stop operation)",
};
const DUTY: Kind = Kind {
    quantity: "duty_cycle",
    unit: Unit::Probability,
    formula: "Tc / (Tc + Tr)",
    source: "section 5 of the paper (recoverable operation)",
};
const COVERAGE: Kind = Kind {
    quantity: "coverage",
    unit: Unit::Probability,
    formula: "Pr_a = Pr_o x Pr_e, exact with shared components by a decision diagram",
    source: "section 3.3 of the paper",
};
const PATH_COST: Kind = Kind {
    quantity: "path_cost",
    unit: Unit::Money,
    formula: "cheapest set of leaves that reaches the root, none of which has probability 0",
    source: "section 2.3 of the paper; B. Schneier, Attack Trees, 1999",
};
const PATH_PROBABILITY: Kind = Kind {
    quantity: "path_probability",
    unit: Unit::Probability,
    formula: "probability that the root is reached if all leaves are tried, exact",
    source: "section 2.3 of the paper; B. Schneier, Attack Trees, 1999",
};

/// All of them, in the order of services, components and trees.
pub(super) fn all(
    design: &Design,
    services: &[ServiceResult],
    trust: &TrustGraph,
    trees: &[AttackTreeResult],
) -> Vec<Quantity> {
    let mut rows = Rows { rows: Vec::new(), origin: least_reliable(design) };
    for service in services {
        of_service(service, &mut rows);
    }
    for node in &trust.nodes {
        rows.add(&COVERAGE, &node.name, None, Some(node.assessed));
    }
    for tree in trees {
        rows.add(&PATH_COST, &tree.name, Some(tree.property), tree.cost);
        rows.add(&PATH_PROBABILITY, &tree.name, Some(tree.property), Some(tree.probability));
    }
    rows.rows
}

/// Every result depends on all of the threats, so it is as good as the weakest of the inputs.
fn least_reliable(design: &Design) -> Origin {
    let origins = design.origins();
    let used = origins.iter().filter(|(_, count)| *count > 0).map(|(origin, _)| *origin);
    used.fold(Origin::Measured, Origin::and)
}

struct Rows {
    rows: Vec<Quantity>,
    origin: Origin,
}

impl Rows {
    fn add(&mut self, kind: &Kind, subject: &str, property: Option<Property>, value: Option<f64>) {
        self.rows.push(Quantity {
            quantity: kind.quantity.to_owned(),
            subject: subject.to_owned(),
            property,
            value,
            unit: kind.unit,
            formula: kind.formula.to_owned(),
            source: kind.source.to_owned(),
            origin: self.origin,
        });
    }
}

fn of_service(service: &ServiceResult, rows: &mut Rows) {
    let name = &service.name;
    rows.add(&RATE, name, None, Some(service.intrusion_rate));
    rows.add(&INTRUDED, name, None, Some(service.intrusion_probability));
    rows.add(&NO_REPAIR, name, None, Some(service.no_repair.independent));
    rows.add(&BETA, name, None, Some(service.no_repair.common_mode));
    if service.crossover.is_some() {
        rows.add(&CROSSOVER, name, None, service.crossover);
    }
    let risk = if service.is_simulated { &SIMULATED_RISK } else { &RISK };
    rows.add(risk, name, None, Some(service.risk));
    if !service.is_simulated {
        rows.add(&MTTF, name, None, service.mttf_h);
    }
    for property in &service.properties {
        rows.add(risk, name, Some(property.property), Some(property.risk));
        if !service.is_simulated {
            rows.add(&MTTF, name, Some(property.property), property.mttf_h);
        }
        if property.availability.is_some() {
            rows.add(&AVAILABILITY, name, Some(property.property), property.availability);
        }
    }
    rows.add(&EXPECTED_LOSS, name, None, Some(service.economics.expected_loss));
    rows.add(&COST, name, None, service.economics.cost_of_intruding);
    rows.add(&SLACK, name, None, Some(service.strategy_numbers.slack as f64));
    rows.add(&DUTY, name, None, service.strategy_numbers.duty_cycle);
}
