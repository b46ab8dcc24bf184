use ravelin_model::Position;

use super::*;

/// A history in a few words: who, from when until when (0: no answer), what.
fn operation(client: u32, span: (u64, u64), request: KvRequest, reply: KvReply) -> Operation {
    let (responded_us, reply) = match span.1 {
        0 => (None, None),
        end => (Some(end), Some(reply)),
    };
    Operation { client, invoked_us: span.0, responded_us, request, reply }
}

fn put(client: u32, span: (u64, u64), value: &str, place: (u64, bool)) -> Operation {
    let value = Some(value.as_bytes().to_vec());
    let write = Write { key: b"k".to_vec(), value, condition: Condition::Always, lease: None };
    let reply = KvReply::Written { position: Position(place.0), existed: place.1 };
    operation(client, span, KvRequest::Write(write), reply)
}

fn swap(client: u32, span: (u64, u64), from: &str, to: &str, held: bool) -> Operation {
    let (from, to) = (from.as_bytes().to_vec(), to.as_bytes().to_vec());
    let condition = Condition::ValueIs(from);
    let write = Write { key: b"k".to_vec(), value: Some(to), condition, lease: None };
    let reply = match held {
        true => KvReply::Written { position: Position(9), existed: true },
        false => KvReply::Conflict { found: None, value_left_out: false },
    };
    operation(client, span, KvRequest::Write(write), reply)
}

fn get(client: u32, span: (u64, u64), value: &str, version: u64) -> Operation {
    operation(client, span, KvRequest::Get { key: b"k".to_vec() }, entry("k", value, version))
}

fn entry(key: &str, value: &str, version: u64) -> KvReply {
    if version == 0 {
        return KvReply::Absent { removed: Position(0) };
    }
    KvReply::Entry(Entry {
        key: key.as_bytes().to_vec(),
        value: value.as_bytes().to_vec(),
        created: Position(1),
        changed: Position(1),
        version,
        lease: None,
    })
}

fn is_linearizable(operations: &[Operation]) -> bool {
    match check(operations) {
        Ok(()) => true,
        Err(violation) => {
            assert_eq!(violation.kind, "linearizability");
            false
        }
    }
}

#[test]
fn reads_see_the_last_write_before_them() {
    let write = put(1, (0, 10), "a", (1, false));
    assert!(is_linearizable(&[write.clone(), get(2, (11, 12), "a", 1)]));
    assert!(!is_linearizable(&[write.clone(), get(2, (11, 12), "", 0)]), "stale");
    assert!(is_linearizable(&[write.clone(), get(2, (5, 12), "", 0)]), "at the same time");
    assert!(!is_linearizable(&[write, get(2, (11, 12), "b", 1)]), "from nowhere");
}

#[test]
fn two_readers_do_not_see_the_order_of_writes_differently() {
    let writes = [put(1, (0, 100), "a", (1, false)), put(2, (0, 100), "b", (2, true))];
    let reads = |one: (&str, u64), other: (&str, u64)| {
        [get(3, (10, 20), one.0, one.1), get(4, (30, 40), other.0, other.1)]
    };
    let judged = |reads: [Operation; 2]| {
        let mut all: Vec<Operation> = writes.to_vec();
        all.extend(reads);
        is_linearizable(&all)
    };
    assert!(judged(reads(("a", 1), ("b", 2))));
    assert!(!judged(reads(("b", 2), ("a", 1))), "back in time");
    assert!(!judged(reads(("b", 2), ("b", 1))), "back in versions");
}

#[test]
fn what_was_not_answered_may_have_happened_at_any_time_or_never() {
    let lost = put(1, (0, 0), "a", (0, false));
    assert!(is_linearizable(&[lost.clone(), get(2, (10, 20), "", 0), get(2, (30, 40), "a", 1)]));
    assert!(is_linearizable(&[lost.clone(), get(2, (10, 20), "", 0)]));
    let back = [lost, get(2, (10, 20), "a", 1), get(2, (30, 40), "", 0)];
    assert!(!is_linearizable(&back), "undone");
}

#[test]
fn one_of_two_swaps_from_one_value_wins() {
    let write = put(1, (0, 1), "a", (1, false));
    let both = |held: bool| {
        vec![write.clone(), swap(1, (5, 9), "a", "b", true), swap(2, (5, 9), "a", "c", held)]
    };
    assert!(!is_linearizable(&both(true)));
    let mut fair = both(false);
    fair[2].reply = Some(KvReply::Conflict {
        found: match entry("k", "b", 2) {
            KvReply::Entry(entry) => Some(entry),
            _ => None,
        },
        value_left_out: false,
    });
    assert!(is_linearizable(&fair));
}

#[test]
fn transactions_tie_keys_together() {
    let both = KvRequest::Transaction {
        conditions: Vec::new(),
        then: ["k", "l"]
            .map(|key| Step::Put { key: key.into(), value: b"t".to_vec(), lease: None })
            .into(),
        otherwise: Vec::new(),
    };
    let done = vec![StepResult::Done { existed: false }; 2];
    let reply = KvReply::Transaction { held: true, results: done };
    let transaction = operation(1, (0, 50), both, reply);
    let other = |span, version| {
        operation(2, span, KvRequest::Get { key: b"l".to_vec() }, entry("l", "t", version))
    };
    let torn = [transaction.clone(), get(2, (10, 20), "t", 1), other((30, 40), 0)];
    assert!(!is_linearizable(&torn), "half of it");
    assert!(is_linearizable(&[transaction, get(2, (10, 20), "t", 1), other((30, 40), 1)]));
}

#[test]
fn a_later_write_has_a_higher_place() {
    let good = [put(1, (0, 5), "a", (1, false)), put(2, (6, 9), "b", (2, true))];
    assert!(check(&good).is_ok());
    let bad = [put(1, (0, 5), "a", (2, false)), put(2, (6, 9), "b", (1, true))];
    assert_eq!(check(&bad).unwrap_err().kind, "positions");
}

/// All orders of a few operations, tried one by one: what the search must agree with.
fn is_explained_by_some_order(operations: &[Operation]) -> bool {
    fn go(operations: &[Operation], left: &mut Vec<usize>, state: &State) -> bool {
        if left.iter().all(|index| operations[*index].reply.is_none()) {
            return true;
        }
        (0..left.len()).any(|place| {
            let index = left[place];
            let operation = &operations[index];
            let is_next = left.iter().all(|other| {
                let other = &operations[*other];
                other.responded_us.is_none_or(|end| end >= operation.invoked_us)
            });
            let mut next = state.clone();
            let expected = next.apply(&operation.request).unwrap();
            if !is_next || operation.reply.as_ref().is_some_and(|reply| !expected.fits(reply)) {
                return false;
            }
            left.remove(place);
            let explained = go(operations, left, &next);
            left.insert(place, index);
            explained
        })
    }
    go(operations, &mut (0..operations.len()).collect(), &State::default())
}

#[test]
fn the_search_agrees_with_trying_all_orders() {
    let mut counts = [0; 2];
    for seed in 0..4000 {
        let mut dice = crate::dice::Dice::new(seed, "linear");
        let operations: Vec<Operation> = (0..6)
            .map(|number| {
                let start = dice.below(20);
                let end = if dice.once_in(6) { 0 } else { start + 1 + dice.below(12) };
                let value = ["a", "b"][usize::try_from(dice.below(2)).unwrap()];
                match dice.below(3) {
                    0 => put(number, (start, end), value, (1, dice.once_in(2))),
                    1 => get(number, (start, end), value, dice.below(3)),
                    _ => swap(number, (start, end), value, "c", dice.once_in(2)),
                }
            })
            .collect();
        let expected = is_explained_by_some_order(&operations);
        let parts: Vec<&Operation> = operations.iter().collect();
        assert_eq!(check_part(&parts).is_ok(), expected, "seed {seed}");
        counts[usize::from(expected)] += 1;
    }
    assert!(counts.iter().all(|count| *count > 100), "both kinds: {counts:?}");
}
