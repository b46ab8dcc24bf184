//! Doubt is a type: what was checked, and what every replica may therefore act on.

use std::ops::Deref;
use std::sync::Arc;

use ravelin_model::{Block, BlockBody, BlockRef, Digest, Encode as _, Envelope, SignedHeader};

/// A message whose signatures hold. Cheap to clone; made by [`crate::Keyring`] and nothing else.
#[derive(Debug)]
pub struct Verified<M>(Arc<Sealed<M>>);

#[derive(Debug)]
struct Sealed<M> {
    message: M,
    digest: Digest,
    bytes: usize,
    is_whole: bool,
}

impl<M> Verified<M> {
    pub(crate) fn seal(message: M, digest: Digest, bytes: usize) -> Self {
        Self(Arc::new(Sealed { message, digest, bytes, is_whole: true }))
    }

    /// BLAKE3 of the signed bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Length of the message's canonical bytes, as far as they are held: what quotas count.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.bytes
    }
}

impl Verified<Block> {
    /// The name of the block.
    #[must_use]
    pub fn reference(&self) -> BlockRef {
        BlockRef { round: self.body.round, author: self.body.author, digest: self.digest() }
    }

    /// Whether it holds all that its author said. What is not whole is never sent or stored.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.is_whole
    }

    /// The block without its envelopes, for who has executed them: with its name, its parents and its
    /// votes it has all that decides about other blocks.
    #[must_use]
    pub fn without_envelopes(&self) -> Self {
        let BlockBody { cluster, genesis, epoch, author, round, timestamp, .. } = self.body;
        let body = BlockBody {
            cluster,
            genesis,
            epoch,
            author,
            round,
            parents: self.body.parents.clone(),
            exposed: self.body.exposed.clone(),
            timestamp,
            envelopes: Vec::new(),
            votes: self.body.votes.clone(),
        };
        let message = Block { body, authenticator: self.authenticator };
        let bytes = message.encode().len();
        Self(Arc::new(Sealed { message, digest: self.digest(), bytes, is_whole: false }))
    }

    /// The header that its author signed, with the signature.
    #[must_use]
    pub fn signed_header(&self) -> SignedHeader {
        SignedHeader { header: self.body.header(self.digest()), signature: self.authenticator }
    }
}

impl<M> Clone for Verified<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> Deref for Verified<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0.message
    }
}

impl<M> PartialEq for Verified<M> {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest() && self.0.is_whole == other.0.is_whole
    }
}

impl<M> Eq for Verified<M> {}

/// An envelope that may be executed.
pub type VerifiedEnvelope = Verified<Envelope>;
