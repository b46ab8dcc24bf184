//! Trust and trustworthiness over a graph of components.
//!
//! A component keeps its promise A with the coverage Pr_o = Pr(A|H) when what it relies on keeps H, and
//! that has the coverage Pr_e = Pr(H|f) under faults. A user may count on Pr_a = Pr_o x Pr_e, and so on along the
//! chain. What two components both rely on is one and the same thing: it holds for both or for neither, so
//! it is counted once, by a decision diagram.
//!
//! Trust is what is *required* of a component, trustworthiness what it deserves: where the first exceeds the
//! second, it is trusted beyond its trustworthiness ([`TrustGraph::over_trusted`]).
//!
//! # Source
//! The paper, sections 3.2 and 3.3, figure 3.

use super::CalculusError;
use super::diagram::{Diagram, Function};
use super::graph;

/// The most components.
pub const COMPONENTS_MAX: usize = 1_000;
/// The most reliances.
pub const RELIANCES_MAX: usize = 10_000;

/// What rounding may add to a requirement that is met exactly.
const ROUNDING: f64 = 1e-12;

/// A component, and how well it keeps its promise when what it relies on does.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// For messages.
    pub name: String,
    /// Pr_o, as assessed.
    pub coverage: f64,
    /// How much of what it relies on must hold.
    pub need: Need,
}

/// How much of what a component relies on must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Everything.
    All,
    /// So many of its reliances, at least 1.
    AtLeast(usize),
}

/// One component relies on another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reliance {
    /// Who trusts.
    pub by: usize,
    /// Whom.
    pub on: usize,
    /// How far: the coverage required of `on`.
    pub required: f64,
}

/// Who relies on whom. No component relies on itself, however far around.
#[derive(Clone, Debug)]
pub struct TrustGraph {
    components: Vec<Component>,
    reliances: Vec<Reliance>,
    /// On whom each component relies.
    edges: Vec<Vec<usize>>,
    /// Each component after what it relies on.
    order: Vec<usize>,
}

/// What a component deserves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trustworthiness {
    /// Pr_o, by itself.
    pub own: f64,
    /// Pr_a, with all it relies on; what is shared counts once.
    pub exact: f64,
    /// What one gets by multiplying along the graph as if nothing were shared: too low where everything is needed,
    /// too high where copies share a cause.
    pub as_if_apart: f64,
}

/// A component trusted beyond its trustworthiness.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OverTrust {
    /// Index of the reliance.
    pub reliance: usize,
    /// How far it is trusted.
    pub required: f64,
    /// How far it deserves to be: its Pr_a.
    pub deserved: f64,
}

impl TrustGraph {
    /// Checks the graph.
    ///
    /// # Errors
    /// [`CalculusError::Count`], [`CalculusError::Unknown`], [`CalculusError::NotAProbability`],
    /// [`CalculusError::Threshold`]; [`CalculusError::Cycle`] with the names along it.
    pub fn new(
        components: Vec<Component>,
        reliances: Vec<Reliance>,
    ) -> Result<Self, CalculusError> {
        let count = components.len();
        if count == 0 || count > COMPONENTS_MAX {
            let (what, least, most) = ("components", 1, COMPONENTS_MAX);
            return Err(CalculusError::Count { what, count, least, most });
        }
        if reliances.len() > RELIANCES_MAX {
            let (what, count, most) = ("reliances", reliances.len(), RELIANCES_MAX);
            return Err(CalculusError::Count { what, count, least: 0, most });
        }
        let name = |index: usize| {
            components.get(index).map_or_else(String::new, |component| component.name.clone())
        };
        let mut edges = vec![Vec::new(); count];
        for reliance in &reliances {
            let Some(edges) = edges.get_mut(reliance.by) else {
                let index = reliance.by;
                return Err(CalculusError::Unknown { what: "component", index, count });
            };
            edges.push(reliance.on);
            let what = || format!("what {} requires of {}", name(reliance.by), name(reliance.on));
            check_probability(&what, reliance.required)?;
        }
        for (component, edges) in components.iter().zip(&edges) {
            check_probability(
                &|| format!("the coverage of {}", component.name),
                component.coverage,
            )?;
            if let Need::AtLeast(wanted) = component.need
                && (wanted == 0 || wanted > edges.len())
            {
                let (name, given) = (component.name.clone(), edges.len());
                return Err(CalculusError::Threshold { name, wanted, given });
            }
        }
        let order = graph::order(&edges, "component", &name)?;
        Ok(Self { components, reliances, edges, order })
    }

    /// The components, as given.
    #[must_use]
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// The reliances, as given.
    #[must_use]
    pub fn reliances(&self) -> &[Reliance] {
        &self.reliances
    }

    /// What every component deserves, in the order given.
    ///
    /// # Errors
    /// [`CalculusError::TooLarge`] for graphs of many alternatives.
    pub fn trustworthiness(&self) -> Result<Vec<Trustworthiness>, CalculusError> {
        let count = self.components.len();
        let mut diagram = Diagram::new(count)?;
        let (places, coverages) = self.variables();
        let mut holds: Vec<Function> = vec![diagram.constant(true); count];
        let none = Trustworthiness { own: 0.0, exact: 0.0, as_if_apart: 0.0 };
        let mut result = vec![none; count];
        for &index in &self.order {
            let (Some(component), Some(edges)) =
                (self.components.get(index), self.edges.get(index))
            else {
                continue;
            };
            let parts: Vec<Function> =
                edges.iter().filter_map(|on| holds.get(*on).copied()).collect();
            let needed = match component.need {
                Need::All => diagram.all(&parts)?,
                Need::AtLeast(k) => diagram.at_least(k, &parts)?,
            };
            let own = diagram.variable(places.get(index).copied().unwrap_or_default())?;
            let function = diagram.all(&[own, needed])?;
            let apart: Vec<f64> =
                edges.iter().filter_map(|on| Some(result.get(*on)?.as_if_apart)).collect();
            let as_if_apart = component.coverage * apart_probability(component.need, &apart);
            if let (Some(holds), Some(place)) = (holds.get_mut(index), result.get_mut(index)) {
                *holds = function;
                *place = Trustworthiness { own: component.coverage, exact: 0.0, as_if_apart };
            }
        }
        let exact = diagram.probabilities(&holds, &coverages)?;
        for (place, exact) in result.iter_mut().zip(exact) {
            place.exact = exact;
        }
        Ok(result)
    }

    /// Every reliance in which more is required than deserved, in the order given.
    ///
    /// # Errors
    /// As [`TrustGraph::trustworthiness`].
    pub fn over_trusted(&self) -> Result<Vec<OverTrust>, CalculusError> {
        let deserved = self.trustworthiness()?;
        let judged = self.reliances.iter().enumerate().filter_map(|(index, reliance)| {
            let deserved = deserved.get(reliance.on)?.exact;
            let required = reliance.required;
            (required > deserved + ROUNDING).then_some(OverTrust {
                reliance: index,
                required,
                deserved,
            })
        });
        Ok(judged.collect())
    }

    /// The variable of each component, and the coverage of each variable. Who relies comes before whom it
    /// relies on: the order in which diagrams of graphs stay small.
    fn variables(&self) -> (Vec<usize>, Vec<f64>) {
        let mut places = vec![0; self.components.len()];
        let mut coverages = Vec::with_capacity(self.components.len());
        for (place, &index) in self.order.iter().rev().enumerate() {
            if let Some(slot) = places.get_mut(index) {
                *slot = place;
            }
            coverages.push(self.components.get(index).map_or(0.0, |component| component.coverage));
        }
        (places, coverages)
    }
}

/// The probability that enough of independent parts hold.
fn apart_probability(need: Need, parts: &[f64]) -> f64 {
    let Need::AtLeast(wanted) = need else { return parts.iter().product() };
    // Entry j: exactly j hold.
    let mut exactly = vec![1.0];
    for p in parts {
        let shifted = [0.0].into_iter().chain(exactly.iter().map(|chance| chance * p));
        let stays = exactly.iter().map(|chance| chance * (1.0 - p)).chain([0.0]);
        exactly = shifted.zip(stays).map(|(up, stay)| up + stay).collect();
    }
    exactly.iter().skip(wanted).sum()
}

fn check_probability(name: &dyn Fn() -> String, value: f64) -> Result<(), CalculusError> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(CalculusError::NotAProbability { name: name(), value })
    }
}

#[cfg(test)]
mod tests;
