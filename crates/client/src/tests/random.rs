//! Random schedules with liars and changes of epoch: histories stay linearizable, every write happens once, everything
//! is answered in the end, and only liars are accused.

use std::collections::BTreeSet;

use ravelin_model::FaultModel;

use super::world::World;

const SCHEDULES: usize = 200;

/// As many schedules; how many liars were accused, and how many proven.
fn check(n: u16, f: u16, model: FaultModel) {
    let (mut accused, mut proven, mut followed) = (0, 0, 0);
    for number in 0..SCHEDULES {
        let mut world = World::new(number as u64, n, f, model);
        let checked = std::panic::AssertUnwindSafe(|| {
            world.run();
            check_history(&world);
        });
        if let Err(panic) = std::panic::catch_unwind(checked) {
            eprintln!("seed {number} of {n}, {f}");
            std::panic::resume_unwind(panic);
        }
        let who: BTreeSet<_> = world.accused.iter().map(|(replica, _)| replica).collect();
        followed += world.followed;
        accused += who.len();
        proven += world.accused.iter().filter(|(_, is_proven)| *is_proven).count();
    }
    assert!(followed > SCHEDULES, "clients went on to a later epoch {followed} times only");
    let lied = SCHEDULES * usize::from(f);
    assert!(accused * 10 > lied * 9, "{accused} of {lied} liars were noticed");
    assert!(proven * 2 > lied, "{proven} of {lied} liars were proven");
}

#[test]
fn one_liar_among_four_never_gets_a_lie_accepted() {
    check(4, 1, FaultModel::Arbitrary);
}

#[test]
fn one_liar_among_three_never_gets_a_lie_accepted_where_two_are_a_quorum() {
    check(3, 1, FaultModel::Hybrid);
}

#[test]
fn two_liars_among_seven_never_get_a_lie_accepted() {
    check(7, 2, FaultModel::Arbitrary);
}

/// A register with unique writes is linearizable if what is read was written, and no operation
/// sees an older state than one that ended before it began.
fn check_history(world: &World) {
    let calls: Vec<_> =
        world.clients.iter().flat_map(|client| client.calls.values().copied()).collect();
    for call in &calls {
        let (_, seen) = call.end.unwrap();
        let written = world.order.writes.get(&seen.changed).copied().unwrap_or(0);
        assert_eq!(seen.value, written, "nobody wrote what was seen: {call:?}");
        for earlier in &calls {
            let (end, before) = earlier.end.unwrap();
            if end < call.begin {
                let is_later = if call.is_write {
                    seen.changed > before.changed
                } else {
                    seen.changed >= before.changed
                };
                assert!(is_later, "{call:?} is stale after {earlier:?}");
            }
        }
    }
    for (replica, _) in &world.accused {
        assert!(world.liars.contains(replica), "{replica} is correct");
    }
}
