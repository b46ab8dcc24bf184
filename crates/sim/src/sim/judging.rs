//! Looks at what correct servers did after every input, and decides when a run is over.

use ravelin_crypto::{Keyring, plan_digest};
use ravelin_model::{Encode as _, Evidence, FaultModel, PublicKey, SignedPlan};

use super::*;
use crate::host::Executed;

impl Sim {
    pub(super) fn count(&mut self, class: FaultClass) {
        *self.faults.entry(class).or_default() += 1;
    }

    pub(super) fn judge(&mut self, judged: Result<(), Violation>) {
        if let (None, Err(violation)) = (&self.violation, judged) {
            self.violation = Some(violation);
        }
    }

    /// Compares what a correct replica did with what the others did, as soon as anyone can hear of it.
    pub(super) fn inspect(&mut self, id: ReplicaId) {
        let correct = self.hosts.iter().filter(|host| !host.is_faulty);
        let latest = correct.map(|host| host.clock.show(self.now)).max().unwrap_or_default();
        let Some(host) = self.hosts.get_mut(id.index()) else { return };
        host.note_executed(latest);
        let will_forget = will_forget(&self.options, host);
        while let Some(executed) = self.hosts.get_mut(id.index()).and_then(Host::take_executed) {
            if will_forget || self.options.intruders.contains_key(&id) {
                continue;
            }
            let Executed { operations, progress, latest } = executed;
            let mut judged =
                operations.iter().try_for_each(|operation| self.order.on_executed(id, operation));
            if let Some(progress) = progress {
                judged = judged.and_then(|()| self.order.on_progress(id, progress, latest));
            }
            self.judge(judged);
        }
    }

    /// Compares the statements of a correct replica's own block.
    pub(super) fn stated(&mut self, id: ReplicaId, votes: &[Vote]) {
        let host = self.hosts.get(id.index());
        let will_forget = host.is_some_and(|host| will_forget(&self.options, host));
        if will_forget || self.options.intruders.contains_key(&id) {
            return;
        }
        for vote in votes {
            if let Vote::Statement(signed) = vote {
                let judged = self.order.on_statement(id, signed.statement);
                self.judge(judged);
            }
        }
    }

    pub(super) fn accused(&mut self, by: ReplicaId, who: ReplicaId, offence: &Misbehaviour) {
        if self.options.intruders.contains_key(&by) {
            return;
        }
        if let Misbehaviour::Suspected(suspicion) = offence {
            let counts = match self.order.is_faulty(who) {
                true => &mut self.suspicions.of_intruders,
                false => &mut self.suspicions.of_correct,
            };
            *counts.entry(suspicion.kind()).or_default() += 1;
        }
        if let Misbehaviour::Proven(Evidence::Equivocation { .. }) = offence
            && self.options.broken_wormhole == Some(who)
        {
            self.witnesses.insert(by);
        }
        let judged = self.order.on_accusation(who, offence);
        self.judge(judged);
    }

    /// Whoever saw two attestations of a wormhole for one value does nothing more.
    pub(super) fn look_at_witnesses(&self) -> Result<(), Violation> {
        let hosts = self.hosts.iter().filter(|host| self.witnesses.contains(&host.id));
        let mut servers = hosts.filter_map(|host| Some((host.id, host.server.as_ref()?)));
        let goes_on = |server: &Server| !matches!(server.replica().status(), Status::FailSafe(_));
        match servers.find(|(_, server)| goes_on(server)) {
            Some((id, _)) => {
                let what = format!("replica {id} saw two attestations for one value, and goes on");
                Err(Violation::new("broken-wormhole", what))
            }
            None => Ok(()),
        }
    }

    /// A replica began an epoch: the same as all others that did.
    pub(super) fn entered(&mut self, id: ReplicaId, signed: &SignedPlan) {
        let Some(host) = self.hosts.get_mut(id.index()) else { return };
        let (epoch, digest) = (signed.plan.epoch, plan_digest(&signed.plan));
        host.epoch = epoch;
        if self.options.intruders.contains_key(&id) {
            return;
        }
        self.trace.note(self.now, b'e', (id.0, 0), &digest.0);
        self.began(id, epoch);
        if let Some(first) = self.epochs.get(&epoch) {
            if *first != signed.plan {
                let what = format!("replica {id} began another epoch {} than others", epoch.0);
                self.judge(Err(Violation::new("epochs", what)));
            }
            return;
        }
        if let Some(member) = self.takes_key_back(&signed.plan) {
            let what = format!("epoch {} gives member {member} a key of before", epoch.0);
            self.judge(Err(Violation::new("epochs", what)));
        }
        self.epochs.insert(epoch, signed.plan.clone());
    }

    /// The member that `plan` gives a key which an earlier epoch took from it.
    fn takes_key_back(&self, plan: &ClusterPlan) -> Option<usize> {
        let earlier = || std::iter::once(&self.world.plan.plan).chain(self.epochs.values());
        let last = earlier().next_back()?;
        let given = plan.members.iter().zip(&last.members).enumerate();
        let changed = given.filter(|(_, (new, old))| new.block != old.block);
        let has_been = |(id, key): (usize, PublicKey)| {
            earlier().any(|plan| plan.members.get(id).is_some_and(|member| member.block == key))
        };
        let mut changed = changed.map(|(id, (new, _))| (id, new.block));
        changed.find(|(id, key)| has_been((*id, *key))).map(|(id, _)| id)
    }

    /// A correct replica never halts while at most `f` are faulty and wormholes are sound, and never loses
    /// its standing without losing its disk or the instance of its wormhole.
    pub(super) fn changed(&mut self, id: ReplicaId, status: &Status) {
        let is_faulty = self.order.is_faulty(id);
        if *status == Status::Fetching {
            self.count(FaultClass::ShortLogs);
        }
        let is_wrong = match status {
            // With a broken wormhole to halt is the best that one can do.
            Status::FailSafe(_) => {
                !self.options.intruders.contains_key(&id) && self.options.broken_wormhole.is_none()
            }
            Status::Learner => !is_faulty && !self.lost_its_wormhole(id),
            Status::Asking | Status::Active | Status::Fetching => false,
        };
        if is_wrong {
            let what = format!("replica {id} is correct and became {status:?}");
            self.judge(Err(Violation::new("status", what)));
        }
    }

    /// Looks whether all is well and whether it is over.
    pub(super) fn look(&mut self) {
        self.queue.push(self.now + LOOK_EVERY, Event::Look);
        let judged = self.look_at_clients();
        self.judge(judged);
        let is_reached = self.order.highest().0 >= self.options.commits;
        self.phase = match (self.phase, self.options.mode) {
            (Phase::Working, Mode::Safety) if is_reached && self.now >= self.least() => {
                Phase::Finished
            }
            (Phase::Working, Mode::Liveness) if is_reached && self.now >= self.heal + HEALTHY => {
                Phase::Draining { since: self.now, target: self.order.highest() }
            }
            (Phase::Working, mode) => {
                let from = if mode == Mode::Liveness { self.heal } else { 0 };
                if self.now > from + END { Phase::Finished } else { Phase::Working }
            }
            (Phase::Draining { since, target }, _) => self.drained(since, target),
            (Phase::Finished, _) => Phase::Finished,
        };
    }

    /// Whether a server's wormhole is another than the plan names, since it restarted.
    fn lost_its_wormhole(&self, id: ReplicaId) -> bool {
        let host = self.hosts.get(id.index());
        self.options.model == FaultModel::Hybrid && host.is_some_and(|host| !host.is_open())
    }

    /// The shortest run in safety mode.
    fn least(&self) -> Micros {
        if self.options.classes.is_empty() { CALM } else { SAFETY_MIN }
    }

    fn look_at_clients(&self) -> Result<(), Violation> {
        if self.options.mode == Mode::Safety || self.now <= self.heal + PATIENCE {
            return Ok(());
        }
        for customer in &self.customers {
            let waits_since = customer.waits_since().unwrap_or(self.now).max(self.heal);
            if customer.session.id().is_none() || waits_since + PATIENCE < self.now {
                let what = format!(
                    "client {} waits since {waits_since} us, healed at {} us, {} commits",
                    customer.index,
                    self.heal,
                    self.order.highest().0
                );
                return Err(Violation::new("liveness", what));
            }
        }
        Ok(())
    }

    /// Whether everything is answered and every replica of which no intruder has the server has caught up
    /// and takes part, those that lost their disks too, unless that made them say two things before
    /// anyone could tell them: then only administrators let them in again.
    fn drained(&mut self, since: Micros, target: CommitIndex) -> Phase {
        let own = |host: &&Host| {
            let is_out = self.options.wiped == Some(host.id) && self.order.is_proven(host.id);
            !is_out && !self.options.intruders.contains_key(&host.id)
        };
        let mut hosts = self.hosts.iter().filter(own);
        let behind = hosts.find(|host| host.commit() < target || !host.takes_part());
        if behind.is_none() && self.customers.iter().all(Customer::is_served) {
            return Phase::Finished;
        }
        if let Some(host) = behind.filter(|_| self.now > since + PATIENCE) {
            let status = host.server.as_ref().map(|server| server.replica().status().clone());
            let (id, commit) = (host.id, host.commit());
            let what =
                format!("replica {id} is at {commit:?}, {status:?}; the others passed {target:?}");
            self.judge(Err(Violation::new("liveness", what)));
        }
        Phase::Draining { since, target }
    }
}

/// Whether what a server does may be forgotten: in `hybrid` a reopening holds to what the disks that are left
/// decide, and a disk that is lost may have been the one that decided; its server counts among the `f`.
fn will_forget(options: &Options, host: &Host) -> bool {
    options.model == FaultModel::Hybrid && options.wiped == Some(host.id) && !host.is_wiped
}

/// Whether `id` may misbehave: intruded, or without its disk.
pub(super) fn is_faulty(options: &Options, id: ReplicaId) -> bool {
    options.intruders.contains_key(&id) || options.wiped == Some(id)
}

/// Decodes and verifies what arrived.
pub(super) fn read_letter(keyring: &Keyring, bytes: &[u8]) -> Result<Message, Suspicion> {
    let message = peer::decode(bytes)?;
    let verdict = peer::verify(keyring, vec![message]).pop();
    verdict.unwrap_or(Err(Suspicion::Malformed))
}

/// What tells a message apart in the trace.
pub(super) fn mark_of(verdict: &Result<Message, Suspicion>) -> Vec<u8> {
    match verdict {
        Ok(Message::Block(block)) => block.digest().0.to_vec(),
        Ok(Message::Fetch(wanted)) => vec![1, u8::try_from(wanted.len()).unwrap_or(u8::MAX)],
        Ok(Message::Replay(round)) => round.0.to_le_bytes().to_vec(),
        Ok(Message::Replayed(blocks)) => vec![3, u8::try_from(blocks.len()).unwrap_or(u8::MAX)],
        Ok(Message::Recall(nonce)) => nonce.to_le_bytes().to_vec(),
        Ok(Message::Recalled(nonce, _)) => nonce.to_be_bytes().to_vec(),
        Ok(Message::Epoch(message)) => message.encode(),
        Ok(Message::Transfer(message)) => message.encode(),
        Err(suspicion) => suspicion.kind().as_bytes().to_vec(),
    }
}

/// What comes out when a message has travelled as bytes.
pub(super) fn travelled<M>(options: &Options, message: M) -> M
where
    M: ravelin_model::Encode + ravelin_model::Decode,
{
    match options.travel {
        Travel::Verified => message,
        Travel::Bytes => {
            M::decode("message", &message.encode()).expect("what was encoded can be decoded")
        }
    }
}
