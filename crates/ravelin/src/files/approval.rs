//! An administrator's approval of one order: what `ravelin auth approve` writes, and `auth enroll`,
//! `auth revoke` and `auth rekey` take. Public: it is good for this order only, once.

use std::path::Path;

use ravelin_model::requests::auth::{AuthAction, AuthOrder};
use ravelin_model::{ClusterId, Digest, Incarnation, PublicKey, ReplicaId, Signature};
use serde::Deserialize;

use super::disk;
use super::hex::Hex;
use super::key::check_version;
use super::syntax::{Text, parse};
use crate::exit::{Error, Result};

/// Version of the format.
const VERSION: u16 = 1;

/// An order with one administrator's signature over its canonical bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Approval {
    pub(crate) order: AuthOrder,
    pub(crate) administrator: PublicKey,
    pub(crate) signature: Signature,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApproval {
    version: u16,
    cluster: Hex<32>,
    incarnation: u32,
    serial: u64,
    action: RawAction,
    name: Option<String>,
    key: Option<Hex<32>>,
    server: Option<u16>,
    block: Option<Hex<32>>,
    administrator: Hex<32>,
    signature: Hex<64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawAction {
    Enroll,
    Revoke,
    Rekey,
}

impl RawApproval {
    /// What is approved, unless the keys that say so are others than the action takes.
    fn action(&mut self) -> Option<AuthAction> {
        let (client, server) =
            ((self.name.take(), self.key.take()), (self.server.take(), self.block.take()));
        match (&self.action, client, server) {
            (RawAction::Enroll, (Some(name), Some(key)), (None, None)) => {
                Some(AuthAction::Enroll { name, key: PublicKey(key.0) })
            }
            (RawAction::Revoke, (Some(name), None), (None, None)) => {
                Some(AuthAction::Revoke { name })
            }
            (RawAction::Rekey, (None, None), (Some(member), Some(block))) => {
                let (member, block) = (ReplicaId(member), PublicKey(block.0));
                Some(AuthAction::Rekey { member, block })
            }
            _ => None,
        }
    }
}

impl Approval {
    /// Reads an approval. Its signature is not judged.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Self::checked(path, &disk::read(path, disk::Privacy::Public)?)
    }

    /// The approval that `text`, the text of `path`, spells.
    pub(crate) fn checked(path: &Path, text: &str) -> Result<Self> {
        let mut raw: RawApproval = parse(path, text)?;
        check_version(path, raw.version, VERSION)?;
        let action = raw.action().ok_or_else(|| {
            let cause = format!(
                "{}: to enroll takes a name and a key, to revoke a name, to rekey a server and its \
                 block key",
                path.display()
            );
            Error::usage(cause, "have it written anew by `ravelin auth approve`")
        })?;
        let order = AuthOrder {
            cluster: ClusterId(Digest(raw.cluster.0)),
            incarnation: Incarnation(raw.incarnation),
            serial: raw.serial,
            action,
        };
        let (administrator, signature) =
            (PublicKey(raw.administrator.0), Signature(raw.signature.0));
        Ok(Self { order, administrator, signature })
    }

    /// The text of the file.
    pub(crate) fn text(&self) -> String {
        let order = &self.order;
        let mut text =
            Text::new("An administrator's approval of one order. Good for this order only, once.");
        text.number("version", VERSION.into());
        text.set("cluster", order.cluster.0.to_string());
        text.number("incarnation", order.incarnation.0.into());
        text.number("serial", order.serial);
        match &order.action {
            AuthAction::Enroll { name, key } => {
                text.set("action", "enroll");
                text.set("name", name.as_str());
                text.set("key", key.to_string());
            }
            AuthAction::Revoke { name } => {
                text.set("action", "revoke");
                text.set("name", name.as_str());
            }
            AuthAction::Rekey { member, block } => {
                text.set("action", "rekey");
                text.number("server", member.0.into());
                text.set("block", block.to_string());
            }
        }
        text.set("administrator", self.administrator.to_string());
        text.set("signature", Hex(self.signature.0).to_string());
        text.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn approvals_come_back_and_others_are_refused() {
        let enroll = AuthAction::Enroll { name: "bob".to_owned(), key: PublicKey([1; 32]) };
        let revoke = AuthAction::Revoke { name: "bob".to_owned() };
        let rekey = AuthAction::Rekey { member: ReplicaId(2), block: PublicKey([1; 32]) };
        for action in [enroll, revoke, rekey] {
            let approval = Approval {
                order: AuthOrder {
                    cluster: ClusterId(Digest([2; 32])),
                    incarnation: Incarnation(3),
                    serial: u64::try_from(i64::MAX).expect("positive"),
                    action,
                },
                administrator: PublicKey([4; 32]),
                signature: Signature([5; 64]),
            };
            let path = Path::new("a.toml");
            let text = approval.text();
            assert_eq!(Approval::checked(path, &text).expect("read back"), approval);
            for (old, new) in [
                ("\"enroll\"", "\"revoke\""),
                ("\"enroll\"", "\"rekey\""),
                ("\"revoke\"", "\"enroll\""),
                ("\"revoke\"", "\"rekey\""),
                ("\"rekey\"", "\"enroll\""),
                ("\"rekey\"", "\"revoke\""),
                ("name = ", "# name = "),
                ("key = ", "# key = "),
                ("block = ", "# block = "),
                ("server = 2", "server = 65536"),
                ("server = 2", "server = 2\nname = \"bob\""),
                ("version = 1", "version = 2"),
                ("serial", "number"),
            ] {
                let wrong = text.replace(old, new);
                if wrong != text {
                    let error = Approval::checked(path, &wrong).expect_err("wrong");
                    assert_eq!(error.exit(), Exit::Usage, "{old}");
                }
            }
        }
    }
}
