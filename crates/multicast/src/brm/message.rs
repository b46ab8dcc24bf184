//! What travels on the payload network: a message, and a copy of it for one process.

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use ravelin_crypto::domain_digest;
use ravelin_model::ttcb::{Agreement, DecisionFunction, Entity, TrustedTime};
use ravelin_model::{Decode as _, DecodeError, Digest, Encode as _};

use super::{PairKey, Variant};

/// The name of an instance: who takes part, the sender first, and when its agreement starts at the
/// latest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Header {
    /// The sender, and the recipients.
    pub elist: Vec<Entity>,
    /// The agreement's `tstart`.
    pub tstart: TrustedTime,
}

impl Header {
    /// Whose multicast it is.
    #[must_use]
    pub fn sender(&self) -> Option<Entity> {
        self.elist.first().copied()
    }

    /// The instance of block agreement that decides on the message's digest.
    #[must_use]
    pub fn agreement(&self) -> Agreement {
        Agreement {
            elist: self.elist.clone(),
            tstart: self.tstart,
            decision: DecisionFunction::ReliableMulticast,
        }
    }
}

/// The paper's M.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Message {
    /// Which instance it belongs to.
    pub header: Header,
    /// What is to be delivered.
    pub data: Vec<u8>,
}

impl Message {
    /// The paper's H(M), over list, `tstart` and data.
    #[must_use]
    pub fn digest(&self, variant: Variant) -> Digest {
        let context = match variant {
            Variant::T => "ravelin brm-t message v1",
            Variant::M => "ravelin brm-m message v1",
        };
        domain_digest(context, &[&self.header.encode(), &self.data])
    }
}

/// A copy of a message for one process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Packet {
    /// Who made this copy: the sender, or who hands it on.
    pub from: Entity,
    /// The message.
    pub message: Arc<Message>,
    /// Proof of who made it, over the message's digest and both processes.
    pub mac: Digest,
}

impl Packet {
    /// A copy that `from` makes for `to`; `digest` is the message's.
    #[must_use]
    pub fn new(
        variant: Variant,
        (from, to): (Entity, Entity),
        key: &PairKey,
        (message, digest): (Arc<Message>, &Digest),
    ) -> Self {
        Self { from, message, mac: key.mac(variant, (from, to), digest) }
    }

    /// Its canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        (self.from, &*self.message, self.mac).encode()
    }

    /// Reads it back; bounded by the length of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not canonical. What they mean is judged by
    /// [`super::Brm::on_packet`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (from, message, mac) = <(Entity, Message, Digest)>::decode("copy of a message", bytes)?;
        Ok(Self { from, message: Arc::new(message), mac })
    }
}
