//! Which edges of the program were run: counters that the compiler adds when `cargo xtask fuzz`
//! builds this program (`-Cpasses=sancov-module`). Without them, nothing is known and the driver
//! goes by what became of the inputs.

use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

static START: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Called by the program's start, with the counters of the whole program: one codegen unit has one
/// section, and the linker joins them.
///
/// # Safety
/// Both ends are those of one array that lives as long as the program.
#[unsafe(no_mangle)]
unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, end: *mut u8) {
    START.store(start, Ordering::Relaxed);
    COUNT.store((end as usize).saturating_sub(start as usize), Ordering::Relaxed);
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __sanitizer_cov_pcs_init(_start: *const usize, _end: *const usize) {}

/// What has been covered so far.
pub(crate) struct Coverage {
    /// For each edge, the buckets of counts that were seen.
    seen: Vec<u8>,
}

impl Coverage {
    pub(crate) fn new() -> Self {
        Self { seen: vec![0; COUNT.load(Ordering::Relaxed)] }
    }

    /// Whether this program counts at all.
    pub(crate) fn is_counted(&self) -> bool {
        !self.seen.is_empty()
    }

    /// Edges that were run.
    pub(crate) fn edges(&self) -> usize {
        self.seen.iter().filter(|seen| **seen != 0).count()
    }

    /// Forgets the counts before a run.
    pub(crate) fn reset(&self) {
        self.counters().fill(0);
    }

    /// Whether the run since then did what none did before.
    pub(crate) fn is_news(&mut self) -> bool {
        let mut is_news = false;
        for (seen, count) in self.seen.iter_mut().zip(Self::counters_of()) {
            let bucket = match *count {
                0 => continue,
                1 => 1,
                2 => 2,
                3 => 4,
                4..=7 => 8,
                8..=15 => 16,
                16..=31 => 32,
                32..=127 => 64,
                _ => 128,
            };
            is_news |= *seen & bucket == 0;
            *seen |= bucket;
        }
        is_news
    }

    fn counters(&self) -> &'static mut [u8] {
        Self::counters_of()
    }

    #[allow(clippy::mut_from_ref, reason = "one thread runs targets, and nothing else reads these")]
    fn counters_of() -> &'static mut [u8] {
        let (start, count) = (START.load(Ordering::Relaxed), COUNT.load(Ordering::Relaxed));
        if start.is_null() {
            return &mut [];
        }
        // SAFETY: the array that the program's start named, of bytes, never freed; instrumented code
        // of this thread writes to it between, not during, the uses here.
        unsafe { std::slice::from_raw_parts_mut(start, count) }
    }
}
