//! States wrong results of commits in its blocks, under its own signature.

use ravelin_model::{CommitStatement, Digest, Vote};

use super::maker::{Draft, Maker};
use super::{Intruder, Scene};

/// Makes blocks with wrong statements.
#[derive(Debug, Default)]
pub(super) struct Perjurer(Maker);

impl Intruder for Perjurer {
    fn name(&self) -> &'static str {
        "perjurer"
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        let Some(base) = self.0.base(scene) else { return };
        let (keyring, state) = (&scene.means.keyring, scene.core.ordering().delivery().state());
        let wrong = CommitStatement {
            cluster: keyring.cluster(),
            incarnation: keyring.incarnation(),
            epoch: keyring.epoch(),
            commit: state.commit,
            position: scene.core.execution().position(),
            time: state.time,
            answers: Digest([8; 32]),
            state: Digest([8; 32]),
            ordering: None,
        };
        let signed = keyring.sign_statement(&scene.means.key, scene.means.own, wrong);
        let votes = vec![Vote::Statement(signed)];
        self.0.make(scene, base, Draft { votes, ..Draft::default() });
    }
}
