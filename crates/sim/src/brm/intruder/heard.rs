//! What intruders do with the multicasts of others.

use std::collections::BTreeSet;
use std::sync::Arc;

use ravelin_model::Time;
use ravelin_multicast::brm::{Action, Brm, PairKeys};

use super::{
    BEGINS_WITHIN, Entity, Header, Intruder, Message, Packet, Scene, TrustedTime, pair_key,
};

/// Messages that a replayer keeps.
const KEPT: usize = 16;

/// Does nothing with what it hears.
pub(super) struct Mute;

impl Intruder for Mute {
    fn on_packet(&mut self, scene: &mut Scene<'_>, _packet: &Packet) {
        scene.acts += 1;
    }
}

/// Has the wormholes of the ring say that they have what one of it heard, and hands nothing on.
pub(super) struct Claimer;

impl Intruder for Claimer {
    fn on_packet(&mut self, scene: &mut Scene<'_>, packet: &Packet) {
        let value = packet.message.digest(scene.variant).0;
        for by in scene.ring.iter().copied() {
            scene.propose(by, &packet.message.header, Some(value));
        }
    }
}

/// Proposes anything.
pub(super) struct Confuser;

impl Intruder for Confuser {
    fn on_packet(&mut self, scene: &mut Scene<'_>, packet: &Packet) {
        let value = scene.dice.bytes();
        scene.propose(scene.own, &packet.message.header, Some(value));
    }
}

/// Tells others something else of the same multicast, before anybody tells them the truth.
#[derive(Default)]
pub(super) struct Forger {
    seen: BTreeSet<Header>,
}

impl Intruder for Forger {
    fn on_packet(&mut self, scene: &mut Scene<'_>, packet: &Packet) {
        let header = &packet.message.header;
        if !self.seen.insert(header.clone()) {
            return;
        }
        for to in scene.others() {
            let mut forged = header.clone();
            match scene.dice.below(6) {
                0 => forged.tstart = TrustedTime(forged.tstart.0 + 1),
                1 => forged.elist.reverse(),
                _ => {}
            }
            let data = scene.data();
            scene.send(scene.own, (to, 20), &forged, &data);
        }
    }
}

/// Tells everybody old messages as if they were news, also long after they were delivered.
#[derive(Default)]
pub(super) struct Replayer {
    kept: Vec<Arc<Message>>,
}

impl Intruder for Replayer {
    fn on_start(&mut self, scene: &mut Scene<'_>) {
        scene.turns_within(4, 4 * BEGINS_WITHIN);
        scene.turns_within(12, 1_800_000);
    }

    fn on_packet(&mut self, _scene: &mut Scene<'_>, packet: &Packet) {
        if self.kept.len() < KEPT && !self.kept.contains(&packet.message) {
            self.kept.push(Arc::clone(&packet.message));
        }
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        for message in &self.kept {
            for to in scene.others() {
                let after = scene.dice.between(20, 5_000);
                scene.send(scene.own, (to, after), &message.header, &message.data);
            }
        }
    }
}

/// Follows the protocol, but what it sends reaches only some, and sometimes says something else.
#[derive(Default)]
pub(super) struct HalfRelay {
    /// The product's own process, and whom it is cut off from.
    inner: Option<(Brm, Vec<Entity>)>,
}

impl HalfRelay {
    fn with(
        &mut self,
        scene: &mut Scene<'_>,
        turn: impl FnOnce(&mut Brm, &mut Scene<'_>) -> Vec<Action>,
    ) {
        let Some((brm, hidden)) = &mut self.inner else { return };
        for action in turn(brm, scene) {
            let Action::Send(to, packet) = action else { continue };
            if hidden.contains(&to) {
                scene.acts += 1;
            } else if scene.dice.once_in(4) {
                let data = scene.data();
                scene.send(scene.own, (to, 100), &packet.message.header, &data);
            } else {
                scene.sent.push((100, to, packet));
            }
        }
        if let Some(deadline) = brm.next_deadline() {
            scene.turns.push(deadline.0.saturating_sub(scene.now).max(500));
        }
    }
}

impl Intruder for HalfRelay {
    fn on_start(&mut self, scene: &mut Scene<'_>) {
        let others = scene.all.iter().filter(|it| **it != scene.own);
        let keys: PairKeys = others.map(|it| (*it, pair_key(scene.own, *it))).collect();
        let hidden = scene.others().into_iter().filter(|_| scene.dice.once_in(2)).collect();
        self.inner = Some((Brm::new(scene.variant, scene.own, scene.settings, keys), hidden));
        self.with(scene, |brm, scene| {
            let (mut out, data) = (vec![], scene.data());
            let elist = scene.list(scene.own);
            let message = (elist.get(1..).unwrap_or_default(), data);
            let own = scene.own;
            let mut port = scene.wormholes.at(own);
            let _refused = brm.multicast(Time(scene.now), &mut port, message, &mut out);
            out
        });
    }

    fn on_packet(&mut self, scene: &mut Scene<'_>, packet: &Packet) {
        self.with(scene, |brm, scene| {
            let mut out = vec![];
            brm.on_packet(Time(scene.now), &mut scene.wormholes.at(scene.own), packet, &mut out);
            out
        });
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        self.with(scene, |brm, scene| {
            let mut out = vec![];
            brm.on_time(Time(scene.now), &mut scene.wormholes.at(scene.own), &mut out);
            out
        });
    }
}
