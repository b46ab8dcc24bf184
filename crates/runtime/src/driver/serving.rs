//! Parts of the state for those who fetch it, at leisure.
//!
//! **Guarantee:** whoever fetches the state takes a share of this thread's time that leaves the others
//! the most of it, however fast it asks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ravelin_model::ReplicaId;
use ravelin_model::transfer::StateRequest;

/// After an answer to anyone, all rest for so many times as long as it took: who fetches the state
/// costs a tenth of the thread.
const REST_FACTOR: u32 = 9;

/// Who waits for a part of the state; one request of each.
#[derive(Debug, Default)]
pub(super) struct Serving {
    waiting: BTreeMap<ReplicaId, StateRequest>,
    rest_until: Option<Instant>,
    /// Who was served last: the next one is another, if others wait.
    last: Option<ReplicaId>,
}

impl Serving {
    /// Notes a request, in place of an older one of the same peer.
    pub(super) fn ask(&mut self, from: ReplicaId, request: StateRequest) {
        self.waiting.insert(from, request);
    }

    /// The next request to answer, if it is time; [`Self::served`] must follow.
    pub(super) fn due(&mut self, now: Instant) -> Option<(ReplicaId, StateRequest)> {
        if self.rest_until.is_some_and(|until| now < until) {
            return None;
        }
        let mut peers = self.waiting.keys().copied();
        let next = peers.clone().find(|peer| self.last.is_none_or(|last| *peer > last));
        let next = next.or_else(|| peers.next())?;
        self.last = Some(next);
        self.waiting.remove_entry(&next)
    }

    /// An answer took so long.
    pub(super) fn served(&mut self, now: Instant, took: Duration) {
        self.rest_until = Some(now + took * REST_FACTOR);
    }

    /// When the next request is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let now = Instant::now();
        (!self.waiting.is_empty()).then(|| self.rest_until.unwrap_or(now))
    }
}

#[cfg(test)]
mod tests {
    use ravelin_model::CommitIndex;
    use ravelin_model::transfer::Wanted;

    use super::*;

    fn request(commit: u64) -> StateRequest {
        StateRequest { commit: CommitIndex(commit), wanted: Wanted::Entries(Vec::new()) }
    }

    #[test]
    fn answers_leave_time_for_others() {
        let mut serving = Serving::default();
        let now = Instant::now();
        serving.ask(ReplicaId(1), request(1));
        assert_eq!(serving.due(now), Some((ReplicaId(1), request(1))));
        serving.served(now, Duration::from_millis(3));
        serving.ask(ReplicaId(1), request(2));
        assert_eq!(serving.due(now + Duration::from_millis(26)), None);
        assert_eq!(serving.next_due(), Some(now + Duration::from_millis(27)));
        assert!(serving.due(now + Duration::from_millis(27)).is_some());
        assert_eq!(serving.next_due(), None);
    }

    #[test]
    fn peers_take_turns_and_each_waits_with_one_request() {
        let mut serving = Serving::default();
        let now = Instant::now();
        for commit in 1..4 {
            serving.ask(ReplicaId(1), request(commit));
        }
        serving.ask(ReplicaId(3), request(9));
        assert_eq!(serving.due(now), Some((ReplicaId(1), request(3))));
        serving.ask(ReplicaId(1), request(4));
        assert_eq!(serving.due(now), Some((ReplicaId(3), request(9))));
        assert_eq!(serving.due(now), Some((ReplicaId(1), request(4))));
        assert_eq!(serving.due(now), None);
    }
}
