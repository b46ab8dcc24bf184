//! Many seeds on many cores: each is a world of its own, and the report is put together in the order
//! of seeds, so it does not depend on how many cores there are.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use ravelin_sim::{brm, runner};

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// What one run showed, or several: put together in the order of their seeds.
pub(super) trait Report: Default + Send {
    /// Takes in what the runs after these showed.
    fn append(&mut self, next: Self);
}

impl Report for runner::Report {
    fn append(&mut self, next: Self) {
        self.append(next);
    }
}

impl Report for brm::Report {
    fn append(&mut self, next: Self) {
        self.append(next);
    }
}

/// As many threads as there are cores.
pub(super) fn all() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Runs `count` seeds from `from` on; `tell` hears of each.
pub(super) fn run<R: Report>(
    (from, count): (u64, u64),
    threads: NonZeroUsize,
    one: &(dyn Fn(u64) -> R + Sync),
    tell: &dyn Fn(),
) -> R {
    name_seeds_that_panic();
    let next = AtomicU64::new(0);
    let (done, finished) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads.get() {
            let (done, next) = (done.clone(), &next);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    let seed = from.saturating_add(index);
                    SEED.set(Some(seed));
                    if done.send((index, one(seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        in_order(finished, tell)
    })
}

/// Puts together what finishes in any order.
fn in_order<R: Report>(finished: mpsc::Receiver<(u64, R)>, tell: &dyn Fn()) -> R {
    let mut report = R::default();
    let mut early = BTreeMap::new();
    let mut due = 0;
    for (index, run) in finished {
        early.insert(index, run);
        while let Some(run) = early.remove(&due) {
            report.append(run);
            due += 1;
            tell();
        }
    }
    report
}

/// A panic is a bug of the product, and ends this program: it must not hide which seed shows it.
fn name_seeds_that_panic() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        if let Some(seed) = SEED.get() {
            eprintln!("seed {seed} panics; run it alone with --from {seed} --seeds 1");
        }
        usual(what);
    }));
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::num::NonZeroUsize;
    use std::sync::mpsc;

    use ravelin_sim::runner::{Report, run_seed, run_seeds};
    use ravelin_sim::{Mode, Settings};

    use super::{in_order, run};

    #[test]
    fn the_report_does_not_depend_on_the_number_of_threads() {
        let one = |seed| run_seed(seed, Mode::Safety, Settings::default());
        let alone = run_seeds(3, 5, Mode::Safety, Settings::default());
        for threads in [1, 2, 7] {
            let told = Cell::new(0);
            let threads = NonZeroUsize::new(threads).expect("not zero");
            let report: Report = run((3, 5), threads, &one, &|| told.set(told.get() + 1));
            assert_eq!(told.get(), 5);
            assert_eq!(format!("{report:?}"), format!("{alone:?}"), "{threads} threads");
        }
    }

    #[test]
    fn a_slow_run_keeps_its_place() {
        let (done, finished) = mpsc::channel();
        for seed in [2, 0, 3, 1] {
            let run = Report { seeds: 1, slowest: (0, seed), commits: seed, ..Report::default() };
            let traced = ravelin_model::Digest([u8::try_from(seed).expect("small"); 32]);
            done.send((seed, Report { traces: vec![traced], ..run })).expect("is heard");
        }
        drop(done);
        let first_bytes: Vec<u8> =
            in_order(finished, &|| ()).traces.iter().map(|trace| trace.0[0]).collect();
        assert_eq!(first_bytes, [0, 1, 2, 3]);
    }
}
