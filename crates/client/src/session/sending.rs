//! Where envelopes go, and when they go again.
//!
//! First to the home replica; without an answer in time to `one_correct` members, then to all, with
//! growing waits. Every retry is the same signed envelope: replicas execute it once. It attaches
//! again, so that nothing that was lost before matters. A member that asks for a rest, denies or
//! disconnects is replaced by the next at once, and so is a home by way of which answers take longer
//! than by another's; to know that, some envelopes go another way (`paces.rs`).

use ravelin_crypto::Keyring;
use ravelin_model::limits::ENVELOPE_BYTES_MAX;
use ravelin_model::{Envelope, Signature};

use super::*;

impl Session {
    /// Signs `operations` as one envelope and sends it. There is room for it.
    pub(super) fn launch(
        &mut self,
        now: Time,
        purpose: Purpose,
        ticket: Ticket,
        session: SessionId,
        operations: Vec<Operation>,
        out: &mut Vec<ClientAction>,
    ) {
        let first = self.next;
        self.next = Sequence(first.0.saturating_add(operations.len() as u64));
        let envelope = Envelope {
            cluster: self.epochs.newest().cluster(),
            incarnation: self.epochs.newest().incarnation(),
            client: self.client(),
            session,
            first,
            operations,
            signature: Signature([0; 64]),
        };
        let envelope = Keyring::sign_envelope(&self.key, envelope);
        let patience = self.peers.wait(0);
        let mut flight = Flight::new(ticket, purpose, envelope, now.after(patience));
        self.flight_bytes += flight.size;
        if let Some((tried, sooner)) = self.peers.launch() {
            send(&mut flight, tried, out);
            flight.trial_until = Some(flight.deadline);
            flight.deadline = now.after(patience.min(sooner));
        }
        send_due_of(&self.peers, &mut flight, out);
        flight.begun_with = flight.sent.first().map(|first| (*first, now));
        self.flights.insert(first, flight);
    }

    /// Takes a flight out of the air.
    pub(super) fn land(&mut self, first: Sequence) -> Option<Flight> {
        let flight = self.flights.remove(&first)?;
        self.flight_bytes = self.flight_bytes.saturating_sub(flight.size);
        Some(flight)
    }

    /// Sends every flight to as many members as its attempt should reach.
    pub(super) fn send_due(&mut self, out: &mut Vec<ClientAction>) {
        for flight in self.flights.values_mut() {
            send_due_of(&self.peers, flight, out);
        }
    }

    /// Sends again to a member that is back, and for the first time where it is needed.
    pub(super) fn resend_to(&mut self, replica: ReplicaId, out: &mut Vec<ClientAction>) {
        for flight in self.flights.values().filter(|flight| flight.sent.contains(&replica)) {
            out.push(ClientAction::Send(replica, ClientMessage::Submit(flight.envelope.clone())));
        }
        self.send_due(out);
    }

    /// Begins the next attempt of every flight whose time is over.
    pub(super) fn retry(&mut self, now: Time, out: &mut Vec<ClientAction>) {
        let (quorum, size) = (self.group().quorum(), self.group().size());
        let connected = self.peers.connected_count();
        let mut is_in_vain = false;
        let mut late: BTreeMap<ReplicaId, Duration> = BTreeMap::new();
        for flight in self.flights.values_mut().filter(|flight| flight.deadline <= now) {
            let (home, begun_with) = (self.peers.usable().next(), flight.begun_with);
            if let Some((member, since)) = begun_with {
                late.entry(member).or_insert_with(|| now.since(since));
            }
            if let (0, None, Some(home)) = (flight.attempt, flight.trial_until, home)
                && flight.sent.contains(&home)
            {
                self.peers.turn_from(home);
            }
            let reached_all = self.peers.reach(flight.attempt) >= size;
            is_in_vain |= reached_all || connected < quorum;
            let wait = self.peers.wait(flight.attempt.saturating_add(1));
            flight.start_over(now.after(wait));
        }
        for (member, waited) in late {
            self.peers.on_answered(member, waited); // or not even then
        }
        self.send_due(out);
        if is_in_vain {
            out.push(ClientAction::Deliver(Event::NoQuorum { connected, needed: quorum }));
        }
    }

    /// Takes it that `from` does not admit an envelope now, or answer a read: another gets it.
    pub(super) fn on_busy(
        &mut self,
        now: Time,
        from: ReplicaId,
        (session, first): (SessionId, Sequence),
        retry_after_ms: u32,
        out: &mut Vec<ClientAction>,
    ) {
        if session == SessionId(0) {
            self.on_no_answer(now, from, Ticket(first.0), out);
            self.on_watch_refused(now, from, first.0, retry_after_ms);
        }
        if self.named_session() != Some(session) {
            return;
        }
        let Some(flight) = self.flights.get_mut(&first) else { return };
        if flight.sent.remove(&from) {
            self.peers.hold(now, from, retry_after_ms);
            send_due_of(&self.peers, flight, out);
        }
    }

    /// Takes it that `from` answers neither the read nor the question for proof with this ticket.
    fn on_no_answer(
        &mut self,
        now: Time,
        from: ReplicaId,
        ticket: Ticket,
        out: &mut Vec<ClientAction>,
    ) {
        self.on_read_reply(now, from, ticket, None, out);
        self.on_no_proof(now, from, ticket, out);
        self.on_no_audit(now, from, ticket, out);
    }

    /// Takes it that `from` will not admit an envelope, or answer a read. One member's word only
    /// brings in the next; `one_correct` alike end the flight.
    pub(super) fn on_denied(
        &mut self,
        now: Time,
        from: ReplicaId,
        (session, first): (SessionId, u64),
        refusal: Refusal,
        out: &mut Vec<ClientAction>,
    ) {
        if session == SessionId(0) {
            self.on_no_answer(now, from, Ticket(first), out);
        }
        if self.named_session() != Some(session) {
            return;
        }
        let (first, one_correct) = (Sequence(first), self.group().one_correct());
        let Some(flight) =
            self.flights.get_mut(&first).filter(|flight| flight.sent.contains(&from))
        else {
            return;
        };
        flight.denials.record(from, refusal);
        let denials = flight.denials.count(|denial| *denial == refusal);
        if matches!(refusal, Refusal::UnknownSession | Refusal::UnknownClient) {
            self.on_shut_out(from, refusal, out);
        } else if denials >= one_correct {
            return self.give_up(now, first, refusal, out);
        }
        self.send_due(out);
    }

    /// Ends a flight that a correct member denied.
    fn give_up(
        &mut self,
        now: Time,
        first: Sequence,
        refusal: Refusal,
        out: &mut Vec<ClientAction>,
    ) {
        let Some(flight) = self.land(first) else { return };
        let ticket = flight.ticket;
        match flight.purpose {
            Purpose::Open => return self.on_not_opened(now, refusal, out),
            Purpose::Close => return self.lose(refusal, out),
            Purpose::Operations => {}
            Purpose::Read => drop(self.reads.remove(&ticket)),
        }
        let why = Unanswered::Denied(refusal);
        out.push(ClientAction::Deliver(Event::Unanswered { ticket, why }));
        self.start_waiting(now, out);
    }

    /// Asks `replica` for the answers of the session, or to its opening.
    pub(super) fn attach(&self, replica: ReplicaId, out: &mut Vec<ClientAction>) {
        if let Some(session) = self.named_session() {
            out.push(ClientAction::Send(replica, ClientMessage::Attach { session }));
        }
    }

    pub(super) fn attach_everywhere(&self, out: &mut Vec<ClientAction>) {
        self.peers.connected().for_each(|replica| self.attach(replica, out));
    }
}

/// Sends one flight to as many members as its attempt should reach and can.
fn send_due_of(peers: &Peers, flight: &mut Flight, out: &mut Vec<ClientAction>) {
    let is_counted =
        |replica: &&ReplicaId| peers.is_connected(**replica) && !flight.denials.has(**replica);
    let mut reached = flight.sent.iter().filter(is_counted).count();
    for replica in peers.usable() {
        if reached >= peers.reach(flight.attempt) {
            break;
        }
        if send(flight, replica, out) {
            reached += 1;
        }
    }
}

/// Sends one flight to a member, unless this attempt has done so already.
fn send(flight: &mut Flight, replica: ReplicaId, out: &mut Vec<ClientAction>) -> bool {
    if !flight.sent.insert(replica) {
        return false;
    }
    if let Some(until) = flight.trial_until {
        flight.deadline = until; // whom it was to try is gone or refused
    }
    if flight.attempt > 0 {
        let session = flight.envelope.session;
        out.push(ClientAction::Send(replica, ClientMessage::Attach { session }));
    }
    out.push(ClientAction::Send(replica, ClientMessage::Submit(flight.envelope.clone())));
    true
}

/// Canonical bytes of an envelope with these operations.
///
/// # Errors
/// [`Misuse::TooLarge`] beyond the limit.
pub(super) fn size_of_envelope(operations: &[Operation]) -> Result<usize, Misuse> {
    // The rule of `Envelope::is_within_limits`, which replicas apply.
    let bytes = operations.iter().map(|operation| operation.request.len() + 8).sum::<usize>() + 256;
    if bytes > ENVELOPE_BYTES_MAX {
        return Err(Misuse::TooLarge { bytes, bytes_max: ENVELOPE_BYTES_MAX });
    }
    Ok(bytes)
}
