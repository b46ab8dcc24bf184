//! The keys of one epoch: turns doubt into [`Verified`], and signs what this replica says.

use std::sync::Arc;

use ravelin_model::limits::{
    BLOCK_BYTES_MAX, BLOCK_ENVELOPES_MAX, BLOCK_VOTES_MAX, ENVELOPE_BYTES_MAX,
};
use ravelin_model::{
    Block, BlockBody, BlockHeader, BlockRef, ClusterId, CommitStatement, Digest, Encode as _,
    Envelope, Epoch, Evidence, FaultModel, Group, Incarnation, InstanceCertificate, PlanError,
    PublicKey, ReplicaId, Signature, SignedHeader, SignedPlan, SignedStatement, Suspicion, Vote,
    WormholeKeys, mutants,
};

use crate::{Claim, Domain, Scheme, SigningKey, Verified, domain_digest};

/// What signatures of one epoch are checked against. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keyring(Arc<Keys>);

#[derive(Debug)]
struct Keys {
    scheme: Scheme,
    cluster: ClusterId,
    incarnation: Incarnation,
    epoch: Epoch,
    genesis: Digest,
    group: Group,
    members: Vec<PublicKey>,
    /// In `hybrid`: the wormholes.
    wormholes: Option<Vec<WormholeKeys>>,
}

/// A block of this replica that its wormhole has not attested.
#[derive(Clone, Debug)]
pub struct BlockDraft {
    block: Block,
    digest: Digest,
    bytes: usize,
}

impl BlockDraft {
    /// What the wormhole is to attest.
    #[must_use]
    pub fn header(&self) -> BlockHeader {
        self.block.body.header(self.digest)
    }

    /// The block with [`Block::UNATTESTED`].
    #[must_use]
    pub fn block(&self) -> &Block {
        &self.block
    }
}

impl Keyring {
    /// The keys of the epoch that `plan` begins in `cluster`, judged by `scheme`.
    ///
    /// # Errors
    /// [`PlanError`] if the plan does not hold together.
    pub fn new(cluster: ClusterId, plan: &SignedPlan, scheme: Scheme) -> Result<Self, PlanError> {
        let group = plan.plan.check()?;
        let genesis = domain_digest(
            "ravelin genesis v1",
            &[&cluster.0.0, &plan.plan.epoch.encode(), &plan.plan.encode()],
        );
        Ok(Self(Arc::new(Keys {
            scheme,
            cluster,
            incarnation: plan.plan.incarnation,
            epoch: plan.plan.epoch,
            genesis,
            group,
            members: plan.plan.members.iter().map(|member| member.block).collect(),
            wormholes: (group.model() == FaultModel::Hybrid)
                .then(|| plan.plan.members.iter().filter_map(|member| member.wormhole).collect()),
        })))
    }

    /// Size and resilience of the epoch's group.
    #[must_use]
    pub fn group(&self) -> Group {
        self.0.group
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.0.cluster
    }

    /// The cluster's incarnation.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.0.incarnation
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    /// Digest of the epoch's beginning.
    #[must_use]
    pub fn genesis(&self) -> Digest {
        self.0.genesis
    }

    /// How signatures are judged.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.0.scheme
    }

    /// The block key of `replica`.
    #[must_use]
    pub fn member(&self, replica: ReplicaId) -> Option<&PublicKey> {
        self.0.members.get(replica.index())
    }

    /// What is known of the wormhole of `replica`: in `hybrid`.
    #[must_use]
    pub fn wormhole(&self, replica: ReplicaId) -> Option<&WormholeKeys> {
        self.0.wormholes.as_ref()?.get(replica.index())
    }

    /// Whether the wormhole of `replica` says that the instance is its own.
    #[must_use]
    pub fn certifies(&self, replica: ReplicaId, certificate: &InstanceCertificate) -> bool {
        self.wormhole(replica).is_some_and(|wormhole| {
            let bytes = certificate.signed_bytes(self.0.cluster, replica);
            let signature = &certificate.signature;
            self.0.scheme.verify(Domain::Instance, &wormhole.provisioned, &bytes, signature)
        })
    }

    /// The claim that `signature` makes a block with this header its author's: by the block key or, in
    /// `hybrid`, by the instance of its wormhole. `None`: that member makes no blocks in this epoch.
    fn claim_of_block(&self, header: &BlockHeader, signature: Signature) -> Option<Claim> {
        let author = header.reference.author;
        if self.0.wormholes.is_none() {
            let (key, message) = (*self.member(author)?, header.encode());
            return Some(Claim { key, domain: Domain::Block, message, signature });
        }
        let key = self.wormhole(author)?.instance?;
        let message = header.attested_bytes(&key);
        Some(Claim { key, domain: Domain::Attestation, message, signature })
    }

    /// A block of this replica, for its wormhole to attest.
    #[must_use]
    pub fn draft_block(&self, body: BlockBody) -> BlockDraft {
        let bytes = body.encode();
        let digest = block_digest(&bytes);
        let block = Block { body, authenticator: Block::UNATTESTED };
        BlockDraft { block, digest, bytes: bytes.len() + 64 }
    }

    /// The block that this replica's wormhole attested.
    ///
    /// # Errors
    /// The draft, where `attestation` is not one of it by the wormhole's instance of this epoch.
    pub fn attest_block(
        &self,
        draft: BlockDraft,
        attestation: Signature,
    ) -> Result<Verified<Block>, Box<BlockDraft>> {
        let signed = SignedHeader { header: draft.header(), signature: attestation };
        if !self.is_header(&signed) {
            return Err(Box::new(draft));
        }
        let BlockDraft { mut block, digest, bytes } = draft;
        block.authenticator = attestation;
        Ok(Verified::seal(block, digest, bytes))
    }

    /// Signs a block that this replica made.
    #[must_use]
    pub fn sign_block(&self, key: &SigningKey, body: BlockBody) -> Verified<Block> {
        let bytes = body.encode();
        let digest = block_digest(&bytes);
        let authenticator = key.sign(Domain::Block, &body.header(digest).encode());
        Verified::seal(Block { body, authenticator }, digest, bytes.len() + 64)
    }

    /// Signs what this replica computed for a commit.
    #[must_use]
    pub fn sign_statement(
        &self,
        key: &SigningKey,
        replica: ReplicaId,
        statement: CommitStatement,
    ) -> SignedStatement {
        let signature = key.sign(Domain::Statement, &statement.encode());
        SignedStatement { replica, statement, signature }
    }

    /// Signs an envelope.
    #[must_use]
    pub fn sign_envelope(key: &SigningKey, mut envelope: Envelope) -> Envelope {
        envelope.signature = key.sign(Domain::Envelope, &envelope.signed_bytes());
        envelope
    }

    /// Checks a block: its membership, sizes, authenticator, and every envelope's signature.
    ///
    /// # Errors
    /// The [`Suspicion`] to count against the one who sent it.
    pub fn verify_block(&self, block: Block) -> Result<Verified<Block>, Suspicion> {
        self.verify_blocks(vec![block]).pop().expect("one verdict a block")
    }

    /// Checks many blocks in one batch of signatures.
    #[must_use]
    pub fn verify_blocks(&self, blocks: Vec<Block>) -> Vec<Result<Verified<Block>, Suspicion>> {
        let mut claims = Vec::new();
        let mut drafts = Vec::with_capacity(blocks.len());
        for block in blocks {
            drafts.push(self.draft(block, &mut claims));
        }
        let mut verdicts = self.0.scheme.verify_all(&claims).into_iter();
        drafts
            .into_iter()
            .map(|draft| {
                let Draft { block, digest, bytes } = draft?;
                let authentic = verdicts.next() == Some(true);
                let envelopes =
                    verdicts.by_ref().take(block.body.envelopes.len()).filter(|good| *good).count();
                let all_hold = envelopes == block.body.envelopes.len()
                    || mutants::is_active("envelope_signatures_ignored");
                match (authentic, all_hold) {
                    (false, _) => Err(Suspicion::BadSignature),
                    (true, false) => Err(Suspicion::BadEnvelope),
                    (true, true) => Ok(Verified::seal(block, digest, bytes)),
                }
            })
            .collect()
    }

    /// Checks what needs no signature, and notes the signatures to check.
    fn draft(&self, block: Block, claims: &mut Vec<Claim>) -> Result<Draft, Suspicion> {
        let body = &block.body;
        let keys = &self.0;
        let is_ours =
            (body.cluster, body.genesis, body.epoch) == (keys.cluster, keys.genesis, keys.epoch);
        if !is_ours && !mutants::is_active("epochs_not_told_apart") {
            return Err(Suspicion::Foreign);
        }
        let encoded = body.encode();
        if encoded.len() + 64 > BLOCK_BYTES_MAX
            || body.envelopes.len() > BLOCK_ENVELOPES_MAX
            || body.votes.len() > BLOCK_VOTES_MAX
        {
            return Err(Suspicion::TooLarge);
        }
        if !body.envelopes.iter().all(|envelope| self.is_for_us(envelope)) {
            return Err(Suspicion::BadEnvelope);
        }
        if !body.votes.iter().all(|vote| self.is_sound(body.author, vote)) {
            return Err(Suspicion::BadSignature);
        }
        let digest = block_digest(&encoded);
        let claim = self.claim_of_block(&body.header(digest), block.authenticator);
        claims.push(claim.ok_or(Suspicion::Foreign)?);
        claims.extend(body.envelopes.iter().map(claim_of));
        Ok(Draft { block, digest, bytes: encoded.len() + 64 })
    }

    /// Whether a vote may stand in a block of `author`. A statement's own signature is checked by
    /// those who hand it on; here the block's signature vouches for it.
    fn is_sound(&self, author: ReplicaId, vote: &Vote) -> bool {
        match vote {
            Vote::Statement(signed) => signed.replica == author,
            Vote::Evidence(evidence) => self.proves(evidence),
            Vote::Rekey(_) => true, // judged when it is executed, by all alike
        }
    }

    fn is_for_us(&self, envelope: &Envelope) -> bool {
        envelope.cluster == self.0.cluster
            && envelope.incarnation == self.0.incarnation
            && envelope.is_within_limits()
    }

    /// Checks client envelopes in one batch of signatures.
    #[must_use]
    pub fn verify_envelopes(
        &self,
        envelopes: Vec<Envelope>,
    ) -> Vec<Result<Verified<Envelope>, Suspicion>> {
        let claims: Vec<_> = envelopes.iter().map(claim_of).collect();
        let verdicts = self.0.scheme.verify_all(&claims);
        envelopes
            .into_iter()
            .zip(claims.iter().zip(verdicts))
            .map(|(envelope, (claim, holds))| {
                if !self.is_for_us(&envelope) {
                    return Err(Suspicion::Foreign);
                }
                let bytes = claim.message.len() + 64;
                if bytes > ENVELOPE_BYTES_MAX {
                    return Err(Suspicion::TooLarge);
                }
                let digest = digest_of_signed(&claim.message);
                if holds {
                    Ok(Verified::seal(envelope, digest, bytes))
                } else {
                    Err(Suspicion::BadSignature)
                }
            })
            .collect()
    }

    /// Whether `signed` is a statement of a member of this epoch about this cluster.
    #[must_use]
    pub fn holds(&self, signed: &SignedStatement) -> bool {
        let message = || signed.statement.encode();
        self.claims_membership(signed)
            && self.member(signed.replica).is_some_and(|key| {
                self.0.scheme.verify(Domain::Statement, key, &message(), &signed.signature)
            })
    }

    /// Whether `signed` says of itself that a member of this epoch states it about this cluster. Its
    /// signature is not checked.
    #[must_use]
    pub fn claims_membership(&self, signed: &SignedStatement) -> bool {
        let statement = &signed.statement;
        (statement.cluster, statement.incarnation, statement.epoch)
            == (self.0.cluster, self.0.incarnation, self.0.epoch)
            && self.member(signed.replica).is_some()
    }

    /// Whether `signed` is a header that a member of this epoch signed.
    #[must_use]
    pub fn is_header(&self, signed: &SignedHeader) -> bool {
        let header = &signed.header;
        (header.cluster, header.genesis, header.epoch)
            == (self.0.cluster, self.0.genesis, self.0.epoch)
            && self.claim_of_block(header, signed.signature).is_some_and(|claim| {
                self.0.scheme.verify(claim.domain, &claim.key, &claim.message, &claim.signature)
            })
    }

    /// Whether `evidence` proves what it claims.
    #[must_use]
    pub fn proves(&self, evidence: &Evidence) -> bool {
        match evidence {
            Evidence::Equivocation { first, second } => {
                first.header.contradicts(&second.header)
                    && self.is_header(first)
                    && self.is_header(second)
            }
            Evidence::TwoStatements { first, second } => {
                first.replica == second.replica
                    && are_about_one_commit(first, second)
                    && first.statement != second.statement
                    && self.holds(first)
                    && self.holds(second)
            }
            Evidence::WrongStatement { accused, correct } => self.is_wrong(accused, correct),
        }
    }

    fn is_wrong(&self, accused: &SignedStatement, correct: &[SignedStatement]) -> bool {
        let mut members: Vec<_> = correct.iter().map(|signed| signed.replica).collect();
        members.sort_unstable();
        members.dedup();
        members.len() == correct.len()
            && members.len() >= self.0.group.one_correct()
            && members.len() <= self.0.group.size()
            && !members.contains(&accused.replica)
            && correct.windows(2).all(|pair| match pair {
                [one, other] => one.statement == other.statement,
                _ => true,
            })
            && correct.iter().all(|signed| {
                are_about_one_commit(signed, accused) && signed.statement != accused.statement
            })
            && self.holds(accused)
            && correct.iter().all(|signed| self.holds(signed))
    }
}

struct Draft {
    block: Block,
    digest: Digest,
    bytes: usize,
}

fn are_about_one_commit(one: &SignedStatement, other: &SignedStatement) -> bool {
    one.statement.epoch == other.statement.epoch && one.statement.commit == other.statement.commit
}

fn claim_of(envelope: &Envelope) -> Claim {
    Claim {
        key: envelope.client,
        domain: Domain::Envelope,
        message: envelope.signed_bytes(),
        signature: envelope.signature,
    }
}

/// The name of an envelope: BLAKE3 of what its client signed.
#[must_use]
pub fn envelope_digest(envelope: &Envelope) -> Digest {
    digest_of_signed(&envelope.signed_bytes())
}

fn digest_of_signed(signed: &[u8]) -> Digest {
    domain_digest("ravelin envelope v1", &[signed])
}

fn block_digest(body: &[u8]) -> Digest {
    domain_digest("ravelin block v1", &[body])
}

/// The name by which `block` is fetched; what its bytes say, whoever sent them.
#[must_use]
pub fn block_reference(block: &Block) -> BlockRef {
    let digest = block_digest(&block.body.encode());
    BlockRef { round: block.body.round, author: block.body.author, digest }
}

#[cfg(test)]
mod tests;
