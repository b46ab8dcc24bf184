//! The thread that hands overlays to the engine, while the server goes on.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use super::engine::Engine;
use super::fail;
use super::mark::Mark;
use super::overlay::Overlay;

enum Job {
    TakeIn(Arc<Overlay>),
    /// Freeing many small things takes a while, and nobody need wait for that.
    Forget(Arc<Overlay>),
}

/// A handle of the thread, which ends with it, when all its jobs are done.
pub(super) struct Flusher {
    jobs: Option<Sender<Job>>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// Begins the thread. If the engine fails, the process ends.
    pub(super) fn begin(engine: Arc<Engine>, mut mark: Mark) -> std::io::Result<Self> {
        let (jobs, to_do) = channel();
        let (report, done) = channel();
        let work = move || {
            for job in to_do {
                match job {
                    Job::TakeIn(overlay) => {
                        let taken = engine.take_in(&overlay, &mut mark);
                        taken.unwrap_or_else(|error| fail(engine.dir(), "write the state", &error));
                        // Whoever does not wait for it has gone.
                        let _ = report.send(());
                    }
                    Job::Forget(overlay) => drop(overlay),
                }
            }
        };
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(work)?;
        Ok(Self { jobs: Some(jobs), done, thread: Some(thread) })
    }

    /// Has an overlay taken in.
    pub(super) fn take_in(&self, overlay: Arc<Overlay>) {
        self.send(Job::TakeIn(overlay));
    }

    /// Has an overlay forgotten that is taken in.
    pub(super) fn forget(&self, overlay: Arc<Overlay>) {
        self.send(Job::Forget(overlay));
    }

    /// Whether one more overlay is taken in.
    ///
    /// # Panics
    /// If the thread is gone.
    pub(super) fn is_done(&self) -> bool {
        let done = self.done.try_recv();
        assert!(done != Err(TryRecvError::Disconnected), "the store's thread has not panicked");
        done.is_ok()
    }

    /// Waits until one more overlay is taken in.
    ///
    /// # Panics
    /// If the thread is gone.
    pub(super) fn wait(&self) {
        self.done.recv().expect("the store's thread has not panicked");
    }

    fn send(&self, job: Job) {
        let jobs = self.jobs.as_ref().expect("it is there until the handle goes");
        jobs.send(job).unwrap_or_else(|_| panic!("the store's thread has not panicked"));
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by itself.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::{Bound, ControlFlow};
    use std::path::Path;
    use std::time::{Duration, Instant};

    use ravelin_model::StateBackend as _;

    use super::super::engine::RUNS_MAX;
    use super::super::tests::{OWNER, Scratch, keys, put, record, try_open};
    use super::super::{DiskState, ENGINE_DIR, StoreConfig, StoreError};

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    /// A generator of numbers that look random.
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 33) % bound
        }

        fn key(&mut self) -> Vec<u8> {
            let first = [1, 0x70, 0xff][self.below(3) as usize];
            vec![first, self.below(40) as u8]
        }
    }

    /// Overlays of 2 KiB, so that every few batches one is taken in.
    fn open_small(dir: &Path) -> DiskState {
        let config = StoreConfig { overlay_bytes: 2 << 10, ..StoreConfig::new(OWNER) };
        DiskState::open(dir, &config).unwrap()
    }

    fn write(store: &mut DiskState, model: &mut Model, draw: &mut Draw, number: u64) {
        let changes: BTreeMap<_, _> = (0..draw.below(6))
            .map(|_| {
                let value = vec![number as u8; draw.below(300) as usize];
                (draw.key(), (draw.below(4) > 0).then_some(value))
            })
            .collect();
        for (key, value) in &changes {
            match value {
                Some(value) => drop(model.insert(key.clone(), value.clone())),
                None => drop(model.remove(key)),
            }
        }
        let batch: Vec<_> = changes.into_iter().collect();
        store.write_with(&batch, &[(number, number.to_le_bytes().to_vec())]);
    }

    fn check(store: &DiskState, model: &Model, draw: &mut Draw, number: u64) {
        let (from, until) = (draw.key(), draw.key());
        assert_eq!(store.get(&from), model.get(&from).cloned());
        let until = (draw.below(4) > 0).then_some(until);
        let mut found = Vec::new();
        store.scan(&from, until.as_deref(), &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            if found.len() < 20 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let end = until.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let wanted = if until.as_ref().is_some_and(|until| *until < from) {
            Vec::new()
        } else {
            let range = model.range((Bound::Included(from), end));
            range.map(|(key, value)| (key.clone(), value.clone())).take(20).collect()
        };
        assert_eq!(found, wanted);
        let earlier = 1 + draw.below(number);
        assert_eq!(store.record(earlier), Some(earlier.to_le_bytes().to_vec()));
        assert_eq!(store.record(number + 1), None);
    }

    #[test]
    fn whichever_layer_holds_a_key_the_store_says_what_was_last_written() {
        let scratch = Scratch::new();
        let (mut store, mut model, mut draw) = (open_small(&scratch.0), Model::new(), Draw(1));
        for number in 1..=3000 {
            write(&mut store, &mut model, &mut draw, number);
            check(&store, &model, &mut draw, number);
            store.settle();
            if draw.below(500) == 0 {
                store.sync();
                drop(store);
                store = open_small(&scratch.0);
            }
        }
        assert!(store.taken > 20, "{} overlays went to the engine", store.taken);
    }

    #[test]
    fn what_a_begun_sync_covers_is_durable_once_it_is_said_to_be() {
        let scratch = Scratch::new();
        let mut store = open_small(&scratch.0);
        let nothing = store.begin_sync();
        assert!(store.is_synced(nothing), "there is nothing to make durable");
        // The second one begins while the first is under way.
        store.write_with(&[put("a", vec![1; 1 << 20])], &[]);
        let first = store.begin_sync();
        store.settle();
        store.write_with(&[put("b", "2")], &[(1, record(1))]);
        let second = store.begin_sync();
        let third = store.begin_sync();
        assert!(first < second && second == third, "{first} {second} {third}");
        let begun = Instant::now();
        while !store.is_synced(second) {
            assert!(begun.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(1));
            store.settle();
        }
        assert!(store.is_synced(first) && store.active.is_empty() && store.sealed.is_none());
        // What is not handed over is lost with the process.
        store.write_with(&[put("c", "3")], &[]);
        drop(store);
        let store = open_small(&scratch.0);
        assert_eq!(keys(&store, &[], None, 9), [b"a", b"b"]);
        assert_eq!(store.record(1), Some(record(1)));
    }

    /// Whatever is due or too much waits for the log.
    #[test]
    fn nothing_is_handed_over_before_it_is_settled() {
        let scratch = Scratch::new();
        let mut store = open_small(&scratch.0);
        for number in 0..9_u8 {
            store.write_with(&[put([b'k', number], [number; 1 << 10])], &[]);
        }
        let begun = store.begin_sync();
        store.write_with(&[put("later", "1")], &[]);
        std::thread::sleep(Duration::from_millis(50));
        assert!(!store.is_synced(begun) && store.sealed.is_none(), "the log may yet lose all");
        drop(store);
        let mut store = open_small(&scratch.0);
        assert!(keys(&store, &[], None, 9).is_empty());
        store.write_with(&[put("a", "1")], &[]);
        store.begin_sync();
        store.settle();
        store.write_with(&[put("b", "2")], &[]);
        drop(store);
        assert_eq!(keys(&open_small(&scratch.0), &[], None, 9), [b"a"], "the other one came later");
    }

    #[test]
    fn what_comes_into_a_range_that_was_empty_is_found() {
        let scratch = Scratch::new();
        let mut store = open_small(&scratch.0);
        let found = |store: &DiskState| keys(store, b"k", Some(b"l"), 9);
        for step in 0..4_u8 {
            assert_eq!(found(&store).len(), usize::from(step), "from the tables alone");
            store.write_with(&[put([b'k', step], "here")], &[]);
            assert_eq!(found(&store).len(), usize::from(step) + 1);
            store.begin_sync();
            store.settle();
            assert_eq!(found(&store).len(), usize::from(step) + 1, "while they take it in");
            store.sync();
        }
        store.write_with(&[(b"k\0".to_vec(), None)], &[]);
        store.sync();
        assert_eq!(found(&store), [b"k\x01", b"k\x02", b"k\x03"]);
    }

    /// Overlays that come faster than compaction follows, for each has keys all over the range.
    #[test]
    fn who_brings_more_waits_for_compaction() {
        let scratch = Scratch::new();
        let mut store = open_small(&scratch.0);
        for number in 0..30_u64 {
            let keys = (0..1500).map(|at| blake3::hash(&(number * 1500 + at).to_le_bytes()));
            let batch: Vec<_> = keys.map(|key| put(key.as_bytes(), [7; 8])).collect();
            store.write(&batch);
            store.sync();
            assert!(store.engine.runs() <= RUNS_MAX, "{} runs", store.engine.runs());
        }
    }

    /// A kill after the tables are there and before the mark is.
    #[test]
    fn a_mark_that_came_too_late_counts_on_from_what_is_there() {
        let scratch = Scratch::new();
        let marked = scratch.0.with_extension("mark");
        for step in 0..3_u8 {
            let mut store = open_small(&scratch.0);
            store.write_with(&[put("a", [step])], &[]);
            if step == 1 {
                std::fs::copy(scratch.0.join("mark"), &marked).unwrap();
            }
            store.sync();
            drop(store);
            if step == 1 {
                std::fs::rename(&marked, scratch.0.join("mark")).unwrap();
            }
        }
        let found = std::fs::read(scratch.0.join("mark")).unwrap();
        let counts =
            [48, 4096 + 48].map(|at| u64::from_le_bytes(*found[at..].first_chunk().unwrap()));
        assert_eq!(counts.iter().max(), Some(&3), "{counts:?}");
    }

    /// Tables that are of an earlier time than the journal beside them.
    #[test]
    fn a_store_whose_tables_alone_are_rolled_back_is_refused() {
        let scratch = Scratch::new();
        let tables = scratch.0.join(ENGINE_DIR).join("keyspaces");
        let old = scratch.0.with_extension("old");
        for step in 0..2_u8 {
            let mut store = open_small(&scratch.0);
            store.write_with(&[put("a", [step])], &[]);
            store.sync();
            drop(store);
            if step == 0 {
                let copied =
                    std::process::Command::new("cp").arg("-r").arg(&tables).arg(&old).status();
                assert!(copied.unwrap().success());
            }
        }
        std::fs::remove_dir_all(&tables).unwrap();
        std::fs::rename(old, &tables).unwrap();
        let refused = try_open(&scratch.0).err();
        assert!(
            matches!(refused, Some(StoreError::RolledBack { found: 1, promised: 2 })),
            "{refused:?}"
        );
    }
}
