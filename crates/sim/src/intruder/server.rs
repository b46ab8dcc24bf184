//! A server's replica, in its own hands or in an intruder's, behind one set of methods.

use std::sync::Arc;

use ravelin_crypto::SigningKey;
use ravelin_model::{BlockHeader, Protocol as _, PublicKey, ReplicaId, Signature, Suspicion, Time};
use ravelin_multicast::Message;
use ravelin_replication::{ClientInput, ConnectionId, Replica};

use super::{Deed, Intruded};

/// What a driver drives.
pub enum Server {
    /// The product's replica and nothing else.
    Correct(Box<Replica>),
    /// The same under an intruder.
    Intruded(Box<Intruded>),
}

impl Server {
    /// The replica inside.
    #[must_use]
    pub fn replica(&self) -> &Replica {
        match self {
            Self::Correct(replica) => replica,
            Self::Intruded(intruded) => intruded.replica(),
        }
    }

    /// As [`Replica::add_key`].
    pub fn add_key(&mut self, key: Arc<SigningKey>) {
        match self {
            Self::Correct(replica) => replica.add_key(key),
            Self::Intruded(intruded) => intruded.add_key(key),
        }
    }

    /// As [`Replica::close_admission`].
    pub fn close_admission(&mut self, retry_after_ms: Option<u32>) {
        match self {
            Self::Correct(replica) => replica.close_admission(retry_after_ms),
            Self::Intruded(_) => {} // whoever owns a server does what he likes
        }
    }

    /// As [`Replica::change_key`].
    pub fn change_key(&mut self, now: Time, out: &mut Vec<Deed>) {
        match self {
            Self::Correct(replica) => collect(out, |actions| replica.change_key(now, actions)),
            Self::Intruded(_) => {} // whoever owns a server does not hear its operators
        }
    }

    /// As [`Replica::resume`].
    pub fn resume(&mut self, now: Time, out: &mut Vec<Deed>) {
        match self {
            Self::Correct(replica) => collect(out, |actions| replica.resume(now, actions)),
            Self::Intruded(intruded) => intruded.resume(now, out),
        }
    }

    /// As [`Protocol::on_message`](ravelin_model::Protocol::on_message) of the replica.
    pub fn on_message(
        &mut self,
        now: Time,
        from: ReplicaId,
        message: Message,
        out: &mut Vec<Deed>,
    ) {
        match self {
            Self::Correct(replica) => {
                collect(out, |actions| replica.on_message(now, from, message, actions));
            }
            Self::Intruded(intruded) => intruded.on_message(now, from, message, out),
        }
    }

    /// As [`Protocol::on_time`](ravelin_model::Protocol::on_time) of the replica.
    pub fn on_time(&mut self, now: Time, out: &mut Vec<Deed>) {
        match self {
            Self::Correct(replica) => collect(out, |actions| replica.on_time(now, actions)),
            Self::Intruded(intruded) => intruded.on_time(now, out),
        }
    }

    /// As [`Protocol::next_deadline`](ravelin_model::Protocol::next_deadline) of the replica.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        match self {
            Self::Correct(replica) => replica.next_deadline(),
            Self::Intruded(intruded) => intruded.next_deadline(),
        }
    }

    /// As [`Replica::on_attested`].
    pub fn on_attested(
        &mut self,
        now: Time,
        header: &BlockHeader,
        attestation: Signature,
        out: &mut Vec<Deed>,
    ) {
        match self {
            Self::Correct(replica) => {
                collect(out, |actions| replica.on_attested(now, header, attestation, actions));
            }
            Self::Intruded(intruded) => intruded.on_attested(now, header, attestation, out),
        }
    }

    /// As [`Replica::on_client_opened`].
    pub fn on_client_opened(&mut self, connection: ConnectionId, key: PublicKey) {
        match self {
            Self::Correct(replica) => replica.on_client_opened(connection, key),
            Self::Intruded(intruded) => intruded.on_client_opened(connection, key),
        }
    }

    /// As [`Replica::on_client_closed`].
    pub fn on_client_closed(&mut self, connection: ConnectionId) {
        match self {
            Self::Correct(replica) => replica.on_client_closed(connection),
            Self::Intruded(intruded) => intruded.on_client_closed(connection),
        }
    }

    /// As [`Replica::on_client`].
    pub fn on_client(
        &mut self,
        now: Time,
        connection: ConnectionId,
        input: ClientInput,
        out: &mut Vec<Deed>,
    ) {
        match self {
            Self::Correct(replica) => {
                collect(out, |actions| replica.on_client(now, connection, input, actions));
            }
            Self::Intruded(intruded) => intruded.on_client(now, connection, input, out),
        }
    }

    /// As [`Replica::take_urgent`].
    pub fn take_urgent(&mut self) -> bool {
        match self {
            Self::Correct(replica) => replica.take_urgent(),
            Self::Intruded(intruded) => intruded.take_urgent(),
        }
    }

    /// As [`Replica::settle`].
    pub fn settle(&mut self, is_urgent: bool) {
        match self {
            Self::Correct(replica) => replica.settle(is_urgent),
            Self::Intruded(intruded) => intruded.settle(is_urgent),
        }
    }

    /// As [`Replica::close`].
    pub fn close(&mut self) {
        match self {
            Self::Correct(replica) => replica.close(),
            Self::Intruded(intruded) => intruded.close(),
        }
    }

    /// As [`Replica::on_suspicion`].
    pub fn on_suspicion(&mut self, who: ReplicaId, suspicion: Suspicion, out: &mut Vec<Deed>) {
        match self {
            Self::Correct(replica) => {
                collect(out, |actions| replica.on_suspicion(who, suspicion, actions));
            }
            Self::Intruded(intruded) => intruded.on_suspicion(who, suspicion, out),
        }
    }
}

fn collect(out: &mut Vec<Deed>, feed: impl FnOnce(&mut ravelin_model::Actions<Replica>)) {
    let mut actions = Vec::new();
    feed(&mut actions);
    out.extend(actions.into_iter().map(Deed::Act));
}
