//! How everybody else reads and checks a wormhole's word. No wormhole runs this.

use ed25519_dalek::VerifyingKey;

use super::{
    Attestation, ClusterId, Counter, CounterValue, Digest, Epoch, Heartbeat, Identity,
    InstanceCertificate, InstanceId, ProcessId, ProvisionedId, ReplicaId, RollbackProof, Signature,
    Statement,
};
use crate::frame::{FrameError, Reader};

/// A member whose wormhole's word one wants to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its place there.
    pub replica: ReplicaId,
    /// Its wormhole's provisioned key, from the cluster's plan: never from the wormhole's host.
    pub provisioned: ProvisionedId,
}

impl Peer {
    /// Whether `certificate` is this member's; gives the instance that it certifies.
    ///
    /// # Errors
    /// [`Forged`]: asking again will not help.
    pub fn check_certificate(
        &self,
        certificate: &InstanceCertificate,
    ) -> Result<InstanceId, Forged> {
        let identity = &certificate.identity;
        if identity.cluster != self.cluster || identity.replica != self.replica {
            return Err(Forged::OtherMember);
        }
        let bytes = InstanceCertificate::signed_bytes(identity, certificate.rollback_proof);
        check_signature(&self.provisioned.0, &bytes, certificate.signature)?;
        Ok(identity.instance)
    }

    /// Whether `attestation` was made by this member's wormhole in the certified instance.
    ///
    /// Which instance of a member counts is for the cluster to agree; this checks only that the
    /// two belong together.
    ///
    /// # Errors
    /// [`Forged`]: asking again will not help.
    pub fn check(
        &self,
        certificate: &InstanceCertificate,
        attestation: &Attestation,
    ) -> Result<(), Forged> {
        self.check_certificate(certificate)?;
        let statement = &attestation.statement;
        if statement.identity != certificate.identity {
            return Err(Forged::OtherInstance);
        }
        // A wormhole never says so: 0 is bound to nothing, and values rise.
        if statement.new <= statement.old {
            return Err(Forged::NotRising);
        }
        let instance = &statement.identity.instance.0;
        check_signature(instance, &statement.signed_bytes(), attestation.signature)
    }
}

/// Why something is not a wormhole's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// The certificate names another cluster or replica.
    #[error("of another member")]
    OtherMember,
    /// Attestation and certificate are not of one instance.
    #[error("of another instance")]
    OtherInstance,
    /// The new value is not above the old one.
    #[error("the counter does not rise")]
    NotRising,
    /// The signature does not hold, or the key is none.
    #[error("the signature does not hold")]
    BadSignature,
}

/// The one rule by which every signature of a wormhole is judged: strict, so that all who check
/// agree, and no key of small order signs everything.
pub(crate) fn check_signature(
    key: &[u8; 32],
    bytes: &[u8],
    signature: Signature,
) -> Result<(), Forged> {
    VerifyingKey::from_bytes(key)
        .and_then(|key| {
            key.verify_strict(bytes, &ed25519_dalek::Signature::from_bytes(&signature.0))
        })
        .map_err(|_| Forged::BadSignature)
}

impl Heartbeat {
    /// Whether `instance` signed it in this very `process` of its lives: take that from the status, not
    /// from who brings the heartbeat.
    ///
    /// # Errors
    /// [`Forged::BadSignature`] when it did not.
    pub fn check(&self, instance: InstanceId, process: ProcessId) -> Result<(), Forged> {
        let bytes = Self::signed_bytes(instance, process, self.at_nanos, self.number);
        check_signature(&instance.0, &bytes, self.signature)
    }
}

impl InstanceCertificate {
    /// Reads a certificate. Says nothing about its signature: [`Peer::check_certificate`] does.
    ///
    /// # Errors
    /// When `bytes` are no certificate.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Result<Self, FrameError> {
        Self::take(&mut Reader::new(bytes))
    }

    pub(crate) fn take(from: &mut Reader<'_>) -> Result<Self, FrameError> {
        let identity = Identity::take(from)?;
        let rollback_proof = RollbackProof::take(from)?;
        Ok(Self { identity, rollback_proof, signature: Signature(from.bytes()?) })
    }
}

impl RollbackProof {
    pub(crate) fn take(from: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(if from.flag()? { Self::Present } else { Self::Absent })
    }
}

impl Attestation {
    pub(crate) fn take(from: &mut Reader<'_>) -> Result<Self, FrameError> {
        let statement = Statement {
            identity: Identity::take(from)?,
            counter: Counter::from_number(from.u8()?).ok_or(FrameError::UnknownCounter)?,
            epoch: Epoch(from.u64()?),
            old: CounterValue(from.u64()?),
            new: CounterValue(from.u64()?),
            digest: Digest(from.bytes()?),
        };
        Ok(Self { statement, signature: Signature(from.bytes()?) })
    }
}

impl Identity {
    fn take(from: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            cluster: ClusterId(from.bytes()?),
            replica: ReplicaId(from.u16()?),
            instance: InstanceId(from.bytes()?),
        })
    }
}
