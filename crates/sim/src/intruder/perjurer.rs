//! States wrong results of commits in its blocks: under its own signature, or under a bad one, so that
//! whoever hands it on unchecked as a proof makes a block that nobody takes.

use ravelin_model::{CommitStatement, Digest, Signature, Vote};

use super::maker::{Draft, Maker};
use super::{Intruder, Scene};

/// Makes blocks with wrong statements.
#[derive(Debug)]
pub(super) struct Perjurer {
    name: &'static str,
    is_signed: bool,
    maker: Maker,
}

impl Perjurer {
    /// Whose statements are well signed.
    pub(super) fn signed() -> Self {
        Self { name: "perjurer", is_signed: true, maker: Maker::default() }
    }

    /// Whose statements are badly signed.
    pub(super) fn unsigned() -> Self {
        Self { name: "vote-poisoner", is_signed: false, maker: Maker::default() }
    }
}

impl Intruder for Perjurer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        let Some(base) = self.maker.base(scene) else { return };
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
        let mut signed = keyring.sign_statement(&scene.means.key, scene.means.own, wrong);
        if !self.is_signed {
            signed.signature = Signature([6; 64]);
        }
        let votes = vec![Vote::Statement(signed)];
        self.maker.make(scene, base, Draft { votes, ..Draft::default() });
    }
}
