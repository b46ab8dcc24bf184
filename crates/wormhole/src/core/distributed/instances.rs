//! The agreements that are under way or ended: fixed places, so many for each host that began one.
//!
//! **Guarantee:** an agreement that this wormhole knew is known until its time is over by
//! [`AGREEMENT_RETENTION`], and after that none of its name, or of an earlier time, is begun again
//! here. Whoever begins many takes places of its own host only; and half of these at most are for what the
//! host began for a process that is not the first of the list, as others can make it do.

use super::decision::Proposal;
use super::rounds::Progress;
use crate::frame::{Agreement, Ballot, Decision, ELIST_MAX, Lives, Nanos};

/// Agreements that are not decided, of those that one host began.
pub const AGREEMENTS_PER_HOST: usize = 8;
/// Agreements that are decided and still known, of those that one host began.
pub const ENDED_PER_HOST: usize = 64;
/// How long after its start an agreement is known: its decision, or that there is none yet.
pub const AGREEMENT_RETENTION: Nanos = Nanos::from_millis(4_000);

/// Who pays for an agreement: a host, out of which part of its places.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Payer {
    pub(super) host: usize,
    /// Whether the first process of the list is of that host.
    pub(super) is_first: bool,
}

/// One that is not decided, as far as is known here.
pub(super) struct Active {
    pub(super) agreement: Agreement,
    pub(super) name: [u8; 32],
    pub(super) payer: Payer,
    /// By the own clock.
    pub(super) starts_at: Nanos,
    pub(super) proposals: [Proposal; ELIST_MAX],
    /// Proposals of this host that are to be said again.
    pub(super) to_repeat: u16,
    /// Whether the first process of the list proposed here: then the first attempt is this process's.
    pub(super) is_first: bool,
    /// No attempt before this one is taken part in.
    pub(super) promised: Ballot,
    /// What was voted for last.
    pub(super) voted: Option<(Ballot, Decision)>,
    pub(super) attempt: Attempt,
    pub(super) attempts: u32,
    /// The highest number of any attempt heard of.
    pub(super) highest: u64,
    /// Of the engine by rounds.
    pub(super) progress: Progress,
    /// When to do something about it.
    pub(super) due: Nanos,
}

/// The own attempt to decide, with the lives it counts on and who answered.
pub(super) enum Attempt {
    None,
    Preparing { ballot: Ballot, lives: Lives, from: u16, voted: Option<(Ballot, Decision)> },
    Accepting { ballot: Ballot, lives: Lives, from: u16, decision: Decision },
}

/// One that is decided.
pub(super) struct Ended {
    name: [u8; 32],
    payer: Payer,
    tstart: Nanos,
    kept_until: Nanos,
    decision: Decision,
}

/// Why an agreement is not begun.
pub(super) enum Unopened {
    /// It may be one that was forgotten.
    Forgotten,
    /// Its host has no place left until then.
    Full(Nanos),
}

/// All of them. Nothing is allocated after this is made.
pub(super) struct Instances {
    active: Box<[Option<Active>]>,
    ended: Box<[Option<Ended>]>,
    /// How many of the first a host may have: [`AGREEMENTS_PER_HOST`] at most.
    at_once: usize,
    /// The latest start of any that was forgotten.
    forgotten: Nanos,
    /// The latest start of any that was ever known.
    pub(super) latest: Nanos,
}

impl Instances {
    pub(super) fn new(member_count: usize, at_once: usize) -> Self {
        let active = (0..member_count * AGREEMENTS_PER_HOST).map(|_| None).collect();
        let ended = (0..member_count * ENDED_PER_HOST).map(|_| None).collect();
        Self { active, ended, at_once, forgotten: Nanos(0), latest: Nanos(0) }
    }

    pub(super) fn find(&self, name: &[u8; 32]) -> Option<usize> {
        let is_it = |one: &Option<Active>| one.as_ref().is_some_and(|one| one.name == *name);
        self.active.iter().position(is_it)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Active> {
        self.active.iter().flatten()
    }

    pub(super) fn active(&mut self, place: usize) -> Option<&mut Active> {
        self.active.get_mut(place)?.as_mut()
    }

    pub(super) fn ended(&self, name: &[u8; 32]) -> Option<Decision> {
        self.ended.iter().flatten().find(|one| one.name == *name).map(|one| one.decision)
    }

    /// Who pays for one that is known.
    pub(super) fn payer(&self, name: &[u8; 32]) -> Option<Payer> {
        let active = self.active.iter().flatten().find(|one| one.name == *name);
        let ended = || self.ended.iter().flatten().find(|one| one.name == *name);
        active.map(|one| one.payer).or_else(|| ended().map(|one| one.payer))
    }

    /// Begins one, for which there must be room.
    pub(super) fn open(
        &mut self,
        now: Nanos,
        payer: Payer,
        agreement: &Agreement,
        starts_at: Nanos,
    ) -> Result<usize, Unopened> {
        let host = payer.host;
        self.forget_old(now, host);
        if agreement.tstart <= self.forgotten {
            return Err(Unopened::Forgotten);
        }
        self.has_room(host, (|_| true, 1))?;
        if !payer.is_first {
            self.has_room(host, (|one| !one.is_first, 2))?;
        }
        let first = host * AGREEMENTS_PER_HOST;
        let mut places = self.active.iter().skip(first);
        let place = first + places.position(Option::is_none).ok_or(Unopened::Forgotten)?;
        let slot = self.active.get_mut(place).ok_or(Unopened::Forgotten)?;
        self.latest = self.latest.max(agreement.tstart);
        *slot = Some(Active {
            agreement: *agreement,
            name: agreement.name(),
            payer,
            starts_at,
            proposals: [Proposal::Missing; ELIST_MAX],
            to_repeat: 0,
            is_first: false,
            promised: Ballot::default(),
            voted: None,
            attempt: Attempt::None,
            attempts: 0,
            highest: 0,
            progress: Progress::default(),
            due: starts_at,
        });
        Ok(place)
    }

    /// Whether a host has room for one more of a kind that may have its places' `part`-th part.
    fn has_room(
        &self,
        host: usize,
        (is_of_kind, part): (fn(Payer) -> bool, usize),
    ) -> Result<(), Unopened> {
        let first = host * AGREEMENTS_PER_HOST;
        let places = self.active.get(first..first + AGREEMENTS_PER_HOST).unwrap_or_default();
        let under_way = places.iter().flatten().filter(|one| is_of_kind(one.payer));
        let (count, gives_up) = under_way.fold((0, Nanos::NEVER), |(count, gives_up), one| {
            (count + 1, gives_up.min(one.starts_at.after(AGREEMENT_RETENTION)))
        });
        if count >= self.at_once / part {
            return Err(Unopened::Full(gives_up));
        }
        let ended = self.ended_of(host).iter().flatten().filter(|one| is_of_kind(one.payer));
        let (decided, leaves) = ended.fold((0, Nanos::NEVER), |(count, leaves), one| {
            (count + 1, leaves.min(one.kept_until))
        });
        let is_full = count + decided >= ENDED_PER_HOST / part;
        if is_full { Err(Unopened::Full(leaves.min(gives_up))) } else { Ok(()) }
    }

    /// Keeps what was decided; its host has a place for it since it was begun.
    pub(super) fn end(&mut self, now: Nanos, place: usize, decision: Decision) {
        let Some(active) = self.active.get_mut(place).and_then(Option::take) else { return };
        let host = active.payer.host;
        let kept_until = active.starts_at.max(now).after(AGREEMENT_RETENTION);
        let (name, payer, tstart) = (active.name, active.payer, active.agreement.tstart);
        self.forget_old(now, host);
        let first = host * ENDED_PER_HOST;
        let places = self.ended.get_mut(first..first + ENDED_PER_HOST).unwrap_or_default();
        let free = places.iter_mut().find(|one| one.is_none());
        let free = free.expect("an agreement is begun only if it has a place to end in");
        *free = Some(Ended { name, payer, tstart, kept_until, decision });
    }

    /// Gives one up that could not be decided.
    pub(super) fn give_up(&mut self, place: usize) {
        if let Some(active) = self.active.get_mut(place).and_then(Option::take) {
            self.forgotten = self.forgotten.max(active.agreement.tstart);
        }
    }

    /// The place of the one about which something is to be done first, and when.
    pub(super) fn next_due(&self) -> Option<(Nanos, usize)> {
        let places = self.active.iter().zip(0..);
        places.filter_map(|(one, place)| Some((one.as_ref()?.due, place))).min()
    }

    fn ended_of(&self, host: usize) -> &[Option<Ended>] {
        let first = host * ENDED_PER_HOST;
        self.ended.get(first..first + ENDED_PER_HOST).unwrap_or_default()
    }

    fn forget_old(&mut self, now: Nanos, host: usize) {
        let first = host * ENDED_PER_HOST;
        let places = self.ended.get_mut(first..first + ENDED_PER_HOST).unwrap_or_default();
        for place in places {
            if let Some(old) = place.take_if(|one| one.kept_until <= now) {
                self.forgotten = self.forgotten.max(old.tstart);
            }
        }
    }
}
