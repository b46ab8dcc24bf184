//! What is going to happen, by virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use ravelin_model::wire::{ClientMessage, ServerMessage};
use ravelin_model::{Epoch, ReplicaId};
use ravelin_multicast::Message;
use ravelin_replication::ConnectionId;

use crate::faults::Fault;
use crate::network::Micros;
use crate::options::FaultClass;

/// A message between servers, as it travels.
#[derive(Clone, Debug)]
pub(crate) enum Letter {
    /// Already verified, of the sender's epoch.
    Message(Epoch, Message),
    /// To be decoded and verified.
    Bytes(Arc<Vec<u8>>),
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A message reaches a server in this life of it.
    Deliver { to: ReplicaId, life: u64, from: ReplicaId, letter: Letter },
    /// A client's message reaches a server.
    ToServer { to: ReplicaId, connection: ConnectionId, message: Box<ClientMessage> },
    /// A server's message reaches a client.
    ToClient { to: u16, from: ReplicaId, connection: ConnectionId, message: Box<ServerMessage> },
    /// A server's timer rings.
    Timer(ReplicaId),
    /// A client's timer rings.
    ClientTimer(u16),
    /// A sync ends.
    Synced(ReplicaId, u64),
    /// Trouble.
    Trouble(FaultClass, Fault),
    /// A server starts again, unless it did already.
    Start(ReplicaId, u64),
    /// A client connects to a server.
    Connect(u16, ReplicaId),
    /// A client notices that a connection is gone.
    Lost(u16, ReplicaId, ConnectionId),
    /// Someone looks whether all is well.
    Look,
    /// Administrators look whether the cluster has to be opened.
    Administer,
    /// They open it whether or not it has to be.
    Reopen,
}

impl Event {
    /// The server that must run for this to happen.
    pub(crate) fn server(&self) -> Option<ReplicaId> {
        match self {
            Self::Deliver { to, .. } | Self::ToServer { to, .. } => Some(*to),
            Self::Timer(id) | Self::Synced(id, _) => Some(*id),
            _ => None,
        }
    }
}

/// Events by time; those of one moment in the order in which they were put in.
#[derive(Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    count: u64,
}

struct Entry {
    at: Micros,
    number: u64,
    event: Event,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Micros, event: Event) {
        self.count += 1;
        self.heap.push(Reverse(Entry { at, number: self.count, event }));
    }

    pub(crate) fn pop(&mut self) -> Option<(Micros, Event)> {
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.event))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}
