//! What of the backend was asked for of late, so that it is not searched for again.
//!
//! An operation asks more than once for the same few entries: whether its client is enrolled, and what
//! the entry held that it changes, which the commit then keeps for proofs. Each search costs the store
//! some microseconds: together a quarter of a server's time under load.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ravelin_model::{StateBackend, mutants};

/// Memory of the entries kept, estimated: what was not asked for while half as much was goes.
pub const RECENT_BYTES_MAX: usize = 4 << 20;

/// Memory of one entry beside its bytes: two vectors and a map's share.
const ENTRY_BYTES: usize = 96;

/// A backend with what was asked for of late in memory.
pub(super) struct Recent {
    backend: Box<dyn StateBackend + Send>,
    kept: RefCell<Kept>,
}

/// Entries, or their absence. Those of the older generation go, unless they are asked for again, when
/// the younger one is full.
#[derive(Default)]
struct Kept {
    young: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    young_bytes: usize,
    old: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Recent {
    pub(super) fn new(backend: Box<dyn StateBackend + Send>) -> Self {
        Self { backend, kept: RefCell::default() }
    }
}

impl StateBackend for Recent {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut kept = self.kept.borrow_mut();
        if let Some(value) = kept.young.get(key) {
            return value.clone();
        }
        let value = kept.old.remove(key).unwrap_or_else(|| self.backend.get(key));
        kept.note(key.to_vec(), value.clone());
        value
    }

    fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) {
        self.backend.scan(from, until, visit);
    }

    fn write_with(&mut self, batch: &[(Vec<u8>, Option<Vec<u8>>)], records: &[(u64, Vec<u8>)]) {
        self.backend.write_with(batch, records);
        if mutants::is_active("recent_entries_stay") {
            return;
        }
        for (key, value) in batch {
            self.kept.get_mut().change(key, value.as_deref());
        }
    }

    fn record(&self, number: u64) -> Option<Vec<u8>> {
        self.backend.record(number)
    }

    fn sync(&mut self) {
        self.backend.sync();
    }
}

impl Kept {
    fn note(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let bytes = bytes_of(&key, value.as_deref());
        if self.young_bytes + bytes > RECENT_BYTES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if bytes <= RECENT_BYTES_MAX / 2 {
            self.young_bytes += bytes;
            self.young.insert(key, value);
        }
    }

    /// Takes it that `key` has another value now, if it is kept.
    fn change(&mut self, key: &[u8], value: Option<&[u8]>) {
        if let Some((key, before)) = self.young.remove_entry(key) {
            self.young_bytes -= bytes_of(&key, before.as_deref());
            self.note(key, value.map(<[u8]>::to_vec));
        } else if let Some((key, _)) = self.old.remove_entry(key) {
            self.note(key, value.map(<[u8]>::to_vec));
        }
    }
}

fn bytes_of(key: &[u8], value: Option<&[u8]>) -> usize {
    ENTRY_BYTES + key.len() + value.map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::super::MemoryBackend;
    use super::super::tests::Chance;
    use super::*;

    #[test]
    fn it_answers_like_the_backend_whatever_is_written_between() {
        let backend = MemoryBackend::new();
        let mut recent = Recent::new(Box::new(backend.handle()));
        let mut chance = Chance(7);
        for number in 0..4_000_u64 {
            let value = (chance.below(4) > 0).then(|| number.to_be_bytes().to_vec());
            recent.write(&[(vec![0, chance.below(64) as u8], value), (vec![1], None)]);
            for key in 0..64 {
                assert_eq!(recent.get(&[0, key]), backend.get(&[0, key]));
            }
        }
    }

    #[test]
    fn it_keeps_what_is_asked_for_and_no_more_than_it_may() {
        const KEYS: u64 = 2_000;
        let mut recent = Recent::new(Box::new(MemoryBackend::new()));
        let key = |number: u64| number.to_be_bytes().to_vec();
        recent.write(&[(key(0), Some(vec![7]))]);
        for number in 1..KEYS {
            let long = if number == 9 { RECENT_BYTES_MAX } else { 20 << 10 };
            recent.write(&[(key(number), Some(vec![1; long]))]);
            let read = recent.get(&key(number));
            recent.write(&[(key(number), read)]);
            assert_eq!(recent.get(&key(0)), Some(vec![7]));
            let kept = recent.kept.borrow();
            let bytes = |map: &BTreeMap<Vec<u8>, Option<Vec<u8>>>| -> usize {
                map.iter().map(|(key, value)| bytes_of(key, value.as_deref())).sum()
            };
            assert_eq!(bytes(&kept.young), kept.young_bytes);
            assert!(bytes(&kept.young) + bytes(&kept.old) <= RECENT_BYTES_MAX);
            assert!(kept.young.contains_key(&key(0)), "asked for again and again");
        }
        assert!(recent.kept.borrow().young.len() < KEYS as usize / 2);
    }
}
