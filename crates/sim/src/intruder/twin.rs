//! Two replicas with one key, each speaking to its half of the group: an operator's mistake, or an
//! intruder who runs a copy.

use ravelin_model::{Action, Actions, Epoch, Protocol as _, ReplicaId, Time};
use ravelin_multicast::Message;
use ravelin_replication::state::MemoryBackend;
use ravelin_replication::{Replica, Setup, question};
use ravelin_services::Services;

use super::{Deed, Intruder, Scene};

/// Number of the twin's start.
const NONCE: u64 = u64::MAX;
/// Messages from the twin to itself that are handled in one turn.
const OWN_MAX: usize = 64;

/// Runs a second replica beside the first.
#[derive(Default)]
pub(super) struct Twin {
    second: Option<Box<Replica>>,
}

impl Twin {
    /// The second replica; it is told that nobody knows a block of it. It begins where the cluster does,
    /// so there is none in later epochs.
    fn second(&mut self, scene: &mut Scene<'_>) -> Option<&mut Replica> {
        let means = &*scene.means;
        if self.second.is_none() && means.keyring.epoch() != Epoch::FIRST {
            return None;
        }
        let second = self.second.get_or_insert_with(|| {
            let setup = Setup {
                plan: means.plan.clone(),
                keyring: means.keyring.clone(),
                keys: vec![std::sync::Arc::clone(&means.key)],
                identity: std::sync::Arc::clone(&means.key),
                wormhole: means.own_wormhole,
                own: means.own,
                application: Box::new(Services::new(means.keyring.scheme().clone())),
                backend: Box::new(MemoryBackend::new()),
                nonce: NONCE,
                transfer_lag: u64::MAX,
            };
            let mut second = Replica::new(setup, []);
            let mut unheard = Vec::new();
            second.resume(scene.now, &mut unheard);
            for member in means.keyring.group().members() {
                let nothing = Message::Recalled(question(NONCE, Epoch::FIRST), None);
                second.on_message(scene.now, member, nothing, &mut unheard);
            }
            Box::new(second)
        });
        Some(second)
    }

    /// Says what the second replica wants said to its half.
    fn perform(&mut self, scene: &mut Scene<'_>, mut actions: Actions<Replica>) {
        let own = scene.means.own;
        for _ in 0..OWN_MAX {
            let (mut to_itself, mut asked) = (Vec::new(), Vec::new());
            for action in actions {
                match action {
                    Action::Broadcast(message) => {
                        to_itself.push(message.clone());
                        let half: Vec<_> =
                            scene.others().filter(|to| is_of_second(scene, *to)).collect();
                        half.into_iter().for_each(|to| scene.send(to, message.clone()));
                    }
                    Action::Send(to, message) if to != own => scene.send(to, message),
                    Action::Attest(header) => asked.push(header),
                    _ => {}
                }
            }
            actions = Vec::new();
            for header in asked {
                let (now, attested) = (scene.now, scene.attest(&header));
                if let (Some(second), Some(attestation)) = (self.second(scene), attested) {
                    second.on_attested(now, &header, attestation, &mut actions);
                }
            }
            for message in to_itself {
                let now = scene.now;
                if let Some(second) = self.second(scene) {
                    second.on_message(now, own, message, &mut actions);
                }
            }
            if actions.is_empty() {
                return;
            }
        }
    }
}

fn is_of_second(scene: &Scene<'_>, replica: ReplicaId) -> bool {
    scene.means.part_of(replica, 2) == 1
}

impl Intruder for Twin {
    fn name(&self) -> &'static str {
        "twin"
    }

    fn on_message(
        &mut self,
        scene: &mut Scene<'_>,
        from: ReplicaId,
        message: Message,
    ) -> Option<Message> {
        if from == scene.means.own {
            return Some(message);
        }
        let mut actions = Vec::new();
        let now = scene.now;
        if let Some(second) = self.second(scene) {
            second.on_message(now, from, message.clone(), &mut actions);
        }
        self.perform(scene, actions);
        Some(message)
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        match scene.own_block(&deed) {
            Some((to, _)) if is_of_second(scene, to) => scene.act(),
            _ => scene.let_pass(deed),
        }
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        let mut actions = Vec::new();
        let now = scene.now;
        if let Some(second) = self.second(scene) {
            second.on_time(now, &mut actions);
        }
        self.perform(scene, actions);
    }

    fn next_deadline(&self) -> Option<Time> {
        self.second.as_ref().and_then(|second| second.next_deadline())
    }
}
