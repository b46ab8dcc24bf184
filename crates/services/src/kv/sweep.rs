//! Clearing away what ended leases left, a bounded number of things a commit.

use std::ops::ControlFlow;

use ravelin_model::limits::SWEEP_MAX;
use ravelin_model::requests::kv::{ENTRY_TAG, LeaseId, lease_key};
use ravelin_model::{Position, Time, View};

use super::{Turn, layout, leases, locks};

/// Leases are looked for up to the next whole step of time. In between the range is the same for all sweeps,
/// and a store that found it empty need not look again, however many leases end later.
const LOOK_STEP_US: u64 = 1_000_000;

/// Removes up to [`SWEEP_MAX`] keys, locks and leases, of those leases first that ended first.
pub(super) fn sweep(turn: &mut Turn<'_>) {
    let mut budget = SWEEP_MAX;
    while budget > 0 {
        let Some((expires, lease)) = first_ended(turn.view(), turn.now) else { return };
        let things = attached(turn.view(), lease, budget);
        budget -= things.len();
        for (thing, changed) in things {
            drop_thing(turn, lease, thing, changed);
        }
        if budget > 0 {
            budget -= 1; // for the lease itself, on which nothing hangs any more
            turn.store.delete(&layout::expiry_key(expires, lease));
            turn.remove(lease_key(lease));
        }
    }
}

/// Removes an entry of an ended lease, or takes the lease out of a lock.
fn drop_thing(turn: &mut Turn<'_>, lease: LeaseId, thing: Vec<u8>, changed: Position) {
    match thing.split_first() {
        Some((&ENTRY_TAG, _)) => {
            leases::detach(turn, lease, &thing);
            layout::note_removal(turn.store, changed);
            turn.remove(thing);
        }
        Some((_, name)) => {
            locks::settle(turn, name);
        }
        None => unreachable!("a tag stands before the name of what hangs on a lease"),
    }
}

/// The lease that ended first of those not yet cleared away.
fn first_ended(view: &dyn View, now: Time) -> Option<(Time, LeaseId)> {
    let until = Time((now.0 / LOOK_STEP_US).saturating_add(1).saturating_mul(LOOK_STEP_US));
    let (from, until) = layout::expiry_range(until);
    let mut first = None;
    view.scan(&from, Some(&until), &mut |key, _| {
        first = Some(layout::expiry_parts(key));
        ControlFlow::Break(())
    });
    first.filter(|(expires, _)| *expires <= now)
}

/// Up to `limit` things that hang on the lease, and where they last changed.
fn attached(view: &dyn View, lease: LeaseId, limit: usize) -> Vec<(Vec<u8>, Position)> {
    let from = layout::attached_key(lease, &[]);
    let until = layout::above_prefix(&from);
    let mut things = Vec::new();
    view.scan(&from, until.as_deref(), &mut |key, position| {
        things.push((layout::attached_thing(key).to_vec(), layout::stored(position)));
        if things.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    things
}
