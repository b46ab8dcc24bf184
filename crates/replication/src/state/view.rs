//! Namespaces of a backend: the one place where a namespace's byte is put before a key and taken
//! off again.

use std::ops::ControlFlow;

use ravelin_crypto::state_tree::state_key;
use ravelin_model::{ServiceId, ServiceStores, StateBackend, Store, View};

use super::meter::Meter;
use super::service_namespace;

/// The backend as it is, for reading.
pub struct ReadOnly<'a> {
    backend: &'a dyn StateBackend,
    namespace: u8,
    meter: Meter,
}

impl<'a> ReadOnly<'a> {
    pub(super) fn new(backend: &'a dyn StateBackend, namespace: u8) -> Self {
        Self { backend, namespace, meter: Meter::default() }
    }

    /// The work of reading since this was last asked, as in [`super::State::take_work`].
    pub fn take_work(&self) -> usize {
        self.meter.take()
    }
}

impl View for ReadOnly<'_> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let value = with_whole_key(self.namespace, key, |key| self.backend.get(key));
        self.meter.count(key, value.as_deref());
        value
    }

    fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) {
        let (from, until) = whole_range(self.namespace, from, until);
        self.backend.scan(&from, until.as_deref(), &mut |key, value| {
            self.meter.count(key, Some(value));
            visit(own_part(key), value)
        });
    }

    fn spend(&self, work: usize) {
        self.meter.add(work);
    }
}

impl Store for ReadOnly<'_> {
    fn put(&mut self, _: &[u8], _: Vec<u8>) {
        debug_assert!(false, "a query does not write");
    }

    fn delete(&mut self, _: &[u8]) {
        debug_assert!(false, "a query does not write");
    }
}

impl ServiceStores for ReadOnly<'_> {
    fn of(&mut self, service: ServiceId) -> &mut dyn Store {
        self.namespace = service_namespace(service);
        self
    }
}

/// The backend's key for `key` of `namespace`.
pub(super) fn whole_key(namespace: u8, key: &[u8]) -> Vec<u8> {
    state_key(ServiceId(namespace), key)
}

/// Looks with the backend's key for `key` of `namespace`; most keys are short, and cost no memory for it.
pub(super) fn with_whole_key<T>(namespace: u8, key: &[u8], look: impl FnOnce(&[u8]) -> T) -> T {
    const SHORT: usize = 96;
    let mut short = [namespace; SHORT];
    match short.get_mut(..=key.len()) {
        Some(whole) => {
            whole.iter_mut().skip(1).zip(key).for_each(|(to, from)| *to = *from);
            look(whole)
        }
        None => look(&whole_key(namespace, key)),
    }
}

/// The backend's range for a range of `namespace`; without an end, to the namespace's end.
pub(super) fn whole_range(
    namespace: u8,
    from: &[u8],
    until: Option<&[u8]>,
) -> (Vec<u8>, Option<Vec<u8>>) {
    let until = until.map(|until| whole_key(namespace, until));
    let end = || namespace.checked_add(1).map(|next| vec![next]);
    (whole_key(namespace, from), until.or_else(end))
}

/// A backend's key without its namespace.
pub(super) fn own_part(key: &[u8]) -> &[u8] {
    key.split_first().map_or(key, |(_, own)| own)
}
