//! What was written since the engine last took something in: changes in key order, and records.
//!
//! A change costs a look-up in one tree in memory, and of many changes to a key the last one alone goes
//! to the engine. What is here is lost in a crash, and executed again from the log.

use std::collections::{BTreeMap, btree_map};
use std::ops::Bound;
use std::sync::Arc;

use super::key::Key;

/// Memory of an entry beside its bytes: an allocation or two, and its share of the tree's nodes.
const ENTRY_BYTES: usize = 96;

/// A change to a key; `None` deletes. What was read lately shares the value.
pub(super) type Change = Option<Arc<[u8]>>;

#[derive(Debug, Default)]
pub(super) struct Overlay {
    changes: BTreeMap<Key, Change>,
    records: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
}

impl Overlay {
    /// Puts a change over those before it.
    pub(super) fn put(&mut self, key: &[u8], change: Change) {
        let bytes = |change: &Change| {
            ENTRY_BYTES + key.len() + change.as_ref().map_or(0, |value| value.len())
        };
        self.bytes += bytes(&change);
        if let Some(before) = self.changes.insert(key.into(), change) {
            self.bytes -= bytes(&before);
        }
    }

    /// Takes a record in, in place of one with the same number.
    pub(super) fn append(&mut self, number: u64, record: &[u8]) {
        self.bytes += ENTRY_BYTES + record.len();
        if let Some(before) = self.records.insert(number, record.to_vec()) {
            self.bytes -= ENTRY_BYTES + before.len();
        }
    }

    /// What was last done to `key`, if anything was: `Some(None)` if it was deleted.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.changes.get(key).map(Option::as_deref)
    }

    /// The record with this number.
    pub(super) fn record(&self, number: u64) -> Option<&[u8]> {
        self.records.get(&number).map(Vec::as_slice)
    }

    /// Changes to keys from `from` on, below `until` if given, in key order. `until` must not be below
    /// `from`.
    pub(super) fn changes(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
    ) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let end = until.map_or(Bound::Unbounded, Bound::Excluded);
        let range: btree_map::Range<'_, _, _> =
            self.changes.range::<[u8], _>((Bound::Included(from), end));
        range.map(|(key, value)| (key.bytes(), value.as_deref()))
    }

    /// All records, by number.
    pub(super) fn records(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.records.iter().map(|(number, record)| (*number, record.as_slice()))
    }

    /// Memory that it takes, estimated.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.records.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_changes_to_a_key_the_last_one_stays_and_counts() {
        let mut overlay = Overlay::default();
        assert!(overlay.is_empty() && overlay.bytes() == 0);
        for length in [100, 3, 0] {
            overlay.put(b"key", Some(vec![7; length].into()));
            overlay.append(4, &vec![8; length]);
            assert_eq!(overlay.bytes(), 2 * ENTRY_BYTES + 3 + 2 * length);
        }
        overlay.put(b"key", None);
        assert_eq!(overlay.bytes(), 2 * ENTRY_BYTES + 3);
        assert_eq!((overlay.get(b"key"), overlay.get(b"kez")), (Some(None), None));
        assert_eq!((overlay.record(4), overlay.record(5)), (Some([].as_slice()), None));
    }

    #[test]
    fn changes_come_in_the_order_of_the_keys_within_their_bounds() {
        let mut overlay = Overlay::default();
        for key in [5, 1, 9, 3] {
            overlay.put(&[key], (key != 3).then(|| [key].into()));
        }
        let keys = |from: &[u8], until: Option<&[u8]>| -> Vec<u8> {
            overlay.changes(from, until).map(|(key, _)| key[0]).collect()
        };
        assert_eq!(keys(&[], None), [1, 3, 5, 9]);
        assert_eq!(keys(&[3], Some(&[9])), [3, 5]);
        assert!(keys(&[4], Some(&[4])).is_empty());
    }
}
