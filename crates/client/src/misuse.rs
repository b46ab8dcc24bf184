//! What the caller of a session may not do, or not now.

use ravelin_model::limits::ENVELOPE_OPERATIONS_MAX;

use crate::event::Ticket;

/// Why a command was not carried out. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// A session is open, or about to open or close; close it first.
    #[error("there is a session already")]
    NotIdle,
    /// No session is open; open one and wait for [`crate::Event::Opened`].
    #[error("no session is open")]
    NotOpen,
    /// An envelope of no or too many operations; split it.
    #[error(
        "an envelope of {operations} operations: choose between 1 and {ENVELOPE_OPERATIONS_MAX}"
    )]
    OperationCount {
        /// Operations given.
        operations: usize,
    },
    /// An envelope or request beyond the limit; split it.
    #[error("{bytes} bytes are more than the {bytes_max} that fit")]
    TooLarge {
        /// Canonical bytes given.
        bytes: usize,
        /// Canonical bytes allowed.
        bytes_max: usize,
    },
    /// Too many operations in flight; wait for answers.
    #[error("the session's window has room for {left} operations now")]
    WindowFull {
        /// Operations that may be submitted now.
        left: usize,
    },
    /// Too many bytes in flight; wait for answers.
    #[error("there is room for {left} bytes in flight now")]
    BytesFull {
        /// Bytes that may be submitted now.
        left: usize,
    },
    /// Too many questions of a kind; wait for their answers.
    #[error("{max} {kind} are open already")]
    TooMany {
        /// What kind.
        kind: &'static str,
        /// The limit.
        max: usize,
    },
    /// The ticket names nothing that is open.
    #[error("nothing is open under ticket {}", ticket.0)]
    NoSuchTicket {
        /// The ticket.
        ticket: Ticket,
    },
}
