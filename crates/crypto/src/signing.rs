//! Signing keys and the one rule by which every signature is judged.
//!
//! **Guarantee:** batch and single verification agree on every input (ZIP-215), so no crafted
//! signature splits correct replicas. Every signature covers a domain, length-prefixed, so none is
//! good for another purpose.
//!
//! # Source
//! ZIP 215, *Explicitly Defining and Modifying Ed25519 Validation Rules*.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ed25519_dalek::Signer as _;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use ravelin_model::{PublicKey, Signature, mutants};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Below this, verifying one by one is faster than a batch.
const BATCH_MIN: usize = 3;
/// Signatures of the parts into which a batch with a bad one is taken: one bad signature makes so
/// many be looked at singly, and batches of this size already cost half as much.
const PART_MAX: usize = 32;

/// What a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A block's header, by its author's block key.
    Block,
    /// A wormhole's attestation of a block's header, by its instance.
    Attestation,
    /// A wormhole's instance, by its provisioned key.
    Instance,
    /// A client's envelope.
    Envelope,
    /// A replica's statement about a commit.
    Statement,
    /// A cluster plan.
    Plan,
    /// An administrators' order.
    AuthOrder,
    /// The plan that follows an epoch, by a member of that epoch.
    Handover,
    /// A member's order to change its block key, by its identity.
    Rekey,
    /// A backup, by the client that made it.
    Backup,
    /// An administrators' order to a server that halted to go on.
    Release,
    /// An administrators' order that reopens a cluster.
    Reopening,
}

impl Domain {
    fn name(self) -> &'static str {
        match self {
            Self::Block => "ravelin/block/v1",
            Self::Attestation => "ravelin attestation v1", // wormholes are in no need of ours
            Self::Instance => "ravelin wormhole instance v1",
            Self::Envelope => "ravelin/envelope/v1",
            Self::Statement => "ravelin/statement/v1",
            Self::Plan => "ravelin/plan/v1",
            Self::AuthOrder => "ravelin/auth-order/v1",
            Self::Handover => "ravelin/handover/v1",
            Self::Rekey => "ravelin/rekey/v1",
            Self::Backup => "ravelin/backup/v1",
            Self::Release => "ravelin/release/v1",
            Self::Reopening => "ravelin/reopening/v1",
        }
    }

    /// The bytes that are signed for `message`: length of the domain's name, the name, the message.
    fn bind(self, message: &[u8]) -> Vec<u8> {
        let name = self.name().as_bytes();
        let mut bytes = Vec::with_capacity(1 + name.len() + message.len());
        bytes.push(u8::try_from(name.len()).expect("domain names are short"));
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(message);
        bytes
    }
}

/// A secret key that signs. Erased on drop; no `Clone`, and `Debug` shows the public half only.
pub struct SigningKey {
    public: PublicKey,
    secret: Secret,
}

enum Secret {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    Simulated(SimulatedSecret),
}

#[derive(Zeroize, ZeroizeOnDrop)]
struct SimulatedSecret([u8; 32]);

impl SigningKey {
    /// The Ed25519 key with this seed.
    #[must_use]
    pub fn ed25519(seed: &[u8; 32]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = PublicKey(key.verifying_key().to_bytes());
        Self { public, secret: Secret::Ed25519(Box::new(key)) }
    }

    /// A key whose signatures only `registry` can check: for simulations, which sign millions.
    #[must_use]
    pub fn simulated(seed: &[u8; 32], registry: &Registry) -> Self {
        let public =
            PublicKey(*blake3::keyed_hash(seed, b"ravelin simulated public key").as_bytes());
        registry.lock().insert(public, *seed);
        Self { public, secret: Secret::Simulated(SimulatedSecret(*seed)) }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs `message` for `domain`.
    #[must_use]
    pub fn sign(&self, domain: Domain, message: &[u8]) -> Signature {
        let bytes = domain.bind(message);
        match &self.secret {
            Secret::Ed25519(key) => Signature(key.sign(&bytes).to_bytes()),
            Secret::Simulated(seed) => simulated_signature(&seed.0, &bytes),
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "SigningKey({:?})", self.public)
    }
}

/// The keys of a simulation: stands in for the hardness of forging.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<BTreeMap<PublicKey, [u8; 32]>>>);

impl Registry {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<PublicKey, [u8; 32]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How signatures are judged.
#[derive(Clone)]
pub enum Scheme {
    /// Ed25519 by ZIP-215. The secret makes the coefficients of batches unpredictable to those who
    /// craft signatures; draw it anew in each process.
    Ed25519 {
        /// 32 bytes that no peer knows.
        batch_secret: [u8; 32],
    },
    /// A simulation's keyed hashes.
    Simulated(Registry),
}

impl std::fmt::Debug for Scheme {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Ed25519 { .. } => "Ed25519",
            Self::Simulated(_) => "Simulated",
        })
    }
}

/// One signature to judge.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Who is said to have signed.
    pub key: PublicKey,
    /// What for.
    pub domain: Domain,
    /// What is said to be signed.
    pub message: Vec<u8>,
    /// The signature.
    pub signature: Signature,
}

impl Scheme {
    /// Ed25519 with a secret of this process.
    #[must_use]
    pub fn ed25519(batch_secret: [u8; 32]) -> Self {
        Self::Ed25519 { batch_secret }
    }

    /// Whether `signature` is `key`'s over `message` for `domain`.
    #[must_use]
    pub fn verify(
        &self,
        domain: Domain,
        key: &PublicKey,
        message: &[u8],
        signature: &Signature,
    ) -> bool {
        let bytes = domain.bind(message);
        match self {
            Self::Ed25519 { .. } => {
                if mutants::is_active("single_signatures_judged_strictly") {
                    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
                    return ed25519_dalek::VerifyingKey::from_bytes(&key.0)
                        .is_ok_and(|key| key.verify_strict(&bytes, &signature).is_ok());
                }
                let signature = ed25519_zebra::Signature::from(signature.0);
                ed25519_zebra::VerificationKey::try_from(key.0)
                    .is_ok_and(|key| key.verify(&signature, &bytes).is_ok())
            }
            Self::Simulated(registry) => registry
                .lock()
                .get(key)
                .is_some_and(|seed| simulated_signature(seed, &bytes) == *signature),
        }
    }

    /// Whether anybody can sign in the name of `key`: under ZIP-215 a key of small order has
    /// signatures that hold for every message. What is no point at all counts too: nobody can sign
    /// with it. To be refused where keys are let in.
    #[must_use]
    pub fn is_weak(&self, key: &PublicKey) -> bool {
        match self {
            Self::Ed25519 { .. } => {
                ed25519_dalek::VerifyingKey::from_bytes(&key.0).map_or(true, |key| key.is_weak())
            }
            Self::Simulated(_) => false,
        }
    }

    /// Judges many signatures at once; the verdicts are those of [`Scheme::verify`].
    ///
    /// Cost: about 16 us a signature in batches of 256 against 37 us singly. A batch with bad ones is
    /// taken apart into small ones, and those of them that do not hold one by one: however many are
    /// bad, no signature is looked at more than three times.
    #[must_use]
    pub fn verify_all(&self, claims: &[Claim]) -> Vec<bool> {
        self.judge(claims).0
    }

    /// The verdicts, and how many looks at signatures they took.
    fn judge(&self, claims: &[Claim]) -> (Vec<bool>, usize) {
        let single =
            |claim: &Claim| self.verify(claim.domain, &claim.key, &claim.message, &claim.signature);
        if claims.len() < BATCH_MIN || matches!(self, Self::Simulated(_)) {
            return (claims.iter().map(single).collect(), claims.len());
        }
        if self.holds_as_batch(claims) {
            return (vec![true; claims.len()], claims.len());
        }
        let (mut verdicts, mut looks) = (Vec::with_capacity(claims.len()), claims.len());
        for part in claims.chunks(PART_MAX) {
            let is_new = (BATCH_MIN..claims.len()).contains(&part.len());
            if is_new {
                looks += part.len();
            }
            if is_new && self.holds_as_batch(part) {
                verdicts.extend(part.iter().map(|_| true));
            } else {
                looks += part.len();
                verdicts.extend(part.iter().map(single));
            }
        }
        (verdicts, looks)
    }

    fn holds_as_batch(&self, claims: &[Claim]) -> bool {
        let Self::Ed25519 { batch_secret } = self else { return false };
        let mut batch = ed25519_zebra::batch::Verifier::new();
        let mut seed = blake3::Hasher::new_keyed(batch_secret);
        for claim in claims {
            let bytes = claim.domain.bind(&claim.message);
            seed.update(&claim.key.0).update(&claim.signature.0).update(&bytes);
            let signature = ed25519_zebra::Signature::from(claim.signature.0);
            let key = ed25519_zebra::VerificationKeyBytes::from(claim.key.0);
            batch.queue((key, signature, &bytes));
        }
        batch.verify(ChaCha20Rng::from_seed(*seed.finalize().as_bytes())).is_ok()
    }
}

fn simulated_signature(seed: &[u8; 32], bytes: &[u8]) -> Signature {
    let mut signature = [0; 64];
    blake3::Hasher::new_keyed(seed).update(bytes).finalize_xof().fill(&mut signature);
    Signature(signature)
}

#[cfg(test)]
mod tests;
