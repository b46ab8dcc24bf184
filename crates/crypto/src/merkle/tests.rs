use std::collections::BTreeSet;

use ravelin_model::{Decode, Encode};

use super::*;

fn leaves(count: u8) -> Vec<Digest> {
    (0..count).map(|leaf| Digest([leaf; 32])).collect()
}

/// Every index of a tree of every small size, with its leaf and its path.
fn check_all(check: impl Fn(&MerkleTree, &Digest, &MerklePath)) {
    for count in 1..=33 {
        let tree = MerkleTree::new(leaves(count));
        for index in 0..count {
            let path = tree.path(usize::from(index)).unwrap();
            check(&tree, &Digest([index; 32]), &path);
        }
    }
}

#[test]
fn every_leaf_of_every_small_tree_is_proven() {
    check_all(|tree, leaf, path| assert!(verify(&tree.root(), leaf, path), "{path:?}"));
}

#[test]
fn the_empty_tree_has_the_zero_root_and_proves_nothing() {
    let tree = MerkleTree::new(Vec::new());
    assert_eq!(tree.root(), Digest::default());
    assert_eq!(tree.path(0), None);
    let path = MerklePath { index: 0, leaves: 0, siblings: Vec::new() };
    assert!(!verify(&tree.root(), &Digest::default(), &path));
}

#[test]
fn no_path_leads_beyond_the_last_leaf() {
    for count in 0..20 {
        let tree = MerkleTree::new(leaves(count));
        assert_eq!(tree.path(usize::from(count)), None);
        assert_eq!(tree.path(usize::MAX), None);
    }
}

#[test]
fn another_leaf_at_the_same_place_is_refused() {
    check_all(|tree, leaf, path| {
        let other = Digest(leaf.0.map(|byte| byte ^ 0x80));
        assert!(!verify(&tree.root(), &other, path));
    });
}

#[test]
fn a_path_with_one_changed_byte_is_refused() {
    check_all(|tree, leaf, path| {
        let bytes = path.encode();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            if let Ok(path) = MerklePath::decode("path", &changed) {
                assert!(!verify(&tree.root(), leaf, &path), "byte {place} of {bytes:?}");
            }
        }
    });
}

#[test]
fn a_path_with_a_sibling_more_or_less_is_refused() {
    check_all(|tree, leaf, path| {
        let mut longer = path.clone();
        longer.siblings.push(Digest::default());
        assert!(!verify(&tree.root(), leaf, &longer));
        let mut shorter = path.clone();
        if shorter.siblings.pop().is_some() {
            assert!(!verify(&tree.root(), leaf, &shorter));
        }
    });
}

#[test]
fn an_inner_digest_is_no_leaf() {
    let inner = node_digest(&leaf_digest(&Digest([0; 32])), &leaf_digest(&Digest([1; 32])));
    let tree = MerkleTree::new(leaves(4));
    let sibling = tree.path(0).unwrap().siblings[1];
    for leaves in [2, 4] {
        let path = MerklePath { index: 0, leaves, siblings: vec![sibling] };
        assert!(!verify(&tree.root(), &inner, &path));
    }
}

#[test]
fn lists_of_different_length_never_share_a_root() {
    let repeated = (0..64).map(|count| vec![Digest([7; 32]); count]);
    let tops = (0..64).map(leaves);
    // What duplication of the last leaf would confuse.
    let doubled = (1..64).map(|count| {
        let mut list = leaves(count);
        list.extend(list.last().copied());
        list
    });
    let lists: BTreeSet<Vec<Digest>> = repeated.chain(tops).chain(doubled).collect();
    let roots: BTreeSet<Digest> =
        lists.iter().map(|list| MerkleTree::new(list.clone()).root()).collect();
    assert_eq!(roots.len(), lists.len());
}

#[test]
fn a_lying_number_of_leaves_is_refused() {
    check_all(|tree, leaf, path| {
        for leaves in (0..70).chain([u32::MAX]).filter(|leaves| *leaves != path.leaves) {
            let lie = MerklePath { leaves, ..path.clone() };
            assert!(!verify(&tree.root(), leaf, &lie));
        }
    });
}

#[test]
fn an_endless_path_costs_no_more_than_a_full_one() {
    let siblings = vec![Digest([1; 32]); 1 << 16];
    let path = MerklePath { index: u32::MAX - 1, leaves: u32::MAX, siblings };
    assert!(!verify(&Digest([2; 32]), &Digest([3; 32]), &path));
}

/// Computed by an independent implementation of the formulas.
#[test]
fn roots_are_golden() {
    let golden = [
        (0, "0000000000000000000000000000000000000000000000000000000000000000"),
        (1, "1ef0cc84cccbe78aef34c783567e1b3621c9100f3e0b02f6ad27ea0a5322ce9c"),
        (2, "bf35d1593aff19ae5b487911df353e30f035d7499094a50609343223f2743e39"),
        (3, "32bfb3568544f7a0c8e52de71259b696ba80e937a3677a3fbe61b5186f721885"),
        (5, "e3da5566f7cbb7254b3027771322c8a6cbfb41d0d88fb992b36473088acd8caf"),
    ];
    for (count, root) in golden {
        assert_eq!(MerkleTree::new(leaves(count)).root().to_string(), root, "{count} leaves");
    }
}
