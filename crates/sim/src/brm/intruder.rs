//! What an intruded process is known to do, by name.
//!
//! Intruders hold the keys of all intruded processes, speak to those processes' wormholes, and hear
//! what is sent to any of them. Their own copies travel as fast as they like and are never lost. They
//! cannot make a wormhole lie.

mod heard;
mod made;

use std::sync::Arc;

use ravelin_model::ttcb::{Entity, TrustedTime, Ttcb as _, Value};
use ravelin_multicast::brm::{Header, Message, Packet, Settings, Variant};

use super::ideal::Ideal;
use super::network::Micros;
use super::world::pair_key;
use crate::dice::Dice;

/// Every kind. The cruellest are `to-one` and `half-relay`: nobody but the others can make good what
/// they leave out.
pub const NAMES: [&str; 13] = [
    "bogus-bulk",
    "claimer",
    "confuser",
    "forger",
    "half-relay",
    "mute",
    "other-lists",
    "replayer",
    "stops-wormhole",
    "to-one",
    "too-late",
    "two-messages",
    "unproposed",
];

/// Those that bring up instances which do not exist.
pub const OPENERS: [&str; 5] = ["bogus-bulk", "forger", "other-lists", "too-late", "unproposed"];

/// One hostile behaviour. The defaults do nothing.
pub trait Intruder {
    /// The run begins.
    fn on_start(&mut self, _scene: &mut Scene<'_>) {}

    /// A copy reaches the process.
    fn on_packet(&mut self, _scene: &mut Scene<'_>, _packet: &Packet) {}

    /// A time for which it asked has come.
    fn on_turn(&mut self, _scene: &mut Scene<'_>) {}
}

/// The behaviour of this name; nothing at all if there is none.
#[must_use]
pub fn by_name(name: &str) -> Box<dyn Intruder> {
    match name {
        "bogus-bulk" => Box::new(made::BogusBulk),
        "claimer" => Box::new(heard::Claimer),
        "confuser" => Box::new(heard::Confuser),
        "forger" => Box::new(heard::Forger::default()),
        "half-relay" => Box::new(heard::HalfRelay::default()),
        "other-lists" => Box::new(made::OtherLists),
        "replayer" => Box::new(heard::Replayer::default()),
        "stops-wormhole" => Box::new(made::StopsWormhole),
        "to-one" => Box::new(made::ToOne),
        "too-late" => Box::new(made::TooLate),
        "two-messages" => Box::new(made::TwoMessages),
        "unproposed" => Box::new(made::Unproposed),
        _ => Box::new(heard::Mute),
    }
}

/// What an intruder sees and can do.
pub struct Scene<'a> {
    /// The process.
    pub own: Entity,
    /// All intruded processes.
    pub ring: &'a [Entity],
    /// All processes.
    pub all: &'a [Entity],
    /// The protocol.
    pub variant: Variant,
    /// What correct processes chose.
    pub settings: Settings,
    /// Microseconds since the run began.
    pub now: Micros,
    /// All wormholes; an intruder calls those of the ring only.
    pub wormholes: &'a mut Ideal,
    /// Its chance.
    pub dice: &'a mut Dice,
    /// Copies to be sent: when, to whom.
    pub sent: Vec<(Micros, Entity, Packet)>,
    /// When it wants turns, from now.
    pub turns: Vec<Micros>,
    /// Hostile acts so far.
    pub acts: u64,
}

impl Scene<'_> {
    /// Those who are not intruded.
    #[must_use]
    pub fn others(&self) -> Vec<Entity> {
        self.all.iter().filter(|it| !self.ring.contains(it)).copied().collect()
    }

    /// One of them.
    pub fn victim(&mut self) -> Entity {
        let others = self.others();
        self.dice.pick(&others).copied().unwrap_or(self.own)
    }

    /// A list of all, `first` first and the rest in any order.
    pub fn list(&mut self, first: Entity) -> Vec<Entity> {
        let mut rest: Vec<Entity> = self.all.iter().filter(|it| **it != first).copied().collect();
        let mut list = vec![first];
        while !rest.is_empty() {
            let place = usize::try_from(self.dice.below(rest.len() as u64)).unwrap_or(0);
            list.push(rest.swap_remove(place));
        }
        list
    }

    /// A multicast to all that begins now, as a correct process would name it.
    pub fn header(&mut self) -> Header {
        let nanos =
            u64::try_from(self.settings.t0.as_nanos()).unwrap_or(0) + self.dice.below(1_000);
        let elist = self.list(self.own);
        Header { elist, tstart: TrustedTime(self.wormholes.now.0 + nanos) }
    }

    /// Some data, never the same twice.
    pub fn data(&mut self) -> Vec<u8> {
        self.dice.draw().to_le_bytes().to_vec()
    }

    /// The hash of a message.
    #[must_use]
    pub fn hash(&self, header: &Header, data: &[u8]) -> Value {
        Message { header: header.clone(), data: data.to_vec() }.digest(self.variant).0
    }

    /// Has the wormhole of one of the ring propose.
    pub fn propose(&mut self, by: Entity, header: &Header, value: Option<Value>) {
        self.acts += 1;
        let _refused = self.wormholes.at(by).propose(&header.agreement(), value);
    }

    /// Sends a copy in the name of one of the ring.
    pub fn send(
        &mut self,
        from: Entity,
        (to, after): (Entity, Micros),
        header: &Header,
        data: &[u8],
    ) {
        self.acts += 1;
        let message = Arc::new(Message { header: header.clone(), data: data.to_vec() });
        let digest = message.digest(self.variant);
        let key = pair_key(from, to);
        let packet = Packet::new(self.variant, (from, to), &key, (message, &digest));
        self.sent.push((after, to, packet));
    }

    /// Asks for some turns within this time.
    pub fn turns_within(&mut self, count: u64, micros: Micros) {
        for _ in 0..count {
            let turn = self.dice.below(micros);
            self.turns.push(turn);
        }
    }
}

/// When an intruder begins something of its own: as long as correct processes do.
const BEGINS_WITHIN: Micros = 80_000;
