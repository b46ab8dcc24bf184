//! Agreement by rounds of the common clock: the paper's engine.
//!
//! **Guarantee:** no two wormholes tell different decisions, and each that takes part to the end tells one
//! at a stated time, whichever stop, even all but one of them; as long as frames among those that run
//! arrive within the bound and clocks keep their speed. No majority is needed.
//!
//! There is one round fewer than there are wormholes, so in one of them none stops, unless one is left. In
//! each, everybody says the proposals of which it first heard in the round before, and a proposal
//! counts for those alone who hear it in its round; at the end all know the same ones. With the bound as
//! the unit, a round lasts six: frames are said two after its beginning, since a time is known to one and a
//! wake-up is late by one; they are there within three more; and two times differ by one.
//!
//! Who wakes later than the bound while it takes part stops itself before it says anything more. Who is
//! told what is of no present round, does not know the time, or has no place for it may know less than
//! others: it takes part in no agreement up to that one with a process of the host that pays for it, and
//! waits for others to tell the decision. Whose host lost frames takes part in none that had started, and need
//! not stop for having been late in one. To others it has stopped.
//!
//! # Source
//! Veríssimo, Neves and Correia, section 8.2, for time-triggered agreement on a synchronous channel;
//! N. Lynch, *Distributed Algorithms*, 1996, section 6.2, for flooding in `f + 1` rounds.

use super::decision::{Proposal, decide};
use super::instances::{AGREEMENT_RETENTION, AGREEMENTS_PER_HOST, Active};
use super::{ClusterError, Distributed, REAL_TIME_BOUND_MAX, REAL_TIME_WORMHOLES_MAX, Turn};
use crate::core::HaltReason;
use crate::core::services::READING_ERROR;
use crate::frame::{Agreement, Ballot, Message, Nanos, Said, Value};
use crate::mutants;

/// Bounds in a round.
const ROUND: u64 = 6;
/// Bounds from the beginning of a round until it is spoken in.
const SILENCE: u64 = 2;
/// Frames that one wormhole says of an agreement in a round, at most.
const FRAMES_OF_ROUND: u64 = 2;
/// Frames that may come at once: what a socket holds unless the system is told another size.
const FRAMES_MAX: u64 = 168;
/// How often others are asked for a decision.
const ASK_EVERY: Nanos = Nanos::from_millis(100);

/// How far an agreement by rounds is, here.
#[derive(Default)]
pub(super) struct Progress {
    /// Whether this wormhole may come to the decision itself.
    pub(super) takes_part: bool,
    /// The last round in which it has said all.
    spoken: u64,
    /// The last round in which something new was heard, and from which places of the list that is.
    heard_in: u64,
    heard: u16,
}

/// When rounds are.
#[derive(Clone, Copy)]
pub(super) struct Rounds {
    /// How late a wake-up may be, how long a frame may take, and how uncertain the time may be.
    bound: Nanos,
    count: u64,
    /// Until which start this wormhole takes part in no agreement with a process of each host.
    silent: [Nanos; REAL_TIME_WORMHOLES_MAX],
}

impl Rounds {
    pub(super) fn new(bound: Nanos, member_count: usize) -> Result<Self, ClusterError> {
        let is_bound = (1..=REAL_TIME_BOUND_MAX.0).contains(&bound.0);
        if !is_bound || member_count > REAL_TIME_WORMHOLES_MAX {
            return Err(ClusterError::Bound);
        }
        let silent = [Nanos(0); REAL_TIME_WORMHOLES_MAX];
        let less = if mutants::is_active("one_round_fewer") { 2 } else { 1 };
        Ok(Self { bound, count: (member_count as u64).saturating_sub(less), silent })
    }

    /// So many agreements of each host, all at once, keep a round's frames to one wormhole below
    /// [`FRAMES_MAX`]; two at least.
    pub(super) fn agreements_per_host(&self) -> usize {
        let of_one = FRAMES_OF_ROUND.saturating_mul(self.count.saturating_mul(self.count + 1));
        (FRAMES_MAX / of_one.max(1)).clamp(2, AGREEMENTS_PER_HOST as u64) as usize
    }

    fn begins(&self, tstart: Nanos, round: u64) -> Nanos {
        tstart.after(self.bounds(ROUND.saturating_mul(round.saturating_sub(1))))
    }

    fn is_spoken_in(&self, tstart: Nanos, round: u64) -> Nanos {
        self.begins(tstart, round).after(self.bounds(SILENCE))
    }

    /// When all is known that counts.
    fn end(&self, tstart: Nanos) -> Nanos {
        self.begins(tstart, self.count.saturating_add(1))
    }

    /// From the start of an agreement until everybody has it.
    pub(super) fn span(&self) -> Nanos {
        self.end(Nanos(0)).after(self.bounds(ROUND))
    }

    fn bounds(&self, count: u64) -> Nanos {
        Nanos(self.bound.0.saturating_mul(count))
    }
}

impl Distributed {
    /// Why this wormhole must stop, if it woke too late for a round.
    pub(in crate::core) fn timing_fault(&self, now: Nanos) -> Option<HaltReason> {
        let rounds = self.rounds?;
        let is_overdue =
            |one: &Active| one.progress.takes_part && one.due.after(rounds.bound) < now;
        self.instances.all().any(is_overdue).then_some(HaltReason::WokeLate)
    }

    /// What another process proposed, before the rounds.
    pub(super) fn on_early_proposal(&mut self, instance: usize, place: u8, value: Option<Value>) {
        let Some(active) = self.instances.active(instance) else { return };
        let proposal = active.proposals.get_mut(usize::from(place));
        if let Some(proposal) = proposal.filter(|one| **one == Proposal::Missing)
            && active.progress.spoken == 0
        {
            *proposal = Proposal::new(value);
            active.to_repeat |= 1 << place;
        }
    }

    /// Sets whether this wormhole takes part in what it begins now, and when to go on.
    pub(super) fn enter(&mut self, instance: usize, rounds: Rounds, turn: &Turn<'_>) {
        let Some(active) = self.instances.active(instance) else { return };
        let agreement = active.agreement;
        let first = rounds.is_spoken_in(agreement.tstart, 1);
        let is_early = self.time(turn.now).is_some_and(|time| time.latest <= first);
        let takes_part = is_early && self.was_here(&agreement, turn.now);
        if let Some(active) = self.instances.active(instance) {
            active.progress.takes_part = takes_part;
        }
        self.plan(instance, first, turn.now);
    }

    /// Whether this life has heard all that was said of an agreement.
    fn was_here(&self, agreement: &Agreement, now: Nanos) -> bool {
        let time = self.time(now).filter(|_| self.may_count(agreement));
        time.is_some_and(|time| self.joined_at <= now.since(time.latest.since(agreement.tstart)))
    }

    /// What was said in a round.
    pub(super) fn on_round(
        &mut self,
        (from, charged): (usize, usize),
        agreement: &Agreement,
        (round, said): (u8, &Said),
        turn: &mut Turn<'_>,
    ) {
        let Some(rounds) = self.rounds else { return };
        let (round, tstart) = (u64::from(round), agreement.tstart);
        if self.tell(from, agreement, turn) {
            return;
        }
        let is_now = self.time(turn.now).is_some_and(|time| {
            time.earliest >= rounds.begins(tstart, round)
                && time.latest <= rounds.begins(tstart, round.saturating_add(1))
        });
        let is_round = (1..=rounds.count).contains(&round);
        let is_new = self.instances.find(&agreement.name()).is_none();
        let known = match is_now && is_round {
            true => self.known((from, charged), agreement, turn),
            false => None,
        };
        let Some(instance) = known else { return self.abstain(charged, tstart) };
        if is_new {
            self.join_late(instance, rounds, round, turn.now);
        }
        let Some(active) = self.instances.active(instance) else { return };
        active.turn_to(round);
        for (place, value) in said.iter() {
            let proposal = active.proposals.get_mut(usize::from(place));
            if let Some(proposal) = proposal.filter(|one| **one == Proposal::Missing) {
                *proposal = Proposal::new(value);
                active.progress.heard |= 1 << place;
            }
        }
    }

    /// Takes part from a later round on, in what had been silent for this wormhole up to then: if it was
    /// there from the start to hear it.
    fn join_late(&mut self, instance: usize, rounds: Rounds, round: u64, now: Nanos) {
        let Some(active) = self.instances.active(instance) else { return };
        let agreement = active.agreement;
        let takes_part = self.was_here(&agreement, now);
        if let Some(active) = self.instances.active(instance) {
            active.progress.takes_part = takes_part;
            active.progress.spoken = round;
        }
        self.plan_next(instance, rounds, round, now);
    }

    /// Takes part in nothing that starts so early and has a process of the host that pays for it: others
    /// may know more. Nobody can take this wormhole out of what he has no process in.
    fn abstain(&mut self, charged: usize, tstart: Nanos) {
        self.instances.latest = self.instances.latest.max(tstart);
        let silent = self.rounds.as_mut().and_then(|rounds| rounds.silent.get_mut(charged));
        silent.into_iter().for_each(|until| *until = tstart.max(*until));
    }

    /// Whether this life may know all that others do.
    fn may_count(&self, agreement: &Agreement) -> bool {
        let hosts = agreement.elist().iter().filter_map(|entity| self.links.place(entity.replica));
        let silent = |host| self.rounds.and_then(|rounds| rounds.silent.get(host).copied());
        let until = hosts.filter_map(silent).max().unwrap_or_default();
        self.may_vote(agreement) && agreement.tstart > until
    }

    /// Frames were lost at this host, or were not looked at before a step: of all that has started, others
    /// may know more.
    pub(in crate::core) fn on_loss(&mut self, now: Nanos) {
        self.joined_at = now;
        for place in 0..self.links.count() * AGREEMENTS_PER_HOST {
            let active = self.instances.active(place).filter(|active| active.starts_at <= now);
            active.into_iter().for_each(|active| active.progress.takes_part = false);
        }
    }

    /// Does what is due for one agreement.
    pub(super) fn on_round_due(&mut self, instance: usize, rounds: Rounds, turn: &mut Turn<'_>) {
        let time = self.time(turn.now);
        let Some(active) = self.instances.active(instance) else { return };
        if turn.now >= active.starts_at.after(AGREEMENT_RETENTION) {
            return self.instances.give_up(instance);
        }
        let agreement = active.agreement;
        let may_count = self.may_count(&agreement);
        let Some(active) = self.instances.active(instance) else { return };
        active.progress.takes_part &= may_count;
        let round = active.progress.spoken.saturating_add(1);
        let is_end = round > rounds.count;
        let due = match is_end {
            true => rounds.end(agreement.tstart),
            false => rounds.is_spoken_in(agreement.tstart, round),
        };
        let latest = due.after(rounds.bounds(SILENCE));
        match time {
            Some(time) if time.earliest < due => self.plan(instance, due, turn.now),
            Some(_) if active.progress.takes_part && is_end => {
                let decision = decide(&agreement, &active.proposals);
                self.instances.end(turn.now, instance, decision);
                self.links.broadcast(&Message::Decided(agreement, decision), turn);
            }
            Some(time) if active.progress.takes_part && time.latest <= latest => {
                self.speak(instance, rounds, round, turn);
            }
            _ => self.ask(instance, turn),
        }
    }

    /// Says a frame of what is to be said in a round; or, after that, sees that all was said in time.
    fn speak(&mut self, instance: usize, rounds: Rounds, round: u64, turn: &mut Turn<'_>) {
        let Some(active) = self.instances.active(instance) else { return };
        active.turn_to(round);
        if active.to_repeat == 0 {
            active.progress.spoken = round;
            return self.plan_next(instance, rounds, round, turn.now);
        }
        let mut said = Said::default();
        for (place, proposal) in (0..).zip(&active.proposals) {
            let is_due = active.to_repeat >> place & 1 == 1;
            if is_due && said.push(place, proposal.value()) {
                active.to_repeat &= !(1 << place);
            }
        }
        let (agreement, charged) = (active.agreement, active.payer.host as u8);
        self.links.broadcast(&Message::Round(agreement, charged, round as u8, said), turn);
    }

    /// Asks the others how it ended, without a part in it.
    fn ask(&mut self, instance: usize, turn: &mut Turn<'_>) {
        let lives = self.links.lives();
        let Some(active) = self.instances.active(instance) else { return };
        active.progress.takes_part = false;
        active.due = turn.now.after(ASK_EVERY);
        let (agreement, charged) = (active.agreement, active.payer.host as u8);
        let question = Message::Prepare(agreement, charged, Ballot::default(), lives);
        self.links.broadcast(&question, turn);
    }

    /// Tells how an agreement ended, if that is known.
    pub(super) fn tell(&mut self, to: usize, agreement: &Agreement, turn: &mut Turn<'_>) -> bool {
        let ended = self.instances.ended(&agreement.name());
        if let Some(decision) = ended {
            self.links.send(to, &Message::Decided(*agreement, decision), turn);
        }
        ended.is_some()
    }

    fn plan_next(&mut self, instance: usize, rounds: Rounds, round: u64, now: Nanos) {
        let Some(active) = self.instances.active(instance) else { return };
        let (tstart, next) = (active.agreement.tstart, round.saturating_add(1));
        let due = match next > rounds.count {
            true => rounds.end(tstart),
            false => rounds.is_spoken_in(tstart, next),
        };
        self.plan(instance, due, now);
    }

    /// Goes on once that common time has certainly come.
    fn plan(&mut self, instance: usize, due: Nanos, now: Nanos) {
        let time = self.time(now);
        let Some(active) = self.instances.active(instance) else { return };
        active.due = match time {
            Some(time) if time.earliest >= due => now,
            Some(time) => now.after(due.since(time.earliest)).after(READING_ERROR),
            None => now.after(ASK_EVERY),
        };
    }
}

impl Active {
    /// In a round, what was heard before it is to be said.
    fn turn_to(&mut self, round: u64) {
        if self.progress.heard_in < round {
            self.to_repeat |= std::mem::take(&mut self.progress.heard);
            self.progress.heard_in = round;
        }
    }
}
