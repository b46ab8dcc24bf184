//! What it takes for an answer to be believed.

use ravelin_crypto::answers::answer_leaf;
use ravelin_crypto::merkle::MerkleTree;
use ravelin_model::wire::ServerMessage;
use ravelin_model::{
    ClusterId, CommitStatement, Digest, Epoch, FaultModel, Incarnation, MerklePath, Misbehaviour,
    OperationResult, Position, PublicKey, SessionId, Suspicion,
};

use super::fixture::{Fixture, SESSION, groups, id};
use crate::event::{Event, Voted};

/// The results of the one submission answered since the last look.
fn answered(fixture: &mut Fixture) -> Option<Vec<Voted>> {
    let mut found = None;
    for event in fixture.take_events() {
        if let Event::Answered { results, .. } = event {
            assert!(found.replace(results).is_none(), "answered twice");
        }
    }
    found
}

#[test]
fn a_quorum_of_equal_answers_is_needed_and_enough() {
    for (n, f, model) in groups() {
        let mut fixture = Fixture::new(n, f, model).open();
        let first = fixture.submit(2);
        let batch = fixture.batch(&[(first, 20, b"a"), (first + 1, 20, b"b")]);
        let quorum = fixture.group.quorum();
        for member in 0..quorum {
            assert_eq!(answered(&mut fixture), None, "{member} members are enough in {n}, {f}");
            let message = fixture.answers(member, 2, &batch);
            fixture.tell(member, message);
        }
        let results = answered(&mut fixture).expect("a quorum is enough");
        let replies: Vec<_> = results.iter().map(|voted| voted.outcome.clone()).collect();
        let done = |reply: &[u8]| OperationResult::Done(reply.to_vec());
        assert_eq!(replies, [done(b"a"), done(b"b")]);
        for voted in &results {
            assert_eq!(voted.by, (0..quorum).map(id).collect::<Vec<_>>());
            assert_eq!(voted.place, Some((Position(20), 0)));
        }
    }
}

#[test]
fn scenario_32_one_member_counts_once_however_it_answers() {
    for (n, f, model) in groups() {
        let mut fixture = Fixture::new(n, f, model).open();
        let first = fixture.submit(1);
        let batch = fixture.batch(&[(first, 20, b"a")]);
        for member in 0..fixture.group.quorum() - 1 {
            for commit in 2..8 {
                let message = fixture.answers(member, commit, &batch);
                fixture.tell(member, message);
                fixture.tell(member, ServerMessage::Repeated(batch.clone()));
            }
        }
        assert_eq!(answered(&mut fixture), None, "q - 1 members of {n}, {f} made a quorum");
        let last = fixture.group.quorum() - 1;
        fixture.tell(last, ServerMessage::Repeated(batch));
        assert!(answered(&mut fixture).is_some(), "an unsigned repetition is a vote");
    }
}

#[test]
fn scenario_32_answers_to_something_else_do_not_count() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    let good = fixture.batch(&[(first, 20, b"a")]);
    let mut others = [good.clone(), good.clone(), good.clone()];
    others[0].session = SessionId(SESSION.0 + 1);
    others[1].session = SessionId(0);
    others[2].answers[0].sequence.0 += 1;
    for member in 0..4 {
        for (other, commit) in others.iter().zip(2..) {
            let message = fixture.answers(member, commit, other);
            fixture.tell(member, message);
        }
    }
    assert_eq!(fixture.take_events(), [], "nobody is to blame, and nothing is answered");
    for member in 0..3 {
        let mut foreign = good.clone();
        foreign.client = PublicKey([9; 32]);
        let message = fixture.answers(member, 20, &foreign);
        fixture.tell(member, message);
        assert_eq!(fixture.take_accusations(), [(id(member), false)]);
    }
}

#[test]
fn an_answer_under_a_forged_signature_does_not_count() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    let batch = fixture.batch(&[(first, 20, b"forged")]);
    for victim in 0..3 {
        // Member 3 signs for others, over its own connection and (as an outsider) over theirs.
        let ServerMessage::Answers { mut statement, path, .. } = fixture.answers(3, 2, &batch)
        else {
            panic!()
        };
        statement.replica = id(victim);
        for teller in [3, victim] {
            let batch = batch.clone();
            let path = path.clone();
            fixture.tell(teller, ServerMessage::Answers { statement, batch, path });
            assert_eq!(fixture.take_accusations(), [(id(teller), false)]);
        }
    }
    // What others signed counts for nobody when someone else tells it.
    for victim in 0..3 {
        let message = fixture.answers(victim, 2, &batch);
        fixture.tell(3, message);
        assert_eq!(fixture.take_accusations(), [(id(3), false)]);
    }
}

#[test]
fn scenario_40_statements_of_another_cluster_incarnation_or_epoch_do_not_count() {
    type Change = fn(&mut CommitStatement);
    let changes: [(Change, bool); 4] = [
        (|statement| statement.cluster = ClusterId(Digest([9; 32])), true),
        (|statement| statement.incarnation = Incarnation(2), true),
        // Members that moved on before us are not at fault.
        (|statement| statement.epoch = Epoch(2), false),
        (|statement| statement.epoch = Epoch(0), false),
    ];
    for (change, is_blamed) in changes {
        let mut fixture = Fixture::four().open();
        let first = fixture.submit(1);
        let batch = fixture.batch(&[(first, 20, b"a")]);
        for member in 0..4 {
            let ServerMessage::Answers { statement, batch, path } =
                fixture.answers(member, 2, &batch)
            else {
                panic!()
            };
            let mut foreign = statement.statement;
            change(&mut foreign);
            let statement = fixture.sign(member, foreign);
            fixture.tell(member, ServerMessage::Answers { statement, batch, path });
            let misbehaviour = Box::new(Misbehaviour::Suspected(Suspicion::Foreign));
            let blame = Event::Accused { replica: id(member), misbehaviour };
            assert_eq!(fixture.take_events(), vec![blame; usize::from(is_blamed)]);
        }
    }
}

#[test]
fn answers_that_are_not_in_the_signed_tree_where_they_claim_do_not_count() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    let batch = fixture.batch(&[(first, 20, b"a")]);
    let tree = MerkleTree::new(vec![Digest([1; 32]), answer_leaf(&batch), Digest([2; 32])]);
    let good = tree.path(1).unwrap();
    let paths = [
        tree.path(0).unwrap(),
        tree.path(2).unwrap(),
        MerklePath { index: 0, ..good.clone() },
        MerklePath { leaves: 2, ..good.clone() },
        MerklePath { siblings: Vec::new(), ..good.clone() },
    ];
    for member in 0..4 {
        for path in &paths {
            let statement = fixture.sign(member, fixture.statement(2, tree.root()));
            let (batch, path) = (batch.clone(), path.clone());
            fixture.tell(member, ServerMessage::Answers { statement, batch, path });
            assert_eq!(fixture.take_accusations(), [(id(member), false)]);
        }
    }
    for member in 0..3 {
        let statement = fixture.sign(member, fixture.statement(2, tree.root()));
        let (batch, path) = (batch.clone(), good.clone());
        fixture.tell(member, ServerMessage::Answers { statement, batch, path });
    }
    assert!(answered(&mut fixture).is_some(), "the good path counts");
}

#[test]
fn a_liar_is_outvoted_and_named_whether_it_comes_first_or_last() {
    for liar in [0, 3] {
        let mut fixture = Fixture::four().open();
        let first = fixture.submit(1);
        let lie = fixture.batch(&[(first, 20, b"lie")]);
        let truth = fixture.batch(&[(first, 20, b"truth")]);
        let mut named = Vec::new();
        let mut results = None;
        for member in 0..4 {
            let batch = if member == liar { &lie } else { &truth };
            fixture.tell(member, ServerMessage::Repeated(batch.clone()));
            for event in fixture.take_events() {
                match event {
                    Event::Contradicted { replica, .. } => named.push(replica),
                    Event::Answered { results: told, .. } => results = Some(told),
                    other => panic!("{other:?}"),
                }
            }
        }
        let outcome = results.expect("three told the truth").remove(0).outcome;
        assert_eq!(outcome, OperationResult::Done(b"truth".to_vec()));
        assert_eq!(named, [id(liar)]);
    }
}

#[test]
fn a_read_answered_at_two_places_is_believed_and_nobody_is_blamed() {
    let mut fixture = Fixture::new(7, 2, FaultModel::Arbitrary).open();
    let first = fixture.submit(1);
    for (member, position) in [(0, 20), (1, 20), (2, 30), (3, 30), (4, 30)] {
        let batch = fixture.batch(&[(first, position, b"same")]);
        fixture.tell(member, ServerMessage::Repeated(batch));
    }
    let other = fixture.batch(&[(first, 40, b"changed since")]);
    fixture.tell(5, ServerMessage::Repeated(other));
    let events = fixture.take_events();
    let [Event::Answered { results, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(results[0].place, Some((Position(30), 0)), "three name it, one of them correct");
}

#[test]
fn a_member_that_changes_its_word_counts_for_the_last_one_only() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    let (one, other) = (fixture.batch(&[(first, 20, b"1")]), fixture.batch(&[(first, 20, b"2")]));
    for (member, batch) in [(0, &one), (1, &one), (0, &other), (2, &one)] {
        fixture.tell(member, ServerMessage::Repeated(batch.clone()));
    }
    assert_eq!(answered(&mut fixture), None);
    fixture.tell(3, ServerMessage::Repeated(one));
    assert!(answered(&mut fixture).is_some());
}
