//! The distributed mode: what the wormholes of a cluster do together.
//!
//! **Guarantee:** [`quorum`], or [`rounds`] while its bound holds, decides each agreement once; [`clock`] keeps a common time, on which no
//! decision rests; [`links`] lets nobody else take part. Whatever comes costs a bounded time and one
//! bounded set of messages; nothing is allocated after the start.

mod clock;
mod decision;
mod instances;
mod links;
mod pairs;
mod quorum;
mod rounds;

pub use instances::{AGREEMENT_RETENTION, AGREEMENTS_PER_HOST, ENDED_PER_HOST};
pub use links::{ClusterError, Member};

use super::random::Random;
use super::slots::Slots;
use super::{ENTITIES_MAX, Outputs};
use crate::attestation::{ClusterId, ReplicaId};
use crate::frame::{
    Agreement, Decision, Entity, EntityId, Frame, Lives, Message, Nanos, Progress, ProposeCall,
    Reading, Refusal, Report, Standing, Tag, WORMHOLES_MAX, Wish,
};
use crate::keys::ProvisionedKey;

use clock::{Clock, Estimate};
use instances::{Instances, Payer, Unopened};
use links::Links;
use pairs::Pairs;
use rounds::Rounds;

/// How far ahead of the common time an agreement may start.
pub const TSTART_AHEAD_MAX: Nanos = Nanos::from_millis(10_000);
/// How long after its start an agreement should be decided, while a majority is up and no host is busy.
pub const AGREEMENT_BOUND: Nanos = Nanos::from_millis(50);
/// Agreements that an entity may have proposed to and still ask about: half of them led by processes of its
/// own host, and the other half divided among all hosts that may have begun the rest.
pub const AGREEMENTS_PER_ENTITY: usize = 64;

/// Messages of one step at most: what was proposed and what follows from it, to each other wormhole.
pub(super) const MESSAGES: usize = 2 * (WORMHOLES_MAX - 1) + 1;

/// How the wormholes of a cluster agree; the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// By a majority: safe at any timing.
    Quorum,
    /// By rounds of the common clock: safe while the bound holds, and without a majority.
    RealTime {
        /// How late a wake-up may be, how long a frame may take, and how uncertain the time may be: above
        /// 0, and [`REAL_TIME_BOUND_MAX`] at most.
        bound: Nanos,
    },
}

/// The longest bound by which rounds end before an agreement is given up.
pub const REAL_TIME_BOUND_MAX: Nanos = Nanos::from_millis(20);
/// Wormholes that agree by rounds: with more, what they may say at once finds no room at a reader.
pub const REAL_TIME_WORMHOLES_MAX: usize = 7;

/// What a step has at hand.
pub(super) struct Turn<'a> {
    pub(super) now: Nanos,
    pub(super) random: &'a mut Random,
    pub(super) out: &'a mut Outputs,
}

/// An agreement that an entity may ask about.
struct Held {
    eid: EntityId,
    name: [u8; 32],
    payer: Payer,
    ends_by: Nanos,
}

/// Who calls: the entity, and the number of its place among all.
#[derive(Clone, Copy)]
pub(super) struct Proposer {
    pub(super) eid: EntityId,
    pub(super) place: usize,
}

/// One wormhole's part in the cluster.
pub(super) struct Distributed {
    links: Links,
    clock: Clock,
    instances: Instances,
    pairs: Pairs,
    /// The start after which this life may vote; none before it has joined.
    fence: Option<Nanos>,
    /// The lives that it listened to when it joined, and when that was.
    joined_with: Lives,
    joined_at: Nanos,
    /// None where a majority agrees.
    rounds: Option<Rounds>,
    held: Box<[Slots<Held, AGREEMENTS_PER_ENTITY>]>,
}

impl Distributed {
    pub(super) fn new(
        members: &[Member],
        engine: Engine,
        own: (ClusterId, ReplicaId),
        key: &ProvisionedKey,
        random: &mut Random,
    ) -> Result<Self, ClusterError> {
        let (bound, rounds) = match engine {
            Engine::Quorum => (Nanos(0), None),
            Engine::RealTime { bound } => (bound, Some(Rounds::new(bound, members.len())?)),
        };
        let links = Links::new(members, bound, own, key, random)?;
        let clock = Clock::new(links.own, links.majority());
        let at_once = rounds.map_or(AGREEMENTS_PER_HOST, |rounds| rounds.agreements_per_host());
        let instances = Instances::new(links.count(), at_once);
        let pairs = Pairs::new(links.count());
        let held = (0..ENTITIES_MAX).map(|_| Slots::new()).collect();
        let joined_with = links.lives();
        let (fence, joined_at) = (None, Nanos(0));
        let mut new =
            Self { links, clock, instances, pairs, fence, joined_with, joined_at, rounds, held };
        new.join(Nanos(0));
        Ok(new)
    }

    /// Takes a frame from the control channel. What is no link's next message is nothing.
    pub(super) fn on_control(&mut self, frame: &Frame, turn: &mut Turn<'_>) {
        let Some((from, message)) = self.links.open(frame, turn) else { return };
        match message {
            Message::Greeting(_) => {}
            Message::Poll(poll) => {
                let report = self.report();
                let reading = self.clock.read(turn.now, from, &poll, report);
                self.links.send(from, &Message::Reading(reading), turn);
            }
            Message::Reading(reading) => self.on_reading(from, &reading, turn.now),
            Message::Proposal(agreement, [place, charged], value) => {
                self.on_proposal((from, charged.into()), &agreement, (place, value), turn);
            }
            Message::Prepare(agreement, ..) if self.rounds.is_some() => {
                self.tell(from, &agreement, turn);
            }
            Message::Prepare(agreement, charged, ballot, lives) => {
                let from = (from, usize::from(charged));
                self.on_prepare(from, &agreement, (ballot, &lives), turn);
            }
            Message::Promise(agreement, ballot, voted) => {
                self.on_promise(from, &agreement, (ballot, voted), turn);
            }
            Message::Accept(agreement, charged, ballot, lives, decision) => {
                let from = (from, usize::from(charged));
                self.on_accept(from, &agreement, (ballot, &lives), decision, turn);
            }
            Message::Accepted(agreement, ballot) => {
                self.on_accepted(from, &agreement, ballot, turn);
            }
            Message::Decided(agreement, decision) => {
                self.on_decided(&agreement, decision, turn.now);
            }
            Message::KeyWish(wish) => self.on_key_wish(from, &wish, turn),
            Message::KeyGiven(wish, nonce) => self.on_key_given(from, &wish, nonce),
            Message::Round(agreement, charged, round, said) => {
                let from = (from, usize::from(charged));
                self.on_round(from, &agreement, (round, &said), turn);
            }
        }
    }

    /// Does one of the things that are due, if any is: the next is due at once.
    pub(super) fn on_time(&mut self, turn: &mut Turn<'_>) {
        if self.clock.next_poll() <= turn.now {
            if self.rounds.is_some() {
                self.clock.majority = self.links.majority_of_present(turn.now);
            }
            let poll = self.clock.poll(turn.now, &self.links.lives());
            self.links.tick(&Message::Poll(poll), turn);
        } else if let Some((due, instance)) = self.instances.next_due()
            && due <= turn.now
        {
            self.on_due(instance, turn);
        }
    }

    pub(super) fn next_deadline(&self) -> Nanos {
        let due = self.instances.next_due().map_or(Nanos::NEVER, |(due, _)| due);
        due.min(self.clock.next_poll())
    }

    /// The common time.
    pub(super) fn time(&self, now: Nanos) -> Option<Estimate> {
        self.clock.time(now)
    }

    /// Takes part in an agreement; `tag` is what the proposer asks by.
    pub(super) fn propose(
        &mut self,
        proposer: Proposer,
        call: &ProposeCall,
        tag: Tag,
        turn: &mut Turn<'_>,
    ) -> Result<Standing, Refusal> {
        let now = turn.now;
        let time = self.time(now).ok_or(Refusal::NotSynchronised)?;
        let agreement = &call.agreement;
        let place = self.place_in(agreement, proposer.eid)?;
        if agreement.tstart.since(time.earliest) > TSTART_AHEAD_MAX {
            return Err(Refusal::TooFar);
        }
        let is_late = time.latest >= agreement.tstart;
        let bound = self.rounds.map_or(AGREEMENT_BOUND, |rounds| rounds.span());
        let (name, starts_at) = (agreement.name(), self.starts_at(now, agreement));
        let own = self.payer(self.links.own, agreement);
        let payer = self.instances.payer(&name).unwrap_or(own);
        self.hold(
            proposer,
            tag,
            Held {
                eid: proposer.eid,
                name,
                payer,
                ends_by: agreement.tstart.max(time.latest).after(bound),
            },
            (now, starts_at),
        )?;
        if let Some(decision) = self.instances.ended(&name) {
            let has_proposed = decision.proposed_any & (1 << place) != 0;
            return Ok(if has_proposed {
                Standing::AlreadyProposed
            } else {
                Standing::TstartExpired
            });
        }
        let found = self.instances.find(&name);
        let begun = || self.instances.open(now, own, agreement, starts_at);
        let instance = found.map_or_else(begun, Ok).map_err(|unopened| {
            if let Some(held) = self.held.get_mut(proposer.place) {
                held.take(tag);
            }
            match unopened {
                Unopened::Forgotten => Refusal::TstartExpired,
                Unopened::Full(next_free) => Refusal::NoResources { next_free },
            }
        })?;
        if found.is_none() {
            self.begin(instance, turn);
        }
        Ok(self.stand(instance, (place, call.value), is_late, turn))
    }

    fn stand(
        &mut self,
        instance: usize,
        (place, value): (u8, Option<[u8; 32]>),
        is_late: bool,
        turn: &mut Turn<'_>,
    ) -> Standing {
        let Some(active) = self.instances.active(instance) else { return Standing::TstartExpired };
        let proposal = active.proposals.get(usize::from(place));
        if proposal.is_none_or(|proposal| *proposal != decision::Proposal::Missing) {
            return Standing::AlreadyProposed;
        }
        let would_count = self.rounds.is_none() || active.progress.takes_part;
        if is_late || active.attempts > 0 || !would_count {
            return Standing::TstartExpired;
        }
        active.to_repeat |= 1 << place;
        active.is_first |= place == 0;
        let (agreement, charged) = (active.agreement, active.payer.host as u8);
        self.links.broadcast(&Message::Proposal(agreement, [place, charged], value), turn);
        if self.rounds.is_some() {
            self.on_early_proposal(instance, place, value);
        } else {
            self.put_proposal(instance, place, value, turn);
            self.wait_for_start(instance, turn.now);
        }
        Standing::Taken
    }

    /// Plans what is to be done about an agreement that is new here.
    fn begin(&mut self, instance: usize, turn: &Turn<'_>) {
        match self.rounds {
            Some(rounds) => self.enter(instance, rounds, turn),
            None => self.wait_for_start(instance, turn.now),
        }
    }

    /// How far an agreement is that the entity proposed to.
    pub(super) fn progress(
        &mut self,
        now: Nanos,
        proposer: Proposer,
        tag: Tag,
    ) -> Result<Progress, Refusal> {
        let place = self.held.get_mut(proposer.place).ok_or(Refusal::UnknownTag)?;
        let held = place.find(tag).filter(|held| held.eid == proposer.eid);
        let held = held.ok_or(Refusal::UnknownTag)?;
        let ended: Option<Decision> = self.instances.ended(&held.name);
        if ended.is_none() && self.instances.find(&held.name).is_some() {
            return Ok(Progress::Running { ends_by: held.ends_by });
        }
        place.release(now, tag); // it was told: another may have its place
        Ok(ended.map_or(Progress::GivenUp, Progress::Ended))
    }

    fn hold(
        &mut self,
        proposer: Proposer,
        tag: Tag,
        held: Held,
        (now, starts_at): (Nanos, Nanos),
    ) -> Result<(), Refusal> {
        let kept_until = starts_at.max(now).after(AGREEMENT_RETENTION);
        let of_rest = AGREEMENTS_PER_ENTITY / 2 / self.links.count();
        let is_own = held.payer.is_first && held.payer.host == self.links.own;
        let most = if is_own { AGREEMENTS_PER_ENTITY / 2 } else { of_rest };
        let place = self.held.get_mut(proposer.place).ok_or(Refusal::NotAuthenticated)?;
        let of_payer = || place.kept(now).filter(|(_, one)| one.payer == held.payer);
        if of_payer().count() >= most {
            let next_free = of_payer().map(|(until, _)| until).min().unwrap_or(now);
            return Err(Refusal::NoResources { next_free });
        }
        let kept = place.keep(now, tag, kept_until, held);
        kept.map_err(|next_free| Refusal::NoResources { next_free })
    }

    /// The caller's place in the list, all of whose hosts must be members.
    fn place_in(&self, agreement: &Agreement, eid: EntityId) -> Result<u8, Refusal> {
        let elist = agreement.elist();
        if elist.iter().any(|entity| self.links.place(entity.replica).is_none()) {
            return Err(Refusal::Conflict);
        }
        let is_caller = |entity: &Entity| {
            self.links.place(entity.replica) == Some(self.links.own)
                && u64::from(entity.local) == eid.0
        };
        let place = (0..).zip(elist).find(|(_, entity)| is_caller(entity));
        place.map(|(place, _)| place).ok_or(Refusal::NotInElist)
    }

    /// Who pays if `host` begins it.
    fn payer(&self, host: usize, agreement: &Agreement) -> Payer {
        let first = agreement.elist().first().and_then(|first| self.links.place(first.replica));
        Payer { host, is_first: first == Some(host) }
    }

    /// When an agreement starts, by the own clock: once `tstart` may have come. Who does not know the time
    /// leaves it to others.
    fn starts_at(&self, now: Nanos, agreement: &Agreement) -> Nanos {
        let ahead = self.time(now).map(|time| agreement.tstart.since(time.latest));
        now.after(ahead.unwrap_or(TSTART_AHEAD_MAX).min(TSTART_AHEAD_MAX))
    }

    fn report(&self) -> Report {
        let fence = self.fence.unwrap_or_default().max(self.instances.latest);
        let (has_joined, lives) = (self.fence.is_some(), self.links.lives());
        let is_elder = has_joined && self.joined_with != lives;
        Report { has_joined, is_elder, fence, lives }
    }

    fn on_reading(&mut self, from: usize, reading: &Reading, now: Nanos) {
        let knows_no_later = self.relies_on_present_lives(&reading.report.lives);
        let granted = if knows_no_later { reading.granted } else { Wish::Nothing };
        let reading = Reading { granted, ..*reading };
        self.clock.on_reading(now, from, &reading, &self.links.lives());
        if let Some(link) = self.links.link_mut(from) {
            link.report = Some(reading.report);
        }
        if self.fence.is_none() {
            self.join(now);
        }
    }

    /// Joins, once enough is known of what earlier lives may have done.
    fn join(&mut self, now: Nanos) {
        let (lives, own) = (self.links.lives(), self.links.own);
        let reports = || {
            let links = self.links.others().map(|number| self.links.link(number));
            links.map(|link| link.and_then(|link| link.report))
        };
        let knows_me = |report: &Report| report.lives.get(own) == lives.get(own);
        let joined = || reports().flatten().filter(|report| report.has_joined && knows_me(report));
        let needed = self.links.count() - self.links.majority() + 1;
        // A first start: none of these lives has taken part in anything with one that is over.
        let is_first = |report: &Report| report.lives == lives && !report.is_elder;
        let are_all_new = || reports().all(|report| report.as_ref().is_some_and(is_first));
        if joined().count() >= needed || are_all_new() {
            self.fence = reports().flatten().map(|report| report.fence).max().or(Some(Nanos(0)));
            (self.joined_with, self.joined_at) = (lives, now);
            self.clock.has_joined = true;
        }
    }
}
