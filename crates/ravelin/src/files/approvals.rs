//! The signatures of several administrators in a file that one after the other signs.

use ravelin_model::{PublicKey, ReplicaId, Signature};
use serde::Deserialize;

use super::hex::Hex;
use super::syntax::Text;

/// One of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawApproval {
    administrator: Hex<32>,
    signature: Hex<64>,
}

/// Those of a file. None is judged.
pub(super) fn approvals(raw: Vec<RawApproval>) -> Vec<(PublicKey, Signature)> {
    let one = |raw: RawApproval| (PublicKey(raw.administrator.0), Signature(raw.signature.0));
    raw.into_iter().map(one).collect()
}

/// Writes them, last in their file.
pub(super) fn set_approvals(text: &mut Text, approvals: &[(PublicKey, Signature)]) {
    for (administrator, signature) in approvals {
        text.table("[[signatures]]");
        text.set("administrator", administrator.to_string());
        text.set("signature", Hex(signature.0).to_string());
    }
}

/// Writes a list of servers.
pub(super) fn set_servers(text: &mut Text, key: &str, servers: &[ReplicaId]) {
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    text.line(&format!("{key} = [{}]", servers.join(", ")));
}
