//! Signs the end of its epoch, and is never heard again.

use std::collections::BTreeSet;

use ravelin_model::{Action, EpochMessage, ReplicaId};
use ravelin_multicast::Message;

use super::{Deed, Intruder, Scene};

/// Counts in the quorum that ends an epoch, and in none after it.
#[derive(Debug, Default)]
pub(super) struct Deserter {
    /// Whom it told that the epoch is over.
    told: BTreeSet<ReplicaId>,
}

impl Intruder for Deserter {
    fn name(&self) -> &'static str {
        "deserter"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        let is_farewell = match &deed {
            Deed::Act(Action::Send(to, Message::Epoch(EpochMessage::Handover(_)))) => {
                self.told.insert(*to)
            }
            Deed::Act(Action::Persist(_) | Action::Accuse(..)) => true,
            Deed::Act(_) | Deed::Bytes(..) => self.told.is_empty(),
        };
        if is_farewell {
            scene.let_pass(deed);
        } else {
            scene.act();
        }
    }
}
