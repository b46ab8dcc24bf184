//! The digests of the audit log's chain, and the check of lists against a head.
//!
//! **Guarantee:** lists that lead to a head which correct replicas computed are the ones that they
//! recorded, each in its place. Assumes that BLAKE3 has no collisions.

use ravelin_model::{AuditHead, AuditList, AuditRecord, Digest, Encode as _};

use crate::domain_digest;

const TEXT: &[u8; 32] = b"ravelin audit text v1\0\0\0\0\0\0\0\0\0\0\0";

/// The digest by which the log knows the bytes of a request or a reply.
#[must_use]
pub fn audited_digest(bytes: &[u8]) -> Digest {
    Digest(*blake3::keyed_hash(TEXT, bytes).as_bytes())
}

/// The chain's digest after `list`, where it was `before`.
#[must_use]
pub fn chained(before: &Digest, list: &AuditList) -> Digest {
    chained_bytes(before, &list.encode())
}

/// The same of the list's canonical bytes.
#[must_use]
pub fn chained_bytes(before: &Digest, list: &[u8]) -> Digest {
    domain_digest("ravelin audit v1", &[&before.0, list])
}

/// The head before `records`, the last of which ends at `head`; `None` if they do not lead there, or
/// show another request than was recorded.
#[must_use]
pub fn head_before(head: &AuditHead, records: &[AuditRecord]) -> Option<AuditHead> {
    records.iter().rev().try_fold(*head, |after, record| {
        let AuditRecord { before, list, requests } = record;
        let holds = chained(before, list) == after.digest && shows_its_requests(list, requests);
        let operations = list.operations().count() as u64;
        let before = AuditHead {
            lists: after.lists.checked_sub(1)?,
            operations: after.operations.checked_sub(operations)?,
            digest: *before,
        };
        let is_first = before.lists == 0;
        let is_in_place = is_first == (before.digest == Digest::default())
            && (!is_first || before.operations == 0);
        (holds && is_in_place).then_some(before)
    })
}

/// Whether there is a request for each operation, and is the recorded one where it is shown.
fn shows_its_requests(list: &AuditList, requests: &[Vec<u8>]) -> bool {
    list.operations().count() == requests.len()
        && list.operations().zip(requests).all(|(operation, request)| {
            let verb = request.first().copied();
            verb.is_none_or(|verb| {
                verb == operation.verb && audited_digest(request) == operation.request
            })
        })
}

#[cfg(test)]
mod tests {
    use ravelin_model::{
        AuditOutcome, AuditedEnvelope, AuditedOperation, CommitIndex, Position, PublicKey,
        Sequence, ServiceId, SessionId, Time,
    };

    use super::*;

    fn list(commit: u64, requests: &[&[u8]]) -> AuditList {
        let operation = |(index, request): (usize, &&[u8])| AuditedOperation {
            index: u16::try_from(index).unwrap(),
            service: ServiceId::KV,
            verb: request.first().copied().unwrap_or_default(),
            request: audited_digest(request),
            outcome: AuditOutcome::Done { kind: 3, reply: audited_digest(b"done") },
        };
        let envelope = AuditedEnvelope {
            position: Position(commit),
            client: PublicKey([7; 32]),
            session: SessionId(1),
            first: Sequence(1),
            operations: requests.iter().enumerate().map(operation).collect(),
        };
        AuditList { commit: CommitIndex(commit), time: Time(commit), envelopes: vec![envelope] }
    }

    /// Three lists from the beginning, and the head after them.
    fn log() -> (Vec<AuditRecord>, AuditHead) {
        let mut head = AuditHead::default();
        let lists = [&[&b"\x01one"[..], b""][..], &[b"\x02two"], &[b"\x02three", b"\x03four"]];
        let records = (1..).zip(lists).map(|(commit, requests)| {
            let list = list(commit, requests);
            let before = head.digest;
            head.digest = chained(&before, &list);
            head.lists += 1;
            head.operations += requests.len() as u64;
            let requests = requests.iter().map(|request| request.to_vec()).collect();
            AuditRecord { before, list, requests }
        });
        (records.collect(), head)
    }

    #[test]
    fn lists_lead_back_to_the_beginning() {
        let (records, head) = log();
        assert_eq!(head_before(&head, &records), Some(AuditHead::default()));
        let after_first = head_before(&head, &records[1..]).unwrap();
        assert_eq!((after_first.lists, after_first.operations), (1, 2));
        assert_eq!(head_before(&after_first, &records[..1]), Some(AuditHead::default()));
        let mut withheld = records.clone();
        withheld[1].requests[0].clear();
        assert!(head_before(&head, &withheld).is_some(), "a request may be left out");
    }

    #[test]
    fn whatever_is_changed_leads_nowhere() {
        let (records, head) = log();
        let spoil: [fn(&mut Vec<AuditRecord>, &mut AuditHead); 11] = [
            |records, _| drop(records.remove(1)),
            |records, _| records.swap(0, 1),
            |records, _| drop(records.pop()),
            |records, _| records[2].list.time = Time(9),
            |records, _| records[0].list.envelopes[0].client = PublicKey([8; 32]),
            |records, _| records[1].before = Digest([1; 32]),
            |records, _| records[1].requests[0] = b"\x02other".to_vec(),
            |records, _| drop(records[2].requests.pop()),
            |records, _| records[0].requests[1] = b"\x00".to_vec(),
            |_, head| head.operations += 1,
            |_, head| head.lists += 1,
        ];
        for (case, spoil) in spoil.into_iter().enumerate() {
            let (mut records, mut head) = (records.clone(), head);
            spoil(&mut records, &mut head);
            assert_eq!(head_before(&head, &records), None, "case {case}");
        }
    }
}
