//! The audit log: who had what executed, when, and what came of it.
//!
//! Every commit that executed something adds lists to a chain, whose head is public state: so it is
//! under the state root that a quorum signs. The lists are this replica's own: an operator's copy
//! outlives them, and what one replica has lost another shows. Nothing is believed of the replica
//! that shows a list, for it either leads to the signed head or does not.
//!
//! **Guarantee:** an operation stands in the log exactly once if its number was used up, whatever
//! came of it; so do the beginnings and ends of sessions. Lists are written with their commit, all or
//! nothing; they are records of the backend's history, which keeps the latest. A list takes about 65
//! bytes, 60 for each envelope, and 75 with the request for each operation.
//!
//! What only reads is not recorded: most reads are not ordered at all, and one who repeats an old
//! envelope with reads in it could push everything else out of the log. For the same reason an
//! envelope that was refused as a whole (by an unknown client, in no session) is not.
//!
//! Long requests are kept as a digest. Short ones are kept, beside the chain, and shown to those who
//! may see what their service holds; others are shown the digest, which a guess can be compared with.

use borsh::BorshSerialize;
use ravelin_crypto::audit::{audited_digest, chained_bytes};
use ravelin_model::limits::{AUDIT_LIST_BYTES_MAX, AUDIT_PAGE_BYTES_MAX, AUDIT_REQUEST_BYTES_MAX};
use ravelin_model::{
    AUDIT_HEAD_KEY, AuditHead, AuditOutcome, AuditRecord, AuditedEnvelope, AuditedOperation,
    CommitIndex, View as _,
};

use super::*;

/// Bytes of an [`AuditedOperation`] that was executed.
const OPERATION_BYTES: usize = 70;

/// What was executed of one envelope for the first time, in canonical bytes: nothing is encoded twice.
#[derive(Debug)]
pub(super) struct Audited {
    /// An [`AuditedEnvelope`] but for its operations.
    envelope: Vec<u8>,
    /// The operations, one after the other, and how many.
    operations: Vec<u8>,
    count: u32,
    /// The requests likewise.
    requests: Vec<u8>,
}

impl Audited {
    /// Nothing yet.
    pub(super) fn of(position: Position, envelope: &Envelope) -> Self {
        let Envelope { client, session, first, .. } = *envelope;
        let operations = Vec::new();
        let mut encoded = AuditedEnvelope { position, client, session, first, operations }.encode();
        encoded.truncate(encoded.len() - size_of::<u32>()); // the count of operations is to come
        let requests = envelope.operations.iter().map(|operation| operation.request.as_slice());
        let requests = requests.map(|request| size_of::<u32>() + kept_of(request).len()).sum();
        Self {
            envelope: encoded,
            operations: Vec::with_capacity(OPERATION_BYTES * envelope.operations.len()),
            count: 0,
            requests: Vec::with_capacity(requests),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn bytes(&self) -> usize {
        self.envelope.len() + self.operations.len() + self.requests.len()
    }

    /// Takes note of an operation and what came of it.
    pub(super) fn note(&mut self, index: u16, operation: &Operation, result: &OperationResult) {
        let Operation { service, request } = operation;
        if index > 0 && mutants::is_active("audit_entry_dropped") {
            return;
        }
        let outcome = match result {
            OperationResult::Done(reply) => {
                AuditOutcome::Done { kind: first_byte(reply), reply: audited_digest(reply) }
            }
            OperationResult::Refused(refusal) => AuditOutcome::Refused(*refusal),
        };
        let noted = AuditedOperation {
            index,
            service: *service,
            verb: first_byte(request),
            request: audited_digest(request),
            outcome,
        };
        append(&mut self.operations, &noted);
        append(&mut self.requests, kept_of(request));
        self.count += 1;
    }
}

/// What is kept of a request.
fn kept_of(request: &[u8]) -> &[u8] {
    if request.len() <= AUDIT_REQUEST_BYTES_MAX { request } else { &[] }
}

fn append(bytes: &mut Vec<u8>, value: &(impl BorshSerialize + ?Sized)) {
    value.serialize(bytes).expect("writing to memory cannot fail");
}

fn decoded_head(head: Option<Vec<u8>>) -> AuditHead {
    head.map_or_else(AuditHead::default, |bytes| {
        AuditHead::decode("audit head", &bytes).expect("the state holds what execution wrote")
    })
}

fn first_byte(bytes: &[u8]) -> u8 {
    bytes.first().copied().unwrap_or_default()
}

impl Execution {
    /// The end of the chain, as the running commit has left it so far.
    fn audit_head(&mut self) -> AuditHead {
        decoded_head(self.state.of(ServiceId::AUDIT).get(AUDIT_HEAD_KEY))
    }

    /// Adds what a commit executed to the log.
    pub(super) fn write_audit(&mut self, commit: CommitIndex, audited: Vec<Audited>) {
        if audited.is_empty() {
            return;
        }
        let mut head = self.audit_head();
        let mut audited = audited.into_iter().peekable();
        while audited.peek().is_some() {
            let (mut envelopes, mut operations, mut bytes) = (Vec::new(), 0, 0);
            while let Some(next) = audited.next_if(|_| bytes <= AUDIT_LIST_BYTES_MAX) {
                bytes += next.bytes();
                operations += next.count;
                envelopes.push(next);
            }
            let list = self.audit_list(commit, &envelopes);
            let mut value = Vec::with_capacity(list.len() + bytes + 64);
            append(&mut value, &head.digest);
            value.extend_from_slice(&list);
            append(&mut value, &operations);
            envelopes.iter().for_each(|envelope| value.extend_from_slice(&envelope.requests));
            head.digest = chained_bytes(&head.digest, &list);
            head.lists += 1;
            head.operations += u64::from(operations);
            self.state.append(head.lists, value);
        }
        self.state.of(ServiceId::AUDIT).put(AUDIT_HEAD_KEY, head.encode());
    }

    /// The canonical bytes of an [`ravelin_model::AuditList`].
    fn audit_list(&self, commit: CommitIndex, audited: &[Audited]) -> Vec<u8> {
        let mut list = Vec::with_capacity(32 + audited.iter().map(Audited::bytes).sum::<usize>());
        let count = u32::try_from(audited.len()).expect("a list has few envelopes");
        append(&mut list, &(commit, self.time, count));
        for Audited { envelope, operations, count, .. } in audited {
            list.extend_from_slice(envelope);
            append(&mut list, count);
            list.extend_from_slice(operations);
        }
        list
    }

    /// Lists of the log up to `last`, as many as fit a page, for `client`; none if `last` is not kept
    /// here. Beside them: the work of finding them.
    pub fn audit_records(&self, client: &PublicKey, last: u64) -> (Vec<AuditRecord>, usize) {
        let (mut records, mut bytes, mut work) = (Vec::new(), 0, ENTRY_WORK);
        let head = decoded_head(self.state.view(ServiceId::AUDIT).get(AUDIT_HEAD_KEY));
        if last > head.lists {
            return (records, work); // a crash may leave lists of commits that are yet to be executed again
        }
        let mut may_see = std::collections::BTreeMap::from([(ServiceId::SESSION, true)]);
        for number in (1..=last).rev() {
            let Some(value) = self.state.record(number) else { break };
            bytes += value.len();
            work += ENTRY_WORK + value.len();
            if bytes > AUDIT_PAGE_BYTES_MAX && !records.is_empty() {
                break;
            }
            let kept = AuditRecord::decode("audit list", &value);
            let mut record = kept.expect("the history holds what execution wrote");
            for (operation, request) in record.list.operations().zip(&mut record.requests) {
                let service = operation.service;
                let sees = || service != ServiceId::AUDIT && self.may_see(service, client);
                if !*may_see.entry(service).or_insert_with(sees) {
                    request.clear();
                }
            }
            records.push(record);
        }
        records.reverse();
        (records, work)
    }
}

#[cfg(test)]
mod tests;
