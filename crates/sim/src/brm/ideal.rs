//! Wormholes in memory and virtual time: what the contract of `ravelin_model::ttcb` says, no more.
//!
//! **Guarantee:** one value for an instance, whoever asks. Everything else that wormholes may do is
//! done on demand: a proposal on its way for too long is not counted, an instance ends without a
//! value or, with too few wormholes left, never; a decision is known late, or a wormhole gives up hearing
//! of it; a wormhole stops, has no room, or is not synchronised.

use std::collections::BTreeMap;
use std::time::Duration;

use ravelin_model::ttcb::{
    Agreement, AgreementTag, DecisionFunction, Entity, Progress, ProposeError, Proposed,
    TrustedTime, TrustedTimestamp, Ttcb, TtcbError, Value,
};

/// All wormholes of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ideal {
    /// The common time.
    pub now: TrustedTime,
    /// From the start of an instance to its end.
    pub takes: Duration,
    /// How far ahead an instance may be planned.
    pub ahead: Duration,
    /// How long after `tstart` an instance is remembered.
    pub retention: Duration,
    /// How long after `tstart` a wormhole gives up that is told nothing.
    pub gives_up: Duration,
    /// Instances at most that an entity waits for.
    pub slots: usize,
    /// Wormholes that must run for an instance to end; none where rounds in real time do it.
    pub needed: usize,
    seats: BTreeMap<Entity, Seat>,
    known: BTreeMap<Agreement, usize>,
    instances: Vec<Instance>,
}

/// The wormhole of an entity's host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seat {
    /// Whether it has stopped.
    pub is_halted: bool,
    /// Whether it lost the common time.
    pub is_unsynchronised: bool,
    /// How far the ends of its timestamps are from the truth.
    pub error: Duration,
    /// How long its host takes to bring it a proposal.
    pub stall: Duration,
    /// How long its proposals take until they count.
    pub to_count: Duration,
    /// How long it takes to learn a decision.
    pub to_learn: Duration,
    /// Whether nobody tells it decisions, so that it gives up in the end.
    pub is_untold: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Instance {
    agreement: Agreement,
    /// By place in the list: the value, and when it counts.
    proposals: BTreeMap<usize, (Option<Value>, TrustedTime)>,
    ended: Option<Ended>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ended {
    at: TrustedTime,
    value: Option<Value>,
    proposed_ok: u16,
    proposed_any: u16,
}

/// An entity's access to its wormhole.
#[derive(Debug)]
pub struct Port<'a> {
    wormholes: &'a mut Ideal,
    entity: Entity,
}

impl Ideal {
    /// Sound wormholes of these entities' hosts, of which `needed` must run for an instance to end.
    #[must_use]
    pub fn new(entities: &[Entity], needed: usize) -> Self {
        Self {
            now: TrustedTime(1_000_000_000),
            takes: Duration::from_millis(1),
            ahead: Duration::from_secs(1),
            retention: Duration::from_secs(60),
            gives_up: Duration::from_millis(200),
            slots: 64,
            needed,
            seats: entities.iter().map(|entity| (*entity, Seat::default())).collect(),
            known: BTreeMap::new(),
            instances: vec![],
        }
    }

    /// The wormhole of `entity`'s host, to be changed.
    ///
    /// # Panics
    /// If there is none.
    pub fn seat(&mut self, entity: Entity) -> &mut Seat {
        self.seats.get_mut(&entity).expect("an entity of this cluster")
    }

    /// The access of `entity` to its wormhole.
    pub fn at(&mut self, entity: Entity) -> Port<'_> {
        Port { wormholes: self, entity }
    }

    /// How many of them run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.seats.values().filter(|seat| !seat.is_halted).count()
    }

    /// What an instance ended with, as far as it has: the value.
    #[must_use]
    pub fn decided(&self, agreement: &Agreement) -> Option<Option<Value>> {
        let instance = self.instances.get(*self.known.get(agreement)?)?;
        instance.ended.map(|ended| ended.value)
    }

    /// Ends the instance if it is time.
    fn settle(&mut self, index: usize) {
        let (now, takes, running) = (self.now, self.takes, self.running());
        let Some(instance) = self.instances.get_mut(index) else { return };
        if instance.ended.is_some() || running < self.needed {
            return;
        }
        let Instance { agreement, proposals, .. } = instance;
        let last = proposals.values().map(|(_, counts)| *counts).max().unwrap_or_default();
        let are_all = proposals.len() == agreement.elist.len();
        let start = if are_all { last.min(agreement.tstart) } else { agreement.tstart };
        if start <= now {
            instance.end(start, start.after(takes));
        }
    }

    fn index(&mut self, agreement: &Agreement) -> usize {
        if let Some(index) = self.known.get(agreement) {
            return *index;
        }
        let index = self.instances.len();
        let agreement = agreement.clone();
        self.known.insert(agreement.clone(), index);
        self.instances.push(Instance { agreement, proposals: BTreeMap::new(), ended: None });
        index
    }
}

impl Instance {
    /// Decides on what counts at `start`.
    ///
    /// # Panics
    /// If the function is not that of a reliable multicast.
    fn end(&mut self, start: TrustedTime, at: TrustedTime) {
        assert_eq!(self.agreement.decision, DecisionFunction::ReliableMulticast);
        let counted = || self.proposals.iter().filter(|(_, (_, counts))| *counts <= start);
        let value = counted().find(|(place, _)| **place == 0).and_then(|(_, (value, _))| *value);
        let mask = |is_in: &dyn Fn(Option<Value>) -> bool| {
            let places = counted().filter(|(_, (value, _))| is_in(*value)).map(|(place, _)| place);
            places.fold(0, |mask, place| mask | 1u16 << place)
        };
        let proposed_ok = mask(&|proposed| value.is_some() && proposed == value);
        let proposed_any = mask(&|_| true);
        self.ended = Some(Ended { at, value, proposed_ok, proposed_any });
    }
}

impl Port<'_> {
    fn seat(&self) -> Result<Seat, TtcbError> {
        let seat = self.wormholes.seats.get(&self.entity).copied().unwrap_or_default();
        if seat.is_halted { Err(TtcbError::Halted) } else { Ok(seat) }
    }

    /// Why the proposal would not count, apart from what is known of the instance.
    fn refusal(&self, agreement: &Agreement, arrives: TrustedTime) -> Option<ProposeError> {
        if !agreement.is_well_formed() {
            Some(ProposeError::Conflict)
        } else if !agreement.elist.contains(&self.entity) {
            Some(ProposeError::NotInElist)
        } else if agreement.tstart > arrives.after(self.wormholes.ahead) {
            Some(ProposeError::TstartTooFar)
        } else {
            None
        }
    }

    /// When one of the places that the entity holds gets free, if it holds them all.
    fn next_free(&self, place: impl Fn(&Agreement) -> Option<usize>) -> Option<TrustedTime> {
        let is_held = |it: &&Instance| {
            it.ended.is_none()
                && place(&it.agreement).is_some_and(|place| it.proposals.contains_key(&place))
        };
        let held = || self.wormholes.instances.iter().filter(is_held);
        let is_full = held().count() >= self.wormholes.slots;
        is_full.then(|| held().map(|it| it.agreement.tstart).min().unwrap_or_default())
    }
}

impl Ttcb for Port<'_> {
    fn timestamp(&mut self) -> Result<TrustedTimestamp, TtcbError> {
        let seat = self.seat()?;
        let now = self.wormholes.now;
        let error = u64::try_from(seat.error.as_nanos()).unwrap_or(u64::MAX);
        Ok(TrustedTimestamp {
            earliest: TrustedTime(now.0.saturating_sub(error)),
            latest: now.after(seat.error),
            is_synchronised: !seat.is_unsynchronised,
        })
    }

    fn propose(
        &mut self,
        agreement: &Agreement,
        value: Option<Value>,
    ) -> Result<Proposed, TtcbError> {
        let seat = self.seat()?;
        let refused = |error, tag| Ok(Proposed { tag, error: Some(error) });
        if seat.is_unsynchronised {
            return refused(ProposeError::NotSynchronised, None);
        }
        let arrives = self.wormholes.now.after(seat.stall);
        if let Some(error) = self.refusal(agreement, arrives) {
            return refused(error, None);
        }
        let entity = self.entity;
        let place_of = |it: &Agreement| it.elist.iter().position(|member| *member == entity);
        let place = place_of(agreement).unwrap_or_default();
        for index in 0..self.wormholes.instances.len() {
            self.wormholes.settle(index);
        }
        if let Some(next_free) = self.next_free(place_of).filter(|_| arrives <= agreement.tstart) {
            return refused(ProposeError::NoResources { next_free }, None);
        }
        let index = self.wormholes.index(agreement);
        let tag = Some(AgreementTag(index as u64));
        let instance = self.wormholes.instances.get_mut(index).expect("its index was just found");
        if instance.proposals.contains_key(&place) {
            return refused(ProposeError::AlreadyProposed, tag);
        }
        if arrives > agreement.tstart || instance.ended.is_some() {
            return refused(ProposeError::TstartExpired, tag);
        }
        instance.proposals.insert(place, (value, arrives.after(seat.to_count)));
        Ok(Proposed { tag, error: None })
    }

    fn decide(&mut self, tag: AgreementTag) -> Result<Progress, TtcbError> {
        let seat = self.seat()?;
        let index = usize::try_from(tag.0).map_err(|_| TtcbError::UnknownInstance)?;
        self.wormholes.settle(index);
        let instance = self.wormholes.instances.get(index).ok_or(TtcbError::UnknownInstance)?;
        let Agreement { tstart, .. } = instance.agreement;
        if self.wormholes.now > tstart.after(self.wormholes.retention) {
            return Err(TtcbError::UnknownInstance);
        }
        if seat.is_untold && self.wormholes.now > tstart.after(self.wormholes.gives_up) {
            return Ok(Progress::GivenUp);
        }
        let is_known =
            |it: &Ended| it.at.after(seat.to_learn) <= self.wormholes.now && !seat.is_untold;
        let known = instance.ended.filter(is_known);
        Ok(match known {
            Some(Ended { value, proposed_ok, proposed_any, .. }) => {
                Progress::Ended { value, proposed_ok, proposed_any }
            }
            None => Progress::Running { ends_by: tstart.after(self.wormholes.takes) },
        })
    }
}
