//! Hides an envelope with a bad signature, or of nobody, among good ones.

use ravelin_model::{Envelope, Operation, Sequence, ServiceId, SessionId, Signature};

use super::{Deed, Intruder, Scene};

/// One own block in so many is spoiled.
const EVERY: u64 = 4;

/// Now and then sends an own block with a bad envelope in it, and the good one to those who ask.
#[derive(Debug, Default)]
pub(super) struct BadEnvelopes;

impl Intruder for BadEnvelopes {
    fn name(&self) -> &'static str {
        "bad-envelopes"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        let spoiled = scene.own_block(&deed).filter(|(_, block)| block.body.round.0 % EVERY == 0);
        if let Some((to, block)) = spoiled {
            let mut body = block.body.clone();
            match body.envelopes.first().cloned() {
                Some(mut envelope) => {
                    envelope.first.0 = envelope.first.0.wrapping_add(1);
                    body.envelopes.push(envelope);
                }
                None => body.envelopes.push(of_nobody(scene)),
            }
            let bad = scene.sign(body);
            return scene.send_bad_block(to, (*bad).clone());
        }
        scene.let_pass(deed);
    }
}

fn of_nobody(scene: &Scene<'_>) -> Envelope {
    let keyring = &scene.means.keyring;
    Envelope {
        cluster: keyring.cluster(),
        incarnation: keyring.incarnation(),
        client: scene
            .means
            .plan
            .plan
            .clients
            .first()
            .map_or_else(|| scene.means.key.public(), |client| client.key),
        session: SessionId(1),
        first: Sequence(1),
        operations: vec![Operation { service: ServiceId::KV, request: Vec::new() }],
        signature: Signature([3; 64]),
    }
}
