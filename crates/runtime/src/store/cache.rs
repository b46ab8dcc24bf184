//! Entries that were read lately, and what was written to them since.
//!
//! An operation reads what it is about to change, and the state reads it again for those who ask what
//! a former commit had: in the engine each read is a search in several tables. Here it is one look-up.
//!
//! **Guarantee:** says of a key what the engine would, as long as it is told of every write; holds no
//! more than its limit. Whoever reads many keys once pushes out the others, and costs them what a read
//! cost before.
//!
//! Two generations instead of a list in the order of use: what is read moves into the young one; when
//! that is full it becomes the old one, and the old one is forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use super::key::Key;

/// Memory of an entry beside its bytes: an allocation or two, and its share of the table.
const ENTRY_BYTES: usize = 112;
/// Longer values are not worth the place of the many others.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// What a key holds; `None` if the engine has no such key.
type Value = Option<Arc<[u8]>>;

#[derive(Debug, Default)]
pub(super) struct Cache {
    young: HashMap<Key, Value>,
    old: HashMap<Key, Value>,
    young_bytes: usize,
    /// Of one generation.
    bytes_max: usize,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max: bytes_max / 2, ..Self::default() }
    }

    /// What `key` holds, if that is known; `Some(None)` if it is known to be absent.
    pub(super) fn get(&mut self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        if let Some(value) = self.young.get(key) {
            return Some(value.as_deref().map(<[u8]>::to_vec));
        }
        let (key, value) = self.old.remove_entry(key)?;
        let found = value.as_deref().map(<[u8]>::to_vec);
        self.put(key, value);
        Some(found)
    }

    /// Takes note of what the engine said of `key`.
    pub(super) fn insert(&mut self, key: &[u8], value: Option<&[u8]>) {
        if value.is_none_or(|value| value.len() <= VALUE_BYTES_MAX) {
            self.put(key.into(), value.map(Arc::from));
        }
    }

    /// Takes note of what was written under `key`. What nobody has read is not kept for having been
    /// written.
    pub(super) fn update(&mut self, key: &[u8], value: &Value) {
        let length = |value: &Value| value.as_ref().map(|value| value.len());
        // Most values keep their length, and so their place.
        if let Some(known) = self.young.get_mut(key)
            && length(known) == length(value)
        {
            return known.clone_from(value);
        }
        let known = match self.young.remove_entry(key) {
            Some((key, before)) => {
                self.young_bytes -= bytes_of(key.bytes(), &before);
                Some(key)
            }
            None => self.old.remove_entry(key).map(|(key, _)| key),
        };
        if let Some(key) = known
            && length(value).is_none_or(|length| length <= VALUE_BYTES_MAX)
        {
            self.put(key, value.clone());
        }
    }

    /// Puts an entry that the young generation does not hold into it.
    fn put(&mut self, key: Key, value: Value) {
        let bytes = bytes_of(key.bytes(), &value);
        if self.young_bytes + bytes > self.bytes_max {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        self.young.insert(key, value);
    }
}

fn bytes_of(key: &[u8], value: &Value) -> usize {
    ENTRY_BYTES + key.len() + value.as_ref().map_or(0, |value| value.len())
}

#[cfg(test)]
mod tests {
    use ravelin_model::StateBackend as _;

    use super::super::{DiskState, StoreConfig};
    use super::*;

    fn value(bytes: &[u8]) -> Value {
        Some(bytes.into())
    }

    fn held(cache: &Cache) -> usize {
        let both = cache.young.iter().chain(&cache.old);
        both.map(|(key, value)| bytes_of(key.bytes(), value)).sum()
    }

    /// Reads and writes few keys in an order that looks random, so that most are known, forgotten and
    /// read anew many times.
    #[test]
    fn a_store_reads_what_it_was_given_whatever_it_remembers() {
        let dir = std::env::temp_dir().join(format!("ravelin-cache-{}", std::process::id()));
        let config = StoreConfig { entries_bytes: 8 << 10, ..StoreConfig::new([7; 32]) };
        let mut store = DiskState::open(&dir, &config).expect("a new store");
        let mut held = std::collections::BTreeMap::new();
        let mut draw = 1_u64;
        let mut below = |bound: u64| {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (draw >> 33) % bound
        };
        for step in 0_u64..4_000 {
            let key = vec![b'k', below(100) as u8];
            if below(3) == 0 {
                let value = (below(4) > 0).then(|| [step.to_be_bytes()].concat().repeat(8));
                store.write(&[(key.clone(), value.clone())]);
                held.insert(key.clone(), value);
            }
            assert_eq!(store.get(&key), held.get(&key).cloned().flatten(), "step {step}");
        }
        drop(store);
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn it_says_what_was_last_told_and_what_nobody_read_it_does_not_keep() {
        let mut cache = Cache::new(1 << 20);
        assert_eq!(cache.get(b"a"), None);
        cache.update(b"a", &value(b"1"));
        assert_eq!(cache.get(b"a"), None, "nobody has read it");
        cache.insert(b"a", None);
        assert_eq!(cache.get(b"a"), Some(None));
        cache.update(b"a", &value(b"1"));
        assert_eq!(cache.get(b"a"), Some(Some(b"1".to_vec())));
        cache.update(b"a", &value(&[0; VALUE_BYTES_MAX + 1]));
        assert_eq!(
            cache.get(b"a"),
            None,
            "what is too long is forgotten, and not what it was before"
        );
    }

    #[test]
    fn it_holds_no_more_than_its_limit_and_what_is_read_stays() {
        let limit = 100_000;
        let mut cache = Cache::new(limit);
        cache.insert(b"hot", Some(b"value"));
        for number in 0_u32..10_000 {
            cache.insert(&number.to_be_bytes(), Some(&[7; 100]));
            cache.update(&number.to_be_bytes(), &value(&[8; 200]));
            assert_eq!(cache.get(b"hot"), Some(Some(b"value".to_vec())), "after {number}");
            assert!(held(&cache) <= limit, "{} bytes after {number}", held(&cache));
        }
        assert!(held(&cache) > limit / 2, "nor much less");
        assert_eq!(cache.get(&9_999_u32.to_be_bytes()), Some(Some(vec![8; 200])));
        assert_eq!(cache.get(&0_u32.to_be_bytes()), None);
        let young: usize =
            cache.young.iter().map(|(key, value)| bytes_of(key.bytes(), value)).sum();
        assert_eq!(young, cache.young_bytes, "the count is right after all that");
    }
}
