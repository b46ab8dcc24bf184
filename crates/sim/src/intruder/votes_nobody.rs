//! Votes for nobody, at an unsuspicious pace.

use std::time::Duration;

use ravelin_model::{Round, Time};

use super::maker::{Draft, Maker};
use super::{Intruder, Scene};

/// How long it waits for its next block.
const PACE: Duration = Duration::from_millis(15);

/// Makes blocks without links to leader blocks.
#[derive(Debug, Default)]
pub(super) struct VotesNobody {
    maker: Maker,
    ready: Option<(Round, Time)>,
}

impl Intruder for VotesNobody {
    fn name(&self) -> &'static str {
        "votes-nobody"
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        let Some(base) = self.maker.base(scene) else { return };
        match self.ready {
            Some((round, at)) if round == base && at <= scene.now => {
                self.ready = None;
                let shunned = Maker::leaders(scene, base);
                self.maker.make(scene, base, Draft { shunned, ..Draft::default() });
            }
            Some((round, _)) if round == base => {}
            _ => self.ready = Some((base, scene.now.after(PACE))),
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.ready.map(|(_, at)| at)
    }
}
