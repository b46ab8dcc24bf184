//! A service in the language of the PRISM model checker, so that others can check our numbers.
//!
//! One module a server, with the states of `chain`'s servers by name in comments; nothing is counted together and
//! shocks are synchronised actions, so PRISM or Storm arrive at the same numbers by another way. Fixed
//! periods are Erlang stages, as in [`super::chain`].
//!
//! # Source
//! M. Kwiatkowska, G. Norman, D. Parker, *PRISM 4.0: verification of probabilistic real-time systems*, CAV 2011.

use std::fmt::Write as _;

use super::chain::STAGES_MAX;
use super::chain::local::{Condition, Local, LocalState};
use super::error::within;
use super::{Crew, EngineError, Property, Schedule, ServerGroup, Service};

/// The most different sets of servers that all shocks of one model hit.
pub const PRISM_SHOCK_SETS_MAX: usize = 10_000;

/// The most commands of one model.
pub const PRISM_COMMANDS_MAX: usize = 1_000_000;

/// A model and what to ask of it, both as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrismModel {
    /// The model (a `.sm` file).
    pub model: String,
    /// The questions (a `.csl` file): probability of failure by `T` hours, mean hours to it, and, where the property can
    /// hold again, the share of time failed in the long run.
    pub properties: String,
}

/// Writes a service as a model in which `property` is labelled `failed`.
///
/// `stages`: as of [`super::chain::ServiceChain::until_failure`]. Cost: servers x states of one; nothing is explored.
///
/// # Errors
/// Those of [`Service::check`], [`EngineError::OutOfRange`] of the stages or of shocks that hit too many
/// different sets of servers.
pub fn service(
    service: &Service,
    property: Property,
    stages: u32,
) -> Result<PrismModel, EngineError> {
    service.check()?;
    within("the number of stages", stages.into(), 1, STAGES_MAX.into())?;
    let of = |(number, group)| Local::of(group, service.turns(number), property, stages);
    let locals: Vec<Local> = service.groups.iter().enumerate().map(of).collect();
    let writer = Writer { service, property, stages, locals };
    let strikes = writer.strikes()?;
    let mut model = String::from("// Times are hours, rates per hour.\nctmc\n\n");
    writer.formulas(&mut model);
    for (group, local) in writer.locals.iter().enumerate() {
        for server in 0..local.initial.len() {
            writer.server(group, server, &strikes, &mut model);
        }
    }
    writer.world(&strikes, &mut model);
    writer.end(&mut model);
    let mut properties = String::from(
        "const double T;\n// Probability to have failed by T.\nP=? [ F<=T \"failed\" ];\n\
         // Mean hours to the first failure.\nR{\"hours\"}=? [ F \"failed\" ];\n",
    );
    if property != Property::Confidentiality {
        properties.push_str("// Share of time failed in the long run.\nS=? [ \"failed\" ];\n");
    }
    Ok(PrismModel { model, properties })
}

/// One set of servers that a shock may hit.
struct Strike {
    action: String,
    rate: f64,
    /// Group and number in it.
    servers: Vec<(usize, usize)>,
}

struct Writer<'a> {
    service: &'a Service,
    property: Property,
    stages: u32,
    locals: Vec<Local>,
}

impl Writer<'_> {
    fn has_epochs(&self) -> bool {
        self.property == Property::Confidentiality && self.service.refresh.is_some()
    }

    fn states_of(&self, group: usize) -> usize {
        self.locals.get(group).map_or(0, |local| local.states.len())
    }

    /// Every set of servers that a shock may hit, all sets of one shock equally likely.
    fn strikes(&self) -> Result<Vec<Strike>, EngineError> {
        let most = u64::try_from(PRISM_SHOCK_SETS_MAX).unwrap_or(u64::MAX);
        let mut strikes = Vec::new();
        let mut commands = 0_usize;
        for (number, shock) in self.service.shocks.iter().enumerate() {
            let mut sets: Vec<Vec<(usize, usize)>> = vec![Vec::new()];
            for hit in &shock.hits {
                let all = self.locals.get(hit.group).map_or(0, |local| local.initial.len());
                let wanted = usize::try_from(hit.count).unwrap_or(all);
                sets = extended(&sets, hit.group, all, wanted);
                let value = u64::try_from(sets.len() + strikes.len()).unwrap_or(u64::MAX);
                within("the number of sets of servers that shocks hit", value, 0, most)?;
            }
            let struck: usize =
                sets.iter().flatten().map(|(group, _)| self.states_of(*group)).sum();
            commands = commands.saturating_add(struck);
            let value = u64::try_from(commands).unwrap_or(u64::MAX);
            let most = u64::try_from(PRISM_COMMANDS_MAX).unwrap_or(u64::MAX);
            within("the number of commands", value, 0, most)?;
            let share = f64::from(u32::try_from(sets.len()).unwrap_or(u32::MAX));
            for (set, servers) in sets.into_iter().enumerate() {
                let action = format!("shock_{number}_{set}");
                strikes.push(Strike { action, rate: shock.rate / share, servers });
            }
        }
        Ok(strikes)
    }

    fn formulas(&self, out: &mut String) {
        self.formula(out, "intruded", |_, state| state.is_intruded());
        self.formula(out, "exposed", |_, state| state.is_exposed);
        self.formula(out, "answering", |_, state| state.is_clean());
        if self.locals.iter().any(|local| local.others > 0) {
            // Servers that are absent with another one.
            self.weighted(out, "others", |group, state| {
                let others = self.locals.get(group).map_or(0, |local| local.others);
                if state.condition == Condition::Rejuvenating { others } else { 0 }
            });
        }
        let is_single = |number: usize| {
            let crew = self.service.groups.get(number).and_then(|group| group.recovery);
            crew.is_some_and(|recovery| recovery.crew == Crew::Single)
        };
        // Who waits for the one crew.
        self.formula(out, "waiting", |group, state| {
            state.condition == Condition::Recovering && is_single(group)
        });
        out.push('\n');
    }

    /// A formula that counts the servers in states that are `counted`.
    fn formula(&self, out: &mut String, name: &str, counted: impl Fn(usize, &LocalState) -> bool) {
        self.weighted(out, name, |group, state| u32::from(counted(group, state)));
    }

    /// The same where each counts as `weight`, one for all states of a group that count.
    fn weighted(&self, out: &mut String, name: &str, weight: impl Fn(usize, &LocalState) -> u32) {
        let mut terms = Vec::new();
        for (group, local) in self.locals.iter().enumerate() {
            let states = local.states.iter().map(|state| weight(group, state)).enumerate();
            let counted: Vec<(usize, u32)> = states.filter(|(_, weight)| *weight > 0).collect();
            let Some((_, weight)) = counted.first() else { continue };
            let states: Vec<usize> = counted.iter().map(|(index, _)| *index).collect();
            for server in 0..local.initial.len() {
                let is: Vec<String> =
                    states.iter().map(|state| format!("s{group}_{server}={state}")).collect();
                terms.push(format!("({} ? {weight} : 0)", is.join("|")));
            }
        }
        let sum = if terms.is_empty() { "0".into() } else { terms.join(" + ") };
        writeln!(out, "formula {name} = {sum};").expect("strings take everything");
    }

    fn server(&self, group: usize, server: usize, strikes: &[Strike], out: &mut String) {
        let (Some(local), Some(of)) = (self.locals.get(group), self.service.groups.get(group))
        else {
            return;
        };
        let name = format!("s{group}_{server}");
        let initial = local.initial.get(server).copied().unwrap_or_default();
        let mut lines = vec![format!("module server_{group}_{server}")];
        if server == 0 {
            lines.extend(
                local
                    .states
                    .iter()
                    .enumerate()
                    .map(|(index, state)| format!("  // {index}: {}", described(*state))),
            );
        }
        let last = local.states.len().saturating_sub(1);
        lines.push(format!("  {name} : [0..{last}] init {initial};"));
        lines.extend(own_events(&name, of, local));
        for strike in strikes.iter().filter(|strike| strike.servers.contains(&(group, server))) {
            lines.extend(struck(&name, local, &strike.action));
        }
        if self.has_epochs() {
            lines.extend(
                local
                    .refreshed
                    .iter()
                    .enumerate()
                    .map(|(from, to)| format!("  [refresh] {name}={from} -> ({name}'={to});")),
            );
        }
        lines.push("endmodule\n\n".into());
        out.push_str(&lines.join("\n"));
    }

    /// What no server does by itself: shocks and the ends of share epochs.
    fn world(&self, strikes: &[Strike], out: &mut String) {
        let mut lines = Vec::new();
        if let Some(refresh) = self.service.refresh.filter(|_| self.has_epochs()) {
            let stages = if refresh.schedule == Schedule::Fixed { self.stages } else { 1 };
            let (rate, last) = (f64::from(stages) / refresh.every, stages - 1);
            lines.push(format!("  epoch : [0..{last}] init 0;"));
            if last > 0 {
                lines.push(format!("  [] epoch<{last} -> {rate:?} : (epoch'=epoch+1);"));
            }
            lines.push(format!("  [refresh] epoch={last} -> {rate:?} : (epoch'=0);"));
        }
        for strike in strikes {
            lines.push(format!("  [{}] true -> {:?} : true;", strike.action, strike.rate));
        }
        if !lines.is_empty() {
            out.push_str(&format!("module world\n{}\nendmodule\n\n", lines.join("\n")));
        }
    }

    fn end(&self, out: &mut String) {
        let service = self.service;
        let failed = match self.property {
            Property::Confidentiality => format!("exposed>{}", service.tolerated),
            Property::Integrity => format!("intruded>{}", service.tolerated),
            Property::Availability if self.locals.iter().any(|local| local.others > 0) => {
                format!("answering-others<{}", service.quorum)
            }
            Property::Availability => format!("answering<{}", service.quorum),
        };
        out.push_str(&format!(
            "// {} fails.\nlabel \"failed\" = {failed};\n",
            self.property.name()
        ));
        out.push_str("rewards \"hours\"\n  true : 1;\nendrewards\n");
    }
}

fn own_events(name: &str, of: &ServerGroup, local: &Local) -> Vec<String> {
    let mut lines = Vec::new();
    for transition in &local.transitions {
        let shared = if transition.is_shared { "/waiting" } else { "" };
        let (from, to, rate) = (transition.from, transition.to, transition.rate);
        lines.push(format!("  [] {name}={from} -> {rate:?}{shared} : ({name}'={to});"));
    }
    for (from, outcomes) in local.struck.iter().enumerate() {
        for (to, probability) in outcomes.iter().filter(|_| of.intrusion_rate > 0.0) {
            let rate = of.intrusion_rate * probability;
            lines.push(format!("  [] {name}={from} -> {rate:?} : ({name}'={to});"));
        }
    }
    lines
}

fn struck(name: &str, local: &Local, action: &str) -> Vec<String> {
    let of = |(from, outcomes): (usize, &Vec<(usize, f64)>)| {
        let parts: Vec<String> = outcomes
            .iter()
            .map(|(to, probability)| format!("{probability:?} : ({name}'={to})"))
            .collect();
        let parts = if parts.is_empty() { "true".into() } else { parts.join(" + ") };
        format!("  [{action}] {name}={from} -> {parts};")
    };
    local.struck.iter().enumerate().map(of).collect()
}

fn described(state: LocalState) -> String {
    let condition = match state.condition {
        Condition::Clean => "clean",
        Condition::Latent => "intruded, to be noticed",
        Condition::Hidden => "intruded, unnoticed",
        Condition::Recovering => "intruded, recovering",
        Condition::Rejuvenating => "absent, rejuvenating",
        Condition::Out => "absent, out of order",
    };
    let exposed = if state.is_exposed && !state.is_intruded() { ", share leaked" } else { "" };
    format!("{condition}{exposed}, stage {}", state.stage)
}

/// Every set joined with every choice of `wanted` among the `all` servers of a group; stops growing beyond the
/// limit, which the caller then reports.
fn extended(
    sets: &[Vec<(usize, usize)>],
    group: usize,
    all: usize,
    wanted: usize,
) -> Vec<Vec<(usize, usize)>> {
    let mut partial: Vec<(Vec<(usize, usize)>, usize)> =
        sets.iter().map(|set| (set.clone(), wanted)).collect();
    for server in 0..all {
        let rest = all - server - 1;
        let mut next = Vec::with_capacity(partial.len());
        for (set, left) in partial {
            if left > 0 {
                let mut with = set.clone();
                with.push((group, server));
                next.push((with, left - 1));
            }
            if left <= rest {
                next.push((set, left));
            }
            if next.len() > PRISM_SHOCK_SETS_MAX {
                break;
            }
        }
        partial = next;
    }
    partial.into_iter().map(|(set, _)| set).collect()
}

#[cfg(test)]
pub(crate) mod tests;
