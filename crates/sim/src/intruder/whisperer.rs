//! Shows what it made last to one member alone when administrators end an epoch, and is silent then.
//!
//! It hands its blocks out a little late, and not at all while somebody orders another key or the epoch is
//! being ended: so it nearly always has attested ones that nobody knows. All but one of the others hear that it
//! holds the same as they, and hold. The one that waits for its word goes on deciding: it is shown the blocks,
//! which may let it end the epoch by itself, and hears no more of the intruder; now and then that signs the end
//! with it, and it begins the next epoch alone. Or the others hear that the intruder signed what they held
//! before, which lacks what ended the epoch.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ravelin_crypto::{Verified, sign_handover};
use ravelin_model::{
    Action, Block, Closing, ClosingStage, Cut, Epoch, EpochMessage, HandoverVote, ReplicaId, Time,
};
use ravelin_multicast::Message;
use ravelin_replication::Event;

use super::{Deed, Intruder, Scene};

/// How long it keeps its blocks to itself where nothing is to be gained.
const HOLD: Duration = Duration::from_millis(20);
/// How long it does after somebody ordered another key: the end of the epoch may depend on its vote.
const TEMPTED: Duration = Duration::from_millis(150);
/// How long the last of the blocks that it shows comes after those that build on it.
const LAST_AFTER: Duration = Duration::from_millis(20);
/// Blocks shown at most.
const SHOWN_MAX: usize = 64;

/// Shows one member alone what the others lack.
#[derive(Debug, Default)]
pub(super) struct Whisperer {
    /// The epoch that all else is about.
    epoch: Option<Epoch>,
    /// Its own blocks on their way out, and since when.
    held: VecDeque<(Time, Deed)>,
    /// Until when it keeps them all.
    tempted_until: Time,
    /// Whether administrators end the epoch.
    is_closing: bool,
    /// What the others hold of it.
    heard: BTreeMap<ReplicaId, Closing>,
    has_shown: bool,
    /// What it told each that it holds, until it had shown anything.
    told: BTreeMap<ReplicaId, Cut>,
}

impl Whisperer {
    fn follow(&mut self, scene: &Scene<'_>) {
        let epoch = Some(scene.means.keyring.epoch());
        if self.epoch != epoch {
            *self = Self { epoch, ..Self::default() };
        }
    }

    /// Until when it keeps its newest block to itself, made at `since`.
    fn release(&self, since: Time) -> Time {
        since.after(HOLD).max(self.tempted_until)
    }

    /// The one that it shows its blocks to; colluders favour the same.
    fn confidant(scene: &Scene<'_>) -> Option<ReplicaId> {
        let keyring = &scene.means.keyring;
        let mut members: Vec<ReplicaId> = keyring.group().members().collect();
        let turn = scene.means.shared(13 ^ keyring.epoch().0 << 8) % members.len() as u64;
        members.rotate_left(usize::try_from(turn).unwrap_or(0));
        members.into_iter().find(|member| *member != scene.means.own)
    }

    /// What it does of two things in this epoch.
    fn would(scene: &Scene<'_>, what: u64) -> bool {
        scene.means.shared(what ^ scene.means.keyring.epoch().0 << 8).is_multiple_of(2)
    }

    /// Takes in what a member holds, and tells it the same, but for the one that is to wait.
    fn lull(&mut self, scene: &mut Scene<'_>, from: ReplicaId, closing: Closing) {
        self.is_closing = true;
        self.heard.insert(from, closing.clone());
        let is_lulled = Some(from) != Self::confidant(scene);
        if is_lulled && (!self.has_shown || Self::would(scene, 17)) {
            let (turn, heard) = (1, vec![(from, closing.turn)]);
            let before = self.told.get(&from).filter(|_| self.has_shown && Self::would(scene, 23));
            let (stage, cut) = match before {
                Some(before) => (ClosingStage::Signed, before.clone()),
                None => (ClosingStage::Holding, closing.cut.clone()),
            };
            if !self.has_shown {
                self.told.insert(from, cut.clone());
            }
            let same = Closing { cut, stage, turn, heard, ..closing };
            scene.send(from, Message::Epoch(EpochMessage::Closed(same)));
        }
    }

    /// Whether all whom it can lull hold what there is, and wait.
    fn are_lulled(&self, scene: &Scene<'_>, confidant: ReplicaId) -> bool {
        let group = scene.means.keyring.group();
        let others = self.heard.iter().filter(|(member, _)| **member != confidant);
        let holding = others.filter(|(_, it)| it.stage == ClosingStage::Holding).count();
        holding + 1 >= group.size() - group.faults()
    }

    /// Its blocks that none of the others knows, the newest first.
    fn unknown(&self, scene: &Scene<'_>) -> Vec<Verified<Block>> {
        let (own, dag) = (scene.means.own, scene.dag());
        let tips = self.heard.values().flat_map(|closing| &closing.cut.tips);
        let known = tips.filter(|tip| tip.author == own).map(|tip| tip.round).max();
        let mut next = dag.newest_until(own, dag.newest_held(own));
        let mut blocks = Vec::new();
        while let Some(block) =
            next.filter(|it| Some(it.round) > known).and_then(|it| dag.block(&it))
            && blocks.len() < SHOWN_MAX
        {
            blocks.push(block.clone());
            next = block.body.previous().copied();
        }
        blocks
    }

    /// Shows them. What they all build on comes last, so that the others enter with it in one turn.
    fn show(&mut self, scene: &mut Scene<'_>, confidant: ReplicaId) {
        self.has_shown = true;
        let mut blocks = self.unknown(scene);
        let Some(last) = blocks.pop() else { return };
        for block in blocks {
            scene.send(confidant, Message::Block(block));
        }
        scene.later(LAST_AFTER, Deed::Act(Action::Send(confidant, Message::Block(last))));
    }

    /// Signs what the one ended that it led there, for that one alone.
    fn sign_with(scene: &mut Scene<'_>, to: ReplicaId, vote: HandoverVote) {
        if Self::would(scene, 19) {
            let signature = sign_handover(&vote.plan, &scene.means.key);
            let vote = HandoverVote { replica: scene.means.own, signature, ..vote };
            scene.send(to, Message::Epoch(EpochMessage::Handover(vote)));
        }
    }
}

/// Whether a deed tells the others nothing that they could use.
fn is_silent(deed: &Deed) -> bool {
    match deed {
        Deed::Act(Action::Send(_, message)) => matches!(
            message,
            Message::Fetch(_)
                | Message::Replay(_)
                | Message::Recall(_)
                | Message::Transfer(_)
                | Message::Epoch(EpochMessage::Ask(_))
        ),
        Deed::Act(Action::Emit(event)) => {
            !matches!(event, Event::Archive { .. } | Event::Serve { .. })
        }
        Deed::Act(_) => true,
        Deed::Bytes(..) => false,
    }
}

impl Intruder for Whisperer {
    fn name(&self) -> &'static str {
        "whisperer"
    }

    fn on_message(
        &mut self,
        scene: &mut Scene<'_>,
        from: ReplicaId,
        message: Message,
    ) -> Option<Message> {
        self.follow(scene);
        let Message::Epoch(about) = &message else { return Some(message) };
        match about {
            EpochMessage::Rekey(signed) if Some(signed.rekey.epoch) == self.epoch => {
                self.tempted_until = scene.now.after(TEMPTED);
                return Some(message);
            }
            // Its own replica goes on making blocks.
            EpochMessage::Reopen(signed) if Some(signed.order.epoch) == self.epoch => {
                self.is_closing = true;
            }
            EpochMessage::Closed(closing) if Some(closing.epoch) == self.epoch => {
                self.lull(scene, from, closing.clone());
            }
            // Nor does that go on with the one that it leads away from the others.
            EpochMessage::Handover(vote)
                if self.has_shown && Self::confidant(scene) == Some(from) =>
            {
                if Some(vote.epoch) == self.epoch {
                    Self::sign_with(scene, from, *vote);
                }
            }
            EpochMessage::Began(_) if self.has_shown && Self::confidant(scene) == Some(from) => {}
            _ => return Some(message),
        }
        None
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        self.follow(scene);
        if scene.own_block(&deed).is_some() {
            self.held.push_back((scene.now, deed));
        } else if !self.is_closing || is_silent(&deed) {
            scene.let_pass(deed);
        }
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        self.follow(scene);
        if self.is_closing {
            let confidant = Self::confidant(scene).filter(|_| !self.has_shown);
            if let Some(confidant) = confidant.filter(|it| self.are_lulled(scene, *it)) {
                self.show(scene, confidant);
            }
            return;
        }
        let newest = self.held.back().map(|(since, _)| *since);
        while let Some((since, deed)) = self.held.front().cloned()
            && (Some(since) != newest || scene.now >= self.release(since))
        {
            self.held.pop_front();
            scene.let_pass(deed);
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        let (since, _) = self.held.front().filter(|_| !self.is_closing)?;
        Some(self.release(*since))
    }
}
