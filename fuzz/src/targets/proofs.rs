//! Proofs and signatures: whatever the bytes say, nothing is believed that is not so.

use std::sync::OnceLock;

use ravelin_crypto::merkle::{self, MerkleTree};
use ravelin_crypto::state_tree::{StateTree, value_digest, verify_proof};
use ravelin_crypto::{
    Keyring, Scheme, SigningKey, check_first_plan, check_successor, plan_digest, sign_plan,
};
use ravelin_model::wire::StateProof;
use ravelin_model::{
    Block, BlockBody, ClientEntry, ClusterId, ClusterPlan, CommitIndex, CommitStatement, Decode,
    Digest, Encode, Envelope, Epoch, Evidence, FaultModel, Incarnation, Member, MerklePath,
    Operation, Position, Purpose, ReplicaId, Round, Sequence, ServiceId, SessionId, Signature,
    SignedPlan, SignedStatement, Time,
};

use super::target::{Memory, Target, Verdict, canonical};

/// As for messages, with a copy of what was signed.
const MEMORY: Memory = Memory { base: 2 << 20, factor: 64 };

/// The targets.
pub(crate) const TARGETS: &[Target] = &[
    Target { name: "merkle_path", run: merkle_path, seeds: merkle_paths, memory: MEMORY },
    Target { name: "state_proof", run: state_proof, seeds: state_proofs, memory: MEMORY },
    Target { name: "signed_block", run: signed_block, seeds: signed_blocks, memory: MEMORY },
    Target { name: "signed_envelope", run: signed_envelope, seeds: envelopes, memory: MEMORY },
    Target { name: "signed_statement", run: signed_statement, seeds: statements, memory: MEMORY },
    Target { name: "signed_evidence", run: signed_evidence, seeds: evidence, memory: MEMORY },
    Target { name: "plan_chain", run: plan_chain, seeds: plans, memory: MEMORY },
];

/// Leaves of the answer tree.
const LEAVES: usize = 21;

fn leaf(index: usize) -> Digest {
    ravelin_crypto::domain_digest("ravelin fuzz leaf", &[&index.to_le_bytes()])
}

fn tree() -> &'static MerkleTree {
    static TREE: OnceLock<MerkleTree> = OnceLock::new();
    TREE.get_or_init(|| MerkleTree::new((0..LEAVES).map(leaf).collect()))
}

/// A leaf's number, then a path: it proves that leaf only if it is the path that the tree gives.
fn merkle_path(input: &[u8]) -> Verdict {
    let Some((&index, bytes)) = input.split_first() else { return Verdict::Refused };
    let Some(path) = canonical::<MerklePath>(bytes) else { return Verdict::Refused };
    let index = usize::from(index);
    let holds = merkle::verify(&tree().root(), &leaf(index), &path);
    assert_eq!(holds, tree().path(index).as_ref() == Some(&path), "leaf {index} by {path:?}");
    holds.into()
}

fn merkle_paths() -> Vec<Vec<u8>> {
    let path = |index: usize| {
        let path = tree().path(index).expect("a leaf");
        [&[index as u8][..], &path.encode()].concat()
    };
    [0, 7, 19, 20].map(path).to_vec()
}

/// Keys `0..ENTRIES` have the values `[key, 7]`; others are absent.
const ENTRIES: u8 = 40;

fn state() -> &'static (StateTree, Digest) {
    static STATE: OnceLock<(StateTree, Digest)> = OnceLock::new();
    STATE.get_or_init(|| {
        let mut state = StateTree::default();
        for key in 0..ENTRIES {
            state.insert(&[key], value_digest(&[key, 7]));
        }
        let root = state.root();
        (state, root)
    })
}

/// A key, then a proof: it holds only if it says what the state says of that key.
fn state_proof(input: &[u8]) -> Verdict {
    let Some((&key, bytes)) = input.split_first() else { return Verdict::Refused };
    let Some(proof) = canonical::<StateProof>(bytes) else { return Verdict::Refused };
    let holds = verify_proof(&state().1, &[key], &proof);
    let truth = (key < ENTRIES).then(|| vec![key, 7]);
    assert!(!holds || proof.value == truth, "a false proof of {key}: {proof:?}");
    holds.into()
}

fn state_proofs() -> Vec<Vec<u8>> {
    let mut state = state().0.clone();
    let proof = |key: u8| {
        let value = (key < ENTRIES).then(|| vec![key, 7]);
        let path = state.prove(&[key]);
        [&[key][..], &StateProof { value, path }.encode()].concat()
    };
    [0, 20, 39, 40, 200].map(proof).to_vec()
}

/// Four servers and a client; only honest words were ever signed.
struct World {
    plan: SignedPlan,
    keyring: Keyring,
    members: Vec<SigningKey>,
    client: SigningKey,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let key = |seed: u8| SigningKey::ed25519(&[seed; 32]);
        let members: Vec<_> = (1..=4).map(key).collect();
        let member = |index: u8| Member {
            name: format!("s{index}"),
            identity: key(100 + index).public(),
            block: members[usize::from(index)].public(),
            transport: key(150 + index).public(),
            wormhole: None,
            peer_address: format!("127.0.0.1:700{index}"),
            client_address: format!("127.0.0.1:800{index}"),
            labels: Default::default(),
        };
        let plan = ClusterPlan {
            version: ravelin_model::plan::PLAN_VERSION,
            name: "fuzz".into(),
            purpose: Purpose::Local,
            incarnation: Incarnation(1),
            epoch: Epoch(1),
            previous: None,
            fault_model: FaultModel::Arbitrary,
            f: 1,
            leaders_per_round: 2,
            members: (0..4).map(member).collect(),
            administrators: vec![key(50).public()],
            administrators_needed: 1,
            clients: vec![ClientEntry { name: "alice".into(), key: key(60).public() }],
            rekey_interval_min_s: 3600,
            checkpoint_every: 1024,
        };
        let mut plan = SignedPlan { plan, signatures: vec![] };
        sign_plan(&mut plan, &key(50));
        let cluster = ClusterId(plan_digest(&plan.plan));
        let scheme = Scheme::ed25519([9; 32]);
        let keyring = Keyring::new(cluster, &plan, scheme).expect("a sound plan");
        World { plan, keyring, members, client: key(60) }
    })
}

fn envelope(number: u64) -> Envelope {
    let world = world();
    let unsigned = Envelope {
        cluster: world.keyring.cluster(),
        incarnation: Incarnation(1),
        client: world.client.public(),
        session: SessionId(1),
        first: Sequence(number),
        operations: vec![Operation { service: ServiceId::KV, request: vec![1, 2, 3] }],
        signature: Signature([0; 64]),
    };
    Keyring::sign_envelope(&world.client, unsigned)
}

fn envelopes() -> Vec<Vec<u8>> {
    (1..4).map(|number| envelope(number).encode()).collect()
}

fn block(author: u16) -> Block {
    let world = world();
    let body = BlockBody {
        cluster: world.keyring.cluster(),
        genesis: world.keyring.genesis(),
        epoch: Epoch(1),
        author: ReplicaId(author),
        round: Round(0),
        parents: vec![],
        exposed: vec![],
        timestamp: Time(1),
        envelopes: (1..3).map(envelope).collect(),
        votes: vec![],
    };
    let signed = world.keyring.sign_block(&world.members[usize::from(author)], body);
    Block::clone(&signed)
}

fn signed_blocks() -> Vec<Vec<u8>> {
    (0..4).map(|author| block(author).encode()).collect()
}

/// A block passes only if it is one of those that were signed, envelopes and all.
fn signed_block(input: &[u8]) -> Verdict {
    let Some(block) = canonical::<Block>(input) else { return Verdict::Refused };
    let passes = world().keyring.verify_block(block).is_ok();
    assert!(!passes || signed_blocks().iter().any(|known| known == input), "nobody signed it");
    passes.into()
}

/// The same of envelopes, and a bad one among good ones spoils none of them.
fn signed_envelope(input: &[u8]) -> Verdict {
    let Some(envelope) = canonical::<Envelope>(input) else { return Verdict::Refused };
    let good = |bytes: &Vec<u8>| Envelope::decode("seed", bytes).expect("a seed");
    let mut batch: Vec<_> = envelopes().iter().map(good).collect();
    batch.insert(1, envelope);
    let verdicts: Vec<_> =
        world().keyring.verify_envelopes(batch).iter().map(Result::is_ok).collect();
    assert!(verdicts[0] && verdicts[2] && verdicts[3], "good ones were spoiled: {verdicts:?}");
    assert!(!verdicts[1] || envelopes().iter().any(|known| known == input), "nobody signed it");
    verdicts[1].into()
}

fn statement(replica: u16) -> SignedStatement {
    let world = world();
    let statement = CommitStatement {
        cluster: world.keyring.cluster(),
        incarnation: Incarnation(1),
        epoch: Epoch(1),
        commit: CommitIndex(3),
        position: Position(5),
        time: Time(7),
        answers: leaf(1),
        state: leaf(2),
        ordering: None,
    };
    let key = &world.members[usize::from(replica)];
    world.keyring.sign_statement(key, ReplicaId(replica), statement)
}

fn statements() -> Vec<Vec<u8>> {
    (0..4).map(|replica| statement(replica).encode()).collect()
}

fn signed_statement(input: &[u8]) -> Verdict {
    let Some(signed) = canonical::<SignedStatement>(input) else { return Verdict::Refused };
    let holds = world().keyring.holds(&signed);
    assert!(!holds || statements().iter().any(|known| known == input), "nobody stated it");
    holds.into()
}

/// All four said the same, so nothing proves anything against anybody. The seeds are well-formed and
/// prove nothing; [`Verdict::Taken`] is said of whatever reaches the judgement.
fn signed_evidence(input: &[u8]) -> Verdict {
    let Some(evidence) = canonical::<Evidence>(input) else { return Verdict::Refused };
    assert!(!world().keyring.proves(&evidence), "a correct server is accused: {evidence:?}");
    Verdict::Taken
}

fn evidence() -> Vec<Vec<u8>> {
    let correct = vec![statement(0), statement(1)];
    let wrong = Evidence::WrongStatement { accused: statement(2), correct };
    let two = Evidence::TwoStatements { first: statement(0), second: statement(0) };
    vec![wrong.encode(), two.encode()]
}

/// Only the plan that its administrator signed begins the cluster, and nothing follows it without
/// its members' signatures.
fn plan_chain(input: &[u8]) -> Verdict {
    let Some(signed) = canonical::<SignedPlan>(input) else { return Verdict::Refused };
    let (first, scheme) = (&world().plan, world().keyring.scheme());
    let begins = check_first_plan(&signed, scheme);
    if let Ok(cluster) = begins {
        let ours = cluster == world().keyring.cluster();
        assert_eq!(ours, signed.plan == first.plan, "two plans with one fingerprint");
    }
    let follows = check_successor(&first.plan, &signed, scheme).is_ok();
    assert!(!follows, "no member signed a successor: {signed:?}");
    begins.is_ok().into()
}

fn plans() -> Vec<Vec<u8>> {
    vec![world().plan.encode()]
}
