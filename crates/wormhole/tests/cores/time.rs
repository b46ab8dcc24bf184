//! What the core promises about time: measured spans, deadlines, and actions inside their windows.

use crate::host::{Host, Start, Wire, attest, refusal, wish};
use ravelin_wormhole::attestation::{Forged, Heartbeat, InstanceId, ProcessId, RollbackProof};
use ravelin_wormhole::client::Client;
use ravelin_wormhole::core::{
    ACTIONS_PER_ENTITY, Action, HORIZON, Input, Lock, Nanos, Output, RETENTION,
};
use ravelin_wormhole::frame::{Call, ExecCall, Outcome, Refusal, Tag, Timeliness};

const SECOND: Nanos = Nanos::from_millis(1_000);

fn nanos(seconds: u64) -> Nanos {
    Nanos(SECOND.0 * seconds)
}

/// Plans `action` for `not_before` seconds, or so many after it.
fn plan(client: &mut Client<Wire>, action: Action, not_before: u64, within: u64) -> Tag {
    let (not_before, within) = (nanos(not_before), nanos(within));
    client.exec_at(ExecCall { action, not_before, within }).unwrap()
}

#[test]
fn timestamp_contains_the_time_and_claims_no_synchronisation() {
    let host = Host::new();
    let mut client = host.client(0);
    for _ in 0..10 {
        host.sleep(SECOND);
        let timestamp = client.timestamp().unwrap();
        let now = host.world().now;
        assert!(timestamp.earliest <= now && now <= timestamp.latest);
        assert!(!timestamp.synchronised);
    }
}

#[test]
fn duration_is_the_time_between_the_calls() {
    let host = Host::new();
    let mut client = host.client(0);
    let (one, other) = (client.duration_start().unwrap(), client.duration_start().unwrap());
    host.sleep(SECOND);
    assert_eq!(client.duration_stop(one).unwrap(), (SECOND, Nanos(1_002_000)));
    host.sleep(SECOND);
    assert_eq!(client.duration_stop(other).unwrap(), (nanos(2), Nanos(2_002_000)));
}

#[test]
fn deadline_itself_is_in_time_and_a_nanosecond_later_is_not() {
    let cases = [
        (0, Timeliness::Timely { took: Nanos(0) }),
        (SECOND.0 - 1, Timeliness::Timely { took: Nanos(SECOND.0 - 1) }),
        (SECOND.0, Timeliness::Timely { took: SECOND }),
        (SECOND.0 + 1, Timeliness::Late { by: Nanos(1) }),
        (SECOND.0 * 90_000, Timeliness::Late { by: Nanos(SECOND.0 * 89_999) }),
    ];
    for (after, expected) in cases {
        let host = Host::new();
        host.sleep(nanos(5));
        let mut client = host.client(0);
        let tag = client.arm(SECOND).unwrap();
        host.sleep(Nanos(after));
        assert_eq!(client.end(tag).unwrap(), expected);
        assert_eq!(refusal(client.end(tag)).err(), Some(Refusal::UnknownTag), "told once");
    }
}

#[test]
fn nothing_is_planned_beyond_the_horizon() {
    let host = Host::new();
    host.sleep(nanos(5));
    let mut client = host.client(0);
    let beyond = Nanos(HORIZON.0 + 1);
    assert_eq!(refusal(client.arm(beyond)).err(), Some(Refusal::TooFar));
    assert!(client.arm(HORIZON).is_ok());
    let action = Action::SignedHeartbeat;
    let last = host.world().now.after(HORIZON);
    for (not_before, within, expected) in [
        (last, HORIZON, None),
        (Nanos(last.0 + 1), Nanos(0), Some(Refusal::TooFar)),
        (Nanos(0), beyond, Some(Refusal::TooFar)),
        (Nanos::NEVER, Nanos::NEVER, Some(Refusal::TooFar)),
    ] {
        let exec = ExecCall { action, not_before, within };
        assert_eq!(refusal(client.exec_at(exec)).err(), expected);
    }
}

#[test]
fn a_lock_is_put_on_inside_its_window_and_if_that_is_missed_after_it() {
    // Planned for 10 to 12 seconds; the wormhole wakes at the given time.
    for (wakes_at, expected) in [
        (nanos(9), Outcome::Pending),
        (Nanos(nanos(10).0 - 1), Outcome::Pending),
        (nanos(10), Outcome::Done { at: nanos(10), heartbeat: None }),
        (nanos(11), Outcome::Done { at: nanos(11), heartbeat: None }),
        (nanos(12), Outcome::Done { at: nanos(12), heartbeat: None }),
        (Nanos(nanos(12).0 + 1), Outcome::Missed),
        (nanos(1_000), Outcome::Missed),
    ] {
        let host = Host::new();
        let mut client = host.client(0);
        let tag = plan(&mut client, Action::FailSafeLock, 10, 2);
        assert_eq!(host.world().core.next_deadline(), Some(nanos(10)));
        host.wake_at(wakes_at);
        assert_eq!(client.outcome(tag).unwrap(), expected, "woken at {wakes_at:?}");
        // Late is not never: whoever delays the wormhole must not escape the lock.
        let is_locked = expected != Outcome::Pending;
        let lock = if is_locked { Lock::Locked } else { Lock::Open };
        assert_eq!(host.world().core.counters().lock(), lock);
        assert_eq!(attest(&mut client, wish(0, 0, 1, 1)).is_err(), is_locked);
        let is_over = expected != Outcome::Pending;
        assert_eq!(host.world().core.next_deadline().is_none(), is_over);
        let told_once = refusal(client.outcome(tag)).err() == Some(Refusal::UnknownTag);
        assert_eq!(told_once, is_over);
    }
}

#[test]
fn action_for_now_is_executed_now() {
    let host = Host::new();
    host.sleep(nanos(3));
    let mut client = host.client(0);
    let now = plan(&mut client, Action::FailSafeLock, 3, 0);
    let past = plan(&mut client, Action::SignedHeartbeat, 1, 1);
    let open = plan(&mut client, Action::FailSafeLock, 1, 5);
    let done = Outcome::Done { at: nanos(3), heartbeat: None };
    assert_eq!(client.outcome(now).unwrap(), done);
    assert_eq!(client.outcome(past).unwrap(), Outcome::Missed);
    assert_eq!(client.outcome(open).unwrap(), done);
}

#[test]
fn no_call_is_served_past_an_action_that_was_due() {
    // The wormhole was not woken at 10 seconds: an attestation is what wakes it.
    let host = Host::new();
    let mut client = host.client(0);
    plan(&mut client, Action::FailSafeLock, 10, 2);
    attest(&mut client, wish(0, 0, 1, 1)).unwrap();
    host.sleep(nanos(10));
    assert_eq!(attest(&mut client, wish(0, 1, 2, 1)), Err(Refusal::Locked));
}

#[test]
fn lock_is_for_good_and_takes_nothing_else() {
    let host = Host::new();
    let mut client = host.client(0);
    let attestation = attest(&mut client, wish(0, 0, 1, 1)).unwrap();
    plan(&mut client, Action::FailSafeLock, 0, 0);
    for wish in [wish(0, 1, 2, 1), wish(1, 0, 1, 1), wish(0, 0, 0, 0)] {
        assert_eq!(attest(&mut client, wish), Err(Refusal::Locked));
    }
    let status = client.status().unwrap();
    assert_eq!(status.lock, Lock::Locked);
    assert_eq!(client.last(attestation.statement.counter).unwrap(), Some(attestation));
    assert!(client.random().is_ok());
    assert!(host.try_client(1).is_ok());
    let acts = [Output::Act(Action::FailSafeLock)];
    let world = host.world();
    let seen: Vec<_> =
        world.outputs.iter().filter(|output| matches!(output, Output::Act(_))).collect();
    assert!(seen.into_iter().eq(&acts));
}

#[test]
fn erased_key_signs_nothing_more() {
    let host = Host::new();
    let mut client = host.client(0);
    let erased = plan(&mut client, Action::EraseKey, 0, 0);
    assert_eq!(client.outcome(erased).unwrap(), Outcome::Done { at: Nanos(0), heartbeat: None });
    assert_eq!(attest(&mut client, wish(0, 0, 1, 1)), Err(Refusal::Locked));
    let heartbeat = plan(&mut client, Action::SignedHeartbeat, 0, 0);
    assert_eq!(client.outcome(heartbeat).unwrap(), Outcome::Refused);
    // Locking after it does not loosen it.
    plan(&mut client, Action::FailSafeLock, 0, 0);
    assert_eq!(client.status().unwrap().lock, Lock::Erased);
    assert!(host.world().outputs.contains(&Output::Act(Action::EraseKey)));
    assert!(!host.world().outputs.contains(&Output::Act(Action::FailSafeLock)));
}

#[test]
fn heartbeat_says_when_and_which_and_cannot_be_forged() {
    let host = Host::new();
    let mut client = host.client(0);
    let instance = client.certificate().identity.instance;
    let process = client.status().unwrap().process;
    for number in 1..=3 {
        let tag = plan(&mut client, Action::SignedHeartbeat, number * 10, 1);
        host.wake_at(nanos(number * 10));
        let Outcome::Done { at, heartbeat: Some(heartbeat) } = client.outcome(tag).unwrap() else {
            panic!("a heartbeat")
        };
        assert_eq!((at, heartbeat.at_nanos), (host.world().now, at.0));
        assert_eq!(heartbeat.number, number);
        assert_eq!(heartbeat.check(instance, process), Ok(()));
        let others = [
            Heartbeat { at_nanos: at.0 + 1, ..heartbeat },
            Heartbeat { number: number + 1, ..heartbeat },
        ];
        for other in others {
            assert_eq!(other.check(instance, process), Err(Forged::BadSignature));
        }
        let forged = Err(Forged::BadSignature);
        assert_eq!(heartbeat.check(InstanceId([2; 32]), process), forged);
        assert_eq!(heartbeat.check(instance, ProcessId([2; 32])), forged);
    }
}

#[test]
fn heartbeat_of_an_earlier_life_is_none_of_this_one() {
    // One instance, resumed: its clock and the numbers of its heartbeats begin anew.
    let beats = [1, 2].map(|seed| {
        let rollback_proof = RollbackProof::Present;
        let host = Host::start(Start { seed, rollback_proof, ..Start::default() });
        let mut client = host.client(0);
        let tag = plan(&mut client, Action::SignedHeartbeat, 10, 1);
        host.wake_at(nanos(10));
        let Outcome::Done { heartbeat: Some(heartbeat), .. } = client.outcome(tag).unwrap() else {
            panic!("a heartbeat")
        };
        (client.certificate().identity.instance, client.status().unwrap().process, heartbeat)
    });
    let [(instance, earlier, old), (same, this, new)] = beats;
    assert_eq!((instance, old.at_nanos, old.number), (same, new.at_nanos, new.number));
    assert_eq!((old.check(instance, earlier), new.check(instance, this)), (Ok(()), Ok(())));
    assert_eq!(old.check(instance, this), Err(Forged::BadSignature));
}

#[test]
fn due_actions_are_executed_in_the_order_of_their_times() {
    let host = Host::new();
    let mut client = host.client(0);
    let erase = plan(&mut client, Action::EraseKey, 10, 100);
    let before = plan(&mut client, Action::SignedHeartbeat, 9, 100);
    let after = plan(&mut client, Action::SignedHeartbeat, 11, 100);
    assert_eq!(host.world().core.next_deadline(), Some(nanos(9)));
    host.wake_at(nanos(20));
    assert!(matches!(client.outcome(before).unwrap(), Outcome::Done { heartbeat: Some(_), .. }));
    assert!(matches!(client.outcome(erase).unwrap(), Outcome::Done { .. }));
    assert_eq!(client.outcome(after).unwrap(), Outcome::Refused);
}

#[test]
fn nobody_takes_back_what_is_planned() {
    for leave in [0, 1] {
        let host = Host::new();
        let mut client = host.client(0);
        for _ in 0..ACTIONS_PER_ENTITY {
            plan(&mut client, Action::FailSafeLock, 10, 1);
        }
        if leave == 0 {
            client.bye().unwrap();
        } else {
            host.step(Input::Closed { connection: 0 });
        }
        // Nor does the next at this place push it out.
        let mut next = host.client(0);
        let exec =
            ExecCall { action: Action::SignedHeartbeat, not_before: nanos(10), within: SECOND };
        let next_free = nanos(11).after(RETENTION);
        assert_eq!(refusal(next.exec_at(exec)).err(), Some(Refusal::NoResources { next_free }));
        host.wake_at(nanos(10));
        assert_eq!(host.world().core.counters().lock(), Lock::Locked);
        host.wake_at(next_free);
        let late = ExecCall { not_before: next_free, ..exec };
        assert!(next.exec_at(late).is_ok(), "the place comes back");
    }
}

#[test]
fn halted_core_executes_nothing() {
    let host = Host::new();
    let mut client = host.client(0);
    plan(&mut client, Action::EraseKey, 10, 1);
    host.step(Input::StoreFailed);
    host.wake_at(nanos(10));
    assert_eq!(host.world().core.counters().lock(), Lock::Open);
    assert!(!host.world().outputs.contains(&Output::Act(Action::EraseKey)));
    assert_eq!(host.world().core.next_deadline(), None, "nothing wakes it");
}

#[test]
fn early_and_repeated_wakes_are_harmless() {
    let host = Host::new();
    let mut client = host.client(0);
    let tag = plan(&mut client, Action::SignedHeartbeat, 10, 1);
    for _ in 0..100 {
        host.wake_at(nanos(9));
    }
    assert_eq!(client.outcome(tag).unwrap(), Outcome::Pending);
    for _ in 0..100 {
        host.wake_at(nanos(10));
    }
    let Outcome::Done { heartbeat: Some(heartbeat), .. } = client.outcome(tag).unwrap() else {
        panic!("a heartbeat")
    };
    assert_eq!(heartbeat.number, 1, "executed once");
}

#[test]
fn each_entity_has_its_own_places_for_actions() {
    let host = Host::new();
    let (mut one, mut other) = (host.client(0), host.client(0));
    for _ in 0..ACTIONS_PER_ENTITY {
        plan(&mut one, Action::SignedHeartbeat, 10, 1);
    }
    let action = Action::SignedHeartbeat;
    let exec = Call::ExecAt(ExecCall { action, not_before: nanos(10), within: SECOND });
    let next_free = nanos(11).after(RETENTION);
    assert_eq!(refusal(one.call(&exec)).err(), Some(Refusal::NoResources { next_free }));
    assert!(other.call(&exec).is_ok());
    assert_eq!(other.status().unwrap().actions, 1);
}
