//! One mission: servers, and what happens to them, event after event.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rand_chacha::ChaCha8Rng;
use rand_core::RngCore as _;

use super::EngineError;
use crate::service::{Crew, Property, Schedule, ServerGroup, Service};

/// After so many events of one mission the others' work and the caller's wishes are looked at.
const LOOK_EVERY: u64 = 1 << 16;
/// Who comes back this part of a period later comes back now: rounds that are as much too long are let pass, and
/// hours are sums of rounded numbers.
const TURNS_WITHIN: f64 = 2e-9;

/// What a run may still do.
pub(super) struct Budget<'a> {
    pub(super) events: AtomicU64,
    pub(super) cancel: &'a AtomicBool,
}

/// What became of one property.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// Hours; infinite if it never failed.
    pub(super) first_failure: f64,
    /// Hours during which it was failed.
    pub(super) failed: f64,
}

/// What became of a mission.
pub(super) struct Mission {
    ends: [End; 3],
}

impl Mission {
    /// In the order of [`Property::ALL`], of a mission that lasted `hours`.
    pub(super) fn ends(&self, hours: f64) -> [End; 3] {
        let mut ends = self.ends;
        let [confidentiality, ..] = &mut ends;
        // What is disclosed stays so.
        confidentiality.failed = (hours - confidentiality.first_failure).max(0.0);
        ends
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Clean,
    Latent,
    Hidden,
    Recovering,
    Out,
    Rejuvenating,
}

impl Condition {
    fn is_intruded(self) -> bool {
        matches!(self, Self::Latent | Self::Hidden | Self::Recovering)
    }
}

/// Something that happens at random, at a rate that depends on how many servers it can happen to.
#[derive(Clone, Copy, Debug)]
struct Channel {
    event: Event,
    source: Source,
    group: usize,
    /// Per hour, and per server of the source where it is not one for all.
    rate: f64,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Intrude,
    Become(Condition),
    Shock(usize),
    Refresh,
}

/// To whom it can happen.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// Servers of the group in this condition.
    Each(Condition),
    /// The same, one at a time of all groups that have one crew.
    OneOf(Condition),
    /// Nobody in particular.
    World,
}

/// When a server on a fixed schedule is due, and for what.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: f64,
    returns: bool,
}

#[derive(Clone, Copy, Debug)]
struct Server {
    group: usize,
    condition: Condition,
    is_exposed: bool,
}

/// The servers of one mission after another.
pub(super) struct World<'a> {
    service: &'a Service,
    channels: Vec<Channel>,
    weights: Vec<f64>,
    /// Where the servers of each group begin; groups follow each other.
    first: Vec<usize>,
    servers: Vec<Server>,
    /// Servers of each group by condition.
    counts: Vec<[u32; 6]>,
    /// Groups that have one crew together.
    crewed: Vec<usize>,
    /// When each server is due first, hours; infinite without a fixed schedule.
    first_due: Vec<f64>,
    due: Vec<Due>,
    next_due: f64,
    refresh_due: f64,
    intruded: u32,
    exposed: u32,
    clean: u32,
    /// Servers that are absent with another one, at random.
    others: u32,
    drawn: Vec<usize>,
}

/// An upper bound of the events of one hour, for the estimate of work.
pub(super) fn events_per_hour(service: &Service) -> f64 {
    let of_group = |group: &ServerGroup| {
        let rejuvenations = group.rejuvenation.map_or(0.0, |it| 2.0 / it.every);
        let outages = group.outage.map_or(0.0, |it| 2.0 * it.rate);
        f64::from(group.count) * (3.0 * group.intrusion_rate + rejuvenations + outages)
    };
    let of_shocks = service.shocks.iter().map(|shock| {
        let hit: f64 = shock.hits.iter().map(|hit| f64::from(hit.count)).sum();
        shock.rate * (1.0 + 2.0 * hit)
    });
    let refreshes = service.refresh.map_or(0.0, |refresh| refresh.every.recip());
    service.groups.iter().map(of_group).chain(of_shocks).sum::<f64>() + refreshes
}

impl<'a> World<'a> {
    pub(super) fn new(service: &'a Service) -> Self {
        let mut first = Vec::new();
        let mut servers = Vec::new();
        for (group, of) in service.groups.iter().enumerate() {
            first.push(servers.len());
            for _ in 0..of.count {
                servers.push(Server { group, condition: Condition::Clean, is_exposed: false });
            }
        }
        let channels = channels(service);
        Self {
            service,
            weights: vec![0.0; channels.len()],
            channels,
            first,
            counts: vec![[0; 6]; service.groups.len()],
            crewed: crewed(service),
            first_due: first_due(service),
            due: vec![Due { at: f64::INFINITY, returns: false }; servers.len()],
            servers,
            next_due: f64::INFINITY,
            refresh_due: f64::INFINITY,
            intruded: 0,
            exposed: 0,
            clean: 0,
            others: 0,
            drawn: Vec::new(),
        }
    }

    /// One mission of `hours`, from servers that are all clean; with `until`, it ends when that property fails.
    pub(super) fn run(
        &mut self,
        generator: &mut ChaCha8Rng,
        hours: f64,
        until: Option<Property>,
        budget: &Budget<'_>,
    ) -> Result<Mission, EngineError> {
        self.reset();
        let mut ends = [End { first_failure: f64::INFINITY, failed: 0.0 }; 3];
        let mut now = 0.0;
        let mut events = 0_u64;
        loop {
            let failed = self.failed();
            let over = ends.iter_mut().zip(failed).zip(Property::ALL).any(|((end, failed), of)| {
                if failed && end.first_failure > now {
                    end.first_failure = now;
                }
                failed && until == Some(of)
            });
            let total = self.weigh();
            let scheduled = self.next_due.min(self.refresh_due);
            let next =
                now + if total > 0.0 { exponential(generator) / total } else { f64::INFINITY };
            let then = next.min(scheduled).min(hours);
            if over || then.is_infinite() {
                break;
            }
            for (end, failed) in ends.iter_mut().zip(failed) {
                end.failed += if failed { then - now } else { 0.0 };
            }
            now = then;
            if then >= hours {
                break;
            }
            if next <= scheduled {
                self.happen(generator, total);
            } else {
                self.on_schedule(generator, scheduled);
            }
            events += 1;
            if events.is_multiple_of(LOOK_EVERY) {
                budget.look()?;
            }
        }
        budget.events.fetch_add(events % LOOK_EVERY, Ordering::Relaxed);
        Ok(Mission { ends })
    }

    fn reset(&mut self) {
        self.counts.fill([0; 6]);
        for (count, group) in self.counts.iter_mut().zip(&self.service.groups) {
            let [clean, ..] = count;
            *clean = group.count;
        }
        for server in &mut self.servers {
            server.condition = Condition::Clean;
            server.is_exposed = false;
        }
        (self.intruded, self.exposed, self.clean) = (0, 0, self.service.server_count());
        self.others = 0;
        let fixed = self.service.refresh.filter(|refresh| refresh.schedule == Schedule::Fixed);
        self.refresh_due = fixed.map_or(f64::INFINITY, |refresh| refresh.every);
        for (at, due) in self.first_due.iter().zip(&mut self.due) {
            *due = Due { at: *at, returns: false };
        }
        self.find_next_due();
    }

    fn find_next_due(&mut self) {
        self.next_due = self.due.iter().map(|due| due.at).fold(f64::INFINITY, f64::min);
    }

    /// In the order of [`Property::ALL`].
    fn failed(&self) -> [bool; 3] {
        let tolerated = self.service.tolerated;
        let answering = self.clean.saturating_sub(self.others);
        [self.exposed > tolerated, self.intruded > tolerated, answering < self.service.quorum]
    }

    /// Weighs every channel, and sums up.
    fn weigh(&mut self) -> f64 {
        let recovering = |group: &usize| {
            let counts = self.counts.get(*group);
            counts.and_then(|it| it.get(place(Condition::Recovering))).copied().unwrap_or_default()
        };
        let waiting = f64::from(self.crewed.iter().map(recovering).sum::<u32>().max(1));
        let mut total = 0.0;
        for (channel, weight) in self.channels.iter().zip(&mut self.weights) {
            let count = |condition: Condition| match self.counts.get(channel.group) {
                Some(counts) => counts.get(place(condition)).copied().unwrap_or_default(),
                None => 0,
            };
            let servers = match channel.source {
                Source::Each(condition) => f64::from(count(condition)),
                Source::OneOf(condition) => f64::from(count(condition)) / waiting,
                Source::World => 1.0,
            };
            *weight = servers * channel.rate;
            total += *weight;
        }
        total
    }

    /// Draws what happens, and to whom.
    fn happen(&mut self, generator: &mut ChaCha8Rng, total: f64) {
        let mut left = uniform(generator) * total;
        let mut chosen = None;
        for (channel, weight) in self.channels.iter().zip(&self.weights) {
            if *weight > 0.0 {
                chosen = Some(*channel);
                left -= weight;
                if left < 0.0 {
                    break;
                }
            }
        }
        let Some(channel) = chosen else { return };
        match channel.event {
            Event::Shock(shock) => self.strike(generator, shock),
            Event::Refresh => self.refresh(),
            Event::Intrude => {
                if let Some(server) = self.draw(generator, channel) {
                    self.intrude(generator, server);
                }
            }
            Event::Become(condition) => {
                if let Some(server) = self.draw(generator, channel) {
                    self.set(server, condition);
                }
            }
        }
    }

    /// One of the servers to whom it can happen.
    fn draw(&self, generator: &mut ChaCha8Rng, channel: Channel) -> Option<usize> {
        let can = |server: &Server| match channel.source {
            Source::Each(condition) | Source::OneOf(condition) => server.condition == condition,
            Source::World => false,
        };
        let first = self.first.get(channel.group).copied()?;
        let count = usize::try_from(self.service.groups.get(channel.group)?.count).ok()?;
        let group = self.servers.get(first..first + count)?;
        let candidates = group.iter().filter(|server| can(server)).count();
        let chosen = below(generator, candidates);
        let mut numbered = group.iter().enumerate().filter(|(_, server)| can(server));
        numbered.nth(chosen).map(|(number, _)| first + number)
    }

    fn intrude(&mut self, generator: &mut ChaCha8Rng, server: usize) {
        let Some(group) = self.servers.get(server).map(|server| server.group) else { return };
        let Some(group) = self.service.groups.get(group) else { return };
        let detection = group.detection;
        let is_noticed = group.recovery.is_some()
            && detection.probability > 0.0
            && uniform(generator) < detection.probability;
        self.set(
            server,
            match is_noticed {
                true if detection.latency > 0.0 => Condition::Latent,
                true => Condition::Recovering,
                false => Condition::Hidden,
            },
        );
    }

    fn set(&mut self, server: usize, condition: Condition) {
        let Some(server) = self.servers.get_mut(server) else { return };
        let with = others(self.service.groups.get(server.group));
        self.others -= if server.condition == Condition::Rejuvenating { with } else { 0 };
        self.others += if condition == Condition::Rejuvenating { with } else { 0 };
        if let Some(counts) = self.counts.get_mut(server.group) {
            if let Some(count) = counts.get_mut(place(server.condition)) {
                *count -= 1;
            }
            if let Some(count) = counts.get_mut(place(condition)) {
                *count += 1;
            }
        }
        self.intruded -= u32::from(server.condition.is_intruded());
        self.clean -= u32::from(server.condition == Condition::Clean);
        self.intruded += u32::from(condition.is_intruded());
        self.clean += u32::from(condition == Condition::Clean);
        server.condition = condition;
        if condition.is_intruded() && !server.is_exposed {
            server.is_exposed = true;
            self.exposed += 1;
        }
    }

    /// New shares: only those who are intruded now leak them again.
    fn refresh(&mut self) {
        for server in &mut self.servers {
            server.is_exposed = server.condition.is_intruded();
        }
        self.exposed = self.intruded;
    }

    fn strike(&mut self, generator: &mut ChaCha8Rng, shock: usize) {
        let service = self.service;
        for hit in service.shocks.get(shock).map_or(&[][..], |shock| &shock.hits) {
            let first = self.first.get(hit.group).copied().unwrap_or_default();
            let count = service.groups.get(hit.group).map_or(0, |group| group.count);
            let mut drawn = std::mem::take(&mut self.drawn);
            drawn.clear();
            drawn.extend((first..).zip(0..count).map(|(server, _)| server));
            for _ in 0..hit.count {
                let server = drawn.swap_remove(below(generator, drawn.len()));
                let is_clean = |it: &Server| it.condition == Condition::Clean;
                if self.servers.get(server).is_some_and(is_clean) {
                    self.intrude(generator, server);
                }
            }
            self.drawn = drawn;
        }
    }

    /// Whatever is due at `now`, one thing of it.
    fn on_schedule(&mut self, generator: &mut ChaCha8Rng, now: f64) {
        if self.refresh_due <= now {
            self.refresh_due += self.service.refresh.map_or(f64::INFINITY, |refresh| refresh.every);
            return self.refresh();
        }
        let Some(server) = self.whose_turn(now) else { return };
        let at = self.due.get(server).map_or(now, |due| due.at);
        let group = self.servers.get(server).and_then(|it| self.service.groups.get(it.group));
        let Some(rejuvenation) = group.and_then(|group| group.rejuvenation) else { return };
        let leaves = self.due.get(server).is_some_and(|due| !due.returns);
        let is_intruded = self.servers.get(server).is_some_and(|it| it.condition.is_intruded());
        // Who keeps the intruder keeps the condition, until the next turn.
        let is_expelled = !(leaves && is_intruded)
            || rejuvenation.expels >= 1.0
            || uniform(generator) < rejuvenation.expels;
        let is_absent = leaves && is_expelled && rejuvenation.downtime > 0.0;
        let after = match (leaves, is_absent) {
            (true, true) => rejuvenation.downtime,
            (true, false) => rejuvenation.every,
            (false, _) => rejuvenation.every - rejuvenation.downtime,
        };
        if is_expelled {
            self.set(server, if is_absent { Condition::Rejuvenating } else { Condition::Clean });
        }
        if let Some(due) = self.due.get_mut(server) {
            *due = Due { at: at + after, returns: is_absent };
        }
        self.find_next_due();
    }

    /// The server whose turn begins or ends. Nobody leaves before whoever comes back then: where a round takes
    /// all of its period, one is absent at any time and never two.
    fn whose_turn(&self, now: f64) -> Option<usize> {
        let first = self.due.iter().position(|due| due.at <= now)?;
        let group = self.servers.get(first).and_then(|it| self.service.groups.get(it.group));
        let every = group.and_then(|group| group.rejuvenation).map_or(0.0, |turns| turns.every);
        let soon = now + every * TURNS_WITHIN;
        Some(self.due.iter().position(|due| due.returns && due.at <= soon).unwrap_or(first))
    }
}

impl Budget<'_> {
    fn look(&self) -> Result<(), EngineError> {
        self.events.fetch_add(LOOK_EVERY, Ordering::Relaxed);
        if self.cancel.load(Ordering::Relaxed) {
            return Err(EngineError::Cancelled);
        }
        self.check()
    }
}

/// Servers that are absent with each of a group that is so at random; by the calendar each is so itself.
fn others(group: Option<&ServerGroup>) -> u32 {
    let turns = group.and_then(|group| group.rejuvenation);
    turns.filter(|it| it.schedule == Schedule::Random).map_or(0, |it| it.others())
}

/// The groups whose recoveries one crew does.
fn crewed(service: &Service) -> Vec<usize> {
    let is_single = |group: &ServerGroup| group.recovery.is_some_and(|it| it.crew == Crew::Single);
    let groups = service.groups.iter().enumerate().filter(|(_, group)| is_single(group));
    groups.map(|(number, _)| number).collect()
}

/// When each server begins its first rejuvenation by a fixed schedule.
fn first_due(service: &Service) -> Vec<f64> {
    let mut all_due = Vec::new();
    for (number, group) in service.groups.iter().enumerate() {
        let turns = service.turns(number);
        let fixed = group.rejuvenation.filter(|it| it.schedule == Schedule::Fixed);
        all_due.extend((0..group.count).map(|server| {
            let (turn, all) = turns.of(server);
            fixed.map_or(f64::INFINITY, |it| it.every * f64::from(turn) / f64::from(all))
        }));
    }
    all_due
}

fn channels(service: &Service) -> Vec<Channel> {
    use Condition::{Clean, Hidden, Latent, Out, Recovering, Rejuvenating};
    let mut channels = Vec::new();
    let mut add = |event, source, group, rate: f64| {
        if rate > 0.0 {
            channels.push(Channel { event, source, group, rate });
        }
    };
    for (number, group) in service.groups.iter().enumerate() {
        add(Event::Intrude, Source::Each(Clean), number, group.intrusion_rate);
        if let Some(recovery) = group.recovery {
            let source = match recovery.crew {
                Crew::Parallel => Source::Each(Recovering),
                Crew::Single => Source::OneOf(Recovering),
            };
            add(Event::Become(Clean), source, number, recovery.rate);
            if group.detection.latency > 0.0 {
                let rate = group.detection.latency.recip();
                add(Event::Become(Recovering), Source::Each(Latent), number, rate);
            }
        }
        if let Some(outage) = group.outage {
            add(Event::Become(Out), Source::Each(Clean), number, outage.rate);
            add(Event::Become(Clean), Source::Each(Out), number, outage.duration.recip());
        }
        let random = group.rejuvenation.filter(|it| it.schedule == Schedule::Random);
        if let Some(turns) = random {
            let rate = turns.uptime().recip();
            let absent = if turns.downtime > 0.0 { turns.leads() } else { 0.0 };
            if absent > 0.0 {
                let back = turns.downtime.recip();
                add(Event::Become(Clean), Source::Each(Rejuvenating), number, back);
                add(Event::Become(Rejuvenating), Source::Each(Clean), number, rate * absent);
            }
            for condition in [Latent, Hidden, Recovering, Out] {
                let expelled = if condition.is_intruded() { turns.expels } else { 1.0 };
                let (from, rate) = (Source::Each(condition), rate * expelled);
                add(Event::Become(Rejuvenating), from, number, rate * absent);
                add(Event::Become(Clean), from, number, rate * (1.0 - absent));
            }
        }
    }
    for (number, shock) in service.shocks.iter().enumerate() {
        add(Event::Shock(number), Source::World, 0, shock.rate);
    }
    let random = service.refresh.filter(|refresh| refresh.schedule == Schedule::Random);
    if let Some(refresh) = random {
        add(Event::Refresh, Source::World, 0, refresh.every.recip());
    }
    channels
}

fn place(condition: Condition) -> usize {
    match condition {
        Condition::Clean => 0,
        Condition::Latent => 1,
        Condition::Hidden => 2,
        Condition::Recovering => 3,
        Condition::Out => 4,
        Condition::Rejuvenating => 5,
    }
}

/// Evenly from 0 to below 1, in steps of 2^-53.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
fn uniform(generator: &mut ChaCha8Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// With mean 1.
fn exponential(generator: &mut ChaCha8Rng) -> f64 {
    -(1.0 - uniform(generator)).ln()
}

/// Evenly among `count`; 0 when there is none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 100")]
fn below(generator: &mut ChaCha8Rng, count: usize) -> usize {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let drawn = (uniform(generator) * f64::from(count)) as usize;
    drawn.min(usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(1))
}
