//! Status reports: collected for people, believed by nobody.

use std::collections::BTreeSet;

use ravelin_model::Suspicion;
use ravelin_model::wire::{MemberReport, StatusReport};

use super::*;
use crate::limits::{REPORT_ENTRIES_MAX, REPORT_TEXT_BYTES_MAX, STATUSES_MAX};

/// A question about the members' status.
#[derive(Debug)]
pub(super) struct StatusQuestion {
    awaited: BTreeSet<ReplicaId>,
    reports: BTreeMap<ReplicaId, StatusReport>,
    pub(super) deadline: Time,
}

impl Session {
    /// Asks all connected members how they see themselves and the others; [`Event::Status`] follows
    /// with the reports that come within the patience.
    ///
    /// # Errors
    /// [`Misuse::TooMany`].
    pub fn status(&mut self, now: Time, out: &mut Vec<ClientAction>) -> Result<Ticket, Misuse> {
        if self.statuses.len() >= STATUSES_MAX {
            return Err(Misuse::TooMany { kind: "status questions", max: STATUSES_MAX });
        }
        let ticket = self.take_ticket();
        let awaited: BTreeSet<_> = self.peers.connected().collect();
        for replica in &awaited {
            out.push(ClientAction::Send(*replica, ClientMessage::Status { id: ticket.0 }));
        }
        let (reports, deadline) = (BTreeMap::new(), now.after(self.peers.wait(0)));
        self.statuses.insert(ticket, StatusQuestion { awaited, reports, deadline });
        self.tell_complete_statuses(out);
        Ok(ticket)
    }

    pub(super) fn on_status(
        &mut self,
        from: ReplicaId,
        ticket: Ticket,
        report: StatusReport,
        out: &mut Vec<ClientAction>,
    ) {
        let size = self.group().size();
        let Some(question) = self.statuses.get_mut(&ticket) else { return };
        if !question.awaited.remove(&from) {
            return;
        }
        if is_sensible(&report, size) {
            question.reports.insert(from, report);
        } else {
            self.accuse(from, Misbehaviour::Suspected(Suspicion::TooLarge), out);
        }
        self.tell_complete_statuses(out);
    }

    /// Awaits nothing of a member whose connection broke.
    pub(super) fn await_no_status_of(&mut self, replica: ReplicaId, out: &mut Vec<ClientAction>) {
        for question in self.statuses.values_mut() {
            question.awaited.remove(&replica);
        }
        self.tell_complete_statuses(out);
    }

    pub(super) fn tell_overdue_statuses(&mut self, now: Time, out: &mut Vec<ClientAction>) {
        self.tell_statuses(|question| question.deadline <= now, out);
    }

    fn tell_complete_statuses(&mut self, out: &mut Vec<ClientAction>) {
        self.tell_statuses(|question| question.awaited.is_empty(), out);
    }

    fn tell_statuses(
        &mut self,
        is_over: impl Fn(&StatusQuestion) -> bool,
        out: &mut Vec<ClientAction>,
    ) {
        let over = self.statuses.iter().filter(|(_, question)| is_over(question));
        let over: Vec<_> = over.map(|(ticket, _)| *ticket).collect();
        for ticket in over {
            if let Some(StatusQuestion { reports, .. }) = self.statuses.remove(&ticket) {
                out.push(ClientAction::Deliver(Event::Status { ticket, reports }));
            }
        }
    }
}

/// Whether a report is no larger than a correct member's of a group of this size.
fn is_sensible(report: &StatusReport, size: usize) -> bool {
    let is_short = |text: &String| text.len() <= REPORT_TEXT_BYTES_MAX;
    let is_small = |member: &MemberReport| {
        let lists = [&member.evidence, &member.suspicions];
        is_short(&member.state)
            && member.shared_key_at.len() <= REPORT_ENTRIES_MAX
            && member.shared_key_at.iter().all(is_short)
            && lists.iter().all(|list| {
                list.len() <= REPORT_ENTRIES_MAX && list.iter().all(|(kind, _)| is_short(kind))
            })
    };
    is_short(&report.state) && report.members.len() <= size && report.members.iter().all(is_small)
}
