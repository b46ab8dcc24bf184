//! What reads the text of transactions, from the program's own sources.

pub(crate) use crate::target;

#[path = "../../crates/ravelin/src/cli/kv/bytes.rs"]
mod bytes;
#[path = "../../crates/ravelin/src/cli/kv/transaction_file.rs"]
mod transaction_file;
#[path = "targets/transactions.rs"]
pub(crate) mod transactions;

use bytes::{bounded, key};
