//! Before each own block sends ones whose parents break every rule in turn.

use ravelin_model::{BlockBody, BlockRef, Digest, Round};

use super::{Deed, Intruder, Scene};

/// Sends blocks with wrong, duplicated, missing, bogus and future parents.
#[derive(Debug, Default)]
pub(super) struct WrongParents {
    turn: u64,
}

impl Intruder for WrongParents {
    fn name(&self) -> &'static str {
        "wrong-parents"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        if let Some((to, block)) = scene.own_block(&deed) {
            self.turn += 1;
            let mut body = block.body.clone();
            spoil(&mut body, self.turn % 8);
            let bad = scene.sign(body);
            scene.send_block(to, &bad);
        }
        scene.let_pass(deed);
    }
}

fn spoil(body: &mut BlockBody, way: u64) {
    let bogus = Digest([0xbb; 32]);
    match way {
        0 => body.parents.clear(),
        1 => body.parents.extend_from_within(..1),
        2 => body.parents.truncate(1),
        3 => body.parents.reverse(),
        4 => body.parents.iter_mut().for_each(|parent| parent.digest = bogus),
        5 => body.parents.iter_mut().for_each(|parent| parent.round = body.round.next()),
        6 => {
            if let Some(last) = body.parents.last_mut() {
                *last = BlockRef { round: Round(u64::MAX), digest: bogus, ..*last };
            }
        }
        _ => body.round = Round(u64::MAX),
    }
}
