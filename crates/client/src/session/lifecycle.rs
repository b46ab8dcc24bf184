//! How a session begins and ends.
//!
//! # Opening
//! An envelope with session 0, whose number is the clock's. If the cluster has seen a higher number
//! of this client, the next attempt uses one above it. Replicas send the answers to openings to
//! those who attached to session 0. An opening whose answers were lost may leave a session behind
//! that nobody uses and that ends by itself; nothing is executed in it.
//!
//! # Ending
//! When asked, once everything in flight is answered; or when `one_correct` members say that the
//! session or the client is unknown. Then nobody can tell what became of what was in flight: it is
//! reported as unanswered, and never asked again.

use ravelin_model::requests::session::{SessionReply, SessionRequest};
use ravelin_model::{Decode as _, OperationResult};

use super::*;
use crate::event::Voted;

impl Session {
    /// Opens with the clock's number, or the one above `last` if the clock is behind it.
    pub(super) fn open_above(&mut self, now: Time, last: u64, out: &mut Vec<ClientAction>) {
        let Some(above) = last.checked_add(1) else {
            self.phase = Phase::Idle;
            let refusal = Refusal::StaleOpening { last };
            return out.push(ClientAction::Deliver(Event::Refused { refusal }));
        };
        self.forget_session();
        self.phase = Phase::Opening;
        self.opening = Sequence(above.max(now.0));
        self.next = self.opening;
        self.attach_everywhere(out);
        let ticket = self.take_ticket();
        let operation = session_operation(&SessionRequest::Open);
        self.launch(now, Purpose::Open, ticket, SessionId(0), vec![operation], out);
    }

    fn on_opened(&mut self, now: Time, session: SessionId, out: &mut Vec<ClientAction>) {
        self.forget_session();
        self.phase = Phase::Open(session);
        self.next = Sequence(1);
        self.attach_everywhere(out);
        out.push(ClientAction::Deliver(Event::Opened { session }));
        self.start_waiting(now, out);
    }

    /// Ends a session that the cluster does not know, or whose client it does not.
    pub(super) fn lose(&mut self, refusal: Refusal, out: &mut Vec<ClientAction>) {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        let is_closing = self.flights.values().any(|flight| flight.purpose == Purpose::Close);
        for flight in self.forget_session() {
            self.reads.remove(&flight.ticket);
            if matches!(flight.purpose, Purpose::Operations | Purpose::Read) {
                let (ticket, why) = (flight.ticket, Unanswered::SessionLost);
                out.push(ClientAction::Deliver(Event::Unanswered { ticket, why }));
            }
        }
        self.drop_waiting_reads(out);
        let event = match (phase, refusal) {
            (Phase::Opening, _) => Event::Refused { refusal },
            (Phase::Closing(_), Refusal::UnknownSession) if is_closing => Event::Closed,
            _ => Event::Lost { refusal },
        };
        out.push(ClientAction::Deliver(event));
    }

    /// Forgets everything that belongs to one session, and returns what was in flight.
    pub(super) fn forget_session(&mut self) -> Vec<Flight> {
        self.flight_bytes = 0;
        self.agreed.clear();
        self.shut_out.clear();
        std::mem::take(&mut self.flights).into_values().collect()
    }

    /// Starts what waited for room, or for everything else to be answered.
    pub(super) fn start_waiting(&mut self, now: Time, out: &mut Vec<ClientAction>) {
        self.order_waiting_reads(now, out);
        if let (Phase::Closing(session), true) = (self.phase, self.flights.is_empty()) {
            let ticket = self.take_ticket();
            let operation = session_operation(&SessionRequest::Close);
            self.launch(now, Purpose::Close, ticket, session, vec![operation], out);
        }
    }

    /// Acts on what a quorum answered to an opening.
    pub(super) fn on_opening_answered(
        &mut self,
        now: Time,
        results: Vec<Voted>,
        out: &mut Vec<ClientAction>,
    ) {
        let outcome = results.into_iter().next().map(|voted| voted.outcome);
        match outcome {
            Some(OperationResult::Done(reply)) => {
                match SessionReply::decode("session reply", &reply) {
                    Ok(SessionReply::Opened(session)) if session != SessionId(0) => {
                        self.on_opened(now, session, out);
                    }
                    // More than `f` intruded members, or another version of the cluster.
                    _ => self.on_not_opened(now, Refusal::Malformed, out),
                }
            }
            Some(OperationResult::Refused(refusal)) => self.on_not_opened(now, refusal, out),
            None => {}
        }
    }

    /// Tries a higher number if the last was used up; otherwise there is no session.
    pub(super) fn on_not_opened(
        &mut self,
        now: Time,
        refusal: Refusal,
        out: &mut Vec<ClientAction>,
    ) {
        match refusal {
            Refusal::StaleOpening { last } => self.open_above(now, last.max(self.opening.0), out),
            _ => self.lose(refusal, out),
        }
    }

    /// Counts who says that the session or the client is unknown; enough of them end the session.
    pub(super) fn on_shut_out(
        &mut self,
        from: ReplicaId,
        refusal: Refusal,
        out: &mut Vec<ClientAction>,
    ) {
        self.shut_out.record(from, refusal);
        if self.shut_out.count(|said| *said == refusal) >= self.group().one_correct() {
            self.lose(refusal, out);
        }
    }
}

fn session_operation(request: &SessionRequest) -> Operation {
    Operation { service: ServiceId::SESSION, request: request.encode() }
}
