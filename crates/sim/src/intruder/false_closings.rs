//! Answers administrators who open the cluster again with what it does not hold, with what it or another
//! one said earlier, with another thing for each member, or not at all.

use std::collections::VecDeque;

use ravelin_model::{
    Action, BlockRef, Closing, ClosingStage, Digest, EpochMessage, ReplicaId, Round,
};
use ravelin_multicast::Message;

use super::{Deed, Intruder, Scene};

/// Statements remembered, own ones and others'.
const KNOWN_MAX: usize = 64;

/// Lies about the end of an epoch that administrators end.
#[derive(Debug, Default)]
pub(super) struct FalseClosings {
    known: VecDeque<Closing>,
}

impl FalseClosings {
    fn remember(&mut self, closing: &Closing) {
        if self.known.back() == Some(closing) {
            return; // the same to each of the others
        }
        self.known.push_back(closing.clone());
        if self.known.len() > KNOWN_MAX {
            self.known.pop_front();
        }
    }

    /// What it says in place of `closing`; nothing, now and then.
    fn lie(&mut self, scene: &mut Scene<'_>, mut closing: Closing) -> Option<Closing> {
        match scene.means.dice.below(9) {
            0 => return None,
            // As an earlier life of it, or of another, would that has not heard of anything since.
            1 | 2 => closing = scene.means.dice.pick(self.known.make_contiguous()).cloned()?,
            3 => closing.cut.tips.retain(|tip| tip.author != scene.means.own),
            4 => drop(closing.cut.tips.pop()),
            // Nobody has it, and nobody ever will.
            5 => {
                let own = scene.means.own;
                let tip = closing.cut.tips.iter_mut().find(|tip| tip.author == own);
                tip.into_iter().for_each(|tip| *tip = nowhere(tip));
            }
            6 => closing.stage = ClosingStage::Signed,
            7 => closing.stage = ClosingStage::Ended,
            _ => closing.stage = ClosingStage::Holding,
        }
        Some(closing)
    }
}

fn nowhere(tip: &BlockRef) -> BlockRef {
    BlockRef { round: Round(tip.round.0 + 1), digest: Digest([7; 32]), ..*tip }
}

impl Intruder for FalseClosings {
    fn name(&self) -> &'static str {
        "false-closings"
    }

    fn on_message(
        &mut self,
        _scene: &mut Scene<'_>,
        _from: ReplicaId,
        message: Message,
    ) -> Option<Message> {
        if let Message::Epoch(EpochMessage::Closed(closing)) = &message {
            self.remember(closing);
        }
        Some(message)
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        let Deed::Act(Action::Send(to, Message::Epoch(EpochMessage::Closed(closing)))) = deed
        else {
            return scene.let_pass(deed);
        };
        self.remember(&closing);
        let told = |closing| Message::Epoch(EpochMessage::Closed(closing));
        match self.lie(scene, closing.clone()) {
            Some(same) if same == closing => {
                scene.let_pass(Deed::Act(Action::Send(to, told(closing))));
            }
            Some(lie) => scene.send(to, told(lie)),
            None => scene.act(),
        }
    }
}
