//! Keys, plan and parties of a simulated cluster.

use std::sync::Arc;

use ravelin_crypto::{Domain, Keyring, Registry, Scheme, SigningKey, plan_digest, sign_plan};
use ravelin_model::plan::{Labels, PLAN_VERSION};
use ravelin_model::{
    ClientEntry, ClusterId, ClusterPlan, Epoch, FaultModel, Incarnation, InstanceCertificate,
    Member, Purpose, ReplicaId, Signature, SignedPlan, WormholeKeys,
};

use crate::dice::Dice;
use crate::options::{Options, Signatures};
use crate::wormhole::{Shared, Soundness};

/// Who there is, and by which keys they are known.
pub(crate) struct World {
    /// The cluster's plan.
    pub(crate) plan: SignedPlan,
    /// Its keys.
    pub(crate) keyring: Keyring,
    seed: u64,
    registry: Option<Registry>,
}

impl World {
    /// The world of a run.
    ///
    /// # Panics
    /// If `options` name a group that cannot be: they are drawn from ones that can, or come from a
    /// file that once worked.
    #[must_use]
    pub(crate) fn new(options: &Options) -> Self {
        let registry = match options.signatures {
            Signatures::Simulated => Some(Registry::default()),
            Signatures::Ed25519 => None,
        };
        let scheme = match &registry {
            Some(registry) => Scheme::Simulated(registry.clone()),
            None => Scheme::ed25519(Dice::new(options.seed, "batches").bytes()),
        };
        let seed = options.seed;
        let public = |kind: &str, index: u16| key(seed, registry.as_ref(), kind, index).public();
        let members = (0..options.n).map(|index| Member {
            name: format!("server-{index}"),
            identity: public("identity", index),
            block: public("block", index),
            transport: public("transport", index),
            wormhole: (options.model == FaultModel::Hybrid).then(|| WormholeKeys {
                provisioned: public("wormhole", index),
                instance: Some(public(&instance(0), index)),
            }),
            peer_address: format!("10.0.0.{index}:7000"),
            client_address: format!("10.0.0.{index}:7001"),
            labels: Labels::default(),
        });
        let plan = ClusterPlan {
            version: PLAN_VERSION,
            name: "simulated".into(),
            purpose: Purpose::Local,
            incarnation: Incarnation(1),
            epoch: Epoch(1),
            previous: None,
            fault_model: options.model,
            f: options.f,
            leaders_per_round: options.leaders,
            members: members.collect(),
            administrators: vec![public("administrator", 0)],
            administrators_needed: 1,
            clients: (0..options.clients)
                .map(|index| ClientEntry {
                    name: format!("client-{index}"),
                    key: public("client", index),
                })
                .collect(),
            rekey_interval_min_s: 1,
            checkpoint_every: options.checkpoint_every,
        };
        let cluster = ClusterId(plan_digest(&plan));
        let mut plan = SignedPlan { plan, signatures: Vec::new() };
        sign_plan(&mut plan, &key(seed, registry.as_ref(), "administrator", 0));
        let keyring = Keyring::new(cluster, &plan, scheme).expect("the group holds together");
        Self { plan, keyring, seed, registry }
    }

    /// A server's key for blocks and statements, before its change of this number.
    #[must_use]
    pub(crate) fn block_key(&self, replica: ReplicaId, turn: u16) -> Arc<SigningKey> {
        let kind = if turn == 0 { "block".into() } else { format!("block {turn}") };
        Arc::new(key(self.seed, self.registry.as_ref(), &kind, replica.0))
    }

    /// A server's identity key.
    #[must_use]
    pub(crate) fn identity_key(&self, replica: ReplicaId) -> Arc<SigningKey> {
        Arc::new(key(self.seed, self.registry.as_ref(), "identity", replica.0))
    }

    /// A server's wormhole in its life of this number; none outside `hybrid`.
    #[must_use]
    pub(crate) fn wormhole(
        &self,
        replica: ReplicaId,
        life: u64,
        options: &Options,
    ) -> Option<Shared> {
        self.keyring.wormhole(replica)?;
        let key = |kind: &str| key(self.seed, self.registry.as_ref(), kind, replica.0);
        let instance = key(&instance(life));
        let mut certificate = InstanceCertificate {
            instance: instance.public(),
            is_rollback_proof: options.are_rollback_proof,
            signature: Signature([0; 64]),
        };
        let bytes = certificate.signed_bytes(self.keyring.cluster(), replica);
        certificate.signature = key("wormhole").sign(Domain::Instance, &bytes);
        let soundness = match options.broken_wormhole == Some(replica) {
            true => Soundness::Broken,
            false => Soundness::Sound,
        };
        Some(Shared::new(Arc::new(instance), certificate, soundness))
    }

    /// The administrator's key.
    #[must_use]
    pub(crate) fn administrator_key(&self) -> SigningKey {
        key(self.seed, self.registry.as_ref(), "administrator", 0)
    }

    /// A client's key.
    #[must_use]
    pub(crate) fn client_key(&self, client: u16) -> SigningKey {
        key(self.seed, self.registry.as_ref(), "client", client)
    }
}

/// What the key of a wormhole is drawn for in its life of this number.
fn instance(life: u64) -> String {
    format!("instance {life}")
}

fn key(seed: u64, registry: Option<&Registry>, kind: &str, index: u16) -> SigningKey {
    let bytes = Dice::new(seed ^ u64::from(index), &format!("key of {kind}")).bytes();
    match registry {
        Some(registry) => SigningKey::simulated(&bytes, registry),
        None => SigningKey::ed25519(&bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Mode, Settings};

    #[test]
    fn both_kinds_of_keys_sign_for_their_owners_only() {
        for signatures in [Signatures::Simulated, Signatures::Ed25519] {
            let mut options = Options::draw(1, Mode::Safety, Settings::default());
            options.signatures = signatures;
            let world = World::new(&options);
            let signature = world.block_key(ReplicaId(1), 0).sign(Domain::Block, b"it");
            let holds = |member| {
                let key = world.keyring.member(ReplicaId(member)).unwrap();
                world.keyring.scheme().verify(Domain::Block, key, b"it", &signature)
            };
            assert!(holds(1) && !holds(2));
        }
    }
}
