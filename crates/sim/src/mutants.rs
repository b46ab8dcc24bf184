//! The planted bugs: what each breaks, and the tests that must find it.
//!
//! A planted bug lives behind `--cfg ravelin_mutants`, at the line that a rule protects, and is
//! chosen by `RAVELIN_MUTANT`. `cargo xtask mutants` runs what is listed here and prints who found
//! what.

use crate::scenarios::{self, Mutant, Scenario};

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planted {
    /// The name that chooses it.
    pub name: &'static str,
    /// What it breaks, in one line.
    pub breaks: &'static str,
    /// Whether it breaks the commit rule, which models and random views must see by themselves.
    pub is_core: bool,
    /// Tests that must find it, beside those of the scenarios that name it; each as file and name.
    pub tests: &'static [(&'static str, &'static str)],
}

impl Planted {
    /// The scenarios that name it; the first test of each must find it.
    pub fn scenarios(&self) -> impl Iterator<Item = &'static Scenario> {
        let name = self.name;
        scenarios::ALL.iter().filter(move |scenario| scenario.mutant == Mutant::Planted(name))
    }

    /// All tests that must find it, as file and name.
    pub fn killers(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let of_scenarios = self.scenarios().filter_map(|scenario| scenario.tests.first());
        self.tests.iter().chain(of_scenarios).copied()
    }
}

const DECISIONS: &str = "models/tests/decisions.rs";
const WAVES: &str = "models/tests/waves.rs";
const BOMBS: &str = "models/tests/bombs.rs";
const VIEWS: &str = "crates/multicast/tests/cluster/views.rs";
const RESTART: &str = "crates/multicast/tests/cluster/restart.rs";
const INTRUSION: &str = "crates/multicast/tests/cluster/intrusion.rs";
const REGRESSIONS: &str = "crates/sim/tests/runs/regressions.rs";
const WAITING: &str = "crates/multicast/tests/cluster/waiting.rs";
const SEEDS: &str = "crates/sim/tests/runs/seeds.rs";
const SCENARIOS: &str = "crates/sim/tests/runs/scenarios.rs";
const FOLLOWING: &str = "crates/multicast/src/following.rs";
const AUDIT: &str = "crates/replication/src/execution/audit/tests.rs";
const EPOCHS: &str = "crates/replication/src/replica/tests/epochs.rs";
const RELEASES: &str = "crates/replication/src/replica/tests/release.rs";
const TRANSFERS: &str = "crates/replication/src/replica/tests/transfers.rs";
const TRANSFER: &str = "crates/replication/src/transfer/tests.rs";
const OFFERING: &str = "crates/replication/src/offering/tests.rs";
const EPOCH_ATTACKS: &str = "crates/replication/src/replica/tests/epoch_attacks.rs";
const LOG_DAMAGE: &str = "crates/runtime/src/log/tests/damage.rs";
const REOPENING: &str = "crates/sim/tests/runs/reopening.rs";
const CLOSING: &str = "crates/multicast/src/ordering/closing/tests.rs";
const ENDINGS: &str = "crates/replication/src/replica/tests/reopening.rs";
const CATCHING_UP: &str = "crates/multicast/src/ordering/catching_up/tests.rs";
const CATCH_UP: &str = "crates/multicast/src/catch_up/tests.rs";
const COMMITTER: &str = "crates/multicast/src/committer/tests.rs";
const ATTESTING: &str = "crates/multicast/src/ordering/attesting/tests.rs";
const CONTINUITY: &str = "crates/wormhole/tests/cores/continuity.rs";
const MEMBERS: &str = "crates/replication/src/members/tests.rs";
const HANDOVERS: &str = "models/tests/epochs.rs";
const BRM: &str = "crates/multicast/src/brm/tests.rs";
const BRM_T_QUORUM: (&str, &str) =
    ("models/tests/brm.rs", "brm_t_under_a_majority_keeps_its_promises");
const BRM_M_QUORUM: (&str, &str) =
    ("models/tests/brm.rs", "brm_m_under_a_majority_keeps_its_promises");
const BRM_T_REAL_TIME: (&str, &str) =
    ("models/tests/brm.rs", "brm_t_in_real_time_keeps_its_promises");
const BRM_CHANGED: (&str, &str) =
    ("models/tests/brm.rs", "a_lost_or_changed_copy_between_each_two_harms_nobody");
const BRM_SEEDS: (&str, &str) =
    ("crates/sim/tests/runs/brm.rs", "every_promise_holds_whoever_is_intruded");
const BRM_ATTACKS: &str = "crates/multicast/src/brm/tests/attacks.rs";

const THREE_WITH_WORMHOLES: (&str, &str) =
    (VIEWS, "three_replicas_with_wormholes_never_disagree_whatever_they_see");
const BAD_LEADER_WITH_A_WORMHOLE: (&str, &str) =
    ("models/tests/hybrid.rs", "a_bad_leader_with_a_wormhole_splits_no_decision");
const INSTANCES: (&str, &str) =
    ("models/tests/instances.rs", "who_comes_back_as_another_instance_splits_no_epoch");
const FORKING_LEADER: (&str, &str) = (DECISIONS, "a_forking_leader_splits_no_decision");

const fn planted(
    name: &'static str,
    breaks: &'static str,
    tests: &'static [(&'static str, &'static str)],
) -> Planted {
    Planted { name, breaks, is_core: false, tests }
}

const fn core(
    name: &'static str,
    breaks: &'static str,
    tests: &'static [(&'static str, &'static str)],
) -> Planted {
    Planted { name, breaks, is_core: true, tests }
}

/// All planted bugs, by name.
pub const ALL: &[Planted] = &[
    planted("agreed_time_is_the_maximum", "one clock sets agreed time", &[]),
    planted(
        "amnesia_ignored",
        "a replica that lost its log speaks for its rounds again",
        &[
            (RESTART, "a_replica_that_lost_its_log_follows_and_says_nothing"),
            (EPOCHS, "who_lost_its_promises_of_a_later_epoch_does_not_speak_in_it_again"),
        ],
    ),
    core(
        "anchor_one_round_early",
        "a slot is decided through an anchor that is too near",
        &[
            FORKING_LEADER,
            (VIEWS, "four_replicas_never_disagree_whatever_they_see"),
            BAD_LEADER_WITH_A_WORMHOLE,
            THREE_WITH_WORMHOLES,
        ],
    ),
    planted(
        "attested_before_durable",
        "a wormhole is asked to attest a block that is on no disk",
        &[(ATTESTING, "a_block_is_durable_before_it_is_attested_and_attested_before_it_is_said")],
    ),
    planted(
        "audit_entry_dropped",
        "only the first operation of an envelope is recorded",
        &[(AUDIT, "every_operation_executed_stands_in_the_log_once")],
    ),
    planted(
        "blocks_not_kept_show_nothing",
        "a block too far ahead to be kept leads to nobody else who is there",
        &[(CATCHING_UP, "a_block_that_is_too_far_ahead_to_be_kept_shows_who_is_there")],
    ),
    planted(
        "brm_copies_unauthenticated",
        "a copy that was corrupted on its way opens an instance, and takes a right one's place",
        &[
            (BRM_ATTACKS, "a_copy_made_for_another_or_changed_on_its_way_does_not_exist"),
            BRM_SEEDS,
            BRM_CHANGED,
        ],
    ),
    planted(
        "brm_delivered_forgotten",
        "what was delivered is not remembered",
        &[(BRM_ATTACKS, "a_replay_delivers_nothing_twice_however_late"), BRM_SEEDS, BRM_T_QUORUM],
    ),
    planted(
        "brm_forwarding_dropped",
        "who has a message delivers it and hands it on to nobody",
        &[
            (BRM_ATTACKS, "a_message_sent_to_one_only_and_after_the_decision_reaches_all"),
            BRM_SEEDS,
            BRM_T_QUORUM,
            BRM_T_REAL_TIME,
            BRM_M_QUORUM,
        ],
    ),
    planted(
        "brm_given_up_is_ended",
        "a sender whose wormhole gave up says that nobody delivers its multicast",
        &[(BRM, "what_the_wormhole_gave_up_is_not_called_ended"), BRM_SEEDS, BRM_T_QUORUM],
    ),
    planted(
        "brm_hash_unchecked",
        "the first copy is delivered, whatever hash was decided",
        &[
            (
                BRM_ATTACKS,
                "a_sender_that_tells_two_messages_has_at_most_the_proposed_one_delivered",
            ),
            BRM_SEEDS,
            BRM_T_QUORUM,
            BRM_T_REAL_TIME,
            BRM_M_QUORUM,
        ],
    ),
    planted(
        "brm_old_copies_taken",
        "a copy is looked at although its delivery may be forgotten",
        &[(BRM_ATTACKS, "a_replay_delivers_nothing_twice_however_late"), BRM_SEEDS],
    ),
    planted(
        "brm_proposal_taken_for_message",
        "whoever took part in the agreement is supposed to have the message",
        &[
            (
                BRM_ATTACKS,
                "a_sender_that_tells_two_messages_has_at_most_the_proposed_one_delivered",
            ),
            BRM_SEEDS,
            BRM_M_QUORUM,
        ],
    ),
    planted(
        "brm_refusal_ignored",
        "a sender whose proposal was refused multicasts and delivers",
        &[(BRM, "a_refused_proposal_sends_and_delivers_nothing"), BRM_SEEDS, BRM_T_REAL_TIME],
    ),
    planted(
        "brm_sender_undecided",
        "a sender delivers without asking whether the majority counted its proposal",
        &[BRM_SEEDS, BRM_T_QUORUM],
    ),
    planted(
        "broken_wormhole_ignored",
        "whoever sees two attestations of a wormhole for one value goes on",
        &[(RELEASES, "two_attestations_for_one_value_stop_whoever_sees_them")],
    ),
    planted(
        "chains_fetched_block_by_block",
        "a long chain costs as many round trips as it has blocks",
        &[(WAITING, "one_that_hands_out_its_blocks_late_and_not_to_all_stops_nothing")],
    ),
    planted(
        "changes_told_at_once",
        "who ends an epoch tells all others each time that one of them says something else",
        &[
            (
                ENDINGS,
                "who_changes_what_a_member_lacks_with_each_message_makes_it_tell_no_more_often",
            ),
            (ENDINGS, "orders_that_come_again_make_nobody_tell_more_often"),
        ],
    ),
    planted(
        "counter_reused_after_restart",
        "a start leaves the record that it takes up as good as before",
        &[(
            CONTINUITY,
            "no_schedule_of_clones_and_no_record_ever_written_makes_an_instance_equivocate",
        )],
    ),
    planted(
        "cut_below_what_was_decided",
        "who holds ends an epoch with less than what it decided",
        &[
            (
                CLOSING,
                "whoever_ends_with_a_part_of_what_it_holds_ends_where_those_do_who_hold_no_more",
            ),
            (ENDINGS, "nobody_goes_back_behind_what_it_decided"),
        ],
    ),
    planted(
        "each_claim_tried",
        "whatever one claims to have signed is tried at once, however often it claims something else",
        &[(ENDINGS, "nobody_goes_back_behind_what_it_decided")],
    ),
    planted(
        "ends_without_forked_blocks",
        "what decided an epoch's end at one member is not taken from it where its author forked",
        &[(REGRESSIONS, "what_failed_once_holds")],
    ),
    planted("envelope_signatures_ignored", "a block's envelopes need no good signature", &[]),
    planted("epoch_goes_on", "commits beyond an epoch's end are executed", &[]),
    planted("epochs_not_told_apart", "blocks of another cluster or epoch are taken", &[INSTANCES]),
    planted(
        "epochs_of_one_believed",
        "one member's word shows how many epochs were missed",
        &[(TRANSFERS, "epochs_are_missed_if_a_correct_member_says_so")],
    ),
    planted(
        "exactly_once_dropped",
        "an operation ordered twice is executed twice",
        &[(SEEDS, "nothing_wrong_happens_whatever_the_world_does")],
    ),
    planted("execution_not_deterministic", "services see what differs between replicas", &[]),
    planted("fast_read_by_one_correct", "f+1 equal replies make a read", &[]),
    planted("fetch_never", "missing parents are never asked for", &[]),
    planted(
        "gone_of_one_believed",
        "who fetches a state begins anew whenever one says that it is gone",
        &[(TRANSFER, "one_that_says_again_and_again_that_it_is_gone_stops_nobody")],
    ),
    planted(
        "handover_quorum_lowered",
        "f+1 signatures put the next epoch in force",
        &[(HANDOVERS, "two_liars_hand_no_epoch_over_by_themselves")],
    ),
    planted(
        "horizon_of_a_part_believed",
        "what lies below the horizon that a signer told is nobody's concern, made up or not",
        &[(
            CLOSING,
            "whoever_ends_with_a_part_of_what_it_holds_ends_where_those_do_who_hold_no_more",
        )],
    ),
    planted(
        "horizon_stands_still_while_held",
        "who holds what ends an epoch cannot take in what another one's horizon lets in",
        &[
            (CLOSING, "who_holds_takes_in_what_it_would_if_it_decided_and_decides_nothing"),
            (CLOSING, "whoever_holds_from_whatever_moment_on_ends_where_all_others_do"),
            (ENDINGS, "a_block_that_one_horizon_lets_in_does_not_keep_an_epoch_from_ending"),
        ],
    ),
    core(
        "hybrid_skips_directly",
        "in `hybrid` a quorum that does not link a leader skips it",
        &[
            (COMMITTER, "in_hybrid_no_slot_is_skipped_before_a_later_leader_is_committed"),
            BAD_LEADER_WITH_A_WORMHOLE,
            THREE_WITH_WORMHOLES,
        ],
    ),
    planted(
        "instances_not_certified",
        "a member's order lets any instance of a wormhole in",
        &[
            (MEMBERS, "no_instance_gets_in_that_the_members_own_wormhole_did_not_certify"),
            INSTANCES,
        ],
    ),
    planted(
        "joined_with_all_it_holds",
        "who joins signers says that they signed all that it holds",
        &[(ENDINGS, "who_joins_those_who_signed_tells_what_they_did")],
    ),
    planted("lag_of_one_believed", "one member's rounds show how far the others are", &[]),
    planted(
        "last_leader_shown_alone",
        "who is past an epoch's end shows others nothing of the rounds before the last leader",
        &[(VIEWS, "who_is_shown_the_deciders_decides_the_same")],
    ),
    planted(
        "late_blocks_looked_for_in_their_rounds",
        "who asks for a block behind the horizon is shown the log from its round on",
        &[],
    ),
    planted(
        "latest_order_given_up",
        "claims to have signed by all earlier orders displace the latest",
        &[(ENDINGS, "claims_to_have_signed_displace_no_later_order")],
    ),
    planted("leader_rotation_fixed", "the same servers lead every round", &[]),
    planted(
        "log_taken_back_before_holding",
        "who held before a stop decides, while it takes its log back, beyond what it told",
        &[(ENDINGS, "a_block_that_one_horizon_lets_in_does_not_keep_an_epoch_from_ending")],
    ),
    planted(
        "lone_gone_never_believed",
        "who fetches a state waits for ever if nobody but liars could have it still",
        &[
            (TRANSFER, "one_that_says_that_it_is_gone_is_believed_where_nobody_else_helps"),
            (REGRESSIONS, "what_failed_once_holds"),
        ],
    ),
    planted(
        "lost_groups_taken_for_torn",
        "a log that lost what was durable is cut there and goes on",
        &[(LOG_DAMAGE, "a_flipped_bit_anywhere_before_the_last_group_is_damage")],
    ),
    planted(
        "lost_own_blocks_not_recorded",
        "an own block that the log lost comes back and is not written down again",
        &[
            (ATTESTING, "an_own_block_that_the_log_lost_is_written_down_when_it_comes_back"),
            (REGRESSIONS, "what_failed_once_holds"),
        ],
    ),
    planted("members_counted_per_answer", "a client counts a member as often as it answers", &[]),
    planted(
        "offers_of_one_believed",
        "one signature vouches for a state",
        &[(OFFERING, "what_a_quorum_did_not_sign_is_not_believed")],
    ),
    planted(
        "old_epoch_not_served",
        "members that ended an epoch answer nobody who is still in it",
        &[],
    ),
    planted(
        "one_chain_rule_dropped",
        "a block may link several branches of one member",
        &[(BOMBS, "two_colluders_hang_no_tree_behind_one_block")],
    ),
    planted(
        "one_followed_for_ever",
        "who is behind an epoch's end reads the log of one member, whatever that answers",
        &[(FOLLOWING, "a_log_is_read_to_its_end_and_then_the_next_member_has_its_turn")],
    ),
    planted(
        "one_round_fewer",
        "wormholes that agree by rounds leave out the last one",
        &[("models/tests/agreement.rs", "rounds_tell_one_decision_to_all_that_keep_the_bound")],
    ),
    planted(
        "one_that_signed_is_not_followed",
        "who holds more than one signed that no liar can join waits for ever",
        &[
            (ENDINGS, "one_that_signed_alone_is_followed_by_those_who_hold_more"),
            (REGRESSIONS, "what_failed_once_holds"),
        ],
    ),
    planted(
        "ordering_state_believed",
        "who fetches a state takes anyone's word for where the order goes on",
        &[(OFFERING, "what_a_quorum_did_not_sign_is_not_believed")],
    ),
    planted(
        "orders_of_other_epochs_ignored",
        "an order for a key shows nobody that its member is in another epoch",
        &[(REGRESSIONS, "what_failed_once_holds")],
    ),
    planted(
        "own_end_keeps_nobody_company",
        "a member whose epoch ends by itself leaves those who hold alone",
        &[
            (ENDINGS, "who_comes_to_an_end_of_its_own_takes_those_along_who_hold"),
            (REOPENING, "one_that_is_shown_alone_what_ends_an_epoch_leaves_nobody_behind"),
        ],
    ),
    core(
        "parent_order_ignored",
        "a block votes for every block of a leader that it links",
        &[
            // Random views do not find it: the vote must walk past two blocks of one leader, which
            // only the history of a block that exposes the leader holds.
            (WAVES, "a_block_votes_once_however_many_rounds_its_vote_walks_through"),
        ],
    ),
    planted("parking_unbounded", "any number of blocks may wait for their parents", &[]),
    planted(
        "part_without_ends_of_their_own",
        "an epoch is ended with less than what another member decided that ended it",
        &[
            (ENDINGS, "nobody_ends_an_epoch_without_what_another_one_ended_it_by"),
            (REOPENING, "one_that_is_shown_alone_what_ends_an_epoch_leaves_nobody_behind"),
        ],
    ),
    planted(
        "place_of_one_believed",
        "one member's word about where it stands makes a state",
        &[(TRANSFER, "where_members_stand_is_believed_of_f_plus_1_that_stand_there")],
    ),
    planted(
        "promise_broken",
        "a wormhole votes in an attempt to agree although it promised its vote to a later one",
        &[("models/tests/agreement.rs", "a_majority_tells_one_decision_at_any_timing")],
    ),
    core(
        "quorum_lowered",
        "one vote less than a quorum decides",
        &[
            FORKING_LEADER,
            (VIEWS, "four_replicas_never_disagree_whatever_they_see"),
            BAD_LEADER_WITH_A_WORMHOLE,
            THREE_WITH_WORMHOLES,
        ],
    ),
    planted(
        "rekey_of_any_epoch",
        "an order of another key is good in every epoch",
        &[
            (SCENARIOS, "scenario_40_orders_of_earlier_epochs"),
            (EPOCHS, "an_order_counts_in_its_epoch_for_its_own_member_and_with_its_signature_only"),
        ],
    ),
    planted(
        "relayed_blocks_show_nothing",
        "only what a member sends itself shows how far it is",
        &[
            (CATCHING_UP, "who_hears_one_correct_member_alone_learns_how_far_a_quorum_is"),
            (REGRESSIONS, "what_failed_once_holds"),
        ],
    ),
    planted(
        "release_of_any_halt",
        "administrators' release lets a server go on from every halt",
        &[(RELEASES, "a_release_of_another_halt_has_no_effect")],
    ),
    planted(
        "reopening_without_union",
        "administrators reopen a cluster at what each server holds by itself",
        &[(REOPENING, "administrators_open_a_cluster_again_and_nothing_acknowledged_is_lost")],
    ),
    planted(
        "rounds_without_quorum",
        "a proven forker's peers go on without a quorum, through rounds that decide nothing",
        &[(INTRUSION, "two_that_are_left_fill_no_memory_however_often_they_restart")],
    ),
    planted(
        "sealed_without_a_trace",
        "who ends an epoch with more than it began to hold with does not know that after a crash",
        &[(ENDINGS, "who_ends_an_epoch_knows_with_what_before_it_decides")],
    ),
    planted("signers_counted_per_signature", "a proof counts a member per signature", &[]),
    planted("single_signatures_judged_strictly", "single and batch verification disagree", &[]),
    core(
        "skip_quorum_dropped",
        "one block that does not vote skips a leader",
        &[FORKING_LEADER, (VIEWS, "four_replicas_never_disagree_whatever_they_see")],
    ),
    planted(
        "slow_source_kept",
        "one that answers with a round at a time is asked for ever by a server that catches up",
        &[(CATCH_UP, "a_liar_that_answers_with_little_keeps_nobody_from_catching_up")],
    ),
    planted(
        "sources_forgotten",
        "one that brought nothing is asked first again after each fetched state and in each epoch",
        &[
            (CATCHING_UP, "the_next_ordering_knows_who_brought_little"),
            (TRANSFERS, "what_is_known_of_the_others_outlasts_a_fetched_state"),
            (TRANSFERS, "what_is_known_of_the_others_outlasts_an_epoch"),
        ],
    ),
    planted(
        "state_ahead_of_its_log",
        "a state becomes durable before the log is from which it was executed",
        &[(REGRESSIONS, "what_failed_once_holds")],
    ),
    planted(
        "state_parts_believed",
        "parts of a fetched state are not compared with what is vouched for",
        &[(TRANSFER, "one_correct_peer_is_enough_and_liars_are_found_out")],
    ),
    planted(
        "state_requests_never_expire",
        "who is asked for a part of the state is waited for for ever",
        &[(TRANSFER, "one_correct_peer_is_enough_and_liars_are_found_out")],
    ),
    planted(
        "turn_kept_with_a_part",
        "what was said to all that a member holds counts for a part of it",
        &[(ENDINGS, "one_that_signed_alone_is_followed_by_those_who_hold_more")],
    ),
    planted(
        "turns_of_reopenings_ignored",
        "what was said to an earlier choice of an order counts for a later one",
        &[(ENDINGS, "who_goes_back_to_an_order_signs_only_by_what_is_said_to_that")],
    ),
    planted(
        "unfit_changes_taken",
        "an order makes a plan whatever comes of it",
        &[(EPOCH_ATTACKS, "an_order_that_no_plan_fits_is_refused_and_stops_nobody")],
    ),
    planted(
        "void_blocks_not_recorded",
        "what comes in behind the end of an epoch is not in the log",
        &[(ENDINGS, "what_came_in_behind_the_end_of_an_epoch_is_in_the_log")],
    ),
    planted(
        "void_envelopes_lost",
        "what waits in blocks that an epoch's end made void is not proposed again",
        &[(EPOCHS, "what_an_epochs_end_made_void_is_ordered_after_it")],
    ),
    planted("vote_signatures_ignored", "statements in blocks need no signature", &[]),
    core(
        "votes_counted_per_block",
        "who forks votes twice",
        &[
            (DECISIONS, "a_forking_voter_splits_no_decision"),
            (VIEWS, "four_replicas_never_disagree_whatever_they_see"),
        ],
    ),
    planted(
        "votes_not_awaited",
        "a round goes on without the votes for the last leader",
        &[(WAITING, "one_that_never_votes_but_always_arrives_first_stops_nothing")],
    ),
    planted(
        "vouched_state_forgotten",
        "a server that starts again has no state that a quorum signed before the next checkpoint",
        &[
            (TRANSFERS, "one_that_was_restarted_shows_the_last_checkpoint_by_itself"),
            (SEEDS, "the_only_one_that_can_help_may_have_been_restarted"),
        ],
    ),
    planted("wait_always_longest", "every leader is waited for as long as may be", &[]),
    planted("wait_never_doubles", "a wait that was too short stays so", &[]),
    planted(
        "way_back_believed",
        "a disk is believed when it leads back to another state than a quorum signed",
        &[(TRANSFERS, "what_stands_beside_the_state_is_not_believed")],
    ),
    planted(
        "what_was_signed_forgotten",
        "who signed a part of what it holds says after a restart that it was all",
        &[(ENDINGS, "one_that_signed_alone_is_followed_by_those_who_hold_more")],
    ),
];

#[cfg(test)]
mod tests;
