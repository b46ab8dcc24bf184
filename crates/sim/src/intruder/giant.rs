//! Sends what is too large: a message, a block, an envelope.

use ravelin_model::limits::{BLOCK_BYTES_MAX, ENVELOPE_BYTES_MAX, PEER_MESSAGE_BYTES_MAX};
use ravelin_model::{Envelope, Operation, PublicKey, Sequence, ServiceId, SessionId, Signature};

use super::{Deed, Intruder, Scene};

/// Giants sent by one intruder: each costs megabytes to carry.
const GIANTS_MAX: u32 = 6;

/// Sends giants now and then.
#[derive(Debug, Default)]
pub(super) struct Giant {
    sent: u32,
}

impl Intruder for Giant {
    fn name(&self) -> &'static str {
        "giant"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        if let Some((to, block)) = scene.own_block(&deed)
            && self.sent < GIANTS_MAX
            && scene.means.dice.once_in(10)
        {
            self.sent += 1;
            match self.sent % 3 {
                0 => scene.send_bytes(to, vec![0; PEER_MESSAGE_BYTES_MAX + 1]),
                1 => {
                    let mut body = block.body.clone();
                    let size = ENVELOPE_BYTES_MAX / 2;
                    let count = BLOCK_BYTES_MAX / size + 1;
                    body.envelopes = (0..count).map(|_| envelope(scene, size)).collect();
                    let giant = scene.sign(body);
                    scene.send_bad_block(to, (*giant).clone());
                }
                _ => {
                    let mut body = block.body.clone();
                    body.envelopes = vec![envelope(scene, ENVELOPE_BYTES_MAX + 1)];
                    let giant = scene.sign(body);
                    scene.send_bad_block(to, (*giant).clone());
                }
            }
        }
        scene.let_pass(deed);
    }
}

fn envelope(scene: &Scene<'_>, size: usize) -> Envelope {
    let keyring = &scene.means.keyring;
    let operation = Operation { service: ServiceId::KV, request: vec![0; size] };
    Envelope {
        cluster: keyring.cluster(),
        incarnation: keyring.incarnation(),
        client: PublicKey([1; 32]),
        session: SessionId(1),
        first: Sequence(1),
        operations: vec![operation],
        signature: Signature([0; 64]),
    }
}
