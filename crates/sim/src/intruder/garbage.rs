//! Sends bytes that are no message: noise, messages cut short, messages with a bit turned over.

use super::{Deed, Intruder, Scene};
use ravelin_model::Action;
use ravelin_replication::peer;

/// Follows its messages with garbage.
#[derive(Debug, Default)]
pub(super) struct Garbage;

impl Intruder for Garbage {
    fn name(&self) -> &'static str {
        "garbage"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        if let Deed::Act(Action::Send(to, message)) = &deed {
            let epoch = scene.means.keyring.epoch();
            let dice = &mut scene.means.dice;
            let mut bytes = match dice.below(3) {
                0 => dice.bytes().to_vec(),
                _ => peer::encode(epoch, message),
            };
            let place = usize::try_from(dice.below(bytes.len() as u64)).unwrap_or(0);
            if dice.once_in(2) {
                bytes.truncate(place);
            } else if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << (place % 8);
            }
            scene.send_bytes(*to, bytes);
        }
        scene.let_pass(deed);
    }
}
