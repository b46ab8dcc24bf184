//! Wrong statements are proven, by bytes that convince others, and only wrong ones.

use ravelin_model::wire::ServerMessage;
use ravelin_model::{Evidence, Misbehaviour, ReplicaId};

use super::fixture::{Fixture, id};
use crate::event::Event;

/// The proofs among what happened since the last look, each checked as anyone would.
fn proofs(fixture: &mut Fixture) -> Vec<Evidence> {
    let mut found = Vec::new();
    for event in fixture.take_events() {
        if let Event::Accused { replica, misbehaviour } = event
            && let Misbehaviour::Proven(evidence) = *misbehaviour
        {
            assert_eq!(evidence.accused(), replica);
            assert!(fixture.keys.prove(&evidence), "{evidence:?}");
            found.push(evidence);
        }
    }
    found
}

fn tell(fixture: &mut Fixture, member: usize, reply: &[u8]) -> Vec<Evidence> {
    let batch = fixture.batch(&[(1, 20, reply)]);
    let message = fixture.answers(member, 2, &batch);
    fixture.tell(member, message);
    proofs(fixture)
}

#[test]
fn two_statements_about_one_commit_are_proof() {
    let mut fixture = Fixture::four().open();
    fixture.submit(1);
    assert_eq!(tell(&mut fixture, 2, b"one"), []);
    assert_eq!(tell(&mut fixture, 2, b"one"), [], "saying it again is no offence");
    let found = tell(&mut fixture, 2, b"two");
    assert!(matches!(found.as_slice(), [Evidence::TwoStatements { .. }]), "{found:?}");
    assert_eq!(tell(&mut fixture, 2, b"three"), [], "one proof of a kind is enough");
}

#[test]
fn a_statement_against_one_correct_member_is_proof_in_any_order() {
    for liar in 0..4 {
        let mut fixture = Fixture::four().open();
        fixture.submit(1);
        let mut found = Vec::new();
        for member in 0..4 {
            let reply: &[u8] = if member == liar { b"lie" } else { b"truth" };
            found.extend(tell(&mut fixture, member, reply));
        }
        let [Evidence::WrongStatement { accused, correct }] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!((accused.replica, correct.len()), (id(liar), 2));
    }
}

#[test]
fn one_word_against_another_proves_nothing() {
    let mut fixture = Fixture::four().open();
    fixture.submit(1);
    assert_eq!(tell(&mut fixture, 0, b"one"), []);
    assert_eq!(tell(&mut fixture, 1, b"two"), []);
}

#[test]
fn unsigned_repetitions_are_never_proof() {
    let mut fixture = Fixture::four().open();
    fixture.submit(1);
    for member in 0..4 {
        let batch = fixture.batch(&[(1, 20, &[u8::from(member == 3)])]);
        fixture.tell(member, ServerMessage::Repeated(batch));
    }
    let mut contradicted = Vec::<ReplicaId>::new();
    for event in fixture.take_events() {
        match event {
            Event::Contradicted { replica, .. } => contradicted.push(replica),
            Event::Accused { .. } => panic!("nothing was signed"),
            _ => {}
        }
    }
    assert_eq!(contradicted, [id(3)]);
}
