//! Conditional changes: all of one or nothing.
//!
//! Every write is drafted first, against the store and what the draft has done so far. Only when all
//! of it is certain, leases, limits and the reply's size included, does the store change.

use std::collections::BTreeMap;

use ravelin_model::limits::{
    CACHED_REPLY_BYTES_MAX, KV_KEY_BYTES_MAX, KV_VISITED_BYTES_MAX, TRANSACTION_CONDITIONS_MAX,
    TRANSACTION_STEPS_MAX,
};
use ravelin_model::requests::kv::{
    Condition, Entry, KvReply, LeaseId, Step, StepResult, StoredEntry, Write, entry_key,
};
use ravelin_model::{Context, Encode as _};

use super::{Turn, entries, layout, leases, locks};

/// The largest value that is shown in a conflict: the reply must fit the reply cache.
const CONFLICT_VALUE_BYTES_MAX: usize = CACHED_REPLY_BYTES_MAX - KV_KEY_BYTES_MAX - 64;

/// Changes one key if the condition holds.
pub(super) fn write(turn: &mut Turn<'_>, context: &Context, write: Write) -> KvReply {
    let Write { key, value, condition, lease } = write;
    let fits = match &value {
        Some(value) => entries::is_key(&key) && entries::is_value(value),
        None => entries::is_key(&key) && lease.is_none(), // what is gone hangs on nothing
    };
    if !fits {
        return KvReply::Invalid;
    }
    let mut draft = Draft::default();
    if !draft.meets(turn, &key, &condition) {
        return conflict(draft.read(turn, &key));
    }
    let step = match value {
        Some(value) => Step::Put { key, value, lease },
        None => Step::Delete(key),
    };
    let written = draft.take(turn, context, step).and_then(|result| {
        draft.commit(turn, context)?;
        Ok(result)
    });
    match written {
        Ok(StepResult::Done { existed }) => {
            KvReply::Written { position: context.position, existed }
        }
        Ok(StepResult::Entry(_)) => unreachable!("a write reads nothing"),
        Err(refused) => refused,
    }
}

/// Takes the steps of the first branch if all conditions hold, of the second if not.
pub(super) fn transaction(
    turn: &mut Turn<'_>,
    context: &Context,
    conditions: &[(Vec<u8>, Condition)],
    branches: [Vec<Step>; 2],
) -> KvReply {
    let fits = conditions.len() <= TRANSACTION_CONDITIONS_MAX
        && conditions.iter().all(|(key, _)| entries::is_key(key))
        && branches.iter().all(|branch| branch.len() <= TRANSACTION_STEPS_MAX)
        && branches.iter().flatten().all(is_step);
    if !fits {
        return KvReply::Invalid;
    }
    attempt(turn, context, conditions, branches).unwrap_or_else(|refused| refused)
}

fn attempt(
    turn: &mut Turn<'_>,
    context: &Context,
    conditions: &[(Vec<u8>, Condition)],
    [then, otherwise]: [Vec<Step>; 2],
) -> Result<KvReply, KvReply> {
    let mut draft = Draft::default();
    let mut held = true;
    for (key, condition) in conditions {
        held = held && draft.meets(turn, key, condition);
        draft.check_cost()?;
    }
    let steps = if held { then } else { otherwise };
    let mut results = Vec::with_capacity(steps.len());
    let mut read_bytes = 0;
    for step in steps {
        let result = draft.take(turn, context, step)?;
        draft.check_cost()?;
        if let StepResult::Entry(Some(entry)) = &result {
            read_bytes += entry.value.len();
        }
        if read_bytes > CACHED_REPLY_BYTES_MAX {
            return Err(KvReply::TooLarge); // before more is copied
        }
        results.push(result);
    }
    let reply = KvReply::Transaction { held, results };
    if reply.encode().len() > CACHED_REPLY_BYTES_MAX {
        return Err(KvReply::TooLarge);
    }
    draft.commit(turn, context)?;
    Ok(reply)
}

fn is_step(step: &Step) -> bool {
    match step {
        Step::Get(key) | Step::Delete(key) => entries::is_key(key),
        Step::Put { key, value, .. } => entries::is_key(key) && entries::is_value(value),
    }
}

fn conflict(mut found: Option<Entry>) -> KvReply {
    let mut value_left_out = false;
    if let Some(entry) = found.as_mut().filter(|it| it.value.len() > CONFLICT_VALUE_BYTES_MAX) {
        entry.value = Vec::new();
        value_left_out = true;
    }
    KvReply::Conflict { found, value_left_out }
}

/// What a request would change, seen as if it had.
#[derive(Default)]
struct Draft {
    /// In the order of their keys: mostly one.
    slots: Vec<(Vec<u8>, Slot)>,
    visited_bytes: usize,
}

/// A key that the draft looked at.
struct Slot {
    /// Whether there is a record in the store, even one whose lease has ended.
    is_stored: bool,
    /// The lease that the record in the store hangs on.
    hung_on: Option<LeaseId>,
    /// What the key has now.
    entry: Option<StoredEntry>,
    /// Whether the draft changed it.
    is_touched: bool,
}

impl Draft {
    fn slot(&mut self, turn: &Turn<'_>, key: &[u8]) -> &mut Slot {
        let found = self.slots.binary_search_by(|(known, _)| known.as_slice().cmp(key));
        let place = found.unwrap_or_else(|place| {
            let stored = layout::entry(turn.view(), key);
            let hung_on = stored.as_ref().and_then(|stored| stored.lease);
            self.visited_bytes += stored.as_ref().map_or(0, |stored| stored.value.len());
            let is_stored = stored.is_some();
            let lives = leases::holds(turn.view(), turn.now, hung_on);
            let entry = stored.filter(|_| lives);
            let slot = Slot { is_stored, hung_on, entry, is_touched: false };
            self.slots.insert(place, (key.to_vec(), slot));
            place
        });
        let (_, slot) = self.slots.get_mut(place).expect("it is there now");
        slot
    }

    fn read(&mut self, turn: &Turn<'_>, key: &[u8]) -> Option<Entry> {
        self.slot(turn, key).entry.clone().map(|stored| entries::shown(key.to_vec(), stored))
    }

    fn meets(&mut self, turn: &Turn<'_>, key: &[u8], condition: &Condition) -> bool {
        if let Condition::LockedWith(token) = condition {
            return locks::is_held_under(turn.view(), turn.now, key, *token);
        }
        let entry = self.slot(turn, key).entry.as_ref();
        match condition {
            Condition::Always | Condition::LockedWith(_) => true,
            Condition::Absent => entry.is_none(),
            Condition::Present => entry.is_some(),
            Condition::ValueIs(value) => entry.is_some_and(|entry| entry.value == *value),
            Condition::ChangedAt(position) => entry.is_some_and(|entry| entry.changed == *position),
        }
    }

    /// Takes one step.
    ///
    /// # Errors
    /// The reply with which the whole request is refused.
    fn take(
        &mut self,
        turn: &Turn<'_>,
        context: &Context,
        step: Step,
    ) -> Result<StepResult, KvReply> {
        match step {
            Step::Get(key) => Ok(StepResult::Entry(self.read(turn, &key))),
            Step::Put { key, value, lease } => {
                if lease.is_some_and(|lease| leases::of_asker(turn, context, lease).is_none()) {
                    return Err(KvReply::NoLease);
                }
                let changed = context.position;
                let slot = self.slot(turn, &key);
                let before = slot.entry.as_ref();
                let (created, version, existed) = before.map_or((changed, 1, false), |before| {
                    (before.created, before.version.saturating_add(1), true)
                });
                slot.entry = Some(StoredEntry { created, changed, version, lease, value });
                slot.is_touched = true;
                Ok(StepResult::Done { existed })
            }
            Step::Delete(key) => {
                let slot = self.slot(turn, &key);
                let existed = slot.entry.take().is_some();
                slot.is_touched |= existed;
                Ok(StepResult::Done { existed })
            }
        }
    }

    /// Makes the drafted changes, in key order.
    ///
    /// # Errors
    /// [`KvReply::LeaseFull`] if more would hang on a lease than may; nothing has changed then.
    fn commit(self, turn: &mut Turn<'_>, context: &Context) -> Result<(), KvReply> {
        self.check_room(turn)?;
        for (key, slot) in self.slots.into_iter().filter(|(_, slot)| slot.is_touched) {
            let thing = entry_key(&key);
            let hangs_on = slot.hangs_on();
            if let Some(before) = slot.hung_on.filter(|before| Some(*before) != hangs_on) {
                leases::detach(turn, before, &thing);
            }
            if let Some(entry) = slot.entry {
                if let Some(lease) = entry.lease {
                    leases::attach(turn, lease, &thing, entry.changed);
                }
                turn.show(thing, &entry);
            } else if slot.is_stored {
                layout::note_removal(turn.store, context.position);
                turn.remove(thing);
            }
        }
        Ok(())
    }

    /// Whether what was looked at so far is no more than a small request may cost.
    fn check_cost(&self) -> Result<(), KvReply> {
        if self.visited_bytes > KV_VISITED_BYTES_MAX { Err(KvReply::TooLarge) } else { Ok(()) }
    }

    /// Whether every lease can take what would hang on it.
    fn check_room(&self, turn: &Turn<'_>) -> Result<(), KvReply> {
        let mut more: BTreeMap<LeaseId, i64> = BTreeMap::new();
        let slots = self.slots.iter().map(|(_, slot)| slot);
        for slot in slots.filter(|slot| slot.is_touched) {
            if let Some(before) = slot.hung_on {
                *more.entry(before).or_default() -= 1;
            }
            if let Some(after) = slot.hangs_on() {
                *more.entry(after).or_default() += 1;
            }
        }
        let has_room = more.into_iter().filter(|(_, more)| *more > 0).all(|(lease, more)| {
            layout::lease(turn.view(), lease).is_some_and(|record| leases::has_room(&record, more))
        });
        if has_room { Ok(()) } else { Err(KvReply::LeaseFull) }
    }
}

impl Slot {
    /// The lease that the key's value hangs on now.
    fn hangs_on(&self) -> Option<LeaseId> {
        self.entry.as_ref().and_then(|entry| entry.lease)
    }
}
