//! Prepared trees of forked blocks, exhaustively.

use ravelin_models::bombs::explore;

fn check(depth: u64) {
    let found = explore(depth);
    println!("depth {depth}: {found:?}");
    assert_eq!(found.branches_unexposed, 1, "one chain of whom a block does not expose");
    assert_eq!(found.branches, 2, "one branch for each of the two to tell of");
    assert!(found.fetched as u64 <= 3 * depth, "what must be fetched grows with the depth alone");
    assert!(found.exposing > 0 && found.refused > 0, "a case that is never reached");
}

#[test]
fn two_colluders_hang_no_tree_behind_one_block() {
    check(3);
}

#[test]
#[ignore = "long: every block of four rounds"]
fn two_colluders_hang_no_deeper_tree_behind_one_block() {
    check(4);
}
