//! What a replica has to do with its wormhole, in `hybrid`.

use ravelin_model::{InstanceCertificate, LastAttested};

use super::*;

/// A replica's wormhole, as far as the replica need know it.
#[derive(Clone, Copy, Debug)]
pub struct OwnWormhole {
    /// Its instance.
    pub certificate: InstanceCertificate,
    /// What that attested last of this replica's blocks.
    pub last: Option<LastAttested>,
}

impl Replica {
    /// Takes what the wormhole answered to [`Action::Attest`].
    pub fn on_attested(
        &mut self,
        now: Time,
        header: &BlockHeader,
        attestation: Signature,
        out: &mut Out,
    ) {
        if let Some(wormhole) = &mut self.wormhole {
            wormhole.last = Some(LastAttested {
                epoch: header.epoch,
                previous: header.previous,
                round: header.reference.round,
                digest: header.reference.digest,
                signature: attestation,
            });
        }
        if self.is_halted() {
            return;
        }
        let mut inner = Vec::new();
        self.ordering.on_attested(now, header, attestation, &mut inner);
        self.carry_out(inner, out);
        self.advance_others(now, out);
    }

    /// Whether the plan in force names a key of it and, in `hybrid`, its wormhole.
    pub fn speaks(&self) -> bool {
        self.speaks
    }
}
