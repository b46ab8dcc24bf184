//! An HMAC session: proves to the TPM that we know a secret, and to us that it does.
//!
//! Unbound and unsalted, so the session adds no key of its own: what authenticates is the
//! authValue of the index alone, 256 bits that nobody guesses. Both sides draw a nonce for every
//! exchange; each HMAC covers the newest of both.

use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

use super::transport::Transport;
use super::wire::Command;
use super::{AuthValue, Code, Name, SHA256, nonce};
use crate::counter::CounterError;

const START_AUTH_SESSION: Code = ("TPM2_StartAuthSession", 0x176);
const FLUSH_CONTEXT: Code = ("TPM2_FlushContext", 0x165);
/// `TPM_RH_NULL`: bound to nothing, salted with nothing.
const NULL: u32 = 0x4000_0007;
/// `TPM_SE_HMAC`
const HMAC_SESSION: u8 = 0;
/// `TPM_ALG_NULL`: parameters are not encrypted.
const NO_CIPHER: u16 = 0x0010;
/// What becomes of a session after a command that succeeds: `TPMA_SESSION`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Then {
    End = 0,
    Continue = 1,
}

/// A session in which the secret of one index is proved.
pub(super) struct Session {
    handle: u32,
    /// The TPM's newest nonce.
    nonce_tpm: [u8; 32],
}

impl Session {
    /// Starts a session. Whoever answers is not believed yet.
    pub(super) fn start(transport: &mut Transport) -> Result<Self, CounterError> {
        let mut command = Command::plain(START_AUTH_SESSION, &[NULL, NULL]);
        command.sized(&fresh_nonce()?);
        command.sized(&[]); // no salt
        command.bytes(&[HMAC_SESSION]);
        command.u16(NO_CIPHER);
        command.u16(SHA256);
        let mut fields = transport.exchange(&mut command)?;
        let (handle, nonce_tpm) = (fields.u32()?, fields.sized_exactly()?);
        fields.finish()?;
        Ok(Self { handle, nonce_tpm })
    }

    /// Puts a command on one index, which authorises and is its own object, and answers the `N`
    /// bytes of parameters of an answer that is proved.
    pub(super) fn ask<const N: usize>(
        &mut self,
        transport: &mut Transport,
        (index, name, auth): (u32, &Name, &AuthValue),
        (code, parameters): (Code, &[u8]),
        then: Then,
    ) -> Result<[u8; N], CounterError> {
        let (command_name, number) = code;
        let nonce_caller = fresh_nonce()?;
        let asked = hash(&[&number.to_be_bytes(), name, name, parameters]);
        let proof = hmac(auth, [&asked, &nonce_caller, &self.nonce_tpm], then as u8).finalize();
        let proof: [&[u8]; 2] = [&nonce_caller, &proof.into_bytes()];
        let mut command =
            Command::with_session(code, &[index, index], self.handle, proof, then as u8);
        command.bytes(parameters);

        let mut fields = transport.exchange(&mut command)?;
        let length = fields.u32()?;
        if usize::try_from(length) != Ok(N) {
            return Err(CounterError::Malformed { command: command_name });
        }
        let parameters = fields.array()?;
        let (nonce_tpm, [attributes]) = (fields.sized_exactly()?, fields.array()?);
        let proof: [u8; 32] = fields.sized_exactly()?;
        fields.finish()?;

        // Only a success comes this far: its code is zero.
        let answered = hash(&[&0_u32.to_be_bytes(), &number.to_be_bytes(), &parameters]);
        hmac(auth, [&answered, &nonce_tpm, &nonce_caller], attributes)
            .verify_slice(&proof) // in constant time
            .map_err(|_| CounterError::NotBelieved { command: command_name })?;
        self.nonce_tpm = nonce_tpm;
        Ok(parameters)
    }

    /// Ends the session, if the TPM is still there to hear it.
    pub(super) fn flush(&self, transport: &mut Transport) {
        let mut command = Command::plain(FLUSH_CONTEXT, &[]);
        command.u32(self.handle);
        // A session that stays is the TPM's to reclaim; nothing depends on it.
        drop(transport.exchange(&mut command));
    }
}

/// The HMAC of one direction: a hash of what is said, the speaker's nonce, the other's, and the
/// session's attributes.
fn hmac(auth: &AuthValue, [said, newer, older]: [&[u8; 32]; 3], attributes: u8) -> Hmac<Sha256> {
    let key = auth.0.as_slice();
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in [said, newer, older] {
        hmac.update(part);
    }
    hmac.update(&[attributes]);
    hmac
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn fresh_nonce() -> Result<[u8; 32], CounterError> {
    nonce().map_err(CounterError::Unreachable)
}
