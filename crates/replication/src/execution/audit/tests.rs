use ravelin_crypto::audit::head_before;
use ravelin_model::View as _;
use ravelin_model::requests::kv::{Condition, KvRequest, Write};
use ravelin_model::requests::session::SessionRequest;
use ravelin_services::Services;

use super::*;
use crate::testing::{Machine, Toy, Toys, World, session_operation};

/// Everything that is kept of the log, as an administrator sees it, with the head.
fn log(machine: &Machine) -> (Vec<AuditRecord>, AuditHead) {
    let head = machine.execution.state().view(ServiceId::AUDIT).get(AUDIT_HEAD_KEY);
    let head = head.map_or_else(AuditHead::default, |it| AuditHead::decode("head", &it).unwrap());
    let administrator = machine.world.administrator().public();
    let (mut all, mut left) = (Vec::new(), head);
    loop {
        let (records, work) = machine.execution.audit_records(&administrator, left.lists);
        assert!(work > records.encode().len());
        if records.is_empty() {
            return (all, head);
        }
        left = head_before(&left, &records).expect("the lists lead to the head");
        all.splice(..0, records);
    }
}

/// Each operation recorded: where, of whom, and what came of it.
fn operations(records: &[AuditRecord]) -> Vec<(u64, u16, PublicKey, u8, bool)> {
    let envelopes = records.iter().flat_map(|record| &record.list.envelopes);
    let operations = envelopes.flat_map(|envelope| {
        envelope.operations.iter().map(|operation| {
            let is_done = matches!(operation.outcome, AuditOutcome::Done { .. });
            (envelope.position.0, operation.index, envelope.client, operation.verb, is_done)
        })
    });
    operations.collect()
}

#[test]
fn every_operation_executed_stands_in_the_log_once() {
    let mut machine = Machine::new();
    assert_eq!(log(&machine), (vec![], AuditHead::default()));
    let session = machine.open(0, 1).unwrap();
    let toys = [Toy::Count, Toy::Refuse, Toy::ReadCount, Toy::Write(70_000), Toy::Leave];
    let envelope = machine.world.toys(0, session, 1, &toys);
    machine.submit(&envelope);
    let client = machine.world.client(0);
    let expected = [
        (1, 0, client, 0, true), // the opening
        (2, 0, client, 0, true),
        (2, 1, client, 4, false),
        (2, 3, client, 1, false),
        (2, 4, client, 5, true),
    ];
    let (records, head) = log(&machine);
    assert_eq!(operations(&records), expected);
    assert_eq!((head.lists, head.operations), (2, 5));
    // Repetitions, and envelopes that are refused as a whole, leave no trace.
    machine.submit(&envelope);
    let opening = machine.world.opening(0, 1);
    machine.submit(&opening);
    let stranger = machine.world.toys(9, session, 1, &[Toy::Count]);
    let nowhere = machine.world.toys(1, session, 1, &[Toy::Count]);
    machine.commit(vec![stranger, nowhere]);
    assert_eq!(log(&machine), (records, head));
    // New operations beside old ones do, and the end of the session.
    let close = session_operation(SessionRequest::Close);
    let count = Operation { service: ServiceId::KV, request: Toy::Count.request() };
    let operations_of = vec![count.clone(), count.clone(), close, count];
    let envelope = machine.world.envelope(0, session, 5, operations_of);
    machine.submit(&envelope);
    let (records, head) = log(&machine);
    let position = machine.execution.position().0;
    let new = [(position, 1, client, 0, true), (position, 2, client, 1, true)];
    assert_eq!(operations(&records)[5..], new);
    assert_eq!((head.lists, head.operations), (3, 7));
}

#[test]
fn the_log_goes_on_in_another_life_of_the_process() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    for first in 1..4 {
        let envelope = machine.world.toys(0, session, first, &[Toy::Count]);
        machine.submit(&envelope);
        machine = machine.restarted(Toys);
    }
    let (records, head) = log(&machine);
    assert_eq!((records.len(), head.lists, head.operations), (4, 4, 4));
}

#[test]
fn what_the_history_has_forgotten_is_not_shown_and_the_rest_is() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    for first in 1..12 {
        let envelope = machine.world.toys(0, session, first, &[Toy::Count]);
        machine.submit(&envelope);
        machine.backend.forget_before(first); // list `first + 1` is new
        let (records, head) = log(&machine);
        assert_eq!((records.len(), head.lists), (2, first + 1));
        assert_eq!(operations(&records)[1].0, first + 1);
    }
    machine.backend.forget_before(13);
    let mut machine = machine.restarted(Toys);
    assert_eq!(log(&machine).0, vec![], "as where the state was fetched from others");
    let envelope = machine.world.toys(0, session, 12, &[Toy::Count]);
    machine.submit(&envelope);
    assert_eq!(log(&machine).0.len(), 1);
}

#[test]
fn lists_are_there_with_their_commits_and_later_ones_are_not_shown() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    machine.execution.state_mut().sync();
    for first in 1..4 {
        let envelope = machine.world.toys(0, session, first, &[Toy::Count]);
        machine.submit(&envelope);
    }
    let last = machine.execution.state().record(4);
    machine.backend.crash(1); // of three commits; their lists may stay
    let mut machine = machine.restarted(Toys);
    let (records, head) = log(&machine);
    assert_eq!((records.len(), head.lists), (2, 2));
    let administrator = machine.world.administrator().public();
    assert_eq!(machine.execution.audit_records(&administrator, 4).0, []);
    for first in 2..4 {
        let envelope = machine.world.toys(0, session, first, &[Toy::Count]);
        machine.submit(&envelope);
    }
    assert_eq!(log(&machine).0.len(), 4);
    assert_ne!(machine.execution.state().record(4), last, "executed again, at another time");
}

#[test]
fn long_commits_are_recorded_in_several_lists_and_pages() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let envelope = |number: u64| {
        let request = Toy::Count.request();
        let operation = Operation { service: ServiceId::KV, request };
        machine.world.envelope(0, session, 1 + number * 1024, vec![operation; 1024])
    };
    let envelopes: Vec<_> = (0..20).map(envelope).collect();
    machine.commit(envelopes);
    let (records, head) = log(&machine);
    assert_eq!(head.operations, 1 + 20 * 1024);
    assert!(records.len() > 2);
    assert!(records.iter().all(|it| it.list.encode().len() <= AUDIT_LIST_BYTES_MAX + (1 << 20)));
    let administrator = machine.world.administrator().public();
    let (page, _) = machine.execution.audit_records(&administrator, head.lists);
    assert!(page.encode().len() <= AUDIT_PAGE_BYTES_MAX + AUDIT_LIST_BYTES_MAX + (1 << 20));
}

#[test]
fn requests_are_shown_to_those_who_may_see_the_service() {
    let world = World::new(4, 1);
    let scheme = world.keyring.scheme().clone();
    let mut machine = Machine::with(world, Services::new(scheme));
    let session = machine.open(0, 1).unwrap();
    let put = |value: &[u8]| Operation {
        service: ServiceId::KV,
        request: KvRequest::Write(Write {
            key: b"k".to_vec(),
            value: Some(value.to_vec()),
            condition: Condition::Always,
            lease: None,
        })
        .encode(),
    };
    let operations = vec![put(b"short"), put(&[7; 400])];
    let short = operations[0].request.clone();
    let envelope = machine.world.envelope(0, session, 1, operations);
    machine.submit(&envelope);
    let shown = |client: PublicKey| {
        let (records, _) = machine.execution.audit_records(&client, 2);
        records.last().unwrap().requests.clone()
    };
    assert_eq!(shown(machine.world.client(0)), [short, vec![]]);
    let administrator = machine.world.administrator().public();
    assert_eq!(shown(administrator), [vec![], vec![]], "an approving key opens no data");
    let (records, _) = machine.execution.audit_records(&administrator, 1);
    assert_eq!(records[0].requests, [SessionRequest::Open.encode()]);
    assert!(machine.execution.may_see(ServiceId::AUDIT, &administrator));
    assert!(!machine.execution.may_see(ServiceId::AUDIT, &machine.world.client(0)));
    assert_eq!(machine.execution.query(ServiceId::AUDIT, administrator, b"h").0, None);
}
