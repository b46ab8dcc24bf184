//! A service as plain numbers that sweeps and advice can vary.

use std::collections::BTreeMap;

use super::threats;
use crate::calculus::strategy;
use crate::design::{Design, FaultModel, LabelKind, Property, Repairers, Root, Service, State};

/// Kinds of label.
const KINDS: usize = LabelKind::ALL.len();

/// Coverage below which a wormhole is weakly isolated.
pub(super) const WEAK_COVERAGE: f64 = 0.95;

/// Hours for which a server is absent in each rejuvenation of a service that has none yet: 20 minutes, what a
/// restart from a clean image and a state transfer take. An assumption, and told as one.
const FIRST_DOWNTIME: f64 = 1.0 / 3.0;

/// One service, its servers and what befalls them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Situation {
    pub(super) servers: Vec<Server>,
    /// Beta factors, in the order of [`LabelKind::ALL`].
    pub(super) shares: [f64; KINDS],
    pub(super) f: usize,
    pub(super) model: FaultModel,
    pub(super) state: State,
    pub(super) promises: Vec<Property>,
    pub(super) care: Care,
    /// Hours.
    pub(super) mission: f64,
}

/// One server.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Server {
    /// Intrusions per hour, shared ones included.
    pub(super) rate: f64,
    /// Probability that its wormhole is intact once it is intruded.
    pub(super) coverage: f64,
    /// Values of its labels as numbers; equal numbers are shared.
    pub(super) labels: [Option<usize>; KINDS],
    /// Its position in [`Design::hosts`]; `None`: the design has no such server.
    pub(super) host: Option<usize>,
}

/// What ends intrusions, and what keeps servers away.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Care {
    pub(super) detection: f64,
    /// Hours.
    pub(super) latency: f64,
    /// Hours.
    pub(super) recovery: f64,
    pub(super) is_one_by_one: bool,
    pub(super) rejuvenation: Option<Turns>,
    /// Rate and hours of outages without an intruder.
    pub(super) outage: Option<(f64, f64)>,
    /// Hours between two refreshes of the shares.
    pub(super) epoch: Option<f64>,
}

/// Rejuvenation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Turns {
    /// Hours.
    pub(super) period: f64,
    /// Hours.
    pub(super) downtime: f64,
    pub(super) at_once: usize,
    /// Probability that it expels an intruder who copied the identity, each time anew; 0 is a restart.
    pub(super) expels: f64,
    pub(super) root: Root,
    /// Whether the design says nothing of it.
    pub(super) is_assumed: bool,
}

impl Turns {
    /// Those of a service that has none yet: one server at a time, which is absent for [`FIRST_DOWNTIME`] and gets
    /// a new identity.
    pub(super) fn first(period: f64) -> Self {
        Self {
            period,
            downtime: FIRST_DOWNTIME,
            at_once: 1,
            expels: 1.0,
            root: Root::Administrators,
            is_assumed: true,
        }
    }

    /// Hours until each of so many servers had its turn.
    pub(super) fn round(self, servers: usize) -> f64 {
        self.downtime * servers.div_ceil(self.at_once.max(1)) as f64
    }

    /// Whether it may expel an intruder.
    pub(super) fn is_recovery(self) -> bool {
        self.expels > 0.0
    }
}

impl Situation {
    /// The service as it is designed. Nothing depends on the order in which its hosts are named.
    pub(super) fn of(design: &Design, service: &Service) -> Self {
        let numbers = label_numbers(design, service);
        let mut servers = Vec::new();
        for position in &service.hosts {
            let Some(host) = design.hosts.get(*position) else { continue };
            let mut labels = [None; KINDS];
            for (kind, label) in LabelKind::ALL.into_iter().zip(&mut labels) {
                *label = host
                    .label(kind)
                    .and_then(|value| numbers.get(&(kind as usize, value)).copied());
            }
            let isolation = host.label(LabelKind::Wormhole);
            let wormhole = design.wormholes.iter().find(|it| Some(it.name.as_str()) == isolation);
            servers.push(Server {
                rate: threats::intrusion_rate(design, *position),
                coverage: wormhole.map_or(0.0, |it| it.coverage.value.0),
                labels,
                host: Some(*position),
            });
        }
        sort(&mut servers);
        Self {
            servers,
            shares: LabelKind::ALL.map(|kind| design.common_mode.share(kind)),
            f: service.f.into(),
            model: service.fault_model,
            state: service.state,
            promises: service.promises.iter().map(|(promise, _)| *promise).collect(),
            care: Care::of(service),
            mission: design.mission.value.0,
        }
        .rooted()
    }

    /// The same where rejuvenation expels intruders as far as what it is rooted in lets it.
    fn rooted(mut self) -> Self {
        let least = self.servers.iter().map(|it| it.coverage).fold(1.0, f64::min);
        if let Some(turns) = &mut self.care.rejuvenation {
            turns.expels = match turns.root {
                Root::None => 0.0,
                // An intruder who has the wormhole too has what would expel him.
                Root::Wormhole => least.max(0.0),
                Root::Administrators | Root::Tpm => 1.0,
            };
        }
        self
    }

    /// Number of servers.
    pub(super) fn n(&self) -> usize {
        self.servers.len()
    }

    /// Mean rate of intrusions of one server.
    pub(super) fn mean_rate(&self) -> f64 {
        let sum: f64 = self.servers.iter().map(|server| server.rate).sum();
        sum / self.n().max(1) as f64
    }

    /// Mean probability that an intruded server's wormhole holds; 1 where none is counted on.
    pub(super) fn mean_coverage(&self) -> f64 {
        if self.model != FaultModel::Hybrid {
            return 1.0;
        }
        let sum: f64 = self.servers.iter().map(|server| server.coverage).sum();
        (sum / self.n().max(1) as f64).min(1.0)
    }

    /// Servers that may be intruded (for availability: or absent) before a promise is broken.
    pub(super) fn tolerated(&self, property: Property) -> usize {
        match property {
            Property::Confidentiality if self.state == State::Clear => 0,
            // Servers that are assumed only to stop do not check each other's answers.
            Property::Integrity if self.model == FaultModel::Crash => 0,
            Property::Confidentiality | Property::Integrity => self.f,
            Property::Availability => self.n() - self.quorum(),
        }
    }

    /// Servers that it takes to answer.
    pub(super) fn quorum(&self) -> usize {
        let n = self.n();
        match self.model {
            FaultModel::Arbitrary | FaultModel::Asynchronous => ((n + self.f) / 2 + 1).min(n),
            FaultModel::Hybrid | FaultModel::Crash => (n / 2 + 1).min(n),
            FaultModel::Single => n,
        }
    }

    /// Sets of servers that share a label's value, each with the rate at which they fall together.
    ///
    /// Servers with one value may be intruded at different rates. What strikes the strongest of them
    /// strikes all; what strikes only weaker ones strikes those: layer by layer, so that each server
    /// is intruded as often as it is. An intrusion through a value that nobody shares is one of that
    /// server.
    pub(super) fn shared(&self) -> Vec<Shared> {
        let mut shared = Vec::new();
        for (kind, share) in LabelKind::ALL.into_iter().zip(self.shares) {
            let mut by_value: BTreeMap<usize, Vec<(usize, f64)>> = BTreeMap::new();
            for (position, server) in self.servers.iter().enumerate() {
                if let Some(value) = server.labels.get(kind as usize).copied().flatten() {
                    by_value.entry(value).or_default().push((position, server.rate));
                }
            }
            for (value, mut servers) in by_value {
                servers.sort_by(|(_, a), (_, b)| a.total_cmp(b));
                let mut below = 0.0;
                for (first, (_, level)) in servers.iter().enumerate() {
                    let struck = servers.get(first..).unwrap_or_default();
                    let rate = share * (level - below);
                    below = *level;
                    if struck.len() > 1 && rate > 0.0 {
                        let mut servers: Vec<usize> = struck.iter().map(|(at, _)| *at).collect();
                        servers.sort_unstable();
                        shared.push(Shared { kind, value, rate, servers });
                    }
                }
            }
        }
        shared
    }

    /// The total beta factor of labels that all servers have in common.
    pub(super) fn beta(&self) -> f64 {
        let whole = |kind: usize| {
            let mut values = self.servers.iter().map(|it| it.labels.get(kind).copied().flatten());
            let first = values.next().flatten();
            first.is_some() && values.all(|value| value == first)
        };
        let shares = self.shares.iter().enumerate().filter(|(kind, _)| whole(*kind));
        shares.fold(0.0, |total: f64, (_, share)| total + share).min(1.0)
    }

    /// The most intrusions that `n` servers tolerate under the fault model.
    pub(super) fn f_max(model: FaultModel, n: usize) -> usize {
        match model {
            FaultModel::Arbitrary | FaultModel::Asynchronous => n.saturating_sub(1) / 3,
            FaultModel::Hybrid | FaultModel::Crash => n.saturating_sub(1) / 2,
            FaultModel::Single => 0,
        }
    }

    /// Whether every server gets its turn within a period, where there are turns.
    pub(super) fn has_turns_for_all(&self) -> bool {
        let turns = self.care.rejuvenation;
        turns.is_none_or(|turns| strategy::fits(turns.round(self.n()), turns.period))
    }

    /// Whether there is time in which nobody is being rejuvenated.
    pub(super) fn has_time_between_turns(&self) -> bool {
        let turns = self.care.rejuvenation;
        turns.is_none_or(|turns| strategy::leaves_time(turns.round(self.n()), turns.period))
    }

    /// Whether every server has a wormhole that something is built on.
    pub(super) fn needs_wormholes(&self) -> bool {
        let is_root = self.care.rejuvenation.is_some_and(|turns| turns.root == Root::Wormhole);
        self.model == FaultModel::Hybrid || is_root
    }

    /// The same with so many servers. A single one is the mean of all. Otherwise fewer are spread evenly
    /// over all, sorted by rate and by labels, so that they are as mixed as all are; more are [`Self::copies`].
    pub(super) fn with_servers(&self, n: usize) -> Self {
        let present = self.n().max(1);
        if n == 1 && present > 1 {
            let sum: f64 = self.servers.iter().map(|server| server.coverage).sum();
            let mean = Server {
                rate: self.mean_rate(),
                coverage: (sum / present as f64).clamp(0.0, 1.0),
                labels: [None; KINDS],
                host: None,
            };
            return Self { servers: vec![mean], ..self.clone() }.rooted();
        }
        let mut servers = self.servers.clone();
        match n.checked_sub(present) {
            Some(further) => servers.extend(self.copies(further)),
            None => {
                let kept = spread(n, present);
                servers = kept.filter_map(|at| self.servers.get(at).cloned()).collect();
            }
        }
        sort(&mut servers);
        Self { servers, ..self.clone() }.rooted()
    }

    /// So many further servers. They bring no diversity: each has the labels of the present server whose labels
    /// are shared least by then, weighted by the beta factors; of several such the one that was copied least,
    /// spread evenly.
    pub(super) fn copies(&self, count: usize) -> Vec<Server> {
        let present = self.n();
        let spread: Vec<usize> = spread(count % present.max(1), present).collect();
        let mut copied = vec![0_usize; present];
        let mut all = self.servers.clone();
        for _ in 0..count {
            let candidates = self.servers.iter().zip(&copied).enumerate();
            let rank = |(at, (server, copied)): (usize, (&Server, &usize))| {
                (self.sharing(server, &all), *copied, !spread.contains(&at), at)
            };
            let least = candidates.map(rank).min_by(|a, b| {
                a.0.total_cmp(&b.0).then_with(|| (a.1, a.2, a.3).cmp(&(b.1, b.2, b.3)))
            });
            let Some((_, _, _, at)) = least else { break };
            all.extend(self.servers.get(at).map(|it| Server { host: None, ..it.clone() }));
            if let Some(copied) = copied.get_mut(at) {
                *copied += 1;
            }
        }
        all.split_off(present)
    }

    /// How many of these servers have the same values as one server, weighted by the beta factors.
    pub(super) fn sharing(&self, server: &Server, among: &[Server]) -> f64 {
        let of = |(kind, share): (usize, &f64)| {
            let own = server.labels.get(kind).copied().flatten();
            let alike =
                |it: &&Server| own.is_some() && it.labels.get(kind).copied().flatten() == own;
            share * among.iter().filter(alike).count() as f64
        };
        let sum: f64 = self.shares.iter().enumerate().map(of).sum();
        // What only rounding tells apart is the same.
        (sum * 1e9).round() / 1e9
    }

    /// The same tolerating `f`, with as many servers as that takes.
    pub(super) fn with_tolerance(&self, model: FaultModel, f: usize) -> Self {
        let model = if f == 0 { FaultModel::Single } else { model };
        let n = model.servers_min(u16::try_from(f).unwrap_or(u16::MAX), 0);
        Self { f, model, ..self.with_servers(n) }
    }

    /// The same with so many different values of every label that has a beta factor.
    pub(super) fn with_values(&self, values: usize) -> Self {
        let mut changed = self.clone();
        for (position, server) in changed.servers.iter_mut().enumerate() {
            for (label, share) in server.labels.iter_mut().zip(self.shares) {
                if share > 0.0 {
                    *label = Some(position % values.max(1));
                }
            }
        }
        changed
    }

    /// The fewest different values that a label with a beta factor has among the servers; `None` if
    /// no label has one.
    pub(super) fn values_min(&self) -> Option<usize> {
        let distinct = |kind: usize| {
            let mut values: Vec<_> =
                self.servers.iter().map(|it| it.labels.get(kind).copied().flatten()).collect();
            // A server without a value shares it with nobody.
            let alone = values.iter().filter(|value| value.is_none()).count();
            values.retain(Option::is_some);
            values.sort_unstable();
            values.dedup();
            values.len() + alone
        };
        let shares = self.shares.iter().enumerate().filter(|(_, share)| **share > 0.0);
        shares.map(|(kind, _)| distinct(kind)).min()
    }

    /// The same with wormholes of one coverage, under `hybrid`.
    pub(super) fn with_coverage(&self, coverage: f64) -> Self {
        self.with_tolerance(FaultModel::Hybrid, self.f.max(1)).with_coverages(|_| coverage)
    }

    /// The same where each wormhole has the coverage that is made of its own; what is rooted in wormholes holds as
    /// far as the weakest of them.
    pub(super) fn with_coverages(&self, coverage: impl Fn(f64) -> f64) -> Self {
        let mut changed = self.clone();
        for server in &mut changed.servers {
            server.coverage = coverage(server.coverage);
        }
        sort(&mut changed.servers);
        changed.rooted()
    }

    /// Servers whose wormholes hold less than this coverage.
    pub(super) fn weaker(&self, coverage: f64) -> usize {
        self.servers.iter().filter(|server| server.coverage < coverage).count()
    }
}

/// Numbers of all label values of a service's hosts, by kind and name.
pub(super) fn label_numbers<'d>(
    design: &'d Design,
    service: &Service,
) -> BTreeMap<(usize, &'d str), usize> {
    let mut numbers = BTreeMap::new();
    for host in service.hosts.iter().filter_map(|position| design.hosts.get(*position)) {
        for kind in LabelKind::ALL {
            numbers.extend(host.label(kind).map(|value| ((kind as usize, value), 0)));
        }
    }
    for (next, number) in numbers.values_mut().enumerate() {
        *number = next;
    }
    numbers
}

/// So many places, each the middle of one of as many equal parts of all.
fn spread(count: usize, all: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |part| (2 * part + 1) * all / (2 * count))
}

/// By rate, then by labels: of those that remain equal the order matters to nothing but their names.
fn sort(servers: &mut [Server]) {
    servers.sort_by(|a, b| {
        let rates = a.rate.total_cmp(&b.rate);
        let coverages = a.coverage.total_cmp(&b.coverage);
        let labels = rates.then_with(|| a.labels.cmp(&b.labels));
        labels.then(coverages).then_with(|| a.host.cmp(&b.host))
    });
}

/// Servers that fall together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shared {
    pub(super) kind: LabelKind,
    /// The value's number.
    pub(super) value: usize,
    /// Per hour.
    pub(super) rate: f64,
    /// At least two.
    pub(super) servers: Vec<usize>,
}

impl Care {
    /// As it is designed. What rejuvenation expels, [`Situation::rooted`] knows.
    fn of(service: &Service) -> Self {
        let turns = service.rejuvenation.as_ref().map(|plan| Turns {
            period: plan.period.value.0,
            downtime: plan.downtime.value.0,
            at_once: plan.at_once.into(),
            expels: 0.0,
            root: plan.root,
            is_assumed: false,
        });
        Self {
            detection: service.detection.value.0,
            latency: service.latency.value.0,
            recovery: service.recovery.value.0,
            is_one_by_one: service.repairers == Repairers::Single,
            rejuvenation: turns,
            outage: service.outages.as_ref().map(|it| (it.rate.value.0, it.duration.value.0)),
            epoch: service.share_epoch.as_ref().map(|it| it.value.0),
        }
    }

    /// Rejuvenation that expels intruders.
    pub(super) fn expelling(&self) -> Option<Turns> {
        self.rejuvenation.filter(|turns| turns.is_recovery())
    }
}
