//! Chunks of missions on threads, with results that do not depend on their number.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;

use super::{EngineError, Missions, THREADS_MAX};

/// A run cut into chunks.
pub(super) struct Chunks {
    missions: u64,
    size: u64,
    count: u64,
    seed: u64,
    threads: usize,
}

impl Chunks {
    /// `size`: missions of a chunk, at least 1.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 10,000")]
    pub(super) fn of(missions: &Missions, size: f64) -> Self {
        let size = (size as u64).max(1);
        let count = missions.count.div_ceil(size);
        let threads = match missions.threads {
            0 => thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX),
            threads => threads,
        };
        let threads = threads.min(usize::try_from(count).unwrap_or(usize::MAX)).max(1);
        Self { missions: missions.count, size, count, seed: missions.seed, threads }
    }

    /// The results of all chunks, in order. The calling thread works too, and tells progress.
    pub(super) fn run<T: Send>(
        &self,
        progress: &dyn Fn(u64, u64),
        cancel: &AtomicBool,
        work: impl Fn(&mut ChaCha8Rng, u64) -> Result<T, EngineError> + Sync,
    ) -> Result<Vec<T>, EngineError> {
        let next = AtomicU64::new(0);
        let done = AtomicU64::new(0);
        let ended = AtomicBool::new(false);
        let worker = |tell: &dyn Fn(u64)| {
            let mut results = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let chunk = next.fetch_add(1, Ordering::Relaxed);
                if chunk >= self.count {
                    break;
                }
                let count = self.size.min(self.missions - chunk * self.size);
                let result = self.chunk(chunk, count, cancel, &work);
                if result.is_err() {
                    ended.store(true, Ordering::Relaxed);
                }
                results.push((chunk, result));
                tell(done.fetch_add(count, Ordering::Relaxed) + count);
            }
            results
        };
        let mut results = thread::scope(|scope| {
            let others: Vec<_> =
                (1..self.threads).map(|_| scope.spawn(|| worker(&|_| ()))).collect();
            let mut results = worker(&|done| progress(done, self.missions));
            for other in others {
                results.extend(other.join().expect("a worker only computes"));
            }
            results
        });
        results.sort_unstable_by_key(|(chunk, _)| *chunk);
        results.into_iter().map(|(_, result)| result).collect()
    }

    fn chunk<T>(
        &self,
        chunk: u64,
        count: u64,
        cancel: &AtomicBool,
        work: &impl Fn(&mut ChaCha8Rng, u64) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        if cancel.load(Ordering::Relaxed) {
            return Err(EngineError::Cancelled);
        }
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(chunk);
        work(&mut generator, count)
    }
}
