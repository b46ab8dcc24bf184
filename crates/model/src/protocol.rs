//! The contract of every protocol core: inputs in, actions out; no I/O, no clock.

use crate::{Misbehaviour, ReplicaId, Round, Time};

/// A deterministic state machine: inputs in, actions out; no I/O, no clock.
pub trait Protocol {
    /// What replicas say to each other, already verified.
    type Message: Clone;
    /// What the core tells the host it runs on.
    type Event;

    /// Takes one authenticated message of `from`.
    fn on_message(
        &mut self,
        now: Time,
        from: ReplicaId,
        message: Self::Message,
        out: &mut Actions<Self>,
    );

    /// Takes the passing of time; early calls are harmless.
    fn on_time(&mut self, now: Time, out: &mut Actions<Self>);

    /// When [`Protocol::on_time`] should be called at the latest.
    fn next_deadline(&self) -> Option<Time>;
}

/// What a [`Protocol`] wants done, in this order.
pub type Actions<P> = Vec<Action<<P as Protocol>::Message, <P as Protocol>::Event>>;

/// One thing that a core asks of the world. Performed in order.
#[derive(Clone, Debug)]
pub enum Action<M, E> {
    /// Make durable before any later action shows; the core goes on meanwhile.
    Persist(LogRecord),
    /// To one replica.
    Send(ReplicaId, M),
    /// To every replica, this one included.
    Broadcast(M),
    /// To the host: an answer to a client, a change of status.
    Emit(E),
    /// A peer did what no correct replica does.
    Accuse(ReplicaId, Misbehaviour),
}

/// One entry of a replica's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Round that the entry belongs to; a log is pruned and read back by it.
    pub round: Round,
    /// Canonical bytes of the entry.
    pub bytes: Vec<u8>,
}
