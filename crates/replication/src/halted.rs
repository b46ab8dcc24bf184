//! Why a replica halted, as its state tells before it is started again.

use ravelin_model::{Decode as _, StateBackend};

use crate::replica::HaltReason;
use crate::state::private_key;

/// Key of the reason to stay halted, in the private state.
pub(crate) const HALTED: &[u8] = b"h";

/// Why the replica whose state `backend` holds halted, if it did.
///
/// # Panics
/// If the state was not written by this program.
#[must_use]
pub fn recorded_halt(backend: &dyn StateBackend) -> Option<HaltReason> {
    let bytes = backend.get(&private_key(HALTED))?;
    let reason = HaltReason::decode("halt reason", &bytes);
    Some(reason.expect("the state holds what this replica wrote"))
}
