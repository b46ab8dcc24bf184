use std::collections::BTreeMap;

use ravelin_crypto::state_tree::verify_proof;
use ravelin_model::{Decode, Encode};

use super::*;

mod cost;

/// What the state should be, by whole key.
type Model = BTreeMap<Vec<u8>, Vec<u8>>;

const SERVICES: [ServiceId; 3] = [ServiceId(0), ServiceId::KV, SERVICE_ID_MAX];

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

    fn service(&mut self) -> ServiceId {
        SERVICES[usize::try_from(self.below(3)).unwrap()]
    }

    /// Short, so that keys meet; also empty, and with the highest byte.
    fn key(&mut self) -> Vec<u8> {
        (0..self.below(3)).map(|_| [0, 1, 0xff][usize::try_from(self.below(3)).unwrap()]).collect()
    }

    fn value(&mut self) -> Vec<u8> {
        (0..self.below(4)).map(|_| b'a' + u8::try_from(self.below(3)).unwrap()).collect()
    }
}

/// All keys that [`Chance::key`] draws.
fn all_keys() -> Vec<Vec<u8>> {
    let mut keys = vec![Vec::new()];
    for first in [0, 1, 0xff] {
        keys.push(vec![first]);
        keys.extend([0, 1, 0xff].map(|second| vec![first, second]));
    }
    keys
}

fn open(backend: &MemoryBackend) -> State {
    State::open(Box::new(backend.handle()))
}

fn public(entries: &Model) -> Model {
    let entries = entries.iter().filter(|(key, _)| is_public(key));
    entries.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The root of a state that was never anything else.
fn root_of(model: &Model) -> Digest {
    let mut tree = StateTree::new();
    for (key, value) in public(model) {
        tree.insert(&key, value_digest(&value));
    }
    tree.root()
}

/// One random write, to the state and to the model.
fn write(chance: &mut Chance, state: &mut State, model: &mut Model) {
    let (key, value) = (chance.key(), (chance.below(3) > 0).then(|| chance.value()));
    let namespace = if chance.below(4) == 0 {
        match value.clone() {
            Some(value) => state.private_put(&key, value),
            None => state.private_delete(&key),
        }
        PRIVATE
    } else {
        let service = chance.service();
        let store = state.of(service);
        match value.clone() {
            Some(value) => store.put(&key, value),
            None => store.delete(&key),
        }
        service.0
    };
    let key = view::whole_key(namespace, &key);
    match value {
        Some(value) => drop(model.insert(key, value)),
        None => drop(model.remove(&key)),
    }
}

/// Random operations of one commit, some of them undone.
fn run_commit(chance: &mut Chance, state: &mut State, model: &mut Model) {
    for _ in 0..chance.below(5) {
        let before = model.clone();
        let is_operation = chance.below(2) == 0;
        if is_operation {
            state.begin();
        }
        for _ in 0..chance.below(4) {
            write(chance, state, model);
        }
        if is_operation {
            if chance.below(2) == 0 {
                state.keep();
            } else {
                state.undo();
                *model = before;
            }
        }
    }
}

/// One namespace of the model.
fn part(model: &Model, namespace: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let part = model.iter().filter(|(key, _)| key.first() == Some(&namespace));
    part.map(|(key, value)| (key[1..].to_vec(), value.clone())).collect()
}

/// Reads a whole namespace by `get` and by `scan` with random bounds and breaks.
fn check_view(chance: &mut Chance, view: &dyn View, expected: &[(Vec<u8>, Vec<u8>)]) {
    for key in all_keys() {
        let value = expected.iter().find(|(known, _)| *known == key).map(|(_, value)| value);
        assert_eq!(view.get(&key).as_ref(), value);
    }
    let scan = |from: &[u8], until: Option<&[u8]>, limit: usize| {
        let mut seen = Vec::new();
        view.scan(from, until, &mut |key, value| {
            assert!(seen.len() < limit, "visited after a break");
            seen.push((key.to_vec(), value.to_vec()));
            if seen.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        seen
    };
    assert_eq!(scan(&[], None, usize::MAX), expected);
    for _ in 0..4 {
        let (from, until) = (chance.key(), (chance.below(2) == 0).then(|| chance.key()));
        let limit = usize::try_from(chance.below(4) + 1).unwrap();
        let within = |key: &Vec<u8>| *key >= from && until.as_ref().is_none_or(|end| key < end);
        let inside = expected.iter().filter(|(key, _)| within(key));
        let inside: Vec<_> = inside.take(limit).cloned().collect();
        assert_eq!(scan(&from, until.as_deref(), limit), inside);
    }
}

/// The ordering state, as a view like the others.
struct Private<'a>(&'a State);

impl View for Private<'_> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.private_get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) {
        self.0.private_scan(from, until, visit);
    }

    fn spend(&self, _: usize) {}
}

#[test]
fn writes_are_read_back_at_once_and_views_show_the_last_commit() {
    for seed in 0..300 {
        let mut chance = Chance(seed);
        let mut state = open(&MemoryBackend::new());
        let (mut model, mut committed) = (Model::new(), Model::new());
        for commit in 1..8 {
            run_commit(&mut chance, &mut state, &mut model);
            for service in SERVICES {
                check_view(&mut chance, state.of(service), &part(&model, service.0));
                check_view(&mut chance, &state.view(service), &part(&committed, service.0));
                let mut queries = state.queries();
                check_view(&mut chance, queries.of(service), &part(&committed, service.0));
            }
            check_view(&mut chance, &Private(&state), &part(&model, PRIVATE));
            state.finish_commit(CommitIndex(commit));
            committed = model.clone();
        }
    }
}

#[test]
fn the_root_is_that_of_the_public_entries_and_survives_a_restart() {
    for seed in 0..100 {
        let mut chance = Chance(seed);
        let backend = MemoryBackend::new();
        let (mut state, mut model) = (open(&backend), Model::new());
        for commit in 1..10 {
            run_commit(&mut chance, &mut state, &mut model);
            let root = state.finish_commit(CommitIndex(commit));
            assert_eq!(root, root_of(&model), "seed {seed}");
            assert_eq!(state.root(), root);
            let mut entries = (*backend.entries()).clone();
            assert_eq!(entries.remove([COMMIT].as_slice()), Some(commit.to_le_bytes().to_vec()));
            entries.retain(|key, _| !key.starts_with(&[COMMIT]));
            assert_eq!(entries, model, "seed {seed}");
            let reopened = open(&backend);
            assert_eq!((reopened.root(), reopened.commit()), (root, CommitIndex(commit)));
        }
    }
}

#[test]
fn every_commit_remembered_is_proven_as_it_was() {
    for seed in 0..60 {
        let mut chance = Chance(seed);
        let mut state = open(&MemoryBackend::new());
        let mut model = Model::new();
        let mut history = vec![(CommitIndex(0), Digest::default(), Model::new())];
        let mut commit = CommitIndex(0);
        for _ in 0..20 {
            run_commit(&mut chance, &mut state, &mut model);
            commit = CommitIndex(commit.0 + 1 + chance.below(3));
            history.push((commit, state.finish_commit(commit), model.clone()));
        }
        run_commit(&mut chance, &mut state, &mut model); // must not show
        for (commit, root, model) in &history {
            let (service, key) = (chance.service(), chance.key());
            let whole = state_key(service, &key);
            let proof = state.prove_at(*commit, service, &key).unwrap();
            assert_eq!(proof.value, model.get(&whole).cloned(), "seed {seed}, {commit:?}");
            assert!(verify_proof(root, &whole, &proof), "seed {seed}, {commit:?}");
            for (_, other, _) in history.iter().filter(|(_, other, _)| other != root) {
                assert!(!verify_proof(other, &whole, &proof), "seed {seed}, {commit:?}");
            }
        }
    }
}

#[test]
fn a_proof_with_one_changed_byte_is_refused() {
    let mut state = open(&MemoryBackend::new());
    (0..30u8).for_each(|number| state.of(ServiceId::KV).put(&[number], vec![number; 3]));
    let root = state.finish_commit(CommitIndex(1));
    for number in [3, 29, 30, 77] {
        let proof = state.prove_at(CommitIndex(1), ServiceId::KV, &[number]).unwrap();
        let key = state_key(ServiceId::KV, &[number]);
        assert!(verify_proof(&root, &key, &proof));
        assert!(
            !verify_proof(&root, &state_key(ServiceId::AUTH, &[number]), &proof) || number > 29
        );
        let bytes = proof.encode();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            if let Ok(changed) = StateProof::decode("proof", &changed) {
                assert!(!verify_proof(&root, &key, &changed), "byte {place}");
            }
        }
    }
}

#[test]
fn old_versions_are_forgotten_by_number() {
    let mut state = open(&MemoryBackend::new());
    let commits = STATE_VERSIONS_MAX as u64 + 10;
    for commit in 1..=commits {
        state.of(ServiceId::KV).put(b"key", commit.encode());
        state.finish_commit(CommitIndex(commit));
    }
    let prove = |commit| state.prove_at(CommitIndex(commit), ServiceId::KV, b"key");
    for commit in 0..=10 {
        assert_eq!(prove(commit), None);
    }
    for commit in 11..=commits {
        assert_eq!(prove(commit).unwrap().value, Some(commit.encode()));
    }
    assert_eq!(prove(commits + 1), None);
}

#[test]
fn old_versions_are_forgotten_by_bytes_and_the_newest_stays() {
    let mut state = open(&MemoryBackend::new());
    for commit in 1..=20 {
        state.of(ServiceId::KV).put(b"key", vec![u8::try_from(commit).unwrap(); 5 << 20]);
        state.finish_commit(CommitIndex(commit));
    }
    let prove = |state: &State, commit| state.prove_at(CommitIndex(commit), ServiceId::KV, b"key");
    let remembered = (1..=20).filter(|commit| prove(&state, *commit).is_some());
    // Five values of 5 MiB fit: those that commits 16..=20 overwrote.
    assert_eq!(remembered.collect::<Vec<_>>(), (15..=20).collect::<Vec<_>>());
    state.of(ServiceId::KV).put(b"key", vec![21; STATE_VERSION_BYTES_MAX + 1]);
    state.finish_commit(CommitIndex(21));
    state.of(ServiceId::KV).put(b"key", vec![22; 1]);
    state.finish_commit(CommitIndex(22));
    assert!((0..22).all(|commit| prove(&state, commit).is_none()));
    assert_eq!(prove(&state, 22).unwrap().value, Some(vec![22]));
}

#[test]
fn old_versions_are_forgotten_by_nodes() {
    let mut state = open(&MemoryBackend::new());
    for commit in 1..=40u64 {
        for key in 0..10_000u32 {
            state.of(ServiceId::KV).put(&key.to_le_bytes(), vec![u8::try_from(commit).unwrap()]);
        }
        state.finish_commit(CommitIndex(2 * commit));
        state.of(ServiceId::KV).put(b"small", vec![u8::try_from(commit).unwrap()]);
        state.finish_commit(CommitIndex(2 * commit + 1)); // so each of the large ones has a version
    }
    let bytes = 10_000 * ravelin_crypto::state_tree::NODE_BYTES;
    let remembered = (1..=40)
        .filter(|commit| state.prove_at(CommitIndex(2 * commit), ServiceId::KV, &[0; 4]).is_some());
    assert!((2..STATE_VERSION_BYTES_MAX / bytes).contains(&remembered.count()));
}

/// Large commits in a row share versions; what is small, or held, or the last, has its own.
#[test]
fn of_large_commits_in_a_row_few_are_proven_and_all_after_small_ones() {
    let mut state = open(&MemoryBackend::new());
    let mut roots = vec![Digest::default()];
    let mut commit = |state: &mut State, keys: u64| {
        let number = roots.len() as u64;
        for key in 0..keys {
            state.of(ServiceId::KV).put(&key.to_le_bytes(), number.encode());
        }
        roots.push(state.finish_commit(CommitIndex(number)));
        let proven = (1..=number).filter(|earlier| {
            let (at, key) = (CommitIndex(*earlier), 0_u64.to_le_bytes());
            let Some(proof) = state.prove_at(at, ServiceId::KV, &key) else { return false };
            assert!(state.has_version(at));
            assert_eq!(proof.value, Some(earlier.encode()), "as {earlier} left it");
            let root = roots.get(usize::try_from(*earlier).unwrap()).unwrap();
            verify_proof(root, &state_key(ServiceId::KV, &key), &proof)
        });
        proven.collect::<Vec<u64>>()
    };
    (1..=20).for_each(|_| drop(commit(&mut state, 100)));
    assert_eq!(commit(&mut state, 100), [7, 15, 21], "one of eight, and the last");
    assert_eq!(commit(&mut state, 1), [7, 15, 21, 22], "a small one costs little");
    assert_eq!(state.hold(), Some(CommitIndex(22)));
    assert_eq!(commit(&mut state, 100), [7, 15, 21, 22, 23], "somebody may fetch the one held");
    assert_eq!(commit(&mut state, 100), [7, 15, 21, 22, 24]);
    state.release(CommitIndex(22));
    assert_eq!(commit(&mut state, 1), [7, 15, 21, 22, 24, 25]);
}

/// Where commits are so large that few states are kept, a quorum's signatures still find one of them: each
/// has its version.
#[test]
fn where_few_states_are_kept_each_can_be_proven() {
    let mut state = open(&MemoryBackend::new());
    for commit in 1..=40_u64 {
        for key in 0..64_u32 {
            let value = vec![u8::try_from(commit).unwrap(); 64 << 10];
            state.of(ServiceId::KV).put(&key.to_le_bytes(), value);
        }
        state.finish_commit(CommitIndex(commit));
    }
    let proven = (1..=40).filter(|commit| state.has_version(CommitIndex(*commit)));
    assert_eq!(proven.collect::<Vec<_>>(), (34..=40).collect::<Vec<_>>());
}

/// What orders is no part of the tree: however much of it each commit writes, all are proven.
#[test]
fn what_orders_makes_no_commit_a_large_one() {
    let mut state = open(&MemoryBackend::new());
    for commit in 1..=20_u64 {
        for key in 0..100_u32 {
            state.private_put(&key.to_le_bytes(), commit.encode());
        }
        state.finish_commit(CommitIndex(commit));
    }
    assert!((1..=20).all(|commit| state.has_version(CommitIndex(commit))));
}

#[test]
fn ordering_state_and_bookkeeping_are_never_proven() {
    let mut state = open(&MemoryBackend::new());
    state.private_put(b"secret", b"x".to_vec());
    assert_eq!(state.finish_commit(CommitIndex(1)), Digest::default());
    for service in [0xfe, 0xff].map(ServiceId) {
        assert_eq!(state.prove_at(CommitIndex(1), service, b"secret"), None);
    }
}

#[test]
#[should_panic(expected = "no service's")]
fn no_service_reaches_the_ordering_state() {
    open(&MemoryBackend::new()).of(ServiceId(PRIVATE));
}

#[test]
fn a_write_that_changes_nothing_leaves_no_trace() {
    let backend = MemoryBackend::new();
    let mut state = open(&backend);
    state.of(ServiceId::KV).put(b"key", b"value".to_vec());
    let root = state.finish_commit(CommitIndex(1));
    state.of(ServiceId::KV).put(b"key", b"other".to_vec());
    state.of(ServiceId::KV).put(b"key", b"value".to_vec());
    state.of(ServiceId::KV).delete(b"absent");
    assert_eq!(state.finish_commit(CommitIndex(2)), root);
    assert!(state.versions.overwritten_since(CommitIndex(1), b"\x02key").is_none());
    assert!(state.versions.overwritten_since(CommitIndex(1), b"\x02absent").is_none());
}

#[test]
fn the_first_plan_is_written_at_commit_0_once() {
    let mut state = open(&MemoryBackend::new());
    state.of(ServiceId::AUTH).put(b"plan", b"first".to_vec());
    let root = state.finish_commit(CommitIndex(0));
    let proof = state.prove_at(CommitIndex(0), ServiceId::AUTH, b"plan").unwrap();
    assert!(verify_proof(&root, &state_key(ServiceId::AUTH, b"plan"), &proof));
    let again = move || {
        state.of(ServiceId::AUTH).put(b"plan", b"second".to_vec());
        state.finish_commit(CommitIndex(0))
    };
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(again)).is_err());
}

#[test]
fn a_crash_keeps_a_prefix_of_the_commits() {
    for seed in 0..200 {
        let mut chance = Chance(seed);
        let backend = MemoryBackend::new();
        let (mut state, mut model) = (open(&backend), Model::new());
        // After the last sync, and after each commit since.
        let mut survivors = vec![(Model::new(), CommitIndex(0))];
        for commit in (1..10).map(CommitIndex) {
            run_commit(&mut chance, &mut state, &mut model);
            state.finish_commit(commit);
            survivors.push((model.clone(), commit));
            if chance.below(4) == 0 {
                state.sync();
                survivors.drain(..survivors.len() - 1);
            }
        }
        run_commit(&mut chance, &mut state, &mut model);
        drop(state);
        assert_eq!(backend.unsynced_batches(), survivors.len() - 1);
        let before = backend.snapshot();
        for (kept, (survivor, commit)) in survivors.iter().enumerate() {
            let backend = before.snapshot();
            backend.crash(kept);
            let state = open(&backend);
            assert_eq!((state.commit(), state.root()), (*commit, root_of(survivor)));
            let mut entries = (*backend.entries()).clone();
            entries.retain(|key, _| !key.starts_with(&[COMMIT]));
            assert_eq!(entries, *survivor, "seed {seed}");
            assert_eq!(backend.unsynced_batches(), 0);
        }
        assert_eq!(*before.entries(), *backend.entries());
    }
}

#[test]
fn a_scan_of_the_memory_backend_may_read_it_again() {
    let mut backend = MemoryBackend::new();
    backend.write(&[(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), Some(b"2".to_vec()))]);
    let mut other = backend.handle();
    let mut seen = Vec::new();
    backend.scan(&[], None, &mut |key, value| {
        assert_eq!(backend.get(key).as_deref(), Some(value));
        other.write(&[(b"c".to_vec(), Some(b"3".to_vec()))]);
        seen.push(key.to_vec());
        ControlFlow::Continue(())
    });
    assert_eq!(seen, [b"a", b"b"]);
}

#[test]
fn a_batch_that_writes_a_key_twice_is_lost_whole() {
    let mut backend = MemoryBackend::new();
    let write = |value: &[u8]| (b"a".to_vec(), Some(value.to_vec()));
    backend.write(&[write(b"1")]);
    backend.write(&[write(b"2"), write(b"3"), (b"b".to_vec(), None)]);
    assert_eq!(backend.get(b"a"), Some(b"3".to_vec()));
    backend.crash(1);
    assert_eq!(backend.get(b"a"), Some(b"1".to_vec()));
    assert_eq!(backend.entries().len(), 1);
}

#[test]
#[should_panic(expected = "commits only rise")]
fn commits_only_rise() {
    let mut state = open(&MemoryBackend::new());
    state.finish_commit(CommitIndex(2));
    state.finish_commit(CommitIndex(2));
}

#[test]
#[should_panic(expected = "an operation is still open")]
fn no_commit_is_finished_within_an_operation() {
    let mut state = open(&MemoryBackend::new());
    state.begin();
    state.finish_commit(CommitIndex(1));
}

#[test]
fn roots_are_golden() {
    let mut state = open(&MemoryBackend::new());
    state.of(ServiceId::KV).put(b"a", b"1".to_vec());
    state.private_put(b"ordering", b"x".to_vec());
    let golden = "564c7b59ea8336dc99cad9e2d7820af80dff0fa220605d9f357b6e91a2919ab5";
    assert_eq!(state.finish_commit(CommitIndex(1)).to_string(), golden);
}

/// What is written at once must not be undone by what waited for the end of the commit.
#[test]
fn a_write_at_once_outlives_what_was_written_before_it() {
    let backend = MemoryBackend::new();
    let mut state = open(&backend);
    state.finish_commit(CommitIndex(0));
    state.private_put(b"gone", b"old".to_vec());
    state.private_put(b"kept", b"old".to_vec());
    state.private_write(vec![(b"gone".to_vec(), None), (b"kept".to_vec(), Some(b"new".to_vec()))]);
    for _ in 0..2 {
        assert_eq!(state.private_get(b"gone"), None);
        assert_eq!(state.private_get(b"kept"), Some(b"new".to_vec()));
        state.finish_commit(CommitIndex(state.commit().0 + 1));
    }
    let again = open(&backend);
    assert_eq!(again.private_get(b"gone"), None);
    assert_eq!(again.private_get(b"kept"), Some(b"new".to_vec()));
}

/// Proofs that are to be written with the next commit are not lost when a state is fetched instead.
#[test]
fn what_waits_for_the_next_commit_is_written_when_a_state_was_fetched() {
    let backend = MemoryBackend::new();
    let mut state = open(&backend);
    state.finish_commit(CommitIndex(0));
    state.private_put(b"proof", b"one".to_vec());
    state.private_put(b"place", b"old".to_vec());
    state.begin_fetching();
    state.private_put(b"another", b"two".to_vec());
    let place = (b"place".to_vec(), Some(b"new".to_vec()));
    state.finish_fetching(CommitIndex(5), Digest::default(), vec![place]);
    drop(state);
    backend.crash(0);
    let state = open(&backend);
    assert_eq!(state.fetching_since(), None);
    assert_eq!(state.private_get(b"proof"), Some(b"one".to_vec()));
    assert_eq!(state.private_get(b"another"), Some(b"two".to_vec()));
    assert_eq!(state.private_get(b"place"), Some(b"new".to_vec()));
}

/// Whatever the number of entries, they are indexed once.
#[test]
fn a_state_without_an_index_gets_one_and_its_mark() {
    for count in [1_u64, 1023, 1024, 1025, 2048] {
        let mut backend = MemoryBackend::new();
        let entries = (0..count)
            .map(|key| (state_key(ServiceId::KV, &key.to_be_bytes()), Some(b"value".to_vec())));
        backend.write(&entries.collect::<Vec<_>>());
        let state = open(&backend);
        assert!(state.is_indexed);
        let (key, _) = index_mark();
        assert!(backend.get(&key).is_some(), "{count}");
    }
}
