//! Reads without ordering, with proof, and status.

use ravelin_crypto::state_tree::value_digest;
use ravelin_model::wire::{ClientMessage, MemberReport, ServerMessage, StateProof, StatusReport};
use ravelin_model::{
    CommitIndex, Digest, FaultModel, OperationResult, Position, Refusal, ReplicaId, Round,
    Sequence, ServiceId, SessionId, SignedStatement, Time,
};

use super::fixture::{Fixture, PATIENCE, groups, id};
use crate::event::{Event, ReadPath, Ticket, Unanswered};

fn read(fixture: &mut Fixture) -> Ticket {
    fixture.act(|session, now, out| session.read(now, ServiceId::KV, b"get".to_vec(), out)).unwrap()
}

fn reply(ticket: Ticket, commit: u64, reply: Option<&[u8]>) -> ServerMessage {
    let (commit, reply) = (CommitIndex(commit), reply.map(<[u8]>::to_vec));
    ServerMessage::ReadReply { id: ticket.0, commit, reply }
}

/// The read is ordered now, and gets its result so.
fn is_ordered(fixture: &mut Fixture, ticket: Ticket) {
    let (_, envelope) = fixture.take_envelopes().remove(0);
    assert_eq!(envelope.operations[0].request, b"get");
    let batch = fixture.batch(&[(envelope.first.0, 20, b"ordered")]);
    for member in 0..fixture.group.quorum() {
        assert_eq!(fixture.take_events(), []);
        fixture.tell(member, ServerMessage::Repeated(batch.clone()));
    }
    let events = fixture.take_events();
    let [Event::Read { ticket: told, outcome, path, .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((*told, *path), (ticket, ReadPath::Ordered));
    assert_eq!(*outcome, OperationResult::Done(b"ordered".to_vec()));
}

#[test]
fn a_fast_read_takes_exactly_as_many_equal_replies_as_the_fault_model_asks() {
    for (n, f, model) in groups() {
        let mut fixture = Fixture::new(n, f, model).open();
        let ticket = read(&mut fixture);
        assert_eq!(fixture.take_sends().len(), fixture.group.size(), "all are asked");
        let needed = fixture.group.fast_read();
        assert_eq!(needed == fixture.group.size(), model == FaultModel::Hybrid);
        for member in 0..needed {
            assert_eq!(fixture.take_events(), []);
            for commit in 0..3 {
                fixture.tell(member, reply(ticket, commit, Some(b"v@7")));
                if member + 1 == needed {
                    break;
                }
            }
        }
        let (outcome, path) = (OperationResult::Done(b"v@7".to_vec()), ReadPath::Fast);
        let by = (0..needed).map(id).collect();
        assert_eq!(fixture.take_events(), [Event::Read { ticket, outcome, path, by }]);
        assert_eq!(fixture.take_envelopes(), []);
    }
}

#[test]
fn replies_that_differ_make_the_read_ordered() {
    let mut fixture = Fixture::four().open();
    let ticket = read(&mut fixture);
    fixture.take_sends();
    for (member, value) in [b"a", b"b", b"a", b"b"].into_iter().enumerate() {
        assert_eq!((fixture.take_events(), fixture.take_envelopes()), (vec![], vec![]));
        fixture.tell(member, reply(ticket, 1, Some(value)));
    }
    is_ordered(&mut fixture, ticket);
}

/// The ways in which a member does not answer a question without ordering.
fn refusals() -> [impl Fn(u64) -> ServerMessage; 3] {
    let session = SessionId(0);
    [0, 1, 2].map(|way| {
        move |first| match way {
            0 => ServerMessage::ReadReply { id: first, commit: CommitIndex(1), reply: None },
            1 => ServerMessage::Denied { session, first, refusal: Refusal::Malformed },
            _ => ServerMessage::Busy { session, first: Sequence(first), retry_after_ms: 1_000 },
        }
    })
}

#[test]
fn a_read_that_members_will_not_do_without_ordering_is_ordered_at_once() {
    for refused in refusals() {
        let mut fixture = Fixture::four().open();
        let ticket = read(&mut fixture);
        fixture.take_sends();
        for member in 0..2 {
            assert_eq!(fixture.take_envelopes(), []);
            fixture.tell(member, refused(ticket.0));
        }
        is_ordered(&mut fixture, ticket);
    }
}

#[test]
fn mute_and_broken_members_do_not_hold_a_read_up() {
    let mut fixture = Fixture::four().open();
    let ticket = read(&mut fixture);
    fixture.take_sends();
    let begin = fixture.now;
    for member in 0..2 {
        fixture.tell(member, reply(ticket, 1, Some(b"a")));
    }
    fixture.wait();
    assert!(fixture.now.since(begin) <= PATIENCE / 2);
    is_ordered(&mut fixture, ticket);

    let ticket = read(&mut fixture);
    fixture.take_sends();
    for member in 0..2 {
        assert_eq!(fixture.take_envelopes(), []);
        fixture.act(|session, now, out| session.on_disconnected(now, id(member), out));
    }
    is_ordered(&mut fixture, ticket);
}

/// The case that makes `f+1` unsafe: a write was answered by all but one laggard; the liar and the
/// laggard tell the state before it alike, and come first.
#[test]
fn scenario_41_one_liar_and_f_laggards_cannot_make_a_read_stale() {
    for (n, f, model) in groups() {
        let mut fixture = Fixture::new(n, f, model).open();
        let (quorum, size) = (fixture.group.quorum(), fixture.group.size());
        let first = fixture.submit(1);
        let batch = fixture.batch(&[(first, 20, b"written@20")]);
        for member in 0..quorum {
            fixture.tell(member, ServerMessage::Repeated(batch.clone()));
        }
        fixture.take_events();
        fixture.take_sends();
        let ticket = read(&mut fixture);
        fixture.take_sends();
        // Those who did not execute the write yet, and `f` liars who did.
        let stale: Vec<_> = (quorum..size).chain(0..usize::from(f)).collect();
        assert!(stale.len() > usize::from(f), "f + 1 equal replies would be stale");
        for member in stale {
            fixture.tell(member, reply(ticket, 1, Some(b"old@3")));
        }
        assert_eq!(fixture.take_events(), [], "a stale read was accepted in {n}, {f}");
        for member in usize::from(f)..quorum {
            fixture.tell(member, reply(ticket, 2, Some(b"written@20")));
        }
        is_ordered(&mut fixture, ticket);
    }
}

#[test]
fn a_read_that_must_be_ordered_waits_for_room_and_for_the_session() {
    let mut fixture = Fixture::four();
    fixture.act(|session, now, out| session.open(now, out).unwrap());
    let early = read(&mut fixture);
    for member in 0..2 {
        fixture.tell(member, reply(early, 1, None));
    }
    let reply_to_opening =
        ravelin_model::requests::session::SessionReply::Opened(super::fixture::SESSION);
    let bytes = ravelin_model::Encode::encode(&reply_to_opening);
    let mut batch = fixture.batch(&[(super::fixture::START.0, 5, &bytes)]);
    batch.session = SessionId(0);
    fixture.take_sends();
    for member in 0..3 {
        fixture.tell(member, ServerMessage::Repeated(batch.clone()));
    }
    fixture.take_events();
    is_ordered(&mut fixture, early);

    let first = fixture.submit(1024);
    let late = read(&mut fixture);
    fixture.take_sends();
    for member in 0..2 {
        fixture.tell(member, reply(late, 1, None));
    }
    assert_eq!(fixture.take_envelopes(), []);
    let answers: Vec<(u64, u64, &[u8])> =
        (first..first + 1024).map(|sequence| (sequence, 20, b"ok".as_slice())).collect();
    let batch = fixture.batch(&answers);
    for member in 0..3 {
        fixture.tell(member, ServerMessage::Repeated(batch.clone()));
    }
    assert!(matches!(fixture.take_events().as_slice(), [Event::Answered { .. }]));
    is_ordered(&mut fixture, late);
}

#[test]
fn without_a_session_a_read_that_must_be_ordered_ends() {
    let mut fixture = Fixture::four();
    let ticket = read(&mut fixture);
    for member in 0..2 {
        fixture.tell(member, reply(ticket, 1, None));
    }
    let why = Unanswered::NoSession;
    assert_eq!(fixture.take_events(), [Event::Unanswered { ticket, why }]);
}

/// Asks for a proof; the ticket and the member that was asked.
fn prove(fixture: &mut Fixture, key: &[u8]) -> (Ticket, ReplicaId) {
    let key = key.to_vec();
    let ticket = fixture.act(|session, now, out| session.prove(now, ServiceId::KV, key, out));
    (ticket.unwrap(), asked(fixture).expect("someone is asked"))
}

fn asked(fixture: &mut Fixture) -> Option<ReplicaId> {
    let sends = fixture.take_sends();
    assert!(sends.len() <= 1, "one member at a time");
    sends.first().map(|(to, message)| {
        assert!(matches!(message, ClientMessage::Prove { .. }));
        *to
    })
}

fn proof(ticket: Ticket, statements: Vec<SignedStatement>, proof: &StateProof) -> ServerMessage {
    ServerMessage::Proof { id: ticket.0, statements, proof: Some(proof.clone()) }
}

#[test]
fn a_proof_signed_by_a_quorum_is_believed_whoever_shows_it() {
    for (n, f, model) in groups() {
        let mut fixture = Fixture::new(n, f, model);
        let (statement, shown) = fixture.state((b"key", b"value"), b"key");
        let (ticket, member) = prove(&mut fixture, b"key");
        let signed =
            (0..fixture.group.quorum()).map(|member| fixture.sign(member, statement)).collect();
        let signed: Vec<_> = signed;
        fixture.tell(member.index(), proof(ticket, signed.clone(), &shown));
        let (value, proof) = (Some(b"value".to_vec()), Box::new((signed, shown)));
        let event = Event::Proven { ticket, value, statement, proof, shown_by: member };
        assert_eq!(fixture.take_events(), [event]);
    }
}

#[test]
fn scenario_15_fewer_distinct_signers_than_a_quorum_prove_nothing() {
    for (n, f, model) in groups() {
        let mut fixture = Fixture::new(n, f, model);
        let (statement, shown) = fixture.state((b"key", b"value"), b"key");
        let few: Vec<_> =
            (0..fixture.group.quorum() - 1).map(|member| fixture.sign(member, statement)).collect();
        let mut twice = few.clone();
        twice.push(few[0]);
        // One of the signers, under the name of another.
        let mut borrowed = twice.clone();
        borrowed.last_mut().unwrap().replica = id(fixture.group.size() - 1);
        let mut outsider = twice.clone();
        outsider.last_mut().unwrap().replica = ReplicaId(n);
        let (ticket, mut member) = prove(&mut fixture, b"key");
        let bad = [few, twice, borrowed, outsider];
        for statements in bad.into_iter().take(fixture.group.size() - 1) {
            fixture.tell(member.index(), proof(ticket, statements, &shown));
            assert_eq!(fixture.take_accusations(), [(member, false)]);
            member = asked(&mut fixture).expect("the next one is asked");
        }
    }
}

#[test]
fn a_proof_of_something_else_is_refused() {
    let cases: [fn(&Fixture, &mut Vec<SignedStatement>, &mut StateProof); 4] = [
        |_, _, shown| shown.value = Some(b"another".to_vec()),
        |_, _, shown| shown.value = None,
        |_, _, shown| {
            shown.path.last_mut().unwrap().value = value_digest(b"lie");
            shown.value = Some(b"lie".to_vec());
        },
        // One of the statements is about another state.
        |fixture, statements, _| {
            let mut other = statements[0].statement;
            other.state = Digest([9; 32]);
            statements[2] = fixture.sign(2, other);
        },
    ];
    for spoil in cases {
        let mut fixture = Fixture::four();
        let (statement, mut shown) = fixture.state((b"key", b"value"), b"key");
        let mut signed: Vec<_> = (0..3).map(|member| fixture.sign(member, statement)).collect();
        spoil(&fixture, &mut signed, &mut shown);
        let (ticket, member) = prove(&mut fixture, b"key");
        fixture.tell(member.index(), proof(ticket, signed, &shown));
        assert_eq!(fixture.take_accusations(), [(member, false)]);
    }
    // A proof about another key.
    let mut fixture = Fixture::four();
    let (statement, shown) = fixture.state((b"key", b"value"), b"key");
    let signed: Vec<_> = (0..3).map(|member| fixture.sign(member, statement)).collect();
    let (ticket, member) = prove(&mut fixture, b"elsewhere");
    fixture.tell(member.index(), proof(ticket, signed, &shown));
    assert_eq!(fixture.take_accusations(), [(member, false)]);
}

#[test]
fn absence_is_proven_too() {
    let mut fixture = Fixture::four();
    let (statement, shown) = fixture.state((b"other", b"x"), b"key");
    let signed: Vec<_> = (1..4).map(|member| fixture.sign(member, statement)).collect();
    let (ticket, member) = prove(&mut fixture, b"key");
    fixture.tell(member.index(), proof(ticket, signed.clone(), &shown));
    let proof = Box::new((signed, shown));
    let event = Event::Proven { ticket, value: None, statement, proof, shown_by: member };
    assert_eq!(fixture.take_events(), [event]);
}

#[test]
fn members_are_asked_for_a_proof_in_turn_until_all_were() {
    let mut fixture = Fixture::four();
    let (ticket, first) = prove(&mut fixture, b"key");
    let mut told = vec![first];
    // One has nothing to show, one breaks, two are mute.
    let none = ServerMessage::Proof { id: ticket.0, statements: vec![], proof: None };
    fixture.tell(first.index(), none);
    told.extend(asked(&mut fixture));
    let second = told[1];
    fixture.act(|session, now, out| session.on_disconnected(now, second, out));
    told.extend(asked(&mut fixture));
    fixture.wait();
    told.extend(asked(&mut fixture));
    fixture.wait();
    told.sort_unstable();
    assert_eq!(told, (0..4).map(id).collect::<Vec<_>>());
    let why = Unanswered::NotProven;
    assert_eq!(fixture.take_events(), [Event::Unanswered { ticket, why }], "nobody is blamed");
}

#[test]
fn another_member_is_asked_for_a_proof_when_one_will_not_show_it_now() {
    for refused in refusals().into_iter().skip(1) {
        let mut fixture = Fixture::four();
        let (ticket, first) = prove(&mut fixture, b"key");
        let begin = fixture.now;
        fixture.tell(first.index(), refused(ticket.0));
        let second = asked(&mut fixture).expect("another one is asked");
        assert_ne!(second, first);
        assert_eq!(fixture.now, begin);
        fixture.tell(first.index(), refused(ticket.0));
        assert_eq!(asked(&mut fixture), None, "who was asked before has no say");
    }
}

fn report(members: usize) -> Box<StatusReport> {
    let member = MemberReport {
        state: "correct".into(),
        round: Round(3),
        evidence: vec![],
        suspicions: vec![("late".into(), 1)],
        shared_key_at: vec![],
    };
    Box::new(StatusReport {
        state: "correct".into(),
        round: Round(3),
        commit: CommitIndex(1),
        position: Position(1),
        time: Time(1),
        state_root: Digest::default(),
        members: vec![member; members],
    })
}

#[test]
fn status_reports_are_collected_and_giants_dropped() {
    let mut fixture = Fixture::four();
    let ticket = fixture.act(|session, now, out| session.status(now, out)).unwrap();
    let status = |report| ServerMessage::Status { id: ticket.0, report };
    fixture.tell(0, status(report(4)));
    fixture.tell(0, status(report(3)));
    assert_eq!(fixture.take_events(), []);
    fixture.tell(1, status(report(5)));
    assert_eq!(fixture.take_accusations(), [(id(1), false)]);
    fixture.tell(2, status(report(4)));
    fixture.wait();
    let events = fixture.take_events();
    let [Event::Status { reports, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(reports.keys().copied().collect::<Vec<_>>(), [id(0), id(2)]);
    assert_eq!(reports[&id(0)], *report(4), "the first word of each");
}
