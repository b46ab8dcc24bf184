//! Everything that an intruder who owns a server is known to do, by name.
//!
//! An [`Intruder`] stands between a [`ravelin_replication::Replica`] and the world: it sees every input before the
//! replica does and every action before the world does, and may drop, delay, alter, redirect or
//! invent any of them. It holds the server's keys ([`Means`]), so that what it invents is signed. It
//! reads no clock and touches no socket: the same objects run in the simulator and in the live
//! drill.
//!
//! Intruders of one server are composed, each transforming what the one before let through; those of
//! several servers collude by sharing [`Means::ring`]: they split the others into the same halves
//! and tell the same lies.
//!
//! # Source
//! The paper, section 4.1: an intrusion is an attack that succeeded, and what it does afterwards is
//! arbitrary. The list: what the design promises to survive.

mod attested_nonsense;
mod bad_envelopes;
mod burnt_counter;
mod catalogue;
mod censor;
mod chain_gap;
mod clocks;
mod delayer;
mod deserter;
mod different_to_each;
mod duplicate_envelopes;
mod equivocator;
mod fake_fast;
mod falls_silent;
mod false_accuser;
mod false_closings;
mod false_state;
mod forger;
mod future_flood;
mod garbage;
mod giant;
mod hides_parents;
mod intruded;
mod late_heaps;
mod liar;
mod maker;
mod minimal_links;
mod mute;
mod never_votes_first;
mod offline_tree;
mod old_orders;
mod perjurer;
mod replayer;
mod scene;
mod server;
mod slow_leader;
mod stale_epoch;
mod twin;
mod votes_nobody;
mod whisperer;
mod withholder;
mod wrong_parents;

pub use catalogue::{Blocks, Description, all, by_name, by_names};
pub use intruded::{Deed, Intruded, Window};
pub use scene::{Means, Scene};
pub use server::Server;

use std::time::Duration;

use ravelin_model::{ReplicaId, Time};
use ravelin_multicast::Message;
use ravelin_replication::{ClientInput, ConnectionId};

/// How a server's clock is made to lie to its replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shift {
    /// Not at all.
    #[default]
    None,
    /// It is told an earlier time.
    Past(Duration),
    /// It is told a later time.
    Future(Duration),
}

/// One hostile behaviour. The defaults change nothing.
pub trait Intruder: Send {
    /// Its name in files and outputs.
    fn name(&self) -> &'static str;

    /// How its replica's clock lies; read once, when it takes the server over.
    fn shift(&self) -> Shift {
        Shift::None
    }

    /// Whether it would like its messages to arrive before everybody else's. Only the simulator can
    /// grant that.
    fn is_first(&self) -> bool {
        false
    }

    /// A message of another replica, or of this one, is about to reach the replica: returns what
    /// reaches it instead.
    fn on_message(
        &mut self,
        _scene: &mut Scene<'_>,
        _from: ReplicaId,
        message: Message,
    ) -> Option<Message> {
        Some(message)
    }

    /// A client's message is about to reach the replica.
    fn on_client(
        &mut self,
        _scene: &mut Scene<'_>,
        _connection: ConnectionId,
        input: ClientInput,
    ) -> Option<ClientInput> {
        Some(input)
    }

    /// The replica wants something done. Broadcasts come apart, one `Send` a replica; what it sends
    /// to itself does not come here.
    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        scene.let_pass(deed);
    }

    /// The replica has handled an input, or time has passed.
    fn on_turn(&mut self, _scene: &mut Scene<'_>) {}

    /// When it wants a turn at the latest.
    fn next_deadline(&self) -> Option<Time> {
        None
    }
}

#[cfg(test)]
mod tests;
