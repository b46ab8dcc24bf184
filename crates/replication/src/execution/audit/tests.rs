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
fn the_oldest_lists_go_first_and_no_more_than_must() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    machine.execution.audit.bytes_max = 1500;
    let kept_bytes = |machine: &Machine| {
        let mut bytes = 0;
        let state = machine.execution.state();
        state.private_scan(&[LISTS], Some(&[LISTS + 1]), &mut |_, value| {
            bytes += value.len();
            ControlFlow::Continue(())
        });
        bytes
    };
    for first in 1..40 {
        let envelope = machine.world.toys(0, session, first, &[Toy::Count]);
        machine.submit(&envelope);
        let (records, head) = log(&machine);
        assert_eq!(head.lists, first + 1);
        let bytes = kept_bytes(&machine);
        assert!(bytes <= 1500, "{bytes}");
        assert!(first < 10 || bytes > 1000, "{bytes}: more than must has gone");
        assert_eq!(operations(&records).last().unwrap().0, first + 1);
        if first % 7 == 0 {
            machine = machine.restarted(Toys);
            machine.execution.audit.bytes_max = 1500;
        }
    }
}

/// Stores keep the traces of what was deleted: whoever passes all of them with each commit gets slower
/// and slower.
#[test]
fn nobody_looks_again_at_where_forgotten_lists_were() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    machine.execution.audit.bytes_max = 1500;
    let submit = |machine: &mut Machine, numbers: std::ops::Range<u64>| {
        for first in numbers {
            let envelope = machine.world.toys(0, session, first, &[Toy::Count]);
            machine.submit(&envelope);
        }
    };
    submit(&mut machine, 1..20);
    let state = machine.execution.state_mut();
    assert_eq!(state.private_get(&list_key(1)), None, "it was forgotten");
    state.private_write(vec![(list_key(1), Some(vec![0; 8]))]);
    submit(&mut machine, 20..30);
    assert!(machine.execution.state().private_get(&list_key(1)).is_some());
}

#[test]
fn a_replica_that_fetched_its_state_shows_what_came_after() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    for first in 1..6 {
        let envelope = machine.world.toys(0, session, first, &[Toy::Count]);
        machine.submit(&envelope);
    }
    // As if lists 4 to 6 had been executed by others only.
    for number in 4..=6 {
        machine.execution.state_mut().private_write(vec![(list_key(number), None)]);
    }
    let mut machine = machine.restarted(Toys);
    assert_eq!(log(&machine).0, vec![]);
    machine.execution.audit.bytes_max = 1000;
    for first in 6..30 {
        let envelope = machine.world.toys(0, session, first, &[Toy::Count]);
        machine.submit(&envelope);
        let (records, head) = log(&machine);
        assert_eq!(head.lists, first + 1);
        assert!(records.len() as u64 <= first - 5 && !records.is_empty());
    }
    assert_eq!(machine.execution.state().private_get(&list_key(1)), None, "old ones go, too");
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
