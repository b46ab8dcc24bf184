//! Never votes for another's leader block, but its own block is always there first: so its vote is
//! among those that a hasty replica builds on, and no leader gets a certificate.

use std::time::Duration;

use ravelin_model::{Round, Time};

use super::maker::{Draft, Maker};
use super::{Intruder, Scene};

/// How long it waits for blocks that let it do without a leader's.
const PATIENCE: Duration = Duration::from_millis(100);

/// Makes its blocks as soon as they need no link to a leader block.
#[derive(Debug, Default)]
pub(super) struct NeverVotesFirst {
    maker: Maker,
    waits: Option<(Round, Time)>,
}

impl Intruder for NeverVotesFirst {
    fn name(&self) -> &'static str {
        "never-votes-first"
    }

    fn is_first(&self) -> bool {
        true
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        let Some(base) = self.maker.base(scene) else { return };
        let shunned = Maker::leaders(scene, base);
        if Maker::is_worth_waiting(scene, base, &shunned) {
            let until = scene.now.after(PATIENCE);
            let waits = *self.waits.get_or_insert((base, until));
            if waits.0 != base {
                self.waits = Some((base, until));
                return;
            }
            if scene.now < waits.1 {
                return;
            }
        }
        self.waits = None;
        self.maker.make(scene, base, Draft { shunned, ..Draft::default() });
    }

    fn next_deadline(&self) -> Option<Time> {
        self.waits.map(|(_, until)| until)
    }
}
