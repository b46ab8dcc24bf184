//! A server's wormhole in the simulation: a counter that survives its payload, or does not.

use std::sync::{Arc, Mutex, PoisonError};

use ravelin_crypto::{Domain, SigningKey};
use ravelin_model::{
    BlockHeader, InstanceCertificate, LastAttested, NotAttested, SharedWormhole, Signature,
    Wormhole,
};
use ravelin_replication::OwnWormhole;

/// What a wormhole is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Soundness {
    /// It binds each value of its counter once.
    Sound,
    /// It attests whatever it is asked to.
    Broken,
}

/// One instance.
pub(crate) struct Instance {
    key: Arc<SigningKey>,
    certificate: InstanceCertificate,
    soundness: Soundness,
    last: Option<LastAttested>,
}

/// An instance that its host and whoever owns that host call.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Instance>>);

impl Shared {
    pub(crate) fn new(
        key: Arc<SigningKey>,
        certificate: InstanceCertificate,
        soundness: Soundness,
    ) -> Self {
        Self(Arc::new(Mutex::new(Instance { key, certificate, soundness, last: None })))
    }

    /// What a replica hears of it at its start.
    pub(crate) fn as_own(&self) -> OwnWormhole {
        let instance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        OwnWormhole { certificate: instance.certificate, last: instance.last }
    }

    /// For whoever owns the server.
    pub(crate) fn as_shared(&self) -> SharedWormhole {
        let shared: SharedWormhole = self.0.clone();
        shared
    }

    pub(crate) fn attest(&self, header: &BlockHeader) -> Result<Signature, NotAttested> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).attest(header)
    }
}

impl Wormhole for Instance {
    fn attest(&mut self, header: &BlockHeader) -> Result<Signature, NotAttested> {
        let (epoch, round) = (header.epoch, header.reference.round);
        let is_next = match self.last {
            Some(last) if last.epoch == epoch => last.round == header.previous,
            Some(last) => last.epoch < epoch && header.previous.0 == 0,
            None => header.previous.0 == 0,
        };
        let is_sound = self.soundness == Soundness::Sound;
        if is_sound && !(is_next && header.previous < round) {
            return Err(NotAttested::Counter);
        }
        let bytes = header.attested_bytes(&self.certificate.instance);
        let signature = self.key.sign(Domain::Attestation, &bytes);
        let digest = header.reference.digest;
        let previous = header.previous;
        self.last = Some(LastAttested { epoch, previous, round, digest, signature });
        Ok(signature)
    }
}

#[cfg(test)]
mod tests {
    use ravelin_model::{BlockRef, Digest, FaultModel, ReplicaId, Round};

    use super::*;
    use crate::options::{Mode, Options};
    use crate::world::World;

    #[test]
    fn a_sound_one_binds_each_value_once_and_a_broken_one_does_not() {
        for soundness in [Soundness::Sound, Soundness::Broken] {
            let mut options = Options::calm(1, Mode::Safety, (3, 1));
            options.model = FaultModel::Hybrid;
            options.broken_wormhole = (soundness == Soundness::Broken).then_some(ReplicaId(0));
            let world = World::new(&options);
            let wormhole = world.wormhole(ReplicaId(0), 0, &options).unwrap();
            let header = |previous, round, digest| BlockHeader {
                cluster: world.keyring.cluster(),
                genesis: world.keyring.genesis(),
                epoch: world.keyring.epoch(),
                previous: Round(previous),
                reference: BlockRef {
                    round: Round(round),
                    author: ReplicaId(0),
                    digest: Digest([digest; 32]),
                },
            };
            assert!(wormhole.attest(&header(0, 1, 1)).is_ok());
            let is_broken = soundness == Soundness::Broken;
            assert_eq!(wormhole.attest(&header(0, 1, 2)).is_ok(), is_broken, "the same value");
            assert_eq!(wormhole.attest(&header(0, 2, 3)).is_ok(), is_broken, "another beginning");
            assert!(wormhole.attest(&header(if is_broken { 2 } else { 1 }, 5, 4)).is_ok());
            assert_eq!(wormhole.as_own().last.map(|last| last.round), Some(Round(5)));
        }
    }
}
