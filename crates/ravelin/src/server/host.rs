//! A server as its driver sees it: the replica between the wire, the clients and the wormhole.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use ravelin_model::transfer::StateRequest;
use ravelin_model::wire::{ServerMessage, StatusReport};
use ravelin_model::{
    Action, Actions, BlockHeader, CommitIndex, Encode as _, Epoch, LogPart, LogRecord, NotAttested,
    Protocol, PublicKey, ReplicaId, SharedWormhole, SignedPlan, Suspicion, Time,
};
use ravelin_multicast::Message;
use ravelin_replication::{ClientInput, ConnectionId, Event, HaltReason, Status, peer};
use ravelin_runtime::clock::Clock;
use ravelin_runtime::driver::{Curb, Effect, Node, Totals, WormholeGone};
use ravelin_runtime::transport::{Priority, Received};
use ravelin_sim::intruder::{Deed, Server};

use super::{Ending, Stop, follow};
use crate::admin::{Snapshot, Window};
use crate::data::DataDir;
use crate::files::identity::Identity;
use crate::intake::{self, Intake, Taken};
use crate::opinion::Others;
use crate::room::{self, Room, Stage};
use crate::shared_keys::SharedKeys;
use crate::{hops, quarantine};

/// What a halt means, and what to do.
const HALTED: &str = "beyond f nothing is promised, so this server says nothing more, after restarts \
    neither; what was acknowledged is on its disk; `ravelin node release --help` says how \
    administrators let it go on";

/// A replica, in its own hands or in an intruder's, with its codec.
pub(super) struct Host {
    pub(super) server: Server,
    pub(super) own: ReplicaId,
    pub(super) identity: Identity,
    pub(super) data: DataDir,
    pub(super) room: Room,
    pub(super) others: Others,
    pub(super) stop: Arc<Stop>,
    /// The epoch in which it last said something.
    pub(super) epoch: Epoch,
    pub(super) window: Window,
    /// What clients send.
    pub(super) intake: Intake,
    pub(super) shared_keys: SharedKeys,
    pub(super) wormhole: Option<SharedWormhole>,
    /// For the trace alone.
    pub(super) clock: Clock,
    /// Used by one call at a time.
    pub(super) deeds: Vec<Deed>,
}

/// What goes over the wire.
#[derive(Clone)]
pub(super) enum Wire {
    /// A message of the protocol.
    Message(Message),
    /// What only an intruder sends.
    Bytes(Arc<[u8]>),
}

impl Host {
    /// Lets the server act and hands its deeds to the driver.
    fn act(&mut self, out: &mut Actions<Self>, act: impl FnOnce(&mut Server, &mut Vec<Deed>)) {
        act(&mut self.server, &mut self.deeds);
        if hops::are_traced() {
            self.deeds.iter().for_each(|deed| hops::on_deed(&self.clock, deed));
        }
        out.extend(self.deeds.drain(..).map(|deed| match deed {
            Deed::Bytes(to, bytes) => Action::Send(to, Wire::Bytes(bytes.into())),
            Deed::Act(action) => match action {
                Action::Persist(entry) => Action::Persist(entry),
                Action::Send(to, message) => Action::Send(to, Wire::Message(message)),
                Action::Broadcast(message) => Action::Broadcast(Wire::Message(message)),
                Action::Emit(event) => Action::Emit(event),
                Action::Attest(header) => Action::Attest(header),
                Action::Accuse(who, offence) => Action::Accuse(who, offence),
            },
        }));
    }

    /// A new epoch began: from now on this server speaks in it, with the key that its plan names.
    fn begin(&mut self, signed: &SignedPlan) {
        self.epoch = signed.plan.epoch;
        tracing::info!(epoch = self.epoch.0, "a new epoch began");
        let Some(member) = signed.plan.members.get(self.own.index()) else { return };
        if let Some(spare) = follow(&mut self.identity, &member.block) {
            self.server.add_key(spare);
        }
    }

    /// Does what the room on the disk demands.
    pub(super) fn follow_room(&mut self, stage: Stage) {
        let free = self.room.view().free_bytes >> 20;
        let dir = self.data.dir.display();
        match stage {
            Stage::Ample => tracing::info!("{free} MiB free on the disk of {dir}"),
            Stage::Busy => tracing::warn!(
                "{free} MiB free on the disk of {dir}: writes of clients are refused until there is more"
            ),
            Stage::ReadOnly => tracing::error!(
                "the disk of {dir} is full: its ballast is given up, writes are refused; with {} MiB \
                 left this server stops",
                room::STOP_BELOW_BYTES >> 20
            ),
            Stage::Stop => {
                tracing::error!(
                    "{free} MiB left on the disk of {dir}: this server stops in good order"
                );
                self.stop.ask(Ending::NoSpace);
            }
        }
        self.server.close_admission(stage.retry_after_ms());
    }

    /// Whether the plan in force gives this server a key that it holds.
    fn has_key(&self) -> bool {
        let replica = self.server.replica();
        replica.keyring().member(self.own) == Some(&replica.key().public())
    }

    /// What this server says of itself, with what its host knows.
    fn amended(&self, mut report: StatusReport) -> StatusReport {
        if self.room.view().stage != Stage::Ample {
            let own = report.members.get_mut(self.own.index()).map(|member| &mut member.state);
            for state in own.into_iter().chain([&mut report.state]) {
                if state == "correct" {
                    room::REPORTED.clone_into(state);
                }
            }
        }
        self.shared_keys.amend(&mut report);
        report
    }

    /// It halted because others contradict its state: asks whether they go on without it.
    fn on_divergence(&self, commit: CommitIndex) {
        if matches!(self.server, Server::Intruded(_)) {
            return; // its state says nothing
        }
        tracing::error!(
            "f+1 servers contradict this server's state after commit {}: it halts, and takes one of \
             the f faults that the cluster tolerates",
            commit.0
        );
        match quarantine::diverged(&self.data.dir) {
            Ok(None) => {
                let (others, stop) = (self.others.clone(), Arc::clone(&self.stop));
                tokio::spawn(async move {
                    others.wait_for_quorum(commit).await;
                    stop.ask(Ending::Diverged(commit));
                });
            }
            Ok(Some(kept)) => tracing::error!(
                "it has given up a state before, in {}: it does so once, and stays halted. Compare the \
                 two with the others' and look at the program's and the machine's soundness; once that \
                 directory is moved away, the server repairs itself again",
                kept.display()
            ),
            Err(error) => tracing::error!("{}; {}", error.message(), error.advice()),
        }
    }
}

fn to_client(connection: u64, message: ServerMessage) -> Action<Wire, Event> {
    Action::Emit(Event::ToClient(ConnectionId(connection), message))
}

impl Protocol for Host {
    type Message = Wire;
    type Event = Event;

    fn on_message(&mut self, now: Time, from: ReplicaId, message: Wire, out: &mut Actions<Self>) {
        if let Wire::Message(message) = message {
            if hops::are_traced() {
                hops::on_heard(&self.clock, &message);
            }
            self.act(out, |server, deeds| server.on_message(now, from, message, deeds));
        }
    }

    fn on_time(&mut self, now: Time, out: &mut Actions<Self>) {
        if let Some(stage) = self.room.look() {
            self.follow_room(stage);
        }
        self.act(out, |server, deeds| server.on_time(now, deeds));
    }

    fn next_deadline(&self) -> Option<Time> {
        self.server.next_deadline()
    }
}

impl Node for Host {
    fn check(&self, frames: &[(ReplicaId, Received)]) -> Vec<Result<Wire, Suspicion>> {
        let mut decoded = Vec::with_capacity(frames.len());
        let shapes: Vec<Option<Suspicion>> = frames
            .iter()
            .map(|(_, bytes)| peer::decode(bytes).map(|message| decoded.push(message)).err())
            .collect();
        let mut verdicts = peer::verify(self.server.replica().keyring(), decoded).into_iter();
        shapes
            .into_iter()
            .map(|shape| match shape {
                Some(suspicion) => Err(suspicion),
                None => verdicts.next().expect("one verdict a decoded message").map(Wire::Message),
            })
            .collect()
    }

    fn bytes(&self, message: &Wire) -> (Priority, Vec<u8>) {
        match message {
            Wire::Message(replayed @ Message::Replayed(_)) => {
                (Priority::Bulk, peer::encode(self.epoch, replayed))
            }
            Wire::Message(message) => (Priority::Protocol, peer::encode(self.epoch, message)),
            Wire::Bytes(bytes) => (Priority::Protocol, bytes.to_vec()),
        }
    }

    fn logged(&self, part: &LogPart, records: Vec<LogRecord>) -> Vec<Vec<u8>> {
        peer::logged(part, records).iter().map(|frame| frame.encode()).collect()
    }

    fn state_part(&self, request: &StateRequest) -> Vec<u8> {
        peer::encode(self.epoch, &self.server.replica().state_part(request))
    }

    fn effect(&mut self, event: Event) -> Effect {
        match event {
            // Nobody would believe what is signed by a key that is no member's.
            Event::ToClient(_, ServerMessage::Answers { .. }) if !self.has_key() => Effect::None,
            Event::ToClient(connection, ServerMessage::Status { id, report }) => {
                let report = Box::new(self.amended(*report));
                Effect::ToClient(connection.0, ServerMessage::Status { id, report }.encode())
            }
            Event::ToClient(connection, message) => {
                Effect::ToClient(connection.0, message.encode())
            }
            Event::Archive { to, part } => Effect::Archive { to, part },
            Event::Serve { to, request } => Effect::Serve { to, request },
            Event::Prunable(below) => Effect::Prune(below),
            Event::Epoch(signed) => {
                self.begin(&signed);
                Effect::None
            }
            Event::Status(status) => {
                if let Status::FailSafe(reason) = &status
                    && !matches!(reason, HaltReason::Diverged { .. })
                {
                    tracing::error!("halted: {reason}; {HALTED}");
                }
                tracing::info!(?status, "status changed");
                if let Status::FailSafe(HaltReason::Diverged { commit }) = status {
                    self.on_divergence(commit);
                }
                Effect::None
            }
        }
    }

    fn resume(&mut self, now: Time, out: &mut Actions<Self>) {
        self.act(out, |server, deeds| server.resume(now, deeds));
    }

    fn on_suspicion(&mut self, who: ReplicaId, suspicion: Suspicion, out: &mut Actions<Self>) {
        self.act(out, |server, deeds| server.on_suspicion(who, suspicion, deeds));
    }

    fn on_key_shared(
        &mut self,
        who: ReplicaId,
        addresses: [SocketAddr; 2],
        out: &mut Actions<Self>,
    ) {
        self.shared_keys.note(who, addresses);
        self.on_suspicion(who, Suspicion::SharedKey, out);
    }

    fn on_client_opened(&mut self, connection: u64, key: PublicKey) {
        let is_enrolled = self.server.replica().execution().admits(&key);
        self.intake.open(connection, key, is_enrolled);
        self.server.on_client_opened(ConnectionId(connection), key);
    }

    fn on_client_closed(&mut self, connection: u64) {
        self.intake.close(connection);
        self.server.on_client_closed(ConnectionId(connection));
    }

    fn on_client_frames(
        &mut self,
        now: Time,
        frames: &[(u64, Received)],
        out: &mut Actions<Self>,
    ) -> Vec<(u64, Curb)> {
        let replica = self.server.replica();
        let (admits, room_of) =
            (|key: &_| replica.execution().admits(key), |key: &_| replica.room_of(key));
        let taken = self.intake.take(now, frames, admits, room_of);
        let mut curbs = Vec::new();
        let mut envelopes = Vec::new();
        let mut inputs = Vec::with_capacity(taken.len());
        for (connection, message) in taken {
            match message {
                Taken::Submit(envelope) => {
                    if hops::are_traced() {
                        hops::on_submitted(&self.clock, &envelope);
                    }
                    envelopes.push(envelope);
                    inputs.push((connection, None));
                }
                Taken::Other(message) => inputs.push((connection, Some(message))),
                Taken::Unwelcome(envelope) => {
                    let denied = intake::denied(&envelope, self.server.replica().status());
                    out.push(to_client(connection, denied));
                }
                Taken::Unheard => {}
                Taken::TooMany(busy) => {
                    out.push(to_client(connection, busy));
                    curbs.push((connection, Curb::Rest(intake::RETRY_AFTER)));
                }
                Taken::Ignored(rest) => curbs.push((connection, Curb::Rest(rest))),
                Taken::Nonsense => curbs.push((connection, Curb::Close)),
            }
        }
        let mut verdicts = self.server.replica().keyring().verify_envelopes(envelopes).into_iter();
        for (connection, message) in inputs {
            let input = match message {
                Some(other) => ClientInput::Other(other),
                None => match verdicts.next().expect("one verdict an envelope") {
                    Ok(envelope) => ClientInput::Submit(envelope),
                    Err(_) => {
                        let rest = self.intake.ignore(now, connection);
                        curbs.push((connection, Curb::Rest(rest)));
                        continue;
                    }
                },
            };
            let connection = ConnectionId(connection);
            self.act(out, |server, deeds| server.on_client(now, connection, input, deeds));
        }
        curbs
    }

    fn attest(
        &mut self,
        clock: &Clock,
        header: &BlockHeader,
        out: &mut Actions<Self>,
    ) -> Result<(), WormholeGone> {
        let wormhole =
            self.wormhole.as_ref().map(|it| it.lock().unwrap_or_else(PoisonError::into_inner));
        let attested = wormhole.map(|mut wormhole| wormhole.attest(header));
        match attested.unwrap_or_else(|| Err(NotAttested::Gone("there is none".to_owned()))) {
            Ok(attestation) => {
                let now = clock.now();
                self.act(out, |server, deeds| server.on_attested(now, header, attestation, deeds));
                Ok(())
            }
            Err(_) if matches!(self.server, Server::Intruded(_)) => Ok(()), // it used the counter itself
            Err(error) => Err(WormholeGone(error.into())),
        }
    }

    fn show(&self, totals: &Totals) {
        let replica = self.server.replica();
        let (report, states_fetched) = (self.amended(replica.report()), replica.fetched_count());
        let (totals, room, taken) = (*totals, self.room.view(), Instant::now());
        let snapshot = Snapshot { report, states_fetched, totals, room, taken };
        *self.window.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
    }

    fn take_urgent(&mut self) -> bool {
        self.server.take_urgent()
    }

    fn settle(&mut self, is_urgent: bool) {
        self.server.settle(is_urgent);
    }

    fn close(&mut self) {
        self.server.close();
    }
}
