//! The order by which administrators open a cluster anew: what `ravelin node reopen` writes, has signed
//! and brings to the servers. Public: it is good for one epoch only.

use std::path::Path;

use ravelin_model::{
    ClusterId, Digest, Epoch, Incarnation, InstanceCertificate, PublicKey, Reopening, ReplicaId,
    Signature, SignedReopening,
};
use serde::Deserialize;

use super::approvals::{RawApproval, approvals, set_approvals, set_servers};
use super::disk;
use super::hex::Hex;
use super::key::check_version;
use super::syntax::{Text, parse};
use crate::exit::{Error, Result};

/// Version of the format.
const VERSION: u16 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReopening {
    version: u16,
    cluster: Hex<32>,
    incarnation: u32,
    epoch: u64,
    number: u64,
    lost: Vec<u16>,
    #[serde(default)]
    instances: Vec<RawInstance>,
    #[serde(default)]
    signatures: Vec<RawApproval>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInstance {
    server: u16,
    instance: Hex<32>,
    rollback_proof: bool,
    certificate: Hex<64>,
}

/// Reads an order. Its signatures are not judged.
pub(crate) fn read(path: &Path) -> Result<SignedReopening> {
    checked(path, &disk::read(path, disk::Privacy::Public)?)
}

/// The order that `text`, the text of `path`, spells.
pub(crate) fn checked(path: &Path, text: &str) -> Result<SignedReopening> {
    let raw: RawReopening = parse(path, text)?;
    check_version(path, raw.version, VERSION)?;
    let are_ascending = raw.lost.is_sorted_by(|one, next| one < next)
        && raw.instances.is_sorted_by(|one, next| one.server < next.server);
    if !are_ascending {
        let cause = format!("{}: servers must be named once, ascending", path.display());
        return Err(Error::usage(cause, "write it anew: `ravelin node reopen --draft FILE`"));
    }
    let instance = |raw: RawInstance| {
        let certificate = InstanceCertificate {
            instance: PublicKey(raw.instance.0),
            is_rollback_proof: raw.rollback_proof,
            signature: Signature(raw.certificate.0),
        };
        (ReplicaId(raw.server), certificate)
    };
    let order = Reopening {
        cluster: ClusterId(Digest(raw.cluster.0)),
        incarnation: Incarnation(raw.incarnation),
        epoch: Epoch(raw.epoch),
        number: raw.number,
        instances: raw.instances.into_iter().map(instance).collect(),
        lost: raw.lost.into_iter().map(ReplicaId).collect(),
    };
    Ok(SignedReopening { order, approvals: approvals(raw.signatures) })
}

/// The text of an order.
pub(crate) fn text(signed: &SignedReopening) -> String {
    let order = &signed.order;
    let mut text = Text::new(
        "Administrators open a cluster whose wormholes are not those of its plan. It ends this epoch\n\
         at what the logs of all servers decide that are not declared lost.",
    );
    text.number("version", VERSION.into());
    text.set("cluster", order.cluster.0.to_string());
    text.number("incarnation", order.incarnation.0.into());
    text.number("epoch", order.epoch.0);
    text.line(
        "# Of several orders for one epoch the highest number counts: microseconds since 1970.",
    );
    text.number("number", order.number);
    text.line("# Servers whose disks are gone: what only they held is forgotten.");
    set_servers(&mut text, "lost", &order.lost);
    for (server, certificate) in &order.instances {
        text.table("[[instances]]");
        text.number("server", server.0.into());
        text.set("instance", certificate.instance.to_string());
        text.set("rollback_proof", certificate.is_rollback_proof);
        text.set("certificate", Hex(certificate.signature.0).to_string());
    }
    set_approvals(&mut text, &signed.approvals);
    text.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn order(approvals: usize) -> SignedReopening {
        let certificate = |byte| InstanceCertificate {
            instance: PublicKey([byte; 32]),
            is_rollback_proof: byte == 1,
            signature: Signature([byte; 64]),
        };
        let order = Reopening {
            cluster: ClusterId(Digest([2; 32])),
            incarnation: Incarnation(3),
            epoch: Epoch(4),
            number: 5,
            instances: vec![(ReplicaId(0), certificate(0)), (ReplicaId(1), certificate(1))],
            lost: vec![ReplicaId(2), ReplicaId(4)],
        };
        let approval = (PublicKey([7; 32]), Signature([8; 64]));
        SignedReopening { order, approvals: vec![approval; approvals] }
    }

    #[test]
    fn orders_come_back_and_others_are_refused() {
        let path = Path::new("r.toml");
        for approvals in 0..3 {
            let order = order(approvals);
            assert_eq!(checked(path, &text(&order)).expect("read back"), order);
        }
        let text = text(&order(1));
        for (old, new) in [
            ("version = 1", "version = 2"),
            ("[2, 4]", "[4, 2]"),
            ("[2, 4]", "[2, 2]"),
            ("[2, 4]", "[2, 65536]"),
            ("server = 1", "server = 0"),
            ("epoch = 4", "epoch = -4"),
            ("rollback_proof = true", "rollback_proof = 1"),
            ("administrator = ", "key = "),
        ] {
            let wrong = text.replace(old, new);
            assert_ne!(wrong, text, "{old}");
            assert_eq!(checked(path, &wrong).expect_err(old).exit(), Exit::Usage, "{old}");
        }
    }
}
