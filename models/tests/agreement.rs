//! Block agreement among wormholes under both engines, exhaustively.

use std::fmt::Debug;
use std::hash::Hash;

use ravelin_models::agreement::{Majority, Question};
use ravelin_models::rounds::{Failing, Rounds, Slip};
use ravelin_wormhole::frame::DecisionFunction;
use stateright::{Checker, HasDiscoveries, Model};

const ONE: Question = Question {
    count: 3,
    proposals: &[Some([1; 32])],
    function: DecisionFunction::ReliableMulticast,
};
const TWO: Question = Question {
    count: 2,
    proposals: &[Some([1; 32]), Some([2; 32])],
    function: DecisionFunction::Plurality,
};
const ALL: Question = Question { count: 3, ..TWO };
/// As in a reliable multicast: who does not send proposes nothing.
const SENT: Question = Question { proposals: &[Some([1; 32]), None, None], ..ONE };
const STOPS: [Option<(usize, Failing)>; 3] =
    [None, Some((0, Failing::Stops)), Some((1, Failing::Stops))];
const LATE: Option<(usize, Failing)> = Some((0, Failing::IsLate));

fn explored<M>(model: M, what: &str) -> impl Checker<M>
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = model.checker().threads(threads);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    println!("{what}: {} states", checker.unique_state_count());
    checker
}

fn check_rounds(model: Rounds, what: &str) {
    explored(model, &format!("by rounds, {what}")).assert_properties();
}

#[test]
fn a_majority_tells_one_decision_at_any_timing() {
    explored(Majority::new(TWO, 2), "two, woken twice").assert_properties();
    explored(Majority::new(ONE, 1), "three, woken once").assert_properties();
}

#[test]
fn a_majority_that_is_timely_tells_everybody() {
    for question in [TWO, ALL] {
        explored(Majority::timely(question), "all in time").assert_properties();
    }
}

#[test]
fn rounds_tell_one_decision_to_all_that_keep_the_bound() {
    for failing in STOPS {
        check_rounds(Rounds::new(TWO, failing, 4), &format!("two, {failing:?}, 4 late"));
        check_rounds(Rounds::new(SENT, failing, 1).alone(), &format!("three, {failing:?}, 1 late"));
    }
}

#[test]
fn a_wormhole_that_is_late_stops_itself_before_it_tells_another_decision() {
    check_rounds(Rounds::new(TWO, LATE, 2), "two, one wakes late, 2 late");
    check_rounds(Rounds::new(ONE, LATE, 1), "three, one wakes late, 1 late");
}

/// Why the process around a core lets it hear first.
#[test]
fn one_that_acts_before_it_heard_what_came_is_found() {
    let checker = explored(Rounds::new(TWO, LATE, 2).with(Slip::ActsUnheard), "deaf");
    assert!(checker.discovery("one decision, of what was proposed").is_some());
}

#[test]
#[ignore = "long: two proposals to three wormholes"]
fn a_majority_of_three_tells_one_decision_at_any_timing() {
    explored(Majority::new(ALL, 1), "three with two proposals, woken once").assert_properties();
}

#[test]
#[ignore = "long: more is late"]
fn rounds_tell_one_decision_though_much_is_late() {
    for failing in STOPS {
        check_rounds(Rounds::new(TWO, failing, 6), &format!("two, {failing:?}, 6 late"));
        check_rounds(
            Rounds::new(ONE, failing, 3),
            &format!("three, all heard, {failing:?}, 3 late"),
        );
    }
    check_rounds(Rounds::new(SENT, LATE, 0), "three that propose, one wakes late");
}
