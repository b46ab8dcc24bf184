//! The keys that two processes share, and what they make with them.
//!
//! **Guarantee:** what bears the right MAC was made by one of the two who have the key, for the other.

use std::collections::BTreeMap;
use std::fmt;

use ravelin_crypto::domain_digest;
use ravelin_model::ttcb::Entity;
use ravelin_model::{Digest, Encode as _};
use zeroize::ZeroizeOnDrop;

use super::Variant;

/// A key of two processes, fresh from their wormholes. Erased on drop; cannot be printed.
#[derive(ZeroizeOnDrop)]
pub struct PairKey([u8; 32]);

impl PairKey {
    /// The key with these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What proves to the second of two processes that the first made a message for it.
    #[must_use]
    pub fn mac(&self, variant: Variant, (from, to): (Entity, Entity), message: &Digest) -> Digest {
        let context = match variant {
            Variant::T => "ravelin brm-t copy v1",
            Variant::M => "ravelin brm-m copy v1",
        };
        domain_digest(context, &[&self.0, &from.encode(), &to.encode(), &message.0])
    }

    /// Compares in a time that does not depend on where the two differ.
    pub(super) fn is_mac(
        &self,
        given: &Digest,
        variant: Variant,
        pair: (Entity, Entity),
        message: &Digest,
    ) -> bool {
        let right = self.mac(variant, pair, message);
        given.0.iter().zip(right.0).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
    }
}

impl fmt::Debug for PairKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PairKey")
    }
}

/// A process's keys, one for each other process.
#[derive(Debug, Default)]
pub struct PairKeys(BTreeMap<Entity, PairKey>);

impl PairKeys {
    /// The key shared with `peer`.
    #[must_use]
    pub fn of(&self, peer: Entity) -> Option<&PairKey> {
        self.0.get(&peer)
    }
}

impl FromIterator<(Entity, PairKey)> for PairKeys {
    fn from_iter<I: IntoIterator<Item = (Entity, PairKey)>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}
