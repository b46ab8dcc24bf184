//! The hops of requests as a server sees them: lines of the log at level `trace`.
//!
//! Each line has `at_us`, microseconds since 1970 by the host's clock, so that lines of servers of
//! one machine can be put in one order (`ravelin bench --trace` does). The driver adds when the
//! log was synced and when a deadline of the core had come.

use ravelin_model::wire::ServerMessage;
use ravelin_model::{Action, Block, Envelope};
use ravelin_multicast::Message;
use ravelin_replication::Event;
use ravelin_runtime::clock::Clock;
use ravelin_runtime::driver::HOPS;
use ravelin_sim::intruder::Deed;

/// Whether anybody wants to know.
pub(crate) fn are_traced() -> bool {
    tracing::enabled!(target: HOPS, tracing::Level::TRACE)
}

/// A client asked that an envelope be ordered.
pub(crate) fn on_submitted(clock: &Clock, envelope: &Envelope) {
    let (at_us, first) = (clock.now().0, envelope.first.0);
    tracing::trace!(target: HOPS, at_us, hop = "received", first, "envelope of a client");
}

/// A peer's message was taken.
pub(crate) fn on_heard(clock: &Clock, message: &Message) {
    if let Message::Block(block) = message {
        trace_block(clock, "heard", block);
    }
}

/// The server wants something done.
pub(crate) fn on_deed(clock: &Clock, deed: &Deed) {
    match deed {
        Deed::Act(Action::Broadcast(Message::Block(block))) => trace_block(clock, "made", block),
        Deed::Act(Action::Emit(Event::ToClient(
            _,
            ServerMessage::Answers { statement, batch, .. },
        ))) => {
            let (at_us, commit) = (clock.now().0, statement.statement.commit.0);
            let first = batch.answers.first().map_or(0, |answer| answer.sequence.0);
            tracing::trace!(target: HOPS, at_us, hop = "executed", commit, first, "answers");
        }
        _ => {}
    }
}

fn trace_block(clock: &Clock, hop: &'static str, block: &Block) {
    let (at_us, round) = (clock.now().0, block.body.round.0);
    let (author, envelopes) = (block.body.author.0, block.body.envelopes.len());
    tracing::trace!(target: HOPS, at_us, hop, author, round, envelopes, "block");
}
