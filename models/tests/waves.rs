//! Votes that are walks, exhaustively.

use ravelin_models::waves::explore;

#[test]
fn a_block_votes_once_however_many_rounds_its_vote_walks_through() {
    let found = explore();
    println!("{found:?}");
    assert_eq!(found.conflicts, 0);
    assert!(found.committed > 0, "nothing is ever committed");
}
