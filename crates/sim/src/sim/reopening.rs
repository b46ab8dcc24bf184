//! Administrators who open the cluster again: when too many servers are without the wormhole that the plan
//! names, or at any time.

use ravelin_crypto::sign_reopening;
use ravelin_model::{
    Closing, ClosingStage, EpochMessage, FaultModel, Reopening, Round, SignedReopening,
};

use super::*;

/// How often they look.
const EVERY: Micros = 400_000;
/// Looks in vain, with one order, after which they no longer wait for servers in an intruder's hands.
const PATIENCE: u32 = 4;
/// The same of those who end epochs at any time, as drawn.
const PATIENCES: [u32; 3] = [PATIENCE, 12, 30];

/// Within this time all lose power, and have it again.
const DARK_WITHIN: Micros = 100_000;
/// How long they wait for an order of a key who end an epoch at any time.
const ORDER_WAIT: Micros = 300_000;
/// Looks in a row that find too few servers with a voice, before they act.
const DOUBTS: u32 = 2;

/// What only an intruder leads correct servers to: one comes to an end of its own while others hold, ...
const ENDED: &str = "ended beside holders";
/// ... it begins the next epoch, ...
const BEGAN: &str = "began beside holders";
/// ... or one has decided what moves its horizon.
const MOVED: &str = "horizon moved beside holders";

/// What administrators do and have done.
#[derive(Debug)]
pub(super) struct Administrators {
    /// The epoch that they are ending, and how often they looked since they began.
    ending: Option<(Epoch, u32)>,
    /// How often in a row they found too few servers with a voice.
    doubts: u32,
    /// Looks in vain after which intruders are declared lost.
    patience: u32,
    /// Whether they are about to end an epoch, whether or not they have to.
    are_about_to: bool,
}

impl Administrators {
    pub(super) fn new(options: &Options) -> Self {
        let drawn = || Dice::new(options.seed, "patience").pick(&PATIENCES).copied();
        let drawn = options.has(FaultClass::Reopening).then(drawn).flatten();
        let patience = drawn.unwrap_or(PATIENCE);
        Self { ending: None, doubts: 0, patience, are_about_to: false }
    }
}

/// What correct servers told last of an epoch that administrators end, and what they came to in it.
#[derive(Debug, Default)]
pub(super) struct Closings {
    told: BTreeMap<ReplicaId, (Epoch, ClosingStage, Round)>,
    pub(super) reached: BTreeSet<&'static str>,
}

impl Closings {
    /// A correct server told all what it holds. Returns whether something was reached.
    fn told(&mut self, id: ReplicaId, closing: &Closing) -> bool {
        let epoch = closing.epoch;
        self.told.insert(id, (epoch, closing.stage, closing.cut.horizon));
        let has_ended = |(of, stage, _)| (of, stage) == (epoch, ClosingStage::Ended);
        let Some(horizon) = self.horizon_of_holders(epoch) else { return false };
        let is_past = |(of, _, passed)| of == epoch && passed > horizon;
        let mut told = self.told.values().copied();
        let is_moved = told.clone().any(is_past) && self.reached.insert(MOVED);
        told.any(has_ended) && self.reached.insert(ENDED) || is_moved
    }

    /// One began an epoch. Returns whether something was reached.
    fn began(&mut self, id: ReplicaId, epoch: Epoch) -> bool {
        let last = self.told.remove(&id);
        let has_ended = last.is_some_and(|(_, stage, _)| stage == ClosingStage::Ended);
        let holds =
            |(of, stage, _): &(Epoch, _, _)| (of.next(), *stage) == (epoch, ClosingStage::Holding);
        has_ended && self.told.values().any(holds) && self.reached.insert(BEGAN)
    }

    /// The first horizon of those who hold, and wait for others' words.
    fn horizon_of_holders(&self, epoch: Epoch) -> Option<Round> {
        let is_holder =
            |(of, stage, _): &&(Epoch, _, _)| (*of, *stage) == (epoch, ClosingStage::Holding);
        self.told.values().filter(is_holder).map(|(_, _, horizon)| *horizon).min()
    }
}

impl Sim {
    /// Looks whether the cluster has to be opened, and brings all servers the order for it.
    pub(super) fn administer(&mut self) {
        let are_lasting = self.options.are_rollback_proof;
        let are_idle = are_lasting && !self.options.has(FaultClass::Reopening);
        if self.options.model != FaultModel::Hybrid || are_idle {
            return;
        }
        self.queue.push(self.now + EVERY, Event::Administer);
        let (epoch, up) = self.up();
        // Whoever is in an intruder's hands may be silent for good.
        let is_correct = |host: &Host| !self.options.intruders.contains_key(&host.id);
        let open = up.iter().filter(|host| is_correct(host) && host.is_open()).count();
        let quorum = self.rule.group.quorum();
        let looks = match self.administrators.ending {
            Some((ending, looks)) if ending == epoch => looks + 1,
            // Also where wormholes outlive crashes: their own order may have left out who was down.
            _ if open < quorum && up.len() >= quorum => {
                self.administrators.doubts += 1;
                if self.administrators.doubts < DOUBTS {
                    return; // some may be on their way into the epoch
                }
                0
            }
            _ => return self.administrators.doubts = 0,
        };
        self.administrators.doubts = 0;
        self.order(looks);
    }

    /// Administrators are about to end the epoch, when an order of a key is in a block, or soon without one.
    pub(super) fn await_order_of_key(&mut self) {
        self.administrators.are_about_to = true;
        self.queue.push(self.now + ORDER_WAIT, Event::Reopen);
    }

    /// A correct server says a block with these votes: if an order of a key is among them, it will be decided
    /// within a few rounds.
    pub(super) fn see_order_of_key(&mut self, votes: &[Vote]) {
        if self.administrators.are_about_to && votes.iter().any(|it| matches!(it, Vote::Rekey(_))) {
            let at = self.now + self.dice.below(4 * self.network.slowest());
            self.queue.push(at, Event::Reopen);
        }
    }

    /// Administrators begin to end the epoch, unless they did already.
    pub(super) fn reopen(&mut self) {
        self.administrators.are_about_to = false;
        let (epoch, up) = self.up();
        let is_under_way = self.administrators.ending.is_some_and(|(ending, _)| ending == epoch);
        let is_hybrid = self.options.model == FaultModel::Hybrid;
        if is_hybrid && !is_under_way && up.len() >= self.rule.group.quorum() {
            self.order(0);
        }
    }

    /// A correct server told all what it holds of an epoch that ends.
    pub(super) fn told(&mut self, id: ReplicaId, closing: &Closing) {
        if self.closings.told(id, closing) {
            self.darken();
        }
    }

    /// A correct server began an epoch.
    pub(super) fn began(&mut self, id: ReplicaId, epoch: Epoch) {
        if self.closings.began(id, epoch) {
            self.darken();
        }
    }

    /// All lose power, now and then, just when it may do harm.
    fn darken(&mut self) {
        let class = FaultClass::Reopening;
        let is_late = self.heal.saturating_sub(self.now) <= 2 * DARK_WITHIN;
        if is_late || !self.options.has(class) || self.dice.once_in(2) {
            return;
        }
        // Those who are led back need several messages.
        let within = DARK_WITHIN.min(6 * self.network.slowest());
        let at = self.now + self.dice.below(within);
        for id in self.rule.group.members() {
            let down = self.dice.between(1_000, DARK_WITHIN);
            self.queue.push(at, Event::Trouble(class, Fault::Crash(id, down)));
        }
    }

    /// The latest epoch, and those who are up in it.
    fn up(&self) -> (Epoch, Vec<&Host>) {
        let epoch = self.hosts.iter().map(|host| host.epoch).max().unwrap_or(Epoch::FIRST);
        let is_up = |host: &&Host| {
            host.server.as_ref().is_some_and(|it| it.replica().keyring().epoch() == epoch)
        };
        (epoch, self.hosts.iter().filter(is_up).collect())
    }

    /// Brings all servers the order that ends the epoch, after so many looks in vain.
    fn order(&mut self, looks: u32) {
        let (epoch, up) = self.up();
        // Who is not in an intruder's hands comes back; declared lost, it would count as intruded, too.
        let patience = self.administrators.patience;
        let intruders = self.options.intruders.keys().filter(|_| looks >= patience);
        let lost: Vec<ReplicaId> = intruders.copied().collect();
        let instances = up.iter().filter_map(|host| Some((host.id, host.certificate()?)));
        let keyring = &self.world.keyring;
        let (cluster, incarnation) = (keyring.cluster(), keyring.incarnation());
        let order = Reopening {
            cluster,
            incarnation,
            epoch,
            number: self.now,
            instances: instances.collect(),
            lost,
        };
        let mut signed = SignedReopening { order, approvals: Vec::new() };
        sign_reopening(&mut signed, &self.world.administrator_key());
        // They need not reach all at once.
        let is_slow = looks == 0 && self.options.has(FaultClass::Reopening);
        for host in &self.hosts {
            let wait = if is_slow { self.dice.below(2 * self.network.slowest()) } else { 0 };
            let message = Message::Epoch(EpochMessage::Reopen(Box::new(signed.clone())));
            let letter = Letter::Message(epoch, message);
            let (to, life) = (host.id, host.life);
            self.queue.push(self.now + wait + 1, Event::Deliver { to, life, from: to, letter });
        }
        self.administrators.ending = Some((epoch, looks));
    }
}
