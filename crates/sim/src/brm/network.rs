//! The payload network: what becomes of each copy on its way.

use std::collections::BTreeMap;
use std::sync::Arc;

use ravelin_model::ttcb::Entity;
use ravelin_multicast::brm::{Header, Packet};

use super::options::{Class, Options};
use crate::dice::Dice;

/// Microseconds of virtual time.
pub(super) type Micros = u64;

/// How long a copy takes, and how long those that are held up do.
const USUAL: (Micros, Micros) = (50, 1_000);
const HELD_UP: (Micros, Micros) = (5_000, 100_000);
/// When copies are brought again: soon, and up to long after everybody forgot them.
const AGAIN: [(Micros, Micros); 2] = [(1_000, 50_000), (900_000, 1_800_000)];

/// One copy's arrival.
pub(super) struct Arrival {
    pub(super) after: Micros,
    pub(super) packet: Packet,
    /// Whether it is the first arrival of what was sent, as it was sent.
    pub(super) is_intact: bool,
}

/// The network, in the intruders' hands as far as the omission degree allows.
pub(super) struct Network {
    dice: Dice,
    /// Copies taken from what one process sends another in an instance.
    taken: BTreeMap<(Entity, Entity, Header), u16>,
    /// The process that nothing reaches.
    isolated: Option<Entity>,
}

impl Network {
    pub(super) fn new(options: &Options, entities: &[Entity]) -> Self {
        let mut dice = Dice::new(options.seed, "brm network");
        let victim = dice.pick(entities).copied();
        let isolated = victim.filter(|_| options.has(Class::Isolation));
        Self { dice, taken: BTreeMap::new(), isolated }
    }

    /// What becomes of a copy, with what is done to it.
    pub(super) fn carry(
        &mut self,
        options: &Options,
        to: Entity,
        packet: Packet,
        done: &mut dyn FnMut(Class),
    ) -> Vec<Arrival> {
        if self.isolated == Some(to) {
            done(Class::Isolation);
            return vec![];
        }
        let (dice, has) = (&mut self.dice, |class| options.has(class));
        let mut arrivals = vec![];
        let after = if has(Class::Reordering) && dice.once_in(3) {
            done(Class::Reordering);
            dice.between(HELD_UP.0, HELD_UP.1)
        } else {
            dice.between(USUAL.0, USUAL.1)
        };
        if has(Class::Duplication) && dice.once_in(4) {
            done(Class::Duplication);
            let after = after + dice.between(USUAL.0, USUAL.1);
            arrivals.push(Arrival { after, packet: packet.clone(), is_intact: false });
        }
        for (from, until) in AGAIN {
            if has(Class::Replay) && dice.once_in(3) {
                done(Class::Replay);
                let after = dice.between(from, until);
                arrivals.push(Arrival { after, packet: packet.clone(), is_intact: false });
            }
        }
        // Whoever repeats copies has them already: only what is not repeated can be lost.
        let is_alone = arrivals.is_empty();
        let header = packet.message.header.clone();
        let taken = self.taken.entry((packet.from, to, header)).or_default();
        let is_spared = !is_alone || *taken >= options.od || dice.once_in(3);
        if !is_spared && has(Class::Corruption) && dice.once_in(2) {
            *taken += 1;
            done(Class::Corruption);
            let corrupted = corrupt(&packet, dice);
            arrivals.extend(corrupted.map(|packet| Arrival { after, packet, is_intact: false }));
        } else if !is_spared && has(Class::Loss) {
            *taken += 1;
            done(Class::Loss);
        } else {
            arrivals.push(Arrival { after, packet, is_intact: true });
        }
        arrivals
    }
}

/// Changes some bits on the way, half of the time in the data alone, as in figure 10; `None` if it
/// cannot be read any more.
fn corrupt(packet: &Packet, dice: &mut Dice) -> Option<Packet> {
    if dice.once_in(2) {
        let mut corrupted = packet.clone();
        let data = &mut Arc::make_mut(&mut corrupted.message).data;
        let place = usize::try_from(dice.below(data.len() as u64)).ok()?;
        *data.get_mut(place)? ^= 1 << dice.below(8);
        return Some(corrupted);
    }
    let mut bytes = packet.encode();
    for _ in 0..dice.between(1, 3) {
        let place = usize::try_from(dice.below(bytes.len() as u64)).ok()?;
        *bytes.get_mut(place)? ^= 1 << dice.below(8);
    }
    Packet::decode(&bytes).ok().filter(|corrupted| corrupted != packet)
}
