//! The program's modules of files, from its own sources.

#[path = "../../crates/ravelin/src/files/approval.rs"]
pub(crate) mod approval;
#[path = "../../crates/ravelin/src/files/card.rs"]
pub(crate) mod card;
#[path = "../../crates/ravelin/src/files/client.rs"]
pub(crate) mod client;
#[path = "../../crates/ravelin/src/files/date.rs"]
pub(crate) mod date;
#[path = "../../crates/ravelin/src/files/disk.rs"]
pub(crate) mod disk;
#[path = "../../crates/ravelin/src/files/hex.rs"]
pub(crate) mod hex;
#[path = "../../crates/ravelin/src/files/identity.rs"]
pub(crate) mod identity;
#[path = "../../crates/ravelin/src/files/key.rs"]
pub(crate) mod key;
#[path = "../../crates/ravelin/src/files/kind.rs"]
pub(crate) mod kind;
#[path = "../../crates/ravelin/src/files/node.rs"]
pub(crate) mod node;
#[path = "../../crates/ravelin/src/files/plan.rs"]
pub(crate) mod plan;
#[path = "../../crates/ravelin/src/files/release.rs"]
pub(crate) mod release;
#[path = "../../crates/ravelin/src/files/syntax.rs"]
pub(crate) mod syntax;
