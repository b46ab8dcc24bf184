//! A group's keys with simulated signatures, and blocks signed with them.

use ravelin_crypto::{Domain, Keyring, Registry, Scheme, SigningKey, Verified, plan_digest};
use ravelin_model::{
    Block, BlockBody, BlockHeader, BlockRef, ClusterId, ClusterPlan, Digest, Envelope, Epoch,
    Evidence, FaultModel, Incarnation, Member, Operation, PublicKey, Purpose, ReplicaId, Round,
    Sequence, ServiceId, SessionId, Signature, SignedPlan, Time, Vote, WormholeKeys,
};

pub(crate) struct Keys {
    pub(crate) keyring: Keyring,
    registry: Registry,
}

impl Keys {
    pub(crate) fn new(n: u16, f: u16, model: FaultModel) -> Self {
        let registry = Registry::default();
        let plan = Self::plan(&registry, n, f, model);
        let cluster = ClusterId(plan_digest(&plan));
        let signed = SignedPlan { plan, signatures: vec![] };
        let scheme = Scheme::Simulated(registry.clone());
        let keyring = Keyring::new(cluster, &signed, scheme).expect("a sound plan");
        Self { keyring, registry }
    }

    /// The first plan of a group whose keys `registry` knows.
    pub(crate) fn plan(registry: &Registry, n: u16, f: u16, model: FaultModel) -> ClusterPlan {
        let public = |kind: u8, index: u16| {
            let low = u8::try_from(index).expect("small groups");
            let mut seed = [kind; 32];
            if let Some(first) = seed.first_mut() {
                *first = low;
            }
            SigningKey::simulated(&seed, registry).public()
        };
        let members = (0..n).map(|index| Member {
            name: format!("s{index}"),
            identity: public(2, index),
            block: public(1, index),
            transport: public(3, index),
            wormhole: (model == FaultModel::Hybrid).then(|| WormholeKeys {
                provisioned: public(4, index),
                instance: Some(public(5, index)),
            }),
            peer_address: format!("127.0.0.1:{}", 7000 + index),
            client_address: format!("127.0.0.1:{}", 8000 + index),
            labels: Default::default(),
        });
        ClusterPlan {
            version: ravelin_model::plan::PLAN_VERSION,
            name: "test".into(),
            purpose: Purpose::Local,
            incarnation: Incarnation(1),
            epoch: Epoch(1),
            previous: None,
            fault_model: model,
            f,
            leaders_per_round: 1,
            members: members.collect(),
            administrators: vec![PublicKey([9; 32])],
            administrators_needed: 1,
            clients: vec![],
            rekey_interval_min_s: 3600,
            checkpoint_every: 1024,
        }
    }

    /// The block key of `member`.
    pub(crate) fn key(&self, member: ReplicaId) -> SigningKey {
        self.key_of_kind(1, member)
    }

    fn key_of_kind(&self, kind: u8, member: ReplicaId) -> SigningKey {
        let mut seed = [kind; 32];
        if let Some(first) = seed.first_mut() {
            *first = u8::try_from(member.0).expect("small groups");
        }
        SigningKey::simulated(&seed, &self.registry)
    }

    /// The reference by which round 1 names `author`'s beginning.
    pub(crate) fn genesis(&self, author: ReplicaId) -> BlockRef {
        BlockRef::genesis(author, self.keyring.genesis())
    }

    /// A signed block. `salt` tells equivocating blocks with equal parents apart.
    pub(crate) fn block(
        &self,
        author: ReplicaId,
        round: Round,
        parents: Vec<BlockRef>,
        fork: &Fork,
        salt: u64,
    ) -> Verified<Block> {
        let body = BlockBody {
            cluster: self.keyring.cluster(),
            genesis: self.keyring.genesis(),
            epoch: self.keyring.epoch(),
            author,
            round,
            parents,
            exposed: fork.exposed.clone(),
            timestamp: Time(salt),
            envelopes: vec![],
            votes: fork.proofs.iter().cloned().map(Vote::Evidence).collect(),
        };
        self.sign(body)
    }

    /// The attestation of a block, as a wormhole would sign it that attests anything.
    pub(crate) fn attest(&self, header: &BlockHeader) -> Signature {
        let instance = self.key_of_kind(5, header.reference.author);
        instance.sign(Domain::Attestation, &header.attested_bytes(&instance.public()))
    }

    /// The body with its author's signature, or the attestation of its wormhole.
    pub(crate) fn sign(&self, body: BlockBody) -> Verified<Block> {
        if self.keyring.group().model() == FaultModel::Hybrid {
            let draft = self.keyring.draft_block(body);
            let attestation = self.attest(&draft.header());
            return self.keyring.attest_block(draft, attestation).expect("by the plan's instance");
        }
        let key = self.key(body.author);
        self.keyring.sign_block(&key, body)
    }

    /// A client's envelope; `number` tells it from others.
    pub(crate) fn envelope(&self, number: u64, bytes: usize) -> Envelope {
        let client = SigningKey::simulated(&[200; 32], &self.registry);
        let envelope = Envelope {
            cluster: self.keyring.cluster(),
            incarnation: self.keyring.incarnation(),
            client: client.public(),
            session: SessionId(1),
            first: Sequence(number),
            operations: vec![Operation { service: ServiceId::KV, request: vec![0; bytes] }],
            signature: Signature([0; 64]),
        };
        Keyring::sign_envelope(&client, envelope)
    }
}

/// What a block says about forked chains.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fork {
    pub(crate) exposed: Vec<ReplicaId>,
    pub(crate) proofs: Vec<Evidence>,
}

/// The proof that two blocks of one author lie on two branches.
pub(crate) fn proof(first: &Verified<Block>, second: &Verified<Block>) -> Evidence {
    Evidence::Equivocation { first: first.signed_header(), second: second.signed_header() }
}

/// A reference to a block that nobody has.
pub(crate) fn bogus(author: ReplicaId, round: Round, salt: u64) -> BlockRef {
    let mut digest = Digest([0xee; 32]);
    digest.0.iter_mut().zip(salt.to_le_bytes()).for_each(|(to, from)| *to = from);
    BlockRef { round, author, digest }
}
