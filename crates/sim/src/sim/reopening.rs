//! Administrators who open the cluster again when too many servers are without the wormhole that the
//! plan names.

use ravelin_crypto::sign_reopening;
use ravelin_model::{EpochMessage, FaultModel, Reopening, SignedReopening};

use super::*;

/// How often they look.
const EVERY: Micros = 400_000;
/// Looks in vain, with one order, after which they no longer wait for servers in an intruder's hands.
const PATIENCE: u32 = 4;

/// Looks in a row that find too few servers with a voice, before they act.
const DOUBTS: u32 = 2;

/// What administrators do and have done.
#[derive(Debug, Default)]
pub(super) struct Administrators {
    /// The epoch that they are ending, and how often they looked since they began.
    ending: Option<(Epoch, u32)>,
    /// How often in a row they found too few servers with a voice.
    doubts: u32,
}

impl Sim {
    /// Looks whether the cluster has to be opened, and brings all servers the order for it.
    pub(super) fn administer(&mut self) {
        if self.options.model != FaultModel::Hybrid || self.options.are_rollback_proof {
            return;
        }
        self.queue.push(self.now + EVERY, Event::Administer);
        let epoch = self.hosts.iter().map(|host| host.epoch).max().unwrap_or(Epoch::FIRST);
        let is_up = |host: &&Host| {
            host.server.as_ref().is_some_and(|it| it.replica().keyring().epoch() == epoch)
        };
        let up: Vec<&Host> = self.hosts.iter().filter(is_up).collect();
        // Whoever is in an intruder's hands may be silent for good.
        let is_correct = |host: &Host| !self.options.intruders.contains_key(&host.id);
        let open = up.iter().filter(|host| is_correct(host) && host.is_open()).count();
        let quorum = self.rule.group.quorum();
        let looks = match self.administrators.ending {
            Some((ending, looks)) if ending == epoch => looks + 1,
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
        self.administrators.ending = Some((epoch, looks));
        // Who is not in an intruder's hands comes back; declared lost, it would count as intruded, too.
        let intruders = self.options.intruders.keys().filter(|_| looks >= PATIENCE);
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
        for host in &self.hosts {
            let message = Message::Epoch(EpochMessage::Reopen(Box::new(signed.clone())));
            let letter = Letter::Message(epoch, message);
            let (to, life) = (host.id, host.life);
            self.queue.push(self.now + 1, Event::Deliver { to, life, from: to, letter });
        }
    }
}
