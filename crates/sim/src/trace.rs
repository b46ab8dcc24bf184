//! One digest over everything that happened, in order: equal runs have equal ones.

use ravelin_crypto::domain_digest;
use ravelin_model::Digest;

/// Bytes gathered before they are hashed.
const CHUNK: usize = 1 << 14;

/// A digest that grows.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    digest: Digest,
    pending: Vec<u8>,
    pub(crate) events: u64,
}

/// Digest over the traces of several runs, in order.
pub(crate) fn hash_of(traces: &[Digest]) -> Digest {
    traces.iter().fold(Digest::default(), |hash, trace| {
        domain_digest("ravelin simulator report v1", &[&hash.0, &trace.0])
    })
}

impl Trace {
    /// Notes one event by what tells it apart.
    pub(crate) fn note(&mut self, at: u64, kind: u8, who: (u16, u16), what: &[u8]) {
        self.events += 1;
        self.pending.extend_from_slice(&at.to_le_bytes());
        self.pending.push(kind);
        self.pending.extend_from_slice(&who.0.to_le_bytes());
        self.pending.extend_from_slice(&who.1.to_le_bytes());
        self.pending.extend_from_slice(what);
        if self.pending.len() >= CHUNK {
            self.fold();
        }
    }

    /// The digest of all events so far.
    pub(crate) fn digest(&mut self) -> Digest {
        self.fold();
        self.digest
    }

    fn fold(&mut self) {
        let parts = [self.digest.0.as_slice(), &self.pending];
        self.digest = domain_digest("ravelin simulator trace v1", &parts);
        self.pending.clear();
    }
}
