//! Says again what was said before, by anyone, to anyone.

use std::collections::VecDeque;

use ravelin_model::ReplicaId;
use ravelin_multicast::Message;

use super::{Intruder, Scene};

/// Messages remembered.
const KNOWN_MAX: usize = 256;

/// Repeats old messages.
#[derive(Debug, Default)]
pub(super) struct Replayer {
    known: VecDeque<Message>,
}

impl Intruder for Replayer {
    fn name(&self) -> &'static str {
        "replayer"
    }

    fn on_message(
        &mut self,
        scene: &mut Scene<'_>,
        _from: ReplicaId,
        message: Message,
    ) -> Option<Message> {
        if !matches!(message, Message::Replayed(_)) {
            self.known.push_back(message.clone());
            if self.known.len() > KNOWN_MAX {
                self.known.pop_front();
            }
        }
        if scene.means.dice.once_in(4) {
            let others: Vec<ReplicaId> = scene.others().collect();
            let known = self.known.make_contiguous();
            let old = scene.means.dice.pick(known).cloned();
            if let (Some(to), Some(old)) = (scene.means.dice.pick(&others).copied(), old) {
                scene.send(to, old);
            }
        }
        Some(message)
    }
}
