//! Writing a design as a model file that people can go on with.

use super::estimate::{
    Estimate, HOURS_PER_DAY, HOURS_PER_YEAR, Hours, Money, PerHour, Probability,
};
use super::host::LabelKind;
use super::service::{AtRest, Repairers, Root, Service, State};
use super::threat::Attack;
use super::tree::{AttackTree, Gate};
use super::{Costs, Design};

/// Units in which times are written, largest first.
const UNITS: [(&str, f64); 5] = [
    ("y", HOURS_PER_YEAR),
    ("d", HOURS_PER_DAY),
    ("h", 1.0),
    ("min", 1.0 / 60.0),
    ("s", 1.0 / 3600.0),
];

/// What every written file begins with.
const HEAD: &str = "\
# A model for `ravelin assess`. Every number has an origin: `measured`, `expert` or `assumed`.
# Replace what is assumed by what you know; what has the strongest effect first, as
# `ravelin assess run` tells it. Units: ms, s, min, h, d, w, and y of 365 days.
";

impl Design {
    /// The design as the text of a model file. Reading it gives the same design, but for the file's
    /// name and lines.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = Text(HEAD.to_owned());
        out.line("");
        out.line("version = 1");
        out.text("name", &self.name);
        if !self.description.is_empty() {
            out.text("description", &self.description);
        }
        out.text("currency", &self.currency);
        out.header("[mission]");
        out.set("time", &time(&self.mission));
        out.set("acceptable_risk", &share(&self.acceptable_risk));
        out.header("[attacker]");
        out.set("budget", &money(&self.attacker.budget));
        self.threats(&mut out);
        for host in &self.hosts {
            out.header("[[hosts]]");
            out.text("name", &host.name);
            for kind in LabelKind::ALL {
                if let Some(value) = host.label(kind) {
                    out.text(kind.name(), value);
                }
            }
        }
        if self.common_mode.shares.iter().any(Option::is_some) {
            out.line("");
            out.line(
                "# Shares of a host's intrusions that reach all hosts with the same value at once.",
            );
            out.line("[common_mode]");
        }
        for (kind, estimate) in LabelKind::ALL.into_iter().zip(&self.common_mode.shares) {
            if let Some(estimate) = estimate {
                out.set(kind.name(), &share(estimate));
            }
        }
        for wormhole in &self.wormholes {
            out.header("[[wormholes]]");
            out.text("name", &wormhole.name);
            out.set("coverage", &share(&wormhole.coverage));
        }
        for service in &self.services {
            self.service(service, &mut out);
        }
        self.structures(&mut out);
        costs(&self.costs, &mut out);
        out.0
    }

    fn threats(&self, out: &mut Text) {
        if self.attacks.is_empty() {
            out.line("");
            out.line("attacks = []");
        }
        if self.vulnerabilities.is_empty() {
            out.line("");
            out.line("vulnerabilities = []");
        }
        for attack in &self.attacks {
            out.header("[[attacks]]");
            out.text("name", &attack.name);
            out.set("rate", &rate(&attack.rate));
            out.set("cost", &money(&attack.cost));
            out.set("cost_again", &money(&attack.cost_again));
            out.set("prevented", &share(&attack.prevented));
            out.set("exploits", &self.exploits(attack));
        }
        for vulnerability in &self.vulnerabilities {
            out.header("[[vulnerabilities]]");
            out.text("name", &vulnerability.name);
            if vulnerability.hosts.len() != self.hosts.len() {
                out.set("hosts", &self.host_names(&vulnerability.hosts));
            }
            out.set("disclosure", &rate(&vulnerability.disclosure));
            out.set("patch", &rate(&vulnerability.patch));
            out.set("prevented", &share(&vulnerability.prevented));
        }
    }

    fn exploits(&self, attack: &Attack) -> String {
        let entries = attack.exploits.iter().filter_map(|exploit| {
            let target = self.vulnerabilities.get(exploit.vulnerability)?;
            let (name, success) = (quoted(&target.name), share(&exploit.success));
            Some(format!("{{ vulnerability = {name}, success = {success} }}"))
        });
        list(entries)
    }

    fn host_names(&self, hosts: &[usize]) -> String {
        let names = hosts.iter().filter_map(|it| self.hosts.get(*it)).map(|it| quoted(&it.name));
        format!("[{}]", names.collect::<Vec<_>>().join(", "))
    }

    fn service(&self, service: &Service, out: &mut Text) {
        out.header("[[services]]");
        out.text("name", &service.name);
        out.set("hosts", &self.host_names(&service.hosts));
        out.set("f", &service.f.to_string());
        out.text("fault_model", service.fault_model.name());
        out.text("strategy", service.strategy.name());
        out.text("state", if service.state == State::Clear { "clear" } else { "sealed" });
        out.text(
            "at_rest",
            match service.at_rest {
                AtRest::File => "file",
                AtRest::Tpm => "tpm",
                AtRest::Unseal => "unseal",
            },
        );
        if let Some(epoch) = &service.share_epoch {
            out.set("share_epoch", &time(epoch));
        }
        out.set("detection", &share(&service.detection));
        out.set("latency", &time(&service.latency));
        out.set("recovery", &time(&service.recovery));
        if service.repairers == Repairers::Single {
            out.text("repairers", "single");
        }
        out.header("[services.promises]");
        for (promise, loss) in &service.promises {
            out.set(promise.name(), &money(loss));
        }
        schedules(service, out);
    }

    fn structures(&self, out: &mut Text) {
        for component in &self.components {
            out.header("[[components]]");
            out.text("name", &component.name);
            out.set("coverage", &share(&component.coverage));
            let entries = component.depends.iter().filter_map(|dependence| {
                let on = self.components.get(dependence.on)?;
                let (on, required) = (quoted(&on.name), share(&dependence.required));
                Some(format!("{{ on = {on}, required = {required} }}"))
            });
            if !component.depends.is_empty() {
                out.set("depends", &list(entries));
            }
        }
        for tree in &self.attack_trees {
            let Some(service) = self.services.get(tree.service) else { continue };
            out.header("[[attack_trees]]");
            out.text("name", &tree.name);
            out.text("service", &service.name);
            out.text("property", tree.property.name());
            out.text("root", tree.nodes.get(tree.root).map_or("", |node| node.name.as_str()));
            out.set("nodes", &list((0..tree.nodes.len()).filter_map(|it| node(tree, it))));
        }
    }
}

fn schedules(service: &Service, out: &mut Text) {
    if let Some(turns) = &service.rejuvenation {
        out.header("[services.rejuvenation]");
        out.set("period", &time(&turns.period));
        out.set("downtime", &time(&turns.downtime));
        out.set("at_once", &turns.at_once.to_string());
        out.text(
            "root",
            match turns.root {
                Root::Administrators => "administrators",
                Root::Wormhole => "wormhole",
                Root::Tpm => "tpm",
                Root::None => "none",
            },
        );
    }
    if let Some(outages) = &service.outages {
        out.header("[services.outages]");
        out.set("rate", &rate(&outages.rate));
        out.set("duration", &time(&outages.duration));
    }
    if let Some(times) = &service.recoverable {
        out.header("[services.recoverable]");
        out.set("time_to_fall", &time(&times.time_to_fall));
        out.set("time_to_recover", &time(&times.time_to_recover));
        out.set("attack", &time(&times.attack));
    }
}

fn node(tree: &AttackTree, position: usize) -> Option<String> {
    let node = tree.nodes.get(position)?;
    let names = |children: &[usize]| {
        let names = children.iter().filter_map(|it| tree.nodes.get(*it)).map(|it| quoted(&it.name));
        format!("[{}]", names.collect::<Vec<_>>().join(", "))
    };
    let gate = match &node.gate {
        Gate::Leaf { cost, probability } => {
            format!("gate = \"leaf\", cost = {}, probability = {}", money(cost), share(probability))
        }
        Gate::All(children) => format!("gate = \"all\", children = {}", names(children)),
        Gate::Any(children) => format!("gate = \"any\", children = {}", names(children)),
        Gate::AtLeast(k, children) => {
            format!("gate = \"at-least\", k = {k}, children = {}", names(children))
        }
    };
    Some(format!("{{ name = {}, {gate} }}", quoted(&node.name)))
}

fn costs(costs: &Costs, out: &mut Text) {
    let all = [
        ("server", &costs.server),
        ("diversity", &costs.diversity),
        ("rejuvenation", &costs.rejuvenation),
        ("wormhole", &costs.wormhole),
        ("isolation", &costs.isolation),
    ];
    if all.iter().any(|(_, cost)| cost.is_some()) {
        out.header("[costs]");
    }
    for (name, cost) in all {
        if let Some(cost) = cost {
            out.set(name, &money(cost));
        }
    }
}

/// The text of a file in the making.
struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn header(&mut self, header: &str) {
        self.line("");
        self.line(header);
    }

    fn set(&mut self, key: &str, value: &str) {
        self.line(&format!("{key} = {value}"));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.set(key, &quoted(value));
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A list, one entry a line.
fn list(entries: impl Iterator<Item = String>) -> String {
    let lines: String = entries.map(|entry| format!("    {entry},\n")).collect();
    format!("[\n{lines}]")
}

fn estimate<T>(estimate: &Estimate<T>, value: &str) -> String {
    let note = estimate.note.as_ref().map(|note| format!(", note = {}", quoted(note)));
    let note = note.unwrap_or_default();
    format!("{{ value = {value}, origin = \"{}\"{note} }}", estimate.origin.name())
}

fn share(value: &Estimate<Probability>) -> String {
    estimate(value, &plain(value.value.0))
}

fn money(value: &Estimate<Money>) -> String {
    estimate(value, &plain(value.value.0))
}

/// A number as TOML reads it back.
fn plain(number: f64) -> String {
    toml::Value::Float(number).to_string()
}

/// The shortest of the ways to write a time that are read back as the same number.
fn time(value: &Estimate<Hours>) -> String {
    let hours = value.value.0;
    let ways = UNITS.iter().map(|(name, unit)| (hours / unit, *unit, *name));
    let exact = ways.filter(|(number, unit, _)| number * unit == hours);
    let written = exact.map(|(number, _, name)| format!("{number}{name}"));
    let shortest = written.min_by_key(String::len).unwrap_or_else(|| format!("{hours}h"));
    estimate(value, &quoted(&shortest))
}

/// The same of a rate.
fn rate(value: &Estimate<PerHour>) -> String {
    let rate = value.value.0;
    let ways = UNITS.iter().map(|(name, unit)| (rate * unit, *unit, *name));
    let exact = ways.filter(|(number, unit, _)| number / unit == rate);
    let written = exact.map(|(number, _, name)| format!("{number}/{name}"));
    let shortest = written.min_by_key(String::len).unwrap_or_else(|| format!("{rate}/h"));
    estimate(value, &quoted(&shortest))
}

#[cfg(test)]
mod tests {
    use crate::design::Design;

    #[test]
    fn a_written_design_is_read_back_as_it_was() {
        for name in ["one-room", "three-clouds", "hybrid-weak-isolation", "single-hsm"] {
            let path = format!("{}/../../examples/assess/{name}.toml", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            let design = Design::parse(name, &text).unwrap();
            let written = design.to_toml();
            let mut read = Design::parse(name, &written).unwrap_or_else(|error| panic!("{error}"));
            for (read, service) in read.services.iter_mut().zip(&design.services) {
                read.line = service.line;
            }
            assert_eq!(read, design, "{written}");
        }
    }

    #[test]
    fn names_with_quotes_and_lines_survive() {
        let path = format!("{}/../../examples/assess/single-hsm.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let mut design = Design::parse("x", &text).unwrap();
        design.name = "a \"b\"\n'''c''' \\ \u{7} é".to_owned();
        assert_eq!(Design::parse("x", &design.to_toml()).unwrap().name, design.name);
    }
}
