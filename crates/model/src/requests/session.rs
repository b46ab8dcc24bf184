//! Sessions: the frame in which a client's operations happen exactly once.
//!
//! A session is opened by an envelope with session 0, whose first sequence is a number above every
//! one that this client ever used for an opening (its clock in microseconds will do): so an old
//! opening, replayed by an intruder, opens nothing.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::SessionId;

/// Asked of [`crate::ServiceId::SESSION`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum SessionRequest {
    /// Opens a session; alone in its envelope.
    Open,
    /// Ends the session of the envelope and forgets its replies.
    Close,
}

/// The reply to a [`SessionRequest`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum SessionReply {
    /// The session's id.
    Opened(SessionId),
    /// It is gone.
    Closed,
}
