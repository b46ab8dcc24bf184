//! The audit log: who had what executed, when, and what came of it.
//!
//! Every commit that executed something adds lists to a chain, whose head is public state: so it is
//! under the state root that a quorum signs. The lists are this replica's own: an operator's copy
//! outlives them, and what one replica has lost another shows. Nothing is believed of the replica
//! that shows a list, for it either leads to the signed head or does not.
//!
//! **Guarantee:** an operation stands in the log exactly once if its number was used up, whatever
//! came of it; so do the beginnings and ends of sessions. Lists are written with their commit, all or
//! nothing. At most [`AUDIT_BYTES_MAX`] are kept, and the oldest go first.
//!
//! What only reads is not recorded: most reads are not ordered at all, and one who repeats an old
//! envelope with reads in it could push everything else out of the log. For the same reason an
//! envelope that was refused as a whole (by an unknown client, in no session) is not.
//!
//! Long requests are kept as a digest. Short ones are kept, beside the chain, and shown to those who
//! may see what their service holds; others are shown the digest, which a guess can be compared with.

use std::ops::ControlFlow;

use borsh::BorshSerialize;
use ravelin_crypto::audit::{audited_digest, chained_bytes};
use ravelin_model::limits::{AUDIT_LIST_BYTES_MAX, AUDIT_PAGE_BYTES_MAX, AUDIT_REQUEST_BYTES_MAX};
use ravelin_model::{
    AUDIT_HEAD_KEY, AuditHead, AuditOutcome, AuditRecord, AuditedEnvelope, AuditedOperation,
    CommitIndex,
};

use super::*;

/// Bytes of lists kept; then the oldest go. A list takes about 65 bytes, 60 for each envelope, and 75
/// with the request for each operation.
pub const AUDIT_BYTES_MAX: u64 = 256 << 20;
/// Prefix of the lists in the private state; the number follows.
const LISTS: u8 = b'a';

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
        let mut envelope =
            AuditedEnvelope { position, client, session, first, operations }.encode();
        envelope.truncate(envelope.len() - size_of::<u32>()); // the count of operations is to come
        Self { envelope, operations: Vec::new(), count: 0, requests: Vec::new() }
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
        let kept = if request.len() <= AUDIT_REQUEST_BYTES_MAX { request.as_slice() } else { &[] };
        append(&mut self.operations, &noted);
        append(&mut self.requests, kept);
        self.count += 1;
    }
}

fn append(bytes: &mut Vec<u8>, value: &(impl BorshSerialize + ?Sized)) {
    value.serialize(bytes).expect("writing to memory cannot fail");
}

fn first_byte(bytes: &[u8]) -> u8 {
    bytes.first().copied().unwrap_or_default()
}

/// What is known of the lists kept.
#[derive(Debug)]
pub(super) struct AuditLog {
    bytes_max: u64,
    kept: Option<Kept>,
}

/// Where the kept lists begin and end, in bytes of all lists ever kept here.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// The list at the beginning. A look at those before costs as many reads as were ever forgotten:
    /// stores keep the traces of what was deleted for long.
    first: u64,
    /// The list at the end.
    last: u64,
    begin: u64,
    end: u64,
}

impl Default for AuditLog {
    fn default() -> Self {
        Self { bytes_max: AUDIT_BYTES_MAX, kept: None }
    }
}

impl AuditLog {
    /// What is kept up to the list `last`. A state that was fetched from others comes without lists:
    /// there may be older ones than that, or none.
    fn kept(&self, state: &State, last: u64) -> Kept {
        if let Some(kept) = self.kept.filter(|kept| kept.last == last) {
            return kept;
        }
        let mut oldest = None;
        let end_of = |value: &[u8]| begin_of(value).saturating_add(value.len() as u64);
        let newest = state.private_get(&list_key(last)).map(|value| end_of(&value));
        let mut end = newest.unwrap_or_default();
        state.private_scan(&[LISTS], Some(&[LISTS + 1]), &mut |key, value| {
            oldest = oldest.or_else(|| Some((number_of(key), begin_of(value))));
            end = end.max(end_of(value));
            // Without the newest list only a look at all of them tells where they end.
            if newest.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let (first, begin) = oldest.unwrap_or((last, end));
        Kept { first, last, begin, end }
    }

    /// Forgets the oldest lists beyond what is kept: as many bytes as came, but for one list. Cost: a
    /// read of the list after each one that goes.
    fn forget(&self, state: &mut State, mut kept: Kept) -> Kept {
        let excess = kept.end.saturating_sub(self.bytes_max);
        while kept.begin < excess {
            state.private_delete(&list_key(kept.first));
            let next = next_list(state, kept.first + 1);
            (kept.first, kept.begin) = next.unwrap_or((kept.last, kept.end));
        }
        kept
    }
}

impl Execution {
    /// The end of the chain, as the running commit has left it so far.
    fn audit_head(&mut self) -> AuditHead {
        let head = self.state.of(ServiceId::AUDIT).get(AUDIT_HEAD_KEY);
        head.map_or_else(AuditHead::default, |bytes| {
            AuditHead::decode("audit head", &bytes).expect("the state holds what execution wrote")
        })
    }

    /// Adds what a commit executed to the log.
    pub(super) fn write_audit(&mut self, commit: CommitIndex, audited: Vec<Audited>) {
        if audited.is_empty() {
            return;
        }
        let mut head = self.audit_head();
        let mut kept = self.audit.kept(&self.state, head.lists);
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
            append(&mut value, &(kept.end, head.digest));
            value.extend_from_slice(&list);
            append(&mut value, &operations);
            envelopes.iter().for_each(|envelope| value.extend_from_slice(&envelope.requests));
            head.digest = chained_bytes(&head.digest, &list);
            head.lists += 1;
            head.operations += u64::from(operations);
            kept.end += value.len() as u64;
            self.state.private_put(&list_key(head.lists), value);
        }
        self.state.of(ServiceId::AUDIT).put(AUDIT_HEAD_KEY, head.encode());
        kept.last = head.lists;
        let kept = self.audit.forget(&mut self.state, kept);
        self.audit.kept = Some(kept);
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
        let mut may_see = std::collections::BTreeMap::from([(ServiceId::SESSION, true)]);
        for number in (1..=last).rev() {
            let Some(value) = self.state.private_get(&list_key(number)) else { break };
            bytes += value.len();
            work += ENTRY_WORK + value.len();
            if bytes > AUDIT_PAGE_BYTES_MAX && !records.is_empty() {
                break;
            }
            let kept = <(u64, AuditRecord)>::decode("audit list", &value);
            let (_, mut record) = kept.expect("the state holds what execution wrote");
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

fn list_key(number: u64) -> Vec<u8> {
    [[LISTS].as_slice(), &number.to_be_bytes()].concat()
}

/// The first list from `number` on that is kept, and where it begins.
fn next_list(state: &State, number: u64) -> Option<(u64, u64)> {
    if let Some(value) = state.private_get(&list_key(number)) {
        return Some((number, begin_of(&value)));
    }
    // What others executed while this replica was away leaves a gap.
    let mut found = None;
    state.private_scan(&list_key(number), Some(&[LISTS + 1]), &mut |key, value| {
        found = Some((number_of(key), begin_of(value)));
        ControlFlow::Break(())
    });
    found
}

fn number_of(key: &[u8]) -> u64 {
    let number = key.last_chunk::<8>().expect("the state holds what execution wrote");
    u64::from_be_bytes(*number)
}

/// Bytes of all lists ever kept before this one.
fn begin_of(value: &[u8]) -> u64 {
    let begin = value.first_chunk::<8>().expect("the state holds what execution wrote");
    u64::from_le_bytes(*begin)
}

#[cfg(test)]
mod tests;
