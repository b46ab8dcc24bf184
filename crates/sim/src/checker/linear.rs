//! Linearizability: is there an order of all operations that respects time and explains all answers?
//!
//! Keys that no transaction ties together are judged apart. Operations without an answer may have
//! happened at any time after they were asked, or never.
//!
//! Cost: exponential in the number of operations under way at once, linear in all others.
//!
//! # Source
//! J. Wing and C. Gong, *Testing and Verifying Concurrent Objects*, JPDC 17 (1993); with the memory
//! of states seen of G. Lowe, *Testing for linearizability*, CPE 29 (2017).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ravelin_model::requests::kv::{Condition, Entry, KvReply, KvRequest, Step, StepResult, Write};

use super::{Operation, Violation};

/// Configurations tried before a part of a history is given up on.
const TRIED_MAX: usize = 3_000_000;

/// Whether the operations on keys and values are linearizable.
///
/// # Errors
/// A [`Violation`] that names the keys and the operation that nothing explains; or that the search
/// was given up.
pub fn check(operations: &[Operation]) -> Result<(), Violation> {
    for part in independent_parts(operations) {
        check_part(&part)?;
    }
    check_positions(operations)
}

/// Writes that were answered with a place in the total order: one that was over before another was
/// asked has the lower place.
fn check_positions(operations: &[Operation]) -> Result<(), Violation> {
    let written = operations.iter().filter_map(|operation| match operation.reply {
        Some(KvReply::Written { position, .. }) => {
            Some((operation.invoked_us, operation.responded_us?, position))
        }
        _ => None,
    });
    let mut by_start: Vec<_> = written.collect();
    let mut by_end = by_start.clone();
    by_start.sort_unstable();
    by_end.sort_unstable_by_key(|(_, end, _)| *end);
    let mut ended = by_end.into_iter().peekable();
    let mut highest = ravelin_model::Position(0);
    for (start, _, position) in by_start {
        while let Some((_, _, before)) = ended.next_if(|(_, end, _)| *end < start) {
            highest = highest.max(before);
        }
        if position < highest {
            let what = format!("asked at {start} us and placed at {position:?}, below {highest:?}");
            return Err(Violation::new("positions", what));
        }
    }
    Ok(())
}

/// The operations by the keys that transactions tie together; others are left out.
fn independent_parts(operations: &[Operation]) -> Vec<Vec<&Operation>> {
    let mut leader: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let find = |leader: &BTreeMap<Vec<u8>, Vec<u8>>, key: &[u8]| {
        let mut key = key.to_vec();
        while let Some(next) = leader.get(&key).filter(|next| **next != key) {
            key = next.clone();
        }
        key
    };
    for operation in operations {
        let keys = keys_of(&operation.request);
        let Some(first) = keys.first() else { continue };
        let root = find(&leader, first);
        for key in &keys {
            let other = find(&leader, key);
            leader.insert(other, root.clone());
            leader.entry(key.clone()).or_insert_with(|| root.clone());
        }
    }
    let mut parts: BTreeMap<Vec<u8>, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        if let Some(first) = keys_of(&operation.request).first() {
            parts.entry(find(&leader, first)).or_default().push(operation);
        }
    }
    parts.into_values().collect()
}

fn keys_of(request: &KvRequest) -> Vec<Vec<u8>> {
    match request {
        KvRequest::Get { key } => vec![key.clone()],
        KvRequest::Write(write) => vec![write.key.clone()],
        KvRequest::Transaction { conditions, then, otherwise } => {
            let steps = then.iter().chain(otherwise).map(|step| match step {
                Step::Get(key) | Step::Delete(key) | Step::Put { key, .. } => key.clone(),
            });
            conditions.iter().map(|(key, _)| key.clone()).chain(steps).collect()
        }
        _ => Vec::new(),
    }
}

/// An operation's beginning or end, in a list from which it can be taken out and put back.
struct Mark {
    operation: usize,
    is_end: bool,
    before: usize,
    after: usize,
}

struct Timeline {
    marks: Vec<Mark>,
    /// Where each operation's beginning and end stand.
    places: Vec<(usize, Option<usize>)>,
}

const HEAD: usize = 0;
const TAIL: usize = usize::MAX;

impl Timeline {
    fn new(part: &[&Operation]) -> Self {
        let mut events: Vec<(u64, bool, usize)> = Vec::new();
        for (index, operation) in part.iter().enumerate() {
            events.push((operation.invoked_us, false, index));
            events.extend(operation.responded_us.map(|time| (time, true, index)));
        }
        events.sort_unstable();
        let head = Mark { operation: usize::MAX, is_end: false, before: HEAD, after: 1 };
        let mut timeline = Self { marks: vec![head], places: vec![(0, None); part.len()] };
        let last = events.len();
        for (index, (_, is_end, operation)) in events.into_iter().enumerate() {
            let place = index + 1;
            let after = if place == last { TAIL } else { place + 1 };
            timeline.marks.push(Mark { operation, is_end, before: index, after });
            if let Some(places) = timeline.places.get_mut(operation) {
                if is_end { places.1 = Some(place) } else { places.0 = place }
            }
        }
        timeline
    }

    fn after(&self, place: usize) -> Option<usize> {
        self.marks.get(place).map(|mark| mark.after).filter(|after| *after != TAIL)
    }

    fn link(&mut self, before: usize, after: usize) {
        if let Some(mark) = self.marks.get_mut(before) {
            mark.after = after;
        }
        if let Some(mark) = self.marks.get_mut(after) {
            mark.before = before;
        }
    }

    fn take_out(&mut self, operation: usize) {
        let Some((begin, end)) = self.places.get(operation).copied() else { return };
        for place in std::iter::once(begin).chain(end) {
            if let Some(mark) = self.marks.get(place) {
                let (before, after) = (mark.before, mark.after);
                self.link(before, after);
            }
        }
    }

    fn put_back(&mut self, operation: usize) {
        let Some((begin, end)) = self.places.get(operation).copied() else { return };
        for place in end.into_iter().chain([begin]) {
            if let Some(mark) = self.marks.get(place) {
                let (before, after) = (mark.before, mark.after);
                self.link(before, place);
                if after != TAIL {
                    self.link(place, after);
                }
            }
        }
    }
}

/// Searches for an order that explains one part.
fn check_part(part: &[&Operation]) -> Result<(), Violation> {
    let mut timeline = Timeline::new(part);
    let mut state = State::default();
    let mut done = vec![0u64; part.len().div_ceil(64)];
    let mut seen: HashSet<(Vec<u64>, State)> = HashSet::new();
    let mut taken: Vec<(usize, State)> = Vec::new();
    let mut stuck_at = 0;
    let mut cursor = timeline.after(HEAD);
    while let Some(place) = cursor {
        let Some(mark) = timeline.marks.get(place) else { break };
        let (index, is_end) = (mark.operation, mark.is_end);
        if is_end {
            stuck_at = stuck_at.max(index);
            let Some((last, before)) = taken.pop() else {
                return Err(unexplained(part, stuck_at));
            };
            state = before;
            flip(&mut done, last);
            timeline.put_back(last);
            cursor = timeline.places.get(last).and_then(|(begin, _)| timeline.after(*begin));
            continue;
        }
        let Some(operation) = part.get(index) else { break };
        let mut next = state.clone();
        let expected = next.apply(&operation.request);
        let is_explained = match &operation.reply {
            Some(reply) => expected.as_ref().is_some_and(|expected| expected.fits(reply)),
            None => true,
        };
        if is_explained {
            flip(&mut done, index);
            if seen.insert((done.clone(), next.clone())) {
                if seen.len() > TRIED_MAX {
                    return Err(Violation::new("linearizability-unknown", "gave up".into()));
                }
                taken.push((index, std::mem::replace(&mut state, next)));
                timeline.take_out(index);
                cursor = timeline.after(HEAD);
                continue;
            }
            flip(&mut done, index);
        }
        cursor = timeline.after(place);
    }
    Ok(())
}

fn flip(done: &mut [u64], index: usize) {
    if let Some(word) = done.get_mut(index / 64) {
        *word ^= 1 << (index % 64);
    }
}

fn unexplained(part: &[&Operation], index: usize) -> Violation {
    let keys: BTreeSet<String> = part
        .iter()
        .flat_map(|operation| keys_of(&operation.request))
        .map(|key| String::from_utf8_lossy(&key).into_owned())
        .collect();
    let what = format!("keys {keys:?}: nothing explains {:?}", part.get(index));
    Violation::new("linearizability", what)
}

/// The keys of a part, with values and versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State(BTreeMap<Vec<u8>, (Vec<u8>, u64)>);

type Found = Option<(Vec<u8>, u64)>;

/// A reply without the positions, which the model does not know.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Value(Found),
    Written { existed: bool },
    Conflict(Found),
    Transaction { held: bool, results: Vec<StepExpected> },
}

#[derive(Debug, PartialEq, Eq)]
enum StepExpected {
    Value(Found),
    Done { existed: bool },
}

impl State {
    fn apply(&mut self, request: &KvRequest) -> Option<Expected> {
        match request {
            KvRequest::Get { key } => Some(Expected::Value(self.0.get(key).cloned())),
            KvRequest::Write(Write { key, value, condition, .. }) => {
                if !self.holds(key, condition) {
                    return Some(Expected::Conflict(self.0.get(key).cloned()));
                }
                let existed = self.set(key, value.as_ref());
                Some(Expected::Written { existed })
            }
            KvRequest::Transaction { conditions, then, otherwise } => {
                let held = conditions.iter().all(|(key, condition)| self.holds(key, condition));
                let steps = if held { then } else { otherwise };
                let results = steps.iter().map(|step| self.step(step)).collect();
                Some(Expected::Transaction { held, results })
            }
            _ => None,
        }
    }

    fn step(&mut self, step: &Step) -> StepExpected {
        match step {
            Step::Get(key) => StepExpected::Value(self.0.get(key).cloned()),
            Step::Put { key, value, .. } => {
                StepExpected::Done { existed: self.set(key, Some(value)) }
            }
            Step::Delete(key) => StepExpected::Done { existed: self.set(key, None) },
        }
    }

    /// Whether the key had a value before.
    fn set(&mut self, key: &[u8], value: Option<&Vec<u8>>) -> bool {
        let before = match value {
            Some(value) => {
                let version = self.0.get(key).map_or(1, |(_, version)| version + 1);
                self.0.insert(key.to_vec(), (value.clone(), version))
            }
            None => self.0.remove(key),
        };
        before.is_some()
    }

    fn holds(&self, key: &[u8], condition: &Condition) -> bool {
        let value = self.0.get(key).map(|(value, _)| value);
        match condition {
            Condition::Always => true,
            Condition::Absent => value.is_none(),
            Condition::Present => value.is_some(),
            Condition::ValueIs(expected) => value == Some(expected),
            Condition::ChangedAt(_) | Condition::LockedWith(_) => false,
        }
    }
}

impl Expected {
    fn fits(&self, reply: &KvReply) -> bool {
        let seen = match reply {
            KvReply::Entry(entry) => Self::Value(found(Some(entry))),
            KvReply::Absent { .. } => Self::Value(None),
            KvReply::Written { existed, .. } => Self::Written { existed: *existed },
            KvReply::Conflict { found: entry, .. } => Self::Conflict(found(entry.as_ref())),
            KvReply::Transaction { held, results } => {
                let results = results.iter().map(|result| match result {
                    StepResult::Entry(entry) => StepExpected::Value(found(entry.as_ref())),
                    StepResult::Done { existed } => StepExpected::Done { existed: *existed },
                });
                Self::Transaction { held: *held, results: results.collect() }
            }
            _ => return false,
        };
        seen == *self
    }
}

fn found(entry: Option<&Entry>) -> Found {
    entry.map(|entry| (entry.value.clone(), entry.version))
}

#[cfg(test)]
mod tests;
