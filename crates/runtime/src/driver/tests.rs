//! In which order the driver makes things durable and lets them out: what ADR 20 promises, each with the
//! power failing or a stop coming in the middle of a turn. The stage asserts beside that what holds always.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod stage;
mod wild;

use std::time::Duration;

use super::{RunError, SNAPSHOT_EVERY};
use stage::{Does, Ended, Play, broadcast, complete, draft, persist, reply, seen, send};

/// A log that is closed syncs a marker that says so.
const LOG_ENDS: &str = "sync";

#[test]
fn what_is_shown_waits_for_one_sync_of_all_that_was_persisted_in_its_turn() {
    let turn = vec![persist("a"), send("one"), persist("b"), reply("two"), broadcast("three")];
    let order =
        ["sync a b", "settle", "send one", "reply two", "broadcast three", "own broadcast three"];
    assert_eq!(seen(vec![turn])[..6], order);
}

#[test]
fn what_a_node_resumes_with_waits_as_well() {
    let resumes = vec![persist("a"), send("one")];
    let played = Play { resumes, ..Play::default() }.run();
    assert_eq!(played.seen[..3], ["sync a", "settle", "send one"]);
}

/// What was executed may rest on records that are not durable yet.
#[test]
fn the_state_settles_only_when_nothing_is_appended_that_no_sync_covered() {
    let seen = seen(vec![vec![persist("a")], vec![persist("b")], vec![send("one")], vec![]]);
    let order = ["sync a b", "settle", "send one", "settle", "settle", "close", LOG_ENDS];
    assert_eq!(seen, order, "two turns that show nothing need no sync, and settle nothing");
}

/// Else the state of a server that only learns would gather in memory for ever.
#[test]
fn a_server_that_only_follows_syncs_and_settles_five_times_a_second() {
    let turns: Vec<_> = (0..80).map(|number| vec![persist(&format!("r{number}"))]).collect();
    let pace = Duration::from_millis(10);
    let played = Play { turns, pace, ..Play::default() }.run();
    let is_sync = |index: &usize| played.seen[*index].starts_with("sync ");
    // The last three are those of the stop.
    let syncs: Vec<usize> = (0..played.seen.len() - 3).filter(is_sync).collect();
    assert!(syncs.len() > 1, "{:?}", played.seen);
    let turns_max = SNAPSHOT_EVERY.div_duration_f64(pace) as usize + 2;
    for index in &syncs {
        let covered = played.seen[*index].split(' ').count() - 1;
        assert!(covered <= turns_max, "{covered} turns are more than a fifth of a second");
        assert_eq!(played.seen[index + 1], "settle");
    }
    for two in syncs.windows(2) {
        assert!(played.at[two[1]] - played.at[two[0]] >= SNAPSHOT_EVERY, "not at each turn");
    }
}

#[test]
fn what_is_urgent_is_durable_before_anything_of_its_turn_shows() {
    let turn = vec![persist("a"), Does::WriteUrgently, send("one"), reply("two")];
    let order = ["sync a", "settle durably", "send one", "reply two"];
    assert_eq!(seen(vec![turn])[..4], order);
}

#[test]
fn what_is_urgent_waits_for_nobody_to_say_anything() {
    let seen = seen(vec![vec![persist("a")], vec![Does::WriteUrgently], vec![]]);
    assert_eq!(seen[..3], ["sync a", "settle durably", "settle"]);
}

#[test]
fn a_block_is_durable_before_the_wormhole_attests_it() {
    let attest = Does::Attest(vec![send("attested")]);
    let seen = seen(vec![vec![draft("draft"), attest, send("one")]]);
    assert_eq!(seen[..5], ["sync draft", "settle", "attest", "send one", "send attested"]);
}

/// What needs no record goes out at once, and the rest with the next turn's sync.
#[test]
fn what_an_attestation_brings_waits_for_its_own_records() {
    let brought = vec![send("one"), complete("block"), send("two")];
    let seen = seen(vec![vec![draft("draft"), Does::Attest(brought)], vec![persist("b")]]);
    let order =
        ["sync draft", "settle", "attest", "send one", "sync block b", "settle", "send two"];
    assert_eq!(seen[..7], order);
}

/// The wormhole's answer may decide what halts this server, or what it has proof of.
#[test]
fn what_is_urgent_after_an_attestation_holds_back_all_that_it_brings() {
    let brought = vec![Does::WriteUrgently, send("one"), complete("block"), send("two")];
    let turn = vec![draft("draft"), Does::Attest(brought)];
    let order =
        ["sync draft", "settle", "attest", "sync block", "settle durably", "send one", "send two"];
    assert_eq!(seen(vec![turn])[..7], order);
}

#[test]
fn no_part_of_the_state_is_served_before_what_is_urgent_in_it_is_durable() {
    let turn = vec![Does::Serve, Does::Attest(vec![Does::WriteUrgently])];
    let seen = seen(vec![turn, vec![]]);
    let order = ["settle", "attest", "settle durably", "state part"];
    assert_eq!(seen[..4], order);
}

/// A turn without anything to do waits a fifth of a second, but not if something is left to be said.
#[test]
fn what_is_left_of_a_turn_waits_for_nothing_but_the_next() {
    for brought in [vec![complete("block"), send("one")], vec![Does::WriteUrgently]] {
        let quickest = (0..5).map(|_| {
            let turns = vec![vec![draft("draft"), Does::Attest(brought.clone())]];
            let pace = Duration::from_secs(60);
            let played = Play { turns, pace, ..Play::default() }.run();
            let attested = played.seen.iter().position(|what| what == "attest").unwrap();
            played.at[attested + 2] - played.at[attested]
        });
        assert!(quickest.min().unwrap() < SNAPSHOT_EVERY / 2);
    }
}

/// The core executed what it brought, so the state that is made durable rests on it.
#[test]
fn an_orderly_stop_appends_what_an_attestation_brought_and_shows_nothing_of_it() {
    let brought = vec![complete("block"), send("two"), Does::WriteUrgently, persist("more")];
    let turn = vec![draft("draft"), Does::Attest(brought), Does::Stop];
    let order = ["sync draft", "settle", "attest", "sync block more", "close", LOG_ENDS];
    assert_eq!(seen(vec![turn]), order);
}

#[test]
fn an_orderly_stop_syncs_what_no_turn_had_to_sync_before_the_state() {
    assert_eq!(seen(vec![vec![persist("a"), Does::Stop]]), ["sync a", "close", LOG_ENDS]);
}

/// A stop comes between two turns, never in one: what a turn began it lets out.
#[test]
fn a_stop_that_comes_within_a_turn_waits_for_its_end() {
    let turn = vec![Does::Stop, persist("a"), send("one"), reply("two")];
    let seen = seen(vec![turn, vec![send("never")]]);
    assert_eq!(seen, ["sync a", "settle", "send one", "reply two", "close", LOG_ENDS]);
}

/// What did not reach the disk leaves no trace elsewhere, and is executed again.
#[test]
fn after_a_failed_sync_nothing_settles_and_nothing_shows() {
    let turns = vec![
        vec![persist("a"), send("one")],
        vec![persist("b"), Does::WriteUrgently, send("two"), reply("three")],
        vec![send("never")],
    ];
    let played = Play { turns, failing_sync: Some(1), ..Play::default() }.run();
    assert!(matches!(played.ended, Ended::Failed(RunError::Log(_))), "{:?}", played.ended);
    assert_eq!(played.of_turns(), ["sync a", "settle", "send one", "sync fails"]);
    assert_eq!((played.log, played.settled), (vec!["a".to_owned()], 1));
}

#[test]
fn after_a_failed_sync_at_a_stop_the_state_is_not_closed() {
    let turns = vec![vec![persist("a"), Does::Stop]];
    let played = Play { turns, failing_sync: Some(0), ..Play::default() }.run();
    assert!(matches!(played.ended, Ended::Failed(RunError::Log(_))), "{:?}", played.ended);
    assert_eq!(played.of_turns(), ["sync fails"]);
    assert_eq!((played.log.len(), played.settled), (0, 0));
}

#[test]
fn without_its_wormhole_a_server_ends_in_the_middle_of_its_turn() {
    let turns = vec![vec![
        draft("draft"),
        send("one"),
        Does::Attest(vec![Does::LoseWormhole]),
        send("never"),
    ]];
    let played = Play { turns, ..Play::default() }.run();
    assert!(matches!(played.ended, Ended::Failed(RunError::Wormhole(_))), "{:?}", played.ended);
    assert_eq!(played.of_turns(), ["sync draft", "settle", "send one", "attest"]);
    assert_eq!((played.log, played.settled), (vec!["draft".to_owned()], 1));
}

#[test]
fn a_power_failure_before_a_sync_takes_what_it_would_have_covered_and_the_state_has_none_of_it() {
    let brought = vec![complete("block"), send("two")];
    let turns = vec![vec![draft("draft"), Does::Attest(brought), send("one")]];
    let left = |power_fails_at| {
        let played = Play { turns: turns.clone(), power_fails_at, ..Play::default() }.run();
        (played.log.join(" "), played.settled)
    };
    let all = ["sync draft", "settle", "attest", "send one", "sync block", "settle", "send two"];
    assert_eq!(seen(turns.clone())[..7], all);
    // The first thing seen is the settling of a node that resumes with nothing.
    assert_eq!(left(Some(1)), (String::new(), 0));
    assert_eq!(left(Some(2)), ("draft".into(), 0), "the log leads further");
    assert_eq!(left(Some(5)), ("draft".into(), 1), "the block is nowhere");
    assert_eq!(left(Some(6)), ("draft block".into(), 1));
    assert_eq!(left(Some(7)), ("draft block".into(), 2));
}
