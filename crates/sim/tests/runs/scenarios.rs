//! Known bugs and attacks under their numbers: each runs the attack against the product's replicas.
//! Which planted bug each of them finds: `ravelin_sim::scenarios`.

use ravelin_model::{FaultModel, ReplicaId};
use ravelin_sim::options::Travel;
use ravelin_sim::runner::replay;
use ravelin_sim::{FaultClass, Mode, Options, Outcome};

const SMALL: (u16, u16) = (4, 1);
const LARGE: (u16, u16) = (7, 2);

/// Runs `options` under several seeds: nothing wrong may happen, and enough must. Without optimisation,
/// which takes ten times as long, under one.
fn holds(seeds: u64, make: impl Fn(u64) -> Options) -> Vec<Outcome> {
    let seeds = if cfg!(debug_assertions) { 1 } else { seeds };
    (0..seeds).map(|seed| replay_one(&make(seed))).collect()
}

/// The same for one world.
fn replay_one(options: &Options) -> Outcome {
    let outcome = replay(options);
    if let Some(violation) = &outcome.violation {
        panic!("{violation}\n{options}");
    }
    assert!(outcome.commits >= options.commits, "{} commits\n{options}", outcome.commits);
    for (name, acts) in &outcome.acts {
        assert!(*acts > 0, "{name} did nothing\n{options}");
    }
    outcome
}

/// Commits in a virtual second.
fn pace(outcomes: &[Outcome]) -> f64 {
    let commits: u64 = outcomes.iter().map(|outcome| outcome.commits).sum();
    let virtual_us: u64 = outcomes.iter().map(|outcome| outcome.virtual_us).sum();
    commits as f64 * 1e6 / virtual_us as f64
}

/// How long half of the answers of a run took at most.
fn median_us(outcome: &Outcome) -> u64 {
    let operations = outcome.history.operations().iter();
    let mut took: Vec<u64> =
        operations.filter_map(|op| Some(op.responded_us? - op.invoked_us)).collect();
    took.sort_unstable();
    took.get(took.len() / 2).copied().expect("something was answered")
}

fn proofs(outcomes: &[Outcome]) -> u64 {
    outcomes.iter().map(|outcome| outcome.proofs).sum()
}

/// An envelope whose signature is good for some and bad for others cannot be: every replica judges
/// it alike, and whoever orders a bad one only loses its block.
#[test]
fn scenario_01_envelopes_that_only_some_would_take() {
    holds(4, |seed| Options::calm(seed, Mode::Safety, SMALL).intruded(1, "bad-envelopes"));
}

/// A leader that is late by just about as much as it is waited for does not set the pace.
#[test]
fn scenario_02_a_leader_just_under_the_wait() {
    let calm = holds(4, |seed| Options::calm(seed, Mode::Safety, SMALL));
    let slowed =
        holds(4, |seed| Options::calm(seed, Mode::Safety, SMALL).intruded(1, "slow-leader"));
    let (calm, slowed) = (pace(&calm), pace(&slowed));
    assert!(slowed >= calm / 6.0, "{slowed:.0} instead of {calm:.0} commits a second");
}

/// Two machines with one key, and forks shown to halves of the group, split nobody.
#[test]
fn scenario_05_twins_and_forks() {
    let mut found = 0;
    for name in ["twin", "equivocator", "different-to-each", "chain-gap"] {
        let outcomes = holds(3, |seed| {
            Options::calm(seed, Mode::Safety, SMALL)
                .with(FaultClass::Adversary)
                .with(FaultClass::Reordering)
                .intruded(u16::try_from(seed % 4).unwrap(), name)
        });
        found += proofs(&outcomes);
    }
    assert!(found > 0, "forks are proven");
}

/// Two leaders in a row are dead, and the one after them goes on.
#[test]
fn scenario_06_two_dead_leaders_in_a_row() {
    for leaders in [1, 2] {
        holds(2, |seed| Options {
            leaders,
            ..Options::calm(seed, Mode::Liveness, LARGE).intruded(0, "mute").intruded(1, "mute")
        });
    }
}

/// Commits do not stop after a while under load, though messages are lost.
#[test]
fn scenario_07_commits_go_on_under_load() {
    let long = |seed| Options {
        commits: 1000,
        clients: 4,
        ..Options::calm(seed, Mode::Liveness, SMALL).with(FaultClass::Loss)
    };
    holds(1, long);
}

/// Members that have left an epoch still serve those who have not ended it: a member that leaves for
/// good, and one that was away, leave a quorum in neither epoch otherwise.
#[test]
fn scenario_08_members_leave_an_epoch_that_others_are_still_in() {
    let outcomes = holds(6, |seed| {
        Options::calm(seed, Mode::Liveness, SMALL)
            .with(FaultClass::KeyChange)
            .with(FaultClass::Loss)
            .with(FaultClass::Crash)
            .intruded(u16::try_from(seed % 4).unwrap(), "deserter")
    });
    assert!(outcomes.iter().all(|outcome| outcome.epochs > 0));
}

/// A silent leader holds nobody up for good.
#[test]
fn scenario_09_a_silent_leader() {
    holds(3, |seed| Options {
        leaders: 1,
        ..Options::calm(seed, Mode::Liveness, SMALL).intruded(0, "mute")
    });
}

/// Time is derived from what is signed and ordered, and never passes the fastest correct clock.
#[test]
fn scenario_14_time_is_not_set_by_f_servers() {
    for name in ["future-clock", "past-clock"] {
        holds(2, |seed| {
            Options::calm(seed, Mode::Safety, SMALL).with(FaultClass::Skew).intruded(2, name)
        });
    }
}

/// Votes in others' names do not count at clients.
#[test]
fn scenario_15_answers_in_others_names() {
    holds(4, |seed| Options::calm(seed, Mode::Liveness, SMALL).intruded(3, "forger"));
}

/// What is badly signed inside a good block poisons no correct replica's next block.
#[test]
fn scenario_16_badly_signed_votes_in_blocks() {
    holds(3, |seed| Options {
        travel: Travel::Bytes,
        ..Options::calm(seed, Mode::Liveness, SMALL).intruded(1, "vote-poisoner")
    });
}

/// All replicas are correct; whoever owns the network chooses the order of messages for ever, within
/// a delay that nobody knows.
#[test]
fn scenario_21_chosen_message_order() {
    holds(6, |seed| Options {
        leaders: if seed % 2 == 0 { 1 } else { 2 },
        ..Options::calm(seed, Mode::Safety, SMALL).with(FaultClass::Adversary)
    });
}

/// Runs in which servers fall behind by more than the others' logs hold.
fn short_logs(seed: u64, mode: Mode) -> Options {
    Options {
        checkpoint_every: 16,
        transfer_lag: 8,
        commits: 1500,
        ..Options::calm(seed, mode, SMALL).with(FaultClass::ShortLogs).with(FaultClass::Crash)
    }
}

/// How often a state was fetched.
fn fetched(outcomes: &[Outcome]) -> u64 {
    let counts = outcomes.iter().map(|outcome| outcome.faults.get(&FaultClass::ShortLogs));
    counts.flatten().sum()
}

/// Whoever needs the others' state gets it, although one of them shows false ones, or none, or is
/// silent, or goes on without end.
#[test]
fn scenario_10_who_lost_its_state_gets_it_whoever_lies() {
    let outcomes = holds(3, |seed| {
        let options = short_logs(seed, Mode::Safety).with(FaultClass::RestartStorm);
        options.with(FaultClass::Pause).intruded((seed % 4) as u16, "false-state")
    });
    assert!(fetched(&outcomes) > 0);
    let bad = |outcome: &Outcome| outcome.suspicions.of_intruders.get("bad_state").copied();
    assert!(outcomes.iter().filter_map(bad).sum::<u64>() > 0, "it is noticed");
    let wronged = outcomes.iter().any(|it| it.suspicions.of_correct.contains_key("bad_state"));
    assert!(!wronged, "correct servers' states are right");
}

/// What one member shows of rounds far ahead makes nobody give up its own state for another.
#[test]
fn scenario_11_rounds_of_one_member_put_nobody_behind() {
    let outcomes = holds(3, |seed| Options {
        classes: [FaultClass::ShortLogs].into(),
        ..short_logs(seed, Mode::Liveness).intruded(1, "future-flood")
    });
    assert_eq!(fetched(&outcomes), 0);
}

/// Who lost its disk, and so its promises, votes by its old key no more.
#[test]
fn scenario_20_who_lost_its_promises_does_not_vote() {
    holds(4, |seed| Options {
        wiped: Some(ReplicaId((seed % 4) as u16)),
        ..Options::calm(seed, Mode::Liveness, SMALL).with(FaultClass::Wipe)
    });
}

/// Who goes on from a state that it fetched delivers the same as all others, from then on.
#[test]
fn scenario_59_who_fetched_the_state_delivers_as_the_others() {
    for mode in [Mode::Safety, Mode::Liveness] {
        let outcomes = holds(3, |seed| short_logs(seed, mode).with(FaultClass::SlowLinks));
        assert!(fetched(&outcomes) > 0);
    }
}

/// Colluders who answer alike, in their own names and in others', convince no client.
#[test]
fn scenario_32_equal_answers_of_too_few() {
    let outcomes = holds(2, |seed| {
        Options::calm(seed, Mode::Liveness, LARGE).intruded(2, "forger+liar").intruded(5, "liar")
    });
    assert!(proofs(&outcomes) > 0, "wrong answers are proven");
}

/// Rounds far ahead, up to the last one, neither displace what is current nor fill the memory.
#[test]
fn scenario_33_round_numbers_are_not_exhausted() {
    for name in ["future-flood", "wrong-parents"] {
        holds(3, |seed| {
            Options::calm(seed, Mode::Safety, SMALL).with(FaultClass::Disconnect).intruded(1, name)
        });
    }
}

/// Execution depends on nothing but the order: all replicas state the same.
#[test]
fn scenario_35_execution_is_deterministic() {
    holds(2, |seed| Options::calm(seed, Mode::Safety, SMALL).with(FaultClass::Skew));
}

/// A wormhole that attests two blocks for one value of its counter breaks agreement: whoever sees both
/// halts. A sound one attests one, and the fork is nobody's.
#[test]
fn scenario_39_one_value_of_a_counter_twice() {
    let forking = |seed, broken| Options {
        model: FaultModel::Hybrid,
        are_rollback_proof: true,
        broken_wormhole: broken,
        ..Options::calm(seed, Mode::Safety, (3, 1)).intruded(0, "equivocator")
    };
    let mut halted = 0;
    for seed in 0..4 {
        let outcome = replay(&forking(seed, Some(ReplicaId(0))));
        let kind = outcome.violation.map(|violation| violation.kind);
        assert_ne!(kind, Some("broken-wormhole"), "seed {seed}: it saw both, and goes on");
        halted += outcome.halted;
    }
    assert!(halted > 0, "two attestations are seen");
    let outcomes = holds(4, |seed| forking(seed, None));
    assert!(outcomes.iter().all(|outcome| outcome.acts["equivocator"] > 0));
    assert_eq!(proofs(&outcomes), 0, "a fork without attestation proves nothing");
}

/// What was signed for another epoch, beginning or cluster is refused, and noticed.
#[test]
fn scenario_40_replay_from_elsewhere() {
    let outcomes =
        holds(4, |seed| Options::calm(seed, Mode::Liveness, SMALL).intruded(0, "stale-epoch"));
    for outcome in outcomes {
        assert!(outcome.suspicions.of_intruders.get("foreign").is_some_and(|count| *count > 0));
    }
}

/// A member's order of another key is good in the epoch for which it was signed: later, it would give
/// the member a key back that it has given up.
#[test]
fn scenario_40_orders_of_earlier_epochs() {
    let outcomes = holds(2, |seed| Options {
        commits: 4000,
        ..Options::calm(seed, Mode::Safety, SMALL)
            .with(FaultClass::KeyChange)
            .intruded(2, "old-orders")
    });
    let epochs: Vec<_> =
        outcomes.iter().map(|outcome| (outcome.epochs, outcome.virtual_us)).collect();
    assert!(epochs.iter().all(|(count, _)| *count > 4), "{epochs:?}");
}

/// A liar and laggards together tell no stale value: fast reads need a quorum.
#[test]
fn scenario_41_a_liar_and_laggards() {
    for mode in [Mode::Safety, Mode::Liveness] {
        holds(3, |seed| {
            Options::calm(seed, mode, SMALL)
                .with(FaultClass::SlowLinks)
                .with(FaultClass::OneWayCut)
                .with(FaultClass::Pause)
                .intruded(1, "liar")
        });
    }
}

/// A server that never votes but is always first leaves the others their certificates: answers come
/// as soon as without it. (Half of them, since its own clients must first turn to another.) And they
/// come where links are slow: in this world, wherever it sits, they would not if votes were not awaited.
#[test]
fn scenario_56_never_votes_but_is_always_first() {
    let calm = |seed| Options { leaders: 1, ..Options::calm(seed, Mode::Liveness, SMALL) };
    let usual = holds(4, calm);
    let worst = holds(4, |seed| calm(seed).intruded(3, "never-votes-first"));
    for (usual, worst) in usual.iter().zip(&worst) {
        let (usual, worst) = (median_us(usual), median_us(worst));
        assert!(2 * worst < 3 * usual, "the median answer took {worst} us, not {usual} us");
    }
    for bad in 0..4 {
        replay_one(&never_votes_first_on_slow_links(7, bad));
    }
}

fn never_votes_first_on_slow_links(seed: u64, bad: u16) -> Options {
    Options {
        leaders: 1,
        ..Options::calm(seed, Mode::Safety, SMALL)
            .with(FaultClass::SlowLinks)
            .intruded(bad, "never-votes-first")
    }
}

/// The anchors of waves belong to different servers: bad ones do not decide whether anything is
/// decided.
#[test]
fn scenario_57_rotation_of_leaders() {
    for bad in 0..4 {
        holds(1, |seed| Options {
            leaders: 1,
            ..Options::calm(seed, Mode::Liveness, SMALL).intruded(bad, "votes-nobody")
        });
    }
}

/// What the order of an epoch holds beyond the commit that ends it is void, however far it was decided
/// where: whoever saw more of it executes no more.
#[test]
fn scenario_58_blocks_of_an_epoch_that_has_ended() {
    for class in [FaultClass::Adversary, FaultClass::SlowLinks, FaultClass::Reordering] {
        let outcomes = holds(3, |seed| {
            Options::calm(seed, Mode::Safety, SMALL).with(FaultClass::KeyChange).with(class)
        });
        assert!(outcomes.iter().any(|outcome| outcome.epochs > 0));
    }
}

/// Trees of forks behind one tip oblige nobody to fetch them.
#[test]
fn scenario_60_offline_trees_of_forks() {
    let outcomes =
        holds(6, |seed| Options::calm(seed, Mode::Safety, SMALL).intruded(2, "offline-tree"));
    assert!(proofs(&outcomes) > 0, "forks are proven");
    for outcome in outcomes {
        assert!(outcome.maxima.parked_blocks < 64, "{:?}", outcome.maxima);
    }
}

/// Slow links, and a server that seems fast and never votes, do not switch the waiting off: a wait
/// that was too short for certificates grows until it is not. In these worlds nothing would be decided
/// any more if it did not.
#[test]
fn scenario_61_waits_grow_until_they_suffice() {
    for (seed, bad) in [(11, 2), (12, 0), (16, 0), (25, 0), (26, 2), (34, 2)] {
        replay_one(&never_votes_first_on_slow_links(seed, bad));
    }
}

/// Without a store that no host can roll back a server that starts again has another instance of its
/// wormhole, whatever was copied: it is silent until an epoch lets that in, and then takes part.
#[test]
fn scenario_63_each_start_is_an_instance_of_its_own() {
    let outcomes = holds(4, |seed| Options {
        model: FaultModel::Hybrid,
        restarting: Some(ReplicaId(u16::try_from(seed % 3).unwrap())),
        ..Options::calm(seed, Mode::Liveness, (3, 1)).with(FaultClass::Crash)
    });
    assert!(outcomes.iter().all(|outcome| outcome.epochs > 0), "an epoch let it in");
}

/// One that hands its blocks out in late heaps, to a bare quorum, and to nobody for a while: whoever got
/// none of them has all that the others have, whatever their horizons passed meanwhile.
#[test]
fn scenario_64_late_heaps_of_blocks() {
    // Who forks its chain is soon found out, and acts no more.
    for (names, least) in [("late-heaps", 1_000), ("equivocator+late-heaps", 50)] {
        let outcomes = holds(4, |seed| Options {
            commits: 2_000,
            ..Options::calm(seed, Mode::Safety, SMALL)
                .intruded(u16::try_from(seed % 4).unwrap(), names)
        });
        let acts: Vec<u64> = outcomes.iter().map(|outcome| outcome.acts["late-heaps"]).collect();
        assert!(acts.iter().all(|acts| *acts > least), "{names}: {acts:?}");
    }
}
