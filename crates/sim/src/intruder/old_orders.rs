//! Repeats members' orders of new keys in later epochs.

use std::collections::BTreeMap;
use std::time::Duration;

use ravelin_model::{Encode as _, EpochMessage, ReplicaId, SignedRekey, Time};
use ravelin_multicast::Message;

use super::{Intruder, Scene};

/// Orders remembered.
const KNOWN_MAX: usize = 64;
/// Pause between two rounds of repetitions.
const PAUSE: Duration = Duration::from_millis(200);

/// Would have a member speak with a key again that it has given up.
#[derive(Debug, Default)]
pub(super) struct OldOrders {
    known: BTreeMap<Vec<u8>, SignedRekey>,
    next: Time,
}

impl Intruder for OldOrders {
    fn name(&self) -> &'static str {
        "old-orders"
    }

    fn on_message(
        &mut self,
        _scene: &mut Scene<'_>,
        _from: ReplicaId,
        message: Message,
    ) -> Option<Message> {
        if let Message::Epoch(EpochMessage::Rekey(signed)) = &message
            && self.known.len() < KNOWN_MAX
        {
            self.known.insert(signed.encode(), *signed);
        }
        Some(message)
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        let epoch = scene.means.keyring.epoch();
        let old: Vec<SignedRekey> =
            self.known.values().filter(|signed| signed.rekey.epoch < epoch).copied().collect();
        if old.is_empty() || scene.now < self.next {
            return;
        }
        self.next = scene.now.after(PAUSE);
        for to in scene.others() {
            for signed in &old {
                scene.send(to, Message::Epoch(EpochMessage::Rekey(*signed)));
            }
        }
    }
}
