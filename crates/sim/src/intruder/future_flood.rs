//! Floods with well-formed, well-signed blocks of rounds far ahead, whose parents do not exist.

use ravelin_model::{BlockBody, BlockRef, Digest, Round};

use super::{Deed, Intruder, Scene};

/// Blocks of one burst.
const BURST: u64 = 8;
/// How far ahead the flood begins.
const AHEAD: u64 = 500;

/// Follows its blocks with a flood.
#[derive(Debug, Default)]
pub(super) struct FutureFlood {
    sent: u64,
}

impl Intruder for FutureFlood {
    fn name(&self) -> &'static str {
        "future-flood"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        if let Some((to, block)) = scene.own_block(&deed) {
            for _ in 0..BURST {
                self.sent += 1;
                let round = Round(block.body.round.0.max(1) + AHEAD + self.sent);
                let body = ahead(scene, &block.body, round);
                let flood = scene.sign(body);
                scene.send_bad_block(to, (*flood).clone());
            }
        }
        scene.let_pass(deed);
    }
}

fn ahead(scene: &mut Scene<'_>, body: &BlockBody, round: Round) -> BlockBody {
    let own = scene.means.own;
    let bogus = |author| BlockRef { round: round.minus(1), author, digest: Digest([9; 32]) };
    let parents = std::iter::once(own).chain(scene.others()).map(bogus).collect();
    BlockBody { round, parents, exposed: Vec::new(), votes: Vec::new(), ..body.clone() }
}
