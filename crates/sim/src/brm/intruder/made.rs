//! Multicasts that intruders begin.

use super::{BEGINS_WITHIN, Header, Intruder, Micros, Scene, TrustedTime};

/// Instances that one flood brings up.
const BULK: u64 = 150;

/// Proposes one message and tells some recipients another.
pub(super) struct TwoMessages;

impl Intruder for TwoMessages {
    fn on_start(&mut self, scene: &mut Scene<'_>) {
        scene.turns_within(3, BEGINS_WITHIN);
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        let (header, messages) = (scene.header(), [scene.data(), scene.data()]);
        let [one, _] = &messages;
        let value = scene.hash(&header, one);
        scene.propose(scene.own, &header, Some(value));
        for to in scene.others() {
            let after = scene.dice.between(20, 30_000);
            let told = scene.dice.pick(&messages).cloned().unwrap_or_default();
            scene.send(scene.own, (to, after), &header, &told);
        }
    }
}

/// Sends what it proposed to a single process, at the worst time; its accomplices say that they have
/// it too.
pub(super) struct ToOne;

impl Intruder for ToOne {
    fn on_start(&mut self, scene: &mut Scene<'_>) {
        scene.turns_within(3, BEGINS_WITHIN);
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        let (header, data) = (scene.header(), scene.data());
        let value = scene.hash(&header, &data);
        for by in scene.ring.iter().copied() {
            if by == scene.own || scene.dice.once_in(2) {
                scene.propose(by, &header, Some(value));
            }
        }
        const WORST: [(Micros, Micros); 3] = [(20, 1_000), (19_000, 23_000), (30_000, 400_000)];
        let (from, until) = scene.dice.pick(&WORST).copied().unwrap_or_default();
        let (to, after) = (scene.victim(), scene.dice.between(from, until));
        scene.send(scene.own, (to, after), &header, &data);
    }
}

/// Sends what it never proposed.
pub(super) struct Unproposed;

impl Intruder for Unproposed {
    fn on_start(&mut self, scene: &mut Scene<'_>) {
        scene.turns_within(2, BEGINS_WITHIN);
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        let (header, data) = (scene.header(), scene.data());
        for to in scene.others() {
            scene.send(scene.own, (to, 20), &header, &data);
        }
    }
}

/// Proposes when `tstart` is over, and sends all the same.
pub(super) struct TooLate;

impl Intruder for TooLate {
    fn on_start(&mut self, scene: &mut Scene<'_>) {
        scene.turns_within(3, BEGINS_WITHIN);
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        let (elist, data) = (scene.list(scene.own), scene.data());
        let tstart = TrustedTime(scene.wormholes.now.0 - scene.dice.between(1, 50_000_000));
        let header = Header { elist, tstart };
        let value = scene.hash(&header, &data);
        scene.propose(scene.own, &header, Some(value));
        for to in scene.others() {
            scene.send(scene.own, (to, 20), &header, &data);
        }
    }
}

/// Tells each recipient of another group.
pub(super) struct OtherLists;

impl Intruder for OtherLists {
    fn on_start(&mut self, scene: &mut Scene<'_>) {
        scene.turns_within(2, BEGINS_WITHIN);
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        let (usual, data) = (scene.header(), scene.data());
        let proposes_all = scene.dice.once_in(2);
        for to in scene.others() {
            let mut header = Header { elist: scene.list(scene.own), ..usual.clone() };
            if scene.dice.once_in(2) {
                header.elist.pop();
            }
            if scene.dice.once_in(8) {
                header.elist.push(to);
            }
            if proposes_all {
                let value = scene.hash(&header, &data);
                scene.propose(scene.own, &header, Some(value));
            }
            scene.send(scene.own, (to, 20), &header, &data);
        }
    }
}

/// Brings up instances that do not exist, of everybody, past and to come.
pub(super) struct BogusBulk;

impl Intruder for BogusBulk {
    fn on_start(&mut self, scene: &mut Scene<'_>) {
        scene.turns_within(3, BEGINS_WITHIN);
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        let victim = scene.victim();
        let data = scene.data();
        for _ in 0..BULK {
            let first = scene.dice.pick(scene.all).copied().unwrap_or(victim);
            let elist = scene.list(first);
            let tstart = match scene.dice.below(3) {
                0 => TrustedTime(scene.wormholes.now.0 - scene.dice.below(50_000_000)),
                1 => TrustedTime(scene.wormholes.now.0 + scene.dice.below(1_200_000_000)),
                _ => TrustedTime(scene.wormholes.now.0 + scene.dice.below(40_000_000)),
            };
            scene.send(scene.own, (victim, 20), &Header { elist, tstart }, &data);
        }
    }
}

/// Begins a multicast as it should, sends a single copy, and stops its wormhole.
pub(super) struct StopsWormhole;

impl Intruder for StopsWormhole {
    fn on_start(&mut self, scene: &mut Scene<'_>) {
        scene.turns_within(1, BEGINS_WITHIN);
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        let (header, data, to) = (scene.header(), scene.data(), scene.victim());
        let value = scene.hash(&header, &data);
        scene.propose(scene.own, &header, Some(value));
        scene.send(scene.own, (to, 20), &header, &data);
        let own = scene.own;
        scene.wormholes.seat(own).is_halted = true;
    }
}
