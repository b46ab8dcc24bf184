//! The network between servers: when, how often and whether a message arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ravelin_model::{ReplicaId, Round};

use crate::dice::Dice;
use crate::options::{FaultClass, Options};

/// Virtual microseconds.
pub(crate) type Micros = u64;

/// What one who owns the network can read of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) round: Round,
    pub(crate) author: ReplicaId,
    pub(crate) is_leader: bool,
}

/// Links that carry nothing for a while.
#[derive(Clone, Debug)]
struct Cut {
    class: FaultClass,
    from: Micros,
    until: Micros,
    /// Messages from these ...
    senders: BTreeSet<ReplicaId>,
    /// ... to these are lost.
    receivers: BTreeSet<ReplicaId>,
}

/// All links between servers.
pub(crate) struct Network {
    dice: Dice,
    classes: BTreeSet<FaultClass>,
    /// From then on the network is good.
    heal: Micros,
    base: (Micros, Micros),
    slow: BTreeMap<(ReplicaId, ReplicaId), Micros>,
    cuts: Vec<Cut>,
    /// Chooses whom the adversary keeps waiting.
    whim: u64,
    pub(crate) counts: BTreeMap<FaultClass, u64>,
}

impl Network {
    pub(crate) fn new(options: &Options, heal: Micros, end: Micros) -> Self {
        let mut dice = Dice::new(options.seed, "network");
        let members: Vec<ReplicaId> = (0..options.n).map(ReplicaId).collect();
        let is_wan = options.has(FaultClass::Wan);
        let least = if is_wan { dice.between(20_000, 60_000) } else { dice.between(400, 4_000) };
        let spread = least * dice.between(1, 4) / 4 + 50;
        let mut slow = BTreeMap::new();
        if options.has(FaultClass::SlowLinks) {
            let mut dice = Dice::new(options.seed, "slow links");
            for (from, to) in pairs(&members).filter(|_| dice.once_in(4)) {
                slow.insert(
                    (from, to),
                    5_000 + (u64::from(from.0) * 31 + u64::from(to.0)) * 997 % 60_000,
                );
            }
        }
        Self {
            whim: dice.draw(),
            cuts: cuts(options, &members, heal.min(end)),
            dice,
            classes: options.classes.clone(),
            heal,
            base: (least, least + spread),
            slow,
            counts: BTreeMap::new(),
        }
    }

    /// The delays after which copies of a message arrive: none if it is lost.
    pub(crate) fn carry(
        &mut self,
        now: Micros,
        (from, to): (ReplicaId, ReplicaId),
        header: Option<Header>,
    ) -> Vec<Micros> {
        let mut delay = self.dice.between(self.base.0, self.base.1);
        if let Some(extra) = self.slow.get(&(from, to)) {
            delay += extra;
        }
        if now >= self.heal {
            return vec![delay];
        }
        if let Some(class) = self.is_cut(now, from, to) {
            self.count(class);
            return Vec::new();
        }
        if self.is_on(FaultClass::Loss) && self.dice.per_mille(60) {
            self.count(FaultClass::Loss);
            return Vec::new();
        }
        if self.is_on(FaultClass::Reordering) && self.dice.per_mille(150) {
            self.count(FaultClass::Reordering);
            delay += self.dice.between(1_000, 80_000);
        }
        delay += self.held_back(to, header);
        let mut arrivals = vec![delay];
        if self.is_on(FaultClass::Duplication) && self.dice.per_mille(80) {
            self.count(FaultClass::Duplication);
            arrivals.push(delay + self.dice.between(0, 50_000));
        }
        arrivals
    }

    /// The delay of a message that its sender wants to be first.
    pub(crate) fn fastest(&self) -> Micros {
        self.base.0 / 4
    }

    /// The delay of a message that nothing holds up, at most.
    pub(crate) fn slowest(&self) -> Micros {
        self.base.1
    }

    /// How long the adversary keeps a leader's block: in some runs from some, and not for equally
    /// long; in others from everybody, for just as long each time.
    fn held_back(&mut self, to: ReplicaId, header: Option<Header>) -> Micros {
        let Some(header) = header.filter(|_| self.is_on(FaultClass::Adversary)) else { return 0 };
        if !header.is_leader || header.author == to {
            return 0;
        }
        let turn = self.whim ^ (header.round.0 / 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let is_chosen = (turn >> (to.0 + 1)) & 1 == 1;
        let held = match (self.whim % 2, is_chosen) {
            (0, true) => 3_000 + (turn >> 32) % 120_000,
            (0, false) => return 0,
            _ => 20_000 + (self.whim >> 32) % 80_000,
        };
        self.count(FaultClass::Adversary);
        held
    }

    fn is_on(&self, class: FaultClass) -> bool {
        self.classes.contains(&class)
    }

    fn is_cut(&self, now: Micros, from: ReplicaId, to: ReplicaId) -> Option<FaultClass> {
        let hit = self.cuts.iter().find(|cut| {
            cut.from <= now
                && now < cut.until
                && cut.senders.contains(&from)
                && cut.receivers.contains(&to)
        });
        hit.map(|cut| cut.class)
    }

    fn count(&mut self, class: FaultClass) {
        *self.counts.entry(class).or_default() += 1;
    }
}

/// The links of a run for whoever carries real frames between servers: the same chances, delays and
/// cuts as in virtual time.
pub struct Links(Network);

impl Links {
    /// As `options` say; all is well from `heal` on.
    #[must_use]
    pub fn new(options: &Options, heal: Duration) -> Self {
        let heal = micros(heal);
        Self(Network::new(options, heal, heal))
    }

    /// The delays after which copies of a frame arrive, `now` being the time since the beginning: none
    /// if it is lost.
    pub fn carry(&mut self, now: Duration, from: ReplicaId, to: ReplicaId) -> Vec<Duration> {
        let arrivals = self.0.carry(micros(now), (from, to), None);
        arrivals.into_iter().map(Duration::from_micros).collect()
    }

    /// How often each kind of trouble struck.
    pub fn counts(&self) -> impl Iterator<Item = (FaultClass, u64)> + '_ {
        self.0.counts.iter().map(|(class, count)| (*class, *count))
    }
}

fn micros(span: Duration) -> Micros {
    Micros::try_from(span.as_micros()).unwrap_or(Micros::MAX)
}

fn pairs(members: &[ReplicaId]) -> impl Iterator<Item = (ReplicaId, ReplicaId)> + '_ {
    members
        .iter()
        .flat_map(move |from| members.iter().map(move |to| (*from, *to)))
        .filter(|(from, to)| from != to)
}

/// Partitions and one-way cuts until `end`, with good times between them.
fn cuts(options: &Options, members: &[ReplicaId], end: Micros) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for class in [FaultClass::Partition, FaultClass::OneWayCut] {
        if !options.has(class) {
            continue;
        }
        let mut dice = Dice::new(options.seed, class.name());
        let mut from = dice.between(0, 400_000);
        while from < end {
            let until = from + dice.between(50_000, 1_200_000);
            if class == FaultClass::Partition {
                let (one, other): (BTreeSet<ReplicaId>, BTreeSet<ReplicaId>) =
                    members.iter().partition(|_| dice.once_in(2));
                let (senders, receivers) = (one.clone(), other.clone());
                cuts.push(Cut { class, from, until, senders, receivers });
                cuts.push(Cut { class, from, until, senders: other, receivers: one });
            } else {
                let mut some = || dice.pick(members).copied().into_iter().collect();
                cuts.push(Cut { class, from, until, senders: some(), receivers: some() });
            }
            from = until + dice.between(100_000, 1_000_000);
        }
    }
    cuts
}
