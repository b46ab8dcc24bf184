use std::collections::{BTreeMap, BTreeSet};

use ravelin_model::requests::session::SessionRequest;
use ravelin_model::{Envelope, ServiceId, ServiceStores as _};

use super::*;
use crate::testing::{Chance, Machine, Toy, opened, results, session_operation};

const IDLE_US: u64 = 3_600_000_000;

fn record() -> SessionRecord {
    let client = PublicKey([1; 32]);
    let (highest, forgotten) = (Sequence(0), Sequence(0));
    SessionRecord { client, highest, executed: [0; WORDS], last_use: Time(0), forgotten }
}

fn count(reply: u64) -> Result<Vec<u8>, Refusal> {
    Ok(reply.encode())
}

#[test]
fn a_record_knows_what_a_set_of_numbers_knows() {
    for seed in 0..300 {
        let mut chance = Chance(seed);
        let (mut record, mut set) = (record(), BTreeSet::new());
        // Also at the end of all numbers, and with jumps of several windows.
        let base = [0, u64::MAX - 5000][chance.index(2)];
        for _ in 0..200 {
            let far = [4, 40, 3000][chance.index(3)];
            let highest = set.last().copied().unwrap_or(base);
            let up = chance.below(far);
            let down = chance.below(1200);
            let number = if chance.below(2) == 0 {
                highest.saturating_add(up)
            } else {
                highest.saturating_sub(down)
            };
            let known = record.knows(Sequence(number));
            let highest = set.last().copied().unwrap_or(0);
            let expected = if number == 0 || highest.saturating_sub(number) >= 1024 {
                Known::Forgotten
            } else if set.contains(&number) {
                Known::Executed
            } else {
                Known::New
            };
            assert_eq!(known, expected, "seed {seed}: {number} with {highest}");
            if known == Known::New {
                record.mark(Sequence(number));
                set.insert(number);
            }
        }
    }
}

#[test]
fn the_window_slides_and_forgets_what_leaves_it() {
    let mut record = record();
    assert_eq!(record.knows(Sequence(0)), Known::Forgotten);
    record.mark(Sequence(1));
    record.mark(Sequence(1024));
    assert_eq!(record.knows(Sequence(1)), Known::Executed);
    record.mark(Sequence(1025));
    assert_eq!(record.knows(Sequence(1)), Known::Forgotten);
    assert_eq!(record.knows(Sequence(2)), Known::New);
    assert_eq!(record.knows(Sequence(1024)), Known::Executed);
    // 1025 has the bit that 1 had; 2049 takes it over in turn.
    record.mark(Sequence(2048));
    assert_eq!(record.knows(Sequence(2049)), Known::New);
    assert_eq!(record.knows(Sequence(1025)), Known::Executed);
}

#[test]
fn numbers_end_at_the_highest_there_is() {
    let mut record = record();
    record.mark(Sequence(u64::MAX));
    assert_eq!(record.knows(Sequence(u64::MAX)), Known::Executed);
    assert_eq!(record.knows(Sequence(u64::MAX - 1023)), Known::New);
    assert_eq!(record.knows(Sequence(u64::MAX - 1024)), Known::Forgotten);
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let last = machine.world.toys(0, session, u64::MAX - 1, &[Toy::Count]);
    assert_eq!(results(&machine.submit(&last)), [count(1)]);
    assert_eq!(results(&machine.submit(&last)), [count(1)]);
    // Its second operation would have no number.
    let beyond = machine.world.toys(0, session, u64::MAX - 1, &[Toy::Count, Toy::Count]);
    assert_eq!(results(&machine.submit(&beyond)), vec![Err(Refusal::Malformed); 2]);
    assert_eq!(machine.count(), 1);
}

/// Envelopes of one client in any order, any number of times, in any commits, through a restart.
#[test]
fn each_operation_happens_exactly_once_whatever_is_repeated() {
    for seed in 0..200 {
        let mut chance = Chance(seed);
        let mut machine = Machine::new();
        let session = machine.open(0, 1).unwrap();
        let mut envelopes = Vec::new();
        let mut first = 1;
        for _ in 0..12 {
            let count = 1 + chance.below(4);
            let toys = vec![Toy::Count; usize::try_from(count).unwrap()];
            envelopes.push(machine.world.toys(0, session, first, &toys));
            first += count;
        }
        let total = first - 1;
        let mut queue: Vec<Envelope> = envelopes.clone();
        for _ in 0..30 {
            queue.push(envelopes[chance.index(envelopes.len())].clone());
        }
        chance.shuffle(&mut queue);
        let mut answers: BTreeMap<Sequence, Answer> = BTreeMap::new();
        let mut replies = BTreeSet::new();
        while !queue.is_empty() {
            let some = queue.split_off(queue.len().saturating_sub(1 + chance.index(5)));
            let executed = machine.commit(some);
            for answer in crate::testing::all_answers(executed) {
                let first = answers.entry(answer.sequence).or_insert_with(|| answer.clone());
                assert_eq!(*first, answer, "seed {seed}: a retry gets the first result");
                replies.insert(answer.result.clone().encode());
            }
            if chance.below(6) == 0 {
                machine = machine.restarted(crate::testing::Toys);
            }
        }
        assert_eq!(machine.count(), total, "seed {seed}");
        assert_eq!((answers.len() as u64, replies.len() as u64), (total, total), "seed {seed}");
    }
}

/// Against a model of numbers and first results, with a client that keeps to no rule.
#[test]
fn a_client_that_keeps_to_no_rule_executes_nothing_twice() {
    for seed in 0..300 {
        let mut chance = Chance(seed);
        let mut machine = Machine::new();
        let session = machine.open(0, 1).unwrap();
        let mut done: BTreeMap<u64, Answer> = BTreeMap::new();
        let mut highest = 0u64;
        for _ in 0..40 {
            let first = (highest + chance.below(30)).saturating_sub(chance.below(1500));
            let length = 1 + chance.below(8);
            let toys = vec![Toy::Count; usize::try_from(length).unwrap()];
            let envelope = machine.world.toys(0, session, first, &toys);
            let before = machine.count();
            let answers = machine.submit(&envelope);
            assert_eq!(answers.len(), toys.len(), "seed {seed}: an answer each");
            let mut fresh = 0;
            for (number, answer) in (first..).zip(answers) {
                assert_eq!(answer.sequence, Sequence(number));
                let forgotten = number == 0 || highest.saturating_sub(number) >= 1024;
                match done.get(&number) {
                    _ if forgotten => {
                        assert_eq!(answer.result, refused(Refusal::Forgotten), "seed {seed}");
                    }
                    // Kept under the first number of the envelope that brought it.
                    Some(known) if *known == answer => {}
                    Some(_) => {
                        assert_eq!(answer.result, refused(Refusal::Forgotten), "seed {seed}");
                    }
                    None => {
                        fresh += 1;
                        done.insert(number, answer);
                    }
                }
                highest = if forgotten { highest } else { highest.max(number) };
            }
            assert_eq!(machine.count() - before, fresh, "seed {seed}");
        }
    }
}

fn refused(refusal: Refusal) -> ravelin_model::OperationResult {
    ravelin_model::OperationResult::Refused(refusal)
}

#[test]
fn overlapping_envelopes_execute_what_is_new_and_repeat_nothing() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let two = machine.world.toys(0, session, 1, &[Toy::Count, Toy::Count]);
    assert_eq!(results(&machine.submit(&two)), [count(1), count(2)]);
    // A longer one with the same beginning.
    let three = machine.world.toys(0, session, 1, &[Toy::Count, Toy::Count, Toy::Count]);
    assert_eq!(results(&machine.submit(&three)), [count(1), count(2), count(3)]);
    // One that begins within: what it repeats was kept under another number.
    let across = machine.world.toys(0, session, 3, &[Toy::Count, Toy::Count]);
    assert_eq!(results(&machine.submit(&across)), [Err(Refusal::Forgotten), count(4)]);
    // All of them again, in any order: nothing more happens.
    for envelope in [&across, &two, &three, &across] {
        machine.submit(envelope);
    }
    assert_eq!(machine.count(), 4);
    assert_eq!(results(&machine.submit(&three)), [count(1), count(2), count(3)]);
}

#[test]
fn what_has_left_the_window_is_refused_not_repeated() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let first = machine.world.toys(0, session, 1, &[Toy::Count]);
    machine.submit(&first);
    let last = machine.world.toys(0, session, 1025, &[Toy::Count]);
    machine.submit(&last);
    assert_eq!(results(&machine.submit(&first)), [Err(Refusal::Forgotten)]);
    assert_eq!(machine.count(), 2);
}

#[test]
fn a_repetition_leaves_no_trace() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let envelope = machine.world.toys(0, session, 1, &[Toy::Count, Toy::Write(50_000)]);
    machine.submit(&envelope);
    let root = machine.public_root();
    machine.time.0 += IDLE_US / 2; // not even a sign of life, which an intruder could repeat
    machine.submit(&envelope);
    assert_eq!(machine.public_root(), root);
}

#[test]
fn what_only_reads_is_answered_afresh_and_nothing_of_it_is_kept() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let read = machine.world.toys(0, session, 1, &[Toy::ReadCount]);
    assert_eq!(results(&machine.submit(&read)), [count(0)]);
    let write = machine.world.toys(0, session, 2, &[Toy::Count]);
    machine.submit(&write);
    assert_eq!(results(&machine.submit(&read)), [count(1)]);
    assert!(!machine.execution.is_repeated(&read));
    assert!(machine.execution.is_repeated(&write));
    assert_eq!(machine.execution.kept_answers(&write).0.len(), 1);
}

#[test]
fn the_reply_cache_of_a_session_is_cleared_behind_its_window() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    for first in 1..=3100 {
        let envelope = machine.world.toys(0, session, first, &[Toy::Count]);
        machine.submit(&envelope);
    }
    let kept = kept_replies(&machine);
    assert!((1024..=2 * 1024 + 64).contains(&kept), "{kept} entries");
    // A jump leaves them all behind; each further envelope takes some along.
    let jump = 1_000_000;
    for first in jump..jump + 600 {
        let envelope = machine.world.toys(0, session, first, &[Toy::Count]);
        machine.submit(&envelope);
    }
    assert_eq!(kept_replies(&machine), 600);
}

/// Stores keep the traces of what was deleted: whoever passes all of them with each envelope gets slower
/// and slower.
#[test]
fn nobody_looks_again_at_where_forgotten_replies_were() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let submit = |machine: &mut Machine, numbers: std::ops::Range<u64>| {
        for first in numbers {
            let envelope = machine.world.toys(0, session, first, &[Toy::Count]);
            machine.submit(&envelope);
        }
    };
    submit(&mut machine, 1..2300);
    let planted = reply_key(SessionId(session), Sequence(1));
    let store = machine.execution.state_mut().of(ServiceId::SESSION);
    assert_eq!(store.get(&planted), None, "it was forgotten");
    store.put(&planted, Vec::new());
    submit(&mut machine, 2300..2600);
    let store = machine.execution.state_mut().of(ServiceId::SESSION);
    assert!(store.get(&planted).is_some());
}

fn kept_replies(machine: &Machine) -> usize {
    let entries = machine.backend.entries();
    entries.keys().filter(|key| key.starts_with(&[ServiceId::SESSION.0, b'r'])).count()
}

#[test]
fn an_opening_that_comes_again_opens_nothing() {
    let mut machine = Machine::new();
    let old = machine.world.opening(0, 5);
    let session = opened(&machine.submit(&old)[0]).unwrap();
    assert_eq!(opened(&machine.submit(&old)[0]), Ok(session), "a retry gets the first result");
    let next = machine.open(0, 6).unwrap();
    assert_ne!(next, session);
    let stale = Refusal::StaleOpening { last: 6 };
    assert_eq!(opened(&machine.submit(&old)[0]), Err(stale));
    assert_eq!(machine.open(0, 0), Err(stale));
    assert_eq!(live_sessions(&machine), 2);
    // Another client's numbers are its own, and nobody has number 0.
    assert!(machine.open(1, 1).is_ok());
    assert_eq!(machine.open(2, 0), Err(Refusal::StaleOpening { last: 0 }));
}

fn live_sessions(machine: &Machine) -> usize {
    let entries = machine.backend.entries();
    entries.keys().filter(|key| key.starts_with(&[ServiceId::SESSION.0, b's'])).count()
}

#[test]
fn a_session_is_used_by_its_client_alone() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let thief = machine.world.toys(1, session, 1, &[Toy::Count, Toy::Count]);
    assert_eq!(results(&machine.submit(&thief)), vec![Err(Refusal::UnknownSession); 2]);
    let stranger = machine.world.toys(9, session, 1, &[Toy::Count]);
    assert_eq!(results(&machine.submit(&stranger)), [Err(Refusal::UnknownClient)]);
    assert_eq!(machine.open(9, 1), Err(Refusal::UnknownClient));
    assert_eq!(machine.count(), 0);
}

#[test]
fn a_client_has_no_more_sessions_than_it_may_and_refused_openings_stay_refused() {
    let mut machine = Machine::new();
    let sessions: Vec<u64> = (1..=64).map(|number| machine.open(0, number).unwrap()).collect();
    let kept = machine.world.opening(0, 100);
    assert_eq!(opened(&machine.submit(&kept)[0]), Err(Refusal::TooManySessions));
    close(&mut machine, sessions[3]);
    // Whoever kept the refused envelope cannot open a session with it now.
    assert_eq!(opened(&machine.submit(&kept)[0]), Err(Refusal::TooManySessions));
    assert_eq!(machine.open(0, 99), Err(Refusal::StaleOpening { last: 100 }));
    assert!(machine.open(0, 101).is_ok());
    assert_eq!(machine.open(0, 102), Err(Refusal::TooManySessions));
    assert!(machine.open(1, 1).is_ok());
}

fn close(machine: &mut Machine, session: u64) -> Vec<Answer> {
    let closing = session_operation(SessionRequest::Close);
    let envelope = machine.world.envelope(0, session, 1000, vec![closing]);
    machine.submit(&envelope)
}

#[test]
fn a_closed_session_is_gone_with_all_that_was_kept() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    for first in [1, 7, 2000, u64::MAX - 1] {
        let envelope = machine.world.toys(0, session, first, &[Toy::Count]);
        machine.submit(&envelope);
    }
    let before = machine.count();
    let closing = machine.world.envelope(
        0,
        session,
        u64::MAX - 3,
        vec![session_operation(SessionRequest::Close)],
    );
    let closed = ravelin_model::requests::session::SessionReply::Closed.encode();
    assert_eq!(results(&machine.submit(&closing)), [Ok(closed)]);
    assert_eq!((kept_replies(&machine), live_sessions(&machine)), (0, 0));
    let after = machine.world.toys(0, session, u64::MAX - 2, &[Toy::Count]);
    assert_eq!(results(&machine.submit(&after)), [Err(Refusal::UnknownSession)]);
    assert_eq!(machine.count(), before);
    let opening = machine.world.opening(0, 1);
    assert_eq!(opened(&machine.submit(&opening)[0]), Err(Refusal::UnknownSession));
}

#[test]
fn what_follows_a_closing_in_its_envelope_finds_no_session() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let count_toy = machine.world.toys(0, session, 1, &[Toy::Count]).operations[0].clone();
    let closing = session_operation(SessionRequest::Close);
    let operations = vec![count_toy.clone(), closing, count_toy.clone(), count_toy];
    let envelope = machine.world.envelope(0, session, 1, operations);
    let answers = results(&machine.submit(&envelope));
    let unknown = Err(Refusal::UnknownSession);
    assert_eq!((answers.len(), &answers[0]), (4, &count(1)));
    assert_eq!(answers[2..], [unknown.clone(), unknown.clone()]);
    assert_eq!(results(&machine.submit(&envelope)), vec![unknown; 4]);
    assert_eq!(machine.count(), 1);
}

#[test]
fn an_idle_session_ends_after_an_hour_and_not_before() {
    for shift in [0, 1, 59_999_999, 60_000_000, 61_234_567] {
        let mut machine = Machine::new();
        machine.time.0 += shift;
        let session = machine.open(0, 1).unwrap();
        let used = machine.time.0;
        machine.time.0 = used + IDLE_US - 2; // the commit adds one
        machine.commit(vec![]);
        assert_eq!(live_sessions(&machine), 1, "used for the last time {shift} us later");
        machine.time.0 = used + IDLE_US + 2 * LAST_USE_STEP_US;
        machine.commit(vec![]);
        assert_eq!(live_sessions(&machine), 0, "used for the last time {shift} us later");
        let late = machine.world.toys(0, session, 1, &[Toy::Count]);
        assert_eq!(results(&machine.submit(&late)), [Err(Refusal::UnknownSession)]);
        let entries = machine.backend.entries();
        let left = entries.keys().filter(|key| key.starts_with(&[ServiceId::SESSION.0]));
        assert_eq!(left.count(), 1, "only the client's last opening is remembered");
    }
}

/// All replicas must end it with the same commit, whatever each of them asks its store.
#[test]
fn an_idle_session_ends_with_the_first_commit_after_an_hour_and_a_step() {
    for shift in [0, 1, 59_999_999, 60_000_000, 61_234_567] {
        let mut machine = Machine::new();
        machine.time.0 += shift;
        machine.open(0, 1).unwrap();
        let noted = stepped(machine.time).0;
        machine.time.0 = noted + IDLE_US + LAST_USE_STEP_US - 1; // the commit adds one
        machine.commit(vec![]);
        assert_eq!(live_sessions(&machine), 1, "used for the last time {shift} us later");
        machine.commit(vec![]);
        assert_eq!(live_sessions(&machine), 0, "used for the last time {shift} us later");
    }
}

#[test]
fn use_keeps_a_session_alive() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    for first in 1..=5 {
        machine.time.0 += IDLE_US / 2;
        let envelope = machine.world.toys(0, session, first, &[Toy::Count]);
        assert_eq!(results(&machine.submit(&envelope)), [count(first)]);
    }
}

#[test]
fn few_sessions_end_with_one_commit() {
    let mut machine = Machine::new();
    assert!((1..=40).all(|number| machine.open(0, number).is_ok()));
    machine.time.0 += 2 * IDLE_US;
    for left in [24, 8, 0] {
        machine.commit(vec![]);
        assert_eq!(live_sessions(&machine), left);
    }
    assert!((41..=104).all(|number| machine.open(0, number).is_ok()));
}

#[test]
fn what_is_stored_of_a_session_is_golden() {
    let mut machine = Machine::new();
    machine.time = Time(180_000_000);
    let session = machine.open(0, 3).unwrap();
    assert_eq!(session, 1);
    let envelope = machine.world.toys(0, session, 2, &[Toy::Count]);
    machine.submit(&envelope);
    let state = machine.execution.state_mut();
    let store = state.of(ServiceId::SESSION);
    let client = machine.world.client(0);
    let client_record = [3u64.encode(), 1u64.encode(), 1u32.encode()].concat();
    assert_eq!(store.get(&[b"c".as_slice(), &client.0].concat()), Some(client_record));
    let mut record = client.0.to_vec();
    record.extend(2u64.to_le_bytes());
    record.extend([4u8]);
    record.extend([0; 127]);
    record.extend(180_000_000u64.to_le_bytes());
    record.extend(0u64.to_le_bytes());
    assert_eq!(store.get(b"s\0\0\0\0\0\0\0\x01"), Some(record));
    assert_eq!(store.get(b"i\0\0\0\0\x0a\xba\x95\0\0\0\0\0\0\0\0\x01"), Some(vec![]));
    let mut kept = 1u32.encode();
    kept.extend((2u64, 2u64, 0u16, 0u8, 8u32, 1u64).encode());
    assert_eq!(store.get(b"r\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02"), Some(kept));
}
