//! What one client may cause, and what others feel of it.

use super::*;
use crate::state::ENTRY_WORK;

/// Look-ups of about 20 MiB of work.
const MANY: u32 = (20 << 20) / ENTRY_WORK as u32;

/// Envelopes that each count up after much work, from number 1 on.
fn heavy(machine: &Machine, client: u8, session: u64, count: u64) -> Vec<Envelope> {
    let envelope = |first| machine.world.toys(client, session, first, &[Toy::Search(MANY)]);
    (1..=count).map(envelope).collect()
}

#[test]
fn what_one_envelope_may_cause_is_bounded_and_the_rest_is_refused_for_good() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let toys = [Toy::Search(MANY), Toy::Look(MANY), Toy::Search(MANY), Toy::Count, Toy::Look(1)];
    let envelope = machine.world.toys(0, session, 1, &toys);
    let answers = results(&machine.submit(&envelope));
    let refused = || Err(Refusal::TooMuchWork);
    assert_eq!(answers, [count(1), count(1), refused(), refused(), refused()]);
    assert_eq!(machine.count(), 1);
    // The client was told that it was not done: it never will be.
    assert_eq!(results(&machine.submit(&envelope)), answers);
    assert_eq!(machine.count(), 1);
    let again = machine.world.toys(0, session, 10, &[Toy::Search(MANY)]);
    assert_eq!(results(&machine.submit(&again)), [count(2)], "in another envelope it is");
}

#[test]
fn a_client_that_floods_waits_and_the_others_do_not() {
    let mut machine = Machine::new();
    let greedy = machine.open(0, 1).unwrap();
    let modest = machine.open(1, 1).unwrap();
    let mut envelopes = heavy(&machine, 0, greedy, 20);
    envelopes.push(machine.world.toys(1, modest, 1, &[Toy::Count]));
    let mut twin = machine.restarted(Toys);
    let executed = machine.commit(envelopes.clone());
    let first: Vec<u64> =
        executed.deferred.iter().map(|deferred| deferred.envelope.first.0).collect();
    let fitting = CLIENT_WORK_MAX.div_ceil(MANY as usize * ENTRY_WORK) as u64;
    assert_eq!(first, (fitting + 1..=20).collect::<Vec<_>>());
    assert_eq!(machine.count(), fitting + 1, "and the modest one's");
    let is_deferred = |envelope: &Envelope| {
        executed.deferred.iter().any(|it| it.digest == envelope_digest(envelope))
    };
    assert!(
        envelopes
            .iter()
            .all(|it| is_deferred(it) != executed.envelopes.contains(&envelope_digest(it)))
    );
    // The same everywhere, and nothing of it stays but what was executed.
    assert_eq!(twin.commit(envelopes.clone()).deferred, executed.deferred);
    assert_eq!(twin.public_root(), machine.public_root());
    // Asked again, each is executed once in the end.
    for _ in 0..20 {
        machine.commit(envelopes.clone());
    }
    assert_eq!(machine.count(), 21);
    let answers: Vec<_> =
        heavy(&machine, 0, greedy, 20).iter().flat_map(|it| results(&machine.submit(it))).collect();
    assert!(answers.iter().all(Result::is_ok));
}

/// An intruder that repeats a client's old reads spends what its own block may.
#[test]
fn what_one_block_causes_takes_nothing_from_another() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let reads = machine.world.toys(0, session, 1, &[Toy::Look(MANY)]);
    let fresh = machine.world.toys(0, session, 2, &[Toy::Count]);
    let mut commit = machine.world.commit(2, machine.time, vec![reads; 100]);
    let other = machine.world.block(ReplicaId(1), Round(2), vec![fresh], vec![]);
    commit.blocks.push(other);
    let executed = machine.execution.execute(&commit);
    assert!(executed.deferred.len() > 90, "{} deferred", executed.deferred.len());
    assert_eq!(machine.count(), 1);
}

#[test]
fn everyday_operations_are_never_charged() {
    let mut machine = Machine::new();
    let sessions: Vec<u64> = (1..=6).map(|number| machine.open(0, number).unwrap()).collect();
    let toys = [Toy::Search(14); 1000];
    let envelopes = sessions.iter().map(|session| machine.world.toys(0, *session, 1, &toys));
    let envelopes: Vec<Envelope> = envelopes.collect();
    // More than is allowed, if it were charged.
    const { assert!(6_000 * 14 * ENTRY_WORK > CLIENT_WORK_MAX) };
    assert!(machine.commit(envelopes).deferred.is_empty());
    assert_eq!(machine.count(), 6_000);
}

/// A read in it makes an old envelope run again, and what is kept of it is looked up each time.
#[test]
fn repeating_what_has_many_kept_answers_is_charged_for_them() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let mut toys = vec![Toy::Read(10)];
    toys.resize(17, Toy::Write(60_000));
    let old = machine.world.toys(0, session, 1, &toys);
    machine.submit(&old);
    let executed = machine.commit(vec![old; 200]);
    let most = CLIENT_WORK_MAX / (16 * 60_000) + 2;
    let count = 200 - executed.deferred.len();
    assert!((most / 2..most).contains(&count), "{count} executed, {most} at most");
}

/// Whoever is admitted may send orders that nobody approved, and each costs a check.
#[test]
fn orders_that_nobody_approved_are_charged_for_their_checks() {
    let mut machine = services();
    let session = machine.open(0, 1).unwrap();
    let administrator = machine.world.administrator().public();
    let keyring = &machine.world.keyring;
    let order = AuthOrder {
        cluster: keyring.cluster(),
        incarnation: keyring.incarnation(),
        serial: 1,
        action: AuthAction::Revoke { name: "c1".into() },
    };
    let request =
        |order| AuthRequest::Change { order, approvals: vec![(administrator, Signature([2; 64]))] };
    let operation =
        Operation { service: ServiceId::AUTH, request: request(order.clone()).encode() };
    let envelope = machine.world.envelope(0, session, 1, vec![operation; 500]);
    let answers = results(&machine.submit(&envelope));
    let done = answers.iter().take_while(|answer| answer.is_ok()).count();
    assert!((200..400).contains(&done), "{done} orders checked");
    assert!(answers[done..].iter().all(|answer| *answer == Err(Refusal::TooMuchWork)));
}
