//! What a client signs: one envelope of one or many operations.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{ClusterId, Encode, Incarnation, PublicKey, Sequence, ServiceId, SessionId, Signature};

/// A client's signed operations. Its validity needs no state: it carries its key, and no epoch, so
/// that retries cross epochs.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Envelope {
    /// The cluster it is meant for.
    pub cluster: ClusterId,
    /// The cluster's incarnation it is meant for.
    pub incarnation: Incarnation,
    /// Who asks.
    pub client: PublicKey,
    /// The session, or 0 for an envelope that opens one.
    pub session: SessionId,
    /// Number of the first operation; the others follow it.
    pub first: Sequence,
    /// 1..=1024 operations, executed in this order.
    pub operations: Vec<Operation>,
    /// The client's signature over all of the above.
    pub signature: Signature,
}

/// One request to one service.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Operation {
    /// The service.
    pub service: ServiceId,
    /// Canonical bytes of the service's request type.
    pub request: Vec<u8>,
}

impl Envelope {
    /// The bytes that the signature covers: the envelope's canonical bytes without it.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = self.encode();
        bytes.truncate(bytes.len() - size_of::<Signature>());
        bytes
    }

    /// Whether its size and number of operations are within the limits.
    #[must_use]
    pub fn is_within_limits(&self) -> bool {
        let bytes: usize = self.operations.iter().map(|operation| operation.request.len()).sum();
        !self.operations.is_empty()
            && self.operations.len() <= crate::limits::ENVELOPE_OPERATIONS_MAX
            && bytes + self.operations.len() * 8 + 256 <= crate::limits::ENVELOPE_BYTES_MAX
    }
}
