//! The engine `Quorum`: one decision of each agreement among the wormholes of the cluster.
//!
//! **Guarantee:** of one agreement no two wormholes ever tell two decisions, whatever becomes of messages
//! and time, and whichever wormholes stop or start again. A majority that is up, has joined and hears
//! each other decides. Assumes what [`links`](super::links) guarantees, and that wormholes do not lie.
//!
//! | message | sent when | effect |
//! |---|---|---|
//! | `Proposal` | a process of this host proposed; twice | whoever decides may count it |
//! | `Prepare` | an attempt, but the first, begins | takes part in no earlier attempt |
//! | `Promise` | answer | a majority: the vote in the latest attempt, or the proposals, become its decision |
//! | `Accept` | the first attempt begins, or a majority promised | votes, unless bound to a later attempt |
//! | `Accepted` | answer | a majority: decided |
//! | `Decided` | decided; and whoever asks later | ended |
//!
//! The first attempt needs no promises, since none is before it: only the process makes it to which the
//! first of the list proposed. It begins when all have proposed, or at `tstart`. The other wormholes try
//! one after the other, by their places behind that one, each time waiting twice as long.
//!
//! **Starting again.** Nothing is on a disk: a new life does not know what its earlier ones voted for.
//! It votes in agreements that start after its *fence* only, and has one, has *joined*, when so many
//! others told it theirs that every majority has one of them; or all others, none of which knew more,
//! as when a cluster begins. Whoever told its fence listens to no earlier life, and its answers count
//! in no attempt that relies on one: an attempt names the lives that it counts on.
//!
//! # Source
//! L. Lamport, *The Part-Time Parliament*, ACM TOCS 16(2) 1998, the single-decree synod; E. Michael et
//! al., *Recovering Shared Objects Without Stable Storage*, DISC 2017, for starting again.

use super::decision::{Proposal, decide};
use super::instances::{AGREEMENT_RETENTION, Active, Attempt};
use super::{Distributed, Turn};
use crate::frame::{Agreement, Ballot, Decision, Entity, Life, Lives, Message, Nanos, Value};

/// How long an attempt is waited for before the next.
const RETRY_EVERY: Nanos = Nanos::from_millis(5);
/// The longest such wait is 2 to this power times as long.
const RETRY_DOUBLINGS_MAX: u32 = 7;

impl Distributed {
    /// What another process proposed.
    pub(super) fn on_proposal(
        &mut self,
        (from, charged): (usize, usize),
        agreement: &Agreement,
        (place, value): (u8, Option<Value>),
        turn: &mut Turn<'_>,
    ) {
        let proposer = agreement.elist().get(usize::from(place));
        let host = proposer.and_then(|proposer| self.links.place(proposer.replica));
        if host != Some(from) {
            return;
        }
        let Some(instance) = self.known((from, charged), agreement, turn) else { return };
        if self.rounds.is_some() {
            self.on_early_proposal(instance, place, value);
        } else {
            self.put_proposal(instance, place, value, turn);
        }
    }

    /// Counts a proposal, and begins if it was the last one missing.
    pub(super) fn put_proposal(
        &mut self,
        instance: usize,
        place: u8,
        value: Option<Value>,
        turn: &mut Turn<'_>,
    ) {
        let Some(active) = self.instances.active(instance) else { return };
        let Some(proposal) = active.proposals.get_mut(usize::from(place)) else { return };
        if *proposal != Proposal::Missing {
            return;
        }
        *proposal = Proposal::new(value);
        let listed = active.proposals.iter().take(active.agreement.elist().len());
        let are_all_here = listed.into_iter().all(|one| *one != Proposal::Missing);
        if are_all_here && active.is_first && active.attempts == 0 {
            self.attempt(instance, turn);
        }
    }

    pub(super) fn on_prepare(
        &mut self,
        (from, charged): (usize, usize),
        agreement: &Agreement,
        (ballot, lives): (Ballot, &Lives),
        turn: &mut Turn<'_>,
    ) {
        let Some(instance) = self.known((from, charged), agreement, turn) else { return };
        let may_vote = self.may_vote(agreement) && self.relies_on_present_lives(lives);
        let wait = self.wait(agreement, 0);
        let Some(active) = self.instances.active(instance) else { return };
        active.highest = active.highest.max(ballot.number);
        if !may_vote {
            return;
        }
        if ballot >= active.promised {
            active.promised = ballot;
            active.due = active.due.max(turn.now.after(wait)); // one at a time
        }
        // Also where it refuses: what it promised may be a later attempt of the very one that asks, whose
        // answer to that this then is, once more.
        let promise = Message::Promise(*agreement, active.promised, active.voted);
        self.links.send(from, &promise, turn);
    }

    pub(super) fn on_promise(
        &mut self,
        from: usize,
        agreement: &Agreement,
        (ballot, voted): (Ballot, Option<(Ballot, Decision)>),
        turn: &mut Turn<'_>,
    ) {
        let Some(instance) = self.instances.find(&agreement.name()) else { return };
        let life = self.links.life_of(from);
        let Some(active) = self.instances.active(instance) else { return };
        active.highest = active.highest.max(ballot.number);
        if let Attempt::Preparing { ballot: own, lives, from: promised, voted: latest } =
            &mut active.attempt
            && *own == ballot
            && counts_on(lives, from, life)
        {
            *promised |= 1 << from;
            *latest = later(*latest, voted);
            self.propose_value(instance, turn);
        }
    }

    pub(super) fn on_accept(
        &mut self,
        (from, charged): (usize, usize),
        agreement: &Agreement,
        (ballot, lives): (Ballot, &Lives),
        decision: Decision,
        turn: &mut Turn<'_>,
    ) {
        let Some(instance) = self.known((from, charged), agreement, turn) else { return };
        let may_vote = self.may_vote(agreement) && self.relies_on_present_lives(lives);
        let Some(active) = self.instances.active(instance) else { return };
        active.highest = active.highest.max(ballot.number);
        if !may_vote {
            return;
        }
        let answer = if vote(active, ballot, decision) {
            Message::Accepted(*agreement, ballot)
        } else {
            Message::Promise(*agreement, active.promised, active.voted)
        };
        self.links.send(from, &answer, turn);
    }

    pub(super) fn on_accepted(
        &mut self,
        from: usize,
        agreement: &Agreement,
        ballot: Ballot,
        turn: &mut Turn<'_>,
    ) {
        let Some(instance) = self.instances.find(&agreement.name()) else { return };
        let life = self.links.life_of(from);
        let Some(active) = self.instances.active(instance) else { return };
        if let Attempt::Accepting { ballot: own, lives, from: voters, .. } = &mut active.attempt
            && *own == ballot
            && counts_on(lives, from, life)
        {
            *voters |= 1 << from;
            self.count_votes(instance, turn);
        }
    }

    pub(super) fn on_decided(&mut self, agreement: &Agreement, decision: Decision, now: Nanos) {
        if let Some(instance) = self.instances.find(&agreement.name()) {
            self.instances.end(now, instance, decision);
        }
    }

    /// Does what is due for one agreement.
    pub(super) fn on_due(&mut self, instance: usize, turn: &mut Turn<'_>) {
        if let Some(rounds) = self.rounds {
            return self.on_round_due(instance, rounds, turn);
        }
        let Some(active) = self.instances.active(instance) else { return };
        if turn.now >= active.starts_at.after(AGREEMENT_RETENTION) {
            return self.instances.give_up(instance);
        }
        if active.to_repeat == 0 {
            return self.attempt(instance, turn);
        }
        let place = active.to_repeat.trailing_zeros();
        active.to_repeat &= active.to_repeat - 1;
        let (agreement, charged) = (active.agreement, active.payer.host as u8);
        let value = active.proposals.get(place as usize).and_then(|one| one.value());
        self.links.broadcast(&Message::Proposal(agreement, [place as u8, charged], value), turn);
        self.wait_for_start(instance, turn.now);
    }

    /// Sets when something is to be done next for an agreement that was not attempted here.
    pub(super) fn wait_for_start(&mut self, instance: usize, now: Nanos) {
        let Some(active) = self.instances.active(instance) else { return };
        if active.attempts > 0 {
            active.to_repeat = 0;
            return;
        }
        let (agreement, starts_at) = (active.agreement, active.starts_at);
        let repeats_at = if active.to_repeat == 0 { Nanos::NEVER } else { now.after(RETRY_EVERY) };
        let begins_at = starts_at.after(self.wait(&agreement, 0).since(RETRY_EVERY));
        if let Some(active) = self.instances.active(instance) {
            active.due = repeats_at.min(begins_at);
        }
    }

    /// Begins the next attempt to decide.
    fn attempt(&mut self, instance: usize, turn: &mut Turn<'_>) {
        let (lives, life) = (self.links.lives(), self.links.life);
        let Some(active) = self.instances.active(instance) else { return };
        let agreement = active.agreement;
        let is_first = active.is_first && active.attempts == 0;
        let attempts = active.attempts;
        active.attempts = attempts.saturating_add(1);
        active.to_repeat = 0;
        let number = if is_first { 0 } else { active.highest.saturating_add(1) };
        active.highest = active.highest.max(number);
        let ballot = Ballot { number, life };
        if is_first {
            let decision = decide(&agreement, &active.proposals);
            active.attempt = Attempt::Accepting { ballot, lives, from: 0, decision };
        } else {
            active.attempt = Attempt::Preparing { ballot, lives, from: 0, voted: None };
        }
        let due = turn.now.after(self.wait(&agreement, attempts));
        let (own, may_vote) = (self.links.own, self.may_vote(&agreement));
        let Some(active) = self.instances.active(instance) else { return };
        active.due = due;
        if is_first {
            return self.ask_for_votes(instance, turn);
        }
        if may_vote
            && ballot > active.promised
            && let Attempt::Preparing { from, voted, .. } = &mut active.attempt
        {
            active.promised = ballot;
            *voted = active.voted;
            *from |= 1 << own;
        }
        let charged = active.payer.host as u8;
        self.links.broadcast(&Message::Prepare(agreement, charged, ballot, lives), turn);
        self.propose_value(instance, turn);
    }

    /// Once a majority promised, asks for votes.
    fn propose_value(&mut self, instance: usize, turn: &mut Turn<'_>) {
        let majority = self.links.majority();
        let Some(active) = self.instances.active(instance) else { return };
        if let Attempt::Preparing { ballot, lives, from, voted } = &active.attempt
            && from.count_ones() as usize >= majority
        {
            // What may have been decided before must be decided again.
            let free = || decide(&active.agreement, &active.proposals);
            let decision = voted.map_or_else(free, |(_, decision)| decision);
            let (ballot, lives) = (*ballot, *lives);
            active.attempt = Attempt::Accepting { ballot, lives, from: 0, decision };
            self.ask_for_votes(instance, turn);
        }
    }

    fn ask_for_votes(&mut self, instance: usize, turn: &mut Turn<'_>) {
        let own = self.links.own;
        let Some(active) = self.instances.active(instance) else { return };
        let (agreement, charged) = (active.agreement, active.payer.host as u8);
        let Attempt::Accepting { ballot, lives, decision, .. } = active.attempt else { return };
        self.links.broadcast(&Message::Accept(agreement, charged, ballot, lives, decision), turn);
        let may_vote = self.may_vote(&agreement);
        let Some(active) = self.instances.active(instance) else { return };
        if may_vote
            && vote(active, ballot, decision)
            && let Attempt::Accepting { from, .. } = &mut active.attempt
        {
            *from |= 1 << own;
        }
        self.count_votes(instance, turn);
    }

    /// Once a majority voted, ends.
    fn count_votes(&mut self, instance: usize, turn: &mut Turn<'_>) {
        let majority = self.links.majority();
        let Some(active) = self.instances.active(instance) else { return };
        if let Attempt::Accepting { from, decision, .. } = active.attempt
            && from.count_ones() as usize >= majority
        {
            let agreement = active.agreement;
            self.instances.end(turn.now, instance, decision);
            self.links.broadcast(&Message::Decided(agreement, decision), turn);
        }
    }

    /// The place of the agreement, which is begun if `charged` has room, and a process in its list; one
    /// that ended is told instead.
    pub(super) fn known(
        &mut self,
        (from, charged): (usize, usize),
        agreement: &Agreement,
        turn: &mut Turn<'_>,
    ) -> Option<usize> {
        let name = agreement.name();
        if let Some(instance) = self.instances.find(&name) {
            return Some(instance);
        }
        if let Some(decision) = self.instances.ended(&name) {
            self.links.send(from, &Message::Decided(*agreement, decision), turn);
            return None;
        }
        let host_of = |entity: &Entity| self.links.place(entity.replica);
        if !agreement.elist().iter().any(|entity| host_of(entity) == Some(charged)) {
            return None;
        }
        let (payer, starts_at) =
            (self.payer(charged, agreement), self.starts_at(turn.now, agreement));
        let instance = self.instances.open(turn.now, payer, agreement, starts_at).ok()?;
        self.begin(instance, turn);
        Some(instance)
    }

    /// Whether this life may bind itself: no earlier one knew the agreement.
    pub(super) fn may_vote(&self, agreement: &Agreement) -> bool {
        self.fence.is_some_and(|fence| agreement.tstart > fence)
    }

    /// Whether an attempt relies on no life of which this process knows a later one.
    pub(super) fn relies_on_present_lives(&self, lives: &Lives) -> bool {
        self.links.lives().iter().zip(lives).all(|(known, relied_on)| {
            *known == Life::UNKNOWN || *relied_on == Life::UNKNOWN || known == relied_on
        })
    }

    /// How long to wait for others, the longer the later this place is behind that of the first process.
    fn wait(&self, agreement: &Agreement, attempts: u32) -> Nanos {
        let first = agreement.elist().first().and_then(|one| self.links.place(one.replica));
        let count = self.links.count();
        let behind = (self.links.own + count - first.unwrap_or(0)) % count;
        let waits = (behind as u64 + 1) << attempts.min(RETRY_DOUBLINGS_MAX);
        Nanos(RETRY_EVERY.0.saturating_mul(waits))
    }
}

/// Votes in an attempt, unless bound to a later one.
fn vote(active: &mut Active, ballot: Ballot, decision: Decision) -> bool {
    if ballot < active.promised && !crate::mutants::is_active("promise_broken") {
        return false;
    }
    active.promised = ballot;
    active.voted = Some((ballot, decision));
    true
}

fn counts_on(lives: &Lives, from: usize, life: Life) -> bool {
    life != Life::UNKNOWN && lives.get(from) == Some(&life)
}

fn later(
    one: Option<(Ballot, Decision)>,
    other: Option<(Ballot, Decision)>,
) -> Option<(Ballot, Decision)> {
    let ballot = |voted: &Option<(Ballot, Decision)>| voted.map(|(ballot, _)| ballot);
    if ballot(&other) > ballot(&one) { other } else { one }
}
