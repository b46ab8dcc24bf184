//! What a fuzz target is. Shared with the tests of the crates, which replay the corpora.
//!
//! A target takes any bytes and panics if a property is broken. The drivers add what every target
//! promises: memory within [`Target::memory`] and a bounded time.

#![allow(dead_code, reason = "each crate that shares this uses a part of it")]

use std::fmt::Debug;
use std::path::Path;

use ravelin_model::{Decode, Encode};

/// One decoder under test.
pub(crate) struct Target {
    /// Name of the target, and of its corpus.
    pub(crate) name: &'static str,
    /// Takes an input; panics if a property does not hold.
    pub(crate) run: fn(&[u8]) -> Verdict,
    /// Inputs to begin with.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// What an input may make the decoder hold at once.
    pub(crate) memory: Memory,
}

/// At most `base + factor * length` bytes, for an input of `length` bytes.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) base: usize,
    pub(crate) factor: usize,
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// It is what the decoder reads.
    Taken,
    /// It is not.
    Refused,
}

impl From<bool> for Verdict {
    fn from(is_taken: bool) -> Self {
        if is_taken { Self::Taken } else { Self::Refused }
    }
}

/// Reads a value and checks that its bytes are the only ones that mean it.
pub(crate) fn canonical<T>(bytes: &[u8]) -> Option<T>
where
    T: Encode + Decode + PartialEq + Debug,
{
    let value = T::decode("input", bytes).ok()?;
    let again = value.encode();
    assert!(again == bytes, "two spellings of one value: {value:?}");
    assert_eq!(T::decode("input", &again).ok().as_ref(), Some(&value), "it comes back changed");
    Some(value)
}

/// Runs every file of the targets' corpora, and their seeds; `corpora`: the directory of all. With
/// `BLESS` in the environment the seeds are written there first: after a format has changed, older
/// inputs are only refused.
#[allow(clippy::disallowed_methods, reason = "a test's own switch, not the product's")]
pub(crate) fn replay(targets: &[Target], corpora: &Path) {
    for target in targets {
        let directory = corpora.join(target.name);
        if std::env::var_os("BLESS").is_some() {
            for (number, seed) in (target.seeds)().iter().enumerate() {
                std::fs::write(directory.join(format!("seed-{number}")), seed).expect("written");
            }
        }
        let entries = std::fs::read_dir(&directory);
        let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let mut counts = [0; 2];
        for entry in entries {
            let path = entry.expect("listed").path();
            let verdict = (target.run)(&std::fs::read(&path).expect("readable"));
            counts[usize::from(verdict == Verdict::Taken)] += 1;
        }
        assert!(counts.iter().all(|count| *count > 0), "{}: {counts:?}", target.name);
        assert!(!(target.seeds)().is_empty(), "{}", target.name);
        for seed in (target.seeds)() {
            assert_eq!((target.run)(&seed), Verdict::Taken, "a seed of {}", target.name);
        }
    }
}
