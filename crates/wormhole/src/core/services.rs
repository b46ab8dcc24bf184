//! The services, one by one, as section 8.2 of the paper has them; and attestation.

use super::counters::{Bound, Lock};
use super::distributed::Proposer;
use super::sessions::{Armed, Planned};
use super::{Caller, Core, HORIZON, Input, Output, Outputs, RETENTION, Rights, next_name};
use crate::attestation::{Attestation, Counter, Statement};
use crate::frame::{
    Action, Answer, AttestCall, Entity, ExecCall, Nanos, Outcome, Progress, ProposeCall, Proposed,
    Refusal, Status, Tag, Timeliness, Timestamp,
};

/// How far a reading of the clock may be from the instant it stands for.
pub(super) const READING_ERROR: Nanos = Nanos(1_000);
/// How wrong the clock's speed may be, as one part in so many: what the kernel corrects at most,
/// and as much again for the oscillator.
const DRIFT_ONE_IN: u64 = 1_000;

impl Core {
    // Trusted absolute timestamping: of the local clock where there is no common time.

    pub(super) fn timestamp(&self) -> Timestamp {
        let common = self.distributed.as_ref().and_then(|all| all.time(self.now));
        if let Some(common) = common {
            let (earliest, latest) = (common.earliest, common.latest.after(READING_ERROR));
            return Timestamp { earliest, latest, synchronised: true };
        }
        let (earliest, latest) = (self.now, self.now.after(READING_ERROR));
        Timestamp { earliest, latest, synchronised: false }
    }

    // Trusted duration measurement.

    pub(super) fn duration_start(
        &mut self,
        caller: Caller,
        out: &mut Outputs,
    ) -> Result<Answer, Refusal> {
        let (now, tag) = (self.now, self.new_tag(out)?);
        let durations = &mut self.session(caller)?.durations;
        durations.keep(now, tag, now.after(HORIZON), now).map_err(no_place)?;
        Ok(Answer::Tagged(tag))
    }

    pub(super) fn duration_stop(&mut self, caller: Caller, tag: Tag) -> Result<Answer, Refusal> {
        let now = self.now;
        let began = self.session(caller)?.durations.take(tag).ok_or(Refusal::UnknownTag)?;
        let elapsed = now.since(began);
        let error = Nanos(elapsed.0 / DRIFT_ONE_IN).after(READING_ERROR).after(READING_ERROR);
        Ok(Answer::Duration { elapsed, error })
    }

    // Trusted timing failure detection.

    pub(super) fn arm(
        &mut self,
        caller: Caller,
        after: Nanos,
        out: &mut Outputs,
    ) -> Result<Answer, Refusal> {
        if after > HORIZON {
            return Err(Refusal::TooFar);
        }
        let (now, tag) = (self.now, self.new_tag(out)?);
        let armed = &mut self.session(caller)?.armed;
        let kept_until = now.after(after).after(RETENTION);
        armed.keep(now, tag, kept_until, Armed { at: now, after }).map_err(no_place)?;
        Ok(Answer::Tagged(tag))
    }

    pub(super) fn end(&mut self, caller: Caller, tag: Tag) -> Result<Timeliness, Refusal> {
        let now = self.now;
        let Armed { at, after } =
            self.session(caller)?.armed.take(tag).ok_or(Refusal::UnknownTag)?;
        let took = now.since(at);
        Ok(if took <= after {
            Timeliness::Timely { took }
        } else {
            Timeliness::Late { by: took.since(after) }
        })
    }

    // Trusted timely execution.

    pub(super) fn exec_at(
        &mut self,
        caller: Caller,
        call: &ExecCall,
        out: &mut Outputs,
    ) -> Result<Answer, Refusal> {
        self.permit(caller, Rights::to_plan(call.action))?;
        if call.not_before.since(self.now) > HORIZON || call.within > HORIZON {
            return Err(Refusal::TooFar);
        }
        let (now, tag) = (self.now, self.new_tag(out)?);
        let kept_until = window_end(call).max(now).after(RETENTION);
        let planned = Planned { eid: caller.eid, call: *call, outcome: Outcome::Pending };
        self.place(caller)?.actions.keep(now, tag, kept_until, planned).map_err(no_place)?;
        if locks(call.action)
            && let Err(refusal) = self.admit_write(caller, |connection| &mut connection.locks)
        {
            self.place(caller)?.actions.take(tag);
            return Err(refusal);
        }
        Ok(Answer::Tagged(tag))
    }

    /// What became of the action; a final outcome is told once.
    pub(super) fn outcome(&mut self, caller: Caller, tag: Tag) -> Result<Outcome, Refusal> {
        let actions = &mut self.place(caller)?.actions;
        let planned = actions.find(tag).filter(|planned| planned.eid == caller.eid);
        let outcome = planned.ok_or(Refusal::UnknownTag)?.outcome;
        if outcome != Outcome::Pending {
            actions.take(tag);
        }
        Ok(outcome)
    }

    /// Executes what is due, the earliest first. Every planned action comes to its end exactly
    /// once, and there are few places: the loop is bounded.
    pub(super) fn run_due(&mut self, out: &mut Outputs) {
        while let Some((not_before, tag)) = self.earliest_planned() {
            if not_before > self.now {
                return;
            }
            let due = self.sessions.planned().find(|(other, _)| *other == tag);
            let Some(call) = due.map(|(_, planned)| planned.call) else { return };
            let outcome = self.execute(&call, out);
            let mut planned = self.sessions.planned_mut();
            if let Some((_, planned)) = planned.find(|(other, _)| *other == tag) {
                planned.outcome = outcome;
            }
        }
    }

    /// What is due next. A halted core executes nothing.
    pub(super) fn earliest_planned(&self) -> Option<(Nanos, Tag)> {
        let pending =
            self.sessions.planned().filter(|(_, planned)| planned.outcome == Outcome::Pending);
        let earliest = pending.map(|(tag, planned)| (planned.call.not_before, tag)).min();
        earliest.filter(|_| self.halted.is_none())
    }

    fn execute(&mut self, call: &ExecCall, out: &mut Outputs) -> Outcome {
        let (at, is_late) = (self.now, self.now > window_end(call));
        let heartbeat = match call.action {
            Action::FailSafeLock => {
                self.tighten(Lock::Locked, call.action, out);
                None
            }
            Action::EraseKey => {
                self.keys.erase_instance();
                self.tighten(Lock::Erased, call.action, out);
                None
            }
            // A lock is put on however late: who delays this process must not escape it.
            Action::SignedHeartbeat if is_late => None,
            Action::SignedHeartbeat => {
                let number = self.heartbeats.saturating_add(1);
                let Some(heartbeat) = self.keys.heartbeat(self.process, at.0, number) else {
                    return Outcome::Refused;
                };
                self.heartbeats = number;
                Some(heartbeat)
            }
        };
        if is_late { Outcome::Missed } else { Outcome::Done { at, heartbeat } }
    }

    fn tighten(&mut self, lock: Lock, action: Action, out: &mut Outputs) {
        if self.counters.tighten(lock) {
            self.keep(out);
            out.push(Output::Act(action));
        }
    }

    // Trusted block agreement.

    pub(super) fn propose(
        &mut self,
        caller: Caller,
        call: &ProposeCall,
        out: &mut Outputs,
    ) -> Result<Proposed, Refusal> {
        let (tag, proposer) = (self.new_tag(out)?, self.proposer(caller)?);
        let proposed = self.together(out, |all, turn| all.propose(proposer, call, tag, turn));
        let standing = proposed.ok_or(Refusal::NotDistributed)??;
        Ok(Proposed { tag, standing })
    }

    pub(super) fn decide(&mut self, caller: Caller, tag: Tag) -> Result<Progress, Refusal> {
        let (now, proposer) = (self.now, self.proposer(caller));
        let all = self.distributed.as_mut().ok_or(Refusal::NotDistributed)?;
        all.progress(now, proposer?, tag)
    }

    // Distributed trust for low-level operations.

    pub(super) fn pair_key(
        &mut self,
        caller: Caller,
        other: Entity,
        out: &mut Outputs,
    ) -> Result<Option<[u8; 32]>, Refusal> {
        let proposer = self.proposer(caller)?;
        let key = self.together(out, |all, turn| all.pair_key(proposer, other, turn));
        key.ok_or(Refusal::NotDistributed)?
    }

    fn proposer(&self, caller: Caller) -> Result<Proposer, Refusal> {
        let Caller { connection, eid } = caller;
        let place = self.sessions.number(connection, eid).ok_or(Refusal::NotAuthenticated)?;
        Ok(Proposer { eid, place })
    }

    // Attestation.

    pub(super) fn attest(
        &mut self,
        caller: Caller,
        call: &AttestCall,
        out: &mut Outputs,
    ) -> Result<Attestation, Refusal> {
        self.permit(caller, Rights::to_attest(call.counter))?;
        let mut counters = self.counters.clone();
        counters.bind(call)?;
        self.admit_write(caller, |connection| &mut connection.attestations)?;
        // Increment before exposure: the position is taken before any signature exists.
        self.counters = counters;
        let statement = self.bound(call.counter).ok_or(Refusal::Conflict)?;
        let attestation = self.keys.attest(statement).ok_or(Refusal::Locked)?;
        self.counters.keep_signature(call.counter, attestation.signature);
        self.keep(out);
        Ok(attestation)
    }

    pub(super) fn last(&self, counter: Counter) -> Option<Attestation> {
        let signature = self.counters.last(counter)?.signature?;
        Some(Attestation { statement: self.bound(counter)?, signature })
    }

    /// What a counter is bound to, as it is signed: only what is recorded can be.
    fn bound(&self, counter: Counter) -> Option<Statement> {
        let &Bound { epoch, old, new, digest, .. } = self.counters.last(counter)?;
        let identity = self.keys.certificate().identity;
        Some(Statement { identity, counter, epoch, old, new, digest })
    }

    // The rest.

    pub(super) fn status(&mut self, caller: Caller) -> Result<Status, Refusal> {
        let entities = self.sessions.count();
        let place = self.place(caller)?;
        let actions = place.actions.used();
        let session = place.session.as_ref().ok_or(Refusal::NotAuthenticated)?;
        let (durations, armed) = (session.durations.used(), session.armed.used());
        let certificate = self.keys.certificate();
        Ok(Status {
            mode: self.mode,
            instance: certificate.identity.instance,
            process: self.process,
            rollback_proof: certificate.rollback_proof,
            lock: self.counters.lock(),
            entities,
            durations,
            armed,
            actions,
            calls: self.calls,
            refused: self.refused,
            protections: self.config.protections,
        })
    }

    fn new_tag(&mut self, out: &mut Outputs) -> Result<Tag, Refusal> {
        next_name(&mut self.last_tag).map(Tag).ok_or_else(|| self.name_lost(out))
    }

    /// Asks for the counters to be durable before anything later shows.
    fn keep(&self, out: &mut Outputs) {
        if self.config.lease.keeps_each() {
            out.push(Output::Keep);
        }
    }
}

impl Core {
    /// The last step. No plan survives the process, so the tightest lock that is planned is put on at
    /// once, early rather than never: an instance that goes on later must not have escaped it. One
    /// that resumes after a crash has lost its plans.
    pub fn finish(&mut self, now: Nanos, out: &mut Outputs) {
        self.step(now, Input::Time, out);
        let planned = self.sessions.planned().filter(|(_, one)| one.outcome == Outcome::Pending);
        let locks = planned.map(|(_, one)| one.call).filter(|call| locks(call.action));
        let tightest = locks.max_by_key(|call| call.action == Action::EraseKey);
        if let Some(call) = tightest.filter(|_| self.halted.is_none()) {
            self.execute(&call, out);
        }
    }
}

fn locks(action: Action) -> bool {
    action != Action::SignedHeartbeat
}

fn window_end(call: &ExecCall) -> Nanos {
    call.not_before.after(call.within)
}

fn no_place(next_free: Nanos) -> Refusal {
    Refusal::NoResources { next_free }
}
