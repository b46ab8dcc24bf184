//! Looking at a wormhole that serves: over a connection of its own, so that no block waits for it.
//!
//! **Guarantee:** what a [`View`] says, the wormhole said just now; only a process of this host with the
//! connection can know that, and whoever is told of it elsewhere takes that process's word. Nothing
//! that is asked here moves a counter.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ravelin_wormhole::attestation::{Counter, InstanceCertificate, Peer, Statement};
use ravelin_wormhole::client::{CallError, Client, HelloError, SeqPacket};
use ravelin_wormhole::frame::{Status, Timestamp};
use ravelin_wormhole::serve::selftest::wake_up;

use super::{greet, greeted_again};

/// Planned actions whose delay one look measures.
const WAKEUPS: usize = 5;

/// A session for asking only.
pub struct Monitor {
    end: OwnedFd,
    peer: Peer,
    answer_max: Duration,
    /// `None` once a call went wrong.
    client: Option<Client<SeqPacket>>,
}

/// How a wormhole stands.
#[derive(Clone, Debug)]
pub struct View {
    /// What its provisioned key says of its instance.
    pub certificate: InstanceCertificate,
    /// Its own account.
    pub status: Status,
    /// What its counters were bound to last; without those that never were.
    pub counters: Vec<Statement>,
    /// What time it is to it.
    pub clock: Timestamp,
    /// How late it woke for what it had planned, ascending; fewer or none if it had no room for more.
    pub woken_late: Vec<Duration>,
    /// From a question about the time to the answer.
    pub answered_in: Duration,
}

impl Monitor {
    pub(super) fn new(end: OwnedFd, peer: Peer, answer_max: Duration) -> Result<Self, HelloError> {
        let client = Some(greet(&end, &peer, answer_max)?);
        Ok(Self { end, peer, answer_max, client })
    }

    /// Asks for everything: some 25 ms.
    ///
    /// # Errors
    /// [`CallError`]: it stopped, or refuses to be asked so often. Ask again later.
    pub fn look(&mut self) -> Result<View, CallError> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => greet(&self.end, &self.peer, self.answer_max).map_err(greeted_again)?,
        };
        let view = look(&mut client);
        if matches!(view, Ok(_) | Err(CallError::Refused(_))) {
            self.client = Some(client); // after any other error its session is over
        }
        view
    }
}

fn look(client: &mut Client<SeqPacket>) -> Result<View, CallError> {
    let status = client.status()?;
    let mut counters = Vec::new();
    for counter in Counter::ALL {
        counters.extend(client.last(counter)?.map(|last| last.statement));
    }
    let asked = Instant::now();
    let clock = client.timestamp()?;
    let answered_in = asked.elapsed();
    let mut woken_late = Vec::with_capacity(WAKEUPS);
    while woken_late.len() < WAKEUPS {
        match wake_up(client) {
            Ok(late) => woken_late.push(late),
            Err(CallError::Refused(_)) => break,
            Err(error) => return Err(error),
        }
    }
    woken_late.sort_unstable();
    let certificate = *client.certificate();
    Ok(View { certificate, status, counters, clock, woken_late, answered_in })
}
