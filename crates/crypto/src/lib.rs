//! Digests, signatures, verified values and Merkle trees.
//!
//! **Guarantee:** nothing but [`Keyring`] makes a [`Verified`], and it does so only after every
//! signature held. Assumes that Ed25519 cannot be forged and BLAKE3 has no collisions; reads no
//! clock and draws no randomness of its own.

pub mod answers;
pub mod audit;
pub mod keyring;
pub mod merkle;
pub mod plans;
pub mod releases;
pub mod reopenings;
pub mod signing;
pub mod state_tree;
pub mod verified;

pub use keyring::{BlockDraft, Keyring};
pub use plans::{
    ChainError, check_first_plan, check_successor, is_handover, plan_digest, sign_handover,
    sign_plan,
};
pub use releases::{ApprovalError, check_release, sign_release};
pub use reopenings::{check_reopening, sign_reopening};
pub use signing::{Claim, Domain, Registry, Scheme, SigningKey};
pub use verified::{Verified, VerifiedEnvelope};

use ravelin_model::Digest;

/// BLAKE3 of `parts` under a context of its own: each part is preceded by its length, so that no
/// two lists of parts share a digest.
#[must_use]
pub fn domain_digest(context: &str, parts: &[&[u8]]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    Digest(*hasher.finalize().as_bytes())
}
