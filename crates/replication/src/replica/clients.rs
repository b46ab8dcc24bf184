//! What clients ask of a replica.

use ravelin_model::{AnswerBatch, PublicKey, Refusal, Sequence, ServiceId, SessionId};

use super::*;
use crate::clients::WatchRequest;
use crate::mempool::Busy;
use crate::read_quota::PROOF_WORK;

/// What clients are told to wait that ask a replica which is behind the others: they have those.
const BEHIND_RETRY_MS: u32 = 200;

impl Replica {
    /// A client connected and proved that it holds `key`.
    pub fn on_client_opened(&mut self, connection: ConnectionId, key: PublicKey) {
        self.clients.open(connection, key);
    }

    /// A client's connection ended.
    pub fn on_client_closed(&mut self, connection: ConnectionId) {
        self.clients.close(connection);
    }

    /// Takes no new envelope from clients from now on, and tells them to wait so long; `None`: takes them
    /// again. Answers to what was executed, reads and everything between servers go on.
    pub fn close_admission(&mut self, retry_after_ms: Option<u32>) {
        let busy = retry_after_ms.map(|retry_after_ms| Busy { retry_after_ms });
        self.ordering.payload_mut().close(busy);
    }

    /// How many further envelopes of `client` are worth looking at their signatures: beyond it they would
    /// be told to come again. A replica that takes none says why not.
    #[must_use]
    pub fn room_of(&self, client: &PublicKey) -> usize {
        if self.is_proposing() { self.ordering.payload().room_of(client) } else { usize::MAX }
    }

    /// Takes one message of a client.
    pub fn on_client(
        &mut self,
        now: Time,
        connection: ConnectionId,
        input: ClientInput,
        out: &mut Out,
    ) {
        let Some(key) = self.clients.key(connection) else { return };
        let mut say = |message| out.push(Action::Emit(Event::ToClient(connection, message)));
        match input {
            // Anyone may learn who the servers are and how they fare; the rest is for the enrolled.
            ClientInput::Other(ClientMessage::Plans) => {
                return say(ServerMessage::Plans(self.plans.clone()));
            }
            ClientInput::Other(ClientMessage::Status { id }) => {
                let report = Box::new(self.report());
                return say(ServerMessage::Status { id, report });
            }
            ClientInput::Other(ClientMessage::Wormhole { id }) => {
                let certificate = self.wormhole.map(|wormhole| wormhole.certificate);
                let (epoch, is_open) = (self.keyring.epoch(), self.speaks);
                return say(ServerMessage::Wormhole { id, epoch, certificate, is_open });
            }
            _ => {}
        }
        let (session, first) = named(&input);
        if self.is_fetching() {
            // Others answer: what this replica holds is no commit's.
            return if is_request(&input) {
                say(busy(session, Sequence(first)))
            };
        }
        if self.is_halted() {
            return say(ServerMessage::Denied { session, first, refusal: Refusal::Halted });
        }
        if !self.execution.admits(&key) {
            let refusal = Refusal::UnknownClient;
            return say(ServerMessage::Denied { session, first, refusal });
        }
        match input {
            ClientInput::Submit(envelope) if envelope.client == key => {
                self.on_submit(now, connection, &envelope, out);
            }
            ClientInput::Submit(_) => {
                let refusal = Refusal::UnknownClient;
                say(ServerMessage::Denied { session, first, refusal });
            }
            ClientInput::Other(message) => self.on_question(now, (connection, key), message, out),
        }
    }

    fn on_submit(
        &mut self,
        now: Time,
        connection: ConnectionId,
        envelope: &VerifiedEnvelope,
        out: &mut Out,
    ) {
        let (client, session) = (envelope.client, envelope.session);
        let mut say = |message| out.push(Action::Emit(Event::ToClient(connection, message)));
        if session != SessionId(0) {
            self.clients.attach(connection, session);
        }
        let mut admitted = Ok(());
        if self.execution.is_repeated(envelope) {
            admitted = self.read_quota.admit(now, &client);
            if admitted.is_ok() {
                let (answers, work) = self.execution.kept_answers(envelope);
                self.read_quota.charge(client, work);
                if !answers.is_empty() {
                    return say(ServerMessage::Repeated(AnswerBatch { client, session, answers }));
                }
            }
        }
        if !self.is_proposing() {
            return say(busy(session, envelope.first)); // another one's block takes it sooner
        }
        match admitted.and_then(|()| self.ordering.payload_mut().admit(envelope)) {
            Ok(()) => self.on_time(now, out),
            Err(busy) => say(ServerMessage::Busy {
                session,
                first: envelope.first,
                retry_after_ms: busy.retry_after_ms,
            }),
        }
    }

    fn on_question(
        &mut self,
        now: Time,
        (connection, client): (ConnectionId, PublicKey),
        message: ClientMessage,
        out: &mut Out,
    ) {
        let mut say = |message| out.push(Action::Emit(Event::ToClient(connection, message)));
        if let Some(refused) = self.refused(now, &client, &message) {
            return say(refused);
        }
        match message {
            ClientMessage::Attach { session } => self.clients.attach(connection, session),
            ClientMessage::Read { id, service, request } => {
                let commit = self.execution.state().commit();
                let (reply, work) = self.execution.query(service, client, &request);
                self.read_quota.charge(client, work);
                say(ServerMessage::ReadReply { id, commit, reply });
            }
            // These pass the service by: whoever may not ask it must not see what it holds either.
            ClientMessage::Prove { id, service, .. } | ClientMessage::Watch { id, service, .. }
                if !self.execution.may_see(service, &client) =>
            {
                let (session, refusal) = (SessionId(0), Refusal::UnknownClient);
                say(ServerMessage::Denied { session, first: id, refusal });
            }
            ClientMessage::Prove { id, service, key } => {
                self.read_quota.charge(client, PROOF_WORK);
                let state = self.execution.state();
                let certificate = self.statements.certificate(|commit| state.has_version(commit));
                let statements = certificate.unwrap_or_default().to_vec();
                let proof = statements
                    .first()
                    .and_then(|signed| state.prove_at(signed.statement.commit, service, &key));
                say(ServerMessage::Proof { id, statements, proof });
            }
            ClientMessage::Audit { id, last } => {
                if !self.execution.may_see(ServiceId::AUDIT, &client) {
                    let (session, refusal) = (SessionId(0), Refusal::UnknownClient);
                    return say(ServerMessage::Denied { session, first: id, refusal });
                }
                let (records, work) = self.execution.audit_records(&client, last);
                self.read_quota.charge(client, work);
                say(ServerMessage::Audit { id, records });
            }
            ClientMessage::Watch { id, service, prefix, from } => {
                let last = self.execution.position();
                let watch = WatchRequest { id, service, prefix, from };
                self.read_quota.charge(client, self.clients.work_of(&watch));
                self.clients.watch(connection, watch, last).into_iter().for_each(say);
            }
            ClientMessage::Unwatch { id } => self.clients.unwatch(connection, id),
            ClientMessage::File(evidence) => self.on_filed(evidence, out),
            ClientMessage::Reopen { id, order } => {
                self.read_quota.charge(client, PROOF_WORK);
                let verdict = self.on_reopening(now, *order, out);
                let answer = ServerMessage::Reopening { id, verdict };
                out.push(Action::Emit(Event::ToClient(connection, answer)));
            }
            ClientMessage::Submit(_)
            | ClientMessage::Plans
            | ClientMessage::Wormhole { .. }
            | ClientMessage::Status { .. } => {}
        }
    }
}

impl Replica {
    /// Whether what it takes goes into a block soon.
    fn is_proposing(&self) -> bool {
        matches!(self.status, Status::Asking | Status::Active) && !self.ordering.is_behind()
    }

    /// What to say to a question of `client` who asked too much of late.
    fn refused(
        &mut self,
        now: Time,
        client: &PublicKey,
        question: &ClientMessage,
    ) -> Option<ServerMessage> {
        let (ClientMessage::Read { id, .. }
        | ClientMessage::Prove { id, .. }
        | ClientMessage::Audit { id, .. }
        | ClientMessage::Reopen { id, .. }
        | ClientMessage::Watch { id, .. }) = *question
        else {
            return None;
        };
        let busy = self.read_quota.admit(now, client).err()?;
        let (session, first) = (SessionId(0), Sequence(id));
        Some(ServerMessage::Busy { session, first, retry_after_ms: busy.retry_after_ms })
    }
}

/// Sends a client away from a replica that is behind the others.
fn busy(session: SessionId, first: Sequence) -> ServerMessage {
    ServerMessage::Busy { session, first, retry_after_ms: BEHIND_RETRY_MS }
}

/// Whether the client waits for an answer of this replica.
fn is_request(input: &ClientInput) -> bool {
    named(input) != (SessionId(0), 0)
}

/// The session and number by which a client knows its request.
fn named(input: &ClientInput) -> (SessionId, u64) {
    match input {
        ClientInput::Submit(envelope) => (envelope.session, envelope.first.0),
        ClientInput::Other(
            ClientMessage::Read { id, .. }
            | ClientMessage::Prove { id, .. }
            | ClientMessage::Audit { id, .. }
            | ClientMessage::Reopen { id, .. }
            | ClientMessage::Watch { id, .. },
        ) => (SessionId(0), *id),
        ClientInput::Other(_) => (SessionId(0), 0),
    }
}
