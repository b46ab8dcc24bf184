//! What the engines compute: one service on groups of equal servers.
//!
//! A server is **clean**, **intruded** or **absent**. An intruded one counts as intruded until its
//! recovery or rejuvenation: until then its identity and its keys are the intruder's, whether anybody
//! noticed or not. An intrusion is noticed with the probability of [`Detection`], after its latency;
//! what is not noticed stays until the next [`Rejuvenation`], and for ever without one. An absent server
//! is being rejuvenated, or out of order without malice; nobody intrudes it meanwhile.
//!
//! | property | fails when | afterwards |
//! |---|---|---|
//! | [`Property::Integrity`] | more than `tolerated` are intruded | holds again when they no longer are |
//! | [`Property::Availability`] | fewer than `quorum` are clean and present | as above |
//! | [`Property::Confidentiality`] | more than `tolerated` were intruded within one share epoch | never |
//!
//! # Source
//! The paper, sections 3.1 (attack, vulnerability, intrusion), 4.5 (recovery) and 5 (strategies).

use serde::Serialize;

use super::EngineError;
use super::error::{at_least_zero, positive, probability, within};

/// The most servers of a service, as of a cluster's plan.
pub const SERVICE_SERVERS_MAX: u32 = 100;
/// The most shocks of a service.
pub const SHOCKS_MAX: usize = 1_000;

/// One replicated service: who runs it, what it tolerates, and what strikes several servers at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its servers, equal ones together. From 1 to [`SERVICE_SERVERS_MAX`] servers in all.
    pub groups: Vec<ServerGroup>,
    /// `f`: how many may be intruded at once. Below the number of servers.
    pub tolerated: u32,
    /// How many clean and present servers it takes to answer: `n - f` where `n` is the least that
    /// tolerates `f`.
    pub quorum: u32,
    /// Events that intrude several servers at once.
    pub shocks: Vec<Shock>,
    /// When shares are made anew, so that those that leaked are worth nothing. `None`: never.
    pub refresh: Option<Refresh>,
}

/// Equal servers: the same rates and the same care.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerGroup {
    /// How many.
    pub count: u32,
    /// Intrusions of one clean server, per hour: the rate of attacks that find a vulnerability.
    pub intrusion_rate: f64,
    /// Whether and when an intrusion is noticed.
    pub detection: Detection,
    /// How a noticed intrusion ends. `None`: by rejuvenation only.
    pub recovery: Option<Recovery>,
    /// Recovery of every server in turn, on suspicion of nothing.
    pub rejuvenation: Option<Rejuvenation>,
    /// Absence without malice.
    pub outage: Option<Outage>,
}

/// Whether and when an intrusion is noticed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Probability that it ever is.
    pub probability: f64,
    /// Mean hours until it is (exponential). 0: at once.
    pub latency: f64,
}

/// How a noticed intrusion ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recovery {
    /// Recoveries per hour by one crew (exponential).
    pub rate: f64,
    /// How many work at a time.
    pub crew: Crew,
}

/// How many recoveries go on at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crew {
    /// Each server recovers by itself.
    Parallel,
    /// One after another: one crew for all groups that have this, which takes a waiting server at random.
    Single,
}

/// Periodic recovery of each server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rejuvenation {
    /// Hours from the beginning of one to the beginning of the next, of the same server.
    pub every: f64,
    /// Hours of absence in each; below `every`, 0 for none.
    pub downtime: f64,
    /// Servers that are absent together, at least 1. By the calendar these have one turn; at random the turn of one
    /// takes as many others away, and for the time of its downtime that one counts as all of them.
    pub at_once: u32,
    /// Probability that a turn expels an intruder, each time anew. A server that keeps its intruder keeps its
    /// condition: nobody counts on it meanwhile.
    pub expels: f64,
    /// By the calendar or at random.
    pub schedule: Schedule,
}

/// How periods follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Exponential with the given mean: no memory, and nothing an intruder can wait for. Downtimes too.
    Random,
    /// Exactly the given period, all servers of a service that have it in even turns, group after group, so many
    /// at once. Monte Carlo is exact; a chain stands for it by Erlang stages, and forgets the turns.
    Fixed,
}

/// When in a period the servers of a group have their turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turns {
    /// Servers before the first of them.
    before: u32,
    /// Servers of the period; their turns are equally far apart.
    all: u32,
    /// Servers of one turn.
    at_once: u32,
}

impl Turns {
    /// The turn of a server of the group, counted from 0, and how many turns there are: the last of them is at
    /// the end of the period.
    pub(crate) fn of(self, server: u32) -> (u32, u32) {
        ((self.before + server) / self.at_once + 1, self.all.div_ceil(self.at_once))
    }
}

/// Absence without malice: crashes, power, maintenance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outage {
    /// Outages of one clean server per hour.
    pub rate: f64,
    /// Mean hours until it is back (exponential).
    pub duration: f64,
}

/// An event that intrudes several servers at once: a common vulnerability, a bad administrator.
#[derive(Clone, Debug, PartialEq)]
pub struct Shock {
    /// Events per hour.
    pub rate: f64,
    /// Whom it hits. Each group at most once.
    pub hits: Vec<Hit>,
}

/// Part of a shock: so many servers of one group, drawn at random among all of it. Those of them that
/// are clean and present are intruded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Index in [`Service::groups`].
    pub group: usize,
    /// Servers, from 1 to the group's count.
    pub count: u32,
}

/// Renewal of the shares of a secret: the ends of share epochs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refresh {
    /// Hours between two.
    pub every: f64,
    /// By the calendar or at random.
    pub schedule: Schedule,
}

/// What a service may promise, and a user trusts it for. The paper keeps them apart, because they are
/// lost and won back in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Property {
    /// The intruder learns no secret. Once lost, lost for ever.
    Confidentiality,
    /// No wrong answer is accepted.
    Integrity,
    /// It goes on answering.
    Availability,
}

impl Property {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Confidentiality, Self::Integrity, Self::Availability];

    /// The name used in files and outputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Confidentiality => "confidentiality",
            Self::Integrity => "integrity",
            Self::Availability => "availability",
        }
    }
}

impl ServerGroup {
    /// `count` servers that nobody watches and nobody repairs.
    ///
    /// `intrusion_rate`: per server and hour.
    #[must_use]
    pub fn unattended(count: u32, intrusion_rate: f64) -> Self {
        let detection = Detection { probability: 0.0, latency: 0.0 };
        Self { count, intrusion_rate, detection, recovery: None, rejuvenation: None, outage: None }
    }

    /// `count` servers whose intrusions are noticed at once, each recovered by itself at `rate` per hour:
    /// the case of [`super::closed::mttf`].
    #[must_use]
    pub fn repaired(count: u32, intrusion_rate: f64, rate: f64) -> Self {
        Self {
            detection: Detection { probability: 1.0, latency: 0.0 },
            recovery: Some(Recovery { rate, crew: Crew::Parallel }),
            ..Self::unattended(count, intrusion_rate)
        }
    }
}

impl Service {
    /// One group that tolerates `f`, with the quorum of all others; no shocks, no refresh.
    #[must_use]
    pub fn of(group: ServerGroup, f: u32) -> Self {
        let quorum = group.count.saturating_sub(f);
        Self { groups: vec![group], tolerated: f, quorum, shocks: Vec::new(), refresh: None }
    }

    /// All servers; saturates, since it also counts what [`Service::check`] has yet to refuse.
    #[must_use]
    pub fn server_count(&self) -> u32 {
        self.groups.iter().fold(0, |sum, group| sum.saturating_add(group.count))
    }

    /// Checks every number. The engines call it before they begin.
    ///
    /// # Errors
    /// The first number that has no meaning, by name.
    pub fn check(&self) -> Result<(), EngineError> {
        let n = self.server_count();
        if n == 0 || n > SERVICE_SERVERS_MAX || self.groups.iter().any(|group| group.count == 0) {
            return Err(EngineError::ServerCount { n: n.into(), most: SERVICE_SERVERS_MAX });
        }
        if self.tolerated >= n {
            return Err(EngineError::TooManyTolerated { n, f: self.tolerated });
        }
        if self.quorum == 0 || self.quorum > n {
            return Err(EngineError::Quorum { quorum: self.quorum, n });
        }
        for group in &self.groups {
            group.check()?;
        }
        if self.shocks.len() > SHOCKS_MAX {
            return Err(EngineError::TooManyShocks { count: self.shocks.len(), most: SHOCKS_MAX });
        }
        for (number, shock) in self.shocks.iter().enumerate() {
            self.check_shock(number, shock)?;
        }
        if let Some(refresh) = self.refresh {
            positive("the period of share refresh", refresh.every)?;
        }
        Ok(())
    }

    fn check_shock(&self, number: usize, shock: &Shock) -> Result<(), EngineError> {
        positive("the rate of a shock", shock.rate)?;
        let mut seen = vec![false; self.groups.len()];
        for hit in &shock.hits {
            let (Some(group), Some(seen)) = (self.groups.get(hit.group), seen.get_mut(hit.group))
            else {
                let groups = self.groups.len();
                return Err(EngineError::UnknownGroup { shock: number, group: hit.group, groups });
            };
            if hit.count == 0 || hit.count > group.count || *seen {
                let count = group.count;
                let (group, hit) = (hit.group, hit.count);
                return Err(EngineError::BadHit { shock: number, group, hit, count });
            }
            *seen = true;
        }
        Ok(())
    }

    /// The turns of a group among all servers whose rejuvenation has the same fixed period, and as many at once.
    pub(crate) fn turns(&self, group: usize) -> Turns {
        let calendar = |of: &ServerGroup| {
            let fixed = of.rejuvenation.filter(|turns| turns.schedule == Schedule::Fixed)?;
            Some((fixed.every.to_bits(), fixed.at_once))
        };
        let own = self.groups.get(group).and_then(calendar);
        let at_once = own.map_or(1, |(_, at_once)| at_once.max(1));
        let mut turns = Turns { before: 0, all: 0, at_once };
        for (number, of) in self.groups.iter().enumerate() {
            if number == group || (own.is_some() && calendar(of) == own) {
                turns.before += if number < group { of.count } else { 0 };
                turns.all += of.count;
            }
        }
        turns
    }

    /// Whether anything can intrude a server.
    pub(crate) fn is_attacked(&self) -> bool {
        self.groups.iter().any(|group| group.intrusion_rate > 0.0)
            || self.shocks.iter().any(|shock| !shock.hits.is_empty())
    }
}

impl Rejuvenation {
    /// Turns by the calendar, one server at a time, that expel every intruder.
    #[cfg(test)]
    pub(crate) fn by_calendar(every: f64, downtime: f64) -> Self {
        Self { every, downtime, at_once: 1, expels: 1.0, schedule: Schedule::Fixed }
    }

    /// The hours from the end of a turn of one server to its next, in which it is not absent: a server that is
    /// absent with others has not been so by itself.
    pub(crate) fn uptime(&self) -> f64 {
        self.every - self.downtime / f64::from(self.at_once.max(1))
    }

    /// The share of a server's turns for which it is absent itself: in the others it is with another one.
    pub(crate) fn leads(&self) -> f64 {
        f64::from(self.at_once.max(1)).recip()
    }

    /// Servers that are absent for each that is so at random, this one not counted.
    pub(crate) fn others(&self) -> u32 {
        if self.downtime > 0.0 { self.at_once.saturating_sub(1) } else { 0 }
    }
}

impl ServerGroup {
    fn check(&self) -> Result<(), EngineError> {
        at_least_zero("the intrusion rate", self.intrusion_rate)?;
        probability("the probability of detection", self.detection.probability)?;
        at_least_zero("the latency of detection", self.detection.latency)?;
        if let Some(recovery) = self.recovery {
            positive("the recovery rate", recovery.rate)?;
        }
        if let Some(rejuvenation) = self.rejuvenation {
            let every = positive("the rejuvenation period", rejuvenation.every)?;
            let downtime = at_least_zero("the downtime of rejuvenation", rejuvenation.downtime)?;
            if downtime >= every {
                return Err(EngineError::NoUptime { every, downtime });
            }
            let (at_once, most) = (rejuvenation.at_once, SERVICE_SERVERS_MAX);
            within("the servers rejuvenated at once", at_once.into(), 1, most.into())?;
            probability("the probability that a turn expels", rejuvenation.expels)?;
        }
        if let Some(outage) = self.outage {
            positive("the outage rate", outage.rate)?;
            positive("the duration of an outage", outage.duration)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
