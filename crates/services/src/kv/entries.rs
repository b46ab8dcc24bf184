//! Reading entries, and what fits one.

use std::ops::ControlFlow;

use ravelin_model::limits::{
    KV_KEY_BYTES_MAX, KV_VALUE_BYTES_MAX, KV_VISITED_BYTES_MAX, LIST_ENTRIES_MAX, REPLY_BYTES_MAX,
};
use ravelin_model::requests::kv::{Entry, KvReply, StoredEntry, entry_key};
use ravelin_model::{Position, Time, View};

use super::{layout, leases};

/// What a page's reply holds beside its entries, at most: tags, lengths, `next` and `removed`.
const PAGE_BYTES: usize = KV_KEY_BYTES_MAX + 64;
/// What an [`Entry`]'s bytes hold beside key and value, at most.
const ENTRY_BYTES: usize = 64;

/// Whether these bytes may be a key, or the name of a lock.
pub(super) fn is_key(key: &[u8]) -> bool {
    !key.is_empty() && key.len() <= KV_KEY_BYTES_MAX
}

/// Whether these bytes may be a value.
pub(super) fn is_value(value: &[u8]) -> bool {
    value.len() <= KV_VALUE_BYTES_MAX
}

/// Reads one key.
pub(super) fn get(view: &dyn View, now: Time, key: Vec<u8>) -> KvReply {
    if !is_key(&key) {
        return KvReply::Invalid;
    }
    match layout::entry(view, &key) {
        Some(stored) if leases::holds(view, now, stored.lease) => {
            KvReply::Entry(shown(key, stored))
        }
        ended => {
            let changed = ended.map_or(Position(0), |ended| ended.changed);
            KvReply::Absent { removed: layout::last_removal(view).max(changed) }
        }
    }
}

/// What to list.
pub(super) struct Page {
    pub(super) prefix: Vec<u8>,
    pub(super) after: Vec<u8>,
    pub(super) limit: u16,
    pub(super) keys_only: bool,
}

/// Reads a page of entries.
///
/// Looks at no more than `limit` entries, and no more bytes than the reply may have (without values:
/// [`KV_VISITED_BYTES_MAX`]), but at one at least. Those of ended leases are left out afterwards,
/// so a page can be short.
pub(super) fn list(view: &dyn View, now: Time, page: &Page) -> KvReply {
    let bounds_fit = page.prefix.len() <= KV_KEY_BYTES_MAX && page.after.len() <= KV_KEY_BYTES_MAX;
    if !bounds_fit || page.limit == 0 || page.limit > LIST_ENTRIES_MAX {
        return KvReply::Invalid;
    }
    let (mut entries, next) = visit(view, page);
    let mut removed = layout::last_removal(view);
    entries.retain(|entry| {
        let lives = leases::holds(view, now, entry.lease);
        if !lives {
            removed = removed.max(entry.changed);
        }
        lives
    });
    KvReply::Entries { entries, next, removed }
}

/// The entries that a page looks at, and where to go on.
fn visit(view: &dyn View, page: &Page) -> (Vec<Entry>, Option<Vec<u8>>) {
    let mut from = entry_key(&page.prefix);
    let until = layout::above_prefix(&from).expect("a tag is below 255");
    if page.after >= page.prefix && !page.after.is_empty() {
        from = entry_key(&page.after);
        from.push(0); // the smallest key above it
    }
    let (mut entries, mut next) = (Vec::new(), None);
    if from >= until {
        return (entries, next);
    }
    let (mut page_bytes, mut visited_bytes) = (PAGE_BYTES, 0);
    view.scan(&from, Some(&until), &mut |key, bytes| {
        let key = key.get(1..).unwrap_or_default().to_vec();
        let mut entry = shown(key, layout::stored(bytes));
        if page.keys_only {
            entry.value = Vec::new();
        }
        page_bytes += ENTRY_BYTES + entry.key.len() + entry.value.len();
        visited_bytes += bytes.len();
        let last = entries.last().map(|last: &Entry| &last.key);
        let is_full = entries.len() >= usize::from(page.limit)
            || page_bytes > REPLY_BYTES_MAX
            || visited_bytes > KV_VISITED_BYTES_MAX;
        if let (true, Some(last)) = (is_full, last) {
            next = Some(last.clone());
            return ControlFlow::Break(());
        }
        entries.push(entry);
        ControlFlow::Continue(())
    });
    (entries, next)
}

/// The entry as clients see it.
pub(super) fn shown(key: Vec<u8>, stored: StoredEntry) -> Entry {
    let StoredEntry { created, changed, version, lease, value } = stored;
    Entry { key, value, created, changed, version, lease }
}
