//! Deadlines that processes of several hosts watch together.
//!
//! **Guarantee:** whoever is told a verdict is told the same one. It is in time only if the wormhole of the
//! process that was to be done heard [`Client::end_for_all`] before the deadline; and it is told within the
//! agreement's bound after the deadline, also where that process, its host or its wormhole has stopped.
//! In real time a process that ends in time is never called late; by majority it may be, where the
//! control channel is slow, for then safety does not rest on time and the verdict cannot.
//!
//! A deadline is an agreement: it starts at the deadline at the latest, the process that is to be done
//! stands first in its list, and what it proposes says that it is done. So it costs the trusted component
//! nothing.
//!
//! # Source
//! Veríssimo, Neves and Correia, section 8.2: trusted timing failure detection, for distributed timed
//! executions.

use super::{CallError, Channel, Client};
use crate::frame::{Agreement, DecisionFunction, Entity, Nanos, Progress, Proposed, Standing, Tag};

/// What the process that is to be done proposes.
const DONE: [u8; 32] = [1; 32];

/// That one process is to be done with something by a common time, and who watches that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Agreement);

/// Whether it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is open, as far as this wormhole knows.
    Open {
        /// When it should be known, in common time.
        ends_by: Nanos,
    },
    /// It was done by the deadline.
    Timely,
    /// It was not, as far as the wormholes learned in time.
    Late,
    /// This wormhole could not learn it; others may have.
    Unknown,
}

impl Deadline {
    /// That `doer` is to be done by `deadline`. All must name the same `watchers`, in the same order;
    /// `None` if these and the doer are more than an agreement takes, or one stands twice.
    #[must_use]
    pub fn new(doer: Entity, watchers: &[Entity], deadline: Nanos) -> Option<Self> {
        let list: Vec<Entity> = std::iter::once(doer).chain(watchers.iter().copied()).collect();
        Agreement::new(&list, deadline, DecisionFunction::ReliableMulticast).map(Self)
    }
}

impl<C: Channel> Client<C> {
    /// Watches a deadline, 10 s ahead at most; ask with the tag for its verdict. Who comes late learns it
    /// all the same.
    ///
    /// # Errors
    /// As those of [`Self::propose`].
    pub fn arm_for_all(&mut self, deadline: &Deadline) -> Result<Tag, CallError> {
        self.propose(deadline.0, None).map(|proposed| proposed.tag)
    }

    /// Says that this process is done with what it was to do; and whether the deadline was still ahead for
    /// certain. If not, all will call it late.
    ///
    /// # Errors
    /// As those of [`Self::propose`].
    pub fn end_for_all(&mut self, deadline: &Deadline) -> Result<(Tag, bool), CallError> {
        let Proposed { tag, standing } = self.propose(deadline.0, Some(DONE))?;
        Ok((tag, standing == Standing::Taken))
    }

    /// Whether the deadline was kept.
    ///
    /// # Errors
    /// As those of [`Self::decide`].
    pub fn verdict(&mut self, tag: Tag) -> Result<Verdict, CallError> {
        Ok(match self.decide(tag)? {
            Progress::Running { ends_by } => Verdict::Open { ends_by },
            Progress::Ended(decision) if decision.value == Some(DONE) => Verdict::Timely,
            Progress::Ended(_) => Verdict::Late,
            Progress::GivenUp => Verdict::Unknown,
        })
    }
}
