//! Lists of the audit log: what leads to the head is believed, whoever shows it.

use ravelin_crypto::audit::{audited_digest, chained};
use ravelin_model::{
    AuditHead, AuditList, AuditOutcome, AuditRecord, AuditedEnvelope, AuditedOperation,
};

use super::fixture::*;
use crate::event::{Event, Ticket, Unanswered};
use ravelin_model::wire::{ClientMessage, ServerMessage};
use ravelin_model::{
    CommitIndex, Position, PublicKey, ReplicaId, Sequence, ServiceId, SessionId, Time,
};

/// Two lists of one operation each, and the head after them.
fn log() -> (Vec<AuditRecord>, AuditHead) {
    let mut head = AuditHead::default();
    let records = (1..3).map(|number| {
        let request = vec![number, 7];
        let operation = AuditedOperation {
            index: 0,
            service: ServiceId::KV,
            verb: number,
            request: audited_digest(&request),
            outcome: AuditOutcome::Done { kind: 3, reply: audited_digest(b"done") },
        };
        let envelope = AuditedEnvelope {
            position: Position(number.into()),
            client: PublicKey([7; 32]),
            session: SessionId(1),
            first: Sequence(number.into()),
            operations: vec![operation],
        };
        let (commit, time) = (CommitIndex(number.into()), Time(number.into()));
        let list = AuditList { commit, time, envelopes: vec![envelope] };
        let before = head.digest;
        head.digest = chained(&before, &list);
        head.lists += 1;
        head.operations += 1;
        AuditRecord { before, list, requests: vec![request] }
    });
    (records.collect(), head)
}

/// Asks for the lists before a head; the ticket and the member that was asked.
fn ask(fixture: &mut Fixture, head: AuditHead) -> (Ticket, ReplicaId) {
    let ticket = fixture.act(|session, now, out| session.audit(now, head, out)).unwrap();
    (ticket, asked(fixture).expect("someone is asked").0)
}

fn asked(fixture: &mut Fixture) -> Option<(ReplicaId, u64)> {
    let sends = fixture.take_sends();
    assert!(sends.len() <= 1, "one member at a time");
    sends.first().map(|(to, message)| match message {
        ClientMessage::Audit { last, .. } => (*to, *last),
        other => panic!("{other:?}"),
    })
}

fn shown(ticket: Ticket, records: &[AuditRecord]) -> ServerMessage {
    ServerMessage::Audit { id: ticket.0, records: records.to_vec() }
}

#[test]
fn lists_that_lead_to_the_head_are_believed_whoever_shows_them() {
    let mut fixture = Fixture::four();
    let (records, head) = log();
    let (ticket, member) = ask(&mut fixture, head);
    fixture.tell(member.index(), shown(ticket, &records[1..]));
    let events = fixture.take_events();
    let [Event::Audited { before, records: last, shown_by, .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((last.as_slice(), *shown_by), (&records[1..], member));
    let (ticket, member) = ask(&mut fixture, *before);
    fixture.tell(member.index(), shown(ticket, &records[..1]));
    let events = fixture.take_events();
    assert!(
        matches!(events.as_slice(), [Event::Audited { before, .. }] if *before == AuditHead::default()),
        "{events:?}"
    );
}

#[test]
fn who_shows_lists_that_lead_elsewhere_is_passed_over_and_named() {
    let spoil: [fn(&mut Vec<AuditRecord>); 4] = [
        |records| records[1].list.envelopes[0].client = PublicKey([8; 32]),
        |records| records[0].requests[0] = vec![1, 8],
        |records| drop(records.pop()),
        |records| drop(records.remove(1)),
    ];
    for spoil in spoil {
        let mut fixture = Fixture::four();
        let (mut records, head) = log();
        let sound = records.clone();
        spoil(&mut records);
        let (ticket, member) = ask(&mut fixture, head);
        fixture.tell(member.index(), shown(ticket, &records));
        assert_eq!(fixture.take_accusations(), [(member, false)]);
        let (next, last) = asked(&mut fixture).expect("another one is asked");
        assert!(next != member && last == 2);
        fixture.tell(next.index(), shown(ticket, &sound));
        let events = fixture.take_events();
        assert!(matches!(events.as_slice(), [Event::Audited { .. }]), "{events:?}");
    }
}

#[test]
fn the_log_ends_where_no_member_shows_more() {
    let mut fixture = Fixture::four();
    let (_, head) = log();
    let (ticket, first) = ask(&mut fixture, head);
    // One has nothing, one is busy, one breaks, one is mute.
    fixture.tell(first.index(), shown(ticket, &[]));
    let second = asked(&mut fixture).expect("the next one").0;
    let (session, busy) = (SessionId(0), Sequence(ticket.0));
    let busy = ServerMessage::Busy { session, first: busy, retry_after_ms: 5 };
    fixture.tell(second.index(), busy);
    let third = asked(&mut fixture).expect("the next one").0;
    fixture.act(|session, now, out| session.on_disconnected(now, third, out));
    let fourth = asked(&mut fixture).expect("the last one").0;
    assert_eq!(fixture.take_events(), []);
    fixture.wait();
    let why = Unanswered::NotProven;
    assert_eq!(fixture.take_events(), [Event::Unanswered { ticket, why }], "nobody is blamed");
    fixture.tell(fourth.index(), shown(ticket, &log().0));
    assert_eq!(fixture.take_events(), [], "it is over");
}
