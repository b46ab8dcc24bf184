//! What formulas of a line say of a design, and what they do not.
//!
//! They hold for equal servers whose shared labels all of them share. Where nobody recovers them, they give the
//! risk; where each is recovered by itself, the mean time to failure and the share of time; where a single
//! intrusion breaks a promise, its risk and mean time whatever is done afterwards. All else takes chains.

use serde::Serialize;

use super::error::AnalysisError;
use super::result::Unit;
use super::situation::Situation;
use crate::design::{Design, FaultModel, Property, Service};
use crate::engines::{EngineError, closed};

/// The closed forms of a design.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClosedForms {
    /// Name of the design.
    pub design: String,
    /// Mission time, hours.
    pub mission_h: f64,
    /// One entry for each service.
    pub services: Vec<ClosedService>,
}

/// The closed forms of a service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClosedService {
    /// The service.
    pub name: String,
    /// Number of servers.
    pub n: usize,
    /// Intrusions tolerated.
    pub f: usize,
    /// What a formula gives.
    pub values: Vec<ClosedValue>,
    /// What none gives.
    pub missing: Vec<ClosedGap>,
}

/// A number and its formula.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClosedValue {
    /// Name of the quantity, as of [`super::Quantity`].
    pub quantity: String,
    /// The promise, if it is about one.
    pub property: Option<Property>,
    /// The number.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
    /// The formula.
    pub formula: String,
}

/// A number without a formula.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClosedGap {
    /// Name of the quantity.
    pub quantity: String,
    /// The promise.
    pub property: Property,
    /// Why there is none.
    pub why: String,
}

/// Computes by closed forms what they give.
///
/// # Errors
/// [`AnalysisError::NoClosedForm`] of a service of which they give no promise's risk, mean time or share of time.
pub fn closed_forms(design: &Design) -> Result<ClosedForms, AnalysisError> {
    let services = design.services.iter().map(|service| of_service(design, service));
    Ok(ClosedForms {
        design: design.name.clone(),
        mission_h: design.mission.value.0,
        services: services.collect::<Result<_, _>>()?,
    })
}

fn of_service(design: &Design, service: &Service) -> Result<ClosedService, AnalysisError> {
    let situation = Situation::of(design, service);
    let told = |error| AnalysisError::of(design, service, error);
    let mut found = Found::default();
    let plain = Plain::of(&situation);
    for promise in &situation.promises {
        let (property, plain) = (*promise, plain);
        let plain = plain.and_then(|it| it.promising(&situation, property));
        let risk = plain.and_then(|it| it.risk(&situation));
        found.add("risk", Unit::Probability, property, risk).map_err(told)?;
        let mean = plain.and_then(|it| it.mean_time(property));
        found.add("mttf", Unit::Hours, property, mean).map_err(told)?;
        if property != Property::Confidentiality {
            let share = plain.and_then(|it| it.share());
            found.add("availability", Unit::Probability, property, share).map_err(told)?;
        }
    }
    if found.values.is_empty() {
        let mut reasons: Vec<&str> = found.missing.iter().map(|it| it.why.as_str()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        return Err(AnalysisError::no_closed_form(design, service, &reasons.join("; ")));
    }
    let p = closed::intruded_by(situation.mean_rate(), situation.mission).map_err(told)?;
    let formula = "1 - e^(-rate T)".to_owned();
    let intruded = ("intrusion_probability".to_owned(), p, formula);
    let crossover = crossover(&situation).map_err(told)?;
    let further = [Some(intruded), crossover].into_iter().flatten();
    found.values.splice(
        0..0,
        further.map(|(quantity, value, formula)| ClosedValue {
            quantity,
            property: None,
            value,
            unit: Unit::Probability,
            formula,
        }),
    );
    Ok(ClosedService {
        name: service.name.clone(),
        n: situation.n(),
        f: situation.f,
        values: found.values,
        missing: found.missing,
    })
}

fn crossover(situation: &Situation) -> Result<Option<(String, f64, String)>, EngineError> {
    if situation.model == FaultModel::Single {
        return Ok(None);
    }
    let (n, f) = (count(situation.n()), count(situation.f));
    let p = closed::hybrid_crossover(n, f, situation.mean_coverage())?;
    Ok(Some(("crossover".to_owned(), p, "the p with P_f(p) = p".to_owned())))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A number with its formula, or why there is none.
type Formed = Result<(Result<f64, EngineError>, &'static str), &'static str>;

#[derive(Default)]
struct Found {
    values: Vec<ClosedValue>,
    missing: Vec<ClosedGap>,
}

impl Found {
    fn add(
        &mut self,
        quantity: &str,
        unit: Unit,
        property: Property,
        formed: Formed,
    ) -> Result<(), EngineError> {
        let quantity = quantity.to_owned();
        match formed {
            Ok((value, formula)) => self.values.push(ClosedValue {
                quantity,
                property: Some(property),
                value: value?,
                unit,
                formula: formula.to_owned(),
            }),
            Err(why) => {
                self.missing.push(ClosedGap { quantity, property, why: why.to_owned() });
            }
        }
        Ok(())
    }
}

/// Equal servers, as the formulas take them.
#[derive(Clone, Copy, Debug)]
struct Plain {
    n: u32,
    /// Intruded servers that break no promise.
    tolerated: u32,
    /// Intrusions of one server by itself, per hour.
    own: f64,
    /// Intrusions of all servers at once, per hour.
    common: f64,
    /// Coverage of a wormhole; 1 where none is counted on.
    coverage: f64,
    /// Recoveries of one server per hour, each by itself; why they are not.
    repair: Result<f64, &'static str>,
}

impl Plain {
    fn of(situation: &Situation) -> Result<Self, &'static str> {
        let Some(first) = situation.servers.first() else { return Err("it has no servers") };
        let is_alike = |it: &super::situation::Server| {
            it.rate == first.rate && (it.coverage == first.coverage || !is_hybrid(situation))
        };
        if !situation.servers.iter().all(is_alike) {
            return Err("its servers differ in their rates of intrusion or in their wormholes");
        }
        let shared = situation.shared();
        if shared.iter().any(|set| set.servers.len() < situation.n()) {
            return Err("some labels are shared by some of its servers only");
        }
        let common: f64 = shared.iter().map(|set| set.rate).sum();
        Ok(Self {
            n: count(situation.n()),
            tolerated: 0,
            own: (first.rate - common).max(0.0),
            common,
            coverage: if is_hybrid(situation) { first.coverage } else { 1.0 },
            repair: repair(situation),
        })
    }

    /// The same for one promise.
    fn promising(self, situation: &Situation, property: Property) -> Result<Self, &'static str> {
        let care = &situation.care;
        let is_absent = care.outage.is_some_and(|(rate, hours)| rate > 0.0 && hours > 0.0)
            || care.rejuvenation.is_some_and(|turns| turns.downtime > 0.0);
        if property == Property::Availability && is_absent {
            return Err("servers are absent without an intrusion, too");
        }
        Ok(Self { tolerated: count(situation.tolerated(property)), ..self })
    }

    fn risk(self, situation: &Situation) -> Formed {
        let hours = situation.mission;
        if self.tolerated == 0 {
            let risk = closed::intruded_by(self.first_intrusion(), hours);
            return Ok((risk, "1 - e^(-(n own + common) T): the first intrusion breaks it"));
        }
        if self.repair != Ok(0.0) {
            return Err("servers are recovered, and no formula has a risk by a time then");
        }
        let risk = || {
            let common = closed::intruded_by(self.common, hours)?;
            let own = closed::intruded_by(self.own, hours)?;
            Ok(common
                + (1.0 - common) * closed::hybrid(self.n, self.tolerated, own, self.coverage)?)
        };
        let formula = match (self.common > 0.0, self.coverage < 1.0) {
            (false, false) => "1 - sum for x <= f of C(n,x) p^x (1-p)^(n-x)",
            (false, true) => "1 - sum for x <= f of C(n,x) p^x (1-p)^(n-x) c^x",
            (true, false) => "1 - e^(-beta rate T) (1 - P_f), P_f as no-repair of (1 - beta) rate",
            (true, true) => {
                "1 - e^(-beta rate T) (1 - P_f), P_f as no-repair of (1 - beta) rate, with c^x"
            }
        };
        Ok((risk(), formula))
    }

    fn mean_time(self, property: Property) -> Formed {
        if self.tolerated == 0 {
            let rate = self.first_intrusion();
            if rate <= 0.0 {
                return Err("nothing intrudes it");
            }
            return Ok((Ok(1.0 / rate), "1 / (n own + common): the first intrusion breaks it"));
        }
        let repair = self.repaired()?;
        if property == Property::Confidentiality && repair > 0.0 {
            return Err("a server that is recovered has still disclosed its share");
        }
        let mean = closed::mttf(self.n, self.tolerated, self.own, repair);
        Ok((mean, "h_0 + ... + h_f, h_x = (1 + x repair h_(x-1)) / ((n-x) rate)"))
    }

    fn share(self) -> Formed {
        let repair = self.repaired()?;
        if repair <= 0.0 {
            return Err("intrusions never end: in the long run it is lost");
        }
        let intruded = self.own / (self.own + repair);
        let lost = closed::no_repair(self.n, self.tolerated, intruded);
        let formula = "sum for x <= f of C(n,x) p^x (1-p)^(n-x), p = rate / (rate + repair)";
        Ok((lost.map(|lost| 1.0 - lost), formula))
    }

    /// How fast servers are recovered, where nothing but single intrusions comes between.
    fn repaired(self) -> Result<f64, &'static str> {
        if self.common > 0.0 || self.coverage < 1.0 {
            return Err(
                "a common cause or a wormhole that falls breaks it between the steps of the formula",
            );
        }
        self.repair
    }

    /// Intrusions of any server, per hour.
    fn first_intrusion(self) -> f64 {
        f64::from(self.n) * self.own + self.common
    }
}

fn is_hybrid(situation: &Situation) -> bool {
    situation.model == FaultModel::Hybrid
}

/// Recoveries of one intruded server per hour, rejuvenation as a rate.
fn repair(situation: &Situation) -> Result<f64, &'static str> {
    let care = &situation.care;
    let turns = care.expelling().map_or(0.0, |turns| turns.expels / turns.period);
    if care.detection <= 0.0 {
        return Ok(turns);
    }
    if care.is_one_by_one {
        return Err("one crew recovers servers one after another");
    }
    if care.detection < 1.0 {
        return Err("some intrusions are noticed and others are not: two ways to be intruded");
    }
    Ok(1.0 / (care.recovery + care.latency) + turns)
}

#[cfg(test)]
mod tests;
