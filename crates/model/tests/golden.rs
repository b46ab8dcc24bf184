//! Golden bytes of every message: `golden/<name>.hex` is what `docs/wire.md` quotes.
//!
//! A change here is a change of the wire format: it needs another version and an ADR.

use std::fmt::Debug;
use std::path::PathBuf;

use ravelin_model::requests::auth::{AuthAction, AuthOrder, AuthRequest};
use ravelin_model::transfer::{
    Checkpoint, Found, Offer, Present, Spot, StateReply, StateRequest, TransferMessage, Wanted,
};
use ravelin_model::wire::{
    ChangeItem, ClientMessage, MemberReport, PeerFrame, PeerMessage, ServerMessage, StateNode,
    StateProof, StatusReport,
};
use ravelin_model::{
    Answer, AnswerBatch, AuditHead, AuditList, AuditOutcome, AuditRecord, AuditedEnvelope,
    AuditedOperation, Block, BlockBody, BlockHeader, BlockRef, Chain, Change, ClientEntry, Closing,
    ClosingStage, ClusterId, ClusterPlan, CommitIndex, CommitStatement, Cut, Decode, Digest,
    Encode, Envelope, Epoch, EpochMessage, Evidence, FaultModel, HandoverVote, Incarnation,
    InstanceCertificate, Member, MerklePath, Operation, OperationResult, Position, Previous,
    PublicKey, Purpose, Refusal, Rekey, ReleaseOrder, Reopening, ReopeningVerdict, ReplicaId,
    Round, Sequence, ServiceId, SessionId, Signature, SignedHeader, SignedPlan, SignedRekey,
    SignedRelease, SignedReopening, SignedStatement, Time, Vote,
};

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn envelope() -> Envelope {
    let operation = |request: &[u8]| Operation { service: ServiceId::KV, request: request.into() };
    Envelope {
        cluster: ClusterId(digest(0xc1)),
        incarnation: Incarnation(1),
        client: PublicKey([0xa1; 32]),
        session: SessionId(7),
        first: Sequence(3),
        operations: vec![operation(b"one"), operation(b"")],
        signature: Signature([0x51; 64]),
    }
}

fn reference(round: u64, author: u16) -> BlockRef {
    BlockRef { round: Round(round), author: ReplicaId(author), digest: digest(0xb1) }
}

fn statement(replica: u16, ordering: Option<Digest>) -> SignedStatement {
    let statement = CommitStatement {
        cluster: ClusterId(digest(0xc1)),
        incarnation: Incarnation(1),
        epoch: Epoch(1),
        commit: CommitIndex(9),
        position: Position(12),
        time: Time(1_700_000_000_000_000),
        answers: digest(0xd1),
        state: digest(0xd2),
        ordering,
    };
    let signature = Signature([0x52; 64]);
    SignedStatement { replica: ReplicaId(replica), statement, signature }
}

fn header(round: u64) -> SignedHeader {
    let header = BlockHeader {
        cluster: ClusterId(digest(0xc1)),
        genesis: digest(0x9e),
        epoch: Epoch(1),
        previous: Round(4),
        reference: reference(round, 2),
    };
    SignedHeader { header, signature: Signature([0x53; 64]) }
}

fn block(envelopes: Vec<Envelope>, votes: Vec<Vote>) -> Block {
    let body = BlockBody {
        cluster: ClusterId(digest(0xc1)),
        genesis: digest(0x9e),
        epoch: Epoch(1),
        author: ReplicaId(2),
        round: Round(5),
        parents: vec![reference(4, 2), reference(4, 0)],
        exposed: vec![ReplicaId(3)],
        timestamp: Time(1_700_000_000_000_001),
        envelopes,
        votes,
    };
    Block { body, authenticator: Signature([0x54; 64]) }
}

fn plan() -> SignedPlan {
    let member = Member {
        name: "s0".into(),
        identity: PublicKey([0xe1; 32]),
        block: PublicKey([0xe2; 32]),
        transport: PublicKey([0xe3; 32]),
        wormhole: None,
        peer_address: "h:1".into(),
        client_address: "h:2".into(),
        labels: Default::default(),
    };
    let plan = ClusterPlan {
        version: ravelin_model::plan::PLAN_VERSION,
        name: "demo".into(),
        purpose: Purpose::Local,
        incarnation: Incarnation(1),
        epoch: Epoch(1),
        previous: None,
        fault_model: FaultModel::Arbitrary,
        f: 1,
        leaders_per_round: 2,
        members: vec![member],
        administrators: vec![PublicKey([0xe4; 32])],
        administrators_needed: 1,
        clients: vec![ClientEntry { name: "c0".into(), key: PublicKey([0xa1; 32]) }],
        rekey_interval_min_s: 3600,
        checkpoint_every: 1024,
    };
    SignedPlan { plan, signatures: vec![(PublicKey([0xe4; 32]), Signature([0x55; 64]))] }
}

/// What follows [`plan`]: the member signs blocks with another key.
fn later_plan() -> SignedPlan {
    let mut later = plan();
    later.plan.epoch = Epoch(2);
    later.plan.previous = Some(Previous {
        plan: digest(0xf1),
        commit: CommitIndex(9),
        time: Time(1_700_000_000_000_000),
        position: Position(77),
        state: digest(0xd2),
        ordering: digest(0xd3),
    });
    for member in &mut later.plan.members {
        member.block = PublicKey([0xe5; 32]);
    }
    later.signatures = vec![(PublicKey([0xe2; 32]), Signature([0x56; 64]))];
    later
}

fn rekey() -> SignedRekey {
    let rekey = Rekey {
        cluster: ClusterId(digest(0xc1)),
        incarnation: Incarnation(1),
        epoch: Epoch(1),
        member: ReplicaId(2),
        block: PublicKey([0xe5; 32]),
        instance: None,
    };
    let (signature, possession) = (Signature([0x57; 64]), Signature([0x58; 64]));
    SignedRekey { rekey, signature, possession }
}

fn certificate() -> InstanceCertificate {
    InstanceCertificate {
        instance: PublicKey([0xe6; 32]),
        is_rollback_proof: true,
        signature: Signature([0x59; 64]),
    }
}

fn reopening() -> SignedReopening {
    let order = Reopening {
        cluster: ClusterId(digest(0xc1)),
        incarnation: Incarnation(1),
        epoch: Epoch(1),
        number: 7,
        instances: vec![(ReplicaId(0), certificate())],
        lost: vec![ReplicaId(2)],
    };
    SignedReopening { order, approvals: vec![(PublicKey([0xad; 32]), Signature([0x5a; 64]))] }
}

fn batch() -> AnswerBatch {
    let answer = |sequence: u64, result| Answer {
        sequence: Sequence(sequence),
        position: Position(12),
        index: 0,
        result,
    };
    let stale = Refusal::StaleOpening { last: 8 };
    AnswerBatch {
        client: PublicKey([0xa1; 32]),
        session: SessionId(7),
        answers: vec![
            answer(3, OperationResult::Done(b"yes".to_vec())),
            answer(4, OperationResult::Refused(stale)),
        ],
    }
}

fn report() -> StatusReport {
    let member = MemberReport {
        state: "suspected".into(),
        round: Round(4),
        evidence: vec![("equivocation".into(), 1)],
        suspicions: vec![("malformed".into(), 2)],
        shared_key_at: vec!["10.0.0.3:7000".into()],
    };
    StatusReport {
        state: "correct".into(),
        round: Round(5),
        commit: CommitIndex(9),
        position: Position(12),
        time: Time(1_700_000_000_000_000),
        state_root: digest(0xd2),
        members: vec![member],
    }
}

fn path_of(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"))
}

/// 32 bytes a line.
fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    bytes.chunks(32).map(|chunk| line(chunk) + "\n").collect()
}

/// The value's bytes are those on file, and these are the value's and no other's.
fn check<T: Encode + Decode + PartialEq + Debug>(name: &str, value: T) {
    let bytes = value.encode();
    let text = std::fs::read_to_string(path_of(name)).unwrap_or_default();
    if text.is_empty() {
        std::fs::write(path_of(name), hex(&bytes)).expect("a new golden file can be written");
        panic!("{name} had no golden bytes: look at what was written, and run again");
    }
    assert_eq!(hex(&bytes), text, "{name}");
    assert_eq!(T::decode("golden message", &bytes).as_ref(), Ok(&value), "{name}");
    for end in 0..bytes.len() {
        let cut = bytes.get(..end).unwrap_or_default();
        assert!(T::decode("golden message", cut).is_err(), "{name} cut to {end} bytes");
    }
}

/// The same of what a replica in its first epoch says to another.
fn check_peer(name: &str, message: PeerMessage) {
    check(name, PeerFrame { epoch: Epoch(1), message });
}

#[test]
fn messages_between_replicas_are_golden() {
    let equivocation = Evidence::Equivocation { first: header(5), second: header(6) };
    let (first, second) = (statement(1, None), statement(1, Some(digest(0xd3))));
    let two = Evidence::TwoStatements { first, second };
    let wrong = Evidence::WrongStatement { accused: first, correct: vec![statement(0, None)] };
    let votes = vec![
        Vote::Statement(statement(2, Some(digest(0xd3)))),
        Vote::Evidence(equivocation),
        Vote::Evidence(two),
        Vote::Evidence(wrong),
        Vote::Rekey(rekey()),
    ];
    check_peer("peer_block", PeerMessage::Block(block(vec![envelope()], votes)));
    check_peer(
        "peer_fetch",
        PeerMessage::Fetch(vec![
            Chain { tip: reference(4, 0), after: Round(3) },
            Chain { tip: reference(4, 1), after: Round(1) },
        ]),
    );
    check_peer("peer_replay", PeerMessage::Replay { from: Round(4) });
    check_peer("peer_replayed", PeerMessage::Replayed(vec![block(vec![], vec![])]));
    check_peer("peer_recall", PeerMessage::Recall { nonce: 0x0102_0304_0506_0708 });
    let newest = Some(header(5));
    check_peer("peer_recalled", PeerMessage::Recalled { nonce: 0x0102_0304_0506_0708, newest });
    check_peer("peer_recalled_none", PeerMessage::Recalled { nonce: 1, newest: None });
}

#[test]
fn messages_about_epochs_are_golden() {
    let vote = HandoverVote {
        replica: ReplicaId(2),
        epoch: Epoch(1),
        commit: CommitIndex(9),
        plan: digest(0xf2),
        signature: Signature([0x56; 64]),
    };
    let check = |name, message| check_peer(name, PeerMessage::Epoch(message));
    check("peer_handover", EpochMessage::Handover(vote));
    check("peer_ask", EpochMessage::Ask(Epoch(1)));
    check("peer_began", EpochMessage::Began(Box::new(later_plan())));
    check("peer_rekey", EpochMessage::Rekey(rekey()));
    let mut of_hybrid = rekey();
    of_hybrid.rekey.instance = Some(certificate());
    check("peer_rekey_instance", EpochMessage::Rekey(of_hybrid));
    check("peer_reopen", EpochMessage::Reopen(Box::new(reopening())));
    let closing = Closing {
        epoch: Epoch(1),
        order: digest(0xd3),
        cut: Cut {
            horizon: Round(3),
            tips: vec![BlockRef { round: Round(9), author: ReplicaId(1), digest: digest(0xb1) }],
        },
        stage: ClosingStage::Signed,
        turn: 7,
        heard: vec![(ReplicaId(0), 8), (ReplicaId(2), 9)],
    };
    check("peer_closed", EpochMessage::Closed(closing));
}

#[test]
fn an_order_of_another_block_key_is_golden() {
    let order = AuthOrder {
        cluster: ClusterId(digest(0xc1)),
        incarnation: Incarnation(1),
        serial: 5,
        action: AuthAction::Rekey { member: ReplicaId(2), block: PublicKey([0xe5; 32]) },
    };
    let approvals = vec![(PublicKey([0xe4; 32]), Signature([0x58; 64]))];
    check("auth_rekey", AuthRequest::Change { order, approvals });
}

#[test]
fn releases_are_golden() {
    let order = ReleaseOrder {
        cluster: ClusterId(digest(0xc1)),
        incarnation: Incarnation(1),
        epoch: Epoch(1),
        server: ReplicaId(2),
        halt: digest(0xd5),
        serial: 3,
        repaired: vec![ReplicaId(0), ReplicaId(1)],
        issued: "2031-12-24T18:00:00Z".into(),
    };
    let approvals = vec![(PublicKey([0xe4; 32]), Signature([0x59; 64]))];
    check("release", SignedRelease { order, approvals });
}

#[test]
fn messages_of_clients_are_golden() {
    let service = ServiceId::KV;
    check("client_attach", ClientMessage::Attach { session: SessionId(7) });
    check("client_submit", ClientMessage::Submit(envelope()));
    check("client_read", ClientMessage::Read { id: 21, service, request: b"get".to_vec() });
    check("client_prove", ClientMessage::Prove { id: 22, service, key: b"ek".to_vec() });
    let (prefix, from) = (b"e".to_vec(), Position(13));
    check("client_watch", ClientMessage::Watch { id: 23, service, prefix, from });
    check("client_unwatch", ClientMessage::Unwatch { id: 23 });
    let (first, second) = (statement(1, None), statement(1, Some(digest(0xd3))));
    check("client_file", ClientMessage::File(Evidence::TwoStatements { first, second }));
    check("client_plans", ClientMessage::Plans);
    check("client_status", ClientMessage::Status { id: 24 });
    check("client_audit", ClientMessage::Audit { id: 25, last: 4 });
    check("client_wormhole", ClientMessage::Wormhole { id: 26 });
    check("client_reopen", ClientMessage::Reopen { id: 27, order: Box::new(reopening()) });
}

#[test]
fn messages_about_the_state_are_golden() {
    let check = |name, message| check_peer(name, PeerMessage::Transfer(message));
    check("peer_state_ask", TransferMessage::Ask { epoch: Epoch(2), commit: CommitIndex(9) });
    let checkpoint = Some(Checkpoint {
        statements: vec![statement(1, Some(digest(0xd3)))],
        ordering: vec![1, 2, 3],
        delivered: vec![reference(4, 0)],
    });
    let offer = Offer { plans: vec![later_plan()], checkpoint, present: None };
    check("peer_state_offer", TransferMessage::Offer(Box::new(offer)));
    let none = Offer { plans: vec![], checkpoint: None, present: None };
    check("peer_state_offer_none", TransferMessage::Offer(Box::new(none)));
    let present = Some(Present {
        commit: CommitIndex(9),
        position: Position(11),
        state: digest(0xd4),
        ordering: vec![1, 2, 3],
        delivered: vec![reference(4, 0)],
    });
    let present = Offer { plans: vec![], checkpoint: None, present };
    check("peer_state_offer_present", TransferMessage::Offer(Box::new(present)));
    let commit = CommitIndex(9);
    let spots = vec![Spot { depth: 3, prefix: digest(0xa0) }];
    let wanted = Wanted::Nodes { levels: 6, spots };
    check("peer_state_want_nodes", TransferMessage::Want(StateRequest { commit, wanted }));
    let wanted = Wanted::Entries(vec![digest(0xa1)]);
    check("peer_state_want_entries", TransferMessage::Want(StateRequest { commit, wanted }));
    let (from, until) = (b"\x02key".to_vec(), Some(b"\x02kez".to_vec()));
    let wanted = Wanted::Range { from, until };
    check("peer_state_want_range", TransferMessage::Want(StateRequest { commit, wanted }));
    let [path, value, left, right] = [0xb1, 0xb2, 0xb3, 0xb4].map(digest);
    let found = Found::Nodes(vec![vec![StateNode { path, value, left, right }], vec![]]);
    check("peer_state_nodes", TransferMessage::Have(StateReply { commit, found }));
    let found = Found::Entries(vec![(b"\x02key".to_vec(), b"value".to_vec())]);
    check("peer_state_entries", TransferMessage::Have(StateReply { commit, found }));
    let entries = vec![(b"\x02key".to_vec(), b"value".to_vec())];
    let found = Found::Range { entries, next: Some(b"\x02key2".to_vec()) };
    check("peer_state_range", TransferMessage::Have(StateReply { commit, found }));
    let found = Found::Gone;
    check("peer_state_gone", TransferMessage::Have(StateReply { commit, found }));
}

#[test]
fn messages_to_clients_are_golden() {
    let session = SessionId(7);
    let path = MerklePath { index: 1, leaves: 2, siblings: vec![digest(0xd4)] };
    let statement = statement(2, None);
    check("server_answers", ServerMessage::Answers { statement, batch: batch(), path });
    check("server_repeated", ServerMessage::Repeated(batch()));
    let first = Sequence(3);
    check("server_busy", ServerMessage::Busy { session, first, retry_after_ms: 20 });
    let refusal = Refusal::Halted;
    check("server_denied", ServerMessage::Denied { session, first: 3, refusal });
    let (id, commit) = (21, CommitIndex(9));
    let reply = Some(b"entry".to_vec());
    check("server_read_reply", ServerMessage::ReadReply { id, commit, reply });
    check("server_read_reply_none", ServerMessage::ReadReply { id, commit, reply: None });
    let node = |right| StateNode {
        path: digest(0x41),
        value: digest(0x42),
        left: Digest::default(),
        right,
    };
    let path = vec![node(digest(0x43)), node(Digest::default())];
    let proof = Some(StateProof { value: Some(b"stored".to_vec()), path });
    check("server_proof", ServerMessage::Proof { id: 22, statements: vec![statement], proof });
    let absent = ServerMessage::Proof { id: 22, statements: vec![], proof: None };
    check("server_proof_none", absent);
    let item = |index, value: Option<&[u8]>| ChangeItem {
        position: Position(13),
        index,
        change: Change { key: b"ek".to_vec(), value: value.map(<[u8]>::to_vec) },
    };
    let items = vec![item(0, Some(b"v")), item(u16::MAX, None)];
    check("server_changes", ServerMessage::Changes { id: 23, through: Position(14), items });
    check("server_compacted", ServerMessage::Compacted { id: 23, oldest: Position(40) });
    check("server_plans", ServerMessage::Plans(vec![plan(), later_plan()]));
    check("server_status", ServerMessage::Status { id: 24, report: Box::new(report()) });
}

#[test]
fn the_audit_log_is_golden() {
    let operation = |index, verb, outcome| AuditedOperation {
        index,
        service: ServiceId::KV,
        verb,
        request: digest(0x61),
        outcome,
    };
    let done = AuditOutcome::Done { kind: 3, reply: digest(0x62) };
    let refused = AuditOutcome::Refused(Refusal::Malformed);
    let envelope = AuditedEnvelope {
        position: Position(12),
        client: PublicKey([0xa1; 32]),
        session: SessionId(7),
        first: Sequence(3),
        operations: vec![operation(0, 2, done), operation(2, 9, refused)],
    };
    let list = AuditList {
        commit: CommitIndex(9),
        time: Time(1_700_000_000_000_000),
        envelopes: vec![envelope],
    };
    check("audit_list", list.clone());
    check("audit_head", AuditHead { lists: 4, operations: 7, digest: digest(0x63) });
    let requests = vec![b"\x02request".to_vec(), vec![]];
    let records = vec![AuditRecord { before: digest(0x64), list, requests }];
    check("server_audit", ServerMessage::Audit { id: 25, records });
    check("server_audit_none", ServerMessage::Audit { id: 25, records: vec![] });
    let (epoch, certificate) = (Epoch(2), Some(certificate()));
    let wormhole = ServerMessage::Wormhole { id: 26, epoch, certificate, is_open: true };
    check("server_wormhole", wormhole);
    let verdict = ReopeningVerdict::NotCertified(ReplicaId(1));
    check("server_reopening", ServerMessage::Reopening { id: 27, verdict });
}

#[test]
fn refusals_have_the_numbers_of_the_documentation() {
    let refusals = [
        Refusal::UnknownClient,
        Refusal::UnknownSession,
        Refusal::Forgotten,
        Refusal::TooManySessions,
        Refusal::StaleOpening { last: 0x0102 },
        Refusal::Malformed,
        Refusal::UnknownService,
        Refusal::TooLarge,
        Refusal::Halted,
        Refusal::TooMuchWork,
        Refusal::Unfit,
    ];
    for (number, refusal) in (0u8..).zip(refusals) {
        let mut expected = vec![number];
        if matches!(refusal, Refusal::StaleOpening { .. }) {
            expected.extend([2, 1, 0, 0, 0, 0, 0, 0]);
        }
        assert_eq!(refusal.encode(), expected);
    }
}
