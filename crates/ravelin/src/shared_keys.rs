//! Servers whose key two processes hold, as far as they dial this one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ravelin_model::ReplicaId;
use ravelin_model::wire::StatusReport;

/// How long it is told after it was last seen.
const TOLD: Duration = Duration::from_secs(600);

/// Whose key was heard from two places.
#[derive(Debug, Default)]
pub(crate) struct SharedKeys {
    of: BTreeMap<ReplicaId, Seen>,
}

/// From where, and when last.
#[derive(Debug)]
struct Seen {
    addresses: [SocketAddr; 2],
    when: Instant,
}

impl SharedKeys {
    /// Notes that two processes at these addresses hold the key of `who`, and says so to the operator,
    /// unless that was said of late.
    pub(crate) fn note(&mut self, who: ReplicaId, addresses: [SocketAddr; 2]) {
        let known = self.of.insert(who, Seen { addresses, when: Instant::now() });
        if known.is_none_or(|known| known.when.elapsed() >= TOLD) {
            let [one, other] = addresses;
            tracing::error!(
                "two processes hold the key of server {who}, at {one} and {other}: together they take \
                 one of the f faults; stop the one that does not belong there, and give the server \
                 another key (`ravelin auth rekey`), for whoever has a copy can speak in its name"
            );
        }
    }

    /// Adds to a report what was seen of late.
    pub(crate) fn amend(&self, report: &mut StatusReport) {
        for (who, seen) in &self.of {
            if let Some(member) = report.members.get_mut(who.index())
                && seen.when.elapsed() < TOLD
            {
                member.shared_key_at = seen.addresses.map(|address| address.to_string()).to_vec();
            }
        }
    }
}
