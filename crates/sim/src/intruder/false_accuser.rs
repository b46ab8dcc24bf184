//! Accuses correct members: with forged proofs, with proofs against nobody, without any.

use ravelin_model::{Evidence, ReplicaId, SignedHeader, Vote};

use super::{Deed, Intruder, Scene};

/// Before each own block sends it with a false accusation.
#[derive(Debug, Default)]
pub(super) struct FalseAccuser {
    turn: u64,
}

impl Intruder for FalseAccuser {
    fn name(&self) -> &'static str {
        "false-accuser"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        if let Some((to, block)) = scene.own_block(&deed) {
            self.turn += 1;
            let others: Vec<ReplicaId> = scene.others().collect();
            let Some(victim) = scene.means.dice.pick(&others).copied() else { return };
            let mut body = block.body.clone();
            let known = scene.dag().newest(victim).and_then(|newest| scene.dag().block(&newest));
            let signed = known.map(|known| known.signed_header());
            match (self.turn % 3, signed) {
                (0, Some(signed)) => body.votes.push(Vote::Evidence(forged(signed))),
                (1, Some(signed)) => {
                    let proof = Evidence::Equivocation { first: signed, second: signed };
                    body.votes.push(Vote::Evidence(proof));
                }
                _ => {
                    body.exposed = vec![victim];
                    body.parents.retain(|parent| parent.author != victim);
                }
            }
            let accusing = scene.sign(body);
            scene.send_bad_block(to, (*accusing).clone());
        }
        scene.let_pass(deed);
    }
}

/// The victim's header against one that it never signed.
fn forged(signed: SignedHeader) -> Evidence {
    let mut second = signed;
    if let Some(byte) = second.header.reference.digest.0.first_mut() {
        *byte ^= 1;
    }
    Evidence::Equivocation { first: signed, second }
}
