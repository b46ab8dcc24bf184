//! Sessions go on from epoch to epoch, and what members of one epoch told is never added to what
//! members of another did.

use std::collections::BTreeSet;

use ravelin_crypto::SigningKey;
use ravelin_crypto::answers::answer_leaf;
use ravelin_crypto::merkle::MerkleTree;
use ravelin_model::plan::Labels;
use ravelin_model::wire::{ChangeItem, ClientMessage, ServerMessage};
use ravelin_model::{
    Change, ClusterPlan, CommitIndex, CommitStatement, Epoch, Evidence, FaultModel, Member,
    Misbehaviour, OperationResult, Position, Refusal, ReplicaId, ServiceId, SignedPlan, Suspicion,
};

use super::fixture::{Fixture, SESSION, groups, id, seed};
use crate::event::{Event, ReadPath, Unanswered, Voted};
use crate::limits::{EARLY_BYTES_MAX, EPOCHS_KEPT};

/// The first epoch.
const FIRST: Epoch = Epoch::FIRST;

/// The results of the one submission answered since the last look.
fn answered(fixture: &mut Fixture) -> Option<Vec<Voted>> {
    let events = fixture.take_events().into_iter();
    let mut found = events.filter_map(|event| match event {
        Event::Answered { results, .. } => Some(results),
        _ => None,
    });
    let first = found.next();
    assert!(found.next().is_none(), "answered twice");
    first
}

/// Who was asked for the chain of plans since the last look.
fn asked(fixture: &mut Fixture) -> Vec<ReplicaId> {
    let sends = fixture.take_sends().into_iter();
    sends.filter(|(_, message)| matches!(message, ClientMessage::Plans)).map(|(to, _)| to).collect()
}

/// `member` claims to be in `epoch`.
fn claim(fixture: &mut Fixture, member: usize, epoch: u64) {
    let batch = fixture.batch(&[]);
    let message = fixture.answers_in(Epoch(epoch), member, 900, &batch);
    fixture.tell(member, message);
}

fn everyone(fixture: &Fixture) -> Vec<usize> {
    (0..fixture.group.size()).collect()
}

/// The chain with one plan more, which these members signed.
fn forged(fixture: &Fixture, signers: &[usize]) -> Vec<SignedPlan> {
    let (mut next, _) = fixture.keys.successor(&[0], 30);
    fixture.keys.hand_over(&mut next, signers.iter().copied());
    [fixture.keys.chain.clone(), vec![next]].concat()
}

#[test]
fn a_session_follows_the_cluster_and_its_operations_are_answered() {
    for (n, f, model) in groups() {
        let mut fixture = Fixture::new(n, f, model).open();
        let first = fixture.submit(1);
        let envelope = fixture.take_envelopes().remove(0);
        fixture.keys.rekey(&everyone(&fixture));
        let batch = fixture.batch(&[(first, 20, b"a")]);
        let last = fixture.group.quorum() - 1;
        for member in 0..last {
            let message = fixture.answers(member, 2, &batch);
            fixture.tell(member, message);
        }
        assert_eq!(fixture.take_events(), [], "the keys of the epoch are not known yet");
        let tellers: Vec<_> = (0..fixture.group.one_correct().min(last)).map(id).collect();
        assert_eq!(asked(&mut fixture), tellers, "so many have a correct one among them");
        fixture.tell(0, ServerMessage::Plans(fixture.keys.chain.clone()));
        let plans = vec![fixture.keys.plan.clone()];
        assert_eq!(fixture.take_events(), [Event::Followed { plans }]);
        assert_eq!(fixture.session.plan(), &fixture.keys.plan);
        let again = fixture.take_envelopes();
        assert_eq!(again, [envelope], "sent again to who had it, with the same bytes");
        let message = fixture.answers(last, 2, &batch);
        fixture.tell(last, message);
        let results = answered(&mut fixture).expect("what came early counts now");
        assert_eq!((results[0].epoch, results[0].by.len()), (Epoch(2), last + 1));
    }
}

#[test]
fn answers_that_come_early_are_checked_and_bounded() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    fixture.keys.rekey(&[0, 1, 2, 3]);
    let batch = fixture.batch(&[(first, 20, b"a")]);
    // Member 2 signs with its old key.
    let tree = MerkleTree::new(vec![answer_leaf(&batch)]);
    let statement = fixture.statement(2, tree.root());
    let (keyring, keys) = fixture.keys.at(FIRST);
    let statement = keyring.sign_statement(&keys[2], id(2), statement);
    let path = tree.path(0).unwrap();
    fixture.tell(2, ServerMessage::Answers { statement, batch: batch.clone(), path });
    let large = vec![7; EARLY_BYTES_MAX / 8];
    for commit in 0..40 {
        let garbage = fixture.batch(&[(first + commit, 20, &large)]);
        let message = fixture.answers(3, 3 + commit, &garbage);
        fixture.tell(3, message);
        assert!(fixture.session.footprint().early_bytes <= EARLY_BYTES_MAX);
    }
    for member in [0, 1] {
        let message = fixture.answers(member, 2, &batch);
        fixture.tell(member, message);
    }
    assert_eq!(fixture.take_events(), []);
    fixture.tell(2, ServerMessage::Plans(fixture.keys.chain.clone()));
    let events = fixture.take_events();
    let misbehaviour = Box::new(Misbehaviour::Suspected(Suspicion::BadSignature));
    let accused = Event::Accused { replica: id(2), misbehaviour };
    assert!(matches!(events.as_slice(), [Event::Followed { .. }, other] if *other == accused));
    let message = fixture.answers(3, 2, &batch);
    fixture.tell(3, message);
    assert!(answered(&mut fixture).is_some());
    assert_eq!(fixture.session.footprint().early_bytes, 0);
}

#[test]
fn a_client_that_knows_the_first_plan_only_gets_to_the_fifth_epoch_at_once() {
    let mut fixture = Fixture::four();
    for changed in [&[0, 1, 2, 3][..], &[1], &[0, 1, 2, 3], &[2, 3]] {
        fixture.keys.rekey(changed);
    }
    fixture.act(|session, now, out| session.open(now, out).unwrap());
    fixture.follow(2);
    let events = fixture.take_events();
    let [Event::Followed { plans }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(plans, &fixture.keys.chain[1..]);
    let mut fixture = fixture.opened();
    let first = fixture.submit(1);
    let batch = fixture.batch(&[(first, 20, b"a")]);
    for member in [0, 1, 3] {
        let message = fixture.answers(member, 2, &batch);
        fixture.tell(member, message);
    }
    assert_eq!(answered(&mut fixture).unwrap()[0].epoch, Epoch(5));
}

#[test]
fn votes_of_an_epoch_that_was_left_still_make_its_quorum() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    let batch = fixture.batch(&[(first, 20, b"a")]);
    for member in [0, 1] {
        let message = fixture.answers(member, 2, &batch);
        fixture.tell(member, message);
    }
    fixture.keys.rekey(&[0, 1, 2, 3]);
    fixture.follow(3);
    assert_eq!(answered(&mut fixture), None);
    let late = fixture.answers_in(FIRST, 2, 2, &batch);
    fixture.tell(2, late);
    let results = answered(&mut fixture).expect("three members of the first epoch agree");
    assert_eq!((results[0].epoch, &results[0].by), (FIRST, &vec![id(0), id(1), id(2)]));
}

#[test]
fn votes_of_two_epochs_are_never_added_up() {
    for (n, f, model) in groups() {
        let mut fixture = Fixture::new(n, f, model).open();
        let first = fixture.submit(1);
        let batch = fixture.batch(&[(first, 20, b"a")]);
        let (size, quorum) = (fixture.group.size(), fixture.group.quorum());
        for member in 0..quorum - 1 {
            let message = fixture.answers(member, 2, &batch);
            fixture.tell(member, message);
        }
        fixture.keys.rekey(&everyone(&fixture));
        fixture.follow(0);
        // From others and from some of the same: each epoch alone is one short of a quorum.
        for member in (size + 1 - quorum..size).rev() {
            fixture.tell(member, ServerMessage::Repeated(batch.clone()));
            let message = fixture.answers(member, 3, &batch);
            fixture.tell(member, message);
        }
        assert_eq!(answered(&mut fixture), None, "{n}, {f}");
        fixture.tell(0, ServerMessage::Repeated(batch));
        let results = answered(&mut fixture).expect("a quorum repeats it in the second epoch");
        assert_eq!((results[0].epoch, results[0].by.len()), (Epoch(2), quorum));
    }
}

#[test]
fn denials_of_two_epochs_are_never_added_up() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    let refusal = Refusal::UnknownSession;
    let denied = ServerMessage::Denied { session: SESSION, first, refusal };
    let (home, _) = fixture.take_envelopes().pop().unwrap();
    fixture.tell(home.index(), denied.clone());
    let (next, _) = fixture.take_envelopes().pop().expect("another member has it");
    fixture.keys.rekey(&[0, 1, 2, 3]);
    fixture.follow(0);
    fixture.take_events();
    fixture.tell(next.index(), denied.clone());
    assert_eq!(fixture.take_events(), [], "one member of each epoch says so");
    fixture.tell(home.index(), denied);
    assert!(fixture.take_events().contains(&Event::Lost { refusal }), "two of one epoch do");
}

#[test]
fn an_epoch_that_was_left_does_not_end_a_session() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    let refusal = Refusal::UnknownSession;
    let mut batch = fixture.batch(&[(first, 20, b"")]);
    batch.answers[0].result = OperationResult::Refused(refusal);
    fixture.keys.rekey(&[0, 1, 2, 3]);
    fixture.follow(0);
    fixture.take_events();
    for member in 0..4 {
        let late = fixture.answers_in(FIRST, member, 2, &batch);
        fixture.tell(member, late);
    }
    assert_eq!(fixture.take_events(), []);
    for member in 0..2 {
        let message = fixture.answers(member, 3, &batch);
        fixture.tell(member, message);
    }
    assert!(fixture.take_events().contains(&Event::Lost { refusal }));
}

#[test]
fn a_statement_is_judged_by_the_keys_of_its_own_epoch() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    fixture.keys.rekey(&[0, 1, 2, 3]);
    fixture.follow(0);
    fixture.take_events();
    let batch = fixture.batch(&[(first, 20, b"a")]);
    let root = MerkleTree::new(vec![answer_leaf(&batch)]);
    for member in 0..4 {
        for (stated, signed) in [(FIRST, Epoch(2)), (Epoch(2), FIRST)] {
            let statement = CommitStatement { epoch: stated, ..fixture.statement(2, root.root()) };
            let (keyring, keys) = fixture.keys.at(signed);
            let statement = keyring.sign_statement(&keys[member], id(member), statement);
            let (batch, path) = (batch.clone(), root.path(0).unwrap());
            fixture.tell(member, ServerMessage::Answers { statement, batch, path });
            let misbehaviour = Box::new(Misbehaviour::Suspected(Suspicion::BadSignature));
            let accused = Event::Accused { replica: id(member), misbehaviour };
            assert_eq!(fixture.take_events(), [accused]);
        }
    }
}

#[test]
fn nobody_is_accused_because_two_epochs_differ() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    let (one, other) = (fixture.batch(&[(first, 20, b"1")]), fixture.batch(&[(first, 20, b"2")]));
    for member in [0, 1] {
        let message = fixture.answers(member, 2, &one);
        fixture.tell(member, message);
    }
    fixture.keys.rekey(&[0, 1, 2, 3]);
    fixture.follow(0);
    fixture.take_events();
    for member in [1, 2, 3] {
        let message = fixture.answers(member, 2, &other);
        fixture.tell(member, message);
    }
    assert!(answered(&mut fixture).is_some());
    let late = fixture.answers_in(FIRST, 2, 2, &one);
    fixture.tell(2, late);
    assert_eq!(fixture.take_events(), []);
}

#[test]
fn a_contradiction_within_an_epoch_that_was_left_is_still_proof() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    let (one, other) = (fixture.batch(&[(first, 20, b"1")]), fixture.batch(&[(first, 20, b"2")]));
    let message = fixture.answers(3, 2, &one);
    fixture.tell(3, message);
    fixture.keys.rekey(&[0, 1, 2, 3]);
    fixture.follow(0);
    fixture.take_events();
    fixture.take_sends();
    let contradicting = fixture.answers_in(FIRST, 3, 2, &other);
    fixture.tell(3, contradicting);
    let filed: Vec<Evidence> = fixture
        .take_sends()
        .into_iter()
        .filter_map(|(_, message)| match message {
            ClientMessage::File(evidence) => Some(evidence),
            _ => None,
        })
        .collect();
    assert_eq!(filed.len(), 4);
    assert!(fixture.keys.at(FIRST).0.proves(&filed[0]), "by the keys of the epoch it is about");
    assert!(!fixture.keys.keyring.proves(&filed[0]));
    assert_eq!(fixture.take_accusations(), [(id(3), true)]);
}

#[test]
fn epochs_that_are_long_over_are_forgotten_without_blame() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    let batch = fixture.batch(&[(first, 20, b"a")]);
    for epoch in 2..12 {
        fixture.keys.rekey(&[0, 1, 2, 3]);
        fixture.follow(epoch % 4);
        for member in [0, 1] {
            let message = fixture.answers(member, 2, &batch);
            fixture.tell(member, message);
        }
        let kept = fixture.session.footprint();
        assert_eq!(kept.epochs, epoch.min(EPOCHS_KEPT));
        assert!(kept.votes <= 2 * EPOCHS_KEPT, "{kept:?}");
        fixture.take_events();
    }
    let oldest = Epoch(12 - EPOCHS_KEPT as u64);
    let forgotten = fixture.answers_in(Epoch(oldest.0 - 1), 2, 2, &batch);
    fixture.tell(2, forgotten);
    assert_eq!(fixture.take_events(), []);
    let kept = fixture.answers_in(oldest, 2, 2, &batch);
    fixture.tell(2, kept);
    assert_eq!(answered(&mut fixture).unwrap()[0].epoch, oldest);
}

#[test]
fn where_the_one_that_told_does_not_show_the_plans_the_others_are_asked() {
    for mute in [true, false] {
        let mut fixture = Fixture::four().open();
        fixture.keys.rekey(&[0, 1, 2, 3]);
        claim(&mut fixture, 3, 2);
        assert_eq!(asked(&mut fixture), [id(3)]);
        let next = |fixture: &mut Fixture, member| match mute {
            true => fixture.wait(),
            false => fixture.act(|session, now, out| {
                session.on_disconnected(now, id(member), out);
            }),
        };
        next(&mut fixture, 3);
        assert_eq!(asked(&mut fixture), [id(0)]);
        // It is not that far yet.
        fixture.tell(0, ServerMessage::Plans(fixture.keys.chain[..1].to_vec()));
        assert_eq!(asked(&mut fixture), [id(1)]);
        fixture.tell(1, ServerMessage::Plans(fixture.keys.chain.clone()));
        let plans = vec![fixture.keys.plan.clone()];
        assert_eq!(fixture.take_events(), [Event::Followed { plans }], "nobody is at fault");
        assert_eq!(fixture.session.next_deadline(), None);
    }
}

#[test]
fn plans_that_do_not_follow_are_refused_and_the_session_goes_on() {
    let mut fixture = Fixture::four().open();
    fixture.keys.rekey(&[0, 1, 2, 3]);
    fixture.follow(0);
    fixture.take_events();
    asked(&mut fixture);
    let chain = fixture.keys.chain.clone();
    let mut gap = forged(&fixture, &[0, 1, 2]);
    gap.remove(1);
    let mut reversed = chain.clone();
    reversed.reverse();
    let mut other_past = forged(&fixture, &[0, 1, 2]);
    other_past[1].plan.members[0].block = other_past[2].plan.members[0].block;
    let mut by_new = forged(&fixture, &[]);
    by_new[2].signatures = chain[1].signatures.clone();
    let liar = 3;
    for (chain, suspicion) in [
        (forged(&fixture, &[3]), Suspicion::BadSignature),
        (forged(&fixture, &[0, 3, 3, 3]), Suspicion::BadSignature),
        (by_new, Suspicion::BadSignature),
        (gap, Suspicion::Malformed),
        (reversed, Suspicion::Malformed),
        (other_past, Suspicion::Foreign),
    ] {
        fixture.now = fixture.now.after(std::time::Duration::from_secs(60));
        claim(&mut fixture, liar, 77);
        assert_eq!(asked(&mut fixture), [id(liar)]);
        fixture.tell(liar, ServerMessage::Plans(chain));
        let misbehaviour = Box::new(Misbehaviour::Suspected(suspicion));
        let accused = Event::Accused { replica: id(liar), misbehaviour };
        assert_eq!(fixture.take_events(), [accused]);
        for member in 0..3 {
            assert_eq!(asked(&mut fixture), [id(member)]);
            fixture.tell(member, ServerMessage::Plans(fixture.keys.chain.clone()));
        }
        assert_eq!(fixture.take_events(), [], "the others show what is true");
        assert_eq!(fixture.session.plan(), &fixture.keys.plan);
    }
    let first = fixture.submit(1);
    let batch = fixture.batch(&[(first, 20, b"a")]);
    for member in 0..3 {
        let message = fixture.answers(member, 2, &batch);
        fixture.tell(member, message);
    }
    assert!(answered(&mut fixture).is_some());
}

#[test]
fn a_liar_that_tells_of_later_epochs_for_ever_causes_little_work() {
    let mut fixture = Fixture::four().open();
    let mut questions = 0;
    let second = std::time::Duration::from_secs(1);
    for step in 0..600 {
        claim(&mut fixture, 3, 2 + step);
        for member in asked(&mut fixture) {
            questions += 1;
            if member != id(3) {
                let chain = fixture.keys.chain.clone();
                fixture.tell(usize::from(member.0), ServerMessage::Plans(chain));
            }
        }
        // What was not asked for is not looked at, however bad it is.
        for _ in 0..9 {
            let bad = vec![forged(&fixture, &[3]).remove(1)];
            fixture.tell(0, ServerMessage::Plans(bad));
        }
        fixture.now = fixture.now.after(second / 10);
        fixture.act(|session, now, out| session.on_time(now, out));
    }
    assert_eq!(fixture.take_events(), []);
    assert!((8..=60).contains(&questions), "{questions} questions in a minute");
    assert_eq!(fixture.session.plan().plan.epoch, FIRST);
    // Nor does it keep the session from following the others, once there is something to follow.
    fixture.keys.rekey(&[0, 1, 2, 3]);
    claim(&mut fixture, 3, u64::MAX);
    asked(&mut fixture);
    claim(&mut fixture, 1, 2);
    assert_eq!(asked(&mut fixture), [id(1)], "at once");
    fixture.tell(1, ServerMessage::Plans(fixture.keys.chain.clone()));
    assert_eq!(fixture.session.plan(), &fixture.keys.plan);
}

#[test]
fn two_plans_after_one_are_told_once_and_the_first_stays() {
    let mut fixture = Fixture::four().open();
    let other = forged(&fixture, &[1, 2, 3]);
    let forgery = forged(&fixture, &[3]);
    fixture.keys.rekey(&[0, 1, 2, 3]);
    fixture.follow(0);
    fixture.take_events();
    asked(&mut fixture);
    for (chain, is_fork) in [(&forgery, false), (&other, true), (&other, false)] {
        fixture.now = fixture.now.after(std::time::Duration::from_secs(60));
        claim(&mut fixture, 2, 3);
        fixture.tell(2, ServerMessage::Plans(chain.clone()));
        let events = fixture.take_events();
        if chain == &forgery {
            let misbehaviour = Box::new(Misbehaviour::Suspected(Suspicion::Foreign));
            assert_eq!(events, [Event::Accused { replica: id(2), misbehaviour }]);
        } else if is_fork {
            let plans = Box::new([fixture.keys.plan.clone(), other[1].clone()]);
            assert_eq!(events, [Event::Forked { shown_by: id(2), plans }]);
        } else {
            assert_eq!(events, [], "told once, and nobody is accused of showing it");
        }
        assert_eq!(fixture.session.plan(), &fixture.keys.plan);
        for member in [0, 1, 3] {
            fixture.tell(member, ServerMessage::Plans(fixture.keys.chain.clone()));
        }
    }
}

/// `member` shows the state of an epoch.
fn show(fixture: &mut Fixture, ticket: crate::Ticket, member: usize, epoch: Epoch) {
    let (statement, proof) = fixture.state((b"k", b"v"), b"k");
    let statement = CommitStatement { epoch, ..statement };
    let statements = (0..3).map(|signer| fixture.sign(signer, statement)).collect();
    fixture.tell(member, ServerMessage::Proof { id: ticket.0, statements, proof: Some(proof) });
}

/// Asks for a proof; the ticket and the member that was asked.
fn prove(fixture: &mut Fixture) -> (crate::Ticket, usize) {
    let ticket =
        fixture.act(|session, now, out| session.prove(now, ServiceId::KV, b"k".to_vec(), out));
    (ticket.unwrap(), asked_to_prove(fixture).expect("a member is asked"))
}

fn asked_to_prove(fixture: &mut Fixture) -> Option<usize> {
    let sends = fixture.take_sends().into_iter();
    let mut asked = sends.filter(|(_, message)| matches!(message, ClientMessage::Prove { .. }));
    asked.next().map(|(to, _)| usize::from(to.0))
}

#[test]
fn a_state_of_an_earlier_epoch_is_refused_without_blame() {
    let mut fixture = Fixture::four();
    fixture.keys.rekey(&[0, 1, 2, 3]);
    fixture.follow(0);
    fixture.take_events();
    fixture.take_sends();
    let (ticket, mut member) = prove(&mut fixture);
    for _ in 0..3 {
        show(&mut fixture, ticket, member, FIRST);
        assert_eq!(fixture.take_events(), []);
        member = asked_to_prove(&mut fixture).expect("the next is asked");
    }
    show(&mut fixture, ticket, member, FIRST);
    let why = Unanswered::NotProven;
    assert_eq!(fixture.take_events(), [Event::Unanswered { ticket, why }]);

    let (ticket, member) = prove(&mut fixture);
    show(&mut fixture, ticket, member, Epoch(2));
    let events = fixture.take_events();
    let [Event::Proven { statement, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(statement.epoch, Epoch(2));
}

#[test]
fn a_state_of_a_later_epoch_is_asked_for_again_once_that_is_known() {
    let mut fixture = Fixture::four();
    let (ticket, member) = prove(&mut fixture);
    fixture.keys.rekey(&[0, 1, 2, 3]);
    show(&mut fixture, ticket, member, Epoch(2));
    assert_eq!(asked(&mut fixture), [id(member)]);
    fixture.tell(member, ServerMessage::Plans(fixture.keys.chain.clone()));
    assert!(matches!(fixture.take_events().as_slice(), [Event::Followed { .. }]));
    let member = asked_to_prove(&mut fixture).expect("it is asked for again");
    show(&mut fixture, ticket, member, Epoch(2));
    assert!(matches!(fixture.take_events().as_slice(), [Event::Proven { .. }]));
}

#[test]
fn replies_of_two_epochs_make_no_fast_read() {
    let mut fixture = Fixture::new(4, 1, FaultModel::Arbitrary).open();
    let get = b"get".to_vec();
    let ticket =
        fixture.act(|session, now, out| session.read(now, ServiceId::KV, get, out)).unwrap();
    let reply = ServerMessage::ReadReply {
        id: ticket.0,
        commit: CommitIndex(1),
        reply: Some(b"v".to_vec()),
    };
    fixture.tell(0, reply.clone());
    fixture.tell(1, reply.clone());
    fixture.keys.rekey(&[0, 1, 2, 3]);
    fixture.take_sends();
    fixture.follow(3);
    fixture.take_events();
    let sends = fixture.take_sends().into_iter();
    let again = sends.filter(|(_, message)| matches!(message, ClientMessage::Read { .. }));
    assert_eq!(again.count(), 4);
    fixture.tell(2, reply.clone());
    fixture.tell(3, reply.clone());
    assert_eq!(fixture.take_events(), []);
    fixture.tell(0, reply);
    let events = fixture.take_events();
    assert!(matches!(events.as_slice(), [Event::Read { path: ReadPath::Fast, .. }]), "{events:?}");
}

#[test]
fn changes_told_in_two_epochs_are_not_added_up() {
    let mut fixture = Fixture::four();
    fixture.act(|session, _, out| session.watch(ServiceId::KV, vec![], Position(1), out)).unwrap();
    let subscriptions = |fixture: &mut Fixture| {
        let mut ids = [0; 4];
        for (to, message) in fixture.take_sends() {
            if let ClientMessage::Watch { id, .. } = message {
                ids[to.index()] = id;
            }
        }
        ids
    };
    let change = Change { key: b"k".to_vec(), value: Some(b"lie".to_vec()) };
    let items = vec![ChangeItem { position: Position(5), index: 0, change }];
    let told = |id| ServerMessage::Changes { id, through: Position(5), items: items.clone() };
    let before = subscriptions(&mut fixture);
    fixture.tell(2, told(before[2]));
    fixture.keys.rekey(&[0, 1, 2, 3]);
    fixture.follow(0);
    fixture.take_events();
    let after = subscriptions(&mut fixture);
    let all: BTreeSet<_> = before.iter().chain(&after).collect();
    assert_eq!(all.len(), 8, "everybody is asked anew");
    fixture.tell(3, told(after[3]));
    fixture.tell(1, told(before[1]));
    assert_eq!(fixture.take_events(), []);
    fixture.tell(1, told(after[1]));
    assert!(matches!(fixture.take_events().as_slice(), [Event::Changed { .. }]));
}

/// Shows the plan after the newest, signed by all members, to a session with an operation in flight.
fn follow_to(fixture: &mut Fixture, change: impl FnOnce(&mut ClusterPlan)) {
    fixture.submit(1);
    let (mut next, _) = fixture.keys.successor(&[], 20);
    change(&mut next.plan);
    let members = everyone(fixture);
    fixture.keys.hand_over(&mut next, members);
    let chain = [fixture.keys.chain.clone(), vec![next.clone()]].concat();
    claim(fixture, 0, 2);
    fixture.tell(0, ServerMessage::Plans(chain));
    assert_eq!(fixture.session.plan(), &next);
    fixture.take_events();
    fixture.take_sends();
    fixture.act(|session, now, out| session.on_connected(now, id(4), out));
    for _ in 0..4 {
        fixture.wait();
    }
}

#[test]
fn members_that_leave_are_no_longer_spoken_to() {
    let mut fixture = Fixture::new(5, 1, FaultModel::Arbitrary).open();
    follow_to(&mut fixture, |plan| plan.members.truncate(4));
    let reached: BTreeSet<_> = fixture.take_sends().into_iter().map(|(to, _)| to).collect();
    assert_eq!(reached, (0..4).map(id).collect());
    fixture.take_events();
    claim(&mut fixture, 4, 3);
    assert_eq!((fixture.take_events(), asked(&mut fixture)), (vec![], vec![]));
}

#[test]
fn members_that_join_are_spoken_to_once_connected() {
    let mut fixture = Fixture::four().open();
    let key = |kind| SigningKey::simulated(&seed(kind, 4), &fixture.keys.registry).public();
    let (identity, block, transport) = (key(1), key(2), key(3));
    follow_to(&mut fixture, |plan| {
        let (peer_address, client_address) = ("new:1".into(), "new:2".into());
        let (name, labels) = ("new".into(), Labels::default());
        plan.members.push(Member {
            name,
            identity,
            block,
            transport,
            wormhole: None,
            peer_address,
            client_address,
            labels,
        });
    });
    let reached: BTreeSet<_> = fixture.take_envelopes().into_iter().map(|(to, _)| to).collect();
    assert_eq!(reached, (0..5).map(id).collect());
}
