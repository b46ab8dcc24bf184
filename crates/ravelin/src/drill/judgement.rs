//! What the clients saw, judged.

use ravelin_model::requests::kv::{KvReply, KvRequest};
use ravelin_sim::checker::linear;

use super::workload::{Observed, Observer, Receipts};
use crate::connection::Connection;

/// Entries that are read back with one request.
const PAGE: u16 = 500;

/// What was wrong, and what it was judged from.
pub(crate) struct Judgement {
    /// What no order of the operations explains, and receipts that were changed.
    pub(crate) wrong: Vec<String>,
    /// Acknowledged receipts that are gone, or that the cluster no longer shows.
    pub(crate) lost: usize,
    /// What the clients asked and were told since the last judgement.
    pub(crate) observed: Observed,
}

/// Reads all receipts back and judges what was observed. `earlier` holds the receipts of former
/// judgements of this cluster, and takes in the new ones.
pub(crate) async fn judge(
    observer: &Observer,
    monitor: &Connection,
    earlier: &mut Receipts,
) -> Judgement {
    let found = read_back(observer, monitor).await;
    let mut observed = observer.take();
    earlier.append(&mut observed.receipts);
    let mut wrong = Vec::new();
    if let Err(violation) = linear::check(observed.history.operations()) {
        wrong.push(violation.to_string());
    }
    let lost = compare(earlier, &found, &mut wrong);
    Judgement { wrong, lost, observed }
}

/// How many of the acknowledged receipts are gone; changed ones are `wrong`.
fn compare(acknowledged: &Receipts, found: &Receipts, wrong: &mut Vec<String>) -> usize {
    let mut lost = 0;
    for (key, value) in acknowledged {
        match found.get(key) {
            Some(there) if there == value => {}
            Some(_) => wrong.push(format!("{} was changed", String::from_utf8_lossy(key))),
            None => lost += 1,
        }
    }
    lost
}

/// All receipts that the cluster holds; fewer if it stops answering.
async fn read_back(observer: &Observer, monitor: &Connection) -> Receipts {
    let mut found = Receipts::new();
    let mut after = Vec::new();
    loop {
        let request = KvRequest::List {
            prefix: b"receipt/".to_vec(),
            after: after.clone(),
            limit: PAGE,
            keys_only: false,
        };
        let Some(KvReply::Entries { entries, next, .. }) =
            observer.ask(u32::MAX, monitor, request).await
        else {
            return found;
        };
        found.extend(entries.into_iter().map(|entry| (entry.key, entry.value)));
        match next {
            Some(next) => after = next,
            None => return found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_that_is_gone_is_lost_and_one_that_changed_is_wrong() {
        let receipts = |entries: &[(&str, &str)]| -> Receipts {
            let bytes = |text: &str| text.as_bytes().to_vec();
            entries.iter().map(|(key, value)| (bytes(key), bytes(value))).collect()
        };
        let acknowledged = receipts(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let mut wrong = Vec::new();
        let found = receipts(&[("a", "1"), ("b", "2"), ("c", "3"), ("unacknowledged", "4")]);
        assert_eq!(compare(&acknowledged, &found, &mut wrong), 0);
        assert!(wrong.is_empty());
        let found = receipts(&[("a", "1"), ("b", "other")]);
        assert_eq!(compare(&acknowledged, &found, &mut wrong), 1);
        assert_eq!(wrong, ["b was changed"]);
    }
}
