//! Judging a proof about one key, given a root that is believed.

use ravelin_model::Digest;
use ravelin_model::wire::StateProof;

use super::node::{Path, Side, node_digest, value_digest};

/// Whether, in the state with this `root`, `key` has exactly the value that `proof` shows, or is
/// absent where it shows none. Cost: one hash a node, up to the first one that is not in its place;
/// the 258th cannot be, since a node at depth `d` shares `d` bits of 256 with the key.
#[must_use]
pub fn verify_proof(root: &Digest, key: &[u8], proof: &StateProof) -> bool {
    match (end_of_search(root, key, proof), &proof.value) {
        (Some(End::Found(digest)), Some(value)) => value_digest(value) == digest,
        (Some(End::Empty), None) => true,
        _ => false,
    }
}

/// Where a search ends.
enum End {
    /// At the key, with this value digest.
    Found(Digest),
    /// At an empty subtree.
    Empty,
}

/// Follows the search through the nodes shown; `None` if they are not the ones on its way.
fn end_of_search(root: &Digest, key: &[u8], proof: &StateProof) -> Option<End> {
    let wanted = Path::of(key);
    let mut expected = *root;
    let mut above: Option<Path> = None;
    for (depth, node) in proof.path.iter().enumerate() {
        let path = Path(node.path.0);
        let in_place = path.common_bits(&wanted) >= depth;
        let in_order = above.is_none_or(|above| above < path);
        let is_expected = node_digest(&path, &node.value, &node.left, &node.right) == expected;
        if !in_place || !in_order || !is_expected {
            return None;
        }
        if path == wanted {
            let is_last = depth + 1 == proof.path.len();
            return is_last.then_some(End::Found(node.value));
        }
        expected = match wanted.side(depth) {
            Side::Left => node.left,
            Side::Right => node.right,
        };
        above = Some(path);
    }
    (expected == Digest::default()).then_some(End::Empty)
}
