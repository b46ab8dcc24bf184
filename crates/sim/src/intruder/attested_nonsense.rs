//! Has the server's wormhole attest a block that breaks the rules, in the place of its replica's.
//!
//! The wormhole binds a digest and does not know what stands behind it. The block is the author's only one
//! of its round, authentic, and nobody may take it; nor any later one, which would have to follow it.

use ravelin_model::{
    Action, BlockBody, Digest, Envelope, Operation, PublicKey, Round, Sequence, ServiceId,
    SessionId, Signature,
};

use super::{Deed, Intruder, Scene};

/// Spends each counter on one bad block.
#[derive(Debug, Default)]
pub(super) struct AttestedNonsense;

impl Intruder for AttestedNonsense {
    fn name(&self) -> &'static str {
        "attested-nonsense"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        let drafted = match &deed {
            Deed::Act(Action::Attest(header)) => scene.draft(header),
            _ => None,
        };
        let Some(mut body) = drafted else { return scene.let_pass(deed) };
        let way = scene.means.dice.below(6);
        spoil(&mut body, way);
        let bad = scene.sign(body);
        let others: Vec<_> = scene.others().collect();
        others.into_iter().for_each(|to| scene.send_block(to, &bad));
    }
}

fn spoil(body: &mut BlockBody, way: u64) {
    match way {
        0 => body.parents.truncate(1),
        1 => body.parents.extend_from_within(..1),
        2 => body.envelopes.push(of_nobody(body)),
        3 => {
            if let Some(last) = body.parents.last_mut() {
                last.digest = Digest([0xbb; 32]); // fetched from its author, which has none
            }
        }
        4 => body.exposed = body.parents.iter().map(|parent| parent.author).skip(1).collect(),
        _ => body.round = Round(body.round.0 + 1_000),
    }
}

fn of_nobody(body: &BlockBody) -> Envelope {
    Envelope {
        cluster: body.cluster,
        incarnation: ravelin_model::Incarnation(1),
        client: PublicKey([5; 32]),
        session: SessionId(1),
        first: Sequence(1),
        operations: vec![Operation { service: ServiceId::KV, request: Vec::new() }],
        signature: Signature([3; 64]),
    }
}
