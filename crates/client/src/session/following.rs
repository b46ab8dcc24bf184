//! Following the cluster from epoch to epoch while the session goes on.
//!
//! A member whose statement names a later epoch is asked for the chain of plans, and where it does
//! not show one that leads there, the others are, one after the other. What it says of the epoch is
//! nothing but a reason to ask: only plans that a quorum of the newest epoch's members signed are
//! followed.
//!
//! # What a liar can do
//! Make this session ask each member once, after a rest that doubles each time; each answer costs at
//! most one signature a member beyond what is true of it. Only `one_correct` members are believed to
//! have a reason at a time, so that one of them is correct if all that is told is worth asking for.
//! An answer that was not asked for is not looked at.
//!
//! # What an epoch changes
//! Answers that came before the keys of their epoch are looked at now. Operations still in flight are
//! sent again, so that members repeat what they answered before; replicas execute them once. Reads,
//! proofs and watches are asked for again, so that whatever is believed was told by members of one
//! epoch. Votes on an operation keep the epoch in which they were given: see `flight.rs`.

use std::collections::{BTreeSet, VecDeque};

use ravelin_model::{Epoch, SignedPlan};

use super::*;
use crate::epochs::Flaw;
use crate::limits::EARLY_BYTES_MAX;

/// What members told of epochs later than the session knows.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// By the member that told; at most `one_correct`.
    inquiries: BTreeMap<ReplicaId, Inquiry>,
    /// Members whose word led to nothing, how often, and until when it is no reason to ask.
    in_vain: BTreeMap<ReplicaId, (u32, Time)>,
    /// Answers that cannot be checked yet, by who told them.
    early: BTreeMap<ReplicaId, Early>,
}

/// What one member answered in epochs whose keys are not known yet, as it came.
#[derive(Debug, Default)]
struct Early {
    answers: VecDeque<SignedAnswers>,
    bytes: usize,
}

/// One member's word, and who was asked about it.
#[derive(Debug)]
struct Inquiry {
    told: Epoch,
    tried: BTreeSet<ReplicaId>,
    /// The one whose answer is awaited.
    asked: ReplicaId,
    deadline: Time,
}

impl Following {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.inquiries.values().map(|inquiry| inquiry.deadline).min()
    }

    /// Keeps answers of a later epoch until its keys are known.
    pub(super) fn keep(&mut self, from: ReplicaId, answers: SignedAnswers) {
        let early = self.early.entry(from).or_default();
        early.bytes += answers.bytes();
        early.answers.push_back(answers);
        while early.bytes > EARLY_BYTES_MAX {
            let Some(oldest) = early.answers.pop_front() else { return };
            early.bytes -= oldest.bytes();
        }
    }

    /// The most bytes of early answers kept of one member.
    #[cfg(test)]
    pub(super) fn early_bytes(&self) -> usize {
        self.early.values().map(|early| early.bytes).max().unwrap_or(0)
    }

    fn awaits(&self, replica: ReplicaId) -> bool {
        self.inquiries.values().any(|inquiry| inquiry.asked == replica)
    }

    fn those_where(&self, is_meant: impl Fn(&Inquiry) -> bool) -> Vec<ReplicaId> {
        let meant = self.inquiries.iter().filter(|(_, inquiry)| is_meant(inquiry));
        meant.map(|(teller, _)| *teller).collect()
    }
}

impl Session {
    /// The plan in force, as far as this session has followed the cluster.
    #[must_use]
    pub fn plan(&self) -> &SignedPlan {
        self.epochs.plan()
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epochs.newest().epoch()
    }

    /// Takes it that `from` is in a later epoch. Whether that is being looked into.
    pub(super) fn on_later_epoch(
        &mut self,
        now: Time,
        from: ReplicaId,
        told: Epoch,
        out: &mut Vec<ClientAction>,
    ) -> bool {
        let one_correct = self.group().one_correct();
        let Following { inquiries, in_vain, .. } = &mut self.following;
        if let Some(inquiry) = inquiries.get_mut(&from) {
            inquiry.told = inquiry.told.max(told);
            return true;
        }
        if in_vain.get(&from).is_some_and(|(_, until)| *until > now) {
            return false;
        }
        if inquiries.len() < one_correct {
            let (tried, deadline) = (BTreeSet::new(), now);
            inquiries.insert(from, Inquiry { told, tried, asked: from, deadline });
            self.ask_for_plans(now, from, from, out);
        }
        true
    }

    /// Takes the chain of plans from one who was asked for it.
    pub(super) fn on_plans(
        &mut self,
        now: Time,
        from: ReplicaId,
        chain: Vec<SignedPlan>,
        out: &mut Vec<ClientAction>,
    ) {
        if !self.following.awaits(from) {
            return;
        }
        let answered = self.following.those_where(|inquiry| inquiry.asked == from);
        let (plans, flaw) = self.epochs.follow(chain);
        if !plans.is_empty() {
            self.begin_epoch(now, plans, out);
        }
        match flaw {
            Some(Flaw::Suspicion(suspicion)) => {
                self.accuse(from, Misbehaviour::Suspected(suspicion), out);
            }
            Some(Flaw::Fork(plans)) => {
                out.push(ClientAction::Deliver(Event::Forked { shown_by: from, plans }));
            }
            Some(Flaw::KnownFork) | None => {}
        }
        for teller in answered {
            self.inquire_further(now, teller, out);
        }
    }

    /// Goes on as a client of the epoch that the last of `plans` begins.
    fn begin_epoch(&mut self, now: Time, plans: Vec<SignedPlan>, out: &mut Vec<ClientAction>) {
        let (group, epoch, oldest) = (self.group(), self.epoch(), self.epochs.oldest());
        self.following.inquiries.retain(|_, inquiry| inquiry.told > epoch);
        self.following.in_vain.clear();
        out.push(ClientAction::Deliver(Event::Followed { plans }));
        let gone: Vec<_> = self.peers.connected().filter(|replica| !group.has(*replica)).collect();
        for replica in gone {
            self.on_disconnected(now, replica, out);
        }
        self.peers.regroup(group);
        self.shut_out.clear();
        for flight in self.flights.values_mut() {
            flight.begin_epoch(oldest);
        }
        for (replica, early) in std::mem::take(&mut self.following.early) {
            for answers in early.answers {
                if group.has(replica) {
                    self.on_answers(now, replica, answers, out);
                }
            }
        }
        let members: Vec<_> = self.peers.connected().collect();
        for replica in members {
            self.attach(replica, out);
            self.resend_to(replica, out);
            self.watch_at(replica, out);
        }
        self.ask_reads_afresh(out);
        self.ask_proofs_afresh(now, out);
    }

    /// Asks others where `replica` will not answer.
    pub(super) fn inquire_further_than(
        &mut self,
        now: Time,
        replica: ReplicaId,
        out: &mut Vec<ClientAction>,
    ) {
        for teller in self.following.those_where(|inquiry| inquiry.asked == replica) {
            self.inquire_further(now, teller, out);
        }
    }

    /// Asks others where one took too long.
    pub(super) fn inquire_overdue(&mut self, now: Time, out: &mut Vec<ClientAction>) {
        for teller in self.following.those_where(|inquiry| inquiry.deadline <= now) {
            self.inquire_further(now, teller, out);
        }
    }

    /// Asks the next member about what `teller` told. Once all were asked, its word was in vain.
    fn inquire_further(&mut self, now: Time, teller: ReplicaId, out: &mut Vec<ClientAction>) {
        let Following { inquiries, in_vain, early } = &mut self.following;
        let Some(inquiry) = inquiries.get(&teller) else { return };
        let next = self.peers.connected().find(|replica| !inquiry.tried.contains(replica));
        if let Some(next) = next {
            return self.ask_for_plans(now, teller, next, out);
        }
        inquiries.remove(&teller);
        early.remove(&teller);
        let (times, until) = in_vain.entry(teller).or_insert((0, now));
        *until = now.after(self.peers.wait(*times));
        *times = times.saturating_add(1);
    }

    fn ask_for_plans(
        &mut self,
        now: Time,
        teller: ReplicaId,
        asked: ReplicaId,
        out: &mut Vec<ClientAction>,
    ) {
        let is_asked = self
            .following
            .inquiries
            .iter()
            .any(|(other, inquiry)| *other != teller && inquiry.asked == asked);
        let Some(inquiry) = self.following.inquiries.get_mut(&teller) else { return };
        inquiry.tried.insert(asked);
        inquiry.asked = asked;
        inquiry.deadline = now.after(self.peers.wait(0));
        if !is_asked {
            out.push(ClientAction::Send(asked, ClientMessage::Plans));
        }
    }
}
