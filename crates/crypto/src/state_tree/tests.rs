use std::collections::BTreeMap;

use ravelin_model::wire::StateProof;
use ravelin_model::{Decode, Encode};

use super::*;

mod cost;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// SplitMix64: enough chance for tests.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

fn forget_oldest(tree: &mut StateTree) {
    if let Some(oldest) = tree.kept.front() {
        tree.forget(Version(oldest.number));
    }
}

fn key(number: u64) -> Vec<u8> {
    state_key(ServiceId::KV, format!("key {number}").as_bytes())
}

fn put(tree: &mut StateTree, key: &[u8], value: &[u8]) {
    tree.insert(key, value_digest(value));
}

fn tree_of(model: &Model) -> StateTree {
    let mut tree = StateTree::new();
    model.iter().for_each(|(key, value)| put(&mut tree, key, value));
    tree
}

fn root(tree: &StateTree) -> Digest {
    tree.clone().root()
}

fn prove(tree: &StateTree, key: &[u8]) -> Vec<StateNode> {
    tree.clone().prove(key)
}

fn proof(tree: &StateTree, model: &Model, key: &[u8]) -> StateProof {
    StateProof { value: model.get(key).cloned(), path: prove(tree, key) }
}

/// Performs `steps` random operations, showing every state to `check`.
fn wander(seed: u64, keys: u64, steps: u64, mut check: impl FnMut(&StateTree, &Model)) {
    let mut chance = Chance(seed);
    let (mut tree, mut model) = (StateTree::new(), Model::new());
    for step in 0..steps {
        let key = key(chance.below(keys));
        if chance.below(3) == 0 {
            let old = model.remove(&key).map(|value| value_digest(&value));
            assert_eq!(tree.remove(&key), old, "seed {seed}");
        } else {
            let value = format!("value {}", step % 50).into_bytes();
            let old = tree.insert(&key, value_digest(&value));
            assert_eq!(old, model.insert(key, value).map(|old| value_digest(&old)));
        }
        check(&tree, &model);
    }
}

/// The rules of the shape, at every node, and nothing in memory but what is needed.
fn check_shape(tree: &StateTree) {
    fn check(tree: &StateTree, subtree: &Subtree, above: Option<Path>, depth: usize) -> usize {
        let Some(node) = subtree.top.map(|id| tree.nodes.get(id)) else { return 0 };
        let path = node.entry.path;
        assert!(above.is_none_or(|above| above < path));
        let below = [Side::Left, Side::Right].into_iter().map(|side| {
            if let Some(below) = node.child(side).top.map(|id| tree.nodes.get(id)) {
                assert!(below.entry.path.common_bits(&path) >= depth);
                assert_eq!(below.entry.path.side(depth), side);
            }
            check(tree, node.child(side), Some(path), depth + 1)
        });
        1 + below.sum::<usize>()
    }
    assert_eq!(check(tree, &tree.root, None, 0), tree.len());
    assert_eq!(tree.nodes.len(), tree.len() + tree.superseded_nodes());
}

#[test]
fn the_empty_state_has_the_zero_root_and_proves_absence_by_nothing() {
    let mut tree = StateTree::new();
    assert!(tree.is_empty());
    assert_eq!(tree.root(), Digest::default());
    assert_eq!(prove(&tree, b"x"), Vec::new());
    let absent = StateProof { value: None, path: Vec::new() };
    assert!(verify_proof(&Digest::default(), b"x", &absent));
    assert!(!verify_proof(&Digest([1; 32]), b"x", &absent));
    let forged = StateProof { value: Some(Vec::new()), path: Vec::new() };
    assert!(!verify_proof(&Digest::default(), b"x", &forged));
}

#[test]
fn the_tree_agrees_with_a_map() {
    for seed in 0..20 {
        wander(seed, 40, 200, |tree, model| {
            check_shape(tree);
            assert_eq!(tree.len(), model.len());
            let digests = model.iter().map(|(key, value)| (path_of(key), value_digest(value)));
            assert_eq!(tree.iter().collect::<BTreeMap<_, _>>(), digests.collect(), "seed {seed}");
            for number in 0..40 {
                let key = key(number);
                let expected = model.get(&key).map(|value| value_digest(value));
                assert_eq!(tree.value(&key), expected, "seed {seed}");
            }
        });
    }
}

#[test]
fn paths_come_in_ascending_order() {
    wander(1, 100, 300, |tree, _| {
        assert!(tree.iter().map(|(path, _)| path).is_sorted());
    });
}

#[test]
fn every_order_of_insertion_gives_one_root() {
    for count in 0..=6 {
        let keys: Vec<u64> = (0..count).collect();
        let mut roots = permutations(keys).into_iter().map(|order| {
            let mut tree = StateTree::new();
            order.iter().for_each(|number| put(&mut tree, &key(*number), b"value"));
            tree.root()
        });
        let first = roots.next().unwrap();
        assert!(roots.all(|root| root == first), "{count} keys");
    }
}

fn permutations(items: Vec<u64>) -> Vec<Vec<u64>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let with_first = |place: usize| {
        let mut rest = items.clone();
        let first = rest.remove(place);
        permutations(rest).into_iter().map(move |mut order| {
            order.push(first);
            order
        })
    };
    (0..items.len()).flat_map(with_first).collect()
}

#[test]
fn the_root_depends_on_the_set_alone() {
    for seed in 0..20 {
        wander(seed, 60, 150, |tree, model| {
            assert_eq!(root(tree), root(&tree_of(model)), "seed {seed}");
        });
    }
}

#[test]
fn different_sets_have_different_roots() {
    let mut roots = BTreeMap::new();
    wander(7, 4, 400, |tree, model| {
        let seen = roots.entry(root(tree)).or_insert_with(|| model.clone());
        assert_eq!(seen, model);
    });
    assert!(roots.len() > 100);
}

/// Any interleaving of changes, keeping and forgetting: every kept version proves what it held.
#[test]
fn a_version_kept_stays_as_it_was() {
    for seed in 0..30 {
        let mut chance = Chance(seed);
        let (mut tree, mut model) = (StateTree::new(), Model::new());
        let mut kept: VecDeque<(Version, Digest, Model)> = VecDeque::new();
        for step in 0..150 {
            let key = key(chance.below(30));
            match chance.below(10) {
                0..4 => {
                    let value = format!("value {step}").into_bytes();
                    put(&mut tree, &key, &value);
                    model.insert(key, value);
                }
                4..7 => assert_eq!(tree.remove(&key).is_some(), model.remove(&key).is_some()),
                7 | 8 => kept.push_back((tree.keep(), root(&tree), model.clone())),
                _ if kept.is_empty() => {}
                _ => {
                    let place = usize::try_from(chance.below(kept.len() as u64)).unwrap();
                    if let Some((version, _, _)) = kept.remove(place) {
                        tree.forget(version);
                        assert_eq!(tree.prove_at(version, b"key"), None);
                    }
                }
            }
            check_shape(&tree);
            assert_eq!(root(&tree), root(&tree_of(&model)), "seed {seed}");
            for (version, root, model) in &kept {
                let key = self::key(chance.below(30));
                let path = tree.prove_at(*version, &key).unwrap();
                let proof = StateProof { value: model.get(&key).cloned(), path };
                assert!(verify_proof(root, &key, &proof), "seed {seed}, step {step}");
            }
        }
        kept.iter().for_each(|(version, _, _)| tree.forget(*version));
        model.keys().for_each(|key| assert!(tree.remove(key).is_some()));
        assert_eq!(tree.nodes.len(), 0, "seed {seed}");
    }
}

#[test]
fn a_version_never_kept_or_forgotten_proves_nothing() {
    let mut tree = StateTree::new();
    assert_eq!(tree.prove_at(Version(0), b"key"), None);
    let first = tree.keep();
    assert_eq!(tree.prove_at(first, b"key"), Some(Vec::new()));
    let second = tree.keep();
    assert_eq!(tree.prove_at(Version(2), b"key"), None);
    forget_oldest(&mut tree);
    assert_eq!(tree.prove_at(first, b"key"), None);
    assert_eq!(tree.prove_at(second, b"key"), Some(Vec::new()));
    (0..3).for_each(|_| forget_oldest(&mut tree));
    assert_eq!(tree.prove_at(second, b"key"), None);
    assert_eq!(tree.prove_at(Version(u64::MAX), b"key"), None);
}

#[test]
fn a_node_is_copied_once_for_a_version_and_not_without_one() {
    let mut tree = StateTree::new();
    (0..1000).for_each(|number| put(&mut tree, &key(number), b"old"));
    let now = tree.keep();
    let depth = tree.prove_at(now, &key(1)).unwrap().len();
    for value in [b"a", b"b"] {
        put(&mut tree, &key(1), value);
        assert_eq!(tree.superseded_nodes(), depth);
    }
    forget_oldest(&mut tree);
    put(&mut tree, &key(2), b"new");
    assert_eq!(tree.superseded_nodes(), 0);
}

#[test]
fn presence_and_absence_are_proven_to_whoever_knows_the_root() {
    for seed in 0..10 {
        wander(seed, 30, 60, |tree, model| {
            for number in 0..30 {
                let proof = proof(tree, model, &key(number));
                assert!(verify_proof(&root(tree), &key(number), &proof), "seed {seed}");
            }
        });
    }
}

#[test]
fn no_other_answer_is_proven() {
    wander(11, 20, 60, |tree, model| {
        for number in 0..20 {
            let honest = proof(tree, model, &key(number));
            for value in [None, Some(b"other".to_vec()), Some(Vec::new())] {
                let lie = StateProof { value, path: honest.path.clone() };
                assert_eq!(verify_proof(&root(tree), &key(number), &lie), lie == honest);
            }
            for end in 0..honest.path.len() {
                let path = honest.path.get(..end).unwrap().to_vec();
                for value in [None, honest.value.clone()] {
                    let short = StateProof { value, path: path.clone() };
                    assert!(!verify_proof(&root(tree), &key(number), &short));
                }
            }
        }
    });
}

#[test]
fn a_proof_for_one_key_proves_nothing_about_another() {
    wander(13, 12, 40, |tree, model| {
        for number in 0..12 {
            let proof = proof(tree, model, &key(number));
            for other in (0..12).filter(|other| *other != number) {
                let holds = verify_proof(&root(tree), &key(other), &proof);
                // Two absent keys may share their search path.
                assert!(!holds || (proof.value.is_none() && !model.contains_key(&key(other))));
            }
        }
    });
}

#[test]
fn a_proof_with_one_changed_byte_is_refused() {
    let mut model = Model::new();
    (0..40).for_each(|number| drop(model.insert(key(number), b"value".to_vec())));
    let mut tree = tree_of(&model);
    let root = tree.root();
    for number in [0, 1, 39, 40, 41, 99] {
        let bytes = proof(&tree, &model, &key(number)).encode();
        for place in 0..bytes.len() {
            for mask in [1, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[place] ^= mask;
                if let Ok(proof) = StateProof::decode("proof", &changed) {
                    assert!(!verify_proof(&root, &key(number), &proof), "byte {place}");
                }
            }
        }
    }
}

#[test]
fn a_proof_of_another_version_is_refused() {
    let mut before: Option<(Digest, Model, StateTree)> = None;
    wander(17, 15, 120, |tree, model| {
        if let Some((old_root, old, version)) = before.take().filter(|(_, old, _)| old != model) {
            for number in 0..15 {
                let stale = proof(&version, &old, &key(number));
                assert!(verify_proof(&old_root, &key(number), &stale));
                assert!(!verify_proof(&root(tree), &key(number), &stale));
            }
        }
        before = Some((root(tree), model.clone(), tree.clone()));
    });
}

/// A tree whose paths are chosen, not hashed: what no client can make.
fn forged(paths: impl IntoIterator<Item = Path>) -> StateTree {
    let mut tree = StateTree::new();
    for path in paths {
        tree.insert_at(path, Digest([1; 32]));
    }
    tree
}

/// 1 bits up to `depth`, 0 bits from there on.
fn ones(depth: usize) -> Path {
    let byte = |place: usize| match depth.saturating_sub(8 * place) {
        0 => 0,
        bits @ 1..8 => 0xff << (8 - bits),
        _ => 0xff,
    };
    Path(std::array::from_fn(byte))
}

#[test]
fn the_deepest_tree_there_can_be_is_handled() {
    let mut deepest = forged((0..=256).rev().map(ones));
    assert_eq!(deepest.root(), forged((0..=256).map(ones)).root());
    let mut depth = 0;
    let mut next = deepest.root.top;
    while let Some(node) = next.map(|id| deepest.nodes.get(id)) {
        assert_eq!(node.entry.path, ones(depth));
        assert!(node.left.top.is_none());
        (next, depth) = (node.right.top, depth + 1);
    }
    assert_eq!(depth, 257);
    for depth in 0..=256 {
        assert_eq!(deepest.root(), forged((depth..=256).map(ones)).root());
        deepest.remove_path(&ones(depth));
    }
    assert!(deepest.is_empty() && deepest.root.top.is_none());
}

/// A root made by hand over nodes that break the rules: each proof would hold by its hashes alone.
#[test]
fn a_shape_that_breaks_the_rules_is_refused() {
    let mut keys: Vec<Vec<u8>> = (0..64).map(key).collect();
    keys.sort_by_key(|key| Path::of(key));
    let (small, large) = (&keys[3], &keys[40]);
    let node = |key: &[u8], value: &[u8], right: bool, below: Digest| {
        let (left, right) = if right { (Digest::default(), below) } else { (below, below) };
        StateNode { path: path_of(key), value: value_digest(value), left, right }
    };
    let digest = |shown: &StateNode| {
        node::node_digest(&Path(shown.path.0), &shown.value, &shown.left, &shown.right)
    };
    let check = |nodes: [&StateNode; 2], key: &[u8], value: Option<&[u8]>| {
        let path: Vec<StateNode> = nodes.into_iter().cloned().collect();
        let proof = StateProof { value: value.map(<[u8]>::to_vec), path };
        verify_proof(&digest(nodes[0]), key, &proof)
    };
    let leaf = |key: &[u8]| node(key, b"below", false, Digest::default());
    // In order: holds. Both subtrees of the root are the same here, which no search notices.
    let below = leaf(large);
    let root = node(small, b"above", false, digest(&below));
    assert!(check([&root, &below], large, Some(b"below")));
    // The larger path above the smaller one.
    let below = leaf(small);
    let root = node(large, b"above", false, digest(&below));
    assert!(!check([&root, &below], small, Some(b"below")));
    assert!(!check([&root, &below], &key(1000), None));
    // A node on a side where it does not belong: keys[63] is on the right, key at the left.
    let stray = leaf(&keys[63]);
    let root = node(&keys[0], b"above", false, digest(&stray));
    assert_ne!(Path::of(&keys[1]).side(0), Path::of(&keys[63]).side(0));
    assert!(!check([&root, &stray], &keys[1], None));
    // Nodes after the one that was searched.
    let below = leaf(large);
    let root = node(small, b"above", false, digest(&below));
    assert!(!check([&root, &below], small, Some(b"above")));
}

#[test]
fn a_proof_of_one_node_for_ever_is_refused() {
    let empty = Digest::default();
    let node = StateNode { path: path_of(&key(1)), value: empty, left: empty, right: empty };
    let digest = node::node_digest(&Path::of(&key(1)), &empty, &empty, &empty);
    for count in [2, 257, 258, 1 << 16] {
        let proof = StateProof { value: None, path: vec![node.clone(); count] };
        assert!(!verify_proof(&digest, &key(2), &proof));
        assert!(!verify_proof(&empty, &key(2), &proof));
    }
}

#[test]
fn bits_are_counted_from_the_highest_of_the_first_byte() {
    let path = ones(11);
    assert!((0..11).all(|depth| path.side(depth) == Side::Right));
    assert!((11..300).all(|depth| path.side(depth) == Side::Left));
    assert_eq!(path.common_bits(&ones(256)), 11);
    assert_eq!(path.common_bits(&path), 256);
}

/// Computed by an independent implementation of the formulas.
#[test]
fn digests_are_golden() {
    let check = |digest: Digest, golden: &str| assert_eq!(digest.to_string(), golden);
    assert_eq!(state_key(ServiceId::KV, b"a"), b"\x02a");
    check(value_digest(b"1"), "dda199dba64e7ccf62de3d537b2135220e77b1d13210ade9f0c4337d2157c52b");
    check(path_of(b"\x02a"), "fb3070460e224199178b0d6693565e07795fcec567a44c17b88a3dfa76620e88");
    let mut tree = StateTree::new();
    put(&mut tree, b"\x02a", b"1");
    check(tree.root(), "564c7b59ea8336dc99cad9e2d7820af80dff0fa220605d9f357b6e91a2919ab5");
    put(&mut tree, b"\x02b", b"2");
    put(&mut tree, b"\x02c", b"3");
    check(tree.root(), "90fcddaaec821ae650fe143ed7e96c7529e976f569f8d2198436113900666e02");
    let many = (0..40).map(|number| (key(number), format!("value {number}").into_bytes()));
    let golden = "2452c508fec8a80dc5d497f4c1dad227c59a504527e438be410d4aab4616c04e";
    check(tree_of(&many.collect()).root(), golden);
}
