//! Lists of the audit log, shown by any one member.
//!
//! The caller knows a head: from the proven state, or as the head before lists that were shown
//! earlier. Lists that lead to it are the ones that the cluster recorded, whoever shows them; so one
//! reads from the newest to the oldest. How far back members go is theirs to say: each forgets old
//! lists by itself, so the log ends where none shows more.

use std::collections::BTreeSet;

use ravelin_crypto::audit::head_before;
use ravelin_model::{AuditHead, AuditRecord, Suspicion};

use super::*;
use crate::limits::AUDITS_MAX;

/// A question that has no lists yet.
#[derive(Debug)]
pub(super) struct AuditQuestion {
    head: AuditHead,
    /// Members that were asked.
    tried: BTreeSet<ReplicaId>,
    /// The one whose answer is awaited.
    asked: Option<ReplicaId>,
    pub(super) deadline: Time,
}

impl Session {
    /// Asks one member after the other for the lists that lead to `head`, until one shows some;
    /// [`Event::Audited`] follows, or [`Event::Unanswered`] once all were asked.
    ///
    /// # Errors
    /// [`Misuse::TooMany`].
    pub fn audit(
        &mut self,
        now: Time,
        head: AuditHead,
        out: &mut Vec<ClientAction>,
    ) -> Result<Ticket, Misuse> {
        if self.audits.len() >= AUDITS_MAX {
            return Err(Misuse::TooMany { kind: "questions for the audit log", max: AUDITS_MAX });
        }
        let ticket = self.take_ticket();
        let (tried, deadline) = (BTreeSet::new(), now.after(self.peers.wait(0)));
        self.audits.insert(ticket, AuditQuestion { head, tried, asked: None, deadline });
        if self.peers.connected_count() > 0 {
            self.ask_next_for_audit(now, ticket, out);
        }
        Ok(ticket)
    }

    pub(super) fn on_audit(
        &mut self,
        now: Time,
        from: ReplicaId,
        ticket: Ticket,
        records: Vec<AuditRecord>,
        out: &mut Vec<ClientAction>,
    ) {
        let Some(question) = self.audits.get(&ticket).filter(|known| known.tried.contains(&from))
        else {
            return;
        };
        let before = head_before(&question.head, &records);
        match before.filter(|_| !records.is_empty()) {
            Some(before) => {
                self.audits.remove(&ticket);
                let event = Event::Audited { ticket, before, records, shown_by: from };
                out.push(ClientAction::Deliver(event));
            }
            None => {
                if !records.is_empty() {
                    self.accuse(from, Misbehaviour::Suspected(Suspicion::Malformed), out);
                }
                self.on_no_audit(now, from, ticket, out);
            }
        }
    }

    /// Takes it that `from` will not show lists now.
    pub(super) fn on_no_audit(
        &mut self,
        now: Time,
        from: ReplicaId,
        ticket: Ticket,
        out: &mut Vec<ClientAction>,
    ) {
        if self.audits.get(&ticket).is_some_and(|question| question.asked == Some(from)) {
            self.ask_next_for_audit(now, ticket, out);
        }
    }

    /// Asks those that nobody could be asked for before.
    pub(super) fn ask_audits_again(&mut self, now: Time, out: &mut Vec<ClientAction>) {
        self.pass_audits_on(now, |question| question.asked.is_none(), out);
    }

    /// Asks the next member where `replica` was asked.
    pub(super) fn pass_on_audits_of(
        &mut self,
        now: Time,
        replica: ReplicaId,
        out: &mut Vec<ClientAction>,
    ) {
        self.pass_audits_on(now, |question| question.asked == Some(replica), out);
    }

    pub(super) fn pass_on_overdue_audits(&mut self, now: Time, out: &mut Vec<ClientAction>) {
        self.pass_audits_on(now, |question| question.deadline <= now, out);
    }

    fn pass_audits_on(
        &mut self,
        now: Time,
        is_meant: impl Fn(&AuditQuestion) -> bool,
        out: &mut Vec<ClientAction>,
    ) {
        let meant = self.audits.iter().filter(|(_, question)| is_meant(question));
        let meant: Vec<_> = meant.map(|(ticket, _)| *ticket).collect();
        for ticket in meant {
            self.ask_next_for_audit(now, ticket, out);
        }
    }

    /// Asks the next member; without one, the question ends.
    fn ask_next_for_audit(&mut self, now: Time, ticket: Ticket, out: &mut Vec<ClientAction>) {
        let Some(question) = self.audits.get_mut(&ticket) else { return };
        let next = self.peers.usable().find(|replica| !question.tried.contains(replica));
        let Some(next) = next else {
            self.audits.remove(&ticket);
            let why = Unanswered::NotProven;
            return out.push(ClientAction::Deliver(Event::Unanswered { ticket, why }));
        };
        question.tried.insert(next);
        question.asked = Some(next);
        question.deadline = now.after(self.peers.wait(0));
        let last = question.head.lists;
        out.push(ClientAction::Send(next, ClientMessage::Audit { id: ticket.0, last }));
    }
}
