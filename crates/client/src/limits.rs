//! Every limit of the client, with what happens at it. Those shared with servers are in the model.

use std::time::Duration;

/// Canonical bytes of envelopes in flight; then [`crate::Misuse::BytesFull`] until answers arrive.
pub const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;
/// Fast reads not yet answered; then [`crate::Misuse::TooMany`].
pub const READS_MAX: usize = 1024;
/// Bytes of the requests of these reads: they are kept in case they must be ordered.
pub const READ_BYTES_MAX: usize = 16 << 20;
/// Proofs not yet shown; then [`crate::Misuse::TooMany`].
pub const PROOFS_MAX: usize = 64;
/// Questions for the audit log not yet answered; then [`crate::Misuse::TooMany`].
pub const AUDITS_MAX: usize = 8;
/// Watches at once; then [`crate::Misuse::TooMany`].
pub const WATCHES_MAX: usize = 16;
/// Status questions at once; then [`crate::Misuse::TooMany`].
pub const STATUSES_MAX: usize = 8;
/// Bytes of changes that one member may be ahead of what was agreed, in one watch. What it tells
/// beyond is dropped, and asked for again when the others have caught up.
pub const WATCH_AHEAD_BYTES_MAX: usize = 8 << 20;
/// Texts, and entries of each list, of a status report; a larger report is dropped.
pub const REPORT_ENTRIES_MAX: usize = 64;
/// Bytes of each text in a status report.
pub const REPORT_TEXT_BYTES_MAX: usize = 128;
/// Statements of one member kept for comparing; the one of the lowest commit is dropped.
pub const STATEMENTS_PER_MEMBER_MAX: usize = 64;
/// Epochs whose keys and statements are kept, for answers that come late; what members of an older
/// one stated is not looked at.
pub const EPOCHS_KEPT: usize = 4;
/// Bytes of one member's answers of epochs whose keys are not known yet; the oldest go, and are asked
/// for again.
pub const EARLY_BYTES_MAX: usize = 1 << 20;
/// Settled answers kept for comparing late ones with them; the oldest is dropped.
pub const SETTLED_MAX: usize = 1024;
/// The longest a member's `Busy` is honoured: one that asks for more is held back no longer.
pub const BUSY_HOLD_MAX: Duration = Duration::from_secs(2);
/// The longest wait between two attempts, before jitter.
pub const BACKOFF_MAX: Duration = Duration::from_secs(8);
/// A fast read waits this part of the patience before it is ordered.
pub const FAST_READ_PATIENCE_DIVISOR: u32 = 4;
