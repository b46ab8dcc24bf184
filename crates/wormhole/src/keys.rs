//! The keys of a wormhole: the provisioned one, for life, and the instance's.
//!
//! **Guarantee:** the provisioned key signs `hello` answers and instance certificates, the
//! instance key attestations and heartbeats, and neither anything else. Secrets erase themselves
//! when dropped, have no `Clone`, and no `Debug` that shows them. What signing leaves on the stack
//! for a moment is protected by the process alone, not by these types.

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::attestation::{
    Attestation, ClusterId, Forged, Heartbeat, Identity, InstanceCertificate, InstanceId,
    ProcessId, ProvisionedId, ReplicaId, RollbackProof, Signature, Statement, check_signature,
};
use crate::frame::{EntityId, Writer};

/// The seed of an instance's key. Erased on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct InstanceSecret(pub [u8; 32]);

/// The key that was made with the state directory. Erased on drop.
pub struct ProvisionedKey(SigningKey);

impl ProvisionedKey {
    /// The key with this seed; the caller erases its copy.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half: what stands in the cluster's plan.
    #[must_use]
    pub fn id(&self) -> ProvisionedId {
        ProvisionedId(self.0.verifying_key().to_bytes())
    }

    /// A secret that only who has this key can know: `context` says for what, and no two purposes
    /// share one. For the MAC of records and the password of a counter in hardware.
    #[must_use]
    pub fn derive(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, self.0.as_bytes())
    }

    /// What only these two wormholes know, for as long as they have these keys; nothing if the other
    /// key is none, or everybody would know it.
    pub(crate) fn shared_with(&self, other: ProvisionedId) -> Option<Zeroizing<[u8; 32]>> {
        let other = VerifyingKey::from_bytes(&other.0).ok()?.to_montgomery();
        shared_secret(&StaticSecret::from(self.0.to_scalar_bytes()), other.to_bytes())
    }

    fn certify(&self, identity: Identity, rollback_proof: RollbackProof) -> InstanceCertificate {
        let bytes = InstanceCertificate::signed_bytes(&identity, rollback_proof);
        let signature = sign(&self.0, &bytes);
        InstanceCertificate { identity, rollback_proof, signature }
    }
}

/// The keys of one instance, and the certificate that ties them together.
pub struct Keys {
    provisioned: ProvisionedKey,
    /// None once erased.
    instance: Option<SigningKey>,
    certificate: InstanceCertificate,
}

impl Keys {
    /// The keys of the instance with this secret, certified for the member.
    ///
    /// # Security
    /// The secret must be fresh, unless a counter in hardware proved that this instance may go on.
    #[must_use]
    pub fn new(
        provisioned: ProvisionedKey,
        secret: &InstanceSecret,
        member: (ClusterId, ReplicaId),
        rollback_proof: RollbackProof,
    ) -> Self {
        let instance = SigningKey::from_bytes(&secret.0);
        let (cluster, replica) = member;
        let id = InstanceId(instance.verifying_key().to_bytes());
        let identity = Identity { cluster, replica, instance: id };
        let certificate = provisioned.certify(identity, rollback_proof);
        Self { provisioned, instance: Some(instance), certificate }
    }

    /// The instance's certificate.
    #[must_use]
    pub fn certificate(&self) -> &InstanceCertificate {
        &self.certificate
    }

    /// The key made with the state directory.
    pub(crate) fn provisioned(&self) -> &ProvisionedKey {
        &self.provisioned
    }

    /// Forgets the instance key. What it signed stays valid; it signs nothing more.
    pub(crate) fn erase_instance(&mut self) {
        self.instance = None; // a `SigningKey` erases itself when dropped
    }

    /// Signs a handshake.
    pub(crate) fn welcome(&self, handshake: &Handshake) -> Signature {
        sign(&self.provisioned.0, &handshake.signed_bytes())
    }

    /// Signs what a counter was bound to; nothing once the key is erased.
    pub(crate) fn attest(&self, statement: Statement) -> Option<Attestation> {
        let key = self.instance.as_ref()?;
        Some(Attestation { statement, signature: sign(key, &statement.signed_bytes()) })
    }

    /// Signs a heartbeat; nothing once the key is erased.
    pub(crate) fn heartbeat(
        &self,
        process: ProcessId,
        at_nanos: u64,
        number: u64,
    ) -> Option<Heartbeat> {
        let key = self.instance.as_ref()?;
        let instance = self.certificate.identity.instance;
        let signature = sign(key, &Heartbeat::signed_bytes(instance, process, at_nanos, number));
        Some(Heartbeat { at_nanos, number, signature })
    }
}

fn sign(key: &SigningKey, bytes: &[u8]) -> Signature {
    Signature(key.sign(bytes).to_bytes())
}

/// What both sides of a local authentication saw; the wormhole signs all of it.
pub(crate) struct Handshake {
    /// The entity's X25519 key.
    pub(crate) entity_public: [u8; 32],
    /// The wormhole's X25519 key, used once.
    pub(crate) wormhole_public: [u8; 32],
    pub(crate) challenge: [u8; 32],
    pub(crate) eid: EntityId,
    pub(crate) certificate: InstanceCertificate,
}

impl Handshake {
    const DOMAIN: &'static [u8] = b"ravelin wormhole hello v1";
    const SIGNED_BYTES: usize = 1 + Self::DOMAIN.len() + 32;

    /// A domain and the hash of everything that was said.
    pub(crate) fn signed_bytes(&self) -> [u8; Self::SIGNED_BYTES] {
        let mut bytes = [0; Self::SIGNED_BYTES];
        let mut to = Writer::new(&mut bytes);
        to.domain(Self::DOMAIN);
        to.bytes(&self.transcript("ravelin wormhole hello transcript v1", &[0; 32]));
        bytes
    }

    /// Whether the wormhole with this provisioned key signed it.
    pub(crate) fn check(&self, key: ProvisionedId, signature: Signature) -> Result<(), Forged> {
        check_signature(&key.0, &self.signed_bytes(), signature)
    }

    /// The keys of the session, one for each direction. They depend on all that was said, so two
    /// sides that saw different things share no key.
    pub(crate) fn session_keys(&self, shared: &[u8; 32]) -> SessionKeys {
        SessionKeys {
            calls: MacKey(self.transcript("ravelin wormhole calls v1", shared)),
            answers: MacKey(self.transcript("ravelin wormhole answers v1", shared)),
        }
    }

    /// Every part has a fixed size, so none can pass for a piece of its neighbour.
    fn transcript(&self, context: &str, shared: &[u8; 32]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(shared).update(&self.entity_public).update(&self.wormhole_public);
        hasher.update(&self.challenge).update(&self.eid.0.to_le_bytes());
        hasher.update(&self.certificate.to_bytes());
        *hasher.finalize().as_bytes()
    }
}

/// The secret of one direction of a session. Erased on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct MacKey(pub(crate) [u8; 32]);

/// The secrets of a session.
pub(crate) struct SessionKeys {
    /// From the entity to the wormhole.
    pub(crate) calls: MacKey,
    /// From the wormhole to the entity.
    pub(crate) answers: MacKey,
}

/// What both sides of an X25519 exchange know; nothing if the other side's key has small order,
/// because then everybody knows it.
pub(crate) fn shared_secret(
    own: &StaticSecret,
    other_public: [u8; 32],
) -> Option<Zeroizing<[u8; 32]>> {
    let shared = own.diffie_hellman(&PublicKey::from(other_public));
    shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
}
