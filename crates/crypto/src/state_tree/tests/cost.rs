//! Measurements of processor time, not assertions:
//! `cargo test --release -p ravelin-crypto -- --ignored --nocapture --test-threads 1 cost`.

use std::time::Duration;

use super::*;

/// What this thread has cost so far, to a few milliseconds; zero where Linux does not tell.
fn spent() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn tree(count: u64) -> StateTree {
    let mut tree = StateTree::new();
    (0..count).for_each(|number| put(&mut tree, &key(number), b"value"));
    tree
}

/// Nodes on the longest path.
fn depth(tree: &StateTree, subtree: &Subtree) -> usize {
    let node = subtree.top.map(|id| tree.nodes.get(id));
    node.map_or(0, |node| 1 + depth(tree, &node.left).max(depth(tree, &node.right)))
}

#[test]
#[ignore = "measures"]
fn cost_of_updates() {
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        let start = spent();
        let mut tree = tree(count);
        let built = (spent() - start) / u32::try_from(count).unwrap();
        let start = spent();
        tree.root();
        let hashed = (spent() - start) / u32::try_from(count).unwrap();
        let (depth, bytes) = (depth(&tree, &tree.root), NODE_BYTES);
        println!("{count} keys, depth {depth}, node {bytes} B: insert {built:?}, hash {hashed:?}");
        for batch in [1, 32, 256, 2_000] {
            cost_of_batches(&mut tree, count, batch);
        }
    }
}

fn cost_of_batches(tree: &mut StateTree, count: u64, batch: u64) {
    let mut chance = Chance(batch);
    let commits = 20_000 / batch;
    let updates = u32::try_from(commits * batch).unwrap();
    let keys: Vec<Vec<u8>> = (0..updates).map(|_| key(chance.below(count))).collect();
    for _ in 0..64 {
        tree.keep();
    }
    let mut copied = 0;
    let start = spent();
    for (commit, keys) in (0..).zip(keys.chunks(usize::try_from(batch).unwrap())) {
        let before = tree.superseded_nodes();
        keys.iter().for_each(|key| put(tree, key, &u64::to_le_bytes(commit)));
        tree.keep();
        copied += tree.superseded_nodes() - before;
        forget_oldest(tree);
    }
    let spent = (spent() - start) / updates;
    let copied = copied as f64 / f64::from(updates);
    println!("  commits of {batch}: {spent:?} an update, {copied:.1} nodes copied");
    (0..64).for_each(|_| forget_oldest(tree));
}

#[test]
#[ignore = "measures"]
fn cost_of_proofs() {
    let mut tree = tree(1_000_000);
    let (root, now) = (tree.root(), tree.keep());
    let value = Some(b"value".to_vec());
    let prove = |number: u64| tree.prove_at(now, &key(number * 97)).unwrap();
    let start = spent();
    let proofs: Vec<StateProof> = (0..10_000)
        .map(|number| StateProof { value: value.clone(), path: prove(number) })
        .collect();
    let proven = (spent() - start) / 10_000;
    let start = spent();
    for (number, proof) in (0..).zip(&proofs) {
        assert!(verify_proof(&root, &key(number * 97), proof));
    }
    let verified = (spent() - start) / 10_000;
    let bytes: usize = proofs.iter().map(|proof| proof.encode().len()).sum();
    println!("prove {proven:?}, verify {verified:?}, {} B a proof", bytes / proofs.len());
}
