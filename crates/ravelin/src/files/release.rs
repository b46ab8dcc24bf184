//! The order by which administrators let a halted server go on: what `ravelin node release` writes,
//! has signed and takes. Public: it is good for one halt of one server only, once.

use std::path::Path;

use ravelin_model::{
    ClusterId, Digest, Epoch, Incarnation, ReleaseOrder, ReplicaId, SignedRelease,
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
/// Letters of the date.
const ISSUED_MAX: usize = 40;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRelease {
    version: u16,
    cluster: Hex<32>,
    incarnation: u32,
    epoch: u64,
    server: u16,
    halt: Hex<32>,
    serial: u64,
    repaired: Vec<u16>,
    issued: String,
    #[serde(default)]
    signatures: Vec<RawApproval>,
}

/// Reads a release. Its signatures are not judged.
pub(crate) fn read(path: &Path) -> Result<SignedRelease> {
    checked(path, &disk::read(path, disk::Privacy::Public)?)
}

/// The release that `text`, the text of `path`, spells.
pub(crate) fn checked(path: &Path, text: &str) -> Result<SignedRelease> {
    let raw: RawRelease = parse(path, text)?;
    check_version(path, raw.version, VERSION)?;
    let anew = "write it anew: `ravelin node release --draft FILE` on the server";
    if raw.issued.len() > ISSUED_MAX || raw.issued.chars().any(char::is_control) {
        let cause = format!("{}: `issued` is no date", path.display());
        return Err(Error::usage(cause, anew));
    }
    if !raw.repaired.is_sorted_by(|one, next| one < next) {
        let cause = format!("{}: `repaired` must name servers once, ascending", path.display());
        return Err(Error::usage(cause, anew));
    }
    let order = ReleaseOrder {
        cluster: ClusterId(Digest(raw.cluster.0)),
        incarnation: Incarnation(raw.incarnation),
        epoch: Epoch(raw.epoch),
        server: ReplicaId(raw.server),
        halt: Digest(raw.halt.0),
        serial: raw.serial,
        repaired: raw.repaired.into_iter().map(ReplicaId).collect(),
        issued: raw.issued,
    };
    Ok(SignedRelease { order, approvals: approvals(raw.signatures) })
}

/// The text of a release, with `why` the server halted as a comment.
pub(crate) fn text(signed: &SignedRelease, why: &str) -> String {
    let order = &signed.order;
    let mut text = Text::new(&format!(
        "Administrators let a server go on that halted. Good for this halt only, once.\n{why}"
    ));
    text.number("version", VERSION.into());
    text.set("cluster", order.cluster.0.to_string());
    text.number("incarnation", order.incarnation.0.into());
    text.number("epoch", order.epoch.0);
    text.number("server", order.server.0.into());
    text.set("halt", order.halt.to_string());
    text.number("serial", order.serial);
    text.line("# Offenders that were repaired: they count no longer, until an epoch gives them other keys");
    set_servers(&mut text, "repaired", &order.repaired);
    text.set("issued", order.issued.as_str());
    set_approvals(&mut text, &signed.approvals);
    text.finish()
}

#[cfg(test)]
mod tests {
    use ravelin_model::{PublicKey, Signature};

    use super::*;
    use crate::exit::Exit;

    fn release(approvals: usize) -> SignedRelease {
        let order = ReleaseOrder {
            cluster: ClusterId(Digest([2; 32])),
            incarnation: Incarnation(3),
            epoch: Epoch(4),
            server: ReplicaId(1),
            halt: Digest([5; 32]),
            serial: 6,
            repaired: vec![ReplicaId(0), ReplicaId(2)],
            issued: "2031-12-24T18:00:00Z".into(),
        };
        let approval = (PublicKey([7; 32]), Signature([8; 64]));
        SignedRelease { order, approvals: vec![approval; approvals] }
    }

    #[test]
    fn releases_come_back_and_others_are_refused() {
        let path = Path::new("r.toml");
        for approvals in 0..3 {
            let release = release(approvals);
            let text = text(&release, "why");
            assert_eq!(checked(path, &text).expect("read back"), release);
        }
        let text = text(&release(1), "why");
        for (old, new) in [
            ("version = 1", "version = 2"),
            ("[0, 2]", "[2, 0]"),
            ("[0, 2]", "[0, 0]"),
            ("[0, 2]", "[0, 65536]"),
            ("2031-", "2031-12-24T18:00:00Z and so on and on 2031-"),
            ("2031-", "\\u001b[2J"),
            ("halt = ", "reason = "),
            ("serial = 6", "serial = -6"),
            ("administrator = ", "key = "),
        ] {
            let wrong = text.replace(old, new);
            assert_ne!(wrong, text, "{old}");
            assert_eq!(checked(path, &wrong).expect_err(old).exit(), Exit::Usage, "{old}");
        }
    }
}
