//! Reads without ordering, and what becomes of those that fail.
//!
//! `fast_read` equal replies share a correct member with the quorum of every write that was answered
//! before, and that member's reply names the change: an older state cannot be told alike by so many.
//! `f+1` would not do: one liar and one laggard tell the state before the write alike.

use ravelin_crypto::domain_digest;
use ravelin_model::{Digest, OperationResult, mutants};

use super::*;
use crate::event::ReadPath;
use crate::limits::{FAST_READ_PATIENCE_DIVISOR, READ_BYTES_MAX, READS_MAX};

/// A read that has no result yet.
#[derive(Debug)]
pub(super) struct Read {
    service: ServiceId,
    request: Vec<u8>,
    /// The reply's digest, or `None` from one who will not read without ordering.
    replies: Tally<Option<Digest>>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Members were asked.
    Asking { until: Time },
    /// It must be ordered, and there is no room yet.
    Waiting,
    /// Its envelope is in flight.
    Ordered,
}

impl Read {
    pub(super) fn deadline(&self) -> Option<Time> {
        match self.stage {
            Stage::Asking { until } => Some(until),
            Stage::Waiting | Stage::Ordered => None,
        }
    }

    /// Replies counted now.
    #[cfg(test)]
    pub(super) fn vote_count(&self) -> usize {
        self.replies.len()
    }

    fn is_asking(&self) -> bool {
        matches!(self.stage, Stage::Asking { .. })
    }

    fn question(&self, ticket: Ticket) -> ClientMessage {
        let (service, request) = (self.service, self.request.clone());
        ClientMessage::Read { id: ticket.0, service, request }
    }

    /// The most members that can still come to reply alike.
    fn prospect(&self, peers: &Peers) -> usize {
        let outstanding = peers.connected().filter(|replica| !self.replies.has(*replica)).count();
        let alike = self.replies.votes().filter(|(_, reply)| reply.is_some());
        let most = alike.map(|(_, reply)| self.replies.count(|other| other == reply)).max();
        outstanding + most.unwrap_or(0)
    }
}

impl Session {
    /// Asks all members for `request`, which changes nothing, and orders it if their replies do not
    /// settle it; [`Event::Read`] follows, or [`Event::Unanswered`] if it must be ordered and there
    /// is no session.
    ///
    /// # Errors
    /// [`Misuse`]. After `TooMany` and `BytesFull` the caller waits.
    pub fn read(
        &mut self,
        now: Time,
        service: ServiceId,
        request: Vec<u8>,
        out: &mut Vec<ClientAction>,
    ) -> Result<Ticket, Misuse> {
        if self.reads.len() >= READS_MAX {
            return Err(Misuse::TooMany { kind: "reads", max: READS_MAX });
        }
        let used: usize = self.reads.values().map(|read| read.request.len()).sum();
        if used + request.len() > READ_BYTES_MAX {
            return Err(Misuse::BytesFull { left: READ_BYTES_MAX - used });
        }
        let operation = Operation { service, request };
        sending::size_of_envelope(std::slice::from_ref(&operation))?;
        let ticket = self.take_ticket();
        let until = now.after(self.peers.wait(0) / FAST_READ_PATIENCE_DIVISOR);
        let (stage, replies) = (Stage::Asking { until }, Tally::default());
        let read = Read { service, request: operation.request, replies, stage };
        for replica in self.peers.connected() {
            out.push(ClientAction::Send(replica, read.question(ticket)));
        }
        self.reads.insert(ticket, read);
        self.order_hopeless_reads(now, out);
        Ok(ticket)
    }

    pub(super) fn on_read_reply(
        &mut self,
        now: Time,
        from: ReplicaId,
        ticket: Ticket,
        reply: Option<Vec<u8>>,
        out: &mut Vec<ClientAction>,
    ) {
        let needed = self.replies_needed();
        let Some(read) = self.reads.get_mut(&ticket).filter(|read| read.is_asking()) else {
            return;
        };
        let digest = reply.as_ref().map(|reply| digest_of(reply));
        read.replies.record(from, digest);
        let by = read.replies.who(|other| *other == digest);
        match reply {
            Some(reply) if by.len() >= needed => {
                self.reads.remove(&ticket);
                let (outcome, path) = (OperationResult::Done(reply), ReadPath::Fast);
                out.push(ClientAction::Deliver(Event::Read { ticket, outcome, path, by }));
            }
            _ if read.prospect(&self.peers) < needed => self.order(now, ticket, out),
            _ => {}
        }
    }

    fn replies_needed(&self) -> usize {
        if mutants::is_active("fast_read_by_one_correct") {
            return self.group().one_correct();
        }
        self.group().fast_read()
    }

    /// Asks a member that connected only now.
    pub(super) fn ask_reads_of(&self, replica: ReplicaId, out: &mut Vec<ClientAction>) {
        for (ticket, read) in self.reads.iter().filter(|(_, read)| read.is_asking()) {
            out.push(ClientAction::Send(replica, read.question(*ticket)));
        }
    }

    /// Asks all members anew: replies of one epoch are not added to those of another.
    pub(super) fn ask_reads_afresh(&mut self, out: &mut Vec<ClientAction>) {
        let asking = self.reads.iter_mut().filter(|(_, read)| read.is_asking());
        for (ticket, read) in asking {
            read.replies.clear();
            for replica in self.peers.connected() {
                out.push(ClientAction::Send(replica, read.question(*ticket)));
            }
        }
    }

    /// Orders what too few connected members can still settle.
    pub(super) fn order_hopeless_reads(&mut self, now: Time, out: &mut Vec<ClientAction>) {
        let needed = self.replies_needed();
        let is_hopeless = |read: &Read| read.is_asking() && read.prospect(&self.peers) < needed;
        for ticket in self.reads_where(is_hopeless) {
            self.order(now, ticket, out);
        }
    }

    pub(super) fn order_overdue_reads(&mut self, now: Time, out: &mut Vec<ClientAction>) {
        for ticket in self.reads_where(|read| read.deadline().is_some_and(|until| until <= now)) {
            self.order(now, ticket, out);
        }
    }

    pub(super) fn order_waiting_reads(&mut self, now: Time, out: &mut Vec<ClientAction>) {
        for ticket in self.reads_where(|read| read.stage == Stage::Waiting) {
            self.order(now, ticket, out);
        }
    }

    /// Ends the reads that can no longer be ordered in this session.
    pub(super) fn drop_waiting_reads(&mut self, out: &mut Vec<ClientAction>) {
        for ticket in self.reads_where(|read| read.stage == Stage::Waiting) {
            self.drop_read(ticket, out);
        }
    }

    /// Submits a read as an operation, or lets it wait for room.
    fn order(&mut self, now: Time, ticket: Ticket, out: &mut Vec<ClientAction>) {
        let Some(read) = self.reads.get(&ticket) else { return };
        let operations = vec![Operation { service: read.service, request: read.request.clone() }];
        let stage = match self.phase {
            Phase::Idle | Phase::Closing(_) => return self.drop_read(ticket, out),
            Phase::Open(session) if self.check_room(&operations).is_ok() => {
                self.launch(now, Purpose::Read, ticket, session, operations, out);
                Stage::Ordered
            }
            Phase::Open(_) | Phase::Opening => Stage::Waiting,
        };
        if let Some(read) = self.reads.get_mut(&ticket) {
            read.stage = stage;
        }
    }

    fn drop_read(&mut self, ticket: Ticket, out: &mut Vec<ClientAction>) {
        self.reads.remove(&ticket);
        let why = Unanswered::NoSession;
        out.push(ClientAction::Deliver(Event::Unanswered { ticket, why }));
    }

    fn reads_where(&self, is_meant: impl Fn(&Read) -> bool) -> Vec<Ticket> {
        let meant = self.reads.iter().filter(|(_, read)| is_meant(read));
        meant.map(|(ticket, _)| *ticket).collect()
    }
}

fn digest_of(reply: &[u8]) -> Digest {
    domain_digest("ravelin client reply v1", &[reply])
}
