use std::sync::Arc;
use std::time::Duration;

use ravelin_model::ReplicaId;
use ravelin_model::ttcb::TrustedTime;
use ravelin_multicast::brm::{Header, Message};

use super::super::plan::{Fate, Intrusion};
use super::*;

fn entities() -> Vec<Entity> {
    (0..4).map(|replica| Entity { replica: ReplicaId(replica), local: 1 }).collect()
}

fn message(text: &str) -> Arc<Message> {
    let header = Header { elist: entities(), tstart: TrustedTime(5) };
    Arc::new(Message { header, data: format!("....{text}").into_bytes() })
}

/// A run in which P1 multicasts M, and each process delivers these.
fn row(delivered: [&[&str]; 4]) -> Row {
    let note = |what| Note { at: Duration::ZERO, what };
    let mut notes = delivered.map(|texts| {
        texts.iter().map(|text| note(What::Delivers(message(text)))).collect::<Vec<_>>()
    });
    notes[0].insert(0, note(What::Multicasts(message("M"))));
    Row::new(&Plan::figure_10(), &entities(), &notes)
}

fn broken(row: Row) -> Vec<&'static str> {
    let Promises { validity, agreement, integrity, violations } = row.promises.clone();
    let named = [(validity, "validity"), (agreement, "agreement"), (integrity, "integrity")];
    let broken: Vec<_> =
        named.into_iter().filter(|(is_kept, _)| !is_kept).map(|(_, name)| name).collect();
    assert_eq!(broken.len(), violations.len());
    let mut verdict = Verdict::new(true, 0);
    verdict.add(&row);
    let ended = verdict.outcome().map_err(|error| error.exit()).err();
    assert_eq!(ended == Some(Exit::VerificationFailed), !broken.is_empty());
    broken
}

#[test]
fn each_promise_is_judged_by_its_name() {
    let all: &[&str] = &["M"];
    assert_eq!(broken(row([all; 4])), [""; 0]);
    assert_eq!(broken(row([all, all, &[], all])), ["agreement"]);
    assert_eq!(broken(row([&[]; 4])), ["validity"]);
    assert_eq!(broken(row([all, &["M", "M"], all, all])), ["integrity"]);
    assert_eq!(broken(row([all, &["another"], all, all])), ["agreement", "integrity"]);
}

#[test]
fn who_got_no_copy_at_all_is_not_correct() {
    let note = |what| Note { at: Duration::ZERO, what };
    let send = |copy| note(What::Sends { to: 3, copy, fate: Fate::Lost, message: message("M") });
    let delivers = || note(What::Delivers(message("M")));
    let sender = vec![note(What::Multicasts(message("M"))), send(0), send(1), delivers()];
    let notes = [sender, vec![delivers()], vec![delivers()], vec![]];
    let row = Row::new(&Plan::figure_10(), &entities(), &notes);
    assert_eq!((row.correct, row.delivered), (3, 3));
    assert_eq!(broken(row), [""; 0]);
}

#[test]
fn an_undecided_multicast_breaks_nothing_and_shows_nothing() {
    let note = |what| Note { at: Duration::ZERO, what };
    let sender = vec![note(What::Multicasts(message("M"))), note(What::Ends)];
    let row = Row::new(&Plan::figure_10(), &entities(), &[sender, vec![], vec![], vec![]]);
    assert!(row.undecided && row.to_string().contains("too late"));
    let mut verdict = Verdict::new(true, 0);
    verdict.add(&row);
    assert_eq!(verdict.outcome().map_err(|error| error.exit()).err(), Some(Exit::Failed));
}

#[test]
fn a_later_run_that_delivers_nothing_fails_unless_its_sender_is_malicious() {
    let all: &[&str] = &["M"];
    let note = |what| Note { at: Duration::ZERO, what };
    let ended = [note(What::Multicasts(message("M"))), note(What::Ends)];
    let outcome = |plan: &Plan| {
        let mut verdict = Verdict::new(true, 0);
        verdict.add(&row([all; 4]));
        verdict.add(&Row::new(plan, &entities(), &[ended.to_vec(), vec![], vec![], vec![]]));
        let tallies = verdict.tallies().to_vec();
        (verdict.outcome().map_err(|error| error.exit()).err(), tallies)
    };
    let (exit, tallies) = outcome(&Plan::figure_10());
    assert_eq!(exit, Some(Exit::Failed));
    assert_eq!((tallies[0].runs, tallies[0].undelivered, tallies[0].undecided), (2, 1, 1));
    let by_intruder = |at, how| {
        let mut plan = Plan::figure_10();
        plan.intruders = vec![(at, how)];
        plan
    };
    let (exit, tallies) = outcome(&by_intruder(0, Intrusion::TwoMessages));
    assert_eq!((exit, tallies[1].runs, tallies[1].undelivered), (None, 1, 0));
    let (exit, tallies) = outcome(&by_intruder(1, Intrusion::CorruptCopies));
    assert_eq!((exit, tallies[1].runs, tallies[1].undelivered), (Some(Exit::Failed), 1, 1));
}
