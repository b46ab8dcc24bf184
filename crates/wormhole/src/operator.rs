//! What the program does for an operator: each command does one thing and ends. None serves a payload,
//! and all but the self-test are for a machine that is trusted at that moment.

use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::attestation::ProvisionedId;
use crate::hex;
use crate::keys::ProvisionedKey;
use crate::serve::arguments::{Place, USAGE};
use crate::serve::{ServeError, fill, selftest};
use crate::state::{ContinuityError, StateDir};
use crate::tpm::{NvCounter, NvIndex, Transport};

/// Prints the commands.
pub(crate) fn help() -> Result<(), ServeError> {
    show(USAGE)
}

/// Makes the state directory and its key, and prints the public half. Where that cannot be printed,
/// [`public`] prints it again.
pub(crate) fn provision(place: &Place) -> Result<(), ServeError> {
    let mut seed = Zeroizing::new([0; 32]);
    fill(&mut seed)?;
    StateDir::provision(&place.state, place.user(), &seed)?;
    show_key(ProvisionedKey::from_seed(&seed).id())
}

/// Prints the public half of the key.
pub(crate) fn public(place: &Place) -> Result<(), ServeError> {
    show_key(StateDir::public(&place.state, place.user())?)
}

/// Makes a counter and ties the state directory to it; without a counter the old tie stays.
pub(crate) fn anchor(place: &Place, index: NvIndex, tpm: &Path) -> Result<(), ServeError> {
    let transport = Transport::open(tpm)?;
    let mut state = StateDir::open(&place.state, place.user())?;
    state.new_anchor(index, |auth| -> Result<(), ContinuityError> {
        let no_owner_password = &[];
        Ok(NvCounter::define(transport, index, auth, no_owner_password)?)
    })?;
    Ok(())
}

/// Measures a wormhole.
pub(crate) fn self_test() -> Result<(), ServeError> {
    show(selftest::measure(&std::env::current_exe()?, None)?)
}

fn show_key(key: ProvisionedId) -> Result<(), ServeError> {
    show(format_args!("{}\n", hex::encode(&key.0)))
}

/// Writes a result to standard output.
fn show(result: impl fmt::Display) -> Result<(), ServeError> {
    let mut out = io::stdout();
    write!(out, "{result}").and_then(|()| out.flush()).map_err(ServeError::Unread)
}
