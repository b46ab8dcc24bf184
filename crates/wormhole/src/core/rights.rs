//! What the entities of a connection may have done in the instance's name.
//!
//! **Guarantee:** who lacks a right moves no counter by a call and takes no power from the instance.
//! Asking needs none: random numbers, time, measurements, deadlines, `last` and `status` are for
//! whoever said `hello`.

use super::CONNECTIONS;
use crate::attestation::Counter;
use crate::frame::Action;

/// Counters to attest with and actions to plan, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// All of them.
    pub const ALL: Self = Self(u8::MAX);
    /// To have the time signed: it takes nothing from the instance.
    pub const LEAST: Self = Self::to_plan(Action::SignedHeartbeat);
    /// One payload speaks for the server: the first connection has all rights, the others the least.
    pub const BY_DEFAULT: [Self; CONNECTIONS] = [Self::ALL, Self::LEAST, Self::LEAST, Self::LEAST];

    /// To move this counter.
    #[must_use]
    pub const fn to_attest(counter: Counter) -> Self {
        Self(1 << counter as u8)
    }

    /// To plan this action.
    #[must_use]
    pub const fn to_plan(action: Action) -> Self {
        Self(1 << (3 + action as u8)) // after the four counters: actions are numbered from 1
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, those: Self) -> Self {
        Self(self.0 | those.0)
    }

    pub(super) fn include(self, those: Self) -> bool {
        self.0 & those.0 == those.0
    }
}
