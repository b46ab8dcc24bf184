use ravelin_model::{
    ClientEntry, ClusterPlan, CommitIndex, FaultModel, Member, Operation, Position, Purpose, Round,
    Sequence, ServiceId, SessionId, Signature, Time,
};

use super::*;
use crate::{Registry, check_first_plan, sign_plan};

struct Fixture {
    keyring: Keyring,
    keys: Vec<SigningKey>,
    client: SigningKey,
}

fn public(seed: u8) -> PublicKey {
    SigningKey::ed25519(&[seed; 32]).public()
}

fn plan(scheme_key: impl Fn(u8) -> PublicKey) -> ClusterPlan {
    ClusterPlan {
        version: ravelin_model::plan::PLAN_VERSION,
        name: "test".into(),
        purpose: Purpose::Local,
        incarnation: Incarnation(1),
        epoch: Epoch(1),
        previous: None,
        fault_model: FaultModel::Arbitrary,
        f: 1,
        leaders_per_round: 2,
        members: (0..4u8)
            .map(|index| Member {
                name: format!("s{index}"),
                identity: public(100 + index),
                block: scheme_key(index),
                transport: public(150 + index),
                wormhole: None,
                peer_address: format!("127.0.0.1:{}", 7000 + u16::from(index)),
                client_address: format!("127.0.0.1:{}", 8000 + u16::from(index)),
                labels: Default::default(),
            })
            .collect(),
        administrators: vec![public(50)],
        administrators_needed: 1,
        clients: vec![ClientEntry { name: "alice".into(), key: public(60) }],
        rekey_interval_min_s: 3600,
        checkpoint_every: 1024,
    }
}

fn fixture() -> Fixture {
    let registry = Registry::default();
    let keys: Vec<_> = (0..4u8).map(|seed| SigningKey::simulated(&[seed; 32], &registry)).collect();
    let client = SigningKey::simulated(&[60; 32], &registry);
    let signed =
        SignedPlan { plan: plan(|index| keys[usize::from(index)].public()), signatures: vec![] };
    let cluster = ClusterId(crate::plan_digest(&signed.plan));
    let keyring = Keyring::new(cluster, &signed, Scheme::Simulated(registry)).expect("sound");
    Fixture { keyring, keys, client }
}

impl Fixture {
    fn envelope(&self, request: &[u8]) -> Envelope {
        let operation = Operation { service: ServiceId::KV, request: request.to_vec() };
        Keyring::sign_envelope(
            &self.client,
            Envelope {
                cluster: self.keyring.cluster(),
                incarnation: Incarnation(1),
                client: self.client.public(),
                session: SessionId(1),
                first: Sequence(1),
                operations: vec![operation],
                signature: Signature([0; 64]),
            },
        )
    }

    fn body(&self, author: u16, round: u64, previous: u64) -> BlockBody {
        let parent = BlockRef {
            round: Round(previous),
            author: ReplicaId(author),
            digest: self.keyring.genesis(),
        };
        BlockBody {
            cluster: self.keyring.cluster(),
            genesis: self.keyring.genesis(),
            epoch: Epoch(1),
            author: ReplicaId(author),
            round: Round(round),
            parents: vec![parent],
            exposed: vec![],
            timestamp: Time(round),
            envelopes: vec![self.envelope(b"a"), self.envelope(b"b")],
            votes: vec![],
        }
    }

    fn block(&self, author: u16, round: u64, previous: u64) -> Verified<Block> {
        self.keyring.sign_block(&self.keys[usize::from(author)], self.body(author, round, previous))
    }

    fn statement(&self, replica: u16, state: u8) -> SignedStatement {
        let statement = CommitStatement {
            cluster: self.keyring.cluster(),
            incarnation: Incarnation(1),
            epoch: Epoch(1),
            commit: CommitIndex(9),
            position: Position(3),
            time: Time(5),
            answers: Digest([1; 32]),
            state: Digest([state; 32]),
            ordering: None,
        };
        self.keyring.sign_statement(&self.keys[usize::from(replica)], ReplicaId(replica), statement)
    }
}

#[test]
fn a_good_block_passes_and_keeps_its_name() {
    let fixture = fixture();
    let made = fixture.block(1, 5, 4);
    let checked = fixture.keyring.verify_block(Block::clone(&made)).expect("good");
    assert_eq!(checked.reference(), made.reference());
    assert_eq!(block_reference(&made), made.reference());
}

#[test]
fn a_block_of_another_author_cluster_or_epoch_is_refused() {
    let fixture = fixture();
    let refusal = |change: &dyn Fn(&mut Block)| {
        let mut block = Block::clone(&fixture.block(1, 5, 4));
        change(&mut block);
        fixture.keyring.verify_block(block).expect_err("refused")
    };
    assert_eq!(refusal(&|block| block.body.author = ReplicaId(2)), Suspicion::BadSignature);
    assert_eq!(refusal(&|block| block.body.author = ReplicaId(4)), Suspicion::Foreign);
    assert_eq!(refusal(&|block| block.body.round = Round(6)), Suspicion::BadSignature);
    assert_eq!(refusal(&|block| block.body.timestamp = Time(0)), Suspicion::BadSignature);
    assert_eq!(refusal(&|block| block.authenticator.0[9] ^= 1), Suspicion::BadSignature);
    assert_eq!(refusal(&|block| block.body.epoch = Epoch(2)), Suspicion::Foreign);
    assert_eq!(refusal(&|block| block.body.cluster.0.0[0] ^= 1), Suspicion::Foreign);
    assert_eq!(refusal(&|block| block.body.genesis.0[0] ^= 1), Suspicion::Foreign);
}

#[test]
fn one_bad_envelope_spoils_its_block_and_no_other_of_the_batch() {
    let fixture = fixture();
    let mut body = fixture.body(1, 5, 4);
    body.envelopes[1].signature.0[0] ^= 1;
    let bad = fixture.keyring.sign_block(&fixture.keys[1], body);
    let good = fixture.block(2, 5, 4);
    let verdicts = fixture.keyring.verify_blocks(vec![
        Block::clone(&good),
        Block::clone(&bad),
        Block::clone(&good),
    ]);
    assert!(verdicts[0].is_ok() && verdicts[2].is_ok());
    assert_eq!(verdicts[1].as_ref().err(), Some(&Suspicion::BadEnvelope));
}

/// What somebody recorded at another cluster, or before a restore of this one, is of no use here,
/// although its signature is good; and it takes no other envelope of its batch with it.
#[test]
fn replayed_and_bad_envelopes_are_refused_alone() {
    let fixture = fixture();
    let signed = |change: &dyn Fn(&mut Envelope)| {
        let mut envelope = fixture.envelope(b"pay alice");
        change(&mut envelope);
        Keyring::sign_envelope(&fixture.client, envelope)
    };
    let mut forged = fixture.envelope(b"pay alice");
    forged.signature.0[1] ^= 1;
    let huge = Operation { service: ServiceId::KV, request: vec![0; ENVELOPE_BYTES_MAX] };
    let batch = vec![
        signed(&|_| {}),
        signed(&|envelope| envelope.cluster.0.0[0] ^= 1),
        signed(&|envelope| envelope.incarnation = Incarnation(2)),
        signed(&|envelope| envelope.operations.clear()),
        signed(&|envelope| envelope.operations = vec![huge.clone()]),
        forged,
        signed(&|_| {}),
    ];
    let verdicts = fixture.keyring.verify_envelopes(batch);
    let refused: Vec<_> = verdicts.iter().map(|verdict| verdict.as_ref().err().copied()).collect();
    assert!(refused[0].is_none() && refused[6].is_none());
    assert!(refused[1..5].iter().all(|refusal| *refusal == Some(Suspicion::Foreign)));
    assert_eq!(refused[5], Some(Suspicion::BadSignature));
}

#[test]
fn an_envelope_for_another_cluster_spoils_its_block() {
    let fixture = fixture();
    let mut body = fixture.body(1, 5, 4);
    body.envelopes[0].incarnation = Incarnation(2);
    body.envelopes[0] = Keyring::sign_envelope(&fixture.client, body.envelopes[0].clone());
    let block = fixture.keyring.sign_block(&fixture.keys[1], body);
    assert_eq!(
        fixture.keyring.verify_block(Block::clone(&block)).err(),
        Some(Suspicion::BadEnvelope)
    );
}

#[test]
fn a_fork_is_proven_by_two_headers_and_an_honest_chain_never_is() {
    let fixture = fixture();
    let header = |author, round, previous, stamp| {
        let mut body = fixture.body(author, round, previous);
        body.timestamp = Time(stamp);
        fixture.keyring.sign_block(&fixture.keys[usize::from(author)], body).signed_header()
    };
    let proves = |first, second| fixture.keyring.proves(&Evidence::Equivocation { first, second });
    assert!(proves(header(1, 5, 4, 1), header(1, 5, 4, 2)), "two blocks of one round");
    assert!(proves(header(1, 7, 4, 1), header(1, 6, 4, 1)), "two successors of one block");
    assert!(proves(header(1, 7, 4, 1), header(1, 5, 4, 1)));
    assert!(!proves(header(1, 5, 4, 1), header(1, 5, 4, 1)), "one block twice");
    assert!(!proves(header(1, 5, 4, 1), header(1, 6, 5, 1)), "a chain");
    assert!(!proves(header(1, 5, 4, 1), header(1, 9, 7, 1)), "a chain seen in part");
    assert!(!proves(header(1, 5, 4, 1), header(2, 5, 4, 2)), "two authors");
    let mut forged = header(1, 5, 4, 2);
    forged.signature.0[0] ^= 1;
    assert!(!proves(header(1, 5, 4, 1), forged));
}

#[test]
fn a_wrong_statement_is_proven_by_f_plus_one_distinct_others() {
    let fixture = fixture();
    let accused = fixture.statement(3, 7);
    let proves = |correct: Vec<SignedStatement>| {
        fixture.keyring.proves(&Evidence::WrongStatement { accused, correct })
    };
    assert!(proves(vec![fixture.statement(0, 1), fixture.statement(1, 1)]));
    assert!(!proves(vec![fixture.statement(0, 1)]), "one other may be a liar");
    assert!(!proves(vec![fixture.statement(0, 1), fixture.statement(0, 1)]), "one other twice");
    assert!(!proves(vec![fixture.statement(0, 1), fixture.statement(1, 2)]), "they disagree");
    assert!(
        !proves(vec![fixture.statement(0, 7), fixture.statement(1, 7)]),
        "the accused is right"
    );
    assert!(!proves(vec![fixture.statement(0, 1), fixture.statement(3, 1)]), "its own word");
}

#[test]
fn a_statement_is_good_for_its_signer_only() {
    let fixture = fixture();
    let signed = fixture.statement(2, 1);
    assert!(fixture.keyring.holds(&signed));
    assert!(!fixture.keyring.holds(&SignedStatement { replica: ReplicaId(1), ..signed }));
    assert!(!fixture.keyring.holds(&SignedStatement { replica: ReplicaId(9), ..signed }));
}

#[test]
fn a_plan_counts_with_the_signatures_of_enough_distinct_administrators() {
    let scheme = Scheme::ed25519([1; 32]);
    let administrator = SigningKey::ed25519(&[50; 32]);
    let mut signed = SignedPlan { plan: plan(public), signatures: vec![] };
    assert!(check_first_plan(&signed, &scheme).is_err());
    sign_plan(&mut signed, &SigningKey::ed25519(&[51; 32]));
    assert!(check_first_plan(&signed, &scheme).is_err(), "a stranger's signature");
    sign_plan(&mut signed, &administrator);
    assert!(check_first_plan(&signed, &scheme).is_ok());
    signed.plan.f = 2;
    assert!(check_first_plan(&signed, &scheme).is_err(), "changed after signing");
    signed.plan = ClusterPlan {
        administrators: vec![public(50), public(51)],
        administrators_needed: 2,
        ..plan(public)
    };
    signed.signatures.clear();
    sign_plan(&mut signed, &administrator);
    let twice = signed.signatures[0];
    signed.signatures.push(twice);
    assert!(check_first_plan(&signed, &scheme).is_err(), "one administrator twice");
}
