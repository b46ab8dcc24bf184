//! Measurements of processor time, not assertions:
//! `cargo test --release -p ravelin-replication -- --ignored --nocapture --test-threads 1 cost`.

use std::time::Duration;

use super::*;

/// What this thread has cost so far, to a few milliseconds; zero where Linux does not tell.
fn spent() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn key(number: u64) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

#[test]
#[ignore = "measures"]
fn cost_of_commits() {
    for count in [1_000, 10_000, 100_000] {
        let backend = MemoryBackend::new();
        let mut state = open(&backend);
        (0..count).for_each(|number| state.of(ServiceId::KV).put(&key(number), vec![0; 128]));
        state.finish_commit(CommitIndex(1));
        let start = spent();
        drop(open(&backend));
        println!("{count} keys of 128 B: open {:?}", spent() - start);
        for batch in [1, 32, 256, 2_000] {
            cost_of_batches(&mut state, count, batch);
        }
    }
}

fn cost_of_batches(state: &mut State, count: u64, batch: u64) {
    let mut chance = Chance(batch);
    let commits = 20_000 / batch;
    let start = spent();
    for commit in 1..=commits {
        for _ in 0..batch {
            let key = key(chance.below(count));
            state.begin();
            let mut value = state.of(ServiceId::KV).get(&key).unwrap();
            value[0] = value[0].wrapping_add(1);
            state.of(ServiceId::KV).put(&key, value);
            state.keep();
        }
        state.finish_commit(CommitIndex(state.commit().0 + 1));
        if commit % 16 == 0 {
            state.sync();
        }
    }
    let updates = u32::try_from(commits * batch).unwrap();
    let each = (spent() - start) / updates;
    println!("  commits of {batch}: {each:?} an update");
}
