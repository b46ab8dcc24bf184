mod entries;
mod format;
mod leases;
mod locks;
mod properties;
mod reference;
mod transactions;

use ravelin_model::requests::kv::{
    Condition, Entry, KvReply, KvRequest, LeaseId, Step, Token, Write,
};
use ravelin_model::{Position, Store};

use crate::tests::world::World;

fn write(key: &[u8], value: Option<&[u8]>, condition: Condition) -> KvRequest {
    let value = value.map(<[u8]>::to_vec);
    KvRequest::Write(Write { key: key.to_vec(), value, condition, lease: None })
}

fn put(key: &[u8], value: &[u8]) -> KvRequest {
    write(key, Some(value), Condition::Always)
}

fn put_under(lease: LeaseId, key: &[u8], value: &[u8]) -> KvRequest {
    let condition = Condition::Always;
    let (key, value, lease) = (key.to_vec(), Some(value.to_vec()), Some(lease));
    KvRequest::Write(Write { key, value, condition, lease })
}

fn delete(key: &[u8]) -> KvRequest {
    write(key, None, Condition::Always)
}

fn get(key: &[u8]) -> KvRequest {
    KvRequest::Get { key: key.to_vec() }
}

fn list(prefix: &[u8], after: &[u8], limit: u16) -> KvRequest {
    let (prefix, after) = (prefix.to_vec(), after.to_vec());
    KvRequest::List { prefix, after, limit, keys_only: false }
}

fn lock(name: &[u8], lease: LeaseId) -> KvRequest {
    KvRequest::Lock { name: name.to_vec(), lease }
}

fn unlock(name: &[u8], lease: LeaseId) -> KvRequest {
    KvRequest::Unlock { name: name.to_vec(), lease }
}

fn show_lock(name: &[u8]) -> KvRequest {
    KvRequest::LockShow { name: name.to_vec() }
}

fn written(position: u64, existed: bool) -> KvReply {
    KvReply::Written { position: Position(position), existed }
}

impl<S: Store> World<S> {
    /// The value of `key`, read in order.
    fn value(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.entry(key).map(|entry| entry.value)
    }

    fn entry(&mut self, key: &[u8]) -> Option<Entry> {
        match self.ask(9, get(key)) {
            KvReply::Entry(entry) => Some(entry),
            KvReply::Absent { .. } => None,
            other => panic!("no entry but {other:?}"),
        }
    }

    fn take(&mut self, asker: u8, name: &[u8], lease: LeaseId) -> Token {
        match self.ask(asker, lock(name, lease)) {
            KvReply::Locked { token } => token,
            other => panic!("not locked but {other:?}"),
        }
    }

    fn holder(&mut self, name: &[u8]) -> Option<(LeaseId, Token)> {
        match self.ask(9, show_lock(name)) {
            KvReply::Lock { holder, .. } => holder,
            other => panic!("no lock but {other:?}"),
        }
    }
}
