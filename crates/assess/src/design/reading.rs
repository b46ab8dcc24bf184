//! Reading a model file: first its structure, then what its names and numbers mean together.

mod cycles;
mod faults;
mod graphs;
mod hosts;
mod services;
mod structure;
mod threats;
mod words;

use faults::Faults;
use structure::{Node, shown};
use toml::de::DeTable;

use super::estimate::{Estimate, Hours, Money, PerHour, Probability};
use super::fault::{Mistake, ModelError};
use super::limits::MODEL_BYTES_MAX;
use super::sections::MODEL;
use super::threat::Attacker;
use super::{Costs, Design};

/// Reads and checks a model file.
///
/// Cost: linear in the file, but for look-ups of names among at most a few hundred.
pub(super) fn design(file: &str, text: &str) -> Result<Design, ModelError> {
    let mut faults = Faults::of(file, text);
    if text.len() > MODEL_BYTES_MAX {
        let mistake = Mistake::TooLong { bytes: text.len(), most: MODEL_BYTES_MAX };
        faults.add(0, mistake, "a model describes tens of servers, not thousands".to_owned());
        return Err(faults.refusal());
    }
    match DeTable::parse(text) {
        Ok(table) if table.get_ref().is_empty() => {
            let hint = "`ravelin assess example one-room` prints one to begin with";
            faults.add(0, Mistake::Empty, hint.to_owned());
            Err(faults.refusal())
        }
        Ok(table) => {
            let root = structure::read(&MODEL, table.get_ref(), 0, &mut faults);
            // What follows counts on every required key.
            faults.check()?;
            let design = converted(file, &root, &mut faults);
            faults.check()?;
            Ok(design)
        }
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let mistake = Mistake::Syntax { told: shown(error.message()) };
            faults.add(at, mistake, syntax_hint(error.message()).to_owned());
            Err(faults.refusal())
        }
    }
}

fn syntax_hint(told: &str) -> &'static str {
    if told.contains("duplicate") {
        "each key and table may stand once; lists of tables are written [[name]]"
    } else {
        "see the files in `examples/assess`"
    }
}

fn converted(file: &str, root: &Node, faults: &mut Faults<'_>) -> Design {
    let hosts = hosts::hosts(root, faults);
    let wormholes = hosts::wormholes(root, &hosts, faults);
    let vulnerabilities = threats::vulnerabilities(root, &hosts, faults);
    let services = services::services(root, &hosts, &wormholes, faults);
    let mission = root.one("mission").expect("required");
    let attacker = root.one("attacker").expect("required");
    Design {
        file: file.to_owned(),
        name: name(root),
        description: root.text("description").unwrap_or_default().to_owned(),
        currency: required_text(root, "currency"),
        mission: hours(mission, "time"),
        acceptable_risk: probability(mission, "acceptable_risk"),
        attacker: Attacker { budget: money(attacker, "budget") },
        attacks: threats::attacks(root, &vulnerabilities, faults),
        common_mode: hosts::common_mode(root, faults),
        components: graphs::components(root, faults),
        attack_trees: graphs::attack_trees(root, &services, faults),
        costs: costs(root),
        vulnerabilities,
        hosts,
        wormholes,
        services,
    }
}

fn costs(root: &Node) -> Costs {
    let price = |key| Some(root.one("costs")?.number(key)?.clone().map(Money));
    Costs {
        server: price("server"),
        diversity: price("diversity"),
        rejuvenation: price("rejuvenation"),
        wormhole: price("wormhole"),
        isolation: price("isolation"),
    }
}

impl<T> Estimate<T> {
    /// The same with its number changed to another unit.
    fn map<U>(self, to: impl FnOnce(T) -> U) -> Estimate<U> {
        Estimate { value: to(self.value), origin: self.origin, note: self.note }
    }
}

/// A required number.
fn required(node: &Node, key: &str) -> Estimate<f64> {
    node.number(key).cloned().expect("the structure was checked")
}

fn hours(node: &Node, key: &str) -> Estimate<Hours> {
    required(node, key).map(Hours)
}

fn rate(node: &Node, key: &str) -> Estimate<PerHour> {
    required(node, key).map(PerHour)
}

fn probability(node: &Node, key: &str) -> Estimate<Probability> {
    required(node, key).map(Probability)
}

fn money(node: &Node, key: &str) -> Estimate<Money> {
    required(node, key).map(Money)
}

/// A number that may be absent, and then is nothing.
fn or_nothing(node: &Node, key: &str) -> Estimate<f64> {
    node.number(key).cloned().unwrap_or_else(|| Estimate::assumed(0.0))
}

/// A required name, word or text.
fn required_text(node: &Node, key: &str) -> String {
    node.text(key).expect("the structure was checked").to_owned()
}

fn name(node: &Node) -> String {
    required_text(node, "name")
}

/// Tells of every name that stands twice in a list.
fn check_unique(nodes: &[Node], section: &'static str, faults: &mut Faults<'_>) {
    let mut seen = std::collections::BTreeSet::new();
    for node in nodes {
        let name = node.text("name").unwrap_or_default();
        if !seen.insert(name) {
            let mistake = Mistake::SameName { name: shown(name), section };
            faults.add_at(node.line_of("name"), mistake, "rename one of the two".to_owned());
        }
    }
}

/// The position of a name in a list, or a fault.
fn position(
    name: &str,
    names: &[&str],
    section: &'static str,
    line: usize,
    faults: &mut Faults<'_>,
) -> Option<usize> {
    let found = names.iter().position(|known| *known == name);
    if found.is_none() {
        let hint = match words::nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known there: {}", listed(names)),
        };
        faults.add_at(line, Mistake::Unknown { name: shown(name), section }, hint);
    }
    found
}

/// The positions of a list of names, none twice.
fn positions(
    names: &[(usize, String)],
    known: &[&str],
    section: &'static str,
    faults: &mut Faults<'_>,
) -> Vec<usize> {
    let mut found = Vec::new();
    for (line, name) in names {
        let Some(position) = position(name, known, section, *line, faults) else { continue };
        if found.contains(&position) {
            let mistake = Mistake::SameName { name: shown(name), section: "a list of names" };
            faults.add_at(*line, mistake, "name each once".to_owned());
        } else {
            found.push(position);
        }
    }
    found
}

/// A few names, for a hint.
fn listed(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [few @ .., last] if names.len() > 12 => {
            let shown = few.get(..11).unwrap_or(few);
            format!("{}, ..., {last}", shown.join(", "))
        }
        all => all.join(", "),
    }
}

#[cfg(test)]
mod tests;
