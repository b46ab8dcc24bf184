//! The running commit: its writes over what the backend holds.

use std::mem::take;
use std::ops::{Bound, ControlFlow};

use ravelin_model::{StateBackend, Store, View, scan_over};

use super::meter::Meter;
use super::view::{own_part, whole_key, whole_range, with_whole_key};
use super::{Visit, Writes};

/// The backend with the writes of the running commit over it.
pub(super) struct Running {
    backend: Box<dyn StateBackend + Send>,
    writes: Writes,
    /// While an operation is open: what `writes` held before each of its writes, in order.
    journal: Vec<(Vec<u8>, Before)>,
    is_open: bool,
    /// Whose keys the store interface means.
    namespace: u8,
    /// What reading through the store interface has cost.
    meter: Meter,
}

/// What the running commit had under a key: no write, or the last one.
type Before = Option<Option<Vec<u8>>>;

impl Running {
    pub(super) fn new(backend: Box<dyn StateBackend + Send>) -> Self {
        Self {
            backend,
            writes: Writes::new(),
            journal: Vec::new(),
            is_open: false,
            namespace: 0,
            meter: Meter::default(),
        }
    }

    pub(super) fn backend(&self) -> &dyn StateBackend {
        &*self.backend
    }

    pub(super) fn backend_mut(&mut self) -> &mut dyn StateBackend {
        &mut *self.backend
    }

    pub(super) fn begin(&mut self) {
        assert!(!self.is_open, "operations do not nest");
        self.is_open = true;
    }

    pub(super) fn keep(&mut self) {
        self.end();
        self.journal.clear();
    }

    pub(super) fn undo(&mut self) {
        self.end();
        for (key, before) in self.journal.drain(..).rev() {
            match before {
                Some(write) => drop(self.writes.insert(key, write)),
                None => drop(self.writes.remove(&key)),
            }
        }
    }

    fn end(&mut self) {
        assert!(take(&mut self.is_open), "an operation has begun");
    }

    /// Everything that the commit wrote, in key order; the next one begins.
    pub(super) fn take_writes(&mut self) -> Writes {
        assert!(!self.is_open, "an operation is still open");
        take(&mut self.writes)
    }

    pub(super) fn take_work(&self) -> usize {
        self.meter.take()
    }

    /// The store of a namespace.
    pub(super) fn namespace(&mut self, namespace: u8) -> &mut Self {
        self.namespace = namespace;
        self
    }

    pub(super) fn get_in(&self, namespace: u8, key: &[u8]) -> Option<Vec<u8>> {
        with_whole_key(namespace, key, |key| match self.writes.get(key) {
            Some(write) => write.clone(),
            None => self.backend.get(key),
        })
    }

    /// Visits the union of both, where a write hides the backend's entry.
    pub(super) fn scan_in(
        &self,
        namespace: u8,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) {
        let (from, until) = whole_range(namespace, from, until);
        if until.as_ref().is_some_and(|until| *until <= from) {
            return;
        }
        let end = until.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let writes = self.writes.range::<[u8], _>((Bound::Included(&*from), end));
        let writes = writes.map(|(key, write)| (key.as_slice(), write.as_deref()));
        scan_over(
            writes,
            |visit| self.backend.scan(&from, until.as_deref(), visit),
            &mut |key, value| visit(own_part(key), value),
        );
    }

    fn write(&mut self, key: &[u8], write: Option<Vec<u8>>) {
        let key = whole_key(self.namespace, key);
        if self.is_open {
            let before = self.writes.insert(key.clone(), write);
            self.journal.push((key, before));
        } else {
            self.writes.insert(key, write);
        }
    }
}

impl View for Running {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let value = self.get_in(self.namespace, key);
        self.meter.count(key, value.as_deref());
        value
    }

    fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) {
        self.scan_in(self.namespace, from, until, &mut |key, value| {
            self.meter.count(key, Some(value));
            visit(key, value)
        });
    }

    fn spend(&self, work: usize) {
        self.meter.add(work);
    }
}

impl Store for Running {
    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.write(key, Some(value));
    }

    fn delete(&mut self, key: &[u8]) {
        self.write(key, None);
    }
}
