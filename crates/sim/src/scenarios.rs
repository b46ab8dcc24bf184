//! The known bugs and attacks that this suite contains, under their numbers: where each is tried,
//! and which planted bug that test finds.
//!
//! The planted bugs: [`crate::mutants`].

/// One known bug or attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Its number.
    pub number: u32,
    /// What it is.
    pub name: &'static str,
    /// The tests, each as file and name.
    pub tests: &'static [(&'static str, &'static str)],
    /// The planted bug that the first test finds, or why there is none.
    pub mutant: Mutant,
}

/// What proves that a scenario's test can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The name of the planted bug.
    Planted(&'static str),
    /// Why none is possible.
    None(&'static str),
}

use Mutant::{None as Without, Planted};

const SIM: &str = "crates/sim/tests/runs/scenarios.rs";
const TRANSFER: &str = "crates/replication/src/transfer/tests.rs";
const LOG_DAMAGE: &str = "crates/runtime/src/log/tests/damage.rs";
const OFFERING: &str = "crates/replication/src/offering/tests.rs";
const RESTART: &str = "crates/multicast/tests/cluster/restart.rs";
const WAITING: &str = "crates/multicast/tests/cluster/waiting.rs";
const CLIENT_VOTES: &str = "crates/client/src/tests/votes.rs";
const CLIENT_READS: &str = "crates/client/src/tests/reads.rs";
const MEMBERS: &str = "crates/replication/src/members/tests.rs";
const CONTINUITY: &str = "crates/wormhole/tests/cores/continuity.rs";
const SIGNING: &str = "crates/crypto/src/signing/tests.rs";
const BRM: &str = "crates/multicast/src/brm/tests.rs";

const BRM_MODEL: (&str, &str) =
    ("models/tests/brm.rs", "brm_t_under_a_majority_keeps_its_promises");
const COUNTERS_MODEL: (&str, &str) =
    ("models/tests/counters.rs", "a_position_is_bound_once_whatever_is_put_back");
const HYBRID_MODEL: (&str, &str) =
    ("models/tests/hybrid.rs", "with_a_broken_wormhole_views_disagree");
const INSTANCES_MODEL: (&str, &str) =
    ("models/tests/instances.rs", "who_comes_back_as_another_instance_splits_no_epoch");

/// All scenarios, by number.
pub const ALL: &[Scenario] = &[
    Scenario {
        number: 1,
        name: "an authenticator that is valid for some replicas only",
        tests: &[(SIM, "scenario_01_envelopes_that_only_some_would_take")],
        mutant: Planted("envelope_signatures_ignored"),
    },
    Scenario {
        number: 2,
        name: "a slow primary just under the timeout",
        tests: &[(SIM, "scenario_02_a_leader_just_under_the_wait")],
        mutant: Planted("wait_always_longest"),
    },
    Scenario {
        number: 5,
        name: "a fork by twins",
        tests: &[(SIM, "scenario_05_twins_and_forks")],
        mutant: Planted("quorum_lowered"),
    },
    Scenario {
        number: 6,
        name: "two bad leaders in a row stop the next",
        tests: &[(SIM, "scenario_06_two_dead_leaders_in_a_row")],
        mutant: Planted("leader_rotation_fixed"),
    },
    Scenario {
        number: 7,
        name: "commits stop for good under load",
        tests: &[(SIM, "scenario_07_commits_go_on_under_load")],
        mutant: Planted("fetch_never"),
    },
    Scenario {
        number: 8,
        name: "old members resign before the others have ended their epoch",
        tests: &[(SIM, "scenario_08_members_leave_an_epoch_that_others_are_still_in")],
        mutant: Planted("old_epoch_not_served"),
    },
    Scenario {
        number: 9,
        name: "a silent leader",
        tests: &[(SIM, "scenario_09_a_silent_leader")],
        mutant: Planted("leader_rotation_fixed"),
    },
    Scenario {
        number: 10,
        name: "a malicious peer stops or breaks who fetches the state",
        tests: &[(SIM, "scenario_10_who_lost_its_state_gets_it_whoever_lies")],
        mutant: Planted("state_requests_never_expire"),
    },
    Scenario {
        number: 11,
        name: "a peer lies about how far it is",
        tests: &[(SIM, "scenario_11_rounds_of_one_member_put_nobody_behind")],
        mutant: Planted("lag_of_one_believed"),
    },
    Scenario {
        number: 12,
        name: "a part of another place passes as this one's",
        tests: &[
            (TRANSFER, "one_correct_peer_is_enough_and_liars_are_found_out"),
            (SIM, "scenario_10_who_lost_its_state_gets_it_whoever_lies"),
        ],
        mutant: Planted("state_parts_believed"),
    },
    Scenario {
        number: 13,
        name: "a poisoned state splits who fetches it from the others",
        tests: &[
            (OFFERING, "what_a_quorum_did_not_sign_is_not_believed"),
            (SIM, "scenario_10_who_lost_its_state_gets_it_whoever_lies"),
        ],
        mutant: Planted("offers_of_one_believed"),
    },
    Scenario {
        number: 14,
        name: "time derived from something else than what was verified",
        tests: &[(SIM, "scenario_14_time_is_not_set_by_f_servers")],
        mutant: Planted("agreed_time_is_the_maximum"),
    },
    Scenario {
        number: 15,
        name: "fewer distinct signers than a quorum convince a client",
        tests: &[
            (CLIENT_READS, "scenario_15_fewer_distinct_signers_than_a_quorum_prove_nothing"),
            (SIM, "scenario_15_answers_in_others_names"),
        ],
        mutant: Planted("signers_counted_per_signature"),
    },
    Scenario {
        number: 16,
        name: "unverified late votes poison the next proposal",
        tests: &[(SIM, "scenario_16_badly_signed_votes_in_blocks")],
        mutant: Planted("vote_signatures_ignored"),
    },
    Scenario {
        number: 17,
        name: "an ordered change of the plan stops every server",
        tests: &[(
            "crates/replication/src/replica/tests/epoch_attacks.rs",
            "an_order_that_no_plan_fits_is_refused_and_stops_nobody",
        )],
        mutant: Planted("unfit_changes_taken"),
    },
    Scenario {
        number: 18,
        name: "a log whose end is torn or lost",
        tests: &[
            (LOG_DAMAGE, "a_flipped_bit_anywhere_before_the_last_group_is_damage"),
            (LOG_DAMAGE, "a_tail_torn_at_any_byte_loses_its_group_only_and_the_log_goes_on"),
            (
                "crates/runtime/src/log/tests/crash.rs",
                "no_schedule_of_power_losses_loses_or_invents_a_record",
            ),
        ],
        mutant: Planted("lost_groups_taken_for_torn"),
    },
    Scenario {
        number: 19,
        name: "one key on two machines",
        tests: &[(SIM, "scenario_05_twins_and_forks")],
        mutant: Planted("quorum_lowered"),
    },
    Scenario {
        number: 20,
        name: "a server restarts from an old disk and votes again",
        tests: &[
            (RESTART, "a_replica_that_lost_its_log_follows_and_says_nothing"),
            (SIM, "scenario_20_who_lost_its_promises_does_not_vote"),
        ],
        mutant: Planted("amnesia_ignored"),
    },
    Scenario {
        number: 21,
        name: "chosen message order stops correct servers",
        tests: &[(SIM, "scenario_21_chosen_message_order")],
        mutant: Without(
            "with all servers correct, a round that has a quorum has its leader's votes too: each \
             waiting rule alone suffices; what happens without them shows with an intruder (56, 61)",
        ),
    },
    Scenario {
        number: 31,
        name: "libraries disagree about a signature",
        tests: &[(
            SIGNING,
            "scenario_31_small_order_points_are_judged_alike_singly_and_in_batches",
        )],
        mutant: Planted("single_signatures_judged_strictly"),
    },
    Scenario {
        number: 32,
        name: "a client accepts equal replies of too few",
        tests: &[
            (CLIENT_VOTES, "scenario_32_one_member_counts_once_however_it_answers"),
            (CLIENT_VOTES, "scenario_32_answers_to_something_else_do_not_count"),
            (SIM, "scenario_32_equal_answers_of_too_few"),
        ],
        mutant: Planted("members_counted_per_answer"),
    },
    Scenario {
        number: 33,
        name: "sequence numbers are exhausted",
        tests: &[(SIM, "scenario_33_round_numbers_are_not_exhausted")],
        mutant: Planted("parking_unbounded"),
    },
    Scenario {
        number: 34,
        name: "floods of what is to come fill the memory",
        tests: &[(SIM, "scenario_33_round_numbers_are_not_exhausted")],
        mutant: Planted("parking_unbounded"),
    },
    Scenario {
        number: 35,
        name: "execution is not deterministic",
        tests: &[(SIM, "scenario_35_execution_is_deterministic")],
        mutant: Planted("execution_not_deterministic"),
    },
    Scenario {
        number: 39,
        name: "a wormhole's counter is put back: two digests for one value",
        tests: &[(SIM, "scenario_39_one_value_of_a_counter_twice"), HYBRID_MODEL, COUNTERS_MODEL],
        mutant: Planted("broken_wormhole_ignored"),
    },
    Scenario {
        number: 40,
        name: "replay across clusters and epochs",
        tests: &[
            (SIM, "scenario_40_replay_from_elsewhere"),
            (SIM, "scenario_40_orders_of_earlier_epochs"),
            (
                CLIENT_VOTES,
                "scenario_40_statements_of_another_cluster_incarnation_or_epoch_do_not_count",
            ),
        ],
        mutant: Planted("epochs_not_told_apart"),
    },
    Scenario {
        number: 41,
        name: "a fast read after a write acknowledged by too few",
        tests: &[
            (CLIENT_READS, "scenario_41_one_liar_and_f_laggards_cannot_make_a_read_stale"),
            (SIM, "scenario_41_a_liar_and_laggards"),
        ],
        mutant: Planted("fast_read_by_one_correct"),
    },
    Scenario {
        number: 56,
        name: "a server that never votes but is always first",
        tests: &[(SIM, "scenario_56_never_votes_but_is_always_first")],
        mutant: Planted("votes_not_awaited"),
    },
    Scenario {
        number: 57,
        name: "anchors always belong to one bad server",
        tests: &[(SIM, "scenario_57_rotation_of_leaders")],
        mutant: Planted("leader_rotation_fixed"),
    },
    Scenario {
        number: 58,
        name: "old blocks still count after a change of members",
        tests: &[(SIM, "scenario_58_blocks_of_an_epoch_that_has_ended"), INSTANCES_MODEL],
        mutant: Planted("epoch_goes_on"),
    },
    Scenario {
        number: 59,
        name: "a checkpoint without the ordering state",
        tests: &[
            (OFFERING, "what_a_quorum_did_not_sign_is_not_believed"),
            (SIM, "scenario_59_who_fetched_the_state_delivers_as_the_others"),
        ],
        mutant: Planted("ordering_state_believed"),
    },
    Scenario {
        number: 60,
        name: "an offline tree of forks behind one tip",
        tests: &[
            (
                "crates/multicast/tests/cluster/limits.rs",
                "a_prepared_tree_of_forked_blocks_is_fetched_as_far_as_its_first_contradiction",
            ),
            (SIM, "scenario_60_offline_trees_of_forks"),
        ],
        mutant: Planted("one_chain_rule_dropped"),
    },
    Scenario {
        number: 61,
        name: "delays before stabilisation switch off waiting",
        tests: &[(SIM, "scenario_61_waits_grow_until_they_suffice")],
        mutant: Planted("wait_never_doubles"),
    },
    Scenario {
        number: 62,
        name: "the majority misses a sender's proposal, and it delivers alone",
        tests: &[(BRM, "a_proposal_that_the_majority_missed_ends_without_a_delivery"), BRM_MODEL],
        mutant: Planted("brm_sender_undecided"),
    },
    Scenario {
        number: 63,
        name: "what a wormhole left at a clean stop is copied and restored",
        tests: &[
            COUNTERS_MODEL,
            INSTANCES_MODEL,
            (MEMBERS, "no_instance_gets_in_that_the_members_own_wormhole_did_not_certify"),
            (SIM, "scenario_63_each_start_is_an_instance_of_its_own"),
            (CONTINUITY, "files_put_back_close_the_instance"),
            (CONTINUITY, "without_a_counter_every_start_is_a_new_instance_and_nothing_is_written"),
        ],
        mutant: Planted("counter_reused_after_restart"),
    },
    Scenario {
        number: 64,
        name: "a chain handed out late, in heaps, and to a bare quorum",
        tests: &[
            (WAITING, "one_that_hands_out_its_blocks_late_and_not_to_all_stops_nothing"),
            (SIM, "scenario_64_late_heaps_of_blocks"),
        ],
        mutant: Planted("late_blocks_looked_for_in_their_rounds"),
    },
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_scenario_asked_for_is_there_with_tests_that_exist() {
        let asked = [
            1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 31, 32, 33, 34,
            35, 39, 40, 41, 56, 57, 58, 59, 60, 61, 62, 63, 64,
        ];
        let numbers: Vec<u32> = ALL.iter().map(|scenario| scenario.number).collect();
        assert_eq!(numbers, asked);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for scenario in ALL {
            assert!(!scenario.tests.is_empty());
            for (file, test) in scenario.tests {
                let text = std::fs::read_to_string(root.join(file)).unwrap();
                assert!(text.contains(&format!("fn {test}(")), "{file} has no {test}");
            }
        }
    }
}
